//! Custom allocation: asking the webhook for a hub (DPS: custom allocation concepts; how to use custom allocation
//! policies, troubleshooting).

use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use bytes::{Bytes, BytesMut};
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};
use tracing::{debug, warn};

use super::{
    Allocation, RegistrationId, Webhook,
    attestation::Proof,
    registration::{Assignment, Failure},
};
use crate::iot_hub::{HostName, TwinPatch};

/// `CustomAllocationFailed`
const FAILED: u32 = 400_207;
/// `CustomAllocationIotHubNotSpecified`
const HUB_NOT_SPECIFIED: u32 = 400_208;
/// `CustomAllocationUnauthorizedAccess`
const UNAUTHORIZED: u32 = 400_209;

/// The largest answer that is read: DPS' limit for messages.
const ANSWER_BYTES: usize = 96 * 1024;

/// When the webhook is called again, and how long it may take. The default is the documented schedule; how long the
/// service waits for an answer is not documented.
#[derive(Debug, Clone)]
pub struct Patience {
    /// How often it is called again.
    pub retries: u32,
    /// How long before the first of these.
    pub first_wait: Duration,
    /// How much longer each following wait is.
    pub step: Duration,
    /// How long an answer may take.
    pub timeout: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            retries: 10,
            first_wait: Duration::from_secs(1),
            step: Duration::from_secs(9),
            timeout: Duration::from_secs(30),
        }
    }
}

impl Patience {
    fn waits(&self) -> impl Iterator<Item = Duration> {
        let Self { retries, first_wait, step, .. } = *self;
        (0..retries).map(move |n| first_wait + step * n)
    }
}

/// What the webhook is asked.
#[derive(Debug)]
pub(super) struct Question<'a> {
    /// The member that holds the enrollment, and the enrollment.
    pub(super) enrollment: (&'static str, Value),
    pub(super) id: &'a RegistrationId,
    /// By what the device is known.
    pub(super) proof: &'a Proof,
    pub(super) current: Option<&'a Assignment>,
    pub(super) payload: Option<&'a Value>,
    pub(super) linked_hubs: Vec<&'a HostName>,
}

impl Question<'_> {
    /// The request's body.
    pub(super) fn body(&self) -> Value {
        let mut context = json!({ "registrationId": self.id.as_str() });
        if let Some(members) = context.as_object_mut() {
            if let Some(current) = self.current {
                members.insert("currentIotHubHostName".into(), current.hub.as_str().into());
                members.insert("currentDeviceId".into(), current.device.as_str().into());
            }
            let (kind, shown) = match self.proof {
                Proof::Keys(_) => ("symmetricKey", json!({})),
                Proof::Certificate(certificate) => ("x509", json!({ "clientCertificate": certificate.to_base64() })),
            };
            members.insert(kind.into(), shown);
            if let Some(payload) = self.payload {
                members.insert("payload".into(), payload.clone());
            }
        }
        let linked_hubs: Vec<&str> = self.linked_hubs.iter().map(|hub| hub.as_str()).collect();
        let (member, enrollment) = &self.enrollment;
        json!({
            *member: enrollment,
            "deviceRuntimeContext": context,
            "linkedHubs": linked_hubs,
        })
    }

    /// What an answer means.
    fn verdict(&self, status: u16, body: &[u8]) -> Verdict {
        let failed =
            || Failure { code: FAILED, message: format!("Custom allocation failed with status code: {status}") };
        match status {
            200..=299 => {}
            401 => {
                let message = "Custom allocation failed: the webhook refused DPS as unauthorized.".to_owned();
                return Verdict::Failed(Failure { code: UNAUTHORIZED, message });
            }
            429.. => return Verdict::Retry(failed()),
            _ => return Verdict::Failed(failed()),
        }
        let Ok(answer) = serde_json::from_slice::<Value>(body) else { return Verdict::Failed(failed()) };
        let no_hub = |message: String| Verdict::Failed(Failure { code: HUB_NOT_SPECIFIED, message });
        let Some(name) = hub_name(&answer) else {
            return no_hub("Custom allocation did not specify an IoT hub.".into());
        };
        let Some(hub) = self.linked_hubs.iter().find(|hub| hub.as_str().eq_ignore_ascii_case(name)) else {
            return no_hub("Custom allocation specified an IoT hub that is not linked.".into());
        };
        let set = |name: &str| answer.get(name).filter(|value| !value.is_null());
        Verdict::Decided(Box::new(Decision {
            hub: (*hub).clone(),
            initial_twin: set("initialTwin").map(TwinPatch::from_json),
            payload: set("payload").cloned(),
        }))
    }
}

