//! How an attempt at a batch ends: one line for the log, and the answer for the host.

use std::time::Duration;

use jiff::Timestamp;

use super::{Attempt, Counts, Once, Outcomes};
use crate::dead_letter::{Body, DeadLetter, Document, Reason};
use crate::digital_twins::{Client, Error, TwinId};
use crate::host::{Answer, Event, EventBatch, Output};

/// Output binding of both event functions (function.json).
const DEAD_LETTERS: &str = "deadLetters";

/// Dead letters of one batch that get a line of their own in the log; all are in the document.
const MAX_LOGGED: usize = 8;

/// A twin that there is not: to read it asks the service little, and it answers that there is none.
const PROBE: &str = "function-app-probe";

/// How often to warn that batches wait.
const WARN_EVERY: Duration = Duration::from_secs(60);

/// Remembers when it was last said that batches of a function wait.
#[derive(Debug, Clone)]
pub struct Outages(Once<()>);

impl Outages {
    /// Nothing was said yet.
    #[must_use]
    pub fn new() -> Self {
        Self(Once::every(WARN_EVERY, 1))
    }
}

impl Default for Outages {
    fn default() -> Self {
        Self::new()
    }
}

/// What an attempt did.
#[derive(Debug)]
pub struct Work {
    /// What became of the events so far.
    pub outcomes: Outcomes,
    /// Twins that it was about.
    pub twins: usize,
    /// Patches that Azure Digital Twins took.
    pub patches: usize,
    /// Twins that it deleted.
    pub deleted: usize,
}

/// The end of an attempt.
#[derive(Debug)]
pub struct Report<'a> {
    /// The function's name.
    pub function: &'static str,
    /// The batch.
    pub batch: &'a EventBatch,
    /// The attempt.
    pub attempt: &'a Attempt,
}

impl Report<'_> {
    /// Gives up on what has failed often enough alone, writes the summary line, and answers the host: done, with the
    /// dead letters, or to bring the batch again.
    ///
    /// Dead letters travel only with the answer that ends the batch. Until then they are found anew at each attempt.
    pub async fn conclude(&self, mut work: Work, client: &Client, outages: &Outages) -> Answer {
        if work.outcomes.open().next().is_some() && self.attempt.gives_up(&work.outcomes, probe(client)).await {
            work.outcomes.give_up(self.attempt.number());
        }
        let outcomes = &work.outcomes;
        let counts = outcomes.count();
        self.summarize(&work, &counts);
        if counts.open > 0 {
            return self.again(outcomes, &counts, outages);
        }
        let letters: Vec<_> = outcomes
            .dead_letters()
            .filter_map(|(index, reason)| Some((self.batch.events.get(index)?, reason)))
            .collect();
        if letters.is_empty() {
            return Answer::done();
        }
        for (event, reason) in letters.iter().take(MAX_LOGGED) {
            tracing::warn!(
                device = event.device_id().as_ref().map(tracing::field::display),
                sequence = event.sequence_number,
                reason = ?reason.code,
                detail = reason.detail,
                "dead letter"
            );
        }
        let letters = letters.into_iter().map(|(event, reason)| self.dead_letter(event, reason)).collect();
        match Output::json(&Document::new(self.function, Timestamp::now(), letters)) {
            Ok(document) => Answer::with_output(DEAD_LETTERS, document),
            Err(error) => Answer::again(format!("dead letters cannot be written: {error}")),
        }
    }

    fn again(&self, outcomes: &Outcomes, counts: &Counts, outages: &Outages) -> Answer {
        let last = outcomes.open().find_map(|(_, failure)| failure).map_or("time is over", |failure| failure.detail());
        let reason = format!("{} of {} events failed for now: {last}", counts.open, counts.events);
        if outages.0.is_first(()) {
            tracing::warn!(
                function = self.function,
                partition = self.batch.partition,
                attempt = self.attempt.number(),
                reason,
                "the batch has to come again; its partition waits"
            );
        }
        Answer::again(reason)
    }

    fn summarize(&self, work: &Work, counts: &Counts) {
        let left_out: usize = counts.left_out.values().sum();
        tracing::info!(
            function = self.function,
            partition = self.batch.partition,
            attempt = self.attempt.number(),
            events = counts.events,
            applied = counts.applied,
            superseded = counts.superseded,
            left_out,
            left_out_by = ?counts.left_out,
            dead_letters = counts.dead_letters,
            open = counts.open,
            twins = work.twins,
            patches = work.patches,
            deleted = work.deleted,
            adt_calls = self.attempt.usage().calls(),
            ms = u64::try_from(self.attempt.elapsed().as_millis()).unwrap_or(u64::MAX),
            "batch"
        );
    }

    fn dead_letter(&self, event: &Event, reason: &Reason) -> DeadLetter {
        DeadLetter {
            reason: reason.clone(),
            device_id: event.device_id().map(|id| id.to_string()),
            source_time: event.source_time(),
            sequence_number: event.sequence_number,
            partition: self.batch.partition.clone(),
            properties: event.properties.iter().map(|(name, value)| (name.to_owned(), value.clone())).collect(),
            system_properties: event.system.iter().map(|(name, value)| (name.to_owned(), value.clone())).collect(),
            body: Body(event.body.clone()),
        }
    }
}

/// Whether the service answers at all.
pub(crate) async fn probe(client: &Client) -> Result<(), Error> {
    match TwinId::parse(PROBE) {
        Ok(id) => client.get(&id).await.map(drop),
        Err(_) => Ok(()),
    }
}
