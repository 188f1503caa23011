//! What devices measure.

use bytes::Bytes;
use device_simulator::{SystemProperty, Telemetry};
use futures::future::join_all;
use local_azure::event_hubs::{EventData, EventHub};
use reqwest::Method;
use serde_json::{Value, json};

use super::site::{Device, SPACE, Site, TELEMETRY, THERMOSTAT, counts, json_message, temperature};

/// The event hub that messages of devices go to.
fn event_hub(site: &Site) -> &EventHub {
    &site.running.services().event_hubs[0]
}

/// The event that IoT Hub made of the message that came last.
fn last_event(site: &Site) -> EventData {
    event_hub(site).read(0, None, usize::MAX).last().unwrap().data.clone()
}

/// The event again, with other annotations, as if IoT Hub had sent it.
fn append(site: &Site, mut event: EventData, body: &Value, annotations: Value) {
    event.body = Bytes::from(body.to_string());
    event.annotations.extend(annotations.as_object().unwrap().clone());
    event_hub(site).append("any", event);
}

async fn value(site: &Site, device: &Device, property: &str) -> Value {
    site.twin(device.twin_id()).await.unwrap()[property].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_value_of_each_device_is_in_its_twin_with_few_patches() {
    let site = Site::start().await;
    let devices = join_all(["Pump-1", "pump-2", "PUMP-3"].map(|id| site.register(id))).await;
    let sending = devices
        .iter()
        .zip(1..)
        .map(|(device, n)| site.send(device, (0..200).map(move |i| temperature(f64::from(n * 1000 + i)))));
    join_all(sending).await;
    site.caught_up().await;
    for (device, last) in devices.iter().zip([1199.0, 2199.0, 3199.0]) {
        assert_eq!(value(&site, device, "Temperature").await, last, "{}", device.id());
    }
    let outcomes = site.outcomes(TELEMETRY);
    let (applied, superseded) = (outcomes["applied"], outcomes.get("superseded").copied().unwrap_or_default());
    assert_eq!(applied + superseded, 600, "{outcomes:?}");
    assert_eq!(outcomes.len(), 2, "{outcomes:?}");
    let batches = site.running.services().functions.statistics();
    let batches: u64 =
        batches.iter().filter(|it| it.function == TELEMETRY).map(|it| it.partitions[0].invocations).sum();
    assert!(site.adt_calls("DigitalTwins_Update") <= 3 * batches, "more than one patch a twin and batch");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_message_that_comes_later_and_one_that_comes_twice_change_nothing() {
    let site = Site::start().await;
    let pump = site.register("pump-1").await;
    site.send(&pump, [temperature(20.0)]).await;
    site.caught_up().await;
    let event = last_event(&site);
    let (old, older) = ("2024-05-01T12:00:00.123Z", "2024-05-01T11:00:00Z");
    append(&site, event.clone(), &json!({ "Temperature": 1.0 }), json!({ "iothub-enqueuedtime": old }));
    event_hub(&site).append("any", event.clone());
    // Nothing newer is there of another property: it is written, and an older value is not.
    append(&site, event.clone(), &json!({ "ComfortIndex": 2.0 }), json!({ "iothub-enqueuedtime": old }));
    append(&site, event, &json!({ "ComfortIndex": 3.0 }), json!({ "iothub-enqueuedtime": older }));
    site.caught_up().await;
    let twin = site.twin("pump-1").await.unwrap();
    assert_eq!((&twin["Temperature"], &twin["ComfortIndex"]), (&json!(20.0), &json!(2.0)));
    let source_time = |property: &str| twin["$metadata"][property]["sourceTime"].as_str().unwrap().to_owned();
    assert_eq!(source_time("ComfortIndex"), "2024-05-01T12:00:00.1230000Z");
    assert!(source_time("Temperature") > source_time("ComfortIndex"));
    assert_eq!(site.dead_letters().await, Vec::<Value>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newer_process_does_not_go_back_in_time_either() {
    let site = Site::start().await;
    let pump = site.register("pump-1").await;
    site.send(&pump, [temperature(20.0)]).await;
    site.caught_up().await;
    let functions = &site.running.services().functions;
    let pid = functions.handlers()[0].pid.unwrap();
    super::interruptions::kill(pid);
    append(
        &site,
        last_event(&site),
        &json!({ "Temperature": 1.0 }),
        json!({ "iothub-enqueuedtime": "2024-05-01T12:00:00.123Z" }),
    );
    site.caught_up().await;
    assert_ne!(functions.handlers()[0].pid, Some(pid));
    assert_eq!(value(&site, &pump, "Temperature").await, 20.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn members_that_the_model_does_not_know_are_left_out_and_named_once() {
    let site = Site::start().await;
    let pump = site.register("pump-1").await;
    let message = json_message(json!({ "Temperature": 20.5, "temprature": 1, "rpm": { "now": 3 } }));
    site.send(&pump, [message.clone(), json_message(json!({ "rpm": 4 })), message]).await;
    site.caught_up().await;
    let twin = site.twin("pump-1").await.unwrap();
    assert_eq!(twin["Temperature"], 20.5);
    assert_eq!((twin.get("temprature"), twin.get("rpm")), (None, None));
    assert_eq!(site.dead_letters().await, Vec::<Value>::new());
    let log = site.console().await;
    let warnings = |name: &str| log.iter().filter(|line| line.contains(name)).count();
    assert_eq!((warnings("temprature"), warnings("rpm")), (1, 1), "{log:#?}");
    assert!(log.iter().any(|line| line.contains("temprature") && line.contains("Temperature")), "{log:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_that_does_not_fit_costs_only_itself() {
    let site = Site::start().await;
    let pump = site.register("pump-1").await;
    let mixed = json!({ "Temperature": "warm", "ComfortIndex": 0.5, "DisplayName": "Pump" });
    site.send(&pump, [temperature(20.0), json_message(mixed.clone()), json_message(json!({ "Location": "Roof" }))])
        .await;
    site.caught_up().await;
    let twin = site.twin("pump-1").await.unwrap();
    assert_eq!(twin["Temperature"], 20.0);
    assert_eq!(twin["ComfortIndex"], 0.5);
    assert_eq!(twin["DisplayName"], "Pump");
    assert_eq!(twin["Location"], "Roof");
    let letters = site.dead_letters().await;
    assert_eq!(letters.len(), 1);
    let letter = &letters[0];
    assert_eq!(letter["reason"]["code"], "value");
    assert!(letter["reason"]["detail"].as_str().unwrap().contains("Temperature"), "{letter}");
    assert_eq!(letter["deviceId"], "pump-1");
    assert_eq!(letter["properties"]["dtId"], "pump-1");
    assert_eq!(serde_json::from_str::<Value>(letter["body"].as_str().unwrap()).unwrap(), mixed);
    assert_eq!(site.outcomes(TELEMETRY), counts([("applied", 2), ("dead_letters", 1)]));
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_are_no_json_objects_are_kept_to_the_byte() {
    let site = Site::start().await;
    let pump = site.register("pump-1").await;
    let bodies: [&[u8]; 6] = [b"\xff\xfe{\"Temperature\": 1}", b"", b"[1]", b"{\"Temperature\": 1", b"null", b"\0"];
    let date = Telemetry::new("\"2024-05-01T14:00:00+02:00\"");
    let xml = Telemetry::new("<t>1</t>").with_system_property(SystemProperty::ContentType, "application/xml");
    let messages = bodies.map(Telemetry::new).into_iter().chain([date, xml, temperature(20.0)]);
    site.send(&pump, messages).await;
    site.caught_up().await;
    assert_eq!(value(&site, &pump, "Temperature").await, 20.0);
    let letters = site.dead_letters().await;
    let kept: Vec<Vec<u8>> = letters.iter().map(body).collect();
    let expected = bodies.into_iter().chain([&b"\"2024-05-01T14:00:00+02:00\""[..], b"<t>1</t>"]);
    assert_eq!(kept, expected.map(<[u8]>::to_vec).collect::<Vec<_>>());
    assert_eq!(letters.last().unwrap()["reason"]["code"], "contentType");
    assert!(letters[..7].iter().all(|letter| letter["reason"]["code"] == "body"), "{letters:#?}");
    assert!(letters[0].get("bodyBase64").is_some());
}

/// A dead letter's body.
fn body(letter: &Value) -> Vec<u8> {
    use base64::Engine as _;
    match letter.get("bodyBase64") {
        Some(text) => base64::engine::general_purpose::STANDARD.decode(text.as_str().unwrap()).unwrap(),
        None => letter["body"].as_str().unwrap().into(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_module_sends_is_left_out() {
    let site = Site::start().await;
    let pump = site.register("pump-1").await;
    site.send(&pump, [temperature(20.0)]).await;
    append(
        &site,
        last_event(&site),
        &json!({ "Temperature": 99.0 }),
        json!({ "iothub-connection-module-id": "filter", "iothub-enqueuedtime": jiff::Timestamp::now().to_string() }),
    );
    site.caught_up().await;
    assert_eq!(value(&site, &pump, "Temperature").await, 20.0);
    assert_eq!(site.outcomes(TELEMETRY), counts([("applied", 1), ("module", 1)]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_without_tags_is_found_by_its_id() {
    let site = Site::start().await;
    let (exact, lower, own) =
        tokio::join!(site.add_device("Exact"), site.add_device("Thermostat-67"), site.add_device("Own-Id"),);
    site.create_twin("any-name", THERMOSTAT, json!({ "HubDeviceId": "Exact", "HubRegistrationId": "other" })).await;
    site.upload_models(json!([{
        "@context": "dtmi:dtdl:context;2", "@id": "dtmi:contosocom:Plain;1", "@type": "Interface",
        "contents": [{ "@type": "Property", "name": "Temperature", "schema": "double" }]
    }]))
    .await;
    site.create_twin("own-id", "dtmi:contosocom:Plain;1", json!({})).await;
    for (device, value) in [(&exact, 1.0), (&lower, 2.0), (&own, 3.0)] {
        site.send(device, [temperature(value)]).await;
    }
    assert_eq!(last_event(&site).application_properties["dtId"], "$twin.tags.dtId");
    site.caught_up().await;
    for (twin, value) in [("any-name", 1.0), ("server-room-thermostat", 2.0), ("own-id", 3.0)] {
        assert_eq!(site.twin(twin).await.unwrap()["Temperature"], value, "{twin}");
    }
    assert_eq!(site.outcomes(TELEMETRY), counts([("applied", 3)]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_writes_to_its_own_twin_whatever_it_claims() {
    let site = Site::start().await;
    let (victim, thief, stranger) =
        tokio::join!(site.register("victim"), site.register("thief"), site.add_device("stranger"));
    site.send(&victim, [temperature(20.0)]).await;
    let forge = |value: f64| {
        let message = temperature(value);
        [
            message.clone().with_property("dtId", "victim"),
            message.clone().with_property("iothub-connection-device-id", "victim"),
            message.clone().with_property("iothub-connection-module-id", "x"),
            message.clone().with_property("iothub-message-source", "twinChangeEvents"),
            message.with_property("$.cdid", "victim"),
        ]
    };
    site.send(&thief, forge(66.0)).await;
    site.send(&stranger, forge(77.0)).await;
    site.caught_up().await;
    assert_eq!(value(&site, &victim, "Temperature").await, 20.0);
    assert_eq!(value(&site, &thief, "Temperature").await, 66.0);
    let event = last_event(&site);
    let outcomes = site.outcomes(TELEMETRY);
    assert_eq!(outcomes["noTwin"], 5, "{outcomes:?}");
    assert_eq!(outcomes["applied"] + outcomes.get("superseded").copied().unwrap_or_default(), 6, "{outcomes:?}");

    // Where no enrichment overwrites it, the property reaches the function.
    let mut forged = event;
    forged.application_properties.insert("dtId".into(), "victim".into());
    append(&site, forged, &json!({ "Temperature": 88.0 }), json!({}));
    site.caught_up().await;
    assert_eq!(value(&site, &victim, "Temperature").await, 20.0);
    let letters = site.dead_letters().await;
    assert_eq!(letters.len(), 1);
    assert_eq!(letters[0]["reason"]["code"], "twinOfOther");
    assert_eq!(letters[0]["deviceId"], "stranger");
}

#[tokio::test(flavor = "multi_thread")]
async fn bookkeeping_is_not_for_devices_to_write() {
    let site = Site::start().await;
    let (victim, thief) = tokio::join!(site.register("victim"), site.register("thief"));
    let claim = json!({ "HubRegistrationId": "victim", "HubDeviceId": "victim", "HubName": "x", "Temperature": 1.5 });
    site.send(&thief, [json_message(claim), json_message(json!({ "HubDeviceId": "victim" }))]).await;
    site.caught_up().await;
    let twin = site.twin("thief").await.unwrap();
    assert_eq!((&twin["HubRegistrationId"], &twin["HubName"]), (&json!("thief"), &json!("contoso-hub")));
    assert_eq!((twin.get("HubDeviceId"), &twin["Temperature"]), (None, &json!(1.5)));
    assert_eq!(site.twin(victim.twin_id()).await.unwrap()["HubRegistrationId"], "victim");
    assert_eq!(site.outcomes(TELEMETRY), counts([("applied", 1), ("bookkeeping", 1)]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_without_a_twin_is_left_out_or_kept_as_the_setting_says() {
    let site = Site::start().await;
    let stranger = site.add_device("stranger").await;
    site.send(&stranger, [temperature(1.0), temperature(2.0)]).await;
    site.caught_up().await;
    assert_eq!(site.outcomes(TELEMETRY), counts([("noTwin", 2)]));
    assert_eq!(site.dead_letters().await, Vec::<Value>::new());
    let warnings = site.console().await.iter().filter(|line| line.contains("stranger")).count();
    assert_eq!(warnings, 1, "once for a device");

    let site = Site::with_settings(&[("TELEMETRY_WITHOUT_TWIN", "dead-letter")]).await;
    let stranger = site.add_device("stranger").await;
    let written = site.running.services().blobs.written();
    site.send(&stranger, [temperature(1.0)]).await;
    site.caught_up().await;
    assert!(written.has_changed().unwrap());
    assert_eq!(site.dead_letters().await[0]["reason"]["code"], "noTwin");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_space_is_nobodys_twin_even_where_a_tag_names_it() {
    let site = Site::start().await;
    site.create_twin("roof", SPACE, json!({ "Temperature": 5.0 })).await;
    let mallory = site.add_device("mallory").await;
    let tags = json!({ "tags": { "dtId": "roof" } });
    site.hub(Method::PATCH, "/twins/mallory", Some(tags)).await;
    site.send(&mallory, [temperature(99.0)]).await;
    site.caught_up().await;
    assert_eq!(site.twin("roof").await.unwrap()["Temperature"], 5.0);
    assert_eq!(site.dead_letters().await[0]["reason"]["code"], "twinOfOther");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_of_the_largest_messages_is_taken() {
    let site = Site::start().await;
    let pump = site.register("pump-1").await;
    let large = |n: u32| json_message(json!({ "Temperature": f64::from(n), "log": "x".repeat(250 * 1024) }));
    let connection = site.connect(&pump).await;
    let messages: Vec<_> = (1..=24).map(large).collect();
    for sent in join_all(messages.iter().map(|message| connection.send(message))).await {
        sent.unwrap();
    }
    site.caught_up().await;
    assert_eq!(value(&site, &pump, "Temperature").await, 24.0);
    assert_eq!(site.dead_letters().await, Vec::<Value>::new());
}
