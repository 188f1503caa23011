//! One connection to an IoT Hub.

use std::{fmt, time::Duration};

use jiff::Timestamp;
use tokio::{sync::watch, time::Instant};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{
    driver,
    outbox::{Outbox, Outcome},
    telemetry::{Telemetry, TelemetryError},
    topics,
};
use crate::{
    identity::{DeviceId, Endpoint},
    key::DeviceKey,
    mqtt::{ConnectError, ConnectionLost, Link, Login, Transport},
    provisioning::Assignment,
    sas::SasToken,
};

const KEEP_ALIVE: Duration = Duration::from_secs(60);
/// IoT Hub waits 1.5 keep-alives, up to 1767 s in all (IoT Hub: communicate using MQTT, default keep-alive time-out).
const LONGEST_KEEP_ALIVE: Duration = Duration::from_secs(1177);
const TOKEN_LIFETIME: Duration = Duration::from_secs(3600);
const LONGEST_TOKEN_LIFETIME: Duration = Duration::from_secs(365 * 24 * 3600);
/// How many messages a bare connection keeps that wait for their turn.
const CAPACITY: usize = 4096;

/// A device of a hub and its key.
#[derive(Debug, Clone)]
pub struct HubLogin {
    /// Where the hub is.
    pub hub: Endpoint,
    /// What the device is called there.
    pub device_id: DeviceId,
    /// Its key; the one it registered with, if it comes from DPS.
    pub key: DeviceKey,
    /// For how long the token is good that the device logs in with, up to a year; the hub ends the connection then.
    pub token_lifetime: Duration,
    /// After how much silence the device lets hear from itself: a second to 1177 s.
    pub keep_alive: Duration,
}

impl HubLogin {
    /// With a token for an hour and a keep-alive of a minute.
    pub fn new(hub: Endpoint, device_id: DeviceId, key: DeviceKey) -> Self {
        Self { hub, device_id, key, token_lifetime: TOKEN_LIFETIME, keep_alive: KEEP_ALIVE }
    }

    /// To the hub that DPS assigned, with the key that the device registered with.
    pub fn assigned(assignment: &Assignment, key: DeviceKey) -> Self {
        Self::new(assignment.hub.clone(), assignment.device_id.clone(), key)
    }
}

/// Why a message was not sent.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// It cannot be sent at all.
    #[error(transparent)]
    Telemetry(#[from] TelemetryError),
    /// The connection was lost before the hub had acknowledged it; the hub may have it all the same.
    #[error("not acknowledged: {0}")]
    Lost(#[from] ConnectionLost),
    /// It had to give way to newer ones: more are sent than the hub takes.
    #[error("dropped: {CAPACITY} messages wait already")]
    Dropped,
}

/// A connection to a hub, driven by a task of the runtime in which it was made.
///
/// It ends with its token; [`crate::Device`] is what stays connected.
pub struct HubConnection {
    outbox: Outbox,
    end: watch::Receiver<Option<Result<(), ConnectionLost>>>,
    renew_at: Instant,
    stop: CancellationToken,
    /// Whoever drops the connection ends it.
    _stop: DropGuard,
}

impl HubConnection {
    /// Connects a device to its hub. There, it takes the place of another connection with the same device id.
    ///
    /// # Errors
    ///
    /// When the hub cannot be reached, is not trusted or refuses the device.
    pub async fn connect(transport: &Transport, login: &HubLogin) -> Result<Self, ConnectError> {
        Self::connect_with(transport, login, Outbox::new(CAPACITY)).await
    }

    /// As [`HubConnection::connect`], sending what is in `outbox` first.
    pub(crate) async fn connect_with(
        transport: &Transport,
        login: &HubLogin,
        outbox: Outbox,
    ) -> Result<Self, ConnectError> {
        let signed = Instant::now();
        let lifetime = login.token_lifetime.min(LONGEST_TOKEN_LIFETIME);
        let keep_alive = login.keep_alive.clamp(Duration::from_secs(1), LONGEST_KEEP_ALIVE);
        let (host, device_id) = (login.hub.host(), login.device_id.clone());
        let resource = topics::resource(host, &device_id);
        let packet = Login {
            client_id: device_id.to_string(),
            user_name: topics::user_name(host, &device_id),
            password: SasToken::sign(&resource, None, &login.key, Timestamp::now(), lifetime),
            clean_session: false,
            keep_alive,
        };
        let link = Link::open(transport, &login.hub, packet).await?;
        let stop = CancellationToken::new();
        let (ended, end) = watch::channel(None);
        let (driver_stop, driver_outbox) = (stop.clone(), outbox.clone());
        tokio::spawn(async move {
            let end = driver::drive(link, &device_id, &driver_outbox, keep_alive, &driver_stop).await;
            ended.send_replace(Some(end));
        });
        // With a quarter of its time to go there is room for a hub that is slow to answer, and for some drift of clocks.
        let renew_at = signed + lifetime.mul_f64(0.75);
        Ok(Self { outbox, end, renew_at, _stop: stop.clone().drop_guard(), stop })
    }

    /// Sends a message and waits until the hub has acknowledged it. Many may be on their way at once; they go in the
    /// order in which their futures are first polled.
    ///
    /// # Errors
    ///
    /// When the message is too large, or the connection is lost before the hub acknowledged it.
    pub async fn send(&self, telemetry: &Telemetry) -> Result<(), SendError> {
        let outcome = self.outbox.push(telemetry)?;
        tokio::select! {
            biased;
            outcome = outcome => match outcome {
                Ok(Outcome::Acknowledged) => Ok(()),
                Ok(Outcome::Dropped) | Err(_) => Err(SendError::Dropped),
            },
            lost = self.closed() => Err(lost.into()),
        }
    }

    /// Waits until the connection has ended, and says how.
    pub async fn closed(&self) -> ConnectionLost {
        match self.ended().await {
            Err(lost) => lost,
            Ok(()) => ConnectionLost::Closed,
        }
    }

    /// Says DISCONNECT, after a short wait for acknowledgements that are still to come, and waits for the end.
    ///
    /// # Errors
    ///
    /// When the connection was lost before.
    pub async fn disconnect(self) -> Result<(), ConnectionLost> {
        self.stop.cancel();
        self.ended().await
    }

    /// When to connect anew, before the token runs out.
    pub(crate) fn renew_at(&self) -> Instant {
        self.renew_at
    }

    async fn ended(&self) -> Result<(), ConnectionLost> {
        let mut end = self.end.clone();
        match end.wait_for(Option::is_some).await {
            Ok(end) => end.clone().unwrap_or(Ok(())),
            // The task went down with its runtime.
            Err(_) => Err(ConnectionLost::Closed),
        }
    }
}

impl fmt::Debug for HubConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HubConnection").field("end", &*self.end.borrow()).finish_non_exhaustive()
    }
}
