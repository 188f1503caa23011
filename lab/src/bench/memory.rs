//! (e) Resident memory: idle, under load, and its growth with devices once the cache is full.

use std::path::Path;

use jiff::Timestamp;
use serde::Serialize;

use super::{median, table::Row};
use crate::{
    fleet::{self, Fleet},
    resident::resident,
    site::{Handler, Plan, Site},
};

/// Devices that come at a time: so many that each of them counts, so few that they are not all there is.
const STEP: usize = 10_000;
/// The default of `TWIN_CACHE_SIZE`.
const CACHE: usize = 50_000;
const QUICK_CACHE: usize = 5_000;
/// How often all that a full cache holds is replaced before growth counts: until then the allocator's free lists fill,
/// which new twins come to lie between old ones in.
const TURNOVERS: usize = 2;
const STEPS: usize = 8;
/// Memory that differs by less from one step to the next is said to be the same: what an allocator has in its free
/// lists at a given moment is of that order.
const NOISE: f64 = 0.25;
const MIB: f64 = 1024.0 * 1024.0;

/// What was measured, in MiB.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// `TWIN_CACHE_SIZE`.
    pub cache: usize,
    /// Right after the start.
    pub idle_mib: f64,
    /// With the cache just full.
    pub full_mib: f64,
    /// The highest at the end of any step.
    pub highest_mib: f64,
    /// After each further 10,000 devices, once the cache was replaced twice.
    pub further_mib: Vec<f64>,
    /// The growth from one of these to the next: between the medians of their halves.
    pub growth_mib: f64,
}

pub(super) async fn measure(handler: &Path, quick: bool) -> anyhow::Result<Report> {
    let cache = if quick { QUICK_CACHE } else { CACHE };
    let plan = Plan::new(Handler::binary(handler)).with("TWIN_CACHE_SIZE", cache).with("ADT_PACE_PERCENT", 1_000);
    let site = Site::start(&plan).await?;
    let report = run(&site, cache).await;
    site.stop().await;
    report
}

async fn run(site: &Site, cache: usize) -> anyhow::Result<Report> {
    let pid = site.handler_pid()?;
    let idle_mib = mib(pid)?;
    let mut seen = 0;
    // A cache that lets go of its oldest while it is full is at its largest a little later.
    while seen < cache + STEP {
        seen += step(site, seen).await?;
    }
    let full_mib = mib(pid)?;
    let mut highest_mib = full_mib;
    while seen < cache * (1 + TURNOVERS) + STEP {
        seen += step(site, seen).await?;
        highest_mib = highest_mib.max(mib(pid)?);
    }
    let mut further_mib = Vec::new();
    for _ in 0..STEPS {
        seen += step(site, seen).await?;
        further_mib.push(mib(pid)?);
    }
    let highest_mib = further_mib.iter().copied().fold(highest_mib, f64::max);
    let growth_mib = growth(&further_mib);
    Ok(Report { cache, idle_mib, full_mib, highest_mib, further_mib, growth_mib })
}

/// How much a step adds. Single values are noisy, so that halves are compared, which are half of all steps apart.
fn growth(steps: &[f64]) -> f64 {
    let half = steps.len() / 2;
    let (earlier, later) = steps.split_at(half);
    // A handful.
    #[expect(clippy::cast_precision_loss, reason = "see above")]
    let apart = half as f64;
    (median(later.to_vec()) - median(earlier.to_vec())) / apart
}

/// Devices that were not seen before, each with a twin, send a message each.
async fn step(site: &Site, first: usize) -> anyhow::Result<usize> {
    let fleet = Fleet::new("memory", first, STEP);
    site.services().digital_twins.load_graph(&fleet.graph())?;
    let (hub, now) = (site.device_events()?, Timestamp::now());
    for id in fleet.ids() {
        hub.append(&id, fleet::temperature(&id, 21.5, now));
    }
    site.caught_up().await;
    Ok(STEP)
}

fn mib(pid: u32) -> anyhow::Result<f64> {
    // Memory here is far below 2^53 bytes.
    #[expect(clippy::cast_precision_loss, reason = "see above")]
    Ok(resident(pid)? as f64 / MIB)
}

impl Report {
    pub(super) fn rows(&self) -> Vec<Row> {
        let further: Vec<_> = self.further_mib.iter().map(|mib| format!("{mib:.1}")).collect();
        vec![
            Row::new("(e) resident, idle", format!("{:.1} MiB", self.idle_mib)),
            Row::new(format!("(e) resident, cache of {} twins full", self.cache), format!("{:.1} MiB", self.full_mib)),
            Row::new("(e) resident, highest", format!("{:.1} MiB", self.highest_mib)),
            Row::new(format!("(e) resident, in steps of 10,000 further: {}", further.join(" ")), "MiB"),
            Row::at_most("(e) growth a 10,000 further devices", self.growth_mib, NOISE, " MiB"),
        ]
    }
}
