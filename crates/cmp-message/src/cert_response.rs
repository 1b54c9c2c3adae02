//! Certificate responses: ip, cp, kup (RFC 9810 §5.3.4).

use alloc::vec::Vec;
use der::{Choice, Sequence, asn1::OctetString};

use crate::{PkiStatusInfo, Raw};

/// ```text
/// CertRepMessage ::= SEQUENCE {
///     caPubs   [1] SEQUENCE SIZE (1..MAX) OF CMPCertificate OPTIONAL,
///     response     SEQUENCE OF CertResponse }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Sequence)]
pub struct CertRepMessage {
    /// CA certificates; trust anchors only where the protection allows it.
    #[asn1(context_specific = "1", tag_mode = "EXPLICIT", optional = "true")]
    pub ca_pubs: Option<Vec<Raw>>,
    /// One response for each request; one in the profile.
    pub response: Vec<CertResponse>,
}

/// ```text
/// CertResponse ::= SEQUENCE {
///     certReqId         INTEGER,
///     status            PKIStatusInfo,
///     certifiedKeyPair  CertifiedKeyPair OPTIONAL,
///     rspInfo           OCTET STRING     OPTIONAL }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Sequence)]
pub struct CertResponse {
    /// 0, or −1 where a p10cr is answered.
    pub cert_req_id: i64,
    /// What became of the request.
    pub status: PkiStatusInfo,
    /// The certificate, where it was granted.
    pub certified_key_pair: Option<CertifiedKeyPair>,
    /// Further information.
    pub rsp_info: Option<OctetString>,
}

/// ```text
/// CertifiedKeyPair ::= SEQUENCE {
///     certOrEncCert        CertOrEncCert,
///     privateKey       [0] EncryptedKey       OPTIONAL,
///     publicationInfo  [1] PKIPublicationInfo OPTIONAL }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Sequence)]
pub struct CertifiedKeyPair {
    /// The certificate.
    pub cert_or_enc_cert: CertOrEncCert,
    /// The private key where the server made it: EncryptedKey, unparsed.
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT", optional = "true")]
    pub private_key: Option<Raw>,
    /// Where it was published; unparsed.
    #[asn1(context_specific = "1", tag_mode = "EXPLICIT", optional = "true")]
    pub publication_info: Option<Raw>,
}

/// ```text
/// CertOrEncCert ::= CHOICE {
///     certificate    [0] CMPCertificate,
///     encryptedCert  [1] EncryptedKey }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Choice)]
pub enum CertOrEncCert {
    /// The certificate in clear.
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT", constructed = "true")]
    Certificate(Raw),
    /// Encrypted for the requester; unparsed.
    #[asn1(context_specific = "1", tag_mode = "EXPLICIT", constructed = "true")]
    EncryptedCert(Raw),
}
