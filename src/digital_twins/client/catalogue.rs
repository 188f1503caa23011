//! What an instance has as a whole: all its models, all twins that a query finds. For operators, who want everything;
//! the functions ask for single things.

use azure_core::http::Method;
use dtdl::{Interface, ModelId};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Class, Client, Error, JSON, MAX_MODELS, Page, Query, Twin, each, parse, with_json};

/// The most pages of a query: an instance holds two million twins, and a page can be small.
const MAX_PAGES: usize = 200_000;

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

    /// Hands the twins that a query finds to `take`, page by page and however many they are. As for
    /// [`query`](Self::query), what was written up to 10 s ago need not be among them.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn scan(&self, query: &Query, mut take: impl FnMut(Vec<Twin>) + Send) -> Result<(), Error> {
        const OPERATION: &str = "query twins";
        let mut body = json!({ "query": query.text() });
        let mut last = None;
        for _ in 0..MAX_PAGES {
            let request = with_json(self.url(&["query"]), Method::Post, JSON, &body);
            let page: Page = parse(OPERATION, &self.wire.send(OPERATION, Class::Query, request).await?)?;
            take(each(OPERATION, page.value, Twin::from_json)?);
            let Some(token) = page.continuation_token.filter(|token| !token.is_empty()) else { return Ok(()) };
            if last.as_ref() == Some(&token) {
                break;
            }
            body = json!({ "query": query.text(), "continuationToken": token });
            last = Some(token);
        }
        Err(Error::Answer { operation: OPERATION, reason: "its pages do not come to an end".to_owned() })
    }
}
