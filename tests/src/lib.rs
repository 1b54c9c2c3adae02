//! What the system tests share: programs that die with the test, OpenSSL's command line, an RA's door that records.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic
)]

pub mod carriage;
pub mod http;
pub mod openssl;
mod process;
pub mod programs;
pub mod station;
pub mod tap;

pub use process::{Finished, Program, run};

use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long anything may take before a test gives up on it.
pub const DEADLINE: Duration = Duration::from_secs(90);

/// The folder of this package.
#[must_use]
pub fn here() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A new folder, removed when dropped.
#[must_use]
pub fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

/// A path as an argument.
#[must_use]
pub fn arg(path: impl AsRef<Path>) -> String {
    PathBuf::from(path.as_ref())
        .into_os_string()
        .into_string()
        .expect("a path in UTF-8")
}
