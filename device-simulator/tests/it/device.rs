//! A device's whole life, against everything that can happen to it.

use std::time::Duration;

use device_simulator::{Device, DeviceError, Event, Summary};
use rumqttc::mqttbytes::v4::{ConnectReturnCode, Packet};
use tokio::{sync::mpsc, task::JoinHandle, time::Instant};
use tokio_util::sync::CancellationToken;

use crate::peer::{Peer, request};

const HUB: &str = "contoso-hub.azure-devices.localhost";

/// A running device and what it tells.
struct Running {
    task: JoinHandle<Result<Summary, DeviceError>>,
    shutdown: CancellationToken,
    events: mpsc::UnboundedReceiver<String>,
}

impl Running {
    fn start(peer: &Peer, adjust: impl FnOnce(&mut Device)) -> Self {
        let mut device = Device::new(peer.transport.clone(), request());
        let mut number = 0;
        device.source = Box::new(move |_| {
            number += 1;
            Ok(device_simulator::Telemetry::new(number.to_string()))
        });
        adjust(&mut device);
        let shutdown = CancellationToken::new();
        let (tell, events) = mpsc::unbounded_channel();
        let token = shutdown.clone();
        let task = tokio::spawn(async move { device.run(&token, move |event| drop(tell.send(name(&event)))).await });
        Self { task, shutdown, events }
    }

    async fn end(self) -> (Summary, Vec<String>) {
        let summary = self.task.await.unwrap().unwrap();
        (summary, drain(self.events))
    }

    async fn fail(self) -> DeviceError {
        self.task.await.unwrap().unwrap_err()
    }
}

fn name(event: &Event<'_>) -> String {
    match event {
        Event::Registering { .. } => "registering".to_owned(),
        Event::Assigned(assignment) => format!("assigned to {}", assignment.hub),
        Event::Connected { .. } => "connected".to_owned(),
        Event::Acknowledged { sequence, .. } => format!("acknowledged {sequence}"),
        Event::Dropped { sequence, total } => format!("dropped {sequence}, {total} in all"),
        Event::Lost { unsent, .. } => format!("lost with {unsent} unsent"),
        Event::Renewing => "renewing".to_owned(),
        Event::NotConnected { .. } => "not connected".to_owned(),
        Event::NotRegistered { .. } => "not registered".to_owned(),
        other => format!("{other:?}"),
    }
}

fn drain(mut events: mpsc::UnboundedReceiver<String>) -> Vec<String> {
    std::iter::from_fn(|| events.try_recv().ok()).collect()
}

#[tokio::test(start_paused = true)]
async fn it_registers_connects_sends_at_its_pace_and_stops_after_the_wanted_number() {
    let mut peer = Peer::new();
    let device = Running::start(&peer, |device| device.messages = Some(3));
    peer.assign(HUB, "thermo-01").await;
    let mut hub = peer.accept_hub().await;
    assert_eq!(hub.dialed, format!("{HUB}:8883"));
    let begin = Instant::now();
    for n in 1..=3_u64 {
        let message = hub.message().await;
        assert_eq!(message.payload, n.to_string());
        assert_eq!(begin.elapsed(), Duration::from_millis(500 * (n - 1)));
        hub.acknowledge(&message).await;
    }
    hub.expect_end().await;
    let (summary, events) = device.end().await;
    assert_eq!(summary, Summary { acknowledged: 3, dropped: 0, unsent: 0 });
    let assigned = format!("assigned to {HUB}:8883");
    let expected = ["registering", &assigned, "connected", "acknowledged 1", "acknowledged 2", "acknowledged 3"];
    assert_eq!(events, expected);
}

