//! Afterwards: what became of everything that was sent.

use std::{
    collections::{BTreeMap, HashMap},
    ops::Deref,
};

use function_app::dead_letter::{Code, DeadLetter, Document};
use jiff::{SignedDuration, Timestamp};
use local_azure::{digital_twins::DigitalTwins, services::Services};
use serde_json::Value;

use super::{
    oracle::{History, Kind, Life, Property, Sent},
    report::Violation,
    watch::{stored, unsent},
};

const CONTAINER: &str = "dead-letters";

/// How long an instance of the function app remembers that a device has no twin.
const NO_TWIN: SignedDuration = SignedDuration::from_secs(60);

/// What is excused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rules {
    /// Calls fail one by one, so what failed at each of several attempts while others worked may be given up.
    SomeMayBeGivenUp,
    /// Azure Digital Twins as a whole failed, for which nothing is given up.
    NothingIsGivenUp,
}

/// Dead letters. An event that was delivered twice may be there twice.
#[derive(Debug)]
pub(super) struct DeadLetters {
    /// Those of telemetry by partition and sequence number.
    telemetry: HashMap<(usize, u64), Vec<Letter>>,
    lifecycle: Vec<Letter>,
}

/// A dead letter.
#[derive(Debug)]
struct Letter {
    /// When the event was given up.
    time: Timestamp,
    letter: DeadLetter,
}

impl Deref for Letter {
    type Target = DeadLetter;

    fn deref(&self) -> &DeadLetter {
        &self.letter
    }
}

impl DeadLetters {
    /// Reads all of them.
    ///
    /// # Errors
    /// When a document is not as it should be.
    pub(super) fn read(services: &Services) -> anyhow::Result<Self> {
        let of = |function| letters(services, function);
        Self::new(of(function_app::telemetry::NAME)?, of(function_app::lifecycle::NAME)?)
    }

    fn new(all_of_telemetry: Vec<Letter>, lifecycle: Vec<Letter>) -> anyhow::Result<Self> {
        let mut telemetry: HashMap<_, Vec<_>> = HashMap::new();
        for letter in all_of_telemetry {
            let partition = letter.partition.as_deref().and_then(|partition| partition.parse().ok());
            let number = letter.sequence_number.and_then(|number| u64::try_from(number).ok());
            let (Some(partition), Some(number)) = (partition, number) else {
                anyhow::bail!("a dead letter does not say where it comes from: {letter:?}");
            };
            telemetry.entry((partition, number)).or_default().push(letter);
        }
        Ok(Self { telemetry, lifecycle })
    }

    /// How many events became dead letters, by reason.
    pub(super) fn by_reason(&self) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for letter in self.telemetry.values().filter_map(|letters| letters.first()).chain(&self.lifecycle) {
            *counts.entry(format!("{:?}", letter.reason.code)).or_default() += 1;
        }
        counts
    }

    /// Nothing that IoT Hub says of devices is a dead letter, unless it was given up.
    pub(super) fn violations(&self, rules: Rules) -> Vec<Violation> {
        let wrong = self.lifecycle.iter().filter(|letter| !rules.excuse(letter));
        let what = |letter: &Letter| format!("I2: a deletion is a dead letter: {:?}", letter.reason);
        wrong.map(|letter| Violation::of(letter.device_id.as_deref().unwrap_or("?"), what(letter))).collect()
    }

    fn of(&self, sent: &Sent) -> &[Letter] {
        self.telemetry.get(&(sent.partition, sent.sequence_number)).map_or(&[], Vec::as_slice)
    }

    /// Whether a deletion of the device was given up: its twin may then still be there.
    fn has_deletion_of(&self, device: &str) -> bool {
        self.lifecycle.iter().any(|letter| letter.device_id.as_deref() == Some(device))
    }
}

fn letters(services: &Services, function: &str) -> anyhow::Result<Vec<Letter>> {
    let mut letters = Vec::new();
    for (name, blob) in services.blobs.list(CONTAINER, &format!("{function}/")) {
        let document: Document =
            serde_json::from_slice(&blob.content).map_err(|error| anyhow::anyhow!("blob {name}: {error}"))?;
        let time = document.time;
        letters.extend(document.dead_letters.into_iter().map(|letter| Letter { time, letter }));
    }
    Ok(letters)
}

impl Rules {
    fn excuse(self, letter: &Letter) -> bool {
        self == Self::SomeMayBeGivenUp && letter.reason.code == Code::StillFailing
    }
}

