//! Recorded and constructed payloads in `tests/fixtures`.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests")
}

/// The bytes of `tests/fixtures/<folder>/<name>`.
pub fn bytes(folder: &str, name: &str) -> Vec<u8> {
    let path = root().join("fixtures").join(folder).join(name);
    fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The same as JSON.
pub fn json(folder: &str, name: &str) -> Value {
    serde_json::from_slice(&bytes(folder, name)).unwrap()
}

fn sources(folder: &Path, text: &mut String) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, text);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            text.push_str(&fs::read_to_string(&path).unwrap());
        }
    }
}

#[test]
fn every_fixture_is_used_by_a_test() {
    let mut text = String::new();
    sources(&root().join("it"), &mut text);
    for folder in ["functions", "adt"] {
        for entry in fs::read_dir(root().join("fixtures").join(folder)).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            assert!(text.contains(&format!("\"{name}\"")), "no test uses {folder}/{name}");
        }
    }
}

#[test]
fn the_index_names_every_payload() {
    let index = json("functions", "index.json").to_string();
    for entry in fs::read_dir(root().join("fixtures/functions")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let is_expectation = name.starts_with("decoded-") || name == "index.json";
        assert!(is_expectation || index.contains(&format!("\"{name}\"")), "index.json does not say what {name} is");
    }
}
