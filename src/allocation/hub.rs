//! Which of the linked hubs a device belongs to.
//!
//! A pure function of the device and the set of linked hubs: any instance of the app, at any time,
//! in whatever order DPS lists the hubs, chooses alike.

use std::fmt;

use crate::device::{HubName, RegistrationId};
use crate::settings::HubPolicy;

/// The host name of an IoT hub, spelled as DPS spelled it: `contoso-hub.azure-devices.net`.
///
/// Host names compare without case (RFC 4343); the spelling matters only in the answer, which must
/// name one of the linked hubs.
#[derive(Debug, Clone)]
pub struct HubHost {
    host: Box<str>,
    name: HubName,
}

impl HubHost {
    /// The longest host name, in characters (RFC 1035).
    const MAX_LENGTH: usize = 253;

    /// Takes what can be the host name of a hub: at most 253 printable ASCII characters that begin
    /// with a DNS label. DPS is the authority on which hubs exist; this keeps line breaks and the
    /// like out of logs and answers.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let fits = text.len() <= Self::MAX_LENGTH && text.bytes().all(|byte| byte.is_ascii_graphic());
        let name = HubName::of_host(text).ok().filter(|_| fits)?;
        Some(Self { host: text.into(), name })
    }

    /// As DPS spelled it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.host
    }

    /// Its first label: what events call the hub.
    #[must_use]
    pub fn name(&self) -> &HubName {
        &self.name
    }
}

impl PartialEq for HubHost {
    fn eq(&self, other: &Self) -> bool {
        self.host.eq_ignore_ascii_case(&other.host)
    }
}

impl Eq for HubHost {}

impl fmt::Display for HubHost {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.host)
    }
}

/// The hubs that a device may be assigned to, as DPS listed them; at least one.
#[derive(Debug, Clone)]
pub struct LinkedHubs {
    first: HubHost,
    others: Vec<HubHost>,
}

impl LinkedHubs {
    /// The hubs in the order given; none if the list is empty.
    #[must_use]
    pub fn new(hubs: impl IntoIterator<Item = HubHost>) -> Option<Self> {
        let mut hubs = hubs.into_iter();
        Some(Self { first: hubs.next()?, others: hubs.collect() })
    }

    fn iter(&self) -> impl Iterator<Item = &HubHost> {
        std::iter::once(&self.first).chain(&self.others)
    }

    /// The hub for a device.
    ///
    /// `Sticky` keeps the hub that the device has (`current`) while it is still linked: a move costs
    /// the device its connection and its queued commands. A device without a hub goes to the one with
    /// the highest rendezvous score, so that adding a hub to `n` moves one device in `n + 1`, all of
    /// them to the new hub, and the order of the list does not matter. `First` takes the first one.
    #[must_use]
    pub fn choose(&self, policy: HubPolicy, device: &RegistrationId, current: Option<&HubHost>) -> &HubHost {
        match policy {
            HubPolicy::First => &self.first,
            HubPolicy::Sticky => self
                .iter()
                .find(|hub| Some(*hub) == current)
                .or_else(|| self.iter().max_by_key(|hub| Score::of(device, hub)))
                .unwrap_or(&self.first),
        }
    }
}

/// Rendezvous score of a hub for a device (Thaler and Ravishankar, "A name-based mapping scheme for
/// rendezvous"). The name decides between equal scores, so that the order of the list never does.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Score(u64, String);

impl Score {
    fn of(device: &RegistrationId, hub: &HubHost) -> Self {
        let hub = hub.as_str().to_ascii_lowercase();
        // The zero byte ends the id: ("a", "bc") and ("ab", "c") are different pairs.
        let bytes = device.lower().bytes().chain([0]).chain(hub.bytes());
        Self(mix(fnv1a(bytes)), hub)
    }
}

/// FNV-1a, 64 bits. Written out because the choice of a hub must not change with a release of a
/// hash library: devices would move.
fn fnv1a(bytes: impl Iterator<Item = u8>) -> u64 {
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3))
}

