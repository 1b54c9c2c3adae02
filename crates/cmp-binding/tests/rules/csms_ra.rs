//! The CSMS side and the RA: asked once, and what its answer becomes.

use cmp_binding::ErrorCode;
use cmp_binding::csms::{self, Action, Budget, Csms, Limits, Progress, RaError, Stage, StationRecords};
use serde_json::json;

use super::harness::{sides::*, *};

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
fn the_first_byte_of_a_request_is_written_only_once() {
    let mut csms = csms_with(Limits::default());
    assert_eq!(send_whole(&mut csms, 0, 1), "pending");
    assert!(csms.handle_asked(s(0), id(1)));
    assert!(!csms.handle_asked(s(0), id(1)));
    csms.handle_ra_response(s(1), id(1), Ok(message(20, 1)));
    assert!(!csms.handle_asked(s(1), id(1)));
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
