//! Inheritance and composition.

use dtdl::{Error, Fault, Interface, ModelId, ModelSet};
use serde_json::{Value, json};

fn id(text: &str) -> ModelId {
    ModelId::parse(text).expect(text)
}

/// `dtmi:ex:<name>;1`
fn model(name: &str) -> ModelId {
    id(&format!("dtmi:ex:{name};1"))
}

/// An interface that extends others and has string properties.
fn interface(language: u8, name: &str, extends: &[&str], properties: &[&str]) -> Interface {
    let contents =
        properties.iter().map(|name| json!({ "@type": "Property", "name": name, "schema": "string" })).collect();
    with_contents(language, name, extends, contents)
}

fn with_component(language: u8, name: &str, component: &str) -> Interface {
    let schema = model(component).to_string();
    with_contents(language, name, &[], json!([{ "@type": "Component", "name": "part", "schema": schema }]))
}

fn with_contents(language: u8, name: &str, extends: &[&str], contents: Value) -> Interface {
    let extends: Vec<String> = extends.iter().map(|name| model(name).to_string()).collect();
    Interface::parse(&json!({
        "@context": format!("dtmi:dtdl:context;{language}"),
        "@id": model(name).to_string(),
        "@type": "Interface",
        "extends": extends,
        "contents": contents,
    }))
    .expect("an interface")
}

fn set(interfaces: impl IntoIterator<Item = Interface>) -> ModelSet {
    ModelSet::default().with(interfaces).expect("models that fit together")
}

fn refuse(interfaces: impl IntoIterator<Item = Interface>) -> Error {
    ModelSet::default().with(interfaces).expect_err("an error")
}

fn names(ids: impl IntoIterator<Item = impl AsRef<str>>) -> Vec<String> {
    ids.into_iter().map(|id| id.as_ref().trim_start_matches("dtmi:ex:").trim_end_matches(";1").to_owned()).collect()
}

#[test]
fn contents_include_what_is_inherited() {
    let models = set([
        interface(2, "Room", &["Space"], &["number"]),
        interface(2, "Space", &["Thing"], &["area"]),
        interface(2, "Thing", &[], &["label"]),
    ]);
    let contents = models.contents(&model("Room")).expect("a model");
    assert_eq!(contents.properties.keys().collect::<Vec<_>>(), ["area", "label", "number"]);
    assert_eq!(models.get(&model("Room")).expect("a model").contents().len(), 1);
    assert_eq!(names(models.ancestors(&model("Room"))), ["Space", "Thing"]);
    assert_eq!(models.contents(&model("Door")), None);
}

#[test]
fn a_model_is_itself_and_what_it_extends() {
    let models = set([
        interface(2, "Room", &["Space"], &[]),
        interface(2, "Space", &["Thing"], &[]),
        interface(2, "Thing", &[], &[]),
    ]);
    for (model_name, ancestor, is_a) in [
        ("Room", "Room", true),
        ("Room", "Space", true),
        ("Room", "Thing", true),
        ("Space", "Room", false),
        ("Thing", "Room", false),
        ("Room", "Door", false),
        ("Door", "Door", false),
    ] {
        assert_eq!(models.is_a(&model(model_name), &model(ancestor)), is_a, "{model_name} {ancestor}");
    }
}

#[test]
fn the_order_of_an_upload_does_not_matter_and_it_is_all_or_nothing() {
    let before = set([interface(2, "Thing", &[], &[])]);
    let after =
        before.with([interface(2, "Room", &["Space"], &[]), interface(2, "Space", &["Thing"], &[])]).expect("models");
    assert_eq!((before.len(), after.len()), (1, 3));
    before
        .with([interface(2, "Space", &["Thing"], &[]), interface(2, "Room", &["Nothing"], &[])])
        .expect_err("an error");
    assert_eq!(names(before.iter().map(Interface::id)), ["Thing"]);
}

#[test]
fn unresolved_references_are_counted_in_the_words_of_the_service() {
    let error = refuse([interface(2, "Room", &["Space"], &[])]);
    assert_eq!((error.model(), error.pointer()), (Some("dtmi:ex:Room;1"), "/extends/0"));
    insta::assert_snapshot!(error.parser_text(), @"DtmiResolverAsync failed to resolve requisite references to element(s): dtmi:ex:Space;1 (referenced in 1 place)");
    let several =
        refuse([with_component(2, "A", "Door"), with_component(2, "B", "Door"), interface(2, "C", &["Space"], &[])]);
    assert_eq!((several.content(), several.pointer()), (Some("part"), "/contents/0"));
    insta::assert_snapshot!(several.parser_text(), @"DtmiResolverAsync failed to resolve requisite references to element(s): dtmi:ex:Door;1 (referenced in 2 places), dtmi:ex:Space;1 (referenced in 1 place)");
}

#[test]
fn targets_of_relationships_need_not_be_there() {
    let contents = json!([{ "@type": "Relationship", "name": "in", "target": "dtmi:ex:Nothing;1" }]);
    let models = set([with_contents(2, "Room", &[], contents)]);
    assert_eq!(models.dependencies(&model("Room")).len(), 0);
}

