//! The rules for one interface: which documents are refused, where, and why.

use dtdl::{Content, Error, Fault, Interface, Language, ModelId, parse_text};
use serde_json::{Value, json};

use crate::{parse, refuse, v2, v2_property, v3, v3_property};

fn v2_content(content: Value) -> Value {
    v2(json!({ "contents": [content] }))
}

fn v3_content(content: Value) -> Value {
    v3(json!({ "contents": [content] }))
}

/// A property with that name.
fn named(name: &str) -> Value {
    json!({ "@type": "Property", "name": name, "schema": "string" })
}

fn at(document: &Value) -> String {
    refuse(document).pointer().to_owned()
}

#[test]
fn an_interface_is_read_with_all_that_it_says() {
    let document = v2(json!({
        "displayName": "Room",
        "description": { "en": "A room.", "de": "Ein Raum." },
        "comment": "For tests.",
        "extends": ["dtmi:com:example:Space;1", "dtmi:com:example:Asset;1"],
        "contents": [
            { "@type": ["Property", "Temperature"], "name": "target", "schema": "double", "unit": "degreeCelsius", "writable": true },
            { "@type": "Telemetry", "name": "noise", "schema": "float" },
            { "@type": "Component", "name": "door", "schema": "dtmi:com:example:Door;1" },
            { "@type": "Relationship", "name": "next", "target": "dtmi:com:example:Room;1", "minMultiplicity": 0,
              "maxMultiplicity": 4, "writable": true,
              "properties": [{ "@type": "Property", "name": "since", "schema": "date" }] },
            { "@type": "Relationship", "name": "any" },
            { "@type": "Command", "name": "clean",
              "request": { "name": "how", "schema": "string" }, "response": { "name": "took", "schema": "duration" } },
        ],
    }));
    let room = parse(&document);
    assert_eq!((room.id().as_str(), room.language()), ("dtmi:com:example:Room;1", Language::V2));
    assert_eq!(room.display_name().iter().collect::<Vec<_>>(), [(&"en".to_owned(), &"Room".to_owned())]);
    assert_eq!(room.description().keys().collect::<Vec<_>>(), ["de", "en"]);
    assert_eq!(
        room.extends().iter().map(ModelId::as_str).collect::<Vec<_>>(),
        ["dtmi:com:example:Space;1", "dtmi:com:example:Asset;1"]
    );
    assert_eq!(room.references().count(), 3);
    assert_eq!(room.document(), &document);
    assert!(room.has_commands());

    let contents = room.contents();
    let target = &contents.properties["target"];
    let quantity = target.quantity.expect("a quantity");
    assert_eq!((quantity.semantic_type, quantity.unit, target.writable), ("Temperature", "degreeCelsius", true));
    assert_eq!(contents.telemetries["noise"].quantity, None);
    assert_eq!(contents.components["door"].as_str(), "dtmi:com:example:Door;1");
    let next = &contents.relationships["next"];
    assert_eq!(next.target.as_ref().map(ModelId::as_str), Some("dtmi:com:example:Room;1"));
    assert_eq!((next.max_multiplicity, next.writable), (Some(4), true));
    assert_eq!(next.properties["since"].schema.to_string(), "date");
    assert_eq!(contents.relationships["any"].target, None);
    let clean = &contents.commands["clean"];
    assert_eq!(clean.request.as_ref().expect("a request").name, "how");
    assert_eq!(clean.response.as_ref().expect("a response").schema.to_string(), "duration");
    assert_eq!(contents.len(), 6);
    assert_eq!(contents.get("noise").map(|content| content.kind()), Some("Telemetry"));
    assert!(matches!(contents.get("door"), Some(Content::Component(id)) if id.as_str() == "dtmi:com:example:Door;1"));
    assert_eq!(contents.get("Noise"), None);
}

