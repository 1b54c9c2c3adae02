//! Who gets in, as what, and what they may then send.
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

use csms_bridge::PasswordVerifier;
use harness::{Bridge, FakeRa, Reaction, Station, exchange_id, sequence, soon, whole};
use ocpp_rpc::ws::{Error, station_url};
use rustls::version::{TLS12, TLS13};
use serde_json::json;
use tls::{Files, Shows, Taken, accepted, alert, boot, connect, options, pending, taken};
use tokio::net::TcpStream;

async fn ra() -> FakeRa {
    FakeRa::start(|_, _| Reaction::Answer("200 OK", sequence(600, 7))).await
}

fn fixture(name: &str) -> Vec<u8> {
    let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures/openssl-3.0/");
    std::fs::read(format!("{dir}{name}")).unwrap()
}

fn verifier(password: &[u8]) -> String {
    PasswordVerifier::new(password, 1_000).unwrap().to_string()
}

/// Security profile 3 with all that can be said about certificates.
const PROFILE_3: &str = "client_cas = ['{}/operator.crt']\nmanufacturer_cas = ['{}/manufacturer.crt']";

async fn profile_3(files: &Files, access: &str, tls: &str) -> (Bridge, FakeRa) {
    let ra = ra().await;
    let tls = files.tls(&format!("{PROFILE_3}\n{tls}"));
    let settings = format!("security_profile = 3\n{tls}\n[access]\norganizations = ['Operator']\n{access}\n");
    (Bridge::start(&[&ra.url], &settings, "").await, ra)
}

fn shows(certificate: &str) -> Shows<'_> {
    Shows {
        certificate: Some(certificate),
        ..Shows::default()
    }
}

fn gives<'a>(user: &'a str, password: &'a [u8]) -> Shows<'a> {
    Shows {
        basic: Some((user, password)),
        ..Shows::default()
    }
}

#[tokio::test]
async fn a_certificate_lets_in_whom_its_cn_and_o_name_in_both_versions_of_tls() {
    let files = Files::make();
    let list = files.write(
        "stations.toml",
        "[CS-1]\n[CS-2]\n[Model-X]\n[CS-3]\nserial_number = 'CS-1'\n",
    );
    let access = format!("stations = '{list}'");
    let (bridge, _ra) = profile_3(&files, &access, "crls = ['{}/revoked.crl']").await;
    for version in [&TLS12, &TLS13] {
        for (certificate, identity, expected) in [
            ("cs-1", "CS-1", accepted()),
            ("cs-2", "CS-2", accepted()),
            ("cs-1", "CS-3", accepted()),
            // Of another station, of another organization, of two stations.
            ("cs-2", "CS-1", Taken::Refused(401)),
            ("cs-1", "cs-1", Taken::Refused(404)),
            ("other-o", "CS-1", Taken::Refused(401)),
            ("two-cn", "CS-1", Taken::Refused(401)),
            ("two-cn", "CS-2", Taken::Refused(401)),
            // Not in the list, whatever it shows.
            ("cs-1", "CS-9", Taken::Refused(404)),
            // For CMP only.
            ("expired", "CS-1", pending()),
            ("idevid", "CS-1", pending()),
            ("idevid-2", "CS-2", pending()),
            ("idevid", "CS-2", Taken::Refused(401)),
            // Its CN is a model; its serialNumber is what counts.
            ("idevid", "Model-X", Taken::Refused(401)),
            // Of a CA that nobody knows, for another use.
            ("forged", "CS-1", alert("UnknownCA")),
            ("server", "CS-1", alert("UnsupportedCertificate")),
            ("revoked", "CS-1", alert("CertificateRevoked")),
        ] {
            let shown = Shows {
                certificate: Some(certificate),
                tls: Some(version),
                ..Shows::default()
            };
            let came = boot(&files, &bridge, identity, shown).await;
            assert_eq!(came, expected, "{certificate} as {identity}");
        }
        let none = Shows {
            tls: Some(version),
            basic: Some(("CS-1", b"password")),
            ..Shows::default()
        };
        let missing = match version.version {
            rustls::ProtocolVersion::TLSv1_2 => "HandshakeFailure",
            _ => "CertificateRequired",
        };
        let came = boot(&files, &bridge, "CS-1", none).await;
        assert!(
            came == alert(missing) || came == alert("CertificateRequired"),
            "{came:?}"
        );
    }
}

