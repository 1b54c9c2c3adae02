use der::{Tag, Tagged, asn1::AnyRef};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::{
    Request, Response, StatusCode,
    body::{Bytes, Incoming},
    header::{ACCEPT, CONTENT_TYPE, HOST},
};
use rustls::pki_types::ServerName;
use std::{
    collections::VecDeque,
    fmt,
    future::Future,
    sync::{Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
    time::Duration,
};
use tokio::time::{Instant, timeout};

use crate::{
    Error, PKIXCMP, Tls, TlsError, Url,
    connection::{Secure, Wire},
    is_pkixcmp,
};

/// An idle connection older than this is not used again: servers close theirs after some seconds.
const IDLE_FOR: Duration = Duration::from_secs(15);

/// How long things may take, and how large they may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// For a connection, TLS included.
    pub connect_timeout: Duration,
    /// For the whole answer once the connection is there.
    pub response_timeout: Duration,
    /// The largest answer.
    pub max_response_bytes: usize,
    /// Connections that are kept for the next messages; 0: each message has its own.
    pub max_idle: usize,
}

impl Default for Limits {
    /// 10 s for a connection, 30 s and 1 MiB for an answer, 16 connections kept.
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(10),
            response_timeout: Duration::from_secs(30),
            max_response_bytes: 1024 * 1024,
            max_idle: 16,
        }
    }
}

/// A CMP server at one URL. Many messages may be posted at the same time.
pub struct Client {
    url: Url,
    secure: Option<Secure>,
    limits: Limits,
    idle: Mutex<VecDeque<(Instant, Wire)>>,
}

/// A connection that a message may be written to; nothing is yet.
pub struct Connection<'a> {
    client: &'a Client,
    wire: Wire,
    /// It carried a message before, so the server may have closed it in the meantime.
    is_kept: bool,
}

impl Client {
    /// A server at this URL; https needs [`Tls`], and http must not have it.
    ///
    /// # Errors
    /// [`TlsError::NoAnchors`], [`TlsError::NotHttps`], [`TlsError::Host`] or [`TlsError::Identity`].
    pub fn new(url: Url, tls: Option<Tls>, limits: Limits) -> Result<Self, TlsError> {
        let secure = match (url.is_https(), tls) {
            (false, None) => None,
            (false, Some(_)) => return Err(TlsError::NotHttps),
            (true, None) => return Err(TlsError::NoAnchors),
            (true, Some(tls)) => Some(Secure {
                config: tls.client_config()?,
                name: ServerName::try_from(url.host().to_owned()).map_err(|_| TlsError::Host)?,
            }),
        };
        Ok(Self {
            url,
            secure,
            limits,
            idle: Mutex::default(),
        })
    }

    /// Where messages go.
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// Posts a message; the answer is the one DER SEQUENCE that came as `application/pkixcmp`, with any status but a
    /// redirect: an error that is said in CMP says more than its status (RFC 9811 §3.4).
    ///
    /// # Errors
    /// Any [`Error`].
    pub async fn post(&self, der: &[u8]) -> Result<Vec<u8>, Error> {
        self.connect().await?.post(der).await
    }

    /// A connection, kept or new, for those who want to know that the server is there before they send.
    ///
    /// # Errors
    /// [`Error::Connect`], [`Error::ConnectTimeout`] or [`Error::Tls`].
    pub async fn connect(&self) -> Result<Connection<'_>, Error> {
        let kept = self.take_idle();
        let is_kept = kept.is_some();
        let wire = match kept {
            Some(wire) => wire,
            None => self.open().await?,
        };
        Ok(Connection {
            client: self,
            wire,
            is_kept,
        })
    }

    async fn open(&self) -> Result<Wire, Error> {
        let opened = timeout(
            self.limits.connect_timeout,
            Wire::open(&self.url, self.secure.as_ref()),
        );
        let opened = opened.await.unwrap_or(Err(Error::ConnectTimeout));
        opened.inspect_err(|error| tracing::warn!(url = %self.url, %error, "a CMP server cannot be reached"))
    }

    /// The youngest connection that is good.
    fn take_idle(&self) -> Option<Wire> {
        let mut idle = self.idle();
        while let Some((since, mut wire)) = idle.pop_back() {
            // One that is not ready at once is closed, or the server has not read all of the last message.
            let is_ready = is_ready_now(wire.sender.ready());
            if since.elapsed() < IDLE_FOR && is_ready {
                return Some(wire);
            }
        }
        None
    }

    fn keep(&self, wire: Wire) {
        let mut idle = self.idle();
        if idle.len() < self.limits.max_idle && !wire.sender.is_closed() {
            idle.push_back((Instant::now(), wire));
        }
    }

    fn idle(&self) -> MutexGuard<'_, VecDeque<(Instant, Wire)>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Client({})", self.url)
    }
}

