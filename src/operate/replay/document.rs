//! Dead-letter documents in files: hostile until read.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use serde::Deserialize;

use crate::dead_letter::{DeadLetter, Document};
use crate::host::{Event, Properties};
use crate::operate::reason;
use crate::{lifecycle, telemetry};

/// The largest document that is read, in bytes. The host writes one a batch: 256 messages of 256 KB, as JSON texts in
/// which a byte takes up to six.
const MAX_BYTES: u64 = 512 * 1024 * 1024;

/// The version of the form that is read.
const VERSION: u32 = 1;

/// Why a file's events cannot be had.
#[derive(Debug, thiserror::Error)]
pub(super) enum DocumentError {
    #[error("it is a folder; name the files in it")]
    Folder,
    #[error(transparent)]
    Read(#[from] io::Error),
    #[error("it is larger than {MAX_BYTES} bytes, which no dead-letter document is")]
    TooLarge,
    #[error("it is no dead-letter document: {0}")]
    Form(#[from] serde_json::Error),
    #[error("it has version {0}; this program reads version {VERSION}")]
    Version(u64),
    #[error("it is of the function {0:?}; this program replays {telemetry} and {lifecycle}",
        telemetry = telemetry::NAME, lifecycle = lifecycle::NAME)]
    Function(String),
}

/// Which function events are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Function {
    Telemetry,
    Lifecycle,
}

/// The events of one document.
#[derive(Debug, PartialEq)]
pub(super) struct Letters {
    pub(super) function: Function,
    pub(super) letters: Vec<Letter>,
}

/// An event that became a dead letter.
#[derive(Debug, PartialEq)]
pub(super) struct Letter {
    /// Its place in the document, from 1.
    pub(super) number: usize,
    pub(super) partition: Option<String>,
    /// The event as it came.
    pub(super) event: Event,
    /// Why it could not be applied.
    pub(super) reason: String,
}

/// Whether a file is there and can be read. What is no plain file is read only once, as pipes can be.
///
/// # Errors
/// [`DocumentError::Read`], [`DocumentError::Folder`].
pub(super) fn check(path: &Path) -> Result<(), DocumentError> {
    let kind = std::fs::metadata(path)?.file_type();
    if kind.is_dir() {
        return Err(DocumentError::Folder);
    }
    if kind.is_file() {
        File::open(path)?;
    }
    Ok(())
}

/// Reads a document.
///
/// # Errors
/// [`DocumentError`], which does not name the file.
pub(super) fn read(path: &Path) -> Result<Letters, DocumentError> {
    let file = File::open(path)?;
    if file.metadata()?.is_dir() {
        return Err(DocumentError::Folder);
    }
    let mut text = Vec::new();
    file.take(MAX_BYTES + 1).read_to_end(&mut text)?;
    if text.len() as u64 > MAX_BYTES {
        return Err(DocumentError::TooLarge);
    }
    parse(&text)
}

fn parse(text: &[u8]) -> Result<Letters, DocumentError> {
    // Editors put a byte order mark at the start.
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    let document: Document = serde_json::from_slice(text).map_err(|error| match version(text) {
        Some(other) if other != u64::from(VERSION) => DocumentError::Version(other),
        _ => DocumentError::Form(error),
    })?;
    if document.version != VERSION {
        return Err(DocumentError::Version(document.version.into()));
    }
    let function = match document.function.as_str() {
        telemetry::NAME => Function::Telemetry,
        lifecycle::NAME => Function::Lifecycle,
        _ => return Err(DocumentError::Function(document.function)),
    };
    let letters = document.dead_letters.into_iter().zip(1..).map(|(letter, number)| Letter::of(letter, number));
    Ok(Letters { function, letters: letters.collect() })
}

/// The version of a document that has another form than is read here.
fn version(text: &[u8]) -> Option<u64> {
    #[derive(Deserialize)]
    struct Head {
        version: u64,
    }
    serde_json::from_slice(text).ok().map(|Head { version }| version)
}