#[test]
fn a_model_cannot_be_added_twice() {
    let models = set([interface(2, "Room", &[], &[])]);
    let again = models.with([interface(2, "Room", &[], &["other"])]).expect_err("an error");
    assert_eq!(again.fault(), &Fault::DuplicateModel(model("Room")));
    let twice = refuse([interface(2, "A", &[], &[]), interface(2, "A", &[], &[])]);
    assert_eq!(twice.fault(), &Fault::DuplicateModel(model("A")));
}

#[test]
fn a_model_cannot_extend_itself() {
    let own = refuse([interface(2, "A", &["A"], &[])]);
    assert_eq!(own.fault(), &Fault::ExtendsItself(model("A")));
    // D waits for the cycle but is not on it.
    let around = refuse([
        interface(2, "A", &["B"], &[]),
        interface(2, "B", &["C"], &[]),
        interface(2, "C", &["A"], &[]),
        interface(2, "D", &["A"], &[]),
        interface(2, "E", &[], &[]),
    ]);
    assert!(matches!(around.fault(), Fault::ExtendsItself(on) if *on != model("D")), "{around}");
}

#[test]
fn inheritance_is_ten_levels_deep() {
    let line = |levels: usize| -> Vec<Interface> {
        (0..=levels)
            .map(|level| match level {
                0 => interface(3, "L0", &[], &[]),
                _ => interface(3, &format!("L{level}"), &[&format!("L{}", level - 1)], &[]),
            })
            .collect()
    };
    set(line(10));
    let error = refuse(line(11));
    assert_eq!((error.model(), error.fault()), (Some("dtmi:ex:L11;1"), &Fault::ExtendsTooDeep { limit: 10 }));
    assert_eq!(refuse(line(2_000)).fault(), &Fault::ExtendsTooDeep { limit: 10 });
}

