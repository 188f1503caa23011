//! A connected device: what it sends, asks for and is told (IoT Hub: communicate using MQTT).

use std::sync::{Arc, atomic::Ordering};

use serde_json::{Value, json};
use tokio::time::{Instant, sleep_until};
use uuid::Uuid;

use super::{
    Address, Change, Entry, Error, IotHub, Message, State,
    connections::Connection,
    message::MESSAGE_BYTES,
    operation::{FILTERS, Operation, TOPICS},
    routing::{self, Source},
};
use crate::{
    event_hubs::EventData,
    mqtt::{Endpoint, Incoming, Outgoing, Push, Refused, Subscriptions, Template},
};

const ENDED: &str =
    "another connection took over, the device was disabled or deleted, or it does not keep up with its messages";

/// Who sends, as the hub established it.
#[derive(Debug, Clone)]
pub(crate) struct Sender {
    pub(super) at: Address,
    /// Tells it from others that have its name later.
    pub(super) generation: u64,
    /// How that is known.
    pub(super) method: Method,
    /// The model that the device announced.
    pub(super) model: Option<String>,
}

impl Sender {
    /// What the hub has of it.
    ///
    /// # Errors
    /// [`Error`] if it is gone, also where another has its name by now.
    pub(super) fn entry<'s>(&self, state: &'s State) -> Result<&'s Entry, Error> {
        state.of_generation(&self.at, self.generation).ok_or_else(|| Error::not_found(&self.at))
    }
}

/// How it is known who sends.
#[derive(Debug, Clone, Copy)]
pub(super) struct Method {
    /// Whose credentials these are: `device`, `module`, or `hub` for a policy's.
    pub(super) scope: &'static str,
    /// `sas` for a token, `x509` for a certificate.
    pub(super) kind: &'static str,
}

/// The hub's side of a device's session.
#[derive(Debug)]
pub(crate) struct DeviceSession {
    hub: Arc<IotHub>,
    sender: Sender,
    connection: Connection,
    expires: Option<Instant>,
    will: Option<Message>,
    /// Whether the device wants the messages of its queue.
    receives: bool,
    /// The last message of the queue that was sent on this connection.
    sent: u64,
}

impl DeviceSession {
    pub(super) fn new(
        hub: Arc<IotHub>,
        sender: Sender,
        connection: Connection,
        expires: Option<Instant>,
        will: Option<Message>,
    ) -> Self {
        let receives = receives(&sender.at, &connection.subscriptions);
        Self { hub, sender, connection, expires, will, receives, sent: 0 }
    }

    /// Carries out what the gate lets through.
    async fn pass<T>(
        &self,
        operation: Operation,
        carry_out: impl FnOnce() -> Result<T, Error> + Send,
    ) -> Result<T, Error> {
        let passage = self.hub.pass(operation, self.sender.at.device.as_str(), 1).await?;
        let result = carry_out();
        if passage.is_answered().await { result } else { Err(Error::NoAnswer) }
    }

    async fn get_twin(&self, request_id: &str) -> Result<Outgoing, Refused> {
        let look = || self.hub.store.read(|state| Ok(self.sender.entry(state)?.twin.for_device()));
        match self.pass(Operation::GetDeviceTwin, look).await {
            Ok(twin) => Ok(twin_answer(200, request_id, "", &twin.to_string())),
            Err(error) => self.twin_error(request_id, &error),
        }
    }

    async fn report(&self, request_id: &str, payload: &[u8]) -> Result<Outgoing, Refused> {
        let report = || {
            serde_json::from_slice::<Value>(payload)
                .map_err(|error| Error::ArgumentInvalid(format!("reported properties are not JSON: {error}")))
                .and_then(|patch| self.hub.report(&self.sender, &patch))
        };
        match self.pass(Operation::UpdateReportedProperties, report).await {
            Ok(version) => Ok(twin_answer(204, request_id, &format!("&$version={version}"), "")),
            Err(error) => self.twin_error(request_id, &error),
        }
    }

