//! Puts interfaces together: inheritance and composition.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use crate::contents::{Content, Contents};
use crate::context::{MAX_ANCESTORS, MAX_EXTENDS_DEPTH};
use crate::error::{Error, Fault};
use crate::interface::{Annotation, Interface};
use crate::model_id::ModelId;

/// An interface with all that it inherits.
#[derive(Debug)]
pub(crate) struct Resolved {
    pub(crate) interface: Interface,
    /// Those it extends, directly or through others.
    pub(crate) ancestors: BTreeSet<ModelId>,
    /// Its own contents and the inherited ones. Shared with its parent where it adds nothing.
    pub(crate) contents: Arc<Contents>,
    /// The interface that defines each content.
    origins: Arc<BTreeMap<String, ModelId>>,
    /// Levels of inheritance above it.
    depth: usize,
}

impl Resolved {
    /// How much it holds that grows with inheritance.
    pub(crate) fn size(&self) -> usize {
        1 + self.contents.len() + self.ancestors.len()
    }
}

type Models = BTreeMap<ModelId, Arc<Resolved>>;

/// Resolves `added` and puts them into `models`, ancestors first; `enter` sees each as it is put in.
pub(crate) fn resolve(
    added: BTreeMap<ModelId, Interface>,
    models: &mut Models,
    mut enter: impl FnMut(&Resolved) -> Result<(), Error>,
) -> Result<(), Error> {
    check_references(&added, models)?;
    let ids: Vec<ModelId> = added.keys().cloned().collect();
    for interface in ancestors_first(added)? {
        let id = interface.id.clone();
        let resolved = resolve_one(interface, models).map_err(|error| error.in_model(id.as_str()))?;
        enter(&resolved)?;
        models.insert(id, Arc::new(resolved));
    }
    ids.iter().filter_map(|id| models.get(id)).try_for_each(|resolved| {
        check_components(resolved, models).map_err(|error| error.in_model(resolved.interface.id.as_str()))
    })
}

fn check_references(added: &BTreeMap<ModelId, Interface>, models: &Models) -> Result<(), Error> {
    let is_missing = |id: &ModelId| !added.contains_key(id) && !models.contains_key(id);
    let mut missing: BTreeMap<&ModelId, usize> = BTreeMap::new();
    for needed in added.values().flat_map(Interface::references).filter(|id| is_missing(id)) {
        *missing.entry(needed).or_default() += 1;
    }
    let Some(referrer) = added.values().find(|interface| interface.references().any(is_missing)) else {
        return Ok(());
    };
    let fault = Fault::Unresolved { missing: missing.into_iter().map(|(id, places)| (id.clone(), places)).collect() };
    let error = match referrer.extends.iter().find(|parent| is_missing(parent)) {
        Some(parent) => Error::new(referrer.pointer_to_parent(parent), fault),
        None => match referrer.contents.components.iter().find(|(_, id)| is_missing(id)) {
            Some((name, _)) => in_content(referrer, name, fault),
            None => at("", fault),
        },
    };
    Err(error.in_model(referrer.id.as_str()))
}

/// The interfaces in an order in which each comes after those it extends.
fn ancestors_first(mut added: BTreeMap<ModelId, Interface>) -> Result<Vec<Interface>, Error> {
    let mut waiting_for: BTreeMap<ModelId, usize> = BTreeMap::new();
    let mut heirs: BTreeMap<ModelId, Vec<ModelId>> = BTreeMap::new();
    for interface in added.values() {
        let parents = interface.extends.iter().filter(|parent| added.contains_key(parent));
        waiting_for.insert(interface.id.clone(), parents.clone().count());
        for parent in parents {
            heirs.entry(parent.clone()).or_default().push(interface.id.clone());
        }
    }
    let mut ready: VecDeque<ModelId> =
        waiting_for.iter().filter(|(_, count)| **count == 0).map(|(id, _)| id.clone()).collect();
    let mut ordered = Vec::with_capacity(added.len());
    while let Some(id) = ready.pop_front() {
        for heir in heirs.remove(&id).unwrap_or_default() {
            if let Some(count) = waiting_for.get_mut(&heir) {
                *count -= 1;
                if *count == 0 {
                    ready.push_back(heir);
                }
            }
        }
        ordered.extend(added.remove(&id));
    }
    // What is left waits for itself, or for one that does.
    match on_cycle(&added) {
        None => Ok(ordered),
        Some(id) => Err(at("/extends", Fault::ExtendsItself(id.clone())).in_model(id.as_str())),
    }
}

/// One of the interfaces that extend themselves: from any of those left, parents lead into a cycle.
fn on_cycle(left: &BTreeMap<ModelId, Interface>) -> Option<&ModelId> {
    let mut current = left.keys().next()?;
    let mut passed = BTreeSet::new();
    while passed.insert(current) {
        current = left.get(current)?.extends.iter().find(|parent| left.contains_key(parent))?;
    }
    Some(current)
}

