//! `local-azure demo`.

use std::{
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use indicatif::{ProgressBar, ProgressStyle};
use local_azure::{
    config::{Config, Graph},
    demo::{self, DemoError, Narrator},
};

use super::{arguments::Options, screen, up};

/// Tells the story; then stays up, unless it is to exit.
pub(super) async fn run(config: Config, options: &Options, exit: bool) -> anyhow::Result<ExitCode> {
    ensure!(config.graph == Graph::Sample, "the demo tells of the sample graph: leave out --graph and --no-graph");
    let began = Instant::now();
    let (running, mut interrupts) = up::start(config, options).await?;
    screen::addresses(running.endpoints(), began.elapsed());
    let mut teller = Teller::new();
    let told = tokio::select! {
        told = demo::tell(&running, &mut teller) => Some(told),
        _ = interrupts.next() => None,
    };
    let verified = matches!(told, Some(Ok(())));
    screen::line(&match told {
        Some(Ok(())) => format!("\nevery step was verified ({:.1} s in all)", began.elapsed().as_secs_f64()),
        // The teller has said what and why.
        Some(Err(DemoError::Broken { .. })) => "\nthe story is not true here: see the last step".to_owned(),
        Some(Err(error)) => format!("\n{error}"),
        None => "\ninterrupted".to_owned(),
    });
    if verified && !exit {
        screen::what_next(running.endpoints());
        let interrupted = interrupts.next().await;
        running.stop().await;
        interrupted.context("cannot wait for Ctrl-C")?;
        return Ok(ExitCode::SUCCESS);
    }
    running.stop().await;
    Ok(if verified { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// One line a step; on a terminal the step at work turns.
struct Teller {
    marks: Marks,
    spinner: Option<ProgressBar>,
}

struct Marks {
    verified: &'static str,
    broken: &'static str,
}

impl Teller {
    fn new() -> Self {
        let marks = if screen::colors(screen::on_a_terminal()) {
            Marks { verified: "\u{1b}[32mok\u{1b}[0m  ", broken: "\u{1b}[31mFAIL\u{1b}[0m" }
        } else {
            Marks { verified: "ok  ", broken: "FAIL" }
        };
        Self { marks, spinner: None }
    }

    fn end(&mut self) {
        if let Some(spinner) = self.spinner.take() {
            spinner.finish_and_clear();
        }
    }
}

impl Narrator for Teller {
    fn begins(&mut self, step: &str) {
        if screen::on_a_terminal() {
            let spinner = ProgressBar::new_spinner().with_style(ProgressStyle::default_spinner());
            spinner.set_message(step.to_owned());
            spinner.enable_steady_tick(Duration::from_millis(80));
            self.spinner = Some(spinner);
        }
    }

    fn verified(&mut self, step: &str, evidence: &str, took: Duration) {
        self.end();
        screen::line(&format!("{} {:>5} ms  {step}  [{evidence}]", self.marks.verified, took.as_millis()));
    }

    fn broken(&mut self, step: &str, reason: &str) {
        self.end();
        screen::line(&format!("{}           {step}\n               {reason}", self.marks.broken));
    }
}
