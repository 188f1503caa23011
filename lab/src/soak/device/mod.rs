//! The life of one device: it does what its schedule says, and notes down all of it.

mod messages;

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use futures::future::join_all;
use jiff::{Timestamp, ToSpan as _, Unit};
use local_azure::{
    event_hubs::{EventData, Position, StoredEvent},
    iot_hub::{Address, Condition, DeviceId, IotHub, ModuleId, NewIdentity, TwinPatch},
};

use super::{
    oracle::{History, Kind, Life, Sent},
    schedule::{Action, Schedule},
    stage::Stage,
};
use crate::webhook::{Allocation, Current, NotAllocated};

/// How long a registration may take once nothing is wrong any more.
const REGISTRATION: Duration = Duration::from_secs(120);
/// Before the webhook is called again. DPS waits longer; here more is to be tried.
const BEFORE_NEXT_CALL: Duration = Duration::from_millis(400);

/// What is known of a device; shared with those who watch.
pub(super) type Shared = Arc<Mutex<History>>;

pub(super) fn lock(history: &Mutex<History>) -> MutexGuard<'_, History> {
    history.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The name of device `number`.
pub(super) fn name(number: usize) -> String {
    format!("Soak-{number:04}")
}

/// A device.
#[derive(Debug)]
pub(super) struct Device {
    number: usize,
    id: DeviceId,
    stage: Arc<Stage>,
    schedule: Schedule,
    history: Shared,
    /// Whether its device twin has the tag that messages are enriched with.
    is_tagged: bool,
    last_time: Timestamp,
    last_message: Option<(EventData, Sent)>,
}

impl Device {
    pub(super) fn new(number: usize, stage: Arc<Stage>, seed: u64, history: Shared) -> anyhow::Result<Self> {
        let id: DeviceId = name(number).parse()?;
        let schedule = Schedule::new(seed, u64::try_from(number)?, stage.temper);
        let last_time = Timestamp::UNIX_EPOCH;
        Ok(Self { number, id, stage, schedule, history, is_tagged: true, last_time, last_message: None })
    }

    /// Lives for so long from its registration on, or shorter.
    pub(super) async fn live(mut self, time: Duration) -> anyhow::Result<()> {
        let (time, leaves) = self.schedule.lifetime(time);
        tokio::time::sleep(self.schedule.pause()).await;
        self.begin_life().await?;
        let end = Instant::now() + time;
        while Instant::now() < end && lock(&self.history).alive().is_some() {
            tokio::time::sleep(self.schedule.pause()).await;
            let action = self.schedule.action();
            self.stage.tally.count(action);
            self.act(action).await?;
        }
        if leaves {
            self.stage.tally.left();
            self.delete()?;
        }
        Ok(())
    }

    async fn act(&mut self, action: Action) -> anyhow::Result<()> {
        match action {
            Action::Readings(count) => (0..count).for_each(|_| self.send_reading()),
            Action::Poison(poison) => self.send_poison(poison),
            Action::Foreign => self.claim_foreign_twin(),
            Action::LeftOut(rule) => self.send_what_is_left_out(rule),
            Action::Duplicate => self.duplicate(),
            Action::RegisterAgain(requests) => self.register_again(requests).await,
            Action::Move => self.move_to_another_hub().await?,
            Action::DeleteModule => self.delete_module()?,
            Action::DeleteAndReturn(after) => {
                let position = self.delete()?;
                tokio::time::sleep(after).await;
                self.begin_life().await?;
                if self.schedule.happens(50) {
                    self.repeat_deletion(position);
                }
            }
        }
        Ok(())
    }

    /// Registers, is made in the hub, and gets its tags, as DPS sees to it.
    async fn begin_life(&mut self) -> anyhow::Result<()> {
        let registered = self.register(self.id.as_str().to_owned(), None, self.stage.webhook.hubs()).await;
        let Some(Allocation { twin, hub, initial_twin }) = registered else { return Ok(()) };
        self.is_tagged = self.schedule.happens(85);
        self.put_into(self.stage.hub(&hub)?, &TwinPatch::from_json(&initial_twin))?;
        let from = self.next_time();
        lock(&self.history).lives.push(Life { from, until: None, twin, hub, is_tagged: self.is_tagged });
        Ok(())
    }

    fn put_into(&self, hub: &IotHub, twin: &TwinPatch) -> anyhow::Result<()> {
        hub.create(&self.address(), NewIdentity::default())?;
        if self.is_tagged {
            hub.patch_twin(&self.address(), twin, &Condition::Any)?;
        }
        Ok(())
    }

    /// Asks until there is an answer that stands.
    async fn register(&self, spelling: String, hub: Option<&str>, linked: &[String]) -> Option<Allocation> {
        let mut since = Instant::now();
        loop {
            let current = hub.map(|hub| Current { device: self.id.as_str(), hub });
            let failure = match self.stage.webhook.allocate(&spelling, current, linked).await {
                Ok(allocation) => return Some(allocation),
                Err(failure) => failure,
            };
            self.stage.tally.registration_failed();
            if self.stage.is_down() {
                since = Instant::now();
            }
            if matches!(failure, NotAllocated::Refused(_)) || since.elapsed() > REGISTRATION {
                self.violation(format!("registration as {spelling}: {failure}"));
                return None;
            }
            tokio::time::sleep(BEFORE_NEXT_CALL).await;
        }
    }

