//! For stations that run an operating system: keys in software, credentials in files.

mod anchors;
mod error;
mod files;
mod general;
mod keys;
mod state_dir;

pub use anchors::Anchors;
pub use error::StateError;
pub use files::{
    read_certificate, read_certificates, read_certification_request, read_key, write_atomically,
};
pub use general::StoredTemplate;
pub use keys::SoftKeys;
pub use state_dir::{StateDir, StoredCredential, Work};
