//! The admin address: who is let in, what it says, and what it asks stations.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    unreachable_pub
)]

mod harness;

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;

use harness::{Bridge, FakeRa, Reaction, Station, exchange_id, free_port, http, message, sequence, soon};
use serde_json::{Value, json};

const TOKEN: &str = "0123456789abcdef0123456789abcdef";

async fn answering() -> FakeRa {
    FakeRa::start(|_, _| Reaction::Answer("200 OK", sequence(40, 7))).await
}

async fn open_bridge(settings: &str) -> (Bridge, FakeRa) {
    let ra = answering().await;
    let bridge = Bridge::start(
        &[&ra.url],
        &format!("{settings}\nadmin.listen = \"127.0.0.1:0\""),
        "",
    )
    .await;
    (bridge, ra)
}

fn token_file(dir: &tempfile::TempDir) -> String {
    let path = dir.path().join("token");
    let file = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&path);
    writeln!(file.unwrap(), "{TOKEN}").unwrap();
    path.to_str().unwrap().into()
}

#[tokio::test]
async fn every_path_of_the_description_answers_its_methods_and_no_others() {
    let (bridge, _ra) = open_bridge("").await;
    http::keeps_to_its_description(bridge.admin()).await;
}

#[tokio::test]
async fn without_the_token_nothing_is_told_but_that_the_bridge_lives() {
    let dir = tempfile::tempdir().unwrap();
    let settings = format!("admin.token_file = {:?}", token_file(&dir));
    let (bridge, _ra) = open_bridge(&settings).await;
    for path in ["/healthz", "/readyz", "/openapi.json", "/"] {
        assert_eq!(http::get(bridge.admin(), path).await.status, 200, "{path}");
    }
    for path in [
        "/metrics",
        "/v1/status",
        "/v1/stations",
        "/v1/stations/x",
        "/v1/audit",
    ] {
        let with = async |value: &str| {
            let head = format!("GET {path} HTTP/1.1\r\nAuthorization: {value}");
            http::request(bridge.admin(), &head, "").await
        };
        let refused = http::get(bridge.admin(), path).await;
        assert_eq!(
            (refused.status, refused.problem().as_str()),
            (401, "unauthorized"),
            "{path}"
        );
        assert!(refused.head.contains("www-authenticate: bearer"), "{refused:?}");
        for wrong in [
            "Bearer wrong",
            "Basic 0123456789abcdef",
            &format!("Bearer {TOKEN}0"),
        ] {
            assert_eq!(with(wrong).await.status, 401, "{path} {wrong}");
        }
        let right = with(&format!("Bearer {TOKEN}")).await;
        let expected = if path == "/v1/stations/x" { 404 } else { 200 };
        assert_eq!(right.status, expected, "{path}: {right:?}");
    }
    let notify = json!({"do": "enroll"});
    let refused = http::send_json(bridge.admin(), "POST /v1/stations/x/notify", &notify).await;
    assert_eq!(refused.status, 401);
    let metrics = format!("GET /metrics HTTP/1.1\r\nAuthorization: Bearer {TOKEN}");
    let metrics = http::request(bridge.admin(), &metrics, "").await;
    assert!(
        metrics
            .body
            .contains("csms_bridge_rejects_total{reason=\"admin-access\"} 21"),
        "{metrics:?}"
    );
}

#[tokio::test]
async fn without_a_token_a_page_of_elsewhere_gets_nothing_through_a_browser() {
    let (bridge, _ra) = open_bridge("").await;
    // Its name points to this machine now.
    for (host, status) in [
        ("rebound.example", 403),
        ("127.0.0.1.example:1", 403),
        ("localhost", 200),
        ("LOCALHOST:9", 200),
        ("[::1]:9", 200),
    ] {
        let text = format!("GET /v1/status HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        assert_eq!(
            http::raw(bridge.admin(), text.as_bytes()).await.status,
            status,
            "{host}"
        );
    }
    // What a form can send without the browser asking first.
    for content_type in [
        "text/plain",
        "application/x-www-form-urlencoded",
        "text/plain; application/json",
    ] {
        let head = format!("POST /v1/stations/x/notify HTTP/1.1\r\nContent-Type: {content_type}");
        let answer = http::request(bridge.admin(), &head, "{\"do\":\"enroll\"}").await;
        assert_eq!(
            (answer.status, answer.problem().as_str()),
            (415, "not-json"),
            "{content_type}"
        );
    }
}

