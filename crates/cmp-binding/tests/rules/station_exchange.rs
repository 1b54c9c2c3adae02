//! An exchange of the station, from the request to its end.

use cmp_binding::station::{self, Event, Failure, Station, SubmitError};
use cmp_binding::{CallOutcome, Data, ErrorCode, Route, Status};
use serde_json::{Value, json};

use super::harness::{sides::*, *};

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
