//! HTTP as bytes, so that a test can send what no client would.

use std::net::SocketAddr;

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::soon;

/// What a server answered.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("{self:?}"))
    }

    /// The code of a problem, which also says what is wrong and what to do.
    pub fn problem(&self) -> String {
        assert!(
            self.head.contains("content-type: application/problem+json"),
            "{self:?}"
        );
        let problem = self.json();
        assert_eq!(problem["status"], self.status, "{self:?}");
        for member in ["title", "detail", "cure"] {
            assert!(
                problem[member].as_str().is_some_and(|text| !text.is_empty()),
                "{self:?}"
            );
        }
        problem["code"].as_str().unwrap().into()
    }
}

/// Sends `head`, an HTTP request without its Host and its last empty line, with `body`.
pub async fn request(address: SocketAddr, head: &str, body: &str) -> Answer {
    let length = body.len();
    let text =
        format!("{head}\r\nHost: {address}\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}");
    raw(address, text.as_bytes()).await
}

pub async fn get(address: SocketAddr, path: &str) -> Answer {
    request(address, &format!("GET {path} HTTP/1.1"), "").await
}

pub async fn send_json(address: SocketAddr, method_and_path: &str, body: &Value) -> Answer {
    let head = format!("{method_and_path} HTTP/1.1\r\nContent-Type: application/json");
    request(address, &head, &body.to_string()).await
}

/// Sends bytes as they are and reads to the end.
pub async fn raw(address: SocketAddr, bytes: &[u8]) -> Answer {
    let mut stream = TcpStream::connect(address).await.unwrap();
    // A server that has heard enough may close before it has read all.
    let _ = stream.write_all(bytes).await;
    let mut answer = Vec::new();
    let _ = soon(stream.read_to_end(&mut answer)).await;
    let text = String::from_utf8(answer).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{text:?}"));
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Answer {
        status,
        head: head.to_ascii_lowercase(),
        body: body.into(),
    }
}

/// Every path of the OpenAPI document answers its methods, as it says, and no others.
pub async fn keeps_to_its_description(address: SocketAddr) {
    let description = get(address, "/openapi.json").await.json();
    for (path, item) in description["paths"].as_object().unwrap() {
        let at = path.replace("{id}", "CS-1");
        for method in ["get", "put", "post", "delete", "patch"] {
            let head = format!("{} {at} HTTP/1.1", method.to_uppercase());
            let answer = request(address, &head, "").await;
            let exists = item.get(method).is_some();
            assert_eq!(answer.status != 405, exists, "{method} {path}: {answer:?}");
            if exists {
                let told = item[method]["responses"].as_object().unwrap();
                let is_told = told.contains_key(&answer.status.to_string());
                assert!(is_told, "{method} {path}: {answer:?}");
                assert!(
                    !answer.body.contains("no-such-path"),
                    "{method} {path}: {answer:?}"
                );
            } else {
                assert_eq!(answer.problem(), "method-not-allowed");
            }
        }
    }
    assert_eq!(get(address, "/v2").await.problem(), "no-such-path");
}
