//! InfoTypeAndValue and general messages (RFC 9810 §5.3.19).

use alloc::vec::Vec;
use der::{Sequence, asn1::ObjectIdentifier};

use crate::Raw;

/// A typed piece of information, in a general message or in a header.
///
/// ```text
/// InfoTypeAndValue ::= SEQUENCE {
///     infoType   OBJECT IDENTIFIER,
///     infoValue  ANY DEFINED BY infoType OPTIONAL }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Sequence)]
pub struct InfoTypeAndValue {
    /// What it is.
    pub info_type: ObjectIdentifier,
    /// Its value, unparsed.
    pub info_value: Option<Raw>,
}

/// `GenMsgContent` and `GenRepContent`.
pub type GenMsgContent = Vec<InfoTypeAndValue>;

/// `id-it-implicitConfirm`, value NULL.
pub const IMPLICIT_CONFIRM: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.4.13");
/// `id-it-confirmWaitTime`, value GeneralizedTime.
pub const CONFIRM_WAIT_TIME: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.4.14");
/// `id-it-caCerts`, value SEQUENCE OF CMPCertificate.
pub const CA_CERTS: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.4.17");
/// `id-it-rootCaKeyUpdate`.
pub const ROOT_CA_KEY_UPDATE: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.4.18");
/// `id-it-certReqTemplate`.
pub const CERT_REQ_TEMPLATE: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.4.19");
/// `id-it-rootCaCert`, value CMPCertificate.
pub const ROOT_CA_CERT: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.4.20");
/// `id-it-certProfile`, value SEQUENCE OF UTF8String.
pub const CERT_PROFILE: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.4.21");
/// `id-it-crlStatusList`.
pub const CRL_STATUS_LIST: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.4.22");
/// `id-it-crls`, value SEQUENCE OF CertificateList.
pub const CRLS: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.4.23");

/// The name of an infoType in the standard, for people.
pub fn info_type_name(info_type: &ObjectIdentifier) -> Option<&'static str> {
    Some(match *info_type {
        IMPLICIT_CONFIRM => "implicitConfirm",
        CONFIRM_WAIT_TIME => "confirmWaitTime",
        CA_CERTS => "caCerts",
        ROOT_CA_KEY_UPDATE => "rootCaKeyUpdate",
        CERT_REQ_TEMPLATE => "certReqTemplate",
        ROOT_CA_CERT => "rootCaCert",
        CERT_PROFILE => "certProfile",
        CRL_STATUS_LIST => "crlStatusList",
        CRLS => "crls",
        _ => return None,
    })
}

impl InfoTypeAndValue {
    /// `id-it-implicitConfirm` with its NULL.
    pub fn implicit_confirm() -> der::Result<Self> {
        Ok(Self {
            info_type: IMPLICIT_CONFIRM,
            info_value: Some(Raw::encode(&der::asn1::Null)?),
        })
    }
}
