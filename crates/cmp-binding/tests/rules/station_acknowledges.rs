//! Acknowledgements of the station.

use cmp_binding::station::{self, Station};
use cmp_binding::{CallOutcome, Data, Status};
use serde_json::json;

use super::harness::{sides::*, *};

#[test]
fn no_acknowledgement_goes_out_before_the_caller_has_stored_the_response() {
    let mut station = waiting_station(1);
    give(&mut station, 1, json!({"len": 8, "off": 0, "data": WHOLE}));
    assert!(station.poll_call(s(1_000)).is_none());
    station.acknowledge(s(1_000), id(1));
    let call = station.poll_call(s(1_002)).unwrap();
    assert_eq!(call.data.json, json!({"ack": [id(1).to_string()]}).to_string());
}

fn acknowledging_station() -> Station {
    let mut station = Station::new(station::Config::default());
    station.handle_connected(s(0));
    station.acknowledge(s(0), id(1));
    station
}

#[test]
fn an_acknowledgement_is_repeated_until_it_is_answered_however_often_the_link_breaks() {
    let mut station = acknowledging_station();
    let mut now = s(0);
    let busy = || CallOutcome::Response {
        status: Status::Accepted,
        data: Some(Data::text(r#"{"error":{"code":"busy","retry":9}}"#)),
    };
    for outcome in [CallOutcome::TimedOut, CallOutcome::Disconnected, busy()] {
        for _ in 0..20 {
            now = station.poll_timeout().expect("it still waits").max(now);
            let call = station.poll_call(now).expect("due");
            station.handle_result(now, call.token, &outcome);
        }
    }
    now = station.poll_timeout().expect("it still waits");
    give(&mut station, now.as_secs(), json!({}));
    assert_eq!(station.poll_timeout(), None);
    // One who does not understand it is not told for ever.
    let mut station = acknowledging_station();
    for told in 0.. {
        let Some(due) = station.poll_timeout() else {
            assert_eq!(told, 8);
            break;
        };
        let call = station.poll_call(due).expect("due");
        let code = "InternalError".into();
        station.handle_result(due, call.token, &CallOutcome::CallError { code });
    }
}

#[test]
fn before_a_disconnection_an_acknowledgement_waits_for_no_other_call() {
    let mut station = acknowledging_station();
    assert!(station.poll_call(s(1)).is_none());
    assert!(!station.flush_acks(s(1)));
    let call = station.poll_call(s(1)).expect("due");
    // To ask again and again does not send it again and again.
    station.handle_result(s(1), call.token, &CallOutcome::TimedOut);
    assert!(!station.flush_acks(s(1)));
    assert!(station.poll_call(s(1)).is_none());
    give(&mut station, 2, json!({}));
    assert!(station.flush_acks(s(2)));
}
