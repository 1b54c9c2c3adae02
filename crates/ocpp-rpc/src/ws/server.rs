//! The server's side of the handshake, in two steps: read what the station asks for, then accept or refuse it.

use std::borrow::Cow;
use std::format;
use std::string::String;
use std::time::Duration;
use std::vec;
use std::vec::Vec;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::machine::TryParse as _;
use tokio_tungstenite::tungstenite::handshake::server::{Request, create_response, write_response};
use tokio_tungstenite::tungstenite::http::header::{AUTHORIZATION, SEC_WEBSOCKET_PROTOCOL};
use tokio_tungstenite::tungstenite::http::{HeaderValue, StatusCode};
use tokio_tungstenite::tungstenite::protocol::Role;

use super::{BasicAuth, CloseCode, Connection, Error, Limits, StationPath};
use crate::Version;

/// What a server offers.
#[derive(Clone, Debug)]
pub struct ServerOptions {
    /// The versions that it speaks, the preferred one first. Default: all, the newest first.
    pub versions: Vec<Version>,
    /// Limits and times.
    pub limits: Limits,
}

impl Default for ServerOptions {
    fn default() -> Self {
        Self {
            versions: Version::ALL.to_vec(),
            limits: Limits::default(),
        }
    }
}

/// How a handshake is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// 401: credentials are missing or wrong.
    Unauthorized,
    /// 403: the station is known and not let in.
    Forbidden,
    /// 404: the identity is not known.
    NotFound,
    /// 429: too many connections or attempts.
    TooManyRequests,
    /// 502: the server behind this one refused.
    BadGateway,
    /// 503: no room, or no server behind this one.
    Unavailable,
    /// The status of the server behind this one; 502 if it is no 4xx or 5xx.
    Status(u16),
}

impl Refusal {
    fn status_line(self) -> Cow<'static, str> {
        Cow::Borrowed(match self {
            Self::Unauthorized | Self::Status(401) => {
                "401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"ocpp\", charset=\"UTF-8\""
            }
            Self::Forbidden => "403 Forbidden",
            Self::NotFound => "404 Not Found",
            Self::TooManyRequests => "429 Too Many Requests",
            Self::Status(status @ 400..600) => {
                let known = StatusCode::from_u16(status).ok();
                let reason = known.and_then(|status| status.canonical_reason());
                return format!("{status} {}", reason.unwrap_or_default()).into();
            }
            Self::BadGateway | Self::Status(_) => "502 Bad Gateway",
            Self::Unavailable => "503 Service Unavailable",
        })
    }
}

/// A station's request to open a WebSocket, read and not yet answered.
///
/// Between reading and answering the caller may take its time: look up the station, check its credentials, connect
/// to a server behind this one.
pub struct Handshake<S> {
    stream: S,
    request: Request,
    rest: Vec<u8>,
    station: StationPath,
    version: Option<Version>,
    limits: Limits,
}

