//! Messages on their way to the hub. They outlive the connection: what a broken one left without acknowledgement goes
//! again over the next, before anything newer.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use rumqttc::mqttbytes::{QoS, v4::Publish};
use tokio::{
    sync::{Notify, oneshot},
    time::Instant,
};

use super::{
    telemetry::{Telemetry, TelemetryError},
    topics,
};
use crate::identity::DeviceId;

/// How many messages may be unacknowledged at a time.
const WINDOW: usize = 64;

/// What became of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The hub has it.
    Acknowledged,
    /// It had to give way to newer ones.
    Dropped,
}

/// The messages, shared between who makes them and the connection that sends them.
#[derive(Clone)]
pub(crate) struct Outbox {
    shared: Arc<Shared>,
}

struct Shared {
    queue: Mutex<Queue>,
    filled: Notify,
}

impl Outbox {
    /// Keeps up to `capacity` messages that were not sent yet.
    pub(crate) fn new(capacity: usize) -> Self {
        Self { shared: Arc::new(Shared { queue: Mutex::new(Queue::new(capacity)), filled: Notify::new() }) }
    }

    /// Puts a message at the end. When there is no room, the oldest one that was not sent yet is dropped.
    pub(crate) fn push(&self, telemetry: &Telemetry) -> Result<oneshot::Receiver<Outcome>, TelemetryError> {
        let bag = telemetry.bag()?;
        let (done, outcome) = oneshot::channel();
        self.queue().push(Message { bag, body: telemetry.body().clone(), done });
        self.shared.filled.notify_one();
        Ok(outcome)
    }

    /// How many messages the hub has not acknowledged, sent or not.
    pub(crate) fn len(&self) -> usize {
        self.queue().len()
    }

    /// Waits until something was pushed.
    pub(super) async fn filled(&self) {
        self.shared.filled.notified().await;
    }

    pub(super) fn queue(&self) -> MutexGuard<'_, Queue> {
        self.shared.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Message {
    bag: String,
    body: bytes::Bytes,
    done: oneshot::Sender<Outcome>,
}

/// A message that was sent under a packet id and not acknowledged yet.
struct Sent {
    id: u16,
    message: Message,
    /// When it was sent over the present connection.
    at: Option<Instant>,
}

pub(super) struct Queue {
    sent: VecDeque<Sent>,
    waiting: VecDeque<Message>,
    capacity: usize,
    last_id: u16,
}

impl Queue {
    fn new(capacity: usize) -> Self {
        Self { sent: VecDeque::new(), waiting: VecDeque::new(), capacity: capacity.max(1), last_id: 0 }
    }

    fn push(&mut self, message: Message) {
        if self.waiting.len() >= self.capacity
            && let Some(oldest) = self.waiting.pop_front()
        {
            // Nobody waiting for the outcome is fine.
            let _ = oldest.done.send(Outcome::Dropped);
        }
        self.waiting.push_back(message);
    }

    /// A new connection: everything unacknowledged has to go again.
    pub(super) fn rewind(&mut self) {
        for sent in &mut self.sent {
            sent.at = None;
        }
    }

    /// The next message to send for `device_id`: first those that go again, under their packet id and marked as
    /// duplicates (MQTT 3.1.1, section 4.4), then, where `fresh`, new ones as long as the window has room.
    pub(super) fn next(&mut self, device_id: &DeviceId, fresh: bool, now: Instant) -> Option<Publish> {
        if let Some(again) = self.sent.iter_mut().find(|sent| sent.at.is_none()) {
            again.at = Some(now);
            return Some(Publish { dup: true, ..again.packet(device_id) });
        }
        if !fresh || self.sent.len() >= WINDOW {
            return None;
        }
        let message = self.waiting.pop_front()?;
        let sent = Sent { id: self.free_id(), message, at: Some(now) };
        let packet = sent.packet(device_id);
        self.sent.push_back(sent);
        Some(packet)
    }

    /// Takes the acknowledgement of a packet; `false` if no packet waits for it.
    pub(super) fn acknowledge(&mut self, id: u16) -> bool {
        let Some(index) = self.sent.iter().position(|sent| sent.id == id && sent.at.is_some()) else { return false };
        if let Some(sent) = self.sent.remove(index) {
            // Nobody waiting for the outcome is fine.
            let _ = sent.message.done.send(Outcome::Acknowledged);
        }
        true
    }

    /// How many messages the hub has not acknowledged, sent or not.
    fn len(&self) -> usize {
        self.sent.len() + self.waiting.len()
    }

