//! One test for each rule of `docs/binding.md` that a single side decides.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs
)]

mod harness;

use cmp_binding::csms::{self, Action, Budget, Csms, Limits, Progress, RaError, Reply};
use cmp_binding::station::{self, Event, Failure, Station, SubmitError};
use cmp_binding::{
    Answer, CallOutcome, Data, ErrorCode, ExchangeId, Form, Operation, Route, Status, is_vendor_id,
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
    assert_eq!(pull(&mut station, 10), json!({"wait": 20}));
    station.set_busy(s(10), None);
    assert_eq!(pull(&mut station, 10), json!({"idle": true}));
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
                error: Failure::NoBinding
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
            error: Failure::Faults
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
            error: Failure::Expired
        })
    );
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
    let Some(Event::Failed { error, .. }) = station.poll_event() else {
        panic!()
    };
    assert!(error.outcome_unknown(), "{error}");
}

#[test]
fn a_delivery_goes_on_where_a_gap_says_that_the_station_stands() {
    let mut csms = csms_with(Limits::default());
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