impl<S> std::fmt::Debug for Handshake<S> {
    // The headers hold credentials.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Handshake")
            .field("station", &self.station)
            .field("version", &self.version)
            .finish_non_exhaustive()
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Handshake<S> {
    /// Reads the request of a station. What is no such request is answered here: 400, 404 for a path without a valid
    /// identity, 431 for a head above the limit.
    ///
    /// # Errors
    /// After an error the stream is closed.
    pub async fn read(mut stream: S, options: &ServerOptions) -> Result<Self, Error> {
        let limits = &options.limits;
        let head = match timeout(
            limits.handshake_timeout,
            read_head(&mut stream, limits.max_head_bytes),
        )
        .await
        {
            Ok(head) => head,
            Err(_) => Err(Error::TimedOut("handshake")),
        };
        let checked = head.and_then(|(request, rest)| {
            create_response(&request)?;
            let station = StationPath::parse(request.uri().path()).map_err(Error::Identity)?;
            let version = choose(&request, &options.versions);
            if version.is_some_and(|version| !station.is_valid_in(version)) {
                return Err(Error::Identity(super::InvalidStationPath));
            }
            Ok((request, rest, station, version))
        });
        match checked {
            Ok((request, rest, station, version)) => Ok(Self {
                stream,
                request,
                rest,
                station,
                version,
                limits: limits.clone(),
            }),
            Err(error) => {
                let status_line = match error {
                    Error::Io(_) => return Err(error),
                    Error::TimedOut(_) => "408 Request Timeout",
                    Error::HeadTooLarge => "431 Request Header Fields Too Large",
                    Error::Identity(_) => "404 Not Found",
                    _ => "400 Bad Request",
                };
                answer(&mut stream, status_line).await;
                Err(error)
            }
        }
    }

    /// Path prefix and identity of the station.
    pub const fn station(&self) -> &StationPath {
        &self.station
    }

    /// Path and query as they were sent.
    pub fn target(&self) -> &str {
        self.request
            .uri()
            .path_and_query()
            .map_or("/", |target| target.as_str())
    }

    /// The version that will be spoken: the first of the server's that the station offered.
    pub const fn version(&self) -> Option<Version> {
        self.version
    }

    /// The subprotocols that the station offered, as it wrote them, its preferred one first.
    pub fn offered(&self) -> impl Iterator<Item = &str> {
        offered(&self.request)
    }

    /// The first header of that name, if there is one.
    pub fn header(&self, name: &str) -> Option<&[u8]> {
        self.request.headers().get(name).map(HeaderValue::as_bytes)
    }

    /// All headers of that name.
    pub fn headers<'h>(&'h self, name: &str) -> impl Iterator<Item = &'h [u8]> {
        let headers = self.request.headers().get_all(name);
        headers.into_iter().map(HeaderValue::as_bytes)
    }

    /// The credentials of Basic authentication, if there are any.
    pub fn basic_auth(&self) -> Option<BasicAuth> {
        let header = self.request.headers().get(AUTHORIZATION)?;
        BasicAuth::parse(header.as_bytes(), self.station.identity())
    }

    /// The stream underneath.
    pub const fn stream(&self) -> &S {
        &self.stream
    }

    /// Opens the WebSocket. Without a common subprotocol the handshake is finished without naming one and the
    /// connection is closed at once, as OCPP-J asks.
    ///
    /// # Errors
    /// [`Error::NoCommonSubprotocol`], or those of the stream.
    pub async fn accept(self) -> Result<Connection<S>, Error> {
        let version = self.version;
        self.accept_as(version).await
    }

    /// As [`Handshake::accept`] with the version that the caller chose, such as the one that a server behind this one
    /// chose; `None` if there is no common one. One that was not offered counts as `None`.
    ///
    /// # Errors
    /// As [`Handshake::accept`].
    pub async fn accept_as(mut self, version: Option<Version>) -> Result<Connection<S>, Error> {
        let version = version.filter(|&version| self.station.is_valid_in(version));
        let chosen = version.and_then(|version| {
            let name =
                offered(&self.request).find(|name| Version::from_subprotocol(name) == Some(version))?;
            Some((version, HeaderValue::from_str(name).ok()?))
        });
        let mut response = create_response(&self.request)?;
        if let Some((_, name)) = &chosen {
            response
                .headers_mut()
                .insert(SEC_WEBSOCKET_PROTOCOL, name.clone());
        }
        let mut head = Vec::new();
        write_response(&mut head, &response)?;
        write_all(&mut self.stream, &head, self.limits.write_timeout).await?;
        let config = Some(self.limits.websocket());
        let socket = WebSocketStream::from_partially_read(self.stream, self.rest, Role::Server, config).await;
        match chosen {
            Some((version, _)) => Ok(Connection::new(socket, version, self.limits)),
            None => {
                // The version of a connection that is closed unused does not matter.
                let connection = Connection::new(socket, Version::V1_6, self.limits);
                connection
                    .close(CloseCode::PROTOCOL, "no common subprotocol")
                    .await;
                Err(Error::NoCommonSubprotocol)
            }
        }
    }

    /// Answers with the status of `refusal` and closes the stream.
    pub async fn refuse(mut self, refusal: Refusal) {
        answer(&mut self.stream, &refusal.status_line()).await;
    }
}

/// Reads up to the end of an HTTP head; returns it and what came after it.
async fn read_head<S: AsyncRead + Unpin>(stream: &mut S, max: usize) -> Result<(Request, Vec<u8>), Error> {
    let mut head = Vec::new();
    let mut piece = vec![0; 1024];
    loop {
        let read = stream.read(&mut piece).await?;
        if read == 0 {
            return Err(Error::Io(std::io::ErrorKind::UnexpectedEof.into()));
        }
        // The end may lie across two pieces.
        let from = head.len().saturating_sub(3);
        head.extend_from_slice(piece.get(..read).unwrap_or_default());
        let end = head
            .get(from..)
            .and_then(|tail| tail.windows(4).position(|four| four == b"\r\n\r\n"));
        if end.map_or(head.len(), |end| from + end + 4) > max {
            return Err(Error::HeadTooLarge);
        }
        if end.is_some() {
            return match Request::try_parse(&head)? {
                Some((size, request)) => Ok((request, head.split_off(size))),
                None => Err(Error::HeadTooLarge),
            };
        }
    }
}

async fn write_all<S: AsyncWrite + Unpin>(
    stream: &mut S,
    bytes: &[u8],
    limit: Duration,
) -> Result<(), Error> {
    let written = timeout(limit, async {
        stream.write_all(bytes).await?;
        stream.flush().await
    });
    written
        .await
        .map_err(|_| Error::TimedOut("write"))?
        .map_err(Error::Io)
}

/// Sends a response without a body, then reads what still comes, for a short time, so that it is not lost to a reset.
async fn answer<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S, status_line: &str) {
    let head: String = format!("HTTP/1.1 {status_line}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
    let _ = timeout(Duration::from_secs(2), async {
        stream.write_all(head.as_bytes()).await?;
        stream.shutdown().await?;
        let mut rest = [0; 1024];
        while stream.read(&mut rest).await? > 0 {}
        std::io::Result::Ok(())
    })
    .await;
}

fn offered(request: &Request) -> impl Iterator<Item = &str> {
    let headers = request.headers().get_all(SEC_WEBSOCKET_PROTOCOL);
    headers
        .into_iter()
        .filter_map(|header| header.to_str().ok())
        .flat_map(|header| header.split(','))
        .map(str::trim)
}

fn choose(request: &Request, versions: &[Version]) -> Option<Version> {
    let is_offered = |version| offered(request).any(|name| Version::from_subprotocol(name) == Some(version));
    versions.iter().copied().find(|&version| is_offered(version))
}
