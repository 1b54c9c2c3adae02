//! A request whose body does not come.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    unreachable_pub
)]

mod client;

use std::sync::{Arc, Mutex};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

/// Time is virtual: it passes when everybody waits.
#[tokio::test(start_paused = true)]
async fn a_body_that_does_not_come_gets_408() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let ra = Arc::new(Mutex::new(client::ra(|_| {})));
    tokio::spawn(lab_ra::http::serve(listener, ra, std::future::pending()));
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head =
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Type: application/pkixcmp\r\nContent-Length: 100\r\n\r\n0";
    stream.write_all(head).await.unwrap();
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 408");
}
