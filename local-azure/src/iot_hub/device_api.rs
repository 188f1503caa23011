//! A device's side over HTTPS: sending messages, and taking those that wait for it (IoT Hub: device REST API, Device -
//! Send Device Event, Receive Device Bound Notification, Complete, Abandon).
//!
//! Header names have no case, so application properties sent in headers get names in lower case.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use axum::{
    body::Bytes,
    extract::{Path, State},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::{Map, Value};
use uuid::Uuid;

use super::{
    Address, CloudMessage, Denial, Error, IotHub, Message,
    device_session::Sender,
    hubs::{Hubs, host, hub_for, text},
};
use crate::front::Peer;

const APPLICATION: &str = "iothub-app-";
const BATCH: &str = "application/vnd.microsoft.iothub.json";
/// How long a received message stays away from other receivers without `iothub-messagelocktimeout`, and at most.
const LOCKED: SignedDuration = SignedDuration::from_secs(60);
const LONGEST_LOCKED: SignedDuration = SignedDuration::from_mins(5);

/// Messages that a receiver has and neither completed nor gave back, with the locks under which it has them: by the
/// generation of their device and their number on its queue.
#[derive(Debug, Default)]
pub(super) struct Locks(Mutex<HashMap<(u64, u64), Lock>>);

#[derive(Debug)]
struct Lock {
    token: String,
    until: Timestamp,
}

impl Locks {
    /// Locks the first message that waits for a receiver and that nobody has: its number, the lock, and the message.
    fn take(&self, hub: &IotHub, receiver: &Sender, length: SignedDuration) -> Option<(u64, String, CloudMessage)> {
        let now = hub.clock.now();
        // What waits is looked for under the locks: what another completes meanwhile is neither locked nor there.
        let mut locks = self.held(now);
        let mut after = 0;
        while let Some((sequence, message)) = hub.waiting(receiver, after) {
            after = sequence;
            if let Entry::Vacant(free) = locks.entry((receiver.generation, sequence)) {
                let token = Uuid::new_v4().to_string();
                let until = now.saturating_add(length).unwrap_or(Timestamp::MAX);
                free.insert(Lock { token: token.clone(), until });
                return Some((sequence, token, message));
            }
        }
        None
    }

    /// Ends a lock when `what` was done with the message of that number.
    fn end(&self, receiver: &Sender, token: &str, now: Timestamp, what: impl FnOnce(u64)) -> Result<(), Error> {
        let mut locks = self.held(now);
        let is_meant = |&(&(of, _), lock): &(&(u64, u64), &Lock)| of == receiver.generation && lock.token == token;
        let (&key, _) = locks.iter().find(is_meant).ok_or_else(|| Error::LockLost(receiver.at.to_string()))?;
        what(key.1);
        locks.remove(&key);
        Ok(())
    }

    fn held(&self, now: Timestamp) -> MutexGuard<'_, HashMap<(u64, u64), Lock>> {
        let mut locks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        locks.retain(|_, lock| lock.until > now);
        locks
    }
}

/// Finds the hub, and the device that the token or the certificate is good for.
fn admit(hubs: &Hubs, headers: &HeaderMap, peer: &Peer, device: &str) -> Result<(Arc<IotHub>, Sender), Error> {
    let host = host(headers);
    let hub = hub_for(hubs, headers).ok_or_else(|| Error::ArgumentInvalid(format!("there is no hub {host}")))?;
    let at = Address::device(device.parse()?);
    let token = text(headers, header::AUTHORIZATION.as_str());
    let proof = hub.verify(host, &at, token, peer.0.as_ref());
    let proof = proof.map_err(|reason| Error::Unauthorized(Denial::Device(reason)))?;
    Ok((Arc::clone(hub), Sender { at, generation: proof.generation, method: proof.method, model: None }))
}

