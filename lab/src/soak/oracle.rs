//! What is known of each device: everything that it sent, and when it was registered and deleted.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use jiff::Timestamp;

/// A property that messages set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Property {
    /// In most messages.
    Temperature,
    /// In some.
    ComfortIndex,
}

impl Property {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Temperature, Self::ComfortIndex];

    /// Its name in the model.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Temperature => "Temperature",
            Self::ComfortIndex => "ComfortIndex",
        }
    }
}

/// The values of a message that are good. Each value is sent by one device in one message, and in copies of it.
pub type Values = BTreeMap<Property, f64>;

/// What should become of a message.
#[derive(Debug, Clone, PartialEq)]
pub enum Kind {
    /// Its values are applied, or superseded by newer ones.
    Reading(Values),
    /// It becomes a dead letter: nobody can read it.
    Unreadable,
    /// It becomes a dead letter: a value does not fit its property. Its good values are applied or superseded all the
    /// same.
    Unfitting(Values),
    /// It becomes a dead letter: it claims the twin of another device.
    Foreign,
    /// A rule leaves it out.
    LeftOut,
}

impl Kind {
    /// Its value of a property, if it is one to apply.
    #[must_use]
    pub fn value(&self, property: Property) -> Option<f64> {
        match self {
            Self::Reading(values) | Self::Unfitting(values) => values.get(&property).copied(),
            Self::Unreadable | Self::Foreign | Self::LeftOut => None,
        }
    }
}

/// A message that was sent.
#[derive(Debug, Clone)]
pub struct Sent {
    /// Where it went.
    pub partition: usize,
    /// Its number there.
    pub sequence_number: u64,
    /// When IoT Hub took it.
    pub time: Timestamp,
    /// Its body.
    pub body: Bytes,
    /// What should become of it.
    pub kind: Kind,
}

/// A time that a device was registered for.
#[derive(Debug, Clone)]
pub struct Life {
    /// When the registration was complete.
    pub from: Timestamp,
    /// When it was deleted in IoT Hub, if it was.
    pub until: Option<Timestamp>,
    /// The twin that the registration answered.
    pub twin: String,
    /// The host name of the hub where the device is.
    pub hub: String,
    /// Whether its messages name the twin.
    pub is_tagged: bool,
}

/// One device.
#[derive(Debug, Clone)]
pub struct History {
    /// Its id in IoT Hub.
    pub device: String,
    /// The twin that an operator made for it beforehand.
    pub prepared: Option<String>,
    /// Everything it sent, in order.
    sent: Vec<Sent>,
    /// The good values in it, by the time of their message.
    values: HashMap<(Property, Timestamp), f64>,
    /// Its registrations, those that only repeated one left out.
    pub lives: Vec<Life>,
    /// What was wrong while it went on.
    violations: Vec<String>,
}

impl History {
    /// A device that was never heard of.
    #[must_use]
    pub fn new(device: String, prepared: Option<String>) -> Self {
        let (sent, values, lives, violations) = (Vec::new(), HashMap::new(), Vec::new(), Vec::new());
        Self { device, prepared, sent, values, lives, violations }
    }

    /// It sent a message.
    pub fn note(&mut self, sent: Sent) {
        for property in Property::ALL {
            if let Some(value) = sent.kind.value(property) {
                self.values.insert((property, sent.time), value);
            }
        }
        self.sent.push(sent);
    }

    /// Something is wrong; what goes on being wrong is remembered once.
    pub fn violated(&mut self, what: String) {
        if !self.violations.contains(&what) {
            self.violations.push(what);
        }
    }

    /// Everything it sent, in order.
    #[must_use]
    pub fn sent(&self) -> &[Sent] {
        &self.sent
    }

    /// What was wrong while it went on.
    #[must_use]
    pub fn violations(&self) -> &[String] {
        &self.violations
    }

    /// The registration that stands, if the device is not deleted.
    #[must_use]
    pub fn alive(&self) -> Option<&Life> {
        self.lives.last().filter(|life| life.until.is_none())
    }

    /// Whether the device was deleted within this time: then its twin may have been gone when a message that was sent
    /// first was handled at last.
    #[must_use]
    pub fn was_deleted_between(&self, first: Timestamp, last: Timestamp) -> bool {
        self.lives.iter().filter_map(|life| life.until).any(|until| (first..=last).contains(&until))
    }

    /// Ids of all twins that can ever have been the device's.
    pub fn possible_twins(&self) -> impl Iterator<Item = String> {
        self.prepared.clone().into_iter().chain([self.device.to_ascii_lowercase()])
    }

    /// Whether the device sent this value of a property at this time.
    #[must_use]
    #[expect(clippy::float_cmp, reason = "values are copied, never computed with")]
    pub fn did_send(&self, property: Property, time: Timestamp, value: f64) -> bool {
        self.values.get(&(property, time)).is_some_and(|sent| *sent == value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn sent(second: i64, kind: Kind) -> Sent {
        Sent { partition: 0, sequence_number: 0, time: at(second), body: Bytes::new(), kind }
    }

    #[test]
    fn only_good_values_were_sent_and_only_at_their_time() {
        let mut history = History::new("D".into(), None);
        let value = |value| Values::from([(Property::Temperature, value)]);
        history.note(sent(1, Kind::Reading(value(20.0))));
        history.note(sent(2, Kind::Unfitting(value(21.0))));
        history.note(sent(3, Kind::LeftOut));
        assert!(history.did_send(Property::Temperature, at(1), 20.0));
        assert!(history.did_send(Property::Temperature, at(2), 21.0));
        assert!(!history.did_send(Property::Temperature, at(1), 21.0));
        assert!(!history.did_send(Property::Temperature, at(3), 20.0));
        assert!(!history.did_send(Property::ComfortIndex, at(1), 20.0));
    }

    #[test]
    fn a_device_is_alive_until_it_is_deleted_and_again_after_it_returned() {
        let mut history = History::new("D".into(), None);
        assert!(history.alive().is_none());
        let life = |from, until: Option<i64>| Life {
            from: at(from),
            until: until.map(at),
            twin: "d".into(),
            hub: "hub".into(),
            is_tagged: true,
        };
        history.lives.push(life(1, Some(5)));
        assert!(history.alive().is_none());
        assert!(history.was_deleted_between(at(2), at(5)) && history.was_deleted_between(at(5), at(9)));
        assert!(!history.was_deleted_between(at(2), at(4)) && !history.was_deleted_between(at(6), at(9)));
        history.lives.push(life(7, None));
        assert_eq!(history.alive().unwrap().from, at(7));
    }

    #[test]
    fn what_goes_on_being_wrong_is_told_once() {
        let mut history = History::new("D".into(), None);
        history.violated("lost".into());
        history.violated("lost".into());
        assert_eq!(history.violations(), ["lost"]);
    }
}
