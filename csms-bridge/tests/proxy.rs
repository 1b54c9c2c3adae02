//! The bridge in front of a CSMS, over real sockets.
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

use base64ct::{Base64, Encoding as _};
use cmp_binding::DoOperation;
use csms_bridge::{PasswordVerifier, StationKey};
use harness::{Bridge, FakeRa, Reaction, Station, exchange_id, free_port, sequence, soon, whole};
use ocpp_rpc::Version;
use ocpp_rpc::ws::{
    ClientOptions, CloseCode, Connection, Error, Handshake, Header, Refusal, ServerOptions,
    basic_auth_header, connect, station_url,
};
use serde_json::{Value, json};
use std::time::Duration;
use tls::{Files, Shows, options};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

type Leg = Connection<TcpStream>;

/// A CSMS that does what the test says.
struct Csms {
    listener: TcpListener,
    url: String,
}

impl Csms {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("ws://{}/base/", listener.local_addr().unwrap());
        Self { listener, url }
    }

    async fn handshake(&self) -> Handshake<TcpStream> {
        let (stream, _) = soon(self.listener.accept()).await.unwrap();
        soon(Handshake::read(stream, &ServerOptions::default()))
            .await
            .unwrap()
    }

    async fn accept(&self) -> Leg {
        soon(self.handshake().await.accept()).await.unwrap()
    }
}

async fn ra() -> FakeRa {
    FakeRa::start(|_, _| Reaction::Answer("200 OK", sequence(60, 7))).await
}

async fn bridge(ra: &FakeRa, csms: &str, settings: &str, proxy: &str) -> Bridge {
    let settings = format!("mode = 'proxy'\n{settings}\n[proxy]\nupstream = '{csms}'\n{proxy}\n");
    Bridge::start(&[&ra.url], &settings, "").await
}

/// A bridge with a station and the CSMS's end of its connection.
async fn through(version: Version) -> (Bridge, FakeRa, Leg, Leg) {
    let (ra, csms) = (ra().await, Csms::start().await);
    let bridge = bridge(&ra, &csms.url, "", "").await;
    let (station, csms) = tokio::join!(open(&bridge, version), csms.accept());
    (bridge, ra, station.unwrap(), csms)
}

async fn open(bridge: &Bridge, version: Version) -> Result<Leg, Error> {
    let options = ClientOptions {
        versions: vec![version],
        ..ClientOptions::default()
    };
    soon(connect(&station_url(&bridge.base, "CS-1"), &options)).await
}

async fn send(leg: &mut Leg, text: &str) {
    soon(leg.send(text)).await.unwrap();
}

async fn recv(leg: &mut Leg) -> String {
    soon(leg.recv()).await.unwrap().expect("closed")
}

fn key(prefix: &str) -> StationKey {
    StationKey {
        prefix: prefix.into(),
        identity: "CS-1".into(),
        ..StationKey::default()
    }
}

/// An own call of the bridge: its message id and operation.
fn own_call(text: &str) -> (String, String) {
    let frame: Value = serde_json::from_str(text).unwrap();
    assert_eq!(
        (&frame[0], &frame[2]),
        (&json!(2), &json!("DataTransfer")),
        "{text}"
    );
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    (text(&frame[1]), text(&frame[3]["messageId"]))
}

