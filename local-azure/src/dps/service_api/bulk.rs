//! Several enrollments at once (DPS: service REST API 2021-10-01, Individual Enrollment and Enrollment Group - Run Bulk
//! Operation).

use axum::{Json, body::Bytes};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    answer::Error,
    enrollments::Condition,
    request::{Call, checked, json},
};
use crate::dps::{Dps, EnrollmentName};

/// The most enrollments in one request.
const MOST: usize = 10;

/// What becomes of them.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Mode {
    Create,
    Update,
    UpdateIfMatchETag,
    Delete,
}

/// How the two kinds of enrollment are written.
#[derive(Debug)]
struct Kind {
    /// The member of the request that holds them.
    list: &'static str,
    /// The member of each that names it.
    id: &'static str,
    name: fn(&str) -> Result<EnrollmentName, Error>,
}

const GROUPS: Kind = Kind {
    list: "enrollmentGroups",
    id: "enrollmentGroupId",
    name: |id| Ok(EnrollmentName::Group(checked(id.to_owned())?)),
};
const INDIVIDUAL: Kind =
    Kind { list: "enrollments", id: "registrationId", name: |id| Ok(EnrollmentName::Individual(id.parse()?)) };

pub(super) async fn groups(call: Call, body: Bytes) -> Result<Json<Value>, Error> {
    call.serve("", |dps| run(dps, &GROUPS, &body)).await
}

pub(super) async fn individual(call: Call, body: Bytes) -> Result<Json<Value>, Error> {
    call.serve("", |dps| run(dps, &INDIVIDUAL, &body)).await
}

/// Does with each on its own what the request says; the answer tells of those with which that went wrong.
fn run(dps: &Dps, kind: &Kind, body: &[u8]) -> Result<Json<Value>, Error> {
    let (mode, items) = read(kind, body)?;
    let mut errors = Vec::new();
    for (name, document) in &items {
        if let Err(error) = change(dps, mode, name, document) {
            errors.push(json!({
                (kind.id): name.as_str(),
                "errorCode": error.code(),
                "errorStatus": error.to_string(),
            }));
        }
    }
    Ok(Json(json!({ "isSuccessful": errors.is_empty(), "errors": errors })))
}

/// The mode, and the enrollments with their names. A request that is not understood whole changes nothing.
fn read(kind: &Kind, body: &[u8]) -> Result<(Mode, Vec<(EnrollmentName, Value)>), Error> {
    let mut request = json(body)?;
    let member = |name: &str| request.get_mut(name).map(Value::take).unwrap_or_default();
    let [mode, list] = ["mode", kind.list].map(member);
    let mode = Mode::deserialize(mode)
        .map_err(|_| Error::Invalid("mode must be create, update, updateIfMatchETag or delete".to_owned()))?;
    let Value::Array(items) = list else { return Err(Error::Invalid(format!("{} must be an array", kind.list))) };
    if items.len() > MOST {
        return Err(Error::Invalid(format!("{} enrollments, at most {MOST} are allowed", items.len())));
    }
    let named = |item: Value| {
        let id = item.get(kind.id).and_then(Value::as_str);
        let id = id.ok_or_else(|| Error::Invalid(format!("each enrollment must have a {}", kind.id)))?;
        Ok(((kind.name)(id)?, item))
    };
    Ok((mode, items.into_iter().map(named).collect::<Result<_, Error>>()?))
}

fn change(dps: &Dps, mode: Mode, name: &EnrollmentName, document: &Value) -> Result<(), Error> {
    match mode {
        Mode::Create => dps.enroll(name, document, Condition::Absent).map(drop),
        Mode::Update => dps.enroll(name, document, Condition::Present).map(drop),
        Mode::UpdateIfMatchETag => {
            let etag = document.get("etag").and_then(Value::as_str);
            let etag = etag.ok_or_else(|| Error::Invalid("updateIfMatchETag wants the etag".to_owned()))?;
            dps.enroll(name, document, Condition::of(etag)).map(drop)
        }
        Mode::Delete => dps.unenroll(name, Condition::Present),
    }
}
