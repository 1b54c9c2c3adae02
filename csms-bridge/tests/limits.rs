//! Connections that take their time, or say too much, before they are stations.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    unreachable_pub
)]

mod harness;
mod tls;

use std::time::{Duration, Instant};

use harness::{Bridge, Station, soon};
use tls::{Files, Shows, tls_to};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// A bridge whose RA nobody asks.
async fn bridge(settings: &str) -> Bridge {
    Bridge::start(&["http://127.0.0.1:9/cmp"], settings, "").await
}

/// All that comes until the other side closes; a reset is a close too.
async fn rest(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut text = Vec::new();
    let _ = soon(stream.read_to_end(&mut text)).await;
    String::from_utf8_lossy(&text).into_owned()
}

/// Sends a byte again and again until the other side does not take it any more.
async fn drip(stream: &mut (impl AsyncWrite + Unpin), byte: u8) {
    let mut pause = tokio::time::interval(Duration::from_millis(50));
    while stream.write_all(&[byte]).await.is_ok() && stream.flush().await.is_ok() {
        pause.tick().await;
    }
}

#[tokio::test]
async fn a_tls_handshake_that_does_not_begin_or_does_not_end_is_cut_off() {
    let files = Files::make();
    let bridge = bridge(&format!("handshake_timeout_s = 1\n{}", files.tls(""))).await;
    // Nothing at all; the head of a record that never comes whole; a byte now and then.
    let mut silent = TcpStream::connect(bridge.addresses[0]).await.unwrap();
    let mut half = TcpStream::connect(bridge.addresses[0]).await.unwrap();
    half.write_all(b"\x16\x03\x01\x02\x00\x01").await.unwrap();
    let mut slow = TcpStream::connect(bridge.addresses[0]).await.unwrap();
    slow.write_all(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")
        .await
        .unwrap();
    let started = Instant::now();
    assert_eq!(rest(&mut silent).await, "");
    rest(&mut half).await;
    soon(drip(&mut slow, 0)).await;
    assert!(started.elapsed() < Duration::from_secs(9));
}

#[tokio::test]
async fn what_is_no_tls_is_answered_with_an_alert_and_closed() {
    let files = Files::make();
    let bridge = bridge(&files.tls("")).await;
    let mut plain = TcpStream::connect(bridge.addresses[0]).await.unwrap();
    plain.write_all(b"GET /CS-1 HTTP/1.1\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    let _ = soon(plain.read_to_end(&mut answer)).await;
    // An alert, or nothing: never HTTP.
    assert!(answer.is_empty() || answer[0] == 0x15, "{answer:?}");
}

#[tokio::test]
async fn a_head_that_does_not_end_is_answered_with_408_with_and_without_tls() {
    let files = Files::make();
    let plain = bridge("handshake_timeout_s = 1").await;
    let mut slow = TcpStream::connect(plain.addresses[0]).await.unwrap();
    slow.write_all(b"GET /CS-1 HTTP/1.1\r\nHost:").await.unwrap();
    assert!(rest(&mut slow).await.starts_with("HTTP/1.1 408 "));
    let secure = bridge(&format!("handshake_timeout_s = 1\n{}", files.tls(""))).await;
    let mut slow = tls_to(&files, secure.addresses[0], Shows::default())
        .await
        .unwrap();
    slow.write_all(b"GET /CS-1 HTTP/1.1\r\nHost:").await.unwrap();
    slow.flush().await.unwrap();
    assert!(rest(&mut slow).await.starts_with("HTTP/1.1 408 "));
}

#[tokio::test]
async fn a_flood_of_headers_is_answered_with_431() {
    let bridge = bridge("max_head_bytes = 2048").await;
    let mut flood = TcpStream::connect(bridge.addresses[0]).await.unwrap();
    flood.write_all(b"GET /CS-1 HTTP/1.1\r\n").await.unwrap();
    let header = format!("X-Padding: {}\r\n", "x".repeat(500));
    for _ in 0..5 {
        flood.write_all(header.as_bytes()).await.unwrap();
    }
    assert!(rest(&mut flood).await.starts_with("HTTP/1.1 431 "));
    // The bridge is there for others.
    Station::connect(&bridge, "CS-1").await;
}

#[tokio::test]
async fn half_open_connections_hold_their_places_no_longer_than_a_handshake() {
    let bridge = bridge("handshake_timeout_s = 1\nmax_connections = 4").await;
    let mut half_open = Vec::new();
    for _ in 0..4 {
        half_open.push(TcpStream::connect(bridge.addresses[0]).await.unwrap());
    }
    // All places are taken; then all are free again, though nobody has said a word.
    for stream in &mut half_open {
        assert!(rest(stream).await.starts_with("HTTP/1.1 408 "));
    }
    drop(half_open);
    let version = ocpp_rpc::Version::V2_0_1;
    soon(async { while Station::connect_as(&bridge, "CS-1", version).await.is_err() {} }).await;
}