impl Connection<'_> {
    /// Posts a message, like [`Client::post`].
    ///
    /// # Errors
    /// Any [`Error`]; one with which [`Error::was_sent`] is `false` only if not a byte was written.
    pub async fn post(mut self, der: &[u8]) -> Result<Vec<u8>, Error> {
        let answer = timeout(self.client.limits.response_timeout, self.exchange(der)).await;
        let answer = answer.unwrap_or(Err(Error::Timeout));
        match &answer {
            Ok(_) => self.client.keep(self.wire),
            Err(error) => tracing::warn!(url = %self.client.url, %error, "no answer of a CMP server"),
        }
        answer
    }

    async fn exchange(&mut self, der: &[u8]) -> Result<Vec<u8>, Error> {
        let url = &self.client.url;
        let request = Request::post(url.target())
            .header(HOST, url.authority())
            .header(CONTENT_TYPE, PKIXCMP)
            .header(ACCEPT, PKIXCMP)
            .body(Full::new(Bytes::copy_from_slice(der)))
            // A URL that was parsed fits into a header.
            .map_err(|_| Error::Connect(std::io::ErrorKind::InvalidInput))?;
        let response = self.send(request).await?;
        read(response, self.client.limits.max_response_bytes).await
    }

    /// Writes the message. The connection gives it back only if it has written nothing of it; then, and only if the
    /// connection was a kept one, it goes to a new connection.
    async fn send(&mut self, mut request: Request<Full<Bytes>>) -> Result<Response<Incoming>, Error> {
        loop {
            let mut error = match self.wire.sender.try_send_request(request).await {
                Ok(response) => return Ok(response),
                Err(error) => error,
            };
            request = error.take_message().ok_or(Error::BrokeOff)?;
            if !std::mem::take(&mut self.is_kept) {
                return Err(Error::Connect(std::io::ErrorKind::ConnectionReset));
            }
            self.wire = self.client.open().await?;
        }
    }
}

async fn read(response: Response<Incoming>, max_bytes: usize) -> Result<Vec<u8>, Error> {
    let status = response.status();
    let content_type = response.headers().get(CONTENT_TYPE);
    let is_cmp = content_type
        .and_then(|value| value.to_str().ok())
        .is_some_and(is_pkixcmp);
    let body = match Limited::new(response.into_body(), max_bytes).collect().await {
        Ok(body) => body.to_bytes(),
        Err(error) if error.is::<LengthLimitError>() => return Err(Error::TooLarge),
        Err(_) => return Err(Error::BrokeOff),
    };
    let carries = !status.is_redirection() && !status.is_informational();
    match (is_cmp && carries, body.is_empty()) {
        (true, false) if is_one_sequence(&body) => Ok(body.into()),
        (true, false) => Err(Error::NotOneMessage),
        _ if status != StatusCode::OK => Err(Error::Status(status.as_u16())),
        (_, true) => Err(Error::Empty),
        (_, false) => Err(Error::ContentType),
    }
}

/// Whether these bytes are exactly one DER SEQUENCE; what is inside is for others to read.
fn is_one_sequence(bytes: &[u8]) -> bool {
    AnyRef::try_from(bytes).is_ok_and(|any| any.tag() == Tag::Sequence)
}

fn is_ready_now<T>(ready: impl Future<Output = Result<(), T>>) -> bool {
    let mut ready = std::pin::pin!(ready);
    let polled = ready.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    matches!(polled, Poll::Ready(Ok(())))
}