#[test]
fn the_context_names_the_language_first() {
    assert_eq!(parse(&v3(json!({}))).language(), Language::V3);
    let with_context =
        |context: Value| json!({ "@context": context, "@id": "dtmi:com:example:Room;1", "@type": "Interface" });
    for accepted in [
        json!("dtmi:dtdl:context;2"),
        json!(["dtmi:dtdl:context;3"]),
        json!(["dtmi:dtdl:context;2", "dtmi:iotcentral:context;2"]),
    ] {
        parse(&with_context(accepted));
    }
    for refused in [
        json!(null),
        json!([]),
        json!(2),
        json!({}),
        json!([2]),
        json!("dtmi:dtdl:context;1"),
        json!("dtmi:dtdl:context;4"),
        json!("http://azureiot.com/v1/contexts/IoTModel.json"),
        json!(["dtmi:dtdl:extension:quantitativeTypes;1", "dtmi:dtdl:context;3"]),
        json!(["dtmi:dtdl:context;3", "dtmi:dtdl:extension:nothing;1"]),
        json!(["dtmi:dtdl:context;2", "dtmi:dtdl:extension:quantitativeTypes;1"]),
    ] {
        assert!(at(&with_context(refused)).starts_with("/@context"));
    }
}

#[test]
fn the_parser_texts_of_the_service_are_given_word_for_word() {
    let no_context = refuse(&json!({}));
    assert_eq!(no_context.fault(), &Fault::NoContext);
    insta::assert_snapshot!(no_context.parser_text(), @"In source, top-level JSON object has no @context specifier. Add a '@context' property whose value is a valid DTDL context specifier, such as 'dtmi:dtdl:context;2'.");
    let no_id = refuse(&json!({ "@context": "dtmi:dtdl:context;2" }));
    assert_eq!(no_id.fault(), &Fault::NoId);
    insta::assert_snapshot!(no_id.parser_text(), @"Top-level element requires an identifer but none provided. Add an '@id' property whose value is a string that conforms to the DTMI syntax -- see https://github.com/Azure/digital-twin-model-identifier.");
    let own = refuse(&v2_property(json!("decimal")));
    assert_eq!(own.parser_text(), own.to_string());
}

