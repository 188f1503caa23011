//! What to do about a registration: pure decisions.

use std::borrow::Borrow;

use dtdl::{Contents, ModelId, ModelSet};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::hub::HubHost;
use super::request::AllocationRequest;
use crate::binding::{Bookkeeping, Choice, HUB_DEVICE_ID, HUB_NAME, HUB_REGISTRATION_ID, Rank, choose, registered_at};
use crate::device::{DeviceId, HubName};
use crate::digital_twins::{ETag, NewTwin, Patch, Twin, TwinId};
use crate::settings::ModelChange;

/// How far ahead of our clock the time of another instance's registration may be.
const CLOCK_SKEW: SignedDuration = SignedDuration::from_secs(5);

/// A registration that is refused for good. One line: what is wrong, and what to mend.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// The registration id cannot be the id of a twin.
    #[error("no twin can have the name of the device: {reason}")]
    NoTwinId {
        /// Why not.
        reason: String,
    },
    /// `ALLOCATION_MODELS` does not list the model.
    #[error("model {asked} is not one that devices may ask for: add it to ALLOCATION_MODELS")]
    ModelNotAllowed {
        /// The model asked for.
        asked: ModelId,
    },
    /// Azure Digital Twins does not have the model.
    #[error("model {model} is not in Azure Digital Twins: upload it")]
    NoSuchModel {
        /// The model asked for, or the model of the twin.
        model: ModelId,
    },
    /// The device's twin has a model that is not the asked one, nor extends it.
    #[error("twin {twin} has model {has}, which is not {asked} nor extends it{hint}")]
    OtherModel {
        /// The device's twin.
        twin: TwinId,
        /// Its model.
        has: ModelId,
        /// The model asked for.
        asked: ModelId,
        /// What a setting could change.
        hint: &'static str,
    },
    /// The twin that has the device's name is another registration's.
    #[error("twin {twin} is bound to registration {registration:?}: correct its HubRegistrationId or its id")]
    OtherRegistration {
        /// The twin.
        twin: TwinId,
        /// The registration that it is bound to.
        registration: String,
    },
    /// The twin that has the device's name is another device's.
    #[error("twin {twin} is bound to device {device:?}: correct its HubDeviceId or its id")]
    OtherDevice {
        /// The twin.
        twin: TwinId,
        /// The device that it is bound to.
        device: String,
    },
}

/// A twin as it was seen.
#[derive(Debug, Clone, PartialEq)]
pub struct Seen {
    /// The twin.
    pub twin: Twin,
    /// Read by its id, not found by a query: queries lag behind, and return deleted twins too.
    pub is_fresh: bool,
}

impl Borrow<Twin> for &Seen {
    fn borrow(&self) -> &Twin {
        &self.twin
    }
}

/// Which of the twins in sight is the registering device's; none means that it needs a new one.
///
/// # Errors
/// The twin that has the device's name belongs to somebody else.
pub fn choose_twin<'a>(request: &AllocationRequest, seen: &'a [Seen]) -> Result<Option<Choice<&'a Seen>>, Rejection> {
    let own_id = request.registration_id.lower();
    let own = seen.iter().map(|seen| &seen.twin).find(|twin| twin.id().as_str() == own_id);
    let claim = |seen: &'a Seen| Some((Rank::of_registration(&seen.twin, &request.registration_id)?, seen));
    let Some(choice) = choose(seen.iter().filter_map(claim)) else {
        // No claim, and yet it is there: somebody else's.
        return own.map_or(Ok(None), |twin| Err(other_registration(twin)));
    };
    if choice.rank == Rank::OwnId
        && let Some(device) = choice.chosen.twin.string_property(HUB_DEVICE_ID.as_str())
        && !device.is_empty()
        && !device.eq_ignore_ascii_case(request.device_id.as_str())
    {
        let twin = choice.chosen.twin.id().clone();
        return Err(Rejection::OtherDevice { twin, device: device.to_owned() });
    }
    Ok(Some(choice))
}

fn other_registration(twin: &Twin) -> Rejection {
    let registration = twin.string_property(HUB_REGISTRATION_ID.as_str()).unwrap_or_default().to_owned();
    Rejection::OtherRegistration { twin: twin.id().clone(), registration }
}

