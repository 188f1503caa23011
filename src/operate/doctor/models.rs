//! Which guards each model carries, whether devices can ask for it, and whether the mapping fits it.

use std::collections::BTreeMap;

use dtdl::{Interface, ModelId, ModelSet, Schema};

use super::finding::Finding;
use crate::binding::{HUB_DEVICE_ID, HUB_NAME, HUB_REGISTRATION_ID};
use crate::digital_twins::{PropertyName, StoredModel};
use crate::settings::{AllowedModels, ModelPattern};
use crate::telemetry::Mapping;

/// The bookkeeping properties, and what is lost in a model without one.
const GUARDS: [(PropertyName, &str); 3] = [
    (
        HUB_REGISTRATION_ID,
        "twins prepared under another id than the device's are not found, and a deletion that is reported late cannot be \
         told from one after which the device registered anew",
    ),
    (
        HUB_DEVICE_ID,
        "a device whose id in IoT Hub is not its registration id sends to no twin, and its deletion removes none",
    ),
    (HUB_NAME, "a move between hubs cannot be told from a deletion: the old hub reports one, and the twin goes"),
];

/// What is to be said about the models of an instance.
pub(super) fn findings(stored: &[StoredModel], allowed: &AllowedModels, mapping: &Mapping) -> Vec<Finding> {
    let mut findings = Vec::new();
    if stored.is_empty() {
        findings.push(
            Finding::problem("models", "Azure Digital Twins has none, so that no device can get a twin")
                .advise("upload them: az dt model create -n <instance> --from-directory models"),
        );
    }
    let models = readable(stored, &mut findings);
    for id in models.iter().map(Interface::id) {
        findings.extend(guards(&models, id));
        if allowed.allows(id) && stored.iter().any(|model| model.id == *id && model.is_decommissioned) {
            findings.push(Finding::note(id.as_str(), "is decommissioned: no new twins can have it"));
        }
        let faults = mapping.check(id, &models);
        findings.extend(faults.iter().map(|fault| {
            Finding::warning(id.as_str(), format_args!("a rule of the mapping does not fit: {fault}"))
                .advise("mend the rule in TELEMETRY_MAPPING_FILE, and try it with handler map-test")
        }));
    }
    let is_there = |id: &ModelId| stored.iter().any(|model| model.id == *id);
    for id in mapping.models().filter(|id| !is_there(id)) {
        let text = format_args!("has rules for {id}, which Azure Digital Twins does not have");
        findings.push(Finding::warning("mapping", text).advise("upload the model, or mend TELEMETRY_MAPPING_FILE"));
    }
    findings.extend(unmatched(allowed, stored));
    findings
}

/// The models that can be read, with all that they need. Of the others it is said why they cannot.
fn readable(stored: &[StoredModel], findings: &mut Vec<Finding>) -> ModelSet {
    const ADVICE: &str = "its devices get no twins, and its twins no telemetry; please report the model as an issue";
    let mut interfaces = BTreeMap::new();
    for model in stored {
        match &model.interface {
            Ok(interface) => drop(interfaces.insert(model.id.clone(), interface)),
            Err(reason) => {
                let text = format_args!("cannot be read: {reason}");
                findings.push(Finding::problem(model.id.as_str(), text).advise(ADVICE));
            }
        }
    }
    loop {
        let lacking = |(id, interface): (&ModelId, &&Interface)| {
            let missing = interface.references().find(|needed| !interfaces.contains_key(needed))?;
            Some((id.clone(), format!("needs {missing}, which cannot be read")))
        };
        let out = match interfaces.iter().find_map(lacking) {
            Some(lacking) => lacking,
            None => match ModelSet::default().with(interfaces.values().copied().cloned()) {
                Ok(models) => return models,
                Err(error) => match error.model().and_then(|id| ModelId::parse(id).ok()) {
                    Some(id) => (id, error.to_string()),
                    None => {
                        findings.push(Finding::problem("models", format_args!("do not fit together: {error}")));
                        return ModelSet::default();
                    }
                },
            },
        };
        let (id, reason) = out;
        findings.push(Finding::problem(id.as_str(), reason).advise(ADVICE));
        if interfaces.remove(&id).is_none() {
            return ModelSet::default();
        }
    }
}

/// The guards that a model carries. To lack one is no problem by itself, and what is lost is said.
fn guards(models: &ModelSet, id: &ModelId) -> Vec<Finding> {
    let schema = |name: PropertyName| Some(&models.contents(id)?.properties.get(name.as_str())?.schema);
    let missing = GUARDS.iter().filter(|(name, _)| schema(*name) != Some(&Schema::String));
    match missing.clone().count() {
        0 => vec![Finding::good(id.as_str(), "carries all guards (HubRegistrationId, HubDeviceId, HubName)")],
        3 if GUARDS.iter().all(|(name, _)| schema(*name).is_none()) => vec![Finding::note(
            id.as_str(),
            "has none of HubRegistrationId, HubDeviceId and HubName: fine for what is no device. A device of it has the \
             twin that bears its name, and no HubName: a move between hubs cannot be told from a deletion",
        )],
        _ => missing
            .map(|(name, loss)| {
                let name = name.as_str();
                let has = match models.contents(id).is_some_and(|contents| contents.properties.contains_key(name)) {
                    true => "is not of schema string",
                    false => "is missing",
                };
                Finding::warning(id.as_str(), format_args!("{name} {has}: {loss}"))
                    .advise(format!("give a new version of the model a property {name} of schema string"))
            })
            .collect(),
    }
}

