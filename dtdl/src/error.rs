//! What is wrong with a model document, where, and in words that its author can act on.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;

use crate::context::Language;
use crate::model_id::{InvalidModelId, ModelId};

/// What is wrong with a model document or a set of models, and where.
///
/// Its text says the place first: `dtmi:com:example:Room;1, content "area", at /contents/2/schema: ...`.
#[derive(Clone, PartialEq, Eq)]
pub struct Error(Box<Report>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Report {
    model: Option<String>,
    content: Option<String>,
    pointer: String,
    fault: Fault,
}

impl Error {
    pub(crate) fn new(pointer: String, fault: Fault) -> Error {
        Error(Box::new(Report { model: None, content: None, pointer, fault }))
    }

    /// Names the model, unless a name is there already.
    pub(crate) fn in_model(mut self, model: &str) -> Error {
        self.0.model.get_or_insert_with(|| excerpt(model).into_owned());
        self
    }

    /// Names the content, unless a name is there already.
    pub(crate) fn in_content(mut self, content: &str) -> Error {
        self.0.content.get_or_insert_with(|| excerpt(content).into_owned());
        self
    }

    /// Puts the place below one of several documents: the `index`th of an array.
    pub(crate) fn in_document(mut self, index: usize) -> Error {
        self.0.pointer.insert_str(0, &format!("/{index}"));
        self
    }

    /// The `@id` of the model that is at fault, as far as it is known.
    pub fn model(&self) -> Option<&str> {
        self.0.model.as_deref()
    }

    /// The `name` of the content (property, telemetry, ...) that is at fault, if it is one.
    pub fn content(&self) -> Option<&str> {
        self.0.content.as_deref()
    }

    /// The place in the document as a JSON Pointer (RFC 6901); empty for the whole document.
    pub fn pointer(&self) -> &str {
        &self.0.pointer
    }

    /// What is wrong there.
    pub fn fault(&self) -> &Fault {
        &self.0.fault
    }

    /// What the parser inside Azure Digital Twins says, word for word, where its words are known from recorded
    /// answers of the service (no `@context`, no `@id`, an unresolved reference); else this error's own text.
    pub fn parser_text(&self) -> String {
        match self.fault() {
            Fault::NoContext | Fault::NoId | Fault::Unresolved { .. } => self.fault().to_string(),
            _ => self.to_string(),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Report { model, content, pointer, fault } = &*self.0;
        f.write_str(model.as_deref().unwrap_or("model"))?;
        if let Some(content) = content {
            write!(f, ", content {content:?}")?;
        }
        if !pointer.is_empty() {
            write!(f, ", at {pointer}")?;
        }
        write!(f, ": {fault}")
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.0.fault {
            Fault::BadId(source) => Some(source),
            _ => None,
        }
    }
}

/// A rule of DTDL that a document breaks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// The bytes are no JSON text.
    #[error("not JSON: {0}")]
    NotJson(String),
    /// A document is larger than the limit.
    #[error("the document is larger than {limit} bytes")]
    TooLarge {
        /// In bytes of JSON text.
        limit: usize,
    },
    /// Arrays and objects lie in one another deeper than any model needs.
    #[error("arrays and objects are nested deeper than {limit}")]
    TooDeep {
        /// Levels.
        limit: usize,
    },
    /// A value of the wrong JSON type.
    #[error("expected {wanted}, got {got}")]
    WrongType {
        /// What belongs here.
        wanted: &'static str,
        /// What is here.
        got: &'static str,
    },
    /// The top level has no `@context`.
    #[error(
        "In source, top-level JSON object has no @context specifier. Add a '@context' property whose value is a valid \
         DTDL context specifier, such as 'dtmi:dtdl:context;2'."
    )]
    NoContext,
    /// The `@context` does not begin with that of a known DTDL version.
    #[error("the first @context has to be dtmi:dtdl:context;2 or dtmi:dtdl:context;3, got {got:?}")]
    NotDtdl {
        /// The first specifier.
        got: String,
    },
    /// A context that is none of DTDL's known extensions.
    #[error("{got:?} is no known language extension of {language}")]
    UnknownContext {
        /// The specifier.
        got: String,
        /// The language of the document.
        language: Language,
    },
    /// An element that needs an identifier has none.
    #[error(
        "Top-level element requires an identifer but none provided. Add an '@id' property whose value is a string that \
         conforms to the DTMI syntax -- see https://github.com/Azure/digital-twin-model-identifier."
    )]
    NoId,
    /// A text that should be a model id and is none.
    #[error(transparent)]
    BadId(#[from] InvalidModelId),
    /// An identifier in a form that this version of DTDL, or this place, does not have.
    #[error("{id} cannot be used here: {wanted}")]
    WrongId {
        /// The identifier.
        id: ModelId,
        /// The rule.
        wanted: &'static str,
    },
    /// Two elements of one document have the same identifier.
    #[error("a second element has the id {0}")]
    DuplicateId(ModelId),
    /// A `@type` that the place does not allow.
    #[error("expected @type {wanted}, got {got}")]
    WrongClass {
        /// What belongs here.
        wanted: String,
        /// What is here.
        got: String,
    },
    /// A second type that neither DTDL nor an extension in the `@context` defines.
    #[error("the type {got:?} is defined neither by DTDL nor by an extension in @context")]
    UnknownType {
        /// The type.
        got: String,
    },
    /// A member that neither DTDL nor an extension in the `@context` defines.
    #[error("{class} has no member {got:?}")]
    UnknownMember {
        /// The kind of element.
        class: &'static str,
        /// The member.
        got: String,
    },
    /// A member given twice, once by its name and once by its identifier.
    #[error("{0:?} is given twice, by its name and by its identifier")]
    MemberTwice(String),
    /// A member that has to be there is not.
    #[error("{class} needs {member:?}")]
    NoMember {
        /// The kind of element.
        class: &'static str,
        /// The member.
        member: &'static str,
    },
    /// A name outside the grammar of names.
    #[error(
        "{got:?} is no name: a name has 1 to {limit} letters, digits and underscores, begins with a letter and does not \
         end in an underscore"
    )]
    BadName {
        /// The name.
        got: String,
        /// In characters.
        limit: usize,
    },
    /// A text longer than the limit.
    #[error("a text of {got} characters, at most {limit} are allowed")]
    TextTooLong {
        /// In characters.
        limit: usize,
        /// In characters.
        got: usize,
    },
    /// A text for people that is neither a string nor a map of languages.
    #[error("{0:?} is no language tag")]
    BadLanguageTag(String),
    /// The same language twice.
    #[error("the language {0:?} is given twice")]
    LanguageTwice(String),
    /// More elements than allowed.
    #[error("{got} {what}, at most {limit} are allowed")]
    TooMany {
        /// What is counted.
        what: &'static str,
        /// At most.
        limit: usize,
        /// There are.
        got: usize,
    },
    /// Two elements of one set have the same name.
    #[error("the name {0:?} is used twice")]
    DuplicateName(String),
    /// A name that an inherited content has already.
    #[error("the name {name:?} is used already by {inherited_from}, from which this model inherits")]
    InheritedName {
        /// The name.
        name: String,
        /// The ancestor that has it.
        inherited_from: ModelId,
    },
    /// A schema that is neither known nor defined in the interface.
    #[error("{got:?} is neither a schema of {language} nor an id in this interface's \"schemas\"")]
    UnknownSchema {
        /// The name or id.
        got: String,
        /// The language of the document.
        language: Language,
    },
    /// Complex schemas lie in one another too deep.
    #[error("complex schemas are nested deeper than {limit}")]
    SchemaTooDeep {
        /// Levels.
        limit: usize,
    },
    /// A reusable schema contains itself.
    #[error("the schema {0} contains itself")]
    SchemaContainsItself(ModelId),
    /// DTDL v2 has no arrays in properties.
    #[error("DTDL v2 allows arrays and geospatial schemas in telemetry and commands only, not in a property")]
    ArrayInProperty,
    /// A semantic type without a unit.
    #[error("the semantic type {0} needs a \"unit\"")]
    NoUnit(&'static str),
    /// A unit without a semantic type, or of another kind of quantity.
    #[error("{unit:?} is no {unit_type}, which the semantic type {semantic_type} needs")]
    WrongUnit {
        /// The unit.
        unit: String,
        /// The semantic type.
        semantic_type: &'static str,
        /// The kind of unit.
        unit_type: &'static str,
    },
    /// A semantic type on a schema that is no number.
    #[error("the semantic type {0} needs a schema double, float, integer or long")]
    SemanticTypeOfNoNumber(&'static str),
    /// More than one semantic type.
    #[error("two semantic types, {0} and {1}: at most one is allowed")]
    TwoSemanticTypes(&'static str, &'static str),
    /// Two values of an enumeration are the same.
    #[error("the enum value {0} is used twice")]
    DuplicateEnumValue(String),
    /// A value outside what the member allows.
    #[error("expected {wanted}, got {got}")]
    WrongValue {
        /// What the rule is.
        wanted: &'static str,
        /// What is here.
        got: String,
    },
    /// An annotation of a content that is not there.
    #[error("there is no property or telemetry {0:?} to annotate")]
    AnnotatesNothing(String),
    /// An override of a unit that the content does not have.
    #[error("{0:?} has no unit to override")]
    OverridesNothing(String),
    /// Models that others need are not there.
    #[error("{}", Unresolved(missing))]
    Unresolved {
        /// Each missing model, and how many places refer to it.
        missing: Vec<(ModelId, usize)>,
    },
    /// A model with that id is there already.
    #[error("there is already a model {0}")]
    DuplicateModel(ModelId),
    /// There is no model with that id.
    #[error("there is no model {0}")]
    NoModel(ModelId),
    /// A model extends itself, directly or through others.
    #[error("{0} extends itself, directly or through other models")]
    ExtendsItself(ModelId),
    /// Too long a line of inheritance.
    #[error("models extend one another more than {limit} levels deep")]
    ExtendsTooDeep {
        /// Levels.
        limit: usize,
    },
    /// A v2 interface cannot be built on v3.
    #[error("a model in DTDL v2 cannot extend or contain {0}, which is in DTDL v3")]
    NewerLanguage(ModelId),
    /// A component's interface has components itself.
    #[error("a component cannot contain components, but {0} does")]
    NestedComponent(ModelId),
    /// Other models extend the model or have it as a component.
    #[error("the model is used by {}", Listed(by))]
    InUse {
        /// These.
        by: BTreeSet<ModelId>,
    },
}

struct Unresolved<'a>(&'a [(ModelId, usize)]);

impl fmt::Display for Unresolved<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DtmiResolverAsync failed to resolve requisite references to element(s): ")?;
        for (index, (id, places)) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { ", " };
            let noun = if *places == 1 { "place" } else { "places" };
            write!(f, "{separator}{id} (referenced in {places} {noun})")?;
        }
        Ok(())
    }
}

struct Listed<'a>(&'a BTreeSet<ModelId>);

impl fmt::Display for Listed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, id) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { ", " };
            write!(f, "{separator}{id}")?;
        }
        Ok(())
    }
}

/// At most the first 64 characters of a text from outside.
pub(crate) fn excerpt(text: &str) -> Cow<'_, str> {
    match text.char_indices().nth(64) {
        Some((end, _)) => Cow::Owned(format!("{}...", text.get(..end).unwrap_or_default())),
        None => Cow::Borrowed(text),
    }
}
