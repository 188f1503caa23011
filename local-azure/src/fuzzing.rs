//! What the fuzzer calls (`fuzz/`); the tests here give it the seeds that are kept.

use bytes::Bytes;
use jiff::Timestamp;

pub use crate::{
    digital_twins::fuzzing::{filter, patch, query},
    mqtt::fuzzing::conversation,
};
use crate::{
    iot_hub::Message,
    sas::{Key, Token},
};

/// Reads any text as a shared access signature, and checks it against a key that did not make it.
///
/// # Panics
/// When it is good.
pub fn token(text: &[u8]) {
    let Ok(text) = std::str::from_utf8(text) else { return };
    match Token::parse(text) {
        Err(refusal) => assert!(!refusal.to_string().is_empty()),
        Ok(token) => {
            assert!(token.policy().is_none_or(|policy| !policy.is_empty()));
            let resource = ["contoso-hub.azure-devices.net", "devices", "d1"];
            let key = Key::generate();
            assert!(token.check(&resource, [&key], Timestamp::UNIX_EPOCH).is_err(), "{text} is good for any key");
        }
    }
}

/// Reads any text as the topic of a device's message: names and a bag of properties.
///
/// # Panics
/// When a name or value is longer than the topic that it was read from, or a device could set who it is.
pub fn topic(text: &[u8]) {
    let Ok(topic) = std::str::from_utf8(text) else { return };
    let Ok((_, message)) = Message::from_topic(topic, Bytes::new()) else { return };
    // The names of IoT Hub's own that short ones stand for are longer than those.
    let longest = "iothub-creation-time-utc".len() * topic.split('&').count();
    assert!(message.size() <= topic.len() + longest, "{message:?}");
    assert!(message.annotations.keys().all(|name| !name.starts_with("iothub-connection-")), "{message:?}");
}

#[cfg(test)]
#[path = "../../fuzz/replay.rs"]
mod replay;

#[cfg(test)]
mod tests {
    use super::replay::replay;
    use super::*;

    #[test]
    fn the_seeds_of_queries_hold() {
        replay("query", query);
    }

    #[test]
    fn the_seeds_of_patches_hold() {
        replay("patch", patch);
    }

    #[test]
    fn the_seeds_of_filters_hold() {
        replay("filter", filter);
    }

    #[test]
    fn the_seeds_of_conversations_hold() {
        replay("conversation", conversation);
    }

    #[test]
    fn the_seeds_of_tokens_hold() {
        replay("token", token);
    }

    #[test]
    fn the_seeds_of_topics_hold() {
        replay("topic", topic);
    }
}
