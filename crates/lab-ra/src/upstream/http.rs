//! CMP over HTTP as a client (RFC 9811): each message is written at most once, on a connection of its own.

use axum::http::{
    Request, StatusCode, Uri,
    header::{ACCEPT, CONTENT_TYPE, HOST},
};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::{Response, body::Bytes, body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use std::{fmt, str::FromStr, time::Duration};
use tokio::{net::TcpStream, task::JoinHandle, time::timeout};

use super::{MAX_RESPONSE_BYTES, UpstreamError};
use crate::http::{PKIXCMP, is_pkixcmp};

/// A URL of a CMP server: `http://HOST[:PORT][/PATH]`.
#[derive(Clone, Debug)]
pub struct UpstreamUrl(Uri);

impl FromStr for UpstreamUrl {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let uri = Uri::from_str(text).map_err(|_| "this is not a URL")?;
        let authority = uri.authority().map(|authority| authority.as_str());
        match (uri.scheme_str(), authority) {
            (Some("http"), Some(authority)) if !authority.contains('@') => Ok(Self(uri)),
            _ => Err("the URL of a CMP server is written http://HOST[:PORT][/PATH]"),
        }
    }
}

impl fmt::Display for UpstreamUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A CMP server that is asked over HTTP. Redirects are not followed, and nothing is sent twice.
#[derive(Clone, Debug)]
pub struct HttpUpstream {
    /// Where the messages are posted.
    pub url: UpstreamUrl,
    /// How long a connection may take.
    pub connect_timeout: Duration,
    /// How long the whole answer may take once the connection is there.
    pub response_timeout: Duration,
}

impl HttpUpstream {
    /// Posts a message; the answer is whatever came with a right Content-Type, with any HTTP status but a redirect.
    ///
    /// # Errors
    /// [`UpstreamError::Unreachable`] only if not a byte of the message was written.
    pub async fn ask(&self, message: Vec<u8>) -> Result<Vec<u8>, UpstreamError> {
        let asked = timeout(self.connect_timeout, self.connect()).await;
        let (mut sender, connection) = match asked {
            Ok(Ok(connected)) => connected,
            Ok(Err(error)) => {
                tracing::warn!(upstream = %self.url, %error, "no connection");
                return Err(UpstreamError::Unreachable);
            }
            Err(_) => {
                tracing::warn!(upstream = %self.url, "no connection in time");
                return Err(UpstreamError::Unreachable);
            }
        };
        let answer = timeout(self.response_timeout, self.exchange(&mut sender, message)).await;
        connection.abort();
        answer.unwrap_or(Err(UpstreamError::Timeout))
    }

    async fn connect(&self) -> Result<(http1::SendRequest<Full<Bytes>>, JoinHandle<()>), ConnectError> {
        let host = self.url.0.host().unwrap_or_default();
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let stream = TcpStream::connect((host, self.url.0.port_u16().unwrap_or(80))).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        let connection = tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "connection ended");
            }
        });
        Ok((sender, connection))
    }

    async fn exchange(
        &self,
        sender: &mut http1::SendRequest<Full<Bytes>>,
        message: Vec<u8>,
    ) -> Result<Vec<u8>, UpstreamError> {
        let target = self.url.0.path_and_query().map_or("/", |target| target.as_str());
        let host = self.url.0.authority().map_or("", |authority| authority.as_str());
        let request = Request::post(target)
            .header(HOST, host)
            .header(CONTENT_TYPE, PKIXCMP)
            .header(ACCEPT, PKIXCMP)
            .body(Full::new(Bytes::from(message)))
            .map_err(|_| UpstreamError::Unreachable)?;
        let response = sender.send_request(request).await.map_err(|error| {
            tracing::warn!(upstream = %self.url, %error, "the connection broke");
            UpstreamError::BrokeOff
        })?;
        read(response).await
    }
}

async fn read(response: Response<Incoming>) -> Result<Vec<u8>, UpstreamError> {
    let status = response.status();
    let content_type = response.headers().get(CONTENT_TYPE);
    let is_cmp = content_type
        .and_then(|value| value.to_str().ok())
        .is_some_and(is_pkixcmp);
    let body = match Limited::new(response.into_body(), MAX_RESPONSE_BYTES)
        .collect()
        .await
    {
        Ok(body) => body.to_bytes(),
        Err(error) if error.is::<LengthLimitError>() => return Err(UpstreamError::TooLarge),
        Err(_) => return Err(UpstreamError::BrokeOff),
    };
    let carries = !status.is_redirection() && !status.is_informational();
    match (is_cmp, body.is_empty()) {
        (true, false) if carries => Ok(body.into()),
        _ if status != StatusCode::OK => Err(UpstreamError::Status(status.as_u16())),
        (_, true) => Err(UpstreamError::Empty),
        (_, false) => Err(UpstreamError::ContentType),
    }
}

#[derive(Debug, thiserror::Error)]
enum ConnectError {
    #[error("{0}")]
    Io(#[from] std::io::Error),
    #[error("{0}")]
    Http(#[from] hyper::Error),
}
