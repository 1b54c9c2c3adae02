//! The rules of OCPP-J about who may send what when.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs
)]

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ocpp_rpc::endpoint::{CallId, Config, Dropped, Error, Event, OWN_ID_LEN, Outcome, Priority};
use ocpp_rpc::{Endpoint, ErrorCode, Frame, RawValue, Version};
use proptest::prelude::*;

const T0: Duration = Duration::ZERO;

fn endpoint(version: Version) -> Endpoint {
    Endpoint::new(Config::new(version), 0x0123_4567_89ab_cdef)
}

fn json(text: &str) -> Box<RawValue> {
    RawValue::from_string(text.into()).unwrap()
}

fn call(endpoint: &mut Endpoint) -> CallId {
    endpoint.call("Heartbeat", &json("{}"), Priority::Normal).unwrap()
}

fn events(endpoint: &mut Endpoint) -> Vec<Event> {
    std::iter::from_fn(|| endpoint.poll_event()).collect()
}

#[test]
fn the_second_call_goes_out_when_the_first_is_answered() {
    let mut endpoint = endpoint(Version::V1_6);
    let (first, second) = (call(&mut endpoint), call(&mut endpoint));
    let text = endpoint.poll_transmit(T0).unwrap();
    let id = endpoint.message_id(first);
    assert_eq!(id.len(), OWN_ID_LEN);
    assert_eq!(text, format!(r#"[2,"{id}","Heartbeat",{{}}]"#));
    assert_eq!(endpoint.poll_transmit(T0), None);
    endpoint.handle_frame(T0, &format!(r#"[3,"{id}",{{ "a":1.0}}]"#));
    let events = events(&mut endpoint);
    assert!(
        matches!(&events[..], [Event::Ended { call, outcome: Outcome::Result(payload) }]
        if *call == first && payload.get() == r#"{ "a":1.0}"#)
    );
    assert!(
        endpoint
            .poll_transmit(T0)
            .unwrap()
            .contains(&endpoint.message_id(second))
    );
}

#[test]
fn an_urgent_call_overtakes_those_that_wait_and_none_that_is_sent() {
    let mut endpoint = endpoint(Version::V2_0_1);
    let calls = [call(&mut endpoint), call(&mut endpoint)];
    assert!(
        endpoint
            .poll_transmit(T0)
            .unwrap()
            .contains(&endpoint.message_id(calls[0]))
    );
    let urgent = endpoint.call("X", &json("{}"), Priority::High).unwrap();
    for next in [urgent, calls[1]] {
        endpoint.handle_timeout(Duration::from_secs(30));
        assert!(
            endpoint
                .poll_transmit(T0)
                .unwrap()
                .contains(&endpoint.message_id(next))
        );
    }
}

#[test]
fn a_call_without_an_answer_times_out_and_its_late_answer_is_dropped() {
    let mut endpoint = endpoint(Version::V2_1);
    let own = call(&mut endpoint);
    let sent_at = Duration::from_secs(7);
    endpoint.poll_transmit(sent_at).unwrap();
    assert_eq!(endpoint.poll_timeout(), Some(Duration::from_secs(37)));
    endpoint.handle_timeout(Duration::from_millis(36_999));
    assert!(endpoint.poll_event().is_none());
    endpoint.handle_timeout(Duration::from_secs(37));
    assert!(
        matches!(&events(&mut endpoint)[..], [Event::Ended { call, outcome: Outcome::TimedOut }] if *call == own)
    );
    endpoint.handle_frame(T0, &format!(r#"[3,"{}",{{}}]"#, endpoint.message_id(own)));
    assert!(matches!(
        &events(&mut endpoint)[..],
        [Event::Dropped {
            reason: Dropped::NotAsked,
            ..
        }]
    ));
    assert!(endpoint.is_idle());
}

#[test]
fn an_error_with_the_id_minus_one_ends_the_outstanding_call() {
    let mut endpoint = endpoint(Version::V2_0_1);
    call(&mut endpoint);
    endpoint.poll_transmit(T0).unwrap();
    endpoint.handle_frame(T0, r#"[4,"-1","RpcFrameworkError","",{}]"#);
    assert!(
        matches!(&events(&mut endpoint)[..], [Event::Ended { outcome: Outcome::Error(error), .. }]
        if error.code == Some(ErrorCode::RpcFrameworkError))
    );
    endpoint.handle_frame(T0, r#"[4,"-1","RpcFrameworkError","",{}]"#);
    assert!(matches!(
        &events(&mut endpoint)[..],
        [Event::Dropped {
            reason: Dropped::NotAsked,
            ..
        }]
    ));
}

#[test]
fn a_result_with_the_id_minus_one_answers_nothing() {
    let mut endpoint = endpoint(Version::V2_0_1);
    call(&mut endpoint);
    endpoint.poll_transmit(T0).unwrap();
    endpoint.handle_frame(T0, r#"[3,"-1",{}]"#);
    assert!(matches!(
        &events(&mut endpoint)[..],
        [Event::Dropped {
            reason: Dropped::NotAsked,
            ..
        }]
    ));
}

#[test]
fn a_call_that_is_to_get_no_answer_gets_none() {
    let mut endpoint = endpoint(Version::V1_6);
    endpoint.handle_frame(T0, r#"[2,"p","A",{}]"#);
    let Some(Event::Call { call, .. }) = endpoint.poll_event() else {
        panic!("no call")
    };
    endpoint.leave_unanswered(call).unwrap();
    assert_eq!(endpoint.leave_unanswered(call), Err(Error::NothingToAnswer));
    endpoint.handle_timeout(Duration::from_secs(60));
    assert_eq!(endpoint.poll_transmit(T0), None);
    assert!(endpoint.is_idle());
}

#[test]
fn calls_of_the_peer_are_answered_once_under_their_id() {
    let mut endpoint = endpoint(Version::V1_6);
    endpoint.handle_frame(T0, r#"[2,"p1","A",{"x":1}]"#);
    endpoint.handle_frame(T0, r#"[2,"p1","A",{"x":1}]"#);
    let events = events(&mut endpoint);
    let [
        Event::Call {
            call,
            message_id,
            action,
            payload,
        },
        Event::Dropped { reason, .. },
    ] = &events[..]
    else {
        panic!("{events:?}");
    };
    assert_eq!(
        (&**message_id, &**action, payload.get()),
        ("p1", "A", r#"{"x":1}"#)
    );
    assert_eq!(*reason, Dropped::Duplicate);
    endpoint.respond(*call, &json("{}")).unwrap();
    assert_eq!(endpoint.respond(*call, &json("{}")), Err(Error::NothingToAnswer));
    assert_eq!(endpoint.poll_transmit(T0).as_deref(), Some(r#"[3,"p1",{}]"#));
    // Some peers number their calls badly; an id that is free again is a new call.
    endpoint.handle_frame(T0, r#"[2,"p1","A",{}]"#);
    assert!(matches!(endpoint.poll_event(), Some(Event::Call { .. })));
}

#[test]
fn calls_at_once_are_tolerated_up_to_the_limit() {
    let mut endpoint = endpoint(Version::V2_0_1);
    for id in 0..5 {
        endpoint.handle_frame(T0, &format!(r#"[2,"{id}","A",{{}}]"#));
    }
    let events = events(&mut endpoint);
    assert_eq!(
        events
            .iter()
            .filter(|event| matches!(event, Event::Call { .. }))
            .count(),
        4
    );
    assert!(matches!(
        events.last(),
        Some(Event::Dropped {
            reason: Dropped::TooManyCalls,
            ..
        })
    ));
    let answer = endpoint.poll_transmit(T0).unwrap();
    assert!(answer.starts_with(r#"[4,"4","GenericError","#), "{answer}");
}

#[test]
fn a_call_that_the_application_forgets_is_answered_for_it() {
    let mut endpoint = endpoint(Version::V1_6);
    endpoint.handle_frame(T0, r#"[2,"p","A",{}]"#);
    let Some(Event::Call { call, .. }) = endpoint.poll_event() else {
        panic!("no call")
    };
    assert_eq!(endpoint.poll_timeout(), Some(Duration::from_secs(60)));
    endpoint.handle_timeout(Duration::from_secs(60));
    assert!(
        endpoint
            .poll_transmit(T0)
            .unwrap()
            .starts_with(r#"[4,"p","InternalError","#)
    );
    assert_eq!(
        endpoint.respond_error(call, ErrorCode::NotImplemented, ""),
        Err(Error::NothingToAnswer)
    );
}

#[test]
fn faults_are_answered_as_the_version_wants() {
    for (version, text, answer) in [
        (
            Version::V1_6,
            "nonsense",
            Some(r#"[4,"-1","FormationViolation","#),
        ),
        (
            Version::V2_0_1,
            "nonsense",
            Some(r#"[4,"-1","RpcFrameworkError","#),
        ),
        (
            Version::V2_0_1,
            r#"[2,"a","A",{"#,
            Some(r#"[4,"a","RpcFrameworkError","#),
        ),
        (
            Version::V2_1,
            r#"[2,"a","A"]"#,
            Some(r#"[4,"a","FormatViolation","#),
        ),
        (
            Version::V1_6,
            r#"[2,"a","A"]"#,
            Some(r#"[4,"a","FormationViolation","#),
        ),
        (
            Version::V2_0_1,
            r#"[6,"a","A",{}]"#,
            Some(r#"[4,"a","MessageTypeNotSupported","#),
        ),
        (
            Version::V2_1,
            r#"[9,"a","A",{}]"#,
            Some(r#"[4,"a","MessageTypeNotSupported","#),
        ),
        (Version::V1_6, r#"[9,"a","A",{}]"#, None),
        (Version::V2_0_1, r#"[5,"a","GenericError","",{}]"#, None),
        (Version::V2_1, r#"[3,"a"]"#, None),
        (Version::V2_1, r#"[4,7]"#, None),
        (Version::V2_1, r#"[6,7]"#, None),
    ] {
        let mut endpoint = endpoint(version);
        endpoint.handle_frame(T0, text);
        assert!(
            matches!(endpoint.poll_event(), Some(Event::Dropped { .. })),
            "{text}"
        );
        let sent = endpoint.poll_transmit(T0);
        assert_eq!(sent.is_some(), answer.is_some(), "{text}: {sent:?}");
        assert!(
            sent.unwrap_or_default().starts_with(answer.unwrap_or_default()),
            "{text}"
        );
    }
}

#[test]
fn send_and_its_like_exist_in_2_1_only() {
    let mut old = endpoint(Version::V2_0_1);
    assert_eq!(old.send("X", &json("{}")), Err(Error::NotInVersion));
    let mut endpoint = endpoint(Version::V2_1);
    let own = call(&mut endpoint);
    assert_eq!(
        old.refuse_result(own, ErrorCode::FormatViolation, ""),
        Err(Error::NotInVersion)
    );
    endpoint.poll_transmit(T0).unwrap();
    endpoint.send("X", &json("{}")).unwrap();
    assert!(endpoint.poll_transmit(T0).unwrap().starts_with("[6,"));
    endpoint
        .refuse_result(own, ErrorCode::FormatViolation, &"ä".repeat(300))
        .unwrap();
    let text = endpoint.poll_transmit(T0).unwrap();
    assert_eq!(
        text,
        format!(
            r#"[5,"{}","FormatViolation","{}",{{}}]"#,
            endpoint.message_id(own),
            "ä".repeat(255)
        )
    );
    endpoint.handle_frame(T0, r#"[6,"s","Y",{"a":1}]"#);
    endpoint.handle_frame(T0, r#"[5,"r","FormatViolation","why",{}]"#);
    let events = events(&mut endpoint);
    assert!(
        matches!(&events[..], [Event::Send { action, .. }, Event::ResultRefused { message_id, .. }]
        if action == "Y" && message_id == "r")
    );
}

#[test]
fn a_call_taken_back_before_it_is_sent_leaves_no_trace() {
    let mut endpoint = endpoint(Version::V1_6);
    let (first, second) = (call(&mut endpoint), call(&mut endpoint));
    endpoint.poll_transmit(T0).unwrap();
    assert!(!endpoint.cancel(first));
    assert!(endpoint.cancel(second));
    endpoint.handle_disconnect();
    assert!(matches!(&events(&mut endpoint)[..],
        [Event::Ended { call, outcome: Outcome::Disconnected { sent: true } }] if *call == first));
}

#[derive(Clone, Debug)]
enum Step {
    Call(u8, bool),
    Transmit(u8),
    Deliver(u8, usize),
    Lose(u8, usize),
    Duplicate(u8, usize),
    Garbage(u8, String),
    Answer(u8, bool),
    Cancel(u8, usize),
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let side = 0..2u8;
    let frame = prop_oneof![
        "[\\[\\]0-9\",a-c{}]{0,20}",
        Just(r#"[2,"dup","A",{}]"#.to_string()),
        Just(r#"[3,"-1",{}]"#.to_string()),
        Just(r#"[4,"-1","GenericError","",{}]"#.to_string()),
    ];
    prop_oneof![
        3 => (side.clone(), any::<bool>()).prop_map(|(side, high)| Step::Call(side, high)),
        4 => side.clone().prop_map(Step::Transmit),
        4 => (side.clone(), 0..4usize).prop_map(|(side, at)| Step::Deliver(side, at)),
        1 => (side.clone(), 0..4usize).prop_map(|(side, at)| Step::Lose(side, at)),
        1 => (side.clone(), 0..4usize).prop_map(|(side, at)| Step::Duplicate(side, at)),
        1 => (side.clone(), frame).prop_map(|(side, text)| Step::Garbage(side, text)),
        3 => (side.clone(), any::<bool>()).prop_map(|(side, good)| Step::Answer(side, good)),
        1 => (side, 0..8usize).prop_map(|(side, at)| Step::Cancel(side, at)),
        1 => (0..40u64).prop_map(Step::Wait),
    ]
}

/// One side, what is on its way to it, and what the rules say it may have done.
struct Side {
    endpoint: Endpoint,
    inbox: Vec<String>,
    made: Vec<CallId>,
    ended: BTreeMap<CallId, u32>,
    sent: BTreeSet<String>,
    to_answer: Vec<ocpp_rpc::endpoint::IncomingId>,
}

impl Side {
    fn new(seed: u64) -> Self {
        let mut config = Config::new(Version::ALL[(seed % 3) as usize]);
        config.max_queued = 3;
        let endpoint = Endpoint::new(config, seed);
        let (inbox, made, to_answer) = Default::default();
        Self {
            endpoint,
            inbox,
            made,
            ended: BTreeMap::new(),
            sent: BTreeSet::new(),
            to_answer,
        }
    }

    fn take_events(&mut self) {
        while let Some(event) = self.endpoint.poll_event() {
            match event {
                Event::Ended { call, .. } => *self.ended.entry(call).or_default() += 1,
                Event::Call { call, .. } => self.to_answer.push(call),
                _ => {}
            }
        }
    }

    /// Own calls that were sent and did not end.
    fn outstanding(&self) -> usize {
        let open = |call: &&CallId| self.sent.contains(&self.endpoint.message_id(**call));
        self.made
            .iter()
            .filter(open)
            .filter(|call| !self.ended.contains_key(call))
            .count()
    }

    fn transmit(&mut self, now: Duration) -> Option<String> {
        let text = self.endpoint.poll_transmit(now)?;
        if let Frame::Call { id, .. } = Frame::parse(&text).unwrap() {
            assert_eq!(self.outstanding(), 0, "two outstanding calls");
            assert!(self.sent.insert(id.into_owned()), "a message id was used twice");
        }
        Some(text)
    }

    fn waiting(&self) -> usize {
        let is_open = |call: &&CallId| {
            !self.ended.contains_key(call) && !self.sent.contains(&self.endpoint.message_id(**call))
        };
        self.made.iter().filter(is_open).count()
    }
}

fn run(steps: Vec<Step>, seed: u64) {
    let mut sides = [Side::new(seed), Side::new(seed + 3)];
    let mut now = T0;
    for step in steps {
        match step {
            Step::Call(side, high) => {
                let side = &mut sides[side as usize];
                let priority = if high { Priority::High } else { Priority::Normal };
                let waiting = side.waiting();
                match side.endpoint.call("A", &json("{}"), priority) {
                    Ok(call) => side.made.push(call),
                    Err(error) => assert_eq!((error, waiting), (Error::QueueFull, 3)),
                }
                assert!(side.waiting() <= 3);
            }
            Step::Transmit(side) => {
                if let Some(text) = sides[side as usize].transmit(now) {
                    sides[1 - side as usize].inbox.push(text);
                }
            }
            Step::Deliver(side, at) => {
                let side = &mut sides[side as usize];
                if at < side.inbox.len() {
                    let text = side.inbox.remove(at);
                    side.endpoint.handle_frame(now, &text);
                }
            }
            Step::Lose(side, at) => {
                let inbox = &mut sides[side as usize].inbox;
                if at < inbox.len() {
                    inbox.remove(at);
                }
            }
            Step::Duplicate(side, at) => {
                let inbox = &mut sides[side as usize].inbox;
                inbox.extend(inbox.get(at).cloned());
            }
            Step::Garbage(side, text) => sides[side as usize].endpoint.handle_frame(now, &text),
            Step::Answer(side, good) => {
                let side = &mut sides[side as usize];
                if let Some(call) = side.to_answer.pop() {
                    let _ = match good {
                        true => side.endpoint.respond(call, &json("{}")),
                        false => side.endpoint.respond_error(call, ErrorCode::NotSupported, "no"),
                    };
                }
            }
            Step::Cancel(side, at) => {
                let side = &mut sides[side as usize];
                if let Some(&call) = side.made.get(at)
                    && side.endpoint.cancel(call)
                {
                    *side.ended.entry(call).or_default() += 1;
                }
            }
            Step::Wait(seconds) => {
                now += Duration::from_secs(seconds);
                for side in &mut sides {
                    side.endpoint.handle_timeout(now);
                }
            }
        }
        for side in &mut sides {
            side.take_events();
            assert!(side.outstanding() <= 1);
        }
    }
    for side in &mut sides {
        side.endpoint.handle_disconnect();
        side.take_events();
        assert!(side.endpoint.is_idle());
        for call in &side.made {
            assert_eq!(side.ended.get(call), Some(&1), "a call did not end exactly once");
        }
        assert_eq!(side.ended.len(), side.made.len());
    }
}

proptest! {
    #[test]
    fn whatever_happens_calls_go_one_by_one_and_each_ends_once(
        steps in proptest::collection::vec(step(), 0..200), seed in 0..3u64,
    ) {
        run(steps, seed);
    }

    #[test]
    fn a_peer_that_floods_and_never_reads_fills_no_memory(text in "\\[[2-6],\"[a-c]{1,2}\",\"A\",\\{\\}\\]") {
        let mut endpoint = endpoint(Version::V2_1);
        for round in 0..200 {
            endpoint.handle_frame(T0, &text.replace('a', &round.to_string()));
            if let Some(Event::Call { call, .. }) = endpoint.poll_event() {
                endpoint.respond(call, &json("{}")).unwrap();
            }
        }
        let frames = std::iter::from_fn(|| endpoint.poll_transmit(T0)).count();
        prop_assert!(frames <= 40, "{frames}");
        prop_assert!(events(&mut endpoint).len() <= 40);
    }
}
