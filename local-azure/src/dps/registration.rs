//! Registrations: the provisioning service's state.

use std::{
    collections::{BTreeMap, VecDeque},
    fmt,
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use super::{Enrollment, EnrollmentName, Enrollments};
use crate::{iot_hub::DeviceId, store};

/// Operations that are remembered for a device.
pub(super) const OPERATIONS: usize = 16;

/// A registration id is not one that DPS takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a registration id has 1 to 128 characters, ASCII letters and digits and - . _ :, and ends with a letter, a digit \
     or - (DPS: terminology, registration id)"
)]
pub struct RegistrationIdError;

/// What a device calls itself towards DPS. Ids that differ only in case are one device.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RegistrationId(String);

impl RegistrationId {
    /// The id as the device spells it.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The spelling that is the same for all of its spellings.
    pub fn lower(&self) -> String {
        self.0.to_ascii_lowercase()
    }

    /// The device's name in its hub: the registration id, as group enrollments have it.
    pub(super) fn device_id(&self) -> Result<DeviceId, crate::iot_hub::IdError> {
        self.0.parse()
    }
}

impl TryFrom<String> for RegistrationId {
    type Error = RegistrationIdError;

    fn try_from(id: String) -> Result<Self, RegistrationIdError> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:".contains(&byte);
        let ends = id.bytes().last().is_some_and(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        if id.len() <= 128 && ends && id.bytes().all(allowed) { Ok(Self(id)) } else { Err(RegistrationIdError) }
    }
}

impl std::str::FromStr for RegistrationId {
    type Err = RegistrationIdError;

    fn from_str(id: &str) -> Result<Self, RegistrationIdError> {
        id.to_owned().try_into()
    }
}

impl From<RegistrationId> for String {
    fn from(id: RegistrationId) -> Self {
        id.0
    }
}

impl PartialEq for RegistrationId {
    fn eq(&self, other: &Self) -> bool {
        self.0.eq_ignore_ascii_case(&other.0)
    }
}

impl Eq for RegistrationId {}

impl fmt::Display for RegistrationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What DPS keeps: one record a device, under its id in lower case.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct State {
    /// Who may register.
    #[serde(default)]
    pub enrollments: Enrollments,
    registrations: BTreeMap<String, Registration>,
}

/// A device's record.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Registration {
    /// The id as it was first spelled; also the device's name in its hub.
    pub id: RegistrationId,
    /// When the device first registered.
    pub created: Timestamp,
    /// When the record last changed.
    pub updated: Timestamp,
    /// The record's ETag.
    pub etag: String,
    /// The hub, once there is one.
    pub assignment: Option<Assignment>,
    /// The enrollment under which the device last registered.
    #[serde(default)]
    pub enrollment: Option<EnrollmentName>,
    /// Whether it did so with a certificate.
    #[serde(default)]
    pub by_certificate: bool,
    /// The latest operations, the oldest first.
    pub operations: VecDeque<Operation>,
}

impl Registration {
    /// What the last operation that ended came to.
    pub fn last_outcome(&self) -> Option<&Outcome> {
        self.operations.iter().rev().find_map(|operation| operation.outcome.as_ref())
    }

    /// The operation of that id, while it is remembered.
    pub(super) fn operation(&self, id: &str) -> Option<&Operation> {
        self.operations.iter().find(|operation| operation.id == id)
    }

    /// How many operations are still going on.
    pub fn pending(&self) -> usize {
        self.operations.iter().filter(|operation| operation.outcome.is_none()).count()
    }
}

/// Where a device was assigned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Assignment {
    /// The hub's host name.
    pub hub: String,
    /// The device's name there.
    pub device: DeviceId,
    /// How it came there.
    pub substatus: Substatus,
}

/// How a device came to its hub (DPS REST API: registration substatus).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Substatus {
    /// It was assigned for the first time.
    InitialAssignment,
    /// It moved, with its data.
    DeviceDataMigrated,
    /// It moved, and began anew.
    DeviceDataReset,
}

/// One call of register.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Operation {
    /// Its id, by which the device asks how it goes.
    pub id: String,
    /// What it came to; nothing while it goes on.
    pub outcome: Option<Outcome>,
}

/// What a call of register came to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "status")]
pub enum Outcome {
    /// The device has a hub.
    Assigned {
        /// What the allocation said to the device.
        payload: Option<Value>,
    },
    /// It has none.
    Failed(Failure),
    /// Its enrollment is disabled.
    Disabled,
}

/// Why a device got no hub, as it is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Failure {
    /// DPS' error code.
    pub code: u32,
    /// Its text.
    pub message: String,
}

