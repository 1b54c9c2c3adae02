//! Client and server against each other and against a peer that writes its own bytes, on loopback.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs
)]

use std::time::Duration;

use ocpp_rpc::Version;
use ocpp_rpc::ws::{
    ClientOptions, CloseCode, Connection, Error, Handshake, Header, Limits, Progress, Refusal, ServerOptions,
    basic_auth_header, connect, connect_over, station_url,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
use tokio::net::{TcpListener, TcpStream};

async fn listener() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("ws://{}/ocpp", listener.local_addr().unwrap());
    (listener, base)
}

fn client(versions: &[Version]) -> ClientOptions {
    ClientOptions {
        versions: versions.to_vec(),
        ..ClientOptions::default()
    }
}

fn server(versions: &[Version]) -> ServerOptions {
    ServerOptions {
        versions: versions.to_vec(),
        ..ServerOptions::default()
    }
}

/// A connection over TCP with the options given, client first.
async fn pair(
    client: ClientOptions,
    server: ServerOptions,
) -> (
    Result<Connection<TcpStream>, Error>,
    Result<Connection<TcpStream>, Error>,
) {
    let (listener, base) = listener().await;
    let url = station_url(&base, "CS1");
    tokio::join!(connect(&url, &client), async {
        let (stream, _) = listener.accept().await.unwrap();
        Handshake::read(stream, &server).await?.accept().await
    })
}

/// A connection in memory, for tests on paused time.
async fn pair_in_memory(
    client: ClientOptions,
    server: ServerOptions,
) -> (Connection<DuplexStream>, Connection<DuplexStream>) {
    let (near, far) = duplex(64 << 10);
    let (client, server) = tokio::join!(connect_over(near, "ws://h/CS1", &client), async {
        Handshake::read(far, &server).await?.accept().await
    });
    (client.unwrap(), server.unwrap())
}

#[tokio::test]
async fn the_server_chooses_by_its_own_preference() {
    use Version::{V1_6, V2_0_1, V2_1};
    for (offered, spoken, chosen) in [
        (&[V1_6, V2_0_1, V2_1][..], &[V2_0_1, V1_6][..], V2_0_1),
        (&[V2_1, V1_6], &[V1_6, V2_1], V1_6),
        (&[V2_1], &[V2_1, V2_0_1, V1_6], V2_1),
    ] {
        let (client, server) = pair(client(offered), server(spoken)).await;
        assert_eq!(
            (client.unwrap().version(), server.unwrap().version()),
            (chosen, chosen)
        );
    }
}

#[tokio::test]
async fn without_a_common_subprotocol_the_handshake_ends_without_one() {
    let (client, server) = pair(client(&[Version::V1_6]), server(&[Version::V2_1])).await;
    assert!(matches!(client, Err(Error::NoCommonSubprotocol)));
    assert!(matches!(server, Err(Error::NoCommonSubprotocol)));
}

#[tokio::test]
async fn without_a_common_subprotocol_101_is_followed_by_close_1002() {
    let (mut near, far) = duplex(4096);
    let request = "GET /CS1 HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
        Sec-WebSocket-Protocol: ocpp1.5\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n";
    near.write_all(request.as_bytes()).await.unwrap();
    let options = ServerOptions::default();
    let serve = async { Handshake::read(far, &options).await?.accept().await };
    let (served, answer) = tokio::join!(serve, async {
        let mut answer = Vec::new();
        near.read_to_end(&mut answer).await.unwrap();
        drop(near);
        answer
    });
    assert!(matches!(served, Err(Error::NoCommonSubprotocol)));
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
    let head = String::from_utf8_lossy(&answer[..end]).to_ascii_lowercase();
    assert!(head.starts_with("http/1.1 101 "), "{head}");
    assert!(head.contains("s3pplmbitxaq9kygzzhzrbk+xoo="), "{head}");
    assert!(
        !head.contains("sec-websocket-protocol") && !head.contains("sec-websocket-extensions"),
        "{head}"
    );
    assert_eq!(answer[end], 0x88);
    assert_eq!(answer[end + 2..end + 4], 1002u16.to_be_bytes());
}

