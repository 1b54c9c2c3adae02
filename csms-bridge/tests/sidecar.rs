//! Mode `sidecar`: a CSMS passes DataTransfers on and takes calls at its webhook.
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

use std::io::Write as _;
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::sync::Arc;

use harness::http::{self, Answer};
use harness::{Bridge, FakeRa, Reaction, chunk, exchange_id, message, sequence, soon};
use serde_json::{Value, json};
use tls::{Files, Shows};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

const SECRET: &str = "fedcba9876543210fedcba9876543210";

fn secret_file(dir: &tempfile::TempDir, name: &str) -> String {
    let path = dir.path().join(name);
    let file = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&path);
    writeln!(file.unwrap(), "{SECRET}").unwrap();
    path.to_str().unwrap().into()
}

/// The webhook of a CSMS: what comes is given to the test, which answers it.
struct Hook {
    url: String,
    calls: mpsc::Receiver<Delivered>,
}

/// One attempt of a call.
struct Delivered {
    head: String,
    body: String,
    stream: TcpStream,
}

impl Delivered {
    fn header(&self, name: &str) -> &str {
        let found = self
            .head
            .lines()
            .find_map(|line| line.strip_prefix(&format!("{name}: ")));
        found.unwrap_or_else(|| panic!("no {name} in {}", self.head))
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    /// Operation and object of the DataTransfer.
    fn call(&self) -> (String, Value) {
        let request = self.json()["request"].clone();
        assert_eq!(request["vendorId"], "io.github.ocpp-cmp");
        let data = serde_json::from_str(request["data"].as_str().unwrap()).unwrap();
        (request["messageId"].as_str().unwrap().into(), data)
    }

    async fn answer(mut self, status: &str, body: &str) {
        let length = body.len();
        let text =
            format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}");
        // The bridge may have gone meanwhile.
        let _ = self.stream.write_all(text.as_bytes()).await;
    }

    async fn respond(self, data: Value) {
        let body = json!({"status": "Accepted", "data": data.to_string()});
        self.answer("200 OK", &body.to_string()).await;
    }
}

impl Hook {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook?of=csms", listener.local_addr().unwrap());
        let (sender, calls) = mpsc::channel(16);
        let sender = Arc::new(sender);
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let sender = Arc::clone(&sender);
                tokio::spawn(async move {
                    if let Some(call) = read(stream).await {
                        let _ = sender.send(call).await;
                    }
                });
            }
        });
        Self { url, calls }
    }

    async fn next(&mut self) -> Delivered {
        soon(self.calls.recv()).await.unwrap()
    }
}

async fn read(mut stream: TcpStream) -> Option<Delivered> {
    let mut bytes = Vec::new();
    loop {
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
        let text = String::from_utf8(bytes.clone()).unwrap();
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            continue;
        };
        let head = head.to_ascii_lowercase();
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "));
        if body.len() == length.unwrap().parse::<usize>().unwrap() {
            let body = body.into();
            return Some(Delivered { head, body, stream });
        }
    }
}

struct Csms {
    bridge: Bridge,
    ra: FakeRa,
    hook: Hook,
    _dir: tempfile::TempDir,
}

impl Csms {
    async fn start(settings: &str) -> Self {
        let ra = FakeRa::start(|_, _| Reaction::Answer("200 OK", sequence(40, 7))).await;
        Self::before(ra, settings).await
    }

    async fn before(ra: FakeRa, settings: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let hook = Hook::start().await;
        let secret = secret_file(&dir, "secret");
        let settings = format!(
            "mode = \"sidecar\"\nadmin.listen = \"127.0.0.1:0\"\nsidecar.webhook = {:?}\nsidecar.webhook_secret_file = {secret:?}\n{settings}",
            hook.url
        );
        Self {
            bridge: Bridge::start(&[&ra.url], &settings, "").await,
            ra,
            hook,
            _dir: dir,
        }
    }

    fn address(&self) -> SocketAddr {
        self.bridge.addresses[0]
    }

