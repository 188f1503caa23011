//! What the fuzzer calls: whole conversations with a device.

use std::{
    num::NonZeroUsize,
    sync::{Arc, LazyLock},
    time::Duration,
};

use bytes::BytesMut;
use jiff::Timestamp;
use rumqttc::{Codec, Connect, ConnectAuth, Packet};
use tokio::runtime::{Builder, Runtime};
use tokio_util::{codec::Encoder as _, sync::CancellationToken};

use super::{Limits, Services, connection};
use crate::{
    clock::Clock,
    dps::{self, Dps, EnrollmentGroup, Reprovisioning, Webhook},
    event_hubs::EventHub,
    gate::Gate,
    iot_hub::{self, Address, Enrichment, HostName, IotHub, KeyPair, NewIdentity, Policy, Route, Source},
    sas::Key,
};

const HUB: &str = "hub.localhost";
const DEVICE: &str = "d1";
const SCOPE: &str = "0ne00ABCDEF";
const KEY: &str = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";
/// Time stands still, so that tokens stay good.
const NOW: Timestamp = Timestamp::UNIX_EPOCH;
/// The largest message (IoT Hub: quotas and throttling).
const MESSAGE_BYTES: usize = 256 * 1024;

static RUNTIME: LazyLock<Option<Runtime>> = LazyLock::new(|| Builder::new_current_thread().enable_time().build().ok());
/// DPS is slow to make, and nothing of what devices do here stays in it: the group is disabled.
static DPS: LazyLock<Option<Arc<Dps>>> = LazyLock::new(dps);

/// Lets a client say any bytes. The first one chooses how it begins: 0 with nothing, 1 admitted by the hub, else
/// admitted by DPS.
///
/// # Panics
/// When an event does not name the device as its sender, or is too large.
pub fn conversation(bytes: &[u8]) {
    let (Some((&beginning, rest)), Some(runtime)) = (bytes.split_first(), &*RUNTIME) else { return };
    let said = match beginning {
        0 => rest.to_vec(),
        1 => [&*connect_to_hub(), rest].concat(),
        _ => [&*connect_to_dps(), rest].concat(),
    };
    let telemetry = event_hub();
    let services = Services { dps: DPS.clone(), hubs: vec![hub(&telemetry)], limits: Limits::default() };
    let stream = tokio::io::join(&*said, tokio::io::sink());
    let ending = runtime.block_on(connection::converse(stream, None, &services, &CancellationToken::new()));
    assert!(!ending.to_string().is_empty());
    for event in telemetry.read(0, None, usize::MAX) {
        let sender = event.data.annotations.get("iothub-connection-device-id");
        assert_eq!(sender.and_then(|id| id.as_str()), Some(DEVICE), "{event:?}");
        assert!(event.data.body.len() <= MESSAGE_BYTES);
    }
}

fn event_hub() -> Arc<EventHub> {
    Arc::new(EventHub::new("deviceevents", NonZeroUsize::MIN, ["$Default"], Clock::manual(NOW)))
}

fn key() -> Option<Key> {
    Key::parse(KEY).ok()
}

fn hub(telemetry: &Arc<EventHub>) -> Arc<IotHub> {
    let settings = iot_hub::Settings {
        host_name: HostName::new(HUB),
        policies: key().map(Policy::defaults).unwrap_or_default(),
        routes: vec![Route {
            name: "telemetry".to_owned(),
            source: Source::DeviceMessages,
            endpoint: Arc::clone(telemetry),
            enrichments: Enrichment::twin_id_and_hub(),
        }],
    };
    let hub = IotHub::new(settings, iot_hub::State::default(), Clock::manual(NOW), Arc::new(Gate::default()));
    let created = DEVICE.parse().map(|device| hub.create(&Address::device(device), NewIdentity::default()));
    assert!(matches!(created, Ok(Ok(_))));
    Arc::new(hub)
}

fn dps() -> Option<Arc<Dps>> {
    let settings = dps::Settings {
        id_scope: SCOPE.to_owned(),
        enrollment_group: EnrollmentGroup {
            id: "group".to_owned(),
            keys: KeyPair { primary: key()?, secondary: key()? },
            enabled: false,
            webhook: Webhook("http://localhost/".parse().ok()?),
            reprovisioning: Reprovisioning::Migrate,
            initial_twin: None,
        },
        owner_key: key()?,
        patience: dps::Patience::default(),
        retry_after: Duration::from_secs(1),
    };
    let (clock, gate) = (Clock::manual(NOW), Arc::new(Gate::default()));
    Dps::new(settings, Vec::new(), dps::State::default(), clock, gate, CancellationToken::new()).ok()
}

fn connect_to_hub() -> Vec<u8> {
    let token = key().map(|key| key.token(HUB, "iothubowner", Timestamp::MAX)).unwrap_or_default();
    connect(format!("{HUB}/{DEVICE}/?api-version=2021-04-12"), token)
}

fn connect_to_dps() -> Vec<u8> {
    let resource = format!("{SCOPE}/registrations/{DEVICE}");
    let token = key().map(|key| key.derive(DEVICE).token(&resource, "registration", Timestamp::MAX));
    connect(format!("{resource}/api-version=2019-03-31"), token.unwrap_or_default())
}

/// The packet with which a device begins.
fn connect(username: String, token: String) -> Vec<u8> {
    let mut connect = Connect::new(DEVICE);
    connect.auth = ConnectAuth::UsernamePassword { username, password: token.into() };
    let mut bytes = BytesMut::new();
    let mut codec = Codec { max_incoming_size: usize::MAX, max_outgoing_size: usize::MAX };
    let encoded = codec.encode(Packet::Connect(connect), &mut bytes);
    assert!(encoded.is_ok(), "{encoded:?}");
    bytes.to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Otherwise the fuzzer would never see more than a refusal.
    #[test]
    fn both_services_admit_their_device() {
        let runtime = RUNTIME.as_ref().unwrap();
        for connect in [connect_to_hub(), connect_to_dps()] {
            let services = Services { dps: DPS.clone(), hubs: vec![hub(&event_hub())], limits: Limits::default() };
            let goodbye = [&*connect, &[0xe0, 0x00]].concat();
            let stream = tokio::io::join(&*goodbye, tokio::io::sink());
            let ending = runtime.block_on(connection::converse(stream, None, &services, &CancellationToken::new()));
            assert!(matches!(ending, super::super::session::Ending::Goodbye), "{ending}");
        }
    }
}