#[tokio::test]
async fn what_is_wrong_with_a_request_is_said() {
    let (bridge, _ra) = open_bridge("").await;
    let _station = Station::connect(&bridge, "CS-1").await;
    let post = async |body: &str| {
        let head = "POST /v1/stations/CS-1/notify HTTP/1.1\r\nContent-Type: application/json";
        http::request(bridge.admin(), head, body).await
    };
    for (body, status, code) in [
        ("", 400, "bad-json"),
        ("{", 400, "bad-json"),
        ("[]", 400, "bad-json"),
        ("{}", 400, "bad-json"),
        ("{\"do\":7}", 400, "bad-json"),
        ("{\"do\":\"enroll\",\"when\":\"now\"}", 400, "bad-json"),
        ("{\"do\":\"explode\"}", 400, "bad-value"),
        ("{\"do\":\"enroll\",\"slot\":\"\"}", 400, "bad-value"),
        (
            &format!("{{\"do\":\"enroll\",\"slot\":\"{}\"}}", "s".repeat(65)),
            400,
            "bad-value",
        ),
        (
            &format!("{{\"do\":\"enroll\"}}{}", " ".repeat(5_000)),
            413,
            "too-large",
        ),
    ] {
        let answer = post(body).await;
        assert_eq!(
            (answer.status, answer.problem().as_str()),
            (status, code),
            "{body}"
        );
    }
    for path in [
        "/v1/stations?limit=0",
        "/v1/stations?limit=1001",
        "/v1/stations?limit=x",
        "/v1/stations?after=x",
        "/v1/stations?which=x",
        "/v1/audit?limit=0",
        "/v1/audit?before=-1",
        "/v1/audit?failed=perhaps",
    ] {
        let answer = http::get(bridge.admin(), path).await;
        assert_eq!(
            (answer.status, answer.problem().as_str()),
            (400, "bad-value"),
            "{path}"
        );
    }
    let unknown = http::get(bridge.admin(), "/v1/stations/CS-2").await;
    assert_eq!(
        (unknown.status, unknown.problem().as_str()),
        (404, "unknown-station")
    );
    // A body that is announced and does not come is not waited for in vain, nor is one that has no end.
    let head =
        "POST /v1/stations/CS-1/notify HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n";
    let huge = format!("{head}Connection: close\r\nContent-Length: 99999999999\r\n\r\n{{");
    assert_eq!(
        http::raw(bridge.admin(), huge.as_bytes()).await.problem(),
        "too-large"
    );
    let chunks = "1000\r\n".to_owned() + &" ".repeat(0x1000) + "\r\n";
    let endless = format!(
        "{head}Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n{}",
        chunks.repeat(3)
    );
    assert_eq!(
        http::raw(bridge.admin(), endless.as_bytes()).await.problem(),
        "too-large"
    );
}

