//! What a client has subscribed to.

use std::collections::BTreeMap;

use rumqttc::QoS;

/// More subscriptions at a time are refused (IoT Hub: quotas and throttling).
const LIMIT: usize = 5;

/// Topic filters with the quality of service granted for each. Filters of DPS and IoT Hub are a prefix and `#`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Subscriptions(BTreeMap<String, u8>);

impl Subscriptions {
    /// Those of an earlier session, as [`Subscriptions::filters`] gave them.
    pub(crate) fn from_filters(filters: BTreeMap<String, u8>) -> Self {
        Self(filters)
    }

    /// The filters with the quality of service granted for each.
    pub(crate) fn filters(&self) -> &BTreeMap<String, u8> {
        &self.0
    }

    /// Grants a filter; at most quality of service 1. `None` if the client has too many.
    pub(crate) fn add(&mut self, filter: &str, wanted: QoS) -> Option<QoS> {
        if self.0.len() >= LIMIT && !self.0.contains_key(filter) {
            return None;
        }
        let granted = if wanted == QoS::AtMostOnce { QoS::AtMostOnce } else { QoS::AtLeastOnce };
        self.0.insert(filter.to_owned(), granted as u8);
        Some(granted)
    }

    pub(crate) fn remove(&mut self, filter: &str) {
        self.0.remove(filter);
    }

    /// With which quality of service a message to this topic goes out, `None` if nobody asked for it.
    pub(crate) fn quality_for(&self, topic: &str) -> Option<QoS> {
        let matching = self.0.iter().filter(|(filter, _)| {
            filter.strip_suffix('#').map_or(topic == filter.as_str(), |prefix| topic.starts_with(prefix))
        });
        matching
            .map(|(_, &quality)| quality)
            .max()
            .map(|quality| if quality == 0 { QoS::AtMostOnce } else { QoS::AtLeastOnce })
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quality_of_service_two_is_granted_as_one_and_the_best_filter_counts() {
        let mut subscriptions = Subscriptions::default();
        assert_eq!(subscriptions.quality_for("$iothub/twin/res/200/?$rid=1"), None);
        assert_eq!(subscriptions.add("$iothub/twin/res/#", QoS::ExactlyOnce), Some(QoS::AtLeastOnce));
        assert_eq!(subscriptions.quality_for("$iothub/twin/res/200/?$rid=1"), Some(QoS::AtLeastOnce));
        assert_eq!(subscriptions.quality_for("$iothub/twin/PATCH/properties/desired/"), None);
        subscriptions.remove("$iothub/twin/res/#");
        assert!(subscriptions.is_empty());
    }

    #[test]
    fn a_sixth_filter_is_refused_but_one_of_the_five_may_be_renewed() {
        let mut subscriptions = Subscriptions::default();
        for filter in ["a", "b", "c", "d", "e"] {
            assert!(subscriptions.add(filter, QoS::AtMostOnce).is_some());
        }
        assert_eq!(subscriptions.add("f", QoS::AtMostOnce), None);
        assert_eq!(subscriptions.add("e", QoS::AtLeastOnce), Some(QoS::AtLeastOnce));
    }
}
