//! Dates, times and durations in the one form that DTDL names for each.
//!
//! Source: DTDL v3, "Primitive schema": date, dateTime and time as RFC 3339 has them, duration as ISO 8601 has it.

use jiff::civil;

/// RFC 3339 `full-date`: `2026-11-24`.
pub(super) fn is_date(text: &str) -> bool {
    let [b'0'..=b'9', ..] = text.as_bytes() else {
        return false;
    };
    let mut parts = text.split('-');
    let (Some(year), Some(month), Some(day), None) = (parts.next(), parts.next(), parts.next(), parts.next()) else {
        return false;
    };
    let (Some(year), Some(month), Some(day)) = (digits(year, 4), digits(month, 2), digits(day, 2)) else {
        return false;
    };
    // At most four and two digits: they fit.
    civil::Date::new(year as i16, month as i8, day as i8).is_ok()
}

/// RFC 3339 `date-time`: `2026-11-24T10:00:00.5+01:00`; `t` and `z` may be lower case.
pub(super) fn is_date_time(text: &str) -> bool {
    let Some((date, rest)) = text.split_once(['T', 't']) else {
        return false;
    };
    let Some(offset_at) = rest.find(['Z', 'z', '+', '-']) else {
        return false;
    };
    let (time, offset) = rest.split_at(offset_at);
    is_date(date) && is_partial_time(time) && is_offset(offset)
}

/// RFC 3339 `partial-time` or `full-time`: `10:00:00.5`, `10:00:00Z`.
pub(super) fn is_time(text: &str) -> bool {
    match text.find(['Z', 'z', '+', '-']) {
        Some(offset_at) => {
            let (time, offset) = text.split_at(offset_at);
            is_partial_time(time) && is_offset(offset)
        }
        None => is_partial_time(text),
    }
}

/// `10:00:00` with any fraction of a second. No leap seconds: the service, which is written in .NET, knows none.
fn is_partial_time(text: &str) -> bool {
    let (whole, fraction) = match text.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (text, None),
    };
    let mut parts = whole.split(':');
    let (Some(hour), Some(minute), Some(second), None) = (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return false;
    };
    digits(hour, 2).is_some_and(|hour| hour < 24)
        && digits(minute, 2).is_some_and(|minute| minute < 60)
        && digits(second, 2).is_some_and(|second| second < 60)
        && fraction.is_none_or(is_number)
}

/// `Z` or `+01:00`.
fn is_offset(text: &str) -> bool {
    if matches!(text, "Z" | "z") {
        return true;
    }
    let Some((hour, minute)) = text.strip_prefix(['+', '-']).and_then(|rest| rest.split_once(':')) else {
        return false;
    };
    digits(hour, 2).is_some_and(|hour| hour < 24) && digits(minute, 2).is_some_and(|minute| minute < 60)
}

/// ISO 8601 duration: `P1Y2M3DT4H5M6.7S` with any of the parts, or `P8W`; only the last part may have a fraction.
pub(super) fn is_duration(text: &str) -> bool {
    let Some(rest) = text.strip_prefix('P') else {
        return false;
    };
    if let Some(weeks) = rest.strip_suffix('W') {
        return is_decimal(weeks);
    }
    let (date, time) = match rest.split_once('T') {
        Some((date, time)) => (date, Some(time)),
        None => (rest, None),
    };
    match time {
        // Both parts may not be empty, and nothing follows a fraction.
        Some(time) => is_sequence(date, "YMD", false) && !time.is_empty() && is_sequence(time, "HMS", true),
        None => !date.is_empty() && is_sequence(date, "YMD", true),
    }
}

/// Numbers, each followed by one of `designators`, in their order.
fn is_sequence(mut text: &str, designators: &str, last_may_be_decimal: bool) -> bool {
    let mut designators = designators.chars();
    while !text.is_empty() {
        let Some(end) = text.find(|c: char| c.is_ascii_alphabetic()) else {
            return false;
        };
        let (number, rest) = text.split_at(end);
        let mut rest = rest.chars();
        let Some(designator) = rest.next() else {
            return false;
        };
        text = rest.as_str();
        let is_last = text.is_empty();
        let number_fits = is_number(number) || (is_last && last_may_be_decimal && is_decimal(number));
        if !number_fits || !designators.any(|next| next == designator) {
            return false;
        }
    }
    true
}

/// Digits, with a fraction after a point or a comma if there is one.
fn is_decimal(text: &str) -> bool {
    match text.split_once(['.', ',']) {
        Some((whole, fraction)) => is_number(whole) && is_number(fraction),
        None => is_number(text),
    }
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// A number of exactly so many digits.
fn digits(text: &str, count: usize) -> Option<u16> {
    (text.len() == count && is_number(text)).then(|| text.parse().ok()).flatten()
}
