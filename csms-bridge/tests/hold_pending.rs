//! Stations that are held in boot state Pending, and pulled from.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    unreachable_pub
)]

mod harness;

use harness::{Bridge, FakeRa, PROMPT, Reaction, Station, chunk, exchange_id, sequence, soon, whole};
use ocpp_rpc::Version;
use serde_json::json;

async fn held() -> (Bridge, FakeRa) {
    let ra = FakeRa::start(|_, _| Reaction::Answer("200 OK", sequence(600, 7))).await;
    let bridge = Bridge::start(&[&ra.url], "hold_pending = true\npending_interval_s = 3", "").await;
    (bridge, ra)
}

/// Answers pulls with a request and takes its response; ends with the acknowledgement.
async fn serve_pull(station: &mut Station, ra: &FakeRa) {
    let request = sequence(900, 1);
    let id = exchange_id(1);
    let (call, operation, pull) = station.called().await;
    assert_eq!((operation.as_str(), &pull["have"]), ("CmpPull", &json!([])));
    station.respond(&call, chunk(&id, &request, 0, 500)).await;
    let (call, operation, pull) = station.called().await;
    assert_eq!(
        (operation.as_str(), &pull["id"], &pull["off"]),
        ("CmpPull", &json!(id), &json!(500))
    );
    station.respond(&call, chunk(&id, &request, 500, 500)).await;
    // Until the RA has answered, the bridge goes on pulling and says what it has.
    loop {
        let (call, operation, data) = station.called().await;
        if operation == "CmpDeliver" {
            assert_eq!(data, whole(Some(&id), &sequence(600, 7)));
            station.respond(&call, json!({"done": true})).await;
            break;
        }
        assert_eq!((operation.as_str(), &data["have"]), ("CmpPull", &json!([id])));
        station.respond(&call, json!({"wait": 1})).await;
    }
    assert_eq!(ra.requests(), [request]);
}

#[tokio::test]
async fn a_held_station_is_let_in_when_it_has_been_served_and_is_idle() {
    let (bridge, ra) = held().await;
    let mut station = Station::connect(&bridge, "CS1").await;
    assert_eq!(station.boot().await, "Pending");
    serve_pull(&mut station, &ra).await;
    // Served and not idle yet.
    let (call, operation, _) = station.called().await;
    assert_eq!(
        (station.boot().await, operation.as_str()),
        ("Pending".into(), "CmpPull")
    );
    station.respond(&call, json!({"idle": true})).await;
    // The answer to a call that came after it says that it was taken.
    station.call("Heartbeat", json!({})).await;
    assert_eq!(station.boot().await, "Accepted");
    // For good: the next connection too.
    drop(station);
    let mut station = Station::connect(&bridge, "CS1").await;
    assert_eq!(station.boot().await, "Accepted");
    // Another station is another matter.
    let mut other = Station::connect(&bridge, "CS2").await;
    assert_eq!(other.boot().await, "Pending");
}

#[tokio::test]
async fn a_held_station_may_call_nothing_but_boot_notification() {
    let (bridge, ra) = held().await;
    for version in Version::ALL {
        let mut station = Station::connect_as(&bridge, "CS1", version).await.unwrap();
        assert_eq!(station.boot().await, "Pending");
        let data = chunk(&exchange_id(1), &sequence(9, 1), 0, 9);
        let send = station.begin_cmp("CmpSend", data).await;
        let refused = station.answer(&send).await;
        assert_eq!((&refused[0], &refused[2]), (&json!(4), &json!("SecurityError")));
        let refused = station.call("Heartbeat", json!({})).await;
        assert_eq!((&refused[0], &refused[2]), (&json!(4), &json!("SecurityError")));
    }
    assert!(ra.requests().is_empty());
}

#[tokio::test]
async fn a_station_that_is_idle_without_an_enrolment_stays_pending() {
    let (bridge, ra) = held().await;
    let mut station = Station::connect(&bridge, "CS1").await;
    for _ in 0..2 {
        assert_eq!(station.boot().await, "Pending");
        let (call, operation, _) = station.called().await;
        assert_eq!(operation, "CmpPull");
        // An acknowledgement of what no RA has answered is no enrolment.
        station
            .respond(&call, json!({"idle": true, "ack": [exchange_id(9)]}))
            .await;
        station.call("Heartbeat", json!({})).await;
    }
    assert_eq!(station.boot().await, "Pending");
    assert!(ra.requests().is_empty());
}

#[tokio::test]
async fn pulling_begins_again_on_a_new_connection_without_another_boot() {
    let (bridge, ra) = held().await;
    let mut station = Station::connect(&bridge, "CS1").await;
    assert_eq!(station.boot().await, "Pending");
    station.called().await;
    drop(station);
    // Until the bridge has forgotten a station of which it need not know anything.
    soon(async {
        while !bridge.bridge.stations().await.is_empty() {
            tokio::time::sleep(PROMPT).await;
        }
    })
    .await;
    let mut station = Station::connect(&bridge, "CS1").await;
    serve_pull(&mut station, &ra).await;
}

#[tokio::test]
async fn a_station_without_the_binding_is_left_in_peace_until_it_boots_again() {
    let (bridge, _ra) = held().await;
    let mut station = Station::connect(&bridge, "CS1").await;
    for _ in 0..2 {
        assert_eq!(station.boot().await, "Pending");
        let (call, operation, _) = station.called().await;
        assert_eq!(operation, "CmpPull");
        station
            .send(json!([4, call, "NotImplemented", "", {}]).to_string())
            .await;
        station.call("Heartbeat", json!({})).await;
    }
}
