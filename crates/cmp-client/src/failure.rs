//! Why a transaction ended without a certificate.

use alloc::{boxed::Box, string::String, vec::Vec};
use core::fmt;

use cmp_message::{BodyType, PkiHeader, PkiStatusInfo, crypto::CryptoError, validate::ValidationError};

use crate::Refusal;

/// Which transaction a failure belongs to, and which of our messages had been sent last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exchange {
    /// What we had sent.
    pub sent: BodyType,
    /// The transactionID.
    pub transaction_id: Vec<u8>,
    /// Whom the answer names as its sender, where there is an answer. Proven only where the failure says so.
    pub sender: Option<String>,
}

impl fmt::Display for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of transaction ", self.sent)?;
        self.transaction_id
            .iter()
            .try_for_each(|byte| write!(f, "{byte:02x}"))?;
        match &self.sender {
            Some(sender) => write!(f, " (answer of {sender})"),
            None => Ok(()),
        }
    }
}

/// Why there is no certificate, by who is to blame.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Failure {
    /// The RA refused, in an authentic message, or in an unprotected one where
    /// [`accept_unprotected_errors`](crate::Config::accept_unprotected_errors) is set.
    Rejected {
        /// What was answered.
        exchange: Box<Exchange>,
        /// In which body it said so.
        answer: BodyType,
        /// Its status, reasons and text.
        status: PkiStatusInfo,
    },
    /// An answer said no, but nothing proves who wrote it.
    UnprotectedError {
        /// What was answered.
        exchange: Box<Exchange>,
        /// What it claims.
        status: PkiStatusInfo,
    },
    /// An answer cannot be used.
    Response {
        /// What was answered.
        exchange: Box<Exchange>,
        /// Which check failed.
        error: ResponseError,
    },
    /// The issued certificate was refused here, and the RA has been told.
    CertificateRefused {
        /// What is wrong with it.
        refusal: Refusal,
    },
    /// The issued certificate is not usable, and no certConf is possible as the RA has confirmed it implicitly.
    CertificateUnusable {
        /// What is wrong with it.
        refusal: Refusal,
    },
    /// A kur is to be protected with the certificate that it updates, by a signature (RFC 9483 §4.1.3).
    UpdateProtection,
    /// The message could not be carried to the RA.
    Delivery(Box<Exchange>),
    /// It took longer than was allowed.
    TimedOut(Box<Exchange>),
    /// The caller gave up.
    GivenUp,
    /// The holder of a key did not sign, or a value could not be computed.
    Key(CryptoError),
    /// A state could not be kept.
    Storage,
    /// A message could not be encoded.
    Encoding,
}

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
    /// checkAfter is zero or negative.
    CheckAfter(i64),
}

impl fmt::Display for ResponseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed => f.write_str("it is not a PKIMessage in DER"),
            Self::TooLarge(bytes) => write!(f, "it has {bytes} bytes, more than are allowed"),
            Self::Validation(error) => error.fmt(f),
            Self::UnexpectedBody(body) => write!(f, "a {body} does not answer that"),
            Self::ResponseCount(n) => write!(f, "it has {n} responses, not one"),
            Self::CertReqId(id) => write!(f, "certReqId is {id}, not the one of the request"),
            Self::UnexpectedStatus(status) => write!(f, "its status does not fit here: {status}"),
            Self::MissingCertificate => f.write_str("it grants a certificate that is not there"),
            Self::EncryptedCertificate => {
                f.write_str("its certificate is encrypted, which was not asked for")
            }
            Self::CheckAfter(s) => write!(f, "checkAfter is {s}, which is no time to wait"),
        }
    }
}

impl core::error::Error for ResponseError {}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rejected {
                exchange,
                answer,
                status,
            } => {
                write!(f, "the RA answered the {exchange} with {answer}: {status}")
            }
            Self::UnprotectedError { exchange, status } => {
                write!(
                    f,
                    "an unprotected error answered the {exchange}, which proves nothing: {status}"
                )
            }
            Self::Response { exchange, error } => {
                write!(f, "the answer to the {exchange} is not acceptable: {error}")
            }
            Self::CertificateRefused { refusal } => {
                write!(f, "the issued certificate was refused in certConf: {refusal}")
            }
            Self::CertificateUnusable { refusal } => {
                write!(
                    f,
                    "the issued certificate is already confirmed implicitly, and not usable: {refusal}"
                )
            }
            Self::UpdateProtection => {
                f.write_str("a kur is to be signed with the key of the certificate that it updates")
            }
            Self::Delivery(exchange) => write!(f, "the {exchange} could not be delivered"),
            Self::TimedOut(exchange) => write!(f, "the RA took too long over the {exchange}"),
            Self::GivenUp => f.write_str("the transaction was given up"),
            Self::Key(error) => write!(f, "no signature from the key: {error}"),
            Self::Storage => f.write_str("the state of the transaction could not be kept"),
            Self::Encoding => f.write_str("the message could not be encoded"),
        }
    }
}

impl core::error::Error for Failure {}

impl Failure {
    /// Adds whom the answer names as its sender, at most 200 characters and none of them a control character.
    pub(crate) fn with_sender(mut self, header: &PkiHeader) -> Self {
        if let Self::Rejected { exchange, .. }
        | Self::UnprotectedError { exchange, .. }
        | Self::Response { exchange, .. } = &mut self
        {
            exchange.sender = header.sender_name().map(|name| {
                let text = alloc::format!("{name}");
                text.chars()
                    .take(200)
                    .map(|c| if c.is_control() { ' ' } else { c })
                    .collect()
            });
        }
        self
    }
}

/// Why a stored state cannot be taken up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StateError {
    /// It cannot be decoded.
    Malformed,
    /// It was written by another version.
    Version(u8),
    /// It was begun with another certificate or secret than the configuration has.
    OtherProtection,
}

impl fmt::Display for StateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed => f.write_str("the stored state of the transaction is damaged"),
            Self::Version(version) => {
                write!(f, "the stored state is of version {version}, which is not known")
            }
            Self::OtherProtection => {
                f.write_str("the stored state was begun with another certificate or secret")
            }
        }
    }
}

impl core::error::Error for StateError {}
