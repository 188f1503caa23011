use dtdl::Interface;
use serde_json::json;

use super::*;

const DEVICE: &str = "dtmi:test:Device;1";
const PUMP: &str = "dtmi:test:Pump;1";

fn models() -> ModelSet {
    let property = |name: &str, schema: &str| json!({ "@type": "Property", "name": name, "schema": schema });
    let interfaces = [
        json!({ "@context": "dtmi:dtdl:context;2", "@id": "dtmi:test:Probe;1", "@type": "Interface",
            "contents": [property("Humidity", "integer")] }),
        json!({ "@context": "dtmi:dtdl:context;2", "@id": DEVICE, "@type": "Interface",
            "contents": [property("Temperature", "double"), property("Note", "string")] }),
        json!({ "@context": "dtmi:dtdl:context;2", "@id": PUMP, "@type": "Interface", "extends": DEVICE, "contents": [
            property("Pressure", "double"),
            { "@type": "Component", "name": "probe", "schema": "dtmi:test:Probe;1" }] }),
    ];
    ModelSet::default().with(interfaces.iter().map(|model| Interface::parse(model).unwrap())).unwrap()
}

fn mapping(models: Value) -> Mapping {
    Mapping::parse(json!({ "version": 1, "models": models }).to_string().as_bytes()).unwrap()
}

fn faults(text: &str) -> String {
    Mapping::parse(text.as_bytes()).unwrap_err().join("\n")
}

type ByProperty = (String, Result<Value, String>);

/// What `rules` for pumps make of `message`: values by property, and the rest.
fn mapped(rules: Value, message: Value) -> (Vec<ByProperty>, Value) {
    let mapping = mapping(json!({ PUMP: rules }));
    let members = message.as_object().unwrap();
    let Mapped { values, rest } = mapping.apply(members, &PUMP.parse().unwrap(), &models());
    let values = values.into_iter().map(|(path, value)| (path.to_string(), value)).collect();
    (values, Value::Object(rest.into_owned()))
}

#[test]
fn a_rule_takes_its_value_out_of_the_message() {
    let rules = json!([
        { "from": "/data/t", "to": "/Temperature" },
        { "from": "/data/rh", "to": "/probe/Humidity" },
        { "from": "/list/1/p", "to": "/Pressure", "scale": 0.1 },
        { "from": "/not/there", "to": "/Note" },
    ]);
    let message = json!({ "data": { "t": 21.5, "rh": 40, "seq": 7 }, "list": [{}, { "p": 5 }], "Other": 1 });
    let (values, rest) = mapped(rules, message);
    let expected = [("/Temperature", json!(21.5)), ("/probe/Humidity", json!(40)), ("/Pressure", json!(0.5))];
    assert_eq!(values, expected.map(|(path, value)| (path.to_owned(), Ok(value))));
    assert_eq!(rest, json!({ "data": { "seq": 7 }, "Other": 1 }));
}

#[test]
fn one_value_can_go_to_two_properties() {
    let rules = json!([{ "from": "/t", "to": "/Temperature" }, { "from": "/t", "to": "/Pressure", "offset": 1 }]);
    let (values, rest) = mapped(rules, json!({ "t": 1 }));
    assert_eq!(values, [("/Temperature".to_owned(), Ok(json!(1))), ("/Pressure".to_owned(), Ok(json!(2.0)))]);
    assert_eq!(rest, json!({}));
}

#[test]
fn a_value_that_its_unit_does_not_fit_says_so() {
    let rules = json!([{ "from": "/t", "to": "/Temperature", "scale": 2 }]);
    let (values, _) = mapped(rules, json!({ "t": "warm" }));
    let reason = "/Temperature from /t: scale and offset take a number, and a text came";
    assert_eq!(values, [("/Temperature".to_owned(), Err(reason.to_owned()))]);
}

#[test]
fn pointers_are_escaped_and_count_array_elements_exactly() {
    let rules = json!([{ "from": "/a~1b~0c/0", "to": "/Note" }, { "from": "/list/01", "to": "/Temperature" }]);
    let (values, rest) = mapped(rules, json!({ "a/b~c": ["x"], "list": [1, 2] }));
    assert_eq!(values, [("/Note".to_owned(), Ok(json!("x")))]);
    assert_eq!(rest, json!({ "list": [1, 2] }));
}

