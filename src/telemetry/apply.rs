//! Writes the messages of a batch to one twin: one patch, and more only where the service refuses that, or somebody else
//! wrote to the twin since.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};

use jiff::Timestamp;
use serde_json::Value;

use super::mapping::Mapping;
use super::plan::{Change, Message, Target, TwinPlan, plan};
use super::unknown::UnknownMembers;
use crate::binding::{Known, SourceTimes, State};
use crate::dead_letter::{Code, Reason};
use crate::digital_twins::{Client, Condition, ETag, Error, MAX_PAYLOAD_BYTES, Patch};
use crate::outcome::{Attempt, Failure, Outcome, Unanswered};

/// So many refused patches of one twin are taken apart to find the messages that are to blame; then all that are left
/// go to the dead letters. Enough to find three among 256.
const MAX_REFUSALS: usize = 32;

/// How often a twin that others write at the same time is read again, before a pause.
const MAX_CONFLICTS: usize = 5;

/// What became of the messages for one twin.
#[derive(Debug, Default)]
pub(super) struct Written {
    /// Messages that are done with, by event.
    pub(super) settled: Vec<(usize, Outcome)>,
    /// What is left to do, if anything.
    pub(super) left: Option<Left>,
}

/// Messages that were not written for now.
#[derive(Debug)]
pub(super) struct Left {
    pub(super) messages: Vec<Message>,
    /// What failed.
    pub(super) failure: Failure,
    /// The twin is not as remembered: it has to be looked up again.
    pub(super) is_stale: bool,
}

/// Writes messages to twins.
#[derive(Debug)]
pub(super) struct Writer<'a> {
    pub(super) client: &'a Client,
    pub(super) attempt: &'a Attempt,
    pub(super) source_times: &'a SourceTimes,
    pub(super) unknown: &'a UnknownMembers,
    pub(super) mapping: &'a Mapping,
    /// Patches that the service took.
    pub(super) patches: AtomicUsize,
}

/// Why changes were not written.
enum Stop {
    /// The service refuses them for good.
    Refused(Error),
    /// The twin is not there, or not the one that is known.
    Gone(Failure),
    /// Somebody else wrote to the twin.
    Changed(Failure),
    /// It may pass.
    Failed(Failure),
}

impl From<Unanswered> for Stop {
    fn from(unanswered: Unanswered) -> Self {
        match unanswered {
            Unanswered::Failed(failure) => Self::Failed(failure),
            Unanswered::Refused(error @ Error::NotFound { .. }) => Self::Gone(Failure::from(&error)),
            Unanswered::Refused(error @ Error::PreconditionFailed { .. }) => Self::Changed(Failure::from(&error)),
            Unanswered::Refused(error) => Self::Refused(error),
        }
    }
}

