//! Model identifiers.

use dtdl::{ModelId, ModelVersion};
use proptest::prelude::*;
use serde_json::json;

fn id(text: &str) -> ModelId {
    ModelId::parse(text).expect(text)
}

#[test]
fn the_grammar_takes_user_identifiers_of_both_versions_of_the_language() {
    for text in [
        "dtmi:com:example:Thermostat;1",
        "dtmi:a;1",
        "dtmi:A_1:b__2;999999999",
        "dtmi:com:example:Thermostat",
        "dtmi:com:example:Thermostat;1.2",
        "dtmi:com:example:Thermostat;999999999.999999",
    ] {
        assert_eq!(id(text).to_string(), text);
    }
}

#[test]
fn the_grammar_refuses_everything_else() {
    for text in [
        "",
        "dtmi",
        "dtmi:",
        "dtmi:;1",
        "DTMI:com:example;1",
        "dtmi:com::example;1",
        "dtmi:com:example:;1",
        "dtmi:1com;1",
        "dtmi:_com;1",
        "dtmi:com_;1",
        "dtmi:com:exam-ple;1",
        "dtmi:com:exämple;1",
        "dtmi:com:example ;1",
        "dtmi:com:example;",
        "dtmi:com:example;0",
        "dtmi:com:example;01",
        "dtmi:com:example;1234567890",
        "dtmi:com:example;-1",
        "dtmi:com:example;+1",
        "dtmi:com:example;1.",
        "dtmi:com:example;1.0",
        "dtmi:com:example;1.1234567",
        "dtmi:com:example;1.2.3",
        "dtmi:com:example;1;2",
        "dtmi:com:example;1\n",
        "thisIsNotAValidModelId",
    ] {
        assert!(ModelId::parse(text).is_err(), "{text:?}");
    }
}

#[test]
fn an_identifier_has_at_most_2048_characters() {
    let of_length = |length: usize| format!("dtmi:{};1", "a".repeat(length - "dtmi:;1".len()));
    assert!(ModelId::parse(&of_length(2048)).is_ok());
    assert!(ModelId::parse(&of_length(2049)).is_err());
}

#[test]
fn a_refusal_says_what_was_got_and_the_rule() {
    insta::assert_snapshot!(
        ModelId::parse("dtmi:com:example;01").expect_err("no id"),
        @r#""dtmi:com:example;01" is not a model id: the version is a number of at most nine digits that does not begin with 0; a model id looks like dtmi:com:example:Thermostat;1"#
    );
    let long = ModelId::parse(&"x".repeat(5000)).expect_err("no id");
    assert_eq!(long.got, format!("{}...", "x".repeat(64)));
}

#[test]
fn path_and_version_are_told_apart() {
    let versioned = id("dtmi:contosocom:DigitalTwins:Thermostat;2");
    assert_eq!(versioned.path(), "dtmi:contosocom:DigitalTwins:Thermostat");
    assert_eq!(versioned.version(), Some(ModelVersion { major: 2, minor: 0 }));
    let minor = id("dtmi:a;3.14");
    assert_eq!((minor.path(), minor.version()), ("dtmi:a", Some(ModelVersion { major: 3, minor: 14 })));
    assert_eq!(minor.version().expect("a version").to_string(), "3.14");
    assert_eq!((id("dtmi:a").path(), id("dtmi:a").version()), ("dtmi:a", None));
}

#[test]
fn the_order_is_by_path_then_by_version_as_a_number() {
    let ascending = ["dtmi:a", "dtmi:a;2", "dtmi:a;2.1", "dtmi:a;10", "dtmi:a:b;1", "dtmi:b;1"].map(id);
    assert!(ascending.is_sorted());
    let mut shuffled = ascending.clone();
    shuffled.reverse();
    shuffled.sort();
    assert_eq!(shuffled, ascending);
}

#[test]
fn only_a_higher_version_of_the_same_path_supersedes() {
    let current = id("dtmi:a:b;2");
    for (other, supersedes) in [
        ("dtmi:a:b;3", true),
        ("dtmi:a:b;10", true),
        ("dtmi:a:b;2.1", true),
        ("dtmi:a:b;2", false),
        ("dtmi:a:b;1", false),
        ("dtmi:a:b", false),
        ("dtmi:a:B;3", false),
        ("dtmi:a;3", false),
    ] {
        assert_eq!(id(other).supersedes(&current), supersedes, "{other}");
    }
}

#[test]
fn an_identifier_is_a_string_in_json() {
    let model: ModelId = serde_json::from_value(json!("dtmi:a:b;2")).expect("an id");
    assert_eq!(serde_json::to_value(&model).expect("a string"), json!("dtmi:a:b;2"));
    for no_id in [json!("dtmi:a:b;0"), json!(1), json!(null)] {
        assert!(serde_json::from_value::<ModelId>(no_id).is_err());
    }
}

proptest! {
    #[test]
    fn what_is_printed_is_read_back(
        text in "dtmi(:[A-Za-z]([A-Za-z0-9_]{0,6}[A-Za-z0-9])?){1,5}(;[1-9][0-9]{0,8}(\\.[1-9][0-9]{0,5})?)?"
    ) {
        let read = id(&text);
        prop_assert_eq!(read.to_string(), text);
        prop_assert_eq!(ModelId::parse(read.as_str()), Ok(read));
    }

    #[test]
    fn what_is_accepted_is_printed_as_it_was(text in "dtmi[:;a-b_0-2.]{0,12}|\\PC{0,20}") {
        if let Ok(read) = ModelId::parse(&text) {
            prop_assert_eq!(read.as_str(), &text);
            let version = read.version().map(|version| format!(";{version}")).unwrap_or_default();
            prop_assert_eq!(format!("{}{}", read.path(), version), text);
        }
    }

    #[test]
    fn equal_in_order_means_equal(left in "dtmi:[ab](:[ab])?(;[12](\\.[12])?)?", right in "dtmi:[ab](:[ab])?(;[12](\\.[12])?)?") {
        let (left, right) = (id(&left), id(&right));
        prop_assert_eq!(left.cmp(&right).is_eq(), left == right);
    }
}
