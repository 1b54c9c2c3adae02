//! Certificate confirmation: certConf (RFC 9810 §5.3.18).

use alloc::vec::Vec;
use der::{Sequence, asn1::OctetString};
use spki::AlgorithmIdentifierOwned;

use crate::PkiStatusInfo;

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
    /// Hash of the DER of the certificate, with the hash of its signature algorithm, or with `hash_alg`.
    pub cert_hash: OctetString,
    /// Of which request.
    pub cert_req_id: i64,
    /// Absent or accepted: accepted; rejection: refused, and why.
    pub status_info: Option<PkiStatusInfo>,
    /// The hash algorithm where the certificate's signature algorithm implies none; version 3 only.
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT", optional = "true")]
    pub hash_alg: Option<AlgorithmIdentifierOwned>,
}
