//! Lists and queries, page after page, and models.

use dtdl::ModelId;
use function_app::digital_twins::{Error, Filter, PropertyName, Query};
use futures::future::join_all;
use serde_json::{Value, json};

use super::script::{Reply, Script, id, twin};
use crate::fixtures;

const HOST: &str = "https://contoso.api.weu.digitaltwins.azure.net";

fn relationship(id: &str) -> Value {
    json!({ "$relationshipId": id, "$etag": "W/\"1\"", "$sourceId": "a", "$relationshipName": "contains", "$targetId": "b" })
}

#[tokio::test]
async fn a_list_is_followed_to_its_last_page() {
    let next = format!("{HOST}/digitaltwins/a/relationships?continuationToken=0_a&api-version=2023-10-31");
    let script = Script::new([
        Reply::json(200, &json!({ "nextLink": next, "value": [relationship("0")] })),
        Reply::json(200, &json!({ "nextLink": null, "value": [relationship("1")] })),
    ]);
    let relationships = script.client().relationships(&id("a")).await.unwrap();
    let ids: Vec<_> = relationships.iter().map(|relationship| relationship.id.as_str()).collect();
    assert_eq!(ids, ["0", "1"]);
    assert_eq!(
        script.lines(),
        [
            "GET /digitaltwins/a/relationships?api-version=2023-10-31",
            "GET /digitaltwins/a/relationships?continuationToken=0_a&api-version=2023-10-31",
        ]
    );
}

#[tokio::test]
async fn the_token_goes_to_no_other_host() {
    for next in ["https://elsewhere.net/x", "http://contoso.api.weu.digitaltwins.azure.net/x", "//elsewhere.net/x"] {
        let script = Script::new([Reply::json(200, &json!({ "nextLink": next, "value": [] }))]);
        let error = script.client().relationships(&id("a")).await.unwrap_err();
        assert!(matches!(error, Error::Answer { .. }), "{next}: {error}");
        assert_eq!(script.sent().len(), 1);
    }
}

#[tokio::test]
async fn pages_that_do_not_end_are_given_up() {
    let next = format!("{HOST}/digitaltwins/a/relationships?continuationToken=x");
    let page = || Reply::json(200, &json!({ "nextLink": next, "value": [] }));
    let script = Script::new([page(), page()]);
    assert!(matches!(script.client().relationships(&id("a")).await, Err(Error::Answer { .. })));
    let pages = (0..101).map(|page| Reply::json(200, &json!({ "nextLink": format!("{HOST}/x?{page}"), "value": [] })));
    assert!(matches!(Script::new(pages).client().relationships(&id("a")).await, Err(Error::Answer { .. })));
}

#[tokio::test]
async fn a_query_is_read_to_its_last_page() {
    const REGISTRATION: PropertyName = PropertyName::literal("HubRegistrationId");
    let token = r#"{"_t":2,"_q":"SELECT"}"#;
    let script = Script::new([
        Reply::json(200, &json!({ "value": [twin("a")], "continuationToken": token })),
        Reply::json(200, &json!({ "value": [], "continuationToken": "2" })),
        Reply::json(200, &json!({ "value": [twin("b")], "continuationToken": null })),
    ]);
    let query = Query::twins_where(&Filter::property_in(REGISTRATION, ["it's"]));
    let twins = script.client().query(&query).await.unwrap();
    assert_eq!(twins.iter().map(|twin| twin.id().as_str()).collect::<Vec<_>>(), ["a", "b"]);
    let sent = script.sent();
    assert_eq!(sent[0].line, "POST /query?api-version=2023-10-31");
    let text = r"SELECT * FROM DIGITALTWINS T WHERE T.HubRegistrationId IN ['it\'s']";
    assert_eq!(sent[0].body, json!({ "query": text }));
    assert_eq!(sent[1].body, json!({ "query": text, "continuationToken": token }));
}

fn any_query() -> Query {
    Query::twins_where(&Filter::id_in(["a"]))
}

#[tokio::test]
async fn a_query_with_more_rows_than_anybody_wants_is_given_up() {
    let rows = vec![twin("a"); 1000];
    let pages = (0..11).map(|page| Reply::json(200, &json!({ "value": rows, "continuationToken": page.to_string() })));
    let error = Script::new(pages).client().query(&any_query()).await.unwrap_err();
    assert_eq!(error.to_string(), "the answer to query twins is larger than 10000 rows");
}

