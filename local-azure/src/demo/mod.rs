//! The story that this project is about, told on a running local-azure: devices come and go, and their twins follow.
//!
//! What happens goes over the wire, as devices and operators would do it; whether it is true is read from the state
//! of the services, behind the wire.

mod checks;
mod stage;
mod steps;

use std::time::{Duration, Instant};

use self::stage::{Stage, StageError};
use crate::Running;

/// What one step may take. Nothing here waits that long unless it will never happen.
const PATIENCE: Duration = Duration::from_secs(30);

/// Hears the story as it goes.
pub trait Narrator {
    /// A step begins.
    fn begins(&mut self, step: &str);
    /// It was verified; `evidence` says by what.
    fn verified(&mut self, step: &str, evidence: &str, took: Duration);
    /// It is not true.
    fn broken(&mut self, step: &str, reason: &str);
}

/// The story does not come true here.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// Devices have registered already.
    #[error(
        "the demo begins where no device has registered yet, and here {0} did: leave out --data-dir, or name an empty \
         folder"
    )]
    NotNew(usize),
    /// Its clients cannot be set up.
    #[error("the demo cannot begin: {0}")]
    Stage(#[from] StageError),
    /// A step could not be verified.
    #[error("not verified: {step}: {reason}")]
    Broken {
        /// Which one.
        step: &'static str,
        /// What was found.
        reason: String,
    },
}

/// Why a step is not true: a sentence.
#[derive(Debug)]
struct Reason(String);

impl<E: std::fmt::Display> From<E> for Reason {
    fn from(error: E) -> Self {
        Self(error.to_string())
    }
}

/// Tells the whole story. `running` must hold the sample graph and nothing else.
///
/// # Errors
/// [`DemoError`] with the first step that is not true.
pub async fn tell(running: &Running, narrator: &mut dyn Narrator) -> Result<(), DemoError> {
    match running.services().dps.count() {
        0 => {}
        some => return Err(DemoError::NotNew(some)),
    }
    let stage = Stage::set(running)?;
    let mut story = Story { narrator };
    story.step("the models and the sample graph are in Azure Digital Twins", steps::sample_graph(&stage)).await?;
    let new = story.step("a device registers: a twin is made for it", steps::new_device(&stage)).await?;
    let expected = steps::expected_device(&stage);
    let expected = story.step("another registers: it is bound to the twin that waits for it", expected).await?;
    story.step("both device twins carry the tags dtId and dtmi", steps::tags(&stage, [&new, &expected])).await?;
    let telemetry = steps::telemetry(&stage, [&new, &expected]);
    story.step("telemetry flows: each twin has the last Temperature that was sent", telemetry).await?;
    let again = steps::registration_again(&stage, &new);
    story.step("it registers again: nothing changes but the time of the last registration", again).await?;
    let malformed = steps::malformed_message(&stage, [&new, &expected]);
    story.step("a malformed message becomes a dead letter, and nothing else suffers", malformed).await?;
    let deletion = steps::deletion(&stage, &new, &expected);
    story.step("a device is deleted: its twin and relationships go, the others stay", deletion).await
}

/// What a step found: something for the next one, and the evidence.
type Found<T> = Result<(T, String), Reason>;

struct Story<'n> {
    narrator: &'n mut dyn Narrator,
}

impl Story<'_> {
    async fn step<T>(&mut self, step: &'static str, work: impl Future<Output = Found<T>>) -> Result<T, DemoError> {
        self.narrator.begins(step);
        let began = Instant::now();
        let late = || Err(Reason(format!("nothing was to be seen within {} s", PATIENCE.as_secs())));
        match tokio::time::timeout(PATIENCE, work).await.unwrap_or_else(|_| late()) {
            Ok((found, evidence)) => {
                self.narrator.verified(step, &evidence, began.elapsed());
                Ok(found)
            }
            Err(Reason(reason)) => {
                self.narrator.broken(step, &reason);
                Err(DemoError::Broken { step, reason })
            }
        }
    }
}
