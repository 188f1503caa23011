//! One call in five goes wrong, devices come, go and move, and handlers are killed.

use std::{
    num::NonZeroUsize,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    check::Rules,
    faults,
    report::{Report, Violation},
    schedule::Temper,
    stage::{Cast, Run},
};
use crate::site::Handler;

/// How long everything may take to settle once nothing fails any more: the host waits up to a minute between two
/// tries, and 20% more; a try may last half a minute.
const SETTLING: Duration = Duration::from_secs(180);

/// What to try.
#[derive(Debug, Clone)]
pub struct Chaos {
    /// The handler.
    pub handler: Handler,
    /// How many instances of it run. With more than one, partitions move between them while they work.
    pub instances: NonZeroUsize,
    /// Decides what is tried.
    pub seed: u64,
    /// For how long devices live.
    pub duration: Duration,
    /// How many devices; at least two.
    pub devices: usize,
    /// How often handlers are killed, if they are; now and then one dies at a call of Azure Digital Twins, too.
    /// Without, their memory must stay flat.
    pub kill_every: Option<Duration>,
}

impl Chaos {
    /// Tries it.
    ///
    /// # Errors
    /// When local-azure or the handler do not run at all.
    pub async fn run(&self) -> anyhow::Result<Report> {
        let Self { handler, instances, seed, devices, .. } = self.clone();
        let mut run = Run::begin(Cast { handler, instances, seed, devices, temper: Temper::Wild }).await?;
        let faults = run.site.running().faults();
        faults::inject(&faults, instances, seed)?;
        run.background.spawn(faults::rewind(faults.clone(), run.site.services().event_hubs.clone(), seed));
        if let Some(every) = self.kill_every {
            let functions = Arc::clone(&run.site.services().functions);
            run.background.spawn(faults::kill(functions, every, seed, Arc::clone(&run.stage)));
            run.background.spawn(faults::kill_at_calls(faults.clone(), every, seed));
        }
        run.live(self.duration).await?;
        let fired = faults::fired(&faults);
        faults.clear();
        let memory = self.kill_every.is_none().then(|| run.memory.growth()).flatten();
        let mut report = run.conclude(Instant::now(), SETTLING, Rules::SomeMayBeGivenUp).await?;
        if let Some(memory) = memory.as_ref().filter(|memory| !memory.is_flat()) {
            report.violations.push(Violation::general(format!("I8: {memory}")));
        }
        Ok(Report { faults: fired, memory, ..report })
    }
}
