//! Azure Digital Twins is down for a while.

use std::{
    collections::BTreeMap,
    num::NonZeroUsize,
    sync::Arc,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use local_azure::Faults;

use super::{
    check::Rules,
    device::{Shared, lock},
    faults,
    oracle::Kind,
    report::{Report, Violation},
    schedule::Temper,
    stage::{Cast, Run, Stage},
};
use crate::site::Handler;

/// Consumer group of the functions (function.json).
const GROUP: &str = "adt-functions";
/// Within what time after its return every twin must hold its newest value: the host waits up to a minute between two
/// tries, and 20% more.
const CATCHING_UP: Duration = Duration::from_secs(90);
/// What was sent before the service went down may have been on its way for so long.
const IN_FLIGHT: Duration = Duration::from_secs(1);
/// How often is looked whether every device has registered.
const BETWEEN_LOOKS: Duration = Duration::from_millis(20);

/// What to try.
#[derive(Debug, Clone)]
pub struct Outage {
    /// The handler.
    pub handler: Handler,
    /// How many instances of it run.
    pub instances: NonZeroUsize,
    /// Decides what devices do.
    pub seed: u64,
    /// How many devices; at least two.
    pub devices: usize,
    /// How long everything works first, once every device has registered.
    pub before: Duration,
    /// How long Azure Digital Twins is down. Each device lives for as long as both, so that the last one to register
    /// goes on until it is back.
    pub down: Duration,
}

/// How the outage itself went.
struct Aftermath {
    /// When Azure Digital Twins came back.
    back: Instant,
    fired: Vec<(String, u64)>,
    violations: Vec<Violation>,
}

impl Outage {
    /// Tries it.
    ///
    /// # Errors
    /// When local-azure or the handler do not run at all.
    pub async fn run(&self) -> anyhow::Result<Report> {
        let Self { handler, instances, seed, devices, before, down } = self.clone();
        let mut run = Run::begin(Cast { handler, instances, seed, devices, temper: Temper::Calm }).await?;
        let (faults, stage, histories) = (run.site.running().faults(), Arc::clone(&run.stage), run.histories.clone());
        let outage = self.outage(&faults, &stage, &histories);
        let (Aftermath { back, fired, violations }, ()) = tokio::try_join!(outage, run.live(before + down))?;
        let mut report = run.conclude(back, CATCHING_UP, Rules::NothingIsGivenUp).await?;
        report.violations.splice(..0, violations);
        Ok(Report { faults: fired, ..report })
    }

    async fn outage(&self, faults: &Faults, stage: &Stage, histories: &[Shared]) -> anyhow::Result<Aftermath> {
        // However slow the machine is: nobody can register later, and who is nobody sends nothing.
        while histories.iter().any(|history| lock(history).alive().is_none()) {
            tokio::time::sleep(BETWEEN_LOOKS).await;
        }
        tokio::time::sleep(self.before).await;
        stage.set_down(true);
        faults::take_down(faults, self.seed)?;
        let since = Timestamp::now().saturating_add(IN_FLIGHT)?;
        tokio::time::sleep(self.down).await;
        let violations = finished(stage, histories, since)?;
        let fired = faults::fired(faults);
        faults.clear();
        stage.set_down(false);
        Ok(Aftermath { back: Instant::now(), fired, violations })
    }
}

/// Partitions must wait: no reading of after `since`, which every time is the newest of its device, is finished.
fn finished(stage: &Stage, histories: &[Shared], since: Timestamp) -> anyhow::Result<Vec<Violation>> {
    // The first reading that must wait, in each partition.
    let mut waiting: BTreeMap<usize, u64> = BTreeMap::new();
    for history in histories {
        let history = lock(history);
        let newest = history.sent().iter().filter(|sent| sent.time > since && matches!(sent.kind, Kind::Reading(_)));
        for sent in newest {
            let first = waiting.entry(sent.partition).or_insert(sent.sequence_number);
            *first = (*first).min(sent.sequence_number);
        }
    }
    let mut violations = Vec::new();
    if waiting.is_empty() {
        violations.push(Violation::general("nothing was sent while Azure Digital Twins was down"));
    }
    for (partition, first) in waiting {
        let checkpoint = stage.telemetry.checkpoint(GROUP, partition)?;
        if checkpoint >= Some(first) {
            violations.push(Violation::general(format!(
                "I2: partition {partition} is finished up to {checkpoint:?} while Azure Digital Twins is down, and \
                 reading {first} cannot have been applied"
            )));
        }
    }
    Ok(violations)
}