#[test]
fn an_error_names_the_model_the_content_the_place_and_what_is_wrong() {
    let error = refuse(&v2(
        json!({ "contents": [named("first"), { "@type": "Property", "name": "second", "schema": "decimal" }] }),
    ));
    assert_eq!(error.model(), Some("dtmi:com:example:Room;1"));
    assert_eq!(error.content(), Some("second"));
    assert_eq!(error.pointer(), "/contents/1/schema");
    insta::assert_snapshot!(error, @r#"dtmi:com:example:Room;1, content "second", at /contents/1/schema: "decimal" is neither a schema of DTDL v2 nor an id in this interface's "schemas""#);
    insta::assert_snapshot!(
        refuse(&v2(json!({ "@id": "dtmi:com:example:Room;01" }))),
        @r#"dtmi:com:example:Room;01, at /@id: "dtmi:com:example:Room;01" is not a model id: the version is a number of at most nine digits that does not begin with 0; a model id looks like dtmi:com:example:Thermostat;1"#
    );
    insta::assert_snapshot!(refuse(&v2_content(named("2nd"))), @r#"dtmi:com:example:Room;1, content "2nd", at /contents/0/name: "2nd" is no name: a name has 1 to 64 letters, digits and underscores, begins with a letter and does not end in an underscore"#);
    insta::assert_snapshot!(refuse(&json!([])), @"model: expected an object, got an array");
}

#[test]
fn the_id_follows_the_version_of_the_language() {
    let with_id = |language: fn(Value) -> Value, id: Value| language(json!({ "@id": id }));
    for id in ["dtmi:com:example:Room", "dtmi:com:example:Room;1.2"] {
        parse(&with_id(v3, json!(id)));
        assert_eq!(at(&with_id(v2, json!(id))), "/@id");
    }
    for id in [
        json!(null),
        json!(1),
        json!("Room"),
        json!("dtmi:_system:Room;1"),
        json!("dtmi:dtdl:Room;1"),
        json!("dtmi:standard:Room;1"),
    ] {
        assert_eq!(at(&with_id(v2, id)), "/@id");
    }
    let of_length = |length: usize| json!(format!("dtmi:{};1", "a".repeat(length - "dtmi:;1".len())));
    for language in [v2, v3] {
        parse(&with_id(language, of_length(128)));
        assert_eq!(at(&with_id(language, of_length(129))), "/@id");
    }
}

#[test]
fn the_type_is_interface_at_the_top_and_one_kind_of_content_below() {
    for kind in
        [json!("Property"), json!(["Property", "Interface"]), json!([]), json!(1), json!("interface"), json!("Thing")]
    {
        assert_eq!(at(&v2(json!({ "@type": kind }))), "/@type");
    }
    parse(&v2_content(
        json!({ "@type": "dtmi:dtdl:class:Property;2", "name": "p", "schema": "dtmi:dtdl:instance:Schema:double;2" }),
    ));
    for kind in
        [json!("Interface"), json!("Object"), json!(["Property", "Telemetry"]), json!("Temperature"), json!(null)]
    {
        assert_eq!(at(&v2_content(json!({ "@type": kind, "name": "p", "schema": "double" }))), "/contents/0/@type");
    }
    assert_eq!(at(&v2_content(json!({ "name": "p", "schema": "double" }))), "/contents/0/@type");
}

#[test]
fn names_follow_one_grammar() {
    for (language, limit) in [(v2_content as fn(Value) -> Value, 64), (v3_content, 512)] {
        for good in ["a".to_owned(), "Z9".to_owned(), "a_b".to_owned(), "a__9".to_owned(), "x".repeat(limit)] {
            assert_eq!(parse(&language(named(&good))).contents().properties.len(), 1);
        }
        for bad in ["", "_a", "a_", "9a", "a b", "a-b", "ä", "$a", "a.b"]
            .map(str::to_owned)
            .into_iter()
            .chain([("x").repeat(limit + 1)])
        {
            assert_eq!(at(&language(named(&bad))), "/contents/0/name", "{bad}");
        }
    }
    assert_eq!(at(&v2_content(json!({ "@type": "Property", "schema": "double" }))), "/contents/0");
    assert_eq!(at(&v2_content(json!({ "@type": "Property", "name": 1, "schema": "double" }))), "/contents/0/name");
}

#[test]
fn a_name_stands_for_one_content() {
    let twice = v2(json!({ "contents": [named("a"), { "@type": "Telemetry", "name": "a", "schema": "double" }] }));
    let error = refuse(&twice);
    assert_eq!((error.pointer(), error.fault()), ("/contents/1", &Fault::DuplicateName("a".to_owned())));
    let in_relationship =
        v2_content(json!({ "@type": "Relationship", "name": "r", "properties": [named("a"), named("a")] }));
    assert_eq!(at(&in_relationship), "/contents/0/properties/1");
    // A relationship's properties are its own.
    parse(&v2_content(json!({ "@type": "Relationship", "name": "a", "properties": [named("a")] })));
}

#[test]
fn texts_for_people_are_strings_or_maps_of_languages() {
    let name_of = |display_name: Value| parse(&v2(json!({ "displayName": display_name }))).display_name().clone();
    assert_eq!(name_of(json!("Room"))["en"], "Room");
    assert_eq!(name_of(json!({ "it": "Stanza", "zh-Hant": "x" }))["it"], "Stanza");
    assert_eq!(name_of(json!([{ "@value": "Raum", "@language": "de" }, "Room"]))["en"], "Room");
    assert!(parse(&v2(json!({}))).display_name().is_empty());
    for bad in [json!(1), json!(null), json!({ "English": "Room" }), json!({ "en": 1 }), json!(["a", "b"]), json!([1])]
    {
        assert!(at(&v2(json!({ "displayName": bad }))).starts_with("/displayName"));
    }
}

#[test]
fn texts_have_the_lengths_of_their_language() {
    for (language, display_name) in [(v2 as fn(Value) -> Value, 64), (v3, 512)] {
        for (member, limit) in [("displayName", display_name), ("description", 512), ("comment", 512)] {
            // Characters, not bytes.
            parse(&language(json!({ member: "ä".repeat(limit) })));
            let error = refuse(&language(json!({ member: "ä".repeat(limit + 1) })));
            assert_eq!(error.pointer(), format!("/{member}"));
            assert_eq!(error.fault(), &Fault::TextTooLong { limit, got: limit + 1 });
        }
    }
}

#[test]
fn v2_has_at_most_300_contents_and_two_parents() {
    let contents =
        |count: usize| json!({ "contents": (0..count).map(|n| named(&format!("p{n}"))).collect::<Vec<_>>() });
    parse(&v2(contents(300)));
    assert_eq!(at(&v2(contents(301))), "/contents");
    parse(&v3(contents(301)));
    let parents =
        |count: usize| json!({ "extends": (0..count).map(|n| format!("dtmi:com:example:P{n};1")).collect::<Vec<_>>() });
    parse(&v2(parents(2)));
    assert_eq!(at(&v2(parents(3))), "/extends");
    parse(&v3(parents(1024)));
    assert_eq!(at(&v3(parents(1025))), "/extends");
}

#[test]
fn relationships_keep_their_bounds() {
    let relationship = |members: Value| {
        let mut content = json!({ "@type": "Relationship", "name": "r" });
        content.as_object_mut().expect("an object").extend(members.as_object().expect("an object").clone());
        content
    };
    parse(&v2_content(relationship(json!({ "maxMultiplicity": 500 }))));
    parse(&v3_content(relationship(json!({ "maxMultiplicity": 501 }))));
    for (members, member) in [
        (json!({ "maxMultiplicity": 501 }), "maxMultiplicity"),
        (json!({ "maxMultiplicity": 0 }), "maxMultiplicity"),
        (json!({ "maxMultiplicity": 1.5 }), "maxMultiplicity"),
        (json!({ "maxMultiplicity": "1" }), "maxMultiplicity"),
        (json!({ "minMultiplicity": 1 }), "minMultiplicity"),
        (json!({ "minMultiplicity": -1 }), "minMultiplicity"),
        (json!({ "writable": "yes" }), "writable"),
        (json!({ "target": "Room" }), "target"),
        (json!({ "target": { "@type": "Interface" } }), "target"),
    ] {
        assert_eq!(at(&v2_content(relationship(members))), format!("/contents/0/{member}"));
    }
    let many = |count: usize| {
        relationship(json!({ "properties": (0..count).map(|n| named(&format!("p{n}"))).collect::<Vec<_>>() }))
    };
    parse(&v2_content(many(300)));
    assert_eq!(at(&v2_content(many(301))), "/contents/0/properties");
}

#[test]
fn interfaces_inside_others_are_refused() {
    let inner = json!({ "@id": "dtmi:com:example:Inner;1", "@type": "Interface" });
    assert_eq!(at(&v2(json!({ "extends": inner }))), "/extends");
    assert_eq!(at(&v2(json!({ "extends": [inner] }))), "/extends/0");
    assert_eq!(at(&v2_content(json!({ "@type": "Component", "name": "c", "schema": inner }))), "/contents/0/schema");
}

#[test]
fn v2_lets_undefined_types_pass_and_v3_does_not() {
    let undefined =
        json!({ "@type": ["Property", "Sparkling"], "name": "p", "schema": "double", "sparkle": { "a": 1 } });
    parse(&v2_content(undefined.clone()));
    assert_eq!(at(&v3_content(undefined)), "/contents/0/@type");
    // Without an undefined type that could define it, a member is a mistake in v2 too.
    let misspelt = json!({ "@type": "Property", "name": "p", "schema": "double", "writeable": true });
    for language in [v2_content as fn(Value) -> Value, v3_content] {
        let error = refuse(&language(misspelt.clone()));
        assert_eq!(error.pointer(), "/contents/0/writeable");
        assert_eq!(error.fault(), &Fault::UnknownMember { class: "Property", got: "writeable".to_owned() });
    }
}

#[test]
fn a_member_can_be_written_as_an_identifier_but_not_twice() {
    let by_id = json!({ "@type": "Property", "dtmi:dtdl:property:name;2": "p", "schema": "double" });
    assert!(parse(&v2_content(by_id)).contents().properties.contains_key("p"));
    let twice = json!({ "@type": "Property", "name": "p", "dtmi:dtdl:property:name;2": "p", "schema": "double" });
    assert_eq!(refuse(&v2_content(twice)).fault(), &Fault::MemberTwice("name".to_owned()));
}

#[test]
fn semantic_types_of_v2_need_a_number_and_one_of_their_units() {
    let with = |types: Value, schema: &str, unit: Value| {
        let mut content = json!({ "@type": types, "name": "p", "schema": schema });
        if !unit.is_null() {
            content.as_object_mut().expect("an object").insert("unit".to_owned(), unit);
        }
        content
    };
    for schema in ["double", "float", "integer", "long"] {
        parse(&v2_content(with(json!(["Property", "Temperature"]), schema, json!("kelvin"))));
        parse(&v2_content(with(json!(["Telemetry", "Humidity"]), schema, json!("gramPerCubicMetre"))));
    }
    for (types, schema, unit, wanted) in [
        (json!(["Property", "Temperature"]), "string", json!("kelvin"), "needs a schema double"),
        (json!(["Property", "Temperature"]), "double", json!(null), "needs a \"unit\""),
        (json!(["Property", "Temperature"]), "double", json!("volt"), "\"volt\" is no TemperatureUnit"),
        (json!(["Property", "Temperature"]), "double", json!(1), "expected a unit"),
        (json!(["Property", "Temperature", "Voltage"]), "double", json!("kelvin"), "two semantic types"),
        (json!("Property"), "double", json!("kelvin"), "no member \"unit\""),
        // Defined by the extension of v3 only.
        (json!(["Property", "Radioactivity"]), "double", json!(null), ""),
    ] {
        match Interface::parse(&v2_content(with(types.clone(), schema, unit))) {
            Ok(interface) => assert_eq!((wanted, interface.contents().properties["p"].quantity), ("", None), "{types}"),
            Err(error) => assert!(!wanted.is_empty() && error.to_string().contains(wanted), "{types}: {error}"),
        }
    }
}

#[test]
fn ids_inside_a_document_are_unique_and_well_formed() {
    let with_id = |id: &str| json!({ "@type": "Property", "@id": id, "name": "p", "schema": "double" });
    parse(&v2_content(with_id("dtmi:com:example:Room:p;1")));
    assert_eq!(at(&v2_content(with_id("dtmi:com:example:Room;1"))), "/contents/0/@id");
    assert_eq!(at(&v2_content(with_id("p"))), "/contents/0/@id");
}

#[test]
fn deep_and_large_documents_are_refused() {
    let nested = |levels: usize| (0..levels).fold(json!(1), |inner, _| json!([inner]));
    let document = |levels| {
        v2_content(json!({ "@type": ["Property", "X"], "name": "p", "schema": "double", "x": nested(levels) }))
    };
    parse(&document(60));
    assert_eq!(refuse(&document(61)).fault(), &Fault::TooDeep { limit: 64 });
    let large = v2(json!({ "@type": ["Interface", "X"], "x": "x".repeat(1024 * 1024) }));
    assert_eq!(refuse(&large).fault(), &Fault::TooLarge { limit: 1024 * 1024 });
}

#[test]
fn a_text_holds_one_interface_or_an_array() {
    let one = v2(json!({}));
    assert_eq!(parse_text(one.to_string().as_bytes()).expect("an interface").len(), 1);
    assert_eq!(parse_text(json!([one, v3(json!({}))]).to_string().as_bytes()).expect("interfaces").len(), 2);
    assert_eq!(parse_text(b"[]").expect("nothing").len(), 0);
    let second = |text: &str| parse_text(text.as_bytes()).expect_err("an error");
    let error: Error = second(&json!([one, v2_property(json!("decimal"))]).to_string());
    assert_eq!(error.pointer(), "/1/contents/0/schema");
    for no_json in ["", "{", "\u{feff}{}", "nonsense", &"[".repeat(100_000)] {
        assert!(matches!(second(no_json).fault(), Fault::NotJson(_)), "{no_json}");
    }
    assert_eq!(second(&" ".repeat(dtdl::MAX_TEXT + 1)).fault(), &Fault::TooLarge { limit: dtdl::MAX_TEXT });
    assert!(matches!(second("1").fault(), Fault::WrongType { .. }));
}

#[test]
fn arrays_are_for_telemetry_in_v2_and_for_anything_in_v3() {
    let array = json!({ "@type": "Array", "elementSchema": "double" });
    let inside = json!({ "@type": "Object", "fields": [{ "name": "f", "schema": array }] });
    for schema in [array, inside, json!("point")] {
        parse(&v3_property(schema.clone()));
        let error = refuse(&v2_property(schema.clone()));
        assert_eq!((error.pointer(), error.fault()), ("/contents/0", &Fault::ArrayInProperty));
        parse(&v2_content(json!({ "@type": "Telemetry", "name": "t", "schema": schema })));
        parse(&v2_content(json!({ "@type": "Command", "name": "c", "request": { "name": "r", "schema": schema } })));
        let in_relationship = json!({ "@type": "Relationship", "name": "r", "properties": [{ "@type": "Property", "name": "p", "schema": schema }] });
        assert_eq!(refuse(&v2_content(in_relationship)).fault(), &Fault::ArrayInProperty);
    }
}
