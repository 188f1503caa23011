//! What happens at once: identities come and go, and are changed, while their devices are at work.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use serde_json::{Value, json};

use super::{device_session::DeviceSession, *};
use crate::{
    mqtt::{Credentials, Endpoint as _, Incoming, Push, Subscriptions},
    sas::Key,
};

const HUB: &str = "contoso-hub.azure-devices.localhost";
const DEVICE_BOUND: &str = "devices/d1/messages/devicebound/#";

fn hub() -> Arc<IotHub> {
    let settings = Settings { host_name: HUB.parse().unwrap(), policies: vec![], routes: vec![] };
    Arc::new(IotHub::new(settings, State::default(), Clock::system(), Arc::new(Gate::default())))
}

fn wait<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(future)
}

fn d1() -> Address {
    Address::device("d1".parse().unwrap())
}

fn with_key(key: &Key) -> NewIdentity {
    let keys = Authentication::Keys(KeyPair { primary: key.clone(), secondary: key.clone() });
    NewIdentity { authentication: NewAuthentication::These(keys), ..NewIdentity::default() }
}

fn sign_in(hub: &Arc<IotHub>, key: &Key, clean: bool) -> Option<DeviceSession> {
    let user_name = format!("{HUB}/d1/?api-version=2021-04-12");
    let token = key.token(HUB, "", "2100-01-01T00:00:00Z".parse().unwrap());
    let who = Credentials {
        client_id: "d1",
        user_name: &user_name,
        password: Some(&token),
        certificate: None,
        clean,
        will: None,
    };
    wait(Arc::clone(hub).sign_in(who)).ok()
}

fn subscribed_to(filters: &[&str]) -> Subscriptions {
    Subscriptions::from_filters(filters.iter().map(|filter| ((*filter).to_owned(), 1)).collect())
}

fn take(session: &mut DeviceSession, topic: &str, payload: &str) -> Option<String> {
    let incoming = Incoming { topic, payload: payload.to_owned().into(), retain: false };
    let taken = wait(session.take(incoming)).ok()?;
    Some(taken.map(|answer| answer.topic).unwrap_or_default())
}

fn message(text: &str) -> CloudMessage {
    CloudMessage { body: text.to_owned().into(), ..CloudMessage::default() }
}

/// A hub with a device, its key and a session of it, after which the device was deleted and made anew.
fn outlived() -> (Arc<IotHub>, DeviceSession, u64) {
    let (hub, key) = (hub(), Key::generate());
    hub.create(&d1(), with_key(&key)).unwrap();
    let mut session = sign_in(&hub, &key, true).unwrap();
    session.subscribed(&subscribed_to(&[DEVICE_BOUND]));
    hub.send_to_device(&d1().device, message("for the first")).unwrap();
    let Push::Delivery { receipt, .. } = wait(session.pushed()) else { panic!("no message") };
    hub.delete(&d1(), &Condition::Any).unwrap();
    hub.create(&d1(), with_key(&Key::generate())).unwrap();
    (hub, session, receipt)
}

#[test]
fn an_acknowledgment_of_a_device_that_is_gone_takes_no_message_from_its_successor() {
    let (hub, mut session, receipt) = outlived();
    hub.send_to_device(&d1().device, message("for the second")).unwrap();
    session.acknowledged(receipt);
    assert_eq!(hub.identity(&d1()).unwrap()["cloudToDeviceMessageCount"], 1);
}

