//! Which twins an event would cost: decoding and planning alone, without asking the service for anything.

use super::decode::decode;
use super::plan::{Change, plan};
use crate::binding::Bookkeeping;
use crate::digital_twins::{Twin, TwinId};
use crate::host::Event;
use crate::settings::OnDelete;

/// Those of `twins` that `event` would delete if it found them, each with what its model has.
pub(crate) fn rehearse<'a>(event: &Event, twins: &'a [(Twin, Bookkeeping)]) -> Vec<&'a TwinId> {
    let Ok(deletion) = decode(0, event) else { return Vec::new() };
    let goes = |(twin, bookkeeping): &&(Twin, Bookkeeping)| {
        plan(&deletion, twin, *bookkeeping, OnDelete::Delete) == Ok(Change::Delete)
    };
    twins.iter().filter(goes).map(|(twin, _)| twin.id()).collect()
}
