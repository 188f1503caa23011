//! `handler replay`: dead letters, applied again by the rules that every event goes by.

mod document;

use std::collections::BTreeMap;
use std::fmt;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};

use self::document::{Function, Letter, Letters};
use super::command_line::ReplayArguments;
use super::console::{Progress, complain, counted, inline, say};
use super::{Error, Exit, reason, settings};
use crate::binding::Directory;
use crate::digital_twins::Client;
use crate::host::EventBatch;
use crate::lifecycle::DeleteDeviceInTwin;
use crate::outcome::{Attempt, Outcome, Work, probe};
use crate::settings::{Settings, Telemetry, WithoutTwin};
use crate::telemetry::{DeviceTelemetryToTwin, Mapping};

/// Events that are applied at once, as the host would deliver them.
const BATCH: usize = 256;

pub(super) async fn run(arguments: &ReplayArguments) -> Result<Exit, Error> {
    let files = &arguments.files;
    if arguments.dry_run {
        return Ok(list(files));
    }
    // A name that is wrong is told before anybody is asked for a token.
    let files: Vec<&PathBuf> = files.iter().filter(|path| is_there(path)).collect();
    let mut tally = Tally { unreadable: arguments.files.len() - files.len(), ..Tally::default() };
    if files.is_empty() {
        say(&tally);
        return Ok(Exit::Attention);
    }
    let replay = Replay::connect(&settings()?)?;
    // What nothing could be applied for is told at once.
    probe(&replay.client).await?;
    let progress = Progress::begin("replaying", Some(files.len()));
    let mut stopped = None;
    for path in files {
        match document::read(path) {
            Ok(letters) => stopped = replay.apply(path, letters, &mut tally, |line| progress.say(line)).await.err(),
            Err(error) => {
                tally.unreadable += 1;
                progress.suspend(|| complain(format_args!("{}: {error}", path.display())));
            }
        }
        progress.advance(1);
        if stopped.is_some() {
            break;
        }
    }
    drop(progress);
    say(&tally);
    match stopped {
        Some(error) => Err(error),
        None if tally.is_clean() => Ok(Exit::Fine),
        None => Ok(Exit::Attention),
    }
}

/// Whether a file is there to be read; if not, it is said why.
fn is_there(path: &Path) -> bool {
    document::check(path).map_err(|error| complain(format_args!("{}: {error}", path.display()))).is_ok()
}

/// Shows what is in the files.
fn list(files: &[PathBuf]) -> Exit {
    let mut exit = Exit::Fine;
    for path in files {
        match document::read(path) {
            Ok(Letters { letters, .. }) => {
                for letter in letters {
                    say(format_args!("{}: {}", describe(path, &letter), inline(&letter.reason)));
                }
            }
            Err(error) => {
                exit = Exit::Attention;
                complain(format_args!("{}: {error}", path.display()));
            }
        }
    }
    exit
}

/// Which event it is: file and place, device, time.
fn describe(path: &Path, letter: &Letter) -> String {
    let device = letter.event.device_id();
    let device = device.as_ref().map_or("device unknown", |device| device.as_str());
    let time = letter.event.source_time().map_or_else(|| "time unknown".to_owned(), |time| time.to_string());
    format!("{}#{} {device} {time}", inline(&path.display().to_string()), letter.number)
}

/// The functions that events go to.
#[derive(Debug)]
struct Replay {
    client: Client,
    telemetry: DeviceTelemetryToTwin,
    lifecycle: DeleteDeviceInTwin,
}

impl Replay {
    fn connect(settings: &Settings) -> Result<Self, Error> {
        let mapping = Mapping::read_if_named(settings.telemetry_mapping_file.as_deref())?;
        let client = Client::connect(&settings.digital_twins, &settings.credentials)?;
        Ok(Self::new(client, settings, mapping))
    }

    fn new(client: Client, settings: &Settings, mapping: Mapping) -> Self {
        let directory = Directory::new(client.clone(), settings.twin_cache_size.get());
        // Who replays an event wants to know that it still has no twin.
        let telemetry = Telemetry { without_twin: WithoutTwin::DeadLetter, ..settings.telemetry.clone() };
        let once = NonZeroU32::MIN;
        let lifecycle = DeleteDeviceInTwin::new(client.clone(), directory.clone(), settings.lifecycle.clone(), once);
        let telemetry = DeviceTelemetryToTwin::new(client.clone(), directory, telemetry, once).with_mapping(mapping);
        Self { client, telemetry, lifecycle }
    }