/// Documents spell the member in two ways.
fn hub_name(answer: &Value) -> Option<&str> {
    let members = answer.as_object()?;
    let name = members.iter().find(|(name, _)| name.eq_ignore_ascii_case("iotHubHostName")).map(|(_, value)| value);
    name.and_then(Value::as_str).filter(|name| !name.is_empty())
}

/// What the webhook decided.
#[derive(Debug, Clone)]
pub(super) struct Decision {
    pub(super) hub: HostName,
    pub(super) initial_twin: Option<TwinPatch>,
    pub(super) payload: Option<Value>,
}

#[derive(Debug)]
enum Verdict {
    Decided(Box<Decision>),
    Failed(Failure),
    /// Failed, but may still do better.
    Retry(Failure),
}

/// What policies decide that ask nobody. A device that has one of the hubs keeps it.
///
/// # Errors
/// [`Failure`] if there is no hub to choose from.
pub(super) fn choose(
    policy: &Allocation,
    id: &RegistrationId,
    current: Option<&Assignment>,
    hubs: &[&HostName],
) -> Result<Decision, Failure> {
    let kept = hubs.iter().find(|hub| current.is_some_and(|current| hub.is(&current.hub)));
    let weight = |hub: &HostName| digest(&SHA256, format!("{hub}\n{}", id.lower()).as_bytes()).as_ref().to_vec();
    let chosen = match policy {
        Allocation::Hashed => kept.or_else(|| hubs.iter().max_by_key(|hub| weight(hub))),
        _ => kept.or_else(|| hubs.first()),
    };
    let hub = chosen.ok_or_else(|| Failure {
        code: HUB_NOT_SPECIFIED,
        message: "None of the enrollment's IoT hubs is linked.".to_owned(),
    })?;
    Ok(Decision { hub: (*hub).clone(), initial_twin: None, payload: None })
}

/// Asks until there is an answer that stands.
///
/// # Errors
/// [`Failure`] if the webhook says no, or does no better until patience is at its end.
pub(super) async fn ask(
    client: &reqwest::Client,
    webhook: &Webhook,
    patience: &Patience,
    question: &Question<'_>,
) -> Result<Decision, Failure> {
    let body = Bytes::from(question.body().to_string());
    let mut waits = patience.waits();
    loop {
        let failure = match call(client, webhook, patience, question, body.clone()).await {
            Verdict::Decided(decision) => return Ok(*decision),
            Verdict::Failed(failure) => return Err(failure),
            Verdict::Retry(failure) => failure,
        };
        let Some(wait) = waits.next() else { return Err(failure) };
        warn!(
            registration = %question.id, webhook = %webhook.masked(), wait_s = wait.as_secs_f32(),
            "{}; the webhook is called again", failure.message
        );
        sleep(wait).await;
    }
}

async fn call(
    client: &reqwest::Client,
    webhook: &Webhook,
    patience: &Patience,
    question: &Question<'_>,
    body: Bytes,
) -> Verdict {
    let request = client.post(webhook.0.clone()).header("content-type", "application/json").body(body);
    let exchange = async {
        let mut response = request.send().await?;
        let mut body = BytesMut::new();
        while let Some(chunk) = response.chunk().await? {
            if body.len() + chunk.len() > ANSWER_BYTES {
                // Cut short it is no JSON any more.
                break;
            }
            body.extend_from_slice(&chunk);
        }
        Ok::<_, reqwest::Error>((response.status().as_u16(), body))
    };
    match timeout(patience.timeout, exchange).await {
        Ok(Ok((status, body))) => question.verdict(status, &body),
        unreachable => {
            if let Ok(Err(error)) = unreachable {
                debug!(error = %error.without_url(), "the webhook cannot be reached");
            }
            let message = "An error occurred while sending the request.".to_owned();
            Verdict::Retry(Failure { code: FAILED, message })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patience_is_the_documented_schedule() {
        let waits: Vec<u64> = Patience::default().waits().map(|wait| wait.as_secs()).collect();
        assert_eq!(waits, [1, 10, 19, 28, 37, 46, 55, 64, 73, 82]);
    }
}