    async fn put(&self, id: &str, changes: Value) -> Answer {
        let mut body = json!({"boot": "accepted", "authenticated": "password", "version": "1.6"});
        for (name, value) in changes.as_object().unwrap() {
            body[name] = value.clone();
        }
        http::send_json(self.address(), &format!("PUT /v1/stations/{id}"), &body).await
    }

    async fn transfer(&self, id: &str, operation: &str, data: Value) -> Answer {
        let body =
            json!({"vendorId": "io.github.ocpp-cmp", "messageId": operation, "data": data.to_string()});
        self.post(id, &body).await
    }

    async fn post(&self, id: &str, body: &Value) -> Answer {
        http::send_json(
            self.address(),
            &format!("POST /v1/stations/{id}/data-transfer"),
            body,
        )
        .await
    }

    async fn delete(&self, id: &str, query: &str) -> u16 {
        let head = format!("DELETE /v1/stations/{id}{query} HTTP/1.1");
        http::request(self.address(), &head, "").await.status
    }
}

/// The object that a DataTransfer was answered with.
fn object(answer: &Answer) -> Value {
    let response = answer.json();
    assert_eq!(
        (answer.status, &response["status"]),
        (200, &json!("Accepted")),
        "{answer:?}"
    );
    serde_json::from_str(response["data"].as_str().unwrap()).unwrap()
}

#[tokio::test]
async fn every_path_of_the_description_answers_its_methods_and_no_others() {
    let csms = Csms::start("").await;
    http::keeps_to_its_description(csms.address()).await;
}

#[tokio::test]
async fn a_station_exchanges_through_its_csms() {
    let csms = Csms::start("").await;
    let told = csms.put("CS-1", json!({})).await;
    assert_eq!(
        (told.status, told.json()),
        (200, json!({"lease_s": 300, "served": false})),
        "{told:?}"
    );
    let (id, request) = (exchange_id(1), message("t", 1));
    let answer = csms
        .transfer("CS-1", "CmpSend", chunk(&id, &request, 0, request.len()))
        .await;
    assert_eq!(object(&answer), harness::whole(None, &sequence(40, 7)));
    assert_eq!(csms.ra.requests(), [request]);
    let stations = http::get(csms.bridge.admin(), "/v1/stations").await.json();
    assert_eq!(stations["stations"][0]["connected"], true);
    assert_eq!(stations["stations"][0]["boot"], "accepted");
    // Another cannot see it.
    csms.put("CS-2", json!({})).await;
    let other = csms
        .transfer("CS-2", "CmpFetch", json!({"id": id, "off": 0}))
        .await;
    assert_eq!(object(&other)["error"]["code"], "unknown-exchange");
}

#[tokio::test]
async fn data_is_answered_in_the_form_in_which_it_came() {
    let csms = Csms::start("").await;
    csms.put("CS-1", json!({"version": "2.0.1"})).await;
    let hello = json!({"vendorId": "IO.github.ocpp-cmp", "messageId": "cmphello", "data": {"v": [1]}});
    let answer = csms.post("CS-1", &hello).await.json();
    assert_eq!(answer["data"]["v"], 1, "{answer}");
    let other = json!({"vendorId": "com.example", "data": [1]});
    assert_eq!(
        csms.post("CS-1", &other).await.json(),
        json!({"status": "UnknownVendorId"})
    );
    let unknown = json!({"vendorId": "io.github.ocpp-cmp", "messageId": "Cmp"});
    assert_eq!(
        csms.post("CS-1", &unknown).await.json(),
        json!({"status": "UnknownMessageId"})
    );
}

#[tokio::test]
async fn a_station_that_the_csms_did_not_speak_of_is_not_served() {
    let csms = Csms::start("").await;
    let fetch = json!({"ack": [exchange_id(1)]});
    let refused = csms.transfer("CS-1", "CmpFetch", fetch.clone()).await;
    assert_eq!((refused.status, refused.problem().as_str()), (404, "not-told"));
    csms.put("CS-1", json!({})).await;
    assert_eq!(csms.transfer("CS-1", "CmpFetch", fetch.clone()).await.status, 200);
    assert_eq!(csms.delete("CS-1", "").await, 204);
    assert_eq!(csms.transfer("CS-1", "CmpFetch", fetch).await.status, 404);
    assert_eq!(csms.delete("CS-1", "").await, 204);
    let stations = http::get(csms.bridge.admin(), "/v1/stations").await.json();
    assert_eq!(stations["connected"], 0, "{stations}");
}

