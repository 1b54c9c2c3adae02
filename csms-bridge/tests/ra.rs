//! What the bridge makes of an RA that is slow, broken, moved or gone. Each request reaches an RA at most once.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    unreachable_pub
)]

mod harness;

use csms_bridge::{Failure, TargetState};
use harness::{
    Bridge, FakeRa, Reaction, Station, exchange_id, free_port, message, response_head, sequence, whole,
};
use serde_json::json;
use tokio::io::AsyncWriteExt as _;
use tokio::sync::watch;

const SLOW_BUDGET: &str = "answer_budget_ms = 20000";

#[tokio::test]
async fn request_and_response_pass_byte_for_byte_over_one_kept_connection() {
    let ra = FakeRa::start(|number, _| Reaction::Answer("200 OK", sequence(3000, number as u8))).await;
    let bridge = Bridge::start(&[&ra.url], SLOW_BUDGET, "").await;
    let mut station = Station::connect(&bridge, "CS1").await;
    station
        .cmp("CmpHello", json!({"v": [1], "unit": 65536, "max": 65536}))
        .await;
    for number in 0..3u8 {
        let request = sequence(2000 + usize::from(number), 0x55);
        let outcome = station.submit(&exchange_id(number), &request).await;
        assert_eq!(outcome, whole(None, &sequence(3000, number)));
        assert_eq!(ra.requests()[usize::from(number)], request);
    }
    assert_eq!(ra.connections(), 1);
}

/// Sends one request and returns the code of the error it ends in, and whether it may be tried again.
async fn failing(ra: &FakeRa, route_settings: &str) -> (String, bool) {
    let bridge = Bridge::start(&[&ra.url], SLOW_BUDGET, route_settings).await;
    let mut station = Station::connect(&bridge, "CS1").await;
    let request = message("transaction", 1);
    let error = station
        .error("CmpSend", harness::chunk(&exchange_id(1), &request, 0, 200))
        .await;
    assert_eq!(ra.requests(), [request], "asked once");
    error
}

#[tokio::test]
async fn an_ra_that_closes_without_an_answer_is_ra_timeout() {
    let ra = FakeRa::start(|_, _| Reaction::Close).await;
    assert_eq!(failing(&ra, "").await, ("ra-timeout".into(), false));
}

#[tokio::test]
async fn an_ra_that_closes_in_the_middle_of_the_body_is_ra_timeout() {
    let answer = [response_head("200 OK", 100), sequence(99, 1)].concat();
    let ra = FakeRa::start(move |_, _| Reaction::Raw(answer.clone())).await;
    assert_eq!(failing(&ra, "").await, ("ra-timeout".into(), false));
}

#[tokio::test]
async fn an_ra_that_does_not_answer_in_time_is_ra_timeout() {
    let (_never, when) = watch::channel(false);
    let ra = FakeRa::start(move |_, _| Reaction::Later(when.clone(), sequence(9, 1))).await;
    assert_eq!(
        failing(&ra, "response_timeout_ms = 50").await,
        ("ra-timeout".into(), false)
    );
}

#[tokio::test]
async fn a_redirect_is_ra_bad_response_and_is_not_followed() {
    let elsewhere = FakeRa::start(|_, _| Reaction::Answer("200 OK", sequence(9, 1))).await;
    let head = format!(
        "HTTP/1.1 307 x\r\nLocation: {}\r\nContent-Length: 9\r\n\r\n",
        elsewhere.url
    );
    // Even with a CMP message in its body.
    let answer = [head.into_bytes(), sequence(9, 1)].concat();
    let ra = FakeRa::start(move |_, _| Reaction::Raw(answer.clone())).await;
    assert_eq!(failing(&ra, "").await, ("ra-bad-response".into(), false));
    assert_eq!(elsewhere.connections(), 0);
}

