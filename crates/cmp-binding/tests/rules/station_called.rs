//! What the station answers when it is called.

use cmp_binding::Data;
use cmp_binding::station::{self, Station};
use serde_json::json;

use super::harness::{sides::*, *};

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
