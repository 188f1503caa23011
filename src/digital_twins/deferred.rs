//! HTTP clients that are made while the app serves already.
//!
//! To make one, the system's trusted roots are read, which takes longer than all else of the start together. The
//! Functions host should not wait for that.

use std::sync::Arc;

use async_trait::async_trait;
use azure_core::error::ErrorKind;
use azure_core::http::{AsyncRawResponse, HttpClient, Request};
use tokio::sync::OnceCell;

use super::ConnectError;
use super::connect::{build, builder};
use super::wire::chain;

/// An HTTP client that is made when it is first needed.
#[derive(Debug)]
pub(super) struct DeferredClient {
    recipe: Recipe,
    made: OnceCell<reqwest::Client>,
}

#[derive(Debug, Clone)]
struct Recipe {
    further_roots: Vec<reqwest::Certificate>,
    uses_proxy: bool,
}

impl DeferredClient {
    /// Trusts the system's roots and `further_roots`, and asks the proxy that the environment names, if any.
    pub(super) fn trusting(further_roots: Vec<reqwest::Certificate>) -> Arc<Self> {
        Self::new(Recipe { further_roots, uses_proxy: true })
    }

    /// For servers on this machine: no proxy is asked for them.
    pub(super) fn local() -> Arc<Self> {
        Self::new(Recipe { further_roots: Vec::new(), uses_proxy: false })
    }

    fn new(recipe: Recipe) -> Arc<Self> {
        Arc::new(Self { recipe, made: OnceCell::new() })
    }

    async fn client(&self) -> Result<&reqwest::Client, ConnectError> {
        let make = || async {
            let recipe = self.recipe.clone();
            let made = tokio::task::spawn_blocking(move || recipe.make()).await;
            made.unwrap_or_else(|error| Err(ConnectError::Http { reason: chain(&error) }))
        };
        self.made.get_or_try_init(make).await
    }
}

impl Recipe {
    fn make(self) -> Result<reqwest::Client, ConnectError> {
        let builder = builder(self.further_roots);
        build(if self.uses_proxy { builder } else { builder.no_proxy() })
    }
}

#[async_trait]
impl HttpClient for DeferredClient {
    async fn execute_request(&self, request: &Request) -> azure_core::Result<AsyncRawResponse> {
        let client = self.client().await.map_err(|error| azure_core::Error::new(ErrorKind::Other, error))?;
        client.execute_request(request).await
    }
}

/// The HTTP clients of a [`Client`](super::Client), which are still to be made.
#[derive(Debug)]
pub struct Preparation(Vec<Arc<DeferredClient>>);

impl Preparation {
    pub(super) fn of(clients: impl IntoIterator<Item = Arc<DeferredClient>>) -> Self {
        Self(clients.into_iter().collect())
    }

    /// Makes them ahead of the first call, which would have to wait for them otherwise.
    ///
    /// # Errors
    /// [`ConnectError::Http`]: without them no call can succeed.
    pub async fn finish(self) -> Result<(), ConnectError> {
        for client in self.0 {
            client.client().await?;
        }
        Ok(())
    }
}
