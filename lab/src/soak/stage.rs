//! A local-azure with devices, watched while they live and checked afterwards.

use std::{
    num::NonZeroUsize,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::Context as _;
use local_azure::{
    event_hubs::EventHub,
    iot_hub::{HostName, IotHub},
};
use serde_json::json;
use tokio::task::JoinSet;

use super::{
    check::{self, DeadLetters},
    device::{self, Device, Shared, lock},
    memory,
    oracle::History,
    report::{Report, Violation},
    schedule::Temper,
    tally::Tally,
    watch,
};
use crate::{
    fleet::THERMOSTAT,
    site::{Handler, Plan, Site},
    webhook::Webhook,
};

/// How late queries see changes: what is deleted is still in their rows, what is new not yet.
const QUERY_LAG: Duration = Duration::from_secs(2);
/// The linked hubs. Their first labels are what twins and events call them.
const HUBS: [&str; 2] = ["contoso-hub.azure-devices.localhost", "fabrikam-hub.azure-devices.localhost"];
/// How long the platform takes to start a new host in place of one whose handler was killed too often.
const PLATFORM_RESTART: Duration = Duration::from_millis(500);
/// Fewer than there are devices by default, so that the cache is full within the first minute: what memory grows by
/// after that is no cache that still fills.
const TWINS_REMEMBERED: usize = 64;
/// Every so many devices has a twin that an operator made beforehand.
const PREPARED: usize = 4;

/// What devices work with.
#[derive(Debug)]
pub(super) struct Stage {
    pub(super) webhook: Webhook,
    pub(super) hubs: Vec<Arc<IotHub>>,
    pub(super) telemetry: Arc<EventHub>,
    pub(super) lifecycle: Arc<EventHub>,
    pub(super) temper: Temper,
    /// How many devices there are.
    pub(super) devices: usize,
    /// Numbers values, so that none is sent twice.
    pub(super) marks: AtomicU64,
    pub(super) tally: Tally,
    down: AtomicBool,
}

impl Stage {
    fn new(site: &Site, cast: &Cast) -> anyhow::Result<Self> {
        let services = site.services();
        let [telemetry, lifecycle] = services.event_hubs.as_slice() else {
            anyhow::bail!("there are not two event hubs")
        };
        Ok(Self {
            webhook: Webhook::new(site.running().endpoints())?,
            hubs: services.iot_hubs.clone(),
            telemetry: Arc::clone(telemetry),
            lifecycle: Arc::clone(lifecycle),
            temper: cast.temper,
            devices: cast.devices,
            marks: AtomicU64::new(1),
            tally: Tally::default(),
            down: AtomicBool::new(false),
        })
    }

    /// The hub of that name.
    pub(super) fn hub(&self, name: &str) -> anyhow::Result<&IotHub> {
        let hub = self.hubs.iter().find(|hub| hub.host_name().is(name));
        hub.map(Arc::as_ref).with_context(|| format!("there is no hub {name}"))
    }

    /// Whether Azure Digital Twins is down: nobody can register then.
    pub(super) fn is_down(&self) -> bool {
        self.down.load(Ordering::Relaxed)
    }

    pub(super) fn set_down(&self, down: bool) {
        self.down.store(down, Ordering::Relaxed);
    }
}

/// Who is there.
#[derive(Debug, Clone)]
pub(super) struct Cast {
    pub(super) handler: Handler,
    pub(super) instances: NonZeroUsize,
    pub(super) seed: u64,
    pub(super) devices: usize,
    pub(super) temper: Temper,
}

/// A soak that is going on.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) site: Site,
    pub(super) stage: Arc<Stage>,
    pub(super) histories: Vec<Shared>,
    pub(super) memory: memory::Samples,
    /// What makes things go wrong, until devices no longer live.
    pub(super) background: JoinSet<anyhow::Result<()>>,
    cast: Cast,
    twins_before: usize,
    watchers: JoinSet<()>,
}

impl Run {
    /// Starts a local-azure and watches it. Nothing fails yet, and no device lives.
    pub(super) async fn begin(cast: Cast) -> anyhow::Result<Self> {
        let hubs = HUBS.iter().copied().map(HostName::new).collect();
        let plan = Plan {
            instances: cast.instances,
            query_lag: QUERY_LAG,
            hubs,
            platform_restart: PLATFORM_RESTART,
            ..Plan::new(cast.handler.clone())
        }
        .with("TWIN_CACHE_SIZE", TWINS_REMEMBERED)
        // What glibc keeps in an arena for each thread is not what the app remembers.
        .with("MALLOC_ARENA_MAX", 1);
        let site = Site::start(&plan).await?;
        let stage = Arc::new(Stage::new(&site, &cast)?);
        let twins_before = site.services().digital_twins.twin_count();
        let histories = prepare(&site, cast.devices)?;
        // Queries do not see yet what an operator made just now, in Azure neither.
        tokio::time::sleep(QUERY_LAG).await;
        let mut watchers = JoinSet::new();
        watchers.spawn(watch::watch(Arc::clone(&site.services().digital_twins), histories.clone()));
        let memory = memory::Samples::default();
        watchers.spawn(memory::sample(Arc::clone(&site.services().functions), memory.clone()));
        let background = JoinSet::new();
        Ok(Self { site, stage, histories, memory, background, cast, twins_before, watchers })
    }