#[test]
fn inherited_names_are_unique() {
    let error = refuse([interface(2, "Room", &["Space"], &["label"]), interface(2, "Space", &[], &["label"])]);
    assert_eq!(
        (error.model(), error.content(), error.pointer()),
        (Some("dtmi:ex:Room;1"), Some("label"), "/contents/0")
    );
    insta::assert_snapshot!(error, @r#"dtmi:ex:Room;1, content "label", at /contents/0: the name "label" is used already by dtmi:ex:Space;1, from which this model inherits"#);
    let from_two =
        refuse([interface(2, "A", &[], &["x"]), interface(2, "B", &[], &["x"]), interface(2, "C", &["A", "B"], &[])]);
    assert_eq!((from_two.model(), from_two.pointer()), (Some("dtmi:ex:C;1"), "/extends/1"));
    assert_eq!(from_two.fault(), &Fault::InheritedName { name: "x".to_owned(), inherited_from: model("A") });
}

#[test]
fn what_is_inherited_by_two_ways_from_one_model_is_one_content() {
    let models = set([
        interface(2, "Thing", &[], &["label"]),
        interface(2, "Left", &["Thing"], &["l"]),
        interface(2, "Right", &["Thing"], &["r"]),
        interface(2, "Both", &["Left", "Right"], &[]),
    ]);
    let contents = models.contents(&model("Both")).expect("a model");
    assert_eq!(contents.properties.keys().collect::<Vec<_>>(), ["l", "label", "r"]);
}

#[test]
fn v2_counts_inherited_contents() {
    let properties: Vec<String> = (0..300).map(|n| format!("p{n}")).collect();
    let properties: Vec<&str> = properties.iter().map(String::as_str).collect();
    set([interface(2, "Base", &[], &properties), interface(2, "Same", &["Base"], &[])]);
    let error = refuse([interface(2, "Base", &[], &properties), interface(2, "More", &["Base"], &["extra"])]);
    assert!(matches!(error.fault(), Fault::TooMany { limit: 300, got: 301, .. }), "{error}");
    set([interface(2, "Base", &[], &properties), interface(3, "More", &["Base"], &["extra"])]);
}

#[test]
fn v3_counts_the_interfaces_of_the_hierarchy() {
    let bases: Vec<String> = (0..1024).map(|n| format!("B{n}")).collect();
    let bases: Vec<&str> = bases.iter().map(String::as_str).collect();
    let leaves = || bases.iter().map(|name| interface(3, name, &[], &[]));
    set(leaves().chain([interface(3, "All", &bases, &[])]));
    let error = refuse(leaves().chain([interface(3, "All", &bases, &[]), interface(3, "More", &["All"], &[])]));
    assert!(matches!(error.fault(), Fault::TooMany { limit: 1024, got: 1025, .. }), "{error}");
}

#[test]
fn v3_counts_the_elements_of_the_hierarchy() {
    let with_values = |name: &str, count: usize| {
        let values: Vec<Value> = (0..count).map(|n| json!({ "name": format!("n{n}"), "enumValue": n })).collect();
        let schema = json!({ "@type": "Enum", "valueSchema": "integer", "enumValues": values });
        with_contents(3, name, &[], json!([{ "@type": "Property", "name": format!("p{name}"), "schema": schema }]))
    };
    // Each base is 24,996 values, an interface, a property and an enumeration; the heir is an interface and properties.
    let bases = set(["A", "B", "C", "D"].map(|name| with_values(name, 24_996)));
    bases.with([interface(3, "All", &["A", "B", "C", "D"], &["x", "y", "z"])]).expect("100,000 are allowed");
    let error =
        bases.with([interface(3, "All", &["A", "B", "C", "D"], &["w", "x", "y", "z"])]).expect_err("one too many");
    assert!(matches!(error.fault(), Fault::TooMany { limit: 100_000, got: 100_001, .. }), "{error}");
}

#[test]
fn v2_is_not_built_on_v3_but_v3_is_on_v2() {
    set([interface(2, "Old", &[], &["x"]), interface(3, "New", &["Old"], &[]), with_component(3, "Whole", "Old")]);
    let extends = refuse([interface(3, "New", &[], &[]), interface(2, "Old", &["New"], &[])]);
    assert_eq!((extends.pointer(), extends.fault()), ("/extends/0", &Fault::NewerLanguage(model("New"))));
    let contains = refuse([interface(3, "New", &[], &[]), with_component(2, "Old", "New")]);
    assert_eq!((contains.pointer(), contains.fault()), ("/contents/0", &Fault::NewerLanguage(model("New"))));
}

#[test]
fn components_do_not_contain_components() {
    set([with_component(2, "Phone", "Camera"), interface(2, "Camera", &[], &["lens"])]);
    let nested =
        [with_component(2, "Car", "Phone"), with_component(2, "Phone", "Camera"), interface(2, "Camera", &[], &[])];
    assert_eq!(refuse(nested).fault(), &Fault::NestedComponent(model("Phone")));
    let inherited = [
        with_component(2, "Car", "Smartphone"),
        interface(2, "Smartphone", &["Phone"], &[]),
        with_component(2, "Phone", "Camera"),
        interface(2, "Camera", &[], &[]),
    ];
    assert_eq!(refuse(inherited).fault(), &Fault::NestedComponent(model("Smartphone")));
    assert_eq!(refuse([with_component(2, "Self", "Self")]).fault(), &Fault::NestedComponent(model("Self")));
    assert!(matches!(
        refuse([with_component(2, "A", "B"), with_component(2, "B", "A")]).fault(),
        Fault::NestedComponent(_)
    ));
}

#[test]
fn a_set_knows_who_refers_to_whom() {
    let models = set([
        interface(2, "Thing", &[], &[]),
        interface(2, "Space", &["Thing"], &[]),
        interface(2, "Room", &["Space"], &[]),
        interface(2, "Hall", &["Space"], &[]),
        with_component(2, "House", "Room"),
    ]);
    assert_eq!(names(models.extended_by(&model("Space"))), ["Hall", "Room"]);
    assert_eq!(names(models.referenced_by(&model("Space"))), ["Hall", "Room"]);
    assert_eq!(names(models.extended_by(&model("Room"))), Vec::<String>::new());
    assert_eq!(names(models.referenced_by(&model("Room"))), ["House"]);
    assert_eq!(names(models.dependencies(&model("House"))), ["Room", "Space", "Thing"]);
}

#[test]
fn a_model_is_removed_only_when_nothing_refers_to_it() {
    let models = set([
        interface(2, "Space", &[], &[]),
        interface(2, "Room", &["Space"], &[]),
        with_component(2, "House", "Space"),
    ]);
    let error = models.without(&model("Space")).expect_err("in use");
    assert_eq!(error.fault(), &Fault::InUse { by: [model("House"), model("Room")].into() });
    let models = models.without(&model("Room")).expect("free");
    let models = models.without(&model("House")).expect("free");
    let models = models.without(&model("Space")).expect("free now");
    assert!(models.is_empty());
    assert_eq!(models.without(&model("Space")).expect_err("gone").fault(), &Fault::NoModel(model("Space")));
    // Nothing is remembered of it.
    models.with([interface(2, "Space", &[], &["other"])]).expect("a model");
}

#[test]
fn the_versions_of_a_model_are_found_lowest_first() {
    let of = |text: &str| {
        Interface::parse(&json!({ "@context": "dtmi:dtdl:context;3", "@id": text, "@type": "Interface" }))
            .expect("an interface")
    };
    let models = set(["dtmi:a;10", "dtmi:a;2", "dtmi:a", "dtmi:a:b;3", "dtmi:a;2.1", "dtmi:aa;4"].map(of));
    let versions: Vec<&str> = models.versions(&id("dtmi:a;7")).map(ModelId::as_str).collect();
    assert_eq!(versions, ["dtmi:a", "dtmi:a;2", "dtmi:a;2.1", "dtmi:a;10"]);
}
