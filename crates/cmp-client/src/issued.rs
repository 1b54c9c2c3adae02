//! Whether an issued certificate is the one that was asked for.

use alloc::vec::Vec;
use core::fmt;

#[cfg(feature = "envelope")]
use cmp_message::envelope::EnvelopeError;
use cmp_message::{
    CertStatus, PkiFailure, PkiStatusInfo, Raw, cert_conf_hash,
    certificate::{Certificate, names_match},
    crypto::{CryptoError, HashAlgorithm},
    path::{self, PathError, PathFailure, PathRequest},
};
use der::{Decode, Encode, asn1::OctetString, referenced::RefToOwned};
use spki::SubjectPublicKeyInfoRef;

use crate::{Config, Modifications, Report};

/// What is wrong with an issued certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// It cannot be read.
    Malformed,
    /// It is for another key, or for one of another type.
    OtherKey,
    /// Its subject is not the one that was asked for, and the RA did not say so.
    OtherSubject,
    /// The RA changed something, and that is not wanted.
    Modified,
    /// It does not chain to an anchor.
    Path(PathError),
    /// The private key that was to come with it did not.
    MissingPrivateKey,
    /// The private key that came with it is not taken.
    #[cfg(feature = "envelope")]
    PrivateKey(EnvelopeError),
    /// The reason was found before a restart, and only what the RA is told was kept.
    Earlier(PkiStatusInfo),
}

impl Refusal {
    /// What the RA is told in certConf.
    pub(crate) fn status(&self) -> PkiStatusInfo {
        let (failure, text) = match self {
            Self::Malformed => (PkiFailure::BadDataFormat, "the certificate cannot be read"),
            Self::OtherKey => (PkiFailure::IncorrectData, "the certificate is for another key"),
            Self::OtherSubject => (PkiFailure::IncorrectData, "the subject is not the one requested"),
            Self::Modified => (PkiFailure::IncorrectData, "modifications are not accepted"),
            Self::Path(_) => (
                PkiFailure::IncorrectData,
                "the certificate does not chain to a trust anchor",
            ),
            Self::MissingPrivateKey => (PkiFailure::IncorrectData, "the private key is missing"),
            #[cfg(feature = "envelope")]
            Self::PrivateKey(error) => (error.fail_info(), "the private key is not acceptable"),
            Self::Earlier(status) => return status.clone(),
        };
        PkiStatusInfo::rejection(failure, text)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed => f.write_str("it cannot be read"),
            Self::OtherKey => f.write_str("its public key is not the one of the request"),
            Self::OtherSubject => f.write_str("its subject is not the one of the request"),
            Self::Modified => f.write_str("the RA changed what was asked for"),
            Self::Path(error) => write!(f, "it does not chain to a trust anchor: {error}"),
            Self::MissingPrivateKey => f.write_str("its private key did not come with it"),
            #[cfg(feature = "envelope")]
            Self::PrivateKey(error) => write!(f, "its private key is not taken: {error}"),
            Self::Earlier(status) => status.fmt(f),
        }
    }
}

impl core::error::Error for Refusal {}

/// What was asked for.
pub(crate) struct Wanted {
    /// DER of the Name.
    pub(crate) subject: Vec<u8>,
    pub(crate) key: WantedKey,
}

/// Which key the certificate must be for.
pub(crate) enum WantedKey {
    /// This one: DER of the SubjectPublicKeyInfo.
    This(Vec<u8>),
    /// One that was made for it, of this type: DER of the AlgorithmIdentifier.
    OfType(Vec<u8>),
    /// One that was made for it.
    Any,
}

impl WantedKey {
    fn is(&self, public_key: &[u8]) -> bool {
        let algorithm = || SubjectPublicKeyInfoRef::from_der(public_key)?.algorithm.to_der();
        match self {
            Self::This(wanted) => wanted == public_key,
            Self::OfType(wanted) => algorithm().is_ok_and(|algorithm| algorithm == *wanted),
            Self::Any => true,
        }
    }
}

/// What was issued.
pub(crate) struct Issued<'a> {
    pub(crate) der: &'a [u8],
    /// The RA said `grantedWithMods`.
    pub(crate) modified: bool,
    /// extraCerts.
    pub(crate) others: &'a [Raw],
    /// caPubs where the shared secret lets them be anchors.
    pub(crate) new_anchors: &'a [Raw],
}

