//! Both sides as they are: the devices of the hubs, and the twins that are bound to devices.

use std::collections::BTreeMap;

use futures::{StreamExt, TryStreamExt};

use super::plan::{BoundTwin, without_twin};
use crate::binding::{Bookkeeping, Directory, HUB_DEVICE_ID, HUB_REGISTRATION_ID};
use crate::digital_twins::{Client, Filter, Query};
use crate::operate::Error;
use crate::operate::console::Progress;
use crate::operate::iot_hub::{Device, Hub};

/// Devices that are looked up at once.
const CONCURRENT: usize = 16;

/// What was seen.
#[derive(Debug)]
pub(super) struct Look {
    /// By hub and id.
    pub(super) devices: Vec<Device>,
    /// By id.
    pub(super) twins: Vec<BoundTwin>,
}

/// Reads all devices, all twins that say whose they are, and the twins of devices that none of these is bound to: by
/// the rules by which events find theirs.
///
/// Lists change while they are read: what is in them twice counts once, as it was read last.
pub(super) async fn look(client: &Client, directory: &Directory, hubs: &[Hub]) -> Result<Look, Error> {
    let mut devices = Vec::new();
    let progress = Progress::begin("reading devices", None);
    for hub in hubs {
        let mut by_id = BTreeMap::new();
        hub.devices(|page| {
            progress.advance(page.len());
            by_id.extend(page.into_iter().map(|device| (device.id.clone(), device)));
        })
        .await?;
        devices.extend(by_id.into_values());
    }
    drop(progress);

    let mut twins = BTreeMap::new();
    let progress = Progress::begin("reading twins", None);
    let query = Query::twins_where(&Filter::is_defined(HUB_REGISTRATION_ID).or(Filter::is_defined(HUB_DEVICE_ID)));
    client
        .scan(&query, |page| {
            progress.advance(page.len());
            // They have at least one of the properties: nobody is bound by a mere name here.
            let with_properties = Bookkeeping { registration_id: true, device_id: true, hub_name: true };
            let bound = page.iter().filter_map(|twin| BoundTwin::of(twin, with_properties));
            twins.extend(bound.map(|twin| (twin.id.clone(), twin)));
        })
        .await?;
    drop(progress);

    let missing = without_twin(&devices, twins.values());
    let progress = Progress::begin("looking up twins", Some(missing.len()));
    let look_ups = missing.into_iter().map(|device| directory.look_up(&device.id));
    let mut found = futures::stream::iter(look_ups).buffer_unordered(CONCURRENT);
    while let Some(found) = found.try_next().await? {
        progress.advance(1);
        let bound = found.and_then(|it| BoundTwin::of(&it.twin, Bookkeeping::of(&it.models, it.twin.model())));
        twins.extend(bound.map(|twin| (twin.id.clone(), twin)));
    }
    drop(found);
    Ok(Look { devices, twins: twins.into_values().collect() })
}
