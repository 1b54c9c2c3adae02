//! Stations with TLS and credentials, and the PKI for them.
#![allow(dead_code)]

use std::fs;
use std::net::SocketAddr;
use std::process::Command;
use std::sync::Arc;

use ocpp_rpc::ws::{ClientOptions, Error, Header, basic_auth_header};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::harness::{Bridge, Station, soon};

/// The files of `tests/fixtures/make-tls.sh`.
pub struct Files(tempfile::TempDir);

impl Files {
    pub fn make() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures/make-tls.sh");
        let made = Command::new("bash").arg(script).arg(dir.path()).output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        Self(dir)
    }

    pub fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_str().unwrap().into()
    }

    /// Writes a file; its path.
    pub fn write(&self, name: &str, text: impl AsRef<[u8]>) -> String {
        fs::write(self.path(name), text).unwrap();
        self.path(name)
    }

    pub fn copy(&self, from: &str, to: &str) {
        fs::copy(self.path(from), self.path(to)).unwrap();
    }

    pub fn certificate(&self, name: &str) -> CertificateDer<'static> {
        CertificateDer::from_pem_file(self.path(&format!("{name}.crt"))).unwrap()
    }

    /// `[tls]` of a bridge with these further lines; `{}` in them is the folder.
    pub fn tls(&self, lines: &str) -> String {
        let text = format!("[tls]\ncert = '{{}}/server.crt'\nkey = '{{}}/server.key'\n{lines}\n");
        text.replace("{}", self.0.path().to_str().unwrap())
    }
}

/// What a station shows.
#[derive(Clone, Copy, Default)]
pub struct Shows<'a> {
    /// Name of a certificate.
    pub certificate: Option<&'a str>,
    /// User and password.
    pub basic: Option<(&'a str, &'a [u8])>,
    /// The only version of TLS; without it both.
    pub tls: Option<&'static SupportedProtocolVersion>,
}

/// How the bridge took a station.
#[derive(Debug, PartialEq, Eq)]
pub enum Taken {
    /// Its boot was answered.
    Booted(String),
    /// The WebSocket was refused with this status.
    Refused(u16),
    /// TLS broke off, with this alert.
    Alert(String),
}

pub fn accepted() -> Taken {
    Taken::Booted("Accepted".into())
}

pub fn pending() -> Taken {
    Taken::Booted("Pending".into())
}

pub fn alert(name: &str) -> Taken {
    Taken::Alert(name.into())
}

pub fn connector(files: &Files, shows: Shows<'_>) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    roots.add(files.certificate("server-root")).unwrap();
    let versions = shows
        .tls
        .map_or(rustls::ALL_VERSIONS.to_vec(), |version| vec![version]);
    let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(&versions)
        .unwrap()
        .with_root_certificates(roots);
    let config = match shows.certificate {
        None => builder.with_no_client_auth(),
        Some(name) => {
            let key = PrivateKeyDer::from_pem_file(files.path(&format!("{name}.key"))).unwrap();
            builder
                .with_client_auth_cert(vec![files.certificate(name)], key)
                .unwrap()
        }
    };
    TlsConnector::from(Arc::new(config))
}

/// TLS to a bridge, as far as the client can tell.
pub async fn tls_to(
    files: &Files,
    address: SocketAddr,
    shows: Shows<'_>,
) -> std::io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(address).await?;
    let name = ServerName::try_from("localhost").unwrap();
    soon(connector(files, shows).connect(name, stream)).await
}

/// A station with TLS.
pub async fn connect(
    files: &Files,
    bridge: &Bridge,
    identity: &str,
    shows: Shows<'_>,
) -> Result<Station, Error> {
    let stream = tls_to(files, bridge.addresses[0], shows).await?;
    let url = format!("ws://localhost/ocpp/{identity}");
    Station::connect_over(Box::new(stream), &url, &options(shows)).await
}

pub fn options(shows: Shows<'_>) -> ClientOptions {
    let header = |(user, password)| {
        Header::new("Authorization", basic_auth_header(user, password).as_bytes()).unwrap()
    };
    ClientOptions {
        versions: vec![ocpp_rpc::Version::V2_0_1],
        headers: shows.basic.map(header).into_iter().collect(),
        ..ClientOptions::default()
    }
}

/// Connects with TLS and boots.
pub async fn boot(files: &Files, bridge: &Bridge, identity: &str, shows: Shows<'_>) -> Taken {
    taken(connect(files, bridge, identity, shows).await).await
}

pub async fn taken(station: Result<Station, Error>) -> Taken {
    match station {
        Ok(mut station) => Taken::Booted(station.boot().await),
        Err(Error::Refused(status)) => Taken::Refused(status),
        Err(Error::Io(error)) => Taken::Alert(alert_of(&error)),
        Err(error) => panic!("{error:?}"),
    }
}

/// The name of the alert that ended TLS.
pub fn alert_of(error: &std::io::Error) -> String {
    let inner = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match inner {
        Some(rustls::Error::AlertReceived(alert)) => format!("{alert:?}"),
        _ => panic!("{error:?}"),
    }
}