/// What `ALLOCATION_MODELS` names that is not there.
fn unmatched(allowed: &AllowedModels, stored: &[StoredModel]) -> Vec<Finding> {
    let AllowedModels::Listed(patterns) = allowed else { return Vec::new() };
    let is_there = |pattern: &ModelPattern| match pattern {
        ModelPattern::Exact(id) => stored.iter().any(|model| model.id == *id),
        ModelPattern::Prefix(prefix) => stored.iter().any(|model| model.id.as_str().starts_with(prefix.as_str())),
    };
    let missing = patterns.iter().filter(|pattern| !is_there(pattern)).map(|pattern| match pattern {
        ModelPattern::Exact(id) => id.to_string(),
        ModelPattern::Prefix(prefix) => format!("{prefix}*"),
    });
    let finding = |pattern: String| {
        Finding::warning(
            "ALLOCATION_MODELS",
            format_args!("names {pattern}, and Azure Digital Twins has no such model"),
        )
        .advise("upload the model, or mend the setting")
    };
    missing.map(finding).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::finding::Level;
    use super::*;

    fn stored(id: &str, properties: &[(&str, &str)]) -> StoredModel {
        let contents: Vec<_> = properties
            .iter()
            .map(|(name, schema)| json!({ "@type": "Property", "name": name, "schema": schema }))
            .collect();
        let model = json!({ "@context": "dtmi:dtdl:context;2", "@id": id, "@type": "Interface", "contents": contents });
        let interface = Interface::parse(&model).map_err(|error| error.to_string());
        StoredModel { id: id.parse().unwrap(), is_decommissioned: false, interface }
    }

    fn stored_in(models: &[StoredModel]) -> Vec<Finding> {
        findings(models, &AllowedModels::Any, &Mapping::default())
    }

    #[test]
    fn each_model_is_told_by_the_guards_that_it_carries() {
        let (registration, device, hub) =
            (("HubRegistrationId", "string"), ("HubDeviceId", "string"), ("HubName", "string"));
        for (properties, level, says) in [
            (vec![registration, device, hub], Level::Good, vec!["carries all guards"]),
            (
                vec![registration, device],
                Level::Warning,
                vec!["HubName is missing: a move between hubs cannot be told"],
            ),
            (vec![registration, hub], Level::Warning, vec!["HubDeviceId is missing"]),
            (vec![hub], Level::Warning, vec!["HubRegistrationId is missing", "HubDeviceId is missing"]),
            (vec![], Level::Note, vec!["a move between hubs cannot be told from a deletion"]),
            (
                vec![registration, device, ("HubName", "integer")],
                Level::Warning,
                vec!["HubName is not of schema string"],
            ),
        ] {
            let found = stored_in(&[stored("dtmi:a:Pump;1", &properties)]);
            assert_eq!(found.len(), says.len(), "{properties:?}");
            for (finding, says) in found.iter().zip(says) {
                assert!(finding.level == level && finding.to_string().contains(says), "{properties:?}: {finding}");
            }
        }
    }

    #[test]
    fn one_model_that_cannot_be_read_hides_only_those_that_need_it() {
        let heir = |id: &str, parent: &str| {
            let model =
                json!({ "@context": "dtmi:dtdl:context;2", "@id": id, "@type": "Interface", "extends": parent });
            StoredModel { interface: Ok(Interface::parse(&model).unwrap()), ..stored(id, &[]) }
        };
        let broken = StoredModel { interface: Err("what is this?".to_owned()), ..stored("dtmi:a:Broken;1", &[]) };
        let models = [
            broken,
            heir("dtmi:a:Child;1", "dtmi:a:Broken;1"),
            heir("dtmi:a:Grandchild;1", "dtmi:a:Child;1"),
            stored("dtmi:a:Room;1", &[]),
            heir("dtmi:a:Loop;1", "dtmi:a:Loop;2"),
            heir("dtmi:a:Loop;2", "dtmi:a:Loop;1"),
        ];
        let found = stored_in(&models);
        let told = |level: Level, id: &str| found.iter().any(|it| it.level == level && it.to_string().contains(id));
        for id in ["Broken;1: cannot be read: what is this?", "Child;1: needs dtmi:a:Broken;1", "Grandchild;1: needs"] {
            assert!(told(Level::Problem, id), "{id}: {found:?}");
        }
        assert!(told(Level::Problem, "Loop;"), "{found:?}");
        assert!(told(Level::Note, "dtmi:a:Room;1: has none of"), "{found:?}");
    }

    #[test]
    fn what_devices_may_ask_for_and_is_not_there_is_named() {
        let allowed = |text: &str| {
            AllowedModels::Listed(vec![
                ModelPattern::Exact(text.parse().unwrap()),
                ModelPattern::Prefix("dtmi:b:".to_owned()),
            ])
        };
        let text: Vec<_> =
            findings(&[], &allowed("dtmi:a:Pump;1"), &Mapping::default()).iter().map(ToString::to_string).collect();
        assert!(text[0].contains("Azure Digital Twins has none"), "{text:?}");
        assert!(text[1].contains("names dtmi:a:Pump;1") && text[2].contains("names dtmi:b:*"), "{text:?}");
    }

    #[test]
    fn a_mapping_is_checked_against_the_models() {
        let rules = json!({ "version": 1, "models": {
            "dtmi:a:Pump;1": [{ "from": "/t", "to": "/Temp" }], "dtmi:a:Gone;1": [] } });
        let mapping = Mapping::parse(rules.to_string().as_bytes()).unwrap();
        let models = [stored("dtmi:a:Pump;1", &[("Temperature", "double")])];
        let text: Vec<_> = findings(&models, &AllowedModels::Any, &mapping).iter().map(ToString::to_string).collect();
        assert!(text.iter().any(|line| line.contains("/t to /Temp: the model has no such property")), "{text:?}");
        assert!(text.iter().any(|line| line.contains("has rules for dtmi:a:Gone;1")), "{text:?}");
    }
}
