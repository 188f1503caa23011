//! What an instance has as a whole. For operators, who want everything; the functions ask for single things.

use dtdl::{Interface, ModelId};
use serde::Deserialize;
use serde_json::Value;

use super::{Class, Client, Error, MAX_MODELS};

/// A model as the instance keeps it.
#[derive(Debug, Clone)]
pub struct StoredModel {
    /// Its id.
    pub id: ModelId,
    /// No new twins can have it.
    pub is_decommissioned: bool,
    /// What it says, or why that cannot be read.
    pub interface: Result<Interface, String>,
}

#[derive(Deserialize)]
struct Row {
    id: String,
    #[serde(default)]
    decommissioned: bool,
    #[serde(default)]
    model: Value,
}

impl Client {
    /// All models of the instance.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn list_models(&self) -> Result<Vec<StoredModel>, Error> {
        const OPERATION: &str = "list models";
        let answer = |reason: String| Error::Answer { operation: OPERATION, reason };
        let mut url = self.url(&["models"]);
        url.query_pairs_mut().append_pair("includeModelDefinition", "true");
        let rows = self.list(OPERATION, Class::Model, url, MAX_MODELS).await?;
        let model = |row: Value| {
            let Row { id, decommissioned, model } =
                serde_json::from_value(row).map_err(|error| answer(error.to_string()))?;
            Ok(StoredModel {
                id: ModelId::parse(&id).map_err(|error| answer(error.to_string()))?,
                is_decommissioned: decommissioned,
                interface: Interface::parse(&model).map_err(|error| error.to_string()),
            })
        };
        rows.into_iter().map(model).collect()
    }
}