#[test]
fn rules_are_inherited_and_the_more_special_one_decides() {
    let mapping = mapping(json!({
        DEVICE: [{ "from": "/t", "to": "/Temperature" }, { "from": "/n", "to": "/Note" }],
        PUMP: [{ "from": "/temp", "to": "/Temperature" }],
    }));
    let sources = |model: &str| -> Vec<_> {
        mapping.of(&model.parse().unwrap(), &models()).into_iter().map(|rule| rule.from.to_string()).collect()
    };
    assert_eq!(sources(PUMP), ["/temp", "/n"]);
    assert_eq!(sources(DEVICE), ["/t", "/n"]);
    assert_eq!(sources("dtmi:test:Probe;1"), [""; 0]);
}

#[test]
fn without_rules_a_message_stays_as_it_is() {
    let members = json!({ "t": 1 });
    let members = members.as_object().unwrap();
    let mapping = Mapping::default();
    let Mapped { values, rest } = mapping.apply(members, &PUMP.parse().unwrap(), &models());
    assert!(values.is_empty() && matches!(rest, Cow::Borrowed(_)));
}

#[test]
fn everything_that_is_wrong_with_a_file_is_told() {
    let text = json!({ "version": 1, "models": {
        "pump": [],
        PUMP: [
            { "from": "t", "to": "/Temperature" },
            { "from": "/t~2", "to": "/Temperature" },
            { "from": "/t", "to": "/a/b/c" },
            { "from": "/t", "to": "/HubDeviceId" },
            { "from": "/t", "to": "/$metadata" },
            { "from": "/t", "to": "/Temperature", "scale": 0 },
            { "from": "/t", "to": "/Temperature", "factor": 2 },
            { "from": "/t", "to": "/Pressure" },
            { "from": "/u", "to": "/Pressure" },
        ],
    } });
    insta::assert_snapshot!(faults(&text.to_string()), @r#"
    dtmi:test:Pump;1, rule 1: from "t" is no JSON pointer: it begins with /, for instance /data/temp
    dtmi:test:Pump;1, rule 2: from "/t~2" is no JSON pointer: ~ is written ~0, and / in a name ~1 (RFC 6901)
    dtmi:test:Pump;1, rule 3: to "/a/b/c" goes too deep; it takes /property or /component/property
    dtmi:test:Pump;1, rule 4: to "/HubDeviceId" is a bookkeeping property, which telemetry never writes
    dtmi:test:Pump;1, rule 5: to "/$metadata" names "$metadata", which no property is called
    dtmi:test:Pump;1, rule 6: scale is 0, and every value would be the same
    dtmi:test:Pump;1, rule 7: unknown field `factor`, expected one of `from`, `to`, `scale`, `offset`
    dtmi:test:Pump;1, rule 9: another rule writes /Pressure already
    models: "pump" is not a model id: it begins with dtmi:; a model id looks like dtmi:com:example:Thermostat;1
    "#);
}

#[test]
fn what_is_no_mapping_is_refused() {
    for (text, fault) in [
        ("", "the body is empty; a JSON object was expected"),
        (r#"{"version":2,"models":{}}"#, "its version is 2; this program reads version 1"),
        (r#"{"models":{}}"#, "missing field `version`"),
        (r#"{"version":1,"model":{}}"#, "unknown field `model`, expected `version` or `models`"),
        (r#"{"version":1,"version":1}"#, "the body is not JSON: member \"version\" is there twice at line 1 column 22"),
    ] {
        assert_eq!(faults(text), fault);
    }
    assert_eq!(faults(&" ".repeat(1024 * 1024 + 1)), "it is larger than 1048576 bytes");
}

#[test]
fn rules_are_checked_against_the_model() {
    let rules = json!([
        { "from": "/a", "to": "/Temprature" },
        { "from": "/b", "to": "/Probe/Humidity" },
        { "from": "/c", "to": "/probe/Moisture" },
        { "from": "/d", "to": "/Note", "scale": 2 },
        { "from": "/e", "to": "/Pressure", "scale": 2 },
    ]);
    let faults: Vec<_> =
        mapping(json!({ PUMP: rules })).check(&PUMP.parse().unwrap(), &models()).iter().map(Fault::to_string).collect();
    assert_eq!(
        faults,
        [
            "/a to /Temprature: the model has no such property; the nearest is Temperature",
            "/b to /Probe/Humidity: the model has no such component; the nearest is probe",
            "/c to /probe/Moisture: the model has no such property",
            "/d to /Note: scale and offset make numbers, and the property takes none",
        ]
    );
}
