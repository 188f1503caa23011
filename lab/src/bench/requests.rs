//! (g) Reads and patches of local-azure's twins, against a bare axum server behind the same TLS.

use std::time::Duration;

use anyhow::ensure;
use futures::future::try_join_all;
use reqwest::{Certificate, Client, RequestBuilder};
use serde::Serialize;
use tokio::time::Instant;

use super::{median, table::Row};
use crate::neighbor::{self, Neighbor};

const TWINS: usize = 1_000;
const AT_ONCE: usize = 16;
const ROUNDS: usize = 7;
const TIME: Duration = Duration::from_secs(2);
const QUICK_TIME: Duration = Duration::from_millis(200);
const PATCH: &str = r#"[{"op":"add","path":"/Temperature","value":21.5}]"#;

/// What was measured, in requests a second: medians of rounds in turns, whoever asks included.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// `GET` of a twin.
    pub reads: Pair,
    /// `PATCH` of a twin.
    pub patches: Pair,
}

/// The same requests to both.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Pair {
    /// To local-azure.
    pub local_azure: f64,
    /// To the bare server.
    pub bare: f64,
    /// The first against the second.
    pub ratio: f64,
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Read,
    Patch,
}

pub(super) async fn measure(quick: bool) -> anyhow::Result<Report> {
    let mut neighbor = Neighbor::start().await?;
    neighbor.add_twins(0, TWINS).await?;
    let authority = Certificate::from_pem(&std::fs::read(&neighbor.addresses.ca_file)?)?;
    let client = Client::builder().no_proxy().tls_certs_only([authority]).build()?;
    let time = if quick { QUICK_TIME } else { TIME };
    let reads = pair(&client, &neighbor, Kind::Read, time).await?;
    let patches = pair(&client, &neighbor, Kind::Patch, time).await?;
    neighbor.stop().await?;
    Ok(Report { reads, patches })
}

async fn pair(client: &Client, neighbor: &Neighbor, kind: Kind, time: Duration) -> anyhow::Result<Pair> {
    let (local_azure, bare) = (&neighbor.addresses.digital_twins, &neighbor.addresses.bare_https);
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    // The first round of each opens the connections.
    for round in 0..=ROUNDS {
        let rates = [
            rate(client, local_azure, &neighbor.addresses.token, kind, time).await?,
            rate(client, bare, &neighbor.addresses.token, kind, time).await?,
        ];
        if round > 0 {
            ours.push(rates[0]);
            theirs.push(rates[1]);
        }
    }
    let (local_azure, bare) = (median(ours), median(theirs));
    Ok(Pair { local_azure, bare, ratio: local_azure / bare })
}

/// Requests a second, some at once.
async fn rate(client: &Client, base: &str, token: &str, kind: Kind, time: Duration) -> anyhow::Result<f64> {
    let start = Instant::now();
    let one = |worker: usize| async move {
        let mut answered = 0_u32;
        for number in (worker..).step_by(AT_ONCE) {
            if start.elapsed() > time {
                break;
            }
            let url = format!("{base}/digitaltwins/{}?api-version=2023-10-31", neighbor::twin(number % TWINS));
            ask(kind.request(client, url).bearer_auth(token)).await?;
            answered += 1;
        }
        anyhow::Ok(answered)
    };
    let answered: u32 = try_join_all((0..AT_ONCE).map(one)).await?.into_iter().sum();
    Ok(f64::from(answered) / start.elapsed().as_secs_f64())
}

async fn ask(request: RequestBuilder) -> anyhow::Result<()> {
    let response = request.send().await?;
    let (status, body) = (response.status(), response.bytes().await?);
    ensure!(status.is_success(), "{status}: {}", body.escape_ascii());
    Ok(())
}

impl Kind {
    fn request(self, client: &Client, url: String) -> RequestBuilder {
        match self {
            Self::Read => client.get(url),
            Self::Patch => client.patch(url).header("content-type", "application/json-patch+json").body(PATCH),
        }
    }
}

impl Report {
    pub(super) fn rows(&self) -> Vec<Row> {
        let mut rows = Vec::new();
        for (name, pair, wanted) in [("reads", &self.reads, 0.4), ("patches", &self.patches, 0.15)] {
            rows.push(Row::new(format!("(g) {name}/s of a bare server"), format!("{:.0}", pair.bare)));
            rows.push(Row::new(format!("(g) {name}/s of local-azure's twins"), format!("{:.0}", pair.local_azure)));
            rows.push(Row::at_least(
                format!("(g) {name}: local-azure against the bare server"),
                pair.ratio,
                wanted,
                "x",
            ));
        }
        rows
    }
}
