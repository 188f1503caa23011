//! The throttles of IoT Hub and the limits of DPS, as clients meet them.

use std::{future::Future, time::Duration};

use axum::http::StatusCode;
use jiff::{SignedDuration, Timestamp};
use local_azure::{
    clock::Clock,
    gate::{Class, Refusal, Request, Rules, Service, Share},
};
use rumqttc::{ConnectReturnCode, QoS};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::{
    iot_hub_service::Owner,
    iot_site::{GROUP_KEY, HUB, KEY, LATER, NOW, OTHER_HUB, Options, Site, device, dps_connect, hub_connect},
    mqtt_client::token,
};

/// A site with the limits of both services, and its clock, which stands.
async fn limited() -> (Site, Clock) {
    let clock = Clock::manual(Timestamp::from_second(NOW).unwrap());
    let rules = Rules { iot_hub_limits: true, dps_limits: true, ..Rules::default() };
    (Site::with(Options { rules, clock: clock.clone(), ..Options::default() }).await, clock)
}

/// Looks at what cannot be waited for: whether it is done at once.
async fn at_once<T>(future: impl Future<Output = T>) -> Option<T> {
    timeout(Duration::ZERO, future).await.ok()
}

/// Uses up what the first hub carries out at once in a class, and what may wait for its turn.
async fn use_up(site: &Site, clock: &Clock, class: Class, [carried_out, waiting]: [u32; 2]) {
    assert!(at_once(ask(site, clock, class, carried_out)).await.unwrap().is_ok());
    assert!(at_once(ask(site, clock, class, waiting)).await.is_none());
}

/// Asks for so much of the first hub as a request does. What has to wait is counted when it begins to, even if nobody
/// stays.
async fn ask(site: &Site, clock: &Clock, class: Class, units: u32) -> Result<(), Refusal> {
    let request = Request { service: Service::IotHub, operation: "", class, subject: "" };
    site.gate.pass_to_hub(Share { hub: HUB, units, clock }, request).await.map(drop)
}

/// A bulk operation on fifty new devices.
fn bulk(from: usize) -> Value {
    (from..from + 50).map(|n| json!({ "id": format!("d{n}"), "importMode": "create" })).collect()
}

#[tokio::test]
async fn too_many_requests_about_identities_are_429_until_there_is_time_for_them_and_in_one_hub_only() {
    let (site, clock) = limited().await;
    let owner = Owner::of(&site);
    for from in [0, 50] {
        assert_eq!(owner.post("/devices", bulk(from)).await.status, StatusCode::OK);
    }
    let refused = owner.post("/devices", bulk(100)).await;
    assert_eq!(refused.status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(refused.headers["iothub-errorcode"], "ThrottlingException");
    assert_eq!(refused.headers["retry-after"], "20");
    let message = refused.body["Message"].as_str().unwrap();
    assert!(message.starts_with("ErrorCode:ThrottlingException;"), "{message}");
    assert_eq!(site.hubs[0].counts().devices, 100);

    assert_eq!(owner.get("/twins/d0").await.status, StatusCode::OK, "twins have a throttle of their own");
    let other = Owner { host: OTHER_HUB, authorization: token(KEY, OTHER_HUB, Some("iothubowner"), LATER), ..owner };
    assert_eq!(other.post("/devices", bulk(100)).await.status, StatusCode::OK, "so has another hub");

    let owner = Owner::of(&site);
    clock.advance(SignedDuration::from_secs(20));
    assert!(at_once(ask(&site, &clock, Class::Registry, 50)).await.is_none(), "its turn comes in 10 s");
    clock.advance(SignedDuration::from_secs(40));
    assert_eq!(owner.post("/devices", bulk(100)).await.status, StatusCode::OK);
    site.stop().await;
}

#[tokio::test]
async fn a_device_is_told_429_of_its_twin_and_loses_its_connection_over_a_message() {
    let (site, clock) = limited().await;
    site.create(&device("d1"));
    let mut client = site.connect(hub_connect(HUB, "d1", KEY)).await;
    client.subscribe("$iothub/twin/res/#", QoS::AtMostOnce).await;
    use_up(&site, &clock, Class::TwinRead, [6_000, 1_000]).await;
    use_up(&site, &clock, Class::TwinUpdate, [3_000, 500]).await;
    for (id, topic) in [(1, "$iothub/twin/GET/?$rid=1"), (2, "$iothub/twin/PATCH/properties/reported/?$rid=2")] {
        client.publish(topic, QoS::AtMostOnce, "{}").await;
        let (topic, body) = client.message().await;
        assert_eq!(topic, format!("$iothub/twin/res/429/?$rid={id}"));
        assert_eq!(serde_json::from_str::<Value>(&body).unwrap()["errorCode"], 429_001);
    }
    use_up(&site, &clock, Class::Send, [6_000, 1_000]).await;
    client.publish("devices/d1/messages/events/", QoS::AtMostOnce, "{}").await;
    client.closed().await;
    assert!(Site::events(&site.telemetry).is_empty());
    site.stop().await;
}

#[tokio::test]
async fn too_many_new_connections_are_told_that_the_service_is_unavailable() {
    let (site, clock) = limited().await;
    site.create(&device("d1"));
    use_up(&site, &clock, Class::Connect, [6_000, 1_000]).await;
    let (mut client, answer) = site.try_connect(hub_connect(HUB, "d1", KEY)).await;
    assert_eq!(answer, ConnectReturnCode::ServiceUnavailable);
    client.closed().await;
    clock.advance(SignedDuration::from_secs(60));
    site.connect(hub_connect(HUB, "d1", KEY)).await.ping().await;
    site.stop().await;
}

#[tokio::test]
async fn the_registration_after_a_thousand_in_a_minute_is_429_with_the_time_to_come_back() {
    let (site, _) = limited().await;
    let request = Request { service: Service::Dps, operation: "", class: Class::Registration, subject: "" };
    let mut client = site.connect(dps_connect("thermo-01", GROUP_KEY)).await;
    client.subscribe("$dps/registrations/res/#", QoS::AtLeastOnce).await;
    for _ in 0..1_000 {
        assert!(site.gate.pass(request).await.is_ok());
    }
    client.publish("$dps/registrations/PUT/iotdps-register/?$rid=1", QoS::AtLeastOnce, "").await;
    let (topic, body) = client.message().await;
    let wait = topic.strip_prefix("$dps/registrations/res/429/?$rid=1&retry-after=").unwrap();
    assert!((1..=60).contains(&wait.parse::<u32>().unwrap()), "{topic}");
    assert_eq!(serde_json::from_str::<Value>(&body).unwrap()["errorCode"], 429_001);
    site.stop().await;
}
