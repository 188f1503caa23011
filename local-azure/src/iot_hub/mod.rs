//! IoT Hub: identities, device twins, the device's side over MQTT, routes to event hubs, the service's side over
//! HTTPS.

mod authentication;
mod cloud_to_device;
mod connections;
mod device_api;
mod device_session;
mod device_twin;
mod error;
mod hubs;
mod lifecycle;
mod message;
mod methods;
mod names;
mod operation;
mod policy;
mod properties;
mod query;
mod registry;
mod routing;
mod service_api;
mod sign_in;
mod state;
#[cfg(test)]
mod tests;
mod twin_format;
mod view;

use std::{
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use serde::Serialize;
use tokio::sync::broadcast;

pub(crate) use self::{authentication::WantedKeys, message::MESSAGE_BYTES};
pub use self::{
    authentication::{Authentication, KeyPair, NewAuthentication, Thumbprints},
    cloud_to_device::{CloudMessage, Queue, Queued},
    connections::Connected,
    device_twin::{DeviceTwin, TwinPatch},
    error::{Denial, Error},
    message::{Message, TopicError},
    methods::{MethodAnswer, MethodCall},
    names::{Address, DeviceId, HostName, HostNameError, IdError, ModuleId},
    operation::operations,
    policy::{Permissions, Policy},
    registry::{Condition, NewIdentity},
    routing::{Enrichment, Route, Source},
    service_api::router,
    state::{Change, Entry, Identity, State, Status},
    twin_format::TwinError,
};
use self::{connections::Connections, device_api::Locks, methods::Calls, operation::Operation};
use crate::{
    clock::Clock,
    gate::{self, Gate, Passage, Service, Share},
    store::Store,
};

/// One IoT hub.
pub struct IotHub {
    host_name: HostName,
    policies: Vec<Policy>,
    routes: Vec<Route>,
    store: Store<State>,
    connections: Connections,
    calls: Calls,
    locks: Locks,
    /// Held while identities and their connections change together, until devices and event hubs have been told: all of
    /// it happens in one order.
    order: Mutex<()>,
    messages: AtomicU64,
    clock: Clock,
    gate: Arc<Gate>,
}

/// How a hub is set up.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The hub's host name.
    pub host_name: HostName,
    /// Its shared access policies.
    pub policies: Vec<Policy>,
    /// Where its events go.
    pub routes: Vec<Route>,
}

/// A hub's numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Counts {
    /// Devices in the registry.
    pub devices: usize,
    /// Devices connected now.
    pub connected: usize,
    /// Messages taken from devices since the start.
    pub messages: u64,
}

impl IotHub {
    /// A hub that goes on from `state` (`State::default()` for an empty one).
    pub fn new(settings: Settings, state: impl Into<Store<State>>, clock: Clock, gate: Arc<Gate>) -> Self {
        let Settings { host_name, policies, routes } = settings;
        Self {
            host_name,
            policies,
            routes,
            store: state.into(),
            connections: Connections::default(),
            calls: Calls::default(),
            locks: Locks::default(),
            order: Mutex::new(()),
            messages: AtomicU64::new(0),
            clock,
            gate,
        }
    }

    /// The hub's host name.
    pub fn host_name(&self) -> &HostName {
        &self.host_name
    }

    /// Everything it keeps, for persistence.
    pub fn store(&self) -> &Store<State> {
        &self.store
    }

    /// The ids of its devices, in order.
    pub fn devices(&self) -> Vec<DeviceId> {
        self.store.read(|state| state.devices().map(|(id, _)| id.clone()).collect())
    }

    /// The devices that are connected now.
    pub fn connected_devices(&self) -> Vec<DeviceId> {
        self.connections.connected_devices()
    }

    /// Tells each connection that begins or ends from now on. A slow listener loses the oldest.
    pub fn connected(&self) -> broadcast::Receiver<Connected> {
        self.connections.news()
    }

    /// Its numbers.
    pub fn counts(&self) -> Counts {
        Counts {
            devices: self.store.read(|state| state.devices().len()),
            connected: self.connections.connected_devices().len(),
            messages: self.messages.load(Ordering::Relaxed),
        }
    }

    /// Forgets all devices, with their connections, twins and messages, and raises no events.
    pub fn clear(&self) {
        let _order = self.in_order();
        let Ok(()) = self.store.change(|_| Ok::<_, std::convert::Infallible>((vec![Change::Clear], ())));
        self.connections.forget_all();
        self.messages.store(0, Ordering::Relaxed);
    }

    /// Passes the gate, where a request about a device takes so many units of the hub's throttles.
    async fn pass(&self, operation: Operation, device: &str, units: u32) -> Result<Passage, gate::Refusal> {
        let share = Share { hub: self.host_name.as_str(), units, clock: &self.clock };
        let (class, operation) = (operation.class(), operation.name());
        let request = gate::Request { service: Service::IotHub, operation, class, subject: device };
        self.gate.pass_to_hub(share, request).await
    }

    fn in_order(&self) -> MutexGuard<'_, ()> {
        self.order.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for IotHub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IotHub").field("host_name", &self.host_name).finish_non_exhaustive()
    }
}
