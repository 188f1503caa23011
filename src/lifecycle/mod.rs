//! `DeleteDeviceInTwinFunc`: a device deleted in IoT Hub takes its twin and the twin's relationships with it.
//!
//! Decode, plan, apply: `decode` reads an event, `plan` decides whether the deletion is about a twin, and `apply`
//! finds and removes that. Here what fails for now is tried again.

mod apply;
mod decode;
mod plan;
#[cfg(any(test, fuzzing))]
mod rehearsal;
mod relationships;
mod removed;

use std::num::NonZeroU32;
use std::sync::atomic::AtomicUsize;

use async_trait::async_trait;
use futures::StreamExt;
use jiff::Timestamp;

use self::apply::Remover;
use self::decode::Deletion;
#[cfg(any(test, fuzzing))]
pub(crate) use self::rehearsal::rehearse;
use self::removed::Removed;
use crate::binding::Directory;
use crate::device::{DeviceId, HubName};
use crate::digital_twins::{Client, TwinId};
use crate::host::{Answer, EventBatch, EventFunction, InvocationId};
use crate::outcome::{Attempt, Failure, Outages, Outcome, Outcomes, Report, Work};
use crate::settings::Lifecycle;

/// The function's name, and its route.
pub const NAME: &str = "DeleteDeviceInTwinFunc";

/// Devices that one batch works on at once.
const CONCURRENT: usize = 16;

/// The function.
#[derive(Debug)]
pub struct DeleteDeviceInTwin {
    client: Client,
    directory: Directory,
    settings: Lifecycle,
    max_attempts: NonZeroU32,
    outages: Outages,
    removed: Removed,
}

impl DeleteDeviceInTwin {
    /// The function, removing twins through `client`; `directory` finds them, and forgets them then. After
    /// `max_attempts` at a batch, what alone still fails becomes dead letters.
    #[must_use]
    pub fn new(client: Client, directory: Directory, settings: Lifecycle, max_attempts: NonZeroU32) -> Self {
        Self { client, directory, settings, max_attempts, outages: Outages::new(), removed: Removed::new() }
    }

    /// Removes the twin of a device of which somebody else found out that `hub` does not have it any more, as the event
    /// of its deletion at `time` would: by the same guards, and under the same setting.
    ///
    /// # Errors
    /// A failure that may pass.
    pub(crate) async fn remove(
        &self,
        twin: TwinId,
        device: DeviceId,
        hub: HubName,
        time: Timestamp,
    ) -> Result<Outcome, Failure> {
        let attempt = Attempt::first(self.max_attempts);
        let deletion = Deletion { event: 0, device, hub, time, source_time: time, tagged: Some(twin) };
        attempt.work(self.remover(&attempt).apply(&deletion, Timestamp::now())).await
    }

    fn remover<'a>(&'a self, attempt: &'a Attempt) -> Remover<'a> {
        Remover {
            client: &self.client,
            directory: &self.directory,
            attempt,
            on_delete: self.settings.on_delete,
            removed: &self.removed,
            unassigned: AtomicUsize::new(0),
            deleted: AtomicUsize::new(0),
        }
    }

    /// Works through a batch as far as it gets in the time of the attempt.
    pub(crate) async fn work_through(&self, batch: &EventBatch, attempt: &Attempt) -> Work {
        let mut outcomes = Outcomes::of(batch.events.len());
        let mut pending = Vec::new();
        for (index, event) in batch.events.iter().enumerate() {
            match decode::decode(index, event) {
                Ok(deletion) => pending.push(deletion),
                Err(outcome) => outcomes.settle(index, outcome),
            }
        }
        let remover = self.remover(attempt);
        let mut tries = 0;
        while !pending.is_empty() {
            let now = Timestamp::now();
            let work = pending.into_iter().map(|deletion| async {
                let answer = remover.apply(&deletion, now).await;
                (deletion, answer)
            });
            let work: Vec<_> = work.collect();
            let mut work = futures::stream::iter(work).buffer_unordered(CONCURRENT);
            pending = Vec::new();
            while let Some((deletion, answer)) = work.next().await {
                match answer {
                    Ok(outcome) => outcomes.settle(deletion.event, outcome),
                    Err(failure) => {
                        outcomes.fail(deletion.event, failure);
                        pending.push(deletion);
                    }
                }
            }
            if pending.is_empty() || !attempt.pause(tries).await {
                break;
            }
            tries += 1;
        }
        let (unassigned, deleted) = (remover.unassigned.into_inner(), remover.deleted.into_inner());
        Work { outcomes, twins: unassigned + deleted, patches: unassigned, deleted }
    }
}

#[async_trait]
impl EventFunction for DeleteDeviceInTwin {
    async fn run(&self, batch: EventBatch, _invocation: &InvocationId) -> Answer {
        let attempt = Attempt::begin(&batch, self.max_attempts);
        let work = attempt.work(self.work_through(&batch, &attempt)).await;
        let report = Report { function: NAME, batch: &batch, attempt: &attempt };
        let answer = report.conclude(work, &self.client, &self.outages).await;
        if matches!(answer, Answer::Done { .. }) {
            // What is lost for good is in the dead letters now.
            let devices = batch.events.iter().filter_map(|event| decode::device(event).ok());
            devices.for_each(|device| self.removed.forget_device(&device));
        }
        answer
    }
}

#[cfg(test)]
mod tests;
