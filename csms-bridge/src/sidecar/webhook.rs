//! Calls to stations, handed to the CSMS: signed, tried again where that helps, and known by a name so that the CSMS makes
//! each once. How to verify one is in `docs/sidecar.md`.

use std::time::Duration;

use aws_lc_rs::hmac;
use cmp_binding::{Call, CallOutcome};
use hyper::{
    Method, StatusCode,
    body::Bytes,
    header::{CONTENT_TYPE, HeaderName, HeaderValue},
};
use ocpp_rpc::{RawValue, endpoint::Outcome};
use serde::{Deserialize, Serialize};
use tokio::{sync::Semaphore, time::Instant};
use tracing::{debug, warn};

use super::SidecarError;
use crate::{
    Config, StationKey, clock,
    digest::Hex,
    http::{CallError, Peer, PeerLimits, SecretFile},
    link::{outcome_of, payload_of},
};

/// The name of the call, the same for each attempt.
pub(super) const DELIVERY: HeaderName = HeaderName::from_static("csms-bridge-delivery");
/// Seconds since 1970 when it was signed.
pub(super) const TIMESTAMP: HeaderName = HeaderName::from_static("csms-bridge-timestamp");
/// `sha256=` and the HMAC in hexadecimal.
pub(super) const SIGNATURE: HeaderName = HeaderName::from_static("csms-bridge-signature");

const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Where the CSMS takes calls.
pub(super) struct Webhook {
    peer: Peer,
    target: String,
    key: hmac::Key,
    vendor_id: String,
    timeout: Duration,
    room: Semaphore,
}

/// The body of a call.
#[derive(Serialize)]
struct Delivery<'a> {
    delivery: &'a str,
    station: &'a str,
    /// `vendorId`, `messageId` and `data`: the payload of the DataTransfer.
    request: &'a RawValue,
}

/// An answer that is no response of a station.
#[derive(Deserialize)]
struct Failed {
    /// The errorCode of the CALLERROR that it answered with.
    error: String,
}

/// What one attempt came to.
enum Attempt {
    Done(CallOutcome),
    Again,
}

impl Webhook {
    pub(super) fn load(config: &Config) -> Result<Option<Self>, SidecarError> {
        let sidecar = &config.sidecar;
        let (Some(url), Some(file)) = (&sidecar.webhook, &sidecar.webhook_secret_file) else {
            return Ok(None);
        };
        let secret = SecretFile::load(file).map_err(SidecarError::Secret)?;
        let limits = PeerLimits {
            connect_timeout: CONNECT_TIMEOUT,
            response_timeout: Duration::from_secs(sidecar.webhook_attempt_s),
            max_response_bytes: config.max_frame_bytes,
        };
        let peer = Peer::new(url, sidecar.webhook_ca.as_deref(), &limits).map_err(SidecarError::Webhook)?;
        Ok(Some(Self {
            target: peer.target().into(),
            peer,
            key: hmac::Key::new(hmac::HMAC_SHA256, secret.expose().as_bytes()),
            vendor_id: config.vendor_id.clone(),
            timeout: Duration::from_secs(sidecar.webhook_timeout_s),
            room: Semaphore::new(sidecar.max_webhooks),
        }))
    }