#[tokio::test]
async fn without_a_list_a_valid_certificate_is_enough_and_an_expired_one_is_not() {
    let files = Files::make();
    let (bridge, _ra) = profile_3(&files, "", "").await;
    assert_eq!(boot(&files, &bridge, "CS-1", shows("cs-1")).await, accepted());
    assert_eq!(boot(&files, &bridge, "CS-1", shows("idevid")).await, pending());
    assert_eq!(
        boot(&files, &bridge, "CS-1", shows("expired")).await,
        Taken::Refused(401)
    );
    assert_eq!(
        boot(&files, &bridge, "CS-2", shows("cs-1")).await,
        Taken::Refused(401)
    );
}

#[tokio::test]
async fn an_expired_certificate_is_refused_in_tls_where_that_is_configured() {
    let files = Files::make();
    let list = files.write("stations.toml", "[CS-1]\n");
    let access = format!("stations = '{list}'\nexpired_certificates = 'refuse'");
    let (bridge, _ra) = profile_3(&files, &access, "").await;
    assert_eq!(
        boot(&files, &bridge, "CS-1", shows("expired")).await,
        alert("CertificateExpired")
    );
}

#[tokio::test]
async fn a_crl_counts_in_pem_and_in_der_and_past_its_next_update_only_if_that_is_configured() {
    let files = Files::make();
    for (crls, certificate, expected) in [
        ("crls = ['{}/none.crl']", "revoked", accepted()),
        (
            "crls = ['{}/revoked.der']",
            "revoked",
            alert("CertificateRevoked"),
        ),
        ("crls = ['{}/revoked.der']", "cs-1", accepted()),
        // The manufacturer's CA has no CRL, and needs none.
        ("crls = ['{}/revoked.der']", "idevid", pending()),
        (
            "crls = ['{}/old.crl']\nexpired_crls = 'accept'",
            "cs-1",
            accepted(),
        ),
    ] {
        let (bridge, _ra) = profile_3(&files, "", crls).await;
        let came = boot(&files, &bridge, "CS-1", shows(certificate)).await;
        assert_eq!(came, expected, "{certificate} with {crls}");
    }
    let (bridge, _ra) = profile_3(&files, "", "crls = ['{}/old.crl']").await;
    let came = boot(&files, &bridge, "CS-1", shows("cs-1")).await;
    assert!(matches!(came, Taken::Alert(_)), "{came:?}");
}

#[tokio::test]
async fn who_is_let_in_for_cmp_only_can_call_nothing_and_is_served_by_pull() {
    let files = Files::make();
    let (bridge, ra) = profile_3(&files, "", "").await;
    let mut station = connect(&files, &bridge, "CS-1", shows("idevid")).await.unwrap();
    // Before its boot and after it: nothing but BootNotification.
    for _ in 0..2 {
        for action in ["Heartbeat", "DataTransfer"] {
            let answer = station
                .call(action, json!({"vendorId": "io.github.ocpp-cmp"}))
                .await;
            assert_eq!((&answer[0], &answer[2]), (&json!(4), &json!("SecurityError")));
        }
        assert_eq!(station.boot().await, "Pending");
    }
    let request = sequence(90, 1);
    let id = exchange_id(1);
    loop {
        let (call, operation, data) = station.called().await;
        if operation == "CmpDeliver" {
            assert_eq!(data, whole(Some(&id), &sequence(600, 7)));
            station.respond(&call, json!({"done": true})).await;
            break;
        }
        let is_new = data["have"] == json!([]);
        let answer = match is_new {
            true => harness::chunk(&id, &request, 0, 90),
            false => json!({"wait": 1}),
        };
        station.respond(&call, answer).await;
    }
    assert_eq!(ra.requests(), [request]);
    // Served or not, with this certificate it stays Pending; with that of the operator it is let in.
    assert_eq!(station.boot().await, "Pending");
    assert_eq!(boot(&files, &bridge, "CS-1", shows("cs-1")).await, accepted());
}

