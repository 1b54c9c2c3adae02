//! HTTPS to a server that is known by pinned anchors.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs
)]

use cmp_http::{Client, Error, Limits, Tls, TlsError};
use rustls::{
    RootCertStore, ServerConfig, SupportedProtocolVersion,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::WebPkiClientVerifier,
    version::{TLS12, TLS13},
};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};
use tokio_rustls::TlsAcceptor;

const ANSWER: &[u8] = b"\x30\x06answer";
const RESPONSE: &[u8] =
    b"HTTP/1.1 200 OK\r\nContent-Type: application/pkixcmp\r\nContent-Length: 8\r\n\r\n\x30\x06answer";

/// Certificates and keys that OpenSSL makes.
struct Files(tempfile::TempDir);

impl Files {
    /// A root, a server at 127.0.0.1 and a client of it; another root; a server of another name and one that is over.
    fn make() -> Self {
        let files = Self(tempfile::tempdir().unwrap());
        for root in ["root", "other"] {
            files.openssl(&format!(
                "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN={root} -days 9 \
                 -keyout {root}.key -out {root}.crt"
            ));
        }
        files.certify("server", "subjectAltName=IP:127.0.0.1", "9");
        files.certify("elsewhere", "subjectAltName=DNS:elsewhere.example", "9");
        files.certify("client", "extendedKeyUsage=clientAuth", "9");
        files
    }

    fn certify(&self, name: &str, extension: &str, days: &str) {
        fs::write(self.path(&format!("{name}.ext")), extension).unwrap();
        self.openssl(&format!(
            "req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN={name} -keyout {name}.key \
             -out {name}.csr"
        ));
        self.openssl(&format!(
            "x509 -req -in {name}.csr -CA root.crt -CAkey root.key -CAcreateserial -days {days} \
             -extfile {name}.ext -out {name}.crt"
        ));
    }

    fn openssl(&self, arguments: &str) {
        let done = Command::new("openssl")
            .args(arguments.split_whitespace())
            .current_dir(self.0.path())
            .output()
            .unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn trusting(&self, root: &str) -> Tls {
        Tls::with_anchors(&self.path(root)).unwrap()
    }

    fn with_client(&self) -> Tls {
        let (certificate, key) = (self.path("client.crt"), self.path("client.key"));
        self.trusting("root.crt").with_client(&certificate, &key).unwrap()
    }
}

fn certificates(file: &Path) -> Vec<CertificateDer<'static>> {
    CertificateDer::pem_file_iter(file)
        .unwrap()
        .map(Result::unwrap)
        .collect()
}

/// A server with the certificate of this name; its URL.
async fn serve(
    files: &Files,
    name: &str,
    version: &'static SupportedProtocolVersion,
    wants_client: bool,
) -> String {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[version])
        .unwrap();
    let builder = match wants_client {
        false => builder.with_no_client_auth(),
        true => {
            let mut roots = RootCertStore::empty();
            roots
                .add(certificates(&files.path("root.crt")).remove(0))
                .unwrap();
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            builder.with_client_cert_verifier(verifier.build().unwrap())
        }
    };
    let chain = certificates(&files.path(&format!("{name}.crt")));
    let key = PrivateKeyDer::from_pem_file(files.path(&format!("{name}.key"))).unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(builder.with_single_cert(chain, key).unwrap()));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}/", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(mut stream) = acceptor.accept(stream).await else {
                continue;
            };
            let mut request = [0; 4096];
            let mut length = 0;
            while !request[..length].ends_with(b"message") {
                match stream.read(&mut request[length..]).await {
                    Ok(n @ 1..) => length += n,
                    _ => break,
                }
            }
            let _ = stream.write_all(RESPONSE).await;
            let _ = stream.shutdown().await;
        }
    });
    url
}

async fn post(url: &str, tls: Tls) -> Result<Vec<u8>, Error> {
    let limits = Limits {
        connect_timeout: Duration::from_secs(60),
        response_timeout: Duration::from_secs(60),
        ..Limits::default()
    };
    let client = Client::new(url.parse().unwrap(), Some(tls), limits).unwrap();
    client.post(b"\x30\x07message").await
}

#[tokio::test]
async fn a_server_that_the_anchors_vouch_for_is_asked_and_no_other() {
    let files = Files::make();
    for version in [&TLS12, &TLS13] {
        let url = serve(&files, "server", version, false).await;
        let answer = post(&url, files.trusting("root.crt")).await;
        assert_eq!(answer.as_deref(), Ok(ANSWER));
        let error = post(&url, files.trusting("other.crt")).await.unwrap_err();
        assert!(matches!(error, Error::Tls(_)), "{error}");
        assert!(!error.was_sent());
        let url = serve(&files, "elsewhere", version, false).await;
        let error = post(&url, files.trusting("root.crt")).await.unwrap_err();
        assert!(matches!(error, Error::Tls(_)), "{error}");
    }
}

#[tokio::test]
async fn a_server_that_wants_a_certificate_gets_ours_and_answers_nobody_without() {
    let files = Files::make();
    for version in [&TLS12, &TLS13] {
        let url = serve(&files, "server", version, true).await;
        assert_eq!(post(&url, files.with_client()).await.as_deref(), Ok(ANSWER));
        assert!(post(&url, files.trusting("root.crt")).await.is_err());
    }
}

#[tokio::test]
async fn a_server_without_tls_is_no_server_for_https() {
    let files = Files::make();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}/", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.write_all(RESPONSE).await;
        }
    });
    let error = post(&url, files.trusting("root.crt")).await.unwrap_err();
    assert!(!error.was_sent(), "{error}");
}

#[test]
fn what_is_of_no_use_for_tls_is_named_before_it_is_needed() {
    let files = Files::make();
    fs::write(files.path("empty.pem"), "").unwrap();
    let none = Tls::with_anchors(&files.path("none.pem"));
    assert!(matches!(none, Err(TlsError::Io { .. })));
    for bad in ["empty.pem", "root.key"] {
        let bad = Tls::with_anchors(&files.path(bad));
        assert!(matches!(bad, Err(TlsError::Certificate(_))), "{bad:?}");
    }
    let with = |certificate: &str, key: &str| {
        let tls = files.trusting("root.crt");
        tls.with_client(&files.path(certificate), &files.path(key))
    };
    assert!(matches!(with("client.crt", "client.crt"), Err(TlsError::Key(_))));
    assert!(matches!(with("client.crt", "none.key"), Err(TlsError::Io { .. })));
    assert!(matches!(
        with("client.crt", "server.key"),
        Err(TlsError::Identity(_))
    ));
    let client = |url: &str, tls| Client::new(url.parse().unwrap(), tls, Limits::default());
    let anchors = || Some(files.trusting("root.crt"));
    assert!(matches!(client("https://x/", None), Err(TlsError::NoAnchors)));
    assert!(matches!(client("http://x/", anchors()), Err(TlsError::NotHttps)));
    assert!(matches!(
        client("https://a_b..c/", anchors()),
        Err(TlsError::Host)
    ));
}

#[test]
fn nothing_of_a_key_is_in_a_print() {
    let files = Files::make();
    assert_eq!(
        format!("{:?}", files.with_client()),
        "Tls { anchors: 1, has_client: true }"
    );
}
