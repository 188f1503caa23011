//! How much memory a process has.

use std::{fs, io};

/// The size of a page on the machines that have `/proc`, as far as this is run on them.
const PAGE: u64 = 4096;

/// Resident memory of a process in bytes (`/proc/<pid>/statm`, second field: proc(5)).
///
/// # Errors
/// When there is no such process, or no `/proc`.
pub fn resident(pid: u32) -> io::Result<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/statm"))?;
    let pages = text.split_ascii_whitespace().nth(1).and_then(|pages| pages.parse::<u64>().ok());
    pages.map(|pages| pages * PAGE).ok_or_else(|| io::Error::other(format!("/proc/{pid}/statm is {text:?}")))
}