pub(super) async fn send(
    State(hubs): State<Hubs>,
    Path(device): Path<String>,
    peer: Peer,
    headers: HeaderMap,
    body: Bytes,
) -> Result<StatusCode, Error> {
    let (hub, sender) = admit(&hubs, &headers, &peer, &device)?;
    hub.connections.touch(&sender.at, hub.clock.now());
    if text(&headers, header::CONTENT_TYPE.as_str()).is_some_and(|kind| kind.starts_with(BATCH)) {
        for message in batch(&body)? {
            hub.receive(&sender, message)?;
        }
    } else {
        let named = headers.iter().filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?)));
        hub.receive(&sender, message(body, named))?;
    }
    Ok(StatusCode::NO_CONTENT)
}

/// A message whose properties have the names that they have as headers.
fn message<'a>(body: Bytes, properties: impl IntoIterator<Item = (&'a str, &'a str)>) -> Message {
    let mut message = Message { body, ..Message::default() };
    for (name, value) in properties {
        if let Some(own) = name.strip_prefix(APPLICATION) {
            message.application_properties.insert(own.to_owned(), value.into());
        } else if let Some(system) = system_property(name) {
            message.properties.insert(system.to_owned(), value.into());
        }
    }
    message
}

fn system_property(name: &str) -> Option<&'static str> {
    Some(match name {
        "iothub-messageid" => "message-id",
        "iothub-correlationid" => "correlation-id",
        "iothub-userid" => "user-id",
        "iothub-to" => "to",
        "iothub-expiry" => "absolute-expiry-time",
        "iothub-contenttype" => "content-type",
        "iothub-contentencoding" => "content-encoding",
        _ => return None,
    })
}

#[derive(Debug, Deserialize)]
struct Item {
    body: String,
    #[serde(default)]
    properties: Map<String, Value>,
    #[serde(rename = "base64Encoded", default = "encoded")]
    encoded: bool,
}

fn encoded() -> bool {
    true
}

/// `[{"body": "<base64>", "properties": {..}}, ..]`
fn batch(body: &[u8]) -> Result<Vec<Message>, Error> {
    let invalid = |reason: String| Error::ArgumentInvalid(format!("not a batch of messages: {reason}"));
    let items: Vec<Item> = serde_json::from_slice(body).map_err(|error| invalid(error.to_string()))?;
    let read = |item: Item| {
        let body = if item.encoded {
            BASE64_STANDARD.decode(item.body).map_err(|error| invalid(error.to_string()))?
        } else {
            item.body.into_bytes()
        };
        let properties = item.properties.iter().filter_map(|(name, value)| Some((name.as_str(), value.as_str()?)));
        Ok(message(body.into(), properties))
    };
    items.into_iter().map(read).collect()
}

pub(super) async fn receive(
    State(hubs): State<Hubs>,
    Path(device): Path<String>,
    peer: Peer,
    headers: HeaderMap,
) -> Result<Response, Error> {
    let (hub, receiver) = admit(&hubs, &headers, &peer, &device)?;
    hub.connections.touch(&receiver.at, hub.clock.now());
    let seconds = text(&headers, "iothub-messagelocktimeout").and_then(|seconds| seconds.parse().ok());
    let length = seconds.map_or(LOCKED, SignedDuration::from_secs).clamp(SignedDuration::from_secs(1), LONGEST_LOCKED);
    Ok(match hub.locks.take(&hub, &receiver, length) {
        Some((sequence, lock, message)) => delivery(&receiver.at, sequence, &lock, message),
        None => StatusCode::NO_CONTENT.into_response(),
    })
}

/// A message with its properties as headers; what no header can hold is left out.
fn delivery(at: &Address, sequence: u64, lock: &str, message: CloudMessage) -> Response {
    let to = format!("/devices/{}/messages/deviceBound", at.device);
    let system = [
        (header::ETAG.as_str(), Some(format!("\"{lock}\""))),
        ("iothub-sequencenumber", Some(sequence.to_string())),
        ("iothub-to", Some(to)),
        ("iothub-messageid", message.message_id),
        ("iothub-contenttype", message.content_type),
    ];
    let system = system.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
    let own = message
        .properties
        .iter()
        .map(|(name, value)| (format!("{APPLICATION}{name}"), value.as_str().unwrap_or_default().to_owned()));
    let mut response = message.body.clone().into_response();
    for (name, value) in system.chain(own) {
        if let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), HeaderValue::from_str(&value)) {
            response.headers_mut().insert(name, value);
        }
    }
    response
}