/// MurmurHash3's finalizer. FNV-1a hardly lets the last bytes reach the high bits, which decide the
/// comparison: hubs that differ in a last digit would share devices badly.
fn mix(mut hash: u64) -> u64 {
    hash ^= hash >> 33;
    hash = hash.wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash ^= hash >> 33;
    hash = hash.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ (hash >> 33)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn hubs(names: &[&str]) -> LinkedHubs {
        LinkedHubs::new(names.iter().map(|name| HubHost::parse(name).unwrap())).unwrap()
    }

    fn device(id: &str) -> RegistrationId {
        RegistrationId::parse(id).unwrap()
    }

    fn numbered(count: usize) -> Vec<String> {
        (0..count).map(|number| format!("hub-{number}.azure-devices.net")).collect()
    }

    fn rendezvous(names: &[String], id: &str) -> String {
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        hubs(&names).choose(HubPolicy::Sticky, &device(id), None).to_string()
    }

    #[test]
    fn sticky_keeps_the_current_hub_while_it_is_linked() {
        let linked = hubs(&["a.net", "b.net", "c.net"]);
        for current in ["a.net", "b.net", "c.net"] {
            let current = HubHost::parse(current).unwrap();
            assert_eq!(linked.choose(HubPolicy::Sticky, &device("d"), Some(&current)), &current);
        }
    }

    #[test]
    fn the_answer_spells_the_hub_as_the_list_does() {
        let current = HubHost::parse("CONTOSO.net").unwrap();
        let linked = hubs(&["a.net", "Contoso.net"]);
        assert_eq!(linked.choose(HubPolicy::Sticky, &device("d"), Some(&current)).as_str(), "Contoso.net");
    }

    #[test]
    fn a_current_hub_that_is_no_longer_linked_is_left() {
        let gone = HubHost::parse("gone.net").unwrap();
        let linked = hubs(&["a.net", "b.net"]);
        let fresh = linked.choose(HubPolicy::Sticky, &device("d"), None);
        assert_eq!(linked.choose(HubPolicy::Sticky, &device("d"), Some(&gone)), fresh);
    }

    #[test]
    fn first_is_the_first_whatever_the_current_one_is() {
        let current = HubHost::parse("b.net").unwrap();
        let linked = hubs(&["a.net", "b.net"]);
        assert_eq!(linked.choose(HubPolicy::First, &device("d"), Some(&current)).as_str(), "a.net");
    }

    #[test]
    fn spellings_of_one_device_go_to_one_hub() {
        let names = numbered(7);
        assert_eq!(rendezvous(&names, "Thermo-01"), rendezvous(&names, "tHERMO-01"));
    }

    #[test]
    fn devices_spread_evenly_over_hubs_that_differ_in_a_digit() {
        let names = numbered(4);
        let mut counts = std::collections::BTreeMap::<String, usize>::new();
        for number in 0..4_000 {
            *counts.entry(rendezvous(&names, &format!("thermo-{number:05}"))).or_default() += 1;
        }
        assert_eq!(counts.len(), 4);
        assert!(counts.values().all(|count| (900..=1_100).contains(count)), "{counts:?}");
    }

    #[test]
    fn a_further_hub_takes_its_share_and_nothing_else_moves() {
        let (before, after) = (numbered(4), numbered(5));
        let mut moved = 0;
        for number in 0..5_000 {
            let id = format!("thermo-{number}");
            let (old, new) = (rendezvous(&before, &id), rendezvous(&after, &id));
            if old != new {
                assert_eq!(new, "hub-4.azure-devices.net");
                moved += 1;
            }
        }
        assert!((900..=1_100).contains(&moved), "{moved}");
    }

    /// Fixed for ever: another value means that devices in the field change their hub.
    #[test]
    fn scores_never_change() {
        let score = Score::of(&device("Thermo-01"), &HubHost::parse("Contoso-Hub.azure-devices.net").unwrap());
        assert_eq!((score.0, score.1.as_str()), (907_097_461_070_556_314, "contoso-hub.azure-devices.net"));
    }

    #[test]
    fn what_cannot_be_a_host_name_is_none() {
        for text in ["", " ", ".net", "a b", "a\nb", "hub\u{e9}.net", &"x".repeat(254)] {
            assert!(HubHost::parse(text).is_none(), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn the_order_of_the_list_does_not_matter(
            id in "[a-z0-9-]{0,20}[a-z0-9]",
            names in proptest::collection::vec("[a-z0-9-]{1,12}", 1..8).prop_shuffle(),
        ) {
            let mut sorted = names.clone();
            sorted.sort();
            prop_assert_eq!(rendezvous(&names, &id), rendezvous(&sorted, &id));
        }
    }
}
