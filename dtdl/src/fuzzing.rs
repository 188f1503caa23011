//! What the fuzzer calls (`fuzz/`); the tests here give it the seeds that are kept.

use serde_json::Value;

use crate::{Contents, Error, Interface, ModelSet, Schema, parse_text};

/// Reads any text as models, puts them together one by one, and checks values against them: those of the models' own
/// documents.
///
/// # Panics
/// When an error has no text, or says that it is where nothing is.
pub fn models(text: &[u8]) {
    if let Err(error) = parse_text(text) {
        explains_itself(&error);
    }
    let Ok(document) = serde_json::from_slice::<Value>(text) else { return };
    let documents = document.as_array().map_or(std::slice::from_ref(&document), Vec::as_slice);
    let mut models = ModelSet::default();
    for document in documents {
        let interface = match Interface::parse(document) {
            Ok(interface) => interface,
            Err(error) => {
                explains_itself(&error);
                is_somewhere(&error, document);
                continue;
            }
        };
        let id = interface.id().clone();
        match models.with([interface]) {
            Ok(more) => models = more,
            Err(error) => explains_itself(&error),
        }
        if let Some(contents) = models.contents(&id) {
            assert!(models.is_a(&id, &id), "{id} is not itself");
            schemas(contents).for_each(|schema| check(schema, document));
        }
    }
    for interface in models.iter() {
        // What is taken reads as the same when it is written down.
        assert!(Interface::parse(interface.document()).is_ok(), "{} is not read again", interface.id());
    }
}

fn explains_itself(error: &Error) {
    assert!(!error.to_string().is_empty() && !error.parser_text().is_empty(), "{error:?}");
}

fn is_somewhere(error: &Error, document: &Value) {
    let parent = error.pointer().rsplit_once('/').map_or("", |(parent, _)| parent);
    assert!(document.pointer(parent).is_some(), "{} in {document}", error.pointer());
}

fn schemas(contents: &Contents) -> impl Iterator<Item = &Schema> {
    let properties = contents.properties.values().map(|property| &property.schema);
    properties.chain(contents.telemetries.values().map(|telemetry| &telemetry.schema))
}

/// Each value in `document`, and the whole of it.
fn check(schema: &Schema, document: &Value) {
    let values: Box<dyn Iterator<Item = &Value>> = match document {
        Value::Array(elements) => Box::new(elements.iter()),
        Value::Object(members) => Box::new(members.values()),
        _ => Box::new(std::iter::empty()),
    };
    for value in values.chain([document]) {
        if let Err(mismatch) = schema.check(value) {
            assert!(!mismatch.to_string().is_empty(), "{value} is refused without a word");
        }
    }
}

#[cfg(test)]
#[path = "../../fuzz/replay.rs"]
mod replay;

#[cfg(test)]
mod tests {
    #[test]
    fn the_seeds_of_models_hold() {
        super::replay::replay("models", super::models);
    }
}
