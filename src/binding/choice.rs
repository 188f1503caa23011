//! Which of several twins is a device's.

use std::borrow::Borrow;

use super::bound::{Binding, Bookkeeping, HUB_REGISTRATION_ID, text};
use crate::device::{DeviceId, RegistrationId};
use crate::digital_twins::{Twin, TwinId};

/// How good a claim to a twin is; the first is the best.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rank {
    /// `HubDeviceId` names the device.
    DeviceId,
    /// An earlier registration bound the twin: its `HubRegistrationId` has a source time.
    Registered,
    /// An operator meant the twin for the device: its `HubRegistrationId` is set, without a source time.
    Prepared,
    /// The twin has the device's name and no `HubRegistrationId`.
    OwnId,
}

impl Rank {
    /// The claim of a registering device to `twin`, by its registration id alone; none if the twin
    /// is not for it.
    #[must_use]
    pub fn of_registration(twin: &Twin, registration: &RegistrationId) -> Option<Self> {
        match text(twin, HUB_REGISTRATION_ID) {
            Some(id) if id.eq_ignore_ascii_case(registration.as_str()) => Some(Self::of_source_time(twin)),
            Some(_) => None,
            None => (twin.id().as_str() == registration.lower()).then_some(Self::OwnId),
        }
    }

    /// The claim of a device of IoT Hub to `twin`; none if the twin is not bound to it.
    #[must_use]
    pub fn of_device(twin: &Twin, bookkeeping: Bookkeeping, device: &DeviceId) -> Option<Self> {
        let binding = Binding::of(twin, bookkeeping);
        binding.is_to(device).then(|| match binding {
            Binding::Device(_) => Self::DeviceId,
            Binding::Registration(_) => Self::of_source_time(twin),
            Binding::OwnId(_) | Binding::Nobody => Self::OwnId,
        })
    }

    fn of_source_time(twin: &Twin) -> Self {
        match twin.source_time(HUB_REGISTRATION_ID.as_str()) {
            Some(_) => Self::Registered,
            None => Self::Prepared,
        }
    }
}

/// The twin that was chosen, and those with an equal claim.
#[derive(Debug, Clone, PartialEq)]
pub struct Choice<T> {
    /// How good its claim is.
    pub rank: Rank,
    /// The chosen one.
    pub chosen: T,
    /// The ids of the others of the same rank, in order. There should be none: an operator bound
    /// one device twice.
    pub rivals: Vec<TwinId>,
}

impl<T: Borrow<Twin>> Choice<T> {
    /// Warns about rivals, naming all twins that claim to be `device`'s.
    pub fn warn_of_rivals(&self, device: &str) {
        if self.rivals.is_empty() {
            return;
        }
        let chosen = self.chosen.borrow().id();
        let rivals: Vec<&str> = self.rivals.iter().map(TwinId::as_str).collect();
        tracing::warn!(
            device,
            twin = %chosen,
            others = rivals.join(", "),
            "several twins are bound to one device; using the one with the smallest id: bind only one"
        );
    }
}

