//! The rules for complex schemas.

use dtdl::{EnumSchema, Fault, ModelId, Schema};
use serde_json::{Value, json};

use crate::{parse, refuse, v2, v2_property, v3, v3_property};

fn object(fields: impl IntoIterator<Item = (&'static str, Value)>) -> Value {
    let fields: Vec<Value> =
        fields.into_iter().map(|(name, schema)| json!({ "name": name, "schema": schema })).collect();
    json!({ "@type": "Object", "fields": fields })
}

fn map(value: Value) -> Value {
    json!({ "@type": "Map", "mapKey": { "name": "k", "schema": "string" }, "mapValue": { "name": "v", "schema": value } })
}

/// The schema of the property `p`.
fn property(document: &Value) -> Schema {
    parse(document).contents().properties["p"].schema.clone()
}

fn at(document: &Value) -> String {
    refuse(document).pointer().to_owned()
}

#[test]
fn every_primitive_and_geospatial_name_is_a_schema() {
    for name in ["boolean", "date", "dateTime", "double", "duration", "float", "integer", "long", "string", "time"] {
        let schema = property(&v2_property(json!(name)));
        assert_eq!(schema.to_string(), name);
    }
    for name in ["point", "multiPoint", "lineString", "multiLineString", "polygon", "multiPolygon"] {
        let schema = property(&v3_property(json!(name)));
        assert_eq!(schema.to_string(), name);
    }
    for name in ["Double", "decimal", "bytes", "geopoint", "", "Object"] {
        assert_eq!(at(&v2_property(json!(name))), "/contents/0/schema");
    }
    for wrong in [json!(1), json!(true), json!(["double", "long"]), json!(null)] {
        assert_eq!(at(&v2_property(wrong)), "/contents/0/schema");
    }
    assert_eq!(refuse(&v2_property(json!([]))).fault(), &Fault::NoMember { class: "Property", member: "schema" });
}

#[test]
fn complex_schemas_are_read_with_their_parts() {
    let Schema::Map(modules) =
        &parse(&v2_property(map(object([("x", json!("long"))])))).contents().properties["p"].schema.clone()
    else {
        unreachable!("a map")
    };
    assert_eq!((modules.key_name.as_str(), modules.value_name.as_str()), ("k", "v"));
    let Schema::Object(value) = &modules.value else { unreachable!("an object") };
    assert_eq!(value.fields["x"], Schema::Long);
}

#[test]
fn an_object_has_fields_with_names_of_their_own() {
    assert_eq!(at(&v2_property(object([("a", json!("long")), ("a", json!("long"))]))), "/contents/0/schema/fields/1");
    assert_eq!(at(&v2_property(object([("a", json!("decimal"))]))), "/contents/0/schema/fields/0/schema");
    assert_eq!(at(&v2_property(object([("_a", json!("long"))]))), "/contents/0/schema/fields/0/name");
    assert_eq!(at(&v2_property(json!({ "@type": "Object", "fields": [1] }))), "/contents/0/schema/fields/0");
    // v2 wants at least one, v3 none.
    assert_eq!(at(&v2_property(object([]))), "/contents/0/schema");
    parse(&v3_property(object([])));
    parse(&v3_property(json!({ "@type": "Object" })));
    let many = |count: usize| {
        let fields: Vec<Value> = (0..count).map(|n| json!({ "name": format!("f{n}"), "schema": "long" })).collect();
        json!({ "@type": "Object", "fields": fields })
    };
    parse(&v2_property(many(30)));
    assert_eq!(at(&v2_property(many(31))), "/contents/0/schema/fields");
    parse(&v3_property(many(31)));
}

#[test]
fn a_map_has_keys_that_are_strings() {
    let map = |key: Value, value: Value| json!({ "@type": "Map", "mapKey": key, "mapValue": value });
    let good = json!({ "name": "k", "schema": "string" });
    parse(&v2_property(map(good.clone(), good.clone())));
    for (key, value, place) in [
        (json!({ "name": "k", "schema": "integer" }), good.clone(), "/mapKey"),
        (json!({ "schema": "string" }), good.clone(), "/mapKey"),
        (good.clone(), json!({ "name": "v" }), "/mapValue"),
        (good.clone(), json!({ "name": "v", "schema": "x" }), "/mapValue/schema"),
        (good, json!("double"), "/mapValue"),
    ] {
        assert_eq!(at(&v2_property(map(key, value))), format!("/contents/0/schema{place}"));
    }
    assert_eq!(at(&v2_property(json!({ "@type": "Map" }))), "/contents/0/schema");
}

#[test]
fn an_enumeration_has_distinct_names_and_values_of_its_schema() {
    let of = |value_schema: &str, values: Value| json!({ "@type": "Enum", "valueSchema": value_schema, "enumValues": values });
    let value = |name: &str, value: Value| json!({ "name": name, "enumValue": value });
    let document = v2_property(of("integer", json!([value("on", json!(1)), value("off", json!(0))])));
    let Schema::Enum(values) = parse(&document).contents().properties["p"].schema.clone() else {
        unreachable!("an enum")
    };
    assert!(matches!(&*values, EnumSchema::Integers(values) if values[&1] == "on"));
    for (schema, values, place) in [
        ("double", json!([value("a", json!(1))]), "/valueSchema"),
        ("integer", json!([value("a", json!("1"))]), "/enumValues/0/enumValue"),
        ("integer", json!([value("a", json!(1.5))]), "/enumValues/0/enumValue"),
        ("integer", json!([value("a", json!(4_294_967_296_i64))]), "/enumValues/0/enumValue"),
        ("string", json!([value("a", json!(1))]), "/enumValues/0/enumValue"),
        ("integer", json!([value("a", json!(1)), value("b", json!(1))]), "/enumValues/1/enumValue"),
        ("string", json!([value("a", json!("x")), value("b", json!("x"))]), "/enumValues/1/enumValue"),
        ("integer", json!([value("a", json!(1)), value("a", json!(2))]), "/enumValues/1"),
        ("integer", json!([{ "name": "a" }]), "/enumValues/0"),
        ("integer", json!([]), ""),
    ] {
        assert_eq!(at(&v2_property(of(schema, values))), format!("/contents/0/schema{place}"));
    }
    let many = |count: i32| of("integer", (0..count).map(|n| value(&format!("n{n}"), json!(n))).collect());
    parse(&v2_property(many(100)));
    assert_eq!(at(&v2_property(many(101))), "/contents/0/schema/enumValues");
    parse(&v3_property(many(101)));
    parse(&v3_property(of("integer", json!([]))));
}

#[test]
fn complex_schemas_nest_five_deep() {
    let nested = |levels: usize| (0..levels).fold(json!("double"), |inner, _| map(inner));
    parse(&v2_property(nested(5)));
    for levels in [6, 12] {
        assert_eq!(refuse(&v2_property(nested(levels))).fault(), &Fault::SchemaTooDeep { limit: 5 });
    }
    let mixed = json!({ "@type": "Array", "elementSchema": object([("f", map(object([("g", json!({ "@type": "Array", "elementSchema": "long" }))])))]) });
    parse(&v3_property(mixed.clone()));
    assert!(matches!(refuse(&v3_property(map(mixed))).fault(), Fault::SchemaTooDeep { .. }));
}

#[test]
fn reusable_schemas_are_referred_to_by_id() {
    let mut acceleration = object([("x", json!("double"))]);
    acceleration["@id"] = json!("dtmi:com:example:acceleration;1");
    let property =
        |name: &str| json!({ "@type": "Property", "name": name, "schema": "dtmi:com:example:acceleration;1" });
    let document = v2(json!({ "contents": [property("a"), property("b")], "schemas": [acceleration] }));
    let interface = parse(&document);
    let schemas: Vec<&Schema> = interface.contents().properties.values().map(|property| &property.schema).collect();
    let [Schema::Object(first), Schema::Object(second)] = schemas[..] else { unreachable!("two objects") };
    assert!(std::sync::Arc::ptr_eq(first, second));
    assert_eq!(schemas[0].check(&json!({ "x": 1.5 })), Ok(()));

    let missing = v2_property(json!("dtmi:com:example:acceleration;1"));
    assert!(matches!(refuse(&missing).fault(), Fault::UnknownSchema { .. }));
}

#[test]
fn reusable_schemas_may_use_one_another_but_not_themselves() {
    let with_id = |id: &str, mut schema: Value| {
        schema["@id"] = json!(id);
        schema
    };
    // Each is used before it is defined.
    let chain = |length: usize| -> Vec<Value> {
        (0..length)
            .map(|n| {
                let next =
                    if n + 1 == length { json!("long") } else { json!(format!("dtmi:com:example:s{};1", n + 1)) };
                with_id(&format!("dtmi:com:example:s{n};1"), map(next))
            })
            .collect()
    };
    parse(&v3(json!({ "schemas": chain(5) })));
    assert_eq!(refuse(&v3(json!({ "schemas": chain(6) }))).fault(), &Fault::SchemaTooDeep { limit: 5 });
    assert_eq!(refuse(&v3(json!({ "schemas": chain(5_000) }))).fault(), &Fault::SchemaTooDeep { limit: 5 });
    // Five levels below one more.
    let surrounded = v3(json!({ "schemas": chain(5),
        "contents": [{ "@type": "Property", "name": "p", "schema": map(json!("dtmi:com:example:s0;1")) }] }));
    assert_eq!(refuse(&surrounded).fault(), &Fault::SchemaTooDeep { limit: 5 });

    let own = with_id("dtmi:com:example:s;1", map(json!("dtmi:com:example:s;1")));
    let id = ModelId::parse("dtmi:com:example:s;1").expect("an id");
    assert_eq!(refuse(&v3(json!({ "schemas": [own] }))).fault(), &Fault::SchemaContainsItself(id));
    let left = with_id("dtmi:com:example:l;1", map(json!("dtmi:com:example:r;1")));
    let right = with_id("dtmi:com:example:r;1", map(json!("dtmi:com:example:l;1")));
    assert!(matches!(refuse(&v3(json!({ "schemas": [left, right] }))).fault(), Fault::SchemaContainsItself(_)));
}

#[test]
fn many_references_to_one_schema_cost_no_more_than_their_text() {
    // 20 fields that each hold 20 fields that ...: five levels, 3.2 million leaves, were each reference a copy.
    let level = |n: usize| {
        let next = if n == 4 { json!("long") } else { json!(format!("dtmi:com:example:s{};1", n + 1)) };
        let fields: Vec<Value> = (0..20).map(|field| json!({ "name": format!("f{field}"), "schema": next })).collect();
        json!({ "@id": format!("dtmi:com:example:s{n};1"), "@type": "Object", "fields": fields })
    };
    let document = v2(json!({ "schemas": (0..5).map(level).collect::<Vec<_>>(),
        "contents": [{ "@type": "Property", "name": "p", "schema": "dtmi:com:example:s0;1" }] }));
    let schema = parse(&document).contents().properties["p"].schema.clone();
    assert_eq!(schema.check(&json!({ "f7": { "f1": { "f19": { "f0": { "f3": 1 } } } } })), Ok(()));
}

#[test]
fn reusable_schemas_need_an_id_of_their_own() {
    let mut schema = map(json!("long"));
    assert_eq!(at(&v2(json!({ "schemas": [schema] }))), "/schemas/0");
    schema["@id"] = json!("dtmi:com:example:Room;1");
    assert_eq!(at(&v2(json!({ "schemas": [schema] }))), "/schemas/0/@id");
    schema["@id"] = json!("dtmi:com:example:s;1");
    assert_eq!(at(&v2(json!({ "schemas": [schema, schema] }))), "/schemas/1/@id");
    assert_eq!(at(&v2(json!({ "schemas": ["double"] }))), "/schemas/0");
    assert_eq!(
        at(&v2(json!({ "schemas": [{ "@id": "dtmi:com:example:s;1", "@type": "Property" }] }))),
        "/schemas/0/@type"
    );
}
