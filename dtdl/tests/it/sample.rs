//! The repository's own models and sample graph.

use std::collections::BTreeMap;

use dtdl::{Contents, Interface, ModelId, ModelSet, parse_text};
use serde_json::Value;

const SPACE: &[u8] = include_bytes!("../../../models/SpaceModel.json");
const THERMOSTAT: &[u8] = include_bytes!("../../../models/ThermostatModel.json");
const GRAPH: &[u8] = include_bytes!("../../../models/sample-graph.json");

fn models() -> ModelSet {
    let interfaces: Vec<Interface> =
        [SPACE, THERMOSTAT].into_iter().flat_map(|text| parse_text(text).expect("a model")).collect();
    ModelSet::default().with(interfaces).expect("models that fit together")
}

fn contents<'m>(models: &'m ModelSet, model: &str) -> &'m Contents {
    models.contents(&ModelId::parse(model).expect("a model id")).expect("a known model")
}

fn id_of(twin: &Value) -> &str {
    twin["$dtId"].as_str().expect("a twin id")
}

#[test]
fn the_models_have_the_contents_of_the_sample() {
    let models = models();
    for (model, strings, links) in [
        ("dtmi:contosocom:DigitalTwins:Space;1", &["DisplayName", "Location"][..], ["contained", "contains"]),
        (
            "dtmi:contosocom:DigitalTwins:Thermostat;2",
            &["DisplayName", "FirmwareVersion", "HubDeviceId", "HubName", "HubRegistrationId", "Location"],
            ["contains", "serves"],
        ),
    ] {
        let contents = contents(&models, model);
        let of_schema = |wanted: &str| -> Vec<&str> {
            contents
                .properties
                .iter()
                .filter(|(_, property)| property.schema.to_string() == wanted)
                .map(|(name, _)| name.as_str())
                .collect()
        };
        assert_eq!(of_schema("string"), strings, "{model}");
        assert_eq!(of_schema("double"), ["ComfortIndex", "Temperature"], "{model}");
        assert_eq!(contents.relationships.keys().collect::<Vec<_>>(), links, "{model}");
        for link in contents.relationships.values() {
            assert_eq!(link.properties.keys().collect::<Vec<_>>(), ["ownershipDepartment", "ownershipUser"]);
        }
        assert_eq!(contents.len(), strings.len() + 4, "{model}");
    }
}

#[test]
fn every_twin_of_the_sample_graph_fits_its_model() {
    let models = models();
    let graph: Value = serde_json::from_slice(GRAPH).expect("a graph");
    let twins = graph["twins"].as_array().expect("twins");
    for twin in twins {
        let contents = contents(&models, twin["$metadata"]["$model"].as_str().expect("a model"));
        for (name, value) in twin.as_object().expect("an object").iter().filter(|(name, _)| !name.starts_with('$')) {
            let property = contents.properties.get(name).unwrap_or_else(|| panic!("{}: {name}", id_of(twin)));
            property.schema.check(value).unwrap_or_else(|mismatch| panic!("{}: {name}: {mismatch}", id_of(twin)));
        }
    }
    assert_eq!(twins.len(), 4);
}

#[test]
fn every_relationship_of_the_sample_graph_fits_the_model_of_its_source() {
    let models = models();
    let graph: Value = serde_json::from_slice(GRAPH).expect("a graph");
    let twins: BTreeMap<&str, &Value> =
        graph["twins"].as_array().expect("twins").iter().map(|twin| (id_of(twin), twin)).collect();
    let links = graph["relationships"].as_array().expect("relationships");
    for link in links {
        let source = twins[link["$sourceId"].as_str().expect("a source")];
        assert!(twins.contains_key(link["$targetId"].as_str().expect("a target")));
        let contents = contents(&models, source["$metadata"]["$model"].as_str().expect("a model"));
        let declared = &contents.relationships[link["$relationshipName"].as_str().expect("a name")];
        for (name, value) in link.as_object().expect("an object").iter().filter(|(name, _)| !name.starts_with('$')) {
            declared.properties[name].schema.check(value).expect("a value that fits");
        }
    }
    let ids: std::collections::BTreeSet<&str> =
        links.iter().map(|link| link["$relationshipId"].as_str().expect("an id")).collect();
    assert_eq!((links.len(), ids.len()), (3, 3));
}

#[test]
fn one_thermostat_waits_for_its_device() {
    let graph: Value = serde_json::from_slice(GRAPH).expect("a graph");
    let waiting: Vec<&Value> = graph["twins"]
        .as_array()
        .expect("twins")
        .iter()
        .filter(|twin| twin.get("HubRegistrationId").is_some())
        .collect();
    assert_eq!(waiting.len(), 1);
    assert_eq!(waiting[0]["HubRegistrationId"], "thermostat-67");
    for bookkeeping in ["HubDeviceId", "HubName"] {
        assert_eq!(waiting[0].get(bookkeeping), None);
    }
}
