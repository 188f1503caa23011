//! The `lab` program: a command line over the library.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program for people at a terminal")]

use std::{process::ExitCode, time::Duration};

use clap::{Parser, Subcommand};
use lab::{bench, neighbor, reference, soak};
use tokio::runtime::Runtime;

/// What still runs in the background is given so long when the program ends.
const GRACE: Duration = Duration::from_secs(1);

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
    /// Put it under faults, and check what became of everything that was sent
    Soak(soak::Options),
    /// The function app; the Functions host starts it
    #[command(hide = true)]
    Handler,
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

fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        // The app brings a runtime of its own.
        Command::Handler => return local_azure::compiled_app::run_handler(),
        Command::Bench(options) => block_on(bench(options)),
        Command::Soak(options) => block_on(soak(options)),
        Command::SampleHandler => block_on(async { reference::sample::run().await.map(|()| ExitCode::SUCCESS) }),
        Command::CaptureHandler => block_on(async { reference::capture::run().await.map(|()| ExitCode::SUCCESS) }),
        Command::Neighbor => block_on(async { Box::pin(neighbor::run()).await.map(|()| ExitCode::SUCCESS) }),
    };
    result.unwrap_or_else(|error| {
        eprintln!("{}", on_one_line(&error));
        ExitCode::FAILURE
    })
}

/// An error with its causes; those that are told already are not repeated.
fn on_one_line(error: &anyhow::Error) -> String {
    let texts = error.chain().map(ToString::to_string);
    texts
        .reduce(|told, cause| if told.contains(&cause) { told } else { format!("{told}: {cause}") })
        .unwrap_or_default()
}

fn block_on(work: impl Future<Output = anyhow::Result<ExitCode>>) -> anyhow::Result<ExitCode> {
    let runtime = Runtime::new()?;
    let result = runtime.block_on(Box::pin(work));
    runtime.shutdown_timeout(GRACE);
    result
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

/// So is whether anything was violated.
async fn soak(options: soak::Options) -> anyhow::Result<ExitCode> {
    let violations = soak::run(options, |text| println!("{text}")).await?;
    Ok(if violations == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
