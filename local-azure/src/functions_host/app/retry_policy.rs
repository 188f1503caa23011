//! `retry` of function.json.

use std::time::Duration;

use super::{error::Error, section::Section};

/// What happens after a failed invocation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetryPolicy {
    /// How often at most; `None`: for ever (-1 on the wire).
    pub max_retry_count: Option<u32>,
    /// How long to wait.
    pub strategy: Strategy,
}

/// How long to wait before a retry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Strategy {
    /// Always the same time.
    FixedDelay(Duration),
    /// About twice as long each time.
    ExponentialBackoff {
        /// The first wait.
        minimum: Duration,
        /// The longest wait.
        maximum: Duration,
    },
}

impl RetryPolicy {
    pub(super) fn read(section: &Section<'_>) -> Result<Option<Self>, Error> {
        if !section.exists() {
            return Ok(None);
        }
        let count = section.number("maxRetryCount")?;
        let max_retry_count = match count {
            Some(-1) => None,
            Some(count) => Some(u32::try_from(count).map_err(|_| section.invalid("maxRetryCount", "-1 or more"))?),
            None => return Err(section.invalid("maxRetryCount", "-1 or more")),
        };
        let interval = |name| section.time_span(name)?.ok_or_else(|| section.invalid(name, "a time span"));
        let strategy = match section.text("strategy")?.map(str::to_ascii_lowercase).as_deref() {
            Some("fixeddelay") => Strategy::FixedDelay(interval("delayInterval")?),
            None | Some("exponentialbackoff") => Strategy::ExponentialBackoff {
                minimum: interval("minimumInterval")?,
                maximum: interval("maximumInterval")?,
            },
            Some(_) => return Err(section.invalid("strategy", "fixedDelay or exponentialBackoff")),
        };
        Ok(Some(Self { max_retry_count, strategy }))
    }

    /// How long to wait before retry number `retry`, counted from 0; `None` when there is no such retry. `jitter`
    /// is a factor between 0.8 and 1.2.
    pub fn delay_before(&self, retry: u32, jitter: f64) -> Option<Duration> {
        if self.max_retry_count.is_some_and(|count| retry >= count) {
            return None;
        }
        Some(match self.strategy {
            Strategy::FixedDelay(delay) => delay,
            Strategy::ExponentialBackoff { minimum, maximum } => match retry {
                0 => minimum.min(maximum),
                // Beyond 2^31 any interval above a nanosecond is over the maximum.
                _ => {
                    let increment = minimum.as_secs_f64() * jitter * 2_f64.powi((retry - 1).min(31).cast_signed());
                    minimum.saturating_add(Duration::try_from_secs_f64(increment).unwrap_or(maximum)).min(maximum)
                }
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::{prop_assert, proptest};
    use serde_json::json;

    use super::*;

    fn read(retry: serde_json::Value) -> Result<Option<RetryPolicy>, Error> {
        let value = json!({ "retry": retry });
        RetryPolicy::read(&Section::root("function.json", &value).section("retry"))
    }

    #[test]
    fn exponential_backoff_doubles_from_the_minimum_to_the_maximum() {
        let policy = read(json!({
            "strategy": "exponentialBackoff", "maxRetryCount": -1,
            "minimumInterval": "00:00:02", "maximumInterval": "00:01:00",
        }));
        let policy = policy.unwrap().unwrap();
        let delays: Vec<u64> = (0..7).map(|retry| policy.delay_before(retry, 1.0).unwrap().as_secs()).collect();
        assert_eq!(delays, [2, 4, 6, 10, 18, 34, 60]);
    }

    #[test]
    fn a_fixed_delay_ends_with_its_count() {
        let policy = read(json!({ "strategy": "fixedDelay", "maxRetryCount": 2, "delayInterval": "00:00:10" }));
        let policy = policy.unwrap().unwrap();
        let delays = [0, 1, 2].map(|retry| policy.delay_before(retry, 1.0));
        assert_eq!(delays, [Some(Duration::from_secs(10)), Some(Duration::from_secs(10)), None]);
    }

    #[test]
    fn all_keys_are_required() {
        assert!(read(json!({ "strategy": "fixedDelay", "maxRetryCount": 2 })).is_err());
        assert!(read(json!({ "strategy": "fixedDelay", "delayInterval": "00:00:10" })).is_err());
        assert!(
            read(json!({ "maxRetryCount": -2, "minimumInterval": "00:00:01", "maximumInterval": "00:00:01" })).is_err()
        );
        assert_eq!(read(json!(null)).unwrap(), None);
    }

    proptest! {
        #[test]
        fn no_delay_leaves_the_interval(retry: u32, jitter in 0.8..1.2, minimum in 0_u64..100, more in 0_u64..10_000) {
            let (minimum, maximum) = (Duration::from_secs(minimum), Duration::from_secs(minimum + more));
            let strategy = Strategy::ExponentialBackoff { minimum, maximum };
            let delay = RetryPolicy { max_retry_count: None, strategy }.delay_before(retry, jitter).unwrap();
            prop_assert!(minimum <= delay && delay <= maximum);
        }
    }
}
