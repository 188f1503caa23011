//! Models with what they extend and contain, fetched once each.

use std::sync::Arc;
use std::time::Duration;

use dtdl::{ModelId, ModelSet};
use moka::sync::Cache;
use tokio::sync::OnceCell;

use super::Error;

/// Models that are remembered. Real graphs have tens of them.
const CAPACITY: u64 = 500;
/// A model never changes, but it can be deleted, and another be made under its id.
const TIME_TO_LIVE: Duration = Duration::from_secs(60 * 60);

/// The models fetched so far. Callers that ask for the same model at the same time share one fetch; a fetch that
/// failed is forgotten.
#[derive(Debug, Clone)]
pub(super) struct Models(Cache<ModelId, Arc<OnceCell<Arc<ModelSet>>>>);

impl Models {
    pub(super) fn new() -> Self {
        Self(Cache::builder().max_capacity(CAPACITY).time_to_live(TIME_TO_LIVE).build())
    }

    pub(super) async fn get(
        &self,
        id: &ModelId,
        fetch: impl Future<Output = Result<ModelSet, Error>>,
    ) -> Result<Arc<ModelSet>, Error> {
        let cell = self.0.get_with_by_ref(id, Arc::default);
        let models = cell.get_or_try_init(|| async { fetch.await.map(Arc::new) }).await;
        if models.is_err() && !cell.initialized() {
            // Ids that do not exist, which a device can make up, do not push real models out.
            self.0.invalidate(id);
        }
        models.cloned()
    }
}
