//! Why a transaction ended without its result.

use alloc::{boxed::Box, string::String, vec::Vec};
use core::fmt;

use cmp_message::{BodyType, PkiBody, PkiMessage, PkiStatusInfo, crypto::CryptoError};

use crate::{Refusal, ResponseError};

/// Which transaction a failure belongs to, and which of our messages had been sent last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exchange {
    /// What we had sent.
    pub sent: BodyType,
    /// The transactionID.
    pub transaction_id: Vec<u8>,
    /// Whom the answer names as its sender, where there is an answer. Proven only where the failure says so.
    pub sender: Option<String>,
    /// What the answer says where it is an `error` that was not believed.
    pub claim: Option<PkiStatusInfo>,
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

/// Why there is no result, by who is to blame.
///
/// Only a refused certificate is told to the RA, in certConf: an end entity sends no `error` (RFC 9483 §3.6.1). The RA learns
/// of everything else by hearing nothing more.
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
    /// The issued certificate was refused here.
    CertificateRefused {
        /// Its certConf.
        exchange: Box<Exchange>,
        /// What is wrong with it.
        refusal: Refusal,
        /// The RA has confirmed that it knows.
        told: bool,
    },
    /// The issued certificate is not usable, and no certConf is possible as the RA has confirmed it implicitly.
    CertificateUnusable {
        /// What was answered.
        exchange: Box<Exchange>,
        /// What is wrong with it.
        refusal: Refusal,
    },
    /// What was asked for cannot be asked so. Nothing was signed or sent.
    Request(RequestError),
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
                let section = error.section();
                write!(
                    f,
                    "the answer to the {exchange} is not acceptable: {error} ({section})"
                )?;
                match &exchange.claim {
                    Some(claim) => write!(f, "; it claims, without proof: {claim}"),
                    None => Ok(()),
                }
            }
            Self::CertificateRefused {
                exchange,
                refusal,
                told,
            } => {
                let told = if *told {
                    ""
                } else {
                    ", which the RA has not acknowledged"
                };
                write!(
                    f,
                    "the issued certificate was refused in the {exchange}{told}: {refusal}"
                )
            }
            Self::CertificateUnusable { exchange, refusal } => write!(
                f,
                "the issued certificate, answer to the {exchange}, is already confirmed implicitly, and not usable: \
                 {refusal}"
            ),
            Self::Request(error) => error.fmt(f),
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
    /// Whether it may follow the sending of a certConf that refuses, and says less than the refusal.
    pub(crate) fn follows_refusal(&self) -> bool {
        !matches!(
            self,
            Self::CertificateRefused { .. } | Self::CertificateUnusable { .. } | Self::Storage | Self::Key(_)
        )
    }

    /// Adds whom the answer names as its sender, at most 200 characters and none of them a control character, and what it
    /// says where it is an `error` that was not believed.
    pub(crate) fn with_answer(mut self, answer: &PkiMessage) -> Self {
        if let (Self::Response { exchange, .. }, PkiBody::Error(error)) = (&mut self, &*answer.body) {
            exchange.claim = Some(error.pki_status_info.clone());
        }
        if let Self::Rejected { exchange, .. }
        | Self::UnprotectedError { exchange, .. }
        | Self::CertificateUnusable { exchange, .. }
        | Self::Response { exchange, .. } = &mut self
        {
            exchange.sender = answer.header.sender_name().map(|name| {
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

/// Why a request cannot be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RequestError {
    /// The subject is empty.
    EmptySubject,
    /// The public key is not DER of a SubjectPublicKeyInfo.
    PublicKey,
    /// The CSR is not DER of a CertificationRequest.
    Pkcs10,
    /// A kur is to be protected with the certificate that it updates, by a signature (RFC 9483 §4.1.3).
    UpdateProtection,
    /// An rr is to be protected with the certificate that it revokes, by a signature (RFC 9483 §4.2).
    RevocationProtection,
    /// The root to be updated is none of the trust anchors.
    UnknownRoot,
    /// A value cannot be encoded.
    Encoding,
}

impl fmt::Display for RequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::EmptySubject => "a certificate request needs a subject",
            Self::PublicKey => "the public key of the request cannot be read",
            Self::Pkcs10 => "the PKCS #10 request cannot be read",
            Self::UpdateProtection => "a kur is to be signed with the key of the certificate that it updates",
            Self::RevocationProtection => {
                "an rr is to be signed with the key of the certificate that it revokes"
            }
            Self::UnknownRoot => "the root to be updated is not among the trust anchors",
            Self::Encoding => "the request could not be encoded",
        })
    }
}

impl core::error::Error for RequestError {}

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
                write!(
                    f,
                    "the stored state is of version {version}, which this version cannot read"
                )
            }
            Self::OtherProtection => {
                f.write_str("the stored state was begun with another certificate or secret")
            }
        }
    }
}

impl core::error::Error for StateError {}
