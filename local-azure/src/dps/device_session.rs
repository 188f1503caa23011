//! A device that registers over MQTT (DPS: MQTT support).

use std::sync::Arc;

use rumqttc::ConnectReturnCode;

use super::{
    Dps, RegistrationId,
    answer::{Over, Refusal},
    device_call::{Answer, Caller},
    operation::{ANSWERS, Operation, TOPICS},
};
use crate::mqtt::{Credentials, Endpoint, Incoming, NotAdmitted, Outgoing, Push, Refused, Subscriptions};

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
    caller: Caller,
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
        if !self.pass(Operation::Connect, &id).await?.is_answered().await {
            return Err(NotAdmitted::NoAnswer);
        }
        if !who.client_id.eq_ignore_ascii_case(id.as_str()) {
            return Err(ConnectReturnCode::BadClientId.into());
        }
        Ok(DeviceSession { caller: Caller::new(self, user_name.id_scope, id, who.password, who.certificate) })
    }
}

impl DeviceSession {
    fn outgoing(&self, request_id: &str, answer: Result<Answer, Refusal>) -> Result<Outgoing, Refused> {
        let dps = &self.caller.dps;
        let wait = dps.settings.retry_after.as_secs();
        let (status, retry_after, body) = match answer {
            Ok(Answer { done: true, body }) => (200, None, body),
            Ok(Answer { done: false, body }) => (202, Some(wait), body),
            Err(refusal @ Refusal::NoAnswer) => return Err(Refused(refusal.to_string())),
            Err(refusal) => {
                let body = refusal.body(Over::Mqtt, dps.clock.now());
                (refusal.status(Over::Mqtt).as_u16(), refusal.retry_after_s(), body)
            }
        };
        // Python's SDK reads nothing that stands before `$rid`.
        let retry_after = retry_after.map(|seconds| format!("&retry-after={seconds}")).unwrap_or_default();
        Ok(Outgoing {
            topic: format!("$dps/registrations/res/{status}/?$rid={request_id}{retry_after}"),
            payload: body.to_string().into(),
        })
    }
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
        let asked = TOPICS.iter().find_map(|(operation, topic)| Some((operation, topic.rest(message.topic)?)));
        let (answer, query) = match asked {
            Some((Operation::RegisterDevice, query)) => (self.caller.register(&message.payload).await, query),
            Some((Operation::Poll, query)) => (self.caller.operation(parameter(query, "operationId")).await, query),
            _ => return Err(Refused("not a topic of DPS".into())),
        };
        self.outgoing(parameter(query, "$rid"), answer).map(Some)
    }

    async fn pushed(&mut self) -> Push {
        std::future::pending().await
    }

    async fn ended(&mut self, _: bool) {}
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn user_names_of_the_sdks_are_understood() {
        let vectors: Value = serde_json::from_str(include_str!("../../tests/fixtures/iot/dps_mqtt.json")).unwrap();
        for case in vectors["connect"].as_array().unwrap() {
            let text = case["username"].as_str().unwrap();
            let found = UserName::parse(text).unwrap();
            // The documented one, not recorded, is not taken apart there.
            if let Some(parsed) = case.get("parsed") {
                assert_eq!(found.id_scope, parsed["idScope"], "{text}");
                assert_eq!(found.registration_id, parsed["registrationId"], "{text}");
            }
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