fn resolve_one(interface: Interface, models: &Models) -> Result<Resolved, Error> {
    let parents: Vec<&Arc<Resolved>> = interface.extends.iter().filter_map(|parent| models.get(parent)).collect();
    let language = interface.language;
    let mut ancestors = BTreeSet::new();
    let mut depth = 0;
    for parent in &parents {
        if parent.interface.language > language {
            let id = &parent.interface.id;
            return Err(Error::new(interface.pointer_to_parent(id), Fault::NewerLanguage(id.clone())));
        }
        ancestors.insert(parent.interface.id.clone());
        ancestors.extend(parent.ancestors.iter().cloned());
        depth = depth.max(parent.depth + 1);
    }
    if depth > MAX_EXTENDS_DEPTH {
        return Err(at("/extends", Fault::ExtendsTooDeep { limit: MAX_EXTENDS_DEPTH }));
    }
    if ancestors.len() > MAX_ANCESTORS {
        let what = "extended interfaces in the hierarchy";
        return Err(at("/extends", Fault::TooMany { what, limit: MAX_ANCESTORS, got: ancestors.len() }));
    }
    check_elements(&interface, &ancestors, models)?;
    let (contents, origins) = inherit(&interface, &parents)?;
    if contents.len() > language.max_contents() {
        let what = "contents, inherited ones included";
        return Err(at("/contents", Fault::TooMany { what, limit: language.max_contents(), got: contents.len() }));
    }
    check_annotations(&interface, &contents)?;
    Ok(Resolved { interface, ancestors, contents, origins, depth })
}

/// Counts the elements of the whole hierarchy, each interface once.
fn check_elements(interface: &Interface, ancestors: &BTreeSet<ModelId>, models: &Models) -> Result<(), Error> {
    let inherited: usize =
        ancestors.iter().filter_map(|ancestor| models.get(ancestor)).map(|ancestor| ancestor.interface.elements).sum();
    let (got, limit) = (interface.elements + inherited, interface.language.max_elements());
    if got > limit {
        return Err(at("/contents", Fault::TooMany { what: "elements, inherited ones included", limit, got }));
    }
    Ok(())
}

type Inheritance = (Arc<Contents>, Arc<BTreeMap<String, ModelId>>);

/// Joins an interface's own contents with those of its parents. What comes from one origin by two ways is one content.
fn inherit(interface: &Interface, parents: &[&Arc<Resolved>]) -> Result<Inheritance, Error> {
    if let ([parent], true) = (parents, interface.contents.is_empty()) {
        return Ok((Arc::clone(&parent.contents), Arc::clone(&parent.origins)));
    }
    let mut contents = Contents::default();
    let mut origins: BTreeMap<String, ModelId> = BTreeMap::new();
    for parent in parents {
        for (name, origin) in &*parent.origins {
            match origins.insert(name.clone(), origin.clone()) {
                Some(other) if other != *origin => {
                    let fault = Fault::InheritedName { name: name.clone(), inherited_from: other };
                    return Err(Error::new(interface.pointer_to_parent(&parent.interface.id), fault));
                }
                _ => {}
            }
        }
        contents.extend(&parent.contents);
    }
    for name in interface.contents.names() {
        if let Some(other) = origins.insert(name.to_owned(), interface.id.clone()) {
            let fault = Fault::InheritedName { name: name.to_owned(), inherited_from: other };
            return Err(in_content(interface, name, fault));
        }
    }
    contents.extend(&interface.contents);
    Ok((Arc::new(contents), Arc::new(origins)))
}

fn check_annotations(interface: &Interface, contents: &Contents) -> Result<(), Error> {
    for Annotation { by, of, overrides_unit } in &interface.annotations {
        let quantity = match contents.get(of) {
            Some(Content::Property(property)) if of != by => property.quantity,
            Some(Content::Telemetry(telemetry)) if of != by => telemetry.quantity,
            _ => return Err(in_content(interface, by, Fault::AnnotatesNothing(of.clone()))),
        };
        if *overrides_unit && quantity.is_none() {
            return Err(in_content(interface, by, Fault::OverridesNothing(of.clone())));
        }
    }
    Ok(())
}

/// The rules for the interfaces of components. A component cannot contain components, so there are no cycles.
fn check_components(resolved: &Resolved, models: &Models) -> Result<(), Error> {
    let interface = &resolved.interface;
    for (name, id) in &interface.contents.components {
        let Some(component) = models.get(id) else {
            continue;
        };
        if component.interface.language > interface.language {
            return Err(in_content(interface, name, Fault::NewerLanguage(id.clone())));
        }
        if !component.contents.components.is_empty() {
            return Err(in_content(interface, name, Fault::NestedComponent(id.clone())));
        }
    }
    Ok(())
}

fn at(pointer: &str, fault: Fault) -> Error {
    Error::new(pointer.to_owned(), fault)
}

fn in_content(interface: &Interface, name: &str, fault: Fault) -> Error {
    Error::new(interface.pointer_to_content(name), fault).in_content(name)
}
