//! How large and how deep a document may be.

use serde_json::Value;

use crate::error::{Error, Fault};
use crate::place::Place;

/// The longest text of an interface, in bytes.
///
/// Source: DTDL v3, "Interface" (1 MiByte); Azure Digital Twins service limits (1 MB a model).
pub(crate) const MAX_TEXT: usize = 1024 * 1024;

/// The deepest nesting of arrays and objects. Five levels of schemas take less than half of it.
const MAX_DEPTH: usize = 64;

/// Refuses a document that is too large or too deep, without recursion.
pub(crate) fn check(document: &Value) -> Result<(), Error> {
    let mut bytes: usize = 0;
    let mut open = vec![(document, 1)];
    while let Some((value, depth)) = open.pop() {
        if depth > MAX_DEPTH {
            return Err(Place::ROOT.error(Fault::TooDeep { limit: MAX_DEPTH }));
        }
        bytes += least_text(value);
        if bytes > MAX_TEXT {
            return Err(Place::ROOT.error(Fault::TooLarge { limit: MAX_TEXT }));
        }
        match value {
            Value::Array(elements) => open.extend(elements.iter().map(|element| (element, depth + 1))),
            Value::Object(members) => open.extend(members.values().map(|member| (member, depth + 1))),
            _ => {}
        }
    }
    Ok(())
}

/// The bytes that a value takes in compact text, its elements and members apart; rather too few than too many, as
/// escapes and the digits of a number are left out.
fn least_text(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(true) => 4,
        Value::Bool(false) => 5,
        Value::Number(_) => 1,
        Value::String(text) => text.len() + 2,
        Value::Array(elements) => elements.len() + 1,
        Value::Object(members) => members.keys().map(|name| name.len() + 4).sum::<usize>() + 1,
    }
}
