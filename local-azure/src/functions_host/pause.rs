//! Holds up the hosts of an instance, so that something can be done while there is none.

use tokio::sync::watch;

/// Whether an instance may have a host, and whether it has one.
#[derive(Debug, Default)]
pub(super) struct Pause(watch::Sender<State>);

#[derive(Debug, Default, Clone, Copy)]
struct State {
    is_wanted: bool,
    has_host: bool,
}

impl Pause {
    /// Waits until a host may begin. It has begun when this returns.
    pub(super) async fn enter(&self) {
        let mut state = self.0.subscribe();
        while !self.try_enter() {
            // The sender lives as long as `self`.
            let _ = state.wait_for(|state| !state.is_wanted).await;
        }
    }

    fn try_enter(&self) -> bool {
        self.0.send_if_modified(|state| {
            state.has_host |= !state.is_wanted;
            state.has_host
        })
    }

    /// The host has ended.
    pub(super) fn leave(&self) {
        self.0.send_modify(|state| state.has_host = false);
    }

    /// Waits until no host is wanted.
    pub(super) async fn wanted(&self) {
        let _ = self.0.subscribe().wait_for(|state| state.is_wanted).await;
    }

    /// Wants no host, and waits until there is none.
    pub(super) async fn begin(&self) {
        self.0.send_modify(|state| state.is_wanted = true);
        let _ = self.0.subscribe().wait_for(|state| !state.has_host).await;
    }

    /// Hosts may begin.
    pub(super) fn end(&self) {
        self.0.send_modify(|state| state.is_wanted = false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn nobody_begins_during_a_pause_and_it_begins_when_nobody_is_there() {
        let pause = Pause::default();
        pause.enter().await;
        let waiting = async {
            pause.begin().await;
            assert!(!pause.try_enter());
            pause.end();
        };
        let host = async {
            pause.wanted().await;
            pause.leave();
            pause.enter().await;
        };
        tokio::join!(waiting, host);
        assert!(pause.0.borrow().has_host);
    }
}
