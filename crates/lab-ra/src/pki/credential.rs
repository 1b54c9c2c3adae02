use cmp_message::crypto::{SigningKey, aws_lc::SoftKey};
use const_oid::db::rfc4519;
use der::Encode;
use std::path::Path;
use x509_cert::name::Name;
use zeroize::Zeroizing;

use super::{
    Authority, CA_LIFETIME_S, DAY_S, ORGANIZATION, Pki, PkiError, Role, certify,
    files::{make_folder, to_pem, write},
};
use crate::{Store, atomic_file::Access, store::NewCertificate, x509};

/// A certificate with its key, ready for somebody else.
#[derive(Debug)]
pub struct Credential {
    /// DER of the certificate.
    pub certificate: Vec<u8>,
    /// DER of the unencrypted PKCS#8 key.
    pub key: Zeroizing<Vec<u8>>,
    /// DER of the certificates between it and its root, without the root.
    pub chain: Vec<Vec<u8>>,
}

impl Credential {
    /// Writes `cert.pem`, `key.pem` (0600) and `chain.pem` into `folder`, which is made if needed; the certificate comes
    /// last.
    ///
    /// # Errors
    /// [`PkiError::Io`].
    pub fn save(&self, folder: &Path) -> Result<(), PkiError> {
        make_folder(folder)?;
        let mut chain = String::new();
        for certificate in &self.chain {
            chain.push_str(&to_pem("CERTIFICATE", certificate)?);
        }
        let key = to_pem("PRIVATE KEY", &self.key)?;
        write(folder, "key.pem", key.as_bytes(), Access::Private)?;
        write(folder, "chain.pem", chain.as_bytes(), Access::Public)?;
        let certificate = to_pem("CERTIFICATE", &self.certificate)?;
        write(folder, "cert.pem", certificate.as_bytes(), Access::Public)
    }
}

impl Authority {
    /// Makes a manufacturer certificate (IDevID) of this CA and its key for the station with this serial number: CN and
    /// serialNumber are the serial number. It is valid for 20 years, not beyond its CA.
    ///
    /// # Errors
    /// [`PkiError::SerialNumber`], [`PkiError::Crypto`] or [`PkiError::Random`].
    pub fn issue_idevid(&self, serial_number: &str, now_s: u64) -> Result<Credential, PkiError> {
        if !(1..=64).contains(&serial_number.len()) {
            return Err(PkiError::SerialNumber);
        }
        let subject = x509::name(&[
            (rfc4519::O, ORGANIZATION),
            (rfc4519::SERIAL_NUMBER, serial_number),
            (rfc4519::CN, serial_number),
        ])
        .map_err(|_| PkiError::SerialNumber)?;
        let key = SoftKey::generate(self.key().key_algorithm())?;
        let times = (now_s, CA_LIFETIME_S);
        let role = Role::EndEntity;
        let (_, certificate) = certify(&subject, key.public_key(), (&key, Some(self)), times, role)?;
        Ok(Credential {
            certificate,
            key: key.to_pkcs8()?,
            chain: vec![self.certificate().to_vec()],
        })
    }
}

impl Pki {
    /// As [`Authority::issue_idevid`], of the manufacturer's CA.
    ///
    /// # Errors
    /// As there.
    pub fn issue_idevid(&self, serial_number: &str, now_s: u64) -> Result<Credential, PkiError> {
        self.manufacturer_ca.issue_idevid(serial_number, now_s)
    }

    /// Makes a certificate of the issuing CA and its key, without a request, and records it as confirmed: a first
    /// certificate for an end entity, or with `is_ra` one for an RA, which then speaks for others. It is valid for a year.
    ///
    /// # Errors
    /// [`PkiError::Crypto`], [`PkiError::Random`] or [`PkiError::Store`].
    pub fn issue(
        &self,
        store: &Store,
        subject: &Name,
        is_ra: bool,
        now_s: u64,
    ) -> Result<Credential, PkiError> {
        let key = SoftKey::generate(self.ca.key().key_algorithm())?;
        let role = match is_ra {
            true => Role::Ra,
            false => Role::EndEntity,
        };
        let (times, name) = ((now_s, 365 * DAY_S), subject.to_der()?);
        let (serial, certificate) = certify(&name, key.public_key(), (&key, Some(&self.ca)), times, role)?;
        store.record_confirmed(
            NewCertificate {
                serial: &serial,
                generation: self.generation(),
                certificate: &certificate,
                subject: &subject.to_string(),
                not_after_s: now_s.saturating_add(times.1).min(self.ca.not_after_s()),
                transaction_id: None,
            },
            now_s,
        )?;
        Ok(Credential {
            certificate,
            key: key.to_pkcs8()?,
            chain: vec![self.ca.certificate().to_vec()],
        })
    }
}
