//! CMP over HTTP to the RA (RFC 9811): connections that are kept, and a request that is written at most once.
//!
//! An own pool on hyper's connections rather than a ready client: whether a request may be sent again depends on whether
//! a byte of it was written, and that only the connection knows. A client that retries on its own would break the
//! promise that the RA is asked at most once.

use std::{
    collections::VecDeque,
    fmt,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use bytes::Bytes;
use cmp_binding::csms::RaError;
use futures_util::FutureExt as _;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::{
    Request, Response, StatusCode, Uri,
    body::Incoming,
    client::conn::http1::{self, SendRequest},
    header::{ACCEPT, CONTENT_LENGTH, CONTENT_TYPE, HOST},
};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, sync::Semaphore, time::timeout};
use tracing::{debug, warn};

const PKIXCMP: &str = "application/pkixcmp";
/// Idle connections kept for each URL.
const MAX_IDLE: usize = 16;
/// An idle connection older than this is not used again: servers close theirs after some seconds.
const IDLE_FOR: Duration = Duration::from_secs(15);

/// Limits and times of a route.
#[derive(Clone, Debug)]
pub(crate) struct Limits {
    pub(crate) connect_timeout: Duration,
    pub(crate) response_timeout: Duration,
    pub(crate) max_response_bytes: usize,
    pub(crate) concurrency: usize,
}

/// An RA behind one or more URLs.
pub(crate) struct Route {
    endpoints: Vec<Endpoint>,
    limits: Limits,
    permits: Semaphore,
}

struct Endpoint {
    uri: Uri,
    idle: Mutex<VecDeque<(Instant, SendRequest<Full<Bytes>>)>>,
}

/// A connection that a request may be written to.
pub(crate) struct Ready<'a> {
    endpoint: &'a Endpoint,
    sender: SendRequest<Full<Bytes>>,
    /// It carried a request before, so the RA may have closed it in the meantime.
    kept: bool,
    limits: &'a Limits,
    _permit: tokio::sync::SemaphorePermit<'a>,
}

impl Route {
    pub(crate) fn new(urls: Vec<Uri>, limits: Limits) -> Self {
        let endpoints = urls
            .into_iter()
            .map(|uri| Endpoint {
                uri,
                idle: Mutex::default(),
            })
            .collect();
        Self {
            endpoints,
            permits: Semaphore::new(limits.concurrency),
            limits,
        }
    }

    /// Whether there is more than one URL.
    pub(crate) fn has_choice(&self) -> bool {
        self.endpoints.len() > 1
    }

    /// Finds a connection: to the URL `pinned` if it is one of this route, else to the first that can be reached. Nothing is
    /// written yet.
    ///
    /// # Errors
    /// [`RaError::Unreachable`], or [`RaError::Busy`] where the route has no room.
    pub(crate) async fn connect(&self, pinned: Option<&str>) -> Result<Ready<'_>, RaError> {
        let permit = timeout(self.limits.connect_timeout, self.permits.acquire());
        let Ok(Ok(permit)) = permit.await else {
            return Err(RaError::Busy(Duration::from_secs(5)));
        };
        let is_pinned = |endpoint: &&Endpoint| pinned.is_some_and(|pinned| endpoint.uri == *pinned);
        let pinned = self.endpoints.iter().find(is_pinned);
        let others = self.endpoints.iter().filter(|_| pinned.is_none());
        for endpoint in pinned.into_iter().chain(others) {
            match endpoint.connection(&self.limits).await {
                Ok((sender, kept)) => {
                    return Ok(Ready {
                        endpoint,
                        sender,
                        kept,
                        limits: &self.limits,
                        _permit: permit,
                    });
                }
                Err(error) => warn!(ra = %endpoint, %error, "RA cannot be reached"),
            }
        }
        Err(RaError::Unreachable)
    }
}

