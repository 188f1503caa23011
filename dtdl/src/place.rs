//! Where in a document the reader is, told only when something is wrong there.

use std::fmt::Write as _;

use serde_json::Value;

use crate::error::{Error, Fault};

/// A place in a JSON document: a chain of steps back to its root, kept on the stack.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place<'p> {
    parent: Option<&'p Place<'p>>,
    step: Step<'p>,
}

#[derive(Debug, Clone, Copy)]
enum Step<'p> {
    Root,
    Member(&'p str),
    Index(usize),
}

impl<'p> Place<'p> {
    pub(crate) const ROOT: Place<'static> = Place { parent: None, step: Step::Root };

    pub(crate) fn member(&'p self, name: &'p str) -> Place<'p> {
        Place { parent: Some(self), step: Step::Member(name) }
    }

    pub(crate) fn index(&'p self, index: usize) -> Place<'p> {
        Place { parent: Some(self), step: Step::Index(index) }
    }

    /// The JSON Pointer of the place (RFC 6901).
    pub(crate) fn pointer(&self) -> String {
        let mut steps = Vec::new();
        let mut place = Some(self);
        while let Some(Place { parent, step }) = place {
            steps.push(step);
            place = *parent;
        }
        let mut pointer = String::new();
        for step in steps.into_iter().rev() {
            match step {
                Step::Root => {}
                Step::Member(name) => {
                    pointer.push('/');
                    pointer.push_str(&name.replace('~', "~0").replace('/', "~1"));
                }
                // Writing to a String does not fail.
                Step::Index(index) => _ = write!(pointer, "/{index}"),
            }
        }
        pointer
    }

    pub(crate) fn error(&self, fault: Fault) -> Error {
        Error::new(self.pointer(), fault)
    }
}

/// The JSON type of a value, for a message.
pub(crate) fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}
