//! The front door: one HTTPS port for several services.

mod https;
mod tls;

pub use https::{Services, router};
pub use tls::TlsListener;