#[tokio::test]
async fn what_is_no_cmp_message_is_ra_bad_response() {
    for (status, body) in [
        ("404 Not Found", b"<html>".to_vec()),
        ("200 OK", Vec::new()),
        ("200 OK", [sequence(9, 1), vec![0]].concat()),
        ("200 OK", sequence(9, 1)[..8].to_vec()),
        ("503 Unavailable", b"later".to_vec()),
    ] {
        let ra = FakeRa::start(move |_, _| Reaction::Answer(status, body.clone())).await;
        assert_eq!(
            failing(&ra, "").await,
            ("ra-bad-response".into(), false),
            "{status}"
        );
    }
    let garbage = FakeRa::start(|_, _| Reaction::Raw(b"HELO\r\n\r\n".to_vec())).await;
    assert_eq!(failing(&garbage, "").await, ("ra-timeout".into(), false));
}

#[tokio::test]
async fn an_answer_above_the_limit_is_ra_bad_response_whether_its_length_is_said_or_not() {
    let said = FakeRa::start(|_, _| Reaction::Answer("200 OK", sequence(2001, 1))).await;
    assert_eq!(
        failing(&said, "max_response_bytes = 2000").await,
        ("ra-bad-response".into(), false)
    );
    // Chunked without end, as far as anybody reads it.
    let mut endless = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    for _ in 0..100 {
        endless.extend_from_slice(b"100\r\n");
        endless.extend_from_slice(&[0x30; 256]);
        endless.extend_from_slice(b"\r\n");
    }
    let unsaid = FakeRa::start(move |_, _| Reaction::Raw(endless.clone())).await;
    assert_eq!(
        failing(&unsaid, "max_response_bytes = 2000").await,
        ("ra-bad-response".into(), false)
    );
    let just = FakeRa::start(|_, _| Reaction::Answer("200 OK", sequence(2000, 1))).await;
    let bridge = Bridge::start(&[&just.url], SLOW_BUDGET, "max_response_bytes = 2000").await;
    let mut station = Station::connect(&bridge, "CS1").await;
    let outcome = station.submit(&exchange_id(1), &sequence(9, 1)).await;
    assert_eq!(outcome["len"], 2000);
}

#[tokio::test]
async fn a_cmp_message_in_an_error_status_or_under_another_media_type_reaches_the_station() {
    for status in ["500 Internal Server Error", "400 Bad Request", "201 Created"] {
        let answer = sequence(77, 5);
        let mut bytes =
            format!("HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nContent-Length: 77\r\n\r\n")
                .into_bytes();
        bytes.extend_from_slice(&answer);
        let ra = FakeRa::start(move |_, _| Reaction::Raw(bytes.clone())).await;
        let bridge = Bridge::start(&[&ra.url], SLOW_BUDGET, "").await;
        let mut station = Station::connect(&bridge, "CS1").await;
        assert_eq!(
            station.submit(&exchange_id(1), &sequence(9, 1)).await,
            whole(None, &answer)
        );
    }
}

#[tokio::test]
async fn an_ra_that_cannot_be_reached_leaves_the_request_held() {
    let port = free_port().await;
    let bridge = Bridge::start(&[&format!("http://127.0.0.1:{port}/cmp")], SLOW_BUDGET, "").await;
    let mut station = Station::connect(&bridge, "CS1").await;
    let data = harness::chunk(&exchange_id(1), &sequence(9, 1), 0, 9);
    assert_eq!(
        station.error("CmpSend", data.clone()).await,
        ("ra-unreachable".into(), true)
    );
    // A repeated call says the same and sends nothing anew.
    assert_eq!(
        station.error("CmpSend", data).await,
        ("ra-unreachable".into(), true)
    );
    let fetch = json!({"id": exchange_id(1), "off": 0});
    assert_eq!(
        station.error("CmpFetch", fetch).await,
        ("ra-unreachable".into(), true)
    );
}

