//! A DTDL interface: one model.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use crate::contents::Contents;
use crate::context::Language;
use crate::error::{Error, Fault};
use crate::model_id::ModelId;
use crate::read;

/// A model: one DTDL interface, read and checked on its own.
///
/// What it inherits is known only among other interfaces: see [`ModelSet`](crate::ModelSet).
#[derive(Debug, Clone, PartialEq)]
pub struct Interface {
    pub(crate) id: ModelId,
    pub(crate) language: Language,
    pub(crate) extends: Vec<ModelId>,
    pub(crate) contents: Contents,
    /// What its contents say of their siblings.
    pub(crate) annotations: Vec<Annotation>,
    /// Elements in the document, the interface itself included.
    pub(crate) elements: usize,
    pub(crate) display_name: BTreeMap<String, String>,
    pub(crate) description: BTreeMap<String, String>,
    pub(crate) document: Arc<Value>,
}

/// A content that says something of a sibling (extensions "annotation" and "overriding" of DTDL v3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Annotation {
    /// The name of the content that says it.
    pub(crate) by: String,
    /// The name of the sibling.
    pub(crate) of: String,
    /// Whether it overrides the sibling's unit.
    pub(crate) overrides_unit: bool,
}

impl Interface {
    /// Reads an interface from its JSON document.
    ///
    /// The rules are those of DTDL v2 and v3, and those that Azure Digital Twins adds: the top level is an interface
    /// with its own `@context` and `@id`, other interfaces are referred to by id and not defined in place.
    ///
    /// # Errors
    /// The first rule that the document breaks, with its place.
    pub fn parse(document: &Value) -> Result<Interface, Error> {
        read::read_interface(document)
    }

    /// Its identifier.
    pub fn id(&self) -> &ModelId {
        &self.id
    }

    /// The version of DTDL it is written in.
    pub fn language(&self) -> Language {
        self.language
    }

    /// The interfaces it extends directly.
    pub fn extends(&self) -> &[ModelId] {
        &self.extends
    }

    /// Its own contents, without inherited ones.
    pub fn contents(&self) -> &Contents {
        &self.contents
    }

    /// Whether it has commands of its own. Azure Digital Twins refuses models that have.
    pub fn has_commands(&self) -> bool {
        !self.contents.commands.is_empty()
    }

    /// The models that have to be there for this one to be: those it extends and those of its components, as often
    /// as it refers to them. Targets of relationships need not be there.
    pub fn references(&self) -> impl Iterator<Item = &ModelId> {
        self.extends.iter().chain(self.contents.components.values())
    }

    /// Its name for people, by language tag; a text without a language is English (`en`). Empty if there is none.
    pub fn display_name(&self) -> &BTreeMap<String, String> {
        &self.display_name
    }

    /// Its description for people, by language tag; a text without a language is English (`en`). Empty if there is
    /// none.
    pub fn description(&self) -> &BTreeMap<String, String> {
        &self.description
    }

    /// Where in the document a content of its own is.
    pub(crate) fn pointer_to_content(&self, name: &str) -> String {
        let index = self.document.get("contents").and_then(Value::as_array).and_then(|contents| {
            contents.iter().position(|content| content.get("name").is_some_and(|other| other == name))
        });
        index.map_or_else(|| "/contents".to_owned(), |index| format!("/contents/{index}"))
    }

    /// Where in the document it says that it extends another.
    pub(crate) fn pointer_to_parent(&self, parent: &ModelId) -> String {
        let index = self
            .document
            .get("extends")
            .and_then(Value::as_array)
            .and_then(|parents| parents.iter().position(|other| other == parent.as_str()));
        index.map_or_else(|| "/extends".to_owned(), |index| format!("/extends/{index}"))
    }

    /// The document it was read from.
    pub fn document(&self) -> &Value {
        &self.document
    }
}

/// The largest text that [`parse_text`] looks at, in bytes: a few interfaces of the largest size.
pub const MAX_TEXT: usize = 8 * read::MAX_TEXT;

/// Reads the text of a model file, or the body of an upload: one interface, or an array of them.
///
/// Any bytes are safe to give: time and memory are bounded by their length, recursion by fixed limits.
///
/// # Errors
/// The first thing that is wrong; its [`pointer`](Error::pointer) begins with the index in the array, if there is one.
pub fn parse_text(text: &[u8]) -> Result<Vec<Interface>, Error> {
    let whole = |fault| Error::new(String::new(), fault);
    if text.len() > MAX_TEXT {
        return Err(whole(Fault::TooLarge { limit: MAX_TEXT }));
    }
    // serde_json goes no deeper than 128.
    let document: Value = serde_json::from_slice(text).map_err(|error| whole(Fault::NotJson(error.to_string())))?;
    match &document {
        Value::Array(documents) => documents
            .iter()
            .enumerate()
            .map(|(index, document)| Interface::parse(document).map_err(|error| error.in_document(index)))
            .collect(),
        one => Ok(vec![Interface::parse(one)?]),
    }
}