/// A step of DPS' state.
#[derive(Debug, Serialize, Deserialize)]
pub enum Change {
    /// Operations that have not ended are forgotten.
    Interrupt,
    /// All records and enrollments are gone.
    Clear,
    /// A device called register.
    Begin {
        /// The device.
        id: RegistrationId,
        /// The enrollment under which it may.
        #[serde(default)]
        enrollment: Option<EnrollmentName>,
        /// Whether it has a certificate, not keys.
        #[serde(default)]
        by_certificate: bool,
        /// The operation's id.
        operation: String,
        /// When.
        now: Timestamp,
        /// The record's next ETag.
        etag: String,
    },
    /// A device has a hub.
    Assign {
        /// The device.
        id: RegistrationId,
        /// Where.
        assignment: Assignment,
    },
    /// An operation ended.
    End {
        /// The device.
        id: RegistrationId,
        /// The operation.
        operation: String,
        /// What it came to.
        outcome: Outcome,
        /// When.
        now: Timestamp,
        /// The record's next ETag.
        etag: String,
    },
    /// Who may register changes.
    Enroll {
        /// Which enrollment.
        name: EnrollmentName,
        /// What it is from now on.
        enrollment: Box<Enrollment>,
    },
    /// An enrollment ends; the registrations under it are forgotten.
    Unenroll {
        /// Which one.
        name: EnrollmentName,
    },
    /// A registration is forgotten.
    Forget {
        /// The device's.
        id: RegistrationId,
    },
}

/// A new ETag in the form that the service's registrations have: a quoted UUID in Base64.
pub(super) fn new_etag() -> String {
    BASE64_STANDARD.encode(format!("\"{}\"", Uuid::new_v4()))
}

impl State {
    /// The record of a device.
    pub fn get(&self, id: &RegistrationId) -> Option<&Registration> {
        self.registrations.get(&id.lower())
    }

    /// All records in the order of their ids.
    pub fn registrations(&self) -> impl ExactSizeIterator<Item = &Registration> {
        self.registrations.values()
    }

    /// Whether some operation has not ended.
    pub(super) fn has_unfinished(&self) -> bool {
        let operations = self.registrations.values().flat_map(|registration| &registration.operations);
        operations.into_iter().any(|operation| operation.outcome.is_none())
    }
}

impl store::State for State {
    type Change = Change;

    fn apply(&mut self, change: Change) {
        match change {
            Change::Interrupt => {
                for registration in self.registrations.values_mut() {
                    registration.operations.retain(|operation| operation.outcome.is_some());
                }
            }
            Change::Clear => *self = Self::default(),
            Change::Begin { id, enrollment, by_certificate, operation, now, etag } => {
                let record = self.registrations.entry(id.lower()).or_insert_with(|| Registration {
                    id,
                    created: now,
                    updated: now,
                    etag,
                    assignment: None,
                    enrollment: None,
                    by_certificate,
                    operations: VecDeque::new(),
                });
                if record.operations.len() == OPERATIONS {
                    // One that goes on would end unheard: none begins while all of them do.
                    let ended = record.operations.iter().position(|operation| operation.outcome.is_some());
                    record.operations.remove(ended.unwrap_or_default());
                }
                record.enrollment = enrollment;
                record.by_certificate = by_certificate;
                record.operations.push_back(Operation { id: operation, outcome: None });
            }
            Change::Assign { id, assignment } => {
                if let Some(record) = self.registrations.get_mut(&id.lower()) {
                    record.assignment = Some(assignment);
                }
            }
            Change::End { id, operation, outcome, now, etag } => {
                if let Some(record) = self.registrations.get_mut(&id.lower()) {
                    record.updated = now;
                    record.etag = etag;
                    if let Some(operation) = record.operations.iter_mut().find(|known| known.id == operation) {
                        operation.outcome = Some(outcome);
                    }
                }
            }
            Change::Enroll { name, enrollment } => self.enrollments.put(name, *enrollment),
            Change::Unenroll { name } => {
                self.enrollments.remove(&name);
                self.registrations.retain(|_, record| record.enrollment.as_ref() != Some(&name));
            }
            Change::Forget { id } => {
                self.registrations.remove(&id.lower());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registration_ids_are_what_dps_takes() {
        for id in ["a", "Sensor-A.1", "a:b_c-", &"x".repeat(128)] {
            assert!(id.parse::<RegistrationId>().is_ok(), "{id}");
        }
        for id in ["", "a.", "a/b", "a b", "a+b", "é", &"x".repeat(129)] {
            assert!(id.parse::<RegistrationId>().is_err(), "{id}");
        }
    }

    #[test]
    fn spellings_of_one_id_are_equal_and_every_id_is_a_device_id() {
        let id: RegistrationId = "Sensor-A.1".parse().unwrap();
        assert_eq!(id, "sensor-a.1".parse().unwrap());
        assert_eq!(id.device_id().unwrap().as_str(), "Sensor-A.1");
    }
}
