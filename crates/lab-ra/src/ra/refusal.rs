use cmp_message::{PkiFailure, validate::ValidationError};

use super::RequestKind;
use crate::{PkiError, StoreError};

/// Why a message gets no for an answer: what the peer is told, and what only the log is told.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) failure: PkiFailure,
    /// Where RFC 9483 asks for the check that failed.
    pub(crate) section: &'static str,
    /// For the peer.
    pub(crate) text: &'static str,
    /// For the log.
    pub(crate) cause: Option<String>,
    /// The answer is an ip, cp or kup with status rejection; otherwise an error message.
    pub(crate) in_response_to: Option<RequestKind>,
}

impl Refusal {
    pub(crate) fn new(failure: PkiFailure, section: &'static str, text: &'static str) -> Self {
        Self {
            failure,
            section,
            text,
            cause: None,
            in_response_to: None,
        }
    }

    pub(crate) fn because(mut self, cause: impl ToString) -> Self {
        self.cause = Some(cause.to_string());
        self
    }

    /// Says it in a certificate response.
    pub(crate) fn in_response_to(mut self, kind: RequestKind) -> Self {
        self.in_response_to = Some(kind);
        self
    }

    fn system_failure(cause: impl ToString) -> Self {
        Self::new(
            PkiFailure::SystemFailure,
            "3.6.4",
            "the server failed; its log says why",
        )
        .because(cause)
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
            PkiFailure::BadTime => "messageTime is too far from the time here",
            PkiFailure::UnsupportedVersion => "pvno must be 2 or 3",
            PkiFailure::BadDataFormat => "transactionID is missing or of a wrong length",
            _ => "the header is not that of a message of the profile",
        };
        Self::new(failure, "3.5", text).because(error)
    }
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        Self::system_failure(error)
    }
}

impl From<PkiError> for Refusal {
    fn from(error: PkiError) -> Self {
        Self::system_failure(error)
    }
}

impl From<der::Error> for Refusal {
    fn from(error: der::Error) -> Self {
        Self::system_failure(error)
    }
}
