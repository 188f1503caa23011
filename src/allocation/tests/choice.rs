//! Which twin a device gets.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::digital_twins::{Twin, TwinId};

#[tokio::test]
async fn an_operators_twin_is_bound_whatever_its_id() {
    let service = service();
    put(&service, "Lobby thermostat", prepared("THERMO-01"));
    let (status, answer) = register(&service, "THERMO-01", THERMOSTAT).await;
    assert_eq!((status, &answer["payload"]["dtId"]), (StatusCode::OK, &json!("Lobby thermostat")));
    let twin = get(&service, "Lobby thermostat");
    assert_eq!(twin["HubRegistrationId"], "thermo-01");
    assert!(twin["$metadata"]["HubRegistrationId"]["sourceTime"].is_string());
    assert_eq!(service.with_twins(|twins| twins.ids().len()), 1);
}

#[tokio::test]
async fn the_spelling_that_the_hub_knows_finds_an_operators_twin_too() {
    let service = service();
    put(&service, "lobby", prepared("Thermo-01"));
    let mut body = body("THERMO-01", THERMOSTAT);
    body["deviceRuntimeContext"]["currentDeviceId"] = "Thermo-01".into();
    assert_eq!(ask(&function(&service), &body).await.1["payload"]["dtId"], "lobby");
}

#[tokio::test]
async fn the_twin_of_an_earlier_registration_comes_before_an_operators() {
    let service = service();
    put(&service, "a", prepared("thermo-01"));
    put(&service, "b", registered("thermo-01"));
    put(&service, "c", registered("thermo-01"));
    assert_eq!(register(&service, "thermo-01", THERMOSTAT).await.1["payload"]["dtId"], "b");
}

#[tokio::test]
async fn a_twin_with_the_devices_name_and_nothing_set_is_adopted() {
    let service = service();
    put(&service, "thermo-01", json!({ "$metadata": { "$model": THERMOSTAT }, "Temperature": 19 }));
    assert_eq!(register(&service, "thermo-01", THERMOSTAT).await.0, StatusCode::OK);
    let twin = get(&service, "thermo-01");
    assert_eq!((&twin["HubRegistrationId"], &twin["Temperature"]), (&json!("thermo-01"), &json!(19)));
}

#[tokio::test]
async fn a_stale_row_is_read_again() {
    let service = service();
    put(&service, "lobby", prepared("thermo-01"));
    service.freeze_queries();
    service.with_twins(|twins| twins.touch("lobby", "Temperature", json!(20)));
    let (status, answer) = register(&service, "thermo-01", THERMOSTAT).await;
    assert_eq!((status, &answer["payload"]["dtId"]), (StatusCode::OK, &json!("lobby")));
    assert_eq!(get(&service, "lobby")["Temperature"], 20);
}

#[tokio::test]
async fn a_row_of_a_twin_that_now_is_anothers_is_left_alone() {
    let service = service();
    put(&service, "lobby", prepared("thermo-01"));
    service.freeze_queries();
    service.with_twins(|twins| twins.put("lobby", registered("thermo-02")));
    let (status, answer) = register(&service, "thermo-01", THERMOSTAT).await;
    assert_eq!((status, &answer["payload"]["dtId"]), (StatusCode::OK, &json!("thermo-01")));
    assert_eq!(get(&service, "lobby")["HubRegistrationId"], "thermo-02");
}

#[tokio::test]
async fn a_row_of_a_deleted_twin_leads_to_a_new_one() {
    let service = service();
    put(&service, "lobby", registered("thermo-01"));
    service.freeze_queries();
    service.with_twins(|twins| twins.remove("lobby"));
    let (status, answer) = register(&service, "thermo-01", THERMOSTAT).await;
    assert_eq!((status, &answer["payload"]["dtId"]), (StatusCode::OK, &json!("thermo-01")));
    assert_eq!(service.with_twins(|twins| twins.ids().join(",")), "thermo-01");
}

#[tokio::test]
async fn a_row_of_the_deleted_twin_with_the_devices_name_is_not_believed() {
    let service = service();
    put(&service, "thermo-01", registered("thermo-01"));
    service.freeze_queries();
    service.with_twins(|twins| twins.remove("thermo-01"));
    assert_eq!(register(&service, "thermo-01", THERMOSTAT).await.0, StatusCode::OK);
    assert_eq!(service.calls().pop().as_deref(), Some("PUT thermo-01"));
}

#[tokio::test]
async fn a_twin_whose_model_extends_the_asked_one_fits_and_is_named() {
    let service = service();
    let mut twin = registered("thermo-01");
    twin["$metadata"]["$model"] = "dtmi:x:SmartThermostat;1".into();
    put(&service, "thermo-01", twin);
    let (status, answer) = register(&service, "thermo-01", THERMOSTAT).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    assert_eq!(answer["initialTwin"]["tags"]["dtmi"], "dtmi:x:SmartThermostat;1");
}

#[tokio::test]
async fn an_upgrade_changes_the_model_and_adds_its_components() {
    let service = service();
    put(&service, "thermo-01", registered("thermo-01"));
    let settings = crate::settings::Allocation { model_change: ModelChange::Upgrade, ..settings() };
    let asked = "dtmi:contosocom:DigitalTwins:Thermostat;3";
    let (status, answer) = ask(&with_settings(&service, settings), &body("thermo-01", asked)).await;
    assert_eq!((status, &answer["initialTwin"]["tags"]["dtmi"]), (StatusCode::OK, &json!(asked)));
    let twin = get(&service, "thermo-01");
    assert_eq!((&twin["$metadata"]["$model"], &twin["battery"]), (&json!(asked), &json!({ "$metadata": {} })));
}

fn seen() -> impl Strategy<Value = Vec<Seen>> {
    let registration = prop_oneof![Just(None), Just(Some("thermo-01")), Just(Some("THERMO-01")), Just(Some("other"))];
    let twin = ("a|b|thermo-01", registration, any::<bool>(), any::<bool>()).prop_map(
        |(id, registration, has_source_time, is_fresh)| {
            let mut twin = json!({ "$dtId": id, "$etag": "W/\"1\"", "$metadata": { "$model": THERMOSTAT } });
            if let Some(registration) = registration {
                let time = has_source_time.then_some(LONG_AGO);
                twin["HubRegistrationId"] = registration.into();
                twin["$metadata"]["HubRegistrationId"] = json!({ "lastUpdateTime": LONG_AGO, "sourceTime": time });
            }
            Seen { twin: Twin::from_json(twin).unwrap(), is_fresh }
        },
    );
    // One sight of each twin.
    proptest::collection::vec(twin, 0..4).prop_map(|twins| {
        let by_id: BTreeMap<TwinId, Seen> = twins.into_iter().map(|seen| (seen.twin.id().clone(), seen)).collect();
        by_id.into_values().collect()
    })
}

proptest! {
    #[test]
    fn the_order_in_which_twins_are_seen_does_not_matter(
        (one, other) in seen().prop_flat_map(|seen| (Just(seen.clone()), Just(seen).prop_shuffle()))
    ) {
        let request = AllocationRequest::decode(body("thermo-01", THERMOSTAT).to_string().as_bytes()).unwrap();
        prop_assert_eq!(choose_twin(&request, &one), choose_twin(&request, &other));
    }
}
