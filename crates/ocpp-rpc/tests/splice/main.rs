//! The rules of the splice: what passes, what stays, who may call when.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    unreachable_pub
)]

mod model;

use std::time::Duration;

use model::{Answer, Model, Op, Other, VENDOR};
use ocpp_rpc::endpoint::Outcome;
use ocpp_rpc::splice::{Boot, Busy, Config, Event, IncomingId, Kept, Kind, Splice};
use ocpp_rpc::{ErrorCode, Frame, RawValue, Version};
use proptest::prelude::*;

const T0: Duration = Duration::ZERO;
const CALL: &str = r#"{"vendorId":"io.example.Vendor","messageId":"Op"}"#;

fn splice(version: Version) -> Splice {
    Splice::new(Config::new(version, VENDOR.into()), 7, Boot::Accepted)
}

fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn raw(text: &str) -> Box<RawValue> {
    RawValue::from_string(text.into()).unwrap()
}

/// Makes an own call that goes out at once; its message id.
fn own_call(splice: &mut Splice, now: Duration, kind: Kind) -> String {
    splice.call(now, kind, raw(CALL)).unwrap();
    let text = splice.poll_station().unwrap();
    let id = Frame::parse(&text).unwrap().id().to_owned();
    assert_eq!(text, format!(r#"[2,"{id}","DataTransfer",{CALL}]"#));
    id
}

fn passes_to_station(splice: &mut Splice, now: Duration, text: &str) -> bool {
    splice.handle_csms(now, text.into());
    splice
        .poll_station()
        .inspect(|passed| assert_eq!(passed, text))
        .is_some()
}

fn passes_to_csms(splice: &mut Splice, now: Duration, text: &str) -> bool {
    splice.handle_station(now, text.into());
    splice
        .poll_csms()
        .inspect(|passed| assert_eq!(passed, text))
        .is_some()
}

fn incoming(splice: &mut Splice) -> IncomingId {
    match splice.poll_event() {
        Some(Event::DataTransfer { call, .. }) => call,
        other => panic!("{other:?}"),
    }
}

fn ended(splice: &mut Splice) -> Outcome {
    match splice.poll_event() {
        Some(Event::Ended(outcome)) => outcome,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_text_is_passed_on_with_every_space_and_digit() {
    for version in Version::ALL {
        let mut splice = splice(version);
        for text in [
            " [2 ,\"a\",\"MeterValues\",{\"b\":1.50,\"a\":1e3,\"c\":\"\\u00e4\"}]\n",
            r#"[3,"b",{"z":12345678901234567890.10}]"#,
            r#"[2,"c","DataTransfer",{"vendorId":"io.example.Vendor2","data":"x"}]"#,
            r#"[6,"d","NotifyPeriodicEventStream",{"id":1}]"#,
            r#"[5,"e","FormatViolation","",{}]"#,
            r#"[4,"f","X"]"#,
            "not JSON",
            "",
        ] {
            assert!(passes_to_csms(&mut splice, T0, text), "{text}");
            assert!(passes_to_station(&mut splice, T0, text), "{text}");
        }
        assert!(splice.poll_event().is_none());
    }
}

#[test]
fn a_data_transfer_of_the_vendor_is_answered_here_and_never_reaches_the_csms() {
    let mut splice = splice(Version::V1_6);
    let payload = r#"{"vendorId":"IO.example.vendor", "data":{"a" : 1}}"#;
    assert!(!passes_to_csms(
        &mut splice,
        T0,
        &format!(r#"[2,"a","DataTransfer",{payload}]"#)
    ));
    let Some(Event::DataTransfer { call, payload: got }) = splice.poll_event() else {
        panic!("nothing")
    };
    assert_eq!(got.get(), payload);
    splice.respond(call, &raw(r#"{"status":"Accepted"}"#));
    assert_eq!(
        splice.poll_station().as_deref(),
        Some(r#"[3,"a",{"status":"Accepted"}]"#)
    );
    splice.respond(call, &raw("{}"));
    assert_eq!(splice.poll_station(), None, "once");
    assert!(!passes_to_csms(
        &mut splice,
        T0,
        r#"[2,"b","DataTransfer",{"vendorId":"io.example.vendor","messageId":1}]"#
    ));
    let call = incoming(&mut splice);
    splice.respond_error(call, ErrorCode::FormatViolation, "no");
    assert_eq!(
        splice.poll_station().as_deref(),
        Some(r#"[4,"b","FormationViolation","no",{}]"#)
    );
    assert!(!passes_to_csms(
        &mut splice,
        T0,
        r#"[5,"b","GenericError","",{}]"#
    ));
    assert!(matches!(splice.poll_event(), Some(Event::Kept(Kept::NotAsked))));
}

#[test]
fn a_call_of_the_csms_with_the_vendor_id_is_rejected_and_never_reaches_the_station() {
    for (version, info) in [
        (Version::V1_6, ""),
        (Version::V2_1, r#","statusInfo":{"reasonCode":"#),
    ] {
        let mut splice = splice(version);
        let call = format!(r#"[2,"a","DataTransfer",{CALL}]"#);
        assert!(!passes_to_station(&mut splice, T0, &call));
        let refusal = splice.poll_csms().unwrap();
        assert!(
            refusal.starts_with(&format!(r#"[3,"a",{{"status":"Rejected"{info}"#)),
            "{refusal}"
        );
        assert_eq!(info.is_empty(), refusal.ends_with(r#""Rejected"}]"#));
        assert!(matches!(splice.poll_event(), Some(Event::Kept(Kept::OfCsms))));
        assert!(!passes_to_station(
            &mut splice,
            T0,
            r#"[5,"a","GenericError","",{}]"#
        ));
    }
}

#[test]
fn while_an_own_call_is_out_calls_are_held_in_their_order_and_answers_pass_at_once() {
    let mut splice = splice(Version::V2_1);
    let id = own_call(&mut splice, T0, Kind::Pull);
    let held = [
        r#"[2,"c1","Reset",{}]"#,
        r#"[6,"c2","X",{}]"#,
        "garbage",
        r#"[2,"c3","Reset",{}]"#,
    ];
    for text in held {
        assert!(!passes_to_station(&mut splice, T0, text));
    }
    for text in [
        r#"[3,"s1",{}]"#,
        r#"[4,"s2","GenericError","",{}]"#,
        r#"[5,"s3","GenericError","",{}]"#,
        r#"[3,"s4"]"#,
    ] {
        assert!(passes_to_station(&mut splice, T0, text));
    }
    assert_eq!(splice.call(T0, Kind::Pull, raw(CALL)), Err(Busy));
    assert!(!passes_to_csms(
        &mut splice,
        T0,
        &format!(r#"[3,"{id}",{{"a":1.0}}]"#)
    ));
    assert!(matches!(ended(&mut splice), Outcome::Result(payload) if payload.get() == r#"{"a":1.0}"#));
    let passed: Vec<String> = std::iter::from_fn(|| splice.poll_station()).collect();
    assert_eq!(passed, held);
}

#[test]
fn an_own_call_waits_until_each_call_of_the_csms_is_answered_or_timed_out() {
    let mut splice = splice(Version::V1_6);
    for (at, id) in [(0, "a"), (10, "b"), (10, "c")] {
        assert!(passes_to_station(
            &mut splice,
            s(at),
            &format!(r#"[2,"{id}","Reset",{{}}]"#)
        ));
    }
    splice.call(s(10), Kind::Pull, raw(CALL)).unwrap();
    assert!(passes_to_csms(&mut splice, s(11), r#"[3,"b",{}]"#));
    assert!(passes_to_csms(
        &mut splice,
        s(11),
        r#"[4,"c","GenericError","",{}]"#
    ));
    assert_eq!(splice.poll_station(), None);
    assert_eq!(splice.poll_timeout(), Some(s(30)));
    splice.handle_timeout(s(30));
    let id = Frame::parse(&splice.poll_station().unwrap())
        .unwrap()
        .id()
        .to_owned();
    // Late, and still the CSMS's.
    assert!(passes_to_csms(&mut splice, s(31), r#"[3,"a",{}]"#));
    assert!(!passes_to_csms(
        &mut splice,
        s(31),
        &format!(r#"[4,"{id}","GenericError","",{{}}]"#)
    ));
    assert!(matches!(ended(&mut splice), Outcome::Error(error) if error.code_name == "GenericError"));
}

#[test]
fn a_notify_that_finds_no_place_in_5_s_is_dropped() {
    let mut splice = splice(Version::V1_6);
    assert!(passes_to_station(&mut splice, T0, r#"[2,"a","Reset",{}]"#));
    splice.call(s(1), Kind::Notify, raw(CALL)).unwrap();
    assert_eq!(splice.poll_timeout(), Some(s(6)));
    splice.handle_timeout(s(6));
    assert!(matches!(
        ended(&mut splice),
        Outcome::Disconnected { sent: false }
    ));
    assert!(passes_to_csms(&mut splice, s(7), r#"[3,"a",{}]"#));
    assert_eq!(splice.poll_station(), None);
}

#[test]
fn an_answer_to_an_own_call_stays_however_late_broken_or_nameless() {
    for late in [false, true] {
        for answer in [
            r#"[3,"ID",{}]"#,
            r#"[4,"ID","GenericError","",{}]"#,
            r#"[5,"ID","GenericError","",{}]"#,
            r#"[3,"ID"]"#,
            r#"[3,"ID",{"#,
            r#"[4,"-1","RpcFrameworkError","",{}]"#,
            r#"[3,null,{}]"#,
        ] {
            let mut splice = splice(Version::V2_1);
            let id = own_call(&mut splice, T0, Kind::Pull);
            if late {
                splice.handle_timeout(s(30));
                assert!(matches!(ended(&mut splice), Outcome::TimedOut));
            }
            let answer = answer.replace("ID", &id);
            assert!(
                !passes_to_csms(&mut splice, s(31), &answer),
                "{answer} late: {late}"
            );
            let is_named = answer.contains(&id);
            // A second one of those that name it stays as well.
            assert_eq!(
                passes_to_csms(&mut splice, s(31), &answer),
                !is_named,
                "{answer} late: {late}"
            );
        }
    }
}

#[test]
fn a_nameless_error_is_for_the_csms_if_it_alone_waits() {
    let mut splice = splice(Version::V2_0_1);
    let _ = own_call(&mut splice, T0, Kind::Pull);
    splice.handle_timeout(s(30));
    assert!(passes_to_station(&mut splice, s(31), "garbage"));
    let nameless = r#"[4,"-1","RpcFrameworkError","",{}]"#;
    assert!(passes_to_csms(&mut splice, s(31), nameless));
    assert!(
        !passes_to_csms(&mut splice, s(31), nameless),
        "our call has no answer yet"
    );
    assert!(passes_to_csms(&mut splice, s(31), nameless));
}

#[test]
fn the_boot_of_the_station_says_which_own_calls_it_gets() {
    let mut splice = splice(Version::V2_0_1);
    assert!(passes_to_csms(
        &mut splice,
        T0,
        r#"[2,"b","BootNotification",{}]"#
    ));
    splice.call(T0, Kind::Pull, raw(CALL)).unwrap();
    assert_eq!(splice.poll_station(), None, "not before the answer");
    splice.handle_csms(s(1), r#"[3,"b",{"interval":5,"status":"Pending"}]"#.into());
    assert!(
        splice.poll_station().unwrap().contains("Pending"),
        "the answer first"
    );
    let pull = splice.poll_station().unwrap();
    assert!(matches!(splice.poll_event(), Some(Event::Booted(Boot::Pending))));
    let id = Frame::parse(&pull).unwrap().id().to_owned();
    assert!(!passes_to_csms(&mut splice, s(1), &format!(r#"[3,"{id}",{{}}]"#)));
    let _ = ended(&mut splice);
    // It may not call, but it answers.
    assert!(!passes_to_csms(
        &mut splice,
        s(1),
        &format!(r#"[2,"d","DataTransfer",{CALL}]"#)
    ));
    assert!(
        splice
            .poll_station()
            .unwrap()
            .starts_with(r#"[4,"d","SecurityError""#)
    );
    let _ = splice.poll_event();
    assert!(passes_to_csms(
        &mut splice,
        s(2),
        r#"[2,"b2","BootNotification",{}]"#
    ));
    splice.handle_csms(s(2), r#"[3,"b2",{"status":"Rejected"}]"#.into());
    let _ = splice.poll_station();
    splice.call(s(2), Kind::Notify, raw(CALL)).unwrap();
    assert_eq!(splice.poll_station(), None, "it does not even answer");
}

#[test]
fn what_a_csms_had_said_before_it_closed_goes_on() {
    let mut splice = splice(Version::V1_6);
    let _ = own_call(&mut splice, T0, Kind::Pull);
    assert!(!passes_to_station(&mut splice, T0, r#"[2,"a","Reset",{}]"#));
    splice.handle_csms_closed(T0);
    assert!(matches!(ended(&mut splice), Outcome::Disconnected { sent: true }));
    assert_eq!(splice.poll_station().as_deref(), Some(r#"[2,"a","Reset",{}]"#));
}

#[test]
fn what_is_held_is_bounded_and_its_sender_is_not_read_meanwhile() {
    let mut splice = splice(Version::V1_6);
    let id = own_call(&mut splice, T0, Kind::Pull);
    splice.handle_csms(T0, format!(r#"[2,"a","X",{{"x":"{}"}}]"#, "y".repeat(70_000)));
    assert!(!splice.takes_csms());
    splice.handle_station(T0, format!(r#"[3,"{id}",{{}}]"#));
    assert!(splice.takes_csms());
}

#[test]
fn one_who_is_refused_and_does_not_read_is_not_read_either() {
    let mut splice = splice(Version::V1_6);
    let call = |n: usize| format!(r#"[2,"{n}","DataTransfer",{CALL}]"#);
    let taken = (0..1_000).take_while(|&n| {
        let takes = splice.takes_station();
        splice.handle_station(T0, call(n));
        takes
    });
    assert!(taken.count() < 100);
    assert!(!splice.takes_csms());
    while splice.poll_station().is_some() {}
    assert!(splice.takes_station() && splice.takes_csms());
}

fn boots() -> impl Strategy<Value = Boot> {
    prop_oneof![3 => Just(Boot::Accepted), 1 => Just(Boot::Pending), 1 => Just(Boot::Rejected)]
}

fn answers() -> impl Strategy<Value = Answer> {
    prop_oneof![
        6 => Just(Answer::Result),
        2 => boots().prop_map(Answer::Boot),
        2 => Just(Answer::Error),
        1 => Just(Answer::ResultError),
        1 => Just(Answer::Nameless),
        1 => Just(Answer::Broken),
        1 => Just(Answer::BrokenNameless),
    ]
}

fn others() -> impl Strategy<Value = Other> {
    prop_oneof![
        3 => Just(Other::Vendor),
        1 => Just(Other::VendorSend),
        1 => Just(Other::Send),
        1 => Just(Other::Garbage),
        1 => Just(Other::BrokenCall),
    ]
}

fn ops() -> impl Strategy<Value = Op> {
    let kinds = prop_oneof![Just(Kind::Notify), Just(Kind::Pull)];
    prop_oneof![
        4 => (any::<u8>(), prop::bool::weighted(0.1)).prop_map(|(id, huge)| Op::CsmsCall { id, huge }),
        3 => (any::<u8>(), answers()).prop_map(|(to, how)| Op::CsmsAnswer { to, how }),
        2 => others().prop_map(Op::CsmsOther),
        2 => prop::bool::weighted(0.2).prop_map(|boot| Op::StationCall { boot }),
        6 => (any::<u8>(), answers()).prop_map(|(to, how)| Op::StationAnswer { to, how }),
        2 => others().prop_map(Op::StationOther),
        4 => kinds.prop_map(Op::Own),
        2 => any::<bool>().prop_map(|well| Op::Respond { well }),
        2 => prop_oneof![Just(1_000_u16), 1..40_000_u16].prop_map(|ms| Op::Wait { ms }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn whatever_both_sides_say_the_rules_hold(ops in prop::collection::vec(ops(), 0..80), v in 0..3_usize) {
        Model::new(Version::ALL[v]).run(ops);
    }
}
