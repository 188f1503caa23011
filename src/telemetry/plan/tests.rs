mod batches;

use dtdl::Interface;
use serde_json::json;

use super::*;

const MODEL: &str = "dtmi:test:Thermostat;2";

fn models() -> ModelSet {
    let interfaces = [
        json!({
            "@context": "dtmi:dtdl:context;2", "@id": "dtmi:test:Device;1", "@type": "Interface",
            "contents": [
                { "@type": "Property", "name": "HubRegistrationId", "schema": "string" },
                { "@type": "Property", "name": "HubName", "schema": "string" },
                { "@type": "Property", "name": "Note", "schema": "string" }
            ]
        }),
        json!({
            "@context": "dtmi:dtdl:context;2", "@id": "dtmi:test:Sensor;1", "@type": "Interface",
            "contents": [
                { "@type": "Property", "name": "Temperature", "schema": "double" },
                { "@type": "Property", "name": "HubName", "schema": "string" }
            ]
        }),
        json!({
            "@context": "dtmi:dtdl:context;2", "@id": MODEL, "@type": "Interface", "extends": "dtmi:test:Device;1",
            "contents": [
                { "@type": "Property", "name": "Temperature", "schema": "double" },
                { "@type": "Property", "name": "Humidity", "schema": "integer" },
                { "@type": "Telemetry", "name": "Vibration", "schema": "double" },
                { "@type": "Component", "name": "probe", "schema": "dtmi:test:Sensor;1" }
            ]
        }),
    ];
    ModelSet::default().with(interfaces.iter().map(|model| Interface::parse(model).unwrap())).unwrap()
}

fn now() -> Timestamp {
    "2024-05-01T12:00:00Z".parse().unwrap()
}

/// The stamp `seconds` from now.
fn stamp(seconds: i64, sequence: i64) -> Stamp {
    Stamp { time: now() + SignedDuration::from_secs(seconds), sequence: Some(sequence) }
}

fn stored(seconds: i64) -> Stamp {
    Stamp { sequence: None, ..stamp(seconds, 0) }
}

fn message(event: usize, stamp: Stamp, members: Value) -> Message {
    let device = DeviceId::parse("thermo-01").unwrap();
    let members = members.as_object().unwrap().clone();
    Message { event, device, claim: None, stamp, component: None, members }
}

type Stamps = HashMap<PropertyPath, Stamp>;

fn planned(messages: &[Message], stamps: &Stamps) -> TwinPlan {
    planned_with(&Mapping::default(), messages, stamps)
}

fn planned_with(mapping: &Mapping, messages: &[Message], stamps: &Stamps) -> TwinPlan {
    plan(messages, Target { model: &MODEL.parse().unwrap(), models: &models(), mapping, stamps, now: now() })
}

/// The plan for one message, now, to a twin of which nothing is known.
fn alone(members: Value) -> TwinPlan {
    planned(&[message(0, stamp(0, 1), members)], &Stamps::new())
}

/// What `plan` writes, as path and value.
fn writes(plan: &TwinPlan) -> Vec<(String, Value)> {
    plan.changes.iter().map(|change| (change.path.to_string(), change.value.clone())).collect()
}

fn outcome(plan: &TwinPlan) -> &Outcome {
    let [(_, outcome)] = &plan.outcomes[..] else { panic!("{:?}", plan.outcomes) };
    outcome
}

fn detail(plan: &TwinPlan) -> &str {
    let Outcome::DeadLetter(reason) = outcome(plan) else { panic!("{:?}", plan.outcomes) };
    &reason.detail
}

#[test]
fn values_that_fit_are_written_inherited_properties_included() {
    let plan = alone(json!({"Temperature": 21.5, "Humidity": 40, "Note": "warm"}));
    let expected = [("/Humidity", json!(40)), ("/Note", json!("warm")), ("/Temperature", json!(21.5))];
    assert_eq!(writes(&plan), expected.map(|(path, value)| (path.to_owned(), value)));
    assert_eq!(*outcome(&plan), Outcome::Applied);
}

#[test]
fn values_are_converted_without_loss() {
    let plan = alone(json!({"Temperature": "21.50", "Humidity": 40.0}));
    assert_eq!(writes(&plan), [("/Humidity".to_owned(), json!(40)), ("/Temperature".to_owned(), json!(21.5))]);
}

