//! Direct methods: a service calls over HTTP, the device answers over MQTT.

use std::time::Duration;

use axum::http::StatusCode;
use local_azure::iot_hub::{Error, MethodAnswer, MethodCall};
use rumqttc::QoS;
use serde_json::{Value, json};

use crate::{
    iot_hub_service::Owner,
    iot_site::{HUB, KEY, Site, device, hub_connect, module},
    mqtt_client::{Client, PATIENCE},
};

const CALLS: &str = "$iothub/methods/POST/#";

async fn site_with_device() -> Site {
    let site = Site::start().await;
    site.create(&device("d1"));
    site
}

async fn answer(client: &mut Client, status: i32, payload: &str) -> (String, String) {
    let (topic, body) = client.message().await;
    let (name, request) = topic.strip_prefix("$iothub/methods/POST/").unwrap().split_once("/?$rid=").unwrap();
    client.publish(&format!("$iothub/methods/res/{status}/?$rid={request}"), QoS::AtLeastOnce, payload).await;
    (name.to_owned(), body)
}

#[tokio::test]
async fn a_method_is_called_and_its_answer_comes_back() {
    let site = site_with_device().await;
    site.create(&module("d1", "m1"));
    let owner = Owner::of(&site);
    for (at, path) in [("d1", "/twins/d1/methods"), ("d1/m1", "/twins/d1/modules/m1/methods")] {
        let mut client = site.connect(hub_connect(HUB, at, KEY)).await;
        client.subscribe(CALLS, QoS::AtLeastOnce).await;
        let call = json!({ "methodName": "set", "payload": { "to": 21 }, "responseTimeoutInSeconds": 5 });
        let called = owner.post(path, call);
        let (answered, (name, body)) = tokio::join!(called, answer(&mut client, 202, "{\"was\":20}"));
        assert_eq!((name.as_str(), body.as_str()), ("set", "{\"to\":21}"));
        assert_eq!(answered.status, StatusCode::OK);
        assert_eq!(answered.body, json!({ "status": 202, "payload": { "was": 20 } }));
        client.disconnect().await;
    }
    site.stop().await;
}

#[tokio::test]
async fn a_call_that_cannot_be_answered_says_why() {
    let site = site_with_device().await;
    let owner = Owner::of(&site);
    let call = json!({ "methodName": "set", "responseTimeoutInSeconds": 5 });
    let offline = owner.post("/twins/d1/methods", call.clone()).await;
    assert_eq!(offline.status, StatusCode::NOT_FOUND);
    assert_eq!(offline.headers["iothub-errorcode"], "DeviceNotOnline");
    let nested: Value = serde_json::from_str(offline.body["Message"].as_str().unwrap()).unwrap();
    assert_eq!(nested["errorCode"], 404_103);

    // Connected, but it takes no calls.
    let mut client = site.connect(hub_connect(HUB, "d1", KEY)).await;
    assert_eq!(owner.post("/twins/d1/methods", call.clone()).await.headers["iothub-errorcode"], "DeviceNotOnline");
    client.subscribe(CALLS, QoS::AtMostOnce).await;
    let (answered, _) =
        tokio::join!(owner.post("/twins/d1/methods", call.clone()), answer(&mut client, 200, "no JSON"));
    assert_eq!(
        (answered.status, answered.headers["iothub-errorcode"].to_str().unwrap()),
        (StatusCode::BAD_GATEWAY, "InvalidResponseWhileProxying")
    );

    let unknown = owner.post("/twins/d2/methods", call).await;
    assert!(unknown.body["Message"].as_str().unwrap().starts_with("ErrorCode:DeviceNotFound;"));
    for wrong in [
        json!({}),
        json!([]),
        json!({ "methodName": "" }),
        json!({ "methodName": "a", "responseTimeoutInSeconds": 4 }),
        json!({ "methodName": "a", "connectTimeoutInSeconds": 301 }),
        json!({ "methodName": "a", "payload": "x".repeat(128 * 1024) }),
    ] {
        assert_eq!(owner.post("/twins/d1/methods", wrong).await.status, StatusCode::BAD_REQUEST);
    }
    site.stop().await;
}

fn brief(connect: Duration, response: Duration) -> MethodCall {
    MethodCall { name: "reboot".into(), payload: Value::Null, connect_timeout: connect, response_timeout: response }
}

#[tokio::test]
async fn a_call_waits_for_a_device_that_connects_and_gives_up_on_one_that_does_not_answer() {
    let site = site_with_device().await;
    let at = device("d1");
    let long = PATIENCE;
    let call = site.hubs[0].call_method(&at, brief(long, long));
    let connects = async {
        let mut client = site.connect(hub_connect(HUB, "d1", KEY)).await;
        client.subscribe(CALLS, QoS::AtLeastOnce).await;
        answer(&mut client, -1, "").await;
        client
    };
    let (answered, mut client) = tokio::join!(call, connects);
    assert_eq!(answered, Ok(MethodAnswer { status: -1, payload: Value::Null }));

    let late = site.hubs[0].call_method(&at, brief(long, Duration::from_millis(50))).await;
    assert!(matches!(late, Err(Error::MethodTimeout(..))), "{late:?}");
    // The answer that nobody waits for any more is taken and dropped.
    answer(&mut client, 200, "1").await;
    client.ping().await;
    site.stop().await;
}

#[tokio::test]
async fn only_the_called_device_can_answer() {
    let site = site_with_device().await;
    site.create(&device("d2"));
    let mut called = site.connect(hub_connect(HUB, "d1", KEY)).await;
    called.subscribe(CALLS, QoS::AtLeastOnce).await;
    let mut other = site.connect(hub_connect(HUB, "d2", KEY)).await;
    let at = device("d1");
    let call = site.hubs[0].call_method(&at, brief(Duration::ZERO, PATIENCE));
    let answers = async {
        let (topic, _) = called.message().await;
        let request = topic.split_once("$rid=").unwrap().1.to_owned();
        other.publish(&format!("$iothub/methods/res/500/?$rid={request}"), QoS::AtLeastOnce, "").await;
        called.publish(&format!("$iothub/methods/res/200/?$rid={request}"), QoS::AtLeastOnce, "").await;
    };
    assert_eq!(tokio::join!(call, answers).0.unwrap().status, 200);
    site.stop().await;
}