#[test]
fn what_a_device_that_is_gone_still_sends_is_not_its_successors() {
    let (hub, mut session, _) = outlived();
    assert_eq!(take(&mut session, "devices/d1/messages/events/", "{}"), None);
    assert_eq!(hub.counts().messages, 0);
    let report = "$iothub/twin/PATCH/properties/reported/?$rid=1";
    let answer = take(&mut session, report, r#"{"a": 1}"#).unwrap();
    assert!(answer.starts_with("$iothub/twin/res/404/"), "{answer}");
    let answer = take(&mut session, "$iothub/twin/GET/?$rid=2", "").unwrap();
    assert!(answer.starts_with("$iothub/twin/res/404/"), "{answer}");
    assert_eq!(hub.device_twin(&d1()).unwrap()["properties"]["reported"].get("a"), None);
}

#[test]
fn the_key_of_a_device_that_is_gone_lets_nobody_in_as_its_successor() {
    let (hub, old) = (hub(), Key::generate());
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let signing_in = scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                drop(sign_in(&hub, &old, true));
            }
        });
        for _ in 0..2_000 {
            hub.create(&d1(), with_key(&old)).unwrap();
            hub.delete(&d1(), &Condition::Any).unwrap();
            hub.create(&d1(), with_key(&Key::generate())).unwrap();
            // Who was let in before is gone, and nobody is let in from now on.
            let connected = hub.connected_devices();
            hub.delete(&d1(), &Condition::Any).unwrap();
            if !connected.is_empty() {
                is_over.store(true, Ordering::Relaxed);
            }
            assert_eq!(connected, []);
        }
        is_over.store(true, Ordering::Relaxed);
        signing_in.join().unwrap();
    });
}

#[test]
fn a_session_that_was_to_be_forgotten_leaves_no_subscriptions() {
    let (hub, key) = (hub(), Key::generate());
    hub.create(&d1(), with_key(&key)).unwrap();
    for _ in 0..200 {
        let mut session = sign_in(&hub, &key, false).unwrap();
        let is_over = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                let mut both = [subscribed_to(&[DEVICE_BOUND]), Subscriptions::default()].into_iter().cycle();
                while !is_over.load(Ordering::Relaxed) {
                    both.next().iter().for_each(|filters| session.subscribed(filters));
                }
            });
            drop(sign_in(&hub, &key, true));
            is_over.store(true, Ordering::Relaxed);
        });
        assert_eq!(hub.remembered(&d1()), Subscriptions::default());
    }
}

#[test]
fn a_device_is_told_of_its_desired_properties_in_the_order_of_their_versions() {
    let (hub, key) = (hub(), Key::generate());
    hub.create(&d1(), with_key(&key)).unwrap();
    for _ in 0..50 {
        let mut session = sign_in(&hub, &key, true).unwrap();
        thread::scope(|scope| {
            for writer in 0..4 {
                let hub = &hub;
                scope.spawn(move || {
                    let patch = TwinPatch::from_json(&json!({ "properties": { "desired": { "writer": writer } } }));
                    for _ in 0..8 {
                        hub.patch_twin(&d1(), &patch, &Condition::Any).unwrap();
                    }
                });
            }
        });
        let told = (0..32).map(|_| match wait(session.pushed()) {
            Push::Message(message) => serde_json::from_slice::<Value>(&message.payload).unwrap()["$version"].as_u64(),
            other => panic!("{other:?}"),
        });
        let told: Vec<_> = told.collect();
        assert!(told.is_sorted(), "{told:?}");
    }
}

#[test]
fn the_times_of_a_twin_go_forward() {
    let (hub, key) = (hub(), Key::generate());
    hub.create(&d1(), with_key(&key)).unwrap();
    let times: Arc<Mutex<Vec<String>>> = Arc::default();
    let seen = Arc::clone(&times);
    hub.store().observe(move |_, change| {
        if let Change::Twin { twin, .. } = change {
            let time = twin.members()["properties"]["desired"]["$metadata"]["$lastUpdated"].clone();
            seen.lock().unwrap().push(time.as_str().unwrap().to_owned());
        }
    });
    thread::scope(|scope| {
        for writer in 0..4 {
            let hub = &hub;
            scope.spawn(move || {
                for n in 0..200 {
                    let patch = json!({ "properties": { "desired": { "n": [writer, n] } } });
                    hub.patch_twin(&d1(), &TwinPatch::from_json(&patch), &Condition::Any).unwrap();
                }
            });
        }
    });
    assert!(times.lock().unwrap().is_sorted(), "a later version has an earlier time");
}