#[tokio::test]
async fn text_passes_byte_for_byte_in_both_directions() {
    let (client, server) = pair(ClientOptions::default(), ServerOptions::default()).await;
    let (mut client, mut server) = (client.unwrap(), server.unwrap());
    let text = "[2, \"a\",\"X\",{ \"n\" : 1.50, \"u\":\"\\u00e4ä\" }]\n";
    client.send(text).await.unwrap();
    assert_eq!(server.recv().await.unwrap().as_deref(), Some(text));
    let large = "x".repeat(1 << 20);
    let (sent, received) = tokio::join!(server.send(large.clone()), client.recv());
    sent.unwrap();
    assert_eq!(received.unwrap(), Some(large));
}

#[tokio::test]
async fn a_message_above_the_limit_is_answered_with_1009() {
    let mut small = ServerOptions::default();
    small.limits.max_message_bytes = 1000;
    let (client, server) = pair(ClientOptions::default(), small).await;
    let (mut client, mut server) = (client.unwrap(), server.unwrap());
    client.send("x".repeat(1000)).await.unwrap();
    assert_eq!(server.recv().await.unwrap().unwrap().len(), 1000);
    let serve = async { (server.recv().await, server.recv().await) };
    let ((first, then), closed) = tokio::join!(serve, async {
        client.send("x".repeat(300_000)).await.unwrap();
        let end = client.recv().await;
        let code = client.closed_by_peer();
        drop(client);
        (end, code)
    });
    assert!(matches!(first, Err(Error::TooLarge)));
    assert!(matches!(then, Ok(None)));
    assert!(
        matches!(closed, (Ok(None), Some(CloseCode::TOO_LARGE))),
        "{closed:?}"
    );
}

#[tokio::test]
async fn who_stops_waiting_while_the_connection_closes_is_told_why_the_next_time() {
    let mut small = ServerOptions::default();
    small.limits.max_message_bytes = 1000;
    let (mut client, mut server) = pair_in_memory(ClientOptions::default(), small).await;
    client.send("x".repeat(1001)).await.unwrap();
    tokio::select! {
        biased;
        _ = server.recv() => panic!("the peer has not closed yet"),
        () = std::future::ready(()) => {}
    }
    assert!(matches!(server.send("y").await, Err(Error::NotSent)));
    let (first, end) = tokio::join!(server.recv(), async {
        let end = client.recv().await;
        (end, client.closed_by_peer())
    });
    assert!(matches!(first, Err(Error::TooLarge)));
    assert!(matches!(end, (Ok(None), Some(CloseCode::TOO_LARGE))), "{end:?}");
    assert!(matches!(server.recv().await, Ok(None)));
}

#[tokio::test]
async fn close_codes_reach_the_other_side() {
    let (client, server) = pair(ClientOptions::default(), ServerOptions::default()).await;
    let (client, mut server) = (client.unwrap(), server.unwrap());
    let reason = "ä".repeat(100);
    let (end, ()) = tokio::join!(server.recv(), client.close(CloseCode(4001), &reason));
    assert!(matches!(end, Ok(None)));
    assert_eq!(server.closed_by_peer(), Some(CloseCode(4001)));
    assert_eq!(server.close_reason(), "ä".repeat(61));
    assert!(matches!(server.send("x").await, Err(Error::NotSent)));
    for unsendable in [1005, 1006, 1015] {
        assert_eq!(CloseCode(unsendable).to_send(), CloseCode::AWAY);
    }
    assert_eq!(CloseCode(1011).to_send(), CloseCode(1011));
}

