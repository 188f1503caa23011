//! What can be wrong with an app.

use std::path::PathBuf;

/// An app that the host cannot run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file of the app cannot be read.
    #[error("cannot read {path}: {source}")]
    Unreadable {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file is not JSON.
    #[error("{file} is not JSON: {source}")]
    NotJson {
        /// Which file.
        file: String,
        /// Where it stops being JSON.
        source: serde_json::Error,
    },
    /// A member of a file has a value that the host does not take.
    #[error("{file}: {member} is {got}; wanted {wanted}")]
    Invalid {
        /// Which file.
        file: String,
        /// Which member, with its path.
        member: String,
        /// Its value.
        got: String,
        /// What the host takes.
        wanted: &'static str,
    },
    /// host.json names no handler, and nobody else does.
    #[error("host.json: customHandler.description.defaultExecutablePath is missing; it names the handler's executable")]
    NoHandler,
}
