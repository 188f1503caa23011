//! What a mapping says about a model, against that model.

use std::fmt;

use dtdl::{Contents, ModelId, ModelSet, Schema};

use super::{Mapping, Rule};
use crate::telemetry::nearest::nearest;

/// A rule that does not fit a model.
#[derive(Debug, Clone, PartialEq)]
pub struct Fault {
    /// The rule.
    pub rule: Rule,
    /// What is wrong with it.
    pub trouble: Trouble,
}

/// What can be wrong with a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trouble {
    /// The model has no such component.
    NoComponent {
        /// The component that was probably meant.
        nearest: Option<String>,
    },
    /// The model, or the component, has no such property.
    NoProperty {
        /// The property that was probably meant.
        nearest: Option<String>,
    },
    /// Scale or offset, and the property is no number.
    NoNumber,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} to {}: ", self.rule.from, self.rule.to)?;
        let did_you_mean = |f: &mut fmt::Formatter<'_>, nearest: &Option<String>| match nearest {
            Some(nearest) => write!(f, "; the nearest is {nearest}"),
            None => Ok(()),
        };
        match &self.trouble {
            Trouble::NoComponent { nearest } => {
                f.write_str("the model has no such component")?;
                did_you_mean(f, nearest)
            }
            Trouble::NoProperty { nearest } => {
                f.write_str("the model has no such property")?;
                did_you_mean(f, nearest)
            }
            Trouble::NoNumber => f.write_str("scale and offset make numbers, and the property takes none"),
        }
    }
}

impl Mapping {
    /// The rules for `model` that do not fit it, inherited rules included. None where `models` does not have it.
    #[must_use]
    pub fn check(&self, model: &ModelId, models: &ModelSet) -> Vec<Fault> {
        let Some(contents) = models.contents(model) else { return Vec::new() };
        let faulty = |rule: &Rule| trouble(rule, contents, models).map(|trouble| Fault { rule: rule.clone(), trouble });
        self.of(model, models).into_iter().filter_map(faulty).collect()
    }
}

fn trouble(rule: &Rule, contents: &Contents, models: &ModelSet) -> Option<Trouble> {
    let contents = match rule.to.component_name() {
        None => contents,
        Some(name) => match contents.components.get(name).and_then(|model| models.contents(model)) {
            Some(component) => component,
            None => {
                let names = contents.components.keys().map(String::as_str);
                return Some(Trouble::NoComponent { nearest: nearest(name, names).map(str::to_owned) });
            }
        },
    };
    let name = rule.to.property_name();
    let Some(property) = contents.properties.get(name) else {
        let names = contents.properties.keys().map(String::as_str);
        return Some(Trouble::NoProperty { nearest: nearest(name, names).map(str::to_owned) });
    };
    let is_number = matches!(property.schema, Schema::Double | Schema::Float | Schema::Integer | Schema::Long);
    (rule.unit.is_some() && !is_number).then_some(Trouble::NoNumber)
}
