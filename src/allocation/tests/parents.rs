//! Where a new twin goes in the graph.

use super::*;

#[tokio::test]
async fn a_new_twin_is_put_below_the_parent_that_the_operator_named() {
    let service = service();
    put(&service, "room-21", json!({ "$metadata": { "$model": "dtmi:x:Room;1" } }));
    let mut body = body("thermo-01", THERMOSTAT);
    body["enrollmentGroup"]["initialTwin"] = json!({ "tags": { "parentId": "room-21", "floor": 2 },
        "properties": { "desired": { "interval": 500 } } });
    let (status, answer) = ask(&function(&service), &body).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(service.relationships(), ["room-21/contains-thermo-01"]);
    assert_eq!(
        answer["initialTwin"],
        json!({ "tags": { "parentId": "room-21", "floor": 2, "dtId": "thermo-01", "dtmi": THERMOSTAT },
            "properties": { "desired": { "interval": 500 } } })
    );
    // Only on creation: an operator who moved the twin since has the last word.
    service.calls();
    ask(&function(&service), &body).await;
    assert!(!service.calls().iter().any(|call| call.contains('/')));
}

#[tokio::test]
async fn a_parent_that_cannot_be_had_does_not_fail_the_registration() {
    for parent in ["missing", "..", "thermo-01"] {
        let service = service();
        service.script("PUT thermo-01/contains-thermo-01", Step::Refuse(400, "OperationNotAllowed"));
        let mut body = body("thermo-01", THERMOSTAT);
        body["enrollmentGroup"]["initialTwin"] = json!({ "tags": { "parentId": parent } });
        assert_eq!(ask(&function(&service), &body).await.0, StatusCode::OK, "{parent}");
        assert!(service.relationships().is_empty());
    }
}

#[tokio::test]
async fn the_devices_word_for_its_parent_counts_only_where_the_setting_allows_it() {
    for allowed in [false, true] {
        let service = service();
        put(&service, "room-21", json!({ "$metadata": { "$model": "dtmi:x:Room;1" } }));
        let mut body = body("thermo-01", THERMOSTAT);
        body["deviceRuntimeContext"]["payload"]["parentId"] = "room-21".into();
        let settings = crate::settings::Allocation { parent_from_device: allowed, ..settings() };
        assert_eq!(ask(&with_settings(&service, settings), &body).await.0, StatusCode::OK);
        assert_eq!(service.relationships().len(), usize::from(allowed));
    }
}

#[tokio::test(start_paused = true)]
async fn a_creation_whose_answer_was_lost_is_still_ours() {
    let service = service();
    put(&service, "room-21", json!({ "$metadata": { "$model": "dtmi:x:Room;1" } }));
    service.script("PUT thermo-01", Step::LoseAnswer);
    let mut body = body("thermo-01", THERMOSTAT);
    body["enrollmentGroup"]["initialTwin"] = json!({ "tags": { "parentId": "room-21" } });
    assert_eq!(ask(&function(&service), &body).await.0, StatusCode::OK);
    assert_eq!(service.relationships(), ["room-21/contains-thermo-01"]);
}