impl Writer<'_> {
    /// Writes `messages` to the twin, and says of each what became of it.
    ///
    /// A refused patch is taken apart, older half first, until the messages that are to blame stand alone: a bad
    /// message costs only itself. But first, unless `is_fresh`, the twin is to be looked up again: its model may have
    /// changed since.
    pub(super) async fn write(
        &self,
        known: &Known,
        is_fresh: bool,
        mut messages: Vec<Message>,
        now: Timestamp,
    ) -> Written {
        messages.sort_by_key(|message| (message.stamp, message.event));
        let mut state = known.state().lock().await;
        let mut settled = Vec::with_capacity(messages.len());
        let mut parts = vec![messages];
        let mut refusals = 0;
        while let Some(messages) = parts.pop() {
            let (plan, answer) = self.plan_and_patch(known, &mut state, &messages, now).await;
            let Err(stop) = answer else {
                self.warn(known, &plan);
                settled.extend(plan.outcomes);
                continue;
            };
            let (failure, is_stale) = match stop {
                Stop::Refused(error) if is_fresh && refusals < MAX_REFUSALS => {
                    refusals += 1;
                    let (guilty, rest) = take_apart(messages, &plan);
                    settled.extend(guilty.map(|event| (event, refused(&error))));
                    parts.extend(rest);
                    continue;
                }
                Stop::Refused(error) if is_fresh => {
                    let rest = parts.into_iter().flatten().chain(messages);
                    settled.extend(rest.map(|message| (message.event, refused(&error))));
                    return Written { settled, left: None };
                }
                Stop::Refused(error) => (Failure::from(&error), true),
                Stop::Gone(failure) => (failure, true),
                Stop::Changed(failure) | Stop::Failed(failure) => (failure, false),
            };
            let messages = parts.into_iter().flatten().chain(messages).collect();
            return Written { settled, left: Some(Left { messages, failure, is_stale }) };
        }
        Written { settled, left: None }
    }

    /// Plans what `messages` change and writes it; both again, from the twin as it is then, where somebody else wrote to
    /// it since it was read.
    async fn plan_and_patch(
        &self,
        known: &Known,
        state: &mut State,
        messages: &[Message],
        now: Timestamp,
    ) -> (TwinPlan, Result<(), Stop>) {
        let mut conflicts = 0;
        loop {
            let (model, models, mapping) = (known.model(), known.models(), self.mapping);
            let plan = plan(messages, Target { model, models, mapping, stamps: &state.stamps, now });
            let answer = match self.patch(known, state, &plan.changes).await {
                Err(Stop::Changed(_)) if conflicts < MAX_CONFLICTS => {
                    conflicts += 1;
                    match self.renew(known, state, &plan.changes).await {
                        Ok(()) => continue,
                        stopped => stopped,
                    }
                }
                answer => answer,
            };
            return (plan, answer);
        }
    }

    /// Reads the twin again, to go on from what it is now. Of `changes`, which were to be written, those that are in it
    /// already were written by a try whose answer was lost, or by another instance that has the same events.
    async fn renew(&self, known: &Known, state: &mut State, changes: &[Change]) -> Result<(), Stop> {
        let other = || Stop::Gone(Failure::unsteady(format!("twin {} is not the one that it was", known.id())));
        let twin = self.attempt.call(self.client.get(known.id())).await?.ok_or_else(other)?;
        let has_source_times = self.source_times.are_taken();
        if !known.renew(state, &twin, !has_source_times) {
            return Err(other());
        }
        for Change { path, value, stamp, .. } in changes {
            let is_as_new = state.stamps.get(path).is_some_and(|stored| stored.time == stamp.time);
            if (is_as_new || !has_source_times) && twin.value(path).is_some_and(|stored| is_same(stored, value)) {
                state.stamps.insert(path.clone(), *stamp);
            }
        }
        Ok(())
    }

    /// Writes `changes` in as few patches as the service's limit on their size allows, and notes what was written.
    async fn patch(&self, known: &Known, state: &mut State, changes: &[Change]) -> Result<(), Stop> {
        let mut parts = vec![changes];
        while let Some(changes) = parts.pop() {
            let patch = self.document(changes);
            if patch.is_empty() {
                continue;
            }
            if changes.len() > 1 && is_too_large(&patch) {
                let (first, second) = changes.split_at(changes.len() / 2);
                parts.extend([second, first]);
                continue;
            }
            state.etag = self.send(known, &state.etag, &patch).await?;
            self.patches.fetch_add(1, Ordering::Relaxed);
            state.stamps.extend(changes.iter().map(|change| (change.path.clone(), change.stamp)));
        }
        Ok(())
    }

    fn document(&self, changes: &[Change]) -> Patch {
        let values =
            changes.iter().fold(Patch::new(), |patch, change| patch.add(change.path.clone(), change.value.clone()));
        if !self.source_times.are_taken() {
            return values;
        }
        changes.iter().fold(values, |patch, change| patch.source_time(change.path.clone(), change.stamp.time))
    }

    /// Sends a patch of the twin's version `etag`; one that is refused goes again without source times, which may be what
    /// was refused.
    async fn send(&self, known: &Known, etag: &ETag, patch: &Patch) -> Result<ETag, Unanswered> {
        let send = |patch: Patch| {
            let condition = Condition::IfMatch(etag.clone());
            self.attempt.call(async move { self.client.patch(known.id(), &patch, condition).await })
        };
        match send(patch.clone()).await {
            Err(Unanswered::Refused(error @ Error::Refused { .. })) if patch.has_source_times() => {
                match send(patch.without_source_times()).await {
                    Ok(etag) => {
                        self.source_times.were_refused();
                        Ok(etag)
                    }
                    // The first refusal is the one about the whole.
                    Err(Unanswered::Refused(Error::Refused { .. })) => Err(Unanswered::Refused(error)),
                    Err(unanswered) => Err(unanswered),
                }
            }
            answer => answer,
        }
    }

    fn warn(&self, known: &Known, plan: &TwinPlan) {
        for (component, name) in &plan.unknown {
            self.unknown.warn(known.model(), known.models(), component.as_deref(), name);
        }
        if plan.bookkeeping > 0 {
            tracing::warn!(
                twin = %known.id(),
                members = plan.bookkeeping,
                "telemetry would overwrite bookkeeping properties: left out"
            );
        }
    }
}

/// From a refused patch of `messages`: the event that is to blame, if that is clear by now, and the messages to go on
/// with, in parts, the one to try next last.
fn take_apart(mut messages: Vec<Message>, plan: &TwinPlan) -> (Option<usize>, Vec<Vec<Message>>) {
    let contributors: BTreeSet<usize> = plan.changes.iter().map(|change| change.event).collect();
    match contributors.first() {
        Some(only) if contributors.len() == 1 => {
            messages.retain(|message| message.event != *only);
            (Some(*only), vec![messages])
        }
        _ => {
            let newer = messages.split_off(messages.len() / 2);
            (None, vec![newer, messages])
        }
    }
}

/// Whether two values are the same to the service, which may write a number in another form than it came.
fn is_same(stored: &Value, value: &Value) -> bool {
    let is_inexact = stored.is_f64() || value.is_f64();
    stored == value || (is_inexact && stored.as_f64() == value.as_f64())
}

fn refused(error: &Error) -> Outcome {
    Outcome::DeadLetter(Reason::new(Code::Refused, error.to_string()))
}

fn is_too_large(patch: &Patch) -> bool {
    serde_json::to_vec(patch).is_ok_and(|document| document.len() > MAX_PAYLOAD_BYTES)
}
