//! The folder of `--data-dir`: what was acknowledged survives the process, however it ends.
//!
//! | file | what it holds |
//! | --- | --- |
//! | `format` | which version of this layout the folder has |
//! | `snapshot-<n>.json` | all states at one moment |
//! | `journal-<n>.jsonl` | the changes since, a line for each decision, in order |
//! | `lock` | held by the process that uses the folder |
//!
//! There is one journal for all services, so what is found after a crash is a moment that was: events, checkpoints
//! and twins always belong together. A line is written before its change shows, and a change shows before anybody is
//! told. The folder can be copied while no process uses it. Lines are handed to the operating system and not forced
//! to the disk: they outlive the process, not a power cut.

mod journal;
mod snapshot;

use std::{
    collections::HashMap,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::sync::Notify;

pub use self::journal::Journal;
use self::journal::{Record, Writer};
use crate::store::{State, Store};

/// The layout described above.
const FORMAT: &str = "local-azure data 1";
/// When a journal has grown by this much, a new snapshot takes its place.
const SEGMENT_BYTES: u64 = 64 * 1024 * 1024;

/// The folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    /// The system refuses.
    #[error("cannot use {path} for --data-dir: {source}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Another process is at work there.
    #[error("{0} is in use by another local-azure: stop that one, or name another folder with --data-dir")]
    InUse(PathBuf),
    /// Made by another version.
    #[error(
        "{path} holds {found:?}, and this version reads {FORMAT:?}: use the version that made it, or name an empty \
         folder with --data-dir"
    )]
    Format {
        /// The folder.
        path: PathBuf,
        /// What its `format` file says.
        found: String,
    },
    /// A folder of somebody else's.
    #[error("{0} is not empty and was not made by local-azure: name an empty folder with --data-dir")]
    Foreign(PathBuf),
    /// A file is damaged.
    #[error("{path} is damaged: {reason}; restore a copy of the folder, or name an empty one with --data-dir")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}

/// A state as it was at a revision.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Kept {
    pub(crate) revision: u64,
    pub(crate) state: Box<RawValue>,
}

type Snapshot = Box<dyn Fn() -> serde_json::Result<Kept> + Send + Sync>;

/// A folder that states are kept in.
pub struct DataDir {
    path: PathBuf,
    is_new: bool,
    found: HashMap<String, Found>,
    writer: Arc<Writer>,
    snapshots: Mutex<Vec<(String, Snapshot)>>,
    /// Held for as long as the folder is used.
    lock: File,
}

/// What the folder has of one state.
#[derive(Debug, Default)]
struct Found {
    snapshot: Option<Kept>,
    records: Vec<Record>,
}

impl std::fmt::Debug for DataDir {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DataDir").field("path", &self.path).finish_non_exhaustive()
    }
}

impl DataDir {
    /// Opens a folder, or makes it. It counts as new until its first [`DataDir::compact`], which is to come before
    /// anything is acknowledged: what an interrupted first start left is forgotten.
    ///
    /// # Errors
    /// [`DataDirError`]; the folder stays as it was.
    pub fn open(path: &Path) -> Result<Self, DataDirError> {
        if path.is_file() {
            return Err(at(path)(io::Error::new(io::ErrorKind::NotADirectory, "it is a file; name a folder")));
        }
        fs::create_dir_all(path).map_err(at(path))?;
        check_format(path)?;
        let lock = lock(path)?;
        let numbers = snapshot::numbers(path).map_err(at(path))?;
        let found = match numbers.snapshot {
            Some(number) => read(path, number, &numbers.journals)?,
            None => HashMap::new(),
        };
        let is_new = numbers.snapshot.is_none();
        let writer = Writer::begin(path, numbers.next()).map_err(at(path))?;
        let snapshots = Mutex::default();
        Ok(Self { path: path.to_owned(), is_new, found, writer: Arc::new(writer), snapshots, lock })
    }

    /// Whether nothing was kept there before.
    pub fn is_new(&self) -> bool {
        self.is_new
    }

