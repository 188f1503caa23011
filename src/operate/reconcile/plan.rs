//! How devices and twins differ: pure.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use dtdl::ModelId;
use jiff::Timestamp;

use super::difference::Difference;
use crate::binding::{Binding, Bookkeeping, HUB_DEVICE_ID, HUB_NAME, HUB_REGISTRATION_ID, registered_at};
use crate::device::{DeviceId, HubName};
use crate::digital_twins::{Twin, TwinId};
use crate::operate::console::counted;
use crate::operate::iot_hub::Device;

/// A twin that is bound to a device.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct BoundTwin {
    pub(super) id: TwinId,
    model: ModelId,
    device: DeviceId,
    binding: Binding,
    home: Home,
    /// When the twin was bound last.
    bound: Option<Timestamp>,
    /// Nothing says that its device ever registered: an operator made it for one that is still to come.
    is_waiting: bool,
}

/// Where a twin says that its device lives.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Home {
    Hub(HubName),
    /// It says nothing.
    Unsaid,
    /// In what cannot be the name of a hub.
    Unreadable,
}

impl BoundTwin {
    /// `twin`, whose model has `bookkeeping`, if it is bound to what can be a device.
    pub(super) fn of(twin: &Twin, bookkeeping: Bookkeeping) -> Option<Self> {
        let binding = Binding::of(twin, bookkeeping);
        let device = match &binding {
            Binding::Device(id) | Binding::Registration(id) => id,
            Binding::OwnId(id) => id.as_str(),
            Binding::Nobody => return None,
        };
        let home = match twin.string_property(HUB_NAME.as_str()).filter(|name| !name.is_empty()) {
            None => Home::Unsaid,
            Some(name) => HubName::of_host(name).map_or(Home::Unreadable, Home::Hub),
        };
        Some(Self {
            id: twin.id().clone(),
            model: twin.model().clone(),
            device: DeviceId::parse(device).ok()?,
            is_waiting: twin.source_time(HUB_REGISTRATION_ID.as_str()).is_none() && home == Home::Unsaid,
            binding,
            home,
            bound: bound_at(twin),
        })
    }
}

/// When the twin was bound last: its device registered, or somebody wrote one of the bookkeeping properties. Models
/// without `HubRegistrationId` have the others to tell.
pub(super) fn bound_at(twin: &Twin) -> Option<Timestamp> {
    let updates = [HUB_DEVICE_ID, HUB_NAME].map(|property| twin.last_update_time(property.as_str()));
    updates.into_iter().fold(registered_at(twin), Option::max)
}

/// What the comparison is about.
#[derive(Debug, Clone)]
pub(super) struct Scope {
    /// The hubs whose devices are known.
    pub(super) hubs: Vec<HubName>,
    /// There are no other hubs.
    pub(super) all_hubs: bool,
    /// Twins that were bound later than this are left alone: their device may be about to appear in its hub.
    pub(super) bound_before: Timestamp,
}

impl Scope {
    fn is_young(&self, twin: &BoundTwin) -> bool {
        twin.bound.is_some_and(|bound| bound > self.bound_before)
    }
}

/// How many of what was looked at.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) devices: usize,
    pub(super) twins: usize,
    waiting: usize,
    elsewhere: usize,
    young: usize,
    pub(super) differences: usize,
}

impl std::fmt::Display for Counts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { devices, twins, waiting, elsewhere, young, differences } = self;
        write!(f, "{}, {} bound to devices", counted(*devices, "device"), counted(*twins, "twin"))?;
        for (count, why) in [
            (waiting, "waiting for their device's first registration"),
            (elsewhere, "of hubs that are not named"),
            (young, "left alone because they were bound only just now"),
        ] {
            if *count > 0 {
                write!(f, ", {count} {why}")?;
            }
        }
        write!(f, "; {}", counted(*differences, "difference"))
    }
}

/// How the two sides differ.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Plan {
    pub(super) differences: Vec<Difference>,
    pub(super) counts: Counts,
}

/// Devices by their id without case, in which a twin can name them.
struct Index<'d>(HashMap<String, Vec<&'d Device>>);

impl<'d> Index<'d> {
    fn of(devices: &'d [Device]) -> Self {
        let mut index: HashMap<String, Vec<&Device>> = HashMap::new();
        for device in devices {
            index.entry(device.id.as_str().to_ascii_lowercase()).or_default().push(device);
        }
        Self(index)
    }

    /// The devices that a twin is bound to: one as a rule; several in several hubs, or where ids differ in case alone.
    fn of_twin(&self, twin: &BoundTwin) -> Vec<&'d Device> {
        let devices = self.0.get(&twin.device.as_str().to_ascii_lowercase()).into_iter().flatten();
        devices.copied().filter(|device| twin.binding.is_to(&device.id)).collect()
    }
}

