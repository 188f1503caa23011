//! `DpsAdtAllocationFunc`: DPS asks it where a registering device belongs ("How to use custom
//! allocation policies" of the Azure DPS documentation).
//!
//! It finds or makes the device's digital twin, chooses its hub, and answers with the initial device
//! twin, whose tags name the digital twin. [`AllocationRequest`] is decoded, what to write is
//! [planned](Registration) without I/O, and then applied.
//!
//! The status tells DPS what to do: 400 fails the registration at once, 503 makes DPS ask again.

mod answer;
mod apply;
mod failure;
mod hub;
mod plan;
mod request;

use std::time::Duration;

use async_trait::async_trait;
use axum::http::StatusCode;
use jiff::Timestamp;
use tokio::time::Instant;

pub use answer::AllocationAnswer;
pub use failure::Failure;
pub use hub::{HubHost, LinkedHubs};
pub use plan::{Models, Moment, Plan, Registration, Rejection, Seen, choose_twin};
pub use request::{AllocationRequest, InitialTwin, Malformed};

use crate::binding::{Directory, SourceTimes};
use crate::digital_twins::Client;
use crate::host::{HttpAnswer, HttpFunction, HttpRequest, InvocationId};
use crate::settings;

/// The function's name, and its route.
pub const NAME: &str = "DpsAdtAllocationFunc";

/// How long a call takes at most. DPS documents no limit of its own; devices wait for the answer.
const DEADLINE: Duration = Duration::from_secs(4);

/// The function.
#[derive(Debug, Clone)]
pub struct DpsAdtAllocation {
    client: Client,
    directory: Directory,
    settings: settings::Allocation,
    /// Whether new twins may have source times.
    source_times_of_new_twins: SourceTimes,
}

impl DpsAdtAllocation {
    /// The function, as the settings want it. What `directory` remembers of a twin is forgotten
    /// when its device registers.
    #[must_use]
    pub fn new(client: Client, directory: Directory, settings: settings::Allocation) -> Self {
        Self { client, directory, settings, source_times_of_new_twins: SourceTimes::of_new_twins() }
    }

    async fn allocate(&self, body: &[u8], deadline: Instant) -> Result<AllocationAnswer, Failure> {
        let began = Timestamp::now();
        let request = AllocationRequest::decode(body)?;
        if !self.settings.models.allows(&request.model) {
            return Err(Rejection::ModelNotAllowed { asked: request.model }.into());
        }
        let current = request.current_hub.as_ref();
        let hub = request.linked_hubs.choose(self.settings.hub_policy, &request.registration_id, current);
        let registration = Registration { request: &request, hub, began };

        let settled = tokio::time::timeout_at(deadline, self.settle(registration)).await;
        let settled = settled.map_err(|_| Failure::Deadline { after: DEADLINE })??;
        if settled.is_new
            && let Some(parent) = registration.parent(self.settings.parent_from_device)
        {
            self.put_below(parent, &settled.twin, deadline).await;
        }
        tracing::info!(
            registration = %request.registration_id,
            device = %request.device_id,
            hub = %hub,
            twin = %settled.twin,
            model = %settled.model,
            new = settled.is_new,
            "device allocated"
        );
        Ok(AllocationAnswer::new(hub, &request.initial_twin, &settled.twin, &settled.model))
    }
}

#[async_trait]
impl HttpFunction for DpsAdtAllocation {
    /// Answers a request of DPS: 200 with an [`AllocationAnswer`], 400 or 503 with a reason, nothing else.
    async fn run(&self, request: HttpRequest, _: &InvocationId) -> HttpAnswer {
        let deadline = Instant::now() + DEADLINE;
        let answer = self.allocate(&request.body, deadline).await;
        let answer = answer.and_then(|answer| Ok(HttpAnswer::json(StatusCode::OK, &answer)?));
        answer.unwrap_or_else(|failure| {
            let (status, reason) = (failure.status(), failure.reason());
            tracing::warn!(status = status.as_u16(), "registration failed: {reason}");
            HttpAnswer::reason(status, &reason)
        })
    }
}

#[cfg(test)]
mod tests;
