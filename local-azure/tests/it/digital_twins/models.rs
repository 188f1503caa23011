//! `/models`.

use serde_json::{Value, json};

use super::client::{Instance, component, model, property, twin};

fn ids(list: &Value) -> Vec<&str> {
    list["value"].as_array().unwrap().iter().map(|model| model["id"].as_str().unwrap()).collect()
}

fn family() -> Vec<Value> {
    let mut heir = model("dtmi:com:example:Heir;1", json!([component("Part", "dtmi:com:example:Part;1")]));
    heir["extends"] = "dtmi:com:example:Base;1".into();
    vec![
        heir,
        model("dtmi:com:example:Base;1", json!([property("Name", "string")])),
        model("dtmi:com:example:Part;1", json!([property("Size", "double")])),
        model("dtmi:com:example:Other;1", json!([property("Size", "double")])),
    ]
}

#[tokio::test]
async fn models_are_added_all_or_none() {
    let instance = Instance::new();
    let family = family();
    let (heir, base) = (&family[0], &family[1]);
    let answer = instance.ask("POST", "/models", &[], Some(&json!([base, heir]))).await;
    assert_eq!(
        answer.error(),
        (
            400,
            "DTDLParserError".to_owned(),
            "None of the models in this request could be created due to a problem with one or more models: \
             DtmiResolverAsync failed to resolve requisite references to element(s): dtmi:com:example:Part;1 \
             (referenced in 1 place). See model documentation(https://aka.ms/ADTv2Models) for supported format."
                .to_owned()
        )
    );
    assert_eq!(instance.service.model_count(), 0);
    let answer = instance.ask("POST", "/models", &[], Some(&family.into())).await;
    assert_eq!(answer.status, 201, "{}", answer.text());
    assert_eq!(instance.service.model_count(), 4);
}

#[tokio::test]
async fn models_with_commands_are_refused() {
    let instance = Instance::new();
    let commands = model("dtmi:com:example:C;1", json!([{ "@type": "Command", "name": "reboot" }]));
    let answer = instance.ask("POST", "/models", &[], Some(&json!([commands]))).await;
    assert_eq!(answer.error().1, "DTDLParserError");
}

#[tokio::test]
async fn a_list_can_be_of_some_models_and_what_they_need() {
    let instance = Instance::of(&family(), &json!({}));
    let some = ["dtmi:com:example:Base;1", "dtmi:com:example:Heir;1", "dtmi:com:example:Part;1"];
    for (arguments, expected) in [
        ("dependenciesFor=dtmi%3Acom%3Aexample%3AHeir%3B1", &some[..]),
        ("dependenciesFor=dtmi:com:example:Base;1&dependenciesFor=dtmi:com:example:Part;1", &[some[0], some[2]]),
        ("dependenciesFor=dtmi:com:example:Base;1,dtmi:com:example:Part;1", &[some[0], some[2]]),
    ] {
        let answer = instance.get(&format!("/models?{arguments}")).await;
        assert_eq!(ids(&answer.json()), expected, "{arguments}");
    }
    assert_eq!(ids(&instance.get("/models?dependenciesFor=").await.json()).len(), 4);
    assert_eq!(instance.get("/models?dependenciesFor=dtmi:com:example:No;1").await.error().1, "ModelNotFound");
}

#[tokio::test]
async fn pages_are_followed_by_their_links() {
    let instance = Instance::of(&family(), &json!({}));
    let mut path = "/models?includeModelDefinition=true".to_owned();
    let mut found = Vec::new();
    loop {
        let page = instance.ask("GET", &path, &[("max-items-per-page", "3")], None).await.json();
        found.extend(ids(&page).into_iter().map(str::to_owned));
        assert!(page["value"][0]["model"]["@context"].is_array());
        let Some(link) = page["nextLink"].as_str() else { break };
        path = link.strip_prefix("https://adt.example").unwrap().to_owned();
        assert!(path.starts_with("/Models?includeModelDefinition=True&continuationToken=%5B%7B"), "{path}");
    }
    assert_eq!(
        found,
        ["dtmi:com:example:Base;1", "dtmi:com:example:Heir;1", "dtmi:com:example:Other;1", "dtmi:com:example:Part;1"]
    );
    assert_eq!(instance.get("/models?continuationToken=x").await.error().1, "BadRequest");
    let answer = instance.ask("GET", "/models", &[("max-items-per-page", "0")], None).await;
    assert_eq!(answer.error().1, "InvalidArgument");
}

#[tokio::test]
async fn a_model_that_others_need_cannot_be_deleted() {
    let instance = Instance::of(&family(), &json!({}));
    let answer = instance.delete("/models/dtmi:com:example:Part;1").await;
    assert_eq!(
        answer.error(),
        (
            409,
            "ModelReferencesNotDeleted".to_owned(),
            "This model is currently being referenced by dtmi:com:example:Heir;1. You must delete these references \
             before deleting the Model.. To delete references, do Delete Model on Ids provided above."
                .to_owned()
        )
    );
    assert_eq!(instance.delete("/models/dtmi:com:example:Heir;1").await.status, 204);
    assert_eq!(instance.delete("/models/dtmi:com:example:Part;1").await.status, 204);
}

#[tokio::test]
async fn twins_live_on_without_their_model_but_are_not_patched() {
    let instance = Instance::of(&family(), &json!({}));
    let other = twin("dtmi:com:example:Other;1", json!({ "Size": 1 }));
    assert_eq!(instance.put("/digitaltwins/a", &other).await.status, 200);
    assert_eq!(instance.delete("/models/dtmi:com:example:Other;1").await.status, 204);
    assert_eq!(instance.get("/digitaltwins/a").await.status, 200);
    let patch = json!([{ "op": "add", "path": "/Size", "value": 2 }]);
    assert_eq!(
        instance.patch("/digitaltwins/a", &patch).await.details(),
        ["dtmi:com:example:Other;1 or one of its dependencies does not exist."]
    );
    assert_eq!(instance.ids("IS_OF_MODEL('dtmi:com:example:Other;1')").await, ["a"]);
    assert_eq!(instance.delete("/digitaltwins/a").await.status, 204);
}

#[tokio::test]
async fn a_decommissioned_model_gets_no_new_twins() {
    let instance = Instance::of(&family(), &json!({}));
    let other = twin("dtmi:com:example:Other;1", json!({}));
    assert_eq!(instance.put("/digitaltwins/a", &other).await.status, 200);
    let set = |value: bool| json!([{ "op": "replace", "path": "/decommissioned", "value": value }]);
    assert_eq!(instance.patch("/models/dtmi:com:example:Other;1", &set(true)).await.status, 204);
    assert_eq!(instance.put("/digitaltwins/b", &other).await.error().1, "ModelDecommissioned");
    assert_eq!(instance.put("/digitaltwins/a", &other).await.status, 200);
    assert_eq!(instance.patch("/models/dtmi:com:example:Other;1", &set(false)).await.status, 204);
    assert_eq!(instance.put("/digitaltwins/b", &other).await.status, 200);
    let name = json!([{ "op": "replace", "path": "/displayName", "value": "x" }]);
    assert_eq!(instance.patch("/models/dtmi:com:example:Other;1", &name).await.error().1, "JsonPatchInvalid");
    assert_eq!(instance.patch("/models/dtmi:com:example:No;1", &set(true)).await.error().1, "ModelNotFound");
}
