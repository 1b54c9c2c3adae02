//! Answers that come later (RFC 9483 §4.4), and those on which a person decides.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    unreachable_pub
)]

mod client;

use client::*;
use cmp_message::{
    BodyType, ErrorMsgContent, InfoTypeAndValue, PkiBody, PkiFailure as F, PkiMessage, PkiStatus,
    PkiStatusInfo, certificate::Certificate, general,
};
use lab_ra::{Approval, CertificateStatus, PollAfter, Ra, RaConfig};

const ALL: [BodyType; 7] = [
    BodyType::Ir,
    BodyType::Cr,
    BodyType::P10cr,
    BodyType::Kur,
    BodyType::Rr,
    BodyType::Genm,
    BodyType::CertConf,
];

fn delay_all(config: &mut RaConfig) {
    config.poll_after = Some(PollAfter {
        polls: 1,
        check_after_s: 9,
    });
    config.delayed = ALL.to_vec();
}

fn by_person(config: &mut RaConfig) {
    config.approval = Approval::Person;
    config.approval_check_after_s = 7;
}

fn ir() -> PkiBody {
    PkiBody::Ir(vec![request(&key(), "CN=CS-1", |_| {})])
}

/// Polls once in vain and once with success; every answer on the way gets lost once.
fn poll_through(ra: &mut Ra, client: &mut Client, poll_req: fn() -> PkiBody) -> PkiMessage {
    let message = client.message(poll_req(), |_| {});
    for _ in 0..2 {
        let answer = client.take(NOW_S, &message, &ra.handle(NOW_S, &message));
        let PkiBody::PollRep(content) = &*answer.body else {
            panic!("not a pollRep: {:?}", answer.body);
        };
        assert_eq!(content[0].check_after, 9);
    }
    let message = client.message(poll_req(), |_| {});
    let answers = [(); 2].map(|()| client.take(NOW_S, &message, &ra.handle(NOW_S, &message)));
    assert_eq!(answers[0].header.sender_nonce, answers[1].header.sender_nonce);
    if answers[0].body.body_type() != BodyType::Rp {
        assert_eq!(answers[0].body, answers[1].body);
    }
    let [first, _] = answers;
    first
}

fn waiting(answer: &PkiMessage, body: BodyType) {
    assert_eq!(
        (answer.body.body_type(), status(answer).status),
        (body, PkiStatus::WAITING)
    );
}

/// Gets a certificate although every answer is delayed.
fn enroll(ra: &mut Ra, client: &mut Client, body: PkiBody, expected: BodyType) -> Vec<u8> {
    let is_p10cr = body.body_type() == BodyType::P10cr;
    waiting(&client.send(ra, body), expected);
    let answer = poll_through(ra, client, if is_p10cr { poll_req_all } else { poll_req });
    let certificate = issued(&answer);
    let cert_conf = match is_p10cr {
        true => cert_conf_of_p10cr(&certificate),
        false => cert_conf(&certificate),
    };
    let message = client.message(cert_conf, |_| {});
    for _ in 0..2 {
        waiting(
            &client.take(NOW_S, &message, &ra.handle(NOW_S, &message)),
            BodyType::Error,
        );
        assert_eq!(status_of(ra, &certificate), CertificateStatus::Issued);
    }
    let answer = poll_through(ra, client, poll_req_all);
    assert_eq!(answer.body.body_type(), BodyType::PkiConf);
    assert_eq!(status_of(ra, &certificate), CertificateStatus::Confirmed);
    assert_eq!(ra.store().open_transaction_count(), 0);
    certificate
}

#[test]
fn every_request_for_a_certificate_and_its_cert_conf_can_wait() {
    let mut ra = ra(delay_all);
    let key_1 = key();
    let mut client = Client::with_idevid(&ra, "CS-1");
    let body = PkiBody::Ir(vec![request(&key_1, "CN=CS-1", |_| {})]);
    let first = enroll(&mut ra, &mut client, body, BodyType::Ip);
    client.begin();
    enroll(
        &mut ra,
        &mut client,
        p10cr(&key(), "CN=CS-1", |_| {}),
        BodyType::Cp,
    );
    let old = Certificate::from_der(first.as_slice()).unwrap();
    let mut client = Client::with_certificate(&ra, key_1, first);
    let body = PkiBody::Cr(vec![request(&key(), "CN=CS-1", |_| {})]);
    enroll(&mut ra, &mut client, body, BodyType::Cp);
    client.begin();
    let body = PkiBody::Kur(vec![update(&key(), "CN=CS-1", &old)]);
    enroll(&mut ra, &mut client, body, BodyType::Kup);
    assert_eq!(ra.store().certificates().unwrap().len(), 4);
}

