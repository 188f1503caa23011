//! Finds the twin of a deleted device, and deletes or unassigns it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use dtdl::ModelSet;
use jiff::{SignedDuration, Timestamp};

use super::decode::Deletion;
use super::plan::{Change, plan};
use super::removed::Removed;
use crate::binding::{Bookkeeping, Directory};
use crate::dead_letter::{Code, Reason};
use crate::digital_twins::{Client, Condition, Error, Twin, TwinId};
use crate::outcome::{Attempt, Failure, LeftOut, Outcome, Unanswered};
use crate::settings::OnDelete;

/// A query may not find a twin that was written less than 10 s ago ("Azure Digital Twins query language"); with
/// some seconds for clocks that differ. Clocks that differ by more make an event neither young nor wait.
const QUERY_LAG: SignedDuration = SignedDuration::from_secs(15);

/// How often a twin that changes under every try is read again.
const MAX_LOOKS: usize = 10;

/// Applies deletions to twins.
#[derive(Debug)]
pub(super) struct Remover<'a> {
    pub(super) client: &'a Client,
    pub(super) directory: &'a Directory,
    pub(super) attempt: &'a Attempt,
    pub(super) on_delete: OnDelete,
    /// What twins lost that are not deleted yet.
    pub(super) removed: &'a Removed,
    /// Twins that were unassigned.
    pub(super) unassigned: AtomicUsize,
    /// Twins that were deleted.
    pub(super) deleted: AtomicUsize,
}

/// A twin as it is, with its model.
struct Sighting {
    twin: Twin,
    models: Arc<ModelSet>,
}

/// How a try at a twin ended.
enum Try {
    Done,
    /// It changed since it was read.
    Changed,
    /// It has relationships, which were added meanwhile.
    Related,
}

impl Remover<'_> {
    /// Applies one deletion. A twin that lives on after all gets back what it lost by then.
    ///
    /// # Errors
    /// A failure that may pass. What was done until then is done; the rest is found anew.
    pub(super) async fn apply(&self, deletion: &Deletion, now: Timestamp) -> Result<Outcome, Failure> {
        let ended = match self.find_and_settle(deletion, now).await {
            Ok(outcome) => Ok(outcome),
            Err(Unanswered::Refused(error)) => Ok(Outcome::DeadLetter(Reason::new(Code::Refused, error.to_string()))),
            Err(Unanswered::Failed(failure)) => Err(failure),
        };
        let ended = match ended {
            Ok(outcome) => self.put_back(&deletion.device).await.map(|lost| lost.outcome(outcome)),
            Err(failure) => Err(failure),
        };
        ended.map_err(|failure| failure.with_relationships(self.removed.documents_of(&deletion.device)))
    }

    async fn find_and_settle(&self, deletion: &Deletion, now: Timestamp) -> Result<Outcome, Unanswered> {
        match self.find(deletion, now).await? {
            Ok(sighting) => self.settle(deletion, sighting).await,
            Err(rule) => Ok(Outcome::LeftOut(rule)),
        }
    }

    /// The twin of the deleted device: the one that its tag named, else the one that is bound to it.
    async fn find(&self, deletion: &Deletion, now: Timestamp) -> Result<Result<Sighting, LeftOut>, Unanswered> {
        let mut rule = LeftOut::NotFound;
        if let Some(id) = &deletion.tagged
            && let Some(sighting) = self.read(id).await?
        {
            let bookkeeping = sighting.bookkeeping();
            match plan(deletion, &sighting.twin, bookkeeping, self.on_delete) {
                Err(LeftOut::NotBound) => rule = LeftOut::NotBound,
                _ => return Ok(Ok(sighting)),
            }
        }
        let found = self.attempt.call(self.directory.look_up(&deletion.device)).await?;
        if let Some(found) = found {
            return Ok(Ok(Sighting { twin: found.twin, models: found.models }));
        }
        if deletion.tagged.is_none() && now.duration_since(deletion.source_time).abs() < QUERY_LAG {
            let detail = format!("no twin of {} is found yet, and queries lag behind", deletion.device);
            return Err(Unanswered::Failed(Failure::early(detail)));
        }
        Ok(Err(rule))
    }

    /// Does what the deletion asks for, as often as the twin changes meanwhile.
    async fn settle(&self, deletion: &Deletion, mut sighting: Sighting) -> Result<Outcome, Unanswered> {
        let mut has_relationships = true;
        for _ in 0..MAX_LOOKS {
            let twin = &sighting.twin;
            let change = match plan(deletion, twin, sighting.bookkeeping(), self.on_delete) {
                Ok(change) => change,
                Err(rule) => {
                    tracing::info!(device = %deletion.device, twin = %twin.id(), rule = rule.label(), "deletion ignored");
                    return Ok(Outcome::LeftOut(rule));
                }
            };
            match self.change(deletion, twin, &change, &mut has_relationships).await? {
                Try::Done => {
                    self.directory.forget(twin.id());
                    self.directory.forget_device(&deletion.device);
                    self.removed.forget(&deletion.device, twin.id());
                    return Ok(Outcome::Applied);
                }
                Try::Changed => match self.read(twin.id()).await? {
                    Some(again) => sighting = again,
                    // Somebody else deleted it, or our own delete got through and its answer was lost.
                    None => {
                        self.removed.forget(&deletion.device, twin.id());
                        return Ok(Outcome::Applied);
                    }
                },
                Try::Related => has_relationships = true,
            }
        }
        Err(Unanswered::Failed(Failure::unsteady(format!("twin {} changes all the time", sighting.twin.id()))))
    }

    async fn change(
        &self,
        deletion: &Deletion,
        twin: &Twin,
        change: &Change,
        has_relationships: &mut bool,
    ) -> Result<Try, Unanswered> {
        let condition = Condition::IfMatch(twin.etag().clone());
        let (answer, count) = match change {
            Change::Unassign(patch) if patch.is_empty() => return Ok(Try::Done),
            Change::Unassign(patch) => {
                let patched = self.attempt.call(self.client.patch(twin.id(), patch, condition)).await;
                (patched.map(drop), &self.unassigned)
            }
            Change::Delete => {
                if *has_relationships {
                    self.delete_relationships(&deletion.device, twin.id()).await?;
                    *has_relationships = false;
                }
                (self.attempt.call(self.client.delete(twin.id(), condition)).await, &self.deleted)
            }
        };
        match answer {
            Ok(()) => {
                count.fetch_add(1, Ordering::Relaxed);
                Ok(Try::Done)
            }
            Err(Unanswered::Refused(Error::PreconditionFailed { .. } | Error::NotFound { .. })) => Ok(Try::Changed),
            Err(Unanswered::Refused(Error::Refused { code, .. })) if code == "RelationshipsNotDeleted" => {
                Ok(Try::Related)
            }
            Err(unanswered) => Err(unanswered),
        }
    }

    async fn read(&self, id: &TwinId) -> Result<Option<Sighting>, Unanswered> {
        let Some(twin) = self.attempt.call(self.client.get(id)).await? else {
            return Ok(None);
        };
        let models = self.attempt.call(self.client.model_of(&twin)).await?;
        Ok(Some(Sighting { twin, models }))
    }
}

impl Sighting {
    fn bookkeeping(&self) -> Bookkeeping {
        Bookkeeping::of(&self.models, self.twin.model())
    }
}

/// The answer, or none where what was asked for does not exist.
pub(super) fn existing<T>(answer: Result<T, Unanswered>) -> Result<Option<T>, Unanswered> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(Unanswered::Refused(Error::NotFound { .. })) => Ok(None),
        Err(unanswered) => Err(unanswered),
    }
}
