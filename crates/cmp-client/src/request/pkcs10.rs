//! A PKCS #10 request that was made elsewhere (RFC 2986, RFC 9483 §4.1.4).

use alloc::{string::String, vec::Vec};

use cmp_message::Raw;
use der::{Sequence, asn1::BitString};
use spki::{AlgorithmIdentifierOwned, SubjectPublicKeyInfoOwned};
use x509_cert::name::Name;

use crate::{KeyId, RequestError};

/// One certificate, asked for by a CSR.
#[derive(Clone, Debug)]
pub struct Pkcs10Request {
    /// The CSR, DER of CertificationRequest. Its own signature is the RA's to check.
    pub csr: Vec<u8>,
    /// Whose public key is in it: only handed back with the certificate.
    pub key: KeyId,
    /// The name of the certificate profile that is wanted, if the RA has several (RFC 9483 §3.1).
    pub cert_profile: Option<String>,
}

/// ```text
/// CertificationRequest ::= SEQUENCE {
///     certificationRequestInfo  CertificationRequestInfo,
///     signatureAlgorithm        AlgorithmIdentifier,
///     signature                 BIT STRING }
/// ```
#[derive(Sequence)]
struct CertificationRequest {
    info: CertificationRequestInfo,
    signature_algorithm: AlgorithmIdentifierOwned,
    signature: BitString,
}

/// ```text
/// CertificationRequestInfo ::= SEQUENCE {
///     version        INTEGER,
///     subject        Name,
///     subjectPKInfo  SubjectPublicKeyInfo,
///     attributes [0] SET OF Attribute }
/// ```
#[derive(Sequence)]
struct CertificationRequestInfo {
    version: u8,
    subject: Raw,
    public_key: Raw,
    attributes: Raw,
}

/// DER of the subject and of the SubjectPublicKeyInfo.
pub(super) fn subject_and_key(csr: &Raw) -> Result<(Vec<u8>, Vec<u8>), RequestError> {
    let parse = || -> der::Result<_> {
        let CertificationRequest { info, .. } = csr.parse()?;
        info.subject.parse::<Name>()?;
        info.public_key.parse::<SubjectPublicKeyInfoOwned>()?;
        Ok((
            info.subject.as_bytes().to_vec(),
            info.public_key.as_bytes().to_vec(),
        ))
    };
    parse().map_err(|_| RequestError::Pkcs10)
}
