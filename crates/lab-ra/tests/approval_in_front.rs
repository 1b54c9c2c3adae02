//! An RA in front of another server that wants a person's word before it passes a request on.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    unreachable_pub,
    dead_code
)]

mod chain;
mod client;

use chain::Chain;
use client::{Client, NOW_S, cert_conf, failure, issued, key, poll_req, request, status, status_of};
use cmp_http::Error;
use cmp_message::{BodyType, InfoTypeAndValue, PkiBody, PkiFailure, PkiMessage, PkiStatus, general};
use lab_ra::{Approval, CertificateStatus, Endpoint, Forward, ForwardConfig, PollAfter, RaConfig, Step};

fn by_person(forward: Forward) -> Chain {
    with(forward, |_| {}, |_| {})
}

fn with(
    forward: Forward,
    change: impl FnOnce(&mut ForwardConfig),
    change_ca: impl FnOnce(&mut RaConfig),
) -> Chain {
    Chain::with(forward, change, |ra| ra.approval = Approval::Person, change_ca)
}

fn ir() -> PkiBody {
    PkiBody::Ir(vec![request(&key(), "CN=CS-1", |_| {})])
}

fn is_waiting(answer: &PkiMessage) {
    assert_eq!(status(answer).status, PkiStatus::WAITING);
}

fn is_poll_rep(answer: &PkiMessage) {
    assert_eq!(answer.body.body_type(), BodyType::PollRep, "{:?}", answer.body);
}

fn only_pending(chain: &Chain) -> u64 {
    let pending = chain.ra.store().pending_requests().unwrap();
    assert_eq!(pending.len(), 1, "{pending:?}");
    assert_eq!(
        (pending[0].subject.as_str(), pending[0].began_s),
        ("CN=CS-1", NOW_S)
    );
    pending[0].number
}

/// A pollReq, and its answer taken by the client whichever message it says that it answers: where protections stay, the
/// answer has the nonce of the first message.
fn poll(chain: &mut Chain, client: &mut Client, first: &[u8]) -> PkiMessage {
    let poll = client.message(poll_req(), |_| {});
    let answer = chain.pass(&poll);
    let header = PkiMessage::peek_header(&answer).unwrap();
    let first_nonce = PkiMessage::peek_header(first).unwrap().sender_nonce;
    match header.recip_nonce == first_nonce {
        true => client.take(NOW_S, first, &answer),
        false => client.take(NOW_S, &poll, &answer),
    }
}

#[test]
fn a_request_waits_for_a_person_across_restarts_and_then_passes_each_way() {
    for forward in Forward::ALL {
        for with_mac in [false, true] {
            let mut chain = by_person(forward);
            let mut client = match with_mac {
                false => chain.station("CS-1"),
                true => chain.newcomer(),
            };
            let first = client.message(ir(), |_| {});
            let answer = chain.pass(&first);
            is_waiting(&client.take(NOW_S, &first, &answer));
            chain = chain.restart();
            is_poll_rep(&chain.send(&mut client, poll_req()));
            assert!(chain.passed.is_empty());
            let number = only_pending(&chain);
            assert!(chain.ra.store().approve(number).unwrap());
            assert!(!chain.ra.store().approve(number).unwrap());
            assert!(!chain.ra.store().deny(number, "no").unwrap());
            chain = chain.restart();
            let answer = poll(&mut chain, &mut client, &first);
            let certificate = issued(&answer);
            assert_eq!(chain.passed.len(), 1);
            chain = chain.restart();
            let answer = chain.send(&mut client, cert_conf(&certificate));
            assert_eq!(answer.body.body_type(), BodyType::PkiConf, "{}", forward.name());
            assert_eq!(status_of(&chain.ca, &certificate), CertificateStatus::Confirmed);
            assert!(chain.ra.store().pending_requests().unwrap().is_empty());
        }
    }
}

