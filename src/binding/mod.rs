//! Which twin belongs to which device.
//!
//! Allocation writes three bookkeeping properties to a device's twin, where the twin's model has them;
//! telemetry and lifecycle events follow them back. [`Binding`] says whose a twin is, [`Rank`] and
//! [`choose`] which of several twins it is, [`Directory`] finds a device's twin and remembers it.

mod bound;
mod choice;
mod directory;
mod source_times;

pub use bound::{Binding, Bookkeeping, HUB_DEVICE_ID, HUB_NAME, HUB_REGISTRATION_ID, is_bookkeeping, registered_at};
pub use choice::{Choice, Rank, choose};
pub use directory::{Directory, Found, Known, Match, Sender, Stamp, State};
pub use source_times::SourceTimes;
