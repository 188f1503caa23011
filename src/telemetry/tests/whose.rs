//! To whose twin a message goes.

use super::*;

fn claiming(event: Event, dt_id: &str) -> Event {
    with_property(event, "dtId", json!(dt_id))
}

#[tokio::test]
async fn a_message_follows_its_claim_to_the_senders_own_twin_alone() {
    let (service, function) = function();
    put(&service, "thermo-02", json!({ "HubRegistrationId": "thermo-02" }));
    put(&service, "free", json!({}));
    for (claim, expected) in [
        ("thermo-01", Ok(())),
        ("$twin.tags.dtId", Ok(())),
        ("thermo-02", Err(Code::TwinOfOther)),
        ("free", Err(Code::TwinOfOther)),
        ("nowhere", Err(Code::TwinMissing)),
        ("Thermo-01", Err(Code::TwinMissing)),
    ] {
        let outcome = &outcomes(&function, vec![claiming(warm(0, 21.5), claim)]).await[0];
        match expected {
            Ok(()) => assert_eq!(*outcome, Some(Outcome::Applied), "{claim}"),
            Err(expected) => assert_eq!(code(outcome), expected, "{claim}"),
        }
    }
    for twin in ["thermo-02", "free"] {
        assert_eq!(property(&service, twin, "Temperature"), json!(null), "{twin}");
    }
}

#[tokio::test]
async fn a_claim_to_nobodys_twin_is_followed_where_the_setting_trusts_it() {
    let (service, function) = function_with(Telemetry { trust_dtid: true, without_twin: WithoutTwin::LeaveOut });
    put(&service, "free", json!({}));
    put(&service, "thermo-02", json!({ "HubRegistrationId": "thermo-02" }));
    let found = outcomes(&function, vec![claiming(warm(0, 21.5), "free"), claiming(warm(1, 21.5), "thermo-02")]).await;
    assert_eq!(found[0], Some(Outcome::Applied));
    assert_eq!(code(&found[1]), Code::TwinOfOther);
    assert_eq!(property(&service, "free", "Temperature"), json!(21.5));
}

#[tokio::test]
async fn without_claim_the_twin_that_is_bound_to_the_sender_is_found_under_any_id() {
    let (service, function) = function();
    put(&service, "boiler", json!({ "HubRegistrationId": "thermo-07" }));
    let found = outcomes(&function, vec![says("Thermo-07", 0, json!({ "Temperature": 60 }))]).await;
    assert_eq!(found, [Some(Outcome::Applied)]);
    assert_eq!(property(&service, "boiler", "Temperature"), json!(60));
}

#[tokio::test]
async fn messages_with_and_without_claim_to_one_twin_share_its_patch() {
    let (service, function) = function();
    outcomes(&function, vec![warm(0, 20.0)]).await;
    service.calls();
    let found = outcomes(&function, vec![warm(2, 22.0), claiming(warm(1, 21.0), "thermo-01")]).await;
    assert_eq!(found, [Some(Outcome::Applied), Some(Outcome::Superseded)]);
    assert_eq!(service.calls(), ["PATCH thermo-01"]);
}

#[tokio::test]
async fn a_device_without_twin_is_left_out_or_its_messages_are_kept() {
    let stranger = || vec![says("stranger", 0, json!({ "Temperature": 1 })), warm(0, 21.5)];
    let (_, function) = function();
    let expected = [Some(Outcome::LeftOut(LeftOut::NoTwin)), Some(Outcome::Applied)];
    assert_eq!(outcomes(&function, stranger()).await, expected);
    let settings = Telemetry { trust_dtid: false, without_twin: WithoutTwin::DeadLetter };
    let (_, function) = function_with(settings);
    let found = outcomes(&function, stranger()).await;
    assert_eq!((code(&found[0]), &found[1]), (Code::NoTwin, &Some(Outcome::Applied)));
}

