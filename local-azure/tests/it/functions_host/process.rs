//! How handlers are started, restarted and ended.

use local_azure::functions_host::{Error, Level, Program, app::AppSettings};
use serde_json::{Value, json};

use super::{
    Bench, Setup, event,
    handler::{Orders, Reply, program},
    recorded,
};

/// Whether a process is still there.
#[cfg(target_os = "linux")]
fn lives(pid: u32) -> bool {
    std::path::Path::new(&format!("/proc/{pid}")).exists()
}

#[tokio::test]
async fn a_handler_gets_the_environment_that_the_host_gives() {
    let settings = AppSettings::default().with("A_SETTING", "its value");
    let mut bench = Setup { settings, ..Setup::default() }.start().await;
    let start = bench.director.start().await.answer(Orders::default());
    let environment = |name: &str| start.environment[name].as_str();
    assert_eq!(environment("FUNCTIONS_CUSTOMHANDLER_PORT"), environment("FUNCTIONS_HTTPWORKER_PORT"));
    assert!(environment("FUNCTIONS_CUSTOMHANDLER_PORT").parse::<u16>().unwrap() > 0);
    assert_eq!(environment("FUNCTIONS_CUSTOMHANDLER_WORKER_ID"), environment("FUNCTIONS_HTTPWORKER_ID"));
    assert!(uuid::Uuid::parse_str(environment("FUNCTIONS_HTTPWORKER_ID")).is_ok());
    assert_eq!(environment("FUNCTIONS_APP_ROOT_PATH"), env!("CARGO_MANIFEST_DIR"));
    assert_eq!(environment("A_SETTING"), "its value");
    assert_eq!(start.working_directory, std::path::Path::new(env!("CARGO_MANIFEST_DIR")));
    bench.host.ready().await.unwrap();
    let handlers = bench.host.handlers();
    assert_eq!((handlers[0].pid, handlers[0].restarts, handlers[0].state), (Some(start.pid), 0, "ready"));
}

