//! What the documents show: the code that it is for reads it, or says it.

use std::collections::BTreeSet;

use function_app::dead_letter::Document;
use function_app::telemetry::Mapping;
use local_azure::gate::Fault;
use serde_json::{Value, json};

use crate::documents::{first_column, read, section, sources_below};

/// The block of code in `language` that is in `section`.
fn block<'a>(section: &'a str, language: &str) -> &'a str {
    section.split_once(&format!("```{language}\n")).unwrap().1.split_once("\n```").unwrap().0
}

#[test]
fn every_fault_in_the_guide_is_one() {
    let guide = read("docs/faults.md");
    for (heading, service) in
        [("## Requests", "digital-twins"), ("## Events", "event-hubs"), ("## Handlers", "functions")]
    {
        let effects = first_column(section(&guide, heading));
        assert!(effects.len() > 2, "{effects:?}");
        for effect in effects {
            let effect: Value = serde_json::from_str(&effect).unwrap();
            let fault = json!({ "service": service, "effect": effect });
            assert!(serde_json::from_value::<Fault>(fault.clone()).is_ok(), "{fault}");
        }
    }
    let posted: Vec<&str> = guide.split("-d '").skip(1).map(|rest| rest.split('\'').next().unwrap()).collect();
    assert_eq!(posted.len(), 2);
    for fault in posted {
        assert!(serde_json::from_str::<Fault>(fault).is_ok(), "{fault}");
    }
}

#[test]
fn the_mapping_in_the_guide_is_read() {
    let guide = read("docs/mapping.md");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("mapping.json");
    std::fs::write(&file, block(&guide, "json")).unwrap();
    assert_eq!(Mapping::read(&file).unwrap().models().count(), 1);
}

#[test]
fn the_dead_letter_in_the_guide_is_what_the_app_writes() {
    let guide = read("docs/operations.md");
    let shown: Value = serde_json::from_str(block(section(&guide, "## Dead letters"), "json")).unwrap();
    let document: Document = serde_json::from_value(shown.clone()).unwrap();
    assert_eq!(serde_json::to_value(document).unwrap(), shown);
}

#[test]
fn every_happening_in_the_guide_is_told_and_no_other() {
    let told: BTreeSet<String> = [
        ("local-azure/src/feed.rs", "pub enum Happening {"),
        ("local-azure/src/digital_twins/state.rs", "pub enum Touched {"),
    ]
    .into_iter()
    .flat_map(|(file, head)| variants(&read(file), head))
    .filter(|name| name != "graph")
    .collect();
    assert_eq!(first_column(section(&read("docs/local-azure.md"), "### What happens")), told);
}

/// The variants of an enum in `source`, as JSON has them.
fn variants(source: &str, head: &str) -> Vec<String> {
    let body = source.split_once(head).unwrap().1.split_once("\n}").unwrap().0;
    let variants =
        body.lines().filter_map(|line| line.strip_prefix("    ")).filter(|line| line.starts_with(char::is_uppercase));
    variants.map(|line| line[..1].to_lowercase() + line[1..].split([' ', '(', ',']).next().unwrap()).collect()
}

#[test]
fn every_message_of_ours_in_the_troubleshooting_table_is_in_the_code() {
    let code = ["src", "device-simulator/src", "local-azure/src"].map(sources_below).concat();
    let code = code.split("\\\n").map(str::trim_start).collect::<String>();
    let readme = read("README.md");
    let rows = section(&readme, "## Troubleshooting").lines().filter_map(|line| line.strip_prefix("| `"));
    let messages = rows
        .map(|row| row.split(" | ").next().unwrap())
        .filter(|cell| !["(curl)", "(Node)", "(Python)", "(host log)"].iter().any(|whose| cell.ends_with(whose)))
        .flat_map(|cell| cell.split('`').step_by(2));
    let parts: BTreeSet<String> = messages.flat_map(fixed_parts).collect();
    assert!(parts.len() > 15, "{parts:?}");
    for part in parts {
        assert!(code.contains(&part), "nobody says {part:?}");
    }
}

/// What is the same in a message whatever it is about: several words without a number, a name or a value.
fn fixed_parts(message: &str) -> Vec<String> {
    let varies = |word: &&str| {
        word.contains(|c: char| c.is_ascii_digit() || "<{\"".contains(c))
            || word.contains("...")
            || word.starts_with("--")
            || word.chars().all(|c| c.is_ascii_uppercase() || c == '_')
    };
    let clauses = message.split(": ").flat_map(|clause| clause.split("; it takes "));
    let words = clauses.flat_map(|clause| {
        let words: Vec<&str> = clause.split_whitespace().collect();
        words.split(varies).map(|words| words.join(" ")).collect::<Vec<_>>()
    });
    words.map(|words| words.trim_end_matches(',').to_owned()).filter(|words| words.contains(' ')).collect()
}
