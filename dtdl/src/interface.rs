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
    /// Each annotated name, and the content that annotates it.
    pub(crate) annotations: Vec<(String, String)>,
    /// Elements in the document, the interface itself included.
    pub(crate) elements: usize,
    pub(crate) display_name: BTreeMap<String, String>,
    pub(crate) description: BTreeMap<String, String>,
    pub(crate) document: Arc<Value>,
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