/// What the service was recorded to answer to queries for twins.
#[tokio::test]
async fn recorded_answers_to_queries_are_understood() {
    for entry in fixtures::json("adt", "query.json").as_array().unwrap() {
        let (request, response) = (&entry["request"], &entry["response"]);
        if !request["path"].as_str().unwrap().starts_with("/query") {
            continue;
        }
        let status = u16::try_from(response["status"].as_u64().unwrap()).unwrap();
        let mut body = response["body"].clone();
        if body["value"][0].get("COUNT").is_some() {
            continue;
        }
        if status == 200 {
            body["continuationToken"] = Value::Null;
        }
        match Script::new([Reply::json(status, &body)]).client().query(&any_query()).await {
            Ok(twins) => assert_eq!(twins.len(), body["value"].as_array().unwrap().len()),
            Err(error) => assert_eq!((error.status(), error.code()), (Some(status), Some("SqlQueryError"))),
        }
    }
}

#[tokio::test]
async fn recorded_lists_of_relationships_are_understood() {
    let mut lists = 0;
    for entry in fixtures::json("adt", "relationships.json").as_array().unwrap() {
        let path = entry["request"]["path"].as_str().unwrap();
        let mut body = entry["response"]["body"].clone();
        if entry["request"]["method"] != "GET" || body.get("value").is_none() {
            continue;
        }
        body["nextLink"] = Value::Null;
        let client = Script::new([Reply::json(200, &body)]).client();
        let rows = body["value"].as_array().unwrap().len();
        let read = if path.contains("/incomingrelationships") {
            client.incoming_relationships(&id("a")).await.unwrap().len()
        } else {
            client.relationships(&id("a")).await.unwrap().len()
        };
        assert_eq!(read, rows, "{path}");
        lists += 1;
    }
    assert!(lists > 0);
}

fn model_row(id: &str, extends: Option<&str>) -> Value {
    json!({ "id": id, "decommissioned": false, "model": {
        "@id": id, "@type": "Interface", "@context": ["dtmi:dtdl:context;2"], "extends": extends.unwrap_or("dtmi:a:Base;1"),
        "contents": [{ "@type": "Property", "name": if extends.is_some() { "Own" } else { "Inherited" }, "schema": "double" }],
    } })
}

fn model_list() -> Value {
    let mut base = model_row("dtmi:a:Base;1", None);
    base["model"].as_object_mut().unwrap().remove("extends");
    json!({ "value": [model_row("dtmi:a:B;1", Some("dtmi:a:Base;1")), base], "nextLink": null })
}

#[tokio::test]
async fn a_model_is_fetched_once_with_all_that_it_extends() {
    let script = Script::new([Reply::json(200, &model_list())]);
    let (client, model) = (script.client(), ModelId::parse("dtmi:a:B;1").unwrap());
    let all = join_all((0..10).map(|_| client.model(&model))).await;
    for models in all {
        let contents = models.unwrap().contents(&model).unwrap().properties.keys().cloned().collect::<Vec<_>>();
        assert_eq!(contents, ["Inherited", "Own"]);
    }
    client.model(&model).await.unwrap();
    assert_eq!(
        script.lines(),
        ["GET /models?api-version=2023-10-31&dependenciesFor=dtmi%3Aa%3AB%3B1&includeModelDefinition=true"]
    );
}

#[tokio::test]
async fn a_model_that_could_not_be_fetched_is_asked_for_again() {
    let script = Script::new([
        Reply::error(404, "ModelNotFound"),
        Reply::json(200, &json!({ "value": [] })),
        Reply::json(200, &model_list()),
    ]);
    let (client, model) = (script.client(), ModelId::parse("dtmi:a:B;1").unwrap());
    for _ in 0..2 {
        let error = client.model(&model).await.unwrap_err();
        assert_eq!(error.code(), Some("ModelNotFound"));
    }
    assert!(client.model(&model).await.is_ok());
}

#[tokio::test]
async fn recorded_answers_about_models_are_understood() {
    let model = ModelId::parse("dtmi:a:B;1").unwrap();
    for entry in fixtures::json("adt", "models.json").as_array().unwrap() {
        let response = &entry["response"];
        let Some(code) = response["body"]["error"]["code"].as_str() else { continue };
        let status = u16::try_from(response["status"].as_u64().unwrap()).unwrap();
        let error = Script::new([Reply::json(status, &response["body"])]).client().model(&model).await.unwrap_err();
        assert_eq!((error.status(), error.code(), error.is_transient()), (Some(status), Some(code), false));
    }
}
