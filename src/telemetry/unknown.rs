//! Members that models do not know: each is warned about once, with the name that was probably meant.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use dtdl::{ModelId, ModelSet};
use moka::sync::Cache;

use super::nearest::nearest;

/// Models about which something was said.
const MAX_MODELS: u64 = 1000;

/// Names a model that are warned about. Devices choose them: whoever makes up ever new ones should fill no log.
const MAX_NAMES: usize = 100;

/// Names are cut to this many characters for the log.
const MAX_CHARS: usize = 128;

/// What was said about unknown members, within bounds.
#[derive(Debug, Clone)]
pub(super) struct UnknownMembers {
    said: Cache<ModelId, Arc<Mutex<HashSet<String>>>>,
}

/// What is still to be said about an unknown member.
#[derive(Debug, PartialEq, Eq)]
enum Say {
    Name,
    ThatIsAll,
    Nothing,
}

impl UnknownMembers {
    pub(super) fn new() -> Self {
        Self { said: Cache::new(MAX_MODELS) }
    }

    /// Warns of member `name` (of `component`, else of the twin itself), unless that was done before.
    pub(super) fn warn(&self, model: &ModelId, models: &ModelSet, component: Option<&str>, name: &str) {
        let place = component.map_or_else(|| cut(name), |component| format!("{}.{}", cut(component), cut(name)));
        match self.what_to_say(model, &place) {
            Say::Nothing => {}
            Say::ThatIsAll => tracing::warn!(
                %model,
                "telemetry has more than {MAX_NAMES} members that the model does not know; no more are named"
            ),
            Say::Name => {
                let nearest = candidates(model, models, component).and_then(|names| nearest(name, names));
                tracing::warn!(
                    %model,
                    member = place,
                    nearest = nearest.unwrap_or("none"),
                    "telemetry has a member that the twin's model does not know: it is left out (names match exactly)"
                );
            }
        }
    }

    fn what_to_say(&self, model: &ModelId, place: &str) -> Say {
        let names = self.said.get_with_by_ref(model, Arc::default);
        let mut names = names.lock().unwrap_or_else(PoisonError::into_inner);
        if names.len() > MAX_NAMES || names.contains(place) {
            return Say::Nothing;
        }
        names.insert(place.to_owned());
        if names.len() > MAX_NAMES { Say::ThatIsAll } else { Say::Name }
    }
}

/// The names that could have been meant: of properties, and on the twin itself of components.
pub(super) fn candidates<'a>(
    model: &ModelId,
    models: &'a ModelSet,
    component: Option<&str>,
) -> Option<impl Iterator<Item = &'a str>> {
    let own = models.contents(model)?;
    let contents = match component {
        None => own,
        Some(component) => models.contents(own.components.get(component)?)?,
    };
    Some(contents.properties.keys().chain(contents.components.keys()).map(String::as_str))
}

fn cut(name: &str) -> String {
    name.chars().take(MAX_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_name_is_said_once_a_model_and_not_without_end() {
        let unknown = UnknownMembers::new();
        let [one, two]: [ModelId; 2] = ["dtmi:test:A;1", "dtmi:test:B;1"].map(|id| id.parse().unwrap());
        assert_eq!(unknown.what_to_say(&one, "temp"), Say::Name);
        assert_eq!(unknown.what_to_say(&one, "temp"), Say::Nothing);
        assert_eq!(unknown.what_to_say(&two, "temp"), Say::Name);
        for number in 1..MAX_NAMES {
            assert_eq!(unknown.what_to_say(&one, &number.to_string()), Say::Name);
        }
        assert_eq!(unknown.what_to_say(&one, "one more"), Say::ThatIsAll);
        assert_eq!(unknown.what_to_say(&one, "and another"), Say::Nothing);
        assert_eq!(unknown.what_to_say(&two, "but there"), Say::Name);
    }
}
