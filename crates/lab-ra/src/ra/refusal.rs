use cmp_message::{PkiFailure, validate::ValidationError};
use std::borrow::Cow;

use super::RequestKind;

/// Why a message gets no for an answer: what the peer is told, and what only the log is told.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) failure: PkiFailure,
    /// Where RFC 9483 asks for the check that failed.
    pub(crate) section: &'static str,
    /// For the peer.
    pub(crate) text: Cow<'static, str>,
    /// For the log.
    pub(crate) cause: Option<String>,
}

/// The body in which a refusal is said (RFC 9483 §3.6.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RefusedIn {
    /// An error message.
    Error,
    /// An ip, cp or kup.
    Certificate(RequestKind),
    /// An rp.
    Revocation,
}

impl RefusedIn {
    /// The answer to a body of this name that was authentic.
    pub(crate) fn answer_to(body: &str) -> Self {
        match RequestKind::from_name(body) {
            Some(kind) => Self::Certificate(kind),
            None if body == "rr" => Self::Revocation,
            None => Self::Error,
        }
    }
}

impl Refusal {
    pub(crate) fn new(
        failure: PkiFailure,
        section: &'static str,
        text: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self {
            failure,
            section,
            text: text.into(),
            cause: None,
        }
    }

    pub(crate) fn because(mut self, cause: impl ToString) -> Self {
        self.cause = Some(cause.to_string());
        self
    }
}

impl From<ValidationError> for Refusal {
    /// Those that probe secrets or trust learn nothing from the text.
    fn from(error: ValidationError) -> Self {
        let failure = error.fail_info();
        let text = match failure {
            PkiFailure::BadMessageCheck => "the protection of the message cannot be verified",
            PkiFailure::SignerNotTrusted => {
                "the signer's certificate does not lead to a trust anchor of this RA"
            }
            PkiFailure::BadAlg => "the protection algorithm is not accepted",
            PkiFailure::WrongIntegrity => "this message must be protected the other way: signature or MAC",
            PkiFailure::BadSenderNonce => "senderNonce is missing, of a wrong length, or reused",
            PkiFailure::BadRecipientNonce => "recipNonce is not what this RA sent last",
            PkiFailure::BadTime => "messageTime is too far from the time here, or missing",
            PkiFailure::UnsupportedVersion => "pvno must be 2 or 3",
            PkiFailure::BadDataFormat => "transactionID is missing or of a wrong length",
            _ => "the header is not that of a message of the profile",
        };
        Self::new(failure, "3.5", text).because(error)
    }
}
