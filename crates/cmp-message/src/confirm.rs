//! Certificate confirmation: certConf (RFC 9810 §5.3.18).

use alloc::vec::Vec;
use der::{
    AnyRef, Decode, Sequence,
    asn1::{BitStringRef, OctetString},
};
use spki::{AlgorithmIdentifierOwned, AlgorithmIdentifierRef};

use crate::{
    PkiStatusInfo,
    crypto::{HashAlgorithm, SignatureAlgorithm},
};

/// `CertConfirmContent ::= SEQUENCE OF CertStatus`; the profile wants exactly one.
pub type CertConfirmContent = Vec<CertStatus>;

/// Accepts or refuses one certificate.
///
/// ```text
/// CertStatus ::= SEQUENCE {
///     certHash        OCTET STRING,
///     certReqId       INTEGER,
///     statusInfo      PKIStatusInfo        OPTIONAL,
///     hashAlg     [0] AlgorithmIdentifier  OPTIONAL }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Sequence)]
pub struct CertStatus {
    /// Hash of the DER of the certificate, with [its own hash](cert_conf_hash) or with `hash_alg`.
    pub cert_hash: OctetString,
    /// Of which request.
    pub cert_req_id: i64,
    /// Absent or accepted: accepted; rejection: refused, and why.
    pub status_info: Option<PkiStatusInfo>,
    /// The hash algorithm where the certificate's signature algorithm implies none; version 3 only.
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT", optional = "true")]
    pub hash_alg: Option<AlgorithmIdentifierOwned>,
}

/// The hash that certHash is made with where hashAlg is absent: the one that belongs to the certificate's signature
/// algorithm (RFC 9810 §5.3.18), SHA-512 for Ed25519 (RFC 9481 §3.3).
///
/// `None` where the algorithm has none, as ML-DSA, or is unknown: hashAlg must then name one, in version 3.
///
/// The certificate, DER, need not be understood beyond its outline: one that is refused has a hash too.
#[must_use]
pub fn cert_conf_hash(certificate: &[u8]) -> Option<HashAlgorithm> {
    let outline = CertificateOutline::from_der(certificate).ok()?;
    SignatureAlgorithm::from_oid(outline.signature_algorithm.oid)?.hash_algorithm()
}

#[derive(Sequence)]
struct CertificateOutline<'a> {
    tbs_certificate: AnyRef<'a>,
    signature_algorithm: AlgorithmIdentifierRef<'a>,
    signature: BitStringRef<'a>,
}
