//! The program, killed at any moment: what a client was told stays true, and it goes on where it was.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    unreachable_pub,
    dead_code
)]

mod client;

use client::{Client, NOW_S, cert_conf, failure, issued, key, poll_req, request, serial, status_of};
use cmp_message::{BodyType, PkiBody, PkiFailure, PkiMessage, PkiStatus, crypto::KeyAlgorithm};
use lab_ra::{CertificateStatus, Pki, Ra, RaConfig, Store, http::unix_now_s};
use std::{
    collections::HashSet,
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};
use tempfile::TempDir;

fn ir() -> PkiBody {
    PkiBody::Ir(vec![request(&key(), "CN=CS-1", |_| {})])
}

struct Server {
    folder: TempDir,
    arguments: &'static [&'static str],
    child: Child,
    address: String,
}

impl Server {
    fn start(arguments: &'static [&'static str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let pki = Pki::generate(KeyAlgorithm::P256, unix_now_s()).unwrap();
        pki.save(folder.path()).unwrap();
        let (child, address) = spawn(&folder, arguments);
        Self {
            folder,
            arguments,
            child,
            address,
        }
    }

    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    fn restart(&mut self) {
        self.kill();
        (self.child, self.address) = spawn(&self.folder, self.arguments);
    }

    fn client(&self) -> Client {
        let pki = Pki::load(self.folder.path()).unwrap();
        let mut client = Client::with_idevid_at(unix_now_s(), &pki, "CS-1");
        client.max_clock_skew_s = 60;
        client
    }

    fn store(&self) -> Store {
        Store::open(&self.folder.path().join("state.sqlite")).unwrap()
    }

    /// The answer, unless the process ended before it.
    fn post(&self, message: &[u8]) -> Option<Vec<u8>> {
        let mut stream = TcpStream::connect(&self.address).ok()?;
        let head = format!(
            "POST /.well-known/cmp HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\
             Content-Type: application/pkixcmp\r\nContent-Length: {}\r\n\r\n",
            message.len()
        );
        stream.write_all(head.as_bytes()).ok()?;
        stream.write_all(message).ok()?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).ok()?;
        let head = answer.windows(4).position(|four| four == b"\r\n\r\n")?;
        let body = answer.split_off(head + 4);
        PkiMessage::from_bytes(&body).is_ok().then_some(body)
    }

    fn send(&self, client: &mut Client, body: PkiBody) -> PkiMessage {
        let request = client.message(body, |_| {});
        let answer = self.post(&request).unwrap();
        client.take(unix_now_s(), &request, &answer)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(folder: &TempDir, arguments: &[&str]) -> (Child, String) {
    let mut child = Command::new("setpriv")
        .args(["--pdeathsig", "KILL", "--", env!("CARGO_BIN_EXE_lab-ra")])
        .args(["serve", "--listen", "127.0.0.1:0", "--state"])
        .arg(folder.path())
        .args(arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    let address = line.strip_prefix("listening on ").unwrap().trim_end().to_owned();
    (child, address)
}

#[test]
fn a_client_polls_and_confirms_as_if_the_server_had_not_been_killed_between_any_two_messages() {
    let mut server = Server::start(&["--poll-after", "1,1"]);
    let mut client = server.client();
    let answer = server.send(&mut client, ir());
    assert_eq!(client::status(&answer).status, PkiStatus::WAITING);
    server.restart();
    let answer = server.send(&mut client, poll_req());
    assert_eq!(answer.body.body_type(), BodyType::PollRep);
    server.restart();
    let certificate = issued(&server.send(&mut client, poll_req()));
    server.restart();
    let answer = server.send(&mut client, cert_conf(&certificate));
    assert_eq!(answer.body.body_type(), BodyType::PkiConf);
    let status = server.store().status(&serial(&certificate)).unwrap();
    assert_eq!(status, Some(CertificateStatus::Confirmed));
}

#[test]
fn the_time_for_a_cert_conf_counts_on_while_the_server_is_away() {
    let folder = tempfile::tempdir().unwrap();
    let pki = Pki::generate(KeyAlgorithm::P256, NOW_S).unwrap();
    pki.save(folder.path()).unwrap();
    let start = || {
        let store = Store::open(&folder.path().join("state.sqlite")).unwrap();
        Ra::new(Pki::load(folder.path()).unwrap(), RaConfig::default(), store).unwrap()
    };
    for (late_s, in_time) in [(300, true), (301, false)] {
        let mut ra = start();
        let mut client = Client::with_idevid(&ra, "CS-1");
        let certificate = issued(&client.send(&mut ra, ir()));
        drop(ra);
        let mut ra = start();
        let answer = client.send_with(&mut ra, NOW_S + late_s, cert_conf(&certificate), |_| {});
        let (body, status) = match in_time {
            true => (BodyType::PkiConf, CertificateStatus::Confirmed),
            false => (BodyType::Error, CertificateStatus::Expired),
        };
        assert_eq!(answer.body.body_type(), body);
        assert_eq!(status_of(&ra, &certificate), status);
    }
}

/// Sends a message until it is answered, restarting the server when it dies; how often it was sent, and the answer.
fn persist(server: &mut Server, client: &mut Client, body: PkiBody) -> (usize, PkiMessage) {
    let request = client.message(body, |_| {});
    for times in 1.. {
        if let Some(answer) = server.post(&request) {
            return (times, client.take(unix_now_s(), &request, &answer));
        }
        server.restart();
    }
    unreachable!()
}

#[test]
fn whatever_a_client_was_told_is_so_after_a_kill_at_any_moment() {
    let mut server = Server::start(&[]);
    let (mut kept, mut lost) = (HashSet::new(), 0);
    for round in 0..24_u64 {
        let mut client = server.client();
        // The killer strikes somewhere within the enrolment, which takes a few milliseconds.
        let pid = server.child.id().to_string();
        let killer = thread::spawn(move || {
            thread::sleep(Duration::from_micros(round * 700));
            // A process that is gone already is not killed again.
            let _ = Command::new("kill").args(["-KILL", &pid]).status();
        });
        let ir = ir();
        let (times, answer) = persist(&mut server, &mut client, ir);
        if times > 1 && answer.body.body_type() == BodyType::Error {
            // It was issued and the answer got lost: the same request gets no second one.
            assert_eq!(failure(&answer), PkiFailure::TransactionIdInUse);
            lost += 1;
        } else {
            let certificate = issued(&answer);
            let (times, answer) = persist(&mut server, &mut client, cert_conf(&certificate));
            match answer.body.body_type() {
                BodyType::PkiConf => {}
                _ => assert_eq!((times > 1, failure(&answer)), (true, PkiFailure::CertConfirmed)),
            }
            kept.insert(serial(&certificate));
        }
        killer.join().unwrap();
        server.restart();
    }
    let records = server.store().certificates().unwrap();
    assert_eq!(records.len(), kept.len() + lost);
    for record in records {
        let expected = match kept.contains(&record.serial) {
            true => CertificateStatus::Confirmed,
            false => CertificateStatus::Issued,
        };
        assert_eq!(record.status, expected);
    }
}