#[test]
fn where_the_ra_protects_again_an_approved_answer_has_the_nonce_of_the_last_poll_req() {
    for forward in [Forward::Replaced, Forward::RaVerified] {
        let mut chain = by_person(forward);
        let mut client = chain.station("CS-1");
        chain.send(&mut client, ir());
        assert!(chain.ra.store().approve(only_pending(&chain)).unwrap());
        // take() holds the answer against this very message.
        issued(&chain.send(&mut client, poll_req()));
    }
}

#[test]
fn a_request_that_is_denied_ends_with_what_the_person_said_and_never_passes() {
    for forward in Forward::ALL {
        let mut chain = by_person(forward);
        let mut client = chain.station("CS-1");
        chain.send(&mut client, ir());
        let number = only_pending(&chain);
        assert!(chain.ra.store().deny(number, "unknown serial number").unwrap());
        let answer = chain.send(&mut client, poll_req());
        assert_eq!(answer.body.body_type(), BodyType::Ip);
        assert_eq!(failure(&answer), PkiFailure::NotAuthorized);
        let text = status(&answer).to_string();
        assert!(text.contains("unknown serial number"), "{text}");
        assert!(!chain.ra.store().approve(number).unwrap());
        // That answer may have got lost.
        let answer = chain.send(&mut client, poll_req());
        assert_eq!(failure(&answer), PkiFailure::NotAuthorized);
        let answer = chain.pass_at(NOW_S + 3_601, &client.message(poll_req(), |_| {}));
        let answer = PkiMessage::from_bytes(&answer).unwrap();
        assert_eq!(failure(&answer), PkiFailure::BadRequest);
        assert!(chain.passed.is_empty());
    }
}

#[test]
fn what_asks_for_no_certificate_waits_for_nobody() {
    let mut chain = by_person(Forward::Nested);
    let mut client = chain.station("CS-1");
    let question = client::genm(InfoTypeAndValue::absent(general::CA_CERTS));
    let answer = chain.send(&mut client, question);
    assert_eq!(answer.body.body_type(), BodyType::Genp);
    assert!(chain.ra.store().pending_requests().unwrap().is_empty());
}

#[test]
fn what_does_not_pass_the_checks_is_no_matter_for_a_person() {
    let mut chain = by_person(Forward::Replaced);
    let mut client = chain.station("CS-1");
    let mut wanted = request(&key(), "CN=CS-1", |_| {});
    wanted.popo = None;
    let answer = chain.send(&mut client, PkiBody::Ir(vec![wanted]));
    assert_eq!(failure(&answer), PkiFailure::BadPop);
    assert!(chain.ra.store().pending_requests().unwrap().is_empty());
}

#[test]
fn an_approved_request_waits_until_the_server_behind_can_be_reached() {
    for forward in Forward::ALL {
        let mut chain = by_person(forward);
        let mut client = chain.station("CS-1");
        let first = client.message(ir(), |_| {});
        let answer = chain.pass(&first);
        client.take(NOW_S, &first, &answer);
        assert!(chain.ra.store().approve(only_pending(&chain)).unwrap());
        for _ in 0..3 {
            let polled = client.message(poll_req(), |_| {});
            let answer = chain.pass_by(&polled, |_, _| Err(Error::ConnectTimeout.into()));
            is_poll_rep(&client.take(NOW_S, &polled, &answer));
            chain = chain.restart();
        }
        issued(&poll(&mut chain, &mut client, &first));
        assert_eq!(chain.ca.store().certificates().unwrap().len(), 2);
    }
}

#[test]
fn an_approved_request_that_may_have_been_asked_for_is_not_asked_for_again() {
    let mut chain = by_person(Forward::Replaced);
    let mut client = chain.station("CS-1");
    chain.send(&mut client, ir());
    assert!(chain.ra.store().approve(only_pending(&chain)).unwrap());
    let polled = client.message(poll_req(), |_| {});
    let answer = chain.pass_by(&polled, |_, _| Err(Error::BrokeOff.into()));
    let answer = client.take(NOW_S, &polled, &answer);
    assert_eq!(failure(&answer), PkiFailure::SystemUnavail);
    let answer = chain.send(&mut client, poll_req());
    assert_eq!(failure(&answer), PkiFailure::BadRequest);
    assert!(chain.passed.is_empty());
}

