//! Messages: made at their pace whatever the connection does, and followed until the hub has them.

use std::{pin::pin, time::Duration};

use futures::{FutureExt, StreamExt, future::BoxFuture, stream::FuturesUnordered};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::{
    DeviceError, Summary, TelemetrySource,
    event::{Event, Observer},
};
use crate::hub::{Outbox, Outcome, Telemetry};

/// A message whose outcome is known.
struct Settled {
    sequence: u64,
    telemetry: Telemetry,
    outcome: Outcome,
}

pub(super) struct Production<'a> {
    source: &'a mut TelemetrySource,
    /// How many the hub is to acknowledge; `None` is no end.
    wanted: Option<u64>,
    ticks: Option<Interval>,
    outbox: Outbox,
    unsettled: FuturesUnordered<BoxFuture<'static, Option<Settled>>>,
    made: u64,
    acknowledged: u64,
    dropped: u64,
    observer: &'a dyn Observer,
    shutdown: &'a CancellationToken,
}

impl<'a> Production<'a> {
    pub(super) fn new(
        source: &'a mut TelemetrySource,
        wanted: Option<u64>,
        reserve: usize,
        observer: &'a dyn Observer,
        shutdown: &'a CancellationToken,
    ) -> Self {
        Self {
            source,
            wanted,
            ticks: None,
            outbox: Outbox::new(reserve),
            unsettled: FuturesUnordered::new(),
            made: 0,
            acknowledged: 0,
            dropped: 0,
            observer,
            shutdown,
        }
    }

    pub(super) fn outbox(&self) -> &Outbox {
        &self.outbox
    }

    /// Starts to make messages, the first one at once.
    pub(super) fn begin(&mut self, period: Duration) {
        self.ticks.get_or_insert_with(|| {
            let mut ticks = interval(period.max(Duration::from_millis(1)));
            // After a pause (a suspended laptop) there are no readings to make up for.
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            ticks
        });
    }

    /// Awaits `future` while messages are made and settled. `None` once no more are wanted, or on shutdown.
    pub(super) async fn meanwhile<T>(&mut self, future: impl Future<Output = T>) -> Result<Option<T>, DeviceError> {
        let mut future = pin!(future);
        loop {
            if self.wanted.is_some_and(|wanted| self.acknowledged >= wanted) {
                return Ok(None);
            }
            let more = self.wants_more();
            tokio::select! {
                biased;
                () = self.shutdown.cancelled() => return Ok(None),
                Some(settled) = self.unsettled.next() => self.settle(settled),
                output = &mut future => return Ok(Some(output)),
                _ = tick(&mut self.ticks), if more => self.make()?,
            }
        }
    }

    /// Takes note of what was settled in the meantime, and sums up.
    pub(super) fn finish(mut self) -> Summary {
        while let Some(Some(settled)) = self.unsettled.next().now_or_never() {
            self.settle(settled);
        }
        Summary { acknowledged: self.acknowledged, dropped: self.dropped, unsent: self.outbox.len() }
    }

    fn wants_more(&self) -> bool {
        let under_way = u64::try_from(self.unsettled.len()).unwrap_or(u64::MAX);
        self.wanted.is_none_or(|wanted| self.acknowledged.saturating_add(under_way) < wanted)
    }

    fn make(&mut self) -> Result<(), DeviceError> {
        self.made += 1;
        let sequence = self.made;
        let telemetry = (self.source)(sequence)?;
        let outcome = self.outbox.push(&telemetry)?;
        let settled = outcome.map(move |outcome| Some(Settled { sequence, telemetry, outcome: outcome.ok()? }));
        self.unsettled.push(settled.boxed());
        Ok(())
    }

    fn settle(&mut self, settled: Option<Settled>) {
        let Some(Settled { sequence, telemetry, outcome }) = settled else { return };
        match outcome {
            Outcome::Acknowledged => {
                self.acknowledged += 1;
                self.observer.tell(Event::Acknowledged { sequence, telemetry: &telemetry });
            }
            Outcome::Dropped => {
                self.dropped += 1;
                self.observer.tell(Event::Dropped { sequence, total: self.dropped });
            }
        }
    }
}

async fn tick(ticks: &mut Option<Interval>) -> Instant {
    match ticks {
        Some(ticks) => ticks.tick().await,
        None => std::future::pending().await,
    }
}