/// Stations with passwords: CS-1 with a text, CS-2 with a key of OCPP 1.6.
fn passwords(files: &Files) -> String {
    let key = csms_bridge::parse_authorization_key("000102030405060708090a0b0c0d0e0fffffffff").unwrap();
    let text = format!(
        "[CS-1]\npassword = '{}'\n[CS-2]\npassword = '{}'\n[CS-3]\n",
        verifier(b"a-password-of-16"),
        verifier(&key)
    );
    files.write("stations.toml", text)
}

#[tokio::test]
async fn security_profile_1_asks_for_the_password_of_the_identity() {
    let files = Files::make();
    let ra = ra().await;
    let settings = format!(
        "security_profile = 1\n[access]\nstations = '{}'\n",
        passwords(&files)
    );
    let bridge = Bridge::start(&[&ra.url], &settings, "").await;
    let binary = b"\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f\xff\xff\xff\xff";
    for (identity, shown, expected) in [
        ("CS-1", gives("CS-1", b"a-password-of-16"), accepted()),
        ("CS-2", gives("CS-2", binary), accepted()),
        ("CS-1", gives("CS-1", b"a-password-of-17"), Taken::Refused(401)),
        ("CS-1", gives("CS-1", b""), Taken::Refused(401)),
        ("CS-1", gives("CS-2", binary), Taken::Refused(401)),
        ("CS-1", Shows::default(), Taken::Refused(401)),
        ("CS-3", gives("CS-3", b"anything"), Taken::Refused(401)),
        ("CS-9", gives("CS-9", b"a-password-of-16"), Taken::Refused(404)),
    ] {
        let stream = TcpStream::connect(bridge.addresses[0]).await.unwrap();
        let url = station_url(&bridge.base, identity);
        let came = Station::connect_over(Box::new(stream), &url, &options(shown)).await;
        assert_eq!(taken(came).await, expected, "{identity}");
    }
}

#[tokio::test]
async fn security_profile_2_asks_for_the_password_unless_a_certificate_is_shown() {
    let files = Files::make();
    let ra = ra().await;
    let tls = files.tls("client_auth = 'optional'\nclient_cas = ['{}/operator.crt']");
    let list = passwords(&files);
    let settings =
        format!("security_profile = 2\n{tls}\n[access]\nstations = '{list}'\norganizations = ['Operator']\n");
    let bridge = Bridge::start(&[&ra.url], &settings, "").await;
    let right = gives("CS-1", b"a-password-of-16");
    assert_eq!(boot(&files, &bridge, "CS-1", right).await, accepted());
    let wrong = gives("CS-1", b"a-password-of-17");
    assert_eq!(boot(&files, &bridge, "CS-1", wrong).await, Taken::Refused(401));
    assert_eq!(
        boot(&files, &bridge, "CS-1", Shows::default()).await,
        Taken::Refused(401)
    );
    assert_eq!(
        boot(&files, &bridge, "CS-3", shows("cs-1")).await,
        Taken::Refused(401)
    );
    assert_eq!(boot(&files, &bridge, "CS-1", shows("cs-1")).await, accepted());
    // A certificate that is shown has to be right, whatever the password.
    let both = Shows {
        certificate: Some("cs-2"),
        ..right
    };
    assert_eq!(boot(&files, &bridge, "CS-1", both).await, Taken::Refused(401));
}

#[tokio::test]
async fn wrong_passwords_are_throttled_and_the_right_one_that_is_known_is_not() {
    let files = Files::make();
    let ra = ra().await;
    let list = passwords(&files);
    let settings = format!(
        "security_profile = 2\n{}\n[access]\nstations = '{list}'\n",
        files.tls("")
    );
    let bridge = Bridge::start(&[&ra.url], &settings, "").await;
    let right = gives("CS-1", b"a-password-of-16");
    assert_eq!(boot(&files, &bridge, "CS-1", right).await, accepted());
    for attempt in 0..8 {
        let wrong = gives("CS-1", b"a-password-of-17");
        let status = if attempt < 5 { 401 } else { 429 };
        assert_eq!(boot(&files, &bridge, "CS-1", wrong).await, Taken::Refused(status));
    }
    assert_eq!(boot(&files, &bridge, "CS-1", right).await, accepted());
}

