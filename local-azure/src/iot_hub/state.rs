//! An IoT Hub's whole state: identities and twins.

use std::collections::BTreeMap;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Address, Authentication, DeviceId, DeviceTwin, ModuleId, Queue, Queued};
use crate::store;

/// Devices and modules of one hub.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct State {
    devices: BTreeMap<DeviceId, Device>,
    /// The highest generation id given so far: a device made anew never gets an old one.
    last_generation: u64,
}

#[derive(Debug, Serialize, Deserialize)]
struct Device {
    entry: Entry,
    modules: BTreeMap<ModuleId, Entry>,
}

/// A device or a module.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Entry {
    /// Who it is.
    pub identity: Identity,
    /// Its twin.
    pub twin: DeviceTwin,
    /// The messages that wait for it.
    #[serde(default)]
    pub queue: Queue,
    /// What it subscribed to in a session that is not to be forgotten: filters with the quality of service.
    #[serde(default)]
    pub subscriptions: BTreeMap<String, u8>,
}

/// An identity of the registry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// Tells this device from an earlier one of the same id.
    pub generation: u64,
    /// Which version of the identity this is.
    pub revision: u32,
    /// Whether it may connect.
    pub status: Status,
    /// Why, in the operator's words.
    pub status_reason: Option<String>,
    /// When the status last changed, if ever.
    pub status_updated: Option<Timestamp>,
    /// How it proves who it is.
    #[serde(flatten)]
    pub authentication: Authentication,
    /// Whether it is an IoT Edge device.
    pub iot_edge: bool,
    /// Who looks after a module, in the words of who made it.
    #[serde(default)]
    pub managed_by: Option<String>,
}

impl Identity {
    /// The ETag, without quotes.
    pub fn etag(&self) -> String {
        BASE64_STANDARD.encode(self.revision.to_string())
    }
}

/// Whether an identity may connect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Status {
    /// It may.
    #[default]
    Enabled,
    /// It may not.
    Disabled,
}

/// A step of the hub's state.
#[derive(Debug, Serialize, Deserialize)]
pub enum Change {
    /// A device or module comes into being; a module only on a device that exists.
    Create {
        /// Its address.
        at: Address,
        /// What it is.
        entry: Box<Entry>,
    },
    /// An identity changes.
    Identify {
        /// Its address.
        at: Address,
        /// The new identity.
        identity: Identity,
    },
    /// A twin changes.
    Twin {
        /// Its address.
        at: Address,
        /// The new twin.
        twin: Box<DeviceTwin>,
    },
    /// A session subscribes to something else.
    Subscribe {
        /// The device's address.
        at: Address,
        /// All that it subscribed to.
        subscriptions: BTreeMap<String, u8>,
    },
    /// A message waits for a device.
    Enqueue {
        /// Its address.
        at: Address,
        /// The message.
        queued: Queued,
    },
    /// A message waits no more.
    Dequeue {
        /// The device's address.
        at: Address,
        /// The message's number.
        sequence: u64,
    },
    /// All devices are gone.
    Clear,
    /// A device with its modules, or a module, is gone.
    Delete {
        /// Its address.
        at: Address,
    },
}

impl State {
    /// The device or module at this address.
    pub fn get(&self, at: &Address) -> Option<&Entry> {
        let device = self.devices.get(&at.device)?;
        match &at.module {
            None => Some(&device.entry),
            Some(module) => device.modules.get(module),
        }
    }

    /// The same, unless it was made anew since: then it is another of that name.
    pub(super) fn of_generation(&self, at: &Address, generation: u64) -> Option<&Entry> {
        self.get(at).filter(|entry| entry.identity.generation == generation)
    }

    /// All devices in the order of their ids.
    pub fn devices(&self) -> impl ExactSizeIterator<Item = (&DeviceId, &Entry)> {
        self.devices.iter().map(|(id, device)| (id, &device.entry))
    }

    /// The modules of a device, `None` if there is no such device.
    pub fn modules(&self, device: &DeviceId) -> Option<&BTreeMap<ModuleId, Entry>> {
        self.devices.get(device).map(|device| &device.modules)
    }

    /// Whether the device exists and may connect; for a module, both must.
    pub fn may_connect(&self, at: &Address) -> bool {
        let enabled = |entry: Option<&Entry>| entry.is_some_and(|entry| entry.identity.status == Status::Enabled);
        enabled(self.devices.get(&at.device).map(|device| &device.entry)) && enabled(self.get(at))
    }

    /// The generation id for an identity made `now`: the time in .NET ticks, as the service has it, but never one
    /// that was given before.
    pub(super) fn next_generation(&self, now: Timestamp) -> u64 {
        const UNIX_EPOCH_TICKS: i128 = 621_355_968_000_000_000;
        let ticks = u64::try_from(UNIX_EPOCH_TICKS + now.as_nanosecond() / 100).unwrap_or_default();
        ticks.max(self.last_generation + 1)
    }

    /// Changes what is at an address, if there is something.
    fn change_at(&mut self, at: &Address, change: impl FnOnce(&mut Entry)) {
        let entry = self.devices.get_mut(&at.device).and_then(|device| match &at.module {
            None => Some(&mut device.entry),
            Some(module) => device.modules.get_mut(module),
        });
        if let Some(entry) = entry {
            change(entry);
        }
    }

    fn create(&mut self, at: Address, entry: Entry) {
        self.last_generation = self.last_generation.max(entry.identity.generation);
        match at.module {
            None => {
                self.devices.insert(at.device, Device { entry, modules: BTreeMap::new() });
            }
            Some(module) => {
                if let Some(device) = self.devices.get_mut(&at.device) {
                    device.modules.insert(module, entry);
                }
            }
        }
    }

    fn delete(&mut self, at: &Address) {
        match &at.module {
            None => {
                self.devices.remove(&at.device);
            }
            Some(module) => {
                if let Some(device) = self.devices.get_mut(&at.device) {
                    device.modules.remove(module);
                }
            }
        }
    }
}

impl store::State for State {
    type Change = Change;

    fn apply(&mut self, change: Change) {
        match change {
            Change::Create { at, entry } => self.create(at, *entry),
            Change::Identify { at, identity } => self.change_at(&at, |entry| entry.identity = identity),
            Change::Twin { at, twin } => self.change_at(&at, |entry| entry.twin = *twin),
            Change::Subscribe { at, subscriptions } => self.change_at(&at, |entry| entry.subscriptions = subscriptions),
            Change::Enqueue { at, queued } => self.change_at(&at, |entry| entry.queue.push(queued)),
            Change::Dequeue { at, sequence } => self.change_at(&at, |entry| entry.queue.remove(sequence)),
            Change::Delete { at } => self.delete(&at),
            Change::Clear => self.devices.clear(),
        }
    }
}
