//! What must outlive a transaction: the certificates that were issued and what became of them.

mod file;
mod memory;

pub use file::FileStore;
pub(crate) use file::hex;
pub use memory::MemoryStore;

use std::io;

/// What became of an issued certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CertificateStatus {
    /// Issued, not confirmed yet.
    Issued,
    /// Confirmed by its holder, or implicitly.
    Confirmed,
    /// Refused by its holder.
    Refused,
    /// Not confirmed in time.
    Expired,
    /// Revoked.
    Revoked,
}

impl CertificateStatus {
    /// Every status.
    pub const ALL: [Self; 5] = [
        Self::Issued,
        Self::Confirmed,
        Self::Refused,
        Self::Expired,
        Self::Revoked,
    ];

    /// One word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Issued => "issued",
            Self::Confirmed => "confirmed",
            Self::Refused => "refused",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
        }
    }
}

/// A certificate that was just issued.
#[derive(Clone, Copy, Debug)]
pub struct IssuedCertificate<'a> {
    /// Content of the INTEGER, 16 bytes.
    pub serial: &'a [u8],
    /// DER.
    pub certificate: &'a [u8],
    /// The subject as a person reads it.
    pub subject: &'a str,
    /// The transaction in which it was asked for.
    pub transaction_id: &'a [u8],
}

/// Why a store failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// A file cannot be read or written.
    #[error("cannot use {file}: {error}")]
    Io {
        /// Its name.
        file: String,
        /// Why.
        error: io::Error,
    },
    /// A line of the index cannot be read.
    #[error("line {0} of the index is damaged")]
    Damaged(usize),
    /// There is no certificate with this serial number.
    #[error("no certificate with this serial number was issued")]
    UnknownSerial,
}

/// Keeps the issued certificates.
pub trait Store: Send {
    /// Records a certificate with status [`CertificateStatus::Issued`], before anybody gets it.
    ///
    /// # Errors
    /// If it cannot be recorded; then it must not be handed out.
    fn record(&mut self, issued: IssuedCertificate<'_>, now_s: u64) -> Result<(), StoreError>;

    /// Changes the status of a certificate.
    ///
    /// # Errors
    /// [`StoreError::UnknownSerial`], or if it cannot be recorded.
    fn change(&mut self, serial: &[u8], status: CertificateStatus, now_s: u64) -> Result<(), StoreError>;

    /// The status of a certificate; `None` if it was not issued here.
    fn status(&self, serial: &[u8]) -> Option<CertificateStatus>;

    /// Whether a certificate was issued in this transaction: a request that is replayed long after it gets none.
    fn has_transaction(&self, transaction_id: &[u8]) -> bool;
}
