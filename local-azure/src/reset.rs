//! Everything back to what it is at the start, while everything runs.

use std::{collections::BTreeSet, sync::Arc};

use jiff::SignedDuration;

use crate::{
    StartError,
    clock::Clock,
    digital_twins::{DigitalTwins, Options, Scheme, State},
    functions_host,
    gate::Gate,
    services::{Services, load_graph},
    store::Store,
};

/// Why a reset is not done, or not whole.
#[derive(Debug, thiserror::Error)]
pub enum ResetError {
    /// The graph of the start cannot be loaded any more. That is tried before anything is forgotten.
    #[error("there is no start to go back to: {0}")]
    Graph(#[source] Box<StartError>),
    /// A handler does not come back. Everything else is as at the start.
    #[error("everything is as at the start, but for the handlers: {0}")]
    Functions(#[from] functions_host::Error),
}

impl Services {
    /// Puts everything back to what it is at the start: models, twins and relationships, devices, registrations,
    /// events, checkpoints, dead letters, faults and counts. Devices are disconnected. Handlers are started anew, since
    /// they remember twins that are gone. Returns when they answer.
    ///
    /// # Errors
    /// [`ResetError`].
    pub async fn reset(&self) -> Result<(), ResetError> {
        let _alone = self.resetting.lock().await;
        // A file that was changed since is refused before anything is lost.
        let start = scratch(self.digital_twins.clock().clone());
        load_graph(&self.graph, &start).map_err(|error| ResetError::Graph(Box::new(error)))?;
        self.functions.restart(async { self.clear(&start) }).await?;
        self.compact().await;
        Ok(())
    }

    /// Without handlers nothing new comes of what is being forgotten.
    fn clear(&self, start: &DigitalTwins) {
        self.dps.clear();
        self.event_hubs.iter().for_each(|hub| hub.clear());
        self.blobs.clear();
        self.digital_twins.begin_anew(start);
        self.gate.reset();
    }

    /// What was forgotten takes no room on the disk.
    async fn compact(&self) {
        let Some(data_dir) = self.data_dir.clone() else { return };
        match tokio::task::spawn_blocking(move || data_dir.compact()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!("the journal still holds what was before the reset: {error}"),
            Err(error) => tracing::warn!("the journal still holds what was before the reset: {error}"),
        }
    }
}

/// An instance that nobody can see.
fn scratch(clock: Clock) -> Arc<DigitalTwins> {
    DigitalTwins::new(Options {
        clock,
        gate: Arc::new(Gate::default()),
        accepts_token: Arc::new(|_| None),
        query_lag: SignedDuration::ZERO,
        endpoints: BTreeSet::new(),
        store: Store::new(State::default()),
        scheme: Scheme::Https,
    })
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;
    use crate::{config::Graph, digital_twins::Error};

    #[test]
    fn nobody_finds_less_than_the_start_and_nobody_gets_in_between() {
        let (twins, start) = (scratch(Clock::system()), scratch(Clock::system()));
        load_graph(&Graph::Sample, &start).unwrap();
        twins.begin_anew(&start);
        let model = serde_json::from_str(crate::compiled_app::MODELS[0]).unwrap();
        thread::scope(|scope| {
            let resets = scope.spawn(|| (0..100).for_each(|_| twins.begin_anew(&start)));
            while !resets.is_finished() {
                assert_eq!((twins.twin_count(), twins.relationship_count(), twins.model_count()), (4, 3, 2));
                let refused = twins.upload_models(std::slice::from_ref(&model));
                assert!(matches!(refused, Err(Error::ModelsExist(_))), "{refused:?}");
            }
        });
    }
}
