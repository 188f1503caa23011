//! Measures the function app ([`mod@bench`]), and puts it under faults ([`soak`]).
//!
//! It runs the app as the Functions host would, in a process of its own, on a local-azure within this process
//! ([`site`]), with devices whose messages are known one by one ([`fleet`]). [`reference`](mod@reference) is what the
//! bench compares with.

pub mod bench;
pub mod fleet;
pub mod mqtt;
pub mod neighbor;
pub mod reference;
pub mod resident;
pub mod site;
pub mod soak;
pub mod webhook;
