//! JSON Patch documents (RFC 6902): the operations that the service takes, and what is wrong with a document.

use serde_json::{Map, Value, value::RawValue};

/// One operation of a patch.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Operation {
    pub(crate) path: Pointer,
    pub(crate) action: Action,
}

/// What an operation does with its target.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Action {
    /// Sets, whether or not there was a value.
    Add(Value),
    /// Sets what is there.
    Replace(Value),
    /// Drops what is there.
    Remove,
}

/// A JSON Pointer (RFC 6901) in its parts, unescaped; at least one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pointer {
    parts: Vec<String>,
}

/// What is wrong with a patch document, in the service's words where they are known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Fault {
    #[error("Unsupported operation type {0}.")]
    UnsupportedOperation(String),
    #[error("Parameter {0} must not be empty.")]
    EmptyParameter(&'static str),
    #[error("The provided string '{0}' is an invalid path value.")]
    InvalidPath(String),
    #[error("The target location specified by path segment '{0}' was not found.")]
    TargetNotFound(String),
    #[error("{0} was not found.")]
    PathNotFound(Pointer),
    #[error("{0} does not exist on component.")]
    NotInModel(String),
    #[error("{0} cannot be patched.")]
    NotPatchable(Pointer),
    #[error("{path} takes {wanted}.")]
    InvalidValue { path: Pointer, wanted: &'static str },
}

/// Why bytes are no patch document.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotAPatch {
    /// An element is no object, or the whole is no array: answered by the service's web framework. Where, and what
    /// it says.
    #[error("{message}")]
    Malformed { key: String, message: String },
    /// An element is an object, but no operation.
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// Reads a patch document.
///
/// # Errors
/// What is wrong with the first bad element.
pub(crate) fn parse(body: &[u8]) -> Result<Vec<Operation>, NotAPatch> {
    let elements: Vec<&RawValue> = serde_json::from_slice(body).map_err(|error| NotAPatch::Malformed {
        key: String::new(),
        message: format!(
            "The patch document is no JSON array of operations. Path '', line {}, position {}.",
            error.line(),
            error.column()
        ),
    })?;
    elements
        .iter()
        .enumerate()
        .map(|(index, element)| match element.get().as_bytes() {
            [b'{', ..] => {
                let members = serde_json::from_str(element.get()).map_err(|_| malformed(body, index, element))?;
                Ok(operation(members)?)
            }
            _ => Err(malformed(body, index, element)),
        })
        .collect()
}

/// The framework's words for an element that is no operation; the position is where the element ends.
fn malformed(body: &[u8], index: usize, element: &RawValue) -> NotAPatch {
    let text = element.get();
    // The element is a part of the body, so the distance of the two is its place.
    let end = (text.as_ptr() as usize).saturating_sub(body.as_ptr() as usize) + text.len();
    let before = body.get(..end).unwrap_or(body);
    let line_start = before.iter().rposition(|&byte| byte == b'\n').map_or(0, |newline| newline + 1);
    let line = 1 + before.iter().filter(|&&byte| byte == b'\n').count();
    NotAPatch::Malformed {
        key: format!("[{index}]"),
        message: format!(
            "Error converting value {text} to type 'Microsoft.AspNetCore.JsonPatch.Operations.Operation'. \
             Path '[{index}]', line {line}, position {}.",
            before.len() - line_start
        ),
    }
}

fn operation(mut members: Map<String, Value>) -> Result<Operation, Fault> {
    let mut text = |name| match members.shift_remove(name) {
        Some(Value::String(text)) if !text.is_empty() => Ok(text),
        _ => Err(Fault::EmptyParameter(name)),
    };
    let op = text("op")?;
    let kind = op.to_ascii_lowercase();
    if !matches!(kind.as_str(), "add" | "replace" | "remove") {
        return Err(Fault::UnsupportedOperation(op));
    }
    let path = Pointer::parse(&text("path")?)?;
    let value = members.shift_remove("value");
    let action = match (kind.as_str(), value) {
        ("remove", _) => Action::Remove,
        ("add", Some(value)) => Action::Add(value),
        (_, Some(value)) => Action::Replace(value),
        (_, None) => return Err(Fault::EmptyParameter("value")),
    };
    Ok(Operation { path, action })
}

impl Pointer {
    fn parse(text: &str) -> Result<Self, Fault> {
        let invalid = || Fault::InvalidPath(text.to_owned());
        // The slash at the beginning may be missing: the service's framework puts it there.
        let parts: Option<Vec<String>> = text.strip_prefix('/').unwrap_or(text).split('/').map(unescape).collect();
        parts.filter(|parts| parts.iter().all(|part| !part.is_empty())).map(|parts| Self { parts }).ok_or_else(invalid)
    }

    /// The parts, outermost first.
    pub(crate) fn parts(&self) -> Vec<&str> {
        self.parts.iter().map(String::as_str).collect()
    }

    /// The pointer to the same thing, seen from outside the member `outer`.
    pub(crate) fn below(mut self, outer: &str) -> Self {
        self.parts.insert(0, outer.to_owned());
        self
    }
}

impl std::fmt::Display for Pointer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.parts.iter().try_for_each(|part| write!(f, "/{}", part.replace('~', "~0").replace('/', "~1")))
    }
}

