//! What a station meets: the small CSMS, the binding, its errors and its limits.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    unreachable_pub
)]

mod harness;

use harness::{Bridge, FakeRa, Reaction, Station, chunk, exchange_id, message, sequence, whole};
use ocpp_rpc::Version;
use ocpp_rpc::ws::{CloseCode, Error};
use serde_json::json;
use tokio::sync::watch;

async fn ra() -> FakeRa {
    FakeRa::start(|_, _| Reaction::Answer("200 OK", sequence(5000, 7))).await
}

#[tokio::test]
async fn every_version_gets_what_a_station_needs_to_stay() {
    let ra = ra().await;
    let bridge = Bridge::start(&[&ra.url], "heartbeat_interval_s = 77", "").await;
    for version in Version::ALL {
        let mut station = Station::connect_as(&bridge, "CS1", version).await.unwrap();
        let boot = station
            .call(
                "BootNotification",
                json!({"chargePointVendor": "v", "chargePointModel": "m"}),
            )
            .await;
        assert_eq!(
            (&boot[0], &boot[2]["status"], &boot[2]["interval"]),
            (&json!(3), &json!("Accepted"), &json!(77))
        );
        let time = boot[2]["currentTime"].as_str().unwrap();
        assert!(time.len() == 24 && time.ends_with('Z'), "{time}");
        let beat = station.call("Heartbeat", json!({})).await;
        assert_eq!(beat[2].as_object().unwrap().len(), 1);
        assert_eq!(station.call("StatusNotification", json!({})).await[2], json!({}));
        assert_eq!(
            station.call("SecurityEventNotification", json!({})).await[2],
            json!({})
        );
        let other = station.call("Authorize", json!({"idTag": "x"})).await;
        assert_eq!((&other[0], &other[2]), (&json!(4), &json!("NotImplemented")));
        let unknown = station
            .call(
                "DataTransfer",
                json!({"vendorId": "other", "messageId": "CmpHello"}),
            )
            .await;
        assert_eq!(unknown[2], json!({"status": "UnknownVendorId"}));
        for payload in [
            json!({"vendorId": "IO.GitHub.ocpp-cmp", "messageId": "CmpWhat", "data": "{}"}),
            json!({"vendorId": "io.github.ocpp-cmp"}),
            json!({"vendorId": "io.github.ocpp-cmp", "messageId": "CmpPull", "data": "{}"}),
        ] {
            let unknown = station.call("DataTransfer", payload).await;
            assert_eq!(unknown[2], json!({"status": "UnknownMessageId"}));
        }
        let broken = station.call("DataTransfer", json!({"data": 1})).await;
        assert_eq!(broken[0], 4);
    }
}

#[tokio::test]
async fn data_that_came_as_an_object_is_answered_as_an_object() {
    let ra = ra().await;
    let bridge = Bridge::start(&[&ra.url], "", "").await;
    let mut station = Station::connect(&bridge, "CS1").await;
    let data = json!({"v": [1], "unit": 65536});
    let payload = json!({"vendorId": "io.github.ocpp-cmp", "messageId": "cmphello", "data": data});
    let answer = station.call("DataTransfer", payload).await;
    assert_eq!(
        answer[2]["data"],
        json!({"v": 1, "unit": 65536, "max": 65536, "routes": ["default"]})
    );
}

#[tokio::test]
async fn a_response_that_takes_longer_than_the_budget_is_announced_and_fetched() {
    let (answer_now, when) = watch::channel(false);
    let mut ra = FakeRa::start(move |_, _| Reaction::Later(when.clone(), sequence(5000, 7))).await;
    let bridge = Bridge::start(&[&ra.url], "answer_budget_ms = 20", "").await;
    let mut station = Station::connect(&bridge, "CS1").await;
    let outcome = station.submit(&exchange_id(1), &sequence(9, 1)).await;
    assert!(
        outcome["wait"].as_u64().is_some_and(|wait| wait >= 1),
        "{outcome}"
    );
    // Nothing else waits meanwhile, and a repeated call asks nobody again.
    station.call("Heartbeat", json!({})).await;
    assert!(
        station
            .submit(&exchange_id(1), &sequence(9, 1))
            .await
            .get("wait")
            .is_some()
    );
    ra.asked(1).await;
    answer_now.send_replace(true);
    let (call, operation, data) = station.called().await;
    assert_eq!(
        (operation.as_str(), data),
        ("CmpNotify", json!({"ready": exchange_id(1)}))
    );
    station.respond(&call, json!({})).await;
    let mut held = 0;
    while held < 5000 {
        let outcome = station
            .cmp("CmpFetch", json!({"id": exchange_id(1), "off": held}))
            .await;
        assert_eq!((&outcome["len"], &outcome["off"]), (&json!(5000), &json!(held)));
        let data = outcome["data"].as_str().unwrap();
        held += data.len() / 4 * 3 - data.bytes().filter(|byte| *byte == b'=').count();
    }
    assert_eq!(
        station.cmp("CmpFetch", json!({"ack": [exchange_id(1)]})).await,
        json!({})
    );
    assert_eq!(
        station.submit(&exchange_id(1), &sequence(9, 1)).await,
        json!({"done": true})
    );
    assert_eq!(ra.requests().len(), 1);
}