impl Ready<'_> {
    /// Where the request will go.
    pub(crate) fn url(&self) -> String {
        self.endpoint.to_string()
    }

    /// Writes the request and reads the answer.
    ///
    /// # Errors
    /// [`RaError::Unreachable`] only where not a byte was written.
    pub(crate) async fn ask(mut self, message: Vec<u8>) -> Result<Vec<u8>, RaError> {
        let started = Instant::now();
        let answer = timeout(self.limits.response_timeout, self.exchange(message)).await;
        let answer = answer.unwrap_or_else(|_| {
            warn!(ra = %self.endpoint, "no answer in time");
            Err(RaError::Timeout)
        });
        let answer = answer?;
        debug!(ra = %self.endpoint, bytes = answer.len(), ms = started.elapsed().as_millis(), "RA answered");
        self.endpoint.keep(self.sender);
        Ok(answer)
    }

    async fn exchange(&mut self, message: Vec<u8>) -> Result<Vec<u8>, RaError> {
        let uri = &self.endpoint.uri;
        let target = uri.path_and_query().map_or("/", |target| target.as_str());
        let request = Request::post(target)
            .header(HOST, uri.authority().map_or("", |authority| authority.as_str()))
            .header(CONTENT_TYPE, PKIXCMP)
            .header(ACCEPT, PKIXCMP)
            .header(CONTENT_LENGTH, message.len())
            .body(Full::new(Bytes::from(message)))
            .map_err(|_| RaError::Forbidden)?;
        let response = self.send(request).await?;
        let status = response.status();
        let body = self.body(response.into_body()).await?;
        let carries = status.is_success() || status.is_client_error() || status.is_server_error();
        if carries && cmp_binding::is_one_sequence(&body) {
            return Ok(body);
        }
        warn!(ra = %self.endpoint, %status, bytes = body.len(), "{}", explain(status));
        Err(RaError::BadResponse)
    }

    /// Writes the request. The connection gives it back only if it has written nothing of it; then, and only if the
    /// connection was a kept one, it goes to a new connection.
    async fn send(&mut self, mut request: Request<Full<Bytes>>) -> Result<Response<Incoming>, RaError> {
        loop {
            let mut error = match self.sender.try_send_request(request).await {
                Ok(response) => return Ok(response),
                Err(error) => error,
            };
            let unwritten = error.take_message();
            warn!(
                ra = %self.endpoint,
                error = %error.error(),
                unwritten = unwritten.is_some(),
                kept = self.kept,
                "RA connection broke"
            );
            request = unwritten.ok_or(RaError::Timeout)?;
            if !std::mem::take(&mut self.kept) {
                return Err(RaError::Unreachable);
            }
            self.sender = self.endpoint.open(self.limits).await.map_err(|error| {
                warn!(ra = %self.endpoint, %error, "RA cannot be reached");
                RaError::Unreachable
            })?;
        }
    }

    async fn body(&self, body: Incoming) -> Result<Vec<u8>, RaError> {
        match Limited::new(body, self.limits.max_response_bytes).collect().await {
            Ok(body) => Ok(body.to_bytes().into()),
            Err(error) if error.is::<LengthLimitError>() => {
                warn!(ra = %self.endpoint, max = self.limits.max_response_bytes, "RA's answer is too large");
                Err(RaError::BadResponse)
            }
            Err(error) => {
                warn!(ra = %self.endpoint, %error, "RA's answer broke off");
                Err(RaError::Timeout)
            }
        }
    }
}

/// What an answer without a CMP message most likely means, for the operator.
fn explain(status: StatusCode) -> &'static str {
    match status.as_u16() {
        404 => "RA knows no such path: check the route's URL",
        300..=399 => "RA redirects, which is not followed: put the final URL into the route",
        401 | 403 => "RA refuses the bridge: check its access rules",
        405 => "RA takes no POST at this path: check the route's URL",
        _ => "RA's answer is no CMP message",
    }
}

impl Endpoint {
    /// A connection, and whether it is one that was kept.
    async fn connection(&self, limits: &Limits) -> Result<(SendRequest<Full<Bytes>>, bool), ConnectError> {
        loop {
            let Some((since, mut sender)) = self.idle().pop_back() else {
                break;
            };
            // One that is not ready at once is closed, or the RA has not read all of the last request.
            let is_ready = matches!(sender.ready().now_or_never(), Some(Ok(())));
            if since.elapsed() < IDLE_FOR && is_ready {
                return Ok((sender, true));
            }
        }
        self.open(limits).await.map(|sender| (sender, false))
    }

    async fn open(&self, limits: &Limits) -> Result<SendRequest<Full<Bytes>>, ConnectError> {
        let host = self
            .uri
            .host()
            .unwrap_or_default()
            .trim_start_matches('[')
            .trim_end_matches(']');
        let port = self.uri.port_u16().unwrap_or(80);
        let connect = async {
            let stream = TcpStream::connect((host, port)).await?;
            stream.set_nodelay(true)?;
            let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
            tokio::spawn(async move {
                if let Err(error) = connection.await {
                    debug!(%error, "RA connection ended");
                }
            });
            sender.ready().await?;
            Ok(sender)
        };
        timeout(limits.connect_timeout, connect)
            .await
            .map_err(|_| ConnectError::TimedOut)?
    }

    fn keep(&self, sender: SendRequest<Full<Bytes>>) {
        let mut idle = self.idle();
        if idle.len() < MAX_IDLE && !sender.is_closed() {
            idle.push_back((Instant::now(), sender));
        }
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, VecDeque<(Instant, SendRequest<Full<Bytes>>)>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.uri.fmt(f)
    }
}

#[derive(Debug, thiserror::Error)]
enum ConnectError {
    #[error("{0}")]
    Io(#[from] std::io::Error),
    #[error("{0}")]
    Http(#[from] hyper::Error),
    #[error("no connection in time")]
    TimedOut,
}
