//! One element of a document: its class, its additional types, its members.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::literal;
use super::{Document, Site};
use crate::class::{Class, TermKind, plain_term};
use crate::context::{Context, Language, MAX_DESCRIPTION};
use crate::error::{Error, Fault, excerpt};
use crate::interface::Annotation;
use crate::model_id::ModelId;
use crate::place::{Place, kind_of};
use crate::quantity::SemanticType;
use crate::schema::Schema;

/// An element whose class, identifier, display texts and set of members have been checked.
pub(super) struct Element<'v, 'p> {
    pub(super) class: Class,
    pub(super) context: Context,
    pub(super) place: &'p Place<'p>,
    members: &'v Map<String, Value>,
    types: Types,
}

/// What an element's `@type` says besides its class.
#[derive(Default)]
struct Types {
    semantic: Option<&'static SemanticType>,
    /// Co-type of the extension "annotation".
    annotation: bool,
    /// Co-type of the extension "overriding".
    overriding: bool,
    /// A co-type that nothing defines; v2 lets it pass, and with it members that nothing defines.
    undefined: bool,
}

/// A member: its value, and the name under which the document has it.
pub(super) struct Member<'v> {
    pub(super) key: &'v str,
    pub(super) value: &'v Value,
}

/// A member that is a set: the name under which the document has it, and its elements.
pub(super) struct Set<'v> {
    pub(super) key: &'v str,
    /// Each with its index, unless the set is a lone value.
    pub(super) elements: Vec<(Option<usize>, &'v Value)>,
}

impl<'v, 'p> Element<'v, 'p> {
    /// Reads what all elements have. The class is one of `allowed`, or `implied` where the element does not say.
    pub(super) fn read(
        value: &'v Value,
        site: Site<'p>,
        allowed: &[Class],
        implied: Option<Class>,
        document: &mut Document<'v>,
    ) -> Result<Element<'v, 'p>, Error> {
        let place = site.place;
        let Value::Object(members) = value else {
            return Err(place.error(Fault::WrongType { wanted: "an object", got: kind_of(value) }));
        };
        let context = match members.get("@context") {
            // The document's own has been read already.
            Some(inner) if !allowed.contains(&Class::Interface) => {
                site.context.extended(inner, &place.member("@context"))?
            }
            _ => site.context,
        };
        let (class, types) = read_types(members, context, place, allowed, implied)?;
        let element = Element { class, context, place, members, types };
        element.check_members()?;
        document.elements += 1;
        if let Some(id) = element.id()? {
            document.claim(&id, &place.member("@id"))?;
        }
        element.check_texts()?;
        Ok(element)
    }

    pub(super) fn language(&self) -> Language {
        self.context.language
    }

