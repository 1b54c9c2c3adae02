use cmp_message::crypto::{SigningKey, aws_lc::SoftKey};
use der::{Decode, Encode};
use std::path::Path;

use super::{
    PkiError,
    files::{read_pem, to_pem, write},
};
use crate::{atomic_file::Access, x509};

/// A key with its certificate.
#[derive(Debug)]
pub struct Authority {
    key: SoftKey,
    certificate: Vec<u8>,
    subject: Vec<u8>,
    key_identifier: [u8; 20],
    not_before_s: u64,
    not_after_s: u64,
}

impl Authority {
    /// The key.
    pub fn key(&self) -> &SoftKey {
        &self.key
    }

    /// DER of the certificate.
    pub fn certificate(&self) -> &[u8] {
        &self.certificate
    }

    /// DER of the certificate's subject.
    pub fn subject(&self) -> &[u8] {
        &self.subject
    }

    /// The certificate's subjectKeyIdentifier.
    pub fn key_identifier(&self) -> &[u8] {
        &self.key_identifier
    }

    /// From when on the certificate is valid, in seconds since 1970.
    pub(super) fn not_before_s(&self) -> u64 {
        self.not_before_s
    }

    /// Until when the certificate is valid, in seconds since 1970.
    pub fn not_after_s(&self) -> u64 {
        self.not_after_s
    }

    /// From DER: of the certificate, and of the key in PKCS#8 or SEC 1.
    ///
    /// # Errors
    /// [`PkiError::WrongKey`], [`PkiError::Crypto`] or [`PkiError::Encoding`].
    pub fn from_der(certificate: &[u8], key: &[u8]) -> Result<Self, PkiError> {
        Self::new("CA", SoftKey::from_der(key)?, certificate.to_vec())
    }

    /// `role` is only for the error.
    pub(super) fn new(role: &'static str, key: SoftKey, certificate: Vec<u8>) -> Result<Self, PkiError> {
        let parsed = x509_cert::Certificate::from_der(&certificate)?;
        let tbs = parsed.tbs_certificate();
        if tbs.subject_public_key_info().to_der()? != key.public_key() {
            return Err(PkiError::WrongKey(role));
        }
        Ok(Self {
            subject: tbs.subject().to_der()?,
            key_identifier: x509::key_identifier(key.public_key())?,
            not_before_s: tbs.validity().not_before.to_unix_duration().as_secs(),
            not_after_s: tbs.validity().not_after.to_unix_duration().as_secs(),
            key,
            certificate,
        })
    }

    pub(super) fn load(folder: &Path, role: &'static str) -> Result<Self, PkiError> {
        let certificate = read_pem(folder, &format!("{role}.pem"), "CERTIFICATE")?;
        let key = read_pem(folder, &format!("{role}-key.pem"), "PRIVATE KEY")?;
        Self::new(role, SoftKey::from_der(&key)?, certificate.to_vec())
    }

    pub(super) fn save(&self, folder: &Path, role: &'static str) -> Result<(), PkiError> {
        let key = to_pem("PRIVATE KEY", &self.key.to_pkcs8()?)?;
        write(
            folder,
            &format!("{role}-key.pem"),
            key.as_bytes(),
            Access::Private,
        )?;
        let certificate = to_pem("CERTIFICATE", &self.certificate)?;
        write(
            folder,
            &format!("{role}.pem"),
            certificate.as_bytes(),
            Access::Public,
        )
    }
}
