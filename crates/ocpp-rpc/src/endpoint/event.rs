//! What an endpoint tells the application.

use alloc::borrow::ToOwned;
use alloc::boxed::Box;
use alloc::string::String;

use serde_json::value::RawValue;

use super::{CallId, IncomingId};
use crate::ErrorCode;
use crate::frame::{Failure, Fault};

/// What happened.
#[derive(Debug)]
pub enum Event {
    /// The peer calls; to be answered with [`respond`](super::Endpoint::respond) or
    /// [`respond_error`](super::Endpoint::respond_error).
    Call {
        /// For the answer.
        call: IncomingId,
        /// The peer's message id, for the size of the answer.
        message_id: String,
        /// Name of the action.
        action: String,
        /// The request, byte for byte.
        payload: Box<RawValue>,
    },
    /// The peer sent a message that gets no answer (2.1).
    Send {
        /// Name of the action.
        action: String,
        /// The message, byte for byte.
        payload: Box<RawValue>,
    },
    /// An own call ended; comes exactly once for each that was not cancelled.
    Ended {
        /// The call.
        call: CallId,
        /// How it ended.
        outcome: Outcome,
    },
    /// The peer did not understand the answer that it got to a CALL of this message id (2.1).
    ResultRefused {
        /// The message id.
        message_id: String,
        /// What the peer says.
        error: RemoteError,
    },
    /// A message was dropped.
    Dropped {
        /// Its message id, if it had one.
        message_id: Option<String>,
        /// Why.
        reason: Dropped,
    },
}

/// How an own call ended.
#[derive(Debug)]
pub enum Outcome {
    /// With a CALLRESULT; the response byte for byte.
    Result(Box<RawValue>),
    /// With a CALLERROR.
    Error(RemoteError),
    /// Without an answer in time; whether the peer acted on it is not known.
    TimedOut,
    /// By the end of the connection, or as there was no place for it in time. `sent` tells whether the call had gone
    /// out before.
    Disconnected {
        /// Whether the peer may have got it.
        sent: bool,
    },
}

/// A CALLERROR or CALLRESULTERROR of the peer.
#[derive(Debug)]
pub struct RemoteError {
    /// The code as it was sent.
    pub code_name: String,
    /// The code, if OCPP knows it.
    pub code: Option<ErrorCode>,
    /// Text for a person.
    pub description: String,
    /// Any JSON.
    pub details: Option<Box<RawValue>>,
}

/// Why a message of the peer was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Dropped {
    /// An answer to nothing that waits for one: late, repeated or never asked for.
    NotAsked,
    /// A CALL with the message id of one that is not answered yet. An error would be taken for the answer to that one.
    Duplicate,
    /// A CALL beyond the limit of unanswered ones; it was answered with an error.
    TooManyCalls,
    /// The application did not answer a CALL in time; it was answered with an error.
    NotAnswered,
    /// The text is no message; it was answered where OCPP-J wants that.
    Unreadable(Fault),
    /// A message type that the version does not have.
    NotInVersion,
}

impl RemoteError {
    pub(crate) fn of(failure: &Failure<'_>) -> Self {
        Self {
            code_name: (*failure.code).into(),
            code: ErrorCode::from_name(&failure.code),
            description: (*failure.description).into(),
            details: failure.details.map(ToOwned::to_owned),
        }
    }
}
