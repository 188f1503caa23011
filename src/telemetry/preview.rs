//! What a message would write, without a twin, a device or a service.

use std::collections::{HashMap, HashSet};

use dtdl::{ModelId, ModelSet};
use jiff::Timestamp;

use super::body;
use super::mapping::Mapping;
use super::nearest::nearest;
use super::plan::{Reading, Target};
use super::unknown::candidates;
use crate::binding::is_bookkeeping;
use crate::digital_twins::Patch;
use crate::outcome::Outcome;

/// What a message would write into a twin that took nothing yet.
#[derive(Debug, Clone, PartialEq)]
pub struct Preview {
    /// The patch, without source times.
    pub patch: Patch,
    /// What would become of the message.
    pub outcome: Outcome,
    /// What it does not write, and why; one line each.
    pub left_out: Vec<String>,
}

/// What the message `body` would write into a twin of `model`; `component` as in the message's `dt-subject`.
///
/// # Errors
/// Why the body cannot be read; such a message would be a dead letter.
pub fn preview(
    body: &[u8],
    component: Option<&str>,
    model: &ModelId,
    models: &ModelSet,
    mapping: &Mapping,
) -> Result<Preview, String> {
    let members = body::members(body).map_err(|error| error.to_string())?;
    let target = Target { model, models, mapping, stamps: &HashMap::new(), now: Timestamp::UNIX_EPOCH };
    let reading = Reading::of(&members, component, target);
    let mut left_out: Vec<String> = reading.refused.clone();
    let own = models.contents(model);
    let contents = match component {
        None => own,
        Some(name) => own.and_then(|own| models.contents(own.components.get(name)?)),
    };
    for (component, name) in &reading.unknown {
        let place = component.as_ref().map_or_else(|| name.clone(), |component| format!("{component}.{name}"));
        let nearest = candidates(model, models, component.as_deref()).and_then(|names| nearest(name, names));
        let nearest = nearest.map_or_else(String::new, |near| format!("; the nearest is {near}"));
        left_out.push(format!("{place}: the model does not know it (names match exactly){nearest}"));
    }
    for name in members.keys() {
        let is_telemetry = contents
            .is_some_and(|contents| contents.telemetries.contains_key(name) && !contents.properties.contains_key(name));
        if component.is_none() && is_bookkeeping(name) {
            left_out.push(format!("{name}: a bookkeeping property, which telemetry never writes"));
        } else if is_telemetry && !mapping.reads(name, model, models) {
            left_out.push(format!("{name}: telemetry in the model, and no property: a twin does not keep it"));
        }
    }
    let outcome = reading.outcome(!reading.values.is_empty(), model);
    let values = reading.values.into_iter();
    let mut written = HashSet::new();
    let values = values.filter(|(path, _)| written.insert(path.clone()));
    let patch = values.fold(Patch::new(), |patch, (path, value)| patch.add(path, value));
    Ok(Preview { patch, outcome, left_out })
}

#[cfg(test)]
mod tests {
    use dtdl::Interface;
    use serde_json::json;

    use super::*;

    const MODEL: &str = "dtmi:test:Pump;1";

    fn previewed(body: &str) -> Result<Preview, String> {
        let model = json!({ "@context": "dtmi:dtdl:context;2", "@id": MODEL, "@type": "Interface", "contents": [
            { "@type": "Property", "name": "Temperature", "schema": "double" },
            { "@type": "Property", "name": "HubName", "schema": "string" },
            { "@type": "Telemetry", "name": "Vibration", "schema": "double" }] });
        let models = ModelSet::default().with([Interface::parse(&model).unwrap()]).unwrap();
        let mapping = json!({ "version": 1, "models": { MODEL: [{ "from": "/t", "to": "/Temperature" }] } });
        let mapping = Mapping::parse(mapping.to_string().as_bytes()).unwrap();
        preview(body.as_bytes(), None, &MODEL.parse().unwrap(), &models, &mapping)
    }

    #[test]
    fn each_member_is_written_or_left_out_with_its_reason() {
        let preview = previewed(r#"{"t":21,"Temperature":3,"temp":4,"HubName":"x","Vibration":1}"#).unwrap();
        assert_eq!(preview.patch.to_json(), json!([{ "op": "add", "path": "/Temperature", "value": 21 }]));
        assert_eq!(preview.outcome, Outcome::Applied);
        assert_eq!(
            preview.left_out,
            [
                "temp: the model does not know it (names match exactly)",
                "HubName: a bookkeeping property, which telemetry never writes",
                "Vibration: telemetry in the model, and no property: a twin does not keep it",
            ]
        );
    }

    #[test]
    fn a_value_that_does_not_fit_is_told_as_the_dead_letter_would() {
        let preview = previewed(r#"{"t":"24,7"}"#).unwrap();
        assert!(preview.patch.is_empty() && matches!(preview.outcome, Outcome::DeadLetter(_)));
        assert_eq!(preview.left_out, [r#"/Temperature: expected a number (double), got the string "24,7""#]);
        assert_eq!(previewed("[1]").unwrap_err(), "the body is an array; a JSON object was expected");
    }
}
