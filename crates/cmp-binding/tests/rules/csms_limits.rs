//! What the CSMS side keeps, for how long, and what it refuses.

use cmp_binding::csms::{self, Budget, Csms, Limits, Progress, RaError};
use serde_json::json;

use super::harness::{sides::*, *};

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