    fn twin_error(&self, request_id: &str, error: &Error) -> Result<Outgoing, Refused> {
        if *error == Error::NoAnswer {
            return Err(Refused(error.to_string()));
        }
        let body = json!({
            "errorCode": error.code(),
            "trackingId": Uuid::new_v4().simple().to_string(),
            "message": error.to_string(),
            "timestampUtc": format!("{:.7}", self.hub.clock.now()),
        });
        Ok(twin_answer(error.code() / 1000, request_id, "", &body.to_string()))
    }

    async fn send(&self, message: Incoming<'_>) -> Result<(), Refused> {
        let (from, mut sent) =
            Message::from_topic(message.topic, message.payload).map_err(|error| Refused(error.to_string()))?;
        if from != self.sender.at {
            return Err(Refused(format!("{} may not send as {from}", self.sender.at)));
        }
        if message.retain {
            sent.application_properties.insert("mqtt-retain".into(), "true".into());
        }
        let receive = || self.hub.receive(&self.sender, sent);
        self.pass(Operation::SendDeviceMessage, receive).await.map_err(|error| Refused(error.to_string()))
    }
}

impl Endpoint for DeviceSession {
    fn earlier_subscriptions(&self) -> Subscriptions {
        self.connection.subscriptions.clone()
    }

    /// The documented filters.
    fn admits(&self, filter: &str) -> bool {
        let Address { device, module } = &self.sender.at;
        let names: Vec<_> = std::iter::once(("device", device.as_str()))
            .chain(module.as_ref().map(|module| ("module", module.as_str())))
            .collect();
        FILTERS.iter().any(|template: &Template| template.filled(&names).as_deref() == Some(filter))
    }

    fn subscribed(&mut self, subscriptions: &Subscriptions) {
        self.receives = receives(&self.sender.at, subscriptions);
        let _order = self.hub.in_order();
        if self.hub.connections.subscribed(&self.sender.at, &self.connection, subscriptions) {
            self.hub.remember(&self.sender.at, subscriptions);
        }
    }

    async fn take(&mut self, message: Incoming<'_>) -> Result<Option<Outgoing>, Refused> {
        self.hub.connections.touch(&self.sender.at, self.hub.clock.now());
        match TOPICS.iter().find_map(|(operation, topic)| Some((operation, topic.rest(message.topic)?))) {
            Some((Operation::GetDeviceTwin, query)) => self.get_twin(request_id(query)).await.map(Some),
            Some((Operation::UpdateReportedProperties, query)) => {
                self.report(request_id(query), &message.payload).await.map(Some)
            }
            Some((Operation::AnswerMethod, answer)) => {
                self.hub.method_answered(&self.sender.at, answer, &message.payload);
                Ok(None)
            }
            _ => self.send(message).await.map(|()| None),
        }
    }

    async fn pushed(&mut self) -> Push {
        let expiry = async {
            match self.expires {
                Some(instant) => sleep_until(instant).await,
                None => std::future::pending().await,
            }
        };
        let queued = async {
            if !self.receives {
                return std::future::pending().await;
            }
            loop {
                if let Some(next) = self.hub.next_for_device(&self.sender, self.sent) {
                    return next;
                }
                self.connection.queued.notified().await;
            }
        };
        tokio::select! {
            biased;
            () = self.connection.closing.cancelled() => Push::Close(ENDED),
            () = expiry => Push::Close("the token expired"),
            message = self.connection.outgoing.recv() => match message {
                Some(message) => Push::Message(message),
                None => Push::Close(ENDED),
            },
            (sequence, message) = queued => {
                self.sent = sequence;
                Push::Delivery { message, receipt: sequence }
            }
        }
    }

    fn acknowledged(&mut self, receipt: u64) {
        self.hub.delivered(&self.sender, receipt);
    }

