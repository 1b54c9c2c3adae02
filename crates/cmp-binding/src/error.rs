//! What can go wrong in a transfer. What an RA says is never among it: that is a CMP message.

use alloc::borrow::Cow;
use alloc::string::String;
use core::error::Error;
use core::fmt;
use core::time::Duration;

use serde::{Deserialize, Serialize};

/// The text was not 22 characters of base64url that stand for 16 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct InvalidId;

impl fmt::Display for InvalidId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not an exchange id (22 characters of base64url)")
    }
}

impl Error for InvalidId {}

/// The text was not 1 to 32 characters of `[a-z0-9-]`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct InvalidRoute;

impl fmt::Display for InvalidRoute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a route name (1 to 32 characters of a-z, 0-9 and -)")
    }
}

impl Error for InvalidRoute {}

/// The `code` of a transfer error.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum ErrorCode {
    /// Not the object expected, bad base64, a chunk outside `len`, or not one DER SEQUENCE of `len` bytes.
    Malformed,
    /// No common version.
    Unsupported,
    /// The request is above `max`.
    TooLarge,
    /// The response is above the `max` of the station.
    ResponseTooLarge,
    /// Refused by policy: identity, route or operation.
    Forbidden,
    /// Never seen, forgotten, or finished.
    UnknownExchange,
    /// The same id with other bytes, another `len` or another route.
    Conflict,
    /// `off` is not where the receiver stands; `next` says where that is.
    Gap,
    /// A limit on rate or on work in flight.
    Busy,
    /// No byte of the request can have reached an RA; the CSMS side still holds the request.
    RaUnreachable,
    /// The request may have reached an RA and no answer came: the outcome is unknown.
    RaTimeout,
    /// The RA's answer was not a CMP message, or was too large.
    RaBadResponse,
    /// A code that this version does not know.
    #[serde(other)]
    Other,
}

impl ErrorCode {
    /// The code as it is on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Unsupported => "unsupported",
            Self::TooLarge => "too-large",
            Self::ResponseTooLarge => "response-too-large",
            Self::Forbidden => "forbidden",
            Self::UnknownExchange => "unknown-exchange",
            Self::Conflict => "conflict",
            Self::Gap => "gap",
            Self::Busy => "busy",
            Self::RaUnreachable => "ra-unreachable",
            Self::RaTimeout => "ra-timeout",
            Self::RaBadResponse => "ra-bad-response",
            Self::Other => "other",
        }
    }

    const fn text(self) -> &'static str {
        match self {
            Self::Malformed => "the data is not what this call carries",
            Self::Unsupported => "no common version of the binding",
            Self::TooLarge => "the request is larger than is taken here",
            Self::ResponseTooLarge => "the response is larger than the station takes",
            Self::Forbidden => "not allowed for this station",
            Self::UnknownExchange => "no such exchange",
            Self::Conflict => "the exchange was begun with other content",
            Self::Gap => "the piece does not begin where the last one ended",
            Self::Busy => "too much at once",
            Self::RaUnreachable => "the RA cannot be reached, the request is kept",
            Self::RaTimeout => "the RA did not answer, it may have got the request",
            Self::RaBadResponse => "the RA did not answer with a CMP message",
            Self::Other => "unknown error",
        }
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A transfer error as one side tells it to the other.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TransferError {
    /// What went wrong.
    pub code: ErrorCode,
    /// For a person, at most 100 characters; from the peer, so not to be believed.
    pub text: Cow<'static, str>,
    /// After how long the same call may be made again; `None`: the exchange is over.
    pub retry: Option<Duration>,
    /// With [`ErrorCode::Gap`]: the offset, in bytes, at which the receiver stands.
    pub next: Option<usize>,
}

impl TransferError {
    /// An error that ends the exchange.
    #[must_use]
    pub const fn last(code: ErrorCode) -> Self {
        Self {
            code,
            text: Cow::Borrowed(code.text()),
            retry: None,
            next: None,
        }
    }

    /// An error after which the same call may be made again.
    #[must_use]
    pub const fn again(code: ErrorCode, retry: Duration) -> Self {
        Self {
            code,
            text: Cow::Borrowed(code.text()),
            retry: Some(retry),
            next: None,
        }
    }

    /// `gap`: the receiver stands at `next`.
    #[must_use]
    pub const fn gap(next: usize) -> Self {
        let text = Cow::Borrowed(ErrorCode::Gap.text());
        Self {
            code: ErrorCode::Gap,
            text,
            retry: Some(Duration::ZERO),
            next: Some(next),
        }
    }

    pub(crate) fn from_peer(code: ErrorCode, text: &str, retry: Option<u64>, next: Option<usize>) -> Self {
        let text: String = text.chars().filter(|c| !c.is_control()).take(100).collect();
        Self {
            code,
            text: Cow::Owned(text),
            retry: retry.map(Duration::from_secs),
            next,
        }
    }
}

impl fmt::Display for TransferError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.text)
    }
}

impl Error for TransferError {}