#[tokio::test]
async fn the_acceptor_sees_station_credentials_headers_and_target() {
    let (listener, base) = listener().await;
    let url = format!("{}?x=1", station_url(&base, "RDAM|1"));
    let header = basic_auth_header("RDAM|1", &[0, 255, b':']);
    let mut options = client(&[Version::V1_6]);
    options
        .headers
        .push(Header::new("Authorization", header.as_bytes()).unwrap());
    options.headers.push(Header::new("x-a", b"1").unwrap());
    options.headers.push(Header::new("x-a", b"2").unwrap());
    assert!(!format!("{options:?}").contains("Basic"));
    let (connected, ()) = tokio::join!(connect(&url, &options), async {
        let (stream, _) = listener.accept().await.unwrap();
        let handshake = Handshake::read(stream, &ServerOptions::default()).await.unwrap();
        assert_eq!(
            (handshake.station().prefix(), handshake.station().identity()),
            ("/ocpp", "RDAM|1")
        );
        assert_eq!(handshake.target(), "/ocpp/RDAM%7C1?x=1");
        assert_eq!(handshake.header("authorization"), Some(header.as_bytes()));
        assert_eq!(handshake.headers("X-A").collect::<Vec<_>>(), [b"1", b"2"]);
        assert_eq!(handshake.offered().collect::<Vec<_>>(), ["ocpp1.6"]);
        let auth = handshake.basic_auth().unwrap();
        assert_eq!((&*auth.user, &auth.password[..]), ("RDAM|1", &[0, 255, b':'][..]));
        assert!(!format!("{handshake:?}").contains("Basic"));
        handshake.accept().await.unwrap();
    });
    connected.unwrap();
}

#[tokio::test]
async fn refusals_reach_the_client_as_http_status() {
    for (refusal, status) in [
        (Refusal::NotFound, 404),
        (Refusal::Unauthorized, 401),
        (Refusal::Unavailable, 503),
        (Refusal::Status(401), 401),
        (Refusal::Status(418), 418),
        (Refusal::Status(599), 599),
        (Refusal::Status(302), 502),
    ] {
        let (listener, base) = listener().await;
        let url = station_url(&base, "CS1");
        let options = ClientOptions::default();
        let (connected, ()) = tokio::join!(connect(&url, &options), async {
            let (stream, _) = listener.accept().await.unwrap();
            Handshake::read(stream, &ServerOptions::default())
                .await
                .unwrap()
                .refuse(refusal)
                .await;
        });
        assert!(
            matches!(connected, Err(Error::Refused(got)) if got == status),
            "{connected:?}"
        );
    }
}

#[tokio::test]
async fn a_path_without_a_valid_identity_gets_404() {
    for (identity, versions) in [
        ("a".repeat(49), &[Version::V1_6][..]),
        ("a:b".into(), &[Version::V2_0_1]),
    ] {
        let (listener, base) = listener().await;
        let url = station_url(&base, &identity);
        let options = client(versions);
        let (connected, read) = tokio::join!(connect(&url, &options), async {
            let (stream, _) = listener.accept().await.unwrap();
            Handshake::read(stream, &ServerOptions::default()).await
        });
        assert!(matches!(connected, Err(Error::Refused(404))), "{connected:?}");
        assert!(matches!(read, Err(Error::Identity(_))));
    }
}

