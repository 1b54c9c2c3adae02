//! One HTTP request at a time, bounded in time and size, without redirects.

use std::{io, path::Path, str::FromStr as _, sync::Arc, time::Duration};

use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::{
    Method, Request, StatusCode, Uri,
    body::{Bytes, Incoming},
    client::conn::http1,
    header::{HOST, HeaderName, HeaderValue},
    rt::{Read, Write},
};
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, pki_types::ServerName};
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::TlsConnector;

/// The largest head of an answer, in bytes.
const MAX_HEAD_BYTES: usize = 16 * 1024;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// Nobody is reached there.
    #[error("cannot connect: {0}")]
    Connect(#[source] io::Error),
    /// The connection broke, or what came is not HTTP.
    #[error("the connection broke: {0}")]
    Http(#[source] hyper::Error),
    /// The answer is larger than is read.
    #[error("the answer is too large")]
    TooLarge,
    /// It took too long.
    #[error("no answer in time")]
    TimedOut,
}

/// Why a server cannot be asked at all.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PeerError {
    /// The URL has another form.
    #[error("not a URL like http://127.0.0.1:9001 or https://HOST:PORT/PATH")]
    Url,
    /// The URL has a user name, which would be in logs.
    #[error("a URL with a user name or password is not taken")]
    UserInfo,
    /// https needs to know whom to believe.
    #[error("https needs the CA of the server (PEM)")]
    NoCa,
    /// TLS for a URL without.
    #[error("a CA is for https URLs")]
    NotHttps,
    /// The files of TLS cannot be used.
    #[error(transparent)]
    Tls(#[from] cmp_http::TlsError),
}

/// A server at one base URL.
#[derive(Clone)]
pub(crate) struct Peer {
    uri: Uri,
    tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
    connect_timeout: Duration,
    response_timeout: Duration,
    max_response_bytes: usize,
}

/// Times and sizes.
pub(crate) struct PeerLimits {
    pub(crate) connect_timeout: Duration,
    pub(crate) response_timeout: Duration,
    pub(crate) max_response_bytes: usize,
}

impl Peer {
    /// `ca`: the certificates that the server's is verified with, for https.
    pub(crate) fn new(url: &str, ca: Option<&Path>, limits: &PeerLimits) -> Result<Self, PeerError> {
        let uri = Uri::from_str(url).map_err(|_| PeerError::Url)?;
        let authority = uri.authority().ok_or(PeerError::Url)?;
        if authority.as_str().contains('@') {
            return Err(PeerError::UserInfo);
        }
        if host(&uri).is_empty() {
            return Err(PeerError::Url);
        }
        let tls = match (uri.scheme_str(), ca) {
            (Some("http"), None) => None,
            (Some("http"), Some(_)) => return Err(PeerError::NotHttps),
            (Some("https"), None) => return Err(PeerError::NoCa),
            (Some("https"), Some(ca)) => {
                let name = ServerName::try_from(host(&uri).to_owned()).map_err(|_| PeerError::Url)?;
                Some((cmp_http::Tls::with_anchors(ca)?.client_config()?, name))
            }
            _ => return Err(PeerError::Url),
        };
        Ok(Self {
            uri,
            tls,
            connect_timeout: limits.connect_timeout,
            response_timeout: limits.response_timeout,
            max_response_bytes: limits.max_response_bytes,
        })
    }

    /// The URL without what is after its path.
    pub(crate) fn path(&self) -> &str {
        self.uri.path().trim_end_matches('/')
    }

    /// Path and query of the URL.
    pub(crate) fn target(&self) -> &str {
        self.uri.path_and_query().map_or("/", |target| target.as_str())
    }

    /// Sends one request to `target`, a path with its query, on a connection of its own.
    pub(crate) async fn call(
        &self,
        method: Method,
        target: &str,
        headers: Vec<(HeaderName, HeaderValue)>,
        body: Bytes,
    ) -> Result<(StatusCode, Bytes), CallError> {
        let host = self.uri.authority().map_or("", |authority| authority.as_str());
        let mut request = Request::builder().method(method).uri(target).header(HOST, host);
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let request = request
            .body(Full::new(body))
            .map_err(|error| CallError::Connect(io::Error::new(io::ErrorKind::InvalidInput, error)))?;
        let stream = timeout(self.connect_timeout, self.connect());
        let stream = stream
            .await
            .map_err(|_| CallError::TimedOut)?
            .map_err(CallError::Connect)?;
        let answer = async {
            match &self.tls {
                None => self.exchange(TokioIo::new(stream), request).await,
                Some((config, name)) => {
                    let secured = TlsConnector::from(Arc::clone(config)).connect(name.clone(), stream);
                    let secured = secured.await.map_err(CallError::Connect)?;
                    self.exchange(TokioIo::new(secured), request).await
                }
            }
        };
        timeout(self.response_timeout, answer)
            .await
            .map_err(|_| CallError::TimedOut)?
    }

    async fn connect(&self) -> io::Result<TcpStream> {
        let default = if self.tls.is_some() { 443 } else { 80 };
        let port = self.uri.port_u16().unwrap_or(default);
        let stream = TcpStream::connect((host(&self.uri), port)).await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }

    async fn exchange<T>(
        &self,
        stream: T,
        request: Request<Full<Bytes>>,
    ) -> Result<(StatusCode, Bytes), CallError>
    where
        T: Read + Write + Send + Unpin + 'static,
    {
        let shaken = http1::Builder::new()
            .max_buf_size(MAX_HEAD_BYTES)
            .handshake(stream)
            .await;
        let (mut sender, connection) = shaken.map_err(CallError::Http)?;
        let answer = async {
            let response = sender.send_request(request).await.map_err(CallError::Http)?;
            let status = response.status();
            Ok((status, self.read(response.into_body()).await?))
        };
        // The connection lives as long as its one request.
        tokio::select! {
            answer = answer => answer,
            Err(error) = connection => Err(CallError::Http(error)),
        }
    }

    async fn read(&self, body: Incoming) -> Result<Bytes, CallError> {
        match Limited::new(body, self.max_response_bytes).collect().await {
            Ok(body) => Ok(body.to_bytes()),
            Err(error) => match error.downcast::<hyper::Error>() {
                Ok(error) => Err(CallError::Http(*error)),
                Err(error) => {
                    debug_assert!(error.is::<LengthLimitError>());
                    Err(CallError::TooLarge)
                }
            },
        }
    }
}

fn host(uri: &Uri) -> &str {
    let host = uri.host().unwrap_or_default();
    host.trim_start_matches('[').trim_end_matches(']')
}
