//! The coverage tables of the documentation say what the routers have.

use std::collections::BTreeMap;

use local_azure::{digital_twins, dps, functions_host::Operation, iot_hub};

const DOCUMENT: &str = include_str!("../../../docs/local-azure.md");

/// What the table of a service says of each operation, by method and path.
fn coverage(service: &str) -> BTreeMap<&'static str, &'static str> {
    let heading = format!("\n### {service}, operation by operation\n");
    let (_, section) = DOCUMENT.split_once(&heading).unwrap();
    let section = section.split("\n#").next().unwrap();
    let rows: Vec<(&str, &str)> = section
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once("` | "))
        .map(|(operation, rest)| (operation, rest.split(" |").next().unwrap()))
        .collect();
    let coverage: BTreeMap<&str, &str> = rows.iter().copied().collect();
    assert_eq!(coverage.len(), rows.len(), "an operation of {service} stands in two rows");
    coverage
}

/// Every operation has a row that says it is there, and every row that says so has an operation.
fn hold(service: &str, operations: impl Iterator<Item = (&'static str, &'static str, &'static str)>) {
    let mut coverage = coverage(service);
    for (method, path, name) in operations {
        let state = coverage.remove(format!("{method} {path}").as_str());
        let state = state.unwrap_or_else(|| panic!("{name} of {service} ({method} {path}) has no row"));
        assert!(["done", "partly", "our choice"].contains(&state), "{method} {path} is there, and not \"{state}\"");
    }
    let claimed: Vec<_> = coverage.into_iter().filter(|(_, state)| *state != "no").collect();
    assert!(claimed.is_empty(), "{service} does not have {claimed:?}");
}

#[test]
fn the_table_of_azure_digital_twins_is_that_of_its_router() {
    hold("Azure Digital Twins", digital_twins::operations());
}

#[test]
fn the_table_of_dps_is_that_of_its_routers() {
    hold("Device Provisioning Service", dps::operations());
}

#[test]
fn the_table_of_iot_hub_is_that_of_its_routers() {
    hold("IoT Hub", iot_hub::operations());
}

#[test]
fn the_table_of_the_functions_host_is_that_of_its_own_operations() {
    let operations = Operation::ALL.into_iter().flat_map(|operation| {
        let path = operation.template();
        operation.methods().iter().map(move |method| (method.as_str(), path, path))
    });
    hold("Functions host", operations);
}