/// What is wrong with one device's messages and twin.
pub(super) fn device(history: &History, letters: &DeadLetters, twins: &DigitalTwins, rules: Rules) -> Vec<String> {
    let mut violations: Vec<String> =
        history.sent().iter().filter_map(|sent| message(history, sent, letters, rules)).collect();
    if !letters.has_deletion_of(&history.device) {
        violations.extend(history.possible_twins().filter_map(|id| stray(history, &id, twins)));
    }
    let Some(life) = history.alive() else { return violations };
    let Some(twin) = twins.twin(&life.twin) else {
        violations.push(format!("I4: its twin {} is lost", life.twin));
        return violations;
    };
    for property in Property::ALL {
        violations.extend(newest_value(history, life, letters, property, stored(&twin, property)));
    }
    let (named, hub) = (twin.get("HubName").and_then(Value::as_str), life.hub.split('.').next());
    if named != hub {
        violations.push(format!("twin {} has HubName {named:?}, and the device is in {hub:?}", life.twin));
    }
    violations
}

/// I2: a message ended in one of the ways that its kind allows.
fn message(history: &History, sent: &Sent, letters: &DeadLetters, rules: Rules) -> Option<String> {
    let found = letters.of(sent);
    let told = |what: &str| {
        let body = sent.body.escape_ascii();
        let at = format!("partition {}, sequence number {}, {}", sent.partition, sent.sequence_number, sent.time);
        Some(format!("I2: {what}: \"{body}\" ({at}): {:?}", found.first().map(|letter| &letter.reason)))
    };
    if found.iter().any(|letter| letter.body.0 != sent.body) {
        return told("the dead letter has another body");
    }
    if found.iter().any(|letter| letter.device_id.as_ref() != Some(&history.device)) {
        return told("the dead letter names another device");
    }
    let is_excused = |letter: &Letter| rules.excuse(letter) || had_no_twin(history, sent, letter);
    match &sent.kind {
        Kind::Unreadable | Kind::Foreign if found.is_empty() => told("it is in no dead letter"),
        // Without a twin nobody knows what would fit: a rule leaves such messages out.
        Kind::Unfitting(_) if found.is_empty() && !may_be_left_out(history, sent) => told("it is in no dead letter"),
        Kind::LeftOut | Kind::Reading(_) if !found.iter().all(is_excused) => told("a good message is a dead letter"),
        _ => None,
    }
}

/// A good message, also one that a rule would leave out, becomes a dead letter when its device was deleted before it
/// was handled.
fn had_no_twin(history: &History, sent: &Sent, letter: &Letter) -> bool {
    let was_deleted = history.was_deleted_between(sent.time, letter.time);
    matches!(letter.reason.code, Code::TwinMissing | Code::TwinOfOther) && was_deleted
}

/// Whether the device may have counted as one without a twin when its message was handled: it was deleted, or it has
/// come back, names no twin, and an instance of the app remembers that there was none.
fn may_be_left_out(history: &History, sent: &Sent) -> bool {
    let since = |life: &&Life| life.from < sent.time;
    let is_remembered = match history.lives.iter().filter(since).collect::<Vec<_>>()[..] {
        [_, .., life] => !life.is_tagged && sent.time.duration_since(life.from) <= NO_TWIN,
        _ => false,
    };
    is_remembered || history.was_deleted_between(sent.time, Timestamp::MAX)
}

/// I1 and I4: no twin but that of the registration that stands.
fn stray(history: &History, id: &str, twins: &DigitalTwins) -> Option<String> {
    let is_its = history.alive().is_some_and(|life| life.twin == id);
    // A device that never came to register leaves the twin that was made for it.
    let waits = history.lives.is_empty() && history.prepared.as_deref() == Some(id);
    let twin = twins.twin(id).filter(|_| !is_its && !waits)?;
    let lives: Vec<_> = history.lives.iter().map(|life| (life.from, life.until)).collect();
    Some(format!("I1/I4: twin {id} should not be there; registered {lives:?}; it is {twin}"))
}

/// I2 and I9: of each property, the newest value that was not given up, or a newer one, is there, and nothing else.
fn newest_value(
    history: &History,
    life: &Life,
    letters: &DeadLetters,
    property: Property,
    stored: Option<(Timestamp, f64)>,
) -> Option<String> {
    if let Some((time, value)) = stored
        && let Some(foreign) = unsent(history, property, time, value)
    {
        return Some(foreign);
    }
    let is_to_apply = |sent: &&Sent| match &sent.kind {
        Kind::Reading(_) => letters.of(sent).is_empty(),
        // Of a poisonous message, what is good is applied.
        _ => letters.of(sent).iter().all(|letter| letter.reason.code != Code::StillFailing),
    };
    let sets = history.sent().iter().filter(|sent| sent.time > life.from && sent.kind.value(property).is_some());
    let sets = sets.filter(|sent| !may_be_left_out(history, sent));
    let wanted = sets.filter(is_to_apply).max_by_key(|sent| sent.time)?;
    if stored.is_some_and(|(time, _)| time >= wanted.time) {
        return None;
    }
    let at = format!("partition {}, sequence number {}", wanted.partition, wanted.sequence_number);
    let name = property.name();
    Some(format!("I2: {name} is {stored:?}, and {:?} of {} is newer ({at})", wanted.kind, wanted.time))
}

#[cfg(test)]
mod tests;
