//! What keeps one connection going: messages out, acknowledgements in, pings between, and an end when the other side
//! has gone.

use std::time::Duration;

use rumqttc::mqttbytes::v4::{Packet, Publish};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::outbox::Outbox;
use crate::{
    identity::DeviceId,
    mqtt::{ConnectionLost, Link, unexpected},
};

/// How long the answer to a ping may take.
const PING_TIMEOUT: Duration = Duration::from_secs(20);
/// How long an acknowledgement may take. A hub that throttles delays them instead of refusing (IoT Hub: quotas and
/// throttling, traffic shaping).
const ACKNOWLEDGE_TIMEOUT: Duration = Duration::from_secs(60);
/// How long a connection that ends in good order waits for the acknowledgements it is still owed.
const LINGER: Duration = Duration::from_secs(3);

/// Runs a connection until `stop` is cancelled or it is lost.
pub(super) async fn drive(
    mut link: Link,
    device_id: &DeviceId,
    outbox: &Outbox,
    keep_alive: Duration,
    stop: &CancellationToken,
) -> Result<(), ConnectionLost> {
    outbox.queue().rewind();
    let mut pulse = Pulse { keep_alive, sent: Instant::now(), pinged: None };
    let mut leave_at = None;
    loop {
        while let Some(publish) = next(outbox, device_id, leave_at.is_none()) {
            link.feed(Packet::Publish(publish)).await?;
            pulse.sent = Instant::now();
        }
        link.flush().await?;
        let owed_since = outbox.queue().owed_since();
        if leave_at.is_some_and(|at| owed_since.is_none() || at <= Instant::now()) {
            link.close().await;
            return Ok(());
        }
        tokio::select! {
            // What has arrived counts before what is late.
            biased;
            () = stop.cancelled(), if leave_at.is_none() => leave_at = Some(Instant::now() + LINGER),
            packet = link.receive() => match packet? {
                Packet::PubAck(ack) => settle(outbox, ack.pkid)?,
                Packet::PingResp => pulse.pinged = None,
                Packet::Publish(publish) => link.acknowledge(&publish).await?,
                other => return Err(unexpected(&other)),
            },
            () = outbox.filled(), if leave_at.is_none() => {}
            () = until(leave_at) => {}
            lost = pulse.silence(owed_since) => return Err(lost),
            () = pulse.due() => {
                link.feed(Packet::PingReq).await?;
                pulse.sent = Instant::now();
                pulse.pinged = Some(pulse.sent);
            }
        }
    }
}

fn next(outbox: &Outbox, device_id: &DeviceId, fresh: bool) -> Option<Publish> {
    outbox.queue().next(device_id, fresh, Instant::now())
}

fn settle(outbox: &Outbox, id: u16) -> Result<(), ConnectionLost> {
    match outbox.queue().acknowledge(id) {
        true => Ok(()),
        false => Err(ConnectionLost::Protocol(format!("packet {id} acknowledged, which was not sent"))),
    }
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// Both ends must hear from one another: the server within 1.5 keep-alives (MQTT 3.1.1, section 3.1.2.10), this side
/// by answers to its pings and messages.
struct Pulse {
    keep_alive: Duration,
    /// When something was last sent.
    sent: Instant,
    /// When the ping was sent that is not answered yet.
    pinged: Option<Instant>,
}

impl Pulse {
    /// Waits until a ping is due.
    async fn due(&self) {
        match self.pinged {
            None => sleep_until(self.sent + self.keep_alive).await,
            Some(_) => std::future::pending().await,
        }
    }

    /// Waits until the server has kept silent for too long.
    async fn silence(&self, owed_since: Option<Instant>) -> ConnectionLost {
        let ping = self.pinged.map(|at| (at + PING_TIMEOUT, PING_TIMEOUT));
        let message = owed_since.map(|at| (at + ACKNOWLEDGE_TIMEOUT, ACKNOWLEDGE_TIMEOUT));
        match ping.into_iter().chain(message).min() {
            Some((at, patience)) => {
                sleep_until(at).await;
                ConnectionLost::Silent(patience)
            }
            None => std::future::pending().await,
        }
    }
}