#[tokio::test]
async fn a_reload_counts_for_new_connections_and_leaves_the_old_ones_alone() {
    let files = Files::make();
    files.copy("server.crt", "now.crt");
    files.copy("server.key", "now.key");
    files.copy("none.crl", "now.crl");
    let list = files.write("stations.toml", "[CS-1]\n");
    let tls = files
        .tls(&format!("{PROFILE_3}\ncrls = ['{{}}/now.crl']"))
        .replace("/server.", "/now.");
    let settings =
        format!("security_profile = 3\n{tls}\n[access]\norganizations = ['Operator']\nstations = '{list}'\n");
    let ra = ra().await;
    let bridge = Bridge::start(&[&ra.url], &settings, "").await;
    let server = async |bridge: &Bridge| {
        let stream = tls::tls_to(&files, bridge.addresses[0], shows("cs-1"))
            .await
            .unwrap();
        stream.get_ref().1.peer_certificates().unwrap()[0]
            .clone()
            .into_owned()
    };
    let mut station = connect(&files, &bridge, "CS-1", shows("revoked")).await.unwrap();
    assert_eq!(station.boot().await, "Accepted");
    assert_eq!(server(&bridge).await, files.certificate("server"));

    // What cannot be used changes nothing: a key of another certificate, a broken CRL, a broken list.
    files.copy("server-2.crt", "now.crt");
    files.write("stations.toml", "[CS-2]\n[CS-1");
    bridge.reload.run();
    assert_eq!(server(&bridge).await, files.certificate("server"));
    assert_eq!(
        boot(&files, &bridge, "CS-2", shows("cs-2")).await,
        Taken::Refused(404)
    );
    files.copy("server-2.key", "now.key");
    files.write("now.crl", "no CRL");
    bridge.reload.run();
    assert_eq!(server(&bridge).await, files.certificate("server"));

    files.copy("revoked.crl", "now.crl");
    files.write("stations.toml", "[CS-2]\n");
    bridge.reload.run();
    assert_eq!(server(&bridge).await, files.certificate("server-2"));
    assert_eq!(boot(&files, &bridge, "CS-2", shows("cs-2")).await, accepted());
    assert_eq!(
        boot(&files, &bridge, "CS-1", shows("cs-1")).await,
        Taken::Refused(404)
    );
    assert_eq!(
        boot(&files, &bridge, "CS-1", shows("revoked")).await,
        alert("CertificateRevoked")
    );
    assert_eq!(station.call("Heartbeat", json!({})).await[0], 3, "still there");
}

#[tokio::test]
async fn an_exchange_id_is_of_its_station_at_its_listener_and_of_no_other() {
    let ra = ra().await;
    let settings = "[listeners.other]\nlisten = '127.0.0.1:0'\n";
    let bridge = Bridge::start(&[&ra.url], settings, "").await;
    let id = exchange_id(1);
    let mut station = Station::connect(&bridge, "CS-1").await;
    let answer = station.submit(&id, &sequence(90, 1)).await;
    assert_eq!(answer, whole(None, &sequence(600, 7)));
    let mut others = vec![Station::connect(&bridge, "CS-2").await];
    for (address, path) in [(1, "/ocpp/CS-1"), (0, "/CS-1"), (0, "/ocpp/x/CS-1")] {
        let stream = TcpStream::connect(bridge.addresses[address]).await.unwrap();
        let url = format!("ws://localhost{path}");
        others.push(
            Station::connect_over(Box::new(stream), &url, &options(Shows::default()))
                .await
                .unwrap(),
        );
    }
    for other in &mut others {
        let fetched = other.cmp("CmpFetch", json!({"id": id, "off": 0})).await;
        assert_eq!(fetched["error"]["code"], "unknown-exchange", "{fetched}");
        let acked = other.cmp("CmpFetch", json!({"ack": [id]})).await;
        assert_eq!(acked, json!({}));
    }
    // Still the station's, and not acknowledged by any other.
    let fetched = station.cmp("CmpFetch", json!({"id": id, "off": 0})).await;
    assert_eq!(fetched, whole(None, &sequence(600, 7)));
}

/// What became of a message sent on a route: its exchange number decides the id.
async fn sent(station: &mut Station, number: u8, route: &str, message: &[u8]) -> String {
    let id = exchange_id(number);
    let mut call = harness::chunk(&id, message, 0, message.len());
    call["route"] = route.into();
    let answer = station.cmp("CmpSend", call).await;
    station.cmp("CmpFetch", json!({"ack": [id]})).await;
    answer["error"]["code"].as_str().unwrap_or("sent").into()
}

