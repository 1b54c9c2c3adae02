//! What a station proves itself with at the CSMS: OCPP's security profiles, the station's side.

use std::{fs, path::PathBuf, sync::Arc};

use anyhow::Context;
use axum::http::Uri;
use cmp_http::Tls;
use ocpp_rpc::ws::{self, ClientOptions, Connection, Header};
use rustls::{ClientConfig, pki_types::ServerName};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::TlsConnector;
use zeroize::Zeroizing;

/// Passwords and certificates for the connection to the CSMS.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct SecurityArgs {
    /// Trust anchors (PEM) that the CSMS's TLS certificate is checked with; for wss://.
    #[arg(long, value_name = "FILE")]
    pub tls_trust: Option<PathBuf>,
    /// Certificate and chain (PEM) to show to the CSMS: security profile 3.
    #[arg(long, value_name = "FILE", requires_all = ["tls_key", "tls_trust"])]
    pub tls_cert: Option<PathBuf>,
    /// Its private key (PEM, not encrypted).
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,
    /// File with the password for the CSMS, one line: security profiles 1 and 2.
    #[arg(long, value_name = "FILE")]
    pub password_file: Option<PathBuf>,
    /// The password is hexadecimal, and is sent as the bytes that it stands for: AuthorizationKey of OCPP 1.6.
    #[arg(long, requires = "password_file")]
    pub password_hex: bool,
}

/// The same, read.
#[derive(Clone, Default)]
pub struct Security {
    tls: Option<Arc<ClientConfig>>,
    password: Option<Zeroizing<Vec<u8>>>,
}

impl std::fmt::Debug for Security {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Security")
            .field("tls", &self.tls.is_some())
            .field("password", &self.password.is_some())
            .finish()
    }
}

impl SecurityArgs {
    /// Reads the files.
    ///
    /// # Errors
    /// Where one cannot be read or used.
    pub fn read(&self) -> anyhow::Result<Security> {
        let mut tls = self
            .tls_trust
            .as_deref()
            .map(Tls::with_anchors)
            .transpose()
            .context("--tls-trust")?;
        if let (Some(cert), Some(key)) = (&self.tls_cert, &self.tls_key) {
            tls = tls
                .map(|tls| tls.with_client(cert, key))
                .transpose()
                .context("--tls-cert")?;
        }
        let tls = tls
            .map(|tls| tls.client_config())
            .transpose()
            .context("--tls-cert")?;
        let password = self.password().context("--password-file")?;
        Ok(Security { tls, password })
    }

    fn password(&self) -> anyhow::Result<Option<Zeroizing<Vec<u8>>>> {
        let Some(path) = &self.password_file else {
            return Ok(None);
        };
        let text = Zeroizing::new(fs::read_to_string(path)?);
        let line = text.trim_end_matches(['\r', '\n']);
        if !self.password_hex {
            return Ok(Some(Zeroizing::new(line.as_bytes().to_vec())));
        }
        let bytes = csms_bridge::parse_authorization_key(line);
        bytes.map(Some).context("not 32 to 40 hexadecimal digits")
    }
}

/// What a WebSocket to the CSMS goes over.
pub(crate) trait Io: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Io for T {}

pub(crate) type Socket = Connection<Box<dyn Io>>;

impl Security {
    /// Connects to `url` as the station `id`: with TLS where it says `wss`, with the password where there is one.
    pub(crate) async fn connect(
        &self,
        url: &str,
        id: &str,
        mut options: ClientOptions,
    ) -> Result<Socket, ws::Error> {
        if let Some(password) = &self.password {
            let value = ws::basic_auth_header(id, password);
            options
                .headers
                .push(Header::new("Authorization", value.as_bytes())?);
        }
        let stream = ws::connect_tcp(url, &options).await?;
        let stream = self.secure(url, stream);
        let stream = timeout(options.limits.handshake_timeout, stream)
            .await
            .map_err(|_| ws::Error::TimedOut("TLS handshake"))??;
        ws::connect_over(stream, url, &options).await
    }

    /// TLS, where the URL says so.
    async fn secure(&self, url: &str, stream: TcpStream) -> Result<Box<dyn Io>, ws::Error> {
        let uri: Uri = url.parse().map_err(|_| ws::Error::Url)?;
        if uri.scheme_str() == Some("ws") {
            return Ok(Box::new(stream));
        }
        let host = uri.host().ok_or(ws::Error::Url)?;
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let name = ServerName::try_from(host).map_err(|_| ws::Error::Url)?;
        let tls = self.tls.as_ref().ok_or(ws::Error::Url)?;
        let stream = TlsConnector::from(Arc::clone(tls)).connect(name, stream).await?;
        Ok(Box::new(stream))
    }
}