#[tokio::test]
async fn each_error_of_the_station_has_its_code() {
    let ra = ra().await;
    let settings = "max_message_bytes = 2048";
    let bridge = Bridge::start(&[&ra.url], settings, "").await;
    let mut station = Station::connect(&bridge, "CS1").await;
    let big = sequence(2049, 1);
    let part = sequence(1000, 1);
    let id = exchange_id(1);
    let mut routed = chunk(&id, &part, 0, 10);
    routed["route"] = "elsewhere".into();
    let mut broken = part.clone();
    broken[3] ^= 1;
    for (operation, data, code, retry) in [
        ("CmpSend", json!({"id": id}), "malformed", false),
        (
            "CmpSend",
            json!({"id": id, "len": 9, "off": 0, "data": "?"}),
            "malformed",
            false,
        ),
        ("CmpHello", json!({"v": [2]}), "unsupported", false),
        ("CmpSend", chunk(&id, &big, 0, 10), "too-large", false),
        ("CmpSend", routed, "forbidden", false),
        ("CmpFetch", json!({"id": id, "off": 0}), "unknown-exchange", false),
        ("CmpSend", chunk(&id, &part, 10, 10), "gap", true),
        (
            "CmpSend",
            chunk(&exchange_id(2), &broken, 0, 1000),
            "malformed",
            false,
        ),
    ] {
        let error = station.error(operation, data.clone()).await;
        assert_eq!(error, (code.into(), retry), "{operation} {data}");
    }
    assert_eq!(
        station.cmp("CmpSend", chunk(&id, &part, 0, 10)).await,
        json!({"next": 10})
    );
    assert_eq!(
        station.error("CmpSend", chunk(&id, &part, 30, 10)).await,
        ("gap".into(), true)
    );
    assert_eq!(
        station
            .error("CmpSend", chunk(&id, &sequence(1000, 2), 0, 10))
            .await,
        ("conflict".into(), false)
    );
    assert!(ra.requests().is_empty());
    // The RA's answer is above what this bridge is told to take.
    let error = station
        .error("CmpSend", chunk(&exchange_id(3), &sequence(9, 1), 0, 9))
        .await;
    assert_eq!(error, ("ra-bad-response".into(), false));
}

#[tokio::test]
async fn a_response_above_the_max_of_the_station_is_response_too_large() {
    let ra = ra().await;
    let bridge = Bridge::start(&[&ra.url], "", "").await;
    let mut station = Station::connect(&bridge, "CS1").await;
    station.cmp("CmpHello", json!({"v": [1], "max": 4999})).await;
    let error = station
        .error("CmpSend", chunk(&exchange_id(1), &sequence(9, 1), 0, 9))
        .await;
    assert_eq!(error, ("response-too-large".into(), false));
}

#[tokio::test]
async fn a_station_that_calls_too_often_or_for_too_much_is_told_busy() {
    let (_never, when) = watch::channel(false);
    let ra = FakeRa::start(move |_, _| Reaction::Later(when.clone(), sequence(9, 1))).await;
    let settings = "max_calls_per_minute = 5\nmax_exchanges = 1\nanswer_budget_ms = 20\ndrain_s = 0";
    let bridge = Bridge::start(&[&ra.url], settings, "").await;
    let mut station = Station::connect(&bridge, "CS1").await;
    assert!(
        station
            .submit(&exchange_id(1), &sequence(9, 1))
            .await
            .get("wait")
            .is_some()
    );
    // One is with the RA: nothing can be evicted for another.
    let second = chunk(&exchange_id(2), &sequence(9, 2), 0, 9);
    assert_eq!(
        station.error("CmpSend", second.clone()).await,
        ("busy".into(), true)
    );
    for _ in 0..3 {
        station
            .cmp("CmpFetch", json!({"id": exchange_id(1), "off": 0}))
            .await;
    }
    let fetch = json!({"id": exchange_id(1), "off": 0});
    assert_eq!(station.error("CmpFetch", fetch).await, ("busy".into(), true));
    // Another station is not concerned.
    let mut other = Station::connect(&bridge, "CS2").await;
    assert!(other.cmp("CmpSend", second).await.get("wait").is_some());
}

