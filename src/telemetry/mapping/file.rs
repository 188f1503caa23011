//! The mapping file: its form, and what can be wrong with it.

use std::collections::{BTreeMap, HashSet};
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use dtdl::ModelId;
use serde::Deserialize;
use serde_json::Value;

use super::unit::Unit;
use super::{Mapping, Pointer, Rule};
use crate::binding::is_bookkeeping;
use crate::digital_twins::PropertyPath;
use crate::telemetry::body;

/// The largest mapping file, in bytes.
const MAX_BYTES: u64 = 1024 * 1024;
/// How deep into a message a rule may point: as deep as messages are read.
const MAX_TOKENS: usize = 128;
/// Faults that are named; whoever mends these will see the others.
const MAX_NAMED: usize = 20;

/// Why a mapping file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum MappingError {
    /// It cannot be read.
    #[error("TELEMETRY_MAPPING_FILE {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// It is not a mapping; one fault a line.
    #[error("TELEMETRY_MAPPING_FILE {}: {}", path.display(), faults.join("\n"))]
    Form {
        /// The file.
        path: PathBuf,
        /// What is wrong, each with its place.
        faults: Vec<String>,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    version: u32,
    models: BTreeMap<String, Vec<Value>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    from: String,
    to: String,
    scale: Option<f64>,
    offset: Option<f64>,
}

impl Mapping {
    /// Reads a mapping file.
    ///
    /// # Errors
    /// [`MappingError`]: it cannot be read, or everything that is wrong with its form.
    pub fn read(path: &Path) -> Result<Self, MappingError> {
        let mut text = Vec::new();
        let read = File::open(path).and_then(|file| file.take(MAX_BYTES + 1).read_to_end(&mut text));
        read.map_err(|source| MappingError::Read { path: path.to_owned(), source })?;
        Self::parse(&text).map_err(|mut faults| {
            if let Some(more) = faults.len().checked_sub(MAX_NAMED).filter(|more| *more > 0) {
                faults.truncate(MAX_NAMED);
                faults.push(format!("and {more} more"));
            }
            MappingError::Form { path: path.to_owned(), faults }
        })
    }

    /// Reads a mapping file if one is named; without one there are no rules.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn read_if_named(path: Option<&Path>) -> Result<Self, MappingError> {
        path.map_or_else(|| Ok(Self::default()), Self::read)
    }

    /// Reads the text of a mapping file.
    ///
    /// # Errors
    /// What is wrong, each fault with its place.
    pub(crate) fn parse(text: &[u8]) -> Result<Self, Vec<String>> {
        let one = |fault: String| vec![fault];
        if text.len() as u64 > MAX_BYTES {
            return Err(one(format!("it is larger than {MAX_BYTES} bytes")));
        }
        // As strict as with messages: a member that is there twice would hide one of the two.
        let members = body::members(text).map_err(|error| one(error.to_string()))?;
        let document: Document =
            serde_json::from_value(Value::Object(members)).map_err(|error| one(error.to_string()))?;
        if document.version != 1 {
            return Err(one(format!("its version is {}; this program reads version 1", document.version)));
        }
        let mut faults = Vec::new();
        let mut rules = BTreeMap::new();
        for (model, entries) in document.models {
            match ModelId::parse(&model) {
                Ok(id) => drop(rules.insert(id, rules_of(&model, entries, &mut faults))),
                Err(error) => faults.push(format!("models: {error}")),
            }
        }
        if faults.is_empty() { Ok(Self { rules }) } else { Err(faults) }
    }
}

fn rules_of(model: &str, entries: Vec<Value>, faults: &mut Vec<String>) -> Vec<Rule> {
    let mut rules: Vec<Rule> = Vec::new();
    let mut targets = HashSet::new();
    for (index, entry) in entries.into_iter().enumerate() {
        let place = format!("{model}, rule {}", index + 1);
        match rule(entry) {
            Ok(rule) if !targets.insert(rule.to.clone()) => {
                faults.push(format!("{place}: another rule writes {} already", rule.to));
            }
            Ok(rule) => rules.push(rule),
            Err(reason) => faults.push(format!("{place}: {reason}")),
        }
    }
    rules
}

fn rule(entry: Value) -> Result<Rule, String> {
    let Entry { from, to, scale, offset } = serde_json::from_value(entry).map_err(|error| error.to_string())?;
    let from = Pointer::parse(&from).map_err(|reason| format!("from {from:?} {reason}"))?;
    let to = target(&to).map_err(|reason| format!("to {to:?} {reason}"))?;
    if scale == Some(0.0) {
        return Err("scale is 0, and every value would be the same".to_owned());
    }
    let unit = (scale.is_some() || offset.is_some())
        .then(|| Unit { scale: scale.unwrap_or(1.0), offset: offset.unwrap_or(0.0) });
    Ok(Rule { from, to, unit })
}

/// `/<property>` or `/<component>/<property>`.
fn target(text: &str) -> Result<PropertyPath, String> {
    let Pointer(tokens) = Pointer::parse(text)?;
    if let Some(name) = tokens.iter().find(|token| token.is_empty() || token.starts_with('$')) {
        return Err(format!("names {name:?}, which no property is called"));
    }
    match &tokens[..] {
        [property] if is_bookkeeping(property) => {
            Err("is a bookkeeping property, which telemetry never writes".to_owned())
        }
        [property] => Ok(PropertyPath::root(property)),
        [component, property] => Ok(PropertyPath::component(component, property)),
        _ => Err("goes too deep; it takes /property or /component/property".to_owned()),
    }
}

impl Pointer {
    fn parse(text: &str) -> Result<Self, String> {
        let Some(inner) = text.strip_prefix('/') else {
            return Err("is no JSON pointer: it begins with /, for instance /data/temp".to_owned());
        };
        let tokens: Vec<_> = inner
            .split('/')
            .map(unescape)
            .collect::<Option<_>>()
            .ok_or_else(|| "is no JSON pointer: ~ is written ~0, and / in a name ~1 (RFC 6901)".to_owned())?;
        if tokens.len() > MAX_TOKENS {
            return Err(format!("goes deeper than {MAX_TOKENS} levels"));
        }
        Ok(Self(tokens))
    }
}

fn unescape(token: &str) -> Option<Box<str>> {
    let mut escapes = token.split('~').skip(1);
    escapes.all(|after| after.starts_with(['0', '1'])).then(|| token.replace("~1", "/").replace("~0", "~").into())
}
