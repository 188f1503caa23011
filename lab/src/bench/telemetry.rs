//! (a) Telemetry through host, handler and Azure Digital Twins, against a handler that does what the original sample
//! does; (b) PATCHes against distinct twins a batch.

use std::{
    collections::{HashMap, HashSet},
    path::Path,
    time::{Duration, Instant},
};

use anyhow::ensure;
use jiff::Timestamp;
use local_azure::{event_hubs::Position, functions_host::Invocation};
use serde::Serialize;
use tokio::sync::broadcast::{self, error::TryRecvError};

use super::table::Row;
use crate::{
    fleet::{self, Fleet},
    site::{Handler, Plan, Site},
};

const ADT_LATENCY: Duration = Duration::from_millis(10);
const DEVICES: usize = 500;
const ROUNDS: u32 = 40;
const BATCH_SIZES: [usize; 3] = [100, 256, 1_000];
/// The one in the shipped host.json.
const SHIPPED: usize = 256;
/// `ADT_PACE_PERCENT` with which the pace holds nothing up: ten times the documented limits, far more than goes
/// through here. It is the highest that the setting takes.
const LIFTED: u32 = 1_000;
/// PATCHes a second at the default pace: 90% of the documented 1,000 (Azure Digital Twins: service limits).
const CEILING: f64 = 900.0;
const UPDATE: &str = "DigitalTwins_Update";

/// What was measured.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// By size of batches.
    pub batch_sizes: Vec<BatchSize>,
}

/// With batches of one size.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BatchSize {
    /// `maxEventBatchSize`.
    pub events_a_batch: usize,
    /// The handler that does what the sample does.
    pub sample: Run,
    /// The function app with its pace lifted.
    pub lifted: Run,
    /// The function app as it is shipped, on an instance that enforces its limits.
    pub shipped: Run,
    /// Throughput with the pace lifted against the sample's.
    pub times_the_sample: f64,
    /// PATCHes a second at the default pace against what the pace allows.
    pub share_of_ceiling: f64,
}

/// One run of one handler.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Run {
    /// From the first event until the last one was finished.
    pub seconds: f64,
    /// Events a second.
    pub throughput: f64,
    /// PATCHes a second.
    pub patches_a_second: f64,
    /// Events a PATCH.
    pub events_a_patch: f64,
    /// Batches that were delivered.
    pub batches: usize,
    /// PATCHes against the distinct twins of each batch, added up.
    pub patches_a_twin: f64,
}

pub(super) async fn measure(handler: &Path, quick: bool) -> anyhow::Result<Report> {
    let rounds = if quick { ROUNDS / 10 } else { ROUNDS };
    let ours = Plan { adt_latency: ADT_LATENCY, ..Plan::new(Handler::binary(handler)) };
    let mut batch_sizes = Vec::new();
    for events_a_batch in BATCH_SIZES {
        let plan = |plan: Plan| plan.with_batches_of(events_a_batch);
        let sample = Plan { adt_latency: ADT_LATENCY, ..Plan::new(Handler::this_program("sample-handler")?) };
        let sample = one(&plan(sample), rounds).await?;
        let lifted = one(&plan(ours.clone().with("ADT_PACE_PERCENT", LIFTED)), rounds).await?;
        let shipped = one(&plan(Plan { adt_limits: true, ..ours.clone() }), rounds).await?;
        batch_sizes.push(BatchSize {
            events_a_batch,
            times_the_sample: lifted.throughput / sample.throughput,
            share_of_ceiling: shipped.patches_a_second / CEILING,
            sample,
            lifted,
            shipped,
        });
    }
    Ok(Report { batch_sizes })
}

async fn one(plan: &Plan, rounds: u32) -> anyhow::Result<Run> {
    let site = Site::start(plan).await?;
    let run = run(&site, rounds).await;
    site.stop().await;
    run
}

