//! Times as the service writes and reads them.

use jiff::{Timestamp, civil, tz::TimeZone};

/// The service counts time in steps of 100 ns.
const TICK_NANOSECONDS: i32 = 100;

/// The time, cut to the service's resolution, so that what is kept is what is shown.
pub(crate) fn whole_ticks(time: Timestamp) -> Timestamp {
    let excess = time.subsec_nanosecond().rem_euclid(TICK_NANOSECONDS);
    time.saturating_sub(jiff::SignedDuration::from_nanos(i64::from(excess))).unwrap_or(time)
}

/// The form of times in twins: seven digits of the second, always.
pub(crate) fn in_twin(time: Timestamp) -> String {
    format!("{time:.7}")
}

/// The form of `uploadTime` in model data: an offset for the `Z`, and no trailing zeros.
pub(crate) fn in_model(time: Timestamp) -> String {
    let text = whole_ticks(time).to_string();
    format!("{}+00:00", text.trim_end_matches('Z'))
}

/// The form of times in jobs: no trailing zeros.
pub(crate) fn in_job(time: Timestamp) -> String {
    whole_ticks(time).to_string()
}

/// Reads a source time: ISO 8601 with an offset, or without one, which is taken as UTC.
pub(crate) fn parse_source_time(text: &str) -> Option<Timestamp> {
    let time = text.parse::<Timestamp>().ok().or_else(|| {
        let civil = text.parse::<civil::DateTime>().ok()?;
        civil.to_zoned(TimeZone::UTC).ok().map(|zoned| zoned.timestamp())
    })?;
    Some(whole_ticks(time))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_seven_digits_in_twins_and_no_trailing_zeros_in_models() {
        for (time, twin, model) in [
            ("2023-06-01T20:31:10.5580386Z", "2023-06-01T20:31:10.5580386Z", "2023-06-01T20:31:10.5580386+00:00"),
            ("2023-06-01T20:31:10.55Z", "2023-06-01T20:31:10.5500000Z", "2023-06-01T20:31:10.55+00:00"),
            ("2023-06-01T20:31:10Z", "2023-06-01T20:31:10.0000000Z", "2023-06-01T20:31:10+00:00"),
            ("2023-06-01T20:31:10.123456789Z", "2023-06-01T20:31:10.1234567Z", "2023-06-01T20:31:10.1234567+00:00"),
        ] {
            let time: Timestamp = time.parse().unwrap();
            assert_eq!(in_twin(time), twin);
            assert_eq!(in_model(time), model);
        }
    }

    #[test]
    fn source_times_may_lack_an_offset_and_are_cut_to_ticks() {
        for (text, expected) in [
            ("2021-11-30T18:47:53.7648958Z", Some("2021-11-30T18:47:53.7648958Z")),
            ("2021-11-30T18:47:53.123456789Z", Some("2021-11-30T18:47:53.1234567Z")),
            ("2021-11-30T20:47:53+02:00", Some("2021-11-30T18:47:53.0000000Z")),
            ("2021-11-30T18:47:53", Some("2021-11-30T18:47:53.0000000Z")),
            ("yesterday", None),
            ("", None),
        ] {
            assert_eq!(parse_source_time(text).map(in_twin).as_deref(), expected, "{text}");
        }
    }
}
