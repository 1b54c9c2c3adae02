//! OCPP's security profiles at `csms-bridge`, with `charger-sim`, OpenSSL and a station in Python on the other side.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs
)]

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use system_tests::openssl::{self, Pki, SECRET};
use system_tests::programs::{LabRa, bridge, path, peer};
use system_tests::station::Station;
use system_tests::{Program, arg, folder, here, run};

/// The files of `tests/fixtures/make-tls.sh`.
struct Files(tempfile::TempDir);

impl Files {
    fn make() -> Self {
        let dir = folder();
        let script = arg(here().join("fixtures/make-tls.sh"));
        let _ = run("bash", &[&script, &arg(dir.path())]).success();
        Self(dir)
    }

    fn path(&self, name: &str) -> String {
        arg(self.0.path().join(name))
    }

    fn write(&self, name: &str, text: &str) -> String {
        fs::write(self.path(name), text).unwrap();
        self.path(name)
    }

    /// What `csms-bridge hash-password` prints of a password.
    fn verifier(&self, options: &[&str], password: &str) -> String {
        let mut child = Command::new(path("csms-bridge"))
            .args(["hash-password", "--iterations", "1000"])
            .args(options)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        child
            .stdin
            .take()
            .unwrap()
            .write_all(password.as_bytes())
            .unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success());
        String::from_utf8(output.stdout).unwrap()
    }

    /// The options of `serve` for TLS with our server certificate.
    fn tls(&self) -> Vec<String> {
        ["--tls-cert", "server.crt", "--tls-key", "server.key"]
            .map(|word| {
                if word.starts_with('-') {
                    word.into()
                } else {
                    self.path(word)
                }
            })
            .into()
    }

    /// A bridge in front of `ra` with TLS and further options.
    fn bridge(&self, ra: &Program, options: &[&str]) -> Program {
        let tls = self.tls();
        let mut all: Vec<&str> = tls.iter().map(String::as_str).collect();
        all.extend_from_slice(options);
        bridge(&format!("http://{}/", ra.address()), &all)
    }
}

fn wss(bridge: &Program) -> String {
    format!("wss://{}/ocpp", bridge.address())
}

#[test]
fn a_station_comes_with_its_manufacturer_certificate_and_goes_on_with_the_one_that_it_enrolled() {
    let (files, lab) = (Files::make(), LabRa::init());
    let ra = lab.serve(&[]);
    let (makers, root) = (lab.file("manufacturer-ca.pem"), lab.file("root.pem"));
    let options = [
        "--security-profile",
        "3",
        "--tls-client-ca",
        &root,
        "--tls-manufacturer-ca",
        &makers,
        "--organization",
        "Operator",
        "--pending-interval",
        "1",
    ];
    let bridge = files.bridge(&ra, &options);
    let station = Station::of_lab(&lab, "CS-1");
    let trust = files.path("server-root.crt");
    let device = |name: &str| lab.file(&format!("idevid-CS-1/{name}"));
    let chain = |cert: &Path, chain: &Path| {
        files.write(
            "chain.pem",
            &(fs::read_to_string(cert).unwrap() + &fs::read_to_string(chain).unwrap()),
        )
    };
    let shown = chain(device("cert.pem").as_ref(), device("chain.pem").as_ref());
    let key = device("key.pem");
    let tls = ["--tls-trust", &trust, "--tls-cert", &shown, "--tls-key", &key];
    let finished = station.start(&wss(&bridge), "enroll", &tls).finish().success();
    assert!(finished.output.contains("boot Pending"), "{}", finished.output);
    assert!(!finished.output.contains("boot Accepted"), "{}", finished.output);
    station.check_certificate(&root);

    let current = station.state().join("current");
    let shown = chain(&current.join("cert.pem"), &current.join("chain.pem"));
    let key = arg(current.join("key.pem"));
    // What the TLS connection shows stays readable while the update takes its place.
    let key = files.write("shown.key", &fs::read_to_string(key).unwrap());
    let tls = ["--tls-trust", &trust, "--tls-cert", &shown, "--tls-key", &key];
    let finished = station.start(&wss(&bridge), "update", &tls).finish().success();
    assert!(finished.output.contains("boot Accepted"), "{}", finished.output);
    station.check_certificate(&root);
}

#[test]
fn a_station_enrols_with_a_password_with_and_without_tls() {
    let (files, lab) = (Files::make(), LabRa::init());
    let ra = lab.serve(&[]);
    let hex = "000102030405060708090a0b0c0d0e0f10111213";
    let key = files.write("key.txt", &format!("{hex}\n"));
    let verifier = files.verifier(&["--hex"], hex);
    let list = files.write("stations.toml", &format!("[CS-1]\n{verifier}"));
    let trust = files.path("server-root.crt");

    let plain = bridge(
        &format!("http://{}/", ra.address()),
        &["--security-profile", "1", "--stations", &list],
    );
    let station = Station::of_lab(&lab, "CS-1");
    let csms = format!("ws://{}/ocpp", plain.address());
    let password = ["--ocpp", "1.6", "--password-file", &key, "--password-hex"];
    let _ = station.succeeds(&csms, "enroll", &password);

    let secure = files.bridge(&ra, &["--security-profile", "2", "--stations", &list]);
    let password = ["--tls-trust", &trust, "--password-file", &key, "--password-hex"];
    let _ = station.succeeds(&wss(&secure), "update", &password);
    station.check_certificate(&lab.file("root.pem"));

    // Without it, with another, to another server.
    let other = files.write("other.txt", "another-password\n");
    let stranger = files.path("stranger.crt");
    let (finished, _) = station.run(&wss(&secure), "update", &["--tls-trust", &trust]);
    let _ = finished.failure(1, "401");
    let wrong = ["--tls-trust", &trust, "--password-file", &other];
    let _ = station.run(&wss(&secure), "update", &wrong).0.failure(1, "401");
    let wrong = [
        "--tls-trust",
        &stranger,
        "--password-file",
        &key,
        "--timeout",
        "3",
    ];
    let _ = station
        .run(&wss(&secure), "update", &wrong)
        .0
        .failure(1, "UnknownIssuer");
    let _ = secure.wait_line("wrong password");
}