    /// A client that went without a goodbye has its will sent as telemetry.
    async fn ended(&mut self, properly: bool) {
        if let Some(mut will) = self.will.take().filter(|_| !properly) {
            will.application_properties.insert("iothub-MessageType".into(), "Will".into());
            // Refused where the device is deleted by now: nobody to speak for.
            let _ = self.hub.receive(&self.sender, will);
        }
        self.hub.connections.ended(&self.sender.at, &self.connection, self.hub.clock.now());
    }
}

impl IotHub {
    /// What a device had subscribed to in earlier sessions.
    pub(super) fn remembered(&self, at: &Address) -> Subscriptions {
        let filters = self.store.read(|state| state.get(at).map(|entry| entry.subscriptions.clone()));
        Subscriptions::from_filters(filters.unwrap_or_default())
    }

    /// Remembers what a device subscribed to, for its next connection, also after a restart.
    pub(super) fn remember(&self, at: &Address, subscriptions: &Subscriptions) {
        let Ok(()) = self.store.change(|state| {
            let known = state.get(at).is_none_or(|entry| entry.subscriptions == *subscriptions.filters());
            let change = || Change::Subscribe { at: at.clone(), subscriptions: subscriptions.filters().clone() };
            let changes = if known { Vec::new() } else { vec![change()] };
            Ok::<_, std::convert::Infallible>((changes, ()))
        });
    }

    /// Takes a message that a device sent, stamps it and routes it.
    pub(super) fn receive(&self, sender: &Sender, message: Message) -> Result<(), Error> {
        let size = message.size();
        if size > MESSAGE_BYTES {
            return Err(Error::ArgumentInvalid(format!(
                "a message of {size} bytes, at most {MESSAGE_BYTES} are allowed"
            )));
        }
        self.store.read(|state| {
            let entry = sender.entry(state)?;
            if !state.may_connect(&sender.at) {
                return Err(Error::not_found(&sender.at));
            }
            let event = self.stamp(sender, message);
            self.messages.fetch_add(1, Ordering::Relaxed);
            let source = Source::DeviceMessages;
            routing::send(&self.routes, &self.host_name, source, &sender.at.device, &event, Some(&entry.twin));
            Ok(())
        })
    }

    /// Adds what only the hub may say: who sent it, how that is known, and when it came.
    fn stamp(&self, sender: &Sender, message: Message) -> EventData {
        let Method { scope, kind } = sender.method;
        let method = json!({ "scope": scope, "type": kind, "issuer": "iothub", "acceptingIpFilterRule": null });
        let mut annotations = message.annotations;
        let mut stamp = |name: &str, value: Value| annotations.insert(name.to_owned(), value);
        stamp("iothub-connection-device-id", sender.at.device.as_str().into());
        if let Some(module) = &sender.at.module {
            stamp("iothub-connection-module-id", module.as_str().into());
        }
        stamp("iothub-connection-auth-method", method.to_string().into());
        stamp("iothub-connection-auth-generation-id", sender.generation.to_string().into());
        stamp("iothub-enqueuedtime", format!("{:.3}", self.clock.now()).into());
        stamp("iothub-message-source", Source::DeviceMessages.name().into());
        if let Some(model) = &sender.model {
            stamp("dt-dataschema", model.as_str().into());
        }
        EventData {
            body: message.body,
            properties: message.properties,
            application_properties: message.application_properties,
            annotations,
        }
    }
}

/// Whether a device that subscribed to these gets the messages of its queue.
fn receives(at: &Address, subscriptions: &Subscriptions) -> bool {
    subscriptions.quality_for(&format!("devices/{}/messages/devicebound/", at.device)).is_some()
}

/// The value of `$rid`, as the device wrote it.
pub(super) fn request_id(query: &str) -> &str {
    query.split('&').find_map(|pair| pair.strip_prefix("$rid=")).unwrap_or_default()
}

fn twin_answer(status: u32, request_id: &str, more: &str, body: &str) -> Outgoing {
    Outgoing { topic: format!("$iothub/twin/res/{status}/?$rid={request_id}{more}"), payload: body.to_owned().into() }
}
