//! Why a state directory cannot be used.

use std::{io, path::PathBuf};

/// Why the directory cannot be used, with the file that it is about.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StateError {
    /// Reading or writing failed.
    #[error("cannot read or write {path}")]
    Io {
        /// Which file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Another process has the directory.
    #[error("{0} is in use by another process")]
    Locked(PathBuf),
    /// A file does not hold what it must.
    #[error("{path}: not {expected}")]
    Content {
        /// Which file.
        path: PathBuf,
        /// What was expected in it.
        expected: &'static str,
    },
    /// What is to be kept cannot be encoded.
    #[error("{0}: its content cannot be encoded")]
    Encoding(PathBuf),
    /// A certificate came for a request whose key is gone.
    #[error("{0} is missing: the key of the request that is under way")]
    NoPendingKey(PathBuf),
}
