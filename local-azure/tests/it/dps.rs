//! Registration over MQTT: what devices, the webhook and the hubs see.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use rumqttc::{Connect, ConnectReturnCode, QoS};
use serde_json::{Value, json};

use crate::{
    iot_site::{GROUP_KEY, HUB, ID_SCOPE, KEY, LATER, NOW, Options, Site, dps_connect, poll, register},
    mqtt_client::{Client, device_key, raw_token, token},
};

/// Replaces what differs from run to run, where it is there.
fn steady(mut answer: Value) -> Value {
    if answer.get("operationId").is_some() {
        answer["operationId"] = "OPERATION".into();
    }
    for name in ["etag", "trackingId"] {
        for target in ["", "/registrationState"] {
            if let Some(members) = answer.pointer_mut(target).and_then(Value::as_object_mut)
                && members.contains_key(name)
            {
                members.insert(name.into(), "X".into());
            }
        }
    }
    answer
}

/// An answer with an initial twin and a word to the device.
fn assigned(hub: &str) -> String {
    json!({
        "iotHubHostName": hub,
        "initialTwin": { "tags": { "dtId": "thermo-01" }, "properties": { "desired": { "state": "ready" } } },
        "payload": { "dtId": "thermo-01" },
    })
    .to_string()
}

#[tokio::test]
async fn a_device_registers_waits_and_is_assigned() {
    let site = Site::with(Options { retries: 1_000, ..Options::default() }).await;
    let open = Arc::new(AtomicBool::new(false));
    let gate = Arc::clone(&open);
    site.hook.answers(move |_| if gate.load(Ordering::SeqCst) { (200, assigned(HUB)) } else { (503, String::new()) });

    let mut client = site.connect(dps_connect("thermo-01", GROUP_KEY)).await;
    client.subscribe("$dps/registrations/res/#", QoS::AtLeastOnce).await;
    let body = json!({"registrationId": "thermo-01"}).to_string();
    client.publish("$dps/registrations/PUT/iotdps-register/?$rid=ca8e4a28", QoS::AtLeastOnce, body).await;
    let (topic, body) = client.message().await;
    assert_eq!(topic, "$dps/registrations/res/202/?$rid=ca8e4a28&retry-after=3");
    let answer: Value = serde_json::from_str(&body).unwrap();
    let operation = answer["operationId"].as_str().unwrap().to_owned();
    insta::assert_json_snapshot!(steady(answer), @r#"
    {
      "operationId": "OPERATION",
      "status": "assigning"
    }
    "#);

    let (topic, answer) = poll(&mut client, &operation).await;
    assert_eq!(topic, "$dps/registrations/res/202/?$rid=r2&retry-after=3");
    insta::assert_json_snapshot!(steady(answer), @r#"
    {
      "operationId": "OPERATION",
      "status": "assigning",
      "registrationState": {
        "registrationId": "thermo-01",
        "status": "assigning"
      }
    }
    "#);

    open.store(true, Ordering::SeqCst);
    let (topic, answer) = loop {
        let (topic, answer) = poll(&mut client, &operation).await;
        if answer["status"] != "assigning" {
            break (topic, answer);
        }
    };
    assert_eq!(topic, "$dps/registrations/res/200/?$rid=r2");
    insta::assert_json_snapshot!(steady(answer), @r#"
    {
      "operationId": "OPERATION",
      "status": "assigned",
      "registrationState": {
        "registrationId": "thermo-01",
        "createdDateTimeUtc": "2026-11-22T19:33:20.0000000Z",
        "assignedHub": "contoso-hub.azure-devices.localhost",
        "deviceId": "thermo-01",
        "status": "assigned",
        "substatus": "initialAssignment",
        "lastUpdatedDateTimeUtc": "2026-11-22T19:33:20.0000000Z",
        "etag": "X",
        "payload": {
          "dtId": "thermo-01"
        }
      }
    }
    "#);
    client.unsubscribe("$dps/registrations/res/#").await;
    client.disconnect().await;
    site.stop().await;
}

/// A client that may get answers.
async fn subscribed(site: &Site, connect: Connect) -> Client {
    let mut client = site.connect(connect).await;
    client.subscribe("$dps/registrations/res/#", QoS::AtLeastOnce).await;
    client
}

/// Publishes and gives back the answer.
async fn ask(client: &mut Client, topic: &str, body: &str) -> (String, Value) {
    client.publish(topic, QoS::AtLeastOnce, body).await;
    let (topic, body) = client.message().await;
    (topic, serde_json::from_str(&body).unwrap())
}

const REGISTER: &str = "$dps/registrations/PUT/iotdps-register/?$rid=1";

#[tokio::test]
async fn a_wrong_key_is_told_at_register_not_at_connect() {
    let site = Site::start().await;
    let wrong = dps_connect("thermo-01", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=");
    let mut client = subscribed(&site, wrong).await;
    let (topic, answer) = ask(&mut client, REGISTER, r#"{"registrationId":"thermo-01"}"#).await;
    assert_eq!(topic, "$dps/registrations/res/401/?$rid=1");
    insta::assert_json_snapshot!(steady(answer), @r#"
    {
      "errorCode": 401000,
      "trackingId": "X",
      "message": "Unauthorized",
      "timestampUtc": "2026-11-22T19:33:20.0000000Z"
    }
    "#);
    let (topic, _) = poll(&mut client, "5.aa.bb").await;
    assert_eq!(topic, "$dps/registrations/res/401/?$rid=r2");
    assert!(site.hook.requests().is_empty());
    assert_eq!(site.dps.count(), 0);
    site.stop().await;
}

#[tokio::test]
async fn an_unknown_id_scope_no_password_and_an_expired_token_are_unauthorized() {
    let site = Site::start().await;
    let key = device_key(GROUP_KEY, "thermo-01");
    let resource = |scope: &str| format!("{scope}/registrations/thermo-01");
    let connect = |scope: &str, password: Option<String>| {
        let mut connect = Connect::new("thermo-01");
        let user_name = format!("{}/api-version=2019-03-31", resource(scope));
        match password {
            Some(password) => connect.set_credentials(user_name, password),
            None => connect.set_username(user_name),
        };
        connect
    };
    let cases = [
        (connect("0ne00OTHER", Some(token(&key, &resource("0ne00OTHER"), None, LATER))), 401_002),
        (connect(ID_SCOPE, None), 401_000),
        (connect(ID_SCOPE, Some(token(&key, &resource(ID_SCOPE), None, NOW - 300))), 401_000),
        (connect(ID_SCOPE, Some(token(&key, &format!("{ID_SCOPE}/registrations/thermo-02"), None, LATER))), 401_000),
    ];
    for (connect, code) in cases {
        let mut client = subscribed(&site, connect).await;
        let (topic, answer) = ask(&mut client, REGISTER, "").await;
        assert_eq!(topic, "$dps/registrations/res/401/?$rid=1");
        assert_eq!(answer["errorCode"], code);
    }
    site.stop().await;
}

#[tokio::test]
async fn either_group_key_any_spelling_and_every_form_of_token_is_taken() {
    let site = Site::start().await;
    let resource = format!("{ID_SCOPE}/registrations/Sensor-A.1");
    let passwords = [
        token(&device_key(GROUP_KEY, "Sensor-A.1"), &resource, Some("registration"), LATER),
        token(&device_key(KEY, "Sensor-A.1"), &resource, Some("registration"), LATER),
        token(&device_key(GROUP_KEY, "sensor-a.1"), &resource, None, LATER),
        raw_token(&device_key(GROUP_KEY, "Sensor-A.1"), &resource, Some("registration"), LATER),
        raw_token(&device_key(GROUP_KEY, "Sensor-A.1"), &resource.to_lowercase(), None, LATER),
    ];
    for password in passwords {
        let mut connect = Connect::new("Sensor-A.1");
        connect.set_credentials(format!("{resource}/api-version=2019-03-31"), password.clone());
        let mut client = subscribed(&site, connect).await;
        let answer = register(&mut client, "Sensor-A.1", None).await;
        assert_eq!(answer["status"], "assigning", "{password}");
    }
    site.stop().await;
}

#[tokio::test]
async fn ids_that_differ_in_case_are_one_device() {
    let site = Site::start().await;
    let first = site.register("Thermo-01").await;
    let second = site.register("thermo-01").await;
    for answer in [first, second] {
        assert_eq!(answer["registrationState"]["deviceId"], "Thermo-01");
    }
    assert_eq!(site.dps.count(), 1);
    assert_eq!(site.hubs[0].counts().devices, 1);
    site.stop().await;
}

#[tokio::test]
async fn a_disabled_enrollment_is_a_status_and_the_webhook_is_not_called() {
    let site = Site::with(Options { enabled: false, ..Options::default() }).await;
    let mut client = subscribed(&site, dps_connect("thermo-01", GROUP_KEY)).await;
    let (topic, answer) = ask(&mut client, REGISTER, "").await;
    assert_eq!(topic, "$dps/registrations/res/200/?$rid=1");
    insta::assert_json_snapshot!(steady(answer), @r#"
    {
      "operationId": "OPERATION",
      "status": "disabled",
      "registrationState": {
        "registrationId": "thermo-01",
        "status": "disabled"
      }
    }
    "#);
    assert!(site.hook.requests().is_empty());
    site.stop().await;
}

#[tokio::test]
async fn a_body_that_is_not_understood_is_a_bad_request() {
    let site = Site::start().await;
    let mut client = subscribed(&site, dps_connect("thermo-01", GROUP_KEY)).await;
    for body in ["{", "[]", "1", r#"{"registrationId":"thermo-02"}"#, r#"{"registrationId":7}"#] {
        let (topic, answer) = ask(&mut client, REGISTER, body).await;
        assert_eq!(topic, "$dps/registrations/res/400/?$rid=1", "{body}");
        assert_eq!(answer["errorCode"], 400_004);
    }
    let (_, answer) = ask(&mut client, REGISTER, r#"{"registrationId":"THERMO-01"}"#).await;
    assert_eq!(answer["status"], "assigning");
    site.stop().await;
}

#[tokio::test]
async fn an_operation_belongs_to_its_device() {
    let site = Site::start().await;
    let operation = site.register("thermo-01").await["operationId"].as_str().unwrap().to_owned();
    let mut client = subscribed(&site, dps_connect("thermo-02", GROUP_KEY)).await;
    let (topic, answer) = poll(&mut client, &operation).await;
    assert_eq!(topic, "$dps/registrations/res/404/?$rid=r2");
    assert_eq!(answer["errorCode"], 404_204);
    site.stop().await;
}

#[tokio::test]
async fn a_device_that_registers_again_and_again_without_waiting_is_throttled() {
    let site = Site::with(Options { retries: 1_000_000, ..Options::default() }).await;
    site.hook.answers(|_| (503, String::new()));
    let mut client = subscribed(&site, dps_connect("thermo-01", GROUP_KEY)).await;
    for _ in 0..16 {
        assert_eq!(register(&mut client, "thermo-01", None).await["status"], "assigning");
    }
    let (topic, answer) = ask(&mut client, REGISTER, "").await;
    assert_eq!(topic, "$dps/registrations/res/429/?$rid=1&retry-after=3");
    assert_eq!(answer["errorCode"], 429_001);
    site.stop().await;
}

#[tokio::test]
async fn names_that_are_not_understood_are_refused_at_connect() {
    let site = Site::start().await;
    let mut other_client = dps_connect("thermo-01", GROUP_KEY);
    other_client.client_id = "thermo-02".into();
    assert_eq!(site.try_connect(other_client).await.1, ConnectReturnCode::BadClientId);
    for name in ["0ne00ABCDEF/registrations/", "0ne00ABCDEF/registrations/a b/api-version=1", "/registrations/a/b"] {
        let mut connect = Connect::new("a");
        connect.set_credentials(name, "x");
        assert_eq!(site.try_connect(connect).await.1, ConnectReturnCode::BadUserNamePassword, "{name}");
    }
    assert_eq!(site.try_connect(Connect::new("a")).await.1, ConnectReturnCode::BadUserNamePassword);
    site.stop().await;
}

#[tokio::test]
async fn another_topic_closes_that_connection_only() {
    let site = Site::start().await;
    let mut good = subscribed(&site, dps_connect("thermo-01", GROUP_KEY)).await;
    let mut bad = subscribed(&site, dps_connect("thermo-02", GROUP_KEY)).await;
    bad.publish("devices/thermo-02/messages/events/", QoS::AtMostOnce, "{}").await;
    bad.closed().await;
    good.ping().await;
    site.stop().await;
}
