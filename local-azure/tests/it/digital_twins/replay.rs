//! Every recorded exchange is had again with the stand-in, which has to answer as the service did.
//!
//! Exchanges of one recording run on one instance, in their order. ETags and times are the stand-in's own: what was
//! equal in the recording has to be equal again.

use std::{collections::BTreeMap, time::Duration};

use jiff::{SignedDuration, Timestamp};
use local_azure::{digital_twins::State, gate::Rules};
use serde_json::Value;

use super::{
    client::{Answer, Instance},
    recordings::{Exchange, LEFT_OUT, before, exchanges},
};

/// What of a recording is called what by the stand-in.
#[derive(Default)]
struct Names {
    etags: BTreeMap<String, String>,
    times: BTreeMap<String, String>,
}

impl Names {
    /// Compares a recorded value with an answered one, member order included, and learns ETags and times from them.
    fn compare(&mut self, at: &str, recorded: &Value, answered: &Value) {
        match (recorded, answered) {
            (Value::Object(recorded), Value::Object(answered)) => {
                let names = |object: &serde_json::Map<String, Value>| object.keys().cloned().collect::<Vec<_>>();
                assert_eq!(names(recorded), names(answered), "the members of {at}");
                for (name, value) in recorded {
                    self.compare(&format!("{at}/{name}"), value, &answered[name]);
                }
            }
            (Value::Array(recorded), Value::Array(answered)) => {
                assert_eq!(recorded.len(), answered.len(), "how many are in {at}");
                for (index, (recorded, answered)) in recorded.iter().zip(answered).enumerate() {
                    self.compare(&format!("{at}/{index}"), recorded, answered);
                }
            }
            (Value::String(recorded), Value::String(answered)) => self.compare_texts(at, recorded, answered),
            _ => assert_eq!(recorded, answered, "{at}"),
        }
    }

    fn compare_texts(&mut self, at: &str, recorded: &str, answered: &str) {
        let name = at.rsplit('/').next().unwrap_or_default();
        match name {
            "$etag" => Self::learn(&mut self.etags, at, recorded, answered),
            "lastUpdateTime" | "$lastUpdateTime" | "uploadTime" => {
                assert_eq!(recorded.len(), answered.len(), "{at}: {answered}");
                Self::learn(&mut self.times, at, recorded, answered);
            }
            "createdDateTime" | "lastActionDateTime" | "purgeDateTime" => {
                assert!(answered.ends_with('Z') && answered.parse::<Timestamp>().is_ok(), "{at}: {answered}");
            }
            "traceId" => assert_eq!(recorded.len(), answered.len(), "{at}: {answered}"),
            // Links were http in 2021.
            "message" => {
                assert_eq!(recorded.replace("http://aka.ms/adtv2query", "https://aka.ms/adtv2query"), answered, "{at}");
            }
            _ => assert_eq!(recorded, answered, "{at}"),
        }
    }

    fn learn(names: &mut BTreeMap<String, String>, at: &str, recorded: &str, answered: &str) {
        if let Some((other, _)) = names.iter().find(|(key, value)| *value == answered && *key != recorded) {
            panic!("{at}: {recorded} and {other} were different, both are {answered}");
        }
        let known = names.entry(recorded.to_owned()).or_insert_with(|| answered.to_owned());
        assert_eq!(known, answered, "{at}: what {recorded} is called");
    }

    fn compare_headers(&mut self, at: &str, recorded: &BTreeMap<String, String>, answer: &Answer) {
        for (name, value) in recorded {
            let answered = answer.header(name);
            match name.as_str() {
                "ETag" => Self::learn(&mut self.etags, at, value, answered.unwrap()),
                "Content-Length" => assert_eq!(value, &answer.bytes.len().to_string(), "{at}: {}", answer.text()),
                "Retry-After" => assert!(answered.unwrap().parse::<u32>().is_ok_and(|seconds| seconds > 0)),
                "query-charge" => assert!(answered.unwrap().parse::<f64>().is_ok()),
                // The same trace, another span.
                "traceresponse" => {
                    let answered = answered.unwrap();
                    assert_eq!((&answered[..36], &answered[52..]), (&value[..36], "-01"));
                }
                _ => assert_eq!(answered, Some(value.as_str()), "{at}: {name}"),
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn every_recorded_exchange_is_answered_as_it_was() {
    let mut recordings: BTreeMap<String, Vec<(&str, usize, Exchange)>> = BTreeMap::new();
    let mut left_out = 0;
    for (file, index, exchange) in exchanges() {
        if LEFT_OUT.iter().any(|(name, place, _)| (*name, *place) == (file, index)) {
            left_out += 1;
        } else {
            recordings.entry(exchange.source.clone()).or_default().push((file, index, exchange));
        }
    }
    assert_eq!(left_out, LEFT_OUT.len(), "an exchange is left out that there is not, or twice");
    let mut replayed = 0;
    for (source, exchanges) in recordings {
        replayed += exchanges.len();
        replay(&source, exchanges).await;
    }
    assert_eq!(replayed + left_out, exchanges().len());
}

async fn replay(source: &str, exchanges: Vec<(&str, usize, Exchange)>) {
    let before = before(source);
    let rules = Rules { digital_twins_limits: before.is_limited, ..Rules::default() };
    let mut instance = Instance::with(SignedDuration::from_secs(before.lag), rules, State::default());
    if !before.models.is_empty() {
        instance.service.upload_models(&before.models).unwrap();
    }
    instance.service.load_graph(&before.graph).unwrap();
    if !before.deleted.is_empty() {
        instance.pass(before.lag);
    }
    for id in before.deleted {
        assert_eq!(instance.delete(&format!("/digitaltwins/{id}")).await.status, 204);
    }
    let mut names = Names::default();
    if let Some((etag, twin)) = before.known {
        let current = instance.service.twin(twin).unwrap()["$etag"].as_str().unwrap().to_owned();
        names.etags.insert(etag.to_owned(), current);
    }
    for (file, index, exchange) in exchanges {
        instance.pass(before.pace.max(1));
        // What the gateway refused came within a second of the request before.
        if !exchange.response.headers.contains_key("Retry-After") {
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        replay_one(&mut instance, &mut names, &exchange, &format!("{file}.json[{index}]")).await;
    }
}

async fn replay_one(instance: &mut Instance, names: &mut Names, exchange: &Exchange, at: &str) {
    let Exchange { request, response, .. } = exchange;
    if let Some(link) = response.body.to_string().split("https://").nth(1)
        && link.contains(".net/digitaltwins/")
    {
        instance.host = link.split('/').next().unwrap().to_owned();
    }
    let mut headers: Vec<(&str, &str)> = Vec::new();
    for (name, value) in &request.headers {
        headers.push((name, names.etags.get(value).unwrap_or(value)));
    }
    if request.path.contains("/telemetry") {
        // Every client sends one; the recordings dropped it.
        headers.push(("Message-Id", "a5e7a8a1-6fd2-4a5e-9d5c-0c9d6f0a8f1e"));
    }
    let body = Some(&request.body).filter(|body| !body.is_null());
    let answer = instance.ask(&request.method, &request.path, &headers, body).await;
    assert_eq!(answer.status.as_u16(), response.status, "{at}: {}", answer.text());
    names.compare_headers(at, &response.headers, &answer);
    let answered = if answer.bytes.is_empty() { Value::Null } else { answer.json() };
    names.compare(at, &response.body, &answered);
}
