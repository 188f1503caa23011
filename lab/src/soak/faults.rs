//! What goes wrong with the services: injected on the layer that every request passes.

use std::{collections::BTreeMap, num::NonZeroUsize, process::Stdio, sync::Arc, time::Duration};

use axum::http::StatusCode;
use fastrand::Rng;
use local_azure::{
    Faults,
    event_hubs::EventHub,
    functions_host::FunctionsHost,
    gate::{Effect, Fault, Service},
};
use tokio::process::Command;

use super::stage::Stage;

/// So many events a partition goes back.
const BACK: u64 = 200;
const BETWEEN_REWINDS: Duration = Duration::from_millis(1_500);
/// A handler that is to die at a call dies at one of its next so many.
const CALLS: u64 = 200;

/// One call of Azure Digital Twins in five goes wrong, one token in four is not issued, one batch in four comes again
/// although it is done. Where there are several instances, one batch in seven takes its partition to the next, while
/// this one still works on it.
///
/// # Errors
/// When there are too many faults.
pub(super) fn inject(faults_on: &Faults, instances: NonZeroUsize, seed: u64) -> anyhow::Result<()> {
    let twins = |effect| Fault::new(Service::DigitalTwins, effect);
    let lost = |function| Fault::new(Service::Functions, Effect::LoseAnswer).on(function);
    let second = Some(Duration::from_secs(1));
    // Of those that would fit a request, only the first happens: together that is one in five.
    let faults = [
        (twins(Effect::Status(StatusCode::INTERNAL_SERVER_ERROR, None)), 0.04),
        (twins(Effect::Status(StatusCode::SERVICE_UNAVAILABLE, second)), 0.03),
        (twins(Effect::Status(StatusCode::TOO_MANY_REQUESTS, second)), 0.02),
        (twins(Effect::Status(StatusCode::GATEWAY_TIMEOUT, None)), 0.02),
        (twins(Effect::Reset), 0.04),
        (twins(Effect::LoseAnswer), 0.04),
        (twins(Effect::Delay(Duration::from_millis(700))), 0.03),
        (Fault::new(Service::Identity, Effect::Status(StatusCode::INTERNAL_SERVER_ERROR, None)), 0.15),
        (Fault::new(Service::Identity, Effect::Reset), 0.10),
        (lost(function_app::telemetry::NAME), 0.15),
        (lost(function_app::lifecycle::NAME), 0.15),
        (Fault::new(Service::EventHubs, Effect::Duplicate), 0.10),
    ];
    let moves = (Fault::new(Service::EventHubs, Effect::Move), 0.15);
    let moves = (instances > NonZeroUsize::MIN).then_some(moves);
    let mut rng = Rng::with_seed(seed);
    for (fault, probability) in faults.into_iter().chain(moves) {
        faults_on.inject(fault.with_probability(probability).with_seed(rng.u64(..)))?;
    }
    Ok(())
}

/// Takes Azure Digital Twins down: half of all requests get an error, half no answer.
///
/// # Errors
/// When there are too many faults.
pub(super) fn take_down(faults: &Faults, seed: u64) -> anyhow::Result<()> {
    let twins = |effect| Fault::new(Service::DigitalTwins, effect);
    faults.inject(twins(Effect::Reset).with_probability(0.5).with_seed(seed))?;
    faults.inject(twins(Effect::Status(StatusCode::SERVICE_UNAVAILABLE, None)))?;
    Ok(())
}

/// Kills handlers again and again: all of them, or one.
pub(super) async fn kill(
    functions: Arc<FunctionsHost>,
    every: Duration,
    seed: u64,
    stage: Arc<Stage>,
) -> anyhow::Result<()> {
    let mut rng = Rng::with_seed(seed);
    loop {
        tokio::time::sleep(every).await;
        let handlers = functions.handlers();
        let chosen = rng.bool().then(|| rng.usize(0..handlers.len().max(1)));
        let killed = handlers.into_iter().enumerate().filter(|(index, _)| chosen.is_none_or(|chosen| chosen == *index));
        for pid in killed.filter_map(|(_, handler)| handler.pid) {
            // One that ended by itself just now is as dead.
            Command::new("kill").args(["-KILL", &pid.to_string()]).stderr(Stdio::null()).status().await?;
            stage.tally.handler_killed();
        }
    }
}

/// Again and again, has a handler die at one of its next calls of Azure Digital Twins: before that is carried out, or
/// after it, when nobody can know.
pub(super) async fn kill_at_calls(faults: Faults, every: Duration, seed: u64) -> anyhow::Result<()> {
    let mut rng = Rng::with_seed(!seed);
    loop {
        tokio::time::sleep(every).await;
        let effect = if rng.bool() { Effect::KillBefore(None) } else { Effect::KillAfter(None) };
        faults.inject(Fault::new(Service::DigitalTwins, effect).after(rng.u64(0..CALLS)).times(1))?;
    }
}

/// Sets one partition after the other back: what was delivered comes again from there.
pub(super) async fn rewind(faults: Faults, hubs: Vec<Arc<EventHub>>, seed: u64) -> anyhow::Result<()> {
    let mut rng = Rng::with_seed(seed);
    loop {
        tokio::time::sleep(BETWEEN_REWINDS).await;
        let Some(hub) = rng.choice(&hubs) else { return Ok(()) };
        let partition = rng.usize(0..hub.partitions()).to_string();
        faults.inject(Fault::new(Service::EventHubs, Effect::Rewind(BACK)).on(hub.name()).about(partition))?;
    }
}

/// How often each fault happened.
pub(super) fn fired(faults: &Faults) -> Vec<(String, u64)> {
    let mut counts = BTreeMap::new();
    for status in faults.all() {
        let fault = serde_json::json!(status.fault);
        let named = ["service", "operation", "effect"].map(|name| fault.get(name).map(ToString::to_string));
        let named: Vec<String> = named.into_iter().flatten().collect();
        *counts.entry(named.join(" ").replace('"', "")).or_default() += status.fired;
    }
    counts.into_iter().collect()
}
