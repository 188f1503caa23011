//! Whose a twin is.

use dtdl::{ModelId, ModelSet, Schema};
use jiff::Timestamp;

use crate::device::DeviceId;
use crate::digital_twins::{PropertyName, Twin, TwinId};

/// The registration id that the twin is bound to, in lower case. Its source time is the time of the
/// device's last registration.
pub const HUB_REGISTRATION_ID: PropertyName = PropertyName::literal("HubRegistrationId");

/// The id of the device in IoT Hub, where it differs from the registration id or the model has no
/// `HubRegistrationId`.
pub const HUB_DEVICE_ID: PropertyName = PropertyName::literal("HubDeviceId");

/// The first DNS label of the hub that the device is assigned to.
pub const HUB_NAME: PropertyName = PropertyName::literal("HubName");

/// Whether `property` is one that allocation writes, and nobody else may.
#[must_use]
pub fn is_bookkeeping(property: &str) -> bool {
    [HUB_REGISTRATION_ID, HUB_DEVICE_ID, HUB_NAME].iter().any(|name| name.as_str() == property)
}

/// When the twin's device registered last: the later of source time and last update time of
/// `HubRegistrationId`; none where the twin has no such property.
#[must_use]
pub fn registered_at(twin: &Twin) -> Option<Timestamp> {
    let property = HUB_REGISTRATION_ID.as_str();
    text(twin, HUB_REGISTRATION_ID)?;
    twin.source_time(property).max(twin.last_update_time(property))
}

/// Which bookkeeping properties a model has, inherited ones included. One that is not a string is
/// some other property that happens to have the name.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Bookkeeping {
    /// `HubRegistrationId`.
    pub registration_id: bool,
    /// `HubDeviceId`.
    pub device_id: bool,
    /// `HubName`.
    pub hub_name: bool,
}

impl Bookkeeping {
    /// What `model` has. All of them if `models` does not hold it, for it was deleted from Azure Digital Twins: so none
    /// of its twins is a device's merely because of its name.
    #[must_use]
    pub fn of(models: &ModelSet, model: &ModelId) -> Self {
        let Some(contents) = models.contents(model) else {
            return Self { registration_id: true, device_id: true, hub_name: true };
        };
        let has = |name: PropertyName| {
            contents.properties.get(name.as_str()).is_some_and(|property| property.schema == Schema::String)
        };
        Self { registration_id: has(HUB_REGISTRATION_ID), device_id: has(HUB_DEVICE_ID), hub_name: has(HUB_NAME) }
    }
}

/// Whose a twin is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Binding {
    /// The device that `HubDeviceId` names, spelled exactly so.
    Device(Box<str>),
    /// The device that `HubRegistrationId` names, in any case.
    Registration(Box<str>),
    /// The device that is called like the twin, in any case: the twin's model has neither property.
    OwnId(TwinId),
    /// Nobody's: the twin's model has one of the properties, and it is not set.
    Nobody,
}

impl Binding {
    /// Whose `twin` is; `bookkeeping` is what its model has.
    #[must_use]
    pub fn of(twin: &Twin, bookkeeping: Bookkeeping) -> Self {
        if let Some(device) = text(twin, HUB_DEVICE_ID) {
            Self::Device(device.into())
        } else if let Some(registration) = text(twin, HUB_REGISTRATION_ID) {
            Self::Registration(registration.into())
        } else if bookkeeping.device_id || bookkeeping.registration_id {
            Self::Nobody
        } else {
            Self::OwnId(twin.id().clone())
        }
    }

    /// Whether the twin is bound to `device`.
    #[must_use]
    pub fn is_to(&self, device: &DeviceId) -> bool {
        match self {
            Self::Device(id) => **id == *device.as_str(),
            Self::Registration(id) => id.eq_ignore_ascii_case(device.as_str()),
            Self::OwnId(id) => id.as_str().eq_ignore_ascii_case(device.as_str()),
            Self::Nobody => false,
        }
    }
}

