//! The client's side: a station connecting to its CSMS, or a proxy to the server behind it.

use std::net::{IpAddr, SocketAddr};
use std::string::{String, ToString as _};
use std::vec::Vec;
use std::{format, str};

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpSocket, TcpStream, lookup_host};
use tokio::time::timeout;
use tokio_tungstenite::client_async_with_config;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::http::header::SEC_WEBSOCKET_PROTOCOL;
use tokio_tungstenite::tungstenite::http::{HeaderName, HeaderValue, Uri};

use super::{Connection, Error, Limits, percent_encode};
use crate::Version;

/// What a client offers.
#[derive(Clone, Debug)]
pub struct ClientOptions {
    /// The versions to offer, the preferred one first. Default: all, the newest first.
    pub versions: Vec<Version>,
    /// Further headers of the request, such as `Authorization` with
    /// [`basic_auth_header`](super::basic_auth_header).
    pub headers: Vec<Header>,
    /// The address to connect from; `None`: the system chooses.
    pub source: Option<IpAddr>,
    /// Limits and times.
    pub limits: Limits,
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self {
            versions: Version::ALL.to_vec(),
            headers: Vec::new(),
            source: None,
            limits: Limits::default(),
        }
    }
}

/// A header of the request; `Debug` shows its name only.
#[derive(Clone)]
pub struct Header {
    name: HeaderName,
    value: HeaderValue,
}

impl Header {
    /// A header whose value may be any bytes that HTTP allows.
    ///
    /// # Errors
    /// [`Error::Url`] where HTTP does not allow name or value.
    pub fn new(name: &str, value: &[u8]) -> Result<Self, Error> {
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| Error::Url)?;
        let mut value = HeaderValue::from_bytes(value).map_err(|_| Error::Url)?;
        value.set_sensitive(true);
        Ok(Self { name, value })
    }
}

impl std::fmt::Debug for Header {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Header").field(&self.name).finish()
    }
}

/// The URL of a station at a CSMS: `base` with `identity`, percent-encoded, as a further path segment.
#[must_use]
pub fn station_url(base: &str, identity: &str) -> String {
    format!("{}/{}", base.trim_end_matches('/'), percent_encode(identity))
}

/// Connects to a `ws://` URL. For `wss://`, put TLS over [`connect_tcp`] and use [`connect_over`].
///
/// # Errors
/// [`Error::Refused`] with the HTTP status, [`Error::NoCommonSubprotocol`], [`Error::TimedOut`] or those of the socket.
pub async fn connect(url: &str, options: &ClientOptions) -> Result<Connection<TcpStream>, Error> {
    match url.parse::<Uri>() {
        Ok(uri) if uri.scheme_str() == Some("ws") => {
            connect_over(connect_tcp(url, options).await?, url, options).await
        }
        _ => Err(Error::Url),
    }
}

/// The TCP connection below a `ws://` or `wss://` URL.
///
/// # Errors
/// [`Error::Url`], [`Error::TimedOut`] or those of the socket.
pub async fn connect_tcp(url: &str, options: &ClientOptions) -> Result<TcpStream, Error> {
    let uri: Uri = url.parse().map_err(|_| Error::Url)?;
    let port = match uri.scheme_str() {
        Some("ws") => 80,
        Some("wss") => 443,
        _ => return Err(Error::Url),
    };
    let host = uri
        .host()
        .ok_or(Error::Url)?
        .trim_start_matches('[')
        .trim_end_matches(']')
        .to_string();
    let port = uri.port_u16().unwrap_or(port);
    let stream = timeout(
        options.limits.handshake_timeout,
        dial((&host, port), options.source),
    )
    .await
    .map_err(|_| Error::TimedOut("connecting"))??;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// A connection to the first address that takes one, from `source` if it is said.
async fn dial(to: (&str, u16), source: Option<IpAddr>) -> std::io::Result<TcpStream> {
    let Some(source) = source else {
        return TcpStream::connect(to).await;
    };
    let mut failed = None;
    for address in lookup_host(to)
        .await?
        .filter(|address| address.is_ipv4() == source.is_ipv4())
    {
        let socket = match source {
            IpAddr::V4(_) => TcpSocket::new_v4(),
            IpAddr::V6(_) => TcpSocket::new_v6(),
        }?;
        socket.bind(SocketAddr::new(source, 0))?;
        match socket.connect(address).await {
            Ok(stream) => return Ok(stream),
            Err(error) => failed = Some(error),
        }
    }
    Err(failed.unwrap_or_else(|| std::io::ErrorKind::AddrNotAvailable.into()))
}

/// Opens a WebSocket over a stream that is connected already; `url` gives path and host of the request.
///
/// # Errors
/// As [`connect`].
pub async fn connect_over<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    url: &str,
    options: &ClientOptions,
) -> Result<Connection<S>, Error> {
    let mut request = url.into_client_request()?;
    let names: Vec<&str> = options
        .versions
        .iter()
        .map(|version| version.subprotocol())
        .collect();
    let offer = HeaderValue::from_str(&names.join(", ")).map_err(|_| Error::Url)?;
    request.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, offer);
    for header in &options.headers {
        request
            .headers_mut()
            .append(header.name.clone(), header.value.clone());
    }
    let config = Some(options.limits.websocket());
    let handshake = client_async_with_config(request, stream, config);
    let (socket, response) = timeout(options.limits.handshake_timeout, handshake)
        .await
        .map_err(|_| Error::TimedOut("handshake"))??;
    let chosen = response
        .headers()
        .get(SEC_WEBSOCKET_PROTOCOL)
        .and_then(|name| name.to_str().ok());
    let version = chosen
        .and_then(Version::from_subprotocol)
        .ok_or(Error::NoCommonSubprotocol)?;
    Ok(Connection::new(socket, version, options.limits.clone()))
}
