//! `DeviceTelemetryToTwinFunc`: what devices measure becomes properties of their twins.
//!
//! Decode, plan, apply: `decode` reads an event, `plan` decides what the messages for one twin change in it, and
//! `apply` writes that. Here the twins are looked up, and what fails for now is tried again.

mod apply;
mod body;
mod conversion;
mod decode;
mod mapping;
mod nearest;
mod plan;
mod preview;
mod rehearsal;
mod unknown;

pub use mapping::{Fault, Mapping, MappingError, Rule, Trouble};
pub use preview::{Preview, preview};
pub use rehearsal::{Write, rehearse};

use std::collections::{BTreeMap, HashMap, HashSet};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use async_trait::async_trait;
use dtdl::ModelId;
use futures::StreamExt;
use jiff::Timestamp;

use self::apply::{Left, Writer, Written};
use self::plan::Message;
use self::unknown::UnknownMembers;
use crate::binding::{Directory, Found, Known, Sender};
use crate::dead_letter::{Code, Reason};
use crate::device::DeviceId;
use crate::digital_twins::{Client, TwinId};
use crate::host::{Answer, EventBatch, EventFunction, InvocationId};
use crate::outcome::{Attempt, Failure, LeftOut, Once, Outages, Outcome, Outcomes, Report, Unanswered, Work};
use crate::settings::{Telemetry, WithoutTwin};

/// The function's name, and its route.
pub const NAME: &str = "DeviceTelemetryToTwinFunc";

/// Twins, and look-ups, that one batch works on at once.
const CONCURRENT: usize = 32;

/// How often a twin that is not as remembered is looked up again without a pause.
const QUICK_LOOKS: u32 = 3;

/// Devices without twins that were warned about within the hour.
const MAX_WARNED: u64 = 10_000;

/// Models that the mapping was checked against.
const MAX_CHECKED: u64 = 1000;

/// The function.
#[derive(Debug)]
pub struct DeviceTelemetryToTwin {
    client: Client,
    directory: Directory,
    settings: Telemetry,
    mapping: Mapping,
    max_attempts: NonZeroU32,
    unknown: UnknownMembers,
    checked_mappings: Once<ModelId>,
    without_twin: Once<DeviceId>,
    outages: Outages,
}

impl DeviceTelemetryToTwin {
    /// The function, writing through `client` to twins that `directory` finds. After `max_attempts` at a batch, what
    /// alone still fails becomes dead letters.
    #[must_use]
    pub fn new(client: Client, directory: Directory, settings: Telemetry, max_attempts: NonZeroU32) -> Self {
        Self {
            client,
            directory,
            settings,
            mapping: Mapping::default(),
            max_attempts,
            unknown: UnknownMembers::new(),
            checked_mappings: Once::ever(MAX_CHECKED),
            without_twin: Once::every(Duration::from_secs(3600), MAX_WARNED),
            outages: Outages::new(),
        }
    }

    /// The function, which finds values where `mapping` says.
    #[must_use]
    pub fn with_mapping(self, mapping: Mapping) -> Self {
        Self { mapping, ..self }
    }

    /// Works through a batch as far as it gets in the time of the attempt.
    pub(crate) async fn work_through(&self, batch: &EventBatch, attempt: &Attempt) -> Work {
        let mut outcomes = Outcomes::of(batch.events.len());
        let mut pending = Vec::new();
        for (index, event) in batch.events.iter().enumerate() {
            match decode::decode(index, event) {
                Ok(message) => pending.push(message),
                Err(outcome) => outcomes.settle(index, outcome),
            }
        }
        let writer = Writer {
            client: &self.client,
            attempt,
            source_times: self.directory.source_times(),
            unknown: &self.unknown,
            mapping: &self.mapping,
            patches: AtomicUsize::new(0),
        };
        let mut twins = Twins::default();
        let mut tries = 0;
        while !pending.is_empty() {
            let round = self.round(&writer, pending, &mut twins, &mut outcomes).await;
            pending = round.pending;
            let is_quick = !round.has_failed && tries < QUICK_LOOKS;
            if pending.is_empty() || !(is_quick || attempt.pause(tries).await) {
                break;
            }
            tries += 1;
        }
        Work { outcomes, twins: twins.seen.len(), patches: writer.patches.into_inner(), deleted: 0 }
    }

    /// One try at what is pending: twins looked up, messages written. What failed, or has to be looked up again, is
    /// left pending.
    async fn round(
        &self,
        writer: &Writer<'_>,
        pending: Vec<Message>,
        twins: &mut Twins,
        outcomes: &mut Outcomes,
    ) -> Round {
        let now = Timestamp::now();
        let mut round = Round::default();
        let mut by_twin: BTreeMap<TwinId, (Arc<Known>, Vec<Message>)> = BTreeMap::new();
        for (addressee, messages) in self.look_up(writer.attempt, pending).await {
            match addressee {
                Addressee::Twin(known) => {
                    let entry = by_twin.entry(known.id().clone());
                    entry.or_insert_with(|| (known, Vec::new())).1.extend(messages);
                }
                Addressee::None(outcome) => settle(&messages, &outcome, outcomes),
                Addressee::Unknown(failure) => round.postpone(messages, &failure, outcomes),
            }
        }
        let mut work = Vec::new();
        for (id, (known, messages)) in by_twin {
            self.check_mapping(&known);
            let is_fresh = twins.renewed.contains(&id);
            twins.seen.insert(id);
            work.push(async move {
                let written = writer.write(&known, is_fresh, messages, now).await;
                (known, written)
            });
        }
        let mut work = futures::stream::iter(work).buffer_unordered(CONCURRENT);
        while let Some((known, Written { settled, left })) = work.next().await {
            settled.into_iter().for_each(|(event, outcome)| outcomes.settle(event, outcome));
            let Some(Left { messages, failure, is_stale }) = left else { continue };
            if !is_stale {
                round.postpone(messages, &failure, outcomes);
                continue;
            }
            self.directory.forget(known.id());
            messages.iter().for_each(|message| self.directory.forget_device(&message.device));
            twins.renewed.insert(known.id().clone());
            round.keep(messages, &failure, outcomes);
        }
        round
    }