#[tokio::test]
async fn the_end_of_an_old_connection_does_not_end_a_new_one() {
    let csms = Csms::start("").await;
    csms.put("CS-1", json!({"connection": "first"})).await;
    csms.put("CS-1", json!({"connection": "second"})).await;
    csms.delete("CS-1", "?connection=first").await;
    let fetch = json!({"ack": [exchange_id(1)]});
    assert_eq!(csms.transfer("CS-1", "CmpFetch", fetch.clone()).await.status, 200);
    let metrics = http::get(csms.bridge.admin(), "/metrics").await.body;
    assert!(metrics.contains("csms_bridge_connections 1\n"), "{metrics}");
    csms.delete("CS-1", "?connection=second").await;
    assert_eq!(csms.transfer("CS-1", "CmpFetch", fetch).await.status, 404);
}

#[tokio::test]
async fn what_is_wrong_with_a_request_is_said() {
    let csms = Csms::start("max_frame_bytes = 70000").await;
    csms.put("CS-1", json!({})).await;
    for (changes, code) in [
        (json!({"boot": "rejected"}), "bad-json"),
        (json!({"authenticated": true}), "bad-json"),
        (json!({"version": "1.5"}), "bad-json"),
        (json!({"unit": 511}), "bad-value"),
        (json!({"unit": -1}), "bad-json"),
        (json!({"connection": ""}), "bad-value"),
        (json!({"connection": "c".repeat(65)}), "bad-value"),
        (json!({"more": 1}), "bad-json"),
    ] {
        let answer = csms.put("CS-1", changes.clone()).await;
        assert_eq!(
            (answer.status, answer.problem().as_str()),
            (400, code),
            "{changes}"
        );
    }
    let none = csms.put("CS-1", json!({"authenticated": "none"})).await;
    assert_eq!((none.status, none.problem().as_str()), (403, "unauthenticated"));
    for id in ["x".repeat(49), "a%0Ab".into()] {
        let answer = csms.put(&id, json!({})).await;
        assert_eq!(
            (answer.status, answer.problem().as_str()),
            (400, "bad-value"),
            "{id}"
        );
    }
    for (body, status, code) in [
        (json!([]), 400, "no-data-transfer"),
        (json!({"messageId": "CmpHello"}), 400, "no-data-transfer"),
        (json!({"vendorId": "v".repeat(256)}), 400, "no-data-transfer"),
        (
            json!({"vendorId": "io.github.ocpp-cmp", "data": "x".repeat(70_000)}),
            413,
            "too-large",
        ),
    ] {
        let answer = csms.post("CS-1", &body).await;
        assert_eq!((answer.status, answer.problem().as_str()), (status, code));
    }
    let head = "POST /v1/stations/CS-1/data-transfer HTTP/1.1\r\nContent-Type: application/json";
    let broken = http::request(csms.address(), head, "{\"vendorId\":").await;
    assert_eq!((broken.status, broken.problem().as_str()), (400, "bad-json"));
}

#[tokio::test]
async fn only_who_has_the_token_is_the_csms() {
    let dir = tempfile::tempdir().unwrap();
    let settings = format!("sidecar.token_file = {:?}", secret_file(&dir, "token"));
    let csms = Csms::start(&settings).await;
    let put = async |authorization: &str| {
        let head =
            format!("PUT /v1/stations/CS-1 HTTP/1.1\r\nContent-Type: application/json\r\n{authorization}");
        let body = "{\"boot\":\"accepted\",\"authenticated\":\"password\",\"version\":\"2.1\"}";
        http::request(csms.address(), &head, body).await
    };
    for wrong in [
        "X: y",
        "Authorization: Bearer wrong",
        "Authorization: Basic ZmVkY2JhOTg3NjU0MzIxMA==",
    ] {
        let refused = put(wrong).await;
        assert_eq!(
            (refused.status, refused.problem().as_str()),
            (401, "unauthorized"),
            "{wrong}"
        );
    }
    assert_eq!(put(&format!("Authorization: Bearer {SECRET}")).await.status, 200);
    assert_eq!(http::get(csms.address(), "/healthz").await.status, 200);
}

