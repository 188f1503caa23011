//! Device Provisioning Service: enrollments, registration, allocation of a hub by policy or by a webhook.

mod allocation;
mod answer;
mod assignment;
mod attestation;
mod attestation_document;
mod device_call;
mod device_session;
mod enrollment;
mod enrollment_document;
mod enrollments;
mod http;
mod operation;
mod registration;
mod service_api;
#[cfg(test)]
mod tests;

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use serde_json::Value;
use tokio::sync::watch;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::info;
use uuid::Uuid;

pub use self::{
    allocation::Patience,
    attestation::{Attestation, Certificates},
    enrollment::{Allocation, Enrollment, EnrollmentGroup, EnrollmentName, Reprovisioning, Webhook},
    enrollments::Enrollments,
    http::router,
    operation::operations,
    registration::{
        Assignment, Change, Failure, Operation, Outcome, Registration, RegistrationId, RegistrationIdError, State,
        Substatus,
    },
    service_api::OWNER,
};
use self::{
    allocation::Question,
    answer::Refusal,
    attestation::Proof,
    device_call::Admission,
    registration::{OPERATIONS, new_etag},
};
use crate::{
    clock::Clock,
    gate::Gate,
    iot_hub::{HostName, IotHub},
    sas::Key,
    store::Store,
};

/// How the service is set up.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The id scope (`0ne...`).
    pub id_scope: String,
    /// The group that there always is; its keys and its webhook are these, whatever a state says.
    pub enrollment_group: EnrollmentGroup,
    /// The key of the policy [`OWNER`], which opens the service API.
    pub owner_key: Key,
    /// When the webhook is called again.
    pub patience: Patience,
    /// After how long a device is to ask again; whole seconds.
    pub retry_after: Duration,
}

impl Settings {
    /// What makes sure that there is the group: it is made, or gets its keys and its webhook, which may be others than
    /// those of the process before.
    fn enroll(&self, state: &State, now: Timestamp) -> Option<Change> {
        let (name, configured) = self.enrollment_group.enrollment(now);
        let kept = state.enrollments.get(&name);
        let enrollment = match kept {
            None => configured,
            Some(kept) => {
                let custom = matches!(kept.allocation, Allocation::Custom { .. });
                let allocation = if custom { configured.allocation } else { kept.allocation.clone() };
                Enrollment { attestation: configured.attestation, allocation, ..kept.clone() }
            }
        };
        (kept != Some(&enrollment)).then(|| Change::Enroll { name, enrollment: Box::new(enrollment) })
    }
}