#[tokio::test]
async fn what_both_say_passes_byte_for_byte_and_cmp_is_answered_by_the_bridge() {
    for version in Version::ALL {
        let (_bridge, ra, mut station, mut csms) = through(version).await;
        assert_eq!(csms.version(), version);
        for text in [
            " [2 ,\"1\",\"Heartbeat\",{ \"n\":1.50, \"m\" : \"\\u00e4ä\" }]\n",
            r#"[2,"2","DataTransfer",{"vendorId":"other","data":{"b":1e0}}]"#,
            "no JSON",
            r#"[6,"3","X",{}]"#,
        ] {
            send(&mut station, text).await;
            assert_eq!(recv(&mut csms).await, text);
            send(&mut csms, text).await;
            assert_eq!(recv(&mut station).await, text);
        }
        for id in ["1", "2"] {
            // The calls that passed above are answered.
            let answer = format!(r#"[3,"{id}", {{}}]"#);
            send(&mut station, &answer).await;
            assert_eq!(recv(&mut csms).await, answer);
        }
        let chunk = harness::chunk(&exchange_id(1), &sequence(40, 1), 0, 40).to_string();
        let payload = json!({"vendorId": "IO.github.ocpp-CMP", "messageId": "CmpSend", "data": chunk});
        send(
            &mut station,
            &json!([2, "c", "DataTransfer", payload]).to_string(),
        )
        .await;
        let answer: Value = serde_json::from_str(&recv(&mut station).await).unwrap();
        assert_eq!((&answer[0], &answer[1]), (&json!(3), &json!("c")), "{answer}");
        let data: Value = serde_json::from_str(answer[2]["data"].as_str().unwrap()).unwrap();
        assert_eq!(data, whole(None, &sequence(60, 7)));
        assert_eq!(ra.requests(), [sequence(40, 1)]);
        // Nothing of it came to the CSMS; and it may not call so itself.
        let call = r#"[2,"d","DataTransfer",{"vendorId":"io.github.ocpp-cmp","messageId":"CmpPull"}]"#;
        send(&mut csms, call).await;
        let refusal = recv(&mut csms).await;
        assert!(refusal.starts_with(r#"[3,"d",{"status":"Rejected""#), "{refusal}");
    }
}

#[tokio::test]
async fn the_csms_gets_path_query_versions_authorization_and_what_is_configured_and_nothing_else() {
    let (ra, csms) = (ra().await, Csms::start().await);
    let bridge = bridge(&ra, &csms.url, "", "forward_headers = ['X-Site']").await;
    let secret = basic_auth_header("CS 1", b"\x00\xff");
    let header = |name, value: &[u8]| Header::new(name, value).unwrap();
    let options = ClientOptions {
        versions: vec![Version::V1_6, Version::V2_1],
        headers: vec![
            header("Authorization", secret.as_bytes()),
            header("x-site", b"1"),
            header("X-Site", b"2"),
            header("Client-Cert", b":AAAA:"),
            header("Cookie", b"a=b"),
        ],
        ..ClientOptions::default()
    };
    let url = format!("{}?a=%20b&c", station_url(&bridge.base, "CS 1"));
    let (station, ()) = tokio::join!(connect(&url, &options), async {
        let handshake = csms.handshake().await;
        assert_eq!(handshake.target(), "/base/ocpp/CS%201?a=%20b&c");
        assert_eq!(handshake.offered().collect::<Vec<_>>(), ["ocpp1.6", "ocpp2.1"]);
        assert_eq!(handshake.header("Authorization"), Some(secret.as_bytes()));
        assert_eq!(handshake.headers("X-Site").collect::<Vec<_>>(), [b"1", b"2"]);
        assert_eq!(
            handshake.header("Host"),
            Some(csms.url[5..].split('/').next().unwrap().as_bytes())
        );
        for absent in ["Client-Cert", "Cookie", "Sec-WebSocket-Extensions"] {
            assert_eq!(handshake.header(absent), None, "{absent}");
        }
        handshake.accept_as(Some(Version::V1_6)).await.unwrap();
    });
    assert_eq!(station.unwrap().version(), Version::V1_6, "as the CSMS chose");
}

#[tokio::test]
async fn what_the_csms_says_to_a_station_that_it_does_not_want_is_what_the_station_hears() {
    let (ra, csms) = (ra().await, Csms::start().await);
    let bridge = bridge(&ra, &csms.url, "", "").await;
    for (refusal, heard) in [
        (Refusal::Unauthorized, 401),
        (Refusal::Forbidden, 403),
        (Refusal::NotFound, 404),
        (Refusal::Status(418), 418),
        (Refusal::Unavailable, 503),
    ] {
        let (station, ()) = tokio::join!(open(&bridge, Version::V2_0_1), async {
            csms.handshake().await.refuse(refusal).await;
        });
        assert!(
            matches!(station, Err(Error::Refused(status)) if status == heard),
            "{station:?}"
        );
    }
    // Neither served CMP nor remembered.
    assert!(bridge.bridge.stations().await.is_empty());
    let (station, _) = tokio::join!(open(&bridge, Version::V2_0_1), async {
        csms.handshake().await.accept_as(None).await
    });
    assert!(matches!(station, Err(Error::NoCommonSubprotocol)), "{station:?}");
    drop(csms);
    let station = open(&bridge, Version::V2_0_1).await;
    assert!(matches!(station, Err(Error::Refused(503))), "{station:?}");
}

#[tokio::test]
async fn a_leg_that_ends_closes_the_other_with_a_code_that_may_be_sent() {
    for (code, passed) in [(1000, 1000), (1012, 1012), (4001, 4001), (1011, 1011)] {
        let (_bridge, _ra, station, mut csms) = through(Version::V1_6).await;
        soon(station.close(CloseCode(code), "why")).await;
        assert!(matches!(soon(csms.recv()).await, Ok(None)));
        assert_eq!(
            (csms.closed_by_peer(), csms.close_reason()),
            (Some(CloseCode(passed)), "why")
        );
        let (_bridge, _ra, mut station, csms) = through(Version::V1_6).await;
        soon(csms.close(CloseCode(code), "why")).await;
        assert!(matches!(soon(station.recv()).await, Ok(None)));
        assert_eq!(
            (station.closed_by_peer(), station.close_reason()),
            (Some(CloseCode(passed)), "why")
        );
    }
    // Without a close frame.
    let (_bridge, _ra, station, mut csms) = through(Version::V1_6).await;
    drop(station);
    assert!(matches!(soon(csms.recv()).await, Ok(None)));
    assert_eq!(csms.closed_by_peer(), Some(CloseCode::AWAY));
    let (_bridge, _ra, mut station, csms) = through(Version::V1_6).await;
    drop(csms);
    assert!(matches!(soon(station.recv()).await, Ok(None)));
    assert_eq!(station.closed_by_peer(), Some(CloseCode::AWAY));
}

#[tokio::test]
async fn a_close_frame_without_a_code_becomes_1001() {
    use tokio::io::AsyncWriteExt as _;
    let (ra, csms) = (ra().await, Csms::start().await);
    let bridge = bridge(&ra, &csms.url, "", "").await;
    let mut stream = TcpStream::connect(bridge.addresses[0]).await.unwrap();
    let request = "GET /CS-1 HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
        Sec-WebSocket-Protocol: ocpp1.6\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut csms = csms.accept().await;
    stream.write_all(&[0x88, 0x80, 0, 0, 0, 0]).await.unwrap();
    assert!(matches!(soon(csms.recv()).await, Ok(None)));
    assert_eq!(csms.closed_by_peer(), Some(CloseCode::AWAY));
}

#[tokio::test]
async fn what_is_too_large_or_binary_ends_both_legs() {
    let (_bridge, _ra, mut station, mut csms) = through(Version::V1_6).await;
    let _ = soon(station.send("x".repeat((1 << 20) + 1))).await;
    assert!(matches!(soon(csms.recv()).await, Ok(None)));
    assert_eq!(csms.closed_by_peer(), Some(CloseCode::AWAY));
    let _ = soon(station.recv()).await;
    assert_eq!(station.closed_by_peer(), Some(CloseCode::TOO_LARGE));
}

#[tokio::test]
async fn a_notify_goes_between_the_calls_of_the_csms_and_its_answer_stays() {
    let (bridge, _ra, mut station, mut csms) = through(Version::V2_0_1).await;
    let key = key("/ocpp");
    let notify = bridge.bridge.notify(&key, DoOperation::Enroll, "slot");
    send(&mut csms, r#"[2,"a","Reset",{}]"#).await;
    assert_eq!(recv(&mut station).await, r#"[2,"a","Reset",{}]"#);
    let (taken, ()) = tokio::join!(soon(notify), async {
        // It has no place before the answer.
        let wait = timeout(Duration::from_millis(200), station.recv()).await;
        assert!(wait.is_err(), "{wait:?}");
        send(&mut station, r#"[3,"a",{"status":"Accepted"}]"#).await;
        let (id, operation) = own_call(&recv(&mut station).await);
        assert_eq!(operation, "CmpNotify");
        send(&mut csms, r#"[2,"b","Reset",{}]"#).await;
        let answer = json!([3, id, {"status": "Accepted", "data": "{}"}]).to_string();
        send(&mut station, &answer).await;
        assert_eq!(recv(&mut station).await, r#"[2,"b","Reset",{}]"#);
        send(&mut station, r#"[3,"b",{}]"#).await;
        // Late, and a second time.
        send(&mut station, &answer).await;
        send(&mut station, r#"[2,"s","Heartbeat",{}]"#).await;
    });
    taken.unwrap();
    assert_eq!(recv(&mut csms).await, r#"[3,"a",{"status":"Accepted"}]"#);
    assert_eq!(recv(&mut csms).await, r#"[3,"b",{}]"#);
    assert_eq!(recv(&mut csms).await, r#"[2,"s","Heartbeat",{}]"#);
}

#[tokio::test]
async fn a_station_that_the_csms_leaves_pending_is_pulled_also_when_it_comes_back() {
    let (ra, csms) = (ra().await, Csms::start().await);
    let bridge = bridge(&ra, &csms.url, "", "").await;
    let (station, leg) = tokio::join!(open(&bridge, Version::V2_0_1), csms.accept());
    let (mut station, mut leg) = (station.unwrap(), leg);
    send(&mut station, r#"[2,"b","BootNotification",{}]"#).await;
    assert_eq!(recv(&mut leg).await, r#"[2,"b","BootNotification",{}]"#);
    let pending = r#"[3,"b",{ "status" : "Pending" }]"#;
    send(&mut leg, pending).await;
    assert_eq!(recv(&mut station).await, pending);
    let (_, operation) = own_call(&recv(&mut station).await);
    assert_eq!(operation, "CmpPull");
    let cmp = r#"[2,"c","DataTransfer",{"vendorId":"io.github.ocpp-cmp","messageId":"CmpFetch"}]"#;
    send(&mut station, cmp).await;
    let refusal = recv(&mut station).await;
    assert!(refusal.starts_with(r#"[4,"c","SecurityError""#), "{refusal}");
    drop(station);
    let (station, mut leg) = tokio::join!(open(&bridge, Version::V2_0_1), csms.accept());
    let mut station = station.unwrap();
    let (id, operation) = own_call(&recv(&mut station).await);
    assert_eq!(operation, "CmpPull", "without another boot");
    let idle = json!([3, id, {"status": "Accepted", "data": "{\"idle\":true}"}]).to_string();
    send(&mut station, &idle).await;
    send(&mut station, r#"[2,"b","BootNotification",{}]"#).await;
    assert_eq!(recv(&mut leg).await, r#"[2,"b","BootNotification",{}]"#);
    send(&mut leg, r#"[3,"b",{"status":"Accepted"}]"#).await;
    assert_eq!(recv(&mut station).await, r#"[3,"b",{"status":"Accepted"}]"#);
    send(&mut station, cmp).await;
    assert!(
        recv(&mut station)
            .await
            .starts_with(r#"[3,"c",{"status":"Accepted""#)
    );
}

#[tokio::test]
async fn a_station_that_does_not_read_holds_its_csms_back_and_nothing_is_lost() {
    let (_bridge, _ra, mut station, mut csms) = through(Version::V1_6).await;
    let text = |n: usize| format!(r#"[3,"{n}",{{"x":"{}"}}]"#, "y".repeat(200_000));
    let mut sent = 0;
    // As much as the sockets of both legs take, and two messages.
    while timeout(Duration::from_millis(300), csms.send(text(sent)))
        .await
        .is_ok()
    {
        sent += 1;
        assert!(sent < 200, "40 MB are no bound");
    }
    for n in 0..sent {
        let (got, ()) = tokio::join!(recv(&mut station), async {
            // What the write above had begun goes on.
            let _ = timeout(Duration::from_millis(1), csms.ping()).await;
        });
        assert!(got == text(n), "message {n}");
    }
}

#[tokio::test]
async fn the_newest_connection_of_a_station_ends_the_older_one_on_both_sides() {
    let (ra, csms) = (ra().await, Csms::start().await);
    let bridge = bridge(&ra, &csms.url, "", "").await;
    let (first, mut old) = tokio::join!(open(&bridge, Version::V1_6), csms.accept());
    let (second, mut new) = tokio::join!(open(&bridge, Version::V1_6), csms.accept());
    let (mut first, mut second) = (first.unwrap(), second.unwrap());
    assert!(matches!(soon(first.recv()).await, Ok(None)));
    assert_eq!(first.closed_by_peer(), Some(CloseCode::POLICY));
    assert!(matches!(soon(old.recv()).await, Ok(None)));
    assert_eq!(old.closed_by_peer(), Some(CloseCode::AWAY));
    send(&mut second, "still").await;
    assert_eq!(recv(&mut new).await, "still");
    bridge.begin_to_stop();
    assert!(matches!(soon(second.recv()).await, Ok(None)));
    assert!(matches!(soon(new.recv()).await, Ok(None)));
    assert_eq!(new.closed_by_peer(), Some(CloseCode::AWAY));
}

#[tokio::test]
async fn the_certificate_that_tls_has_shown_goes_on_and_what_a_station_says_of_one_does_not() {
    let files = Files::make();
    let (ra, csms) = (ra().await, Csms::start().await);
    let tls = files.tls("client_cas = ['{}/operator.crt']");
    let bridge = bridge(
        &ra,
        &csms.url,
        &format!("security_profile = 3\n{tls}\n[access]\norganizations = ['Operator']"),
        "",
    )
    .await;
    let shows = || Shows {
        certificate: Some("cs-1"),
        ..Shows::default()
    };
    let stream = tls::tls_to(&files, bridge.addresses[0], shows()).await.unwrap();
    let mut said = options(shows());
    said.headers.push(Header::new("client-cert", b":AAAA:").unwrap());
    let url = station_url(&bridge.base, "CS-1");
    let (station, ()) = tokio::join!(Station::connect_over(Box::new(stream), &url, &said), async {
        let handshake = csms.handshake().await;
        let own = format!(":{}:", Base64::encode_string(&files.certificate("cs-1")));
        assert_eq!(
            handshake.headers("Client-Cert").collect::<Vec<_>>(),
            [own.as_bytes()]
        );
        handshake.accept().await.unwrap();
    });
    station.unwrap();
}

#[tokio::test]
async fn while_the_csms_is_away_only_who_has_a_password_of_the_bridge_is_served_cmp() {
    let files = Files::make();
    let verifier = PasswordVerifier::new(b"a-password-of-16", 1_000).unwrap();
    let list = files.write("stations.toml", format!("[CS-1]\npassword = '{verifier}'\n"));
    let (ra, port) = (ra().await, free_port().await);
    let away = format!("ws://127.0.0.1:{port}");
    let settings = format!("security_profile = 1\n[access]\nstations = '{list}'\n");
    let bridge = bridge(&ra, &away, &settings, "cmp_without_csms = true").await;
    let options = options(Shows {
        basic: Some(("CS-1", b"a-password-of-16")),
        ..Shows::default()
    });
    let stream = TcpStream::connect(bridge.addresses[0]).await.unwrap();
    let url = station_url(&bridge.base, "CS-1");
    let mut station = Station::connect_over(Box::new(stream), &url, &options)
        .await
        .unwrap();
    assert_eq!(station.boot().await, "Pending");
    assert_eq!(station.called().await.1, "CmpPull");
    let csms = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
    assert_eq!(station.closed().await, CloseCode::AWAY, "back to the CSMS");
    drop(csms);
    // One that does not ask who comes has authenticated nobody.
    let open_to_all = self::bridge(&ra, &away, "", "cmp_without_csms = true").await;
    let refused = open(&open_to_all, Version::V2_0_1).await;
    assert!(matches!(refused, Err(Error::Refused(503))), "{refused:?}");
}

#[tokio::test]
async fn a_csms_behind_wss_is_known_by_the_pinned_certificates_alone() {
    let (files, ra) = (Files::make(), ra().await);
    // A bridge that is a CSMS itself.
    let csms = Bridge::start(&[&ra.url], &files.tls(""), "").await;
    let url = format!("wss://localhost:{}", csms.addresses[0].port());
    for (trust, taken) in [("server-root.crt", true), ("operator.crt", false)] {
        let trust = format!("trust = '{}'", files.path(trust));
        let bridge = bridge(&ra, &url, "", &trust).await;
        match Station::connect_as(&bridge, "CS-1", Version::V2_0_1).await {
            Ok(mut station) if taken => assert_eq!(station.boot().await, "Accepted"),
            Err(Error::Refused(502)) if !taken => {}
            other => panic!("{:?}", other.map(drop)),
        }
    }
}
