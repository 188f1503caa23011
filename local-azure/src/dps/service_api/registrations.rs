//! Registration records.

use axum::{http::StatusCode, response::Response};

use super::{
    answer::{Error, Tagged},
    enrollments::listed,
    request::{About, Call, page},
};
use crate::dps::{EnrollmentName, Registration, RegistrationId, answer, registration::Change};

/// Whose registration the path names.
fn device(name: EnrollmentName) -> Result<RegistrationId, Error> {
    match name {
        EnrollmentName::Individual(id) => Ok(id),
        EnrollmentName::Group(id) => Ok(id.parse()?),
    }
}

pub(super) async fn get(call: Call, About(name): About) -> Result<Tagged, Error> {
    let id = device(name)?;
    call.serve(id.as_str(), |dps| {
        dps.registration_state(&id).map(Tagged).ok_or_else(|| Error::RegistrationNotFound(id.to_string()))
    })
    .await
}

/// The device stays in its hub; when it registers again, it does so for the first time.
pub(super) async fn delete(call: Call, About(name): About) -> Result<StatusCode, Error> {
    let id = device(name)?;
    call.serve(id.as_str(), |dps| {
        dps.store.change(|state| {
            state.get(&id).ok_or_else(|| Error::RegistrationNotFound(id.to_string()))?;
            Ok((vec![Change::Forget { id: id.clone() }], StatusCode::NO_CONTENT))
        })
    })
    .await
}

/// The registrations under a group.
pub(super) async fn query(call: Call, About(name): About) -> Result<Response, Error> {
    call.serve(name.as_str(), |dps| {
        dps.store.read(|state| {
            if state.enrollments.get(&name).is_none() {
                return Err(Error::GroupNotFound(name.as_str().to_owned()));
            }
            let under = state.registrations().filter(|record| record.enrollment.as_ref() == Some(&name));
            let show = |record: &Registration| answer::registration_state(record, record.last_outcome());
            let shown = under.map(|record| (record.id.lower(), show(record)));
            Ok(listed(page(&call.headers, shown), "deviceRegistration"))
        })
    })
    .await
}
