//! RAs at https: who is believed, and whom the bridge is for them.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    unreachable_pub
)]

mod harness;

use std::{fs, path::Path, process::Command, sync::Arc};

use csms_bridge::{Config, Failure, TargetState};
use harness::{Bridge, Station, exchange_id, response_head, sequence, whole};
use rustls::{
    RootCertStore, ServerConfig,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::WebPkiClientVerifier,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
    sync::watch,
};
use tokio_rustls::TlsAcceptor;

const SETTINGS: &str = "answer_budget_ms = 20000";

/// Certificates and keys that OpenSSL makes.
struct Files(tempfile::TempDir);

impl Files {
    /// Two roots; a server at 127.0.0.1 and a client of the first.
    fn make() -> Self {
        let files = Self(tempfile::tempdir().unwrap());
        for root in ["root", "other"] {
            files.openssl(&format!(
                "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN={root} -days 9 \
                 -keyout {root}.key -out {root}.crt"
            ));
        }
        files.certify("server", "subjectAltName=IP:127.0.0.1");
        files.certify("client", "extendedKeyUsage=clientAuth");
        files
    }

    fn certify(&self, name: &str, extension: &str) {
        fs::write(self.0.path().join(format!("{name}.ext")), extension).unwrap();
        self.openssl(&format!(
            "req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN={name} -keyout {name}.key \
             -out {name}.csr"
        ));
        self.openssl(&format!(
            "x509 -req -in {name}.csr -CA root.crt -CAkey root.key -CAcreateserial -days 9 -extfile {name}.ext \
             -out {name}.crt"
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

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_str().unwrap().into()
    }

    fn trusting(&self, root: &str) -> String {
        format!("trust = {:?}", self.path(root))
    }

    fn with_client(&self) -> String {
        format!(
            "{}\nclient_certificate = {:?}\nclient_key = {:?}",
            self.trusting("root.crt"),
            self.path("client.crt"),
            self.path("client.key")
        )
    }
}

fn certificates(file: &str) -> Vec<CertificateDer<'static>> {
    CertificateDer::pem_file_iter(Path::new(file))
        .unwrap()
        .map(Result::unwrap)
        .collect()
}

/// An RA with the server's certificate; its URL, and how many requests it got.
async fn serve(files: &Files, wants_client: bool) -> (String, watch::Receiver<usize>) {
    let builder = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap();
    let builder = if wants_client {
        let mut roots = RootCertStore::empty();
        roots
            .add(certificates(&files.path("root.crt")).remove(0))
            .unwrap();
        let provider = Arc::new(aws_lc_rs::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
        builder.with_client_cert_verifier(verifier.build().unwrap())
    } else {
        builder.with_no_client_auth()
    };
    let key = PrivateKeyDer::from_pem_file(files.path("server.key")).unwrap();
    let config = builder
        .with_single_cert(certificates(&files.path("server.crt")), key)
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}/cmp", listener.local_addr().unwrap());
    let (count, counted) = watch::channel(0);
    let acceptor = TlsAcceptor::from(Arc::new(config));
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let Ok(mut stream) = acceptor.accept(stream).await else {
                continue;
            };
            let mut request = Vec::new();
            while !request.ends_with(&sequence(9, 1)) {
                if stream.read_buf(&mut request).await.unwrap_or(0) == 0 {
                    break;
                }
            }
            if !request.is_empty() {
                count.send_modify(|count| *count += 1);
                let answer = [response_head("200 OK", 50), sequence(50, 2)].concat();
                stream.write_all(&answer).await.unwrap();
                let _ = stream.shutdown().await;
            }
        }
    });
    (url, counted)
}

