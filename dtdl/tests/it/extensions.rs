//! The language extensions of DTDL v3.

use dtdl::{Fault, Interface, ModelSet};
use serde_json::{Value, json};

use crate::{parse, refuse};

fn with(extensions: &[&str], contents: Value) -> Value {
    let mut context = vec![json!("dtmi:dtdl:context;3")];
    context.extend(extensions.iter().map(|extension| json!(format!("dtmi:dtdl:extension:{extension};1"))));
    json!({ "@context": context, "@id": "dtmi:com:example:Sensor;1", "@type": "Interface", "contents": contents })
}

fn add(document: &Value) -> Result<ModelSet, dtdl::Error> {
    ModelSet::default().with([Interface::parse(document)?])
}

#[test]
fn units_come_with_the_extension_only() {
    let contents =
        json!([{ "@type": ["Property", "Radioactivity"], "name": "p", "schema": "double", "unit": "becquerel" }]);
    let quantity =
        parse(&with(&["quantitativeTypes"], contents.clone())).contents().properties["p"].quantity.expect("a quantity");
    assert_eq!((quantity.semantic_type, quantity.unit), ("Radioactivity", "becquerel"));
    assert_eq!(refuse(&with(&[], contents)).fault(), &Fault::UnknownType { got: "Radioactivity".to_owned() });
    let field = json!([{ "@type": "Property", "name": "p", "schema": { "@type": "Object", "fields": [
        { "@type": ["Field", "Voltage"], "name": "f", "schema": "double", "unit": "volt" },
    ] } }]);
    parse(&with(&["quantitativeTypes"], field));
}

#[test]
fn an_element_can_bring_in_an_extension_for_itself() {
    let content = |context: Value| json!([{ "@context": context, "@type": ["Property", "Historized"], "name": "p", "schema": "double" }]);
    parse(&with(&[], content(json!("dtmi:dtdl:extension:historization;1"))));
    assert_eq!(refuse(&with(&[], content(json!([])))).pointer(), "/contents/0/@type");
    assert_eq!(refuse(&with(&[], content(json!("dtmi:dtdl:extension:other;1")))).pointer(), "/contents/0/@context");
}

#[test]
fn an_annotation_names_a_sibling() {
    let contents = |annotates: &str| {
        json!([
            { "@type": "Telemetry", "name": "temperature", "schema": "double" },
            { "@type": ["Property", "ValueAnnotation"], "name": "calibrated", "annotates": annotates, "schema": "date" },
        ])
    };
    add(&with(&["annotation"], contents("temperature"))).expect("a model");
    for nothing in ["humidity", "calibrated"] {
        let error = add(&with(&["annotation"], contents(nothing))).expect_err("an error");
        assert_eq!(error.fault(), &Fault::AnnotatesNothing(nothing.to_owned()));
        assert_eq!((error.content(), error.pointer()), (Some("calibrated"), "/contents/1"));
    }
    let silent = json!([{ "@type": ["Property", "ValueAnnotation"], "name": "calibrated", "schema": "date" }]);
    assert_eq!(
        refuse(&with(&["annotation"], silent)).fault(),
        &Fault::NoMember { class: "Property", member: "annotates" }
    );
}

#[test]
fn an_override_takes_the_units_of_its_sibling() {
    let contents = |types: Value, overrides: &str| {
        let mut temperature = json!({ "@type": types, "name": "temperature", "schema": "double" });
        if types.is_array() {
            temperature["unit"] = json!("kelvin");
        }
        json!([temperature, { "@type": ["Property", "ValueAnnotation", "Override"], "name": "unit",
            "annotates": "temperature", "overrides": overrides, "schema": "TemperatureUnit" }])
    };
    let extensions = ["quantitativeTypes", "annotation", "overriding"];
    let document = with(&extensions, contents(json!(["Telemetry", "Temperature"]), "unit"));
    add(&document).expect("a model");
    let schema = parse(&document).contents().properties["unit"].schema.clone();
    assert_eq!(schema.check(&json!("degreeCelsius")), Ok(()));
    assert!(schema.check(&json!("volt")).is_err());

    let unitless = add(&with(&extensions, contents(json!("Telemetry"), "unit"))).expect_err("an error");
    assert_eq!(unitless.fault(), &Fault::OverridesNothing("temperature".to_owned()));
    let other = refuse(&with(&extensions, contents(json!(["Telemetry", "Temperature"]), "schema")));
    assert_eq!(other.pointer(), "/contents/1/overrides");
    let alone = json!([{ "@type": ["Property", "Override"], "name": "p", "overrides": "unit", "schema": "double" }]);
    assert_eq!(refuse(&with(&extensions, alone)).pointer(), "/contents/0/@type");
}
