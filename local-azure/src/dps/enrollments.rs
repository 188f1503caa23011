//! All enrollments: a part of the provisioning service's state.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Enrollment, EnrollmentName, RegistrationId};

/// The enrollments, those of single devices under their registration ids in lower case.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Enrollments {
    groups: BTreeMap<String, Enrollment>,
    individual: BTreeMap<String, Individual>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Individual {
    id: RegistrationId,
    enrollment: Enrollment,
}

impl EnrollmentName {
    /// What enrollments of one kind are in the order of.
    pub(super) fn key(&self) -> String {
        match self {
            Self::Group(id) => id.clone(),
            Self::Individual(id) => id.lower(),
        }
    }
}

impl Enrollments {
    /// The enrollment of this name.
    pub fn get(&self, name: &EnrollmentName) -> Option<&Enrollment> {
        match name {
            EnrollmentName::Group(id) => self.groups.get(id),
            EnrollmentName::Individual(id) => self.individual.get(&id.lower()).map(|found| &found.enrollment),
        }
    }

    /// All groups in the order of their ids.
    pub fn groups(&self) -> impl Iterator<Item = (EnrollmentName, &Enrollment)> {
        self.groups.iter().map(|(id, enrollment)| (EnrollmentName::Group(id.clone()), enrollment))
    }

    /// All enrollments of single devices in the order of their ids.
    pub fn individual(&self) -> impl Iterator<Item = (EnrollmentName, &Enrollment)> {
        let name = |found: &Individual| EnrollmentName::Individual(found.id.clone());
        self.individual.values().map(move |found| (name(found), &found.enrollment))
    }

    /// Under which enrollments a device may register: its own, else any group.
    pub(super) fn for_device(&self, id: &RegistrationId) -> Vec<(EnrollmentName, &Enrollment)> {
        let own = EnrollmentName::Individual(id.clone());
        match self.get(&own) {
            Some(enrollment) => vec![(own, enrollment)],
            None => self.groups().collect(),
        }
    }

    pub(super) fn put(&mut self, name: EnrollmentName, enrollment: Enrollment) {
        match name {
            EnrollmentName::Group(id) => {
                self.groups.insert(id, enrollment);
            }
            EnrollmentName::Individual(id) => {
                self.individual.insert(id.lower(), Individual { id, enrollment });
            }
        }
    }

    pub(super) fn remove(&mut self, name: &EnrollmentName) {
        match name {
            EnrollmentName::Group(id) => {
                self.groups.remove(id);
            }
            EnrollmentName::Individual(id) => {
                self.individual.remove(&id.lower());
            }
        }
    }
}
