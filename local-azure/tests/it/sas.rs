//! Recorded and documented keys and tokens.

use jiff::Timestamp;
use local_azure::sas::{Key, Refusal, Token};
use serde_json::Value;

/// Before every recorded token's expiry.
const THEN: i64 = 1_600_000_000;

fn vectors() -> Value {
    serde_json::from_str(include_str!("../fixtures/iot/keys_and_tokens.json")).unwrap()
}

#[test]
fn device_keys_are_derived_from_the_exact_registration_id() {
    for case in vectors()["derived_keys"].as_array().unwrap() {
        let group = Key::parse(case["group_key"].as_str().unwrap()).unwrap();
        let id = case["registration_id"].as_str().unwrap();
        assert_eq!(group.derive(id).to_base64(), case["device_key"], "{id}");
    }
}

#[test]
fn tokens_of_every_sdk_are_verified_over_their_raw_resource() {
    for case in vectors()["tokens"].as_array().unwrap() {
        let name = &case["name"];
        let key = Key::parse(case["key"].as_str().unwrap()).unwrap();
        let text = case["token"].as_str().unwrap();
        let resource = percent_encoding::percent_decode_str(text.split(['=', '&']).nth(1).unwrap());
        let resource = resource.decode_utf8().unwrap();
        let segments: Vec<&str> = resource.split('/').collect();
        let verdict = Token::parse(text).unwrap().check(&segments, [&key], Timestamp::from_second(THEN).unwrap());
        let expected = if case["valid_signature"] == true { Ok(0) } else { Err(Refusal::WrongSignature) };
        assert_eq!(verdict, expected, "{name}");
    }
}
