//! What steps look for in documents.

use serde_json::Value;

use super::Reason;

/// Fails with a sentence that says what was found, what was wanted, and where.
pub(super) fn equal<T: PartialEq + std::fmt::Display>(what: &str, found: T, wanted: T) -> Result<(), Reason> {
    if found == wanted { Ok(()) } else { Err(Reason(format!("{what} is {found} and should be {wanted}"))) }
}

/// The member at a JSON pointer.
pub(super) fn member<'v>(document: &'v Value, pointer: &str) -> Result<&'v Value, Reason> {
    document.pointer(pointer).ok_or_else(|| Reason(format!("{pointer} is missing in {document}")))
}

/// The members of two documents that differ, as JSON pointers.
pub(super) fn differences(before: &Value, after: &Value) -> Vec<String> {
    let mut found = Vec::new();
    collect(before, after, "", &mut found);
    found
}

fn collect(before: &Value, after: &Value, at: &str, found: &mut Vec<String>) {
    match (before, after) {
        (Value::Object(old), Value::Object(new)) => {
            for (name, value) in old {
                collect(value, new.get(name).unwrap_or(&Value::Null), &format!("{at}/{name}"), found);
            }
            let added = new.keys().filter(|name| !old.contains_key(*name));
            found.extend(added.map(|name| format!("{at}/{name}")));
        }
        _ if before == after => {}
        _ => found.push(at.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn changed_added_and_removed_members_are_differences() {
        let before = json!({ "a": 1, "b": { "c": 2, "d": 3 }, "e": 4 });
        let after = json!({ "a": 1, "b": { "c": 5, "d": 3 }, "f": 6 });
        assert_eq!(differences(&before, &after), ["/b/c", "/e", "/f"]);
        assert!(differences(&before, &before).is_empty());
    }
}