/// Completing and rejecting (`?reject`) both take the message out of the queue.
pub(super) async fn complete(
    State(hubs): State<Hubs>,
    Path((device, lock)): Path<(String, String)>,
    peer: Peer,
    headers: HeaderMap,
) -> Result<StatusCode, Error> {
    let (hub, receiver) = admit(&hubs, &headers, &peer, &device)?;
    hub.locks.end(&receiver, &lock, hub.clock.now(), |sequence| hub.delivered(&receiver, sequence))?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn abandon(
    State(hubs): State<Hubs>,
    Path((device, lock)): Path<(String, String)>,
    peer: Peer,
    headers: HeaderMap,
) -> Result<StatusCode, Error> {
    let (hub, receiver) = admit(&hubs, &headers, &peer, &device)?;
    hub.locks.end(&receiver, &lock, hub.clock.now(), |_| ())?;
    Ok(StatusCode::NO_CONTENT)
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::{
        super::{Condition, NewIdentity, Settings, device_session::Method},
        *,
    };
    use crate::{clock::Clock, gate::Gate};

    fn hub() -> IotHub {
        let settings =
            Settings { host_name: "contoso-hub.localhost".parse().unwrap(), policies: vec![], routes: vec![] };
        IotHub::new(settings, super::super::State::default(), Clock::system(), Arc::new(Gate::default()))
    }

    /// A device that is made now.
    fn device(hub: &IotHub) -> Sender {
        let at = Address::device("d1".parse().unwrap());
        let generation = hub.create(&at, NewIdentity::default()).unwrap().identity.generation;
        Sender { at, generation, method: Method { scope: "device", kind: "sas" }, model: None }
    }

    #[test]
    fn a_message_that_one_receiver_completes_is_not_given_to_another() {
        const MESSAGES: usize = 2_000;
        let hub = hub();
        let receiver = device(&hub);
        let receive = || {
            let mut received = Vec::new();
            loop {
                let Some((sequence, lock, message)) = hub.locks.take(&hub, &receiver, LOCKED) else { continue };
                if message.body == "the end" {
                    return received;
                }
                received.push(sequence);
                let end = hub.locks.end(&receiver, &lock, hub.clock.now(), |number| hub.delivered(&receiver, number));
                end.unwrap();
            }
        };
        let mut received = thread::scope(|scope| {
            let receivers = [scope.spawn(receive), scope.spawn(receive)];
            let send = |text: &str| {
                let message = CloudMessage { body: text.to_owned().into(), ..CloudMessage::default() };
                while hub.send_to_device(&receiver.at.device, message.clone()).is_err() {
                    thread::yield_now();
                }
            };
            (0..MESSAGES).for_each(|_| send("one of many"));
            ["the end"; 2].into_iter().for_each(send);
            receivers.map(|receiver| receiver.join().unwrap()).concat()
        });
        received.sort_unstable();
        assert!(received.iter().copied().eq(1..=MESSAGES as u64), "{received:?}");
    }

    #[test]
    fn a_lock_of_a_device_that_is_gone_holds_no_message_of_its_successor() {
        let hub = hub();
        let first = device(&hub);
        let send = || hub.send_to_device(&first.at.device, CloudMessage::default()).unwrap();
        send();
        let (_, lock, _) = hub.locks.take(&hub, &first, LOCKED).unwrap();
        hub.delete(&first.at, &Condition::Any).unwrap();
        let second = device(&hub);
        send();
        let lost = hub.locks.end(&second, &lock, hub.clock.now(), |_| ());
        assert_eq!(lost, Err(Error::LockLost("d1".to_owned())));
        assert_eq!(hub.locks.take(&hub, &second, LOCKED).map(|(sequence, ..)| sequence), Some(1));
    }
}
