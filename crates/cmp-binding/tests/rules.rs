//! One test for each rule of `docs/binding.md` that a single side decides.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs
)]

mod harness;

use cmp_binding::csms::{
    self, Action, Budget, Csms, Limits, Progress, RaError, Reply, Stage, StationRecords,
};
use cmp_binding::station::{self, Event, Failure, Station, SubmitError};
use cmp_binding::{
    Answer, CallOutcome, Data, Envelope, ErrorCode, ExchangeId, Form, Operation, Route, Status, is_vendor_id,
};
use harness::*;
use serde_json::{Value, json};

fn csms_with(limits: Limits) -> Csms {
    let mut csms = Csms::new(
        csms::Config {
            limits,
            ..csms::Config::default()
        },
        Budget::default(),
    );
    csms.handle_connected();
    csms
}

fn ask(csms: &mut Csms, at: u64, message_id: &str, object: Value) -> Value {
    match csms.handle_call(s(at), message_id, Some(&Data::text(object.to_string()))) {
        Reply::Now(answer) => members(&answer),
        Reply::Pending(_) => "pending".into(),
    }
}

fn code(answer: &Value) -> &str {
    answer["error"]["code"].as_str().unwrap()
}

/// `30 06` and six bytes, in base64.
const WHOLE: &str = "MAYBAgMEBQY=";

fn send_whole(csms: &mut Csms, at: u64, n: u8) -> Value {
    ask(
        csms,
        at,
        "CmpSend",
        json!({"id": id(n).to_string(), "len": 8, "off": 0, "data": WHOLE}),
    )
}

fn answered(csms: &mut Csms, at: u64, n: u8, response: Vec<u8>) {
    assert_eq!(send_whole(csms, at, n), "pending");
    assert!(csms.handle_asked(s(at), id(n)));
    csms.handle_ra_response(s(at), id(n), Ok(response));
}

fn waiting_station(n: u8) -> Station {
    let mut station = Station::new(station::Config::default());
    station.handle_connected(s(0));
    station
        .submit(s(0), [n; 16], Route::default(), message(20, n))
        .unwrap();
    give(&mut station, 0, json!({"wait": 1}));
    station
}

fn give(station: &mut Station, at: u64, object: Value) {
    let call = station.poll_call(s(at)).expect("a call is due");
    let data = Some(Data::text(object.to_string()));
    station.handle_result(
        s(at),
        call.token,
        &CallOutcome::Response {
            status: Status::Accepted,
            data,
        },
    );
}

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
fn a_repeated_send_is_answered_from_the_present_state() {
    let mut csms = csms_with(Limits::default());
    assert_eq!(send_whole(&mut csms, 0, 1), "pending");
    assert_eq!(send_whole(&mut csms, 1, 1), json!({"wait": 2}));
    csms.handle_ra_response(s(2), id(1), Ok(message(20, 9)));
    assert_eq!(send_whole(&mut csms, 3, 1)["len"], 20);
    let asked = std::iter::from_fn(|| csms.poll_action()).filter(|a| matches!(a, Action::Forward { .. }));
    assert_eq!(asked.count(), 1);
}

#[test]
fn a_finished_exchange_is_remembered_for_10_minutes_and_the_last_64_for_ever() {
    let mut csms = csms_with(Limits::default());
    for n in 0..70_u8 {
        ask(&mut csms, 0, "CmpFetch", json!({"ack": [id(n).to_string()]}));
    }
    assert!((0..70).all(|n| csms.progress(id(n)) == Progress::Done));
    csms.handle_timeout(s(601));
    assert_eq!(csms.progress(id(5)), Progress::Unknown);
    assert!((6..70).all(|n| csms.progress(id(n)) == Progress::Done));
    csms.handle_timeout(s(1_000_000));
    assert_eq!(csms.progress(id(6)), Progress::Done);
}