/// Holds the certificate against the request and the anchors.
pub(crate) fn check(
    config: &Config,
    wanted: &Wanted,
    issued: &Issued<'_>,
    now_s: Option<u64>,
    reports: &mut Vec<Report>,
) -> Result<Certificate, Refusal> {
    let certificate = Certificate::from_der(issued.der).map_err(|_| Refusal::Malformed)?;
    if !wanted.key.is(certificate.public_key()) {
        return Err(Refusal::OtherKey);
    }
    if !names_match(&wanted.subject, certificate.subject()) {
        match (issued.modified, config.modifications) {
            (false, _) => return Err(Refusal::OtherSubject),
            (true, Modifications::Refuse) => return Err(Refusal::Modified),
            (true, Modifications::Accept) => reports.push(Report::Modified),
        }
    }
    check_path(config, &certificate, issued, now_s, reports)?;
    Ok(certificate)
}

fn check_path(
    config: &Config,
    certificate: &Certificate,
    issued: &Issued<'_>,
    now_s: Option<u64>,
    reports: &mut Vec<Report>,
) -> Result<(), Refusal> {
    let untrusted: Vec<_> = config
        .intermediates
        .iter()
        .cloned()
        .chain(parsed(issued.others))
        .take(path::MAX_UNTRUSTED_CERTIFICATES)
        .collect();
    let anchors: Vec<_> = match &config.issued_anchors {
        Some(anchors) => anchors.clone(),
        None => config
            .anchors
            .iter()
            .cloned()
            .chain(parsed(issued.new_anchors))
            .collect(),
    };
    let mut request = PathRequest::new(certificate, &anchors, now_s.into());
    request.untrusted = &untrusted;
    match request.validate(config.crypto) {
        Ok(_) => Ok(()),
        Err(PathError {
            failure: PathFailure::UnknownIssuer,
            ..
        }) if config.issued_anchors.is_none() => {
            reports.push(Report::IncompleteChain);
            Ok(())
        }
        Err(error) => Err(Refusal::Path(error)),
    }
}

/// The entry of certConf for a certificate: taken, or refused where there is a `status_info`.
///
/// The hash is the one that the certificate's signature algorithm implies. Where there is none, it is SHA-512 and named in
/// hashAlg, which takes version 3 (RFC 9810 §5.3.18).
pub(crate) fn cert_status(
    config: &Config,
    certificate: &[u8],
    cert_req_id: i64,
    status_info: Option<PkiStatusInfo>,
) -> Result<CertStatus, CryptoError> {
    let implied = cert_conf_hash(certificate);
    let hash = implied.unwrap_or(HashAlgorithm::Sha512);
    let digest = config.crypto.digest(hash, certificate)?;
    Ok(CertStatus {
        cert_hash: OctetString::new(digest.as_bytes()).map_err(|_| CryptoError::InvalidParameter)?,
        cert_req_id,
        status_info,
        hash_alg: implied
            .is_none()
            .then(|| hash.algorithm_identifier().ref_to_owned()),
    })
}

/// What cannot be read leads nowhere, and need not.
pub(crate) fn parsed(certificates: &[Raw]) -> impl Iterator<Item = Certificate> {
    certificates
        .iter()
        .take(path::MAX_UNTRUSTED_CERTIFICATES)
        .filter_map(|der| Certificate::from_der(der.as_bytes()).ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use cmp_message::crypto::{Crypto, RustCrypto};
    use x509_cert::name::Name;

    fn certificate_with(last_byte_of_oid: u8) -> Vec<u8> {
        let pem = include_str!("../../../tests/fixtures/openssl-3.0/pki/lc.crt");
        let mut der = der::Document::from_pem(pem).unwrap().1.into_vec();
        let ecdsa_with_sha256 = [0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2];
        let places: Vec<_> = (0..der.len() - 8)
            .filter(|at| der[*at..at + 8] == ecdsa_with_sha256)
            .collect();
        places.iter().for_each(|at| der[at + 7] = last_byte_of_oid);
        assert_eq!(places.len(), 2);
        der
    }

    #[test]
    fn a_certificate_is_hashed_as_its_signature_algorithm_says_also_where_it_is_refused() {
        let protection = crate::Protection::Pbmac1 {
            reference: Vec::new(),
            secret: cmp_message::mac::Secret::new(Vec::new()),
        };
        let config = Config::new(&RustCrypto, Name::default(), protection, Vec::new());
        for (byte, hash, named) in [
            (2, HashAlgorithm::Sha256, false),
            (3, HashAlgorithm::Sha384, false),
            (4, HashAlgorithm::Sha512, false),
            (0x7f, HashAlgorithm::Sha512, true),
        ] {
            let certificate = certificate_with(byte);
            let refused = Some(Refusal::OtherKey.status());
            let status = cert_status(&config, &certificate, 0, refused).unwrap();
            let expected = RustCrypto.digest(hash, &certificate).unwrap();
            assert_eq!(status.cert_hash.as_bytes(), expected.as_bytes());
            assert_eq!(status.hash_alg.map(|id| id.oid), named.then(|| hash.oid()));
        }
    }
}
