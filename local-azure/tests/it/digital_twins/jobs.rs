//! `/jobs`.

use serde_json::{Value, json};

use super::client::{Answer, Instance, model, property, twin};

fn blobs() -> Value {
    json!({
        "inputBlobUri": "https://account.blob.core.windows.net/container/in.ndjson",
        "outputBlobUri": "https://account.blob.core.windows.net/container/out.ndjson",
    })
}

fn ids(list: &Answer) -> Vec<String> {
    let list = list.json();
    list["value"].as_array().unwrap().iter().map(|job| job["id"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn an_import_job_fails_where_there_is_no_storage() {
    let instance = Instance::new();
    let created = instance.put("/jobs/imports/a", &blobs()).await;
    assert_eq!((created.status.as_u16(), &created.json()["status"]), (201, &json!("notstarted")));
    instance.pass(1);
    assert_eq!(instance.get("/jobs/imports/a").await.json()["status"], "running");
    instance.pass(2);
    let failed = instance.get("/jobs/imports/a").await.json();
    assert_eq!(
        (&failed["status"], &failed["error"]["code"]),
        (&json!("failed"), &json!("AuthorizationPermissionMismatch"))
    );
    assert_eq!(instance.delete("/jobs/imports/a").await.status, 204);
    let gone = instance.get("/jobs/imports/a").await.error();
    assert_eq!((gone.0, gone.1.as_str()), (404, "JobNotFound"));
}

#[tokio::test]
async fn an_import_job_names_blobs_that_can_be() {
    let instance = Instance::new();
    let words = |uri: &str, reason: &str| {
        format!(
            "Azure Storage Blob URI '{uri}' failed validation. Invalid URI: {reason} Please check: \
             https://docs.microsoft.com/en-us/rest/api/storageservices/naming-and-referencing-containers--blobs--and-metadata"
        )
    };
    let body = json!({ "inputBlobUri": "invalidUri", "outputBlobUri": "invalidOutputUri" });
    let answer = instance.put("/jobs/imports/a", &body).await;
    let expected = words("invalidUri", "The format of the URI could not be determined.");
    assert_eq!(answer.error(), (400, "InvalidArgument".to_owned(), expected));
    // As recorded.
    assert_eq!(answer.bytes.len(), 290);
    let answer = instance.put("/jobs/imports/a", &json!({ "inputBlobUri": "https://a/b/c" })).await;
    assert_eq!(answer.error().2, words("", "The URI is empty."));
    assert_eq!(ids(&instance.get("/jobs/imports").await), [""; 0]);
}

#[tokio::test]
async fn one_job_runs_at_a_time() {
    let instance = Instance::new();
    assert_eq!(instance.put("/jobs/imports/a", &blobs()).await.status, 201);
    let others =
        [instance.put("/jobs/imports/b", &blobs()).await, instance.ask("POST", "/jobs/deletions", &[], None).await];
    for other in others {
        assert_eq!(other.status, 429);
        let inner: Value = serde_json::from_str(other.json().as_str().unwrap()).unwrap();
        assert_eq!(inner["error"]["code"], "TooManyRequests");
    }
    instance.pass(3);
    assert_eq!(instance.put("/jobs/imports/b", &blobs()).await.status, 201);
}

#[tokio::test]
async fn an_import_job_can_be_cancelled_until_it_ends_and_deleted_then() {
    let instance = Instance::new();
    assert_eq!(instance.ask("POST", "/jobs/imports/a/cancel", &[], None).await.error().1, "JobNotFound");
    assert_eq!(instance.put("/jobs/imports/a", &blobs()).await.status, 201);
    let refused = instance.delete("/jobs/imports/a").await.error();
    assert_eq!((refused.0, refused.1.as_str()), (400, "ValidationFailed"));
    let cancelled = instance.ask("POST", "/jobs/imports/a/cancel", &[], None).await;
    assert_eq!((cancelled.status.as_u16(), &cancelled.json()["status"]), (200, &json!("cancelling")));
    instance.pass(1);
    assert_eq!(instance.get("/jobs/imports/a").await.json()["status"], "cancelled");
    assert_eq!(instance.ask("POST", "/jobs/imports/a/cancel", &[], None).await.error().1, "ValidationFailed");
    assert_eq!(instance.delete("/jobs/imports/a").await.status, 204);
}

#[tokio::test]
async fn jobs_are_listed_page_by_page_and_forgotten_after_thirty_days() {
    let instance = Instance::new();
    for id in ["a", "b", "c"] {
        assert_eq!(instance.put(&format!("/jobs/imports/{id}"), &blobs()).await.status, 201);
        instance.pass(3);
    }
    let first = instance.ask("GET", "/jobs/imports", &[("max-items-per-page", "2")], None).await;
    assert_eq!(ids(&first), ["a", "b"]);
    let link = first.json()["nextLink"].as_str().unwrap().to_owned();
    let second = instance.get(link.strip_prefix("https://adt.example").unwrap()).await;
    assert_eq!((ids(&second), &second.json()["nextLink"]), (vec!["c".to_owned()], &Value::Null));
    assert_eq!(instance.put("/jobs/imports/a", &blobs()).await.error().1, "JobIdAlreadyExists");
    instance.pass(30 * 86_400 - 8);
    assert_eq!(ids(&instance.get("/jobs/imports").await), ["b", "c"]);
    assert_eq!(instance.put("/jobs/imports/a", &blobs()).await.status, 201);
}

#[tokio::test]
async fn a_delete_job_deletes_twins_and_models() {
    let (id, graph) = (
        "dtmi:com:example:Room;1",
        json!({ "twins": [{ "$dtId": "a", "$metadata": { "$model": "dtmi:com:example:Room;1" } }] }),
    );
    let instance = Instance::of(&[model(id, json!([property("Name", "string")]))], &graph);
    let job = instance.ask("POST", "/jobs/deletions?timeoutInMinutes=60", &[("operation-id", "d")], None).await;
    assert_eq!((job.status.as_u16(), &job.json()["status"]), (202, &json!("notstarted")));
    let location = job.header("operation-location").unwrap();
    assert_eq!(location, "https://adt.example/jobs/deletions/d?api-version=2023-10-31");
    instance.pass(3);
    let job = instance.get("/jobs/deletions/d").await.json();
    assert_eq!((&job["id"], &job["status"]), (&json!("d"), &json!("succeeded")));
    assert_eq!(instance.get("/jobs/deletions").await.json()["value"], json!([job]));
    assert_eq!((instance.service.twin_count(), instance.service.model_count()), (0, 0));
    assert_eq!(instance.rows("SELECT COUNT() FROM DIGITALTWINS").await, [json!({ "COUNT": 0 })]);
    let again = instance.put("/digitaltwins/a", &twin(id, json!({}))).await;
    assert_eq!(again.details(), ["dtmi:com:example:Room;1 or one of its dependencies does not exist."]);
    for (path, code) in
        [("/jobs/deletions?timeoutInMinutes=5", "ValidationFailed"), ("/jobs/deletions", "JobIdAlreadyExists")]
    {
        assert_eq!(instance.ask("POST", path, &[("operation-id", "d")], None).await.error().1, code);
    }
    assert_eq!(instance.get("/jobs/deletions/absent").await.error().1, "DeleteJobNotFound");
}

#[tokio::test]
async fn versions_without_jobs_have_none() {
    let instance = Instance::new();
    for (path, since) in [("/jobs/imports/a", "2022-05-31"), ("/jobs/deletions/a", "2023-06-30")] {
        let answer = instance.get(&format!("{path}?api-version={since}")).await.error();
        assert_eq!((answer.0, answer.1.as_str()), (400, "UnsupportedApiVersion"));
        assert_eq!(instance.get(path).await.status, 404);
    }
}