#[tokio::test]
async fn host_json_and_its_overrides_say_what_to_start_and_where() {
    let Program { path, arguments } = program();
    let arguments: Vec<_> = arguments.iter().map(|argument| argument.to_str().unwrap()).collect();
    let section = "AzureFunctionsJobHost__customHandler__description__";
    let settings = AppSettings::default()
        .with("TEST_BINARY", path.to_str().unwrap())
        .with(format!("{section}defaultExecutablePath"), "%TEST_BINARY%")
        .with(format!("{section}arguments"), json!(arguments).to_string())
        .with(format!("{section}workingDirectory"), "src");
    let mut bench = Setup { settings, handler: None, ..Setup::default() }.start().await;
    let start = bench.director.start().await.answer(Orders::default());
    assert_eq!(start.working_directory, std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src")));
    bench.host.ready().await.unwrap();
}

#[tokio::test]
async fn a_restart_that_is_given_up_leaves_hosts_that_run() {
    let mut bench = Setup::default().serve().await;
    let reached = tokio::sync::Notify::new();
    let restart = bench.host.restart(async {
        reached.notify_one();
        std::future::pending::<()>().await;
    });
    tokio::select! {
        _ = restart => panic!("it waits for what never ends"),
        () = reached.notified() => {}
    }
    bench.director.start().await.answer(Orders::default());
    bench.hub.append("a", event("1"));
    bench.director.call().await.answer(Reply::json("{}"));
    bench.caught_up().await;
}

#[tokio::test]
async fn a_host_json_without_an_executable_is_refused() {
    let Err(error) = (Setup { handler: None, ..Setup::default() }).try_start().await else { panic!("it started") };
    assert_eq!(
        error.to_string(),
        "host.json: customHandler.description.defaultExecutablePath is missing; it names the handler's executable"
    );
}

#[tokio::test]
async fn an_executable_that_does_not_exist_is_named() {
    let handler = Program { path: "/no/such/handler".into(), arguments: Vec::new() };
    let bench = Setup { handler: Some(handler), ..Setup::default() }.start().await;
    let error = bench.host.ready().await.unwrap_err();
    assert!(matches!(&error, Error::HandlerFailed { program, .. } if program.ends_with("no/such/handler")));
    assert!(error.to_string().contains("cannot start /no/such/handler"), "{error}");
}

#[tokio::test]
async fn exit_code_200_is_a_wish_and_never_too_often() {
    let mut bench = Setup::default().start().await;
    for _ in 0..5 {
        bench.director.start().await.answer(Orders { exit: Some(200), ..Orders::default() });
    }
    bench.director.start().await.answer(Orders::default());
    bench.host.ready().await.unwrap();
    assert_eq!(bench.host.handlers()[0].restarts, 5);
}

#[tokio::test]
async fn the_third_error_stops_the_host_and_the_platform_starts_another() {
    let mut bench = Setup::default().start().await;
    for words in ["first", "second", "third"] {
        let stderr = vec!["one".to_owned(), "two".to_owned(), "three".to_owned(), words.to_owned()];
        let orders = Orders { stderr, exit: Some(1), ..Orders::default() };
        bench.director.start().await.answer(orders);
    }
    // The next process belongs to a new host, which has forgotten the errors.
    bench.director.start().await.answer(Orders { exit: Some(1), ..Orders::default() });
    bench.director.start().await.answer(Orders { exit: Some(1), ..Orders::default() });
    bench.director.start().await.answer(Orders::default());
    bench.host.ready().await.unwrap();
    assert_eq!(bench.host.handlers()[0].restarts, 5);
    let last = bench.host.console().lines().into_iter().rfind(|line| line.level == Level::Error).unwrap();
    assert_eq!(last.text, "third");
}

/// Lets every process do the same, until the host tells that it gave up; what it told, and which processes they were.
async fn until_given_up(bench: &mut Bench, orders: impl Fn() -> Orders) -> (String, Vec<u32>) {
    let mut pids = Vec::new();
    loop {
        // A busy machine may kill a process before it has asked, and show the host's end for a moment only.
        tokio::select! {
            ready = bench.host.ready() => return (ready.unwrap_err().to_string(), pids),
            start = bench.director.start() => pids.push(start.answer(orders()).pid),
        }
    }
}

#[tokio::test]
async fn a_handler_that_fails_three_times_is_told_with_its_last_words() {
    let mut bench = Setup::default().start().await;
    let stderr = || vec!["bad setting".to_owned()];
    let fails = || Orders { stderr: stderr(), exit: Some(3), ..Orders::default() };
    let (error, pids) = until_given_up(&mut bench, fails).await;
    assert!(error.contains("exit status: 3") && error.contains("bad setting"), "{error}");
    assert!(pids.len() >= 3, "{pids:?}");
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_handler_that_does_not_listen_in_time_is_killed_and_counted() {
    let host_json = json!({ "customHandler": { "description": {}, "initializationTimeout": "00:00:00.2" } });
    let mut bench = Setup { host_json, ..Setup::default() }.start().await;
    let (error, pids) = until_given_up(&mut bench, || Orders { deaf: true, ..Orders::default() }).await;
    let index: Value = serde_json::from_str(&recorded("index.json")).unwrap();
    let request = index["readiness"]["request"].as_str().unwrap().strip_suffix(" HTTP/1.1").unwrap();
    assert!(error.contains(&format!("no answer to {request} within 200ms")), "{error}");
    // Of a new host's processes one may live; none of them would end by itself.
    let living = bench.host.handlers()[0].pid;
    assert!(pids.into_iter().all(|pid| Some(pid) == living || !lives(pid)));
}

#[tokio::test]
async fn exit_code_0_leaves_the_app_without_a_handler() {
    let mut bench = Setup::default().serve().await;
    let mut invocations = bench.host.invocations();
    bench.hub.append("a", event("1"));
    bench.director.call().await.answer(Reply::exit(0));
    assert!(invocations.recv().await.unwrap().failure.is_some());
    while bench.host.handlers()[0].state != "gone" {
        bench.hub.append("a", event("until the host has noticed"));
        assert!(invocations.recv().await.unwrap().failure.is_some());
    }

    bench.hub.append("a", event("2"));
    let later = invocations.recv().await.unwrap();
    assert_eq!(later.failure.as_deref(), Some("Connection refused: the handler has ended"));
    let handlers = bench.host.handlers();
    assert_eq!((handlers[0].pid, handlers[0].restarts, handlers[0].state), (None, 0, "gone"));
    bench.stop().await;
}

#[tokio::test]
async fn what_a_handler_writes_is_kept_with_its_level() {
    let mut bench = Setup::default().start().await;
    let stdout = vec!["to stdout".to_owned()];
    let stderr = vec!["to stderr".to_owned(), "a warning".to_owned()];
    bench.director.start().await.answer(Orders { stdout, stderr, ..Orders::default() });
    bench.host.ready().await.unwrap();
    bench.stop().await;
    let lines = bench.host.console().lines();
    let level = |text: &str| lines.iter().find(|line| line.text == text).map(|line| line.level);
    assert_eq!(level("to stdout"), Some(Level::Information));
    assert_eq!(level("to stderr"), Some(Level::Error));
    assert_eq!(level("a warning"), Some(Level::Warning));
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn stopping_leaves_no_process_behind() {
    let mut bench = Setup { instances: 2, partitions: 2, ..Setup::default() }.serve().await;
    let pids: Vec<_> = bench.host.handlers().iter().map(|handler| handler.pid.unwrap()).collect();
    assert!(pids.iter().all(|&pid| lives(pid)));
    bench.stop().await;
    assert!(pids.iter().all(|&pid| !lives(pid)));
    assert!(bench.host.handlers().iter().all(|handler| handler.state == "stopped"));
}

#[tokio::test]
async fn dropping_the_host_kills_its_handlers() {
    let Bench { host, mut director, hub, .. } = Setup::default().serve().await;
    hub.append("a", event("1"));
    let call = director.call().await;
    drop(host);
    call.abandoned().await;
}

#[tokio::test]
async fn an_app_without_functions_starts_no_handler() {
    let settings = AppSettings::default().with("AzureWebJobs.DeviceTelemetryToTwinFunc.Disabled", "true");
    let mut bench = Setup { settings, ..Setup::default() }.start().await;
    bench.stop().await;
    bench.host.ready().await.unwrap();
    assert_eq!(bench.host.handlers(), []);
    assert_eq!(bench.host.statistics(), []);
}
