//! The successor of a root CA certificate (RFC 9810 §4.4, RFC 9483 §4.3.2).

use core::fmt;

use cmp_message::{
    Raw,
    certificate::{Certificate, CertificateError, names_match},
    crypto::{Crypto, CryptoError},
    general::RootCaKeyUpdateContent,
};
use const_oid::ObjectIdentifier;

/// A new root that the old one vouches for: [`new_root`](Self::new_root) may become a trust anchor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RootCaKeyUpdate {
    /// newWithNew: the new root, signed by itself.
    pub new_root: Certificate,
    /// newWithOld: the new key, certified with the old one, for those who know the old root only.
    pub new_with_old: Certificate,
    /// oldWithNew: the old key, certified with the new one, for those who know the new root only.
    pub old_with_new: Option<Certificate>,
    /// The root that vouches for the new one.
    pub old_root: Certificate,
}

/// Which of the certificates it is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RootCertificate {
    /// The root that is trusted now.
    Old,
    /// The new root.
    NewWithNew,
    /// The link from the old root to the new one.
    NewWithOld,
    /// The link from the new root to the old one.
    OldWithNew,
}

impl fmt::Display for RootCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Old => "the root that is trusted now",
            Self::NewWithNew => "newWithNew",
            Self::NewWithOld => "newWithOld",
            Self::OldWithNew => "oldWithNew",
        })
    }
}

/// Why a new root is not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RootUpdateError {
    /// The old root is none of the trust anchors.
    NotTrusted,
    /// newWithOld is missing: nothing proves that the old root vouches for the new one.
    MissingLink,
    /// It cannot be read.
    Malformed(RootCertificate, CertificateError),
    /// It is not a CA's certificate: basicConstraints lacks cA, or keyUsage lacks keyCertSign.
    NotCa(RootCertificate),
    /// It has a critical extension that is not supported here.
    CriticalExtension(RootCertificate, ObjectIdentifier),
    /// Its subject or its issuer is not the name that it must be.
    Name(RootCertificate),
    /// It certifies another key.
    OtherKey(RootCertificate),
    /// Its signature does not verify under the key that must have made it.
    Signature(RootCertificate, CryptoError),
    /// It has expired.
    Expired(RootCertificate),
    /// It is not valid yet.
    NotYetValid(RootCertificate),
    /// The new root is not newer than the old one.
    NotNewer,
}

impl fmt::Display for RootUpdateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotTrusted => f.write_str("the old root is not among the trust anchors"),
            Self::MissingLink => {
                f.write_str("newWithOld is missing: the old root does not vouch for the new one")
            }
            Self::Malformed(which, error) => write!(f, "{which} cannot be read: {error}"),
            Self::NotCa(which) => write!(f, "{which} is not the certificate of a CA"),
            Self::CriticalExtension(which, oid) => {
                write!(f, "the critical extension {oid} of {which} is not supported")
            }
            Self::Name(which) => write!(f, "subject or issuer of {which} is not the one that it must be"),
            Self::OtherKey(which) => write!(f, "{which} certifies another key"),
            Self::Signature(which, error) => write!(f, "the signature of {which} is wrong: {error}"),
            Self::Expired(which) => write!(f, "{which} has expired"),
            Self::NotYetValid(which) => write!(f, "{which} is not valid yet"),
            Self::NotNewer => f.write_str("the new root is not newer than the old one"),
        }
    }
}

impl core::error::Error for RootUpdateError {}

impl RootCaKeyUpdate {
    /// Checks the whole: that `old`, which is trusted, certifies the new root's key, that the new root certifies itself
    /// and, where oldWithNew is there, the old key; that each is a CA's certificate; and validity at `now_s`, in seconds
    /// since 1970, where there is a clock. oldWithNew is for what was signed in the past, so that its validity is not asked.
    ///
    /// # Errors
    /// The first check that failed.
    pub fn verify(
        content: &RootCaKeyUpdateContent,
        old: &Certificate,
        crypto: &dyn Crypto,
        now_s: Option<u64>,
    ) -> Result<Self, RootUpdateError> {
        use RootCertificate::{NewWithNew, NewWithOld, Old, OldWithNew};
        let new_with_old = content
            .new_with_old
            .as_ref()
            .ok_or(RootUpdateError::MissingLink)?;
        let new_root = parse(NewWithNew, &content.new_with_new)?;
        let new_with_old = parse(NewWithOld, new_with_old)?;
        let old_with_new = content
            .old_with_new
            .as_ref()
            .map(|der| parse(OldWithNew, der))
            .transpose()?;
        check_valid(Old, old, now_s)?;
        check_link(NewWithOld, &new_with_old, &new_root, old, crypto)?;
        check_link(NewWithNew, &new_root, &new_root, &new_root, crypto)?;
        if let Some(old_with_new) = &old_with_new {
            check_link(OldWithNew, old_with_new, old, &new_root, crypto)?;
        }
        check_valid(NewWithOld, &new_with_old, now_s)?;
        check_valid(NewWithNew, &new_root, now_s)?;
        // Else whoever holds the old key could bring back the root before it.
        if (new_root.not_before(), new_root.not_after()) <= (old.not_before(), old.not_after()) {
            return Err(RootUpdateError::NotNewer);
        }
        Ok(Self {
            new_root,
            new_with_old,
            old_with_new,
            old_root: old.clone(),
        })
    }
}

fn parse(which: RootCertificate, der: &Raw) -> Result<Certificate, RootUpdateError> {
    let certificate =
        Certificate::from_der(der.as_bytes()).map_err(|error| RootUpdateError::Malformed(which, error))?;
    if let Some(oid) = certificate.unprocessed_critical_extensions().next() {
        return Err(RootUpdateError::CriticalExtension(which, oid));
    }
    let is_ca = certificate
        .basic_constraints()
        .is_some_and(|constraints| constraints.ca)
        && certificate.key_usage().is_none_or(|usage| usage.key_cert_sign());
    if is_ca {
        Ok(certificate)
    } else {
        Err(RootUpdateError::NotCa(which))
    }
}

/// That `link` is issued by `issuer` for the name and the key of `subject`.
fn check_link(
    which: RootCertificate,
    link: &Certificate,
    subject: &Certificate,
    issuer: &Certificate,
    crypto: &dyn Crypto,
) -> Result<(), RootUpdateError> {
    if !names_match(link.subject(), subject.subject()) || !names_match(link.issuer(), issuer.subject()) {
        return Err(RootUpdateError::Name(which));
    }
    if link.public_key() != subject.public_key() {
        return Err(RootUpdateError::OtherKey(which));
    }
    link.verify_signature(crypto, issuer.public_key())
        .map_err(|error| RootUpdateError::Signature(which, error))
}

fn check_valid(
    which: RootCertificate,
    certificate: &Certificate,
    now_s: Option<u64>,
) -> Result<(), RootUpdateError> {
    match now_s {
        Some(now_s) if now_s < certificate.not_before() => Err(RootUpdateError::NotYetValid(which)),
        Some(now_s) if now_s > certificate.not_after() => Err(RootUpdateError::Expired(which)),
        _ => Ok(()),
    }
}
