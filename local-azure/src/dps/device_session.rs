//! A device that registers over MQTT (DPS: MQTT support).

use std::sync::Arc;

use rumqttc::ConnectReturnCode;
use serde_json::Value;
use tracing::info;

use super::{Dps, RegistrationId, answer::Refusal};
use crate::{
    gate::{self, Class, Passage, Request, Service},
    iot_hub::KeyPair,
    mqtt::{Credentials, Endpoint, Incoming, NotAdmitted, Outgoing, Push, Refused, Subscriptions},
    sas::Token,
};

const ANSWERS: &str = "$dps/registrations/res/#";

/// `{idScope}/registrations/{registrationId}/api-version=..&ClientVersion=..`
#[derive(Debug, PartialEq, Eq)]
struct UserName<'a> {
    id_scope: &'a str,
    registration_id: &'a str,
}

impl<'a> UserName<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let mut segments = text.splitn(4, '/');
        let id_scope = segments.next().filter(|scope| !scope.is_empty())?;
        let registration_id = segments.next().filter(|&word| word == "registrations").and_then(|_| segments.next())?;
        let query = segments.next()?;
        query.split('&').any(|pair| pair.starts_with("api-version=")).then_some(Self { id_scope, registration_id })
    }
}

/// DPS' side of a device's session.
#[derive(Debug)]
pub(crate) struct DeviceSession {
    dps: Arc<Dps>,
    id: RegistrationId,
    /// The device's keys; or why it is refused, which it is told when it registers, not when it connects.
    keys: Result<KeyPair, Refusal>,
}

impl Dps {
    /// Lets a device in. Credentials are judged, but a device with bad ones learns of it when it registers: so does
    /// the service (azure-docs issue 43157).
    ///
    /// # Errors
    /// What the client is told if the names are not understood.
    pub(crate) async fn sign_in(self: Arc<Self>, who: Credentials<'_>) -> Result<DeviceSession, NotAdmitted> {
        let user_name = UserName::parse(who.user_name).ok_or(ConnectReturnCode::BadUserNamePassword)?;
        let id: RegistrationId =
            user_name.registration_id.parse().map_err(|_| ConnectReturnCode::BadUserNamePassword)?;
        if !self.pass("Connect", &id).await?.is_answered() {
            return Err(NotAdmitted::NoAnswer);
        }
        if !who.client_id.eq_ignore_ascii_case(id.as_str()) {
            return Err(ConnectReturnCode::BadClientId.into());
        }
        let keys = self.verify(user_name.id_scope, &id, who.password);
        Ok(DeviceSession { dps: self, id, keys })
    }

    fn verify(&self, id_scope: &str, id: &RegistrationId, password: Option<&str>) -> Result<KeyPair, Refusal> {
        if !id_scope.eq_ignore_ascii_case(&self.settings.id_scope) {
            info!(registration = %id, "refused a device: it has another id scope");
            return Err(Refusal::UnknownIdScope);
        }
        let group = &self.settings.enrollment_group;
        let token = password.map_or(Err(crate::sas::Refusal::Malformed("there is none")), Token::parse);
        token.and_then(|token| group.verify(&token, id_scope, id, self.clock.now())).map_err(|reason| {
            info!(registration = %id, %reason, "refused a device");
            Refusal::WrongToken
        })
    }

    async fn pass(&self, operation: &'static str, id: &RegistrationId) -> Result<Passage, gate::Refusal> {
        let subject = id.as_str();
        self.gate.pass(Request { service: Service::Dps, operation, class: Class::Other, subject }).await
    }
}

impl DeviceSession {
    async fn register(&self, payload: &[u8]) -> Result<Answer, Refusal> {
        let passage = self.dps.pass("RegisterDevice", &self.id).await?;
        let answer = self.begin(payload);
        if passage.is_answered() { answer } else { Err(Refusal::NoAnswer) }
    }

