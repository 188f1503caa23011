//! Mends differences, each after a second look at what it is about.

use std::num::NonZeroU32;

use dtdl::{Contents, ModelId};
use jiff::Timestamp;

use super::difference::Difference;
use super::plan::bound_at;
use crate::binding::{Binding, Bookkeeping, Directory, HUB_DEVICE_ID, HUB_NAME, HUB_REGISTRATION_ID};
use crate::device::{DeviceId, HubName};
use crate::digital_twins::{Client, Condition, Creation, Error, NewTwin, Patch, Twin, TwinId};
use crate::lifecycle::DeleteDeviceInTwin;
use crate::operate::iot_hub::{Device, Hub};
use crate::operate::reason;
use crate::outcome::Outcome;
use crate::settings::{AllowedModels, Settings};

/// Mends differences.
pub(super) struct Actor<'a> {
    client: &'a Client,
    hubs: &'a [Hub],
    allowed: &'a AllowedModels,
    directory: Directory,
    lifecycle: DeleteDeviceInTwin,
    /// Twins that were bound later than this are not removed.
    bound_before: Timestamp,
}

impl<'a> Actor<'a> {
    pub(super) fn new(
        client: &'a Client,
        hubs: &'a [Hub],
        settings: &'a Settings,
        directory: Directory,
        bound_before: Timestamp,
    ) -> Self {
        let (twins, once) = (client.clone(), NonZeroU32::MIN);
        let lifecycle = DeleteDeviceInTwin::new(twins, directory.clone(), settings.lifecycle.clone(), once);
        Self { client, hubs, allowed: &settings.allocation.models, directory, lifecycle, bound_before }
    }

    /// Mends a difference and says what was done.
    ///
    /// # Errors
    /// Why it is left as it is.
    pub(super) async fn mend(&self, difference: &Difference) -> Result<String, String> {
        match difference {
            Difference::Orphan { twin, device, hub } => self.remove(twin, device, hub).await,
            Difference::NoTwin { device, model: Some(model) } => self.create(device, model).await,
            Difference::Tags { device, twin, model } => self.name_twin(device, twin, model).await,
            Difference::Moved { twin, device, says, lives } => self.rename_hub(twin, device, says, lives).await,
            Difference::Homeless { .. }
            | Difference::NameOnly { .. }
            | Difference::NoTwin { model: None, .. }
            | Difference::Several { .. } => Err(difference.remedy()),
        }
    }

    /// Removes the twin as the event of the deletion would have, by the same guards.
    async fn remove(&self, id: &TwinId, device: &DeviceId, hub: &HubName) -> Result<String, String> {
        for hub in self.hubs {
            if hub.device(device).await.map_err(text)?.is_some() {
                return Err(format!("hub {} has the device by now", hub.name()));
            }
        }
        // Queries show twins for some seconds that are gone.
        let Some((twin, bookkeeping)) = self.find_twin(id).await? else { return Ok("is gone already".to_owned()) };
        let since = self.bound_before;
        if !Binding::of(&twin, bookkeeping).is_to(device) || bound_at(&twin).is_some_and(|bound| bound > since) {
            return Err("the twin changed meanwhile".to_owned());
        }
        match self.lifecycle.remove(id.clone(), device.clone(), hub.clone(), since).await {
            Ok(Outcome::Applied) => Ok("removed".to_owned()),
            Ok(Outcome::LeftOut(rule)) => Err(format!("the rule {} keeps it", rule.label())),
            Ok(Outcome::DeadLetter(letter)) => Err(reason(&letter.detail, &letter.relationships)),
            Ok(Outcome::Superseded) => Err("it changed meanwhile".to_owned()),
            Err(failure) => Err(reason(failure.detail(), failure.relationships())),
        }
    }

    /// Makes a twin for a device, bound to it as an operator would bind it; the device's next registration takes it.
    async fn create(&self, device: &Device, model: &ModelId) -> Result<String, String> {
        if !self.allowed.allows(model) {
            return Err(format!("ALLOCATION_MODELS does not allow {model}"));
        }
        let device = self.device(device).await?;
        if let Some(found) = self.directory.look_up(&device.id).await.map_err(text)? {
            return Err(format!("it has the twin {} by now", found.twin.id()));
        }
        let id = TwinId::parse(&device.id.as_str().to_ascii_lowercase()).map_err(text)?;
        let named = device.twin_id.as_deref().and_then(|named| TwinId::parse(named).ok()).filter(|named| *named != id);
        if let Some(named) = named
            && self.client.get(&named).await.map_err(text)?.is_some()
        {
            return Err(format!(
                "its tag dtId names twin {named}, which is not bound to it: bind it, or clear the tag"
            ));
        }
        let models = match self.client.model(model).await {
            Err(Error::NotFound { .. }) => return Err(format!("Azure Digital Twins has no model {model}")),
            models => models.map_err(text)?,
        };
        let contents = models.contents(model).ok_or_else(|| format!("Azure Digital Twins has no model {model}"))?;
        let new = new_twin(&device, model, contents, Bookkeeping::of(&models, model));
        match self.client.create(&id, &new).await.map_err(text)? {
            Creation::Created(_) => {}
            Creation::Exists => {
                return Err(format!("twin {id} is another device's or nobody's: bind it to this one, or delete it"));
            }
        }
        self.tag(&device, &id, model).await.map_err(|reason| format!("made twin {id}, but its tags: {reason}"))?;
        Ok(format!("made twin {id}"))
    }