#[tokio::test(start_paused = true)]
async fn what_a_lost_connection_left_unacknowledged_goes_again_before_anything_newer() {
    let mut peer = Peer::new();
    let device = Running::start(&peer, |device| device.messages = Some(4));
    peer.assign(HUB, "thermo-01").await;
    let mut hub = peer.accept_hub().await;
    let first = hub.message().await;
    hub.acknowledge(&first).await;
    let second = hub.message().await;
    drop(hub);
    let mut hub = peer.accept_hub().await;
    let again = hub.message().await;
    assert_eq!((again.payload.as_ref(), again.dup, again.pkid), (b"2".as_slice(), true, second.pkid));
    hub.acknowledge(&again).await;
    for n in 3..=4 {
        let message = hub.message().await;
        assert_eq!((message.payload.as_ref(), message.dup), (n.to_string().as_bytes(), false));
        hub.acknowledge(&message).await;
    }
    hub.expect_end().await;
    let (summary, events) = device.end().await;
    assert_eq!(summary, Summary { acknowledged: 4, dropped: 0, unsent: 0 });
    assert!(events.contains(&"lost with 1 unsent".to_owned()), "{events:?}");
}

#[tokio::test(start_paused = true)]
async fn a_hub_that_refuses_the_device_makes_it_register_anew() {
    let mut peer = Peer::new();
    let device = Running::start(&peer, |device| device.messages = Some(1));
    peer.assign(HUB, "thermo-01").await;
    peer.accept().await.answer_connect(ConnectReturnCode::NotAuthorized).await;
    peer.assign("localhost", "thermo-01-moved").await;
    let mut hub = peer.accept_hub().await;
    assert_eq!((hub.dialed.as_str(), hub.connect.client_id.as_str()), ("localhost:8883", "thermo-01-moved"));
    let message = hub.message().await;
    assert_eq!(message.topic, "devices/thermo-01-moved/messages/events/");
    hub.acknowledge(&message).await;
    hub.expect_end().await;
    let (_, events) = device.end().await;
    let registered = events.iter().filter(|event| *event == "registering").count();
    assert_eq!(registered, 2);
}

