//! `openssl cmp` as client and as server, with the program `charger-sim tunnel` and OCPP in between.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs
)]

mod csms;

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use cmp_binding::csms::RaError;
use csms::{FakeCsms, Plan};

/// A process that does not outlive its test.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Process {
    /// Starts `command` and waits for the line of its stdout that `found` takes something from.
    fn start(command: &mut Command, found: impl Fn(&str) -> Option<String>) -> (Self, String) {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let stdout = child.stdout.take().unwrap();
        let process = Self(child);
        let line = BufReader::new(stdout)
            .lines()
            .map_while(Result::ok)
            .find_map(|line| found(&line))
            .expect("it ended before it was ready");
        (process, line)
    }

    fn interrupt(&mut self) -> Option<i32> {
        let pid = self.0.id().to_string();
        assert!(
            Command::new("kill")
                .args(["-INT", &pid])
                .status()
                .unwrap()
                .success()
        );
        self.0.wait().unwrap().code()
    }
}

fn openssl(folder: &Path, arguments: &[&str]) {
    let output = Command::new("openssl")
        .args(arguments)
        .current_dir(folder)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "openssl {arguments:?}: {said}");
}

fn http_post(port: &str, body: &[u8]) -> Result<Vec<u8>, RaError> {
    let mut stream = TcpStream::connect(format!("127.0.0.1:{port}")).map_err(|_| RaError::Unreachable)?;
    let head = format!(
        "POST / HTTP/1.0\r\nContent-Type: application/pkixcmp\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(&[head.as_bytes(), body].concat()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n");
    Ok(answer[end.ok_or(RaError::BadResponse)? + 4..].to_vec())
}

async fn enrol(ocpp: &str, unit: &str) {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    openssl(
        dir,
        &[
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-subj",
            "/CN=cs1",
            "-days",
            "2",
            "-keyout",
            "key.pem",
            "-out",
            "cert.pem",
        ],
    );
    let mut server = Command::new("openssl");
    server.current_dir(dir).args([
        "cmp",
        "-config",
        "",
        "-port",
        "0",
        "-srv_ref",
        "4711",
        "-srv_secret",
        "pass:geheim",
        "-rsp_cert",
        "cert.pem",
    ]);
    let (_server, ra) = Process::start(&mut server, |line| {
        let (_, rest) = line.split_once("ACCEPT ")?;
        Some(rest.split(' ').next()?.rsplit(':').next()?.to_owned())
    });
    let csms = FakeCsms::start(Plan {
        boot: "Accepted",
        ra: Arc::new(move |request| Some(http_post(&ra, request))),
        drop_at: None,
    })
    .await;
    let mut tunnel = Command::new(env!("CARGO_BIN_EXE_charger-sim"));
    tunnel.args([
        "tunnel", "--csms", &csms.url, "--id", "CP1", "--ocpp", ocpp, "--unit", unit,
    ]);
    tunnel.args(["--listen", "127.0.0.1:0"]);
    let (mut tunnel, address) = Process::start(&mut tunnel, |line| {
        line.strip_prefix("listening on ").map(str::to_owned)
    });
    openssl(
        dir,
        &[
            "cmp",
            "-config",
            "",
            "-cmd",
            "ir",
            "-server",
            &address,
            "-path",
            "pkix/",
            "-ref",
            "4711",
            "-secret",
            "pass:geheim",
            "-subject",
            "/CN=cs1",
            "-newkey",
            "key.pem",
            "-certout",
            "got.pem",
            "-reqout",
            "r1.der,r2.der",
            "-rspout",
            "s1.der,s2.der",
            "-msg_timeout",
            "30",
        ],
    );
    assert_eq!(tunnel.interrupt(), Some(0));
    assert!(dir.join("got.pem").exists());
    let files = ["r1.der", "s1.der", "r2.der", "s2.der"].map(|name| fs::read(dir.join(name)).unwrap());
    assert_eq!(*csms.messages.lock().unwrap(), files);
}

#[tokio::test(flavor = "multi_thread")]
async fn openssl_enrols_over_ocpp_1_6_and_every_byte_arrives() {
    enrol("1.6", "3500").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn openssl_enrols_over_ocpp_2_0_1_in_small_frames() {
    enrol("2.0.1", "600").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn openssl_enrols_over_ocpp_2_1() {
    enrol("2.1", "3500").await;
}
