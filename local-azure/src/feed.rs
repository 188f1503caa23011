//! What happens, told as it happens to whoever listens.

use jiff::Timestamp;
use serde::Serialize;
use tokio::sync::broadcast::{self, error::RecvError};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    clock::Clock,
    digital_twins::Touched,
    dps::{self, Outcome},
    event_hubs::LogChange,
    functions_host::{BlobChange, Invocation},
    gate::Fired,
    iot_hub::{self, Address, Connected},
    services::Services,
};

/// What a slow listener may be behind; older news it misses.
const BUFFER: usize = 1_024;

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "what", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Happening {
    /// A registration came to an end.
    Registration {
        /// Whose.
        registration_id: String,
        /// `assigned`, `failed` or `disabled`.
        status: &'static str,
        /// The hub that the device was assigned to.
        hub: Option<String>,
        /// Why it failed.
        message: Option<String>,
    },
    /// A device or module is in a hub's registry.
    DeviceCreated(Place),
    /// It no longer is.
    DeviceDeleted(Place),
    /// A device or module connected.
    DeviceConnected(Place),
    /// It is no longer connected.
    DeviceDisconnected(Place),
    /// An event arrived in an event hub: a message of a device, or a lifecycle event.
    Event {
        /// The event hub.
        event_hub: String,
        /// The partition.
        partition: usize,
        /// Its number there.
        sequence_number: u64,
        /// The device that sent it.
        device_id: Option<String>,
        /// How large its body is.
        bytes: usize,
    },
    /// An invocation of a function ended: a batch was delivered, or an HTTP request answered.
    Invocation(Invocation),
    /// A blob was written: the dead letters of a batch.
    DeadLetters {
        /// Its container and name.
        blob: String,
        /// How large it is.
        bytes: usize,
    },
    /// A fault happened.
    Fault(Fired),
    /// All that a service keeps was forgotten.
    Cleared {
        /// The service.
        service: &'static str,
    },
    /// So much happened that the listener did not hear of.
    Missed {
        /// How much.
        count: u64,
    },
    /// A twin or a relationship was created, changed or deleted.
    #[serde(untagged)]
    Graph(Touched),
}

/// Where a device or module is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Place {
    /// The hub's host name.
    pub hub: String,
    /// The device.
    pub device_id: String,
    /// The module, if it is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub module_id: Option<String>,
}

/// A happening and its time.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct News {
    /// When it happened.
    pub at: Timestamp,
    /// What.
    #[serde(flatten)]
    pub happening: Happening,
}

/// Where happenings are told. Clones are the same feed.
#[derive(Debug, Clone)]
pub struct Feed {
    news: broadcast::Sender<News>,
    clock: Clock,
}

/// A listener's end of a feed.
#[derive(Debug)]
pub struct Listener(broadcast::Receiver<News>, Clock);

impl Feed {
    pub(crate) fn new(clock: Clock) -> Self {
        Self { news: broadcast::Sender::new(BUFFER), clock }
    }

    /// Hears of everything that happens from now on.
    pub fn listen(&self) -> Listener {
        Listener(self.news.subscribe(), self.clock.clone())
    }

    /// Tells what `show` shows, if anybody listens.
    fn tell(&self, show: impl FnOnce() -> Option<Happening>) {
        if self.news.receiver_count() == 0 {
            return;
        }
        if let Some(happening) = show() {
            // Nobody may be listening any more.
            let _ = self.news.send(News { at: self.clock.now(), happening });
        }
    }

    /// Tells what becomes of the services' states from now on.
    pub(crate) fn observe(&self, services: &Services) {
        let feed = self.clone();
        services.dps.store().observe(move |state, change| feed.tell(|| registration(state, change)));
        for hub in &services.iot_hubs {
            let (feed, name) = (self.clone(), hub.host_name().to_string());
            hub.store().observe(move |_, change| feed.tell(|| identity(&name, change)));
        }
        for hub in &services.event_hubs {
            let (feed, name) = (self.clone(), hub.name().to_owned());
            hub.log().observe(move |_, change| feed.tell(|| event(&name, change)));
        }
        let feed = self.clone();
        services.digital_twins.observe(move |touched| {
            feed.tell(|| {
                Some(match touched {
                    Some(touched) => Happening::Graph(touched),
                    None => Happening::Cleared { service: "digital-twins" },
                })
            });
        });
        let feed = self.clone();
        services.blobs.containers().observe(move |_, change| feed.tell(|| blob(change)));
    }