#[tokio::test(start_paused = true)]
async fn a_hub_that_refuses_again_and_again_is_given_up_at_a_bounded_pace() {
    let mut peer = Peer::new();
    let device = Running::start(&peer, |_| {});
    let begin = Instant::now();
    for _ in 0..5 {
        peer.assign(HUB, "thermo-01").await;
        peer.accept().await.answer_connect(ConnectReturnCode::BadUserNamePassword).await;
    }
    let error = device.fail().await;
    assert!(matches!(error, DeviceError::Hub(_)), "{error:?}");
    assert!(begin.elapsed() >= Duration::from_millis(7500), "{:?}", begin.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_device_that_dps_refuses_gives_up() {
    let mut peer = Peer::new();
    let device = Running::start(&peer, |_| {});
    let mut dps = peer.accept_dps().await;
    let request = dps.request().await;
    dps.answer(&request, 401, "", &serde_json::json!({"errorCode": 401_000, "message": "Unauthorized"})).await;
    let error = device.fail().await;
    assert_eq!(error.to_string(), "DPS does not accept the device's key: error 401000, Unauthorized");
}

#[tokio::test(start_paused = true)]
async fn a_hub_out_of_reach_from_the_start_is_given_up_after_five_attempts() {
    let mut peer = Peer::new();
    let device = Running::start(&peer, |_| {});
    peer.assign(HUB, "thermo-01").await;
    for _ in 0..5 {
        peer.hang_up().await;
    }
    let error = device.fail().await;
    assert!(matches!(error, DeviceError::Hub(_)), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn once_connected_it_does_not_give_up_and_asks_dps_after_ten_failures() {
    let mut peer = Peer::new();
    let device = Running::start(&peer, |device| device.reserve = 10);
    peer.assign(HUB, "thermo-01").await;
    drop(peer.accept_hub().await);
    // The lost connection was the first failure, nine attempts follow.
    for _ in 0..9 {
        peer.hang_up().await;
    }
    peer.assign(HUB, "thermo-01").await;
    let mut hub = peer.accept_hub().await;
    hub.message().await;
    device.shutdown.cancel();
    let (summary, events) = device.end().await;
    assert_eq!(events.iter().filter(|event| *event == "not connected").count(), 9);
    assert!(summary.dropped > 0);
}

#[tokio::test(start_paused = true)]
async fn a_full_reserve_drops_its_oldest_and_says_so() {
    let mut peer = Peer::new();
    let device = Running::start(&peer, |device| {
        device.reserve = 2;
        device.interval = Duration::from_millis(100);
    });
    peer.assign(HUB, "thermo-01").await;
    let mut hub = peer.accept_hub().await;
    let first = hub.message().await;
    hub.acknowledge(&first).await;
    drop(hub);
    // At least half a second until it is back: five messages, of which the reserve holds two.
    let mut hub = peer.accept_hub().await;
    let oldest = hub.message().await;
    let oldest: u64 = std::str::from_utf8(&oldest.payload).unwrap().parse().unwrap();
    device.shutdown.cancel();
    let (summary, events) = device.end().await;
    assert!(summary.dropped >= 3, "{summary:?}");
    assert_eq!(oldest, 2 + summary.dropped, "the oldest that was kept");
    assert!(events.contains(&"dropped 2, 1 in all".to_owned()), "{events:?}");
}

#[tokio::test(start_paused = true)]
async fn shutdown_waits_for_what_is_on_its_way_and_says_goodbye() {
    let mut peer = Peer::new();
    let device = Running::start(&peer, |_| {});
    peer.assign(HUB, "thermo-01").await;
    let mut hub = peer.accept_hub().await;
    let message = hub.message().await;
    device.shutdown.cancel();
    tokio::time::sleep(Duration::from_secs(1)).await;
    hub.acknowledge(&message).await;
    hub.expect_end().await;
    let (summary, events) = device.end().await;
    assert_eq!(summary, Summary { acknowledged: 1, dropped: 0, unsent: 0 });
    assert_eq!(events.last().unwrap(), "acknowledged 1");
}

#[tokio::test(start_paused = true)]
async fn shutdown_does_not_wait_for_a_hub_that_is_silent() {
    let mut peer = Peer::new();
    let device = Running::start(&peer, |_| {});
    peer.assign(HUB, "thermo-01").await;
    let mut hub = peer.accept_hub().await;
    hub.message().await;
    device.shutdown.cancel();
    let begin = Instant::now();
    hub.expect_end().await;
    assert_eq!(begin.elapsed().as_secs(), 3);
    assert_eq!(device.end().await.0, Summary { acknowledged: 0, dropped: 0, unsent: 1 });
}

#[tokio::test(start_paused = true)]
async fn shutdown_ends_a_registration_and_a_wait_at_once() {
    let mut peer = Peer::new();
    let device = Running::start(&peer, |_| {});
    let mut dps = peer.accept_dps().await;
    dps.request().await;
    let begin = Instant::now();
    device.shutdown.cancel();
    let (summary, _) = device.end().await;
    assert_eq!((summary.acknowledged, begin.elapsed()), (0, Duration::ZERO));
}

#[tokio::test(start_paused = true)]
async fn the_token_is_renewed_before_it_runs_out_and_nothing_is_lost_or_doubled() {
    let mut peer = Peer::new();
    let device = Running::start(&peer, |device| {
        device.interval = Duration::from_secs(1);
        device.token_lifetime = Duration::from_secs(40);
        device.messages = Some(35);
    });
    peer.assign(HUB, "thermo-01").await;
    let mut received = Vec::new();
    let mut hub = peer.accept_hub().await;
    let first_login = hub.credentials().1.to_owned();
    let begin = Instant::now();
    loop {
        match hub.receive().await {
            Packet::Publish(message) => {
                received.push(message.payload.clone());
                hub.acknowledge(&message).await;
            }
            Packet::Disconnect => break,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(begin.elapsed().as_secs(), 30, "a quarter of its time before the end");
    let mut hub = peer.accept_hub().await;
    assert_eq!(hub.credentials().1.split("&sig=").next(), first_login.split("&sig=").next());
    while received.len() < 35 {
        let message = hub.message().await;
        received.push(message.payload.clone());
        hub.acknowledge(&message).await;
    }
    let expected: Vec<String> = (1..=35).map(|n: u32| n.to_string()).collect();
    assert_eq!(received, expected);
    hub.expect_end().await;
    let (_, events) = device.end().await;
    assert_eq!(events.iter().filter(|event| *event == "renewing").count(), 1);
}