/// The text of a bookkeeping property, if it is set: an empty one is not.
pub(super) fn text(twin: &Twin, property: PropertyName) -> Option<&str> {
    twin.string_property(property.as_str()).filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const ALL: Bookkeeping = Bookkeeping { registration_id: true, device_id: true, hub_name: true };
    const NONE: Bookkeeping = Bookkeeping { registration_id: false, device_id: false, hub_name: false };

    fn twin(id: &str, properties: Value) -> Twin {
        let mut document = json!({ "$dtId": id, "$etag": "W/\"1\"", "$metadata": { "$model": "dtmi:x:Thing;1" } });
        document.as_object_mut().unwrap().extend(properties.as_object().unwrap().clone());
        Twin::from_json(document).unwrap()
    }

    fn is_bound(twin: &Twin, bookkeeping: Bookkeeping, device: &str) -> bool {
        Binding::of(twin, bookkeeping).is_to(&DeviceId::parse(device).unwrap())
    }

    #[test]
    fn hub_device_id_binds_exactly_and_before_all_else() {
        let twin = twin("pump", json!({ "HubDeviceId": "Pump-1", "HubRegistrationId": "pump-2" }));
        assert!(is_bound(&twin, ALL, "Pump-1"));
        for other in ["pump-1", "pump-2", "pump"] {
            assert!(!is_bound(&twin, ALL, other), "{other}");
        }
    }

    #[test]
    fn without_hub_device_id_the_registration_id_binds_in_any_case() {
        for unset in
            [json!({ "HubRegistrationId": "Pump-2" }), json!({ "HubDeviceId": "", "HubRegistrationId": "Pump-2" })]
        {
            let twin = twin("pump", unset);
            assert!(is_bound(&twin, ALL, "pump-2"));
            assert!(is_bound(&twin, ALL, "PUMP-2"));
            assert!(!is_bound(&twin, ALL, "pump"));
        }
    }

    #[test]
    fn its_own_id_binds_a_twin_whose_model_has_neither_property() {
        let twin = twin("Pump", json!({}));
        assert!(is_bound(&twin, NONE, "pump"));
        assert!(is_bound(&twin, Bookkeeping { hub_name: true, ..NONE }, "PUMP"));
        assert!(!is_bound(&twin, NONE, "pump-2"));
    }

    #[test]
    fn a_twin_whose_property_is_not_set_is_nobodys() {
        let twin = twin("pump", json!({}));
        for bookkeeping in [ALL, Bookkeeping { registration_id: true, ..NONE }, Bookkeeping { device_id: true, ..NONE }]
        {
            assert_eq!(Binding::of(&twin, bookkeeping), Binding::Nobody);
            assert!(!is_bound(&twin, bookkeeping, "pump"));
        }
    }

    fn models(interfaces: &[Value]) -> ModelSet {
        ModelSet::default().with(interfaces.iter().map(|document| dtdl::Interface::parse(document).unwrap())).unwrap()
    }

    #[test]
    fn inherited_properties_count_and_those_that_are_no_strings_do_not() {
        let models = models(&[
            json!({ "@context": "dtmi:dtdl:context;2", "@id": "dtmi:x:Base;1", "@type": "Interface", "contents": [
                { "@type": "Property", "name": "HubRegistrationId", "schema": "string" },
                { "@type": "Property", "name": "HubName", "schema": "integer" } ] }),
            json!({ "@context": "dtmi:dtdl:context;2", "@id": "dtmi:x:Thing;1", "@type": "Interface",
                "extends": "dtmi:x:Base;1", "contents": [
                { "@type": "Property", "name": "HubDeviceId", "schema": "string" } ] }),
        ]);
        let of = |model: &str| Bookkeeping::of(&models, &ModelId::parse(model).unwrap());
        assert_eq!(of("dtmi:x:Thing;1"), Bookkeeping { registration_id: true, device_id: true, hub_name: false });
        assert_eq!(of("dtmi:x:Base;1"), Bookkeeping { registration_id: true, ..NONE });
    }

    #[test]
    fn a_model_that_is_gone_binds_nobody_by_name() {
        let gone = Bookkeeping::of(&ModelSet::default(), &ModelId::parse("dtmi:x:Gone;1").unwrap());
        assert!(!is_bound(&twin("pump", json!({})), gone, "pump"));
    }

    #[test]
    fn the_time_of_registration_is_the_later_of_both_times() {
        let at = |source: &str, update: &str| {
            let times = json!({ "$metadata": { "$model": "dtmi:x:Thing;1",
                "HubRegistrationId": { "sourceTime": source, "lastUpdateTime": update } }, "HubRegistrationId": "p" });
            registered_at(&twin("p", times)).map(|time| time.to_string())
        };
        let (early, late) = ("2026-01-01T00:00:00Z", "2026-01-02T00:00:00.5Z");
        assert_eq!(at(early, late).as_deref(), Some(late));
        assert_eq!(at(late, early).as_deref(), Some(late));
        assert_eq!(at("", early).as_deref(), Some(early));
        assert_eq!(registered_at(&twin("p", json!({}))), None);
    }
}
