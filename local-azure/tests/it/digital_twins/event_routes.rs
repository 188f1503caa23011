//! `/eventroutes`.

use jiff::SignedDuration;
use local_azure::gate::Rules;
use serde_json::{Value, json};

use super::client::{ENDPOINT, Instance};

fn route(filter: &str) -> Value {
    json!({ "endpointName": ENDPOINT, "filter": filter })
}

#[tokio::test]
async fn a_route_is_kept_replaced_and_deleted() {
    let instance = Instance::new();
    for filter in ["true", "type = 'microsoft.iot.telemetry' AND $body.a > 1"] {
        let answer = instance.put("/eventroutes/r", &route(filter)).await;
        assert_eq!((answer.status.as_u16(), answer.text().as_str()), (204, ""));
        let kept = json!({ "id": "r", "endpointName": ENDPOINT, "filter": filter });
        assert_eq!(instance.get("/eventroutes/r").await.json(), kept);
        assert_eq!(instance.get("/eventroutes").await.json(), json!({ "value": [kept], "nextLink": null }));
    }
    assert_eq!(instance.delete("/eventroutes/r").await.status, 204);
    let words = "There is no route available that matches the provided input. Check for all valid event routes by \
                 calling EventRoute_List. See Swagger example (https://aka.ms/RouteSwSmpl).";
    for answer in [instance.get("/eventroutes/r").await, instance.delete("/eventroutes/r").await] {
        assert_eq!(answer.error(), (404, "EventRouteNotFound".to_owned(), words.to_owned()));
        // As recorded.
        assert_eq!(answer.bytes.len(), 223);
    }
}

#[tokio::test]
async fn a_route_that_leads_nowhere_or_cannot_be_read_is_refused() {
    let instance = Instance::new();
    let long = format!("/eventroutes/{}", "x".repeat(129));
    for (path, body, code) in [
        ("/eventroutes/r", json!({ "endpointName": "absent", "filter": "true" }), "EventRouteEndpointInvalid"),
        ("/eventroutes/r", route("type ="), "EventRouteFilterInvalid"),
        ("/eventroutes/r", json!({ "endpointName": ENDPOINT }), "InvalidArgument"),
        ("/eventroutes/r", json!([]), "InvalidArgument"),
        (long.as_str(), route("true"), "EventRouteIdInvalid"),
    ] {
        let (status, found, message) = instance.put(path, &body).await.error();
        assert_eq!((status, found.as_str()), (400, code), "{message}");
    }
    assert_eq!(instance.ask("PUT", "/eventroutes/r", &[], None).await.error().1, "BadRequest");
    assert_eq!(instance.get("/eventroutes").await.json()["value"], json!([]));
}

#[tokio::test]
async fn there_are_six_routes_at_most_and_lists_go_over_pages() {
    let instance = Instance::new();
    for n in 0..6 {
        assert_eq!(instance.put(&format!("/eventroutes/r{n}"), &route("true")).await.status, 204);
    }
    assert_eq!(instance.put("/eventroutes/r6", &route("true")).await.error().1, "LimitExceeded");
    assert_eq!(instance.put("/eventroutes/r5", &route("false")).await.status, 204);
    let (mut path, mut sizes, mut found) = ("/eventroutes".to_owned(), Vec::new(), Vec::new());
    loop {
        let page = instance.ask("GET", &path, &[("max-items-per-page", "4")], None).await.json();
        let ids = page["value"].as_array().unwrap().iter().map(|route| route["id"].as_str().unwrap().to_owned());
        let ids: Vec<String> = ids.collect();
        sizes.push(ids.len());
        found.extend(ids);
        let Some(link) = page["nextLink"].as_str() else { break };
        path = link.strip_prefix("https://adt.example").unwrap().to_owned();
    }
    assert_eq!(sizes, [4, 2]);
    assert_eq!(found, ["r0", "r1", "r2", "r3", "r4", "r5"]);
    assert_eq!(instance.get("/eventroutes?continuationToken=").await.error().1, "BadRequest");
}

#[tokio::test]
async fn routes_and_jobs_are_written_down_with_the_rest_and_older_states_have_none() {
    let instance = Instance::new();
    assert_eq!(instance.put("/eventroutes/r", &route("true")).await.status, 204);
    assert_eq!(instance.ask("POST", "/jobs/deletions", &[("operation-id", "d")], None).await.status, 202);
    instance.pass(3);
    let blob = "https://account.blob.core.windows.net/container/blob";
    let blobs = json!({ "inputBlobUri": blob, "outputBlobUri": blob });
    assert_eq!(instance.put("/jobs/imports/i", &blobs).await.status, 201);
    let mut written = instance.service.read(|state| serde_json::to_value(state).unwrap());
    let again = resumed(&written);
    for path in ["/eventroutes/r", "/jobs/imports/i", "/jobs/deletions/d"] {
        assert_eq!(again.get(path).await.status, 200, "{path}");
    }
    for name in ["routes", "jobs"] {
        written.as_object_mut().unwrap().remove(name).unwrap();
    }
    assert_eq!(resumed(&written).get("/eventroutes").await.json()["value"], json!([]));
}

fn resumed(written: &Value) -> Instance {
    let state = serde_json::from_value(written.clone()).unwrap();
    Instance::with(SignedDuration::ZERO, Rules::default(), state)
}
