//! Deletes the relationships of a twin before the twin, and puts them back if the twin lives on.

use futures::StreamExt;
use futures::stream;

use super::apply::{Remover, existing};
use super::removed::Loss;
use crate::dead_letter::{Code, Reason};
use crate::device::DeviceId;
use crate::digital_twins::{Error, IncomingRelationship, Relationship, TwinId};
use crate::outcome::{Failure, Outcome, Unanswered};

/// Relationships of one twin that are worked on at once.
const CONCURRENT: usize = 16;

/// Relationships that cannot be put back.
#[derive(Debug, Default)]
pub(super) struct Lost {
    documents: Vec<String>,
    /// How many more there were than are kept.
    unkept: usize,
    /// What the service says about one of them.
    cause: Option<String>,
}

impl Lost {
    fn of(loss: &Loss) -> Self {
        Self { unkept: loss.unkept, ..Self::default() }
    }

    fn add(&mut self, relationship: &Relationship, error: &Error) {
        self.cause.get_or_insert_with(|| format!("{}/{}: {error}", relationship.source, relationship.id));
        self.documents.push(relationship.document().to_string());
    }

    fn extend(&mut self, other: Self) {
        self.documents.extend(other.documents);
        self.unkept += other.unkept;
        self.cause = self.cause.take().or(other.cause);
    }

    fn is_empty(&self) -> bool {
        self.documents.is_empty() && self.unkept == 0
    }

    /// What becomes of the event, which has ended as `outcome`: a dead letter, if anything is lost.
    pub(super) fn outcome(self, outcome: Outcome) -> Outcome {
        if self.is_empty() {
            return outcome;
        }
        let reason = match outcome {
            Outcome::DeadLetter(reason) => reason,
            _ => Reason::new(Code::Relationships, self.detail()),
        };
        Outcome::DeadLetter(reason.with_relationships(self.documents))
    }

    fn detail(&self) -> String {
        let count = self.documents.len() + self.unkept;
        let mut detail = format!("the twin lives on, and {count} relationships that it had cannot be put back");
        if self.unkept > 0 {
            detail.push_str(&format!(" ({} of them were too many to be kept)", self.unkept));
        }
        if let Some(cause) = &self.cause {
            detail.push_str(&format!("; {cause}"));
        }
        detail
    }
}

impl Remover<'_> {
    /// Deletes all relationships that leave the twin of `device` or lead to it, and keeps what they were. One that is
    /// gone already is fine, and so is a twin that is: the next read tells.
    pub(super) async fn delete_relationships(&self, device: &DeviceId, twin: &TwinId) -> Result<(), Unanswered> {
        let (outgoing, incoming) = futures::join!(
            self.attempt.call(self.client.relationships(twin)),
            self.attempt.call(self.client.incoming_relationships(twin)),
        );
        let mut all = existing(outgoing)?.unwrap_or_default();
        let reads = existing(incoming)?.unwrap_or_default().into_iter().map(|it| self.read_relationship(it));
        let reads: Vec<_> = reads.collect();
        let mut reads = stream::iter(reads).buffer_unordered(CONCURRENT);
        while let Some(read) = reads.next().await {
            all.extend(read?);
        }
        let deletions = all.into_iter().map(|relationship| self.delete_relationship(device, twin, relationship));
        let deletions: Vec<_> = deletions.collect();
        let mut deletions = stream::iter(deletions).buffer_unordered(CONCURRENT);
        while let Some(deleted) = deletions.next().await {
            deleted?;
        }
        Ok(())
    }

    /// Lists do not tell the properties of relationships that lead to a twin.
    async fn read_relationship(&self, found: IncomingRelationship) -> Result<Option<Relationship>, Unanswered> {
        existing(self.attempt.call(self.client.relationship(&found.source, &found.id)).await).map(Option::flatten)
    }

    async fn delete_relationship(
        &self,
        device: &DeviceId,
        twin: &TwinId,
        relationship: Relationship,
    ) -> Result<(), Unanswered> {
        let (source, id) = (relationship.source.clone(), relationship.id.clone());
        // First, for the answer can get lost.
        self.removed.keep(device, twin, relationship);
        existing(self.attempt.call(self.client.delete_relationship(&source, &id)).await).map(drop)
    }

    /// Puts back what twins lost by the deletion of `device` and which are there still; what cannot be put back.
    ///
    /// A relationship with the same id that somebody made since stays.
    ///
    /// # Errors
    /// A failure that may pass. What is put back until then is done, the rest is found anew.
    pub(super) async fn put_back(&self, device: &DeviceId) -> Result<Lost, Failure> {
        let mut lost = Lost::default();
        for (twin, loss) in self.removed.of(device) {
            lost.extend(self.put_back_of(device, &twin, &loss).await?);
        }
        Ok(lost)
    }

    async fn put_back_of(&self, device: &DeviceId, twin: &TwinId, loss: &Loss) -> Result<Lost, Failure> {
        let puts = loss.relationships().map(|relationship| async move {
            (relationship, self.attempt.call(self.client.put_relationship(relationship)).await)
        });
        let puts: Vec<_> = puts.collect();
        let mut puts = stream::iter(puts).buffer_unordered(CONCURRENT);
        let (mut lost, mut failure, mut count) = (Lost::of(loss), None, 0_usize);
        while let Some((relationship, put)) = puts.next().await {
            match put {
                Ok(_) => {
                    self.removed.is_back(device, twin, relationship);
                    count += 1;
                }
                Err(Unanswered::Refused(error)) => lost.add(relationship, &error),
                Err(Unanswered::Failed(failed)) => failure = Some(failed),
            }
        }
        if count > 0 {
            tracing::info!(%device, %twin, count, "the twin lives on: relationships put back");
        }
        if lost.is_empty() && failure.is_none() {
            return Ok(lost);
        }
        match self.attempt.call(self.client.get(twin)).await {
            // It has been deleted after all, by somebody.
            Ok(None) => {
                self.removed.forget(device, twin);
                Ok(Lost::default())
            }
            Err(Unanswered::Failed(failure)) => Err(failure),
            Ok(Some(_)) | Err(Unanswered::Refused(_)) => failure.map_or(Ok(lost), Err),
        }
    }
}
