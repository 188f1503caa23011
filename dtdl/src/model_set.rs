//! Models that know one another.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::contents::Contents;
use crate::error::{Error, Fault};
use crate::interface::Interface;
use crate::model_id::ModelId;
use crate::resolve::{Resolved, resolve};

/// A set of models in which every reference resolves: what a model extends, and the interface of each of its
/// components, is in the set too.
///
/// A set never changes: [`with`](ModelSet::with) and [`without`](ModelSet::without) make new ones. Cloning is cheap.
#[derive(Debug, Clone, Default)]
pub struct ModelSet {
    index: Arc<Index>,
}

#[derive(Debug, Clone, Default)]
struct Index {
    models: BTreeMap<ModelId, Arc<Resolved>>,
    /// Who extends a model directly.
    extended_by: BTreeMap<ModelId, BTreeSet<ModelId>>,
    /// Who extends a model directly or has it as a component.
    referenced_by: BTreeMap<ModelId, BTreeSet<ModelId>>,
    /// What all models have and inherit: contents and ancestors, counted again for each heir.
    size: usize,
}

/// The most contents and ancestors that the models of a set have together, counted again for each heir: a bound on what
/// inheritance can multiply. 10,000 models, as many as an instance of the service holds, can have 100 each.
const MAX_SIZE: usize = 1_000_000;

impl ModelSet {
    /// This set and more models. The order does not matter: they may refer to one another.
    ///
    /// # Errors
    /// A model that is there already; a reference that does not resolve; a broken rule of inheritance or composition:
    /// cycles, depth, names used twice, a v2 model on a v3 one, components in components, counts.
    pub fn with(&self, interfaces: impl IntoIterator<Item = Interface>) -> Result<ModelSet, Error> {
        self.with_at_most(MAX_SIZE, interfaces)
    }

    fn with_at_most(&self, limit: usize, interfaces: impl IntoIterator<Item = Interface>) -> Result<ModelSet, Error> {
        let mut added = BTreeMap::new();
        for interface in interfaces {
            if self.get(&interface.id).is_some() || added.contains_key(&interface.id) {
                let fault = Fault::DuplicateModel(interface.id.clone());
                return Err(Error::new("/@id".to_owned(), fault).in_model(interface.id.as_str()));
            }
            added.insert(interface.id.clone(), interface);
        }
        let mut index = Index::clone(&self.index);
        resolve(added, &mut index.models, |resolved| {
            let id = &resolved.interface.id;
            for parent in &resolved.interface.extends {
                index.extended_by.entry(parent.clone()).or_default().insert(id.clone());
            }
            for needed in resolved.interface.references() {
                index.referenced_by.entry(needed.clone()).or_default().insert(id.clone());
            }
            index.size += resolved.size();
            if index.size <= limit {
                return Ok(());
            }
            let what = "contents and extended interfaces in all models together";
            Err(in_model(id, Fault::TooMany { what, limit, got: index.size }))
        })?;
        Ok(ModelSet { index: Arc::new(index) })
    }

    /// This set without one of its models.
    ///
    /// # Errors
    /// [`Fault::NoModel`]; [`Fault::InUse`] where others extend it or have it as a component.
    pub fn without(&self, model: &ModelId) -> Result<ModelSet, Error> {
        let Some(resolved) = self.index.models.get(model) else {
            return Err(in_model(model, Fault::NoModel(model.clone())));
        };
        if let Some(by) = self.index.referenced_by.get(model) {
            return Err(in_model(model, Fault::InUse { by: by.clone() }));
        }
        let mut index = Index::clone(&self.index);
        index.models.remove(model);
        index.size -= resolved.size();
        for parent in &resolved.interface.extends {
            forget(&mut index.extended_by, parent, model);
        }
        for needed in resolved.interface.references() {
            forget(&mut index.referenced_by, needed, model);
        }
        Ok(ModelSet { index: Arc::new(index) })
    }

    /// The model of that id.
    pub fn get(&self, model: &ModelId) -> Option<&Interface> {
        self.index.models.get(model).map(|resolved| &resolved.interface)
    }

