//! What a station can make the CSMS side hold, and for how long.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs
)]

mod harness;

use cmp_binding::Data;
use cmp_binding::csms::{self, Budget, Csms, Progress, Reply};
use harness::*;
use serde_json::{Value, json};

fn csms(budget: &Budget) -> Csms {
    let mut csms = Csms::new(csms::Config::default(), budget.clone());
    csms.handle_connected();
    csms
}

/// Sends `data`, base64, of exchange `n`.
fn send(csms: &mut Csms, at: u64, n: u8, (len, off, data): (usize, usize, &str)) -> Value {
    let object = json!({"id": id(n).to_string(), "len": len, "off": off, "data": data});
    match csms.handle_call(s(at), "CmpSend", Some(&Data::text(object.to_string()))) {
        Reply::Now(answer) => members(&answer),
        Reply::Pending(_) => "pending".into(),
    }
}

#[test]
fn an_upload_takes_the_memory_of_what_came_and_not_of_what_it_claims() {
    let budget = Budget::new(65_536 + 100);
    let mut stations: Vec<_> = (0..20).map(|_| csms(&budget)).collect();
    for station in &mut stations {
        assert_eq!(send(station, 0, 1, (60_000, 0, "MIIA")), json!({"next": 3}));
    }
    assert_eq!(budget.used(), 60);
    // A small one that is whole has room beside them all.
    assert_eq!(send(&mut stations[0], 0, 2, (8, 0, "MAYBAgMEBQY=")), "pending");
    // With its response reserved there is little left for more.
    let piece = "AAAA".repeat(30);
    let refused = send(&mut stations[1], 0, 1, (60_000, 3, &piece));
    assert_eq!(refused["error"]["code"], "busy");
    assert_eq!(stations[1].progress(id(1)), Progress::Receiving { held: 3 });
    stations[0].handle_ra_response(s(1), id(2), Ok(message(20, 1)));
    assert_eq!(
        send(&mut stations[1], 11, 1, (60_000, 3, &piece)),
        json!({"next": 93})
    );
}

#[test]
fn the_last_piece_waits_until_there_is_room_for_the_response() {
    let budget = Budget::new(65_536 + 20);
    let (mut first, mut second) = (csms(&budget), csms(&budget));
    assert_eq!(send(&mut first, 0, 1, (8, 0, "MAYBAgMEBQY=")), "pending");
    assert_eq!(send(&mut second, 0, 1, (8, 0, "MAYB")), json!({"next": 3}));
    let last = (8, 3, "AgMEBQY=");
    assert_eq!(send(&mut second, 0, 1, last)["error"]["code"], "busy");
    first.handle_ra_response(s(1), id(1), Ok(message(8, 1)));
    drop(first);
    assert_eq!(send(&mut second, 11, 1, last), "pending");
    drop(second);
    assert_eq!(budget.used(), 0);
}

#[test]
fn an_upload_that_does_not_go_on_is_kept_for_an_hour() {
    let budget = Budget::default();
    let mut csms = csms(&budget);
    assert_eq!(send(&mut csms, 0, 1, (8, 0, "MAYB")), json!({"next": 3}));
    assert_eq!(csms.poll_timeout(), Some(s(3_600)));
    csms.handle_timeout(s(3_599));
    assert_eq!(csms.progress(id(1)), Progress::Receiving { held: 3 });
    csms.handle_timeout(s(3_600));
    assert_eq!((csms.progress(id(1)), budget.used()), (Progress::Unknown, 0));
}

#[test]
fn a_station_that_called_too_often_is_not_forgotten_before_it_may_call_again() {
    let mut csms = csms(&Budget::default());
    assert!(csms.is_empty(s(0)));
    for _ in 0..240 {
        send(&mut csms, 0, 1, (8, 3, "MAYB"));
    }
    assert_eq!(send(&mut csms, 0, 1, (8, 3, "MAYB"))["error"]["code"], "busy");
    assert!(!csms.is_empty(s(59)));
    assert!(csms.is_empty(s(60)));
}
