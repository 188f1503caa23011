//! X.509 certificates of devices: what they say, their thumbprints, and the chains that clients show in TLS.
//!
//! TLS asks every client for a certificate and takes any ([`ProofOfPossession`]): only DPS, with its enrollments, and
//! IoT Hub, with its registry, know whose it must be.

mod certificate;
mod chain;
mod possession;
mod thumbprint;

pub use self::{
    certificate::{Certificate, Info, Malformed},
    chain::Chain,
    possession::ProofOfPossession,
    thumbprint::{NotAThumbprint, Thumbprint},
};
