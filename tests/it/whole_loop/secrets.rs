//! Secrets stay where they are (in no log, no answer, no dead letter).

use device_simulator::Telemetry;
use reqwest::Method;
use serde_json::json;

use super::site::{Site, THERMOSTAT, json_message, temperature};

const FUNCTION_KEY: &str = "recognizable-function-key";
const IDENTITY_HEADER: &str = "recognizable-identity-header";
/// How every bearer token of local-azure begins.
const BEARER: &str = "eyJ0eXAiOiJKV1Qi";

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_gets_into_a_log_an_answer_or_a_dead_letter() {
    let site = Site::with(|config| {
        config.credentials.function_key = FUNCTION_KEY.to_owned();
        config.credentials.identity_header = IDENTITY_HEADER.to_owned();
        // As talkative as anybody may make it.
        config.app_settings.push(("RUST_LOG".into(), "trace".into()));
    })
    .await;
    let group_key = site.running.endpoints().dps.primary_key.clone();
    let hub_key = site.running.endpoints().iot_hubs[0].service_connection_string.rsplit_once("SharedAccessKey=");
    let hub_key = hub_key.unwrap().1.to_owned();

    let mut invocations = site.running.services().functions.invocations();
    let pump = site.register("pump-1").await;
    let refused = site.try_register("pump-2", Some(json!({ "modelId": "no model" }))).await.map(|it| it.assignment);
    let refused = format!("{refused:?} {}", refused.as_ref().unwrap_err());
    site.send(&pump, [temperature(1.0), Telemetry::new("broken"), json_message(json!({ "Temperature": "warm" }))])
        .await;
    site.hub(Method::PATCH, "/twins/pump-1", Some(json!({ "tags": { "dtId": null } }))).await;
    site.send(&pump, [temperature(2.0)]).await;
    site.create_twin("other", THERMOSTAT, json!({ "HubDeviceId": "other" })).await;
    site.caught_up().await;
    site.delete_device("pump-1").await;
    site.caught_up().await;

    let webhook = site.running.endpoints().webhook_url.replace(FUNCTION_KEY, "wrong-key");
    let unauthorized = reqwest::Client::new().post(webhook).body("{}").send().await.unwrap();
    assert_eq!(unauthorized.status(), 401);
    let mut seen = vec![
        ("the console", site.console().await.join("\n")),
        ("the state", site.control("/control/state").await),
        ("the dead letters", site.control("/control/dead-letters").await),
        ("what the refused device hears", refused),
        ("the webhook's refusal", unauthorized.text().await.unwrap()),
        ("debug output", format!("{:?}", site.running)),
    ];
    while let Ok(invocation) = invocations.try_recv() {
        seen.push(("an invocation", format!("{invocation:?}")));
    }
    assert!(seen[0].1.contains("serving"), "the console is empty");
    assert!(seen[2].1.contains("broken"));
    let secrets = [FUNCTION_KEY, IDENTITY_HEADER, BEARER, &group_key, &hub_key];
    for (place, text) in &seen {
        for secret in secrets {
            if let Some(at) = text.find(secret) {
                let from = text.floor_char_boundary(at.saturating_sub(200));
                panic!("a secret in {place}: ...{}{secret}", &text[from..at]);
            }
        }
    }
}