#[test]
fn one_exchange_more_evicts_the_oldest_unfetched_response_when_no_upload_is_open() {
    let mut csms = csms_with(Limits::default());
    for n in 1..=4 {
        answered(&mut csms, n.into(), n, message(20, n));
    }
    assert_eq!(send_whole(&mut csms, 9, 5), "pending");
    assert_eq!(csms.progress(id(1)), Progress::Done, "never asked about again");
    assert_eq!(csms.open(), 4);
}

#[test]
fn what_is_refused_anyway_evicts_nothing() {
    let mut csms = csms_with(Limits::default());
    for n in 1..=4 {
        answered(&mut csms, n.into(), n, message(20, n));
    }
    for (len, data) in [(5, WHOLE), (3, "AQID")] {
        let bad = json!({"id": id(5).to_string(), "len": len, "off": 0, "data": data});
        assert_eq!(code(&ask(&mut csms, 9, "CmpSend", bad)), "malformed");
        assert_eq!(csms.open(), 4);
    }
    // Not even all four would be enough.
    let mut csms = csms_with(Limits {
        bytes: 65_600,
        ..Limits::default()
    });
    answered(&mut csms, 0, 1, message(20, 1));
    // 100 bytes.
    let large = format!("MGIA{}AA==", "AAAA".repeat(32));
    let large = json!({"id": id(5).to_string(), "len": 100, "off": 0, "data": large});
    assert_eq!(code(&ask(&mut csms, 9, "CmpSend", large)), "busy");
    assert_eq!(csms.progress(id(1)), Progress::Answered { len: 20 });
    // Nor if other stations have the memory.
    let budget = Budget::new(140_000);
    let mut other = Csms::new(csms::Config::default(), budget.clone());
    let mut csms = Csms::new(
        csms::Config {
            limits: Limits {
                exchanges: 1,
                ..Limits::default()
            },
            ..csms::Config::default()
        },
        budget,
    );
    answered(&mut csms, 0, 1, message(20, 1));
    for n in 1..=2 {
        assert_eq!(send_whole(&mut other, 0, n), "pending");
    }
    assert_eq!(code(&send_whole(&mut csms, 9, 2)), "busy");
    assert_eq!(csms.progress(id(1)), Progress::Answered { len: 20 });
}

#[test]
fn one_exchange_more_is_busy_when_all_are_at_the_ra() {
    let mut csms = csms_with(Limits::default());
    for n in 1..=4 {
        assert_eq!(send_whole(&mut csms, 0, n), "pending");
    }
    let answer = send_whole(&mut csms, 0, 5);
    assert_eq!(code(&answer), "busy");
    assert!(answer["error"]["retry"].as_u64().unwrap() >= 1);
}

#[test]
fn the_bytes_of_a_station_and_of_all_are_limited() {
    let mut csms = csms_with(Limits {
        bytes: 100_000,
        ..Limits::default()
    });
    assert_eq!(send_whole(&mut csms, 0, 1), "pending");
    assert_eq!(code(&send_whole(&mut csms, 0, 2)), "busy");
    let budget = Budget::new(100_000);
    let mut first = Csms::new(csms::Config::default(), budget.clone());
    let mut second = Csms::new(csms::Config::default(), budget.clone());
    assert_eq!(send_whole(&mut first, 0, 1), "pending");
    assert_eq!(code(&send_whole(&mut second, 0, 1)), "busy");
    first.handle_ra_response(s(0), id(1), Ok(message(20, 1)));
    assert_eq!(budget.used(), 28);
    assert_eq!(send_whole(&mut second, 0, 1), "pending");
    drop((first, second));
    assert_eq!(budget.used(), 0);
}

#[test]
fn a_response_is_kept_for_the_retention_counted_from_its_arrival() {
    let mut csms = csms_with(Limits::default());
    assert_eq!(send_whole(&mut csms, 0, 1), "pending");
    csms.handle_ra_response(s(100_000), id(1), Ok(message(20, 1)));
    csms.handle_timeout(s(100_000 + 86_399));
    assert_eq!(csms.progress(id(1)), Progress::Answered { len: 20 });
    csms.handle_timeout(s(100_000 + 86_400));
    assert_eq!(csms.progress(id(1)), Progress::Done);
}