/// What OpenSSL's client makes of a WebSocket request to the bridge: all that it says.
fn s_client(files: &Files, bridge: &Program, options: &[&str]) -> String {
    let request = "GET /ocpp/CS-1 HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                   Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\
                   Sec-WebSocket-Protocol: ocpp2.0.1\r\n\r\n";
    // A close frame of a client, so that the bridge closes too.
    let close = [0x88, 0x80, 0, 0, 0, 0];
    let mut child = Command::new("openssl")
        .args(["s_client", "-connect", &bridge.address(), "-CAfile"])
        .args([&files.path("server-root.crt"), "-verify_return_error", "-quiet"])
        .args(options)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // It may have given up already.
    let _ = stdin
        .write_all(request.as_bytes())
        .and_then(|()| stdin.write_all(&close));
    let output = child.wait_with_output().unwrap();
    drop(stdin);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    text(&output.stdout) + &text(&output.stderr)
}

#[test]
fn openssl_gets_in_with_tls_1_2_and_1_3_and_a_certificate_and_not_with_less() {
    let (files, lab) = (Files::make(), LabRa::init());
    let ra = lab.serve(&[]);
    let (ca, crl) = (files.path("operator.crt"), files.path("revoked.crl"));
    let options = [
        "--security-profile",
        "3",
        "--tls-client-ca",
        &ca,
        "--tls-crl",
        &crl,
        "--organization",
        "Operator",
    ];
    let bridge = files.bridge(&ra, &options);
    let shows = |name: &str, others: &[&str]| {
        let (cert, key) = (
            files.path(&format!("{name}.crt")),
            files.path(&format!("{name}.key")),
        );
        s_client(
            &files,
            &bridge,
            &[&["-cert", &cert, "-key", &key], others].concat(),
        )
    };
    for suite in ["ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES256-GCM-SHA384"] {
        let said = shows("cs-1", &["-tls1_2", "-cipher", suite]);
        assert!(said.contains("HTTP/1.1 101 "), "{suite}: {said}");
    }
    let said = shows("cs-1", &["-tls1_3"]);
    assert!(said.contains("HTTP/1.1 101 "), "{said}");
    for (name, others, says) in [
        ("cs-2", &["-tls1_3"][..], "HTTP/1.1 401 "),
        ("revoked", &["-tls1_3"], "certificate revoked"),
        ("forged", &["-tls1_2"], "unknown ca"),
        ("expired", &["-tls1_2"], "HTTP/1.1 401 "),
        // The suites of OCPP that rustls does not have, and a version that OCPP forbids.
        (
            "cs-1",
            &["-tls1_2", "-cipher", "AES128-GCM-SHA256"],
            "handshake failure",
        ),
        (
            "cs-1",
            &["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"],
            "handshake failure",
        ),
    ] {
        let said = shows(name, others);
        assert!(said.contains(says), "{name} {others:?}: {said}");
        assert!(!said.contains("HTTP/1.1 101 "), "{name} {others:?}: {said}");
    }
    let said = s_client(&files, &bridge, &["-tls1_3"]);
    assert!(said.contains("certificate required"), "{said}");
}

#[test]
fn a_python_station_enrols_with_tls_and_a_password_and_stays_through_a_reload() {
    let (files, pki) = (Files::make(), Pki::make());
    let server = pki.mock_server(&pki.file("lc.crt"), &[]);
    let verifier = files.verifier(&[], "a-password-of-16");
    let list = files.write("stations.toml", &format!("[CS-1]\n{verifier}"));
    let tls = files.tls();
    let mut options: Vec<&str> = tls.iter().map(String::as_str).collect();
    options.extend(["--security-profile", "2", "--stations", &list]);
    let bridge = bridge(&format!("http://{}/pkix/", server.address), &options);
    let (url, trust) = (wss(&bridge), files.path("server-root.crt"));
    let station = |password: &str| {
        let arguments = [
            "--csms",
            &url,
            "--id",
            "CS-1",
            "--ocpp",
            "2.0.1",
            "--listen",
            "127.0.0.1:0",
            "--trust",
            &trust,
            "--password",
            password,
        ];
        peer("station_ocpp.py", &arguments)
    };
    let refused = station("a-password-of-17").finish();
    assert!(refused.output.contains("HTTP 401"), "{}", refused.output);
    let station = station("a-password-of-16");
    let address = station.address();
    bridge.signal("HUP");
    let _ = bridge.wait_line("list of stations read");
    let _ = bridge.wait_line("certificates read again");
    let (key, pass, messages) = (pki.file("lc.key"), format!("pass:{}", SECRET.1), folder());
    let (root, out) = (pki.file("root.crt"), pki.file("out.crt"));
    let options = [
        "-cmd",
        "ir",
        "-newkey",
        &key,
        "-subject",
        "/CN=CS-1/O=Operator",
        "-recipient",
        "/CN=RA",
        "-certout",
        &out,
        "-ref",
        SECRET.0,
        "-secret",
        &pass,
    ];
    let _ = openssl::client(&format!("http://{address}/pkix/"), messages.path(), 2, &options).success();
    openssl::verify(&root, &pki.file("issuing.crt"), &out);
}
