//! What every request is asked: who sends it, and about which enrollment.

use std::sync::Arc;

use axum::{
    extract::{FromRequestParts, Path},
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

impl Dps {
    /// Carries out what the sender may do and the gate lets through.
    pub(super) async fn serve<T: Send>(
        &self,
        headers: &HeaderMap,
        operation: Operation,
        subject: &str,
        carry_out: impl FnOnce(&Self) -> Result<T, Error> + Send,
    ) -> Result<T, Error> {
        let (class, operation) = (operation.class(), operation.name());
        let request = Request { service: Service::Dps, operation, class, subject };
        let passage = self.gate.pass(request).await?;
        let result = self.authorize(headers).and_then(|()| carry_out(self));
        if passage.is_answered().await { result } else { Err(Error::NoAnswer) }
    }

    /// The token must be for the host that was asked, and signed with the owner's key.
    fn authorize(&self, headers: &HeaderMap) -> Result<(), Error> {
        let missing = || Error::Unauthorized("send an Authorization header with a shared access signature".to_owned());
        let token = Token::parse(text(headers, header::AUTHORIZATION.as_str()).ok_or_else(missing)?)?;
        if token.policy() != Some(OWNER) {
            return Err(Error::Unauthorized(format!("the token must name the policy {OWNER} in skn")));
        }
        let host = text(headers, header::HOST.as_str()).unwrap_or_default();
        token.check(&[host], [&self.settings.owner_key], self.clock.now())?;
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

/// A page of a list: at most as many as `x-ms-max-item-count` says, behind as many as the continuation says, and the
/// continuation of the next page.
pub(super) fn page<T>(headers: &HeaderMap, all: impl Iterator<Item = T>) -> (Vec<T>, Option<usize>) {
    const PAGE: usize = 1_000;
    let number = |name| text(headers, name).and_then(|text| text.parse::<usize>().ok());
    let size = number("x-ms-max-item-count").unwrap_or(PAGE).clamp(1, PAGE);
    let from = number("x-ms-continuation").unwrap_or_default();
    let mut rest = all.skip(from);
    let items: Vec<T> = rest.by_ref().take(size).collect();
    let more = rest.next().map(|_| from + items.len());
    (items, more)
}
