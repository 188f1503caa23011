//! `GET /msi/token?api-version=2019-08-01&resource=...` with the header `X-IDENTITY-HEADER`.

use std::{sync::Arc, time::Duration};

use axum::{
    Json, Router,
    extract::{Query, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use serde::Deserialize;
use serde_json::json;

use super::{Headers, Tokens};
use crate::{
    front,
    gate::{Caller, Class, Gate, Refusal, Request, Service},
};

/// The first version whose answer has `expires_on`; the one that all Azure Identity libraries ask for.
const API_VERSION: &str = "2019-08-01";

/// The one thing that can be asked for: faults and counts call it so.
pub(crate) const GET_TOKEN: &str = "GetToken";

struct Endpoint {
    tokens: Tokens,
    headers: Headers,
    gate: Arc<Gate>,
}

/// The endpoint's routes; callers must send one of `headers` in `X-IDENTITY-HEADER`.
pub fn router(tokens: Tokens, headers: Headers, gate: Arc<Gate>) -> Router {
    Router::new().route("/msi/token", get(token)).with_state(Arc::new(Endpoint { tokens, headers, gate }))
}

#[derive(Deserialize)]
struct TokenQuery {
    resource: Option<String>,
    #[serde(rename = "api-version")]
    api_version: Option<String>,
    client_id: Option<String>,
}

async fn token(State(endpoint): State<Arc<Endpoint>>, Query(query): Query<TokenQuery>, headers: HeaderMap) -> Response {
    let request = Request { service: Service::Identity, operation: GET_TOKEN, class: Class::Other, subject: "" };
    let sent = headers.get("x-identity-header").map_or(&b""[..], |value| value.as_bytes());
    let caller = endpoint.headers.whose(sent);
    let answer = match endpoint.gate.pass_from(caller.unwrap_or_default(), request).await {
        Ok(passage) => {
            let answer = endpoint.answer(query, caller);
            passage.is_answered().await.then_some(answer)
        }
        Err(Refusal::Status { status, retry_after }) => Some(refused(status, retry_after)),
        Err(Refusal::Reset) => None,
    };
    answer.unwrap_or_else(front::no_answer)
}

impl Endpoint {
    fn answer(&self, query: TokenQuery, caller: Option<Caller>) -> Response {
        let Some(caller) = caller else {
            return refusal(StatusCode::UNAUTHORIZED, "X-IDENTITY-HEADER is missing or not the one in IDENTITY_HEADER");
        };
        if query.api_version.as_deref() != Some(API_VERSION) {
            return refusal(StatusCode::BAD_REQUEST, "the query needs api-version=2019-08-01");
        }
        let Some(resource) = query.resource.filter(|resource| resource.starts_with("https://")) else {
            return refusal(StatusCode::BAD_REQUEST, "the query needs resource=https://...");
        };
        let token = self.tokens.issue_to(caller, &resource);
        Json(json!({
            "access_token": token.text,
            "expires_on": token.expires.as_second().to_string(),
            "resource": resource,
            "token_type": "Bearer",
            "client_id": query.client_id.unwrap_or_else(|| "00000000-0000-0000-0000-000000000000".to_owned()),
        }))
        .into_response()
    }
}

/// What the gate has a request answered with.
fn refused(status: StatusCode, retry_after: Option<Duration>) -> Response {
    let mut response = refusal(status, "a fault that was asked for");
    if let Some(wait) = retry_after {
        response.headers_mut().insert(header::RETRY_AFTER, wait.as_secs().into());
    }
    response
}

fn refusal(status: StatusCode, message: &str) -> Response {
    (status, Json(json!({ "statusCode": status.as_u16(), "message": message }))).into_response()
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use jiff::Timestamp;
    use tower::ServiceExt as _;

    use super::*;
    use crate::clock::Clock;
    use crate::identity::DIGITAL_TWINS;

    const GOOD: &str = "/msi/token?api-version=2019-08-01&resource=https%3A%2F%2Fdigitaltwins.azure.net";

    async fn ask(uri: &str, header: &str) -> (StatusCode, serde_json::Value) {
        let tokens = Tokens::new("key", Clock::manual(Timestamp::UNIX_EPOCH));
        let router = router(tokens, Headers::new("header", 1), Arc::new(Gate::default()));
        let request = axum::http::Request::get(uri).header("X-IDENTITY-HEADER", header).body(Body::empty()).unwrap();
        let response = router.oneshot(request).await.unwrap();
        let status = response.status();
        let body = axum::body::to_bytes(response.into_body(), 65_536).await.unwrap();
        (status, serde_json::from_slice(&body).unwrap())
    }

    #[tokio::test]
    async fn a_caller_with_the_header_gets_a_token_that_digital_twins_accepts() {
        let (status, body) = ask(GOOD, "header").await;
        assert_eq!(status, StatusCode::OK);
        let tokens = Tokens::new("key", Clock::manual(Timestamp::UNIX_EPOCH));
        assert!(tokens.accepts(DIGITAL_TWINS, body["access_token"].as_str().unwrap()));
        assert_eq!(body["expires_on"], "86400");
    }

    #[tokio::test]
    async fn an_instance_gets_a_token_that_says_so() {
        let (_, body) = ask(GOOD, &Headers::new("header", 1).of_instances().next().unwrap()).await;
        let tokens = Tokens::new("key", Clock::manual(Timestamp::UNIX_EPOCH));
        let whose = tokens.whose(DIGITAL_TWINS, body["access_token"].as_str().unwrap());
        assert_eq!(whose, Some(Caller::Handler(0)));
    }

    #[tokio::test]
    async fn without_the_header_or_with_a_wrong_one_there_is_no_token() {
        for header in ["", "headeR", "header2"] {
            let (status, body) = ask(GOOD, header).await;
            assert_eq!(status, StatusCode::UNAUTHORIZED);
            assert!(body.get("access_token").is_none());
        }
    }

    #[tokio::test]
    async fn a_query_without_version_or_resource_is_refused() {
        for uri in ["/msi/token", "/msi/token?resource=https://x", "/msi/token?api-version=2019-08-01"] {
            assert_eq!(ask(uri, "header").await.0, StatusCode::BAD_REQUEST, "{uri}");
        }
    }
}
