//! What the oracle sees: everything that is wrong, and nothing else.

use std::{collections::BTreeSet, sync::Arc};

use bytes::Bytes;
use function_app::dead_letter::{Body, Reason};
use jiff::SignedDuration;
use local_azure::{clock::Clock, compiled_app, digital_twins, digital_twins::Scheme, gate::Caller, store::Store};
use serde_json::{Map, json};

use super::*;
use crate::{fleet::THERMOSTAT, soak::oracle::Values};

const RULES: Rules = Rules::SomeMayBeGivenUp;
const BODY: &[u8] = b"body";

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

/// Azure Digital Twins with a twin of device D, whose temperature is of that time.
fn twin(id: &str, temperature: f64, second: i64) -> Arc<DigitalTwins> {
    let twins = no_twin();
    let graph = json!({ "twins": [{
        "$dtId": id, "$metadata": { "$model": THERMOSTAT, "Temperature": { "sourceTime": at(second) } },
        "HubRegistrationId": "d", "HubName": "hub", "Temperature": temperature,
    }] });
    twins.load_graph(&graph).unwrap();
    twins
}

fn no_twin() -> Arc<DigitalTwins> {
    let twins = DigitalTwins::new(digital_twins::Options {
        clock: Clock::system(),
        gate: Arc::default(),
        accepts_token: Arc::new(|_| Some(Caller::Other)),
        query_lag: SignedDuration::ZERO,
        endpoints: BTreeSet::new(),
        store: Store::new(digital_twins::State::default()),
        scheme: Scheme::Https,
    });
    let models: Vec<Value> = compiled_app::MODELS.iter().map(|model| serde_json::from_str(model).unwrap()).collect();
    twins.upload_models(&models).unwrap();
    twins
}

fn reading(temperature: f64) -> Kind {
    Kind::Reading(Values::from([(Property::Temperature, temperature)]))
}

/// A life from that second on.
fn life(second: i64) -> Life {
    let (twin, hub) = ("d".to_owned(), "hub.localhost".to_owned());
    Life { from: at(second), until: None, twin, hub, is_tagged: true }
}

/// Device D, registered at second 10, and what it sent, at second 11 and every second after.
fn history(kinds: impl IntoIterator<Item = Kind>) -> History {
    let mut history = History::new("D".to_owned(), None);
    history.lives.push(life(10));
    for (number, kind) in (1..).zip(kinds) {
        let time = at(10 + i64::try_from(number).unwrap());
        history.note(Sent { partition: 0, sequence_number: number, time, body: Bytes::from_static(BODY), kind });
    }
    history
}

fn deleted(mut history: History, second: i64) -> History {
    history.lives.last_mut().unwrap().until = Some(at(second));
    history
}

fn letter(number: i64, code: Code, second: i64) -> Letter {
    let letter = DeadLetter {
        reason: Reason::new(code, "a reason"),
        device_id: Some("D".to_owned()),
        source_time: None,
        sequence_number: Some(number),
        partition: Some("0".to_owned()),
        properties: Map::new(),
        system_properties: Map::new(),
        body: Body(Bytes::from_static(BODY)),
    };
    Letter { time: at(second), letter }
}

fn found(history: &History, letters: Vec<Letter>, twins: &DigitalTwins) -> Vec<String> {
    found_by(RULES, history, letters, twins)
}

fn found_by(rules: Rules, history: &History, letters: Vec<Letter>, twins: &DigitalTwins) -> Vec<String> {
    device(history, &DeadLetters::new(letters, Vec::new()).unwrap(), twins, rules)
}

#[track_caller]
fn assert_one(violations: &[String], beginning: &str) {
    let [violation] = violations else { panic!("wanted {beginning}, found {violations:#?}") };
    assert!(violation.starts_with(beginning), "wanted {beginning}, found {violation}");
}

#[test]
fn nothing_is_wrong_where_the_newest_value_is_there_and_bad_messages_are_dead_letters() {
    let sent = [reading(1.0), Kind::Unreadable, Kind::Foreign, Kind::LeftOut, Kind::Unfitting(Values::new())];
    let history = history(sent.into_iter().chain([reading(2.0)]));
    let letters = vec![letter(2, Code::Body, 20), letter(3, Code::TwinOfOther, 20), letter(5, Code::Value, 20)];
    assert_eq!(found(&history, letters, &twin("d", 2.0, 16)), [""; 0]);
}