    /// What the element measures, if it says so.
    pub(super) fn semantic_type(&self) -> Option<&'static SemanticType> {
        self.types.semantic
    }

    /// The site of this element, for what is inside it.
    pub(super) fn site<'s>(&self, place: &'s Place<'s>) -> Site<'s> {
        Site { place, context: self.context }
    }

    /// The element's identifier, if it has one.
    pub(super) fn id(&self) -> Result<Option<ModelId>, Error> {
        let Some(value) = self.members.get("@id") else {
            return Ok(None);
        };
        let place = self.place.member("@id");
        let text =
            value.as_str().ok_or_else(|| place.error(Fault::WrongType { wanted: "a string", got: kind_of(value) }))?;
        read_id(text, self.language(), &place).map(Some)
    }

    /// The member of that name, or of the identifier that stands for the name; an empty array counts as absent.
    pub(super) fn member(&self, name: &str) -> Option<Member<'v>> {
        self.members
            .iter()
            .find(|(key, _)| plain_term(key, TermKind::Member, self.language()) == name)
            .filter(|(_, value)| value.as_array().is_none_or(|elements| !elements.is_empty()))
            .map(|(key, value)| Member { key, value })
    }

    /// The member of that name, which has to be there.
    pub(super) fn required(&self, name: &'static str) -> Result<Member<'v>, Error> {
        self.member(name).ok_or_else(|| self.place.error(Fault::NoMember { class: self.class.name(), member: name }))
    }

    /// The elements of a set: those of an array, or a lone value.
    pub(super) fn set(&self, name: &str) -> Option<Set<'v>> {
        let Member { key, value } = self.member(name)?;
        let elements = match value {
            Value::Array(elements) => {
                elements.iter().enumerate().map(|(index, element)| (Some(index), element)).collect()
            }
            lone => vec![(None, lone)],
        };
        Some(Set { key, elements })
    }

    /// The element's `name`.
    pub(super) fn name(&self) -> Result<&'v str, Error> {
        let Member { key, value } = self.required("name")?;
        let place = self.place.member(key);
        let name = literal::text(value, &place)?;
        let limit = self.language().max_name();
        if is_name(name, limit) {
            Ok(name)
        } else {
            Err(place.error(Fault::BadName { got: excerpt(name).into_owned(), limit }))
        }
    }

    /// What this content, of that name, says of a sibling, if it says anything.
    pub(super) fn annotation(&self, name: &str) -> Result<Option<Annotation>, Error> {
        if !self.types.annotation {
            return Ok(None);
        }
        let Member { key, value } = self.required("annotates")?;
        let of = literal::text(value, &self.place.member(key))?.to_owned();
        if self.types.overriding {
            let Member { key, value } = self.required("overrides")?;
            let place = self.place.member(key);
            let overridden = literal::text(value, &place)?;
            // The one member that a known extension adds and that can be overridden.
            if overridden != "unit" {
                let got = excerpt(overridden).into_owned();
                return Err(place.error(Fault::WrongValue { wanted: "unit", got }));
            }
        }
        Ok(Some(Annotation { by: name.to_owned(), of, overrides_unit: self.types.overriding }))
    }

    /// A boolean member.
    pub(super) fn boolean(&self, name: &str) -> Result<Option<bool>, Error> {
        let Some(Member { key, value }) = self.member(name) else {
            return Ok(None);
        };
        literal::boolean(value, &self.place.member(key)).map(Some)
    }

    fn check_members(&self) -> Result<(), Error> {
        let mut seen = Vec::with_capacity(12);
        for key in self.members.keys() {
            let name = plain_term(key, TermKind::Member, self.language());
            if self.defines(name) {
                if seen.contains(&name) {
                    return Err(self.place.member(key).error(Fault::MemberTwice(name.to_owned())));
                }
                seen.push(name);
            } else if !self.tolerates(key) {
                let got = excerpt(key).into_owned();
                return Err(self.place.member(key).error(Fault::UnknownMember { class: self.class.name(), got }));
            }
        }
        Ok(())
    }

    /// Whether the class, or a co-type, defines a member of that name.
    fn defines(&self, name: &str) -> bool {
        match name {
            "unit" => self.types.semantic.is_some(),
            "annotates" => self.types.annotation,
            "overrides" => self.types.overriding,
            _ => self.class.has_member(name),
        }
    }

    /// Whether a member that nothing defines may be there: v2 has unknown keywords, and what unknown types bring.
    fn tolerates(&self, key: &str) -> bool {
        match key {
            "@id" | "@type" | "@context" => true,
            "@graph" => false,
            _ if key.starts_with('@') => self.language() == Language::V2,
            _ => self.types.undefined,
        }
    }

    fn check_texts(&self) -> Result<(), Error> {
        if let Some(Member { key, value }) = self.member("comment") {
            let place = self.place.member(key);
            literal::check_length(literal::text(value, &place)?, MAX_DESCRIPTION, &place)?;
        }
        if self.class != Class::Interface {
            self.display_name()?;
            self.description()?;
        }
        Ok(())
    }

    /// The element's name for people, by language.
    pub(super) fn display_name(&self) -> Result<BTreeMap<String, String>, Error> {
        self.localized("displayName", self.language().max_display_name())
    }

    /// The element's description for people, by language.
    pub(super) fn description(&self) -> Result<BTreeMap<String, String>, Error> {
        self.localized("description", MAX_DESCRIPTION)
    }

    fn localized(&self, name: &str, limit: usize) -> Result<BTreeMap<String, String>, Error> {
        match self.member(name) {
            Some(Member { key, value }) => literal::localized(value, limit, &self.place.member(key)),
            None => Ok(BTreeMap::new()),
        }
    }
}

