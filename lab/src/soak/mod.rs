//! Puts the function app under faults, and checks afterwards what became of everything that was sent.
//!
//! A [`schedule`] decides by a seed what each device does, an [`oracle`] notes it down. Meanwhile requests fail,
//! handlers are killed, events come twice, partitions move between instances ([`Chaos`]), or Azure Digital Twins is
//! down ([`Outage`]). Twins are watched all the time, and checked once everything has settled. The rules that a
//! [`Violation`] names are those of `docs/architecture.md`, "What always holds":
//!
//! | | |
//! | --- | --- |
//! | I1 | one twin a device, and a registration changes bookkeeping only |
//! | I2 | nothing vanishes: the newest value is there, what cannot be applied is a dead letter, kept to the byte |
//! | I3 | never back in time |
//! | I4 | deleted is what was deleted, all of it and nothing else |
//! | I8 | memory is bounded |
//! | I9 | every device its own twin only |

mod chaos;
mod check;
mod device;
mod faults;
mod memory;
pub mod oracle;
mod outage;
mod report;
pub mod schedule;
mod stage;
mod tally;
mod watch;

use std::{
    num::{NonZeroU8, NonZeroUsize},
    path::PathBuf,
    time::Duration,
};

use clap::{Args, ValueEnum};

pub use self::{
    chaos::Chaos,
    memory::Growth,
    outage::Outage,
    report::{Report, Violation},
};
use crate::site::Handler;

/// Instances, unless the command line says otherwise: two.
const INSTANCES: NonZeroU8 = NonZeroU8::MIN.saturating_add(1);
/// How often handlers are killed in the first half.
const KILL_EVERY: Duration = Duration::from_secs(5);
/// How long everything works before an outage.
const BEFORE_OUTAGE: Duration = Duration::from_secs(15);

/// The command line.
#[derive(Debug, Args)]
pub struct Options {
    /// What goes wrong
    #[arg(long, value_enum, default_value_t = Scenario::Chaos)]
    scenario: Scenario,
    /// How long: in chaos half of it with handlers being killed, half without; in an outage how long it lasts [default:
    /// 20, of an outage 3]
    #[arg(long, value_name = "N", value_parser = minutes)]
    minutes: Option<Duration>,
    /// Decides what is tried [default: chosen now, and printed]
    #[arg(long, value_name = "S")]
    seed: Option<u64>,
    /// How many devices
    #[arg(long, value_name = "N", default_value_t = 80, value_parser = clap::value_parser!(u16).range(2..))]
    devices: u16,
    /// How many instances of the function app, each with a handler of its own; in chaos partitions move between them
    #[arg(long, value_name = "N", default_value_t = INSTANCES)]
    instances: NonZeroU8,
    /// The handler [default: the one compiled into this program]
    #[arg(long, value_name = "PATH")]
    handler: Option<PathBuf>,
}

/// In no time nothing is tried, and so nothing violated.
fn minutes(text: &str) -> Result<Duration, String> {
    let time = text.parse().ok().and_then(|minutes: f64| Duration::try_from_secs_f64(minutes * 60.0).ok());
    time.filter(|time| (Duration::from_secs(1)..=Duration::from_hours(24 * 7)).contains(time))
        .ok_or_else(|| "it takes a number of minutes, from a second (0.02) to a week (10080)".to_owned())
}

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Scenario {
    /// One call in five; devices come, go and move
    Chaos,
    /// Azure Digital Twins as a whole
    Outage,
}

/// Does what the command line says; `say` is given what to print. Gives the number of violations.
///
/// # Errors
/// When there is no such handler, or it does not run at all.
pub async fn run(options: Options, mut say: impl FnMut(String)) -> anyhow::Result<usize> {
    let Options { scenario, minutes, seed, devices, instances, handler } = options;
    let handler = match &handler {
        Some(path) => Handler::binary(path),
        None => Handler::this_program("handler")?,
    };
    let seed = seed.unwrap_or_else(|| fastrand::u64(..));
    let (devices, instances) = (usize::from(devices), NonZeroUsize::from(instances));
    let time = |default: u64| minutes.unwrap_or(Duration::from_mins(default));
    let mut violations = 0;
    let mut conclude = |report: Report, say: &mut dyn FnMut(String)| {
        violations += report.violations.len();
        say(report.to_string());
    };
    match scenario {
        Scenario::Chaos => {
            let duration = time(20) / 2;
            for kill_every in [Some(KILL_EVERY), None] {
                let killed = if kill_every.is_some() { "killed every 5 s" } else { "not killed" };
                say(format!(
                    "seed {seed}: {devices} devices for {duration:?}, {instances} instances, handlers are {killed}"
                ));
                let chaos = Chaos { handler: handler.clone(), instances, seed, duration, devices, kill_every };
                conclude(Box::pin(chaos.run()).await?, &mut say);
            }
        }
        Scenario::Outage => {
            let down = time(3);
            say(format!("seed {seed}: {devices} devices, Azure Digital Twins is down for {down:?}"));
            let outage = Outage { handler, instances, seed, devices, before: BEFORE_OUTAGE, down };
            conclude(Box::pin(outage.run()).await?, &mut say);
        }
    }
    Ok(violations)
}
