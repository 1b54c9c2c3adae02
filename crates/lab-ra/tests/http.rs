//! CMP over HTTP (RFC 9811): what is posted where, and clients that are slow, greedy or no clients of CMP at all.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    unreachable_pub
)]

mod client;

use client::*;
use cmp_message::{BodyType, InfoTypeAndValue, PkiBody, PkiFailure as F, PkiMessage, general};
use lab_ra::http::{MAX_CONNECTIONS, MAX_REQUEST_BYTES, serve, unix_now_s};
use std::{
    future::pending,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::timeout,
};

const CMP: &str = "Content-Type: application/pkixcmp\r\n";
/// Long enough for any machine, and waited for only where something is wrong.
const PATIENCE: Duration = Duration::from_secs(60);

/// A server that has a profile `station` and lasts as long as the test, and a station.
struct Server {
    address: SocketAddr,
    station: Client,
}

/// What came back.
#[derive(Debug)]
struct Answer {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Server {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let ra = ra_at(unix_now_s(), |config| {
            let profile = config.default_profile.clone();
            config.profiles.insert("station".into(), profile);
        });
        let station = Client::with_idevid_at(unix_now_s(), &ra, "CS-1");
        tokio::spawn(serve(listener, Arc::new(Mutex::new(ra)), pending()));
        Self { address, station }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// The answer to these bytes, after which the client has no more to say.
    async fn send(&self, bytes: &[u8]) -> Answer {
        let mut stream = self.connect().await;
        // Who is answered early may be stopped early.
        let _ = stream.write_all(bytes).await;
        let _ = stream.shutdown().await;
        Answer::read(&mut stream).await
    }

    /// The answer to a request of this method with this path, header lines and body.
    async fn request(&self, method: &str, path: &str, headers: &str, body: &[u8]) -> Answer {
        let length = body.len();
        let head =
            format!("{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n{headers}\r\n");
        self.send(&[head.as_bytes(), body].concat()).await
    }

    async fn post(&self, path: &str, message: &[u8]) -> Answer {
        self.request("POST", path, CMP, message).await
    }

    /// A message of a new transaction.
    fn message(&mut self, body: PkiBody) -> Vec<u8> {
        self.station.begin();
        self.station.message(body, |_| {})
    }

    fn ir(&mut self) -> Vec<u8> {
        self.message(PkiBody::Ir(vec![request(&key(), "CN=CS-1", |_| {})]))
    }
}

impl Answer {
    /// Reads until the server closes.
    async fn read(stream: &mut TcpStream) -> Self {
        let mut all = Vec::new();
        // What breaks off is as long as it is.
        let _ = timeout(PATIENCE, stream.read_to_end(&mut all)).await.unwrap();
        let end = all.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
        let head = String::from_utf8(all[..end].to_vec()).unwrap();
        Self {
            status: head[9..12].parse().unwrap(),
            head: head.to_ascii_lowercase(),
            body: all[end + 4..].to_vec(),
        }
    }

