//! Which check an answer failed.

use core::fmt;

use cmp_message::{
    BodyType, PkiStatusInfo, certificate::CertificateError, crl::CrlError, general::info_type_name,
    validate::ValidationError,
};
use const_oid::ObjectIdentifier;

use crate::{RootUpdateError, TemplateError};

/// Which check an answer failed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ResponseError {
    /// Not DER of a PKIMessage.
    Malformed,
    /// Longer than allowed, in bytes.
    TooLarge(usize),
    /// A check of RFC 9483 §3.5.
    Validation(ValidationError),
    /// It is protected with another algorithm than the same sender's answer before, or with another kind of MAC than the request.
    AlgorithmChanged(ObjectIdentifier),
    /// Its senderNonce is that of the answer before.
    RepeatedSenderNonce,
    /// There is no messageTime, and the configuration wants one.
    MissingMessageTime,
    /// A body that does not answer what was sent.
    UnexpectedBody(BodyType),
    /// Not one response but this many.
    ResponseCount(usize),
    /// Another certReqId.
    CertReqId(i64),
    /// A status that does not fit here.
    UnexpectedStatus(PkiStatusInfo),
    /// Granted, and no certificate.
    MissingCertificate,
    /// The certificate is encrypted, which was not asked for.
    EncryptedCertificate,
    /// There is a private key with the certificate, and the key was made here.
    UnexpectedPrivateKey,
    /// There is a private key with the certificate, and pvno is not 3.
    PrivateKeyVersion(i64),
    /// checkAfter is zero or negative.
    CheckAfter(i64),
    /// The rp is about another certificate.
    OtherCertificate,
    /// A genp about something else.
    UnexpectedInfoType(ObjectIdentifier),
    /// The infoValue of the genp cannot be read.
    InfoValue(ObjectIdentifier),
    /// One of the CA certificates cannot be read.
    CaCertificate(CertificateError),
    /// More CA certificates than are taken.
    CaCertificateCount(usize),
    /// The new root is not taken.
    RootUpdate(RootUpdateError),
    /// The certificate request template is not taken.
    Template(TemplateError),
    /// The CRL is not taken.
    Crl(CrlError),
}

impl ResponseError {
    /// Where the rule stands that was broken.
    pub fn section(&self) -> &'static str {
        match self {
            Self::Malformed => "RFC 9810 §5.1",
            Self::TooLarge(_) => "a limit of the configuration",
            Self::Validation(error) => error.section(),
            Self::AlgorithmChanged(_) => "RFC 9483 §3.2",
            Self::RepeatedSenderNonce | Self::MissingMessageTime => "RFC 9483 §3.1",
            Self::UnexpectedBody(_) => "RFC 9483 §3.5",
            Self::ResponseCount(_) | Self::CertReqId(_) | Self::UnexpectedStatus(_) => "RFC 9483 §4",
            Self::MissingCertificate | Self::EncryptedCertificate | Self::UnexpectedPrivateKey => {
                "RFC 9483 §4.1"
            }
            Self::PrivateKeyVersion(_) => "RFC 9810 §7",
            Self::CheckAfter(_) => "RFC 9483 §4.4",
            Self::OtherCertificate => "RFC 9483 §4.2",
            Self::UnexpectedInfoType(_) | Self::InfoValue(_) => "RFC 9483 §4.3",
            Self::CaCertificate(_) | Self::CaCertificateCount(_) => "RFC 9483 §4.3.1",
            Self::RootUpdate(_) => "RFC 9483 §4.3.2",
            Self::Template(_) => "RFC 9483 §4.3.3",
            Self::Crl(_) => "RFC 9483 §4.3.4",
        }
    }
}

impl fmt::Display for ResponseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed => f.write_str("it is not a PKIMessage in DER"),
            Self::TooLarge(bytes) => write!(f, "it has {bytes} bytes, more than are allowed"),
            Self::Validation(error) => error.fmt(f),
            Self::AlgorithmChanged(oid) => {
                write!(
                    f,
                    "its protection algorithm {oid} is not that of the messages before"
                )
            }
            Self::RepeatedSenderNonce => f.write_str("its senderNonce is that of the answer before"),
            Self::MissingMessageTime => f.write_str("there is no messageTime"),
            Self::UnexpectedBody(body) => write!(f, "a {body} does not answer that"),
            Self::ResponseCount(n) => write!(f, "it has {n} responses, not one"),
            Self::CertReqId(id) => write!(f, "certReqId is {id}, not the one of the request"),
            Self::UnexpectedStatus(status) => write!(f, "its status does not fit here: {status}"),
            Self::MissingCertificate => f.write_str("it grants a certificate that is not there"),
            Self::EncryptedCertificate => {
                f.write_str("its certificate is encrypted, which was not asked for")
            }
            Self::UnexpectedPrivateKey => f.write_str("it has a private key, and the key was made here"),
            Self::PrivateKeyVersion(pvno) => {
                write!(f, "pvno is {pvno}, and a private key needs 3")
            }
            Self::CheckAfter(s) => write!(f, "checkAfter is {s}, which is no time to wait"),
            Self::OtherCertificate => {
                f.write_str("it is about another certificate than the one to be revoked")
            }
            Self::UnexpectedInfoType(oid) => {
                f.write_str("it is about ")?;
                write_info_type(f, oid)?;
                f.write_str(", which was not asked")
            }
            Self::InfoValue(oid) => {
                f.write_str("its value of ")?;
                write_info_type(f, oid)?;
                f.write_str(" cannot be read")
            }
            Self::CaCertificate(error) => write!(f, "one of its CA certificates cannot be read: {error}"),
            Self::CaCertificateCount(n) => write!(f, "it has {n} CA certificates, more than are taken"),
            Self::RootUpdate(error) => write!(f, "the new root is not taken: {error}"),
            Self::Template(error) => error.fmt(f),
            Self::Crl(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for ResponseError {}

fn write_info_type(f: &mut fmt::Formatter<'_>, oid: &ObjectIdentifier) -> fmt::Result {
    match info_type_name(oid) {
        Some(name) => f.write_str(name),
        None => write!(f, "{oid}"),
    }
}