#[test]
fn a_revocation_can_wait_and_a_repeated_last_poll_is_told_that_it_is_revoked() {
    let mut ra = ra(delay_all);
    let key = key();
    let mut client = Client::with_idevid(&ra, "CS-1");
    let body = PkiBody::Ir(vec![request(&key, "CN=CS-1", |_| {})]);
    let certificate = enroll(&mut ra, &mut client, body, BodyType::Ip);
    let mut client = Client::with_certificate(&ra, key, certificate.clone());
    waiting(&client.send(&mut ra, rr(&certificate, Some(1))), BodyType::Error);
    assert_eq!(status_of(&ra, &certificate), CertificateStatus::Confirmed);
    client.send(&mut ra, poll_req_all());
    let last = client.message(poll_req_all(), |_| {});
    let answer = client.take(NOW_S, &last, &ra.handle(NOW_S, &last));
    assert_eq!(status(&answer).status, PkiStatus::ACCEPTED);
    assert_eq!(status_of(&ra, &certificate), CertificateStatus::Revoked);
    let answer = client.take(NOW_S, &last, &ra.handle(NOW_S, &last));
    assert_eq!(
        (answer.body.body_type(), failure(&answer)),
        (BodyType::Rp, F::CertRevoked)
    );
    assert_eq!(ra.store().open_transaction_count(), 0);
}

#[test]
fn a_general_message_can_wait() {
    let mut ra = ra(delay_all);
    let mut client = Client::with_idevid(&ra, "CS-1");
    let body = genm(InfoTypeAndValue::absent(general::CA_CERTS));
    waiting(&client.send(&mut ra, body), BodyType::Error);
    let answer = poll_through(&mut ra, &mut client, poll_req_all);
    assert_eq!(info(&answer).info_type, general::CA_CERTS);
    assert_eq!(ra.store().open_transaction_count(), 0);
}

#[test]
fn a_request_is_refused_at_once_however_long_the_good_ones_wait() {
    let mut ra = ra(delay_all);
    let mut client = Client::with_idevid(&ra, "CS-1");
    let body = PkiBody::Ir(vec![request(&key(), "CN=CS-1", |template| {
        template.subject = None
    })]);
    assert_eq!(failure(&client.send(&mut ra, body)), F::BadCertTemplate);
    assert_eq!(ra.store().open_transaction_count(), 0);
}

#[test]
fn what_became_wrong_while_it_waited_is_refused_when_its_time_has_come() {
    let mut ra = ra(|_| {});
    let key_1 = key();
    let first = Client::with_idevid(&ra, "CS-1").enroll(&mut ra, &key_1, "CN=CS-1");
    let old = Certificate::from_der(first.as_slice()).unwrap();
    let mut ra = reconfigured(ra, delay_all);
    let mut client = Client::with_certificate(&ra, key_1, first.clone());
    let body = PkiBody::Kur(vec![update(&key(), "CN=CS-1", &old)]);
    waiting(&client.send(&mut ra, body), BodyType::Kup);
    ra.store()
        .revoke(&serial(&first), lab_ra::RevocationReason::KeyCompromise, NOW_S)
        .unwrap();
    client.send(&mut ra, poll_req());
    let answer = client.send(&mut ra, poll_req());
    assert_eq!(
        (answer.body.body_type(), failure(&answer)),
        (BodyType::Kup, F::CertRevoked)
    );
    assert_eq!(ra.store().open_transaction_count(), 0);
    assert_eq!(ra.store().certificates().unwrap().len(), 1);
}

/// The same RA with another configuration.
fn reconfigured(ra: Ra, change: fn(&mut RaConfig)) -> Ra {
    let mut config = RaConfig::default();
    change(&mut config);
    let (pki, store) = ra.into_parts();
    Ra::new(pki, config, store).unwrap()
}

#[test]
fn a_cert_conf_that_waits_is_given_up_with_its_certificate() {
    let mut ra = ra(|config| {
        delay_all(config);
        config.delayed = vec![BodyType::CertConf];
    });
    let mut client = Client::with_idevid(&ra, "CS-1");
    let certificate = issued(&client.send(&mut ra, ir()));
    waiting(&client.send(&mut ra, cert_conf(&certificate)), BodyType::Error);
    let error = ErrorMsgContent::from(PkiStatusInfo::rejection(F::SystemFailure, ""));
    let answer = client.send(&mut ra, PkiBody::Error(error));
    assert_eq!(answer.body.body_type(), BodyType::PkiConf);
    assert_eq!(status_of(&ra, &certificate), CertificateStatus::Refused);
}