    async fn name_twin(&self, device: &Device, id: &TwinId, model: &ModelId) -> Result<String, String> {
        let device = self.device(device).await?;
        let (twin, bookkeeping) = self.twin(id).await?;
        let binding = Binding::of(&twin, bookkeeping);
        let is_named = device.twin_id.as_deref() == Some(id.as_str());
        // As when it was planned: no device gets a twin by its name alone.
        if !binding.is_to(&device.id) || (matches!(binding, Binding::OwnId(_)) && !is_named) || twin.model() != model {
            return Err(format!("twin {id} changed meanwhile"));
        }
        self.tag(&device, id, model).await?;
        Ok("tags are set".to_owned())
    }

    async fn rename_hub(
        &self,
        id: &TwinId,
        device: &DeviceId,
        says: &HubName,
        lives: &HubName,
    ) -> Result<String, String> {
        if self.hub(says)?.device(device).await.map_err(text)?.is_some() {
            return Err(format!("hub {says} has the device by now"));
        }
        if self.hub(lives)?.device(device).await.map_err(text)?.is_none() {
            return Err(format!("hub {lives} does not have the device any more"));
        }
        let (twin, bookkeeping) = self.twin(id).await?;
        let still_says = twin.string_property(HUB_NAME.as_str()).and_then(|name| HubName::of_host(name).ok());
        if still_says.as_ref() != Some(says) || !Binding::of(&twin, bookkeeping).is_to(device) {
            return Err(format!("twin {id} changed meanwhile"));
        }
        let patch = Patch::new().add(HUB_NAME.as_str(), lives.as_str().into());
        self.client.patch(id, &patch, Condition::IfMatch(twin.etag().clone())).await.map_err(text)?;
        Ok(format!("HubName is {lives}"))
    }

    /// Sets the tags that name the device's twin, unless they do already or the device twin changed since it was read.
    async fn tag(&self, device: &Device, twin: &TwinId, model: &ModelId) -> Result<(), String> {
        let (twin, model) = (twin.as_str(), model.as_str());
        if device.twin_id.as_deref() == Some(twin) && device.model_id.as_deref() == Some(model) {
            return Ok(());
        }
        self.hub(&device.hub)?.tag(device, twin, model).await.map_err(text)
    }

    /// The device as it is now.
    async fn device(&self, device: &Device) -> Result<Device, String> {
        let now = self.hub(&device.hub)?.device(&device.id).await.map_err(text)?;
        now.ok_or_else(|| format!("hub {} does not have the device any more", device.hub))
    }

    /// The twin as it is now, and what its model has.
    async fn twin(&self, id: &TwinId) -> Result<(Twin, Bookkeeping), String> {
        self.find_twin(id).await?.ok_or_else(|| format!("twin {id} is gone"))
    }

    async fn find_twin(&self, id: &TwinId) -> Result<Option<(Twin, Bookkeeping)>, String> {
        let Some(twin) = self.client.get(id).await.map_err(text)? else { return Ok(None) };
        let models = self.client.model_of(&twin).await.map_err(text)?;
        let bookkeeping = Bookkeeping::of(&models, twin.model());
        Ok(Some((twin, bookkeeping)))
    }

    fn hub(&self, name: &HubName) -> Result<&Hub, String> {
        self.hubs.iter().find(|hub| hub.name() == name).ok_or_else(|| format!("hub {name} is not named"))
    }
}

/// A twin of `model` that is bound to the device, without readings, and with the components that it must have.
fn new_twin(device: &Device, model: &ModelId, contents: &Contents, bookkeeping: Bookkeeping) -> NewTwin {
    let lower = device.id.as_str().to_ascii_lowercase();
    let mut twin = NewTwin::of(model);
    if bookkeeping.registration_id {
        twin = twin.property(HUB_REGISTRATION_ID.as_str(), lower.into());
    } else if bookkeeping.device_id {
        twin = twin.property(HUB_DEVICE_ID.as_str(), device.id.as_str().into());
    }
    if bookkeeping.hub_name {
        twin = twin.property(HUB_NAME.as_str(), device.hub.as_str().into());
    }
    contents.components.keys().fold(twin, |twin, name| twin.component(name))
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

#[cfg(test)]
mod tests;
