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
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
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

/// A CMP server at one URL. Many messages may be posted at the same time. Clones share the connections that are kept.
#[derive(Clone)]
pub struct Client(Arc<Shared>);

struct Shared {
    url: Url,
    secure: Option<Secure>,
    limits: Limits,
    media_type: MediaType,
    idle: Mutex<VecDeque<(Instant, Wire)>>,
}

/// Which answers may have a message in them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MediaType {
    /// Those whose Content-Type is that of CMP (RFC 9811 §3.4).
    #[default]
    Pkixcmp,
    /// All that have one DER SEQUENCE as their body, for servers that do not say what they send.
    Any,
}

/// A connection that a message may be written to; nothing is yet.
pub struct Connection {
    client: Client,
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
        Ok(Self(Arc::new(Shared {
            url,
            secure,
            limits,
            media_type: MediaType::default(),
            idle: Mutex::default(),
        })))
    }

    /// The same with other answers taken; it has its own connections.
    #[must_use]
    pub fn taking(self, media_type: MediaType) -> Self {
        let Shared {
            url, secure, limits, ..
        } = &*self.0;
        Self(Arc::new(Shared {
            url: url.clone(),
            secure: secure.clone(),
            limits: *limits,
            media_type,
            idle: Mutex::default(),
        }))
    }

    /// Where messages go.
    pub fn url(&self) -> &Url {
        &self.0.url
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
    pub async fn connect(&self) -> Result<Connection, Error> {
        let kept = self.take_idle();
        let is_kept = kept.is_some();
        let wire = match kept {
            Some(wire) => wire,
            None => self.open().await?,
        };
        Ok(Connection {
            client: self.clone(),
            wire,
            is_kept,
        })
    }

    async fn open(&self) -> Result<Wire, Error> {
        let opened = timeout(
            self.0.limits.connect_timeout,
            Wire::open(&self.0.url, self.0.secure.as_ref()),
        );
        let opened = opened.await.unwrap_or(Err(Error::ConnectTimeout));
        opened
            .inspect_err(|error| tracing::warn!(url = %self.0.url, %error, "a CMP server cannot be reached"))
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
        if idle.len() < self.0.limits.max_idle && !wire.sender.is_closed() {
            idle.push_back((Instant::now(), wire));
        }
    }

    fn idle(&self) -> MutexGuard<'_, VecDeque<(Instant, Wire)>> {
        self.0.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Client({})", self.0.url)
    }
}

impl Connection {
    /// Posts a message, like [`Client::post`].
    ///
    /// # Errors
    /// Any [`Error`]; one with which [`Error::was_sent`] is `false` only if not a byte was written.
    pub async fn post(mut self, der: &[u8]) -> Result<Vec<u8>, Error> {
        let limit = self.client.0.limits.response_timeout;
        let answer = timeout(limit, self.exchange(der)).await;
        let answer = answer.unwrap_or(Err(Error::Timeout));
        match &answer {
            Ok(_) => self.client.keep(self.wire),
            Err(error) => tracing::warn!(url = %self.client.0.url, %error, "no answer of a CMP server"),
        }
        answer
    }

    /// Writes the message and reads the answer. A kept connection may turn out to be closed: if not a byte was written to
    /// it, the message goes to a new one.
    async fn exchange(&mut self, der: &[u8]) -> Result<Vec<u8>, Error> {
        let message = Bytes::copy_from_slice(der);
        let response = match self.send(&message).await {
            Err(error) if !error.was_sent() && std::mem::take(&mut self.is_kept) => {
                self.wire = self.client.open().await?;
                self.send(&message).await
            }
            sent => sent,
        };
        let Shared {
            limits, media_type, ..
        } = &*self.client.0;
        read(response?, *media_type, limits.max_response_bytes).await
    }

