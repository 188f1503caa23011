//! Digital twin model identifiers (DTMI).

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;
use std::sync::Arc;

use serde::de::{self, Deserialize, Deserializer};
use serde::ser::{Serialize, Serializer};

use crate::error::excerpt;

/// The longest DTMI a model document may hold, in characters (all of them ASCII).
pub(crate) const MAX_LENGTH: usize = 2048;

/// A digital twin model identifier, such as `dtmi:contosocom:DigitalTwins:Thermostat;2`.
///
/// Any *user* DTMI of DTDL v2 or v3: `dtmi:` and segments of letters, digits and underscores, then, except in
/// v3 where it may be absent, `;` and a version, which v3 allows a minor part (`;1.2`). System identifiers (a
/// segment that begins with `_`) name no model. At most 2048 characters; the id of an [`Interface`](crate::Interface)
/// has at most 128.
///
/// Comparison is case-sensitive. The order is by [`path`](ModelId::path), then by [`version`](ModelId::version)
/// as a number: `;2` comes before `;10`, and no version before any.
///
/// Source: Azure/opendigitaltwins-dtdl, DTDL v3, "Digital Twin Model Identifier". Cloning is cheap.
#[derive(Clone)]
pub struct ModelId {
    text: Arc<str>,
    /// Bytes of the text before the semicolon.
    path_length: usize,
    version: Option<ModelVersion>,
}

/// The version of a model: what follows the semicolon of its [`ModelId`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ModelVersion {
    /// 1 to 999,999,999.
    pub major: u32,
    /// 1 to 999,999, or 0 where the version has no minor part.
    pub minor: u32,
}

/// Why a text is no [`ModelId`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{got:?} is not a model id: {wanted}; a model id looks like dtmi:com:example:Thermostat;1")]
pub struct InvalidModelId {
    /// The text, cut when long.
    pub got: String,
    /// The rule it breaks.
    pub wanted: &'static str,
}

impl ModelId {
    /// Reads a model id.
    ///
    /// # Errors
    /// [`InvalidModelId`] names the rule that the text breaks.
    pub fn parse(text: &str) -> Result<ModelId, InvalidModelId> {
        let (path_length, version) =
            split(text).map_err(|wanted| InvalidModelId { got: excerpt(text).into_owned(), wanted })?;
        Ok(ModelId { text: text.into(), path_length, version })
    }

    /// The whole identifier.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The identifier without its version: `dtmi:contosocom:DigitalTwins:Thermostat`. Models with the same path
    /// are versions of one model.
    pub fn path(&self) -> &str {
        self.text.get(..self.path_length).unwrap_or(&self.text)
    }

    /// The version; absent only in identifiers of DTDL v3.
    pub fn version(&self) -> Option<ModelVersion> {
        self.version
    }

    /// The identifier with the same path and no version: the lowest of its versions.
    pub(crate) fn without_version(&self) -> ModelId {
        ModelId { text: self.path().into(), path_length: self.path_length, version: None }
    }

    /// Whether this is a higher version of the same path as `other`.
    pub fn supersedes(&self, other: &ModelId) -> bool {
        self.path() == other.path() && self.version > other.version
    }
}

/// Where the path ends, and the version; or the rule that the text breaks.
fn split(text: &str) -> Result<(usize, Option<ModelVersion>), &'static str> {
    if text.len() > MAX_LENGTH {
        return Err("it has at most 2048 characters");
    }
    let Some(rest) = text.strip_prefix("dtmi:") else {
        return Err("it begins with dtmi:");
    };
    let (segments, version) = match rest.split_once(';') {
        Some((segments, version)) => (segments, Some(ModelVersion::parse(version)?)),
        None => (rest, None),
    };
    segments.split(':').try_for_each(check_segment)?;
    Ok(("dtmi:".len() + segments.len(), version))
}

fn check_segment(segment: &str) -> Result<(), &'static str> {
    let bytes = segment.as_bytes();
    match bytes.first() {
        None => return Err("no segment is empty"),
        Some(b'_') => return Err("a segment that begins with an underscore is reserved for the system"),
        Some(first) if !first.is_ascii_alphabetic() => return Err("a segment begins with a letter"),
        Some(_) => {}
    }
    if !bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'_') {
        return Err("a segment holds only letters, digits and underscores");
    }
    if bytes.last() == Some(&b'_') {
        return Err("a segment does not end in an underscore");
    }
    Ok(())
}

impl ModelVersion {
    fn parse(text: &str) -> Result<ModelVersion, &'static str> {
        let (major, minor) = match text.split_once('.') {
            Some((major, minor)) => (major, Some(minor)),
            None => (text, None),
        };
        Ok(ModelVersion {
            major: counting_number(major, 9)
                .ok_or("the version is a number of at most nine digits that does not begin with 0")?,
            minor: match minor {
                Some(minor) => counting_number(minor, 6)
                    .ok_or("the minor version is a number of at most six digits that does not begin with 0")?,
                None => 0,
            },
        })
    }
}

/// A number of one to `digits` digits whose first is not 0.
fn counting_number(text: &str, digits: usize) -> Option<u32> {
    let plain = text.len() <= digits && !text.starts_with('0') && text.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| text.parse().ok()).flatten()
}

impl fmt::Display for ModelVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.minor {
            0 => write!(f, "{}", self.major),
            minor => write!(f, "{}.{minor}", self.major),
        }
    }
}

impl fmt::Display for ModelId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

impl fmt::Debug for ModelId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.text, f)
    }
}

impl PartialEq for ModelId {
    fn eq(&self, other: &ModelId) -> bool {
        self.text == other.text
    }
}

impl Eq for ModelId {}

impl Hash for ModelId {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.text.hash(state);
    }
}

impl Ord for ModelId {
    fn cmp(&self, other: &ModelId) -> Ordering {
        // A version is written in one way only, so equal parts mean equal texts.
        self.path().cmp(other.path()).then_with(|| self.version.cmp(&other.version))
    }
}

impl PartialOrd for ModelId {
    fn partial_cmp(&self, other: &ModelId) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl FromStr for ModelId {
    type Err = InvalidModelId;

    fn from_str(text: &str) -> Result<ModelId, InvalidModelId> {
        ModelId::parse(text)
    }
}

impl TryFrom<&str> for ModelId {
    type Error = InvalidModelId;

    fn try_from(text: &str) -> Result<ModelId, InvalidModelId> {
        ModelId::parse(text)
    }
}

impl AsRef<str> for ModelId {
    fn as_ref(&self) -> &str {
        &self.text
    }
}

impl From<&ModelId> for String {
    fn from(id: &ModelId) -> String {
        id.text.as_ref().to_owned()
    }
}

impl Serialize for ModelId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for ModelId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<ModelId, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = ModelId;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a model id such as dtmi:com:example:Thermostat;1")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<ModelId, E> {
                ModelId::parse(text).map_err(E::custom)
            }
        }
        deserializer.deserialize_str(Visitor)
    }
}