#[tokio::test]
async fn a_twin_that_was_replaced_by_another_is_looked_up_again() {
    let (service, function) = function();
    outcomes(&function, vec![warm(0, 20.0)]).await;
    service.with_twins(|twins| twins.remove("thermo-01"));
    put(&service, "boiler", json!({ "HubRegistrationId": "thermo-01" }));
    assert_eq!(outcomes(&function, vec![warm(1, 21.0)]).await, [Some(Outcome::Applied)]);
    assert_eq!(property(&service, "boiler", "Temperature"), json!(21.0));
}

#[tokio::test]
async fn a_twin_that_was_deleted_is_no_twin() {
    let (service, function) = function();
    let claimed = |seconds| claiming(warm(seconds, 20.0), "thermo-01");
    outcomes(&function, vec![claimed(0)]).await;
    service.with_twins(|twins| twins.remove("thermo-01"));
    let found = outcomes(&function, vec![claimed(1), warm(2, 20.0)]).await;
    assert_eq!(code(&found[0]), Code::TwinMissing);
    assert_eq!(found[1], Some(Outcome::LeftOut(LeftOut::NoTwin)));
}

#[tokio::test]
async fn what_a_device_sends_is_applied_however_soon_after_its_registration_with_another_process() {
    let (service, function) = function();
    let claimed = |n| claiming(warm(n, 20.0 + n as f64), "thermo-01");
    let twin = |bound: bool| if bound { json!({ "HubRegistrationId": "thermo-01" }) } else { json!({}) };
    service.with_twins(|twins| twins.remove("thermo-01"));
    assert_eq!(code(&outcomes(&function, vec![claimed(0)]).await[0]), Code::TwinMissing);
    put(&service, "thermo-01", twin(false));
    assert_eq!(code(&outcomes(&function, vec![claimed(1)]).await[0]), Code::TwinOfOther);
    put(&service, "thermo-01", twin(true));
    assert_eq!(outcomes(&function, vec![claimed(2)]).await, [Some(Outcome::Applied)]);
}

#[tokio::test]
async fn recorded_messages_end_as_the_rules_say() {
    let (service, function) = function();
    put(&service, "my-pnp-device", json!({ "HubRegistrationId": "my-pnp-device" }));
    let names = [
        "sample_telemetry",
        "enriched",
        "enriched_tag_missing",
        "mqtt_will",
        "mqtt_retain",
        "captured_pnp",
        "from_module",
        "twin_change",
        "connection_state",
        "no_content_type",
        "bad_not_json",
        "bad_no_temperature",
        "bad_temperature_string",
        "bad_temperature_huge",
        "bad_no_device_id",
    ];
    let events = names.map(recorded::message).into_iter().enumerate();
    let events = events.map(|(at, event)| Event { sequence_number: i64::try_from(at).ok(), ..event }).collect();
    let found = outcomes(&function, events).await;
    let described = found.iter().map(|outcome| match outcome.as_ref().unwrap() {
        Outcome::Applied => "applied".to_owned(),
        Outcome::Superseded => "superseded".to_owned(),
        Outcome::LeftOut(rule) => format!("left out: {}", rule.label()),
        Outcome::DeadLetter(reason) => format!("dead letter: {:?}", reason.code),
    });
    let described: Vec<_> =
        names.into_iter().zip(described).map(|(name, outcome)| format!("{name}: {outcome}")).collect();
    insta::assert_snapshot!(described.join("\n"), @r"
    sample_telemetry: superseded
    enriched: superseded
    enriched_tag_missing: superseded
    mqtt_will: superseded
    mqtt_retain: applied
    captured_pnp: left out: noProperty
    from_module: left out: module
    twin_change: left out: otherSource
    connection_state: left out: otherSource
    no_content_type: dead letter: Body
    bad_not_json: dead letter: Body
    bad_no_temperature: applied
    bad_temperature_string: dead letter: Value
    bad_temperature_huge: dead letter: Body
    bad_no_device_id: dead letter: SystemProperties
    ");
}
