//! The journal: a line of JSON for each decision, of all services in one file.

use std::{
    fs::File,
    io::{self, BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::sync::Notify;

use super::{DataDirError, SEGMENT_BYTES, at};

/// Another process may be at work in the folder by then.
const CLOSED: &str = "local-azure has stopped";

/// The changes of one decision.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) revision: u64,
    pub(super) changes: Box<RawValue>,
}

#[derive(Deserialize)]
struct Line {
    store: String,
    revision: u64,
    changes: Box<RawValue>,
}

#[derive(Serialize)]
struct NewLine<'a, C> {
    store: &'a str,
    revision: u64,
    changes: &'a [C],
}

/// Where one state's changes are kept.
#[derive(Debug, Clone)]
pub struct Journal {
    store: Arc<str>,
    writer: Arc<Writer>,
}

impl Journal {
    pub(super) fn new(store: &str, writer: Arc<Writer>) -> Self {
        Self { store: store.into(), writer }
    }

    /// Writes the changes of a decision; they outlive the process when this returns.
    ///
    /// # Panics
    /// If they cannot be written.
    #[expect(clippy::panic, reason = "a change that cannot be kept must not be acknowledged: the request dies here")]
    pub(crate) fn append<C: Serialize>(&self, revision: u64, changes: &[C]) {
        let line = NewLine { store: &self.store, revision, changes };
        let written = serde_json::to_vec(&line).map_err(io::Error::from).and_then(|mut line| {
            line.push(b'\n');
            self.writer.append(&line)
        });
        if let Err(error) = written {
            panic!("cannot keep a change of {} in --data-dir: {error}; free some room and restart", self.store);
        }
    }
}

/// The journal that is being written, for all states.
#[derive(Debug)]
pub(super) struct Writer {
    path: PathBuf,
    segment: Mutex<Segment>,
    grown: Notify,
}

#[derive(Debug)]
struct Segment {
    number: u64,
    file: File,
    bytes: u64,
    /// Why nothing can be written any more, where that is so: a line would not be read.
    end: Option<&'static str>,
}

impl Segment {
    fn create(path: &Path, number: u64) -> io::Result<Self> {
        let mut options = File::options();
        options.create_new(true).append(true);
        // Keys of devices are in it.
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options.open(file(path, number))?;
        Ok(Self { number, file, bytes: 0, end: None })
    }
}

impl Writer {
    pub(super) fn begin(path: &Path, number: u64) -> io::Result<Self> {
        let segment = Segment::create(path, number)?;
        Ok(Self { path: path.to_owned(), segment: Mutex::new(segment), grown: Notify::new() })
    }

    fn append(&self, line: &[u8]) -> io::Result<()> {
        let mut segment = self.segment.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(end) = segment.end {
            return Err(io::Error::other(end));
        }
        if let Err(error) = segment.file.write_all(line) {
            let whole = segment.bytes;
            segment.end = segment.file.set_len(whole).is_err().then_some("an earlier write failed half-way");
            return Err(error);
        }
        let length = u64::try_from(line.len()).unwrap_or(u64::MAX);
        segment.bytes = segment.bytes.saturating_add(length);
        if segment.bytes >= SEGMENT_BYTES && segment.bytes - length < SEGMENT_BYTES {
            self.grown.notify_one();
        }
        Ok(())
    }

    /// Writes no more.
    pub(super) fn close(&self) {
        self.segment.lock().unwrap_or_else(PoisonError::into_inner).end = Some(CLOSED);
    }

    /// Goes on in a new file, and says its number.
    pub(super) fn next_segment(&self) -> io::Result<u64> {
        let mut segment = self.segment.lock().unwrap_or_else(PoisonError::into_inner);
        if segment.end == Some(CLOSED) {
            return Err(io::Error::other(CLOSED));
        }
        *segment = Segment::create(&self.path, segment.number + 1)?;
        Ok(segment.number)
    }

    pub(super) fn grown(&self) -> &Notify {
        &self.grown
    }
}

/// The file of a journal.
pub(super) fn file(path: &Path, number: u64) -> PathBuf {
    path.join(format!("journal-{number}.jsonl"))
}

/// Reads a journal line by line. The last line of the last journal may be torn: its change was never acknowledged,
/// and it is cut off.
pub(super) fn read(
    path: &Path,
    number: u64,
    is_last: bool,
    mut found: impl FnMut(String, Record),
) -> Result<(), DataDirError> {
    let path = file(path, number);
    let mut reader = BufReader::new(File::open(&path).map_err(at(&path))?);
    let (mut line, mut whole) = (Vec::new(), 0_u64);
    for count in 1_u64.. {
        line.clear();
        if reader.read_until(b'\n', &mut line).map_err(at(&path))? == 0 {
            break;
        }
        let is_whole = line.ends_with(b"\n");
        match serde_json::from_slice::<Line>(&line) {
            Ok(Line { store, revision, changes }) if is_whole => {
                found(store, Record { revision, changes });
                whole = whole.saturating_add(u64::try_from(line.len()).unwrap_or(u64::MAX));
            }
            _ if is_last && !is_whole => return cut(&path, whole).map_err(at(&path)),
            Ok(_) => return Err(damaged(&path, format!("line {count} is not whole"))),
            Err(error) => return Err(damaged(&path, format!("line {count}: {error}"))),
        }
    }
    Ok(())
}

fn cut(path: &Path, bytes: u64) -> io::Result<()> {
    File::options().write(true).open(path)?.set_len(bytes)
}

fn damaged(path: &Path, reason: String) -> DataDirError {
    DataDirError::Damaged { path: path.to_owned(), reason }
}