    /// Since when the hub owes the oldest acknowledgement.
    pub(super) fn owed_since(&self) -> Option<Instant> {
        self.sent.iter().filter_map(|sent| sent.at).min()
    }

    fn free_id(&mut self) -> u16 {
        loop {
            // 0 is no packet id; the window is far smaller than the number of ids.
            self.last_id = self.last_id.checked_add(1).unwrap_or(1);
            if self.sent.iter().all(|sent| sent.id != self.last_id) {
                return self.last_id;
            }
        }
    }
}

impl Sent {
    fn packet(&self, device_id: &DeviceId) -> Publish {
        let topic = topics::telemetry(device_id, &self.message.bag);
        let mut publish = Publish::from_bytes(topic, QoS::AtLeastOnce, self.message.body.clone());
        publish.pkid = self.id;
        publish
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device() -> DeviceId {
        "d1".parse().unwrap()
    }

    fn outbox(capacity: usize, messages: usize) -> (Outbox, Vec<oneshot::Receiver<Outcome>>) {
        let outbox = Outbox::new(capacity);
        let outcomes = (0..messages).map(|n| outbox.push(&Telemetry::new(n.to_string())).unwrap()).collect();
        (outbox, outcomes)
    }

    fn send_all(outbox: &Outbox) -> Vec<(u16, String, bool)> {
        let mut queue = outbox.queue();
        let show = |p: Publish| (p.pkid, String::from_utf8(p.payload.to_vec()).unwrap(), p.dup);
        std::iter::from_fn(|| queue.next(&device(), true, Instant::now())).map(show).collect()
    }

    #[test]
    fn messages_go_in_order_and_resolve_when_acknowledged() {
        let (outbox, mut outcomes) = outbox(10, 2);
        assert_eq!(send_all(&outbox), [(1, "0".to_owned(), false), (2, "1".to_owned(), false)]);
        assert!(outbox.queue().acknowledge(2));
        assert!(!outbox.queue().acknowledge(2), "acknowledged once already");
        assert_eq!(outcomes[1].try_recv(), Ok(Outcome::Acknowledged));
        assert!(outcomes[0].try_recv().is_err());
        assert_eq!(outbox.len(), 1);
    }

    #[test]
    fn over_a_new_connection_the_unacknowledged_go_first_under_their_ids_as_duplicates() {
        let (outbox, _outcomes) = outbox(10, 3);
        send_all(&outbox);
        outbox.queue().acknowledge(1);
        let _late = outbox.push(&Telemetry::new("new")).unwrap();
        outbox.queue().rewind();
        assert!(!outbox.queue().acknowledge(2), "an acknowledgement of the old connection");
        let again = [(2, "1".to_owned(), true), (3, "2".to_owned(), true), (4, "new".to_owned(), false)];
        assert_eq!(send_all(&outbox), again);
    }

    #[test]
    fn the_oldest_unsent_gives_way_and_the_sent_stay() {
        let (outbox, mut outcomes) = outbox(2, 2);
        send_all(&outbox);
        let mut late: Vec<_> = ["a", "b", "c"].iter().map(|t| outbox.push(&Telemetry::new(*t)).unwrap()).collect();
        assert_eq!(late[0].try_recv(), Ok(Outcome::Dropped));
        assert!(late[1].try_recv().is_err() && outcomes[0].try_recv().is_err());
        assert_eq!(send_all(&outbox).iter().map(|(_, body, _)| body.as_str()).collect::<Vec<_>>(), ["b", "c"]);
    }

    #[test]
    fn no_more_than_the_window_is_unacknowledged_and_ids_in_use_are_skipped() {
        let (outbox, _outcomes) = outbox(1000, WINDOW + 1);
        outbox.queue().last_id = u16::MAX - 1;
        let ids: Vec<u16> = send_all(&outbox).iter().map(|(id, _, _)| *id).collect();
        assert_eq!(ids.len(), WINDOW);
        assert_eq!(ids[..3], [u16::MAX, 1, 2]);
        outbox.queue().last_id = u16::MAX - 1;
        outbox.queue().acknowledge(1);
        assert_eq!(send_all(&outbox)[0].0, 1);
    }

    #[test]
    fn a_stopping_connection_takes_nothing_new() {
        let (outbox, _outcomes) = outbox(10, 1);
        assert!(outbox.queue().next(&device(), false, Instant::now()).is_none());
    }
}
