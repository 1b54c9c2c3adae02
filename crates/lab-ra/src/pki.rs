//! The hierarchy: who signs whom, in memory and in a folder.

use cmp_message::crypto::{CryptoError, KeyAlgorithm, SigningKey, aws_lc::SoftKey};
use const_oid::{
    ObjectIdentifier,
    db::{rfc4519, rfc5280},
};
use der::{
    Decode, Encode,
    pem::{self, LineEnding},
};
use std::{fs, io, path::Path};
use zeroize::Zeroizing;

use crate::{
    StoreError,
    atomic_file::{self, Access},
    x509::{self, Content},
};

/// `id-kp-cmcRA`: the extended key usage of an RA's protection certificate (RFC 6402 §2.10, RFC 9810 §8.6).
const ID_KP_CMC_RA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.28");
const ORGANIZATION: &str = "Lab, not to be trusted";
const DAY_S: u64 = 86_400;
/// Certificates begin this long before they are made, for clocks that are late.
pub(crate) const BACKDATE_S: u64 = 3_600;

/// Why a hierarchy could not be made, read or used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PkiError {
    /// The folder has a hierarchy already.
    #[error("there is a PKI in this folder already; it is not overwritten")]
    Exists,
    /// A file of the folder cannot be read or written.
    #[error("cannot use {file}: {error}")]
    Io {
        /// Its name.
        file: String,
        /// Why.
        error: io::Error,
    },
    /// A file of the folder is not PEM of what its name says.
    #[error("{0} is damaged: it is not the PEM that belongs there")]
    Damaged(String),
    /// The key in a file does not belong to the certificate beside it.
    #[error("the key of {0} does not belong to its certificate")]
    WrongKey(&'static str),
    /// A serial number that does not fit into a PrintableString.
    #[error("a serial number has 1 to 64 letters, digits, spaces or ' ( ) + , - . / : = ?")]
    SerialNumber,
    /// No randomness.
    #[error("the random generator failed")]
    Random,
    /// A key cannot be made or used.
    #[error("a key failed: {0}")]
    Crypto(#[from] CryptoError),
    /// Something cannot be encoded.
    #[error("cannot be encoded: {0}")]
    Encoding(#[from] der::Error),
    /// The database that goes with the hierarchy fails.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A key with its certificate.
#[derive(Debug)]
pub struct Authority {
    key: SoftKey,
    certificate: Vec<u8>,
    subject: Vec<u8>,
    key_identifier: [u8; 20],
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

    /// Until when the certificate is valid, in seconds since 1970.
    pub fn not_after_s(&self) -> u64 {
        self.not_after_s
    }

    /// `role` is only for the error.
    fn new(role: &'static str, key: SoftKey, certificate: Vec<u8>) -> Result<Self, PkiError> {
        let parsed = x509_cert::Certificate::from_der(&certificate)?;
        let tbs = parsed.tbs_certificate();
        if tbs.subject_public_key_info().to_der()? != key.public_key() {
            return Err(PkiError::WrongKey(role));
        }
        Ok(Self {
            subject: tbs.subject().to_der()?,
            key_identifier: x509::key_identifier(key.public_key())?,
            not_after_s: tbs.validity().not_after.to_unix_duration().as_secs(),
            key,
            certificate,
        })
    }

    fn load(folder: &Path, role: &'static str) -> Result<Self, PkiError> {
        let certificate = read_pem(folder, &format!("{role}.pem"), "CERTIFICATE")?;
        let key = read_pem(folder, &format!("{role}-key.pem"), "PRIVATE KEY")?;
        Self::new(role, SoftKey::from_der(&key)?, certificate.to_vec())
    }

    fn save(&self, folder: &Path, role: &'static str) -> Result<(), PkiError> {
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

/// A manufacturer certificate with its key, as a station has it from the factory.
#[derive(Debug)]
pub struct Idevid {
    /// DER of the certificate.
    pub certificate: Vec<u8>,
    /// DER of the unencrypted PKCS#8 key.
    pub key: Zeroizing<Vec<u8>>,
    /// DER of the certificates between it and its root, without the root.
    pub chain: Vec<Vec<u8>>,
}

impl Idevid {
    /// Writes `cert.pem`, `key.pem` (0600) and `chain.pem` into `folder`, which is made if needed.
    ///
    /// # Errors
    /// [`PkiError::Io`].
    pub fn save(&self, folder: &Path) -> Result<(), PkiError> {
        make_folder(folder)?;
        let mut chain = String::new();
        for certificate in &self.chain {
            chain.push_str(&to_pem("CERTIFICATE", certificate)?);
        }
        write(
            folder,
            "key.pem",
            to_pem("PRIVATE KEY", &self.key)?.as_bytes(),
            Access::Private,
        )?;
        write(folder, "chain.pem", chain.as_bytes(), Access::Public)?;
        let certificate = to_pem("CERTIFICATE", &self.certificate)?;
        write(folder, "cert.pem", certificate.as_bytes(), Access::Public)
    }
}

/// The lab's hierarchy.
///
/// ```text
/// root ── ca ─┬─ ra                     manufacturer-root ── manufacturer-ca ── IDevIDs
///             └─ what is enrolled
/// ```
#[derive(Debug)]
pub struct Pki {
    /// The trust anchor of the stations.
    pub root: Authority,
    /// Issues what is enrolled.
    pub ca: Authority,
    /// Protects the messages.
    pub ra: Authority,
    /// The manufacturer's trust anchor.
    pub manufacturer_root: Authority,
    /// Issues manufacturer certificates.
    pub manufacturer_ca: Authority,
}

impl Pki {
    /// Makes a new hierarchy with keys of this type. The roots last 30 years, the CAs 20, the RA 5.
    ///
    /// # Errors
    /// [`PkiError::Crypto`] or [`PkiError::Random`].
    pub fn generate(algorithm: KeyAlgorithm, now_s: u64) -> Result<Self, PkiError> {
        let root = authority(
            "root",
            "Lab Root CA",
            algorithm,
            None,
            now_s,
            30 * 365,
            Role::Ca(1),
        )?;
        let ca = authority(
            "ca",
            "Lab Issuing CA",
            algorithm,
            Some(&root),
            now_s,
            20 * 365,
            Role::Ca(0),
        )?;
        let ra = authority("ra", "Lab RA", algorithm, Some(&ca), now_s, 5 * 365, Role::Ra)?;
        let maker = ("manufacturer-root", "Lab Manufacturer Root CA");
        let manufacturer_root = authority(maker.0, maker.1, algorithm, None, now_s, 30 * 365, Role::Ca(1))?;
        let maker = ("manufacturer-ca", "Lab Manufacturer CA");
        let issuer = Some(&manufacturer_root);
        let manufacturer_ca = authority(maker.0, maker.1, algorithm, issuer, now_s, 20 * 365, Role::Ca(0))?;
        Ok(Self {
            root,
            ca,
            ra,
            manufacturer_root,
            manufacturer_ca,
        })
    }

    /// Writes the hierarchy into a new or empty `folder`; `root.pem` comes last, so that its presence says that all
    /// is there.
    ///
    /// # Errors
    /// [`PkiError::Exists`] or [`PkiError::Io`].
    pub fn save(&self, folder: &Path) -> Result<(), PkiError> {
        if folder.join("root.pem").exists() {
            return Err(PkiError::Exists);
        }
        make_folder(folder)?;
        self.manufacturer_root.save(folder, "manufacturer-root")?;
        self.manufacturer_ca.save(folder, "manufacturer-ca")?;
        self.ra.save(folder, "ra")?;
        self.ca.save(folder, "ca")?;
        self.root.save(folder, "root")
    }

    /// Reads the hierarchy from `folder`.
    ///
    /// # Errors
    /// [`PkiError::Io`], [`PkiError::Damaged`] or [`PkiError::WrongKey`].
    pub fn load(folder: &Path) -> Result<Self, PkiError> {
        Ok(Self {
            root: Authority::load(folder, "root")?,
            ca: Authority::load(folder, "ca")?,
            ra: Authority::load(folder, "ra")?,
            manufacturer_root: Authority::load(folder, "manufacturer-root")?,
            manufacturer_ca: Authority::load(folder, "manufacturer-ca")?,
        })
    }

    /// Makes a manufacturer certificate and its key for the station with this serial number: CN and serialNumber are
    /// the serial number. It is valid for 20 years, not beyond its CA.
    ///
    /// # Errors
    /// [`PkiError::SerialNumber`], [`PkiError::Crypto`] or [`PkiError::Random`].
    pub fn issue_idevid(&self, serial_number: &str, now_s: u64) -> Result<Idevid, PkiError> {
        if !(1..=64).contains(&serial_number.len()) {
            return Err(PkiError::SerialNumber);
        }
        let subject = x509::name(&[
            (rfc4519::O, ORGANIZATION),
            (rfc4519::SERIAL_NUMBER, serial_number),
            (rfc4519::CN, serial_number),
        ])
        .map_err(|_| PkiError::SerialNumber)?;
        let issuer = &self.manufacturer_ca;
        let key = SoftKey::generate(issuer.key.key_algorithm())?;
        let certificate = certify(&subject, &key, Some(issuer), now_s, 20 * 365, Role::Idevid)?;
        Ok(Idevid {
            certificate,
            key: key.to_pkcs8()?,
            chain: vec![issuer.certificate.clone()],
        })
    }
}

#[derive(Clone, Copy)]
enum Role {
    /// With its path length.
    Ca(u8),
    Ra,
    Idevid,
}

fn authority(
    role_name: &'static str,
    common_name: &str,
    algorithm: KeyAlgorithm,
    issuer: Option<&Authority>,
    now_s: u64,
    days: u64,
    role: Role,
) -> Result<Authority, PkiError> {
    let key = SoftKey::generate(algorithm)?;
    let subject = x509::name(&[(rfc4519::O, ORGANIZATION), (rfc4519::CN, common_name)])?;
    let certificate = certify(&subject, &key, issuer, now_s, days, role)?;
    Authority::new(role_name, key, certificate)
}

/// Certifies `key`, by itself where there is no issuer.
fn certify(
    subject: &[u8],
    key: &SoftKey,
    issuer: Option<&Authority>,
    now_s: u64,
    days: u64,
    role: Role,
) -> Result<Vec<u8>, PkiError> {
    let identifier = x509::key_identifier(key.public_key())?;
    let issuer_identifier = issuer.map_or(identifier.as_slice(), Authority::key_identifier);
    let mut extensions = vec![
        x509::subject_key_identifier(&identifier)?,
        x509::authority_key_identifier(issuer_identifier)?,
    ];
    match role {
        Role::Ca(path_len) => {
            extensions.push(x509::basic_constraints(Some(path_len))?);
            let usage = x509::KEY_USAGE_KEY_CERT_SIGN | x509::KEY_USAGE_CRL_SIGN;
            extensions.push(x509::key_usage(usage)?);
        }
        Role::Ra | Role::Idevid => {
            extensions.push(x509::basic_constraints(None)?);
            extensions.push(x509::key_usage(x509::KEY_USAGE_DIGITAL_SIGNATURE)?);
        }
    }
    if let Role::Ra = role {
        let usages = x509::sequence(&[&ID_KP_CMC_RA.to_der()?])?;
        extensions.push(x509::extension(rfc5280::ID_CE_EXT_KEY_USAGE, false, &usages)?);
    }
    let not_after_s = now_s + days * DAY_S;
    Content {
        serial: x509::random_serial()?,
        issuer: issuer.map_or(subject, Authority::subject),
        not_before_s: now_s.saturating_sub(BACKDATE_S),
        not_after_s: issuer.map_or(not_after_s, |issuer| not_after_s.min(issuer.not_after_s)),
        subject,
        public_key: key.public_key(),
        extensions: &extensions,
    }
    .sign(issuer.map_or(key, |issuer| &issuer.key))
}

pub(crate) fn to_pem(label: &'static str, der: &[u8]) -> Result<Zeroizing<String>, PkiError> {
    let text = pem::encode_string(label, LineEnding::LF, der).map_err(der::Error::from)?;
    Ok(Zeroizing::new(text))
}

fn read_pem(folder: &Path, file: &str, label: &str) -> Result<Zeroizing<Vec<u8>>, PkiError> {
    let text = fs::read(folder.join(file)).map_err(|error| io_error(file, error))?;
    let text = Zeroizing::new(text);
    match pem::decode_vec(&text) {
        Ok((found, der)) if found == label => Ok(Zeroizing::new(der)),
        _ => Err(PkiError::Damaged(file.into())),
    }
}

fn write(folder: &Path, file: &str, content: &[u8], access: Access) -> Result<(), PkiError> {
    atomic_file::replace(&folder.join(file), content, access).map_err(|error| io_error(file, error))
}

fn make_folder(folder: &Path) -> Result<(), PkiError> {
    let made = atomic_file::create_private_folder(folder);
    made.map_err(|error| io_error(&folder.display().to_string(), error))
}

fn io_error(file: &str, error: io::Error) -> PkiError {
    PkiError::Io {
        file: file.into(),
        error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_S: u64 = 1_800_000_000;

    #[test]
    fn a_saved_hierarchy_loads_again_and_is_not_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let pki = Pki::generate(KeyAlgorithm::P256, NOW_S).unwrap();
        pki.save(folder.path()).unwrap();
        let again = Pki::load(folder.path()).unwrap();
        assert_eq!(again.ra.certificate(), pki.ra.certificate());
        assert_eq!(again.ca.key().public_key(), pki.ca.key().public_key());
        assert!(matches!(pki.save(folder.path()), Err(PkiError::Exists)));
    }

    #[test]
    fn a_key_of_another_certificate_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        Pki::generate(KeyAlgorithm::P256, NOW_S)
            .unwrap()
            .save(folder.path())
            .unwrap();
        fs::copy(folder.path().join("ca-key.pem"), folder.path().join("ra-key.pem")).unwrap();
        assert!(matches!(Pki::load(folder.path()), Err(PkiError::WrongKey("ra"))));
    }

    #[test]
    fn a_damaged_file_is_named() {
        let folder = tempfile::tempdir().unwrap();
        Pki::generate(KeyAlgorithm::P384, NOW_S)
            .unwrap()
            .save(folder.path())
            .unwrap();
        fs::write(folder.path().join("ca.pem"), "half of a").unwrap();
        let error = Pki::load(folder.path()).unwrap_err();
        assert!(
            matches!(error, PkiError::Damaged(ref file) if file == "ca.pem"),
            "{error}"
        );
    }

    #[test]
    fn a_serial_number_that_no_certificate_can_carry_is_refused() {
        let pki = Pki::generate(KeyAlgorithm::P256, NOW_S).unwrap();
        for bad in ["", "a_b", "ä", &"x".repeat(65)] {
            assert!(
                matches!(pki.issue_idevid(bad, NOW_S), Err(PkiError::SerialNumber)),
                "{bad}"
            );
        }
    }
}
