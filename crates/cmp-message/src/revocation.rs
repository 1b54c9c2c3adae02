//! Revocation: rr and rp (RFC 9810 §5.3.9 and §5.3.10).

use alloc::vec::Vec;
use der::Sequence;
use x509_cert::ext::Extension;

use crate::{CertId, CertTemplate, PkiStatusInfo, Raw};

/// `RevReqContent ::= SEQUENCE OF RevDetails`; the profile wants exactly one.
pub type RevReqContent = Vec<RevDetails>;

/// ```text
/// RevDetails ::= SEQUENCE {
///     certDetails      CertTemplate,
///     crlEntryDetails  Extensions OPTIONAL }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Sequence)]
pub struct RevDetails {
    /// Issuer and serial number of the certificate.
    pub cert_details: CertTemplate,
    /// The CRL entry's extensions: the reason.
    pub crl_entry_details: Option<Vec<Extension>>,
}

/// ```text
/// RevRepContent ::= SEQUENCE {
///     status        SEQUENCE SIZE (1..MAX) OF PKIStatusInfo,
///     revCerts  [0] SEQUENCE SIZE (1..MAX) OF CertId          OPTIONAL,
///     crls      [1] SEQUENCE SIZE (1..MAX) OF CertificateList OPTIONAL }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Sequence)]
pub struct RevRepContent {
    /// One for each request.
    pub status: Vec<PkiStatusInfo>,
    /// The certificates that are revoked.
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT", optional = "true")]
    pub rev_certs: Option<Vec<CertId>>,
    /// CRLs; unparsed.
    #[asn1(context_specific = "1", tag_mode = "EXPLICIT", optional = "true")]
    pub crls: Option<Vec<Raw>>,
}
