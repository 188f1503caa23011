//! Identities and twins: what a service can do with them.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::{
    Address, Authentication, Change, DeviceId, DeviceTwin, Entry, Error, Identity, IotHub, NewAuthentication, Queue,
    State, Status, TwinPatch,
    device_session::Sender,
    lifecycle,
    routing::{self, Source},
};
use crate::mqtt::Outgoing;

/// What is wanted of an identity.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NewIdentity {
    /// How it proves who it is.
    pub authentication: NewAuthentication,
    /// Whether it may connect.
    pub status: Status,
    /// Why, in the operator's words.
    pub status_reason: Option<String>,
    /// Whether it is an IoT Edge device.
    pub iot_edge: bool,
    /// Who looks after a module, in the words of who makes it.
    pub managed_by: Option<String>,
}

/// Which version of a thing may be changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Condition {
    /// Any, but it must exist.
    Any,
    /// The one with this ETag (without quotes).
    Is(String),
}

impl Condition {
    /// Reads an `If-Match` header: SDKs send the wildcard with and without quotes.
    pub fn from_header(value: &str) -> Self {
        match value.trim().trim_matches('"') {
            "*" => Self::Any,
            etag => Self::Is(etag.to_owned()),
        }
    }

    fn check(&self, etag: &str) -> Result<(), Error> {
        match self {
            Self::Is(wanted) if wanted != etag => Err(Error::PreconditionFailed),
            _ => Ok(()),
        }
    }
}

impl IotHub {
    /// Makes a device or a module; a module's device must exist. Raises the lifecycle event.
    ///
    /// # Errors
    /// [`Error`] if it exists, or a module's device does not.
    pub fn create(&self, at: &Address, new: NewIdentity) -> Result<Entry, Error> {
        let _order = self.in_order();
        let now = self.clock.now();
        let entry = self.store.change(|state| {
            if at.module.is_some() && state.modules(&at.device).is_none() {
                return Err(Error::DeviceNotFound(at.device.to_string()));
            }
            if state.get(at).is_some() {
                return Err(Error::already_exists(at));
            }
            let entry = new.into_entry(state.next_generation(now), DeviceTwin::default());
            Ok((vec![Change::Create { at: at.clone(), entry: Box::new(entry.clone()) }], entry))
        })?;
        self.raise(at, lifecycle::Operation::Created, &entry.twin, now);
        Ok(entry)
    }

    /// Changes an identity. Disabling it ends its connections.
    ///
    /// # Errors
    /// [`Error`] if it does not exist or the condition does not hold.
    pub fn update(&self, at: &Address, new: NewIdentity, condition: &Condition) -> Result<Entry, Error> {
        let _order = self.in_order();
        let now = self.clock.now();
        let entry = self.store.change(|state| {
            let mut entry = existing(state, at)?.clone();
            condition.check(&entry.identity.etag())?;
            entry.identity = entry.identity.updated(new, now);
            let change = Change::Identify { at: at.clone(), identity: entry.identity.clone() };
            Ok::<_, Error>((vec![change], entry))
        })?;
        if entry.identity.status == Status::Disabled {
            self.connections.close(at);
        }
        Ok(entry)
    }

    /// Deletes a device with its modules, or a module. Ends its connections and raises the lifecycle event.
    ///
    /// # Errors
    /// [`Error`] if it does not exist or the condition does not hold.
    pub fn delete(&self, at: &Address, condition: &Condition) -> Result<(), Error> {
        let _order = self.in_order();
        let twin = self.store.change(|state| {
            let entry = existing(state, at)?;
            condition.check(&entry.identity.etag())?;
            Ok::<_, Error>((vec![Change::Delete { at: at.clone() }], entry.twin.clone()))
        })?;
        self.connections.forget(at);
        self.raise(at, lifecycle::Operation::Deleted, &twin, self.clock.now());
        Ok(())
    }

    /// Changes tags and desired properties; a connected device that subscribed is told of the latter.
    ///
    /// # Errors
    /// [`Error`] if there is no such twin, the condition does not hold or the patch breaks a rule.
    pub fn patch_twin(&self, at: &Address, patch: &TwinPatch, condition: &Condition) -> Result<Entry, Error> {
        let _order = self.in_order();
        let entry = self.change_twin(at, condition, |twin, now| Ok(twin.patched(patch, now)?))?;
        if let Some(desired) = &patch.desired {
            self.tell(at, desired.clone(), entry.twin.desired_version());
        }
        Ok(entry)
    }

    /// Replaces tags and desired properties.
    ///
    /// # Errors
    /// As [`IotHub::patch_twin`].
    pub fn replace_twin(&self, at: &Address, by: &TwinPatch, condition: &Condition) -> Result<Entry, Error> {
        let _order = self.in_order();
        let entry = self.change_twin(at, condition, |twin, now| Ok(twin.replaced(by, now)?))?;
        let desired = by.desired.clone().unwrap_or_else(|| serde_json::json!({}));
        self.tell(at, desired, entry.twin.desired_version());
        Ok(entry)
    }

    /// Takes what a device reports; gives back the version of its reported properties.
    pub(super) fn report(&self, sender: &Sender, patch: &serde_json::Value) -> Result<u64, Error> {
        self.store.change(|state| {
            let twin = &sender.entry(state)?.twin;
            let twin = twin.reported(patch, self.clock.now())?;
            let version = twin.reported_version();
            Ok((vec![Change::Twin { at: sender.at.clone(), twin: Box::new(twin) }], version))
        })
    }