#[test]
fn whoever_polls_once_more_while_the_server_behind_works_gets_the_answer_later() {
    let mut chain = by_person(Forward::Replaced);
    let mut client = chain.station("CS-1");
    chain.send(&mut client, ir());
    assert!(chain.ra.store().approve(only_pending(&chain)).unwrap());
    let impatient = client.message(poll_req(), |_| {});
    let Step::Forward(asked) = chain.ra.take(NOW_S, &Endpoint::default(), &impatient) else {
        panic!("not passed on");
    };
    is_poll_rep(&chain.send(&mut client, poll_req()));
    let response = chain.ca.handle(NOW_S, &asked.message);
    // Whoever asked first is gone.
    let _ = chain.ra.give(NOW_S, &asked.ticket, Ok(response));
    let answer = chain.send(&mut client, poll_req());
    let certificate = issued(&answer);
    let answer = chain.send(&mut client, cert_conf(&certificate));
    assert_eq!(answer.body.body_type(), BodyType::PkiConf);
    assert_eq!(chain.ca.store().certificates().unwrap().len(), 2);
}

#[test]
fn a_server_behind_that_needs_time_after_the_person_is_polled_for_too() {
    for forward in Forward::ALL {
        let mut chain = with(
            forward,
            |_| {},
            |ca| {
                ca.poll_after = Some(PollAfter {
                    polls: 1,
                    check_after_s: 3,
                });
            },
        );
        let mut client = chain.station("CS-1");
        let first = client.message(ir(), |_| {});
        let answer = chain.pass(&first);
        client.take(NOW_S, &first, &answer);
        assert!(chain.ra.store().approve(only_pending(&chain)).unwrap());
        // The server behind says waiting, then pollRep; the end entity, which waits already, only hears pollReps.
        is_poll_rep(&chain.send(&mut client, poll_req()));
        is_poll_rep(&chain.send(&mut client, poll_req()));
        let certificate = issued(&chain.send(&mut client, poll_req()));
        let answer = chain.send(&mut client, cert_conf(&certificate));
        assert_eq!(answer.body.body_type(), BodyType::PkiConf, "{}", forward.name());
    }
}

#[test]
fn with_carried_files_an_approved_request_becomes_a_file_and_its_answer_arrives() {
    for forward in Forward::ALL {
        let slow = |forward: &mut ForwardConfig| forward.delayed_check_after_s = Some(9);
        let mut chain = with(forward, slow, |_| {});
        let mut client = chain.station("CS-1");
        let first = client.message(ir(), |_| {});
        let answer = chain.pass(&first);
        is_waiting(&client.take(NOW_S, &first, &answer));
        assert!(chain.carry_out(NOW_S).is_empty());
        assert!(chain.ra.store().approve(only_pending(&chain)).unwrap());
        is_poll_rep(&chain.send(&mut client, poll_req()));
        chain = chain.restart();
        let files = chain.carry_out(NOW_S);
        assert_eq!(files.len(), 1);
        let response = chain.ca.handle(NOW_S, &files[0].message);
        chain.ra.arrive(NOW_S, &response).unwrap().unwrap();
        issued(&poll(&mut chain, &mut client, &first));
    }
}

#[test]
fn whoever_gives_up_or_never_polls_again_is_no_matter_for_a_person_any_more() {
    let mut chain = by_person(Forward::Replaced);
    let mut client = chain.station("CS-1");
    chain.send(&mut client, ir());
    let number = only_pending(&chain);
    let no = cmp_message::PkiStatusInfo::rejection(PkiFailure::SystemFailure, "changed its mind");
    let answer = chain.send(&mut client, PkiBody::Error(no.into()));
    assert_eq!(answer.body.body_type(), BodyType::PkiConf);
    assert!(!chain.ra.store().approve(number).unwrap());
    client.begin();
    chain.send(&mut client, ir());
    let number = only_pending(&chain);
    let late_s = NOW_S + 31 * 86_400;
    chain.ra.outgoing(late_s).unwrap();
    assert!(!chain.ra.store().approve(number).unwrap());
    assert!(chain.passed.is_empty());
}
