//! Values against schemas.

use dtdl::{Mismatch, Schema};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::{parse, v2, v3_property};

/// The schema as a property of an interface has it.
fn schema(definition: Value) -> Schema {
    parse(&v3_property(definition)).contents().properties["p"].schema.clone()
}

fn takes(definition: Value, values: impl IntoIterator<Item = Value>) {
    let schema = schema(definition);
    for value in values {
        assert_eq!(schema.check(&value), Ok(()), "{schema} {value}");
    }
}

fn refuses(definition: Value, values: impl IntoIterator<Item = Value>) {
    let schema = schema(definition);
    for value in values {
        assert!(schema.check(&value).is_err(), "{schema} {value}");
    }
}

fn mismatch(definition: Value, value: Value) -> Mismatch {
    schema(definition).check(&value).expect_err("a mismatch")
}

#[test]
fn numbers_are_json_numbers_in_their_range() {
    takes(json!("double"), [json!(0), json!(-1), json!(21.5), json!(1e300), json!(u64::MAX), json!(i64::MIN)]);
    refuses(json!("double"), [json!("21.5"), json!(true), json!(null), json!([1]), json!({})]);
    takes(json!("float"), [json!(0), json!(21.5), json!(-3.4e38), json!(1e-300)]);
    refuses(json!("float"), [json!(3.5e38), json!(-1e300), json!("1")]);
    takes(json!("integer"), [json!(0), json!(i32::MIN), json!(i32::MAX)]);
    refuses(
        json!("integer"),
        [
            json!(i64::from(i32::MAX) + 1),
            json!(i64::from(i32::MIN) - 1),
            json!(21.0),
            json!(21.5),
            json!("1"),
            json!(false),
        ],
    );
    takes(json!("long"), [json!(0), json!(i64::MIN), json!(i64::MAX)]);
    refuses(json!("long"), [json!(u64::MAX), json!(1e3), json!("1")]);
}

#[test]
fn booleans_and_strings_are_nothing_else() {
    takes(json!("boolean"), [json!(true), json!(false)]);
    refuses(json!("boolean"), [json!("true"), json!(1), json!(0), json!(null)]);
    takes(json!("string"), [json!(""), json!("21.5"), json!("ä\u{0}")]);
    refuses(json!("string"), [json!(1), json!(true), json!(null), json!(["a"]), json!({})]);
}

#[test]
fn dates_are_calendar_dates() {
    takes(json!("date"), ["2026-11-24", "2024-02-29", "0000-01-01", "9999-12-31"].map(Value::from));
    refuses(
        json!("date"),
        [
            "2026-02-29",
            "2026-13-01",
            "2026-00-01",
            "2026-11-31",
            "2026-1-24",
            "26-11-24",
            "20261124",
            "2026-11-24T00:00:00Z",
            "-2026-11-24",
            "+2026-11-24",
            "2026-11-24 ",
            "2026-11-2४",
            "",
        ]
        .map(Value::from),
    );
}

#[test]
fn times_of_day_have_seconds_and_may_have_an_offset() {
    takes(
        json!("time"),
        ["10:00:00", "23:59:59.999999999", "10:00:00Z", "10:00:00.5+01:00", "00:00:00-23:59"].map(Value::from),
    );
    refuses(
        json!("time"),
        [
            "10:00",
            "24:00:00",
            "10:60:00",
            "10:00:60",
            "10:00:00.",
            "10:00:00,5",
            "1:00:00",
            "10:00:00+1",
            "10:00:00+24:00",
            "T10:00:00",
            "10:00:00ZZ",
            "",
        ]
        .map(Value::from),
    );
}

#[test]
fn a_date_time_has_a_date_a_time_and_an_offset() {
    takes(
        json!("dateTime"),
        ["2026-11-24T10:00:00Z", "2026-11-24t10:00:00z", "2026-11-24T10:00:00.1234567Z", "2026-11-24T10:00:00-08:00"]
            .map(Value::from),
    );
    refuses(
        json!("dateTime"),
        [
            "2026-11-24T10:00:00",
            "2026-11-24 10:00:00Z",
            "2026-11-24",
            "10:00:00Z",
            "2026-11-24T10:00Z",
            "2026-02-30T10:00:00Z",
            "2026-11-24T10:00:00+0100",
            "Tue, 24 Nov 2026 10:00:00 GMT",
            "",
        ]
        .map(Value::from),
    );
    refuses(json!("dateTime"), [json!(1_764_000_000)]);
}