    /// The state that is kept under `name`, or `initial`; its changes are kept from now on.
    ///
    /// # Errors
    /// [`DataDirError::Damaged`] where it cannot be read.
    pub fn store<S: State>(&mut self, name: impl Into<String>, initial: S) -> Result<Store<S>, DataDirError> {
        let name = name.into();
        let Found { snapshot, records } = self.found.remove(&name).unwrap_or_default();
        let damaged = |error: serde_json::Error| DataDirError::Damaged {
            path: self.path.clone(),
            reason: format!("what is kept of {name} cannot be read: {error}"),
        };
        let (mut state, mut revision) = match snapshot {
            Some(kept) => (serde_json::from_str(kept.state.get()).map_err(damaged)?, kept.revision),
            None => (initial, 0),
        };
        // A snapshot may hold changes that were also written to the journal after it.
        for record in records {
            if record.revision <= revision {
                continue;
            }
            let changes: Vec<S::Change> = serde_json::from_str(record.changes.get()).map_err(damaged)?;
            changes.into_iter().for_each(|change| state.apply(change));
            revision = record.revision;
        }
        let store = Store::kept(state, revision, Journal::new(&name, Arc::clone(&self.writer)));
        let mut snapshots = self.snapshots.lock().unwrap_or_else(PoisonError::into_inner);
        snapshots.push((name, Box::new(store.snapshot())));
        drop(snapshots);
        Ok(store)
    }

    /// Puts a snapshot in the place of snapshot and journals so far.
    ///
    /// # Errors
    /// [`DataDirError`]; what is kept is as good as before.
    pub fn compact(&self) -> Result<(), DataDirError> {
        // One at a time.
        let snapshots = self.snapshots.lock().unwrap_or_else(PoisonError::into_inner);
        let number = self.writer.next_segment().map_err(at(&self.path))?;
        let damaged = |error: serde_json::Error| DataDirError::Damaged {
            path: self.path.clone(),
            reason: format!("a state cannot be written: {error}"),
        };
        let kept: Result<Vec<_>, _> =
            snapshots.iter().map(|(name, snapshot)| Ok((name.as_str(), snapshot()?))).collect();
        snapshot::write(&self.path, number, &kept.map_err(damaged)?).map_err(at(&self.path))?;
        snapshot::remove_before(&self.path, number).map_err(at(&self.path))
    }

    /// Gives the folder back, whoever still holds a store of it: nothing is kept from now on, so that another process
    /// finds all that there will be.
    pub(crate) fn close(&self) {
        // A snapshot that is being written is written first.
        let _snapshots = self.snapshots.lock().unwrap_or_else(PoisonError::into_inner);
        self.writer.close();
        if let Err(error) = self.lock.unlock() {
            tracing::warn!("{} is in use until this process ends: {error}", self.path.display());
        }
    }

    /// Wakes whoever should call [`DataDir::compact`].
    pub fn grown(&self) -> &Notify {
        self.writer.grown()
    }
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> DataDirError {
    let path = path.to_owned();
    move |source| DataDirError::Io { path, source }
}

/// What a snapshot and the journals since hold, state by state.
fn read(path: &Path, snapshot: u64, journals: &[u64]) -> Result<HashMap<String, Found>, DataDirError> {
    let mut found = HashMap::<String, Found>::new();
    for (name, kept) in snapshot::read(path, snapshot)? {
        found.entry(name).or_default().snapshot = Some(kept);
    }
    for (index, number) in journals.iter().enumerate() {
        let is_last = index + 1 == journals.len();
        journal::read(path, *number, is_last, |name, record| found.entry(name).or_default().records.push(record))?;
    }
    Ok(found)
}

/// Refuses a folder that is not ours; an empty one gets its `format` file.
fn check_format(path: &Path) -> Result<(), DataDirError> {
    let file = path.join("format");
    match fs::read_to_string(&file) {
        Ok(found) if found.trim_end() == FORMAT => Ok(()),
        Ok(found) => {
            Err(DataDirError::Format { path: path.to_owned(), found: found.trim_end().chars().take(80).collect() })
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            if fs::read_dir(path).map_err(at(path))?.next().is_some() {
                return Err(DataDirError::Foreign(path.to_owned()));
            }
            crate::private_file::write(&file, &format!("{FORMAT}\n")).map_err(at(&file))
        }
        Err(error) => Err(at(&file)(error)),
    }
}

fn lock(path: &Path) -> Result<File, DataDirError> {
    let file = path.join("lock");
    let lock = File::options().create(true).truncate(false).write(true).open(&file).map_err(at(&file))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(fs::TryLockError::WouldBlock) => Err(DataDirError::InUse(path.to_owned())),
        Err(fs::TryLockError::Error(error)) => Err(at(&file)(error)),
    }
}

#[cfg(test)]
mod tests;