/// What to write.
#[derive(Debug, Clone, PartialEq)]
pub enum Plan {
    /// Make the twin.
    Create {
        /// The registration id in lower case.
        id: TwinId,
        /// Model, bookkeeping and required components; no readings.
        twin: NewTwin,
        /// Its model.
        model: ModelId,
    },
    /// Patch the twin that was seen, if it is still as it was seen.
    Patch {
        /// The twin.
        id: TwinId,
        /// The version of it that was seen.
        etag: ETag,
        /// The time of the registration, and what else is to be changed.
        patch: Patch,
        /// The model that it has afterwards.
        model: ModelId,
    },
    /// The twin was read just now and is as it should be.
    Keep {
        /// The twin.
        id: TwinId,
        /// Its model.
        model: ModelId,
    },
}

/// What a decision is made from, besides the twins.
#[derive(Debug, Clone, Copy)]
pub struct Registration<'a> {
    /// The request.
    pub request: &'a AllocationRequest,
    /// The hub that the device is assigned.
    pub hub: &'a HubHost,
    /// When the call began.
    pub began: Timestamp,
}

/// When something is written, and where that may be said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// Our clock.
    pub now: Timestamp,
    /// Whether new twins may have source times.
    pub in_new_twins: bool,
    /// Whether patches may set source times.
    pub in_patches: bool,
}

impl Moment {
    /// This moment, in whole microseconds: the service keeps no more than seven digits of a second.
    #[must_use]
    pub fn now() -> Self {
        let now = Timestamp::now();
        let now = Timestamp::from_microsecond(now.as_microsecond()).unwrap_or(now);
        Self { now, in_new_twins: true, in_patches: true }
    }

    /// The same moment, of which nothing that is written says anything.
    #[must_use]
    pub fn without_source_times(self) -> Self {
        Self { in_new_twins: false, in_patches: false, ..self }
    }
}

/// The models that a decision about an existing twin takes.
#[derive(Debug, Clone, Copy)]
pub struct Models<'a> {
    /// Holds the model that the device asks for.
    pub asked: &'a ModelSet,
    /// Holds the model that the twin has.
    pub has: &'a ModelSet,
}