    async fn register_again(&mut self, requests: u8) {
        let Some(life) = self.life() else { return };
        let spellings = [self.id.as_str().to_ascii_uppercase(), self.id.as_str().to_ascii_lowercase()];
        let spellings = spellings.iter().cycle().take(usize::from(requests)).cloned();
        let linked = self.stage.webhook.hubs();
        let answers = join_all(spellings.map(|spelling| self.register(spelling, Some(&life.hub), linked))).await;
        for allocation in answers.into_iter().flatten() {
            self.must_be(&allocation, &life.twin, &life.hub);
        }
    }

    /// As DPS does it: asks the webhook, makes the device in the new hub with the tags that it had, takes it out of
    /// the old one.
    async fn move_to_another_hub(&mut self) -> anyhow::Result<()> {
        let Some(life) = self.life() else { return Ok(()) };
        let others: Vec<String> = self.stage.webhook.hubs().iter().filter(|hub| **hub != life.hub).cloned().collect();
        let Some(to) = others.get(self.schedule.index(others.len())).cloned() else { return Ok(()) };
        let linked = [to];
        let Some(allocation) = self.register(self.id.as_str().to_owned(), Some(&life.hub), &linked).await else {
            return Ok(());
        };
        let [to] = linked;
        self.must_be(&allocation, &life.twin, &to);
        self.put_into(self.stage.hub(&to)?, &TwinPatch::from_json(&allocation.initial_twin))?;
        self.stage.hub(&life.hub)?.delete(&self.address(), &Condition::Any)?;
        if let Some(life) = lock(&self.history).lives.last_mut() {
            life.hub = to;
        }
        Ok(())
    }

    fn must_be(&self, allocation: &Allocation, twin: &str, hub: &str) {
        if allocation.twin != twin || allocation.hub != hub {
            let (other_twin, other_hub) = (&allocation.twin, &allocation.hub);
            self.violation(format!("I1: registered again, it got {other_twin} in {other_hub}, not {twin} in {hub}"));
        }
    }

    /// Gives where the event about it went.
    fn delete(&mut self) -> anyhow::Result<Option<Position>> {
        let Some(life) = self.life() else { return Ok(None) };
        let until = self.next_time();
        if let Some(life) = lock(&self.history).lives.last_mut() {
            life.until = Some(until);
        }
        self.stage.hub(&life.hub)?.delete(&self.address(), &Condition::Any)?;
        let partition = self.stage.lifecycle.partition_of(self.id.as_str());
        let head = self.stage.lifecycle.log().read(|log| log.heads().nth(partition)).unwrap_or_default();
        Ok(Some(Position { partition, sequence_number: head.saturating_sub(1) }))
    }

    /// The event about its deletion comes once more, after it has registered anew.
    fn repeat_deletion(&self, position: Option<Position>) {
        let Some(Position { partition, sequence_number }) = position else { return };
        let before = sequence_number.checked_sub(u64::from(u8::MAX));
        let events = self.stage.lifecycle.read(partition, before, usize::from(u8::MAX) * 2);
        let property = |event: &EventData, name: &str| event.application_properties.get(name).cloned();
        let of_this = |event: &&Arc<StoredEvent>| {
            property(&event.data, "opType") == Some("deleteDeviceIdentity".into())
                && property(&event.data, "deviceId") == Some(self.id.as_str().into())
                && property(&event.data, "moduleId").is_none()
        };
        if let Some(event) = events.iter().rfind(of_this) {
            self.stage.tally.deletion_repeated();
            self.stage.lifecycle.append(self.id.as_str(), event.data.clone());
        }
    }

    fn delete_module(&self) -> anyhow::Result<()> {
        let Some(life) = self.life() else { return Ok(()) };
        let hub = self.stage.hub(&life.hub)?;
        let address = Address::module(self.id.clone(), "sensor".parse::<ModuleId>()?);
        hub.create(&address, NewIdentity::default())?;
        hub.delete(&address, &Condition::Any)?;
        Ok(())
    }

    fn address(&self) -> Address {
        Address::device(self.id.clone())
    }

    fn life(&self) -> Option<Life> {
        lock(&self.history).alive().cloned()
    }

    /// Now, in the whole milliseconds of IoT Hub, and later than the last time: the order of messages is then that of
    /// their times.
    fn next_time(&mut self) -> Timestamp {
        let now = Timestamp::now();
        let now = now.round(Unit::Millisecond).unwrap_or(now);
        self.last_time = now.max(self.last_time.saturating_add(1.millisecond()).unwrap_or(now));
        self.last_time
    }

    fn append(&mut self, event: EventData, sent: Sent) {
        // Held until it is noted: whoever finds a value in a twin can look up who sent it.
        let mut history = lock(&self.history);
        let Position { partition, sequence_number } = self.stage.telemetry.append(self.id.as_str(), event.clone());
        let sent = Sent { partition, sequence_number, ..sent };
        history.note(sent.clone());
        drop(history);
        self.last_message = Some((event, sent));
    }

    fn duplicate(&mut self) {
        if let Some((event, sent)) = self.last_message.clone() {
            self.append(event, sent);
        }
    }

    fn send(&mut self, body: impl Into<bytes::Bytes>, kind: Kind, change: impl FnOnce(&mut EventData)) {
        let (body, time) = (body.into(), self.next_time());
        let event = self.message(body.clone(), time);
        let Some(mut event) = event else { return };
        change(&mut event);
        self.append(event, Sent { partition: 0, sequence_number: 0, time, body, kind });
    }

    fn violation(&self, what: String) {
        lock(&self.history).violated(what);
    }
}
