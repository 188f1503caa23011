//! The whole loop on a local-azure in this process, with the real handler as a process of its own: what devices and
//! operators do goes over the wire, and so does most of what is then looked at.

mod certificates;
mod chance;
mod control;
mod faults;
mod instances;
mod interruptions;
mod lifecycle;
mod operator;
mod races;
mod reconcile;
mod registrations;
mod secrets;
mod site;
mod soak;
mod telemetry;