#[test]
fn a_poll_req_names_the_request_or_all_of_the_answer() {
    let mut ra = ra(delay_all);
    for (body, good, bad) in [
        (ir(), vec![0, -1], vec![1]),
        (p10cr(&key(), "CN=CS-1", |_| {}), vec![-1], vec![0, 1]),
        (
            genm(InfoTypeAndValue::absent(general::CA_CERTS)),
            vec![-1],
            vec![0],
        ),
    ] {
        for (ids, is_good) in [(good, true), (bad, false)] {
            for cert_req_id in ids {
                let mut client = Client::with_idevid(&ra, "CS-1");
                client.send(&mut ra, body.clone());
                let poll_req = PkiBody::PollReq(vec![cmp_message::PollReq { cert_req_id }]);
                let answer = client.send(&mut ra, poll_req);
                match &*answer.body {
                    PkiBody::PollRep(content) => assert_eq!(content[0].cert_req_id, cert_req_id),
                    _ => assert_eq!((is_good, failure(&answer)), (false, F::BadRequest)),
                }
            }
        }
    }
}

#[test]
fn a_person_grants_a_request_and_its_requester_gets_it_by_polling() {
    let mut ra = ra(by_person);
    let mut client = Client::with_idevid(&ra, "CS-1");
    waiting(&client.send(&mut ra, ir()), BodyType::Ip);
    for _ in 0..3 {
        let answer = client.send(&mut ra, poll_req());
        let PkiBody::PollRep(content) = &*answer.body else {
            panic!("not a pollRep: {:?}", answer.body);
        };
        assert_eq!(content[0].check_after, 7);
        assert!(content[0].reason.as_ref().unwrap()[0].contains("person"));
    }
    let pending = ra.store().pending_requests().unwrap();
    assert_eq!(pending.len(), 1);
    assert_eq!(
        (pending[0].body.as_str(), pending[0].subject.as_str()),
        ("ir", "CN=CS-1")
    );
    assert!(ra.store().approve(pending[0].number).unwrap());
    assert!(ra.store().pending_requests().unwrap().is_empty());
    let certificate = issued(&client.send(&mut ra, poll_req()));
    let answer = client.send(&mut ra, cert_conf(&certificate));
    assert_eq!(answer.body.body_type(), BodyType::PkiConf);
}

#[test]
fn a_person_denies_a_request_and_its_requester_is_told_why() {
    let mut ra = ra(by_person);
    let mut client = Client::with_idevid(&ra, "CS-1");
    client.send(&mut ra, ir());
    let number = ra.store().pending_requests().unwrap()[0].number;
    assert!(ra.store().deny(number, "not on my watch").unwrap());
    assert!(!ra.store().approve(number).unwrap());
    let answer = client.send(&mut ra, poll_req());
    assert_eq!(
        (answer.body.body_type(), failure(&answer)),
        (BodyType::Ip, F::NotAuthorized)
    );
    assert_eq!(status(&answer).status_string.unwrap(), ["not on my watch"]);
    assert_eq!(ra.store().certificates().unwrap().len(), 0);
    assert_eq!(ra.store().open_transaction_count(), 0);
}

#[test]
fn a_request_that_its_requester_gave_up_cannot_be_granted() {
    let mut ra = ra(by_person);
    let mut client = Client::with_idevid(&ra, "CS-1");
    client.send(&mut ra, ir());
    let number = ra.store().pending_requests().unwrap()[0].number;
    let error = ErrorMsgContent::from(PkiStatusInfo::rejection(F::SystemFailure, ""));
    client.send(&mut ra, PkiBody::Error(error));
    assert!(ra.store().pending_requests().unwrap().is_empty());
    assert!(!ra.store().approve(number).unwrap());
    assert!(!ra.store().approve(number + 1).unwrap());
}

#[test]
fn only_certificates_need_a_person() {
    let mut ra = ra(by_person);
    let mut client = Client::with_idevid(&ra, "CS-1");
    let answer = client.send(&mut ra, genm(InfoTypeAndValue::absent(general::CA_CERTS)));
    assert_eq!(answer.body.body_type(), BodyType::Genp);
}