#[test]
fn a_value_that_does_not_fit_makes_a_dead_letter_while_the_others_are_written() {
    let plan = alone(json!({"Temperature": "24,7", "Humidity": 40}));
    assert_eq!(writes(&plan), [("/Humidity".to_owned(), json!(40))]);
    assert_eq!(detail(&plan), r#"/Temperature: expected a number (double), got the string "24,7""#);
}

#[test]
fn null_is_no_value() {
    assert_eq!(detail(&alone(json!({"Temperature": null}))), "/Temperature: expected a number (double), got null");
}

#[test]
fn names_match_exactly() {
    let plan = alone(json!({"temperature": 21.5, "Humidity ": 40}));
    assert_eq!(plan.changes, []);
    assert_eq!(*outcome(&plan), Outcome::LeftOut(LeftOut::NoProperty));
    let unknown: Vec<_> = plan.unknown.iter().map(|(_, name)| name.as_str()).collect();
    assert_eq!(unknown, ["Humidity ", "temperature"]);
}

#[test]
fn a_name_cannot_reach_out_of_its_place() {
    let plan = alone(json!({"$metadata": {}, "/Temperature": 1, "probe/Temperature": 1, "": 1, "$dtId": "x"}));
    assert_eq!(plan.changes, []);
    assert_eq!(*outcome(&plan), Outcome::LeftOut(LeftOut::NoProperty));
}

#[test]
fn telemetry_of_the_model_is_known_and_not_written() {
    let plan = alone(json!({"Vibration": 1.5}));
    assert_eq!(plan, TwinPlan { outcomes: vec![(0, Outcome::LeftOut(LeftOut::NoProperty))], ..TwinPlan::default() });
}

#[test]
fn an_empty_message_is_left_out() {
    assert_eq!(*outcome(&alone(json!({}))), Outcome::LeftOut(LeftOut::NoProperty));
}

#[test]
fn bookkeeping_properties_are_never_written() {
    let plan = alone(json!({"HubRegistrationId": "victim", "HubName": "x"}));
    assert_eq!((&plan.changes[..], plan.bookkeeping), (&[][..], 2));
    assert_eq!(*outcome(&plan), Outcome::LeftOut(LeftOut::Bookkeeping));
    let plan = alone(json!({"HubRegistrationId": "victim", "Temperature": 21.5}));
    assert_eq!((writes(&plan).len(), plan.bookkeeping), (1, 1));
    assert_eq!(*outcome(&plan), Outcome::Applied);
}

#[test]
fn a_subject_names_the_component_that_a_message_is_about() {
    let mut about = message(0, stamp(0, 1), json!({"Temperature": 21.5, "Humidity": 40, "HubName": "mine"}));
    about.component = Some("probe".to_owned());
    let plan = planned(&[about], &Stamps::new());
    let expected = [("/probe/HubName", json!("mine")), ("/probe/Temperature", json!(21.5))];
    assert_eq!(writes(&plan), expected.map(|(path, value)| (path.to_owned(), value)));
    assert_eq!(plan.unknown.into_iter().collect::<Vec<_>>(), [(Some("probe".to_owned()), "Humidity".to_owned())]);
}

#[test]
fn a_subject_that_is_no_component_is_left_out() {
    let mut about = message(0, stamp(0, 1), json!({"Temperature": 21.5}));
    about.component = Some("Temperature".to_owned());
    let plan = planned(&[about], &Stamps::new());
    assert_eq!(*outcome(&plan), Outcome::LeftOut(LeftOut::NoProperty));
    assert_eq!(plan.unknown.into_iter().collect::<Vec<_>>(), [(None, "Temperature".to_owned())]);
}

#[test]
fn a_member_with_a_components_name_holds_its_members() {
    let plan = alone(json!({"probe": {"Temperature": "1.5"}}));
    assert_eq!(writes(&plan), [("/probe/Temperature".to_owned(), json!(1.5))]);
    assert_eq!(detail(&alone(json!({"probe": 1.5}))), r#""probe" is a component, and a number came"#);
}

#[test]
fn a_reason_names_a_few_of_many_bad_values() {
    let members = json!({
        "Temperature": "a", "Humidity": "b", "Note": 1, "probe": {"Temperature": "c", "HubName": 2}
    });
    assert!(detail(&alone(members)).ends_with("; and 1 more"));
}

#[test]
fn without_its_model_a_twin_takes_nothing() {
    let messages = [message(0, stamp(0, 1), json!({"Temperature": 21.5}))];
    let target = Target {
        model: &MODEL.parse().unwrap(),
        models: &ModelSet::default(),
        mapping: &Mapping::default(),
        stamps: &Stamps::new(),
        now: now(),
    };
    let plan = plan(&messages, target);
    assert!(matches!(outcome(&plan), Outcome::DeadLetter(Reason { code: Code::Model, .. })));
}

#[test]
fn the_newest_value_of_each_property_wins() {
    let plan = planned(
        &[
            message(0, stamp(-1, 3), json!({"Temperature": 3, "Humidity": 3})),
            message(1, stamp(-2, 9), json!({"Temperature": 9})),
            message(2, stamp(-1, 4), json!({"Temperature": 4})),
        ],
        &Stamps::new(),
    );
    assert_eq!(writes(&plan), [("/Humidity".to_owned(), json!(3)), ("/Temperature".to_owned(), json!(4))]);
    assert_eq!(plan.changes.iter().map(|change| change.event).collect::<Vec<_>>(), [0, 2]);
    let expected = [(0, Outcome::Applied), (1, Outcome::Superseded), (2, Outcome::Applied)];
    assert_eq!(plan.outcomes, expected);
}

#[test]
fn a_stored_value_gives_way_to_what_is_not_older() {
    let temperature = || json!({"Temperature": 1});
    for (known, at, is_written, expected) in [
        (None, stamp(-3600, 1), true, Outcome::Applied),
        (Some(stored(-10)), stamp(-9, 1), true, Outcome::Applied),
        // The twin does not say which message of that time it took.
        (Some(stored(-10)), stamp(-10, 1), true, Outcome::Applied),
        (Some(stored(-10)), stamp(-11, 1), false, Outcome::Superseded),
        (Some(stamp(-10, 5)), stamp(-10, 6), true, Outcome::Applied),
        // The same message again.
        (Some(stamp(-10, 5)), stamp(-10, 5), false, Outcome::Applied),
        (Some(stamp(-10, 5)), stamp(-10, 4), false, Outcome::Superseded),
        // Somebody's clock is fast, within reason and beyond.
        (Some(stored(300)), stamp(0, 1), false, Outcome::Superseded),
        (Some(stored(301)), stamp(0, 1), true, Outcome::Applied),
    ] {
        let stamps = known.map(|known| (PropertyPath::root("Temperature"), known)).into_iter().collect();
        let plan = planned(&[message(0, at, temperature())], &stamps);
        assert_eq!((plan.changes.len() == 1, outcome(&plan)), (is_written, &expected), "{known:?} {at:?}");
    }
}

fn mapping(rules: Value) -> Mapping {
    Mapping::parse(json!({ "version": 1, "models": rules }).to_string().as_bytes()).unwrap()
}

#[test]
fn a_mapped_value_wins_against_a_member_of_that_name() {
    let mapping = mapping(json!({ MODEL: [{ "from": "/t", "to": "/Temperature", "scale": 0.1 }] }));
    let message = message(0, stamp(0, 1), json!({ "Temperature": 1, "t": 215, "Humidity": 40 }));
    let plan = planned_with(&mapping, &[message], &Stamps::new());
    assert_eq!(writes(&plan), [("/Humidity".to_owned(), json!(40)), ("/Temperature".to_owned(), json!(21.5))]);
    assert_eq!((outcome(&plan), plan.unknown.len()), (&Outcome::Applied, 0));
}

#[test]
fn a_message_about_a_component_is_mapped_by_the_components_model() {
    let mapping = mapping(json!({ "dtmi:test:Sensor;1": [{ "from": "/t", "to": "/Temperature" }] }));
    let about_probe = Message { component: Some("probe".to_owned()), ..message(0, stamp(0, 1), json!({ "t": 3 })) };
    assert_eq!(
        writes(&planned_with(&mapping, &[about_probe], &Stamps::new())),
        [("/probe/Temperature".to_owned(), json!(3))]
    );
}

#[test]
fn a_rule_can_lead_from_the_twins_message_to_a_component() {
    let mapping = mapping(json!({ MODEL: [
        { "from": "/in/t", "to": "/probe/Temperature" }, { "from": "/in/x", "to": "/nothing/There" }] }));
    let plan = planned_with(&mapping, &[message(0, stamp(0, 1), json!({ "in": { "t": 3, "x": 4 } }))], &Stamps::new());
    assert_eq!(writes(&plan), [("/probe/Temperature".to_owned(), json!(3))]);
    assert_eq!(plan.unknown, [(None, "nothing".to_owned())].into());
}

#[test]
fn a_mapped_value_that_does_not_fit_is_a_dead_letter_while_the_others_count() {
    let mapping = mapping(json!({ MODEL: [{ "from": "/t", "to": "/Temperature", "offset": 1 }] }));
    let plan = planned_with(&mapping, &[message(0, stamp(0, 1), json!({ "t": "x", "Humidity": 4 }))], &Stamps::new());
    assert_eq!(writes(&plan), [("/Humidity".to_owned(), json!(4))]);
    assert_eq!(detail(&plan), "/Temperature from /t: scale and offset take a number, and a text came");
}
