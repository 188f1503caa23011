use serde::{Deserialize, Serialize};

use super::*;

/// Counts up; told apart by what led there.
#[derive(Debug, Default, Clone, PartialEq, Serialize, Deserialize)]
struct Tally {
    seen: Vec<u32>,
}

#[derive(Debug, Serialize, Deserialize)]
struct See(u32);

impl State for Tally {
    type Change = See;

    fn apply(&mut self, See(number): See) {
        self.seen.push(number);
    }
}

fn see(store: &Store<Tally>, number: u32) {
    store.change(|_| Ok::<_, ()>((vec![See(number)], ()))).unwrap();
}

fn seen(store: &Store<Tally>) -> Vec<u32> {
    store.read(|tally| tally.seen.clone())
}

/// The files that a process which was killed now would leave behind.
fn copy(from: &Path) -> tempfile::TempDir {
    let to = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), to.path().join(entry.file_name())).unwrap();
    }
    to
}

#[test]
fn what_was_changed_is_there_again_for_every_store() {
    let folder = tempfile::tempdir().unwrap();
    let mut dir = DataDir::open(folder.path()).unwrap();
    assert!(dir.is_new());
    let (a, b) = (dir.store("a", Tally::default()).unwrap(), dir.store("b", Tally { seen: vec![7] }).unwrap());
    dir.compact().unwrap();
    see(&a, 1);
    see(&b, 2);
    see(&a, 3);
    let killed = copy(folder.path());
    let mut again = DataDir::open(killed.path()).unwrap();
    assert!(!again.is_new());
    assert_eq!(seen(&again.store("a", Tally::default()).unwrap()), [1, 3]);
    assert_eq!(seen(&again.store("b", Tally { seen: vec![7] }).unwrap()), [7, 2]);
    assert!(seen(&again.store("c", Tally::default()).unwrap()).is_empty());
}

#[test]
fn a_snapshot_takes_the_place_of_the_journal_and_no_change_counts_twice() {
    let folder = tempfile::tempdir().unwrap();
    let mut dir = DataDir::open(folder.path()).unwrap();
    let store = dir.store("a", Tally::default()).unwrap();
    see(&store, 1);
    dir.compact().unwrap();
    see(&store, 2);
    assert_eq!(seen(&DataDir::open(copy(folder.path()).path()).unwrap().store("a", Tally::default()).unwrap()), [1, 2]);
    dir.compact().unwrap();
    dir.compact().unwrap();
    see(&store, 3);
    let killed = copy(folder.path());
    let mut files: Vec<_> = fs::read_dir(killed.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    files.sort();
    assert_eq!(files, ["format", "journal-3.jsonl", "lock", "snapshot-3.json"]);
    assert_eq!(seen(&DataDir::open(killed.path()).unwrap().store("a", Tally::default()).unwrap()), [1, 2, 3]);
}

#[test]
fn what_a_start_left_that_was_killed_before_it_was_ready_is_forgotten() {
    let folder = tempfile::tempdir().unwrap();
    let mut dir = DataDir::open(folder.path()).unwrap();
    see(&dir.store("a", Tally::default()).unwrap(), 1);
    let killed = copy(folder.path());
    let mut again = DataDir::open(killed.path()).unwrap();
    assert!(again.is_new());
    assert!(seen(&again.store("a", Tally::default()).unwrap()).is_empty());
}

#[test]
fn a_crash_between_snapshot_and_clean_up_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mut dir = DataDir::open(folder.path()).unwrap();
    let store = dir.store("a", Tally::default()).unwrap();
    dir.compact().unwrap();
    see(&store, 1);
    let before = copy(folder.path());
    dir.compact().unwrap();
    see(&store, 2);
    // The old journal is still there.
    fs::copy(before.path().join("journal-1.jsonl"), folder.path().join("journal-1.jsonl")).unwrap();
    assert_eq!(seen(&DataDir::open(copy(folder.path()).path()).unwrap().store("a", Tally::default()).unwrap()), [1, 2]);
}

#[test]
fn a_line_that_was_torn_by_the_crash_is_left_out_and_damage_elsewhere_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let mut dir = DataDir::open(folder.path()).unwrap();
    let store = dir.store("a", Tally::default()).unwrap();
    dir.compact().unwrap();
    see(&store, 1);
    see(&store, 2);
    let killed = copy(folder.path());
    let journal = killed.path().join("journal-1.jsonl");
    let text = fs::read_to_string(&journal).unwrap();
    fs::write(&journal, &text[..text.len() - 5]).unwrap();
    // Twice: what the first restart left must be as good.
    for expected in [vec![1], vec![1]] {
        let mut again = DataDir::open(killed.path()).unwrap();
        let store = again.store("a", Tally::default()).unwrap();
        assert_eq!(seen(&store), expected);
    }
    let damaged = copy(folder.path());
    fs::write(damaged.path().join("journal-1.jsonl"), text.replacen("revision", "revisio", 1)).unwrap();
    assert!(matches!(DataDir::open(damaged.path()), Err(DataDirError::Damaged { .. })));
}

#[test]
fn a_folder_of_another_version_of_somebody_else_or_in_use_is_refused_with_a_clear_word() {
    let folder = tempfile::tempdir().unwrap();
    let first = DataDir::open(folder.path()).unwrap();
    let error = DataDir::open(folder.path()).unwrap_err().to_string();
    assert!(error.contains("in use by another local-azure"), "{error}");
    drop(first);
    fs::write(folder.path().join("format"), "local-azure data 9\n").unwrap();
    let error = DataDir::open(folder.path()).unwrap_err().to_string();
    assert!(error.contains("\"local-azure data 9\"") && error.contains("\"local-azure data 1\""), "{error}");
    let foreign = tempfile::tempdir().unwrap();
    fs::write(foreign.path().join("thesis.txt"), "").unwrap();
    assert!(matches!(DataDir::open(foreign.path()), Err(DataDirError::Foreign(_))));
}

#[test]
fn a_folder_that_was_given_back_is_free_and_nothing_more_is_kept_in_it() {
    let folder = tempfile::tempdir().unwrap();
    let mut dir = DataDir::open(folder.path()).unwrap();
    let store = dir.store("a", Tally::default()).unwrap();
    dir.compact().unwrap();
    see(&store, 1);
    assert!(matches!(DataDir::open(folder.path()), Err(DataDirError::InUse(_))));
    dir.close();
    let mut next = DataDir::open(folder.path()).unwrap();
    assert_eq!(seen(&next.store("a", Tally::default()).unwrap()), [1]);
    let late = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| see(&store, 2)));
    assert!(late.is_err() && dir.compact().is_err());
    assert_eq!(seen(&store), [1]);
}
