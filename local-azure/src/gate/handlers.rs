//! How faults reach the handlers of the function app.

use std::{fmt, sync::OnceLock};

use futures::future::BoxFuture;

/// Who makes a request, as far as that is known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Caller {
    /// The handler of an instance of the function app, counted from 0.
    Handler(usize),
    /// Somebody else: a device, a person, a service.
    #[default]
    Other,
}

/// Kills the handler process of an instance; the future is done when it is dead.
pub type Killer = Box<dyn Fn(usize) -> BoxFuture<'static, ()> + Send + Sync>;

/// The handlers, once the Functions host has said how they are killed.
#[derive(Default)]
pub(super) struct Handlers(OnceLock<Killer>);

impl Handlers {
    pub(super) fn connect(&self, killer: Killer) {
        // There is one host a local-azure; a second one would change nothing.
        let _ = self.0.set(killer);
    }

    /// Kills the chosen handler, or else the caller.
    pub(super) async fn kill(&self, chosen: Option<usize>, caller: Caller) {
        let caller = match caller {
            Caller::Handler(instance) => Some(instance),
            Caller::Other => None,
        };
        if let (Some(kill), Some(instance)) = (self.0.get(), chosen.or(caller)) {
            kill(instance).await;
        }
    }
}

impl fmt::Debug for Handlers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handlers").field("connected", &self.0.get().is_some()).finish()
    }
}