#[tokio::test]
async fn a_station_that_opens_a_thousand_exchanges_has_four() {
    let ra = ra().await;
    let bridge = Bridge::start(&[&ra.url], "max_calls_per_minute = 2000", "").await;
    let mut station = Station::connect(&bridge, "CS1").await;
    let request = sequence(900, 1);
    let id = |number: u16| {
        let mut bytes = [0; 16];
        bytes[..2].copy_from_slice(&number.to_be_bytes());
        cmp_binding::ExchangeId::from_random(bytes).to_string()
    };
    for number in 0..1_000 {
        let first = chunk(&id(number), &request, 0, 100);
        assert_eq!(station.cmp("CmpSend", first).await, json!({"next": 100}));
    }
    for (number, held) in [(0, false), (995, false), (996, true), (999, true)] {
        let answer = station.cmp("CmpFetch", json!({"id": id(number), "off": 0})).await;
        assert_eq!(answer.get("next").is_some(), held, "{number}: {answer}");
    }
    assert_eq!(station.submit(&id(1_000), &request).await["len"], 5_000);
}

#[tokio::test]
async fn memory_for_all_stations_has_an_end() {
    let (_never, when) = watch::channel(false);
    let ra = FakeRa::start(move |_, _| Reaction::Later(when.clone(), sequence(9, 1))).await;
    let settings = "max_message_bytes = 2048\nmax_bytes = 4096\nanswer_budget_ms = 20\ndrain_s = 0";
    let bridge = Bridge::start(&[&ra.url], settings, "").await;
    let mut first = Station::connect(&bridge, "CS1").await;
    assert!(
        first
            .submit(&exchange_id(1), &sequence(2000, 1))
            .await
            .get("wait")
            .is_some()
    );
    let mut second = Station::connect(&bridge, "CS2").await;
    let error = second
        .error("CmpSend", chunk(&exchange_id(1), &sequence(2000, 1), 0, 2000))
        .await;
    assert_eq!(error, ("busy".into(), true));
}

#[tokio::test]
async fn a_station_sees_only_its_own_exchanges() {
    let ra = ra().await;
    let bridge = Bridge::start(&[&ra.url], "", "").await;
    let mut station = Station::connect(&bridge, "CS1").await;
    station.submit(&exchange_id(1), &sequence(9, 1)).await;
    let mut other = Station::connect(&bridge, "CS2").await;
    let fetch = json!({"id": exchange_id(1), "off": 0});
    assert_eq!(
        other.error("CmpFetch", fetch.clone()).await,
        ("unknown-exchange".into(), false)
    );
    other.cmp("CmpFetch", json!({"ack": [exchange_id(1)]})).await;
    assert_eq!(station.cmp("CmpFetch", fetch).await["len"], 5000);
}

#[tokio::test]
async fn an_exchange_goes_on_over_reconnects_at_every_point() {
    let (answer_now, when) = watch::channel(false);
    let mut ra = FakeRa::start(move |_, _| Reaction::Later(when.clone(), sequence(600, 7))).await;
    let bridge = Bridge::start(&[&ra.url], "answer_budget_ms = 20000", "").await;
    let (id, request) = (exchange_id(1), message("transaction", 1));
    let fetch = json!({"id": id, "off": 0});
    let mut station = Station::connect(&bridge, "CS1").await;
    station.cmp("CmpSend", chunk(&id, &request, 0, 10)).await;
    drop(station);
    // The upload goes on where it was.
    let mut station = Station::connect(&bridge, "CS1").await;
    assert_eq!(station.cmp("CmpFetch", fetch.clone()).await, json!({"next": 10}));
    station.begin_cmp("CmpSend", chunk(&id, &request, 10, 200)).await;
    ra.asked(1).await;
    drop(station);
    // The RA has it: the answer comes on another connection.
    let mut station = Station::connect(&bridge, "CS1").await;
    assert!(station.cmp("CmpFetch", fetch.clone()).await.get("wait").is_some());
    answer_now.send_replace(true);
    let (_, operation, data) = station.called().await;
    assert_eq!((operation.as_str(), data), ("CmpNotify", json!({"ready": id})));
    drop(station);
    // The answer is kept until it is acknowledged.
    for _ in 0..2 {
        let mut station = Station::connect(&bridge, "CS1").await;
        assert_eq!(
            station.cmp("CmpFetch", fetch.clone()).await,
            whole(None, &sequence(600, 7))
        );
    }
    let mut station = Station::connect(&bridge, "CS1").await;
    station.cmp("CmpFetch", json!({"ack": [id]})).await;
    assert_eq!(station.cmp("CmpFetch", fetch).await, json!({"done": true}));
    assert_eq!(ra.requests(), [request]);
}

