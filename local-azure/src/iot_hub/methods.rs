//! Direct methods: a service calls, a connected device answers (IoT Hub: understand and invoke direct methods).

use std::{
    collections::HashMap,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use tokio::{sync::oneshot, time::timeout};

use super::{Address, Error, IotHub};
use crate::mqtt::Outgoing;

/// The filter that a device which takes calls subscribes to.
pub(super) const CALLS: &str = "$iothub/methods/POST/#";
/// The largest payload, of call and answer each.
const PAYLOAD_BYTES: usize = 128 * 1024;

/// A call of a method on a device.
#[derive(Debug, Clone, PartialEq)]
pub struct MethodCall {
    /// The method's name.
    pub name: String,
    /// What it is given.
    pub payload: Value,
    /// How long to wait for a device that is not connected.
    pub connect_timeout: Duration,
    /// How long the device may take to answer.
    pub response_timeout: Duration,
}

/// What the device answered.
#[derive(Debug, Clone, PartialEq)]
pub struct MethodAnswer {
    /// The device's own status; any number.
    pub status: i32,
    /// What it says; null where it says nothing.
    pub payload: Value,
}

/// The calls that wait for an answer.
#[derive(Debug, Default)]
pub(super) struct Calls {
    waiting: Mutex<HashMap<String, Waiting>>,
    made: AtomicU64,
}

#[derive(Debug)]
struct Waiting {
    at: Address,
    answer: oneshot::Sender<Result<MethodAnswer, Error>>,
}

/// One call; forgotten when it is dropped.
struct Call<'a> {
    calls: &'a Calls,
    request_id: String,
}

impl Calls {
    fn begin(&self, at: &Address) -> (Call<'_>, oneshot::Receiver<Result<MethodAnswer, Error>>) {
        let (answer, answered) = oneshot::channel();
        let request_id = format!("{:x}", self.made.fetch_add(1, Ordering::Relaxed) + 1);
        self.lock().insert(request_id.clone(), Waiting { at: at.clone(), answer });
        (Call { calls: self, request_id }, answered)
    }

    /// The call of this id, if it is for this device and still waits.
    fn take(&self, at: &Address, request_id: &str) -> Option<oneshot::Sender<Result<MethodAnswer, Error>>> {
        let mut waiting = self.lock();
        waiting.get(request_id).filter(|call| call.at == *at)?;
        waiting.remove(request_id).map(|call| call.answer)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Waiting>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        self.calls.lock().remove(&self.request_id);
    }
}

impl IotHub {
    /// Calls a method on a connected device and waits for its answer.
    ///
    /// # Errors
    /// [`Error`] if there is no such device, it is not connected or takes no calls, it does not answer in time, or
    /// its answer cannot be used.
    pub async fn call_method(&self, at: &Address, call: MethodCall) -> Result<MethodAnswer, Error> {
        let MethodCall { name, payload, connect_timeout, response_timeout } = call;
        let payload = payload.to_string();
        if payload.len() > PAYLOAD_BYTES {
            let reason = format!("a payload of {} bytes, at most {PAYLOAD_BYTES} are allowed", payload.len());
            return Err(Error::ArgumentInvalid(reason));
        }
        if self.store.read(|state| state.get(at).is_none()) {
            return Err(Error::not_found(at));
        }
        let topic_for = |request_id: &str| {
            let name = utf8_percent_encode(&name, NON_ALPHANUMERIC);
            format!("$iothub/methods/POST/{name}/?$rid={request_id}")
        };
        let (pending, answered) = self.calls.begin(at);
        let topic = topic_for(&pending.request_id);
        if timeout(connect_timeout, self.connections.listening(at, &topic)).await.is_err() {
            return Err(Error::DeviceNotOnline(at.to_string()));
        }
        self.connections.push(at, Outgoing { topic, payload: payload.into() });
        match timeout(response_timeout, answered).await {
            Ok(Ok(answer)) => answer,
            // The sender lives as long as the call.
            Ok(Err(_)) | Err(_) => Err(Error::MethodTimeout(at.to_string(), response_timeout.as_secs())),
        }
    }

    /// Takes a device's answer: `{status}/?$rid={request id}`, which follows `$iothub/methods/res/`. An answer to a
    /// call that nobody waits for (any more) is dropped.
    pub(super) fn method_answered(&self, at: &Address, topic: &str, payload: &[u8]) {
        let Some((status, query)) = topic.split_once("/?") else { return };
        let Some(waiting) = self.calls.take(at, super::device_session::request_id(query)) else { return };
        // Who called may have left.
        let _ = waiting.send(read(at, status, payload));
    }
}

fn read(at: &Address, status: &str, payload: &[u8]) -> Result<MethodAnswer, Error> {
    let unusable = |why: String| Error::UnusableAnswer(at.to_string(), why);
    let status = status.parse().map_err(|_| unusable("its status is not a number".into()))?;
    if payload.len() > PAYLOAD_BYTES {
        return Err(unusable(format!("it has {} bytes, at most {PAYLOAD_BYTES} are allowed", payload.len())));
    }
    let payload = match payload.trim_ascii() {
        [] => Value::Null,
        json => serde_json::from_slice(json).map_err(|error| unusable(format!("it is not JSON: {error}")))?,
    };
    Ok(MethodAnswer { status, payload })
}
