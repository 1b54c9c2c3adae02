//! InfoTypeAndValue and general messages (RFC 9810 §5.3.19).

use alloc::{string::String, vec::Vec};
use der::{Choice, Sequence, asn1::ObjectIdentifier};
use x509_cert::{
    ext::pkix::name::{DistributionPointName, GeneralNames},
    time::Time,
};

use crate::{AttributeTypeAndValue, CertTemplate, Raw};

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

/// `id-regCtrl-algId` in a keySpec: the algorithm of the key that is wanted, an AlgorithmIdentifier.
pub const REG_CTRL_ALG_ID: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.5.1.11");
/// `id-regCtrl-rsaKeyLen` in a keySpec: the length of the RSA key that is wanted, an INTEGER in bits.
pub const REG_CTRL_RSA_KEY_LEN: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.5.1.12");

/// Value of [`ROOT_CA_KEY_UPDATE`]: a new root, and the link certificates between it and the one before.
///
/// ```text
/// RootCaKeyUpdateContent ::= SEQUENCE {
///     newWithNew      CMPCertificate,
///     newWithOld  [0] CMPCertificate OPTIONAL,
///     oldWithNew  [1] CMPCertificate OPTIONAL }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Sequence)]
pub struct RootCaKeyUpdateContent {
    /// The new root, signed by itself.
    pub new_with_new: Raw,
    /// The new key, certified with the old one.
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT", optional = "true")]
    pub new_with_old: Option<Raw>,
    /// The old key, certified with the new one.
    #[asn1(context_specific = "1", tag_mode = "EXPLICIT", optional = "true")]
    pub old_with_new: Option<Raw>,
}

/// Value of [`CERT_REQ_TEMPLATE`] in a genp: what a request is to contain.
///
/// ```text
/// CertReqTemplateContent ::= SEQUENCE {
///     certTemplate  CertTemplate,
///     keySpec       Controls OPTIONAL }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Sequence)]
pub struct CertReqTemplateContent {
    /// Fields with a value are to be taken over, empty ones are to be filled by the requester.
    pub cert_template: CertTemplate,
    /// Which keys are accepted: [`REG_CTRL_ALG_ID`] and [`REG_CTRL_RSA_KEY_LEN`].
    pub key_spec: Option<Vec<AttributeTypeAndValue>>,
}

/// Value of [`CRL_STATUS_LIST`]; the profile wants exactly one.
pub type CrlStatusList = Vec<CrlStatus>;

/// Which CRL is wanted, and which one the requester has.
///
/// ```text
/// CRLStatus ::= SEQUENCE { source CRLSource, thisUpdate Time OPTIONAL }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Sequence)]
pub struct CrlStatus {
    /// Which CRL.
    pub source: CrlSource,
    /// `thisUpdate` of the CRL that the requester has: only a newer one is wanted.
    pub this_update: Option<Time>,
}

/// Names a CRL.
///
/// ```text
/// CRLSource ::= CHOICE {
///     dpn     [0] DistributionPointName,
///     issuer  [1] GeneralNames }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Choice)]
pub enum CrlSource {
    /// By its distribution point, as the certificate in question has it.
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT", constructed = "true")]
    DistributionPoint(DistributionPointName),
    /// By its issuer.
    #[asn1(context_specific = "1", tag_mode = "EXPLICIT", constructed = "true")]
    Issuer(GeneralNames),
}

impl InfoTypeAndValue {
    /// `info_type` without a value, as most general messages ask.
    pub fn absent(info_type: ObjectIdentifier) -> Self {
        Self {
            info_type,
            info_value: None,
        }
    }

    /// `info_type` with this value.
    pub fn with_value(info_type: ObjectIdentifier, value: &impl der::Encode) -> der::Result<Self> {
        Ok(Self {
            info_type,
            info_value: Some(Raw::encode(value)?),
        })
    }

    /// `id-it-certProfile` with one profile name.
    pub fn cert_profile(name: &str) -> der::Result<Self> {
        Self::with_value(CERT_PROFILE, &alloc::vec![String::from(name)])
    }

    /// `id-it-implicitConfirm` with its NULL.
    pub fn implicit_confirm() -> der::Result<Self> {
        Ok(Self {
            info_type: IMPLICIT_CONFIRM,
            info_value: Some(Raw::encode(&der::asn1::Null)?),
        })
    }
}
