//! The handlers' memory: it must not grow once caches are full.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use local_azure::functions_host::FunctionsHost;

use crate::resident::resident;

const INTERVAL: Duration = Duration::from_secs(1);
/// Until then caches, connections and the allocator's lists fill.
const FILLING: Duration = Duration::from_secs(60);
/// Samples whose median is a figure.
const WINDOW: usize = 10;
/// What the memory may grow by: a tenth, and what the allocator keeps of a large batch.
const TOLERANCE: (f64, f64) = (1.1, 4.0);

/// The handlers' memory, early and late.
#[derive(Debug, Clone, PartialEq)]
pub struct Growth {
    /// After the first minute, in MiB.
    pub after_a_minute: f64,
    /// At the end, in MiB.
    pub at_the_end: f64,
    /// Minute by minute from the first one on, in MiB.
    pub by_minute: Vec<f64>,
}

impl Growth {
    /// The most that would be flat, in MiB.
    #[must_use]
    pub fn limit(&self) -> f64 {
        self.after_a_minute * TOLERANCE.0 + TOLERANCE.1
    }

    /// Whether it stays flat.
    #[must_use]
    pub fn is_flat(&self) -> bool {
        self.at_the_end <= self.limit()
    }
}

impl fmt::Display for Growth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (early, late, limit) = (self.after_a_minute, self.at_the_end, self.limit());
        write!(f, "resident memory of the largest handler: {early:.1} MiB after a minute, {late:.1} MiB at the end ")?;
        writeln!(f, "(flat: at most {limit:.1} MiB)")?;
        write!(f, "minute by minute:")?;
        self.by_minute.iter().try_for_each(|mib| write!(f, " {mib:.1}"))
    }
}

/// Resident bytes with their times.
#[derive(Debug, Clone, Default)]
pub(super) struct Samples(Arc<Mutex<Vec<(Duration, u64)>>>);

impl Samples {
    /// The medians of the first samples after a minute, and of the last ones. `None` if there are too few.
    pub(super) fn growth(&self) -> Option<Growth> {
        let samples = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let late: Vec<u64> = samples.iter().filter(|(time, _)| *time >= FILLING).map(|(_, bytes)| *bytes).collect();
        if late.len() < 2 * WINDOW {
            return None;
        }
        let by_minute = (1..).map_while(|minute: u32| {
            let from = samples.iter().skip_while(|(time, _)| *time < FILLING * minute);
            let window: Vec<u64> = from.take(WINDOW).map(|(_, bytes)| *bytes).collect();
            window.first_chunk().map(median)
        });
        Some(Growth {
            after_a_minute: median(late.first_chunk()?),
            at_the_end: median(late.last_chunk()?),
            by_minute: by_minute.collect(),
        })
    }
}

#[expect(clippy::cast_precision_loss, reason = "memory is far below 2^53 bytes")]
fn median(bytes: &[u64; WINDOW]) -> f64 {
    let mut sorted = *bytes;
    sorted.sort_unstable();
    sorted[WINDOW / 2] as f64 / (1024.0 * 1024.0)
}

/// Takes samples until it is dropped.
pub(super) async fn sample(functions: Arc<FunctionsHost>, samples: Samples) {
    let start = Instant::now();
    loop {
        tokio::time::sleep(INTERVAL).await;
        let pids = functions.handlers().into_iter().filter_map(|handler| handler.pid);
        // Between two handlers there is nothing to measure.
        if let Some(bytes) = pids.filter_map(|pid| resident(pid).ok()).max() {
            samples.0.lock().unwrap_or_else(PoisonError::into_inner).push((start.elapsed(), bytes));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1024 * 1024;

    fn samples(mib: impl Iterator<Item = u64>) -> Samples {
        let all = (0..).map(Duration::from_secs).zip(mib.map(|mib| mib * MIB)).collect();
        Samples(Arc::new(Mutex::new(all)))
    }

    #[test]
    fn memory_that_fills_at_first_and_then_stays_is_flat() {
        let growth = samples((0..200).map(|second| second.min(60))).growth().unwrap();
        let by_minute = vec![60.0; 3];
        assert_eq!(growth, Growth { after_a_minute: 60.0, at_the_end: 60.0, by_minute });
        assert!(growth.is_flat());
    }

    #[test]
    fn memory_that_goes_on_growing_is_not_flat_and_a_peak_is_no_growth() {
        assert!(!samples((0..600).map(|second| 60 + second / 10)).growth().unwrap().is_flat());
        let peak = |second| if second % 60 == 7 { 500 } else { 60 };
        assert!(samples((0..600).map(peak)).growth().unwrap().is_flat());
    }

    #[test]
    fn a_run_of_hardly_more_than_a_minute_says_nothing() {
        assert_eq!(samples((0..70).map(|_| 60)).growth(), None);
    }
}
