//! The devices that are connected now, and what is remembered of their sessions.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use jiff::Timestamp;
use tokio::sync::{Notify, broadcast, mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::{Address, DeviceId};
use crate::mqtt::{Outgoing, Subscriptions};

/// Messages that may wait for a slow device before it is disconnected.
const WAITING: usize = 64;

/// Connections that a listener may be behind.
const NEWS: usize = 1_024;

/// A device or module connected, or is no longer connected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connected {
    /// Which.
    pub at: Address,
    /// Whether it is connected now.
    pub is_connected: bool,
}

/// One connection a device or module.
#[derive(Debug)]
pub(super) struct Connections {
    links: Mutex<HashMap<Address, Link>>,
    opened: AtomicU64,
    /// Rings when a device connects or subscribes.
    changed: watch::Sender<()>,
    news: broadcast::Sender<Connected>,
}

impl Default for Connections {
    fn default() -> Self {
        let (links, opened, changed) = (Mutex::default(), AtomicU64::default(), watch::Sender::default());
        Self { links, opened, changed, news: broadcast::Sender::new(NEWS) }
    }
}

/// What the hub knows of a device's connections.
#[derive(Debug, Default)]
struct Link {
    live: Option<Live>,
    /// Tells the latest connection from an earlier one that has not noticed its end yet.
    latest: u64,
    seen: Seen,
    subscriptions: Subscriptions,
}

#[derive(Debug)]
struct Live {
    outgoing: mpsc::Sender<Outgoing>,
    queued: Arc<Notify>,
    closing: CancellationToken,
}

/// When a device was last heard of.
#[derive(Debug, Clone, Default)]
pub(super) struct Seen {
    pub(super) connected: bool,
    /// When it last connected or disconnected.
    pub(super) changed: Option<Timestamp>,
    /// When it last sent something.
    pub(super) active: Option<Timestamp>,
    /// The model that it announced.
    pub(super) model: Option<String>,
}

/// A device's end of its link.
#[derive(Debug)]
pub(super) struct Connection {
    number: u64,
    pub(super) outgoing: mpsc::Receiver<Outgoing>,
    /// Rings when a message waits in the device's queue.
    pub(super) queued: Arc<Notify>,
    /// Done when the hub wants the device gone.
    pub(super) closing: CancellationToken,
    /// What an earlier connection that was not to be forgotten had subscribed to.
    pub(super) subscriptions: Subscriptions,
}

impl Connections {
    /// Takes a new connection of a device that had subscribed to this; an earlier one of the same device is closed (IoT
    /// Hub: error 400027, ConnectionForcefullyClosedOnNewConnection).
    pub(super) fn open(
        &self,
        at: &Address,
        subscriptions: Subscriptions,
        model: Option<String>,
        now: Timestamp,
    ) -> Connection {
        let (sender, outgoing) = mpsc::channel(WAITING);
        let (queued, closing) = (Arc::new(Notify::new()), CancellationToken::new());
        let mut links = self.lock();
        let link = links.entry(at.clone()).or_default();
        let live = Live { outgoing: sender, queued: Arc::clone(&queued), closing: closing.clone() };
        if let Some(earlier) = link.live.replace(live) {
            earlier.closing.cancel();
        }
        link.latest = self.opened.fetch_add(1, Ordering::Relaxed);
        link.subscriptions = subscriptions;
        link.seen = Seen { connected: true, changed: Some(now), active: Some(now), model };
        self.changed.send_replace(());
        self.tell(at, true);
        Connection { number: link.latest, outgoing, queued, closing, subscriptions: link.subscriptions.clone() }
    }

    /// The connection ended, whoever ended it.
    pub(super) fn ended(&self, at: &Address, connection: &Connection, now: Timestamp) {
        if let Some(link) = self.lock().get_mut(at)
            && link.latest == connection.number
        {
            link.live = None;
            link.seen.connected = false;
            link.seen.changed = Some(now);
            self.tell(at, false);
        }
    }

    /// The device subscribed to this, if the connection is its latest.
    pub(super) fn subscribed(&self, at: &Address, connection: &Connection, subscriptions: &Subscriptions) -> bool {
        if let Some(link) = self.lock().get_mut(at)
            && link.latest == connection.number
        {
            link.subscriptions = subscriptions.clone();
            self.changed.send_replace(());
            return true;
        }
        false
    }

    /// Waits until the device is connected and has subscribed to this topic.
    pub(super) async fn listening(&self, at: &Address, topic: &str) {
        let mut changed = self.changed.subscribe();
        let listens = |link: &Link| link.live.is_some() && link.subscriptions.quality_for(topic).is_some();
        while !self.lock().get(at).is_some_and(listens) {
            if changed.changed().await.is_err() {
                // Nothing changes any more.
                std::future::pending::<()>().await;
            }
        }
    }

    /// The device sent something.
    pub(super) fn touch(&self, at: &Address, now: Timestamp) {
        if let Some(link) = self.lock().get_mut(at) {
            link.seen.active = Some(now);
        }
    }

    /// Hands a message to a connected device. One that does not keep up is disconnected: it asks for its twin when
    /// it is back.
    pub(super) fn push(&self, at: &Address, message: Outgoing) {
        if let Some(live) = self.lock().get(at).and_then(|link| link.live.as_ref())
            && live.outgoing.try_send(message).is_err()
        {
            live.closing.cancel();
        }
    }

    /// Lets a connected device know that a message waits in its queue.
    pub(super) fn wake(&self, at: &Address) {
        if let Some(live) = self.lock().get(at).and_then(|link| link.live.as_ref()) {
            live.queued.notify_one();
        }
    }

    /// Closes the connections of a device and its modules, or of one module.
    pub(super) fn close(&self, at: &Address) {
        for (_, link) in self.lock().iter().filter(|(address, _)| covers(at, address)) {
            if let Some(live) = &link.live {
                live.closing.cancel();
            }
        }
    }

    /// Closes them and forgets everything about them.
    pub(super) fn forget(&self, at: &Address) {
        self.forget_where(|address| covers(at, address));
    }

    /// Closes all connections and forgets everything about them.
    pub(super) fn forget_all(&self) {
        self.forget_where(|_| true);
    }

    fn forget_where(&self, is_meant: impl Fn(&Address) -> bool) {
        for (at, link) in self.lock().extract_if(|at, _| is_meant(at)) {
            if let Some(live) = link.live {
                live.closing.cancel();
                self.tell(&at, false);
            }
        }
    }

    /// Tells each connection that begins or ends from now on. A slow listener loses the oldest.
    pub(super) fn news(&self) -> broadcast::Receiver<Connected> {
        self.news.subscribe()
    }

    fn tell(&self, at: &Address, is_connected: bool) {
        // Nobody may be listening.
        let _ = self.news.send(Connected { at: at.clone(), is_connected });
    }

    pub(super) fn seen(&self, at: &Address) -> Seen {
        self.lock().get(at).map(|link| link.seen.clone()).unwrap_or_default()
    }

    /// The devices (not modules) that are connected.
    pub(super) fn connected_devices(&self) -> Vec<DeviceId> {
        let links = self.lock();
        links
            .iter()
            .filter(|(address, link)| address.module.is_none() && link.live.is_some())
            .map(|(address, _)| address.device.clone())
            .collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Address, Link>> {
        self.links.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn covers(at: &Address, other: &Address) -> bool {
    at.device == other.device && (at.module.is_none() || at.module == other.module)
}
