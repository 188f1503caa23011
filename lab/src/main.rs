//! The `lab` program: a command line over the library.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program for people at a terminal")]

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use lab::{bench, neighbor, reference};

/// Measures the function app on a local-azure of its own, and that local-azure.
#[derive(Debug, Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Measure speed and memory, each against something measured in the same run
    Bench(bench::Options),
    /// The handler that does what the original sample does; the Functions host starts it
    #[command(hide = true)]
    SampleHandler,
    /// The handler that keeps a batch; the Functions host starts it
    #[command(hide = true)]
    CaptureHandler,
    /// A local-azure in a process of its own, to be measured from outside
    #[command(hide = true)]
    Neighbor,
}

#[tokio::main]
async fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Bench(options) => Box::pin(bench(options)).await,
        Command::SampleHandler => reference::sample::run().await.map(|()| ExitCode::SUCCESS),
        Command::CaptureHandler => reference::capture::run().await.map(|()| ExitCode::SUCCESS),
        Command::Neighbor => Box::pin(neighbor::run()).await.map(|()| ExitCode::SUCCESS),
    };
    result.unwrap_or_else(|error| {
        eprintln!("{error:#}");
        ExitCode::FAILURE
    })
}

/// Whether every figure is as wanted is told by the exit code too.
async fn bench(options: bench::Options) -> anyhow::Result<ExitCode> {
    let mut missed = 0;
    bench::run(options, |row| {
        missed += usize::from(!row.is_met());
        println!("{row}");
    })
    .await?;
    Ok(if missed == 0 { ExitCode::SUCCESS } else { ExitCode::from(2) })
}
