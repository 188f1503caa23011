//! (i) local-azure's hub: memory of idle MQTT connections, and messages that it acknowledges, against a bare server
//! behind the same TLS and codec.

use std::time::Duration;

use futures::{StreamExt as _, TryStreamExt as _, future::try_join_all, stream};
use serde::Serialize;

use super::{median, table::Row};
use crate::{
    mqtt::{Device, Network},
    neighbor::{self, Neighbor},
};

const IDLE: usize = 2_000;
const QUICK_IDLE: usize = 200;
const HANDSHAKES_AT_ONCE: usize = 50;
const SENDERS: usize = 16;
/// Messages of each sender that are on the way at once.
const WINDOW: u16 = 32;
const ROUNDS: usize = 7;
const TIME: Duration = Duration::from_secs(2);
const QUICK_TIME: Duration = Duration::from_millis(200);
const BODY: &str = r#"{"Temperature":21.5}"#;
const MEGABYTE: f64 = 1e6;

/// What was measured.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// Connections that do nothing.
    pub idle: usize,
    /// Resident memory that they take together, in megabytes.
    pub idle_mb: f64,
    /// Messages a second with quality of service 1 that the hub acknowledges.
    pub messages: f64,
    /// The same of the bare server.
    pub bare: f64,
    /// The first against the second.
    pub ratio: f64,
}

pub(super) async fn measure(quick: bool) -> anyhow::Result<Report> {
    let idle = if quick { QUICK_IDLE } else { IDLE };
    let mut neighbor = Neighbor::start().await?;
    neighbor.add_devices(idle).await?;
    let network = Network::trusting(&neighbor.addresses.ca_file)?;
    let before = neighbor.resident()?;
    let devices: Vec<Device> = stream::iter((0..idle).map(|number| connect(&network, &neighbor, number, false)))
        .buffer_unordered(HANDSHAKES_AT_ONCE)
        .try_collect()
        .await?;
    // Far below 2^53 bytes.
    #[expect(clippy::cast_precision_loss, reason = "see above")]
    let idle_mb = neighbor.resident()?.saturating_sub(before) as f64 / MEGABYTE;
    drop(devices);
    let time = if quick { QUICK_TIME } else { TIME };
    let (mut messages, mut bare) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        messages.push(rate(&network, &neighbor, false, time).await?);
        bare.push(rate(&network, &neighbor, true, time).await?);
    }
    neighbor.stop().await?;
    let (messages, bare) = (median(messages), median(bare));
    Ok(Report { idle, idle_mb, messages, bare, ratio: messages / bare })
}

async fn connect(network: &Network, neighbor: &Neighbor, number: usize, is_bare: bool) -> anyhow::Result<Device> {
    let addresses = &neighbor.addresses;
    let port = if is_bare { addresses.bare_mqtt_port } else { addresses.hub_port };
    network.connect(port, &addresses.hub, &neighbor::device(number), &addresses.hub_token).await
}

/// Messages a second of all senders together.
async fn rate(network: &Network, neighbor: &Neighbor, is_bare: bool, time: Duration) -> anyhow::Result<f64> {
    let devices = try_join_all((0..SENDERS).map(|number| connect(network, neighbor, number, is_bare))).await?;
    let sending = devices.into_iter().enumerate().map(|(number, mut device)| async move {
        let topic = format!("devices/{}/messages/events/$.ct=application%2Fjson&$.ce=utf-8", neighbor::device(number));
        device.send_for(time, &topic, BODY, WINDOW).await
    });
    let acknowledged: u64 = try_join_all(sending).await?.into_iter().sum();
    // Far below 2^53.
    #[expect(clippy::cast_precision_loss, reason = "see above")]
    Ok(acknowledged as f64 / time.as_secs_f64())
}

impl Report {
    pub(super) fn rows(&self) -> Vec<Row> {
        vec![
            Row::at_most(format!("(i) resident memory of {} idle devices", self.idle), self.idle_mb, 60.0, " MB"),
            Row::new("(i) messages/s that a bare server acknowledges", format!("{:.0}", self.bare)),
            Row::new("(i) messages/s that local-azure's hub acknowledges", format!("{:.0}", self.messages)),
            Row::new("(i) local-azure's hub against the bare server", format!("{:.2}x", self.ratio)),
        ]
    }
}
