//! The hierarchy: who signs whom, in memory and in a folder.

mod authority;
mod credential;
mod files;
mod generation;
mod identity;

pub use authority::Authority;
pub use credential::Credential;
pub use generation::RootUpdate;
pub use identity::RaIdentity;

use cmp_message::{
    certificate::names_match,
    crypto::{CryptoError, KeyAlgorithm, SigningKey, aws_lc::SoftKey},
    envelope::{ID_KP_CM_KGA, SealError},
};
use const_oid::{ObjectIdentifier, db::rfc4519};
use std::{
    io, iter,
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::{
    StoreError,
    x509::{self, Content},
};
use files::make_folder;
use generation::Previous;

/// `id-kp-cmcRA`: the extended key usage of an RA's protection certificate (RFC 6402 §2.10, RFC 9810 §4.5).
pub(crate) const ID_KP_CMC_RA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.28");
/// `id-kp-cmcCA`: the same of a CA.
pub(crate) const ID_KP_CMC_CA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.27");
const ORGANIZATION: &str = "Lab, not to be trusted";
const ROOT_NAME: &str = "Lab Root CA";
const KGA_NAME: &str = "Lab Key Generation Authority";
const DAY_S: u64 = 86_400;
const ROOT_LIFETIME_S: u64 = 30 * 365 * DAY_S;
const CA_LIFETIME_S: u64 = 20 * 365 * DAY_S;
const RA_LIFETIME_S: u64 = 5 * 365 * DAY_S;
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
    /// A key cannot be delivered to whom it was made for.
    #[error("a key cannot be delivered: {0}")]
    Delivery(#[from] SealError),
    /// Something cannot be encoded.
    #[error("cannot be encoded: {0}")]
    Encoding(#[from] der::Error),
    /// The database that goes with the hierarchy fails.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The lab's hierarchy.
///
/// ```text
/// root ── ca ─┬─ ra                     manufacturer-root ── manufacturer-ca ── IDevIDs
///             ├─ kga
///             └─ what is enrolled
/// ```
/// With a new root comes a new issuing CA and what is under it, a new *generation*. What was before stays accepted.
#[derive(Debug)]
pub struct Pki {
    /// The trust anchor of the stations.
    pub root: Authority,
    /// Issues what is enrolled.
    pub ca: Authority,
    /// Protects the messages.
    pub ra: Arc<Authority>,
    /// Signs the keys that are made for others.
    pub kga: Authority,
    /// The manufacturer's trust anchor.
    pub manufacturer_root: Authority,
    /// Issues manufacturer certificates.
    pub manufacturer_ca: Authority,
    /// What was before, the first generation first.
    previous: Vec<Previous>,
    /// Where it is read again from.
    folder: Option<PathBuf>,
}

impl Pki {
    /// Makes a new hierarchy with keys of this type. The roots last 30 years, the CAs 20, the RA and the KGA 5.
    ///
    /// # Errors
    /// [`PkiError::Crypto`] or [`PkiError::Random`].
    pub fn generate(algorithm: KeyAlgorithm, now_s: u64) -> Result<Self, PkiError> {
        let root = authority("root", ROOT_NAME, algorithm, None, now_s, Role::Ca(1))?;
        let ca = authority("ca", "Lab Issuing CA", algorithm, Some(&root), now_s, Role::Ca(0))?;
        let ra = authority("ra", "Lab RA", algorithm, Some(&ca), now_s, Role::Ra)?;
        let kga = authority("kga", KGA_NAME, algorithm, Some(&ca), now_s, Role::Kga)?;
        let maker = ("manufacturer-root", "Lab Manufacturer Root CA");
        let manufacturer_root = authority(maker.0, maker.1, algorithm, None, now_s, Role::Ca(1))?;
        let maker = ("manufacturer-ca", "Lab Manufacturer CA");
        let issuer = Some(&manufacturer_root);
        let manufacturer_ca = authority(maker.0, maker.1, algorithm, issuer, now_s, Role::Ca(0))?;
        Ok(Self {
            root,
            ca,
            ra: Arc::new(ra),
            kga,
            manufacturer_root,
            manufacturer_ca,
            previous: Vec::new(),
            folder: None,
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
        self.kga.save(folder, "kga")?;
        self.ca.save(folder, "ca")?;
        self.root.save(folder, "root")
    }

    /// Reads the hierarchy from `folder`, with every generation that is there.
    ///
    /// # Errors
    /// [`PkiError::Io`], [`PkiError::Damaged`] or [`PkiError::WrongKey`].
    pub fn load(folder: &Path) -> Result<Self, PkiError> {
        let mut pki = Self {
            root: Authority::load(folder, "root")?,
            ca: Authority::load(folder, "ca")?,
            ra: Arc::new(Authority::load(folder, "ra")?),
            kga: Authority::load(folder, "kga")?,
            manufacturer_root: Authority::load(folder, "manufacturer-root")?,
            manufacturer_ca: Authority::load(folder, "manufacturer-ca")?,
            previous: Vec::new(),
            folder: Some(folder.to_owned()),
        };
        pki.load_generations(folder)?;
        Ok(pki)
    }

    /// The folder that it was read from.
    pub(crate) fn folder(&self) -> Option<&Path> {
        self.folder.as_deref()
    }

    /// The number of the present generation; the first is 1.
    pub fn generation(&self) -> u32 {
        self.previous.len() as u32 + 1
    }

    /// The issuing CA of a generation.
    pub fn issuing_ca(&self, generation: u32) -> Option<&Authority> {
        let at = generation.checked_sub(1)? as usize;
        self.issuing_cas().nth(at)
    }

    /// Every issuing CA, the first generation first.
    pub(crate) fn issuing_cas(&self) -> impl Iterator<Item = &Authority> {
        self.previous
            .iter()
            .map(|previous| &previous.ca)
            .chain(iter::once(&self.ca))
    }

    /// The generation whose issuing CA has this name, DER.
    pub(crate) fn generation_of(&self, issuer: &[u8]) -> Option<u32> {
        let at = self
            .issuing_cas()
            .position(|ca| names_match(issuer, ca.subject()))?;
        Some(at as u32 + 1)
    }

    /// The present root and issuing CA, then what was before, and the links between the roots.
    pub fn ca_certificates(&self) -> impl Iterator<Item = &[u8]> {
        let previous = self.previous.iter().rev();
        let previous = previous.flat_map(|one| [one.ca.certificate(), one.root(), one.new_with_old()]);
        [self.ca.certificate(), self.root.certificate()]
            .into_iter()
            .chain(previous)
    }
}

#[derive(Clone, Copy)]
enum Role {
    /// With its path length.
    Ca(u8),
    Ra,
    Kga,
    EndEntity,
}

fn authority(
    role_name: &'static str,
    common_name: &str,
    algorithm: KeyAlgorithm,
    issuer: Option<&Authority>,
    now_s: u64,
    role: Role,
) -> Result<Authority, PkiError> {
    let key = SoftKey::generate(algorithm)?;
    let subject = x509::name(&[(rfc4519::O, ORGANIZATION), (rfc4519::CN, common_name)])?;
    let lifetime_s = match (role, issuer) {
        (Role::Ca(_), None) => ROOT_LIFETIME_S,
        (Role::Ca(_), Some(_)) => CA_LIFETIME_S,
        _ => RA_LIFETIME_S,
    };
    let certificate = certify(
        &subject,
        key.public_key(),
        (&key, issuer),
        (now_s, lifetime_s),
        role,
    )?;
    Authority::new(role_name, key, certificate.1)
}

/// Certifies `public_key` for the time from now on, with a key of its own where there is no issuer; serial number and
/// certificate.
fn certify(
    subject: &[u8],
    public_key: &[u8],
    (key, issuer): (&SoftKey, Option<&Authority>),
    (now_s, lifetime_s): (u64, u64),
    role: Role,
) -> Result<([u8; 16], Vec<u8>), PkiError> {
    let identifier = x509::key_identifier(public_key)?;
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
        Role::Ra | Role::Kga => {
            extensions.push(x509::basic_constraints(None)?);
            extensions.push(x509::key_usage(x509::KEY_USAGE_DIGITAL_SIGNATURE)?);
        }
        Role::EndEntity => {
            let algorithm = KeyAlgorithm::of_public_key(public_key).map_err(CryptoError::from)?;
            extensions.push(x509::basic_constraints(None)?);
            extensions.push(x509::key_usage(x509::usage_for_recipient(algorithm))?);
        }
    }
    match role {
        Role::Ra => extensions.push(x509::ext_key_usage(&[ID_KP_CMC_RA])?),
        Role::Kga => extensions.push(x509::ext_key_usage(&[ID_KP_CM_KGA])?),
        Role::Ca(_) | Role::EndEntity => {}
    }
    let not_after_s = now_s.saturating_add(lifetime_s);
    let content = Content {
        serial: x509::random_serial()?,
        issuer: issuer.map_or(subject, Authority::subject),
        not_before_s: now_s.saturating_sub(BACKDATE_S),
        not_after_s: issuer.map_or(not_after_s, |issuer| not_after_s.min(issuer.not_after_s())),
        subject,
        public_key,
        extensions: &extensions,
    };
    let certificate = content.sign(issuer.map_or(key, |issuer| issuer.key()))?;
    Ok((content.serial, certificate))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

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
