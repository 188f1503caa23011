//! Enrollments of groups and of single devices.

use axum::{
    Json,
    body::Bytes,
    http::StatusCode,
    response::{IntoResponse as _, Response},
};
use serde_json::Value;

use super::{
    answer::{Error, Tagged},
    request::{About, Call, if_match, json, page},
};
use crate::dps::{Dps, Enrollment, EnrollmentName, Enrollments, enrollment_document, registration::Change};

fn not_found(name: &EnrollmentName) -> Error {
    match name {
        EnrollmentName::Group(id) => Error::GroupNotFound(id.clone()),
        EnrollmentName::Individual(id) => Error::EnrollmentNotFound(id.to_string()),
    }
}

pub(super) async fn get(call: Call, About(name): About) -> Result<Tagged, Error> {
    call.serve(name.as_str(), |dps| {
        dps.store.read(|state| {
            let enrollment = state.enrollments.get(&name).ok_or_else(|| not_found(&name))?;
            Ok(Tagged(dps.show(&name, enrollment)))
        })
    })
    .await
}

/// Without `If-Match` a PUT only creates, with it, it only updates.
pub(super) async fn put(call: Call, About(name): About, body: Bytes) -> Result<Tagged, Error> {
    call.serve(name.as_str(), |dps| {
        let condition = if_match(&call.headers).map_or(Condition::Absent, Condition::of);
        dps.enroll(&name, &json(&body)?, condition).map(Tagged)
    })
    .await
}

/// Also forgets the registrations under it; devices stay in their hubs.
pub(super) async fn delete(call: Call, About(name): About) -> Result<StatusCode, Error> {
    call.serve(name.as_str(), |dps| {
        let condition = if_match(&call.headers).map_or(Condition::Present, Condition::of);
        dps.unenroll(&name, condition).map(|()| StatusCode::NO_CONTENT)
    })
    .await
}

/// What must be true of an enrollment that is to change.
#[derive(Debug, Clone, Copy)]
pub(super) enum Condition<'a> {
    /// There is none.
    Absent,
    /// There is one.
    Present,
    /// There is one with this ETag, which stands here without quotes.
    ETag(&'a str),
}

impl<'a> Condition<'a> {
    /// What an ETag stands for: `*` for any.
    pub(super) fn of(etag: &'a str) -> Self {
        match etag.trim_matches('"') {
            "*" => Self::Present,
            etag => Self::ETag(etag),
        }
    }

    fn check(self, name: &EnrollmentName, found: Option<&Enrollment>) -> Result<(), Error> {
        match (self, found) {
            (Self::Absent, None) | (Self::Present, Some(_)) => Ok(()),
            (Self::ETag(etag), Some(found)) if found.etag == etag => Ok(()),
            (Self::ETag(_), Some(_)) => Err(Error::PreconditionFailed),
            (Self::Absent, Some(_)) => Err(Error::Exists(name.as_str().to_owned())),
            (Self::Present | Self::ETag(_), None) => Err(not_found(name)),
        }
    }
}

impl Dps {
    /// Makes or changes an enrollment; gives it as it is then.
    pub(super) fn enroll(
        &self,
        name: &EnrollmentName,
        document: &Value,
        condition: Condition<'_>,
    ) -> Result<Value, Error> {
        self.store.change(|state| {
            let before = state.enrollments.get(name);
            condition.check(name, before)?;
            let enrollment = enrollment_document::read(name, document, before, &self.host_names(), self.clock.now());
            let enrollment = enrollment.map_err(Error::Invalid)?;
            let shown = self.show(name, &enrollment);
            Ok((vec![Change::Enroll { name: name.clone(), enrollment: Box::new(enrollment) }], shown))
        })
    }

    /// Deletes an enrollment, with the registrations under it.
    pub(super) fn unenroll(&self, name: &EnrollmentName, condition: Condition<'_>) -> Result<(), Error> {
        self.store.change(|state| {
            condition.check(name, state.enrollments.get(name))?;
            Ok((vec![Change::Unenroll { name: name.clone() }], ()))
        })
    }
}

/// How an enrollment's devices prove who they are, with keys.
pub(super) async fn attestation(call: Call, About(name): About) -> Result<Json<Value>, Error> {
    call.serve(name.as_str(), |dps| {
        dps.store.read(|state| {
            let enrollment = state.enrollments.get(&name).ok_or_else(|| not_found(&name))?;
            Ok(Json(enrollment.attestation.show_all()))
        })
    })
    .await
}

pub(super) async fn groups(call: Call, body: Bytes) -> Result<Response, Error> {
    list(&call, &body, "enrollmentGroup", |all| all.groups().collect()).await
}

pub(super) async fn individual(call: Call, body: Bytes) -> Result<Response, Error> {
    list(&call, &body, "enrollment", |all| all.individual().collect()).await
}

/// A page of the enrollments of one kind.
async fn list(
    call: &Call,
    body: &[u8],
    kind: &'static str,
    of_kind: fn(&Enrollments) -> Vec<(EnrollmentName, &Enrollment)>,
) -> Result<Response, Error> {
    call.serve("", |dps| {
        everything(body)?;
        Ok(dps.store.read(|state| {
            let all = of_kind(&state.enrollments).into_iter();
            let shown = all.map(|(name, enrollment)| (name.key(), dps.show(&name, enrollment)));
            listed(page(&call.headers, shown), kind)
        }))
    })
    .await
}

/// The one query that is answered.
fn everything(body: &[u8]) -> Result<(), Error> {
    let request = json(body)?;
    let query = request.get("query").and_then(Value::as_str).unwrap_or_default();
    let words: Vec<String> = query.split_whitespace().map(str::to_ascii_lowercase).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["*"] | ["select", "*"] | ["select", "*", "from", _] => Ok(()),
        _ => Err(Error::Invalid("local-azure answers no other query than SELECT *".to_owned())),
    }
}

/// A page with the headers that tell what it holds and whether there is more.
pub(super) fn listed((items, more): (Vec<Value>, Option<String>), kind: &'static str) -> Response {
    let continuation = more.map(|last| [("x-ms-continuation", last)]);
    ([("x-ms-item-type", kind)], continuation.map(axum::response::AppendHeaders), Json(Value::from(items)))
        .into_response()
}
