//! The two calls that a device has: register, and ask how it goes. The same over MQTT and HTTPS.

use std::sync::Arc;

use serde_json::Value;
use tracing::info;

use super::{
    Dps, EnrollmentName, RegistrationId,
    answer::Refusal,
    attestation::{self, Proof},
    operation::Operation,
};
use crate::{
    gate::{self, Passage, Request, Service},
    sas::{self, Token},
    x509::Chain,
};

/// A device, and whether it is who it says.
#[derive(Debug)]
pub(super) struct Caller {
    pub(super) dps: Arc<Dps>,
    pub(super) id: RegistrationId,
    /// Why it may register; or why it is refused, which it is told when it calls.
    pub(super) admission: Result<Admission, Refusal>,
}

/// A device may register.
#[derive(Debug, Clone)]
pub(super) struct Admission {
    /// Under this enrollment.
    pub(super) enrollment: EnrollmentName,
    /// By this, which it has in its hub too.
    pub(super) proof: Proof,
}

/// How an operation stands.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) done: bool,
    pub(super) body: Value,
}

impl Caller {
    pub(super) fn new(
        dps: Arc<Dps>,
        id_scope: &str,
        id: RegistrationId,
        token: Option<&str>,
        certificate: Option<&Chain>,
    ) -> Self {
        let admission = dps.verify(id_scope, &id, token, certificate);
        Self { dps, id, admission }
    }

    pub(super) async fn register(&self, body: &[u8]) -> Result<Answer, Refusal> {
        let passage = self.dps.pass(Operation::RegisterDevice, &self.id).await?;
        let answer = self.begin(body);
        if passage.is_answered().await { answer } else { Err(Refusal::NoAnswer) }
    }

    fn begin(&self, body: &[u8]) -> Result<Answer, Refusal> {
        let admission = self.admission.clone()?;
        let payload = self.payload_of(body)?;
        let (done, body) = self.dps.register(&self.id, admission, payload)?;
        Ok(Answer { done, body })
    }

    pub(super) async fn operation(&self, operation_id: &str) -> Result<Answer, Refusal> {
        self.look(Operation::Poll).await?;
        let (done, body) = self.dps.operation(&self.id, operation_id).ok_or(Refusal::NoSuchOperation)?;
        Ok(Answer { done, body })
    }

    /// The registration record, without an operation.
    pub(super) async fn registration(&self) -> Result<Value, Refusal> {
        self.look(Operation::LookUpRegistration).await?;
        self.dps.registration_state(&self.id).ok_or(Refusal::NotRegistered)
    }

    /// Lets a call in that changes nothing.
    async fn look(&self, operation: Operation) -> Result<(), Refusal> {
        if !self.dps.pass(operation, &self.id).await?.is_answered().await {
            return Err(Refusal::NoAnswer);
        }
        self.admission.clone().map(drop)
    }

    /// The body is `{"registrationId": .., "payload": ..}`; older clients send none.
    fn payload_of(&self, body: &[u8]) -> Result<Option<Value>, Refusal> {
        if body.trim_ascii().is_empty() {
            return Ok(None);
        }
        let Ok(Value::Object(mut members)) = serde_json::from_slice(body) else { return Err(Refusal::BadRequest) };
        match members.get("registrationId") {
            None | Some(Value::Null) => {}
            Some(Value::String(id)) if self.id.as_str().eq_ignore_ascii_case(id) => {}
            Some(_) => return Err(Refusal::BadRequest),
        }
        Ok(members.shift_remove("payload").filter(|payload| !payload.is_null()))
    }
}

impl Dps {
    fn verify(
        &self,
        id_scope: &str,
        id: &RegistrationId,
        token: Option<&str>,
        certificate: Option<&Chain>,
    ) -> Result<Admission, Refusal> {
        if !id_scope.eq_ignore_ascii_case(&self.settings.id_scope) {
            info!(registration = %id, "refused a device: it has another id scope");
            return Err(Refusal::UnknownIdScope);
        }
        match (token, certificate) {
            (None, Some(chain)) => self.verify_certificate(id, chain),
            (token, _) => self.verify_token(id_scope, id, token),
        }
    }

    fn verify_token(&self, id_scope: &str, id: &RegistrationId, token: Option<&str>) -> Result<Admission, Refusal> {
        let wrong = |reason: sas::Refusal| {
            info!(registration = %id, %reason, "refused a device");
            Refusal::WrongToken
        };
        let token = token.map_or(Err(sas::Refusal::Malformed("there is none")), Token::parse).map_err(wrong)?;
        let now = self.clock.now();
        self.store.read(|state| {
            let mut refusal = Refusal::NotEnrolled;
            for (name, enrollment) in state.enrollments.for_device(id) {
                match enrollment.attestation.verify_token(&name, &token, id_scope, id, now) {
                    Some(Ok(keys)) => return Ok(Admission { enrollment: name, proof: Proof::Keys(keys) }),
                    Some(Err(reason)) => refusal = wrong(reason),
                    None => refusal = Refusal::WrongToken,
                }
            }
            Err(refusal)
        })
    }

    fn verify_certificate(&self, id: &RegistrationId, chain: &Chain) -> Result<Admission, Refusal> {
        // Chains are not verified while all others wait for the state.
        let enrollments: Vec<_> = self.store.read(|state| {
            let found = state.enrollments.for_device(id).into_iter();
            found.map(|(name, enrollment)| (name, enrollment.attestation.clone())).collect()
        });
        let (name, certificate) = attestation::choose(&enrollments, chain, id, self.clock.now())
            .inspect_err(|reason| info!(registration = %id, %reason, "refused a device"))?;
        Ok(Admission { enrollment: name.clone(), proof: Proof::Certificate(certificate) })
    }

    /// Passes the gate.
    pub(super) async fn pass(&self, operation: Operation, id: &RegistrationId) -> Result<Passage, gate::Refusal> {
        let (class, operation, subject) = (operation.class(), operation.name(), id.as_str());
        self.gate.pass(Request { service: Service::Dps, operation, class, subject }).await
    }
}