impl Registration<'_> {
    /// A new twin of the model asked for, which `models` holds.
    ///
    /// # Errors
    /// [`Rejection::NoSuchModel`].
    pub fn create(&self, id: TwinId, models: &ModelSet, moment: Moment) -> Result<Plan, Rejection> {
        let asked = &self.request.model;
        let contents = contents(models, asked)?;
        let bookkeeping = Bookkeeping::of(models, asked);
        let mut twin = NewTwin::of(asked);
        if bookkeeping.registration_id {
            let name = HUB_REGISTRATION_ID.as_str();
            twin = twin.property(name, self.hub_registration_id());
            if moment.in_new_twins {
                twin = twin.source_time(name, moment.now);
            }
        }
        if let Some(device) = self.hub_device_id(bookkeeping) {
            twin = twin.property(HUB_DEVICE_ID.as_str(), device.as_str().into());
        }
        if bookkeeping.hub_name {
            twin = twin.property(HUB_NAME.as_str(), self.hub.name().as_str().into());
        }
        twin = contents.components.keys().fold(twin, |twin, component| twin.component(component));
        Ok(Plan::Create { id, twin, model: asked.clone() })
    }

    /// What the twin that was chosen needs.
    ///
    /// # Errors
    /// The twin's model does not fit, and may not be changed to the one asked for.
    pub fn update(
        &self,
        Seen { twin, is_fresh }: &Seen,
        models: Models<'_>,
        change: ModelChange,
        moment: Moment,
    ) -> Result<Plan, Rejection> {
        let upgrades = self.needs_upgrade(twin, models.has, change)?;
        let (models, model) = if upgrades { (models.asked, &self.request.model) } else { (models.has, twin.model()) };
        let model = model.clone();
        let bookkeeping = Bookkeeping::of(models, &model);
        let mut patch = Patch::new();
        if upgrades {
            patch = upgrade(patch, twin, &model, contents(models, &model)?);
        }
        patch = self.correct(patch, twin, bookkeeping);
        let id = twin.id().clone();
        if patch.is_empty() && *is_fresh && (!bookkeeping.registration_id || self.is_recorded(twin, moment.now)) {
            return Ok(Plan::Keep { id, model });
        }
        if bookkeeping.registration_id {
            // The value too, though it seldom changes: without source times, its update time is
            // the time of the registration.
            patch = patch.add(HUB_REGISTRATION_ID.as_str(), self.hub_registration_id());
            if moment.in_patches {
                patch = patch.source_time(HUB_REGISTRATION_ID.as_str(), moment.now);
            }
        }
        Ok(Plan::Patch { id, etag: twin.etag().clone(), patch, model })
    }

    /// The parent that the new twin is to get: the operator's word before the device's.
    #[must_use]
    pub fn parent(&self, from_device_too: bool) -> Option<&str> {
        let claimed = self.request.claimed_parent.as_deref().filter(|_| from_device_too);
        self.request.enrolled_parent.as_deref().or(claimed)
    }

    fn needs_upgrade(&self, twin: &Twin, has: &ModelSet, change: ModelChange) -> Result<bool, Rejection> {
        let asked = &self.request.model;
        if has.is_a(twin.model(), asked) {
            return Ok(false);
        }
        let is_upgrade = asked.supersedes(twin.model());
        if is_upgrade && change == ModelChange::Upgrade {
            return Ok(true);
        }
        let hint = if is_upgrade { "; ALLOCATION_MODEL_CHANGE=upgrade would change it" } else { "" };
        let (twin, has) = (twin.id().clone(), twin.model().clone());
        Err(Rejection::OtherModel { twin, has, asked: asked.clone(), hint })
    }

    /// Corrects the bookkeeping but for the registration id itself.
    fn correct(&self, mut patch: Patch, twin: &Twin, bookkeeping: Bookkeeping) -> Patch {
        let current = twin.string_property(HUB_DEVICE_ID.as_str());
        let device = self.request.device_id.as_str();
        if self.hub_device_id(bookkeeping).is_some() && current != Some(device) {
            patch = patch.add(HUB_DEVICE_ID.as_str(), device.into());
        } else if bookkeeping.device_id && current.is_some_and(|current| !current.is_empty() && current != device) {
            patch = patch.remove(HUB_DEVICE_ID.as_str());
        }
        let hub = twin.string_property(HUB_NAME.as_str()).and_then(|hub| HubName::of_host(hub).ok());
        if bookkeeping.hub_name && hub.as_ref() != Some(self.hub.name()) {
            patch = patch.add(HUB_NAME.as_str(), self.hub.name().as_str().into());
        }
        patch
    }

    /// Whether a registration of the device was recorded since this call began: by a concurrent call
    /// for the same device, and there is nothing to add to it.
    fn is_recorded(&self, twin: &Twin, now: Timestamp) -> bool {
        let property = HUB_REGISTRATION_ID.as_str();
        twin.string_property(property) == Some(self.request.registration_id.lower())
            && twin.source_time(property).is_some()
            && registered_at(twin).is_some_and(|at| self.began <= at && at <= now + CLOCK_SKEW)
    }

    fn hub_registration_id(&self) -> Value {
        self.request.registration_id.lower().into()
    }

    /// `HubDeviceId`, where the model has it and nothing else tells whose the twin is: the device
    /// has another name in the hub, or the model has no `HubRegistrationId`.
    fn hub_device_id(&self, bookkeeping: Bookkeeping) -> Option<&DeviceId> {
        let AllocationRequest { registration_id, device_id, .. } = self.request;
        let differs = !device_id.as_str().eq_ignore_ascii_case(registration_id.as_str());
        (bookkeeping.device_id && (differs || !bookkeeping.registration_id)).then_some(device_id)
    }
}

/// Changes the model, and adds the components that the new one requires and the twin lacks.
fn upgrade(patch: Patch, twin: &Twin, model: &ModelId, contents: &Contents) -> Patch {
    let lacking = contents.components.keys().filter(|name| twin.component(name).is_none());
    lacking.fold(patch.replace_model(model), |patch, name| patch.add_component(name))
}

fn contents<'a>(models: &'a ModelSet, model: &ModelId) -> Result<&'a Contents, Rejection> {
    models.contents(model).ok_or_else(|| Rejection::NoSuchModel { model: model.clone() })
}