#[tokio::test]
async fn an_ra_is_believed_by_the_anchors_of_its_route_alone() {
    let files = Files::make();
    let (url, requests) = serve(&files, false).await;
    let bridge = Bridge::start(&[&url], SETTINGS, &files.trusting("other.crt")).await;
    let mut station = Station::connect(&bridge, "CS1").await;
    let answer = station.submit(&exchange_id(1), &sequence(9, 1)).await;
    assert_eq!(answer["error"]["code"], "ra-unreachable");
    let target = bridge.bridge.routes().remove(0).targets.remove(0);
    assert_eq!(target.last_failure, Some(Failure::Tls));
    assert_eq!(*requests.borrow(), 0, "it got nothing");
    let bridge = Bridge::start(&[&url], SETTINGS, &files.trusting("root.crt")).await;
    let mut station = Station::connect(&bridge, "CS1").await;
    let answer = station.submit(&exchange_id(1), &sequence(9, 1)).await;
    assert_eq!(answer, whole(None, &sequence(50, 2)));
    assert_eq!(*requests.borrow(), 1);
}

#[tokio::test]
async fn an_ra_that_wants_to_know_the_bridge_gets_its_certificate() {
    let files = Files::make();
    let (url, requests) = serve(&files, true).await;
    let bridge = Bridge::start(&[&url], SETTINGS, &files.trusting("root.crt")).await;
    let mut station = Station::connect(&bridge, "CS1").await;
    let answer = station.submit(&exchange_id(1), &sequence(9, 1)).await;
    // TLS 1.3 tells a client that it is not let in only after it has begun to write.
    assert_eq!(answer["error"]["code"], "ra-timeout");
    assert_eq!(*requests.borrow(), 0, "it got nothing");
    let bridge = Bridge::start(&[&url], SETTINGS, &files.with_client()).await;
    let mut station = Station::connect(&bridge, "CS1").await;
    let answer = station.submit(&exchange_id(1), &sequence(9, 1)).await;
    assert_eq!(answer, whole(None, &sequence(50, 2)));
    assert_eq!(*requests.borrow(), 1);
}

#[tokio::test]
async fn files_are_read_again_and_where_they_are_of_no_use_nothing_changes() {
    let files = Files::make();
    let (url, _) = serve(&files, false).await;
    fs::copy(files.path("other.crt"), files.path("trust.crt")).unwrap();
    let settings = format!("{}\nbreaker_failures = 1000", files.trusting("trust.crt"));
    let bridge = Bridge::start(&[&url], SETTINGS, &settings).await;
    let mut station = Station::connect(&bridge, "CS1").await;
    let answer = station.submit(&exchange_id(1), &sequence(9, 1)).await;
    assert_eq!(answer["error"]["code"], "ra-unreachable");
    fs::copy(files.path("root.crt"), files.path("trust.crt")).unwrap();
    bridge.reload.run();
    let answer = station.submit(&exchange_id(2), &sequence(9, 1)).await;
    assert_eq!(answer, whole(None, &sequence(50, 2)));
    fs::write(files.path("trust.crt"), "damaged").unwrap();
    bridge.reload.run();
    let answer = station.submit(&exchange_id(3), &sequence(9, 1)).await;
    assert_eq!(answer, whole(None, &sequence(50, 2)));
    assert_eq!(bridge.bridge.routes()[0].targets[0].state, TargetState::Up);
}

#[tokio::test]
async fn what_cannot_be_https_is_said_before_it_is_tried() {
    let files = Files::make();
    let config = |url: &str, settings: &str| {
        let text = format!("[routes.default]\nurls = [{url:?}]\n{settings}");
        toml::from_str::<Config>(&text).unwrap()
    };
    for (url, settings, say) in [
        ("https://x/", String::new(), "trust ="),
        ("http://x/", files.trusting("root.crt"), "are for https"),
        (
            "https://x/",
            files.trusting("root.crt") + "\nclient_key = \"x\"",
            "need each other",
        ),
    ] {
        let error = config(url, &settings).check().unwrap_err().to_string();
        assert!(error.contains(say), "{error}");
    }
    let config = config("https://x/", &files.trusting("missing.crt"));
    config.check().unwrap();
    let store = Arc::new(csms_bridge::MemoryStore::new(10));
    let error = csms_bridge::Bridge::new(config, store)
        .await
        .map(|_| ())
        .unwrap_err();
    assert!(error.to_string().contains("missing.crt"), "{error}");
}
