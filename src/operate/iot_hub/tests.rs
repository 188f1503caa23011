use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};

use super::*;

type Answers = Arc<Mutex<Vec<Response>>>;

/// A hub that gives these answers in their order, and the requests that it got.
pub(in crate::operate) async fn hub(answers: Vec<Response>) -> (Hub, Arc<Mutex<Vec<String>>>) {
    let requests = Arc::new(Mutex::new(Vec::new()));
    let (seen, answers): (_, Answers) = (Arc::clone(&requests), Arc::new(Mutex::new(answers)));
    let router = Router::new().fallback(move |request: Request| {
        let header = |name: &str| request.headers().get(name).map_or("", |value| value.to_str().unwrap());
        let token = [header(CONTINUATION), header("if-match")].concat();
        assert!(request.headers()[AUTHORIZATION].to_str().unwrap().starts_with("SharedAccessSignature sr="));
        seen.lock().unwrap().push(format!("{} {} {token}", request.method(), request.uri()).trim().to_owned());
        let answer = answers.lock().unwrap().remove(0);
        async move { answer }
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}/", listener.local_addr().unwrap()).parse().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    let string = "HostName=h;SharedAccessKeyName=service;SharedAccessKey=c2VjcmV0c2VjcmV0";
    let (_, access) = Access::of_connection_string(string).unwrap();
    let hub = Hub { name: HubName::of_host("contoso-hub").unwrap(), base, access, http: reqwest::Client::new() };
    (hub, requests)
}

pub(in crate::operate) fn ok(body: Value) -> Response {
    axum::Json(body).into_response()
}

pub(in crate::operate) fn refusal(status: u16, code: &str) -> Response {
    let body = json!({ "Message": format!("ErrorCode:{code};no") });
    (StatusCode::from_u16(status).unwrap(), axum::Json(body)).into_response()
}

fn page(ids: &[&str], next: &'static str) -> Response {
    let rows: Vec<_> = ids.iter().map(|id| json!({ "deviceId": id, "etag": "AAAA", "tags": { "dtId": id } })).collect();
    ([(CONTINUATION, next)], axum::Json(rows)).into_response()
}

fn ids(devices: &[Device]) -> Vec<&str> {
    devices.iter().map(|device| device.id.as_str()).collect()
}

#[tokio::test]
async fn a_page_has_devices_and_the_token_of_the_next_one_and_modules_are_none() {
    let module = ok(json!([{ "deviceId": "c", "moduleId": "m" }, { "deviceId": "c", "tags": { "dtmi": 7 } }]));
    let (hub, requests) = hub(vec![page(&["a", "b"], "next"), module]).await;
    let (mut devices, next) = hub.page(PAGE, None).await.unwrap();
    let (more, end) = hub.page(PAGE, next.as_deref()).await.unwrap();
    devices.extend(more);
    assert_eq!(end, None);
    assert_eq!(ids(&devices), ["a", "b", "c"]);
    assert_eq!((devices[0].twin_id.as_deref(), devices[2].model_id.as_deref()), (Some("a"), None));
    let query = "POST /devices/query?api-version=2021-04-12";
    assert_eq!(*requests.lock().unwrap(), [query.to_owned(), format!("{query} next")]);
}

#[tokio::test]
async fn pages_without_end_are_an_error() {
    let (hub, _) = hub(vec![page(&["a"], "same"), page(&["b"], "same")]).await;
    let error = hub.devices(drop).await.unwrap_err();
    assert!(error.to_string().ends_with("its pages do not come to an end"), "{error}");
}

#[tokio::test]
async fn tags_are_set_on_the_version_that_was_read() {
    let (hub, requests) = hub(vec![page(&["a"], ""), ok(json!({})), refusal(412, "PreconditionFailed")]).await;
    let (devices, _) = hub.page(PAGE, None).await.unwrap();
    hub.tag(&devices[0], "pump", "dtmi:a:Pump;1").await.unwrap();
    assert_eq!(requests.lock().unwrap()[1], "PATCH /twins/a?api-version=2021-04-12 \"AAAA\"");
    let error = hub.tag(&devices[0], "pump", "dtmi:a:Pump;1").await.unwrap_err();
    assert_eq!(error.to_string(), "the device twin of a changed meanwhile");
}

#[tokio::test]
async fn what_is_throttled_is_asked_again() {
    let throttled = (StatusCode::TOO_MANY_REQUESTS, [("retry-after", "0")]).into_response();
    let (hub, requests) = hub(vec![throttled, page(&["a"], "")]).await;
    assert_eq!(ids(&hub.page(PAGE, None).await.unwrap().0), ["a"]);
    assert_eq!(requests.lock().unwrap().len(), 2);
}

#[tokio::test]
async fn a_missing_device_is_told_from_a_wrong_address() {
    let (hub, requests) = hub(vec![refusal(404, "DeviceNotFound"), refusal(404, "Other"), refusal(401, "No")]).await;
    let device = DeviceId::parse("a#1").unwrap();
    assert_eq!(hub.device(&device).await.unwrap(), None);
    assert_eq!(requests.lock().unwrap()[0], "GET /twins/a%231?api-version=2021-04-12");
    let error = hub.device(&device).await.unwrap_err().to_string();
    assert_eq!(error, "IoT hub contoso-hub answered get device twin with status 404: ErrorCode:Other;no");
    let denied = hub.device(&device).await.unwrap_err().to_string();
    assert!(denied.contains("ServiceConnect") && !denied.contains("c2Vj"), "{denied}");
    assert!(hub.device(&DeviceId::parse("..").unwrap()).await.is_err());
}