fn unescape(part: &str) -> Option<String> {
    let mut pieces = part.split('~');
    let mut text = pieces.next()?.to_owned();
    for piece in pieces {
        let (escaped, rest) = match piece.as_bytes() {
            [b'0', ..] => ('~', piece.get(1..)?),
            [b'1', ..] => ('/', piece.get(1..)?),
            _ => return None,
        };
        text.push(escaped);
        text.push_str(rest);
    }
    Some(text)
}

/// Carries out an action somewhere inside a value. `parts` leads there and is not empty.
///
/// # Errors
/// [`Fault::TargetNotFound`] with the first part that leads nowhere.
pub(crate) fn edit(value: &mut Value, parts: &[&str], action: &Action) -> Result<(), Fault> {
    match parts {
        [] => Ok(()),
        [last] => edit_member(value, last, action),
        [first, rest @ ..] => {
            let inner = match value {
                Value::Object(members) => members.get_mut(*first),
                Value::Array(items) => index(first).and_then(|index| items.get_mut(index)),
                _ => None,
            };
            edit(inner.ok_or_else(|| Fault::TargetNotFound((*first).to_owned()))?, rest, action)
        }
    }
}

fn edit_member(value: &mut Value, name: &str, action: &Action) -> Result<(), Fault> {
    let done = match (value, action) {
        (Value::Object(members), Action::Add(new)) => {
            members.insert(name.to_owned(), new.clone());
            true
        }
        (Value::Object(members), Action::Replace(new)) => members.get_mut(name).map(|old| *old = new.clone()).is_some(),
        (Value::Object(members), Action::Remove) => members.shift_remove(name).is_some(),
        (Value::Array(items), action) => edit_item(items, name, action),
        _ => false,
    };
    if done { Ok(()) } else { Err(Fault::TargetNotFound(name.to_owned())) }
}

fn edit_item(items: &mut Vec<Value>, name: &str, action: &Action) -> bool {
    let place = if name == "-" { Some(items.len()) } else { index(name) };
    match (place, action) {
        (Some(place), Action::Add(new)) if place <= items.len() => {
            items.insert(place, new.clone());
            true
        }
        (Some(place), Action::Replace(new)) => items.get_mut(place).map(|old| *old = new.clone()).is_some(),
        (Some(place), Action::Remove) if place < items.len() => {
            items.remove(place);
            true
        }
        _ => false,
    }
}

