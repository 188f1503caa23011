//! `GET /control/events`: what happens, as server-sent events.
//!
//! ```text
//! event: deviceConnected
//! data: {"at":"2026-05-01T12:00:00Z","what":"deviceConnected","hub":"localhost","deviceId":"my-thermostat"}
//! ```

use std::convert::Infallible;

use axum::{
    Router,
    extract::State,
    response::sse::{Event, KeepAlive, Sse},
    routing::get,
};
use futures::{Stream, StreamExt as _, stream};
use tokio_util::sync::CancellationToken;

use crate::feed::{Feed, News};

/// The route; streams end with `shutdown`.
pub(super) fn router(feed: Feed, shutdown: CancellationToken) -> Router {
    Router::new().route("/control/events", get(events)).with_state((feed, shutdown))
}

async fn events(
    State((feed, shutdown)): State<(Feed, CancellationToken)>,
) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let news = stream::unfold(feed.listen(), async |mut listener| {
        let news = listener.next().await?;
        Some((Ok(event(&news)), listener))
    });
    Sse::new(news.take_until(shutdown.cancelled_owned())).keep_alive(KeepAlive::default())
}

/// JSON has no line breaks of its own, so it is one line of data.
fn event(news: &News) -> Event {
    let json = serde_json::to_value(news).unwrap_or_default();
    let what = json.get("what").and_then(|what| what.as_str()).unwrap_or("message");
    Event::default().event(what).data(json.to_string())
}
