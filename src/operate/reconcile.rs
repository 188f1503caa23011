//! `handler reconcile`: the devices of IoT hubs against their twins.
//!
//! [`look`] reads both sides, [`plan`] says how they differ, [`act`] does what is to be done. What is acted on is read
//! again first, and every change is conditional: between looking and acting, devices come and go.

mod act;
mod difference;
mod look;
mod plan;

use futures::StreamExt;
use jiff::Timestamp;

use self::act::Actor;
use self::difference::Difference;
use self::look::Look;
use self::plan::{Plan, Scope, plan};
use super::command_line::ReconcileArguments;
use super::console::{Progress, inline, say};
use super::iot_hub::{self, HubError};
use super::{Error, Exit, settings};
use crate::binding::Directory;
use crate::digital_twins::Client;

/// Differences that are mended at once.
const CONCURRENT: usize = 8;

pub(super) async fn run(arguments: &ReconcileArguments) -> Result<Exit, Error> {
    let settings = settings()?;
    let hubs = iot_hub::hubs(&arguments.hubs, &settings)?;
    if hubs.is_empty() {
        return Err(HubError::None.into());
    }
    let grace = arguments.grace;
    let bound_before = Timestamp::now().checked_sub(grace).map_err(|error| Error::Grace(grace, error))?;
    let client = Client::connect(&settings.digital_twins, &settings.credentials)?;
    let directory = Directory::new(client.clone(), settings.twin_cache_size.get());
    let Look { devices, twins } = look::look(&client, &directory, &hubs).await?;
    let scope =
        Scope { hubs: hubs.iter().map(|hub| hub.name().clone()).collect(), all_hubs: arguments.all_hubs, bound_before };
    let Plan { differences, counts } = plan(&devices, &twins, &scope);
    say(&counts);
    let (removals, limit) = (differences.iter().filter(|it| it.removes_a_twin()).count(), arguments.max_removals);
    if !arguments.apply || removals > limit {
        differences.iter().for_each(say);
    }
    if !arguments.apply {
        if differences.iter().any(Difference::can_be_mended) {
            say("Nothing was changed; --apply does what the arrows say.");
        }
        return Ok(if differences.is_empty() { Exit::Fine } else { Exit::Attention });
    }
    if removals > limit {
        return Err(Error::TooManyRemovals { removals, limit });
    }
    if differences.is_empty() {
        return Ok(Exit::Fine);
    }
    let actor = Actor::new(&client, &hubs, &settings, directory, bound_before);
    let left = mend(&actor, &differences).await;
    Ok(if left == 0 { Exit::Fine } else { Exit::Attention })
}

/// Mends what can be mended; returns how many differences are left.
async fn mend(actor: &Actor<'_>, differences: &[Difference]) -> usize {
    let progress = Progress::begin("mending", Some(differences.len()));
    let mut left = 0;
    let mending = differences.iter().map(async |difference| (difference, actor.mend(difference).await));
    let mut mending = std::pin::pin!(futures::stream::iter(mending).buffered(CONCURRENT));
    while let Some((difference, mended)) = mending.next().await {
        progress.advance(1);
        match mended {
            Ok(done) => progress.say(format_args!("{}: {done}", difference.what())),
            Err(reason) => {
                left += 1;
                progress.say(format_args!("{}\n  left: {}", difference.what(), inline(&reason)));
            }
        }
    }
    drop(progress);
    say(format_args!("{} mended, {left} left", differences.len() - left));
    left
}
