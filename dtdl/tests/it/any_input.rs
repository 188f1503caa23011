//! Whatever comes in: no panic, and no answer but a model or an error.

use dtdl::{Interface, ModelSet, parse_text};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::v2;

/// JSON in which the words of DTDL are likely, so that it gets past the first check.
fn any_document() -> impl Strategy<Value = Value> {
    let word = prop::sample::select(
        &[
            "@context",
            "@id",
            "@type",
            "@value",
            "Interface",
            "Property",
            "Telemetry",
            "Relationship",
            "Component",
            "Command",
            "Object",
            "Enum",
            "Map",
            "Array",
            "contents",
            "schemas",
            "extends",
            "name",
            "schema",
            "fields",
            "enumValues",
            "valueSchema",
            "enumValue",
            "mapKey",
            "mapValue",
            "elementSchema",
            "request",
            "unit",
            "Temperature",
            "kelvin",
            "double",
            "string",
            "integer",
            "point",
            "dtmi:dtdl:context;2",
            "dtmi:dtdl:context;3",
            "dtmi:ex:a;1",
            "dtmi:ex:b;1",
            "displayName",
            "a",
        ][..],
    )
    .prop_map(str::to_owned);
    let text = prop_oneof![9 => word.clone(), 1 => "\\PC{0,6}"];
    let leaf = prop_oneof![
        6 => text.clone().prop_map(Value::from),
        1 => Just(Value::Null),
        1 => any::<bool>().prop_map(Value::from),
        1 => any::<i64>().prop_map(Value::from),
        1 => any::<f64>().prop_map(Value::from),
    ];
    leaf.prop_recursive(8, 128, 8, move |inner| {
        prop_oneof![
            1 => prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            2 => prop::collection::vec((text.clone(), inner), 0..8).prop_map(|members| members.into_iter().collect()),
        ]
    })
}

/// A valid interface with one of its parts replaced.
fn damaged() -> impl Strategy<Value = Value> {
    (any::<prop::sample::Index>(), any_document()).prop_map(|(place, part)| {
        let mut document = v2(json!({
            "displayName": { "en": "Room" },
            "extends": ["dtmi:ex:a;1"],
            "contents": [
                { "@type": ["Property", "Temperature"], "name": "p", "schema": "double", "unit": "kelvin" },
                { "@type": "Telemetry", "name": "t", "schema": { "@type": "Array", "elementSchema": "dtmi:ex:s;1" } },
                { "@type": "Component", "name": "c", "schema": "dtmi:ex:b;1" },
                { "@type": "Relationship", "name": "r", "maxMultiplicity": 1, "properties": [
                    { "@type": "Property", "name": "q", "schema": { "@type": "Map",
                        "mapKey": { "name": "k", "schema": "string" }, "mapValue": { "name": "v", "schema": "long" } } }] },
                { "@type": "Command", "name": "x", "request": { "name": "y", "schema": "date" } },
            ],
            "schemas": [{ "@id": "dtmi:ex:s;1", "@type": "Object", "fields": [{ "name": "e", "schema": {
                "@type": "Enum", "valueSchema": "integer", "enumValues": [{ "name": "one", "enumValue": 1 }] } }] }],
        }));
        let pointers = pointers(&document);
        let pointer: &String = place.get(&pointers);
        if let Some(value) = document.pointer_mut(pointer) {
            *value = part;
        }
        document
    })
}

/// The JSON Pointer of every value in a document.
fn pointers(document: &Value) -> Vec<String> {
    let mut found = Vec::new();
    let mut open = vec![(String::new(), document)];
    while let Some((pointer, value)) = open.pop() {
        match value {
            Value::Array(elements) => {
                open.extend(
                    elements.iter().enumerate().map(|(index, element)| (format!("{pointer}/{index}"), element)),
                );
            }
            Value::Object(members) => {
                open.extend(members.iter().map(|(name, member)| (format!("{pointer}/{name}"), member)));
            }
            _ => {}
        }
        found.push(pointer);
    }
    found
}

/// Reads a document, puts it into a set, and sees that every error has a text and a place that exists, or whose
/// parent does.
fn read(document: &Value) {
    let result = Interface::parse(document).and_then(|interface| {
        let id = interface.id().clone();
        let set = ModelSet::default().with([interface])?;
        assert!(set.is_a(&id, &id) && set.contents(&id).is_some());
        Ok(())
    });
    if let Err(error) = result {
        assert!(!error.to_string().is_empty() && !error.parser_text().is_empty());
        let parent = error.pointer().rsplit_once('/').map_or("", |(parent, _)| parent);
        assert!(document.pointer(parent).is_some(), "{} in {document}", error.pointer());
    }
}

proptest! {
    #[test]
    fn any_json_is_read_or_refused(document in any_document()) {
        read(&document);
    }

    #[test]
    fn any_interface_is_read_or_refused(mut document in any_document()) {
        if let Value::Object(members) = &mut document {
            members.insert("@context".to_owned(), json!("dtmi:dtdl:context;3"));
            members.insert("@id".to_owned(), json!("dtmi:ex:a;1"));
            members.insert("@type".to_owned(), json!("Interface"));
        }
        read(&document);
    }

    #[test]
    fn any_damage_is_read_or_refused(document in damaged()) {
        read(&document);
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..256)) {
        _ = parse_text(&bytes);
    }

    #[test]
    fn any_value_fits_or_does_not(document in damaged(), value in any_document()) {
        if let Ok(interface) = Interface::parse(&document) {
            let contents = interface.contents();
            for schema in contents.telemetries.values().map(|telemetry| &telemetry.schema) {
                if let Err(mismatch) = schema.check(&value) {
                    prop_assert!(value.pointer(&mismatch.path).is_some() || !mismatch.path.is_empty());
                }
            }
        }
    }
}
