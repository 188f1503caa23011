//! What the fuzzer calls: queries and patches, on the sample graph, and filters of event routes.

use std::{
    collections::BTreeSet,
    num::NonZeroUsize,
    sync::{Arc, LazyLock},
};

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::{
    DigitalTwins, Options, Scheme, State, document, event_route::check_filter, json_patch, patch, query::Continuation,
    twin::Twin, validation, version::ApiVersion,
};
use crate::{clock::Clock, compiled_app, gate::Caller, store::Store};

/// The sample models and graph, and a room with a component.
static INSTANCE: LazyLock<Arc<DigitalTwins>> = LazyLock::new(|| {
    let instance = DigitalTwins::new(Options {
        clock: Clock::manual(Timestamp::UNIX_EPOCH),
        gate: Arc::default(),
        accepts_token: Arc::new(|_| Some(Caller::Other)),
        query_lag: SignedDuration::ZERO,
        endpoints: BTreeSet::new(),
        store: Store::new(State::default()),
        scheme: Scheme::Https,
    });
    let read = |text: &str| serde_json::from_str::<Value>(text).unwrap_or_default();
    let models = compiled_app::MODELS.into_iter().map(read).chain([read(ROOM_MODEL)]).collect::<Vec<_>>();
    let loaded = instance.upload_models(&models);
    assert!(loaded.is_ok(), "{loaded:?}");
    for graph in [compiled_app::SAMPLE_GRAPH, ROOM] {
        let loaded = instance.load_graph(&read(graph));
        assert!(loaded.is_ok(), "{loaded:?}");
    }
    instance
});

const ROOM_ID: &str = "room";
const ROOM_MODEL: &str = r#"{
    "@context": "dtmi:dtdl:context;2", "@id": "dtmi:fuzzing:Room;1", "@type": "Interface",
    "extends": "dtmi:contosocom:DigitalTwins:Space;1",
    "contents": [
        { "@type": "Component", "name": "sensor", "schema": "dtmi:contosocom:DigitalTwins:Thermostat;2" },
        { "@type": "Property", "name": "tags", "schema": { "@type": "Map",
            "mapKey": { "name": "k", "schema": "string" }, "mapValue": { "name": "v", "schema": "string" } } },
        { "@type": "Property", "name": "size", "schema": { "@type": "Object", "fields": [
            { "name": "width", "schema": "double" }, { "name": "floors", "schema": "integer" } ] } }
    ]
}"#;
const ROOM: &str = r#"{ "twins": [{
    "$dtId": "room", "$metadata": { "$model": "dtmi:fuzzing:Room;1" }, "tags": { "a": "b" }, "size": { "width": 2 },
    "sensor": { "$metadata": {}, "Temperature": 20.5 }
}] }"#;

/// Runs any text as a query, as one page and row by row.
///
/// # Panics
/// When both do not give the same.
pub fn query(text: &[u8]) {
    const PAGES: usize = 64;
    let Ok(text) = std::str::from_utf8(text) else { return };
    let page = |token: Option<&str>, size| {
        let query = token.is_none().then_some(text);
        INSTANCE.query(query, token, size, ApiVersion::LATEST)
    };
    let whole = match page(None, NonZeroUsize::MAX) {
        Ok(whole) => whole,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            return;
        }
    };
    assert!(whole.next.is_none(), "one page holds all rows");
    let (mut rows, mut token) = (Vec::new(), None::<String>);
    for _ in 0..PAGES {
        let found = page(token.as_deref(), NonZeroUsize::MIN);
        assert!(found.is_ok(), "{found:?}");
        let Ok(found) = found else { return };
        rows.extend(found.rows);
        match found.next.as_ref().map(Continuation::to_token) {
            Some(next) => token = Some(next),
            None => {
                assert_eq!(rows, whole.rows, "row by row there are others");
                return;
            }
        }
    }
    assert!(whole.rows.starts_with(&rows), "row by row there are others");
}

/// Carries any bytes out as a patch of a twin with components, maps and objects.
///
/// # Panics
/// When a patch makes a twin that could not be put.
pub fn patch(body: &[u8]) {
    let operations = match json_patch::parse(body) {
        Ok(operations) => operations,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            return;
        }
    };
    INSTANCE.read(|state| {
        let Some(before) = state.graph.twin(ROOM_ID) else { return };
        let (version, now) = (ApiVersion::LATEST, Timestamp::UNIX_EPOCH);
        match patch::twin(before, &operations, &state.models, version, now) {
            Err(error) => assert!(!error.to_string().is_empty()),
            Ok(after) if validation::twin(&after, &state.models).is_err() => {}
            Ok(after) => {
                let wire = serde_json::to_value(after.wire(version)).unwrap_or_default();
                let put = document::twin(after.id, wire.clone(), &state.models, version, now);
                let valid = put.as_ref().is_ok_and(|put: &Twin| validation::twin(put, &state.models).is_ok());
                assert!(valid, "{wire} cannot be put: {:?}", put.err());
            }
        }
    });
}

/// Reads any text as the filter of an event route.
///
/// # Panics
/// When a fault is not within the text, or a filter is none any more once it is part of another.
pub fn filter(text: &[u8]) {
    let Ok(text) = std::str::from_utf8(text) else { return };
    match check_filter(text) {
        Err(fault) => {
            let (line, position) = fault.place();
            // A fault can be the end, which is behind the last line break where there is one.
            let length = text.split('\n').nth(line.saturating_sub(1)).map(|line| line.chars().count());
            assert!(line > 0 && length.is_some_and(|length| (1..=length + 1).contains(&position)), "{text:?}: {fault}");
        }
        Ok(()) => {
            for larger in [format!("{text} OR {text}"), format!("true AND ({text})")] {
                let result = check_filter(&larger);
                let is_too_deep = result.as_ref().is_err_and(|fault| fault.to_string().contains("deeper"));
                assert!(result.is_ok() || is_too_deep, "{larger:?}: {result:?}");
            }
            assert!(check_filter(&format!("({text}) = 1")).is_err(), "{text:?} is no operand");
        }
    }
}