    /// Looks up whose twin the messages are for, once for each sender and claim.
    async fn look_up(&self, attempt: &Attempt, pending: Vec<Message>) -> Vec<(Addressee, Vec<Message>)> {
        let mut groups: HashMap<(DeviceId, Option<TwinId>), Vec<Message>> = HashMap::new();
        for message in pending {
            groups.entry((message.device.clone(), message.claim.clone())).or_default().push(message);
        }
        let look_ups = groups.into_iter().map(|((device, claim), messages)| async move {
            let sender = Sender {
                device: &device,
                claim: claim.as_ref(),
                takes_unbound: self.settings.trust_dtid,
                came: attempt.begun(),
            };
            let addressee = match attempt.call(self.directory.find(sender)).await {
                Ok(found) => self.judge(&device, claim.as_ref(), found),
                Err(Unanswered::Refused(error)) => Addressee::dead_letter(Code::Refused, error.to_string()),
                Err(Unanswered::Failed(failure)) => Addressee::Unknown(failure),
            };
            (addressee, messages)
        });
        let look_ups: Vec<_> = look_ups.collect();
        futures::stream::iter(look_ups).buffer_unordered(CONCURRENT).collect().await
    }

    /// Warns, once a model, of rules of the mapping that do not fit it: they write nothing.
    fn check_mapping(&self, known: &Known) {
        if self.mapping.is_empty() || !self.checked_mappings.is_first(known.model().clone()) {
            return;
        }
        for fault in self.mapping.check(known.model(), known.models()) {
            tracing::warn!(model = %known.model(), rule = %fault, "a rule of TELEMETRY_MAPPING_FILE does not fit the model");
        }
    }

    /// Whether what was found for a sender's messages may be written to.
    fn judge(&self, device: &DeviceId, claim: Option<&TwinId>, found: Found) -> Addressee {
        let dead_letter = Addressee::dead_letter;
        match (found, claim) {
            (Found::Bound(known), _) => Addressee::Twin(known),
            (Found::Unbound(known), _) if self.settings.trust_dtid => Addressee::Twin(known),
            (Found::Unbound(known), _) => dead_letter(
                Code::TwinOfOther,
                format!(
                    "dtId names twin {}, which is bound to no device (TELEMETRY_TRUST_DTID=on follows it)",
                    known.id()
                ),
            ),
            (Found::Foreign(known), _) => dead_letter(
                Code::TwinOfOther,
                format!("dtId names twin {}, which is bound to another device than the sender {device}", known.id()),
            ),
            (Found::Missing, Some(claim)) => {
                dead_letter(Code::TwinMissing, format!("dtId names twin {claim}, which does not exist"))
            }
            (Found::Missing, None) => match self.settings.without_twin {
                WithoutTwin::DeadLetter => dead_letter(Code::NoTwin, format!("device {device} has no twin")),
                WithoutTwin::LeaveOut => {
                    if self.without_twin.is_first(device.clone()) {
                        tracing::warn!(%device, "a device that has no twin sends telemetry: it is left out");
                    }
                    Addressee::None(Outcome::LeftOut(LeftOut::NoTwin))
                }
            },
        }
    }
}

/// Where messages go.
enum Addressee {
    Twin(Arc<Known>),
    /// There is no twin for them, and this becomes of them.
    None(Outcome),
    /// It could not be found out for now.
    Unknown(Failure),
}

impl Addressee {
    fn dead_letter(code: Code, detail: String) -> Self {
        Self::None(Outcome::DeadLetter(Reason::new(code, detail)))
    }
}

/// The twins that messages of a batch are for.
#[derive(Debug, Default)]
struct Twins {
    seen: HashSet<TwinId>,
    /// Those that were read anew for this attempt, because they were not as remembered.
    renewed: HashSet<TwinId>,
}

/// What one try left to do.
#[derive(Debug, Default)]
struct Round {
    pending: Vec<Message>,
    /// Something failed that may pass: a pause may help.
    has_failed: bool,
}

impl Round {
    fn postpone(&mut self, messages: Vec<Message>, failure: &Failure, outcomes: &mut Outcomes) {
        self.has_failed = true;
        self.keep(messages, failure, outcomes);
    }

    fn keep(&mut self, messages: Vec<Message>, failure: &Failure, outcomes: &mut Outcomes) {
        messages.iter().for_each(|message| outcomes.fail(message.event, failure.clone()));
        self.pending.extend(messages);
    }
}

fn settle(messages: &[Message], outcome: &Outcome, outcomes: &mut Outcomes) {
    messages.iter().for_each(|message| outcomes.settle(message.event, outcome.clone()));
}

#[async_trait]
impl EventFunction for DeviceTelemetryToTwin {
    async fn run(&self, batch: EventBatch, _invocation: &InvocationId) -> Answer {
        let attempt = Attempt::begin(&batch, self.max_attempts);
        let work = attempt.work(self.work_through(&batch, &attempt)).await;
        Report { function: NAME, batch: &batch, attempt: &attempt }.conclude(work, &self.client, &self.outages).await
    }
}

#[cfg(test)]
mod tests;
