//! A transport that answers from a script and remembers what it was asked.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use azure_core::credentials::{AccessToken, TokenCredential, TokenRequestOptions};
use azure_core::error::ErrorKind;
use azure_core::http::headers::Headers;
use azure_core::http::{AsyncRawResponse, Body, HttpClient, Request, StatusCode, Transport};
use function_app::digital_twins::{Client, TwinId};
use serde_json::{Value, json};

/// What the transport does with one request.
pub enum Reply {
    Status(u16, Vec<(&'static str, String)>, Vec<u8>),
    Broken,
}

impl Reply {
    pub fn json(status: u16, body: &Value) -> Self {
        let etag = body.get("$etag").and_then(Value::as_str).map(|etag| ("etag", etag.to_owned()));
        Self::Status(status, etag.into_iter().collect(), body.to_string().into_bytes())
    }

    pub fn empty(status: u16) -> Self {
        Self::Status(status, Vec::new(), Vec::new())
    }

    pub fn header(self, name: &'static str, value: &str) -> Self {
        match self {
            Self::Status(status, mut headers, body) => {
                headers.push((name, value.to_owned()));
                Self::Status(status, headers, body)
            }
            Self::Broken => Self::Broken,
        }
    }

    pub fn error(status: u16, code: &str) -> Self {
        Self::json(status, &json!({ "error": { "code": code, "message": format!("about {code}") } }))
    }
}

/// One request as it was sent.
#[derive(Debug, Clone)]
pub struct Sent {
    pub line: String,
    pub headers: Vec<(String, String)>,
    pub body: Value,
}

impl Sent {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

#[derive(Debug)]
pub struct Script {
    replies: Mutex<VecDeque<Reply>>,
    sent: Mutex<Vec<Sent>>,
}

impl std::fmt::Debug for Reply {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Reply")
    }
}

impl Script {
    pub fn new(replies: impl IntoIterator<Item = Reply>) -> Arc<Self> {
        Arc::new(Self { replies: Mutex::new(replies.into_iter().collect()), sent: Mutex::default() })
    }

    pub fn sent(&self) -> Vec<Sent> {
        self.sent.lock().unwrap().clone()
    }

    pub fn lines(&self) -> Vec<String> {
        self.sent().into_iter().map(|sent| sent.line).collect()
    }

    pub fn token() -> Arc<dyn TokenCredential> {
        Arc::new(Token)
    }

    pub fn client(self: &Arc<Self>) -> Client {
        self.client_with(Self::token())
    }

    pub fn client_with(self: &Arc<Self>, credential: Arc<dyn TokenCredential>) -> Client {
        let endpoint = "https://contoso.api.weu.digitaltwins.azure.net".parse().unwrap();
        Client::new(endpoint, credential, Transport::new(Arc::clone(self) as Arc<dyn HttpClient>), 90)
    }
}

#[async_trait]
impl HttpClient for Script {
    async fn execute_request(&self, request: &Request) -> azure_core::Result<AsyncRawResponse> {
        let url = request.url();
        let Body::Bytes(body) = request.body() else { panic!("a body in memory") };
        let query = url.query().map(|query| format!("?{query}")).unwrap_or_default();
        self.sent.lock().unwrap().push(Sent {
            line: format!("{} {}{query}", request.method(), url.path()),
            headers: request
                .headers()
                .iter()
                .map(|(name, value)| (name.as_str().to_owned(), value.as_str().to_owned()))
                .collect(),
            body: serde_json::from_slice(body).unwrap_or(Value::Null),
        });
        // Whoever waits for the same answer gets the chance to ask for it too.
        tokio::task::yield_now().await;
        match self.replies.lock().unwrap().pop_front().expect("one request more than the script has replies") {
            Reply::Broken => Err(azure_core::Error::with_message(ErrorKind::Io, "connection reset by peer")),
            Reply::Status(status, headers, body) => {
                let mut all = Headers::new();
                for (name, value) in headers {
                    all.insert(name, value);
                }
                Ok(AsyncRawResponse::from_bytes(StatusCode::from(status), all, body))
            }
        }
    }
}

#[derive(Debug)]
struct Token;

#[async_trait]
impl TokenCredential for Token {
    async fn get_token(&self, scopes: &[&str], _: Option<TokenRequestOptions<'_>>) -> azure_core::Result<AccessToken> {
        assert_eq!(scopes, ["https://digitaltwins.azure.net/.default"]);
        let expires_on = azure_core::time::OffsetDateTime::now_utc() + azure_core::time::Duration::hours(1);
        Ok(AccessToken::new("the-token", expires_on))
    }
}

#[derive(Debug)]
pub struct NoToken;

#[async_trait]
impl TokenCredential for NoToken {
    async fn get_token(&self, _: &[&str], _: Option<TokenRequestOptions<'_>>) -> azure_core::Result<AccessToken> {
        Err(azure_core::Error::with_message(ErrorKind::Credential, "the identity endpoint is down"))
    }
}

pub fn id(text: &str) -> TwinId {
    TwinId::parse(text).unwrap()
}

pub fn twin(id: &str) -> Value {
    json!({
        "$dtId": id,
        "$etag": "W/\"a17713ec-246a-4530-b6ff-8b41eb6a2be4\"",
        "Temperature": 21.5,
        "$metadata": {
            "$model": "dtmi:contosocom:DigitalTwins:Thermostat;1",
            "$lastUpdateTime": "2024-05-01T12:00:00.1234567Z",
            "Temperature": { "lastUpdateTime": "2024-05-01T12:00:00.1234567Z", "sourceTime": "2024-05-01T11:59:59.5Z" },
        },
    })
}