/// The service could not be made.
#[derive(Debug, thiserror::Error)]
#[error("DPS has no HTTP client for its webhook: {0}")]
pub struct StartError(#[source] reqwest::Error);

/// The provisioning service.
#[derive(Debug)]
pub struct Dps {
    settings: Settings,
    hubs: Vec<Arc<IotHub>>,
    store: Store<State>,
    client: reqwest::Client,
    assigning: Mutex<()>,
    allocations: TaskTracker,
    /// Ends the allocations that are going on.
    interrupt: watch::Sender<()>,
    clock: Clock,
    gate: Arc<Gate>,
    shutdown: CancellationToken,
}

impl Dps {
    /// The service in front of these linked hubs, going on from `state` (`State::default()` for none). Allocations
    /// that are going on end with `shutdown`.
    ///
    /// # Errors
    /// [`StartError`] if there can be no TLS.
    pub fn new(
        settings: Settings,
        hubs: Vec<Arc<IotHub>>,
        state: impl Into<Store<State>>,
        clock: Clock,
        gate: Arc<Gate>,
        shutdown: CancellationToken,
    ) -> Result<Arc<Self>, StartError> {
        // A redirect would hand the function key to another; a proxy could not reach this machine.
        let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).no_proxy();
        let store = state.into();
        // What was going on when the last process stopped goes on nowhere. The devices are told that there is no such
        // operation and register again.
        let Ok(()) = store.change(|state| {
            let interrupt = state.has_unfinished().then_some(Change::Interrupt);
            let enroll = settings.enroll(state, clock.now());
            Ok::<_, std::convert::Infallible>((interrupt.into_iter().chain(enroll).collect(), ()))
        });
        Ok(Arc::new(Self {
            settings,
            hubs,
            store,
            client: client.build().map_err(StartError)?,
            assigning: Mutex::new(()),
            allocations: TaskTracker::new(),
            interrupt: watch::Sender::new(()),
            clock,
            gate,
            shutdown,
        }))
    }

    /// The id scope.
    pub fn id_scope(&self) -> &str {
        &self.settings.id_scope
    }

    /// Everything it keeps, for persistence.
    pub fn store(&self) -> &Store<State> {
        &self.store
    }

    /// All registration records, in the order of their ids.
    pub fn registrations(&self) -> Vec<Registration> {
        self.store.read(|state| state.registrations().cloned().collect())
    }

    /// How many devices have registered.
    pub fn count(&self) -> usize {
        self.store.read(|state| state.registrations().len())
    }

    /// A device's registration record.
    pub fn registration(&self, id: &RegistrationId) -> Option<Registration> {
        self.store.read(|state| state.get(id).cloned())
    }

    /// A record as the service's API shows it (`registrationId`, `status`, `assignedHub`, ...).
    pub fn registration_state(&self, id: &RegistrationId) -> Option<Value> {
        self.registration(id).map(|record| answer::registration_state(&record, record.last_outcome()))
    }

    /// Forgets all registrations, also those that are going on: their devices are told that there is no such operation.
    /// Enrollments are those of the settings again. The linked hubs forget their devices: none is put into one in between.
    pub fn clear(&self) {
        let _alone = self.assigning();
        self.hubs.iter().for_each(|hub| hub.clear());
        let Ok(()) = self.store.change(|_| {
            let enroll = self.settings.enroll(&State::default(), self.clock.now());
            Ok::<_, std::convert::Infallible>((std::iter::once(Change::Clear).chain(enroll).collect(), ()))
        });
        self.interrupt.send_replace(());
    }

    /// Begins a registration: whether it is done already, and what the device is answered.
    fn register(
        self: &Arc<Self>,
        id: &RegistrationId,
        admission: Admission,
        payload: Option<Value>,
    ) -> Result<(bool, Value), Refusal> {
        // What is begun is either forgotten and interrupted by `clear`, or neither.
        let alone = self.assigning();
        let Admission { enrollment: name, proof } = admission;
        let (operation_id, enrollment) = self.begin(id, &name, &proof)?;
        if !enrollment.enabled {
            self.end(id, &operation_id, Outcome::Disabled);
            return self.operation(id, &operation_id).ok_or(Refusal::NoSuchOperation);
        }
        let (dps, id, operation) = (Arc::clone(self), id.clone(), operation_id.clone());
        let mut interrupted = self.interrupt.subscribe();
        drop(alone);
        self.allocations.spawn(async move {
            tokio::select! {
                () = dps.shutdown.cancelled() => {}
                _ = interrupted.changed() => {}
                () = dps.provision(&id, &operation, (&name, &enrollment), &proof, payload.as_ref()) => {}
            }
        });
        Ok((false, answer::assigning(&operation_id)))
    }

    /// How an operation stands: whether it is done, and what the device is answered. `None` if the device has no such
    /// operation.
    fn operation(&self, id: &RegistrationId, operation_id: &str) -> Option<(bool, Value)> {
        self.store.read(|state| {
            let record = state.get(id)?;
            let operation = record.operation(operation_id)?;
            Some((operation.outcome.is_some(), answer::operation(record, operation)))
        })
    }

    /// Begins an operation; gives its id and the enrollment as it is then.
    fn begin(
        &self,
        id: &RegistrationId,
        name: &EnrollmentName,
        proof: &Proof,
    ) -> Result<(String, Enrollment), Refusal> {
        let random = Uuid::new_v4().as_u64_pair().0;
        let operation = format!("5.{random:016x}.{}", Uuid::new_v4());
        self.store.change(|state| {
            let enrollment = state.enrollments.get(name).cloned().ok_or(Refusal::NotEnrolled)?;
            if state.get(id).is_some_and(|record| record.pending() >= OPERATIONS) {
                return Err(Refusal::Throttled { retry_after_s: self.settings.retry_after.as_secs().max(1) });
            }
            let now = self.clock.now();
            let change = Change::Begin {
                id: id.clone(),
                enrollment: Some(name.clone()),
                by_certificate: matches!(proof, Proof::Certificate(_)),
                operation: operation.clone(),
                now,
                etag: new_etag(),
            };
            Ok((vec![change], (operation, enrollment)))
        })
    }

    /// Has a hub chosen, assigns the device, remembers how it went.
    async fn provision(
        &self,
        id: &RegistrationId,
        operation: &str,
        (name, enrollment): (&EnrollmentName, &Enrollment),
        proof: &Proof,
        payload: Option<&Value>,
    ) {
        let current = self.registration(id).and_then(|record| record.assignment);
        let hubs = self.hubs_for(enrollment, current.as_ref());
        let decided = match &enrollment.allocation {
            Allocation::Custom { webhook, .. } => {
                let shown = enrollment_document::show(name, enrollment, &self.host_names(), Webhook::masked);
                let question = Question {
                    enrollment: (name.member(), shown),
                    id,
                    proof,
                    current: current.as_ref(),
                    payload,
                    linked_hubs: hubs,
                };
                allocation::ask(&self.client, webhook, &self.settings.patience, &question).await
            }
            policy => allocation::choose(policy, id, current.as_ref(), &hubs),
        };
        let assigned = decided.and_then(|decision| {
            let hub = self.assign(id, operation, enrollment, proof, &decision)?;
            Ok((hub, decision.payload))
        });
        match assigned {
            Ok((hub, payload)) => {
                info!(registration = %id, %hub, "assigned a device");
                self.end(id, operation, Outcome::Assigned { payload });
            }
            Err(failure) => {
                info!(registration = %id, code = failure.code, "{}", failure.message);
                self.end(id, operation, Outcome::Failed(failure));
            }
        }
    }

    /// Ends an operation, unless it was forgotten: then a record of that device is another's.
    fn end(&self, id: &RegistrationId, operation: &str, outcome: Outcome) {
        let Ok(()) = self.store.change(|state| {
            let is_known = state.get(id).is_some_and(|record| record.operation(operation).is_some());
            let (now, etag) = (self.clock.now(), new_etag());
            let end = || Change::End { id: id.clone(), operation: operation.to_owned(), outcome, now, etag };
            Ok::<_, std::convert::Infallible>((is_known.then(end).into_iter().collect(), ()))
        });
    }

    /// The hubs to choose from: the enrollment's, else all linked ones, but under "never reprovision" the current one.
    fn hubs_for(&self, enrollment: &Enrollment, current: Option<&Assignment>) -> Vec<&HostName> {
        let kept = current
            .filter(|_| enrollment.reprovisioning == Reprovisioning::Never)
            .and_then(|current| self.hub(&current.hub));
        match kept {
            Some(hub) => vec![hub.host_name()],
            None if enrollment.hubs.is_empty() => self.host_names(),
            None => enrollment.hubs.iter().filter_map(|hub| Some(self.hub(hub.as_str())?.host_name())).collect(),
        }
    }

    /// All linked hubs.
    fn host_names(&self) -> Vec<&HostName> {
        self.hubs.iter().map(|hub| hub.host_name()).collect()
    }

    /// An enrollment as the service's API shows it.
    fn show(&self, name: &EnrollmentName, enrollment: &Enrollment) -> Value {
        enrollment_document::show(name, enrollment, &self.host_names(), |webhook| webhook.0.to_string())
    }

    fn hub(&self, name: &str) -> Option<&Arc<IotHub>> {
        self.hubs.iter().find(|hub| hub.host_name().is(name))
    }

    fn assigning(&self) -> MutexGuard<'_, ()> {
        self.assigning.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