#[test]
fn a_value_that_is_not_the_newest_is_a_loss_unless_the_newest_was_given_up() {
    let history = history([reading(1.0), reading(2.0)]);
    let twins = twin("d", 1.0, 11);
    assert_one(&found(&history, vec![], &twins), "I2: Temperature");
    assert_eq!(found(&history, vec![letter(2, Code::StillFailing, 20)], &twins), [""; 0]);
    let strictly = found_by(Rules::NothingIsGivenUp, &history, vec![letter(2, Code::StillFailing, 20)], &twins);
    assert_one(&strictly, "I2: a good message is a dead letter");
}

#[test]
fn a_device_that_comes_back_and_names_no_twin_may_be_left_out_for_a_minute() {
    let returned = |second, is_tagged| {
        let mut history = history([reading(1.0), reading(2.0), Kind::Unfitting(Values::new())]);
        history.lives = vec![Life { until: Some(at(-55)), ..life(-60) }, Life { is_tagged, ..life(second) }];
        history
    };
    let twins = twin("d", 1.0, 11);
    assert_eq!(found(&returned(10, false), vec![], &twins), [""; 0]);
    for strict in [returned(10, true), returned(-50, false)] {
        assert_eq!(found(&strict, vec![], &twins).len(), 2);
    }
}

#[test]
fn the_good_value_of_a_message_that_does_not_fit_counts() {
    let unfitting = Kind::Unfitting(Values::from([(Property::Temperature, 2.0)]));
    let history = history([reading(1.0), unfitting]);
    let letters = || vec![letter(2, Code::Value, 20)];
    assert_one(&found(&history, letters(), &twin("d", 1.0, 11)), "I2: Temperature");
    assert_eq!(found(&history, letters(), &twin("d", 2.0, 12)), [""; 0]);
}

#[test]
fn a_value_that_the_device_never_sent_is_anothers() {
    assert_one(&found(&history([reading(1.0)]), vec![], &twin("d", 7.0, 11)), "I9: Temperature");
    assert_one(&found(&history([reading(1.0), Kind::LeftOut]), vec![], &twin("d", 1.0, 12)), "I9: Temperature");
}

#[test]
fn a_registered_device_has_its_twin_and_a_deleted_one_has_none() {
    let history = history([reading(1.0)]);
    assert_one(&found(&history, vec![], &no_twin()), "I4: its twin d is lost");
    let deleted = deleted(history, 30);
    assert_one(&found(&deleted, vec![], &twin("d", 1.0, 11)), "I1/I4: twin d should not be there");
    assert_eq!(found(&deleted, vec![], &no_twin()), [""; 0]);
}

#[test]
fn what_cannot_be_applied_must_be_kept_to_the_byte_under_the_senders_name() {
    let history = history([reading(1.0), Kind::Unreadable]);
    let twins = twin("d", 1.0, 11);
    assert_one(&found(&history, vec![], &twins), "I2: it is in no dead letter");
    let mut other_body = letter(2, Code::Body, 20);
    other_body.letter.body = Body(Bytes::from_static(b"other"));
    assert_one(&found(&history, vec![other_body], &twins), "I2: the dead letter has another body");
    let mut other_device = letter(2, Code::Body, 20);
    other_device.letter.device_id = Some("E".to_owned());
    assert_one(&found(&history, vec![other_device], &twins), "I2: the dead letter names another device");
}

#[test]
fn a_good_message_may_only_miss_its_twin_after_the_deletion_of_its_device() {
    let missing = |second| vec![letter(1, Code::TwinMissing, second)];
    let (alive, twins) = (history([reading(1.0)]), twin("d", 1.0, 11));
    assert_one(&found(&alive, missing(20), &twins), "I2: a good message is a dead letter");
    let deleted = deleted(alive, 30);
    assert_one(&found(&deleted, missing(20), &no_twin()), "I2: a good message is a dead letter");
    assert_eq!(found(&deleted, missing(31), &no_twin()), [""; 0]);
}

#[test]
fn a_twin_names_the_hub_where_its_device_is() {
    let mut history = history([reading(1.0)]);
    history.lives.last_mut().unwrap().hub = "other.localhost".to_owned();
    assert_one(&found(&history, vec![], &twin("d", 1.0, 11)), "twin d has HubName");
}

#[test]
fn a_deletion_is_no_dead_letter_unless_it_was_given_up() {
    let of = |code| DeadLetters::new(Vec::new(), vec![letter(1, code, 20)]).unwrap();
    assert_eq!(of(Code::Refused).violations(RULES).len(), 1);
    assert_eq!(of(Code::StillFailing).violations(RULES), []);
    assert_eq!(of(Code::StillFailing).violations(Rules::NothingIsGivenUp).len(), 1);
}
