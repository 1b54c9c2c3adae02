//! The `data` of a DataTransfer and how calls and answers pass between this crate and an OCPP stack.

use alloc::string::String;

use serde::{Deserialize, Serialize};

use crate::error::ErrorCode;

/// How `data` is put into the OCPP frame.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
pub enum Form {
    /// As a JSON string that contains the object: all that OCPP 1.6 allows, and the default everywhere.
    #[default]
    Text,
    /// As a JSON object.
    Object,
}

/// The `data` of a DataTransfer request or response.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Data {
    /// How it is, or was, put into the frame.
    pub form: Form,
    /// The JSON text of the object: for [`Form::Text`] the value of the string (unescaped), for [`Form::Object`] the
    /// object as it stands in the frame.
    pub json: String,
}

impl Data {
    /// `data` that travels as a JSON string.
    #[must_use]
    pub fn text(json: impl Into<String>) -> Self {
        Self {
            form: Form::Text,
            json: json.into(),
        }
    }

    /// `data` that travels as a JSON object.
    #[must_use]
    pub fn object(json: impl Into<String>) -> Self {
        Self {
            form: Form::Object,
            json: json.into(),
        }
    }
}

/// The outer status of a DataTransfer response.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Status {
    /// Understood as ours; the inner object says the rest, errors too.
    Accepted,
    /// Refused by the peer's OCPP stack.
    Rejected,
    /// The peer has no such operation.
    UnknownMessageId,
    /// The peer does not know our vendorId.
    UnknownVendorId,
}

impl Status {
    /// The status as OCPP names it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "Accepted",
            Self::Rejected => "Rejected",
            Self::UnknownMessageId => "UnknownMessageId",
            Self::UnknownVendorId => "UnknownVendorId",
        }
    }
}

/// A DataTransfer response to send.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Answer {
    /// The outer status.
    pub status: Status,
    /// The inner object, in the form in which the call came; `None` only for [`Status::UnknownMessageId`].
    pub data: Option<Data>,
}

impl Answer {
    /// The code of the transfer error that it tells, if it tells one.
    #[must_use]
    pub fn error_code(&self) -> Option<ErrorCode> {
        #[derive(Deserialize)]
        struct Told {
            error: Code,
        }
        #[derive(Deserialize)]
        struct Code {
            code: ErrorCode,
        }
        // What tells an error has no other member before it, and a long response need not be read for that.
        let json = self.data.as_ref().map(|data| data.json.as_str());
        let told = json.filter(|json| json.starts_with("{\"error\":"))?;
        serde_json::from_str(told).ok().map(|told: Told| told.error.code)
    }

    pub(crate) const UNKNOWN_MESSAGE_ID: Self = Self {
        status: Status::UnknownMessageId,
        data: None,
    };

    pub(crate) const fn accepted(data: Data) -> Self {
        Self {
            status: Status::Accepted,
            data: Some(data),
        }
    }
}

/// Names one call that `poll_call` returned, so that its result finds back.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct CallToken(pub(crate) u64);

/// A DataTransfer request to send. The caller adds the vendorId and a fresh OCPP-J message id.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Call {
    /// Goes back with the result.
    pub token: CallToken,
    /// The `messageId` of the DataTransfer (the operation).
    pub message_id: &'static str,
    /// The `data` of the DataTransfer.
    pub data: Data,
}

/// How a call ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum CallOutcome {
    /// A DataTransfer response came.
    Response {
        /// Its outer status.
        status: Status,
        /// Its `data`, if it had one.
        data: Option<Data>,
    },
    /// No answer within the OCPP call time-out.
    TimedOut,
    /// A CALLERROR came; the code as it was sent. `NotImplemented` and `NotSupported` mean: no binding here.
    CallError {
        /// The errorCode of the CALLERROR.
        code: String,
    },
    /// The connection went before an answer came, or the call could not be sent.
    Disconnected,
}

impl CallOutcome {
    /// The inner object of a response that is ours; otherwise why there is none.
    pub(crate) fn object(&self) -> Result<&Data, NoObject> {
        match self {
            Self::Response {
                status: Status::Accepted,
                data: Some(data),
            } => Ok(data),
            Self::Response { .. } => Err(NoObject::NoBinding),
            Self::CallError { code } if is_not_supported(code) => Err(NoObject::NoBinding),
            Self::CallError { .. } => Err(NoObject::Fault),
            Self::TimedOut => Err(NoObject::TimedOut),
            Self::Disconnected => Err(NoObject::Disconnected),
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum NoObject {
    NoBinding,
    Fault,
    TimedOut,
    Disconnected,
}

fn is_not_supported(code: &str) -> bool {
    ["NotImplemented", "NotSupported"]
        .iter()
        .any(|name| name.eq_ignore_ascii_case(code))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::TransferError;
    use crate::wire::Members;

    #[test]
    fn the_code_of_an_error_that_is_told_can_be_seen() {
        for code in [ErrorCode::Busy, ErrorCode::Gap, ErrorCode::UnknownExchange] {
            let members = Members::error(&TransferError::gap(3));
            let members = if code == ErrorCode::Gap {
                members
            } else {
                Members::error(&TransferError::last(code))
            };
            for form in [Form::Text, Form::Object] {
                let answer = Answer::accepted(members.clone().into_data(form));
                assert_eq!(answer.error_code(), Some(code));
            }
        }
        let wait = Members::wait(core::time::Duration::from_secs(2)).into_data(Form::Text);
        assert_eq!(Answer::accepted(wait).error_code(), None);
        assert_eq!(Answer::UNKNOWN_MESSAGE_ID.error_code(), None);
    }
}
