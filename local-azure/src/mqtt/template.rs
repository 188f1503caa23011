//! Topics and filters with parts that stand for any text.

/// A topic or filter: parts in braces stand for any text, and parameters may come in any order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Template(pub(crate) &'static str);

impl Template {
    /// What begins every topic that fits: all up to the first brace or parameter.
    fn beginning(self) -> &'static str {
        let end = match (self.0.find('{'), self.0.find('?')) {
            (Some(brace), Some(question)) => brace.min(question + 1),
            (Some(brace), None) => brace,
            (None, Some(question)) => question + 1,
            (None, None) => self.0.len(),
        };
        self.0.get(..end).unwrap_or(self.0)
    }

    /// What follows the beginning, in a topic that has it.
    pub(crate) fn rest(self, topic: &str) -> Option<&str> {
        topic.strip_prefix(self.beginning())
    }

    /// The topic or filter with these texts in its places, if it has places. `None` where it has a place for another
    /// name, or none for one of these.
    pub(crate) fn filled(self, names: &[(&str, &str)]) -> Option<String> {
        let places = self.0.matches('{').count();
        let fill = |filled: String, (name, text): &(&str, &str)| {
            let place = format!("{{{name}}}");
            self.0.contains(&place).then(|| filled.replace(&place, text))
        };
        match places {
            0 => Some(self.0.to_owned()),
            _ if places == names.len() => names.iter().try_fold(self.0.to_owned(), fill),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_fits_up_to_the_first_part_that_may_be_anything() {
        for (template, topic, rest) in [
            ("a/GET/?$rid={id}", "a/GET/?x=1&$rid=2", Some("x=1&$rid=2")),
            ("a/GET/?$rid={id}", "a/GET/", None),
            ("devices/{device}/messages/", "devices/d/messages/", Some("d/messages/")),
            ("a/res/{status}/?$rid={id}", "a/res/200/?$rid=1", Some("200/?$rid=1")),
            ("a/res/#", "a/res/#", Some("")),
            ("a/res/#", "b/res/#", None),
        ] {
            assert_eq!(Template(template).rest(topic), rest, "{template} {topic}");
        }
    }

    #[test]
    fn all_places_are_filled_if_there_are_any() {
        let (one, two) = (Template("d/{device}/#"), Template("d/{device}/m/{module}/#"));
        let (device, module) = (("device", "a"), ("module", "b"));
        assert_eq!(one.filled(&[device]).as_deref(), Some("d/a/#"));
        assert_eq!(one.filled(&[device, module]), None);
        assert_eq!(two.filled(&[device]), None);
        assert_eq!(two.filled(&[device, module]).as_deref(), Some("d/a/m/b/#"));
        assert_eq!(Template("a/#").filled(&[device]).as_deref(), Some("a/#"));
        assert_eq!(Template("a/#").filled(&[]).as_deref(), Some("a/#"));
    }
}