/// An array index: digits, no leading zero.
fn index(part: &str) -> Option<usize> {
    let plain = part == "0" || !part.starts_with('0');
    if plain && part.bytes().all(|byte| byte.is_ascii_digit()) { part.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn parsed(document: &Value) -> Result<Vec<Operation>, NotAPatch> {
        parse(document.to_string().as_bytes())
    }

    #[test]
    fn faults_of_documents_have_the_services_words() {
        for (document, words) in [
            (json!([{"op": "move", "path": "/a", "value": 1}]), "Unsupported operation type move."),
            (json!([{"op": "test", "path": "/a", "value": 1}]), "Unsupported operation type test."),
            (json!([{}]), "Parameter op must not be empty."),
            (json!([{"op": 5}]), "Parameter op must not be empty."),
            (json!([{"op": "add", "value": 1}]), "Parameter path must not be empty."),
            (json!([{"op": "add", "path": "/a"}]), "Parameter value must not be empty."),
            (
                json!([{"op": "add", "path": "/a//b", "value": 1}]),
                "The provided string '/a//b' is an invalid path value.",
            ),
            (json!([{"op": "add", "path": "/", "value": 1}]), "The provided string '/' is an invalid path value."),
            (
                json!([{"op": "add", "path": "/a~2", "value": 1}]),
                "The provided string '/a~2' is an invalid path value.",
            ),
            (
                json!(["AverageTemperature"]),
                "Error converting value \"AverageTemperature\" to type \
                 'Microsoft.AspNetCore.JsonPatch.Operations.Operation'. Path '[0]', line 1, position 21.",
            ),
        ] {
            assert_eq!(parsed(&document).unwrap_err().to_string(), words, "{document}");
        }
    }

    #[test]
    fn the_place_of_a_malformed_element_is_counted_in_its_line() {
        let error = parse(b"[\n  {\"op\":\"remove\",\"path\":\"/a\"},\n  17 ]").unwrap_err();
        let NotAPatch::Malformed { key, message } = error else { panic!("{error:?}") };
        assert_eq!(key, "[1]");
        assert!(message.ends_with("Path '[1]', line 3, position 4."), "{message}");
        assert!(matches!(parse(b"{}"), Err(NotAPatch::Malformed { .. })));
        assert!(matches!(parse(b"[{\"op\":"), Err(NotAPatch::Malformed { .. })));
    }

    #[test]
    fn operations_are_read_without_regard_to_case_and_pointers_are_unescaped() {
        let document = json!([{"op": "Add", "path": "a~1b/c~0d", "value": null}, {"op": "REMOVE", "path": "/x"}]);
        let operations = parsed(&document).unwrap();
        assert_eq!(operations[0].path.parts(), ["a/b", "c~d"]);
        assert_eq!(operations[0].path.to_string(), "/a~1b/c~0d");
        assert_eq!(operations[0].action, Action::Add(Value::Null));
        assert_eq!(operations[1].action, Action::Remove);
        assert_eq!(parsed(&json!([])).unwrap(), []);
    }

    proptest! {
        #[test]
        fn a_pointer_reads_back_from_its_text(parts in prop::collection::vec("[a-z~/ \u{e4}]{1,4}", 1..5)) {
            let pointer = Pointer { parts };
            prop_assert_eq!(Pointer::parse(&pointer.to_string()), Ok(pointer));
        }

        #[test]
        fn any_bytes_are_read_or_refused(document in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = parse(&document);
        }

        /// What a patch adds is there, and removing it leaves what was there before.
        #[test]
        fn what_is_added_can_be_removed(name in "[a-z]{1,3}", number in any::<i32>()) {
            let before = json!({"map": {}});
            let mut value = before.clone();
            let parts = ["map", name.as_str()];
            edit(&mut value, &parts, &Action::Add(number.into())).unwrap();
            prop_assert_eq!(&value["map"][&name], &json!(number));
            edit(&mut value, &parts, &Action::Remove).unwrap();
            prop_assert_eq!(value, before);
        }
    }

    #[test]
    fn values_are_edited_as_rfc_6902_says() {
        let start = json!({"map": {"a": 1}, "list": [1, 2]});
        let set = |value: Value| Action::Add(value);
        let replace = |value: Value| Action::Replace(value);
        for (parts, action, expected) in [
            (vec!["map", "b"], set(json!(2)), Ok(json!({"map": {"a": 1, "b": 2}, "list": [1, 2]}))),
            (vec!["map", "a"], set(json!(2)), Ok(json!({"map": {"a": 2}, "list": [1, 2]}))),
            (vec!["map", "a"], replace(json!(2)), Ok(json!({"map": {"a": 2}, "list": [1, 2]}))),
            (vec!["map", "b"], replace(json!(2)), Err("b")),
            (vec!["map", "a"], Action::Remove, Ok(json!({"map": {}, "list": [1, 2]}))),
            (vec!["map", "b"], Action::Remove, Err("b")),
            (vec!["nap", "b"], Action::Remove, Err("nap")),
            (vec!["map", "a", "b"], set(json!(1)), Err("b")),
            (vec!["list", "-"], set(json!(3)), Ok(json!({"map": {"a": 1}, "list": [1, 2, 3]}))),
            (vec!["list", "0"], set(json!(3)), Ok(json!({"map": {"a": 1}, "list": [3, 1, 2]}))),
            (vec!["list", "2"], replace(json!(3)), Err("2")),
            (vec!["list", "-"], Action::Remove, Err("-")),
            (vec!["list", "01"], Action::Remove, Err("01")),
            (vec!["list", "1"], Action::Remove, Ok(json!({"map": {"a": 1}, "list": [1]}))),
        ] {
            let mut value = start.clone();
            let result = edit(&mut value, &parts, &action).map(|()| value);
            assert_eq!(result, expected.map_err(|part| Fault::TargetNotFound(part.to_owned())), "{parts:?} {action:?}");
        }
    }
}