    /// Makes sure that a device exists and proves in this way who it is. `twin` is written where it is given: into a
    /// new device's twin before the event of its creation, so that the event carries the tags, or over what is there.
    /// One decision, so that a deletion comes before or after all of it.
    ///
    /// # Errors
    /// [`Error`] if the patch breaks a rule.
    pub(crate) fn enroll(
        &self,
        device: &DeviceId,
        authentication: Authentication,
        twin: Option<&TwinPatch>,
    ) -> Result<(), Error> {
        let at = Address::device(device.clone());
        let _order = self.in_order();
        let (entry, known, now) = self.store.change(|state| {
            let now = self.clock.now();
            let Some(known) = state.get(&at) else {
                let authentication = NewAuthentication::These(authentication);
                let new = NewIdentity { authentication, ..NewIdentity::default() };
                let fresh = DeviceTwin::default();
                let fresh = twin.map_or(Ok(fresh.clone()), |patch| fresh.patched(patch, now))?;
                let entry = new.into_entry(state.next_generation(now), fresh);
                let change = Change::Create { at: at.clone(), entry: Box::new(entry.clone()) };
                return Ok((vec![change], (entry, false, now)));
            };
            let mut entry = known.clone();
            let mut changes = vec![];
            if entry.identity.authentication != authentication {
                entry.identity = Identity { authentication, ..entry.identity }.revised();
                changes.push(Change::Identify { at: at.clone(), identity: entry.identity.clone() });
            }
            if let Some(patch) = twin {
                entry.twin = entry.twin.patched(patch, now)?;
                changes.push(Change::Twin { at: at.clone(), twin: Box::new(entry.twin.clone()) });
            }
            Ok::<_, Error>((changes, (entry, true, now)))
        })?;
        if !known {
            self.raise(&at, lifecycle::Operation::Created, &entry.twin, now);
        } else if let Some(desired) = twin.and_then(|patch| patch.desired.clone()) {
            self.tell(&at, desired, entry.twin.desired_version());
        }
        Ok(())
    }

    fn change_twin(
        &self,
        at: &Address,
        condition: &Condition,
        change: impl FnOnce(&DeviceTwin, Timestamp) -> Result<DeviceTwin, Error>,
    ) -> Result<Entry, Error> {
        self.store.change(|state| {
            let entry = existing(state, at)?;
            condition.check(&entry.twin.etag())?;
            let twin = change(&entry.twin, self.clock.now())?;
            let changed = Entry { twin: twin.clone(), ..entry.clone() };
            Ok((vec![Change::Twin { at: at.clone(), twin: Box::new(twin) }], changed))
        })
    }

    /// Tells a connected device of its new desired properties.
    fn tell(&self, at: &Address, mut desired: serde_json::Value, version: u64) {
        if let Some(members) = desired.as_object_mut() {
            members.insert("$version".into(), version.into());
        }
        let topic = format!("$iothub/twin/PATCH/properties/desired/?$version={version}");
        self.connections.push(at, Outgoing { topic, payload: desired.to_string().into() });
    }

    fn raise(&self, at: &Address, operation: lifecycle::Operation, twin: &DeviceTwin, now: Timestamp) {
        let event = lifecycle::event(&self.host_name, at, operation, twin, now);
        // When the event of a deletion is enriched, the twin is gone: paths into it are stamped as they are written.
        let enriching = (operation == lifecycle::Operation::Created).then_some(twin);
        let source = Source::DeviceLifecycleEvents;
        routing::send(&self.routes, &self.host_name, source, &at.device, &event, enriching);
    }
}

fn existing<'a>(state: &'a State, at: &Address) -> Result<&'a Entry, Error> {
    if state.modules(&at.device).is_none() {
        return Err(Error::DeviceNotFound(at.device.to_string()));
    }
    state.get(at).ok_or_else(|| Error::not_found(at))
}

impl NewIdentity {
    fn into_entry(self, generation: u64, twin: DeviceTwin) -> Entry {
        let identity = Identity {
            generation,
            revision: fastrand::u32(..),
            status: self.status,
            status_reason: self.status_reason,
            status_updated: None,
            authentication: self.authentication.or(None),
            iot_edge: self.iot_edge,
            managed_by: self.managed_by,
        };
        Entry { identity, twin, queue: Queue::default(), subscriptions: BTreeMap::new() }
    }
}

impl Identity {
    fn updated(&self, new: NewIdentity, now: Timestamp) -> Self {
        let status_updated = if new.status == self.status { self.status_updated } else { Some(now) };
        Self {
            generation: self.generation,
            revision: self.revision,
            status: new.status,
            status_reason: new.status_reason,
            status_updated,
            authentication: new.authentication.or(Some(&self.authentication)),
            iot_edge: new.iot_edge,
            managed_by: new.managed_by,
        }
        .revised()
    }

    fn revised(self) -> Self {
        Self { revision: self.revision.wrapping_add(1), ..self }
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, thread};

    use super::{super::Settings, *};
    use crate::{clock::Clock, gate::Gate};

    #[test]
    fn a_device_is_enrolled_also_while_it_is_being_deleted() {
        let host_name = "contoso-hub.azure-devices.localhost".parse().unwrap();
        let settings = Settings { host_name, policies: vec![], routes: vec![] };
        let hub = IotHub::new(settings, State::default(), Clock::system(), Arc::new(Gate::default()));
        let device: DeviceId = "pump-1".parse().unwrap();
        let at = Address::device(device.clone());
        let twin = TwinPatch::from_json(&serde_json::json!({ "tags": { "dtId": "pump-1" } }));
        thread::scope(|scope| {
            let enrolling = scope.spawn(|| {
                for _ in 0..2_000 {
                    hub.enroll(&device, Authentication::Authority {}, Some(&twin)).unwrap();
                }
            });
            while !enrolling.is_finished() {
                match hub.delete(&at, &Condition::Any) {
                    Ok(()) | Err(Error::DeviceNotFound(_)) => {}
                    Err(other) => panic!("{other}"),
                }
            }
        });
    }
}
