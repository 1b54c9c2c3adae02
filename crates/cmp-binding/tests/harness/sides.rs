//! One side of the binding, asked by hand.

use cmp_binding::csms::{self, Budget, Csms, Limits, Reply};
use cmp_binding::station::{self, Station};
use cmp_binding::{CallOutcome, Data, Route, Status};
use serde_json::{Value, json};

use super::{id, members, message, s};

pub fn csms_with(limits: Limits) -> Csms {
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

pub fn ask(csms: &mut Csms, at: u64, message_id: &str, object: Value) -> Value {
    match csms.handle_call(s(at), message_id, Some(&Data::text(object.to_string()))) {
        Reply::Now(answer) => members(&answer),
        Reply::Pending(_) => "pending".into(),
    }
}

pub fn code(answer: &Value) -> &str {
    answer["error"]["code"].as_str().unwrap()
}

/// `30 06` and six bytes, in base64.
pub const WHOLE: &str = "MAYBAgMEBQY=";

pub fn send_whole(csms: &mut Csms, at: u64, n: u8) -> Value {
    ask(
        csms,
        at,
        "CmpSend",
        json!({"id": id(n).to_string(), "len": 8, "off": 0, "data": WHOLE}),
    )
}

pub fn answered(csms: &mut Csms, at: u64, n: u8, response: Vec<u8>) {
    assert_eq!(send_whole(csms, at, n), "pending");
    assert!(csms.handle_asked(s(at), id(n)));
    csms.handle_ra_response(s(at), id(n), Ok(response));
}

pub fn waiting_station(n: u8) -> Station {
    let mut station = Station::new(station::Config::default());
    station.handle_connected(s(0));
    station
        .submit(s(0), [n; 16], Route::default(), message(20, n))
        .unwrap();
    give(&mut station, 0, json!({"wait": 1}));
    station
}

pub fn give(station: &mut Station, at: u64, object: Value) {
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
