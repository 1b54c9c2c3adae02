//! For stations that run an operating system: keys in software, credentials in files.

mod keys;
mod state_dir;

pub use keys::SoftKeys;
pub use state_dir::{StateDir, StateError, StoredCredential, read_certificates, read_key, write_atomically};