/// The best of `candidates`: lowest rank, then the smallest id, whatever the order they come in.
pub fn choose<T: Borrow<Twin>>(candidates: impl IntoIterator<Item = (Rank, T)>) -> Option<Choice<T>> {
    let mut candidates: Vec<(Rank, T)> = candidates.into_iter().collect();
    candidates.sort_by(|(rank, twin), (other_rank, other)| {
        rank.cmp(other_rank).then_with(|| twin.borrow().id().cmp(other.borrow().id()))
    });
    let mut candidates = candidates.into_iter();
    let (rank, chosen) = candidates.next()?;
    let mut rivals: Vec<TwinId> = candidates
        .take_while(|(other, _)| *other == rank)
        .map(|(_, twin)| twin.borrow().id().clone())
        .filter(|id| id != chosen.borrow().id())
        .collect();
    rivals.dedup();
    Some(Choice { rank, chosen, rivals })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn twin(id: &str, registration: Option<&str>, source_time: Option<&str>) -> Twin {
        let mut document = json!({ "$dtId": id, "$etag": "W/\"1\"", "$metadata": { "$model": "dtmi:x:Thing;1" } });
        if let Some(registration) = registration {
            document["HubRegistrationId"] = registration.into();
            document["$metadata"]["HubRegistrationId"] =
                json!({ "lastUpdateTime": "2026-01-01T00:00:00Z", "sourceTime": source_time });
        }
        Twin::from_json(document).unwrap()
    }

    #[test]
    fn ranks_of_a_registration() {
        let registration = RegistrationId::parse("Pump-1").unwrap();
        let time = Some("2026-01-01T00:00:00Z");
        for (case, twin, rank) in [
            ("bound by a registration", twin("a", Some("pump-1"), time), Some(Rank::Registered)),
            ("bound by a registration, own id", twin("pump-1", Some("pump-1"), time), Some(Rank::Registered)),
            ("prepared by an operator", twin("a", Some("PUMP-1"), None), Some(Rank::Prepared)),
            ("own id, nothing set", twin("pump-1", None, None), Some(Rank::OwnId)),
            ("own id, set to an empty text", twin("pump-1", Some(""), None), Some(Rank::OwnId)),
            ("own id in another case", twin("Pump-1", None, None), None),
            ("own id, another registration", twin("pump-1", Some("pump-2"), time), None),
            ("another twin", twin("a", None, None), None),
        ] {
            assert_eq!(Rank::of_registration(&twin, &registration), rank, "{case}");
        }
    }

    #[test]
    fn ranks_of_a_device() {
        let device = DeviceId::parse("Pump-1").unwrap();
        let all = Bookkeeping { registration_id: true, device_id: true, hub_name: true };
        let with = |name: &str, value: &str| {
            let mut document: Value =
                json!({ "$dtId": "a", "$etag": "W/\"1\"", "$metadata": { "$model": "dtmi:x:Thing;1" } });
            document[name] = value.into();
            Twin::from_json(document).unwrap()
        };
        let time = Some("2026-01-01T00:00:00Z");
        for (case, twin, bookkeeping, rank) in [
            ("named", with("HubDeviceId", "Pump-1"), all, Some(Rank::DeviceId)),
            ("named in another case", with("HubDeviceId", "pump-1"), all, None),
            ("registered", twin("a", Some("pump-1"), time), all, Some(Rank::Registered)),
            ("prepared", twin("a", Some("pump-1"), None), all, Some(Rank::Prepared)),
            ("nothing set", twin("pump-1", None, None), all, None),
            ("no such properties", twin("pump-1", None, None), Bookkeeping::default(), Some(Rank::OwnId)),
        ] {
            assert_eq!(Rank::of_device(&twin, bookkeeping, &device), rank, "{case}");
        }
    }

    #[test]
    fn rivals_are_those_of_the_same_rank() {
        let twins: Vec<Twin> = ["d", "c", "b", "a"].iter().map(|id| twin(id, None, None)).collect();
        let ranks = [Rank::Prepared, Rank::Registered, Rank::Registered, Rank::OwnId];
        let choice = choose(ranks.into_iter().zip(&twins)).unwrap();
        assert_eq!((choice.rank, choice.chosen.id().as_str()), (Rank::Registered, "b"));
        assert_eq!(choice.rivals.iter().map(TwinId::as_str).collect::<Vec<_>>(), ["c"]);
        assert_eq!(choose(std::iter::empty::<(Rank, Twin)>()), None);
    }

    fn candidates() -> impl Strategy<Value = Vec<(Rank, Twin)>> {
        let rank = prop_oneof![Just(Rank::DeviceId), Just(Rank::Registered), Just(Rank::Prepared), Just(Rank::OwnId)];
        proptest::collection::vec((rank, "[a-c]{1,2}").prop_map(|(rank, id)| (rank, twin(&id, None, None))), 0..8)
    }

    proptest! {
        #[test]
        fn the_order_of_candidates_does_not_matter(
            (one, other) in candidates().prop_flat_map(|list| (Just(list.clone()), Just(list).prop_shuffle()))
        ) {
            prop_assert_eq!(choose(one), choose(other));
        }
    }
}