#[tokio::test]
async fn a_head_above_the_limit_gets_431_and_no_websocket_gets_400() {
    let flood = format!("GET /CS1 HTTP/1.1\r\nX: {}", "x".repeat(9000));
    let plain = "GET /CS1 HTTP/1.1\r\nHost: h\r\n\r\n".to_string();
    for (request, status) in [(flood, "431"), (plain, "400"), ("\0\0\r\n\r\n".into(), "400")] {
        let (mut near, far) = duplex(64 << 10);
        near.write_all(request.as_bytes()).await.unwrap();
        let options = ServerOptions::default();
        let (read, answer) = tokio::join!(Handshake::read(far, &options), async {
            let mut answer = String::new();
            near.read_to_string(&mut answer).await.unwrap();
            drop(near);
            answer
        });
        assert!(read.is_err());
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_handshake_that_does_not_come_is_given_up() {
    let (near, far) = duplex(64);
    let read = Handshake::read(far, &ServerOptions::default()).await;
    assert!(matches!(read, Err(Error::TimedOut("handshake"))));
    let connected = connect_over(near, "ws://h/CS1", &ClientOptions::default()).await;
    assert!(connected.is_err());
    let (near, _far) = duplex(4096);
    let connected = connect_over(near, "ws://h/CS1", &ClientOptions::default()).await;
    assert!(matches!(connected, Err(Error::TimedOut("handshake"))));
}

fn quick() -> Limits {
    Limits {
        ping_interval: Some(Duration::from_secs(30)),
        pong_timeout: Duration::from_secs(5),
        ..Limits::default()
    }
}

#[tokio::test(start_paused = true)]
async fn an_idle_peer_that_answers_pings_is_kept() {
    let server = ServerOptions {
        limits: quick(),
        ..ServerOptions::default()
    };
    let mut options = ClientOptions::default();
    options.limits.ping_interval = None;
    let (mut client, mut server) = pair_in_memory(options, server).await;
    let start = tokio::time::Instant::now();
    let (received, ()) = tokio::join!(server.recv(), async {
        let idle = tokio::time::timeout(Duration::from_secs(3600), client.recv()).await;
        assert!(idle.is_err());
        client.send("still here").await.unwrap();
    });
    assert_eq!(received.unwrap().as_deref(), Some("still here"));
    assert!(start.elapsed() >= Duration::from_secs(3600));
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_answers_no_ping_is_dead() {
    let server = ServerOptions {
        limits: quick(),
        ..ServerOptions::default()
    };
    let (_client, mut server) = pair_in_memory(ClientOptions::default(), server).await;
    let start = tokio::time::Instant::now();
    assert!(matches!(
        server.recv().await,
        Err(Error::TimedOut("answer to a ping"))
    ));
    assert!(start.elapsed() >= Duration::from_secs(35));
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_does_not_read_does_not_hold_a_writer_for_ever() {
    let (_client, mut server) = pair_in_memory(ClientOptions::default(), ServerOptions::default()).await;
    let sent = server.send("x".repeat(500_000)).await;
    assert!(matches!(sent, Err(Error::TimedOut("write"))));
    assert!(matches!(server.send("x").await, Err(Error::NotSent)));
}

#[tokio::test(start_paused = true)]
async fn two_that_write_before_they_read_both_get_their_message() {
    let (mut client, mut server) = pair_in_memory(ClientOptions::default(), ServerOptions::default()).await;
    let large = "x".repeat(500_000);
    for side in [&mut client, &mut server] {
        side.queue(large.clone()).unwrap();
        assert!(!side.is_flushed());
    }
    let (got, also) = tokio::join!(both_done(&mut client), both_done(&mut server));
    assert!(got == large && also == large);
}

/// Drives until the queue is empty and a text has come.
async fn both_done(side: &mut Connection<DuplexStream>) -> String {
    let mut got = None;
    loop {
        match side.drive(true).await.unwrap() {
            Progress::Text(text) => got = Some(text),
            Progress::Flushed => assert!(side.is_flushed()),
            Progress::Closed => panic!("closed"),
        }
        if let (Some(got), true) = (&got, side.is_flushed()) {
            return got.clone();
        }
    }
}

#[tokio::test(start_paused = true)]
async fn who_is_not_read_is_not_read_ahead_of() {
    let (mut client, mut server) = pair_in_memory(ClientOptions::default(), ServerOptions::default()).await;
    client.send("one").await.unwrap();
    server.queue("two").unwrap();
    assert_eq!(server.drive(false).await.unwrap(), Progress::Flushed);
    let hour = Duration::from_secs(3600);
    assert!(tokio::time::timeout(hour, server.drive(false)).await.is_err());
    assert_eq!(server.drive(true).await.unwrap(), Progress::Text("one".into()));
    assert_eq!(client.recv().await.unwrap().as_deref(), Some("two"));
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_does_not_read_ends_the_connection_of_who_reads() {
    let (_client, mut server) = pair_in_memory(ClientOptions::default(), ServerOptions::default()).await;
    server.queue("x".repeat(500_000)).unwrap();
    assert!(matches!(server.drive(true).await, Err(Error::TimedOut("write"))));
    assert!(matches!(server.queue("x"), Err(Error::NotSent)));
}

#[tokio::test]
async fn a_socket_that_ends_without_a_close_frame_is_an_error() {
    let (client, server) = pair(ClientOptions::default(), ServerOptions::default()).await;
    drop(client);
    assert!(matches!(server.unwrap().recv().await, Err(Error::Io(_))));
}
