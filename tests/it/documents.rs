//! The documents of the repository: what they say of the code is held against the code.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// Read by libraries or by the host, or set only together with others.
const NOT_IN_TEMPLATE: [&str; 6] = [
    "AZURE_CLIENT_ID",
    "AZURE_CLIENT_SECRET",
    "AZURE_TENANT_ID",
    "FUNCTIONS_CUSTOMHANDLER_PORT",
    "LOCAL_AZURE_ENDPOINTS",
    "RUST_LOG",
];

pub(crate) fn read(path: impl AsRef<Path>) -> String {
    let path = Path::new(ROOT).join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn documents() -> Vec<PathBuf> {
    let mut documents = Vec::new();
    for folder in ["", "docs"] {
        let entries = fs::read_dir(Path::new(ROOT).join(folder)).unwrap();
        documents.extend(
            entries.map(|entry| entry.unwrap().path()).filter(|path| path.extension().is_some_and(|it| it == "md")),
        );
    }
    documents
}

/// The text of the section under `heading`, up to the next heading.
pub(crate) fn section<'a>(document: &'a str, heading: &str) -> &'a str {
    let (_, rest) = document.split_once(&format!("\n{heading}\n")).unwrap_or_else(|| panic!("no section {heading}"));
    rest.find("\n#").map_or(rest, |end| &rest[..end])
}

/// What stands in backticks in the first column of the tables in `section`.
pub(crate) fn first_column(section: &str) -> BTreeSet<String> {
    let cells = section.lines().filter_map(|line| line.strip_prefix("| ")?.split(" | ").next());
    cells.flat_map(|cell| cell.split('`').skip(1).step_by(2)).map(str::to_owned).collect()
}

/// Names of environment variables in string literals of `source`, as far as they are read by its own functions.
fn settings_read_by(source: &str) -> BTreeSet<String> {
    let is_name =
        |text: &&str| text.len() > 3 && text.contains('_') && text.chars().all(|c| c.is_ascii_uppercase() || c == '_');
    source.split('"').skip(1).step_by(2).filter(is_name).map(str::to_owned).collect()
}

#[test]
fn the_readme_names_every_setting_of_the_app_and_no_other() {
    let documented = first_column(section(&read("README.md"), "### Function app"));
    let mut read_by_the_app = settings_read_by(&read("src/settings.rs"));
    read_by_the_app.insert("RUST_LOG".to_owned());
    assert_eq!(documented, read_by_the_app);
}

#[test]
fn the_template_of_local_settings_names_every_setting_that_a_person_sets() {
    let template: serde_json::Value = serde_json::from_str(&read("local.settings.json.template")).unwrap();
    let template: BTreeSet<String> = template["Values"].as_object().unwrap().keys().cloned().collect();
    let missing: Vec<_> = settings_read_by(&read("src/settings.rs"))
        .into_iter()
        .filter(|name| !template.contains(name) && !NOT_IN_TEMPLATE.contains(&name.as_str()))
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn the_readme_names_every_setting_of_the_simulator_and_no_other() {
    let documented = first_column(section(&read("README.md"), "### Device simulator"));
    let template = read("device-simulator/.env.template");
    let names =
        template.lines().filter_map(|line| line.trim_start_matches("# ").split_once("=\"")).map(|(name, _)| name);
    assert_eq!(documented, names.map(str::to_owned).collect());
}

#[test]
fn every_link_to_a_file_leads_to_one() {
    for document in documents() {
        let text = fs::read_to_string(&document).unwrap();
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if target.contains("://") {
                continue;
            }
            let (path, fragment) = target.split_once('#').unwrap_or((target, ""));
            let file = if path.is_empty() { document.clone() } else { document.parent().unwrap().join(path) };
            assert!(file.exists(), "{} links to {target}", document.display());
            if !fragment.is_empty() {
                let headings = fs::read_to_string(&file).unwrap();
                let headings: Vec<String> = headings.lines().filter(|line| line.starts_with('#')).map(anchor).collect();
                assert!(headings.iter().any(|heading| heading == fragment), "{target}: {headings:?}");
            }
        }
    }
}

/// The anchor of a heading, as GitHub makes it.
fn anchor(heading: &str) -> String {
    let text = heading.trim_start_matches('#').trim().to_lowercase();
    text.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c)).map(|c| if c == ' ' { '-' } else { c }).collect()
}

#[test]
fn every_test_that_the_documents_name_exists() {
    let named: BTreeSet<String> = section(&read("docs/architecture.md"), "## What always holds")
        .split('`')
        .skip(1)
        .step_by(2)
        .filter(|text| text.matches('_').count() > 1 && !text.contains(['/', '.']))
        .filter(|text| text.chars().all(|c| c.is_ascii_lowercase() || c == '_'))
        .map(str::to_owned)
        .collect();
    assert!(named.len() > 10, "{named:?}");
    let defined: String = ["src", "tests", "dtdl", "device-simulator", "local-azure"].map(sources_below).concat();
    let missing: Vec<_> = named.iter().filter(|name| !defined.contains(&format!("fn {name}("))).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

pub(crate) fn sources_below(folder: &str) -> String {
    let mut text = String::new();
    let mut folders = vec![Path::new(ROOT).join(folder)];
    while let Some(folder) = folders.pop() {
        for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|it| it == "rs") {
                text.push_str(&fs::read_to_string(path).unwrap());
            }
        }
    }
    text
}

#[test]
fn every_log_line_and_rule_and_code_in_the_operations_guide_is_in_the_code() {
    let guide = read("docs/operations.md");
    let code = sources_below("src");
    let lines = section(&guide, "## Log lines");
    let messages = lines.lines().filter(|line| ["| info", "| warn", "| error"].iter().any(|it| line.starts_with(it)));
    let messages: Vec<&str> = messages.filter_map(|line| line.split('`').nth(1)).collect();
    assert!(messages.len() > 10, "{messages:?}");
    for message in messages {
        let fixed = message.trim_end_matches(" ...").trim_end_matches("SIGTERM");
        assert!(code.contains(fixed), "no log line {message:?}");
    }
    let rules = first_column(section(&guide, "## What becomes of a batch"));
    assert!(rules.len() > 10, "{rules:?}");
    for rule in rules {
        assert!(code.contains(&format!("=> \"{rule}\",")), "no rule {rule}");
    }
    let codes = code.split_once("pub enum Code {").unwrap().1.split_once("\n}").unwrap().0;
    let codes = codes.lines().filter_map(|line| line.trim().strip_suffix(','));
    let codes: BTreeSet<String> = codes.map(|code| code[..1].to_lowercase() + &code[1..]).collect();
    assert_eq!(first_column(section(&guide, "## Dead letters")), codes);
}
