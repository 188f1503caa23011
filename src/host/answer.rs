//! What an event invocation is answered with.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::value::RawValue;

/// The outcome of an event invocation.
#[derive(Debug)]
pub enum Answer {
    /// The batch is done with: the host goes on to the next one. What is in `outputs`, by the name of an output
    /// binding of function.json, the host writes first; should that fail, the batch comes again.
    Done {
        /// Documents to write, by binding.
        outputs: BTreeMap<&'static str, Output>,
    },
    /// The batch must come again (answered with 503; logged by the server with this reason).
    Again {
        /// Why, in one line.
        reason: String,
    },
}

impl Answer {
    /// Done, nothing to write.
    #[must_use]
    pub fn done() -> Self {
        Self::Done { outputs: BTreeMap::new() }
    }

    /// Done, and `document` goes to `binding`.
    #[must_use]
    pub fn with_output(binding: &'static str, document: Output) -> Self {
        Self::Done { outputs: BTreeMap::from([(binding, document)]) }
    }

    /// The batch must come again.
    pub fn again(reason: impl Into<String>) -> Self {
        Self::Again { reason: reason.into() }
    }
}

/// A document for an output binding: a JSON object or array, never a string. The host decodes strings that happen to
/// be valid base64 (Azure/azure-functions-host issue 8352), which would destroy them.
#[derive(Debug, Clone, Serialize)]
#[serde(transparent)]
pub struct Output(Box<RawValue>);

/// Why something is no [`Output`].
#[derive(Debug, thiserror::Error)]
pub enum InvalidOutput {
    /// It cannot be written as JSON.
    #[error("the output cannot be written as JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// It is neither an object nor an array.
    #[error("an output is a JSON object or array")]
    Scalar,
}

impl Output {
    /// Writes `document` as JSON.
    ///
    /// # Errors
    /// [`InvalidOutput`] when that fails or gives neither an object nor an array.
    pub fn json(document: &impl Serialize) -> Result<Self, InvalidOutput> {
        let text = serde_json::value::to_raw_value(document)?;
        if text.get().starts_with(['{', '[']) { Ok(Self(text)) } else { Err(InvalidOutput::Scalar) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_no_output() {
        assert!(matches!(Output::json(&"test"), Err(InvalidOutput::Scalar)));
        assert_eq!(Output::json(&["test"]).unwrap().0.get(), r#"["test"]"#);
    }
}
