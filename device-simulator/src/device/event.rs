//! What happens to a device, for whoever watches it.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use crate::{
    hub::Telemetry,
    identity::Endpoint,
    mqtt::{ConnectError, ConnectionLost},
    provisioning::{Assignment, Progress, ProvisioningError},
};

/// What happens to a device.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// It registers with DPS: for the first time, or because its hub does not know it any more.
    Registering {
        /// Where DPS is.
        dps: &'a Endpoint,
    },
    /// Its registration takes some time.
    Provisioning(Progress<'a>),
    /// Its registration failed in a way that may pass; it is tried again after `wait`.
    NotRegistered {
        /// What went wrong.
        error: &'a ProvisioningError,
        /// How long until then.
        wait: Duration,
    },
    /// It has a hub.
    Assigned(&'a Assignment),
    /// It is connected to its hub.
    Connected {
        /// The hub.
        hub: &'a Endpoint,
    },
    /// It could not connect to its hub, and tries again after `wait`.
    NotConnected {
        /// What went wrong.
        error: &'a ConnectError,
        /// How long until then.
        wait: Duration,
    },
    /// It lost its connection, and makes a new one after `wait`.
    Lost {
        /// How it went.
        error: &'a ConnectionLost,
        /// How long until then.
        wait: Duration,
        /// How many messages go (again) when it is back.
        unsent: usize,
    },
    /// Its token runs out soon: it disconnects and comes back with a new one.
    Renewing,
    /// The hub has a message.
    Acknowledged {
        /// Which one, counted from 1.
        sequence: u64,
        /// The message.
        telemetry: &'a Telemetry,
    },
    /// The reserve of unsent messages was full, and its oldest message was dropped.
    Dropped {
        /// Which one, counted from 1.
        sequence: u64,
        /// How many there were so far.
        total: u64,
    },
}

/// Whoever watches; told from several places, one at a time.
pub(super) trait Observer: Sync {
    fn tell(&self, event: Event<'_>);
}

impl<F: FnMut(Event<'_>) + Send> Observer for Mutex<F> {
    fn tell(&self, event: Event<'_>) {
        (self.lock().unwrap_or_else(PoisonError::into_inner))(event);
    }
}
