//! The CSMS side calls a station that may not call.

use cmp_binding::csms::{Action, Limits, Progress};
use cmp_binding::station::{self, Station};
use cmp_binding::{CallOutcome, Data, Envelope, Status};
use serde_json::{Value, json};

use super::harness::{sides::*, *};

#[test]
fn hello_reports_slots_and_learns_routes() {
    let mut csms = csms_with(Limits::default());
    let hello = json!({"v": [1, 2], "unit": 600, "max": 9000,
        "slots": [{"slot": "V2GCertificate", "state": "Active", "notAfter": "2027-01-01T00:00:00Z"}]});
    assert_eq!(ask(&mut csms, 0, "CmpHello", hello)["routes"], json!(["default"]));
    let Some(Action::Hello {
        unit: 600,
        max: 9_000,
        slots,
    }) = csms.poll_action()
    else {
        panic!()
    };
    assert_eq!(slots[0].not_after.as_deref(), Some("2027-01-01T00:00:00Z"));
}

#[test]
fn a_wait_of_the_station_is_held_to_between_a_second_and_an_hour() {
    for (hint, due) in [(0, 1), (7, 7), (u64::MAX, 3_600)] {
        let mut csms = csms_with(Limits::default());
        csms.start_pull(s(5));
        let call = csms.poll_call(s(5)).unwrap();
        let data = Some(Data::text(json!({"wait": hint}).to_string()));
        let status = Status::Accepted;
        csms.handle_result(s(5), call.token, &CallOutcome::Response { status, data });
        assert_eq!(csms.poll_timeout(), Some(s(5 + due)));
    }
}

#[test]
fn nothing_is_delivered_on_a_connection_before_the_station_could_say_how_large_a_frame_may_be() {
    let mut csms = csms_with(Limits::default());
    ask(&mut csms, 0, "CmpHello", json!({"v": [1], "unit": 512}));
    answered(&mut csms, 0, 1, message(9_000, 1));
    csms.handle_connected();
    csms.start_pull(s(0));
    let call = csms.poll_call(s(0)).unwrap();
    assert_eq!(call.message_id, "CmpPull");
    // A station says it whatever it has to answer.
    let mut station = Station::new(station::Config {
        unit: 512,
        ..station::Config::default()
    });
    station.set_busy(s(0), Some(s(9)));
    let answer = station.handle_call(s(0), call.message_id, Some(&call.data));
    csms.handle_result(s(0), call.token, &outcome(answer));
    let call = csms.poll_call(s(0)).unwrap();
    assert_eq!(call.message_id, "CmpDeliver");
    assert!(frame_bytes(Envelope::default().call_bytes, &call.data) <= 512);
}

#[test]
fn a_delivery_goes_on_where_a_gap_says_that_the_station_stands() {
    let mut csms = csms_with(Limits::default());
    ask(&mut csms, 0, "CmpHello", json!({"v": [1]}));
    answered(&mut csms, 0, 1, message(9_000, 1));
    csms.start_pull(s(0));
    let mut deliver = |at, answer: &str| {
        let call = std::iter::from_fn(|| csms.poll_call(s(at))).find(|call| call.message_id == "CmpDeliver");
        let call = call.expect("a delivery is due");
        let data = Some(Data::text(answer));
        csms.handle_result(
            s(at),
            call.token,
            &CallOutcome::Response {
                status: Status::Accepted,
                data,
            },
        );
        serde_json::from_str::<Value>(&call.data.json).unwrap()["off"]
            .as_u64()
            .unwrap()
    };
    assert_eq!(deliver(0, r#"{"next":2400}"#), 0);
    assert_eq!(
        deliver(0, r#"{"error":{"code":"gap","retry":0,"next":1000}}"#),
        2_400
    );
    assert_eq!(deliver(1, r#"{"done":true}"#), 1_000);
    assert_eq!(csms.progress(id(1)), Progress::Done);
}
