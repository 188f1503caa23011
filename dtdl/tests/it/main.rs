//! Tests of the crate's public interface.
#![expect(clippy::expect_used, clippy::indexing_slicing, reason = "a helper that panics has failed its test")]

mod any_input;
mod documents;
mod extensions;
mod model_ids;
mod recorded;
mod sample;
mod schemas;
mod sets;
mod values;

use dtdl::{Error, Interface};
use serde_json::{Value, json};

/// An interface in DTDL v2 with these members besides the three that each has.
fn v2(members: Value) -> Value {
    interface("dtmi:dtdl:context;2", members)
}

/// An interface in DTDL v3 with these members besides the three that each has.
fn v3(members: Value) -> Value {
    interface("dtmi:dtdl:context;3", members)
}

fn interface(context: &str, members: Value) -> Value {
    let mut document = json!({ "@context": context, "@id": "dtmi:com:example:Room;1", "@type": "Interface" });
    let all = document.as_object_mut().expect("an object");
    for (name, value) in members.as_object().expect("an object") {
        all.insert(name.clone(), value.clone());
    }
    document
}

/// An interface in DTDL v2 with a property `p` of that schema.
fn v2_property(schema: Value) -> Value {
    v2(json!({ "contents": [{ "@type": "Property", "name": "p", "schema": schema }] }))
}

/// An interface in DTDL v3 with a property `p` of that schema.
fn v3_property(schema: Value) -> Value {
    v3(json!({ "contents": [{ "@type": "Property", "name": "p", "schema": schema }] }))
}

fn parse(document: &Value) -> Interface {
    Interface::parse(document).unwrap_or_else(|error| unexpected(document, &error))
}

fn refuse(document: &Value) -> Error {
    match Interface::parse(document) {
        Ok(_) => unexpected(document, &"it was accepted"),
        Err(error) => error,
    }
}

#[expect(clippy::panic, reason = "fails a test")]
fn unexpected(document: &Value, what: &dyn std::fmt::Display) -> ! {
    panic!("{what}\n{document:#}")
}
