//! Models and twins as recorded between the official SDKs and Azure Digital Twins.

use dtdl::{Interface, ModelSet};
use serde_json::Value;

const MODELS: &str = include_str!("../fixtures/adt/models.json");

/// The recorded uploads that have a body: what was sent, and the answer.
fn uploads() -> Vec<(Vec<Value>, Value)> {
    let recorded: Vec<Value> = serde_json::from_str(MODELS).expect("recordings");
    recorded
        .into_iter()
        .filter(|exchange| exchange["request"]["method"] == "POST")
        .filter_map(|exchange| Some((exchange["request"]["body"].as_array()?.clone(), exchange["response"].clone())))
        .collect()
}

fn add(documents: &[Value]) -> Result<ModelSet, dtdl::Error> {
    let interfaces: Vec<Interface> = documents.iter().map(Interface::parse).collect::<Result<_, _>>()?;
    ModelSet::default().with(interfaces)
}

#[test]
fn what_the_service_took_is_a_model_with_the_names_it_answered() {
    let mut taken = 0;
    for (documents, response) in uploads().into_iter().filter(|(_, response)| response["status"] == 201) {
        let models = add(&documents).expect("models");
        for data in response["body"].as_array().expect("model data") {
            let id = serde_json::from_value(data["id"].clone()).expect("an id");
            let interface = models.get(&id).expect("a model");
            assert_eq!(serde_json::to_value(interface.display_name()).expect("a map"), data["displayName"]);
            assert_eq!(serde_json::to_value(interface.description()).expect("a map"), data["description"]);
            taken += 1;
        }
    }
    assert!(taken >= 2);
}

#[test]
fn what_the_parser_of_the_service_refused_is_refused_in_its_words() {
    let mut refused = 0;
    for (documents, response) in uploads() {
        let error = &response["body"]["error"];
        if error["code"] != "DTDLParserError" {
            continue;
        }
        let text = add(&documents).expect_err("an error").parser_text();
        assert_eq!(
            error["message"],
            format!(
                "None of the models in this request could be created due to a problem with one or more models: {text}. \
                 See model documentation(https://aka.ms/ADTv2Models) for supported format."
            )
        );
        refused += 1;
    }
    assert!(refused >= 2);
}

#[test]
fn a_stored_definition_with_its_context_as_an_array_is_read_back() {
    let recorded: Vec<Value> = serde_json::from_str(MODELS).expect("recordings");
    let stored: Vec<&Value> = recorded
        .iter()
        .map(|exchange| &exchange["response"]["body"]["model"])
        .filter(|model| model.is_object())
        .collect();
    for model in &stored {
        assert_eq!(Interface::parse(model).expect("a model").id().as_str(), model["@id"]);
    }
    assert!(!stored.is_empty());
}
