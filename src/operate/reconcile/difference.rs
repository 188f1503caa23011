//! What can differ between devices and twins, in words.

use std::collections::BTreeSet;
use std::fmt;

use dtdl::ModelId;

use crate::device::{DeviceId, HubName};
use crate::digital_twins::TwinId;
use crate::operate::console::inline;
use crate::operate::iot_hub::Device;

/// One way in which the two sides differ.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Difference {
    /// A twin is bound to a device that its hub no longer has.
    Orphan { twin: TwinId, device: DeviceId, hub: HubName },
    /// A twin is bound to a device that none of the named hubs has, and does not say in which hub that is.
    Homeless { twin: TwinId, device: DeviceId },
    /// A device has no twin. Its tag `dtmi` says of which model it would be.
    NoTwin { device: Device, model: Option<ModelId> },
    /// A twin has a device's name, and nothing else says that it is the device's.
    NameOnly { device: Device, twin: TwinId },
    /// A device's tags name another twin or model than it has.
    Tags { device: Device, twin: TwinId, model: ModelId },
    /// A twin says that its device lives in another hub than it does.
    Moved { twin: TwinId, device: DeviceId, says: HubName, lives: HubName },
    /// Several twins are bound to one device.
    Several { device: DeviceId, twins: BTreeSet<TwinId> },
}

impl Difference {
    /// Whether a twin would be removed.
    pub(super) fn removes_a_twin(&self) -> bool {
        matches!(self, Self::Orphan { .. })
    }

    /// Whether it can be mended without a person's decision.
    pub(super) fn can_be_mended(&self) -> bool {
        match self {
            Self::Orphan { .. } | Self::Tags { .. } | Self::Moved { .. } | Self::NoTwin { model: Some(_), .. } => true,
            Self::Homeless { .. } | Self::NameOnly { .. } | Self::Several { .. } | Self::NoTwin { model: None, .. } => {
                false
            }
        }
    }

    /// What differs.
    pub(super) fn what(&self) -> String {
        match self {
            Self::Orphan { twin, device, hub } => {
                format!("twin {twin} is bound to device {device}, which hub {hub} does not have")
            }
            Self::Homeless { twin, device } => format!(
                "twin {twin} is bound to device {device}, which no named hub has, and has no HubName to tell its hub"
            ),
            Self::NoTwin { device, model: _ } => format!("device {} in hub {} has no twin", device.id, device.hub),
            Self::NameOnly { device, twin } => format!(
                "device {} in hub {} has no twin but {twin}, which bears its name and nothing else of it",
                device.id, device.hub
            ),
            Self::Tags { device, twin, model: _ } => format!(
                "device {} in hub {} has the twin {twin}, and its tags say dtId {}, dtmi {}",
                device.id,
                device.hub,
                inline(device.twin_id.as_deref().unwrap_or("nothing")),
                inline(device.model_id.as_deref().unwrap_or("nothing")),
            ),
            Self::Moved { twin, device, says, lives } => {
                format!("twin {twin} has HubName {says}, and its device {device} lives in hub {lives}")
            }
            Self::Several { device, twins } => {
                let twins: Vec<_> = twins.iter().map(TwinId::as_str).collect();
                format!("device {device} has several twins: {}", twins.join(", "))
            }
        }
    }

    /// What is to be done about it, by this program or by a person.
    pub(super) fn remedy(&self) -> String {
        match self {
            Self::Orphan { .. } => {
                "remove the twin as the event of the deletion would have (LIFECYCLE_ON_DELETE)".to_owned()
            }
            Self::Homeless { .. } => "by hand: name all hubs and say so with --all-hubs, or delete the twin".to_owned(),
            Self::NoTwin { model: Some(model), .. } => format!("make a twin of {model}, as its tag dtmi says"),
            Self::NoTwin { model: None, .. } => {
                "by hand: let it register with DPS again, or set its tag dtmi".to_owned()
            }
            Self::NameOnly { twin, .. } => format!("by hand: if the twin is the device's, set the tag dtId to {twin}"),
            Self::Tags { twin, model, .. } => format!("set its tags to dtId {twin}, dtmi {model}"),
            Self::Moved { lives, .. } => format!("set HubName to {lives}"),
            Self::Several { .. } => "by hand: clear HubRegistrationId and HubDeviceId on all but one".to_owned(),
        }
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\n  -> {}", self.what(), self.remedy())
    }
}
