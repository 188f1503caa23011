//! (h) local-azure's twin graph: memory a twin, look-ups, and walks over all of it.

use std::time::Instant;

use anyhow::{Context as _, ensure};
use reqwest::{Certificate, Client};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{median, table::Row};
use crate::neighbor::{self, BUILDING, Neighbor};

const SIZES: [usize; 2] = [1_000, 100_000];
const QUICK_SIZES: [usize; 2] = [1_000, 10_000];
const LOOK_UPS: usize = 300;
const WALKS: usize = 5;

/// What was measured.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// By number of twins.
    pub sizes: Vec<Size>,
    /// With the largest number, each in a space of a hundred, those in one building, to find a single twin by a property
    /// that no index knows.
    pub walks: Walks,
}

/// With so many twins.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Size {
    /// How many.
    pub twins: usize,
    /// Resident memory that each takes.
    pub bytes_a_twin: f64,
    /// To find a twin by the text of a property, in milliseconds, over HTTPS.
    pub look_up_ms: f64,
}

/// Medians, in milliseconds.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Walks {
    /// Two `JOIN`s.
    pub join_ms: f64,
    /// `MATCH` with two hops.
    pub match_ms: f64,
}

pub(super) async fn measure(quick: bool) -> anyhow::Result<Report> {
    let mut sizes = Vec::new();
    let mut walks = None;
    for twins in if quick { QUICK_SIZES } else { SIZES } {
        let mut neighbor = Neighbor::start().await?;
        let before = neighbor.resident()?;
        neighbor.add_twins(0, twins).await?;
        let bytes = neighbor.resident()?.saturating_sub(before);
        let look_up_ms = Queries::of(&neighbor)?.look_ups(twins).await?;
        // Both are far below 2^53.
        #[expect(clippy::cast_precision_loss, reason = "see above")]
        let bytes_a_twin = bytes as f64 / twins as f64;
        sizes.push(Size { twins, bytes_a_twin, look_up_ms });
        neighbor.add_spaces(twins).await?;
        walks = Some(Queries::of(&neighbor)?.walks(twins / 2).await?);
        neighbor.stop().await?;
    }
    Ok(Report { sizes, walks: walks.context("nothing was measured")? })
}

/// Asks for twins.
struct Queries<'a> {
    neighbor: &'a Neighbor,
    client: Client,
}

#[derive(Deserialize)]
struct Page {
    value: Vec<Value>,
}

impl<'a> Queries<'a> {
    fn of(neighbor: &'a Neighbor) -> anyhow::Result<Self> {
        let authority = Certificate::from_pem(&std::fs::read(&neighbor.addresses.ca_file)?)?;
        Ok(Self { neighbor, client: Client::builder().no_proxy().tls_certs_only([authority]).build()? })
    }

    async fn look_ups(&self, twins: usize) -> anyhow::Result<f64> {
        let mut times = Vec::new();
        for number in (0..twins).step_by(twins / LOOK_UPS).take(LOOK_UPS) {
            let id = neighbor::twin(number);
            let query = format!("SELECT * FROM DIGITALTWINS T WHERE T.HubRegistrationId = '{id}'");
            times.push(self.finds(&query, &id).await?);
        }
        Ok(median(times))
    }

    /// Looks for the twin of that number from the building on.
    async fn walks(&self, number: usize) -> anyhow::Result<Walks> {
        const HOT: f64 = 99.5;
        let id = neighbor::twin(number);
        let url = format!("{}/digitaltwins/{id}?api-version=2023-10-31", self.neighbor.addresses.digital_twins);
        let patch = json!([{ "op": "add", "path": "/Temperature", "value": HOT }]);
        let request = self.client.patch(url).bearer_auth(&self.neighbor.addresses.token);
        let request = request.header("content-type", "application/json-patch+json").body(patch.to_string());
        request.send().await?.error_for_status()?;
        let condition = format!("B.$dtId = '{BUILDING}' AND T.Temperature = {HOT}");
        let join = "SELECT T FROM DIGITALTWINS B JOIN S RELATED B.contains JOIN T RELATED S.contains";
        let hops = "SELECT T FROM DIGITALTWINS MATCH (B)-[:contains]->(S)-[:contains]->(T)";
        Ok(Walks {
            join_ms: self.walk(&format!("{join} WHERE {condition}"), &id).await?,
            match_ms: self.walk(&format!("{hops} WHERE {condition}"), &id).await?,
        })
    }

    async fn walk(&self, query: &str, id: &str) -> anyhow::Result<f64> {
        let mut times = Vec::new();
        for _ in 0..WALKS {
            times.push(self.finds(query, id).await?);
        }
        Ok(median(times))
    }

    /// The milliseconds until a query has found that twin and no other.
    async fn finds(&self, query: &str, id: &str) -> anyhow::Result<f64> {
        let addresses = &self.neighbor.addresses;
        let url = format!("{}/query?api-version=2023-10-31", addresses.digital_twins);
        let request = self.client.post(url).bearer_auth(&addresses.token).json(&json!({ "query": query }));
        let start = Instant::now();
        let response = request.send().await?;
        let (status, body) = (response.status(), response.bytes().await?);
        let elapsed = start.elapsed();
        ensure!(status.is_success(), "{query}: {status}: {}", body.escape_ascii());
        let rows = serde_json::from_slice::<Page>(&body)?.value;
        let found: Vec<_> = rows.iter().filter_map(|row| row.get("T").unwrap_or(row).get("$dtId")?.as_str()).collect();
        ensure!(found == [id], "{query} finds {found:?} instead of {id}");
        Ok(elapsed.as_secs_f64() * 1e3)
    }
}

impl Report {
    pub(super) fn rows(&self) -> Vec<Row> {
        let mut rows = Vec::new();
        for Size { twins, bytes_a_twin, look_up_ms } in &self.sizes {
            rows.push(Row::new(format!("(h) {twins} twins: resident memory a twin"), format!("{bytes_a_twin:.0} B")));
            rows.push(Row::new(format!("(h) {twins} twins: indexed look-up"), format!("{look_up_ms:.2} ms")));
        }
        let twins = self.sizes.last().map_or(0, |size| size.twins);
        let walk = |name: &str, ms: f64| Row::new(format!("(h) {twins} twins: {name} over all"), format!("{ms:.0} ms"));
        rows.extend([walk("two JOINs", self.walks.join_ms), walk("a MATCH of two hops", self.walks.match_ms)]);
        rows
    }
}
