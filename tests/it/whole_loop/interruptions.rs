//! What happens when something breaks off.

use std::process::Command;
use std::sync::Arc;
use std::sync::OnceLock;
use std::time::Duration;

use device_simulator::Telemetry;
use local_azure::gate::{Effect, Fault, Service};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

use super::site::{LIFECYCLE, Site, TELEMETRY, temperature};

/// Ends a process at once, without asking it.
pub fn kill(pid: u32) {
    assert!(Command::new("kill").args(["-KILL", &pid.to_string()]).status().unwrap().success());
}

/// Waits until a function's next invocation has ended.
async fn next_invocation(site: &Site, function: &str) {
    let mut invocations = site.running.services().functions.invocations();
    while invocations.recv().await.unwrap().function != function {}
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_when_the_handler_is_killed_in_the_middle() {
    const MESSAGES: u32 = 400;
    let site = Site::with(|config| config.adt_latency = std::time::Duration::from_millis(20)).await;
    let (pump, doomed) = tokio::join!(site.register("pump-1"), site.register("doomed"));
    let sending = async {
        let connection = site.connect(&pump).await;
        for n in 1..=MESSAGES {
            connection.send(&temperature(f64::from(n))).await.unwrap();
            if n % 100 == 0 {
                connection.send(&Telemetry::new(format!("broken {n}"))).await.unwrap();
            }
        }
        site.delete_device(doomed.id()).await;
        connection.disconnect().await.unwrap();
    };
    let killing = async {
        next_invocation(&site, TELEMETRY).await;
        // The next batch is on its way.
        kill(site.running.services().functions.handlers()[0].pid.unwrap());
    };
    tokio::join!(sending, killing);
    site.caught_up().await;
    assert_eq!(site.running.services().functions.handlers()[0].restarts, 1);
    assert_eq!(site.twin("pump-1").await.unwrap()["Temperature"], f64::from(MESSAGES));
    assert_eq!(site.twin("doomed").await, None);
    let letters = site.dead_letters().await;
    for n in [100, 200, 300, 400] {
        let body = format!("broken {n}");
        let kept = letters.iter().filter(|letter| letter["body"] == body.as_str()).count();
        assert!(kept >= 1, "{body} is lost");
    }
    let outcomes = site.outcomes(TELEMETRY);
    let total: u64 = outcomes.values().sum();
    assert!(total >= u64::from(MESSAGES) + 4, "{outcomes:?}");
}

/// Stands between the handler and Azure Digital Twins, and hangs up until it may let through.
struct Gateway {
    port: u16,
    target: OnceLock<u16>,
    refused: Notify,
}

impl Gateway {
    async fn open() -> Arc<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let gateway = Arc::new(Self { port, target: OnceLock::new(), refused: Notify::new() });
        let accepting = Arc::clone(&gateway);
        tokio::spawn(async move {
            while let Ok((mut incoming, _)) = listener.accept().await {
                let Some(&target) = accepting.target.get() else {
                    accepting.refused.notify_one();
                    continue;
                };
                tokio::spawn(async move {
                    let mut outgoing = TcpStream::connect(("127.0.0.1", target)).await.unwrap();
                    // Either side may hang up as it likes.
                    let _ = tokio::io::copy_bidirectional(&mut incoming, &mut outgoing).await;
                });
            }
        });
        gateway
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn events_wait_while_azure_digital_twins_is_down_and_none_becomes_a_dead_letter() {
    let gateway = Gateway::open().await;
    let site = Site::with(|config| {
        let address = format!("https://localhost:{}", gateway.port);
        config.app_settings.push(("ADT_SERVICE_URL".into(), address));
        config.app_settings.push(("EVENT_MAX_ATTEMPTS".into(), "1".into()));
    })
    .await;
    let pump = site.add_device("Thermostat-67").await;
    site.create_twin("doomed-twin", super::site::THERMOSTAT, json!({ "HubDeviceId": "doomed" })).await;
    site.add_device("doomed").await;
    site.send(&pump, (1..=5).map(|n| temperature(f64::from(n)))).await;
    site.delete_device("doomed").await;
    gateway.refused.notified().await;
    assert_eq!(site.dead_letters().await, Vec::<Value>::new());
    let https = site.running.endpoints().iot_hubs[0].https_port;
    gateway.target.set(https).unwrap();
    site.caught_up().await;
    assert_eq!(site.twin("server-room-thermostat").await.unwrap()["Temperature"], 5.0);
    assert_eq!(site.twin("doomed-twin").await, None);
    assert_eq!(site.dead_letters().await, Vec::<Value>::new());
    let lost = site.outcomes(TELEMETRY).into_iter().chain(site.outcomes(LIFECYCLE));
    assert!(lost.into_iter().all(|(name, _)| name != "dead_letters"));
}

/// Whether a batch that is being applied when everything is asked to stop is applied.
async fn stopped_in_the_middle_of_a_batch() -> bool {
    let site = Site::start().await;
    let pump = site.register("pump-1").await;
    let services = site.running.services();
    let (mut fired, mut invocations) = (services.gate.fired(), services.functions.invocations());
    // The first of several calls takes its time; after it the handler calls again.
    let slow = Effect::Delay(Duration::from_millis(50));
    site.running.faults().inject(Fault::new(Service::DigitalTwins, slow).times(1)).unwrap();
    site.send(&pump, [temperature(1.0)]).await;
    fired.recv().await.unwrap();
    site.running.stop().await;
    loop {
        match invocations.try_recv() {
            Ok(invocation) if invocation.function == TELEMETRY => return invocation.failure.is_none(),
            Ok(_) => {}
            Err(_) => return false,
        }
    }
}

/// A stop waits for a second; a machine that is busy for so long may need another try.
#[tokio::test(flavor = "multi_thread")]
async fn a_batch_in_flight_is_applied_before_what_the_handler_calls_stops() {
    for _ in 0..5 {
        if stopped_in_the_middle_of_a_batch().await {
            return;
        }
    }
    panic!("the handler was left without Azure Digital Twins");
}
