//! Files that hold secrets: for their owner's eyes only, and never seen half written.

use std::{io, io::Write, path::Path};

/// Writes `text` to `path` through a temporary file beside it (mode 0600 where the system knows modes), so that a
/// reader finds either nothing, or what was there, or the whole text.
///
/// # Errors
/// When the folder is not there or cannot be written, or `path` is a folder itself.
pub(crate) fn write(path: &Path, text: &str) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // Else the system would tell of the temporary file.
    if path.is_dir() {
        return Err(io::Error::new(io::ErrorKind::IsADirectory, "it is a folder; name a file in it"));
    }
    if !folder.is_dir() {
        let missing = format!("there is no folder {}; make it first", folder.display());
        return Err(io::Error::new(io::ErrorKind::NotFound, missing));
    }
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(text.as_bytes())?;
    file.persist(path).map_err(|error| error.error)?;
    Ok(())
}