    /// Passes on what services tell of their own accord, until `shutdown`.
    pub(crate) fn pass_on(&self, services: &Services, tasks: &TaskTracker, shutdown: &CancellationToken) {
        let fired = services.gate.fired();
        tasks.spawn(self.clone().forward(fired, shutdown.clone(), Happening::Fault));
        let invocations = services.functions.invocations();
        tasks.spawn(self.clone().forward(invocations, shutdown.clone(), Happening::Invocation));
        for hub in &services.iot_hubs {
            let name = hub.host_name().to_string();
            let connection = move |Connected { at, is_connected }: Connected| match is_connected {
                true => Happening::DeviceConnected(place(&name, &at)),
                false => Happening::DeviceDisconnected(place(&name, &at)),
            };
            tasks.spawn(self.clone().forward(hub.connected(), shutdown.clone(), connection));
        }
    }

    async fn forward<T: Clone>(
        self,
        mut from: broadcast::Receiver<T>,
        shutdown: CancellationToken,
        show: impl Fn(T) -> Happening,
    ) {
        loop {
            let news = tokio::select! {
                () = shutdown.cancelled() => return,
                news = from.recv() => news,
            };
            match news {
                Ok(news) => self.tell(|| Some(show(news))),
                Err(RecvError::Lagged(count)) => self.tell(|| Some(Happening::Missed { count })),
                Err(RecvError::Closed) => return,
            }
        }
    }
}

impl Listener {
    /// The next happening, or how many there were that this listener was too slow for. `None` at the end.
    pub async fn next(&mut self) -> Option<News> {
        match self.0.recv().await {
            Ok(news) => Some(news),
            Err(RecvError::Lagged(count)) => Some(News { at: self.1.now(), happening: Happening::Missed { count } }),
            Err(RecvError::Closed) => None,
        }
    }
}

fn registration(state: &dps::State, change: &dps::Change) -> Option<Happening> {
    match change {
        dps::Change::End { id, outcome, .. } => {
            let (status, message) = match outcome {
                Outcome::Assigned { .. } => ("assigned", None),
                Outcome::Failed(failure) => ("failed", Some(failure.message.clone())),
                Outcome::Disabled => ("disabled", None),
            };
            let assignment = state.get(id).and_then(|record| record.assignment.as_ref());
            let hub = assignment.filter(|_| status == "assigned").map(|assignment| assignment.hub.clone());
            Some(Happening::Registration { registration_id: id.to_string(), status, hub, message })
        }
        dps::Change::Clear => Some(Happening::Cleared { service: "dps" }),
        _ => None,
    }
}

fn identity(hub: &str, change: &iot_hub::Change) -> Option<Happening> {
    match change {
        iot_hub::Change::Create { at, .. } => Some(Happening::DeviceCreated(place(hub, at))),
        iot_hub::Change::Delete { at } => Some(Happening::DeviceDeleted(place(hub, at))),
        iot_hub::Change::Clear => Some(Happening::Cleared { service: "iot-hub" }),
        _ => None,
    }
}

fn event(hub: &str, change: &LogChange) -> Option<Happening> {
    match change {
        LogChange::Append { partition, event } => {
            let device = event.data.annotations.get("iothub-connection-device-id");
            let device = device.or_else(|| event.data.application_properties.get("deviceId"));
            Some(Happening::Event {
                event_hub: hub.to_owned(),
                partition: *partition,
                sequence_number: event.sequence_number,
                device_id: device.and_then(|device| device.as_str()).map(str::to_owned),
                bytes: event.data.body.len(),
            })
        }
        LogChange::Clear => Some(Happening::Cleared { service: "event-hubs" }),
        _ => None,
    }
}

fn blob(change: &BlobChange) -> Option<Happening> {
    match change {
        BlobChange::Put { container, name, blob } => {
            Some(Happening::DeadLetters { blob: format!("{container}/{name}"), bytes: blob.content.len() })
        }
        BlobChange::Clear => Some(Happening::Cleared { service: "blobs" }),
        BlobChange::Delete { .. } => None,
    }
}

fn place(hub: &str, at: &Address) -> Place {
    Place {
        hub: hub.to_owned(),
        device_id: at.device.to_string(),
        module_id: at.module.as_ref().map(|module| module.as_str().to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_slow_listener_is_told_how_much_it_missed_and_goes_on() {
        let feed = Feed::new(Clock::manual(Timestamp::UNIX_EPOCH));
        let cleared = || Some(Happening::Cleared { service: "dps" });
        feed.tell(|| panic!("nobody listens"));
        let mut slow = feed.listen();
        let extra = 5;
        for _ in 0..BUFFER + extra {
            feed.tell(cleared);
        }
        let missed = slow.next().await.unwrap();
        assert_eq!(missed.happening, Happening::Missed { count: 5 });
        for _ in 0..BUFFER {
            assert_eq!(slow.next().await.unwrap().happening, cleared().unwrap());
        }
        drop(feed);
        assert_eq!(slow.next().await, None);
    }
}