    async fn send(&mut self, message: &Bytes) -> Result<Response<Incoming>, Error> {
        let url = &self.client.0.url;
        let request = Request::post(url.target())
            .header(HOST, url.authority())
            .header(CONTENT_TYPE, PKIXCMP)
            .header(ACCEPT, PKIXCMP)
            .body(Full::new(message.clone()))
            // A URL that was parsed fits into a header.
            .map_err(|_| Error::Connect(io::ErrorKind::InvalidInput))?;
        let before = self.wire.written_bytes();
        match self.wire.sender.send_request(request).await {
            Ok(response) => Ok(response),
            Err(_) if self.wire.end().await == before => Err(Error::Connect(io::ErrorKind::ConnectionReset)),
            Err(_) => Err(Error::BrokeOff),
        }
    }
}

async fn read(
    response: Response<Incoming>,
    media_type: MediaType,
    max_bytes: usize,
) -> Result<Vec<u8>, Error> {
    let status = response.status();
    let content_type = response.headers().get(CONTENT_TYPE);
    let is_cmp = content_type
        .and_then(|value| value.to_str().ok())
        .is_some_and(is_pkixcmp);
    let is_any = media_type == MediaType::Any;
    let body = match Limited::new(response.into_body(), max_bytes).collect().await {
        Ok(body) => body.to_bytes(),
        Err(error) if error.is::<LengthLimitError>() => return Err(Error::TooLarge),
        Err(_) => return Err(Error::BrokeOff),
    };
    let carries = !status.is_redirection() && !status.is_informational();
    match (is_cmp && carries, body.is_empty()) {
        (_, false) if carries && (is_cmp || is_any) && is_one_sequence(&body) => Ok(body.into()),
        (true, false) if status.is_success() => Err(Error::NotOneMessage),
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

#[cfg(test)]
mod tests {
    use super::*;
    use hyper_util::rt::TokioIo;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    /// A message is sent with no fewer bytes, head and all.
    const SENT_BYTES: usize = 120;

    /// A client of a server that answers every connection; how many messages it got.
    async fn client() -> (Client, Arc<Mutex<usize>>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let count = Arc::new(Mutex::new(0));
        let counted = count.clone();
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut request = Vec::new();
                while !request.ends_with(b"message") && stream.read_buf(&mut request).await.unwrap() > 0 {}
                *counted.lock().unwrap() += 1;
                let answer =
                    format!("HTTP/1.1 200 OK\r\nContent-Type: {PKIXCMP}\r\nContent-Length: 2\r\n\r\n0\0");
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        });
        let client = Client::new(url.parse().unwrap(), None, Limits::default()).unwrap();
        (client, count)
    }

    /// A connection whose other end goes away after it has read so many bytes.
    async fn breaking_after(client: &Client, bytes: usize, is_kept: bool) -> Connection {
        let (near, mut far) = tokio::io::duplex(1);
        let wire = Wire::shake_hands(TokioIo::new(near)).await.unwrap();
        match bytes {
            0 => drop(far),
            _ => drop(tokio::spawn(async move {
                far.read_exact(&mut vec![0; bytes]).await.unwrap();
            })),
        }
        Connection {
            client: client.clone(),
            wire,
            is_kept,
        }
    }

    #[tokio::test]
    async fn a_message_goes_again_only_from_a_kept_connection_that_took_not_a_byte_of_it() {
        let (client, count) = client().await;
        for bytes in 0..SENT_BYTES {
            let kept = breaking_after(&client, bytes, true).await;
            let answer = kept.post(b"message").await;
            match bytes {
                0 => assert_eq!(answer.as_deref(), Ok(&b"0\0"[..])),
                _ => assert_eq!(answer, Err(Error::BrokeOff), "after {bytes} bytes"),
            }
            let fresh = breaking_after(&client, bytes, false).await;
            let error = fresh.post(b"message").await.unwrap_err();
            assert_eq!(error.was_sent(), bytes > 0, "after {bytes} bytes: {error}");
            assert_eq!(*count.lock().unwrap(), 1);
        }
    }
}
