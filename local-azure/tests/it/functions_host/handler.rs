//! A real handler process that does what the test tells it, call by call.
//!
//! The process is this test binary, started again: it asks the test's [`Director`] what to do when it starts and at
//! every request, and so never decides anything itself.

use std::{collections::BTreeMap, net::Ipv4Addr, path::PathBuf, sync::Arc, time::Duration};

use axum::{
    Json, Router,
    body::{Body, to_bytes},
    extract::{Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode},
    response::{IntoResponse, Response},
    routing::post,
};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use local_azure::functions_host::Program;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::{
    net::TcpListener,
    sync::{mpsc, oneshot},
    time::timeout,
};

/// Names the director to the process.
pub(super) const DIRECTOR: &str = "SCRIPTED_HANDLER_DIRECTOR";
/// Longer than anything here takes, on a machine with much else to do too.
pub(super) const PATIENCE: Duration = Duration::from_secs(120);

/// What a process tells when it starts.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Start {
    pub(super) pid: u32,
    pub(super) environment: BTreeMap<String, String>,
    pub(super) working_directory: PathBuf,
}

/// What a process does when it has started.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Orders {
    pub(super) stdout: Vec<String>,
    pub(super) stderr: Vec<String>,
    /// Ends at once.
    pub(super) exit: Option<i32>,
    /// Lives, but does not listen.
    pub(super) deaf: bool,
}

/// A request that a process got.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Call {
    pub(super) pid: u32,
    pub(super) method: String,
    pub(super) path: String,
    pub(super) headers: Vec<(String, String)>,
    body: String,
}

/// What a process answers.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: String,
    /// Ends instead of answering.
    pub(super) exit: Option<i32>,
}

impl Call {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    pub(super) fn body(&self) -> Vec<u8> {
        BASE64_STANDARD.decode(&self.body).unwrap()
    }

    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.body()).unwrap()
    }

    /// The sequence numbers of the events of a batch.
    pub(super) fn sequence_numbers(&self) -> Vec<u64> {
        let numbers = &self.json()["Metadata"]["SequenceNumberArray"];
        serde_json::from_str(numbers.as_str().unwrap()).unwrap()
    }
}

impl Reply {
    pub(super) fn json(body: impl Into<String>) -> Self {
        Self::new(200, "application/json", body)
    }

    pub(super) fn status(status: u16) -> Self {
        Self { status, ..Self::default() }
    }

    pub(super) fn new(status: u16, content_type: &str, body: impl Into<String>) -> Self {
        let headers = vec![("content-type".to_owned(), content_type.to_owned())];
        Self { status, headers, body: body.into(), exit: None }
    }

    pub(super) fn exit(code: i32) -> Self {
        Self { exit: Some(code), ..Self::default() }
    }
}

/// Something that waits for the test's word.
pub(super) struct Pending<Question, Word> {
    pub(super) question: Question,
    word: oneshot::Sender<Word>,
}

impl<Question, Word> Pending<Question, Word> {
    /// Gives the word; gives back what was asked.
    pub(super) fn answer(self, word: Word) -> Question {
        // A process that was killed no longer listens.
        let _ = self.word.send(word);
        self.question
    }

    /// Waits until nobody waits for the word any more: the process is dead.
    pub(super) async fn abandoned(mut self) -> Question {
        timeout(PATIENCE, self.word.closed()).await.expect("the process is killed");
        self.question
    }
}

/// Directs the processes of one test.
pub(super) struct Director {
    pub(super) url: String,
    starts: mpsc::Receiver<Pending<Start, Orders>>,
    calls: mpsc::Receiver<Pending<Call, Reply>>,
}

#[derive(Clone)]
struct Ears {
    starts: mpsc::Sender<Pending<Start, Orders>>,
    calls: mpsc::Sender<Pending<Call, Reply>>,
}

impl Director {
    pub(super) async fn new() -> Self {
        let (starts, start_queue) = mpsc::channel(64);
        let (calls, call_queue) = mpsc::channel(64);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let start = async |State(ears): State<Ears>, Json(start): Json<Start>| ask(&ears.starts, start).await;
        let call = async |State(ears): State<Ears>, Json(call): Json<Call>| ask(&ears.calls, call).await;
        let router = Router::new()
            .route("/start", post(start))
            .route("/call", post(call))
            .layer(axum::extract::DefaultBodyLimit::disable())
            .with_state(Ears { starts, calls });
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { url, starts: start_queue, calls: call_queue }
    }

    /// The next process that starts.
    pub(super) async fn start(&mut self) -> Pending<Start, Orders> {
        timeout(PATIENCE, self.starts.recv()).await.expect("a process starts").unwrap()
    }

    /// The next request that any process gets.
    pub(super) async fn call(&mut self) -> Pending<Call, Reply> {
        timeout(PATIENCE, self.calls.recv()).await.expect("a request comes").unwrap()
    }