#[test]
fn a_response_above_the_max_of_the_station_is_response_too_large() {
    let mut csms = csms_with(Limits::default());
    ask(
        &mut csms,
        0,
        "CmpHello",
        json!({"v": [1], "unit": 3500, "max": 1000}),
    );
    answered(&mut csms, 0, 1, message(1_001, 1));
    let answer = ask(
        &mut csms,
        1,
        "CmpFetch",
        json!({"id": id(1).to_string(), "off": 0}),
    );
    assert_eq!(code(&answer), "response-too-large");
}

#[test]
fn an_answer_of_the_ra_that_is_no_cmp_message_or_too_large_is_ra_bad_response() {
    for bad in [b"<html>".to_vec(), message(65_537, 1)] {
        let mut csms = csms_with(Limits::default());
        answered(&mut csms, 0, 1, bad);
        assert_eq!(csms.progress(id(1)), Progress::Failed(ErrorCode::RaBadResponse));
    }
}

#[test]
fn an_exchange_that_was_given_up_is_not_asked_for_any_more() {
    let mut csms = csms_with(Limits::default());
    assert_eq!(send_whole(&mut csms, 0, 1), "pending");
    ask(&mut csms, 1, "CmpFetch", json!({"ack": [id(1).to_string()]}));
    assert!(!csms.handle_asked(s(1), id(1)));
    csms.handle_ra_response(s(1), id(1), Err(RaError::Timeout));
    assert_eq!(csms.progress(id(1)), Progress::Done);
}

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
fn wait_and_retry_are_held_to_between_a_second_and_an_hour() {
    for (hint, due) in [(0, 1), (7, 7), (u64::MAX, 3_600)] {
        for answer in [
            json!({"wait": hint}),
            json!({"error": {"code": "busy", "retry": hint}}),
        ] {
            let mut station = waiting_station(1);
            give(&mut station, 1, answer);
            assert_eq!(station.poll_timeout(), Some(s(1 + due)));
        }
    }
}

#[test]
fn at_most_one_do_an_hour_is_accepted_for_each_slot() {
    let slots = vec!["a".to_owned(), "b".to_owned()];
    let mut station = Station::new(station::Config {
        slots,
        ..station::Config::default()
    });
    let mut ask = |at, slot: &str| {
        let call = Data::text(json!({"do": "enroll", "slot": slot}).to_string());
        members(&station.handle_call(s(at), "CmpNotify", Some(&call)))
    };
    assert_eq!(ask(0, "a"), json!({}));
    assert_eq!(code(&ask(3_599, "a")), "busy");
    assert_eq!(ask(3_599, "b"), json!({}));
    assert_eq!(ask(3_600, "a"), json!({}));
    assert_eq!(code(&ask(9_999, "c")), "forbidden");
}