    /// Applies the events of a file, and says of each what became of it.
    ///
    /// # Errors
    /// [`Error::Stopped`]: of a whole batch, every event failed in a way that may pass, and so will the next ones.
    async fn apply(
        &self,
        path: &Path,
        Letters { function, letters }: Letters,
        tally: &mut Tally,
        mut say: impl FnMut(String),
    ) -> Result<(), Error> {
        // Sequence numbers compare within a partition.
        for part in letters.chunk_by(|one, other| one.partition == other.partition) {
            for letters in part.chunks(BATCH) {
                let ends = self.ends(function, letters).await;
                for (letter, end) in letters.iter().zip(&ends) {
                    tally.count(end);
                    say(format!("{}: {end}", describe(path, letter)));
                }
                if let [End::Failed(reason), ..] = &ends[..]
                    && ends.iter().all(|end| matches!(end, End::Failed(_)))
                {
                    return Err(Error::Stopped { file: path.display().to_string(), reason: reason.clone() });
                }
            }
        }
        Ok(())
    }

    /// What became of each event of a batch.
    async fn ends(&self, function: Function, letters: &[Letter]) -> Vec<End> {
        let events = letters.iter().map(|letter| letter.event.clone()).collect();
        let partition = letters.first().and_then(|letter| letter.partition.clone());
        let batch = EventBatch { events, retries: 0, partition };
        let attempt = Attempt::begin(&batch, NonZeroU32::MIN);
        let Work { outcomes, .. } = match function {
            Function::Telemetry => attempt.work(self.telemetry.work_through(&batch, &attempt)).await,
            Function::Lifecycle => attempt.work(self.lifecycle.work_through(&batch, &attempt)).await,
        };
        let mut failures: BTreeMap<usize, String> = outcomes
            .open()
            .map(|(index, failure)| {
                let told = failure.map(|failure| reason(failure.detail(), failure.relationships()));
                (index, told.unwrap_or_else(|| "no answer in time".to_owned()))
            })
            .collect();
        let end = |index| match outcomes.get(index) {
            Some(outcome) => End::Settled(outcome.clone()),
            None => End::Failed(failures.remove(&index).unwrap_or_default()),
        };
        (0..letters.len()).map(end).collect()
    }
}

/// What became of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
enum End {
    Settled(Outcome),
    /// It may pass, with this reason.
    Failed(String),
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Settled(Outcome::Applied) => f.write_str("applied"),
            Self::Settled(Outcome::Superseded) => f.write_str("superseded by newer values"),
            Self::Settled(Outcome::LeftOut(rule)) => write!(f, "left out by the rule {}", rule.label()),
            Self::Settled(Outcome::DeadLetter(letter)) => {
                write!(f, "still a dead letter: {}", inline(&reason(&letter.detail, &letter.relationships)))
            }
            Self::Failed(reason) => write!(f, "failed for now: {}", inline(reason)),
        }
    }
}

/// What became of all events.
#[derive(Debug, Default, PartialEq, Eq)]
struct Tally {
    applied: usize,
    superseded: usize,
    left_out: usize,
    dead: usize,
    failed: usize,
    /// Files whose events nobody knows.
    unreadable: usize,
}

impl Tally {
    fn count(&mut self, end: &End) {
        *match end {
            End::Settled(Outcome::Applied) => &mut self.applied,
            End::Settled(Outcome::Superseded) => &mut self.superseded,
            End::Settled(Outcome::LeftOut(_)) => &mut self.left_out,
            End::Settled(Outcome::DeadLetter(_)) => &mut self.dead,
            End::Failed(_) => &mut self.failed,
        } += 1;
    }

    /// Whether nothing is left to do.
    fn is_clean(&self) -> bool {
        self.dead + self.failed + self.unreadable == 0
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { applied, superseded, left_out, dead, failed, unreadable } = self;
        write!(f, "{applied} applied, {superseded} superseded by newer values, {left_out} left out by a rule")?;
        for (count, what) in [
            (dead, "still dead letters: mend what their reasons say, and replay the file again"),
            (failed, "failed for now: replay the file again later"),
        ] {
            if *count > 0 {
                write!(f, "; {count} {what}")?;
            }
        }
        match unreadable {
            0 => Ok(()),
            &some => write!(f, "; {} could not be read", counted(some, "file")),
        }
    }
}

#[cfg(test)]
mod tests;
