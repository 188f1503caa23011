//! The user name and topics of DPS over MQTT (DPS: communicate with DPS using the MQTT protocol).

use std::time::Duration;

use percent_encoding::percent_decode_str;

use crate::{
    identity::{IdScope, RegistrationId},
    sas::encode,
};

/// Where all answers arrive.
pub(super) const ANSWERS: &str = "$dps/registrations/res/#";

const API_VERSION: &str = "2019-03-31";

/// The user name of CONNECT. There is no `?` before its query.
pub(super) fn user_name(id_scope: &IdScope, registration_id: &RegistrationId) -> String {
    let version = encode(concat!("device-simulator/", env!("CARGO_PKG_VERSION")));
    format!("{id_scope}/registrations/{registration_id}/api-version={API_VERSION}&ClientVersion={version}")
}

/// What the token of CONNECT is for.
pub(super) fn resource(id_scope: &IdScope, registration_id: &RegistrationId) -> String {
    format!("{id_scope}/registrations/{registration_id}")
}

pub(super) fn register(request_id: &str) -> String {
    format!("$dps/registrations/PUT/iotdps-register/?$rid={request_id}")
}

pub(super) fn operation_status(request_id: &str, operation_id: &str) -> String {
    let operation_id = encode(operation_id);
    format!("$dps/registrations/GET/iotdps-get-operationstatus/?$rid={request_id}&operationId={operation_id}")
}

/// What the topic of an answer says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct AnswerTopic {
    pub(super) status: u16,
    pub(super) request_id: String,
    pub(super) retry_after: Option<Duration>,
}

impl AnswerTopic {
    /// Reads `$dps/registrations/res/{status}/?$rid={request}[&retry-after={seconds}]`.
    pub(super) fn parse(topic: &str) -> Option<Self> {
        let (status, query) = topic.strip_prefix("$dps/registrations/res/")?.split_once("/?")?;
        let parameter = |name: &str| {
            query
                .split('&')
                .filter_map(|pair| pair.split_once('='))
                .find(|(key, _)| *key == name)
                .map(|(_, value)| value)
        };
        Some(Self {
            status: status.parse().ok()?,
            request_id: percent_decode_str(parameter("$rid")?).decode_utf8().ok()?.into_owned(),
            retry_after: parameter("retry-after").and_then(|s| s.parse().ok()).map(Duration::from_secs),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vectors() -> serde_json::Value {
        serde_json::from_str(include_str!("../../tests/fixtures/iot/dps_mqtt.json")).unwrap()
    }

    #[test]
    fn the_user_name_is_the_recorded_one_up_to_the_name_of_the_client() {
        for connect in vectors()["connect"].as_array().unwrap() {
            let recorded = connect["username"].as_str().unwrap();
            let mut parts = recorded.split('/');
            let id_scope = parts.next().unwrap().parse().unwrap();
            let registration_id = parts.nth(1).unwrap().parse().unwrap();
            let ours = user_name(&id_scope, &registration_id);
            let common = recorded.split('&').next().unwrap();
            assert_eq!(ours.split('&').next(), Some(common));
        }
        let ours = user_name(&"0ne1".parse().unwrap(), &"d1".parse().unwrap());
        assert_eq!(ours.split('&').nth(1).unwrap().split("%2F").next(), Some("ClientVersion=device-simulator"));
    }

    #[test]
    fn requests_and_answers_are_on_the_recorded_topics() {
        let vectors = vectors();
        assert_eq!(ANSWERS, vectors["subscribe"]["filter"]);
        let mut requests = 0;
        for exchange in vectors["exchanges"].as_array().unwrap() {
            for step in exchange["steps"].as_array().unwrap() {
                let answer = AnswerTopic::parse(step["out"]["topic"].as_str().unwrap()).unwrap();
                let operation_id = step["out"]["payload"]["operationId"].as_str().unwrap();
                let Some(request) = step["in"]["topic"].as_str() else { continue };
                requests += 1;
                match request.contains("PUT") {
                    true => assert_eq!(register(&answer.request_id), request),
                    false => assert_eq!(operation_status(&answer.request_id, operation_id), request),
                }
            }
        }
        assert_eq!(requests, 3);
    }

    #[test]
    fn an_answer_topic_says_status_request_and_wait() {
        let answer = |status, retry_after: Option<u64>| {
            let retry_after = retry_after.map(Duration::from_secs);
            Some(AnswerTopic { status, request_id: "1".to_owned(), retry_after })
        };
        let cases = [
            ("$dps/registrations/res/202/?$rid=1&retry-after=3", answer(202, Some(3))),
            ("$dps/registrations/res/202/?retry-after=3&$rid=1", answer(202, Some(3))),
            ("$dps/registrations/res/401/?$rid=1", answer(401, None)),
            ("$dps/registrations/res/429/?$rid=1&retry-after=soon", answer(429, None)),
            ("$dps/registrations/res/200/?retry-after=3", None),
            ("$dps/registrations/res/ok/?$rid=1", None),
            ("$dps/registrations/res/200", None),
            ("devices/d1/messages/devicebound/", None),
        ];
        for (topic, expected) in cases {
            assert_eq!(AnswerTopic::parse(topic), expected, "{topic}");
        }
    }
}
