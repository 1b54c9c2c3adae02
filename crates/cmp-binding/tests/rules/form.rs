//! Names, forms and lengths of calls and answers.

use cmp_binding::csms::{self, Budget, Csms, Limits, Reply};
use cmp_binding::station::{self, Station};
use cmp_binding::{
    Answer, CallOutcome, Data, Envelope, ExchangeId, Form, Operation, Route, Status, is_vendor_id,
};
use serde_json::{Value, json};

use super::harness::{sides::*, *};

#[test]
fn vendor_and_operations_are_compared_without_regard_to_case() {
    assert!(is_vendor_id("io.github.ocpp-cmp", "IO.GitHub.OCPP-CMP"));
    assert_eq!(Operation::parse("cmpsend"), Some(Operation::Send));
    assert_eq!(Operation::parse("CmpSends"), None);
    let mut csms = csms_with(Limits::default());
    assert_eq!(
        code(&ask(
            &mut csms,
            0,
            "CMPFETCH",
            json!({"id": id(1).to_string(), "off": 0})
        )),
        "unknown-exchange"
    );
}

#[test]
fn ids_and_routes_exist_only_if_they_are_right() {
    assert_eq!(id(7).to_string().parse(), Ok(id(7)));
    assert_eq!(id(7).to_string().len(), 22);
    for bad in [
        "",
        "AAAAAAAAAAAAAAAAAAAAA",
        "AAAAAAAAAAAAAAAAAAAAAAA",
        "AAAAAAAAAAAAAAAAAAAAAA==",
        "AAAAAAAAAAAAAAAAAAAAAB",
    ] {
        assert!(bad.parse::<ExchangeId>().is_err(), "{bad}");
    }
    assert!("a-1".parse::<Route>().is_ok());
    for bad in ["", "A", "a_b", "a/b", &"a".repeat(33)] {
        assert!(bad.parse::<Route>().is_err(), "{bad}");
    }
}

#[test]
fn an_operation_that_is_not_of_this_role_is_an_unknown_message_id() {
    let mut csms = csms_with(Limits::default());
    for name in ["CmpPull", "Other"] {
        let Reply::Now(Answer { status, data: None }) = csms.handle_call(s(0), name, None) else {
            panic!()
        };
        assert_eq!(status, Status::UnknownMessageId);
    }
    let mut station = Station::new(station::Config::default());
    assert_eq!(
        station.handle_call(s(0), "CmpSend", None).status,
        Status::UnknownMessageId
    );
}

#[test]
fn an_answer_has_the_form_of_the_call() {
    let mut csms = csms_with(Limits::default());
    let mut station = Station::new(station::Config::default());
    for form in [Form::Text, Form::Object] {
        let call = Data {
            form,
            json: "{}".into(),
        };
        let Reply::Now(answer) = csms.handle_call(s(0), "CmpFetch", Some(&call)) else {
            panic!()
        };
        assert_eq!(answer.data.unwrap().form, form);
        assert_eq!(
            station
                .handle_call(s(0), "CmpPull", Some(&call))
                .data
                .unwrap()
                .form,
            form
        );
    }
}

#[test]
fn what_is_ours_but_has_no_data_is_accepted_and_malformed() {
    let mut csms = csms_with(Limits::default());
    let Reply::Now(answer) = csms.handle_call(s(0), "CmpSend", None) else {
        panic!()
    };
    assert_eq!(code(&members(&answer)), "malformed");
}

#[test]
fn a_hello_is_within_the_unit_whatever_it_has_to_report() {
    let slot = |n: usize| cmp_binding::SlotReport {
        slot: format!("ChargingStationCertificate{n}"),
        state: "Active".into(),
        not_after: Some("2027-01-01T00:00:00Z".into()),
        error: Some("\"".repeat(400)),
    };
    for form in [Form::Text, Form::Object] {
        let config = station::Config {
            unit: 512,
            form,
            ..station::Config::default()
        };
        let mut station = Station::new(config);
        station.hello(s(0), (0..9).map(slot).collect());
        station.handle_connected(s(0));
        let call = station.poll_call(s(0)).unwrap();
        assert!(frame_bytes(Envelope::default().call_bytes, &call.data) <= 512);
        let hello: Value = serde_json::from_str(&call.data.json).unwrap();
        assert_eq!(hello["slots"][0]["state"], "Active");
        // Its answer too.
        let routes = (0..900).map(|n| format!("route-{n}").parse().unwrap()).collect();
        let config = csms::Config {
            routes,
            ..csms::Config::default()
        };
        let mut csms = Csms::new(config, Budget::default());
        let Reply::Now(answer) = csms.handle_call(s(0), call.message_id, Some(&call.data)) else {
            panic!()
        };
        assert!(frame_bytes(Envelope::default().result_bytes, answer.data.as_ref().unwrap()) <= 512);
        assert_eq!(members(&answer)["routes"][0], "route-0");
    }
}

#[test]
fn a_station_with_small_frames_says_so_however_often_it_is_not_answered() {
    let mut station = Station::new(station::Config {
        unit: 600,
        ..station::Config::default()
    });
    station.handle_connected(s(0));
    station
        .submit(s(0), [1; 16], Route::default(), message(20, 1))
        .unwrap();
    for _ in 0..10 {
        let due = station.poll_timeout().unwrap();
        let call = station.poll_call(due).unwrap();
        assert_eq!(call.message_id, "CmpHello");
        station.handle_result(due, call.token, &CallOutcome::TimedOut);
    }
}

#[test]
fn a_pull_that_lists_all_exchanges_is_within_the_smallest_unit() {
    let mut csms = csms_with(Limits {
        exchanges: 1_000,
        bytes: 1 << 30,
        ..Limits::default()
    });
    let hello = json!({"v": [1], "unit": 512, "max": 65_536});
    ask(&mut csms, 0, "CmpHello", hello);
    for n in 1..=9 {
        let _ = send_whole(&mut csms, 0, n);
    }
    csms.start_pull(s(0));
    let call = csms.poll_call(s(0)).unwrap();
    let pull: Value = serde_json::from_str(&call.data.json).unwrap();
    assert_eq!(pull["have"].as_array().unwrap().len(), csms::MOST_EXCHANGES);
    assert!(frame_bytes(Envelope::default().call_bytes, &call.data) <= 512);
}
