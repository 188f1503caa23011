//! The known name that is nearest to an unknown one, for a warning that helps.

/// Names longer than this are compared no more: the work is quadratic, and names come from devices.
const MAX_CHARS: usize = 64;

/// Which of `known` was probably meant by `name`: the same letters in another case, else the fewest edits, at most a
/// third of the name. None if nothing comes near.
pub(super) fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let wanted: Vec<char> = folded(name).take(MAX_CHARS + 1).collect();
    if wanted.len() > MAX_CHARS {
        return None;
    }
    known
        .into_iter()
        .map(|candidate| (edits(&wanted, &folded(candidate).take(MAX_CHARS).collect::<Vec<_>>()), candidate))
        .filter(|(edits, _)| edits * 3 <= wanted.len())
        .min()
        .map(|(_, candidate)| candidate)
}

/// The letters and digits that make a name, without case or separators.
fn folded(name: &str) -> impl Iterator<Item = char> {
    name.chars().filter(|char| !matches!(char, '_' | '-' | ' ' | '.')).flat_map(char::to_lowercase)
}

/// Levenshtein's distance, one row at a time.
fn edits(from: &[char], to: &[char]) -> usize {
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (above, left) in from.iter().enumerate() {
        let mut diagonal = above;
        let mut last = above + 1;
        let mut next = vec![last];
        for (top, up) in to.iter().zip(row.iter().skip(1)) {
            last = (diagonal + usize::from(left != top)).min(last + 1).min(up + 1);
            diagonal = *up;
            next.push(last);
        }
        row = next;
    }
    row.last().copied().unwrap_or(from.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_found() {
        let known = ["Temperature", "Humidity", "targetTemperature", "CO2"];
        for (name, expected) in [
            ("temperature", Some("Temperature")),
            ("target_temperature", Some("targetTemperature")),
            ("Temprature", Some("Temperature")),
            ("Humidty", Some("Humidity")),
            ("co2", Some("CO2")),
            ("pressure", None),
            ("", None),
            ("x", None),
        ] {
            assert_eq!(nearest(name, known), expected, "{name}");
        }
    }

    #[test]
    fn a_name_as_long_as_a_novel_is_not_compared() {
        assert_eq!(nearest(&"t".repeat(100_000), ["Temperature"]), None);
    }

    #[test]
    fn edits_are_counted_as_levenshtein_did() {
        let edits = |from: &str, to: &str| edits(&from.chars().collect::<Vec<_>>(), &to.chars().collect::<Vec<_>>());
        assert_eq!(edits("kitten", "sitting"), 3);
        assert_eq!(edits("", "abc"), 3);
        assert_eq!(edits("abc", ""), 3);
        assert_eq!(edits("flaw", "lawn"), 2);
    }
}
