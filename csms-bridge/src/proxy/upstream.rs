//! The CSMS behind the bridge: a station's request to open a WebSocket goes on to it.

use std::{sync::Arc, time::Duration};

use base64ct::{Base64, Encoding as _};
use cmp_http::Tls;
use ocpp_rpc::{
    Version,
    ws::{self, ClientOptions, Connection, Handshake, Header, Limits, Refusal, connect_over},
};
use rustls::{
    ClientConfig,
    pki_types::{CertificateDer, ServerName},
};
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::TlsConnector;

use crate::{Config, StartError, config::CertificateFormat, listen::Stream};

/// Where the CSMS is, and what it is told of a station.
pub(crate) struct Upstream {
    /// `ws://HOST:PORT/PATH` or `wss://…`, without a `/` at the end; the station's path comes behind it.
    base: String,
    host: String,
    port: u16,
    tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
    /// Headers of the station that go on, beside `Authorization`.
    headers: Vec<String>,
    certificate: Option<(String, CertificateFormat)>,
    connect_timeout: Duration,
    limits: Limits,
}

/// Why there is no connection to the CSMS.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoCsms {
    /// Nobody answers there.
    #[error("the CSMS cannot be reached")]
    Unreachable(#[source] ws::Error),
    /// TLS or the handshake went wrong.
    #[error("no WebSocket with the CSMS")]
    Broken(#[source] ws::Error),
    /// It does not want this station.
    #[error("the CSMS refuses with HTTP status {0}")]
    Refused(u16),
    /// It speaks none of the versions that the station offers.
    #[error("the CSMS and the station have no common subprotocol")]
    NoCommonSubprotocol,
}

impl NoCsms {
    /// What the station hears.
    pub(crate) const fn refusal(&self) -> Refusal {
        match self {
            Self::Unreachable(_) => Refusal::Unavailable,
            Self::Refused(status) => Refusal::Status(*status),
            Self::Broken(_) | Self::NoCommonSubprotocol => Refusal::BadGateway,
        }
    }
}

impl From<ws::Error> for NoCsms {
    fn from(error: ws::Error) -> Self {
        match error {
            ws::Error::Refused(status) => Self::Refused(status),
            ws::Error::NoCommonSubprotocol => Self::NoCommonSubprotocol,
            error @ ws::Error::TimedOut(_) => Self::Unreachable(error),
            error => Self::Broken(error),
        }
    }
}

impl Upstream {
    /// Reads what `[proxy]` names.
    ///
    /// # Errors
    /// [`StartError`]: where the CSMS is, or the certificates that vouch for it.
    pub(crate) fn new(config: &Config) -> Result<Self, StartError> {
        let proxy = &config.proxy;
        let uri = proxy.uri()?;
        let host = uri.host().unwrap_or_default();
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let is_tls = uri.scheme_str() == Some("wss");
        let tls = match (&proxy.trust, ServerName::try_from(host.clone())) {
            (Some(anchors), Ok(name)) if is_tls => Some((Tls::with_anchors(anchors)?.client_config()?, name)),
            _ => None,
        };
        Ok(Self {
            base: uri.to_string().trim_end_matches('/').to_owned(),
            port: uri.port_u16().unwrap_or(if is_tls { 443 } else { 80 }),
            host,
            tls,
            headers: proxy.forward_headers.clone(),
            certificate: Some(&proxy.client_certificate_header)
                .filter(|name| !name.is_empty())
                .map(|name| (name.clone(), proxy.client_certificate_format)),
            connect_timeout: proxy.connect_timeout(),
            limits: Limits {
                max_message_bytes: config.max_frame_bytes,
                handshake_timeout: proxy.connect_timeout(),
                ..Limits::default()
            },
        })
    }

    /// Asks the CSMS for what the station asks for.
    ///
    /// # Errors
    /// [`NoCsms`].
    pub(crate) async fn connect(
        &self,
        station: &Handshake<Stream>,
        certificate: Option<&CertificateDer<'_>>,
    ) -> Result<Connection<Stream>, NoCsms> {
        let versions: Vec<Version> = station.offered().filter_map(Version::from_subprotocol).collect();
        if versions.is_empty() {
            return Err(NoCsms::NoCommonSubprotocol);
        }
        let options = ClientOptions {
            versions,
            headers: self.headers(station, certificate),
            limits: self.limits.clone(),
            ..ClientOptions::default()
        };
        let url = format!("{}{}", self.base, station.target());
        Ok(connect_over(self.open().await?, &url, &options).await?)
    }

    /// A connection on which nothing was said yet.
    ///
    /// # Errors
    /// [`NoCsms::Unreachable`] or [`NoCsms::Broken`].
    pub(crate) async fn open(&self) -> Result<Stream, NoCsms> {
        let address = (self.host.as_str(), self.port);
        let stream = timeout(self.connect_timeout, TcpStream::connect(address)).await;
        let unreachable = |error: std::io::Error| NoCsms::Unreachable(error.into());
        let stream = stream
            .map_err(|_| ws::Error::TimedOut("connecting"))?
            .map_err(unreachable)?;
        stream.set_nodelay(true).map_err(unreachable)?;
        let Some((config, name)) = &self.tls else {
            return Ok(Stream::Plain(stream));
        };
        let connector = TlsConnector::from(Arc::clone(config));
        let secured = timeout(self.connect_timeout, connector.connect(name.clone(), stream)).await;
        let secured = secured
            .map_err(|_| ws::Error::TimedOut("TLS"))?
            .map_err(|error| NoCsms::Broken(error.into()))?;
        Ok(Stream::Tls(Box::new(secured.into())))
    }

    /// What goes on of the station's request. Nothing else does: what a station says in a header for its certificate is
    /// never believed.
    fn headers(&self, station: &Handshake<Stream>, certificate: Option<&CertificateDer<'_>>) -> Vec<Header> {
        let names = std::iter::once("Authorization").chain(self.headers.iter().map(String::as_str));
        let own = names.flat_map(|name| station.headers(name).map(move |value| Header::new(name, value)));
        let shown = self.certificate.as_ref().zip(certificate);
        let shown = shown.map(|((name, format), certificate)| {
            Header::new(name, header_value(certificate, *format).as_bytes())
        });
        // Values of a header are values of a header.
        own.chain(shown).flatten().collect()
    }
}

/// A certificate as the value of a header.
fn header_value(der: &[u8], format: CertificateFormat) -> String {
    let base64 = Base64::encode_string(der);
    match format {
        // A byte sequence of RFC 8941.
        CertificateFormat::Rfc9440 => format!(":{base64}:"),
        CertificateFormat::PemUrlEncoded => {
            let lines = base64.as_bytes().chunks(64).map(String::from_utf8_lossy);
            let mut pem = String::from("-----BEGIN CERTIFICATE-----\n");
            lines.for_each(|line| pem.extend([&*line, "\n"]));
            pem.push_str("-----END CERTIFICATE-----\n");
            ws::percent_encode(&pem)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_written_as_rfc_9440_has_it_or_as_escaped_pem() {
        let der = [0xfb; 60];
        let base64 = Base64::encode_string(&der);
        assert_eq!(
            header_value(&der, CertificateFormat::Rfc9440),
            format!(":{base64}:")
        );
        let pem = header_value(&der, CertificateFormat::PemUrlEncoded);
        let (first, rest) = base64.split_at(64);
        let body = format!("{first}%0A{rest}%0A")
            .replace('+', "%2B")
            .replace('/', "%2F");
        assert_eq!(
            pem,
            format!("-----BEGIN%20CERTIFICATE-----%0A{body}-----END%20CERTIFICATE-----%0A")
        );
    }
}
