//! Which instance reads a partition.
//!
//! A partition has one reader at a time. One that loses it ends the invocation that it has begun, and by then the
//! next reader has begun where the checkpoint is: for a while two handlers work on the same events
//! (azure-sdk-for-net: `EventProcessor`, partition ownership).

use tokio::sync::watch;

/// A time during which one instance reads a partition, from its checkpoint onwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Term {
    /// The instance.
    pub(super) holder: usize,
    /// Tells terms apart.
    number: u64,
    /// Whether it began while the holder before was at work.
    pub(super) takes_over: bool,
}

/// Who may read a partition.
#[derive(Debug)]
pub(super) struct Lease(watch::Sender<Term>);

impl Lease {
    pub(super) fn new(holder: usize) -> Self {
        Self(watch::Sender::new(Term { holder, number: 0, takes_over: false }))
    }

    pub(super) fn holder(&self) -> usize {
        self.0.borrow().holder
    }

    /// Waits for a term of this instance.
    pub(super) async fn term_of(&self, instance: usize) -> Term {
        // The sender lives as long as `self`, so this only ends with a term.
        let term = self.0.subscribe().wait_for(|term| term.holder == instance).await.map(|term| *term);
        match term {
            Ok(term) => term,
            Err(_) => std::future::pending().await,
        }
    }

    /// Waits for the end of a term.
    pub(super) async fn over(&self, term: Term) {
        if self.0.subscribe().wait_for(|current| *current != term).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Begins a term of `holder`.
    pub(super) fn give_to(&self, holder: usize) {
        self.0.send_modify(|term| *term = Term { holder, number: term.number + 1, takes_over: false });
    }

    /// Ends `term` for one of `holder`, who takes over what is being done.
    pub(super) fn hand_over(&self, term: Term, holder: usize) {
        self.0.send_if_modified(|current| {
            let is_current = *current == term;
            if is_current {
                *current = Term { holder, number: term.number + 1, takes_over: true };
            }
            is_current
        });
    }

    /// Has the holder begin anew after `prepare`; what it is doing no longer counts.
    pub(super) fn begin_anew(&self, prepare: impl FnOnce()) {
        self.0.send_modify(|term| {
            prepare();
            *term = Term { holder: term.holder, number: term.number + 1, takes_over: false };
        });
    }

    /// Does something unless the term is over; it does not end meanwhile.
    pub(super) fn during<T>(&self, term: Term, act: impl FnOnce() -> T) -> Option<T> {
        let current = self.0.borrow();
        (*current == term).then(act)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_new_term_ends_the_one_before_also_for_the_same_holder() {
        let lease = Lease::new(0);
        let first = lease.term_of(0).await;
        assert_eq!(lease.during(first, || "done"), Some("done"));
        lease.begin_anew(|| ());
        lease.over(first).await;
        assert_eq!(lease.during(first, || "done"), None);
        lease.hand_over(first, 1);
        assert_eq!(lease.holder(), 0, "a term that is over hands nothing over");
        lease.hand_over(lease.term_of(0).await, 1);
        assert!(lease.term_of(1).await.takes_over);
        lease.give_to(0);
        assert!(!lease.term_of(0).await.takes_over);
    }
}