async fn run(site: &Site, rounds: u32) -> anyhow::Result<Run> {
    let fleet = Fleet::new("bench", 0, DEVICES);
    let twins = &site.services().digital_twins;
    twins.load_graph(&fleet.graph())?;
    let ids: Vec<String> = fleet.ids().collect();
    // Once around: every device was seen, caches and connections are warm.
    send(site, &ids, 0)?;
    site.caught_up().await;

    let mut invocations = site.services().functions.invocations();
    let (patches, start) = (site.calls(UPDATE), Instant::now());
    let mut senders = HashMap::new();
    for round in 1..=rounds {
        senders.extend(send(site, &ids, round)?);
    }
    site.caught_up().await;
    let seconds = start.elapsed().as_secs_f64();
    let patches = f64_of(site.calls(UPDATE) - patches);
    for id in &ids {
        let twin = twins.twin(id).unwrap_or_default();
        let temperature = twin.get("Temperature").and_then(serde_json::Value::as_f64);
        ensure!(temperature == Some(f64::from(rounds)), "{id} has {temperature:?}, it sent {rounds} last");
    }
    let (batches, twins) = count(&mut invocations, &senders)?;
    let events = f64_of(senders.len());
    Ok(Run {
        seconds,
        throughput: events / seconds,
        patches_a_second: patches / seconds,
        events_a_patch: events / patches,
        batches,
        patches_a_twin: patches / f64_of(twins),
    })
}

/// One event of every device; tells which device's each is.
fn send(site: &Site, ids: &[String], round: u32) -> anyhow::Result<Vec<((usize, u64), usize)>> {
    let hub = site.device_events()?;
    let now = Timestamp::now();
    let event = |(index, id): (usize, &String)| {
        let Position { partition, sequence_number } = hub.append(id, fleet::temperature(id, f64::from(round), now));
        ((partition, sequence_number), index)
    };
    Ok(ids.iter().enumerate().map(event).collect())
}

/// The batches that succeeded, and the distinct senders of each, added up.
fn count(
    invocations: &mut broadcast::Receiver<Invocation>,
    senders: &HashMap<(usize, u64), usize>,
) -> anyhow::Result<(usize, usize)> {
    let (mut batches, mut twins) = (0, 0);
    loop {
        let invocation = match invocations.try_recv() {
            Ok(invocation) => invocation,
            Err(TryRecvError::Lagged(missed)) => anyhow::bail!("{missed} invocations were missed"),
            Err(TryRecvError::Empty | TryRecvError::Closed) => return Ok((batches, twins)),
        };
        let Some(range) = invocation.events.filter(|_| invocation.failure.is_none()) else { continue };
        let events = range.first_sequence_number..=range.last_sequence_number;
        let devices: HashSet<_> = events.filter_map(|number| senders.get(&(range.partition, number))).collect();
        batches += 1;
        twins += devices.len();
    }
}

/// Counts here are far below 2^53.
#[expect(clippy::cast_precision_loss, reason = "see above")]
fn f64_of(count: impl TryInto<u64>) -> f64 {
    count.try_into().unwrap_or(u64::MAX) as f64
}

impl Report {
    pub(super) fn rows(&self) -> Vec<Row> {
        let mut rows = Vec::new();
        for size in &self.batch_sizes {
            let BatchSize { events_a_batch, sample, lifted, shipped, .. } = size;
            let name = |what: &str| format!("(a) batches of {events_a_batch}: {what}");
            let is_shipped = *events_a_batch == SHIPPED;
            rows.push(Row::new(name("events/s as the sample does it"), format!("{:.0}", sample.throughput)));
            rows.push(Row::new(name("events/s, pace lifted"), format!("{:.0}", lifted.throughput)));
            let (times, share) = (name("times the sample, pace lifted"), name("share of the ceiling, default pace"));
            if is_shipped {
                rows.push(Row::at_least(times, size.times_the_sample, 20.0, "x"));
                rows.push(Row::at_least(share, size.share_of_ceiling * 100.0, 90.0, "%"));
            } else {
                rows.push(Row::new(times, format!("{:.2}x", size.times_the_sample)));
                rows.push(Row::new(share, format!("{:.2}%", size.share_of_ceiling * 100.0)));
            }
            rows.push(Row::new(name("events a PATCH, default pace"), format!("{:.2}", shipped.events_a_patch)));
            let patches = format!("(b) batches of {events_a_batch}: PATCHes a twin and batch");
            rows.push(Row::at_most(patches, shipped.patches_a_twin.max(lifted.patches_a_twin), 1.0, ""));
        }
        rows
    }
}