/// The devices that none of `twins` is bound to.
pub(super) fn without_twin<'d, 't>(
    devices: &'d [Device],
    twins: impl IntoIterator<Item = &'t BoundTwin>,
) -> Vec<&'d Device> {
    let index = Index::of(devices);
    let bound: BTreeSet<&DeviceId> =
        twins.into_iter().flat_map(|twin| index.of_twin(twin)).map(|device| &device.id).collect();
    devices.iter().filter(|device| !bound.contains(&device.id)).collect()
}

/// Compares.
pub(super) fn plan(devices: &[Device], twins: &[BoundTwin], scope: &Scope) -> Plan {
    let index = Index::of(devices);
    let mut plan = Plan::default();
    // By device and hub, in the order of devices: what is told comes in an order that does not change.
    let mut bound: BTreeMap<(&DeviceId, &str), Vec<&BoundTwin>> = BTreeMap::new();
    let mut unclear = BTreeSet::new();
    let key = |device: &'_ &'_ Device| (device.id.clone(), device.hub.as_str().to_owned());
    for twin in twins {
        let candidates = index.of_twin(twin);
        let homes = homes(twin, &candidates, scope, &mut plan);
        if homes.is_empty() {
            // Whichever device of that name it is, it is not without a twin.
            unclear.extend(candidates.iter().map(key));
        }
        for device in homes {
            bound.entry((&device.id, device.hub.as_str())).or_default().push(twin);
        }
    }
    for device in devices {
        let twins = bound.get(&(&device.id, device.hub.as_str())).map_or(&[][..], Vec::as_slice);
        let is_unclear = twins.is_empty() && unclear.contains(&key(&device));
        plan.differences.extend(difference(device, twins).filter(|_| !is_unclear));
    }
    plan.counts.devices = devices.len();
    plan.counts.twins = twins.len();
    plan.counts.differences = plan.differences.len();
    plan
}

/// How a device differs from the twins that are bound to it.
fn difference(device: &Device, twins: &[&BoundTwin]) -> Option<Difference> {
    let says = |tag: &Option<String>, what: &str| tag.as_deref() == Some(what);
    let device = || device.clone();
    match twins {
        [] => {
            let device = device();
            let model = device.model_id.as_deref().and_then(|model| ModelId::parse(model).ok());
            Some(Difference::NoTwin { device, model })
        }
        [twin] => {
            let device = device();
            let is_named = says(&device.twin_id, twin.id.as_str());
            // A space can happen to bear a device's name: tags that named it would give it to the device.
            if matches!(twin.binding, Binding::OwnId(_)) && !is_named {
                return Some(Difference::NameOnly { device, twin: twin.id.clone() });
            }
            let (twin, model) = (twin.id.clone(), twin.model.clone());
            let agrees = is_named && says(&device.model_id, model.as_str());
            (!agrees).then_some(Difference::Tags { device, twin, model })
        }
        several => {
            let twins = several.iter().map(|twin| twin.id.clone()).collect();
            Some(Difference::Several { device: device().id, twins })
        }
    }
}

/// Which of `devices`, all of which the twin could be bound to, are the twin's. What differs is put into `plan`.
fn homes<'d>(twin: &BoundTwin, devices: &[&'d Device], scope: &Scope, plan: &mut Plan) -> Vec<&'d Device> {
    let (id, device) = (twin.id.clone(), twin.device.clone());
    let is_one_hub = devices.windows(2).all(|pair| matches!(pair, [one, other] if one.hub == other.hub));
    match (&twin.home, devices) {
        (Home::Unreadable, _) => plan.counts.elsewhere += 1,
        (Home::Hub(hub), _) if !scope.hubs.contains(hub) => plan.counts.elsewhere += 1,
        (Home::Unsaid, []) if twin.is_waiting => plan.counts.waiting += 1,
        (_, []) if scope.is_young(twin) => plan.counts.young += 1,
        (Home::Hub(hub), []) => plan.differences.push(Difference::Orphan { twin: id, device, hub: hub.clone() }),
        (Home::Unsaid, []) => plan.differences.push(match scope.hubs.first().filter(|_| scope.all_hubs) {
            Some(hub) => Difference::Orphan { twin: id, device, hub: hub.clone() },
            None => Difference::Homeless { twin: id, device },
        }),
        (Home::Unsaid, _) if is_one_hub => return devices.to_vec(),
        (Home::Hub(hub), [first, ..]) => {
            let here: Vec<&Device> = devices.iter().copied().filter(|device| device.hub == *hub).collect();
            if !here.is_empty() {
                return here;
            }
            if is_one_hub {
                // Of a device on the move the twin knows first.
                if scope.is_young(twin) {
                    plan.counts.young += 1;
                } else {
                    let device = first.id.clone();
                    let (says, lives) = (hub.clone(), first.hub.clone());
                    plan.differences.push(Difference::Moved { twin: id, device, says, lives });
                }
                return devices.to_vec();
            }
        }
        // In several hubs, and the twin does not say which.
        (Home::Unsaid, [..]) => {}
    }
    Vec::new()
}

#[cfg(test)]
mod tests;