    /// The CMP message with status 200.
    #[track_caller]
    fn cmp(&self) -> PkiMessage {
        assert_eq!(self.status, 200, "{}", self.head);
        assert!(
            self.head.contains("content-type: application/pkixcmp"),
            "{}",
            self.head
        );
        PkiMessage::from_bytes(&self.body).unwrap()
    }
}

fn ca_certs() -> PkiBody {
    genm(InfoTypeAndValue::absent(general::CA_CERTS))
}

#[tokio::test]
async fn a_message_is_answered_on_every_path_that_is_its_own() {
    let mut server = Server::start().await;
    for base in ["/.well-known/cmp", "/.well-known/cmp/p/station"] {
        for (operation, body) in [
            ("", None),
            ("/initialization", None),
            ("/getcacerts", Some(ca_certs())),
        ] {
            let message = match body {
                Some(body) => server.message(body),
                None => server.ir(),
            };
            let path = format!("{base}{operation}");
            let answer = server.post(&path, &message).await.cmp().body.body_type();
            assert!(
                matches!(answer, BodyType::Ip | BodyType::Genp),
                "{path}: {answer}"
            );
        }
    }
    for path in ["/", "/pkix/"] {
        let message = server.ir();
        assert_eq!(
            server.post(path, &message).await.cmp().body.body_type(),
            BodyType::Ip
        );
    }
}

#[tokio::test]
async fn what_is_cmp_is_refused_with_status_200() {
    let mut server = Server::start().await;
    let ir = server.ir();
    for path in [
        "/.well-known/cmp/certification",
        "/.well-known/cmp/p/station/pkcs10",
    ] {
        assert_eq!(
            failure(&server.post(path, &ir).await.cmp()),
            F::BadRequest,
            "{path}"
        );
    }
    let trailing = [ir.as_slice(), &[0]].concat();
    for (name, message) in [
        ("nothing", b"".as_slice()),
        ("text", b"hello"),
        ("half", &ir[..ir.len() / 2]),
        ("trailing", &trailing),
    ] {
        let answer = server.post("/.well-known/cmp", message).await.cmp();
        assert_eq!(failure(&answer), F::BadDataFormat, "{name}");
    }
    assert_eq!(
        server.post("/.well-known/cmp", &ir).await.cmp().body.body_type(),
        BodyType::Ip
    );
    assert_eq!(
        failure(&server.post("/.well-known/cmp", &ir).await.cmp()),
        F::TransactionIdInUse
    );
}

#[tokio::test]
async fn what_is_not_there_or_not_cmp_gets_a_status_of_http() {
    let mut server = Server::start().await;
    let ir = server.ir();
    for path in [
        "/cmp",
        "/.well-known/cmpx",
        "/.well-known/cmp/enrolment",
        "/.well-known/cmp/p",
        "/.well-known/cmp/p/nobody",
        "/.well-known/cmp/p/nobody/initialization",
        "/.well-known/cmp/p/station/initialization/more",
        "/crl/2.crl",
        "/crl/x.crl",
    ] {
        let method = if path.starts_with("/crl/2") { "GET" } else { "POST" };
        assert_eq!(server.request(method, path, CMP, &ir).await.status, 404, "{path}");
    }
    for headers in [
        "",
        "Content-Type: text/plain\r\n",
        "Content-Type: application/pkixcmpx\r\n",
    ] {
        assert_eq!(
            server.request("POST", "/", headers, &ir).await.status,
            415,
            "{headers}"
        );
    }
    for method in ["GET", "PUT", "DELETE"] {
        let answer = server.request(method, "/.well-known/cmp", CMP, &ir).await;
        assert_eq!(
            (answer.status, answer.head.contains("allow: post")),
            (405, true),
            "{method}"
        );
    }
    assert_eq!(server.request("POST", "/crl/1.crl", CMP, &ir).await.status, 405);
    // The type may be written in any case and have parameters.
    let headers = "content-type: Application/PKIXCMP; charset=binary\r\n";
    let answer = server.request("POST", "/", headers, &ir).await;
    assert_eq!(answer.cmp().body.body_type(), BodyType::Ip);
}

#[tokio::test]
async fn the_crl_is_there_for_everybody() {
    let server = Server::start().await;
    let answer = server.request("GET", "/crl/1.crl", "", b"").await;
    assert_eq!(answer.status, 200);
    assert!(
        answer.head.contains("content-type: application/pkix-crl"),
        "{}",
        answer.head
    );
    assert!(cmp_message::crl::Crl::from_der(answer.body).is_ok());
}

#[tokio::test]
async fn a_body_that_is_too_long_gets_413_whether_its_length_is_told_or_not() {
    let server = Server::start().await;
    let ten_mb = vec![0; 10_000_000];
    assert_eq!(server.post("/", &ten_mb).await.status, 413);
    // Of one that is told nobody waits for the end.
    let told = format!("POST / HTTP/1.1\r\nHost: x\r\n{CMP}Content-Length: 1000000000000\r\n\r\n");
    assert_eq!(server.send(told.as_bytes()).await.status, 413);
    let head = format!("POST / HTTP/1.1\r\nHost: x\r\n{CMP}Transfer-Encoding: chunked\r\n\r\n");
    let chunks = |bytes: usize| {
        let chunk = [b"10000\r\n".as_slice(), &[0; 0x1_0000], b"\r\n"].concat();
        [head.as_bytes(), &chunk.repeat(bytes / 0x1_0000), b"0\r\n\r\n"].concat()
    };
    let answer = server.send(&chunks(MAX_REQUEST_BYTES)).await;
    assert_eq!(failure(&answer.cmp()), F::BadDataFormat);
    assert_eq!(
        server.send(&chunks(MAX_REQUEST_BYTES + 0x1_0000)).await.status,
        413
    );
}

#[tokio::test]
async fn half_a_body_gets_400_and_is_nothing() {
    let mut server = Server::start().await;
    let ir = server.ir();
    let head = format!(
        "POST / HTTP/1.1\r\nHost: x\r\n{CMP}Content-Length: {}\r\n\r\n",
        ir.len()
    );
    let half = [head.as_bytes(), &ir[..ir.len() / 2]].concat();
    assert_eq!(server.send(&half).await.status, 400);
    assert_eq!(server.post("/", &ir).await.cmp().body.body_type(), BodyType::Ip);
}

#[tokio::test]
async fn one_connection_takes_one_request_after_the_other() {
    let mut server = Server::start().await;
    let requests = [server.ir(), server.ir(), server.ir()].map(|ir| {
        let head = format!(
            "POST / HTTP/1.1\r\nHost: x\r\n{CMP}Content-Length: {}\r\n\r\n",
            ir.len()
        );
        [head.as_bytes(), &ir].concat()
    });
    let answer = server.send(&requests.concat()).await;
    let answers = [answer.head.into_bytes(), answer.body].concat();
    let count = answers
        .windows(12)
        .filter(|twelve| twelve.eq_ignore_ascii_case(b"HTTP/1.1 200"));
    assert_eq!(count.count(), 3);
}

/// Time is virtual in these: it passes when everybody waits.
#[tokio::test(start_paused = true)]
async fn a_body_that_does_not_come_gets_408() {
    let server = Server::start().await;
    let mut stream = server.connect().await;
    let head = format!("POST / HTTP/1.1\r\nHost: x\r\n{CMP}Content-Length: 100\r\n\r\n0");
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 408");
}

#[tokio::test(start_paused = true)]
async fn a_connection_without_a_whole_header_ends() {
    let server = Server::start().await;
    for said in ["", "POST / HTTP/1.1\r\nHost: x\r\nContent-"] {
        let mut stream = server.connect().await;
        stream.write_all(said.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        let ended = timeout(Duration::from_secs(16), stream.read_to_end(&mut answer)).await;
        assert!(ended.is_ok(), "{said}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_sends_its_header_byte_by_byte_for_ever_is_left() {
    let server = Server::start().await;
    let mut stream = server.connect().await;
    stream.write_all(b"POST / HTTP/1.1\r\nX: ").await.unwrap();
    let mut sent = 0;
    // A write to a connection that has ended fails, at the latest the second one.
    while stream.write_all(b"x").await.is_ok() {
        tokio::time::sleep(Duration::from_secs(1)).await;
        sent += 1;
        assert!(sent < 60);
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_read_its_answers_is_left() {
    let server = Server::start().await;
    let mut stream = server.connect().await;
    // More answers than fit between the two: then the server waits, and reads no more.
    let requests = b"GET /crl/1.crl HTTP/1.1\r\nHost: x\r\n\r\n".repeat(1_000);
    let left = async { while stream.write_all(&requests).await.is_ok() {} };
    assert!(timeout(10 * PATIENCE, left).await.is_ok());
}

#[tokio::test]
async fn connections_beyond_the_limit_wait_until_another_ends() {
    let mut server = Server::start().await;
    let mut open = Vec::new();
    for _ in 0..MAX_CONNECTIONS {
        open.push(server.connect().await);
    }
    let ir = server.ir();
    let head = format!(
        "POST / HTTP/1.1\r\nHost: x\r\n{CMP}Content-Length: {}\r\n\r\n",
        ir.len()
    );
    let mut one_more = server.connect().await;
    one_more
        .write_all(&[head.as_bytes(), &ir].concat())
        .await
        .unwrap();
    one_more.shutdown().await.unwrap();
    let mut byte = [0];
    let answered = timeout(Duration::from_millis(300), one_more.peek(&mut byte)).await;
    assert!(answered.is_err());
    drop(open.pop());
    assert_eq!(
        Answer::read(&mut one_more).await.cmp().body.body_type(),
        BodyType::Ip
    );
}
