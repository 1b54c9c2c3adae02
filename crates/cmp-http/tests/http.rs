//! What comes back over HTTP, and what does not (RFC 9811).
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs
)]

use cmp_http::{Client, Error, Limits, MediaType};
use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
        mpsc::{self, Receiver},
    },
    thread,
    time::Duration,
};

const MESSAGE: &[u8] = b"\x30\x07message";
const ANSWER: &[u8] = b"\x30\x06answer";
const CMP: &str = "Content-Type: application/pkixcmp\r\n";

/// Status, headers and body of an answer, and what becomes of it.
type Case<'a> = (&'a str, &'a str, &'a [u8], Result<(), Error>);

/// A server that answers each request with these bytes; `None`: never.
struct Server {
    url: String,
    requests: Arc<Mutex<Vec<String>>>,
    connections: Arc<AtomicUsize>,
    /// Says that a connection was closed.
    closed: Mutex<Receiver<()>>,
}

impl Server {
    /// Closes the connection after each answer.
    fn answering(answer: Option<Vec<u8>>) -> Self {
        Self::with(answer, 1)
    }

    /// Closes the connection after this many answers, without a word.
    fn with(answer: Option<Vec<u8>>, per_connection: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (close, closed) = mpsc::channel();
        let server = Self {
            url: format!("http://{}/.well-known/cmp?a=b", listener.local_addr().unwrap()),
            requests: Arc::default(),
            connections: Arc::default(),
            closed: Mutex::new(closed),
        };
        let (requests, connections) = (server.requests.clone(), server.connections.clone());
        thread::spawn(move || {
            let mut open = Vec::new();
            for stream in listener.incoming().flatten() {
                connections.fetch_add(1, Ordering::SeqCst);
                for _ in 0..per_connection {
                    let Some(request) = read_request(&stream) else {
                        break;
                    };
                    requests.lock().unwrap().push(request);
                    match &answer {
                        // Whoever does not read it all has its reasons.
                        Some(answer) => drop((&stream).write_all(answer)),
                        None => open.push(stream.try_clone().unwrap()),
                    }
                }
                drop(stream);
                let _ = close.send(());
            }
        });
        server
    }

    fn client(&self, limits: Limits) -> Client {
        Client::new(self.url.parse().unwrap(), None, limits).unwrap()
    }

    async fn ask(&self) -> Result<Vec<u8>, Error> {
        self.client(patient()).post(MESSAGE).await
    }

    fn count(&self) -> usize {
        self.requests.lock().unwrap().len()
    }
}

fn patient() -> Limits {
    Limits {
        connect_timeout: Duration::from_secs(60),
        response_timeout: Duration::from_secs(60),
        ..Limits::default()
    }
}

fn read_request(mut stream: &TcpStream) -> Option<String> {
    let mut request = Vec::new();
    while !request.ends_with(b"message") {
        let mut byte = [0];
        if stream.read(&mut byte).unwrap_or(0) == 0 {
            return None;
        }
        request.push(byte[0]);
    }
    Some(String::from_utf8(request).unwrap())
}

fn response(status: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let head = format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {length}\r\n\r\n");
    [head.as_bytes(), body].concat()
}

#[tokio::test]
async fn an_answer_is_a_message_with_the_right_content_type_and_any_status_but_a_redirect() {
    let redirect = "Location: http://127.0.0.1:9/\r\nContent-Type: application/pkixcmp\r\n";
    let parameters = "content-type: Application/PKIXCMP; charset=x\r\n";
    let html = "Content-Type: text/html\r\n";
    let cases: [Case<'_>; 16] = [
        ("200 OK", CMP, ANSWER, Ok(())),
        ("200 OK", parameters, ANSWER, Ok(())),
        ("201 Created", CMP, ANSWER, Ok(())),
        ("400 Bad Request", CMP, ANSWER, Ok(())),
        ("500 Internal Server Error", CMP, ANSWER, Ok(())),
        ("200 OK", CMP, b"", Err(Error::Empty)),
        ("200 OK", "", b"", Err(Error::Empty)),
        ("200 OK", "", ANSWER, Err(Error::ContentType)),
        ("200 OK", html, ANSWER, Err(Error::ContentType)),
        ("200 OK", CMP, b"no DER", Err(Error::NotOneMessage)),
        ("404 Not Found", html, b"no", Err(Error::Status(404))),
        ("404 Not Found", CMP, b"", Err(Error::Status(404))),
        ("503 Unavailable", CMP, b"no DER", Err(Error::Status(503))),
        ("503 Service Unavailable", "", b"", Err(Error::Status(503))),
        ("302 Found", redirect, ANSWER, Err(Error::Status(302))),
        (
            "307 Temporary Redirect",
            redirect,
            ANSWER,
            Err(Error::Status(307)),
        ),
    ];
    for (status, headers, body, expected) in cases {
        let server = Server::answering(Some(response(status, headers, body)));
        let expected = expected.map(|()| body.to_vec());
        assert_eq!(server.ask().await, expected, "{status} {headers}");
        assert_eq!(server.count(), 1);
    }
}

