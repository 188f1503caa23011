//! DPS: from a key to a hub.
//!
//! The device logs in, subscribes to the answers, asks to be registered and then polls until DPS has made up its mind
//! (DPS: symmetric key attestation; communicate with DPS using the MQTT protocol).

mod answer;
mod error;
mod session;
mod topics;

use std::time::Duration;

use serde_json::Value;
use tokio::time::{Instant, sleep, timeout};

pub use error::{ProvisioningError, ServiceError};

use crate::{
    backoff::Backoff,
    identity::{DeviceId, Endpoint, IdScope, RegistrationId},
    key::DeviceKey,
    mqtt::{ConnectError, Transport},
};

/// DPS calls a failing webhook again for about 415 s before it gives the registration up; who waits less long never
/// learns the error code.
const DEADLINE: Duration = Duration::from_secs(480);

/// How often in a row DPS may be out of reach.
const CONNECT_ATTEMPTS: u32 = 5;

/// A device that wants a hub.
#[derive(Debug, Clone)]
pub struct ProvisioningRequest {
    /// Where DPS is. Its port is used for the hub, too.
    pub endpoint: Endpoint,
    /// Which DPS.
    pub id_scope: IdScope,
    /// Which device.
    pub registration_id: RegistrationId,
    /// The device's own key; see [`crate::GroupKey::derive`].
    pub key: DeviceKey,
    /// What the allocation webhook gets to see, `{"modelId": "dtmi:..."}` for instance.
    pub payload: Option<Value>,
    /// How long the whole may take, all repetitions included.
    pub deadline: Duration,
}

impl ProvisioningRequest {
    /// A request without a payload and with the usual deadline of 8 minutes.
    pub fn new(endpoint: Endpoint, id_scope: IdScope, registration_id: RegistrationId, key: DeviceKey) -> Self {
        Self { endpoint, id_scope, registration_id, key, payload: None, deadline: DEADLINE }
    }

    /// The same with a payload for the allocation webhook.
    #[must_use]
    pub fn with_payload(self, payload: Value) -> Self {
        Self { payload: Some(payload), ..self }
    }

    /// The same with another deadline.
    #[must_use]
    pub fn with_deadline(self, deadline: Duration) -> Self {
        Self { deadline, ..self }
    }
}

/// The hub that a device belongs to from now on.
#[derive(Debug, Clone, PartialEq)]
pub struct Assignment {
    /// Where the hub is.
    pub hub: Endpoint,
    /// What the device is called there.
    pub device_id: DeviceId,
    /// `initialAssignment`, `deviceDataMigrated` or `deviceDataReset`.
    pub substatus: Option<String>,
    /// What the allocation webhook wants the device to know.
    pub payload: Option<Value>,
}

/// What happens while a registration takes its time.
#[derive(Debug)]
#[non_exhaustive]
pub enum Progress<'a> {
    /// DPS is still choosing; it is asked again after `wait`.
    Assigning {
        /// How long until then.
        wait: Duration,
    },
    /// DPS is busy or in trouble; the request goes again after `wait`.
    Busy {
        /// What DPS said.
        error: &'a ServiceError,
        /// How long until then.
        wait: Duration,
    },
    /// DPS was not reached; it is dialed again after `wait`.
    Unreachable {
        /// What went wrong.
        error: &'a ConnectError,
        /// How long until then.
        wait: Duration,
    },
}

/// Registers a device and waits for its hub.
///
/// What may pass (DPS out of reach, throttling, statuses of 429 and above) is tried again until the deadline; DPS out
/// of reach five times in a row, or anything final, ends it at once.
///
/// # Errors
///
/// [`ProvisioningError`] says what stood in the way; its `hint` what to do.
pub async fn provision(transport: &Transport, request: &ProvisioningRequest) -> Result<Assignment, ProvisioningError> {
    provision_with_progress(transport, request, |_| {}).await
}

/// As [`provision`], telling `progress` what takes the time.
///
/// # Errors
///
/// As [`provision`].
pub async fn provision_with_progress(
    transport: &Transport,
    request: &ProvisioningRequest,
    mut progress: impl FnMut(Progress<'_>) + Send,
) -> Result<Assignment, ProvisioningError> {
    let begin = Instant::now();
    let mut last = "no answer from DPS".to_owned();
    let attempts = async {
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(30));
        loop {
            let mut tell = |told: Progress<'_>| {
                last = describe(&told);
                progress(told);
            };
            match session::register(transport, request, &mut tell).await {
                Err(ProvisioningError::Connection(error)) if error.is_transient() => {
                    let wait = backoff.next();
                    if backoff.attempts() >= CONNECT_ATTEMPTS {
                        return Err(error.into());
                    }
                    tell(Progress::Unreachable { error: &error, wait });
                    sleep(wait).await;
                }
                end => return end,
            }
        }
    };
    match timeout(request.deadline, attempts).await {
        Ok(end) => end,
        Err(_) => Err(ProvisioningError::TimedOut { after: begin.elapsed(), last }),
    }
}

fn describe(progress: &Progress<'_>) -> String {
    match progress {
        Progress::Assigning { .. } => "still assigning".to_owned(),
        Progress::Busy { error, .. } => error.to_string(),
        Progress::Unreachable { error, .. } => error.to_string(),
    }
}