impl Letter {
    /// When it came, if that is not in its properties, is in its source time.
    fn of(letter: DeadLetter, number: usize) -> Self {
        Self {
            number,
            partition: letter.partition,
            event: Event {
                body: letter.body.0,
                properties: Properties::from(letter.properties),
                system: Properties::from(letter.system_properties),
                sequence_number: letter.sequence_number,
                enqueued_time: letter.source_time,
            },
            reason: reason(&letter.reason.detail, &letter.reason.relationships),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use bytes::Bytes;
    use jiff::Timestamp;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::dead_letter::{Body, Code, Reason};

    fn document(function: &str, letters: Value) -> Value {
        json!({ "version": 1, "function": function, "time": "2026-01-01T00:00:00Z", "deadLetters": letters })
    }

    fn letter(body: (&str, &str)) -> Value {
        let mut letter = json!({ "reason": { "code": "body", "detail": "why" }, "sourceTime": "2026-01-01T00:00:01Z",
            "sequenceNumber": 7, "partition": "3", "properties": { "dtId": "pump", "n": 1.5 },
            "systemProperties": { "iothub-connection-device-id": "Pump" } });
        letter[body.0] = body.1.into();
        letter
    }

    fn error(document: &Value) -> String {
        parse(document.to_string().as_bytes()).unwrap_err().to_string()
    }

    #[test]
    fn events_come_back_as_they_were() {
        let letters = json!([letter(("body", "{\"Größe\": 1}\r\n")), letter(("bodyBase64", "/wA="))]);
        let text = format!("\u{feff}{}", document(telemetry::NAME, letters));
        let Letters { function, letters } = parse(text.as_bytes()).unwrap();
        assert_eq!(function, Function::Telemetry);
        let bodies: Vec<&[u8]> = letters.iter().map(|letter| &letter.event.body[..]).collect();
        assert_eq!(bodies, ["{\"Größe\": 1}\r\n".as_bytes(), b"\xff\0"]);
        let Letter { number, partition, event, reason } = &letters[1];
        assert_eq!((*number, partition.as_deref(), reason.as_str()), (2, Some("3"), "why"));
        assert_eq!(event.device_id().unwrap().as_str(), "Pump");
        assert_eq!(serde_json::to_value(&event.properties).unwrap(), json!({ "dtId": "pump", "n": 1.5 }));
        assert_eq!(event.source_time().unwrap().to_string(), "2026-01-01T00:00:01Z");
        assert_eq!(event.sequence_number, Some(7));
        let lifecycle = document(lifecycle::NAME, json!([])).to_string();
        assert_eq!(parse(lifecycle.as_bytes()).unwrap().function, Function::Lifecycle);
    }

    proptest! {
        /// Whatever the event: what the app writes comes back the same.
        #[test]
        fn what_was_written_is_what_is_replayed(
            body in prop::collection::vec(any::<u8>(), 0..64),
            text in any::<String>(),
            number in any::<i64>(),
            sequence in prop::option::of(any::<i64>()),
        ) {
            let members = |value: Value| value.as_object().unwrap().clone();
            let properties = json!({ "text": text, "number": number, "null": null });
            let letter = DeadLetter {
                reason: Reason::new(Code::Body, text),
                device_id: None,
                source_time: Timestamp::from_millisecond(number % 1_000_000_000_000).ok(),
                sequence_number: sequence,
                partition: None,
                properties: members(properties.clone()),
                system_properties: members(properties.clone()),
                body: Body(Bytes::copy_from_slice(&body)),
            };
            let source_time = letter.source_time;
            let document = Document::new(telemetry::NAME, Timestamp::UNIX_EPOCH, vec![letter]);
            let read = parse(&serde_json::to_vec(&document).unwrap()).unwrap();
            let event = &read.letters[0].event;
            prop_assert_eq!(&event.body[..], &body[..]);
            prop_assert_eq!(&serde_json::to_value(&event.properties).unwrap(), &properties);
            prop_assert_eq!(&serde_json::to_value(&event.system).unwrap(), &properties);
            prop_assert_eq!((event.sequence_number, event.source_time()), (sequence, source_time));
        }
    }

    #[test]
    fn what_is_no_document_of_ours_is_refused_with_what_it_is() {
        let function = error(&document("Other\u{1b}", json!([])));
        assert!(function.starts_with(r#"it is of the function "Other\u{1b}"; this program replays "#), "{function}");
        let newer = json!({ "version": 2, "events": [] });
        assert_eq!(error(&newer), "it has version 2; this program reads version 1");
        let mut same_form = document(telemetry::NAME, json!([]));
        same_form["version"] = 0.into();
        assert_eq!(error(&same_form), "it has version 0; this program reads version 1");
        for (bad, says) in [
            (json!([]), "no dead-letter document"),
            (json!({}), "missing field"),
            (document(telemetry::NAME, json!({})), "expected a sequence"),
            (document(telemetry::NAME, json!([letter(("bodyBase64", "?"))])), "bodyBase64 is not base64"),
        ] {
            assert!(error(&bad).contains(says), "{}", error(&bad));
        }
        for text in [&b""[..], b"{", b"\xff", b"\0", b"null"] {
            assert!(matches!(parse(text), Err(DocumentError::Form(_))), "{text:?}");
        }
    }

    #[test]
    fn an_event_with_two_bodies_or_none_is_refused() {
        let mut two = letter(("body", "{}"));
        two["bodyBase64"] = "e30=".into();
        assert!(error(&document(telemetry::NAME, json!([two]))).contains("both body and bodyBase64"));
        let mut none = letter(("body", "{}"));
        none.as_object_mut().unwrap().remove("body");
        assert!(error(&document(telemetry::NAME, json!([none]))).contains("neither body nor bodyBase64"));
    }

    #[test]
    fn depth_and_number_are_bounded() {
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        assert!(matches!(parse(deep.as_bytes()), Err(DocumentError::Form(_))));
        let mut nested = letter(("body", "{}")).to_string();
        nested.insert_str(1, &format!("\"x\":{deep},"));
        let text = document(telemetry::NAME, json!(["HERE"])).to_string().replace("\"HERE\"", &nested);
        assert!(matches!(parse(text.as_bytes()), Err(DocumentError::Form(_))));
        let many = vec![letter(("body", "{}")); 10_001];
        assert!(error(&document(telemetry::NAME, many.into())).contains("more than 10000 dead letters"));
    }

    #[test]
    fn folders_and_files_that_are_not_there_are_told() {
        let folder = tempfile::tempdir().unwrap();
        assert!(matches!(read(folder.path()), Err(DocumentError::Folder)));
        assert!(matches!(read(&folder.path().join("absent")), Err(DocumentError::Read(_))));
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(document(telemetry::NAME, json!([])).to_string().as_bytes()).unwrap();
        assert_eq!(read(file.path()).unwrap().letters, []);
    }

    #[test]
    fn a_file_that_is_too_large_is_not_read_to_its_end() {
        let file = tempfile::NamedTempFile::new().unwrap();
        // Sparse: it takes no room on the disk.
        file.as_file().set_len(MAX_BYTES + 10).unwrap();
        assert!(matches!(read(file.path()), Err(DocumentError::TooLarge)));
    }
}
