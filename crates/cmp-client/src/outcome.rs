//! What a transaction that succeeded gives.

use alloc::vec::Vec;

#[cfg(feature = "envelope")]
use cmp_message::envelope::DeliveredKey;
use cmp_message::{CertId, Raw, certificate::Certificate, crl::Crl};

use crate::{CertReqTemplate, KeyId, RootCaKeyUpdate};

/// The result of an operation.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Outcome {
    /// Of `ir`, `cr`, `kur` and `p10cr`: a certificate.
    Enrolled(Enrolled),
    /// Of `rr`: the certificate is revoked.
    Revoked(Revoked),
    /// Of caCerts: certificates of CAs, none where the RA has none. Not trust anchors, and not checked: they are of use
    /// where a path leads through them to an anchor.
    CaCerts(Vec<Certificate>),
    /// Of rootCaCert: the successor of the root, verified, or `None` where there is none yet.
    RootCaUpdate(Option<RootCaKeyUpdate>),
    /// Of certReqTemplate: what a request is to contain, or `None` where the RA demands nothing.
    CertReqTemplate(Option<CertReqTemplate>),
    /// Of crlStatusList: a newer CRL, verified, or `None` where there is none.
    Crl(Option<Crl>),
}

impl Outcome {
    /// The certificate, where it is one.
    pub fn into_enrolled(self) -> Option<Enrolled> {
        match self {
            Self::Enrolled(enrolled) => Some(enrolled),
            _ => None,
        }
    }
}

/// A certificate that was issued, checked and confirmed.
#[derive(Clone, Debug)]
pub struct Enrolled {
    /// The certificate.
    pub certificate: Certificate,
    /// The key that it belongs to.
    pub key: KeyId,
    /// That key, where it came with the certificate: to be kept, and wiped where it is not.
    #[cfg(feature = "envelope")]
    pub private_key: Option<DeliveredKey>,
    /// Certificates that came with it and may lead to an anchor, unchecked.
    pub chain: Vec<Raw>,
    /// caPubs of an ip that came under the shared secret (RFC 9483 §4.1.5), or from a signer that is authorised by
    /// [`anchor_signers`](crate::Config::anchor_signers): they may become trust anchors.
    pub new_anchors: Vec<Raw>,
    /// The transactionID at the RA.
    pub transaction_id: Vec<u8>,
    /// It was confirmed implicitly, without certConf.
    pub implicit: bool,
}

/// A certificate that was revoked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revoked {
    /// Which one.
    pub certificate: CertId,
    /// The transactionID at the RA.
    pub transaction_id: Vec<u8>,
    /// The RA said `certRevoked` to a request that may have reached it before: whether that or somebody else's request
    /// revoked it nobody knows.
    pub earlier: bool,
}
