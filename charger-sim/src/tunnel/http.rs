//! The station's HTTP face (RFC 9811 towards the client, "The station's HTTP face" in the binding).

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes, HttpBody as _, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use cmp_binding::ErrorCode;
use cmp_binding::station::Failure;
use tokio::net::TcpListener;
use tokio::sync::{Notify, Semaphore, mpsc, oneshot};
use tokio::time::timeout;
use tracing::warn;

use super::MAX_WAITING;
use super::carrier::{Job, Refused};

/// The media type of a CMP message.
const PKIXCMP: &str = "application/pkixcmp";
/// The largest body, in bytes, that is read at all; one that is larger ends the connection.
const MAX_BODY_BYTES: usize = 1 << 20;
/// How long a client may take to send its body.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);
/// What a client that cannot be served now is told to wait, in seconds.
const RETRY_AFTER_S: u64 = 5;
const LONGEST_RETRY_AFTER_S: u64 = 3_600;

#[derive(Clone)]
struct Face {
    jobs: mpsc::Sender<Job>,
    gone: Arc<Notify>,
    /// One permit for each request that may wait.
    room: Arc<Semaphore>,
    max: usize,
}

/// Takes POSTs of CMP messages of up to `max` bytes on any path.
pub(super) fn router(jobs: mpsc::Sender<Job>, gone: Arc<Notify>, max: usize) -> Router {
    let room = Arc::new(Semaphore::new(MAX_WAITING));
    let face = Face {
        jobs,
        gone,
        room,
        max,
    };
    Router::new().fallback(handle).with_state(face)
}

/// Serves until `end`, and then for `linger` at most.
pub(super) async fn serve(
    listener: TcpListener,
    router: Router,
    end: oneshot::Receiver<()>,
    linger: Duration,
) {
    let ending = Arc::new(Notify::new());
    let begin_to_end = {
        let ending = ending.clone();
        async move {
            let _ = end.await;
            ending.notify_one();
        }
    };
    let lingered = async {
        ending.notified().await;
        tokio::time::sleep(linger).await;
    };
    tokio::select! {
        result = axum::serve(listener, router).with_graceful_shutdown(begin_to_end) => {
            if let Err(error) = result {
                warn!(%error, "HTTP ended");
            }
        }
        () = lingered => {}
    }
}

/// Tells the carrier when the HTTP request is gone; hyper drops its handler when the client disconnects.
struct Gone(Arc<Notify>);

impl Drop for Gone {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}

async fn handle(State(face): State<Face>, request: Request) -> Response {
    if request.method() != Method::POST {
        return (
            StatusCode::METHOD_NOT_ALLOWED,
            [(header::ALLOW, "POST")],
            "POST a CMP message\n",
        )
            .into_response();
    }
    if !is_pkixcmp(request.headers()) {
        return (StatusCode::UNSUPPORTED_MEDIA_TYPE, "not application/pkixcmp\n").into_response();
    }
    let Ok(_room) = face.room.clone().try_acquire_owned() else {
        return refusal(&not_now());
    };
    if request.body().size_hint().lower() > MAX_BODY_BYTES as u64 {
        return refusal(&Refused::TooLarge);
    }
    let body = match timeout(BODY_TIMEOUT, to_bytes(request.into_body(), MAX_BODY_BYTES)).await {
        Ok(Ok(body)) => body,
        Ok(Err(_)) => return refusal(&Refused::TooLarge),
        Err(_) => return (StatusCode::REQUEST_TIMEOUT, "the body did not come\n").into_response(),
    };
    if body.len() > face.max {
        return refusal(&Refused::TooLarge);
    }
    match exchange(face, body).await {
        Ok(message) => ([(header::CONTENT_TYPE, PKIXCMP)], Body::from(message)).into_response(),
        Err(refused) => refusal(&refused),
    }
}

async fn exchange(face: Face, body: Bytes) -> Result<Vec<u8>, Refused> {
    // Dropped after the receiver below, so that the carrier finds it closed.
    let _gone = Gone(face.gone);
    let (reply, answer) = oneshot::channel();
    let job = Job {
        request: body.into(),
        reply,
    };
    face.jobs.try_send(job).map_err(|_| not_now())?;
    answer.await.unwrap_or_else(|_| Err(not_now()))
}

const fn not_now() -> Refused {
    Refused::Later(Duration::from_secs(RETRY_AFTER_S))
}

fn is_pkixcmp(headers: &HeaderMap) -> bool {
    let value = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    let media_type = value.and_then(|value| value.split(';').next());
    media_type.is_some_and(|media_type| media_type.trim().eq_ignore_ascii_case(PKIXCMP))
}

fn refusal(refused: &Refused) -> Response {
    let (status, retry_after_s, text) = match refused {
        Refused::Malformed => (StatusCode::BAD_REQUEST, None, "not one DER SEQUENCE".into()),
        Refused::TooLarge => (
            StatusCode::PAYLOAD_TOO_LARGE,
            None,
            "the CMP message is too large".into(),
        ),
        Refused::Later(retry) => {
            let retry_s = retry.as_secs().clamp(1, LONGEST_RETRY_AFTER_S);
            (StatusCode::SERVICE_UNAVAILABLE, Some(retry_s), "not now".into())
        }
        Refused::Failed {
            failure,
            outcome_unknown,
        } => {
            let status = status_of(failure, *outcome_unknown);
            let retry_after_s = (status == StatusCode::SERVICE_UNAVAILABLE).then_some(RETRY_AFTER_S);
            (status, retry_after_s, failure.to_string())
        }
    };
    let mut response = (status, format!("{text}\n")).into_response();
    if let Some(retry_after_s) = retry_after_s {
        response
            .headers_mut()
            .insert(header::RETRY_AFTER, retry_after_s.into());
    }
    response
}

fn status_of(failure: &Failure, outcome_unknown: bool) -> StatusCode {
    match failure {
        Failure::Transfer(error) => match error.code {
            // It was the answer that was at fault.
            ErrorCode::Malformed | ErrorCode::TooLarge if outcome_unknown => StatusCode::BAD_GATEWAY,
            ErrorCode::Malformed => StatusCode::BAD_REQUEST,
            ErrorCode::Forbidden => StatusCode::FORBIDDEN,
            ErrorCode::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            ErrorCode::Busy | ErrorCode::RaUnreachable => StatusCode::SERVICE_UNAVAILABLE,
            ErrorCode::RaTimeout => StatusCode::GATEWAY_TIMEOUT,
            _ => StatusCode::BAD_GATEWAY,
        },
        Failure::Expired => StatusCode::GATEWAY_TIMEOUT,
        _ => StatusCode::BAD_GATEWAY,
    }
}

#[cfg(test)]
mod tests {
    use cmp_binding::TransferError;

    use super::*;

    #[test]
    fn the_client_is_blamed_for_its_request_and_not_for_an_answer() {
        let status = |code, outcome_unknown| {
            status_of(&Failure::Transfer(TransferError::last(code)), outcome_unknown).as_u16()
        };
        assert_eq!(status(ErrorCode::Malformed, false), 400);
        assert_eq!(status(ErrorCode::TooLarge, false), 413);
        assert_eq!(status(ErrorCode::Malformed, true), 502);
        assert_eq!(status(ErrorCode::TooLarge, true), 502);
    }
}
