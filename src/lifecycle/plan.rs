//! What the deletion of a device does to a twin: pure, so that every guard can be tested by itself.

use super::decode::Deletion;
use crate::binding::{Binding, Bookkeeping, HUB_DEVICE_ID, HUB_NAME, HUB_REGISTRATION_ID, registered_at};
use crate::device::HubName;
use crate::digital_twins::{Patch, Twin};
use crate::outcome::LeftOut;
use crate::settings::OnDelete;

/// What to do with a twin.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Change {
    /// Delete it, with its relationships.
    Delete,
    /// Keep it, and remove what binds it to the device.
    Unassign(Patch),
}

/// What `deletion` changes in `twin`, whose model has `bookkeeping`.
///
/// # Errors
/// The rule by which the twin stays as it is.
pub(super) fn plan(
    deletion: &Deletion,
    twin: &Twin,
    bookkeeping: Bookkeeping,
    on_delete: OnDelete,
) -> Result<Change, LeftOut> {
    let binding = Binding::of(twin, bookkeeping);
    if !binding.is_to(&deletion.device) {
        return Err(LeftOut::NotBound);
    }
    // A space can happen to bear a device's name. Its own tags say that a twin is the device's.
    if matches!(binding, Binding::OwnId(_)) && deletion.tagged.as_ref() != Some(twin.id()) {
        return Err(LeftOut::Unmarked);
    }
    if registered_at(twin).is_some_and(|registered| registered > deletion.time) {
        return Err(LeftOut::RegisteredAnew);
    }
    // When DPS moves a device to another hub, the old one reports it as deleted.
    if lives_elsewhere(twin, &deletion.hub) {
        return Err(LeftOut::OtherHub);
    }
    Ok(match on_delete {
        OnDelete::Delete => Change::Delete,
        OnDelete::Unassign => Change::Unassign(unassignment(twin)),
    })
}

/// Whether the twin names another hub. A name that cannot be one is no sign that the device is gone.
fn lives_elsewhere(twin: &Twin, hub: &HubName) -> bool {
    let name = twin.string_property(HUB_NAME.as_str()).filter(|name| !name.is_empty());
    name.is_some_and(|name| HubName::of_host(name).ok().as_ref() != Some(hub))
}

/// Removes the bookkeeping properties that are set; to remove another is an error.
fn unassignment(twin: &Twin) -> Patch {
    let set = [HUB_REGISTRATION_ID, HUB_DEVICE_ID, HUB_NAME].map(|name| name.as_str());
    set.into_iter().filter(|name| twin.property(name).is_some()).fold(Patch::new(), Patch::remove)
}

#[cfg(test)]
mod tests;
