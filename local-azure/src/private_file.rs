//! Files that hold secrets: for their owner's eyes only, and never seen half written.

use std::{io, io::Write, path::Path};

/// Writes `text` to `path` through a temporary file beside it (mode 0600 where the system knows modes), so that a
/// reader finds either nothing, or what was there, or the whole text.
///
/// # Errors
/// When the folder cannot be written.
pub(crate) fn write(path: &Path, text: &str) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(text.as_bytes())?;
    file.persist(path).map_err(|error| error.error)?;
    Ok(())
}
