//! Registrations, as DPS was recorded to answer them.

use std::time::Duration;

use device_simulator::{Assignment, Progress, ProvisioningError, provision, provision_with_progress};
use rumqttc::mqttbytes::v4::ConnectReturnCode;
use serde_json::{Value, json};
use tokio::{task::JoinHandle, time::Instant};

use crate::peer::{Peer, REGISTER, recorded, request};

fn start(peer: &Peer) -> JoinHandle<Result<Assignment, ProvisioningError>> {
    let transport = peer.transport.clone();
    tokio::spawn(async move { provision(&transport, &request()).await })
}

fn exchange(name: &str) -> Value {
    recorded()["exchanges"].as_array().unwrap().iter().find(|e| e["name"] == name).unwrap()["steps"].clone()
}

fn error(name: &str) -> Value {
    recorded()["errors"].as_array().unwrap().iter().find(|e| e["name"] == name).unwrap()["out"].clone()
}

#[tokio::test(start_paused = true)]
async fn a_registration_is_polled_for_until_it_has_a_hub() {
    let mut peer = Peer::new();
    let device = start(&peer);
    let begin = Instant::now();
    let mut dps = peer.accept_dps().await;
    assert_eq!((dps.dialed.as_str(), dps.connect.client_id.as_str()), ("dps.localhost:8883", "thermo-01"));
    let (user_name, password) = dps.credentials();
    assert!(user_name.starts_with("0ne00ABCDEF/registrations/thermo-01/api-version=2019-03-31&ClientVersion="));
    assert!(password.starts_with("SharedAccessSignature sr=0ne00ABCDEF%2Fregistrations%2Fthermo-01&sig="));
    assert!(password.ends_with("&skn=registration"));
    for step in exchange("assigned").as_array().unwrap() {
        let request = dps.request().await;
        let recorded = step["in"]["topic"].as_str().unwrap();
        assert!(recorded.starts_with(&request.topic), "{request:?}");
        match step["in"]["payload_raw"].as_str() {
            Some(body) => {
                assert_eq!(request.body, body);
                assert!(recorded.ends_with(&request.rest), "{request:?}");
            }
            None => assert_eq!(request.body, step["in"]["payload"].to_string()),
        }
        dps.replay(&request, &step["out"]).await;
    }
    dps.expect_end().await;
    let assignment = device.await.unwrap().unwrap();
    assert_eq!(assignment.hub.to_string(), "contoso-hub.azure-devices.net:8883");
    assert_eq!(assignment.device_id.as_str(), "thermo-01");
    assert_eq!(assignment.payload, Some(json!({"dtId": "thermo-01"})));
    assert_eq!(begin.elapsed().as_secs(), 6, "two polls, each after the 3 s that DPS asked for");
}

#[tokio::test(start_paused = true)]
async fn a_throttled_request_goes_again_after_the_time_that_dps_asks_for() {
    let mut peer = Peer::new();
    let device = start(&peer);
    let mut dps = peer.accept_dps().await;
    let first = dps.request().await;
    dps.replay(&first, &error("throttled")).await;
    let begin = Instant::now();
    let second = dps.request().await;
    assert_eq!(begin.elapsed().as_secs(), 5);
    assert_eq!((second.topic.as_str(), &second.body), (REGISTER, &first.body));
    assert_ne!(second.id, first.id);
    dps.answer(&second, 503, "", &json!({})).await;
    let third = dps.request().await;
    dps.replay(&third, &exchange("assigned")[2]["out"]).await;
    assert!(device.await.unwrap().is_ok());
}

#[tokio::test(start_paused = true)]
async fn what_dps_refuses_is_not_tried_again() {
    for (out, expected) in [
        (error("unauthorized_sas"), "Unauthorized"),
        (exchange("custom_allocation_failed")[0]["out"].clone(), "Failed"),
        (exchange("disabled_enrollment")[0]["out"].clone(), "Disabled"),
    ] {
        let mut peer = Peer::new();
        let device = start(&peer);
        let mut dps = peer.accept_dps().await;
        let request = dps.request().await;
        dps.replay(&request, &out).await;
        dps.expect_end().await;
        let error = device.await.unwrap().unwrap_err();
        assert!(format!("{error:?}").starts_with(expected), "{error:?}");
        assert!(!error.is_transient());
    }
}

#[tokio::test(start_paused = true)]
async fn a_refused_connect_is_final_and_says_which_setting_to_look_at() {
    let mut peer = Peer::new();
    let device = start(&peer);
    peer.accept().await.answer_connect(ConnectReturnCode::NotAuthorized).await;
    let error = device.await.unwrap().unwrap_err();
    assert_eq!(error.to_string(), "DPS: dps.localhost:8883 refused the connection: not authorized (code 5)");
    assert!(error.hint().contains("PROVISIONING_SYMMETRIC_KEY"));
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_breaks_is_made_again_and_the_registration_begins_anew() {
    let mut peer = Peer::new();
    let device = start(&peer);
    peer.hang_up().await;
    let mut dps = peer.accept_dps().await;
    dps.request().await;
    drop(dps);
    let mut dps = peer.accept_dps().await;
    let request = dps.request().await;
    assert_eq!(request.topic, REGISTER);
    dps.replay(&request, &exchange("assigned")[2]["out"]).await;
    assert!(device.await.unwrap().is_ok());
}

#[tokio::test(start_paused = true)]
async fn dps_out_of_reach_is_given_up_after_five_attempts() {
    let mut peer = Peer::new();
    peer.go_away();
    let mut attempts = 1;
    let count = |progress: Progress<'_>| attempts += u32::from(matches!(progress, Progress::Unreachable { .. }));
    let error = provision_with_progress(&peer.transport, &request(), count).await.unwrap_err();
    assert!(matches!(error, ProvisioningError::Connection(_)), "{error:?}");
    assert_eq!((attempts, error.is_transient()), (5, true));
}

#[tokio::test(start_paused = true)]
async fn a_registration_without_an_end_ends_at_the_deadline_and_says_what_it_waited_for() {
    let mut peer = Peer::new();
    let transport = peer.transport.clone();
    let request = request().with_deadline(Duration::from_secs(20));
    let device = tokio::spawn(async move { provision(&transport, &request).await });
    let mut dps = peer.accept_dps().await;
    let assigning = json!({"operationId": "5.aa.bb", "status": "assigning"});
    for _ in 0..7 {
        let request = dps.request().await;
        dps.answer(&request, 202, "&retry-after=3", &assigning).await;
    }
    let error = device.await.unwrap().unwrap_err();
    assert_eq!(error.to_string(), "no hub assigned within 20 s; last: still assigning");
}

#[tokio::test(start_paused = true)]
async fn an_assignment_that_cannot_be_used_is_refused() {
    for (hub, device_id) in [("https://hub", "d"), ("hub.localhost", "a/b"), ("", "d")] {
        let mut peer = Peer::new();
        let device = start(&peer);
        peer.assign(hub, device_id).await;
        let error = device.await.unwrap().unwrap_err();
        assert!(matches!(error, ProvisioningError::BadAssignment(_)), "{error:?}");
    }
}