#[tokio::test]
async fn the_bridge_itself_asks_again_an_ra_that_was_away() {
    let port = free_port().await;
    let url = format!("http://127.0.0.1:{port}/cmp");
    let settings = format!("{SLOW_BUDGET}\nra_retry_ms = 100");
    let bridge = Bridge::start(&[&url], &settings, "").await;
    let mut station = Station::connect(&bridge, "CS1").await;
    let request = sequence(9, 1);
    station
        .error("CmpSend", harness::chunk(&exchange_id(1), &request, 0, 9))
        .await;
    let mut ra = FakeRa::start_at(port, |_, _| Reaction::Answer("200 OK", sequence(50, 2))).await;
    // After its own retry time; nothing of the station makes it come earlier.
    ra.asked(1).await;
    let (call, operation, data) = station.called().await;
    assert_eq!(
        (operation.as_str(), data),
        ("CmpNotify", json!({"ready": exchange_id(1)}))
    );
    station.respond(&call, json!({})).await;
    let outcome = station
        .cmp("CmpFetch", json!({"id": exchange_id(1), "off": 0}))
        .await;
    assert_eq!(outcome, whole(None, &sequence(50, 2)));
    assert_eq!(ra.requests(), [request]);
}

#[tokio::test]
async fn a_kept_connection_that_the_ra_has_closed_costs_nothing_and_repeats_nothing() {
    let ra = FakeRa::start(|number, _| Reaction::AnswerAndClose("200 OK", sequence(50, number as u8))).await;
    let bridge = Bridge::start(&[&ra.url], SLOW_BUDGET, "").await;
    let mut station = Station::connect(&bridge, "CS1").await;
    for number in 0..20u8 {
        let request = message("transaction", number);
        let data = harness::chunk(&exchange_id(number), &request, 0, 200);
        let outcome = station.cmp("CmpSend", data).await;
        // A request may run into the end of the connection. Then it is not repeated, and the station is told so.
        let code = outcome["error"]["code"].as_str();
        assert!(outcome["len"] == 50 || code == Some("ra-timeout"), "{outcome}");
        station
            .cmp("CmpFetch", json!({"ack": [exchange_id(number)]}))
            .await;
    }
    let mut requests = ra.requests();
    let reached = requests.len();
    requests.dedup();
    assert_eq!(requests.len(), reached, "no request came twice");
}

#[tokio::test]
async fn a_kept_connection_that_takes_a_request_and_closes_is_ra_timeout() {
    let ra = FakeRa::start(|number, _| match number {
        0 => Reaction::Answer("200 OK", sequence(50, 0)),
        _ => Reaction::Close,
    })
    .await;
    let bridge = Bridge::start(&[&ra.url], SLOW_BUDGET, "").await;
    let mut station = Station::connect(&bridge, "CS1").await;
    station.submit(&exchange_id(1), &sequence(9, 1)).await;
    let error = station
        .error("CmpSend", harness::chunk(&exchange_id(2), &sequence(9, 2), 0, 9))
        .await;
    assert_eq!(error, ("ra-timeout".into(), false));
    assert_eq!((ra.requests().len(), ra.connections()), (2, 1));
}

#[tokio::test]
async fn a_first_message_that_was_not_written_goes_to_the_next_url_and_its_transaction_stays_there() {
    let port = free_port().await;
    let first_url = format!("http://127.0.0.1:{port}/cmp");
    let answer = |_: usize, _: &[u8]| Reaction::Answer("200 OK", sequence(50, 0));
    let second = FakeRa::start(answer).await;
    let bridge = Bridge::start(&[&first_url, &second.url], SLOW_BUDGET, "").await;
    let mut station = Station::connect(&bridge, "CS1").await;
    station.submit(&exchange_id(1), &message("a", 1)).await;
    let first = FakeRa::start_at(port, answer).await;
    // The first is back: it gets what is new, and nothing of a transaction that the second has.
    station.submit(&exchange_id(2), &message("a", 2)).await;
    station.submit(&exchange_id(3), &message("b", 3)).await;
    assert_eq!(second.requests(), [message("a", 1), message("a", 2)]);
    assert_eq!(first.requests(), [message("b", 3)]);
    // A transactionID is one of its station.
    let mut other = Station::connect(&bridge, "CS2").await;
    other.submit(&exchange_id(4), &message("a", 4)).await;
    assert_eq!(first.requests().last(), Some(&message("a", 4)));
}

