//! What every request is asked: who sends it, and about which enrollment.

use std::sync::Arc;

use axum::{
    Extension,
    extract::{FromRequestParts, Path, rejection::ExtensionRejection},
    http::{HeaderMap, header, request::Parts},
};
use serde::Deserialize;
use serde_json::Value;

use super::{OWNER, answer::Error};
use crate::{
    dps::{Dps, EnrollmentName, operation::Operation},
    gate::{Request, Service},
    sas::Token,
};

/// A request: whom it asks for what, and its headers, which say who asks.
pub(super) struct Call {
    dps: Arc<Dps>,
    operation: Operation,
    pub(super) headers: HeaderMap,
}

impl FromRequestParts<Arc<Dps>> for Call {
    type Rejection = ExtensionRejection;

    async fn from_request_parts(parts: &mut Parts, dps: &Arc<Dps>) -> Result<Self, ExtensionRejection> {
        let Extension(operation) = Extension::from_request_parts(parts, dps).await?;
        Ok(Self { dps: Arc::clone(dps), operation, headers: parts.headers.clone() })
    }
}

impl Call {
    /// Carries out what the sender may do and the gate lets through. `subject` is the enrollment or the device that it
    /// is about, if it is one.
    pub(super) async fn serve<T: Send>(
        &self,
        subject: &str,
        carry_out: impl FnOnce(&Dps) -> Result<T, Error> + Send,
    ) -> Result<T, Error> {
        let (class, operation) = (self.operation.class(), self.operation.name());
        let request = Request { service: Service::Dps, operation, class, subject };
        let passage = self.dps.gate.pass(request).await?;
        let result = self.authorize().and_then(|()| carry_out(&self.dps));
        if passage.is_answered().await { result } else { Err(Error::NoAnswer) }
    }

    /// The token must be for the host that was asked, and signed with the owner's key.
    fn authorize(&self) -> Result<(), Error> {
        let missing = || Error::Unauthorized("send an Authorization header with a shared access signature".to_owned());
        let token = Token::parse(text(&self.headers, header::AUTHORIZATION.as_str()).ok_or_else(missing)?)?;
        if token.policy() != Some(OWNER) {
            return Err(Error::Unauthorized(format!("the token must name the policy {OWNER} in skn")));
        }
        let host = text(&self.headers, header::HOST.as_str()).unwrap_or_default();
        token.check(&[host], [&self.dps.settings.owner_key], self.dps.clock.now())?;
        Ok(())
    }
}

#[derive(Debug, Deserialize)]
struct Named {
    group: Option<String>,
    registration: Option<String>,
}

/// The enrollment that the path names.
pub(super) struct About(pub(super) EnrollmentName);

impl FromRequestParts<Arc<Dps>> for About {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, dps: &Arc<Dps>) -> Result<Self, Error> {
        let named = Path::<Named>::from_request_parts(parts, dps).await;
        let Path(named) = named.map_err(|rejection| Error::Invalid(rejection.body_text()))?;
        match named {
            Named { group: Some(id), .. } => Ok(Self(EnrollmentName::Group(checked(id)?))),
            Named { registration: Some(id), .. } => Ok(Self(EnrollmentName::Individual(id.parse()?))),
            Named { group: None, registration: None } => Err(Error::Invalid("the path names no enrollment".to_owned())),
        }
    }
}

/// Groups are named as devices are.
pub(super) fn checked(id: String) -> Result<String, Error> {
    id.parse::<crate::dps::RegistrationId>()?;
    Ok(id)
}

/// The ETag of `If-Match`, without quotes; `*` stands for any.
pub(super) fn if_match(headers: &HeaderMap) -> Option<&str> {
    text(headers, header::IF_MATCH.as_str()).map(|etag| etag.trim().trim_matches('"'))
}

pub(super) fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

pub(super) fn json(body: &[u8]) -> Result<Value, Error> {
    serde_json::from_slice(body).map_err(|error| Error::Invalid(format!("the body is not JSON: {error}")))
}

/// A page of a list that is in the order of its keys: at most as many as `x-ms-max-item-count` says, behind the key that
/// the continuation names, whatever came and went since the page before; and the continuation of the next page.
pub(super) fn page<T>(headers: &HeaderMap, all: impl Iterator<Item = (String, T)>) -> (Vec<T>, Option<String>) {
    const PAGE: usize = 1_000;
    let size = text(headers, "x-ms-max-item-count").and_then(|text| text.parse::<usize>().ok());
    let after = text(headers, "x-ms-continuation").unwrap_or_default();
    // No key is empty.
    let mut rest = all.skip_while(|(key, _)| key.as_str() <= after);
    let page: Vec<(String, T)> = rest.by_ref().take(size.unwrap_or(PAGE).clamp(1, PAGE)).collect();
    let more = rest.next().and(page.last()).map(|(key, _)| key.clone());
    (page.into_iter().map(|(_, item)| item).collect(), more)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_and_goes_between_two_pages_moves_nothing_else() {
        let look = |continuation: Option<String>, keys: &[&str]| {
            let size = ("x-ms-max-item-count", Some("2".to_owned()));
            let headers = [size, ("x-ms-continuation", continuation)].into_iter();
            let headers = headers.filter_map(|(name, value)| Some((name.parse().unwrap(), value?.parse().unwrap())));
            let (items, more) = page(&headers.collect(), keys.iter().map(|key| ((*key).to_owned(), (*key).to_owned())));
            (items.join(" "), more)
        };
        let (first, more) = look(None, &["a", "b", "c", "d", "e"]);
        assert_eq!((first.as_str(), more.as_deref()), ("a b", Some("b")));
        let (second, more) = look(more, &["aa", "c", "d", "e"]);
        assert_eq!((second.as_str(), more.as_deref()), ("c d", Some("d")));
        assert_eq!(look(more, &["aa", "b", "c", "e"]), ("e".to_owned(), None));
    }
}