/// Reads `@type`.
fn read_types(
    members: &Map<String, Value>,
    context: Context,
    place: &Place<'_>,
    allowed: &[Class],
    implied: Option<Class>,
) -> Result<(Class, Types), Error> {
    let place = &place.member("@type");
    let wrong_class = |got: &str| {
        let wanted = allowed.iter().map(|class| class.name()).collect::<Vec<_>>().join(" or ");
        place.error(Fault::WrongClass { wanted, got: excerpt(got).into_owned() })
    };
    let terms = match members.get("@type") {
        None => return implied.map(|class| (class, Types::default())).ok_or_else(|| wrong_class("nothing")),
        Some(Value::String(one)) => vec![one.as_str()],
        Some(Value::Array(several)) => {
            several.iter().map(|one| one.as_str().ok_or_else(|| wrong_class(kind_of(one)))).collect::<Result<_, _>>()?
        }
        Some(other) => return Err(wrong_class(kind_of(other))),
    };
    let mut found = None;
    let mut cotypes = Vec::new();
    for term in terms {
        let name = plain_term(term, TermKind::Class, context.language);
        match Class::named(name, context.language) {
            Some(class) if allowed.contains(&class) && found.is_none_or(|other| other == class) => {
                found = Some(class);
            }
            Some(_) => return Err(wrong_class(name)),
            None => cotypes.push(name),
        }
    }
    let class = found.ok_or_else(|| wrong_class("none of these"))?;
    let types = read_cotypes(&cotypes, class, context, place)?;
    Ok((class, types))
}

fn read_cotypes(cotypes: &[&str], class: Class, context: Context, place: &Place<'_>) -> Result<Types, Error> {
    let mut types = Types::default();
    for &name in cotypes {
        let unknown = || place.error(Fault::UnknownType { got: excerpt(name).into_owned() });
        let on_value = matches!(class, Class::Property | Class::Telemetry);
        let semantic = context.quantitative_types.then(|| SemanticType::named(name, context.language)).flatten();
        match (name, semantic) {
            (_, Some(semantic)) if class.takes_semantic_type(context.language) => match types.semantic {
                Some(other) if other != semantic => {
                    return Err(place.error(Fault::TwoSemanticTypes(other.name, semantic.name)));
                }
                _ => types.semantic = Some(semantic),
            },
            ("Historized", _) if context.historization && on_value => {}
            ("ValueAnnotation", _) if context.annotation && on_value => types.annotation = true,
            ("Override", _) if context.overriding && class == Class::Property => types.overriding = true,
            // Undefined types are free in v2, unless they are identifiers, or terms that mean something else.
            (_, None)
                if context.language == Language::V2 && !name.starts_with("dtmi:") && Schema::named(name).is_none() =>
            {
                types.undefined = true;
            }
            _ => return Err(unknown()),
        }
    }
    if types.overriding && !types.annotation {
        return Err(place.error(Fault::WrongClass {
            wanted: "ValueAnnotation together with Override".to_owned(),
            got: "Override alone".to_owned(),
        }));
    }
    Ok(types)
}

/// Reads an identifier that a document gives to one of its elements, or refers to.
pub(super) fn read_id(text: &str, language: Language, place: &Place<'_>) -> Result<ModelId, Error> {
    let id = ModelId::parse(text).map_err(|invalid| place.error(Fault::BadId(invalid)))?;
    let wrong = |wanted| place.error(Fault::WrongId { id: id.clone(), wanted });
    if language == Language::V2 {
        match id.version() {
            None => return Err(wrong("DTDL v2 needs a version")),
            Some(version) if version.minor != 0 => return Err(wrong("DTDL v2 has no minor versions")),
            Some(_) => {}
        }
    }
    if id.path().starts_with("dtmi:dtdl:") || id.path().starts_with("dtmi:standard:") {
        return Err(wrong("dtmi:dtdl: and dtmi:standard: are reserved for the language"));
    }
    Ok(id)
}

/// `[A-Za-z]([A-Za-z0-9_]*[A-Za-z0-9])?`, at most `limit` characters.
fn is_name(text: &str, limit: usize) -> bool {
    let bytes = text.as_bytes();
    text.len() <= limit
        && bytes.first().is_some_and(u8::is_ascii_alphabetic)
        && bytes.last().is_some_and(u8::is_ascii_alphanumeric)
        && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'_')
}