    /// All models, in the order of their ids.
    pub fn iter(&self) -> impl Iterator<Item = &Interface> {
        self.index.models.values().map(|resolved| &resolved.interface)
    }

    /// How many models there are.
    pub fn len(&self) -> usize {
        self.index.models.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.index.models.is_empty()
    }

    /// Whether `model` is `ancestor`, or extends it directly or through others. Nothing is an unknown model.
    pub fn is_a(&self, model: &ModelId, ancestor: &ModelId) -> bool {
        (self.index.models.get(model))
            .is_some_and(|resolved| model == ancestor || resolved.ancestors.contains(ancestor))
    }

    /// What a model has, inherited contents included.
    pub fn contents(&self, model: &ModelId) -> Option<&Contents> {
        self.index.models.get(model).map(|resolved| &*resolved.contents)
    }

    /// The models that `model` extends, directly or through others.
    pub fn ancestors<'s>(&'s self, model: &ModelId) -> impl Iterator<Item = &'s ModelId> + use<'s> {
        self.index.models.get(model).into_iter().flat_map(|resolved| &resolved.ancestors)
    }

    /// The models that extend `model` directly.
    pub fn extended_by<'s>(&'s self, model: &ModelId) -> impl Iterator<Item = &'s ModelId> + use<'s> {
        self.index.extended_by.get(model).into_iter().flatten()
    }

    /// The models that cannot be without `model`: those that extend it directly or have it as a component.
    pub fn referenced_by<'s>(&'s self, model: &ModelId) -> impl Iterator<Item = &'s ModelId> + use<'s> {
        self.index.referenced_by.get(model).into_iter().flatten()
    }

    /// The models that `model` cannot be without, directly or through others; itself is not among them.
    pub fn dependencies<'s>(&'s self, model: &ModelId) -> BTreeSet<&'s ModelId> {
        let mut reached = BTreeSet::new();
        let mut open: Vec<&ModelId> = self.index.models.get_key_value(model).map(|(id, _)| id).into_iter().collect();
        while let Some(model) = open.pop() {
            let references = self.get(model).into_iter().flat_map(Interface::references);
            open.extend(references.filter(|next| reached.insert(*next)));
        }
        reached
    }

    /// The versions of a model that the set has, lowest first: the models with the same [`path`](ModelId::path).
    pub fn versions<'s>(&'s self, model: &ModelId) -> impl Iterator<Item = &'s ModelId> + use<'s> {
        let lowest = model.without_version();
        let path = lowest.clone();
        self.index.models.range(lowest..).map(|(id, _)| id).take_while(move |id| id.path() == path.path())
    }
}

fn in_model(model: &ModelId, fault: Fault) -> Error {
    Error::new(String::new(), fault).in_model(model.as_str())
}

fn forget(index: &mut BTreeMap<ModelId, BTreeSet<ModelId>>, needed: &ModelId, by: &ModelId) {
    if let Some(known) = index.get_mut(needed) {
        known.remove(by);
        if known.is_empty() {
            index.remove(needed);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn interface(name: &str, extends: &[&str], properties: usize) -> Interface {
        let contents: Vec<_> = (0..properties)
            .map(|n| json!({ "@type": "Property", "name": format!("{name}{n}"), "schema": "string" }))
            .collect();
        Interface::parse(&json!({
            "@context": "dtmi:dtdl:context;2", "@id": format!("dtmi:ex:{name};1"), "@type": "Interface",
            "extends": extends, "contents": contents,
        }))
        .expect("an interface")
    }

    #[test]
    fn what_inheritance_multiplies_is_bounded() {
        let heir = |name| interface(name, &["dtmi:ex:base;1"], 1);
        // The base counts itself and its properties, each heir also its ancestor and its own property.
        let models =
            ModelSet::default().with_at_most(11 + 13, [interface("base", &[], 10), heir("a")]).expect("models");
        let error = models.with_at_most(11 + 13, [heir("b")]).expect_err("too many");
        assert!(matches!(error.fault(), Fault::TooMany { limit: 24, got: 37, .. }), "{error}");
        let freed = models.without(&ModelId::parse("dtmi:ex:a;1").expect("an id")).expect("free");
        freed.with_at_most(11 + 13, [heir("b")]).expect("room again");
    }
}
