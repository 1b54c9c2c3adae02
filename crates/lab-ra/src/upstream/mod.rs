//! The CMP server behind an RA, and the ways to it: HTTP, or a folder of files that are carried.

mod crls;
mod http;
mod service;
mod spool;

pub use crls::CrlFiles;
pub use http::HttpUpstream;
pub use service::{RaService, Upstream};
pub use spool::{AnswerError, Found, Spool, SpoolError, Tray, answer_spool};

use cmp_http::Error;
use cmp_message::{BodyType, PkiFailure, PkiStatus, validate::ValidationError};

/// The largest answer that is read, in bytes.
pub const MAX_RESPONSE_BYTES: usize = 1024 * 1024;

/// Why there is no answer of the server behind that could be passed on.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum UpstreamError {
    /// There is none over HTTP.
    #[error("{0}")]
    Http(#[from] Error),
    /// A file is empty.
    #[error("the file is empty")]
    Empty,
    /// A file has more than [`MAX_RESPONSE_BYTES`].
    #[error("the file is too large")]
    TooLarge,
    /// The answer is not a PKIMessage in DER.
    #[error("the answer of the server behind is not a PKIMessage in DER")]
    Malformed,
    /// The answer is of a transaction that is not known here.
    #[error("it answers a transaction that is not known here")]
    UnknownTransaction,
    /// The transactionID or the recipNonce is not that of the message that was sent.
    #[error("it does not answer the message that was sent last")]
    OtherMessage,
    /// There is an answer already, or none is awaited.
    #[error("no answer is awaited")]
    NotAwaited,
    /// The answer is not protected as it should be.
    #[error("its protection is not good: {0}")]
    Protection(ValidationError),
    /// The signer is neither a CA nor an RA nor CMP server of a CA.
    #[error("its signer speaks for no PKI: it has neither id-kp-cmcCA nor id-kp-cmcRA and is no CA")]
    NotAuthorized,
    /// The body answers something else.
    #[error("its body {0} does not answer what was asked")]
    UnexpectedBody(BodyType),
    /// The status is none that there is, or there is not exactly one.
    #[error("its status {0:?} has no meaning there")]
    UnexpectedStatus(Option<PkiStatus>),
    /// A nested answer lacks the answer to this message.
    #[error("the answers that came together lack the one to this message")]
    LackingInBatch,
    /// Messages that went together were answered with one message, an error most likely.
    #[error("messages that went together were not answered one by one")]
    BatchRefused,
}

impl UpstreamError {
    /// Whether the server behind may have got the message.
    pub(crate) fn was_sent(&self) -> bool {
        match self {
            Self::Http(error) => error.was_sent(),
            _ => true,
        }
    }

    /// What the end entity is told: it may try again later, or somebody has to look.
    pub(crate) fn fail_info(&self) -> (PkiFailure, &'static str) {
        match self {
            Self::Http(
                Error::Connect(_)
                | Error::ConnectTimeout
                | Error::Timeout
                | Error::BrokeOff
                | Error::Status(503),
            ) => (
                PkiFailure::SystemUnavail,
                "the server behind this RA is not available",
            ),
            _ => (
                PkiFailure::SystemFailure,
                "the server behind this RA gave no usable answer",
            ),
        }
    }
}
