//! Messages to devices: they wait in a queue until the device has them.

use jiff::{SignedDuration, Timestamp};
use local_azure::{
    clock::Clock,
    iot_hub::{CloudMessage, Error},
};
use rumqttc::{Connect, Packet, PubAck, QoS, SubscribeReasonCode};
use serde_json::Value;

use crate::iot_site::{HUB, KEY, NOW, Options, Site, device, hub_connect};

const DEVICE_BOUND: &str = "devices/d1/messages/devicebound/#";

async fn site_with_device() -> Site {
    let site = Site::start().await;
    site.create(&device("d1"));
    site
}

fn send(site: &Site, body: &str) -> Result<u64, Error> {
    let message = CloudMessage { body: body.to_owned().into(), ..CloudMessage::default() };
    site.hubs[0].send_to_device(&"d1".parse().unwrap(), message)
}

fn waiting(site: &Site) -> Value {
    site.hubs[0].identity(&device("d1")).unwrap()["cloudToDeviceMessageCount"].clone()
}

/// A connection that wants its session kept.
fn kept() -> Connect {
    let mut connect = hub_connect(HUB, "d1", KEY);
    connect.clean_session = false;
    connect
}

#[tokio::test]
async fn messages_wait_for_the_device_and_leave_the_queue_when_it_has_them() {
    let site = site_with_device().await;
    assert_eq!((send(&site, "one").unwrap(), send(&site, "two").unwrap()), (1, 2));
    assert_eq!(waiting(&site), 2);
    let mut client = site.connect(kept()).await;
    client.ping().await;
    assert_eq!(client.subscribe(DEVICE_BOUND, QoS::AtLeastOnce).await, SubscribeReasonCode::Success(QoS::AtLeastOnce));
    let (topic, body) = client.message().await;
    assert_eq!(topic, "devices/d1/messages/devicebound/%24.to=%2Fdevices%2Fd1%2Fmessages%2FdeviceBound");
    assert_eq!((body, client.message().await.1), ("one".into(), "two".into()));
    client.ping().await;
    assert_eq!(waiting(&site), 0);

    send(&site, "three").unwrap();
    assert_eq!(client.message().await.1, "three", "a connected device gets it at once");
    site.stop().await;
}

#[tokio::test]
async fn a_message_that_was_not_acknowledged_comes_again() {
    let site = site_with_device().await;
    let mut client = site.connect(kept()).await;
    client.subscribe(DEVICE_BOUND, QoS::AtLeastOnce).await;
    for body in ["one", "two"] {
        send(&site, body).unwrap();
    }
    let (first, second) = (client.next().await, client.next().await);
    let (Some(Packet::Publish(_)), Some(Packet::Publish(two))) = (first, second) else { panic!() };
    client.send(Packet::PubAck(PubAck::new(two.pkid))).await;
    client.ping().await;
    drop(client);

    // The session remembers the subscription.
    let mut client = site.connect(kept()).await;
    assert_eq!(client.message().await.1, "one");
    client.ping().await;
    assert_eq!(waiting(&site), 0);
    site.stop().await;
}

#[tokio::test]
async fn without_acknowledgements_sending_is_enough() {
    let site = site_with_device().await;
    let mut client = site.connect(hub_connect(HUB, "d1", KEY)).await;
    client.subscribe(DEVICE_BOUND, QoS::AtMostOnce).await;
    send(&site, "one").unwrap();
    assert_eq!(client.message().await.1, "one");
    client.ping().await;
    assert_eq!(waiting(&site), 0);
    site.stop().await;
}

#[tokio::test]
async fn a_queue_is_bounded_in_number_size_and_time_and_outlives_a_restart() {
    let clock = Clock::manual(Timestamp::from_second(NOW).unwrap());
    let options = Options { clock: clock.clone(), ..Options::default() };
    let site = Site::with(options).await;
    site.create(&device("d1"));
    for number in 1..=50 {
        assert_eq!(send(&site, "x").unwrap(), number);
    }
    assert!(matches!(send(&site, "x"), Err(Error::QueueFull(..))));
    assert!(matches!(send(&site, &"x".repeat(64 * 1024 + 1)), Err(Error::ArgumentInvalid(_))));
    let nobody = site.hubs[0].send_to_device(&"d2".parse().unwrap(), CloudMessage::default());
    assert!(matches!(nobody, Err(Error::DeviceNotFound(_))));

    let restarted = site.restarted().await;
    assert_eq!(waiting(&restarted), 50);
    restarted.stop().await;

    clock.advance(SignedDuration::from_mins(61));
    assert_eq!(send(&site, "late").unwrap(), 51, "what expired makes room");
    assert_eq!(waiting(&site), 1);
    site.stop().await;
}
