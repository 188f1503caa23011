//! .NET's `TimeSpan` as text: `[d.]hh:mm[:ss[.fffffff]]`.

use std::time::Duration;

/// Reads a time span that is not negative.
pub(super) fn parse(text: &str) -> Option<Duration> {
    let (days, clock) = match text.split_once('.') {
        Some((days, clock)) if !days.contains(':') => (digits(days)?, clock),
        _ => (0, text),
    };
    let mut parts = clock.split(':');
    let hours = digits(parts.next()?).filter(|&hours| hours < 24)?;
    let minutes = digits(parts.next()?).filter(|&minutes| minutes < 60)?;
    let (seconds, fraction) = parts.next().map_or(Some((0, 0)), seconds)?;
    if parts.next().is_some() {
        return None;
    }
    Some(Duration::new(((days * 24 + hours) * 60 + minutes) * 60 + seconds, fraction))
}

/// Whole seconds and nanoseconds.
fn seconds(text: &str) -> Option<(u64, u32)> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let places = u32::try_from(fraction.len()).ok().filter(|&places| places <= 7)?;
    let nanoseconds = digits(fraction)? * 10_u64.pow(9 - places);
    Some((digits(whole).filter(|&whole| whole < 60)?, u32::try_from(nanoseconds).ok()?))
}

fn digits(text: &str) -> Option<u64> {
    let is_number = (1..=8).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_spans_are_read_as_dotnet_reads_them() {
        let cases = [
            ("00:00:30", Some(Duration::from_secs(30))),
            ("00:05", Some(Duration::from_secs(300))),
            ("1.02:03:04.5", Some(Duration::from_millis(93_784_500))),
            ("00:00:00.0100000", Some(Duration::from_millis(10))),
            ("24:00:00", None),
            ("00:60:00", None),
            ("-00:00:01", None),
            ("30", None),
            ("00:00:00:00", None),
            ("00:00:+1", None),
            ("00:00:00.12345678", None),
            ("", None),
        ];
        for (text, expected) in cases {
            assert_eq!(parse(text), expected, "{text}");
        }
    }
}
