//! Measures the function app, and local-azure: where it can be, a figure is a ratio of two things that are measured side
//! by side in one run.

pub mod allocation;
pub mod decode;
pub mod devices;
pub mod graph;
pub mod memory;
pub mod requests;
pub mod start;
pub mod table;
pub mod telemetry;

use std::{
    fs,
    path::{Path, PathBuf},
    thread,
};

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use jiff::Timestamp;
use serde::Serialize;

use self::table::Row;

/// What to measure, and how.
#[derive(Debug, Args)]
pub struct Options {
    /// The shipped handler, built with the profile `dist`
    #[arg(long, value_name = "PATH")]
    handler: PathBuf,
    /// Write the report as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// The bare server to compare the start with [default: built now, with the profile `dist`]
    #[arg(long, value_name = "PATH")]
    hello: Option<PathBuf>,
    /// Measure only some of it
    #[arg(long, value_name = "SUBJECT", value_delimiter = ',', default_values_t = Subject::ALL)]
    only: Vec<Subject>,
    /// A tenth of the work: to see that everything runs, not for figures
    #[arg(long)]
    quick: bool,
}

/// A part of the bench.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Subject {
    /// Throughput, and PATCHes against twins.
    Telemetry,
    /// Decoding and planning against parsing.
    Decode,
    /// From exec to the first answer.
    Start,
    /// Resident memory.
    Memory,
    /// Latency of allocations.
    Allocation,
    /// local-azure: reads and patches of twins.
    Requests,
    /// local-azure: memory a twin, and queries.
    Graph,
    /// local-azure: connections and messages.
    Devices,
}

impl Subject {
    const ALL: [Self; 8] = [
        Self::Telemetry,
        Self::Decode,
        Self::Start,
        Self::Memory,
        Self::Allocation,
        Self::Requests,
        Self::Graph,
        Self::Devices,
    ];
}

impl std::fmt::Display for Subject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.to_possible_value().as_ref().map_or("", |value| value.get_name()))
    }
}

/// Everything that was measured.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// When it began.
    pub time: Timestamp,
    /// Processors that this machine offers.
    pub cores: usize,
    /// The measured binary.
    pub handler: PathBuf,
    /// Whether it was a tenth of the work only.
    pub quick: bool,
    /// (a) and (b).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub telemetry: Option<telemetry::Report>,
    /// (c).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decode: Option<decode::Report>,
    /// (d).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start: Option<start::Report>,
    /// (e).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<memory::Report>,
    /// (f).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allocation: Option<allocation::Report>,
    /// (g).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests: Option<requests::Report>,
    /// (h).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub graph: Option<graph::Report>,
    /// (i).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub devices: Option<devices::Report>,
}

/// Measures, and writes the JSON report where that is wanted. `progress` is told each line of the table as soon as it
/// is known.
///
/// # Errors
/// When something does not run, or did not do what it was measured at.
pub async fn run(options: Options, mut progress: impl FnMut(&Row)) -> anyhow::Result<Report> {
    let Options { handler, json, hello, only, quick } = options;
    anyhow::ensure!(handler.is_file(), "there is no handler {}; build it with --profile dist", handler.display());
    if let Some(path) = &json {
        ensure_can_be_written(path)?;
    }
    let cores = thread::available_parallelism()?.get();
    progress(&Row::new("cores", cores.to_string()));
    let mut report =
        Report { time: Timestamp::now(), cores, handler: std::path::absolute(&handler)?, quick, ..Report::default() };
    for subject in Subject::ALL.into_iter().filter(|subject| only.contains(subject)) {
        let rows = match subject {
            Subject::Telemetry => report.telemetry.insert(telemetry::measure(&handler, quick).await?).rows(),
            Subject::Decode => report.decode.insert(decode::measure(quick).await?).rows(),
            Subject::Start => report.start.insert(start::measure(&handler, hello.as_deref()).await?).rows(),
            Subject::Memory => report.memory.insert(memory::measure(&handler, quick).await?).rows(),
            Subject::Allocation => report.allocation.insert(allocation::measure(&handler, quick).await?).rows(),
            Subject::Requests => report.requests.insert(requests::measure(quick).await?).rows(),
            Subject::Graph => report.graph.insert(graph::measure(quick).await?).rows(),
            Subject::Devices => report.devices.insert(devices::measure(quick).await?).rows(),
        };
        rows.iter().for_each(&mut progress);
    }
    if let Some(path) = json {
        write(&path, &report)?;
    }
    Ok(report)
}

/// Before minutes go into figures that nobody would get to see.
fn ensure_can_be_written(path: &Path) -> anyhow::Result<()> {
    let opened = fs::OpenOptions::new().append(true).create(true).open(path);
    opened.map(drop).with_context(|| format!("cannot write {}", path.display()))
}

fn write(path: &Path, report: &Report) -> anyhow::Result<()> {
    let text = serde_json::to_string_pretty(report)? + "\n";
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

/// The value below which `share` of all values are; `values` are sorted.
fn quantile(values: &[f64], share: f64) -> f64 {
    // Counts of measurements are small: nothing is lost.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "see above"
    )]
    let index = (share * (values.len().saturating_sub(1)) as f64).round() as usize;
    values.get(index).copied().unwrap_or(f64::NAN)
}

/// The middle of `values`.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    quantile(&values, 0.5)
}
