//! The coverage table of the documentation says what the router has.

use std::collections::BTreeMap;

use local_azure::digital_twins::operations;

const DOCUMENT: &str = include_str!("../../../../docs/local-azure.md");
const HEADING: &str = "\n### Azure Digital Twins, operation by operation\n";

/// What the table says of each operation, by method and path.
fn coverage() -> BTreeMap<&'static str, &'static str> {
    let (_, section) = DOCUMENT.split_once(HEADING).unwrap();
    let section = section.split("\n#").next().unwrap();
    let rows: Vec<(&str, &str)> = section
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once("` | "))
        .map(|(operation, rest)| (operation, rest.split(" |").next().unwrap()))
        .collect();
    let coverage: BTreeMap<&str, &str> = rows.iter().copied().collect();
    assert_eq!(coverage.len(), rows.len(), "an operation stands in two rows");
    coverage
}

#[test]
fn every_operation_has_a_row_and_every_row_that_claims_one_has_an_operation() {
    let mut coverage = coverage();
    for (method, path, name) in operations() {
        let state = coverage.remove(format!("{method} {path}").as_str());
        let state = state.unwrap_or_else(|| panic!("{name} ({method} {path}) has no row"));
        assert!(["done", "partly", "our choice"].contains(&state), "{method} {path} is there, and not \"{state}\"");
    }
    let claimed: Vec<_> = coverage.into_iter().filter(|(_, state)| *state != "no").collect();
    assert!(claimed.is_empty(), "the router does not have {claimed:?}");
}