    /// Whether a request has come that nobody looked at.
    pub(super) fn has_call(&self) -> bool {
        !self.calls.is_empty()
    }
}

async fn ask<Question, Word: Serialize>(queue: &mpsc::Sender<Pending<Question, Word>>, question: Question) -> Response {
    let (word, answer) = oneshot::channel();
    let _ = queue.send(Pending { question, word }).await;
    match answer.await {
        Ok(word) => Json(word).into_response(),
        Err(_) => StatusCode::GONE.into_response(),
    }
}

/// How the host starts the process.
pub(super) fn program() -> Program {
    let test = concat!(module_path!(), "::the_process_does_what_its_director_says");
    let test = test.split_once("::").unwrap().1;
    let arguments = ["--exact", test, "--nocapture", "--test-threads=1"].map(Into::into).into();
    Program { path: std::env::current_exe().unwrap(), arguments }
}

/// The process; without a director, the test that it does what one says.
#[tokio::test]
async fn the_process_does_what_its_director_says() {
    if let Ok(director) = std::env::var(DIRECTOR) {
        return run(&director).await;
    }
    let mut director = Director::new().await;
    let Program { path, arguments } = program();
    let mut process = tokio::process::Command::new(path)
        .args(arguments)
        .env(DIRECTOR, &director.url)
        .env("FUNCTIONS_CUSTOMHANDLER_PORT", "0")
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let start = director.start().await.answer(Orders { exit: Some(7), ..Orders::default() });
    assert_eq!(Some(start.pid), process.id());
    assert_eq!(process.wait().await.unwrap().code(), Some(7));
}

async fn run(director: &str) {
    let is_told = |(name, _): &(String, String)| {
        name.starts_with("FUNCTIONS_") || name == "A_SETTING" || name == "IDENTITY_HEADER"
    };
    let variables = std::env::vars().filter(is_told);
    let start = Start {
        pid: std::process::id(),
        environment: variables.collect(),
        working_directory: std::env::current_dir().unwrap(),
    };
    let port: u16 = start.environment["FUNCTIONS_CUSTOMHANDLER_PORT"].parse().unwrap();
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let orders: Orders = tell(&http, &format!("{director}/start"), &start).await;
    print(&orders);
    if let Some(code) = orders.exit {
        end(code);
    }
    let serve = async {
        if orders.deaf {
            std::future::pending::<()>().await;
        }
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.unwrap();
        let state = Arc::new((http, format!("{director}/call")));
        axum::serve(listener, Router::new().fallback(pass_on).with_state(state)).await.unwrap();
    };
    let host_is_gone = tokio::task::spawn_blocking(|| std::io::copy(&mut std::io::stdin(), &mut std::io::sink()));
    tokio::select! {
        () = serve => {}
        _ = host_is_gone => end(0),
    }
}

#[expect(clippy::print_stdout, clippy::print_stderr, reason = "what a handler prints is what is being tested")]
fn print(orders: &Orders) {
    // The test harness has begun a line.
    println!();
    orders.stdout.iter().for_each(|line| println!("{line}"));
    orders.stderr.iter().for_each(|line| eprintln!("{line}"));
}

async fn pass_on(State(state): State<Arc<(reqwest::Client, String)>>, request: Request) -> Response {
    let (http, director) = &*state;
    let (parts, body) = request.into_parts();
    if parts.uri.path() == "/" {
        return StatusCode::NOT_FOUND.into_response();
    }
    let header = |(name, value): (&HeaderName, &HeaderValue)| (name.to_string(), value.to_str().unwrap().to_owned());
    let call = Call {
        pid: std::process::id(),
        method: parts.method.to_string(),
        path: parts.uri.to_string(),
        headers: parts.headers.iter().map(header).collect(),
        body: BASE64_STANDARD.encode(to_bytes(body, usize::MAX).await.unwrap()),
    };
    let reply: Reply = tell(http, director, &call).await;
    if let Some(code) = reply.exit {
        end(code);
    }
    let header =
        |(name, value): &(String, String)| (name.parse::<HeaderName>().unwrap(), value.parse::<HeaderValue>().unwrap());
    let headers: HeaderMap = reply.headers.iter().map(header).collect();
    (StatusCode::from_u16(reply.status).unwrap(), headers, Body::from(reply.body)).into_response()
}

async fn tell<Word: for<'de> Deserialize<'de>>(http: &reqwest::Client, url: &str, question: &impl Serialize) -> Word {
    http.post(url).json(question).send().await.unwrap().json().await.unwrap()
}

#[expect(clippy::disallowed_methods, reason = "a handler's exit code is what is being tested")]
fn end(code: i32) -> ! {
    std::process::exit(code)
}
