//! The front door: one HTTPS port for several services.

mod https;
mod peer;
mod severing;
mod tls;
mod verb;

pub(crate) use https::absent;
pub use https::{Services, router};
pub(crate) use peer::Peer;
pub(crate) use severing::{Connection, Line, Severable, no_answer, sever_unanswered};
pub use tls::TlsListener;
pub(crate) use verb::Verb;
