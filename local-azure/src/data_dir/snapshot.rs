//! Snapshots, and which files of the folder count.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use super::{DataDirError, Kept, at, journal};

/// The files that there are, by number.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Numbers {
    /// The newest snapshot.
    pub(super) snapshot: Option<u64>,
    /// The journals that belong to it, in order.
    pub(super) journals: Vec<u64>,
}

impl Numbers {
    /// One that no file has.
    pub(super) fn next(&self) -> u64 {
        self.journals.last().copied().max(self.snapshot).map_or(0, |number| number + 1)
    }
}

/// What is in the folder.
pub(super) fn numbers(path: &Path) -> io::Result<Numbers> {
    let (snapshots, mut journals) = listed(path)?;
    let snapshot = snapshots.into_iter().max();
    // Journals before the snapshot are in it: they only wait to be removed.
    journals.retain(|number| snapshot.is_none_or(|snapshot| *number >= snapshot));
    journals.sort_unstable();
    Ok(Numbers { snapshot, journals })
}

fn listed(path: &Path) -> io::Result<(Vec<u64>, Vec<u64>)> {
    let (mut snapshots, mut journals) = (Vec::new(), Vec::new());
    for entry in fs::read_dir(path)? {
        let name = entry?.file_name();
        let name = name.to_string_lossy();
        let number = |prefix, suffix| name.strip_prefix(prefix)?.strip_suffix(suffix)?.parse().ok();
        snapshots.extend::<Option<u64>>(number("snapshot-", ".json"));
        journals.extend::<Option<u64>>(number("journal-", ".jsonl"));
    }
    Ok((snapshots, journals))
}

fn file(path: &Path, number: u64) -> PathBuf {
    path.join(format!("snapshot-{number}.json"))
}

pub(super) fn read(path: &Path, number: u64) -> Result<BTreeMap<String, Kept>, DataDirError> {
    let path = file(path, number);
    let text = fs::read(&path).map_err(at(&path))?;
    serde_json::from_slice(&text)
        .map_err(|error| DataDirError::Damaged { path: path.clone(), reason: error.to_string() })
}

/// Writes a snapshot whole or not at all.
pub(super) fn write(path: &Path, number: u64, kept: &[(&str, Kept)]) -> io::Result<()> {
    let states: BTreeMap<&str, &Kept> = kept.iter().map(|(name, kept)| (*name, kept)).collect();
    let mut aside = tempfile::NamedTempFile::new_in(path)?;
    serde_json::to_writer(io::BufWriter::new(&mut aside), &states)?;
    aside.flush()?;
    // The journals that it replaces are removed next: it must not be lost on the way to the disk.
    aside.as_file().sync_all()?;
    aside.persist(file(path, number)).map_err(|error| error.error)?;
    Ok(())
}

/// Removes what the snapshot of that number replaces.
pub(super) fn remove_before(path: &Path, number: u64) -> io::Result<()> {
    let (snapshots, journals) = listed(path)?;
    let old = |numbers: Vec<u64>| numbers.into_iter().filter(move |old| *old < number);
    for old in old(snapshots).map(|old| file(path, old)).chain(old(journals).map(|old| journal::file(path, old))) {
        fs::remove_file(old)?;
    }
    Ok(())
}
