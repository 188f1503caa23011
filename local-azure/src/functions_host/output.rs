//! What becomes of the members of `Outputs`.
//!
//! Source: azure-functions-host, `HttpScriptInvocationResultExtensions.cs` and `FunctionBinding.cs`.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;
use jiff::Timestamp;
use serde_json::{Map, Value};

use super::{
    app::BlobOutput,
    blobs::{Blob, Blobs, Full},
};

/// Writes the blobs of an answer.
///
/// # Errors
/// [`Full`]: the invocation fails then, although the handler did well.
pub(super) fn write_blobs(
    bindings: &[BlobOutput],
    outputs: &Map<String, Value>,
    blobs: &Blobs,
    now: Timestamp,
) -> Result<(), Full> {
    for binding in bindings {
        let Some(content) = outputs.get(&binding.name).and_then(|value| content(value, binding.decodes_base64)) else {
            continue;
        };
        blobs.put(binding.path.container(), &binding.path.name(now), Blob { content, last_modified: now })?;
    }
    Ok(())
}

/// What a blob holds for a value; `None` for null, which writes none.
///
/// The trap: text that happens to be valid base64 is decoded (azure-functions-host issue 8352).
fn content(value: &Value, decodes_base64: bool) -> Option<Bytes> {
    Some(match value {
        Value::Null => return None,
        Value::String(text) => match decoded(text).filter(|_| decodes_base64) {
            Some(bytes) => bytes.into(),
            None => text.clone().into(),
        },
        Value::Bool(flag) => Bytes::from_static(if *flag { b"True" } else { b"False" }),
        Value::Number(_) | Value::Array(_) | Value::Object(_) => value.to_string().into(),
    })
}

/// Base64 as `Convert.FromBase64String` takes it: padded, with white space anywhere.
fn decoded(text: &str) -> Option<Vec<u8>> {
    let compact: String = text.chars().filter(|letter| !matches!(letter, ' ' | '\t' | '\r' | '\n')).collect();
    BASE64_STANDARD.decode(compact).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_become_bytes_as_the_host_makes_them() {
        let cases: [(Value, Option<&[u8]>); 8] = [
            (json!({ "a": [1, "ä"] }), Some("{\"a\":[1,\"ä\"]}".as_bytes())),
            (json!([{ "a": 1 }]), Some(br#"[{"a":1}]"#)),
            (json!("plain text"), Some(b"plain text")),
            (json!("test"), Some(&[0xb5, 0xeb, 0x2d])),
            (json!("te st\n"), Some(&[0xb5, 0xeb, 0x2d])),
            (json!(4.5), Some(b"4.5")),
            (json!(true), Some(b"True")),
            (json!(null), None),
        ];
        for (value, expected) in cases {
            assert_eq!(content(&value, true).as_deref(), expected, "{value}");
        }
        assert_eq!(content(&json!("test"), false).as_deref(), Some(&b"test"[..]));
    }
}