#[tokio::test]
async fn what_breaks_off_is_not_sent_again() {
    let whole = response("200 OK", CMP, ANSWER);
    let cases = [
        ("nothing", Vec::new()),
        ("no HTTP", b"SSH-2.0-x\r\n".to_vec()),
        ("half a header", whole[..20].to_vec()),
        ("half a body", whole[..whole.len() - 3].to_vec()),
    ];
    for (what, answer) in cases {
        let server = Server::answering(Some(answer));
        let error = server.ask().await.unwrap_err();
        assert_eq!(error, Error::BrokeOff, "{what}");
        assert!(error.was_sent());
        assert_eq!(server.count(), 1, "{what}");
    }
}

#[tokio::test]
async fn half_a_message_is_noticed_where_http_does_not_say_how_long_it_is() {
    let head = format!("HTTP/1.0 200 OK\r\n{CMP}\r\n");
    for body in [
        &ANSWER[..5],
        &[ANSWER, ANSWER].concat(),
        b"\x30\x80\0\0",
        b"\x04\x01a",
    ] {
        let server = Server::answering(Some([head.as_bytes(), body].concat()));
        assert_eq!(server.ask().await, Err(Error::NotOneMessage), "{body:?}");
    }
    let server = Server::answering(Some([head.as_bytes(), ANSWER].concat()));
    assert_eq!(server.ask().await.as_deref(), Ok(ANSWER));
}

#[tokio::test]
async fn the_request_is_a_post_of_the_message_to_path_and_query() {
    let server = Server::answering(Some(response("200 OK", CMP, ANSWER)));
    server.ask().await.unwrap();
    let request = server.requests.lock().unwrap().remove(0);
    let lower = request.to_ascii_lowercase();
    assert!(
        request.starts_with("POST /.well-known/cmp?a=b HTTP/1.1\r\n"),
        "{request}"
    );
    for header in [
        "content-type: application/pkixcmp\r\n",
        "accept: application/pkixcmp\r\n",
        "content-length: 9\r\n",
        "host: 127.0.0.1:",
    ] {
        assert!(lower.contains(header), "{request}");
    }
}

#[tokio::test]
async fn too_much_is_not_read_to_its_end() {
    let limits = Limits {
        max_response_bytes: 100,
        ..patient()
    };
    let body = [0; 101];
    let huge_head = format!("X-Filler: {}\r\n{CMP}", "x".repeat(100_000));
    let chunked = format!("HTTP/1.1 200 OK\r\n{CMP}Transfer-Encoding: chunked\r\n\r\n65\r\n");
    let chunked = [chunked.as_bytes(), &body, b"\r\n0\r\n\r\n"].concat();
    let cases = [
        (response("200 OK", CMP, &body), Error::TooLarge),
        (response("500 Oh", "", &body), Error::TooLarge),
        (chunked, Error::TooLarge),
        (response("200 OK", &huge_head, ANSWER), Error::BrokeOff),
    ];
    for (answer, expected) in cases {
        let server = Server::answering(Some(answer));
        assert_eq!(server.client(limits).post(MESSAGE).await, Err(expected));
    }
}

#[tokio::test]
async fn nobody_there_and_nobody_answering_are_told_apart() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let client = Client::new(format!("http://{free}/").parse().unwrap(), None, patient()).unwrap();
    let error = client.post(MESSAGE).await.unwrap_err();
    assert!(matches!(error, Error::Connect(_)), "{error}");
    assert!(!error.was_sent());
    let limits = Limits {
        response_timeout: Duration::from_millis(50),
        ..patient()
    };
    let error = Server::answering(None).client(limits).post(MESSAGE).await;
    let error = error.unwrap_err();
    assert_eq!(error, Error::Timeout);
    assert!(error.was_sent());
}

#[tokio::test]
async fn a_connection_is_kept_and_one_that_the_server_has_closed_is_replaced() {
    let server = Server::with(Some(response("200 OK", CMP, ANSWER)), 3);
    let client = server.client(patient());
    for n in 1..=7 {
        assert_eq!(client.post(MESSAGE).await.as_deref(), Ok(ANSWER));
        assert_eq!(server.count(), n);
        if n % 3 == 0 {
            server.closed.lock().unwrap().recv().unwrap();
            // The end is there already: this only lets the runtime look.
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    assert_eq!(server.connections.load(Ordering::SeqCst), 3);
    let limits = Limits {
        max_idle: 0,
        ..patient()
    };
    let server = Server::with(Some(response("200 OK", CMP, ANSWER)), 1);
    let client = server.client(limits);
    for _ in 0..2 {
        assert_eq!(client.post(MESSAGE).await.as_deref(), Ok(ANSWER));
    }
    assert_eq!(server.connections.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn any_media_type_is_taken_by_those_who_say_so_and_nothing_else_is() {
    let html = "Content-Type: text/html\r\n";
    let cases: [Case<'_>; 6] = [
        ("200 OK", html, ANSWER, Ok(())),
        ("500 Oh", "", ANSWER, Ok(())),
        ("200 OK", html, b"no DER", Err(Error::ContentType)),
        ("200 OK", CMP, b"no DER", Err(Error::NotOneMessage)),
        ("307 Over There", html, ANSWER, Err(Error::Status(307))),
        ("200 OK", "", b"", Err(Error::Empty)),
    ];
    for (status, headers, body, expected) in cases {
        let server = Server::answering(Some(response(status, headers, body)));
        let client = server.client(patient()).taking(MediaType::Any);
        let expected = expected.map(|()| body.to_vec());
        assert_eq!(client.post(MESSAGE).await, expected, "{status} {headers}");
    }
}