#[tokio::test]
async fn a_pinned_transaction_does_not_fail_over() {
    let first = FakeRa::start(|_, _| Reaction::AnswerAndClose("200 OK", sequence(50, 0))).await;
    let second = FakeRa::start(|_, _| Reaction::Answer("200 OK", sequence(50, 0))).await;
    let bridge = Bridge::start(&[&first.url, &second.url], SLOW_BUDGET, "").await;
    let mut station = Station::connect(&bridge, "CS1").await;
    station.submit(&exchange_id(1), &message("a", 1)).await;
    drop(first);
    // The listener is gone when connecting to it fails; the drop above only begins that.
    let error = loop {
        let (code, retry) = station
            .error(
                "CmpSend",
                harness::chunk(&exchange_id(2), &message("a", 2), 0, 200),
            )
            .await;
        if code != "ra-timeout" {
            break (code, retry);
        }
    };
    assert_eq!(error, ("ra-unreachable".into(), true));
    assert_eq!(second.connections(), 0);
    station.submit(&exchange_id(3), &message("b", 3)).await;
    assert_eq!(second.requests(), [message("b", 3)]);
}

#[tokio::test]
async fn a_message_that_may_have_been_written_does_not_fail_over() {
    let first = FakeRa::start(|_, _| Reaction::Close).await;
    let second = FakeRa::start(|_, _| Reaction::Answer("200 OK", sequence(50, 0))).await;
    let bridge = Bridge::start(&[&first.url, &second.url], SLOW_BUDGET, "").await;
    let mut station = Station::connect(&bridge, "CS1").await;
    let error = station
        .error(
            "CmpSend",
            harness::chunk(&exchange_id(1), &message("a", 1), 0, 200),
        )
        .await;
    assert_eq!(error, ("ra-timeout".into(), false));
    assert_eq!((first.requests().len(), second.connections()), (1, 0));
}

#[tokio::test]
async fn requests_above_max_concurrent_wait_and_then_come_back_as_busy() {
    let (answer_now, when) = watch::channel(false);
    let mut ra = FakeRa::start(move |_, _| Reaction::Later(when.clone(), sequence(9, 1))).await;
    let bridge = Bridge::start(
        &[&ra.url],
        SLOW_BUDGET,
        "max_concurrent = 1\nconnect_timeout_ms = 50",
    )
    .await;
    let mut first = Station::connect(&bridge, "CS1").await;
    let waiting = first
        .begin_cmp("CmpSend", harness::chunk(&exchange_id(1), &sequence(9, 1), 0, 9))
        .await;
    ra.asked(1).await;
    let mut second = Station::connect(&bridge, "CS2").await;
    let error = second
        .error("CmpSend", harness::chunk(&exchange_id(2), &sequence(9, 2), 0, 9))
        .await;
    assert_eq!(error, ("busy".into(), true));
    answer_now.send_replace(true);
    assert_eq!(first.cmp_answer(&waiting).await, whole(None, &sequence(9, 1)));
    assert_eq!(ra.requests().len(), 1);
}

#[tokio::test]
async fn an_ra_that_is_down_is_left_alone_and_stations_are_told_for_how_long() {
    let port = free_port().await;
    let url = format!("http://127.0.0.1:{port}/cmp");
    let bridge = Bridge::start(&[&url], SLOW_BUDGET, "breaker_failures = 2\nbreaker_rest_s = 40").await;
    let mut station = Station::connect(&bridge, "CS1").await;
    assert_eq!(bridge.bridge.routes()[0].targets[0].state, TargetState::Untried);
    for number in 1..=2 {
        let answer = station.submit(&exchange_id(number), &sequence(9, number)).await;
        assert_eq!(answer["error"]["code"], "ra-unreachable");
    }
    let answer = station.submit(&exchange_id(3), &sequence(9, 3)).await;
    assert_eq!(answer["error"]["code"], "busy");
    let retry = answer["error"]["retry"].as_u64().unwrap();
    assert!((30..=40).contains(&retry), "{answer}");
    let route = bridge.bridge.routes().remove(0);
    let target = &route.targets[0];
    assert_eq!(
        (route.name.as_str(), target.target.as_str()),
        ("default", url.as_str())
    );
    assert_eq!(target.state, TargetState::Resting);
    assert_eq!(target.last_failure, Some(Failure::Unreachable));
    assert_eq!(target.consecutive_failures, 2, "the third was not tried");
}