#[tokio::test]
async fn stations_are_listed_with_what_they_said_of_themselves() {
    let (bridge, _ra) = open_bridge("").await;
    let mut first = Station::connect(&bridge, "CS-1").await;
    let slots = json!([
        {"slot": "ChargingStationCertificate", "state": "active", "notAfter": "2020-01-01T00:00:00Z"},
        {"slot": "V2G", "state": "<script>alert(1)</script>", "error": "the RA says no"},
    ]);
    first
        .cmp(
            "CmpHello",
            json!({"v": [1], "unit": 4000, "max": 9000, "slots": slots}),
        )
        .await;
    let second = Station::connect(&bridge, "CS-2").await;
    let all = http::get(bridge.admin(), "/v1/stations").await.json();
    assert_eq!(
        (
            &all["total"],
            &all["connected"],
            &all["troubled"],
            &all["matching"]
        ),
        (&json!(2), &json!(2), &json!(1), &json!(2)),
        "{all}"
    );
    let station = &all["stations"][0];
    assert_eq!(
        (&station["identity"], &station["connected"]),
        (&json!("CS-1"), &json!(true))
    );
    assert_eq!(station["trouble"], json!(["error", "expired"]));
    assert_eq!(
        (&station["hello"]["unit"], &station["hello"]["max"]),
        (&json!(4000), &json!(9000))
    );
    let told = &station["hello"]["slots"];
    assert!(told[0]["expires_in_d"].as_i64().unwrap() < -2_000, "{told}");
    assert_eq!(told[1]["state"], "<script>alert(1)</script>");
    assert_eq!(told[1]["error"], "the RA says no");
    assert_eq!(all["stations"][1]["hello"], Value::Null);

    let count = async |path: &str| {
        http::get(bridge.admin(), path).await.json()["stations"]
            .as_array()
            .unwrap()
            .len()
    };
    assert_eq!(count("/v1/stations?trouble=true").await, 1);
    assert_eq!(count("/v1/stations?search=cs-2").await, 1);
    assert_eq!(count("/v1/stations?search=%3cscript").await, 0);
    drop(second);
    // The bridge hears of it soon.
    soon(async {
        while count("/v1/stations?connected=true").await > 1 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(count("/v1/stations").await, 2, "it is still known");
}

#[tokio::test]
async fn pages_of_stations_have_each_of_them_once() {
    let (bridge, _ra) = open_bridge("").await;
    let mut stations = Vec::new();
    for name in ["a", "b \"x\"", "c", "d&e=f", "ü"] {
        stations.push(Station::connect(&bridge, name).await);
    }
    let mut found = Vec::new();
    let mut after = String::new();
    loop {
        let page = http::get(bridge.admin(), &format!("/v1/stations?limit=2{after}"))
            .await
            .json();
        let names = page["stations"].as_array().unwrap().iter();
        found.extend(names.map(|station| station["identity"].as_str().unwrap().to_owned()));
        match page["next"].as_str() {
            Some(next) => after = format!("&after={}", ocpp_rpc::ws::percent_encode(next)),
            None => break,
        }
    }
    assert_eq!(found, ["a", "b \"x\"", "c", "d&e=f", "ü"]);
}

#[tokio::test]
async fn two_stations_of_one_identity_are_told_apart_by_their_path() {
    let (bridge, _ra) = open_bridge("").await;
    let _first = Station::connect(&bridge, "CS-1").await;
    let other = bridge.base.replace("/ocpp", "/other");
    let _second = Station::connect_to(&other, "CS-1", ocpp_rpc::Version::V2_1)
        .await
        .unwrap();
    let both = http::get(bridge.admin(), "/v1/stations/CS-1").await;
    assert_eq!((both.status, both.problem().as_str()), (409, "ambiguous-station"));
    let prefix = http::get(bridge.admin(), "/v1/stations").await.json()["stations"][1]["prefix"].clone();
    let one = format!("/v1/stations/CS-1?prefix={}", prefix.as_str().unwrap());
    let one = http::get(bridge.admin(), &one).await.json();
    assert_eq!(one["station"]["prefix"], prefix);
}

#[tokio::test]
async fn a_station_is_asked_and_its_answer_is_the_answer() {
    let (bridge, _ra) = open_bridge("").await;
    let mut station = Station::connect(&bridge, "CS-1").await;
    let admin = bridge.admin();
    let ask = move |body: Value| {
        tokio::spawn(async move { http::send_json(admin, "POST /v1/stations/CS-1/notify", &body).await })
    };
    let asked = ask(json!({"do": "enroll"}));
    let (call, operation, data) = station.called().await;
    assert_eq!(operation, "CmpNotify");
    assert_eq!(
        data,
        json!({"do": "enroll", "slot": "ChargingStationCertificate"})
    );
    station.respond(&call, json!({})).await;
    assert_eq!(asked.await.unwrap().status, 204);

    let asked = ask(json!({"do": "update", "slot": "V2GCertificate"}));
    let (call, _, data) = station.called().await;
    assert_eq!(data, json!({"do": "update", "slot": "V2GCertificate"}));
    station
        .respond(&call, json!({"error": {"code": "busy", "text": "", "retry": 9}}))
        .await;
    let refused = asked.await.unwrap();
    assert_eq!((refused.status, refused.problem().as_str()), (409, "refused"));
    assert!(refused.json()["detail"].as_str().unwrap().contains("busy"));

    let asked = ask(json!({"do": "crl"}));
    station.called().await;
    drop(station);
    let gone = asked.await.unwrap();
    assert_eq!((gone.status, gone.problem().as_str()), (502, "no-answer"));
    let away = ask(json!({"do": "crl"})).await.unwrap();
    assert_eq!((away.status, away.problem().as_str()), (409, "not-connected"));
}

#[tokio::test]
async fn a_station_that_is_pending_is_asked_once_when_it_boots() {
    let (bridge, ra) =
        open_bridge("hold_pending = true\npending_do = \"enroll\"\npending_slot = \"V2G\"").await;
    let mut station = Station::connect(&bridge, "CS-1").await;
    assert_eq!(station.boot().await, "Pending");
    let (call, operation, data) = station.called().await;
    assert_eq!(
        (operation.as_str(), data),
        ("CmpNotify", json!({"do": "enroll", "slot": "V2G"}))
    );
    station.respond(&call, json!({})).await;
    // What it does then is pulled.
    let (call, operation, _) = station.called().await;
    assert_eq!(operation, "CmpPull");
    let (id, request) = (exchange_id(1), message("t", 1));
    let mut offer = harness::whole(Some(&id), &request);
    offer["route"] = "default".into();
    station.respond(&call, offer).await;
    // It is not asked again within the hour, however often it boots or connects.
    assert_eq!(station.boot().await, "Pending");
    drop(station);
    let mut station = Station::connect(&bridge, "CS-1").await;
    for _ in 0..2 {
        assert_eq!(station.boot().await, "Pending");
        let (call, operation, _) = station.called().await;
        assert_ne!(operation, "CmpNotify");
        station.respond(&call, json!({"idle": true})).await;
    }
    drop(ra);
}

#[tokio::test]
async fn a_request_that_a_station_never_heard_is_made_again() {
    let (bridge, _ra) = open_bridge("hold_pending = true\npending_do = \"enroll\"").await;
    for _ in 0..2 {
        let mut station = Station::connect(&bridge, "CS-1").await;
        assert_eq!(station.boot().await, "Pending");
        let (_, operation, _) = station.called().await;
        assert_eq!(operation, "CmpNotify");
        // The connection breaks before it answers.
        drop(station);
        soon(async {
            let connected = "/v1/stations?connected=true";
            while http::get(bridge.admin(), connected).await.json()["connected"] != 0 {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }
}

#[tokio::test]
async fn the_audit_trail_comes_in_pages_and_says_what_failed() {
    let ra = FakeRa::start(|number, _| match number {
        1 => Reaction::Answer("200 OK", b"no CMP".to_vec()),
        _ => Reaction::Answer("200 OK", sequence(40, 7)),
    })
    .await;
    let bridge = Bridge::start(&[&ra.url], "admin.listen = \"127.0.0.1:0\"", "").await;
    let mut station = Station::connect(&bridge, "CS-1").await;
    for number in 0..3u8 {
        let id = exchange_id(number);
        station.submit(&id, &message("t", number)).await;
        station.cmp("CmpFetch", json!({"ack": [id]})).await;
    }
    let first = http::get(bridge.admin(), "/v1/audit?limit=2").await.json();
    assert_eq!(first["entries"].as_array().unwrap().len(), 2);
    let next = first["next"].as_u64().unwrap();
    let second = http::get(bridge.admin(), &format!("/v1/audit?limit=2&before={next}"))
        .await
        .json();
    assert_eq!(second["entries"].as_array().unwrap().len(), 1, "{second}");
    assert_eq!(second["next"], Value::Null);
    assert_eq!(second["entries"][0]["outcome"], "answered");
    let failed = http::get(bridge.admin(), "/v1/audit?failed=true&identity=CS-1")
        .await
        .json();
    assert_eq!(failed["entries"].as_array().unwrap().len(), 1);
    assert_eq!(
        failed["entries"][0]["outcome"],
        json!({"failed": "ra-bad-response"})
    );
    let station = http::get(bridge.admin(), "/v1/stations/CS-1").await.json();
    assert_eq!(station["exchanges"].as_array().unwrap().len(), 3);

    let metrics = http::get(bridge.admin(), "/metrics").await.body;
    for line in [
        "csms_bridge_connections 1",
        "csms_bridge_exchanges_total{route=\"default\",outcome=\"answered\"} 2",
        "csms_bridge_exchanges_total{route=\"default\",outcome=\"ra-bad-response\"} 1",
        "csms_bridge_exchanges_in_flight 0",
        "csms_bridge_ra_response_seconds_count{route=\"default\"} 2",
        "csms_bridge_rejects_total{reason=\"ra-bad-response\"} 1",
    ] {
        assert!(
            metrics.lines().any(|found| found == line),
            "no {line} in:\n{metrics}"
        );
    }
    assert!(!metrics.contains("CS-1"), "{metrics}");
}

#[tokio::test]
async fn a_bridge_that_is_being_stopped_is_not_ready_and_still_lives() {
    let (bridge, _ra) = open_bridge("").await;
    let ready = http::get(bridge.admin(), "/readyz").await;
    assert_eq!(
        (ready.status, ready.json()),
        (200, json!({"ready": true, "reasons": []}))
    );
    bridge.begin_to_drain();
    let ready = http::get(bridge.admin(), "/readyz").await;
    assert_eq!(ready.status, 503);
    assert_eq!(ready.json()["reasons"], json!(["the bridge is being stopped"]));
    assert_eq!(http::get(bridge.admin(), "/healthz").await.status, 200);
    assert_eq!(
        http::get(bridge.admin(), "/v1/status").await.json()["draining"],
        true
    );
    // Stations are served until it stops.
    let mut station = Station::connect(&bridge, "CS-1").await;
    assert_eq!(station.boot().await, "Accepted");
}

#[tokio::test]
async fn a_route_whose_ra_cannot_be_reached_makes_the_bridge_unready() {
    let url = format!("http://127.0.0.1:{}/cmp", free_port().await);
    let breaker = "breaker_failures = 3";
    let bridge = Bridge::start(&[&url], "admin.listen = \"127.0.0.1:0\"", breaker).await;
    let mut station = Station::connect(&bridge, "CS-1").await;
    for number in 0..3u8 {
        station.submit(&exchange_id(number), &message("t", number)).await;
    }
    let ready = http::get(bridge.admin(), "/readyz").await;
    assert_eq!(
        ready.json()["reasons"],
        json!(["a route has no RA that answers"]),
        "{ready:?}"
    );
    let status = http::get(bridge.admin(), "/v1/status").await.json();
    let target = &status["routes"][0]["targets"][0];
    assert_eq!(
        (&target["state"], &target["last_failure"]),
        (&json!("resting"), &json!("unreachable"))
    );
}

#[tokio::test]
async fn slow_clients_do_not_keep_others_away() {
    let (bridge, _ra) = open_bridge("").await;
    let mut slow = Vec::new();
    for _ in 0..99 {
        let mut stream = tokio::net::TcpStream::connect(bridge.admin()).await.unwrap();
        tokio::io::AsyncWriteExt::write_all(&mut stream, b"GET /healthz HTTP/1.1\r\nHo")
            .await
            .unwrap();
        slow.push(stream);
    }
    assert_eq!(http::get(bridge.admin(), "/healthz").await.status, 200);
}

#[tokio::test]
async fn the_page_may_only_run_what_is_its_own() {
    let (bridge, _ra) = open_bridge("").await;
    let page = http::get(bridge.admin(), "/").await;
    let policy = page
        .head
        .lines()
        .find_map(|line| line.strip_prefix("content-security-policy: "))
        .unwrap();
    assert!(
        policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"),
        "{policy}"
    );
    assert!(!policy.contains("unsafe"), "{policy}");
    assert!(page.head.contains("x-content-type-options: nosniff"));
}
