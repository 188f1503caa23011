//! What goes wrong, and whether it is worth another try.

use std::sync::Arc;

use function_app::digital_twins::{Client, Condition, Error, Patch, Twin};
use serde_json::json;

use super::script::{NoToken, Reply, Script, id, twin};

async fn get(replies: impl IntoIterator<Item = Reply>) -> (Result<Option<Twin>, Error>, usize) {
    let script = Script::new(replies);
    let result = script.client().get(&id("a")).await;
    (result, script.sent().len())
}

#[tokio::test]
async fn only_the_service_s_own_word_makes_a_twin_missing() {
    assert_eq!(get([Reply::error(404, "DigitalTwinNotFound")]).await.0.unwrap(), None);
    for reply in [
        Reply::empty(404),
        Reply::Status(404, Vec::new(), b"<html>404 Sub-Domain not found".to_vec()),
        Reply::json(404, &json!({ "statusCode": 404, "message": "Resource not found" })),
    ] {
        let error = get([reply]).await.0.unwrap_err();
        assert!(error.is_transient() && error.status() == Some(404), "{error}");
    }
}

#[tokio::test]
async fn access_denied_says_what_to_do_and_can_be_mended() {
    let (result, tries) = get([Reply::empty(403)]).await;
    let error = result.unwrap_err();
    assert_eq!(
        error.to_string(),
        "access denied with status 403: give the app's identity the role \"Azure Digital Twins Data Owner\" on the instance"
    );
    assert!(error.is_transient());
    assert_eq!(tries, 1);
    let gateway = json!({ "statusCode": 401, "message": "Unauthorized" });
    assert!(get([Reply::json(401, &gateway)]).await.0.unwrap_err().is_transient());
}

#[tokio::test]
async fn a_refusal_is_permanent_and_says_all_that_the_service_says() {
    let body = json!({ "error": {
        "code": "ValidationFailed",
        "message": "Invalid twin specified",
        "details": [{ "code": "ValidationFailed", "message": "x is not a property - it is a Telemetry." }],
    } });
    let script = Script::new([Reply::json(400, &body)]);
    let error = script.client().patch(&id("a"), &Patch::new().add("x", json!(1)), Condition::Always).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "refused with status 400: ValidationFailed: Invalid twin specified; x is not a property - it is a Telemetry."
    );
    assert_eq!((error.is_transient(), error.status(), error.code()), (false, Some(400), Some("ValidationFailed")));
}

#[tokio::test(start_paused = true)]
async fn what_can_pass_is_tried_four_times() {
    for broken in [|| Reply::empty(503), || Reply::empty(500), || Reply::error(504, "Timeout"), || Reply::Broken] {
        let (result, tries) = get([broken(), broken(), broken(), broken()]).await;
        let error = result.unwrap_err();
        assert!(error.is_transient() && !error.is_throttled(), "{error}");
        assert_eq!(tries, 4);
        let (result, tries) = get([broken(), Reply::json(200, &twin("a"))]).await;
        assert!(result.unwrap().is_some());
        assert_eq!(tries, 2);
    }
}

#[tokio::test]
async fn without_a_token_nothing_is_sent_and_later_it_can_succeed() {
    let script = Script::new([]);
    let error = script.client_with(Arc::new(NoToken)).get(&id("a")).await.unwrap_err();
    assert!(matches!(&error, Error::Token { reason } if reason.contains("the identity endpoint is down")), "{error}");
    assert!(error.is_transient());
    assert!(script.sent().is_empty());
}

#[tokio::test]
async fn an_answer_that_is_no_twin_says_nothing_about_the_twin() {
    for body in [json!([]), json!({ "$dtId": "a" })] {
        let error = get([Reply::json(200, &body)]).await.0.unwrap_err();
        assert!(matches!(error, Error::Answer { .. }) && error.is_transient(), "{error}");
    }
    let html = Reply::Status(200, Vec::new(), b"<html>".to_vec());
    assert!(matches!(get([html]).await.0, Err(Error::Answer { .. })));
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let (result, tries) = get([Reply::empty(302).header("location", "https://elsewhere/")]).await;
    assert!(result.unwrap_err().is_transient());
    assert_eq!(tries, 1);
}

#[tokio::test]
async fn no_token_goes_out_without_tls() {
    let script = Script::new([]);
    let transport = azure_core::http::Transport::new(Arc::clone(&script) as Arc<dyn azure_core::http::HttpClient>);
    let client = Client::new("http://contoso.net".parse().unwrap(), Script::token(), transport, 90);
    assert!(client.get(&id("a")).await.is_err());
    assert!(script.sent().is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_operation_that_gets_no_answer_ends() {
    #[derive(Debug)]
    struct Silent;
    #[async_trait::async_trait]
    impl azure_core::http::HttpClient for Silent {
        async fn execute_request(
            &self,
            _: &azure_core::http::Request,
        ) -> azure_core::Result<azure_core::http::AsyncRawResponse> {
            std::future::pending().await
        }
    }
    let transport = azure_core::http::Transport::new(Arc::new(Silent));
    let client = Client::new("https://contoso.net".parse().unwrap(), Script::token(), transport, 90);
    let error = client.get(&id("a")).await.unwrap_err();
    assert_eq!(error.to_string(), "no answer to get twin within 30 s");
    assert!(error.is_transient());
}
