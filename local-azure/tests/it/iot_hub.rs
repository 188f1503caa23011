//! A device's side of IoT Hub: who is let in, what it may send and ask for, and what ends its connection.

use local_azure::iot_hub::{Condition, NewIdentity, Status, TwinPatch};
use rumqttc::{Connect, ConnectReturnCode, LastWill, Publish, QoS, SubscribeReasonCode};
use serde_json::{Value, json};

use crate::{
    iot_site::{HUB, KEY, LATER, NOW, OTHER_HUB, SERVICE_KEY, Site, device, hub_connect, module},
    mqtt_client::{Client, PATIENCE, token},
};

const EVENTS: &str = "devices/d1/messages/events/";

async fn site_with_device() -> (Site, Client) {
    let site = Site::start().await;
    site.create(&device("d1"));
    let client = site.connect(hub_connect(HUB, "d1", KEY)).await;
    (site, client)
}

fn connect_with(user_name: &str, client_id: &str, password: &str) -> Connect {
    let mut connect = Connect::new(client_id);
    connect.set_credentials(user_name, password.to_owned());
    connect
}

#[tokio::test]
async fn a_device_is_let_in_by_its_own_key_a_policy_or_a_token_for_more() {
    let site = Site::start().await;
    site.create(&device("d1"));
    site.create(&module("d1", "m1"));
    let user = format!("{HUB}/d1/?api-version=2021-04-12");
    for password in [
        token(KEY, &format!("{HUB}/devices/d1"), None, LATER),
        token(KEY, &format!("{HUB}:8883/devices/d1"), None, LATER),
        token(KEY, &format!("{HUB}/devices"), Some("iothubowner"), LATER),
        token(KEY, HUB, Some("iothubowner"), LATER),
    ] {
        let mut client = site.connect(connect_with(&user, "d1", &password)).await;
        client.ping().await;
    }
    site.connect(hub_connect(HUB, "d1/m1", KEY)).await.ping().await;
    site.connect(connect_with(&format!("{}/d1", HUB.to_uppercase()), "d1", &token(KEY, HUB, None, LATER))).await;
    site.stop().await;
}

