//! Both roles against each other, call by call.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs
)]

mod harness;

use cmp_binding::csms::{self, Action};
use cmp_binding::station::{Config, Event, Mode, Station};
use cmp_binding::{Form, Route};
use harness::*;

fn pair() -> Pair {
    Pair::new(Station::new(Config::default()), csms::Config::default())
}

#[test]
fn an_answer_of_the_ra_within_the_budget_comes_inline() {
    let mut pair = pair();
    let (request, response) = (message(900, 1), message(800, 2));
    let id = pair
        .station
        .submit(pair.now, [1; 16], Route::default(), request.clone())
        .unwrap();
    pair.settle();
    assert_eq!(pair.asked, [(id, Route::default(), request)]);
    pair.ra_answers(Ok(response.clone()));
    assert_eq!(pair.events, [Event::Response { id, bytes: response }]);
    assert_eq!(pair.calls, ["CmpSend"]);
    pair.pass(s(2));
    assert_eq!(pair.calls, ["CmpSend", "CmpFetch"], "the acknowledgement");
    assert_eq!(pair.csms.open(), 0);
}

#[test]
fn a_late_answer_of_the_ra_is_notified_and_fetched_in_pieces() {
    let mut pair = pair();
    let (request, response) = (message(7_000, 1), message(9_000, 2));
    let id = pair
        .station
        .submit(pair.now, [1; 16], Route::default(), request.clone())
        .unwrap();
    pair.settle();
    pair.expire();
    pair.settle();
    assert_eq!(pair.calls, ["CmpSend", "CmpSend", "CmpSend"]);
    pair.ra_answers(Ok(response.clone()));
    assert_eq!(pair.events, [Event::Response { id, bytes: response }]);
    assert_eq!(
        pair.calls[3..],
        ["CmpNotify", "CmpFetch", "CmpFetch", "CmpFetch", "CmpFetch"]
    );
    assert!(
        pair.frames.iter().all(|frame| *frame <= 3_500),
        "{:?}",
        pair.frames
    );
}

#[test]
fn all_frames_of_an_enrolment_are_at_most_1_55_times_its_der() {
    // Sizes of ir, ip, certConf and pkiConf with a three-certificate chain on both sides.
    for unit in [3_500, 4_096, 65_536] {
        for sizes in [[1_900, 2_600, 1_700, 1_600], [2_400, 4_900, 1_900, 1_800]] {
            let config = Config {
                unit,
                ..Config::default()
            };
            let mut pair = Pair::new(Station::new(config), csms::Config::default());
            if unit > 3_500 {
                pair.station.hello(pair.now, vec![]);
                pair.settle();
                pair.frames.clear();
            }
            for (n, pair_of) in sizes.chunks(2).enumerate() {
                let request = message(pair_of[0], 1);
                pair.station
                    .submit(pair.now, [n as u8; 16], Route::default(), request)
                    .unwrap();
                pair.settle();
                pair.ra_answers(Ok(message(pair_of[1], 2)));
            }
            pair.pass(s(2));
            assert_eq!(pair.csms.open(), 0);
            let frames: usize = pair.frames.iter().sum();
            let der: usize = sizes.iter().sum();
            let ratio = frames as f64 / der as f64;
            assert!(ratio <= 1.55, "{unit} {sizes:?}: {frames} of {der}: {ratio}");
        }
    }
}

#[test]
fn a_station_whose_boot_is_pending_is_pulled_until_idle() {
    let mut pair = pair();
    pair.station.set_mode(Mode::PullOnly);
    let (request, response) = (message(7_000, 1), message(9_000, 2));
    let id = pair
        .station
        .submit(pair.now, [1; 16], Route::default(), request.clone())
        .unwrap();
    pair.settle();
    assert!(pair.calls.is_empty());
    pair.csms.start_pull(pair.now);
    pair.settle();
    assert_eq!(pair.asked, [(id, Route::default(), request)]);
    pair.ra_answers(Ok(response.clone()));
    assert_eq!(pair.events, [Event::Response { id, bytes: response }]);
    assert!(
        pair.actions.contains(&Action::PullEnded { idle: true }),
        "{:?}",
        pair.calls
    );
    assert_eq!(pair.csms.open(), 0, "acknowledged in an answer");
    assert!(
        pair.calls
            .iter()
            .all(|call| call == "CmpPull" || call == "CmpDeliver")
    );
    assert!(
        pair.frames.iter().all(|frame| *frame <= 3_500),
        "{:?}",
        pair.frames
    );
}

#[test]
fn an_exchange_begun_in_push_mode_may_end_in_pull_mode() {
    let mut pair = pair();
    let id = pair
        .station
        .submit(pair.now, [1; 16], Route::default(), message(7_000, 1))
        .unwrap();
    pair.step();
    pair.connect();
    pair.station.set_mode(Mode::PullOnly);
    pair.csms.start_pull(pair.now);
    pair.settle();
    pair.ra_answers(Ok(message(900, 2)));
    assert_eq!(
        pair.events,
        [Event::Response {
            id,
            bytes: message(900, 2)
        }]
    );
    assert_eq!(pair.asked.len(), 1);
}

#[test]
fn an_exchange_begun_in_pull_mode_may_end_in_push_mode() {
    let mut pair = pair();
    let id = pair
        .station
        .submit(pair.now, [1; 16], Route::default(), message(7_000, 1))
        .unwrap();
    pair.station.set_mode(Mode::PullOnly);
    pair.csms.start_pull(pair.now);
    for _ in 0..2 {
        pair.step();
    }
    pair.connect();
    pair.station.set_mode(Mode::Push);
    pair.settle();
    pair.expire();
    pair.ra_answers(Ok(message(900, 2)));
    assert_eq!(
        pair.events,
        [Event::Response {
            id,
            bytes: message(900, 2)
        }]
    );
    assert_eq!(pair.asked.len(), 1);
}

#[test]
fn a_station_with_small_frames_says_so_before_anything_else() {
    let config = Config {
        unit: 600,
        form: Form::Object,
        ..Config::default()
    };
    let mut pair = Pair::new(Station::new(config), csms::Config::default());
    pair.station
        .submit(pair.now, [1; 16], Route::default(), message(5_000, 1))
        .unwrap();
    pair.settle();
    pair.ra_answers(Ok(message(5_000, 2)));
    assert_eq!(pair.calls[0], "CmpHello");
    assert!(pair.frames.iter().all(|frame| *frame <= 600), "{:?}", pair.frames);
    assert!(pair.events.contains(&Event::Response {
        id: id(1),
        bytes: message(5_000, 2)
    }));
}