#[tokio::test]
async fn a_station_sends_the_kinds_of_messages_that_it_may_on_the_routes_that_it_may() {
    let ra = ra().await;
    let files = tempfile::NamedTempFile::new().unwrap();
    let list = "[CS-1]\noperations = ['ir', 'genm']\nroutes = ['other']\n[CS-2]\n";
    std::fs::write(files.path(), list).unwrap();
    let access = format!(
        "[access]\nstations = '{}'\noperations = ['kur']\n",
        files.path().display()
    );
    let route = format!("[routes.other]\nurls = ['{}']\n", ra.url);
    let bridge = Bridge::start(&[&ra.url], &access, &route).await;
    let mut one = Station::connect(&bridge, "CS-1").await;
    let mut two = Station::connect(&bridge, "CS-2").await;
    for (number, (file, of_one, of_two)) in [
        ("ir_sig.1.req.der", "sent", "forbidden"),
        ("ir_sig.2.req.der", "sent", "sent"),
        ("poll.2.req.der", "sent", "sent"),
        ("kur.1.req.der", "forbidden", "sent"),
        ("genm.1.req.der", "sent", "forbidden"),
        ("rr.1.req.der", "forbidden", "forbidden"),
    ]
    .into_iter()
    .enumerate()
    {
        let number = u8::try_from(number).unwrap();
        assert_eq!(
            sent(&mut one, number, "other", &fixture(file)).await,
            of_one,
            "{file}"
        );
        assert_eq!(
            sent(&mut two, number, "other", &fixture(file)).await,
            of_two,
            "{file}"
        );
    }
    assert_eq!(
        sent(&mut one, 20, "default", &fixture("ir_sig.1.req.der")).await,
        "forbidden"
    );
    // What cannot be read is no kind that it may send.
    assert_eq!(sent(&mut one, 21, "other", &sequence(90, 1)).await, "forbidden");
    assert_eq!(ra.requests().len(), 7);
}

#[tokio::test]
async fn the_certificate_that_protects_a_message_is_the_stations_where_that_is_enforced() {
    let signer = "7A:08:0F:F2:A4:B4:C7:35:AD:B5:C2:16:24:07:43:2E:96:6A:45:50";
    let files = tempfile::NamedTempFile::new().unwrap();
    let list =
        format!("[CS-1]\ncertificate_serials = ['{signer}']\n[CS-2]\ncertificate_serials = ['01']\n[CS-3]\n");
    std::fs::write(files.path(), list).unwrap();
    let enrolment = fixture("ir_sig.1.req.der");
    for (mode, of_two) in [("off", "sent"), ("log", "sent"), ("enforce", "forbidden")] {
        let ra = ra().await;
        let settings = format!(
            "[access]\nstations = '{}'\nprotection_serials = '{mode}'\n",
            files.path().display()
        );
        let bridge = Bridge::start(&[&ra.url], &settings, "").await;
        for (number, identity, message, expected) in [
            (1, "CS-1", &enrolment, "sent"),
            (2, "CS-2", &enrolment, of_two),
            (3, "CS-2", &fixture("ir_pbm.1.req.der"), of_two),
            (4, "CS-3", &enrolment, "sent"),
        ] {
            let mut station = Station::connect(&bridge, identity).await;
            let came = sent(&mut station, number, "default", message).await;
            assert_eq!(came, expected, "{number}: {identity}, {mode}");
        }
        let reached = if of_two == "sent" { 4 } else { 2 };
        assert_eq!(ra.requests().len(), reached);
    }
}

#[tokio::test]
async fn connections_above_the_limit_of_an_address_are_refused_with_429() {
    let ra = ra().await;
    let bridge = Bridge::start(&[&ra.url], "max_connections_per_address = 1", "").await;
    let _station = Station::connect(&bridge, "CS-1").await;
    let refused = Station::connect_as(&bridge, "CS-2", ocpp_rpc::Version::V1_6).await;
    assert!(matches!(refused, Err(Error::Refused(429))));
    // Another address has its own.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
    let stream = soon(socket.connect(bridge.addresses[0])).await.unwrap();
    let url = station_url(&bridge.base, "CS-2");
    Station::connect_over(Box::new(stream), &url, &options(Shows::default()))
        .await
        .unwrap();
}
