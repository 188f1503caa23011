//! (c) Decoding and planning a batch, without I/O, against parsing the same bytes with typed serde_json.

use std::{fs, hint::black_box, time::Instant};

use anyhow::{Context as _, ensure};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use dtdl::{Interface, ModelId, ModelSet};
use function_app::{
    host::{DataType, EventBatch},
    telemetry::rehearse,
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{median, table::Row};
use crate::{
    fleet::{self, Fleet, THERMOSTAT},
    reference::capture,
    site::{Handler, Plan, Site},
};

const DEVICES: usize = 500;
const ROUNDS: u32 = 8;
const REPEATS: usize = 400;

/// What was measured.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// Events in the batch.
    pub events: usize,
    /// Bytes of the batch as the host sent it.
    pub bytes: usize,
    /// Decoding and planning, in microseconds.
    pub decode_and_plan_us: f64,
    /// Decoding alone, in microseconds.
    pub decode_us: f64,
    /// Parsing with typed serde_json, in microseconds.
    pub typed_us: f64,
    /// The first against the last.
    pub ratio: f64,
}

pub(super) async fn measure(quick: bool) -> anyhow::Result<Report> {
    let body = captured_batch().await?;
    let model: ModelId = THERMOSTAT.parse()?;
    let models = models()?;
    let (now, repeats) = (Timestamp::now(), if quick { REPEATS / 10 } else { REPEATS });
    let ours = |body: &[u8]| -> anyhow::Result<usize> {
        Ok(rehearse(&EventBatch::decode(body, DataType::Binary)?, &model, &models, now).len())
    };
    let writes = ours(&body)?;
    let readings = typed(&body)?;
    ensure!(writes > 0 && readings > writes, "{writes} values to write from {readings} readings");
    let (mut ours_us, mut decode_us, mut typed_us) = (Vec::new(), Vec::new(), Vec::new());
    // In turns, so that whatever else the machine does meets all of them.
    for _ in 0..repeats {
        ours_us.push(time(|| ours(black_box(&body)))?);
        decode_us.push(time(|| Ok(EventBatch::decode(black_box(&body), DataType::Binary)?.events.len()))?);
        typed_us.push(time(|| typed(black_box(&body)))?);
    }
    let (decode_and_plan_us, decode_us, typed_us) = (median(ours_us), median(decode_us), median(typed_us));
    let ratio = decode_and_plan_us / typed_us;
    Ok(Report { events: readings, bytes: body.len(), decode_and_plan_us, decode_us, typed_us, ratio })
}

fn time<T>(work: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<f64> {
    let start = Instant::now();
    black_box(work()?);
    Ok(start.elapsed().as_secs_f64() * 1e6)
}

/// A full batch, the very bytes that the Functions host sends.
async fn captured_batch() -> anyhow::Result<Vec<u8>> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("batch.json");
    let plan = Plan::new(Handler::this_program("capture-handler")?).with(capture::FILE, file.display());
    let site = Site::start(&plan).await?;
    let hub = site.device_events()?;
    for round in 0..ROUNDS {
        for id in Fleet::new("bench", 0, DEVICES).ids() {
            hub.append(&id, fleet::temperature(&id, 20.0 + f64::from(round) / 8.0, Timestamp::now()));
        }
    }
    site.caught_up().await;
    site.stop().await;
    fs::read(&file).context("no batch was captured")
}

fn models() -> anyhow::Result<ModelSet> {
    let parse = |text| Ok(Interface::parse(&serde_json::from_str(text)?)?);
    let interfaces: anyhow::Result<Vec<_>> = local_azure::compiled_app::MODELS.into_iter().map(parse).collect();
    Ok(ModelSet::default().with(interfaces?)?)
}

/// What anybody must read of a batch to act on it: who sent what, when, and for which twin. The host writes arrays as
/// JSON within JSON, so they are parsed twice.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Envelope {
    data: Data,
    metadata: Metadata,
}

#[derive(Deserialize)]
struct Data {
    events: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Metadata {
    properties_array: String,
    system_properties_array: String,
    sequence_number_array: String,
}

#[derive(Deserialize)]
struct Properties<'a> {
    #[serde(rename = "dtId")]
    dt_id: Option<&'a str>,
}

#[derive(Deserialize)]
struct SystemProperties<'a> {
    #[serde(rename = "iothub-connection-device-id")]
    device: &'a str,
    #[serde(rename = "iothub-enqueuedtime")]
    enqueued_time: Timestamp,
    #[serde(rename = "iothub-message-source")]
    source: Option<&'a str>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Reading {
    temperature: f64,
}

/// Parses a batch; gives the number of readings.
fn typed(body: &[u8]) -> anyhow::Result<usize> {
    let envelope: Envelope = serde_json::from_slice(body)?;
    let bodies: Vec<&str> = serde_json::from_str(&envelope.data.events)?;
    let properties: Vec<Properties<'_>> = serde_json::from_str(&envelope.metadata.properties_array)?;
    let system: Vec<SystemProperties<'_>> = serde_json::from_str(&envelope.metadata.system_properties_array)?;
    let numbers: Vec<i64> = serde_json::from_str(&envelope.metadata.sequence_number_array)?;
    let mut readings = Vec::with_capacity(bodies.len());
    for body in bodies {
        readings.push(serde_json::from_slice::<Reading>(&STANDARD.decode(body)?)?.temperature);
    }
    black_box(properties.iter().filter_map(|event| event.dt_id).map(str::len).sum::<usize>());
    black_box(system.iter().map(|event| (event.device, event.enqueued_time, event.source)).max());
    black_box(numbers);
    Ok(black_box(readings).len())
}

impl Report {
    pub(super) fn rows(&self) -> Vec<Row> {
        let batch = format!("(c) {} events, {} KiB: ", self.events, self.bytes / 1024);
        vec![
            Row::new(format!("{batch}typed serde_json"), format!("{:.0} us", self.typed_us)),
            Row::new(format!("{batch}decode"), format!("{:.0} us", self.decode_us)),
            Row::new(format!("{batch}decode and plan"), format!("{:.0} us", self.decode_and_plan_us)),
            Row::at_most("(c) decode and plan against typed serde_json", self.ratio, 3.0, "x"),
        ]
    }
}