    /// Has the CSMS make a call, and gives what the station answered.
    pub(super) async fn deliver(&self, station: &StationKey, call: &Call) -> CallOutcome {
        let Some((delivery, body)) = self.delivery(station, call) else {
            return CallOutcome::Disconnected;
        };
        let end = Instant::now() + self.timeout;
        let mut pause = FIRST_PAUSE;
        loop {
            match tokio::time::timeout_at(end, self.attempt(&delivery, body.clone())).await {
                Ok(Attempt::Done(outcome)) => return outcome,
                Ok(Attempt::Again) if Instant::now() + pause < end => {
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
                Ok(Attempt::Again) | Err(_) => {
                    warn!(
                        delivery,
                        message_id = call.message_id,
                        "the CSMS does not take the call: given up"
                    );
                    return CallOutcome::TimedOut;
                }
            }
        }
    }

    /// The call's name and what is sent of it.
    fn delivery(&self, station: &StationKey, call: &Call) -> Option<(String, Bytes)> {
        let mut random = [0; 16];
        if let Err(error) = getrandom::fill(&mut random) {
            warn!(%error, "no randomness");
            return None;
        }
        let delivery = Hex(&random).to_string();
        let body = Delivery {
            delivery: &delivery,
            station: &station.identity,
            request: &payload_of(&self.vendor_id, call),
        };
        let body = serde_json::to_vec(&body).ok()?;
        Some((delivery, body.into()))
    }

    async fn attempt(&self, delivery: &str, body: Bytes) -> Attempt {
        // It is never closed.
        let Ok(_turn) = self.room.acquire().await else {
            return Attempt::Again;
        };
        let headers = self.headers(delivery, clock::utc().as_secs(), &body);
        let bytes = body.len();
        match self.peer.call(Method::POST, &self.target, headers, body).await {
            Ok((status, answer)) => read(delivery, status, &answer),
            Err(CallError::TooLarge) => {
                warn!(delivery, "the answer of the webhook is too large");
                Attempt::Done(CallOutcome::CallError {
                    code: "FormationViolation".into(),
                })
            }
            Err(error) => {
                warn!(delivery, bytes, %error, "the webhook of the CSMS does not answer");
                Attempt::Again
            }
        }
    }

    fn headers(&self, delivery: &str, timestamp_s: u64, body: &[u8]) -> Vec<(HeaderName, HeaderValue)> {
        let signature = format!("sha256={}", self.sign(timestamp_s, body));
        let text = |text: &str| HeaderValue::from_str(text).ok();
        let headers = [
            (CONTENT_TYPE, Some(HeaderValue::from_static("application/json"))),
            (DELIVERY, text(delivery)),
            (TIMESTAMP, Some(timestamp_s.into())),
            (SIGNATURE, text(&signature)),
        ];
        headers
            .into_iter()
            .filter_map(|(name, value)| Some((name, value?)))
            .collect()
    }

    /// HMAC-SHA-256 of the timestamp in decimal, a dot and the body.
    fn sign(&self, timestamp_s: u64, body: &[u8]) -> String {
        let mut context = hmac::Context::with_key(&self.key);
        context.update(format!("{timestamp_s}.").as_bytes());
        context.update(body);
        Hex(context.sign().as_ref()).to_string()
    }
}

/// What an answer of the CSMS means.
fn read(delivery: &str, status: StatusCode, body: &[u8]) -> Attempt {
    match status {
        StatusCode::OK => Attempt::Done(response(body)),
        StatusCode::NOT_FOUND | StatusCode::GONE | StatusCode::CONFLICT => {
            debug!(delivery, %status, "the station is not connected to the CSMS");
            Attempt::Done(CallOutcome::Disconnected)
        }
        StatusCode::GATEWAY_TIMEOUT => Attempt::Done(CallOutcome::TimedOut),
        _ if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS => {
            warn!(delivery, %status, "the webhook of the CSMS fails");
            Attempt::Again
        }
        _ => {
            warn!(delivery, %status, "the webhook refuses the call: check its URL and the secret");
            Attempt::Done(CallOutcome::CallError {
                code: "InternalError".into(),
            })
        }
    }
}

fn response(body: &[u8]) -> CallOutcome {
    if let Ok(Failed { error }) = serde_json::from_slice(body) {
        return CallOutcome::CallError { code: error };
    }
    match serde_json::from_slice::<Box<RawValue>>(body) {
        Ok(payload) => outcome_of(&Outcome::Result(payload)),
        Err(_) => CallOutcome::CallError {
            code: "FormationViolation".into(),
        },
    }
}

#[cfg(test)]
mod tests {
    use cmp_binding::{Data, Status};

    use super::*;

    fn outcome(status: u16, body: &str) -> Option<CallOutcome> {
        match read("d", StatusCode::from_u16(status).unwrap(), body.as_bytes()) {
            Attempt::Done(outcome) => Some(outcome),
            Attempt::Again => None,
        }
    }

    #[test]
    fn what_the_csms_answers_is_what_the_station_answered() {
        let accepted = CallOutcome::Response {
            status: Status::Accepted,
            data: Some(Data::text("{}")),
        };
        assert_eq!(
            outcome(200, r#"{"status":"Accepted","data":"{}"}"#),
            Some(accepted)
        );
        let error = |code: &str| Some(CallOutcome::CallError { code: code.into() });
        assert_eq!(
            outcome(200, r#"{"error":"NotImplemented"}"#),
            error("NotImplemented")
        );
        for body in ["", "{}", "[]", r#"{"status":"Perhaps"}"#, "\u{0}"] {
            assert_eq!(outcome(200, body), error("FormationViolation"), "{body}");
        }
        for gone in [404, 409, 410] {
            assert_eq!(outcome(gone, ""), Some(CallOutcome::Disconnected));
        }
        assert_eq!(outcome(504, ""), Some(CallOutcome::TimedOut));
        for refused in [302, 400, 401, 403] {
            assert_eq!(outcome(refused, "{}"), error("InternalError"), "{refused}");
        }
        for again in [429, 500, 502, 503] {
            assert_eq!(outcome(again, r#"{"status":"Accepted"}"#), None, "{again}");
        }
    }
}