#[tokio::test]
async fn what_an_ra_did_is_seen_in_the_view_of_its_route() {
    let ra = FakeRa::start(|number, _| match number {
        0 => Reaction::Answer("200 OK", sequence(50, 0)),
        1 => Reaction::Answer("503 Unavailable", b"later".to_vec()),
        _ => Reaction::Answer("200 OK", b"<html>".to_vec()),
    })
    .await;
    let bridge = Bridge::start(&[&ra.url], SLOW_BUDGET, "").await;
    let mut station = Station::connect(&bridge, "CS1").await;
    for (number, state, failures) in [
        (1, TargetState::Up, 0),
        (2, TargetState::Failing, 1),
        // It answers, if not as it should.
        (3, TargetState::Up, 0),
    ] {
        station.submit(&exchange_id(number), &sequence(9, number)).await;
        let target = bridge.bridge.routes().remove(0).targets.remove(0);
        assert_eq!((target.state, target.consecutive_failures), (state, failures));
    }
    let target = bridge.bridge.routes().remove(0).targets.remove(0);
    assert_eq!(
        (target.answered, target.latency.counts.iter().sum::<u64>()),
        (1, 1)
    );
    assert_eq!(target.failed[Failure::Unavailable as usize], 1);
    assert_eq!(target.failed[Failure::NotCmp as usize], 1);
    assert_eq!(target.last_failure, Some(Failure::NotCmp));
}

#[tokio::test]
async fn of_an_answer_of_a_gigabyte_next_to_nothing_is_read() {
    const GIGABYTE: usize = 1 << 30;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/cmp", listener.local_addr().unwrap());
    let writing = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut written = 0;
        let mut next = response_head("200 OK", GIGABYTE);
        while stream.write_all(&next).await.is_ok() && written < GIGABYTE {
            written += next.len();
            next = vec![0x30; 1 << 16];
        }
        written
    });
    let bridge = Bridge::start(&[&url], SLOW_BUDGET, "").await;
    let mut station = Station::connect(&bridge, "CS1").await;
    let data = harness::chunk(&exchange_id(1), &sequence(9, 1), 0, 9);
    assert_eq!(
        station.error("CmpSend", data).await,
        ("ra-bad-response".into(), false)
    );
    // What lies in the buffers of two sockets, at most.
    let written = harness::soon(writing).await.unwrap();
    assert!(written < 32 << 20, "{written} bytes went out");
}

#[tokio::test]
async fn wherever_a_connection_breaks_while_a_request_is_written_it_is_not_written_again() {
    let request = sequence(40, 1);
    let (head_and_body, mut seen) = (250, 0);
    for bytes in (1..head_and_body).step_by(7) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/cmp", listener.local_addr().unwrap());
        let reading = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut read = vec![0; bytes];
            let whole = tokio::io::AsyncReadExt::read_exact(&mut stream, &mut read).await;
            drop(stream);
            (whole.is_ok(), listener)
        });
        let bridge = Bridge::start(&[&url, &url], SLOW_BUDGET, "response_timeout_ms = 200").await;
        let mut station = Station::connect(&bridge, "CS1").await;
        let error = station
            .error("CmpSend", harness::chunk(&exchange_id(1), &request, 0, 40))
            .await;
        assert_eq!(error, ("ra-timeout".into(), false), "after {bytes} bytes");
        drop(bridge);
        let (whole, listener) = harness::soon(reading).await.unwrap();
        seen += usize::from(whole);
        listener.into_std().unwrap().accept().map(|_| ()).unwrap_err();
    }
    assert!(seen > 10, "most of them broke within the request: {seen}");
}