#[test]
fn a_duration_has_its_parts_in_order() {
    takes(
        json!("duration"),
        [
            "P1Y",
            "P1Y2M3D",
            "PT1H30M",
            "PT1H1S",
            "P1DT12H",
            "P8W",
            "PT0S",
            "PT0.5S",
            "PT1,5M",
            "P0.5Y",
            "P1.5W",
            "P1Y2M3DT4H5M6.7S",
        ]
        .map(Value::from),
    );
    refuses(
        json!("duration"),
        [
            "", "P", "PT", "P1DT", "1D", "P1", "PT1", "P1S", "P1M1Y", "PT1M1H", "P1D1D", "P0.5DT1H", "PT0.5H1M",
            "P1.D", "P.5D", "-P1D", "P-1D", "P1W2D", "p1d", "P1DT1H ", "PD", "P1ÄD",
        ]
        .map(Value::from),
    );
}

#[test]
fn an_enumeration_takes_its_values_not_its_names() {
    let strings = json!({ "@type": "Enum", "valueSchema": "string", "enumValues": [
        { "name": "open", "enumValue": "o" }, { "name": "closed", "enumValue": "c" },
    ] });
    takes(strings.clone(), [json!("o"), json!("c")]);
    refuses(strings, [json!("open"), json!("O"), json!(1), json!(null)]);
    let integers = json!({ "@type": "Enum", "valueSchema": "integer", "enumValues": [
        { "name": "off", "enumValue": 0 }, { "name": "on", "enumValue": -1 },
    ] });
    takes(integers.clone(), [json!(0), json!(-1)]);
    refuses(integers, [json!(1), json!("0"), json!(0.0), json!(4_294_967_295_u64)]);
    refuses(json!({ "@type": "Enum", "valueSchema": "integer", "enumValues": [] }), [json!(0)]);
}

#[test]
fn an_object_may_lack_fields_but_has_no_others() {
    let acceleration = json!({ "@type": "Object", "fields": [
        { "name": "x", "schema": "double" }, { "name": "y", "schema": "double" },
    ] });
    takes(acceleration.clone(), [json!({}), json!({ "x": 1 }), json!({ "x": 1, "y": 2.5 })]);
    refuses(acceleration, [json!({ "z": 1 }), json!({ "x": "1" }), json!({ "x": null }), json!([1, 2]), json!(1)]);
}

#[test]
fn a_map_takes_any_key_and_one_kind_of_value() {
    let map = json!({ "@type": "Map",
        "mapKey": { "name": "module", "schema": "string" }, "mapValue": { "name": "state", "schema": "integer" } });
    takes(map.clone(), [json!({}), json!({ "a": 1, "b c": 2, "": 3 })]);
    refuses(map, [json!({ "a": "1" }), json!({ "a": 1, "b": null }), json!([]), json!("a")]);
}

#[test]
fn an_array_takes_one_kind_of_element() {
    takes(json!({ "@type": "Array", "elementSchema": "boolean" }), [json!([]), json!([true, false])]);
    refuses(
        json!({ "@type": "Array", "elementSchema": "boolean" }),
        [json!([1]), json!([true, null]), json!({}), json!(true)],
    );
}

#[test]
fn a_geometry_has_its_type_and_the_shape_of_its_coordinates() {
    let geometry = |kind: &str, coordinates: Value| json!({ "type": kind, "coordinates": coordinates });
    takes(json!("point"), [geometry("Point", json!([47.6, -122.1])), geometry("Point", json!([47.6, -122.1, 10]))]);
    takes(json!("multiPoint"), [geometry("MultiPoint", json!([])), geometry("MultiPoint", json!([[1, 2], [3, 4]]))]);
    takes(json!("lineString"), [geometry("LineString", json!([[1, 2], [3, 4]]))]);
    takes(json!("multiLineString"), [geometry("MultiLineString", json!([[[1, 2], [3, 4]]]))]);
    takes(json!("polygon"), [geometry("Polygon", json!([[[0, 0], [1, 0], [1, 1], [0, 0]]]))]);
    takes(json!("multiPolygon"), [geometry("MultiPolygon", json!([[[[0, 0], [1, 0], [1, 1], [0, 0]]]]))]);
    refuses(
        json!("point"),
        [
            json!([47.6, -122.1]),
            json!({ "type": "Point" }),
            json!({ "coordinates": [1, 2] }),
            geometry("point", json!([1, 2])),
            geometry("MultiPoint", json!([1, 2])),
            geometry("Point", json!([1])),
            geometry("Point", json!(["1", "2"])),
            geometry("Point", json!([[1, 2]])),
            geometry("Point", json!({})),
        ],
    );
    refuses(json!("polygon"), [geometry("Polygon", json!([[1, 2], [3, 4]])), geometry("Polygon", json!([1, 2]))]);
}

