//! Exchanges with the real service, recorded by the tests of its official SDKs, and what was there before each.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, json};

use super::client::{component, model, property, relationship, twin};

const FILES: [(&str, &str); 8] = [
    ("models", include_str!("../../fixtures/adt/models.json")),
    ("twins", include_str!("../../fixtures/adt/twins.json")),
    ("components", include_str!("../../fixtures/adt/components.json")),
    ("relationships", include_str!("../../fixtures/adt/relationships.json")),
    ("query", include_str!("../../fixtures/adt/query.json")),
    ("telemetry", include_str!("../../fixtures/adt/telemetry.json")),
    ("eventroutes", include_str!("../../fixtures/adt/eventroutes.json")),
    ("jobs", include_str!("../../fixtures/adt/jobs.json")),
];

/// Exchanges that are not had again: file, index in it, and why.
pub(super) const LEFT_OUT: [(&str, usize, &str); 2] = [
    ("models", 14, "the recording keeps no models of a page of 100"),
    ("query", 2, "the recording keeps one of five rows, and its token is the service's own"),
];

#[derive(Deserialize)]
pub(super) struct Exchange {
    pub(super) source: String,
    pub(super) request: Recorded,
    pub(super) response: Recorded,
}

#[derive(Deserialize)]
pub(super) struct Recorded {
    #[serde(default)]
    pub(super) method: String,
    #[serde(default)]
    pub(super) path: String,
    #[serde(default)]
    pub(super) status: u16,
    pub(super) headers: BTreeMap<String, String>,
    pub(super) body: Value,
}

/// What was there when a recording began.
#[derive(Default)]
pub(super) struct Before {
    pub(super) models: Vec<Value>,
    pub(super) graph: Value,
    /// Twins that are deleted again, after queries have seen them.
    pub(super) deleted: Vec<&'static str>,
    /// A twin whose version the recording knows without having asked for it.
    pub(super) known: Option<(&'static str, &'static str)>,
    pub(super) lag: i64,
    /// Seconds between two exchanges.
    pub(super) pace: i64,
    /// Whether the recording shows the service's limits at work.
    pub(super) is_limited: bool,
}

const FLOOR: &str = "dtmi:example:floor;11867004";
const ROOM: &str = "dtmi:example:room;189032345";
const BUILDING: &str = "dtmi:samples:DTTestBuilding;1";
const COMPONENT: &str = "dtmi:com:samples:DTComponentTestsComponent;1";
const WITH_COMPONENT: &str = "dtmi:com:samples:DTComponentTestsModel;1";
const PLACE: &str = "dtmi:com:samples:DTRelationshipTestsPlace;1";

fn building() -> Vec<Value> {
    vec![model(BUILDING, json!([property("AverageTemperature", "double"), property("TemperatureUnit", "string")]))]
}

fn building_twin(id: &str) -> Value {
    let mut building = twin(BUILDING, json!({ "AverageTemperature": 68, "TemperatureUnit": "Celsius" }));
    building["$dtId"] = id.into();
    building
}

fn with_component() -> Before {
    let mut graph_twin = twin(
        WITH_COMPONENT,
        json!({ "Prop1": "value", "Component1": { "ComponentProp1": "value1", "$metadata": {} } }),
    );
    graph_twin["$dtId"] = "DTComponentTestsTempTwin".into();
    Before {
        models: vec![
            model(COMPONENT, json!([property("ComponentProp1", "string")])),
            model(WITH_COMPONENT, json!([property("Prop1", "string"), component("Component1", COMPONENT)])),
        ],
        graph: json!({ "twins": [graph_twin] }),
        ..Before::default()
    }
}

fn with_relationship() -> Before {
    let place = |id: &str| {
        let mut place = twin(PLACE, json!({}));
        place["$dtId"] = id.into();
        place
    };
    Before {
        models: vec![model(PLACE, json!([relationship("has"), relationship("contains")]))],
        graph: json!({
            "twins": [
                place("DTRelationshipTestsBuildingTwin"),
                place("DTRelationshipTestsFloorTwin"),
                place("DTRelationshipTestsRoomTwin"),
            ],
            "relationships": [{
                "$relationshipId": "BuildingHasFloor",
                "$sourceId": "DTRelationshipTestsBuildingTwin",
                "$relationshipName": "has",
                "$targetId": "DTRelationshipTestsFloorTwin",
                "isAccessRestricted": false,
            }],
        }),
        ..Before::default()
    }
}

