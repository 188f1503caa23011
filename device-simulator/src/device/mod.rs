//! A device's whole life: register, connect, send, and come back whatever happens.

mod event;
mod production;

use std::{sync::Mutex, time::Duration};

use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

pub use event::Event;

use self::{event::Observer, production::Production};
use crate::{
    backoff::Backoff,
    hub::{HubConnection, HubLogin, Telemetry, TelemetryError},
    mqtt::{ConnectError, ConnectionLost, Transport},
    provisioning::{Assignment, ProvisioningError, ProvisioningRequest, provision_with_progress},
};

/// Waits between attempts to connect or register.
const BACKOFF: Backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(60));
/// A connection that held for so long was a good one: the waits begin anew.
const STABLE: Duration = Duration::from_secs(30);
/// How often in a row a hub may be out of reach before the device has ever been connected, or refuse it at any time.
const ATTEMPTS: u32 = 5;
/// After so many failures in a row the device asks DPS whether it has moved to another hub.
const ATTEMPTS_BEFORE_REGISTERING: u32 = 10;

/// Makes the messages of a device; it is told their number, counted from 1.
pub type TelemetrySource = Box<dyn FnMut(u64) -> Result<Telemetry, TelemetryError> + Send>;

/// A device that registers with DPS and then sends a message every `interval`, until it is told to stop.
///
/// It comes back after a lost connection, renews its token before it runs out, sends again what was not acknowledged,
/// and registers anew when its hub does not know it any more.
pub struct Device {
    /// The way to DPS and hubs.
    pub transport: Transport,
    /// How it registers.
    pub provisioning: ProvisioningRequest,
    /// What it sends.
    pub source: TelemetrySource,
    /// How long from one message to the next; messages are made while it is not connected, too. At
    /// least a millisecond.
    pub interval: Duration,
    /// After how many acknowledged messages it stops; `None` is no end.
    pub messages: Option<u64>,
    /// How many unsent messages it keeps before it drops the oldest.
    pub reserve: usize,
    /// For how long each of its tokens is good.
    pub token_lifetime: Duration,
}

/// What a device did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Summary {
    /// How many messages the hub acknowledged.
    pub acknowledged: u64,
    /// How many had to be dropped.
    pub dropped: u64,
    /// How many were made and not acknowledged when it stopped.
    pub unsent: usize,
}

/// Why a device gave up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DeviceError {
    /// It got no hub.
    #[error(transparent)]
    Provisioning(#[from] ProvisioningError),
    /// Its hub cannot be reached, or does not take it.
    #[error("hub: {0}")]
    Hub(#[from] ConnectError),
    /// What it was to send cannot be sent.
    #[error("message: {0}")]
    Telemetry(#[from] TelemetryError),
}

impl DeviceError {
    /// What to do next.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Provisioning(error) => error.hint(),
            Self::Hub(error) => error.hint(),
            Self::Telemetry(_) => "send another body",
        }
    }
}

impl Device {
    /// A device that sends the readings of a [thermometer](crate::thermometer) every 500 ms.
    pub fn new(transport: Transport, provisioning: ProvisioningRequest) -> Self {
        Self {
            transport,
            provisioning,
            source: Box::new(|_| crate::thermometer::reading()),
            interval: Duration::from_millis(500),
            messages: None,
            reserve: 1000,
            token_lifetime: Duration::from_secs(3600),
        }
    }

    /// Lives until `shutdown` is cancelled or the wanted number of messages is acknowledged, and then disconnects.
    ///
    /// `observer` is told what happens, from within: it should not take long.
    ///
    /// # Errors
    ///
    /// When DPS refuses the device, or its hub does so again and again; when either is out of reach before the device
    /// has ever been connected. Once it has been, it does not give up for that.
    pub async fn run(
        mut self,
        shutdown: &CancellationToken,
        observer: impl FnMut(Event<'_>) + Send,
    ) -> Result<Summary, DeviceError> {
        let observer = Mutex::new(observer);
        let production = Production::new(&mut self.source, self.messages, self.reserve, &observer, shutdown);
        let mut life = Life {
            transport: &self.transport,
            provisioning: &self.provisioning,
            interval: self.interval,
            token_lifetime: self.token_lifetime,
            observer: &observer,
            production,
            backoff: BACKOFF,
            refusals: 0,
            connected_before: false,
        };
        let mut stage = Some(Stage::Register);
        while let Some(next) = stage {
            stage = match next {
                Stage::Register => life.register().await?,
                Stage::Connect(assignment) => life.connect(assignment).await?,
            };
        }
        Ok(life.production.finish())
    }
}

/// What comes next in a device's life.
enum Stage {
    Register,
    Connect(Assignment),
}

/// How a connection ended that was not told to.
enum End {
    TokenRunsOut,
    Lost(ConnectionLost),
}

struct Life<'a> {
    transport: &'a Transport,
    provisioning: &'a ProvisioningRequest,
    interval: Duration,
    token_lifetime: Duration,
    observer: &'a dyn Observer,
    production: Production<'a>,
    backoff: Backoff,
    /// How often in a row the hub did not accept the device.
    refusals: u32,
    connected_before: bool,
}

