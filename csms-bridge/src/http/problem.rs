//! What went wrong, as an HTTP API tells it: problem details (RFC 9457) that say what to do.

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::json;

use crate::{NotifyError, StoreError};

/// Why a request is not answered as it was meant.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum Problem {
    #[error("there is nothing at this path")]
    NoSuchPath,
    #[error("this path does not take this method")]
    Method,
    #[error("the bearer token is missing or wrong")]
    Unauthorized,
    #[error("the bridge was not told that this station is connected, or its time is over")]
    NotTold,
    #[error("the station is held in Pending: it may not call")]
    Pending,
    #[error("the station proved nothing to the CSMS")]
    Unauthenticated,
    #[error("the station is not in the list of stations")]
    Unlisted,
    #[error("the body is no DataTransfer request: {0}")]
    DataTransfer(ocpp_rpc::data_transfer::Error),
    #[error("the request is for a host that is not this machine")]
    Host,
    #[error("the Content-Type is not application/json")]
    NotJson,
    #[error("the body is larger than {max_bytes} bytes")]
    TooLarge { max_bytes: usize },
    #[error("the body took too long to arrive")]
    TooSlow,
    #[error("the body broke off")]
    BodyBrokeOff,
    #[error("the body is not the JSON that is expected: {0}")]
    Json(serde_json::Error),
    #[error("the query cannot be read: {0}")]
    Query(String),
    #[error("{name} is not {expected}")]
    Value {
        name: &'static str,
        expected: &'static str,
    },
    #[error("no station of this identity is known")]
    UnknownStation,
    #[error("{0} stations have this identity, at different listeners or paths")]
    Ambiguous(usize),
    #[error("{0}")]
    Notify(NotifyError),
    #[error("the station did not answer in time")]
    NotifyTimedOut,
    #[error("the store does not work")]
    Store,
    #[error("too many requests at a time")]
    Overloaded,
    #[error("an error of the bridge itself")]
    Internal,
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        // The cause is for the log.
        tracing::error!(%error, "a request cannot be answered");
        Self::Store
    }
}

impl From<NotifyError> for Problem {
    fn from(error: NotifyError) -> Self {
        Self::Notify(error)
    }
}

impl Problem {
    /// Status, a code for programs, and what to do.
    const fn row(&self) -> (StatusCode, &'static str, &'static str) {
        match self {
            Self::NoSuchPath => (
                StatusCode::NOT_FOUND,
                "no-such-path",
                "/openapi.json lists the paths",
            ),
            Self::Method => (
                StatusCode::METHOD_NOT_ALLOWED,
                "method-not-allowed",
                "/openapi.json lists the methods of each path",
            ),
            Self::Unauthorized => (
                StatusCode::UNAUTHORIZED,
                "unauthorized",
                "send the header Authorization: Bearer TOKEN with the content of the bridge's token file",
            ),
            Self::NotTold => (
                StatusCode::NOT_FOUND,
                "not-told",
                "PUT /v1/stations/ID, then send this again",
            ),
            Self::Pending => (
                StatusCode::CONFLICT,
                "pending",
                "answer the station with CALLERROR SecurityError; PUT /v1/stations/ID when its boot is accepted",
            ),
            Self::Unauthenticated => (
                StatusCode::FORBIDDEN,
                "unauthenticated",
                "let stations prove who they are, or set sidecar.accept_unauthenticated = true",
            ),
            Self::Unlisted => (
                StatusCode::FORBIDDEN,
                "unlisted",
                "add the station to the file access.stations, and send the bridge SIGHUP",
            ),
            Self::DataTransfer(_) => (
                StatusCode::BAD_REQUEST,
                "no-data-transfer",
                "send vendorId, messageId and data as the station sent them",
            ),
            Self::Host => (
                StatusCode::FORBIDDEN,
                "wrong-host",
                "use 127.0.0.1, [::1] or localhost; for other names give the bridge a token file",
            ),
            Self::NotJson => (
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "not-json",
                "send JSON with the header Content-Type: application/json",
            ),
            Self::TooLarge { .. } => (StatusCode::PAYLOAD_TOO_LARGE, "too-large", "send less"),
            Self::TooSlow => (StatusCode::REQUEST_TIMEOUT, "too-slow", "send the body at once"),
            Self::BodyBrokeOff => (StatusCode::BAD_REQUEST, "body-broke-off", "send the whole body"),
            Self::Json(_) => (
                StatusCode::BAD_REQUEST,
                "bad-json",
                "/openapi.json has the schema of the body",
            ),
            Self::Query(_) | Self::Value { .. } => (
                StatusCode::BAD_REQUEST,
                "bad-value",
                "/openapi.json lists the parameters",
            ),
            Self::UnknownStation => (
                StatusCode::NOT_FOUND,
                "unknown-station",
                "check the spelling; GET /v1/stations lists those that were ever seen",
            ),
            Self::Ambiguous(_) => (
                StatusCode::CONFLICT,
                "ambiguous-station",
                "add ?listener= and ?prefix= as GET /v1/stations has them",
            ),
            Self::Notify(error) => Self::notify_row(*error),
            Self::NotifyTimedOut => (
                StatusCode::GATEWAY_TIMEOUT,
                "no-answer",
                "see whether the station is connected, and ask again later",
            ),
            Self::Store => (
                StatusCode::SERVICE_UNAVAILABLE,
                "store-failed",
                "the bridge's log says why",
            ),
            Self::Overloaded => (StatusCode::SERVICE_UNAVAILABLE, "overloaded", "ask again later"),
            Self::Internal => (
                StatusCode::INTERNAL_SERVER_ERROR,
                "internal",
                "the bridge's log says more",
            ),
        }
    }

    const fn notify_row(error: NotifyError) -> (StatusCode, &'static str, &'static str) {
        match error {
            NotifyError::NotConnected => (
                StatusCode::CONFLICT,
                "not-connected",
                "ask again when the station is connected",
            ),
            NotifyError::Busy => (
                StatusCode::TOO_MANY_REQUESTS,
                "busy",
                "wait until the station has answered what it is asked already",
            ),
            NotifyError::Refused(_) => (
                StatusCode::CONFLICT,
                "refused",
                "busy: it takes one request an hour for each slot; forbidden: it has no such slot, or its policy is against it",
            ),
            NotifyError::NoAnswer => (
                StatusCode::BAD_GATEWAY,
                "no-answer",
                "ask again when the station is connected",
            ),
        }
    }

    /// Seconds after which to try again.
    const fn retry_after_s(&self) -> Option<u32> {
        match self {
            Self::Notify(NotifyError::Busy) | Self::Store | Self::Overloaded => Some(10),
            _ => None,
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let (status, code, cure) = self.row();
        let body = json!({
            "type": "about:blank",
            "title": status.canonical_reason(),
            "status": status.as_u16(),
            "code": code,
            "detail": self.to_string(),
            "cure": cure,
        });
        let mut response = (status, body.to_string()).into_response();
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(after_s) = self.retry_after_s() {
            headers.insert(header::RETRY_AFTER, after_s.into());
        }
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}
