//! The program is killed at every stage of an exchange, and goes on: no accepted request is lost, no response, and no
//! RA is asked twice.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    unreachable_pub
)]

mod harness;

use harness::program::Program;
use harness::{FakeRa, Reaction, chunk, exchange_id, free_port, message, sequence, whole};
use serde_json::json;
use tempfile::TempDir;
use tokio::sync::watch;

async fn prompt_ra() -> FakeRa {
    FakeRa::start(|_, _| Reaction::Answer("200 OK", sequence(600, 7))).await
}

#[tokio::test]
async fn an_upload_that_was_not_whole_begins_again_under_its_id() {
    let (dir, ra, id, request) = (
        TempDir::new().unwrap(),
        prompt_ra().await,
        exchange_id(1),
        sequence(900, 1),
    );
    let mut bridge = Program::start(&dir, &ra.url, &[]);
    let mut station = bridge.station().await;
    assert_eq!(
        station.cmp("CmpSend", chunk(&id, &request, 0, 500)).await,
        json!({"next": 500})
    );
    bridge.kill();
    let bridge = Program::start(&dir, &ra.url, &[]);
    let mut station = bridge.station().await;
    let fetch = json!({"id": id, "off": 0});
    assert_eq!(
        station.error("CmpFetch", fetch).await,
        ("unknown-exchange".into(), false)
    );
    assert_eq!(
        station.submit(&id, &request).await,
        whole(None, &sequence(600, 7))
    );
    assert_eq!(ra.requests(), [request]);
}

#[tokio::test]
async fn a_request_that_no_ra_could_take_is_forwarded_by_the_next_run_without_its_station() {
    let (dir, id, request) = (TempDir::new().unwrap(), exchange_id(1), sequence(900, 1));
    let port = free_port().await;
    let url = format!("http://127.0.0.1:{port}/cmp");
    let mut bridge = Program::start(&dir, &url, &[]);
    let mut station = bridge.station().await;
    let answer = station.submit(&id, &request).await;
    assert_eq!(answer["error"]["code"], "ra-unreachable");
    bridge.kill();
    let mut ra = FakeRa::start_at(port, |_, _| Reaction::Answer("200 OK", sequence(600, 7))).await;
    let bridge = Program::start(&dir, &url, &[]);
    ra.asked(1).await;
    let mut station = bridge.station().await;
    let mut answer = json!({});
    while answer.get("data").is_none() {
        answer = station.cmp("CmpFetch", json!({"id": id, "off": 0})).await;
    }
    assert_eq!(answer, whole(None, &sequence(600, 7)));
    assert_eq!(ra.requests(), [request]);
}

#[tokio::test]
async fn an_ra_that_was_asked_is_not_asked_again() {
    let (dir, id, request) = (TempDir::new().unwrap(), exchange_id(1), sequence(900, 1));
    let (_answer, later) = watch::channel(false);
    let mut ra = FakeRa::start(move |_, _| Reaction::Later(later.clone(), sequence(600, 7))).await;
    let mut bridge = Program::start(&dir, &ra.url, &[]);
    let mut station = bridge.station().await;
    station.begin_cmp("CmpSend", chunk(&id, &request, 0, 900)).await;
    ra.asked(1).await;
    bridge.kill();
    let bridge = Program::start(&dir, &ra.url, &[]);
    let mut station = bridge.station().await;
    for _ in 0..2 {
        let fetch = json!({"id": id, "off": 0});
        assert_eq!(
            station.error("CmpFetch", fetch).await,
            ("ra-timeout".into(), false)
        );
    }
    assert_eq!(
        station.error("CmpSend", chunk(&id, &request, 0, 900)).await.0,
        "ra-timeout"
    );
    assert_eq!(ra.requests().len(), 1);
}

#[tokio::test]
async fn a_response_is_there_until_it_is_acknowledged_and_then_never_again() {
    let (dir, ra, id, request) = (
        TempDir::new().unwrap(),
        prompt_ra().await,
        exchange_id(1),
        sequence(900, 1),
    );
    let response = whole(None, &sequence(600, 7));
    let mut bridge = Program::start(&dir, &ra.url, &[]);
    assert_eq!(bridge.station().await.submit(&id, &request).await, response);
    for _ in 0..2 {
        bridge.kill();
        bridge = Program::start(&dir, &ra.url, &[]);
        let fetch = json!({"id": id, "off": 0});
        assert_eq!(bridge.station().await.cmp("CmpFetch", fetch).await, response);
    }
    assert_eq!(
        bridge.station().await.cmp("CmpFetch", json!({"ack": [id]})).await,
        json!({})
    );
    bridge.kill();
    bridge = Program::start(&dir, &ra.url, &[]);
    assert_eq!(
        bridge.station().await.submit(&id, &request).await,
        json!({"done": true})
    );
    assert_eq!(ra.requests(), [request]);
}

#[tokio::test]
async fn a_transaction_stays_with_its_ra_over_a_restart() {
    let dir = TempDir::new().unwrap();
    let second = prompt_ra().await;
    let port = free_port().await;
    let urls = format!("http://127.0.0.1:{port}/cmp,{}", second.url);
    let mut bridge = Program::start(&dir, &urls, &[]);
    bridge
        .station()
        .await
        .submit(&exchange_id(1), &message("transaction-1", 1))
        .await;
    assert_eq!(second.requests().len(), 1);
    bridge.kill();
    // The first is there now; what began at the second stays there.
    let first = FakeRa::start_at(port, |_, _| Reaction::Answer("200 OK", sequence(600, 8))).await;
    let bridge = Program::start(&dir, &urls, &[]);
    let mut station = bridge.station().await;
    station
        .submit(&exchange_id(2), &message("transaction-1", 2))
        .await;
    station
        .submit(&exchange_id(3), &message("transaction-2", 1))
        .await;
    assert_eq!((second.requests().len(), first.requests().len()), (2, 1));
}

#[tokio::test]
async fn a_station_that_was_held_stays_held_and_one_that_was_let_in_stays_in() {
    let (dir, ra) = (TempDir::new().unwrap(), prompt_ra().await);
    let mut bridge = Program::start(&dir, &ra.url, &["--hold-pending"]);
    let mut station = bridge.station().await;
    assert_eq!(station.boot().await, "Pending");
    bridge.kill();
    let mut bridge = Program::start(&dir, &ra.url, &["--hold-pending"]);
    let mut station = bridge.station().await;
    // Not booted on this connection: it is pulled from as before.
    let (call, operation, _) = station.called().await;
    assert_eq!(operation, "CmpPull");
    let (id, request) = (exchange_id(1), sequence(300, 1));
    station.respond(&call, whole(Some(&id), &request)).await;
    loop {
        let (call, operation, _) = station.called().await;
        if operation == "CmpDeliver" {
            station.respond(&call, json!({"done": true})).await;
            break;
        }
        station.respond(&call, json!({"wait": 1})).await;
    }
    let (call, operation, _) = station.called().await;
    assert_eq!(operation, "CmpPull");
    station.respond(&call, json!({"idle": true})).await;
    assert_eq!(station.boot().await, "Accepted");
    bridge.kill();
    let bridge = Program::start(&dir, &ra.url, &["--hold-pending"]);
    assert_eq!(bridge.station().await.boot().await, "Accepted");
}