    /// Lets all devices live for so long.
    pub(super) async fn live(&mut self, time: Duration) -> anyhow::Result<()> {
        let mut devices = JoinSet::new();
        for (number, history) in self.histories.iter().enumerate() {
            let device = Device::new(number, Arc::clone(&self.stage), self.cast.seed, Arc::clone(history))?;
            devices.spawn(device.live(time));
        }
        loop {
            tokio::select! {
                device = devices.join_next() => match device {
                    Some(device) => device??,
                    None => return Ok(()),
                },
                Some(ended) = self.background.join_next() => ended??,
            }
        }
    }

    /// Waits until everything is settled now that nothing fails any more, at most `patience` after the last fault; says
    /// what came of it all, and stops.
    pub(super) async fn conclude(
        mut self,
        last_fault: Instant,
        patience: Duration,
        rules: check::Rules,
    ) -> anyhow::Result<Report> {
        self.background.shutdown().await;
        let deadline = last_fault + patience;
        let has_settled = tokio::time::timeout_at(deadline.into(), self.site.caught_up()).await.is_ok();
        let settled_after = last_fault.elapsed();
        self.watchers.shutdown().await;
        let report = self.report(has_settled, patience, settled_after, rules);
        self.site.stop().await;
        report
    }

    fn report(
        &self,
        has_settled: bool,
        patience: Duration,
        settled_after: Duration,
        rules: check::Rules,
    ) -> anyhow::Result<Report> {
        let services = self.site.services();
        let letters = DeadLetters::read(services)?;
        let mut violations = letters.violations(rules);
        for history in &self.histories {
            let history = lock(history);
            let found = check::device(&history, &letters, &services.digital_twins, rules);
            let all = history.violations().iter().cloned().chain(found);
            violations.extend(all.map(|what| Violation::of(&history.device, what)));
        }
        let statistics = services.functions.statistics();
        if !has_settled {
            violations.push(Violation::general(format!(
                "I2: not everything was delivered {patience:?} after the last fault: {statistics:?}"
            )));
        }
        let partitions = || statistics.iter().flat_map(|function| &function.partitions);
        let given_up: u64 = partitions().map(|partition| partition.given_up).sum();
        if given_up > 0 {
            violations.push(Violation::general(format!("I2: the host gave up {given_up} batches")));
        }
        violations.extend(self.count_twins());
        Ok(Report {
            seed: self.cast.seed,
            tried: self.stage.tally.counts(),
            faults: Vec::new(),
            messages: self.histories.iter().map(|history| lock(history).sent().len()).sum(),
            dead_letters: letters.by_reason(),
            failed_batches: partitions().map(|partition| partition.failed).sum(),
            settled_after,
            memory: None,
            violations,
        })
    }

    fn count_twins(&self) -> Option<Violation> {
        let wanted = self.histories.iter().filter(|history| {
            let history = lock(history);
            history.alive().is_some() || (history.lives.is_empty() && history.prepared.is_some())
        });
        let (wanted, twins) = (wanted.count(), self.site.services().digital_twins.twin_count());
        let there = twins.saturating_sub(self.twins_before);
        (wanted != there).then(|| Violation::general(format!("I1: there are {there} twins for {wanted} devices")))
    }
}

/// The devices; the twins that an operator made for some of them are in Azure Digital Twins.
fn prepare(site: &Site, devices: usize) -> anyhow::Result<Vec<Shared>> {
    let mut graph = Vec::new();
    let mut histories = Vec::new();
    for number in 0..devices {
        let device = device::name(number);
        let prepared = (number % PREPARED == 0).then(|| format!("room-{number}-thermostat"));
        graph.extend(prepared.as_ref().map(|twin| {
            json!({
                "$dtId": twin, "$metadata": { "$model": THERMOSTAT },
                "HubRegistrationId": device.to_ascii_lowercase(), "DisplayName": watch::display_name(twin),
            })
        }));
        histories.push(Arc::new(Mutex::new(History::new(device, prepared))));
    }
    site.services().digital_twins.load_graph(&json!({ "twins": graph }))?;
    Ok(histories)
}