/// The status of a PUT over TLS, or the alert that ended TLS.
async fn put_over_tls(files: &Files, address: SocketAddr, shows: Shows<'_>) -> Result<u16, String> {
    let alert = |error: std::io::Error| tls::alert_of(&error);
    let mut stream = tls::tls_to(files, address, shows).await.map_err(alert)?;
    let body = "{\"boot\":\"accepted\",\"authenticated\":\"password\",\"version\":\"2.1\"}";
    let head = "PUT /v1/stations/CS-1 HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nConnection: close";
    let text = format!("{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    stream.write_all(text.as_bytes()).await.map_err(alert)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.map_err(alert)?;
    let answer = String::from_utf8(answer).unwrap();
    Ok(answer.split(' ').nth(1).unwrap().parse().unwrap())
}

#[tokio::test]
async fn a_csms_with_a_certificate_of_the_client_cas_needs_no_token_and_nobody_else_gets_in() {
    let files = Files::make();
    let csms = Csms::start(&files.tls("client_auth = 'required'\nclient_cas = ['{}/operator.crt']")).await;
    let put = async |certificate| {
        let shows = Shows {
            certificate,
            ..Shows::default()
        };
        put_over_tls(&files, csms.address(), shows).await
    };
    assert_eq!(put(Some("cs-1")).await, Ok(200));
    assert_eq!(put(None).await, Err("CertificateRequired".into()));
    assert!(put(Some("idevid")).await.is_err());
}

#[tokio::test]
async fn a_station_that_is_pending_is_served_through_the_webhook() {
    let mut csms = Csms::start("").await;
    csms.put("CS-1", json!({"boot": "pending", "unit": 600})).await;
    let refused = csms.transfer("CS-1", "CmpHello", json!({"v": [1]})).await;
    assert_eq!((refused.status, refused.problem().as_str()), (409, "pending"));
    let (id, request) = (exchange_id(1), message("t", 1));
    let pull = csms.hook.next().await;
    assert!(
        pull.head.starts_with("post /hook?of=csms http/1.1"),
        "{}",
        pull.head
    );
    assert_eq!(
        (pull.call().0.as_str(), &pull.json()["station"]),
        ("CmpPull", &json!("CS-1"))
    );
    let mut offer = harness::whole(Some(&id), &request);
    offer["route"] = "default".into();
    pull.respond(offer).await;
    // It pulls on until the RA has answered.
    let deliver = loop {
        let call = csms.hook.next().await;
        match call.call().0.as_str() {
            "CmpDeliver" => break call,
            _ => call.respond(json!({"wait": 1})).await,
        }
    };
    assert_eq!(deliver.call().1, harness::whole(Some(&id), &sequence(40, 7)));
    deliver.respond(json!({"done": true})).await;
    let pull = csms.hook.next().await;
    assert_eq!(pull.call().0, "CmpPull");
    pull.respond(json!({"idle": true})).await;
    assert_eq!(csms.ra.requests(), [request]);
    // What the CSMS needs to know in order to let it in; soon, as the bridge has to read the last answer.
    soon(async {
        while csms.put("CS-1", json!({"boot": "pending"})).await.json()["served"] != true {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    })
    .await;
    // When its boot is accepted it may call itself.
    csms.put("CS-1", json!({"boot": "accepted"})).await;
    assert_eq!(
        csms.transfer("CS-1", "CmpHello", json!({"v": [1]})).await.status,
        200
    );
}

#[tokio::test]
async fn no_frame_is_larger_than_what_is_between_the_bridge_and_the_station() {
    let ra = FakeRa::start(|_, _| Reaction::Answer("200 OK", sequence(2_000, 7))).await;
    let csms = Csms::before(ra, "").await;
    csms.put("CS-1", json!({"unit": 600})).await;
    csms.transfer("CS-1", "CmpHello", json!({"v": [1], "unit": 4000}))
        .await;
    let (id, request) = (exchange_id(1), message("t", 1));
    let answer = csms
        .transfer("CS-1", "CmpSend", chunk(&id, &request, 0, request.len()))
        .await;
    assert!((400..600).contains(&answer.body.len()), "{}", answer.body.len());
    assert_eq!(object(&answer)["len"], 2_000);
}

#[tokio::test]
async fn a_call_is_tried_again_under_the_same_name_with_a_signature_of_its_own() {
    let mut csms = Csms::start("").await;
    csms.put("CS-1", json!({})).await;
    let admin = csms.bridge.admin();
    let order = json!({"do": "enroll"});
    let asked =
        tokio::spawn(async move { http::send_json(admin, "POST /v1/stations/CS-1/notify", &order).await });
    let first = csms.hook.next().await;
    let (name, body) = (
        first.header("csms-bridge-delivery").to_owned(),
        first.body.clone(),
    );
    assert_eq!(first.json()["delivery"], name.as_str());
    assert_eq!(first.header("content-type"), "application/json");
    first.answer("503 Service Unavailable", "").await;
    let second = csms.hook.next().await;
    assert_eq!(
        (second.header("csms-bridge-delivery"), &second.body),
        (name.as_str(), &body)
    );
    // The connection breaks.
    drop(second);
    let third = csms.hook.next().await;
    let signed = format!("{}.{}", third.header("csms-bridge-timestamp"), third.body);
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, SECRET.as_bytes());
    let expected = aws_lc_rs::hmac::sign(&key, signed.as_bytes());
    let expected: String = expected
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    assert_eq!(
        third.header("csms-bridge-signature"),
        format!("sha256={expected}")
    );
    third.respond(json!({})).await;
    assert_eq!(asked.await.unwrap().status, 204);
    let metrics = http::get(admin, "/metrics").await.body;
    assert!(
        metrics.contains("csms_bridge_webhooks_total{outcome=\"answered\"} 1"),
        "{metrics}"
    );
}

#[tokio::test]
async fn a_call_that_the_csms_does_not_take_is_given_up() {
    let mut csms = Csms::start("sidecar.webhook_attempt_s = 1\nsidecar.webhook_timeout_s = 1").await;
    csms.put("CS-1", json!({})).await;
    let admin = csms.bridge.admin();
    let ask = || async move {
        http::send_json(admin, "POST /v1/stations/CS-1/notify", &json!({"do": "enroll"})).await
    };
    let asked = tokio::spawn(ask());
    // It hangs.
    let hanging = csms.hook.next().await;
    let refused = asked.await.unwrap();
    assert_eq!((refused.status, refused.problem().as_str()), (409, "refused"));
    drop(hanging);
    // The station has no binding.
    let asked = tokio::spawn(ask());
    csms.hook
        .next()
        .await
        .answer("200 OK", "{\"error\":\"NotImplemented\"}")
        .await;
    assert_eq!(asked.await.unwrap().problem(), "refused");
    // It is not connected there any more.
    let asked = tokio::spawn(ask());
    csms.hook.next().await.answer("404 Not Found", "").await;
    assert_eq!(asked.await.unwrap().problem(), "refused");
}

#[tokio::test]
async fn a_station_of_which_the_csms_says_nothing_any_more_is_not_connected() {
    let csms = Csms::start("sidecar.lease_s = 1").await;
    csms.put("CS-1", json!({})).await;
    let fetch = json!({"ack": [exchange_id(1)]});
    assert_eq!(csms.transfer("CS-1", "CmpFetch", fetch.clone()).await.status, 200);
    soon(async {
        while http::get(csms.bridge.admin(), "/v1/stations").await.json()["connected"] != 0 {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    })
    .await;
    assert_eq!(
        csms.transfer("CS-1", "CmpFetch", fetch).await.problem(),
        "not-told"
    );
}