    fn begin(&self, payload: &[u8]) -> Result<Answer, Refusal> {
        let keys = self.keys.clone()?;
        let payload = self.payload_of(payload)?;
        let (done, body) = self.dps.register(&self.id, keys, payload)?;
        Ok(Answer { done, body })
    }

    async fn poll(&self, operation_id: &str) -> Result<Answer, Refusal> {
        if !self.dps.pass("OperationStatusLookup", &self.id).await?.is_answered() {
            return Err(Refusal::NoAnswer);
        }
        self.keys.clone()?;
        let (done, body) = self.dps.operation(&self.id, operation_id).ok_or(Refusal::NoSuchOperation)?;
        Ok(Answer { done, body })
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

    fn outgoing(&self, request_id: &str, answer: Result<Answer, Refusal>) -> Result<Outgoing, Refused> {
        let wait = self.dps.settings.retry_after.as_secs();
        let (status, retry_after, body) = match answer {
            Ok(Answer { done: true, body }) => (200, None, body),
            Ok(Answer { done: false, body }) => (202, Some(wait), body),
            Err(refusal @ Refusal::NoAnswer) => return Err(Refused(refusal.to_string())),
            Err(refusal) => (refusal.code() / 1000, refusal.retry_after_s(), refusal.body(self.dps.clock.now())),
        };
        // Python's SDK reads nothing that stands before `$rid`.
        let retry_after = retry_after.map(|seconds| format!("&retry-after={seconds}")).unwrap_or_default();
        Ok(Outgoing {
            topic: format!("$dps/registrations/res/{status}/?$rid={request_id}{retry_after}"),
            payload: body.to_string().into(),
        })
    }
}

/// How an operation stands.
struct Answer {
    done: bool,
    body: Value,
}

fn parameter<'a>(query: &'a str, name: &str) -> &'a str {
    let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    pairs.find(|(found, _)| *found == name).map_or("", |(_, value)| value)
}

impl Endpoint for DeviceSession {
    /// DPS keeps no sessions, whatever a client asks for.
    fn earlier_subscriptions(&self) -> Subscriptions {
        Subscriptions::default()
    }

    fn admits(&self, filter: &str) -> bool {
        filter == ANSWERS
    }

    fn subscribed(&mut self, _: &Subscriptions) {}

    async fn take(&mut self, message: Incoming<'_>) -> Result<Option<Outgoing>, Refused> {
        let topic = message.topic;
        if let Some(query) = topic.strip_prefix("$dps/registrations/PUT/iotdps-register/?") {
            let answer = self.register(&message.payload).await;
            return self.outgoing(parameter(query, "$rid"), answer).map(Some);
        }
        if let Some(query) = topic.strip_prefix("$dps/registrations/GET/iotdps-get-operationstatus/?") {
            let answer = self.poll(parameter(query, "operationId")).await;
            return self.outgoing(parameter(query, "$rid"), answer).map(Some);
        }
        Err(Refused("not a topic of DPS".into()))
    }

    async fn pushed(&mut self) -> Push {
        std::future::pending().await
    }

    async fn ended(&mut self, _: bool) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_names_of_the_sdks_are_understood() {
        let vectors: Value = serde_json::from_str(include_str!("../../tests/fixtures/iot/dps_mqtt.json")).unwrap();
        for case in vectors["connect"].as_array().unwrap() {
            let text = case["username"].as_str().unwrap();
            let found = UserName::parse(text).unwrap();
            assert_eq!(found.id_scope, "0ne00ABCDEF");
            assert!(case["parsed"].is_null() || found.registration_id == case["parsed"]["registrationId"], "{text}");
        }
    }

    #[test]
    fn other_user_names_are_not() {
        for text in [
            "",
            "/registrations/d/api-version=1",
            "s/registrations/d",
            "s/devices/d/api-version=1",
            "s/registrations/d/x=1",
        ] {
            assert_eq!(UserName::parse(text), None, "{text}");
        }
    }
}