fn with_many_relationships() -> Before {
    let (floor, room) = ("floorTwin1629154322", "roomTwin655853303");
    let edge = |id: String, source: &str, name: &str, target: &str| {
        json!({
            "$relationshipId": id, "$sourceId": source, "$relationshipName": name, "$targetId": target,
            "isAccessRestricted": true,
        })
    };
    let edges: Vec<Value> = (0..=20)
        .flat_map(|n| {
            [
                edge(format!("FloorToRoomRelationship-{n}-1986313360"), floor, "contains", room),
                edge(format!("RoomToFloorRelationship-{n}-1986313360"), room, "containedIn", floor),
            ]
        })
        .collect();
    let twin_of = |id: &str, model: &str| json!({ "$dtId": id, "$metadata": { "$model": model } });
    Before {
        models: vec![
            model(FLOOR, json!([relationship("contains"), property("AverageTemperature", "double")])),
            model(ROOM, json!([relationship("containedIn")])),
        ],
        graph: json!({ "twins": [twin_of(floor, FLOOR), twin_of(room, ROOM)], "relationships": edges }),
        ..Before::default()
    }
}

/// What was there before each recording, by a part of its name; nothing where none of these fits.
pub(super) fn before(source: &str) -> Before {
    let has = |part: &str| source.contains(part);
    if has("test_decommission_model_already_decommissioned") {
        let mut temp = model("dtmi:com:samples:TempModel3df33714;1", json!([property("Prop1", "string")]));
        temp["displayName"] = "TempModel".into();
        return Before { models: vec![temp], ..Before::default() };
    }
    if has("recording_get_model_with_definition") {
        let definition = json!({
            "@id": "dtmi:samples:DTModelTestsComponent;1",
            "@type": "Interface",
            "@context": "dtmi:dtdl:context;2",
            "displayName": "Component1",
            "contents": [
                property("ComponentProp1", "string"),
                { "@type": "Telemetry", "name": "ComponentTelemetry1", "schema": "integer" },
            ],
        });
        return Before { models: vec![definition], ..Before::default() };
    }
    if has("Query_GetTwinCount") {
        let mut room = twin(ROOM, json!({ "IsOccupied": true }));
        room["$dtId"] = "roomTwin2146194228".into();
        return Before {
            models: vec![model(ROOM, json!([property("IsOccupied", "boolean")]))],
            graph: json!({ "twins": [room] }),
            lag: 6,
            pace: 4,
            ..Before::default()
        };
    }
    if has("recording_query_digital_twin_invalid_expression") {
        let id = "digitalTwin161015523577706215";
        let graph = json!({ "twins": [building_twin(id)] });
        return Before { models: building(), graph, deleted: vec![id], lag: 10, pace: 1, ..Before::default() };
    }
    if has("test_publish_telemetry_with_message_id") {
        let graph = json!({ "twins": [building_twin("digitalTwin-d055346d")] });
        return Before { models: building(), graph, ..Before::default() };
    }
    if has("test_update_component_conditionally_if_not_modified") {
        let known = Some(("W/\"a50103ae-4235-4c91-83c3-f4b483168efd\"", "DTComponentTestsTempTwin"));
        return Before { known, ..with_component() };
    }
    if has("test_components.py") && !has("test_publish_component_telemetry_not_existing") {
        return with_component();
    }
    if has("Relationships_PaginationWorks") {
        return with_many_relationships();
    }
    if has("test_relationships.py") || has("recorded 2022-03-31") {
        return with_relationship();
    }
    if has("_digitaltwin_") || has("update_digital_twin") {
        return Before { models: building(), ..Before::default() };
    }
    Before { is_limited: has("ImportTests"), ..Before::default() }
}

/// All exchanges: the file of each, and its place there.
pub(super) fn exchanges() -> Vec<(&'static str, usize, Exchange)> {
    let read = |(file, text): (&'static str, &str)| {
        let exchanges: Vec<Exchange> = serde_json::from_str(text).unwrap();
        exchanges.into_iter().enumerate().map(move |(index, exchange)| (file, index, exchange)).collect::<Vec<_>>()
    };
    FILES.into_iter().flat_map(read).collect()
}