#[test]
fn a_busy_station_is_pulled_later_and_not_taken_to_be_idle() {
    let mut station = Station::new(station::Config::default());
    let pull = |station: &mut Station, at| {
        members(&station.handle_call(s(at), "CmpPull", Some(&Data::text(r#"{"v":[1],"have":[]}"#))))
    };
    station.set_busy(s(0), Some(s(30)));
    assert_eq!(pull(&mut station, 10)["wait"], 20);
    station.set_busy(s(10), None);
    assert_eq!(pull(&mut station, 10)["idle"], true);
}

#[test]
fn a_peer_without_binding_fails_the_exchange_and_is_reported() {
    let no_binding = [
        CallOutcome::Response {
            status: Status::UnknownVendorId,
            data: None,
        },
        CallOutcome::Response {
            status: Status::Rejected,
            data: Some(Data::text("{}")),
        },
        CallOutcome::Response {
            status: Status::Accepted,
            data: None,
        },
        CallOutcome::CallError {
            code: "NotImplemented".into(),
        },
        CallOutcome::CallError {
            code: "NotSupported".into(),
        },
    ];
    for outcome in no_binding {
        let mut station = waiting_station(1);
        let call = station.poll_call(s(1)).unwrap();
        station.handle_result(s(1), call.token, &outcome);
        assert_eq!(station.poll_event(), Some(Event::NoBinding));
        assert_eq!(
            station.poll_event(),
            Some(Event::Failed {
                id: id(1),
                error: Failure::NoBinding,
                // It was said to be held in whole.
                outcome_unknown: true
            })
        );
    }
}

#[test]
fn faults_of_the_peer_end_an_exchange_after_eight_in_a_row() {
    let mut station = waiting_station(1);
    let mut now = s(1);
    for _ in 0..8 {
        let call = station.poll_call(now).expect("called again");
        station.handle_result(
            now,
            call.token,
            &CallOutcome::CallError {
                code: "InternalError".into(),
            },
        );
        now = station.poll_timeout().unwrap_or(now);
    }
    assert_eq!(
        station.poll_event(),
        Some(Event::Failed {
            id: id(1),
            error: Failure::Faults,
            outcome_unknown: true
        })
    );
}

#[test]
fn an_exchange_that_does_not_come_forward_expires() {
    let mut station = waiting_station(1);
    station.handle_disconnected();
    assert_eq!(station.poll_timeout(), Some(s(86_400)));
    station.handle_timeout(s(86_400));
    assert_eq!(
        station.poll_event(),
        Some(Event::Failed {
            id: id(1),
            error: Failure::Expired,
            outcome_unknown: true
        })
    );
}

#[test]
fn the_outcome_is_unknown_once_the_request_was_held_in_whole_whatever_ends_the_exchange() {
    let new = || {
        let mut station = Station::new(station::Config::default());
        station.handle_connected(s(0));
        station
            .submit(s(0), [1; 16], Route::default(), message(20, 1))
            .unwrap();
        station
    };
    let ended_by = |mut station: Station, answer: Value| {
        give(&mut station, 1, answer);
        match station.poll_event() {
            Some(Event::Failed { outcome_unknown, .. }) => outcome_unknown,
            other => panic!("{other:?}"),
        }
    };
    let error = |code: &str| json!({"error": {"code": code}});
    for code in ["malformed", "unsupported", "too-large"] {
        assert!(!ended_by(new(), error(code)), "{code}");
        assert!(ended_by(waiting_station(1), error(code)), "{code}");
    }
    // What the policy refuses is not passed on, however late that is said.
    assert!(!ended_by(waiting_station(1), error("forbidden")));
    assert!(ended_by(new(), error("ra-timeout")));
    // Somebody has answered, if not with a CMP message.
    assert!(ended_by(new(), json!({"len": 3, "off": 0, "data": "AQID"})));
}

#[test]
fn a_response_above_max_fails_before_it_is_taken() {
    let mut station = waiting_station(1);
    give(&mut station, 1, json!({"len": 65_537, "off": 0, "data": "MAY="}));
    let Some(Event::Failed {
        error: Failure::Transfer(error),
        ..
    }) = station.poll_event()
    else {
        panic!()
    };
    assert_eq!(error.code, ErrorCode::ResponseTooLarge);
}

#[test]
fn a_response_that_changes_on_the_way_is_a_conflict() {
    let mut station = waiting_station(1);
    give(&mut station, 1, json!({"len": 8, "off": 0, "data": "MAYB"}));
    give(&mut station, 1, json!({"len": 9, "off": 3, "data": "AgMEBQYH"}));
    let Some(Event::Failed {
        error: Failure::Transfer(error),
        ..
    }) = station.poll_event()
    else {
        panic!()
    };
    assert_eq!(error.code, ErrorCode::Conflict);
}

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
fn an_ra_that_is_away_is_asked_again_after_10_s_then_twice_as_long_and_at_most_5_min() {
    let mut csms = csms_with(Limits::default());
    assert_eq!(send_whole(&mut csms, 0, 1), "pending");
    let mut now = s(0);
    for wait in [10, 20, 40, 80, 160, 300, 300] {
        csms.handle_ra_response(now, id(1), Err(RaError::Unreachable));
        let fetch = json!({"id": id(1).to_string(), "off": 0});
        let answer = ask(&mut csms, now.as_secs(), "CmpFetch", fetch);
        assert_eq!(
            (code(&answer), &answer["error"]["retry"]),
            ("ra-unreachable", &json!(wait))
        );
        assert_eq!(csms.poll_timeout(), Some(now + s(wait)));
        now += s(wait);
        while csms.poll_action().is_some() {}
        csms.handle_timeout(now);
        assert!(matches!(csms.poll_action(), Some(Action::Forward { .. })));
    }
}

#[test]
fn a_request_that_was_given_away_waits_for_weeks_and_over_restarts_and_is_given_away_once() {
    let mut csms = csms_with(Limits::default());
    let mut records = StationRecords::default();
    assert_eq!(send_whole(&mut csms, 0, 1), "pending");
    while csms.poll_action().is_some() {}
    assert!(csms.handle_deposited(s(0), id(1)));
    assert!(!csms.handle_deposited(s(0), id(1)) && !csms.handle_asked(s(0), id(1)));
    // The station is told at once.
    let Some(Action::Reply { answer, .. }) = csms.poll_action() else {
        panic!("no reply")
    };
    assert_eq!(members(&answer), json!({"wait": 2}));
    for error in [RaError::Unreachable, RaError::Forbidden, RaError::BadResponse] {
        csms.handle_ra_response(s(1), id(1), Err(error));
    }
    let fetch = json!({"id": id(1).to_string(), "off": 0});
    let day = 86_400;
    for (now, wait) in [(10, 10), (600, 600), (day, 900), (40 * day, 900)] {
        csms.take_writes()
            .into_iter()
            .for_each(|write| records.apply(write));
        assert_eq!(records.exchanges[0].stage, Stage::Deposited);
        csms = Csms::restore(
            csms::Config::default(),
            Budget::default(),
            s(now),
            records.clone(),
        );
        let Some(Action::Await {
            id: found, request, ..
        }) = csms.poll_action()
        else {
            panic!("not awaited")
        };
        assert_eq!((found, request), (id(1), records.exchanges[0].request.clone()));
        assert_eq!(csms.poll_action(), None, "not forwarded");
        csms.handle_timeout(s(now));
        assert_eq!(
            ask(&mut csms, now, "CmpFetch", fetch.clone()),
            json!({"wait": wait})
        );
    }
    csms.handle_ra_response(s(40 * day), id(1), Ok(message(20, 9)));
    csms.handle_timeout(s(41 * day - 1));
    assert_eq!(ask(&mut csms, 41 * day - 1, "CmpFetch", fetch.clone())["len"], 20);
    csms.handle_timeout(s(41 * day));
    assert_eq!(
        csms.progress(id(1)),
        Progress::Done,
        "kept for a day from its arrival"
    );
}

#[test]
fn what_cannot_be_carried_is_not_submitted() {
    let mut station = Station::new(station::Config::default());
    let mut submit = |n: u8, request| station.submit(s(0), [n; 16], Route::default(), request);
    assert_eq!(submit(1, message(65_537, 1)), Err(SubmitError::TooLarge));
    assert_eq!(submit(1, b"0\x05abc".to_vec()), Err(SubmitError::NotOneSequence));
    for n in 1..=4 {
        assert_eq!(submit(n, message(20, n)), Ok(id(n)));
    }
    assert_eq!(submit(4, message(20, 4)), Err(SubmitError::IdInUse));
    assert_eq!(submit(5, message(20, 5)), Err(SubmitError::TooManyExchanges));
}

#[test]
fn the_first_byte_of_a_request_is_written_only_once() {
    let mut csms = csms_with(Limits::default());
    assert_eq!(send_whole(&mut csms, 0, 1), "pending");
    assert!(csms.handle_asked(s(0), id(1)));
    assert!(!csms.handle_asked(s(0), id(1)));
    csms.handle_ra_response(s(1), id(1), Ok(message(20, 1)));
    assert!(!csms.handle_asked(s(1), id(1)));
}

#[test]
fn answers_that_bring_nothing_forward_delay_the_next_call_each_time_twice_as_long() {
    let mut station = Station::new(station::Config::default());
    station.handle_connected(s(0));
    station
        .submit(s(0), [1; 16], Route::default(), message(20, 1))
        .unwrap();
    let mut now = s(0);
    let mut delays = vec![];
    for _ in 0..12 {
        let call = station.poll_call(now).expect("due");
        let data = Some(Data::text(r#"{"error":{"code":"gap","retry":0,"next":0}}"#));
        station.handle_result(
            now,
            call.token,
            &CallOutcome::Response {
                status: Status::Accepted,
                data,
            },
        );
        let due = station.poll_timeout().unwrap();
        delays.push((due - now).as_secs());
        now = due;
    }
    assert_eq!(delays, [0, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300]);
}

#[test]
fn a_limit_on_calls_a_minute_has_its_own_answer() {
    let mut csms = csms_with(Limits {
        calls_per_minute: 3,
        ..Limits::default()
    });
    let mut fetch = |at| {
        ask(
            &mut csms,
            at,
            "CmpFetch",
            json!({"id": id(1).to_string(), "off": 0}),
        )
    };
    for _ in 0..3 {
        assert_eq!(code(&fetch(0)), "unknown-exchange");
    }
    assert_eq!(
        fetch(0)["error"],
        json!({"code": "busy", "text": "too much at once", "retry": 20})
    );
    assert_eq!(code(&fetch(20)), "unknown-exchange");
}

#[test]
fn a_request_that_was_said_to_be_held_in_whole_is_never_sent_again() {
    let mut station = waiting_station(1);
    let mut now = s(1);
    for _ in 0..4 {
        let call = station.poll_call(now).expect("due");
        assert_eq!(call.message_id, "CmpFetch");
        let data = Some(Data::text(r#"{"next":0}"#));
        station.handle_result(
            now,
            call.token,
            &CallOutcome::Response {
                status: Status::Accepted,
                data,
            },
        );
        now = station.poll_timeout().unwrap_or(now);
    }
    let failed = station.poll_event();
    assert!(
        matches!(
            failed,
            Some(Event::Failed {
                outcome_unknown: true,
                ..
            })
        ),
        "{failed:?}"
    );
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
fn time_outs_are_no_contradictions() {
    let mut station = waiting_station(1);
    let mut now = s(1);
    for _ in 0..5 {
        let call = station.poll_call(now).expect("due");
        station.handle_result(now, call.token, &CallOutcome::TimedOut);
        now = station.poll_timeout().unwrap();
    }
    give(&mut station, now.as_secs(), json!({"next": 0}));
    assert_eq!(station.poll_event(), None, "it is asked again");
    now = station.poll_timeout().unwrap();
    give(
        &mut station,
        now.as_secs(),
        json!({"len": 8, "off": 0, "data": WHOLE}),
    );
    assert!(matches!(station.poll_event(), Some(Event::Response { .. })));
}

#[test]
fn a_request_that_no_ra_takes_is_not_kept_for_longer_than_a_response() {
    let mut csms = csms_with(Limits::default());
    assert_eq!(send_whole(&mut csms, 0, 1), "pending");
    let mut now = s(0);
    // Each time a connection stands, and breaks before a byte is written.
    while csms.handle_asked(now, id(1)) {
        assert!(now < s(87_000));
        csms.handle_ra_response(now, id(1), Err(RaError::Unreachable));
        now = csms.poll_timeout().unwrap();
        csms.handle_timeout(now);
    }
    assert_eq!(csms.progress(id(1)), Progress::Done);
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
