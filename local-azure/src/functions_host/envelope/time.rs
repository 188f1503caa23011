//! Times as .NET writes them into JSON.

use jiff::{Timestamp, tz::TimeZone};

/// A time with up to seven decimals, without zeros at the end, and `zone` behind it (`Z`, `+00:00`, or nothing).
pub(in crate::functions_host) fn date_time(time: Timestamp, zone: &str) -> String {
    let text = time.to_zoned(TimeZone::UTC).strftime("%Y-%m-%dT%H:%M:%S").to_string();
    let ticks = format!("{:07}", time.subsec_nanosecond().max(0) / 100);
    match ticks.trim_end_matches('0') {
        "" => format!("{text}{zone}"),
        fraction => format!("{text}.{fraction}{zone}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fractions_have_up_to_seven_places_and_no_zeros_at_the_end() {
        let time = |text: &str| date_time(text.parse().unwrap(), "Z");
        assert_eq!(time("2024-05-01T12:00:00Z"), "2024-05-01T12:00:00Z");
        assert_eq!(time("2024-05-01T12:00:00.250Z"), "2024-05-01T12:00:00.25Z");
        assert_eq!(time("2024-05-01T12:00:01.234567899Z"), "2024-05-01T12:00:01.2345678Z");
    }
}
