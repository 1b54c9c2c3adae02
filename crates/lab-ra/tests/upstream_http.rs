//! What comes back over HTTP, and what does not (RFC 9811).
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs
)]

use lab_ra::{HttpUpstream, MAX_RESPONSE_BYTES, UpstreamError};
use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

/// A server that answers each connection with these bytes, after it has read the request; `None`: never.
struct Server {
    url: String,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Server {
    fn answering(answer: Option<Vec<u8>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/.well-known/cmp?a=b", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let seen = requests.clone();
        thread::spawn(move || {
            let mut open = Vec::new();
            for stream in listener.incoming().flatten() {
                seen.lock().unwrap().push(read_request(&stream));
                match &answer {
                    Some(answer) => (&stream).write_all(answer).unwrap(),
                    None => open.push(stream),
                }
            }
        });
        Self { url, requests }
    }

    async fn ask(&self) -> Result<Vec<u8>, UpstreamError> {
        let upstream = HttpUpstream {
            url: self.url.parse().unwrap(),
            connect_timeout: Duration::from_secs(20),
            response_timeout: Duration::from_secs(20),
        };
        upstream.ask(b"message".to_vec()).await
    }
}

fn read_request(mut stream: &TcpStream) -> String {
    let mut request = Vec::new();
    while !request.ends_with(b"message") {
        let mut byte = [0];
        if stream.read(&mut byte).unwrap() == 0 {
            break;
        }
        request.push(byte[0]);
    }
    String::from_utf8(request).unwrap()
}

fn response(status: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let head = format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {length}\r\n\r\n");
    [head.as_bytes(), body].concat()
}

const CMP: &str = "Content-Type: application/pkixcmp\r\n";

#[tokio::test]
async fn an_answer_is_what_has_the_right_content_type_with_any_status_but_a_redirect() {
    let cases = [
        ("200 OK", CMP, "answer", Ok(())),
        (
            "200 OK",
            "content-type: Application/PKIXCMP; charset=x\r\n",
            "answer",
            Ok(()),
        ),
        ("201 Created", CMP, "answer", Ok(())),
        ("400 Bad Request", CMP, "answer", Ok(())),
        ("500 Internal Server Error", CMP, "answer", Ok(())),
        ("200 OK", CMP, "", Err(UpstreamError::Empty)),
        ("200 OK", "", "", Err(UpstreamError::Empty)),
        ("200 OK", "", "answer", Err(UpstreamError::ContentType)),
        (
            "200 OK",
            "Content-Type: text/html\r\n",
            "answer",
            Err(UpstreamError::ContentType),
        ),
        (
            "404 Not Found",
            "Content-Type: text/html\r\n",
            "no",
            Err(UpstreamError::Status(404)),
        ),
        ("404 Not Found", CMP, "", Err(UpstreamError::Status(404))),
        ("503 Service Unavailable", "", "", Err(UpstreamError::Status(503))),
        (
            "302 Found",
            "Location: http://127.0.0.1:9/\r\nContent-Type: application/pkixcmp\r\n",
            "answer",
            Err(UpstreamError::Status(302)),
        ),
    ];
    for (status, headers, body, expected) in cases {
        let server = Server::answering(Some(response(status, headers, body.as_bytes())));
        let expected = expected.map(|()| body.as_bytes().to_vec());
        assert_eq!(server.ask().await, expected, "{status} {headers}");
        assert_eq!(server.requests.lock().unwrap().len(), 1);
    }
}

#[tokio::test]
async fn what_breaks_off_is_not_sent_again() {
    let whole = response("200 OK", CMP, b"answer");
    let cases = [
        ("nothing", Vec::new()),
        ("no HTTP", b"SSH-2.0-x\r\n".to_vec()),
        ("half a header", whole[..20].to_vec()),
        ("half a body", whole[..whole.len() - 3].to_vec()),
    ];
    for (what, answer) in cases {
        let server = Server::answering(Some(answer));
        assert_eq!(server.ask().await, Err(UpstreamError::BrokeOff), "{what}");
        assert_eq!(server.requests.lock().unwrap().len(), 1, "{what}");
    }
}

#[tokio::test]
async fn the_request_is_a_post_of_the_message_to_path_and_query() {
    let server = Server::answering(Some(response("200 OK", CMP, b"answer")));
    server.ask().await.unwrap();
    let request = server.requests.lock().unwrap().remove(0);
    let lower = request.to_ascii_lowercase();
    assert!(
        request.starts_with("POST /.well-known/cmp?a=b HTTP/1.1\r\n"),
        "{request}"
    );
    assert!(
        lower.contains("content-type: application/pkixcmp\r\n"),
        "{request}"
    );
    assert!(lower.contains("content-length: 7\r\n"), "{request}");
    assert!(lower.contains("host: 127.0.0.1:"), "{request}");
}

#[tokio::test]
async fn too_much_is_not_read_to_its_end() {
    let body = vec![0; MAX_RESPONSE_BYTES + 1];
    let server = Server::answering(Some(response("200 OK", CMP, &body)));
    assert_eq!(server.ask().await, Err(UpstreamError::TooLarge));
}

#[tokio::test]
async fn nobody_there_and_nobody_answering_are_told_apart() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut upstream = HttpUpstream {
        url: format!("http://{free}/").parse().unwrap(),
        connect_timeout: Duration::from_secs(20),
        response_timeout: Duration::from_millis(50),
    };
    let answer = upstream.ask(b"message".to_vec()).await;
    assert_eq!(answer, Err(UpstreamError::Unreachable));
    let server = Server::answering(None);
    upstream.url = server.url.parse().unwrap();
    let answer = upstream.ask(b"message".to_vec()).await;
    assert_eq!(answer, Err(UpstreamError::Timeout));
}

#[test]
fn only_http_urls_of_a_host_are_taken() {
    let parse = |text: &str| text.parse::<lab_ra::UpstreamUrl>();
    assert!(parse("http://127.0.0.1:8080/pkix/").is_ok());
    assert!(parse("http://[::1]").is_ok());
    for text in [
        "",
        "ca.example",
        "https://ca.example/",
        "http://",
        "http://user@ca.example/",
        "ftp://x/",
    ] {
        assert!(parse(text).is_err(), "{text}");
    }
}