/// Each stage answers with the next one; `None` is the end.
impl Life<'_> {
    async fn register(&mut self) -> Result<Option<Stage>, DeviceError> {
        self.observer.tell(Event::Registering { dps: &self.provisioning.endpoint });
        let observer = self.observer;
        let progress = |progress: crate::Progress<'_>| observer.tell(Event::Provisioning(progress));
        let registration = provision_with_progress(self.transport, self.provisioning, progress);
        match self.production.meanwhile(registration).await? {
            None => Ok(None),
            Some(Ok(assignment)) => {
                self.observer.tell(Event::Assigned(&assignment));
                Ok(Some(Stage::Connect(assignment)))
            }
            Some(Err(error)) if self.connected_before && error.is_transient() => {
                let wait = self.backoff.next();
                self.observer.tell(Event::NotRegistered { error: &error, wait });
                Ok(self.production.meanwhile(sleep(wait)).await?.map(|()| Stage::Register))
            }
            Some(Err(error)) => Err(error.into()),
        }
    }

    async fn connect(&mut self, assignment: Assignment) -> Result<Option<Stage>, DeviceError> {
        let mut login = HubLogin::assigned(&assignment, self.provisioning.key.clone());
        login.token_lifetime = self.token_lifetime;
        let connecting = HubConnection::connect_with(self.transport, &login, self.production.outbox().clone());
        match self.production.meanwhile(connecting).await? {
            None => Ok(None),
            Some(Ok(connection)) => {
                self.observer.tell(Event::Connected { hub: &assignment.hub });
                self.send(connection, assignment).await
            }
            Some(Err(error)) => self.after_failure(error, assignment).await,
        }
    }

    async fn after_failure(
        &mut self,
        error: ConnectError,
        assignment: Assignment,
    ) -> Result<Option<Stage>, DeviceError> {
        let refused = error.is_unauthorized();
        self.refusals += u32::from(refused);
        let wait = self.backoff.next();
        let attempts = self.backoff.attempts();
        let hopeless = if refused { self.refusals >= ATTEMPTS } else { !error.is_transient() };
        if hopeless || (!self.connected_before && attempts >= ATTEMPTS) {
            return Err(error.into());
        }
        self.observer.tell(Event::NotConnected { error: &error, wait });
        let moved = refused || attempts.is_multiple_of(ATTEMPTS_BEFORE_REGISTERING);
        let next = if moved { Stage::Register } else { Stage::Connect(assignment) };
        Ok(self.production.meanwhile(sleep(wait)).await?.map(|()| next))
    }

    async fn send(&mut self, connection: HubConnection, assignment: Assignment) -> Result<Option<Stage>, DeviceError> {
        self.connected_before = true;
        self.refusals = 0;
        self.production.begin(self.interval);
        let since = Instant::now();
        let end = async {
            tokio::select! {
                lost = connection.closed() => End::Lost(lost),
                () = sleep_until(connection.renew_at()) => End::TokenRunsOut,
            }
        };
        let end = self.production.meanwhile(end).await?;
        if since.elapsed() >= STABLE {
            self.backoff.reset();
        }
        match end {
            None => {
                // It ends here either way; what it had no acknowledgement for is counted as unsent.
                let _ = connection.disconnect().await;
                Ok(None)
            }
            Some(End::TokenRunsOut) => {
                self.observer.tell(Event::Renewing);
                // What the hub did not acknowledge in time goes again over the next connection.
                let _ = self.production.meanwhile(connection.disconnect()).await?;
                Ok(Some(Stage::Connect(assignment)))
            }
            Some(End::Lost(error)) => {
                let wait = self.backoff.next();
                self.observer.tell(Event::Lost { error: &error, wait, unsent: self.production.outbox().len() });
                Ok(self.production.meanwhile(sleep(wait)).await?.map(|()| Stage::Connect(assignment)))
            }
        }
    }
}