#[test]
fn a_mismatch_says_where_what_and_instead_of_what() {
    insta::assert_snapshot!(mismatch(json!("double"), json!("21.5")), @r#"expected a number (double), got the string "21.5""#);
    insta::assert_snapshot!(mismatch(json!("integer"), json!(21.5)), @"expected a whole number of 32 bits (integer), got the number 21.5");
    insta::assert_snapshot!(mismatch(json!("boolean"), json!(null)), @"expected a boolean, got null");
    insta::assert_snapshot!(mismatch(json!("string"), json!(true)), @"expected a string, got true");
    insta::assert_snapshot!(mismatch(json!("dateTime"), json!("now")), @r#"expected a date and time such as "2026-11-24T10:00:00Z" (RFC 3339), got the string "now""#);
    insta::assert_snapshot!(mismatch(json!("point"), json!({ "type": "Point" })), @"at /coordinates: expected the coordinates of a GeoJSON Point, got null");
    let nested = json!({ "@type": "Array", "elementSchema": { "@type": "Object", "fields": [
        { "name": "a", "schema": { "@type": "Map",
            "mapKey": { "name": "k", "schema": "string" }, "mapValue": { "name": "v", "schema": "long" } } },
    ] } });
    let found = mismatch(nested.clone(), json!([{}, { "a": { "x": 1, "y/~z": 2.5 } }]));
    assert_eq!(found.path, "/1/a/y~1~0z");
    insta::assert_snapshot!(found, @"at /1/a/y~1~0z: expected a whole number of 64 bits (long), got the number 2.5");
    insta::assert_snapshot!(mismatch(nested, json!([{ "b": 1 }])), @r#"at /0: expected only the fields "a", got the unknown field "b""#);
    let many: Vec<Value> = (0..20).map(|n| json!({ "name": format!("n{n}"), "enumValue": n })).collect();
    insta::assert_snapshot!(
        mismatch(json!({ "@type": "Enum", "valueSchema": "integer", "enumValues": many }), json!(20)),
        @"expected one of 0, 1, 2, 3, 4, 5, 6, 7 and 12 more, got the number 20"
    );
}

#[test]
fn a_mismatch_cuts_long_texts() {
    let found = mismatch(json!("double"), json!("é".repeat(100_000)));
    assert_eq!(found.got, format!("the string {:?}", format!("{}...", "é".repeat(64))));
}

#[test]
fn telemetry_of_v2_has_arrays_and_geometries() {
    let document = v2(json!({ "contents": [
        { "@type": "Telemetry", "name": "leds", "schema": { "@type": "Array", "elementSchema": "boolean" } },
        { "@type": "Telemetry", "name": "location", "schema": "point" },
    ] }));
    let interface = parse(&document);
    let telemetries = &interface.contents().telemetries;
    assert_eq!(telemetries["leds"].schema.check(&json!([true])), Ok(()));
    assert!(telemetries["location"].schema.check(&json!([1, 2])).is_err());
}

/// The primitive schemas, from their definition, in other words than the crate's.
fn oracle(name: &str, value: &Value) -> bool {
    let text = value.to_string();
    match name {
        "boolean" => text == "true" || text == "false",
        "string" => text.starts_with('"'),
        "double" => text.parse::<f64>().is_ok_and(f64::is_finite),
        "float" => text.parse::<f32>().is_ok_and(f32::is_finite),
        "integer" => text.parse::<i32>().is_ok(),
        "long" => text.parse::<i64>().is_ok(),
        "date" => value.as_str().is_some_and(|text| text.len() == 10 && text.parse::<jiff::civil::Date>().is_ok()),
        _ => false,
    }
}

fn any_scalar() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<f32>().prop_map(Value::from),
        "[0-9]{4}-[01][0-9]-[0-3][0-9]".prop_map(Value::from),
        "\\PC{0,8}".prop_map(Value::from),
        Just(json!([])),
        Just(json!({})),
    ]
}

proptest! {
    #[test]
    fn primitive_schemas_agree_with_their_definition(value in any_scalar()) {
        for name in ["boolean", "string", "double", "float", "integer", "long", "date"] {
            prop_assert_eq!(schema(json!(name)).check(&value).is_ok(), oracle(name, &value), "{} {}", name, value);
        }
    }

    #[test]
    fn real_instants_are_date_times_and_their_halves_are_dates_and_times(seconds in -62_135_596_800_i64..253_402_300_800, nanosecond in 0_i32..1_000_000_000) {
        let instant = jiff::Timestamp::new(seconds, if seconds < 0 { -nanosecond } else { nanosecond });
        prop_assume!(instant.is_ok());
        let text = instant.expect("checked").to_string();
        prop_assume!(!text.starts_with('-'));
        let (date, time) = text.split_once('T').expect("both");
        prop_assert_eq!(schema(json!("dateTime")).check(&json!(text)), Ok(()));
        prop_assert_eq!(schema(json!("date")).check(&json!(date)), Ok(()));
        prop_assert_eq!(schema(json!("time")).check(&json!(time)), Ok(()));
    }

    #[test]
    fn spans_are_durations(days in 0_i64..10_000, seconds in 0_i64..1_000_000, milliseconds in 0_i64..1000) {
        let span = jiff::Span::new().days(days).seconds(seconds).milliseconds(milliseconds);
        prop_assert_eq!(schema(json!("duration")).check(&json!(span.to_string())), Ok(()));
    }
}
