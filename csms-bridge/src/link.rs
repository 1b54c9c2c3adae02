//! Between DataTransfers on an OCPP connection and the binding.

use cmp_binding::{Answer, Call, CallOutcome, Data, Form, Status};
use ocpp_rpc::{
    RawValue,
    data_transfer::{self, Request, Response},
    endpoint::Outcome,
};
use tracing::warn;

/// What makes the message ids of a connection its own.
pub(crate) fn seed() -> u64 {
    let mut seed = [0; 8];
    if let Err(error) = getrandom::fill(&mut seed) {
        warn!(%error, "no randomness");
    }
    u64::from_ne_bytes(seed)
}

/// The payload of the DataTransfer that carries a call of ours.
pub(crate) fn payload_of(vendor_id: &str, call: &Call) -> Box<RawValue> {
    let request = Request {
        vendor_id: vendor_id.into(),
        message_id: Some(call.message_id.into()),
        data: to_wire(&call.data),
    };
    request.to_payload()
}

/// The DataTransfer response that carries an answer of ours.
pub(crate) fn response_of(answer: &Answer) -> Response<'_> {
    Response::new(wire_status(answer.status), answer.data.as_ref().and_then(to_wire))
}

/// How a call of ours ended.
pub(crate) fn outcome_of(outcome: &Outcome) -> CallOutcome {
    match outcome {
        Outcome::Result(payload) => match Response::parse(payload) {
            Ok(response) => CallOutcome::Response {
                status: binding_status(response.status),
                data: response.data.as_ref().map(from_wire),
            },
            Err(_) => CallOutcome::CallError {
                code: "FormationViolation".into(),
            },
        },
        Outcome::Error(error) => CallOutcome::CallError {
            code: error.code_name.clone(),
        },
        Outcome::TimedOut => CallOutcome::TimedOut,
        Outcome::Disconnected { .. } => CallOutcome::Disconnected,
    }
}

/// The `data` of a DataTransfer.
pub(crate) fn from_wire(data: &data_transfer::Data<'_>) -> Data {
    match data {
        data_transfer::Data::Text(text) => Data::text(text.as_ref()),
        data_transfer::Data::Json(json) => Data::object(json.get()),
    }
}

fn to_wire(data: &Data) -> Option<data_transfer::Data<'_>> {
    Some(match data.form {
        Form::Text => data_transfer::Data::Text(data.json.as_str().into()),
        Form::Object => data_transfer::Data::Json(serde_json::from_str(&data.json).ok()?),
    })
}

fn wire_status(status: Status) -> data_transfer::Status {
    match status {
        Status::Accepted => data_transfer::Status::Accepted,
        Status::Rejected => data_transfer::Status::Rejected,
        Status::UnknownMessageId => data_transfer::Status::UnknownMessageId,
        Status::UnknownVendorId => data_transfer::Status::UnknownVendorId,
    }
}

fn binding_status(status: data_transfer::Status) -> Status {
    match status {
        data_transfer::Status::Accepted => Status::Accepted,
        data_transfer::Status::Rejected => Status::Rejected,
        data_transfer::Status::UnknownMessageId => Status::UnknownMessageId,
        data_transfer::Status::UnknownVendorId => Status::UnknownVendorId,
    }
}
