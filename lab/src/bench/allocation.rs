//! (f) Allocation of known and of new devices, in round trips to Azure Digital Twins.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use anyhow::ensure;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use reqwest::{Certificate, Client};
use serde::Serialize;

use super::{median, quantile, table::Row};
use crate::{
    fleet::Fleet,
    site::{Handler, Plan, Site},
    webhook::Webhook,
};

const ADT_LATENCY: Duration = Duration::from_millis(50);
const AT_ONCE: usize = 20;
const DEVICES: usize = 1_000;

/// What was measured.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// One request to Azure Digital Twins over a connection that is there, 20 at once, in milliseconds.
    pub round_trip_ms: f64,
    /// Devices that have a twin, and have registered before.
    pub known: Latency,
    /// Devices that nobody has heard of.
    pub new: Latency,
}

/// Times of allocations, in round trips.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Latency {
    /// Half of them are quicker.
    pub p50: f64,
    /// 99 of 100 are quicker.
    pub p99: f64,
    /// Requests to Azure Digital Twins an allocation.
    pub requests: f64,
}

pub(super) async fn measure(handler: &Path, quick: bool) -> anyhow::Result<Report> {
    let plan = Plan { adt_latency: ADT_LATENCY, ..Plan::new(Handler::binary(handler)) };
    let site = Site::start(&plan).await?;
    let report = run(&site, if quick { DEVICES / 10 } else { DEVICES }).await;
    site.stop().await;
    report
}

async fn run(site: &Site, devices: usize) -> anyhow::Result<Report> {
    let endpoints = site.running().endpoints();
    let authority = Certificate::from_pem(&std::fs::read(&endpoints.ca_file)?)?;
    let client = Client::builder().no_proxy().tls_certs_only([authority]).build()?;
    let webhook = Webhook::new(endpoints)?;
    let warm = Fleet::new("warm", 0, 4 * AT_ONCE);
    all(warm.ids(), |id| allocate(&webhook, id)).await?;
    let twin = format!("{}/digitaltwins/warm-000000?api-version=2023-10-31", endpoints.digital_twins);
    let read = |_| {
        let request = client.get(&twin).bearer_auth(&endpoints.digital_twins_token);
        async move { answered(request).await.map(drop) }
    };
    all(warm.ids(), read).await?;
    let round_trip_ms = median(all(Fleet::new("", 0, devices / 2).ids(), read).await?);

    let fleet = Fleet::new("device", 0, devices);
    let new = latency(site, &fleet, &webhook, round_trip_ms).await?;
    let known = latency(site, &fleet, &webhook, round_trip_ms).await?;
    let twins = &site.services().digital_twins;
    let without = fleet.ids().find(|id| twins.twin(id).is_none());
    ensure!(without.is_none(), "{without:?} was allocated and has no twin");
    Ok(Report { round_trip_ms, known, new })
}

async fn latency(site: &Site, fleet: &Fleet, webhook: &Webhook, round_trip_ms: f64) -> anyhow::Result<Latency> {
    let before = requests(site);
    let mut times = all(fleet.ids(), |id| allocate(webhook, id)).await?;
    let requests = (requests(site) - before) / f64::from(u32::try_from(fleet.len())?);
    times.sort_by(f64::total_cmp);
    Ok(Latency { p50: quantile(&times, 0.5) / round_trip_ms, p99: quantile(&times, 0.99) / round_trip_ms, requests })
}

/// Does `work` for all `ids`, some at once; gives the milliseconds that each took.
async fn all<W>(ids: impl Iterator<Item = String>, work: impl Fn(String) -> W) -> anyhow::Result<Vec<f64>>
where
    W: Future<Output = anyhow::Result<()>>,
{
    let timed = |id| {
        let (start, work) = (Instant::now(), work(id));
        async move {
            work.await?;
            Ok::<_, anyhow::Error>(start.elapsed().as_secs_f64() * 1e3)
        }
    };
    stream::iter(ids.map(|id| async { id })).buffered(1).map(timed).buffer_unordered(AT_ONCE).try_collect().await
}

fn requests(site: &Site) -> f64 {
    let operations = site.services().gate.counts().into_iter();
    let twins = operations.filter(|count| count.service == local_azure::gate::Service::DigitalTwins);
    // Far below 2^53.
    #[expect(clippy::cast_precision_loss, reason = "see above")]
    twins.map(|count| count.count as f64).sum()
}

async fn allocate(webhook: &Webhook, id: String) -> anyhow::Result<()> {
    let allocation = webhook.allocate(&id, None, webhook.hubs()).await?;
    ensure!(allocation.twin == id, "{id} was answered the twin {}", allocation.twin);
    Ok(())
}

async fn answered(request: reqwest::RequestBuilder) -> anyhow::Result<bytes::Bytes> {
    let response = request.send().await?;
    let (status, body) = (response.status(), response.bytes().await?);
    ensure!(status.is_success(), "{status}: {}", body.escape_ascii());
    Ok(body)
}

impl Report {
    pub(super) fn rows(&self) -> Vec<Row> {
        let mut rows =
            vec![Row::new("(f) one round trip to Azure Digital Twins", format!("{:.1} ms", self.round_trip_ms))];
        for (name, latency) in [("known", &self.known), ("new", &self.new)] {
            rows.push(Row::at_most(format!("(f) {name} devices: p50"), latency.p50, 2.3, " round trips"));
            rows.push(Row::at_most(format!("(f) {name} devices: p99"), latency.p99, 4.0, " round trips"));
            rows.push(Row::new(format!("(f) {name} devices: requests"), format!("{:.2}", latency.requests)));
        }
        rows
    }
}