#[tokio::test]
async fn the_newest_connection_of_a_station_wins() {
    let (answer_now, when) = watch::channel(false);
    let mut ra = FakeRa::start(move |_, _| Reaction::Later(when.clone(), sequence(600, 7))).await;
    let bridge = Bridge::start(&[&ra.url], "answer_budget_ms = 20000", "").await;
    let mut old = Station::connect(&bridge, "CS1").await;
    old.begin_cmp("CmpSend", chunk(&exchange_id(1), &sequence(9, 1), 0, 9))
        .await;
    ra.asked(1).await;
    let mut new = Station::connect(&bridge, "CS1").await;
    assert_eq!(old.closed().await, CloseCode::POLICY);
    // The end of the old one takes nothing from the new one: the doorbell rings there.
    answer_now.send_replace(true);
    let (_, operation, data) = new.called().await;
    assert_eq!(
        (operation.as_str(), data),
        ("CmpNotify", json!({"ready": exchange_id(1)}))
    );
}

#[tokio::test]
async fn a_frame_above_the_hard_cap_closes_with_1009() {
    let ra = ra().await;
    let bridge = Bridge::start(&[&ra.url], "max_frame_bytes = 4096\nunit_bytes = 4096", "").await;
    let mut station = Station::connect(&bridge, "CS1").await;
    // Above the unit and below the cap is answered.
    station
        .cmp("CmpHello", json!({"v": [1], "pad": "x".repeat(3800)}))
        .await;
    station
        .send(format!(
            "[2,\"x\",\"Heartbeat\",{{\"pad\":\"{}\"}}]",
            "x".repeat(5000)
        ))
        .await;
    assert_eq!(station.closed().await, CloseCode::TOO_LARGE);
}

#[tokio::test]
async fn a_connection_above_the_limit_is_refused_with_503() {
    let ra = ra().await;
    let bridge = Bridge::start(&[&ra.url], "max_connections = 1", "").await;
    let station = Station::connect(&bridge, "CS1").await;
    let refused = Station::connect_as(&bridge, "CS2", Version::V1_6).await;
    assert!(matches!(refused, Err(Error::Refused(503))));
    drop(station);
}

#[tokio::test]
async fn stations_above_the_limit_take_the_place_of_those_that_are_away() {
    let ra = ra().await;
    let bridge = Bridge::start(&[&ra.url], "max_connections = 2\nmax_stations = 2", "").await;
    for number in 0..5 {
        let mut station = loop {
            // The place of the one before is free when its end has been seen.
            match Station::connect_as(&bridge, &format!("CS{number}"), Version::V1_6).await {
                Ok(station) => break station,
                Err(error) => assert!(matches!(error, Error::Refused(503)), "{error}"),
            }
        };
        station.submit(&exchange_id(1), &sequence(9, 1)).await;
        station.cmp("CmpFetch", json!({"ack": [exchange_id(1)]})).await;
    }
}

#[tokio::test]
async fn stopping_lets_what_is_in_flight_finish() {
    let (answer_now, when) = watch::channel(false);
    let mut ra = FakeRa::start(move |_, _| Reaction::Later(when.clone(), sequence(60, 7))).await;
    let bridge = Bridge::start(&[&ra.url], "answer_budget_ms = 20000", "").await;
    let mut idle = Station::connect(&bridge, "CS0").await;
    let mut station = Station::connect(&bridge, "CS1").await;
    let waiting = station
        .begin_cmp("CmpSend", chunk(&exchange_id(1), &sequence(9, 1), 0, 9))
        .await;
    ra.asked(1).await;
    bridge.begin_to_stop();
    // One that has nothing in flight is closed at once; no new one is taken.
    assert_eq!(idle.closed().await, CloseCode::AWAY);
    assert!(Station::connect_as(&bridge, "CS2", Version::V1_6).await.is_err());
    answer_now.send_replace(true);
    assert_eq!(station.cmp_answer(&waiting).await, whole(None, &sequence(60, 7)));
    assert_eq!(station.closed().await, CloseCode::AWAY);
    bridge.stopped().await;
}