#[tokio::test]
async fn others_are_not_let_in() {
    let site = Site::start().await;
    site.create(&device("d1"));
    site.create(&device("d2"));
    let disabled = NewIdentity { status: Status::Disabled, ..NewIdentity::default() };
    site.hubs[0].update(&device("d2"), disabled, &Condition::Any).unwrap();
    let user = format!("{HUB}/d1/?api-version=2021-04-12");
    let good = token(KEY, &format!("{HUB}/devices/d1"), None, LATER);
    let refused = ConnectReturnCode::NotAuthorized;
    let cases = [
        ("another key", hub_connect(HUB, "d1", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="), refused),
        ("no such device", hub_connect(HUB, "d3", KEY), refused),
        ("case matters", hub_connect(HUB, "D1", KEY), refused),
        ("disabled", hub_connect(HUB, "d2", KEY), refused),
        ("not in this hub", hub_connect(OTHER_HUB, "d1", KEY), refused),
        ("no such hub", hub_connect("elsewhere.azure-devices.net", "d1", KEY), refused),
        ("no such module", hub_connect(HUB, "d1/m1", KEY), refused),
        ("expired", connect_with(&user, "d1", &token(KEY, &format!("{HUB}/devices/d1"), None, NOW - 300)), refused),
        ("another's", connect_with(&user, "d1", &token(KEY, &format!("{HUB}/devices/d2"), None, LATER)), refused),
        ("a policy for services", connect_with(&user, "d1", &token(SERVICE_KEY, HUB, Some("service"), LATER)), refused),
        ("no such policy", connect_with(&user, "d1", &token(KEY, HUB, Some("nobody"), LATER)), refused),
        ("another policy's key", connect_with(&user, "d1", &token(KEY, HUB, Some("device"), LATER)), refused),
        ("no token", connect_with(&user, "d1", "secret"), refused),
        ("another client id", connect_with(&user, "d2", &good), ConnectReturnCode::BadClientId),
        ("no device", connect_with(HUB, "d1", &good), ConnectReturnCode::BadUserNamePassword),
    ];
    for (why, connect, code) in cases {
        let (mut client, answer) = site.try_connect(connect).await;
        assert_eq!(answer, code, "{why}");
        client.closed().await;
    }
    assert_eq!(site.hubs[0].counts().connected, 0);
    site.stop().await;
}

#[tokio::test]
async fn a_second_connection_of_a_device_ends_the_first() {
    let (site, mut first) = site_with_device().await;
    let mut second = site.connect(hub_connect(HUB, "d1", KEY)).await;
    first.closed().await;
    second.ping().await;
    assert_eq!(site.hubs[0].connected_devices(), ["d1".parse().unwrap()]);
    site.stop().await;
}

#[tokio::test]
async fn deleting_or_disabling_a_device_ends_its_connection() {
    let (site, mut client) = site_with_device().await;
    let disabled = NewIdentity { status: Status::Disabled, ..NewIdentity::default() };
    site.hubs[0].update(&device("d1"), disabled, &Condition::Any).unwrap();
    client.closed().await;

    site.create(&device("d2"));
    site.create(&module("d2", "m1"));
    let mut client = site.connect(hub_connect(HUB, "d2", KEY)).await;
    let mut of_module = site.connect(hub_connect(HUB, "d2/m1", KEY)).await;
    site.hubs[0].delete(&module("d2", "m1"), &Condition::Any).unwrap();
    of_module.closed().await;
    client.ping().await;
    site.hubs[0].delete(&device("d2"), &Condition::Any).unwrap();
    client.closed().await;
    site.stop().await;
}

#[tokio::test]
async fn a_connection_ends_five_minutes_after_its_token_and_with_its_silence() {
    let site = Site::start().await;
    site.create(&device("d1"));
    site.create(&device("d2"));
    let password = token(KEY, &format!("{HUB}/devices/d1"), None, NOW - 299);
    let mut expiring = site.connect(connect_with(&format!("{HUB}/d1"), "d1", &password)).await;
    let mut silent = hub_connect(HUB, "d2", KEY);
    silent.keep_alive = 1;
    let mut silent = site.connect(silent).await;
    expiring.closed().await;
    silent.closed().await;
    site.stop().await;
}

#[tokio::test]
async fn topics_of_others_and_unknown_topics_end_the_connection() {
    let (site, client) = site_with_device().await;
    site.create(&device("other"));
    drop(client);
    for topic in [
        "devices/other/messages/events/",
        "devices/d1/modules/m1/messages/events/",
        "foo/bar",
        "devices/d1/messages/eventsx",
        "devices/d1/messages/devicebound/",
        "$iothub/twin/PATCH/properties/desired/?$version=1",
        "devices/d1/messages/events/a=%ff",
    ] {
        let mut client = site.connect(hub_connect(HUB, "d1", KEY)).await;
        client.publish(topic, QoS::AtMostOnce, "{}").await;
        client.closed().await;
    }
    assert!(Site::events(&site.telemetry).is_empty());
    site.stop().await;
}

#[tokio::test]
async fn quality_of_service_two_ends_the_connection() {
    let (site, mut client) = site_with_device().await;
    client.publish(EVENTS, QoS::ExactlyOnce, "{}").await;
    client.closed().await;
    site.stop().await;
}

#[tokio::test]
async fn a_message_of_256_kib_is_taken_and_a_larger_one_is_not() {
    let (site, mut client) = site_with_device().await;
    client.publish(EVENTS, QoS::AtLeastOnce, vec![b'x'; 262_144]).await;
    assert_eq!(Site::events(&site.telemetry)[0].body.len(), 262_144);
    client.publish(&format!("{EVENTS}a=1"), QoS::AtMostOnce, vec![b'x'; 262_143]).await;
    client.closed().await;
    assert_eq!(site.hubs[0].counts().messages, 1);
    site.stop().await;
}

#[tokio::test]
async fn only_the_documented_filters_are_granted_and_at_most_five() {
    let (site, mut client) = site_with_device().await;
    let granted = |quality| SubscribeReasonCode::Success(quality);
    assert_eq!(client.subscribe("#", QoS::AtMostOnce).await, SubscribeReasonCode::Failure);
    assert_eq!(
        client.subscribe("devices/d2/messages/devicebound/#", QoS::AtMostOnce).await,
        SubscribeReasonCode::Failure
    );
    assert_eq!(client.subscribe("$iothub/twin/res/#", QoS::ExactlyOnce).await, granted(QoS::AtLeastOnce));
    assert_eq!(client.subscribe("devices/d1/messages/devicebound/#", QoS::AtMostOnce).await, granted(QoS::AtMostOnce));
    site.stop().await;
}

#[tokio::test]
async fn a_device_reads_its_twin_reports_and_is_told_what_is_desired() {
    let (site, mut client) = site_with_device().await;
    let hub = &site.hubs[0];
    client.subscribe("$iothub/twin/res/#", QoS::AtLeastOnce).await;
    client.subscribe("$iothub/twin/PATCH/properties/desired/#", QoS::AtMostOnce).await;

    client.publish("$iothub/twin/PATCH/properties/reported/?$rid=7", QoS::AtMostOnce, r#"{"fw":"1"}"#).await;
    assert_eq!(client.message().await, ("$iothub/twin/res/204/?$rid=7&$version=2".into(), String::new()));

    let patch = TwinPatch { desired: Some(json!({ "interval": 5 })), tags: Some(json!({ "a": 1 })) };
    hub.patch_twin(&device("d1"), &patch, &Condition::Any).unwrap();
    let (topic, body) = client.message().await;
    assert_eq!(topic, "$iothub/twin/PATCH/properties/desired/?$version=2");
    assert_eq!(body, r#"{"interval":5,"$version":2}"#);

    client.publish("$iothub/twin/GET/?$rid=8", QoS::AtLeastOnce, "").await;
    let (topic, body) = client.message().await;
    assert_eq!(topic, "$iothub/twin/res/200/?$rid=8");
    assert_eq!(body, r#"{"desired":{"interval":5,"$version":2},"reported":{"fw":"1","$version":2}}"#);

    for bad in ["", "[]", "{", r#"{"a.b":1}"#] {
        client.publish("$iothub/twin/PATCH/properties/reported/?$rid=9", QoS::AtLeastOnce, bad).await;
        let (topic, body) = client.message().await;
        assert_eq!(topic, "$iothub/twin/res/400/?$rid=9", "{bad}");
        assert_eq!(serde_json::from_str::<Value>(&body).unwrap()["errorCode"], 400_004);
    }
    site.stop().await;
}

#[tokio::test]
async fn a_device_that_did_not_subscribe_is_answered_nothing() {
    let (site, mut client) = site_with_device().await;
    client.publish("$iothub/twin/GET/?$rid=1", QoS::AtLeastOnce, "").await;
    client.ping().await;
    site.stop().await;
}

#[tokio::test]
async fn subscriptions_outlive_a_connection_that_was_not_clean() {
    let site = Site::start().await;
    site.create(&device("d1"));
    let kept = || Connect { clean_session: false, ..hub_connect(HUB, "d1", KEY) };
    let (mut client, _, present) = Client::connect(site.stream().await, kept()).await;
    assert!(!present);
    client.subscribe("$iothub/twin/res/#", QoS::AtLeastOnce).await;
    client.disconnect().await;

    let (mut client, _, present) = Client::connect(site.stream().await, kept()).await;
    assert!(present);
    client.publish("$iothub/twin/GET/?$rid=1", QoS::AtLeastOnce, "").await;
    assert_eq!(client.message().await.0, "$iothub/twin/res/200/?$rid=1");
    client.disconnect().await;

    let (client, _, present) = Client::connect(site.stream().await, hub_connect(HUB, "d1", KEY)).await;
    assert!(!present, "a clean session forgets");
    client.disconnect().await;
    site.stop().await;
}

#[tokio::test]
async fn subscriptions_outlive_a_restart() {
    let first = Site::start().await;
    first.create(&device("d1"));
    let kept = || Connect { clean_session: false, ..hub_connect(HUB, "d1", KEY) };
    let mut client = first.connect(kept()).await;
    client.subscribe("$iothub/twin/PATCH/properties/desired/#", QoS::AtLeastOnce).await;
    let second = first.restarted().await;
    first.stop().await;

    let (mut client, _, present) = Client::connect(second.stream().await, kept()).await;
    assert!(present);
    let patch = TwinPatch { desired: Some(json!({ "a": 1 })), tags: None };
    second.hubs[0].patch_twin(&device("d1"), &patch, &Condition::Any).unwrap();
    assert_eq!(client.message().await.1, r#"{"a":1,"$version":2}"#);
    second.stop().await;
}

#[tokio::test]
async fn a_will_is_sent_for_a_device_that_went_without_a_goodbye() {
    let site = Site::start().await;
    site.create(&device("d1"));
    let with_will = |topic: &str| {
        let mut connect = hub_connect(HUB, "d1", KEY);
        connect.last_will = Some(LastWill::new(topic, "gone", QoS::AtLeastOnce, false));
        connect
    };
    site.connect(with_will(EVENTS)).await.disconnect().await;
    assert!(Site::events(&site.telemetry).is_empty());

    let mut client = site.connect(with_will("devices/d1/messages/events/a=1")).await;
    client.publish("foo", QoS::AtMostOnce, "").await;
    client.closed().await;
    site.telemetry.wait_for_events(site.telemetry.partition_of("d1"), None).await;
    let event = Site::events(&site.telemetry).remove(0);
    assert_eq!(event.body, "gone");
    assert_eq!(event.application_properties["iothub-MessageType"], "Will");
    assert_eq!(event.application_properties["a"], "1");

    let (_, code) = site.try_connect(with_will("devices/d2/messages/events/")).await;
    assert_eq!(code, ConnectReturnCode::NotAuthorized);
    site.stop().await;
}

#[tokio::test]
async fn what_the_service_shows_of_a_device_follows_its_connection() {
    let (site, client) = site_with_device().await;
    let state = |name: &str| site.hubs[0].identity(&device("d1")).unwrap()[name].clone();
    assert_eq!(state("connectionState"), "Connected");
    assert_eq!(state("lastActivityTime"), "2026-11-22T19:33:20.0000000Z");
    client.disconnect().await;
    let gone = async {
        while state("connectionState") == "Connected" {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, gone).await.expect("the device counts as connected");
    site.stop().await;
}

#[tokio::test]
async fn a_retained_message_is_marked() {
    let (site, mut client) = site_with_device().await;
    let retained = Publish { retain: true, ..Publish::new(EVENTS, QoS::AtLeastOnce, "{}") };
    client.publish_packet(retained).await;
    assert_eq!(Site::events(&site.telemetry)[0].application_properties["mqtt-retain"], "true");
    site.stop().await;
}
