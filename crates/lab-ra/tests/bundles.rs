//! Messages that go together in one nested message, and messages that go as files (RFC 9483 §5.2.2.2, §6.4).
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

use chain::{Chain, config_of_ra};
use client::{
    Client, NOW_S, cert_conf, failure, genm, issued, key, octets, poll_req, request, rr, status, status_of,
};
use cmp_message::{
    BodyType, Exact, InfoTypeAndValue, PkiBody, PkiFailure, PkiMessage, PkiStatus, Raw,
    crypto::aws_lc::SoftKey, general,
};
use lab_ra::{
    Asked, Batch, CertificateStatus, Endpoint, Forward, Forwarder, RaIdentity, Step, Store, UpstreamError,
};

const CHECK_AFTER_S: i64 = 20;

fn ir(client: &Client, key: &SoftKey) -> Vec<u8> {
    client.message(PkiBody::Ir(vec![request(key, "CN=CS-1", |_| {})]), |_| {})
}

fn together() -> Chain {
    let batch = Batch {
        messages: 3,
        wait_s: 5,
    };
    Chain::with(
        Forward::Nested,
        |forward| forward.batch = Some(batch),
        |_| {},
        |_| {},
    )
}

fn take(chain: &mut Chain, message: &[u8]) -> Asked {
    match chain.ra.take(NOW_S, &Endpoint::default(), message) {
        Step::Forward(asked) => asked,
        Step::Answer(answer) => panic!("{:?}", PkiMessage::from_bytes(&answer)),
        Step::Batch(batch) => panic!("{batch:?}"),
    }
}

/// Passes all on in one bundle; what each gets.
fn pass_together(
    chain: &mut Chain,
    messages: &[Vec<u8>],
    change: impl FnOnce(Vec<u8>) -> Result<Vec<u8>, UpstreamError>,
) -> Vec<Vec<u8>> {
    let asked: Vec<_> = messages.iter().map(|message| take(chain, message)).collect();
    let inside: Vec<_> = asked.iter().map(|one| one.message.as_slice()).collect();
    let bundle = chain.ra.bundle(NOW_S, &inside).unwrap();
    let response = change(chain.ca.handle(NOW_S, &bundle.message));
    let responses = chain.ra.unbundle(NOW_S, &bundle, &inside, response);
    let pairs = asked.iter().zip(responses);
    pairs
        .map(|(one, response)| chain.ra.give(NOW_S, &one.ticket, response))
        .collect()
}

#[test]
fn answers_that_come_together_go_to_whom_they_belong() {
    let mut chain = together();
    let mut clients = [chain.station("CS-1"), chain.newcomer(), chain.station("CS-3")];
    let keys = [key(), key(), key()];
    let messages: Vec<_> = clients
        .iter()
        .zip(&keys)
        .map(|(client, key)| ir(client, key))
        .collect();
    let answers = pass_together(&mut chain, &messages, Ok);
    let mut confirmations = Vec::new();
    for (client, (message, answer)) in clients.iter_mut().zip(messages.iter().zip(&answers)) {
        let answer = client.take(NOW_S, message, answer);
        confirmations.push(client.message(cert_conf(&issued(&answer)), |_| {}));
    }
    let answers = pass_together(&mut chain, &confirmations, Ok);
    for (client, (message, answer)) in clients.iter_mut().zip(confirmations.iter().zip(&answers)) {
        let answer = client.take(NOW_S, message, answer);
        assert_eq!(answer.body.body_type(), BodyType::PkiConf);
    }
    let certificates = chain.ca.store().certificates().unwrap();
    // The first one is the RA's.
    assert_eq!(certificates.len(), 4);
    assert!(
        certificates
            .iter()
            .all(|one| one.status == CertificateStatus::Confirmed)
    );
}

#[test]
fn one_message_alone_gets_the_protection_added() {
    let mut chain = together();
    let mut client = chain.station("CS-1");
    let message = ir(&client, &key());
    let answers = pass_together(&mut chain, std::slice::from_ref(&message), Ok);
    issued(&client.take(NOW_S, &message, &answers[0]));
}

#[test]
fn what_is_wrong_with_one_message_is_not_the_matter_of_the_others() {
    let mut chain = together();
    // The CA does not know the certificate of this one.
    let elsewhere = Store::in_memory().unwrap();
    let unknown = chain
        .ca
        .pki()
        .issue(&elsewhere, &client::name("CN=CS-2"), false, NOW_S)
        .unwrap();
    let unknown_key = SoftKey::from_der(&unknown.key).unwrap();
    let mut clients = [
        chain.station("CS-1"),
        Client::with_certificate(&chain.ca, unknown_key, unknown.certificate),
    ];
    let key = key();
    let messages: Vec<_> = clients.iter().map(|client| ir(client, &key)).collect();
    let answers = pass_together(&mut chain, &messages, Ok);
    issued(&clients[0].take(NOW_S, &messages[0], &answers[0]));
    let refused = clients[1].take(NOW_S, &messages[1], &answers[1]);
    assert_eq!(failure(&refused), PkiFailure::NotAuthorized);
}

type Change = fn(Vec<u8>) -> Result<Vec<u8>, UpstreamError>;

#[test]
fn a_batch_that_is_not_answered_as_a_batch_fails_for_all() {
    let cases: [(&str, Change); 5] = [
        ("nobody there", |_| Err(cmp_http::Error::ConnectTimeout.into())),
        ("no DER", |_| Ok(b"no DER".to_vec())),
        ("one of the answers alone", |answer| {
            Ok(inside(&answer)[0].as_bytes().to_vec())
        }),
        ("another transaction", |answer| {
            let mut answer = PkiMessage::from_bytes(&answer).unwrap();
            let mut header = answer.header.clone().into_value();
            header.transaction_id = Some(octets(&[1; 16]));
            answer.header = Exact::new(header).unwrap();
            Ok(answer.to_bytes().unwrap())
        }),
        ("a damaged protection", |answer| {
            let mut answer = PkiMessage::from_bytes(&answer).unwrap();
            answer = answer
                .clone()
                .with_protection(&[1; 70], answer.extra_certs.unwrap())
                .unwrap();
            Ok(answer.to_bytes().unwrap())
        }),
    ];
    for (what, change) in cases {
        let mut chain = together();
        let mut clients = [chain.station("CS-1"), chain.newcomer()];
        let messages: Vec<_> = clients.iter().map(|client| ir(client, &key())).collect();
        let answers = pass_together(&mut chain, &messages, change);
        for (client, (message, answer)) in clients.iter_mut().zip(messages.iter().zip(&answers)) {
            let answer = client.take(NOW_S, message, answer);
            let expected = match what {
                "nobody there" => PkiFailure::SystemUnavail,
                _ => PkiFailure::SystemFailure,
            };
            assert_eq!(failure(&answer), expected, "{what}");
        }
    }
}

fn inside(answer: &[u8]) -> Vec<Raw> {
    let message = PkiMessage::from_bytes(answer).unwrap();
    let PkiBody::Nested(content) = &*message.body else {
        panic!("{:?}", message.body);
    };
    content.parse().unwrap()
}

fn by_files(forward: Forward, batch: Option<Batch>) -> Chain {
    Chain::with(
        forward,
        |config| {
            config.delayed_check_after_s = Some(CHECK_AFTER_S as u32);
            config.batch = batch;
        },
        |_| {},
        |_| {},
    )
}

/// Carries every message to the CA and every answer back.
fn carry(chain: &mut Chain, now_s: u64) -> usize {
    let files = chain.carry_out(now_s);
    for file in &files {
        let answer = chain.ca.handle(NOW_S, &file.message);
        assert_eq!(chain.ra.arrive(now_s, &answer).unwrap(), Ok(()));
    }
    files.len()
}

#[track_caller]
fn assert_poll_rep(answer: &PkiMessage, cert_req_id: i64) {
    let PkiBody::PollRep(content) = &*answer.body else {
        panic!("{:?}", answer.body);
    };
    assert_eq!(
        (content[0].check_after, content[0].cert_req_id),
        (CHECK_AFTER_S, cert_req_id)
    );
}

fn poll_req_all() -> PkiBody {
    PkiBody::PollReq(vec![cmp_message::PollReq { cert_req_id: -1 }])
}

#[test]
fn a_client_polls_until_the_answer_to_its_file_is_there_for_each_message() {
    for forward in [Forward::Replaced, Forward::RaVerified] {
        let mut chain = by_files(forward, None);
        for mut client in [chain.station("CS-1"), chain.newcomer()] {
            let key = key();
            let body = PkiBody::Ir(vec![request(&key, "CN=CS-1", |_| {})]);
            let answer = chain.send(&mut client, body);
            assert_eq!(answer.body.body_type(), BodyType::Ip);
            assert_eq!(status(&answer).status, PkiStatus::WAITING);
            for _ in 0..2 {
                assert_poll_rep(&chain.send(&mut client, poll_req()), 0);
            }
            assert_eq!(carry(&mut chain, NOW_S), 1);
            let certificate = issued(&chain.send(&mut client, poll_req()));
            let answer = chain.send(&mut client, cert_conf(&certificate));
            assert_eq!(answer.body.body_type(), BodyType::Error);
            assert_eq!(status(&answer).status, PkiStatus::WAITING);
            assert_poll_rep(&chain.send(&mut client, poll_req_all()), -1);
            assert_eq!(status_of(&chain.ca, &certificate), CertificateStatus::Issued);
            assert_eq!(carry(&mut chain, NOW_S), 1);
            let answer = chain.send(&mut client, poll_req_all());
            assert_eq!(answer.body.body_type(), BodyType::PkiConf);
            assert_eq!(status_of(&chain.ca, &certificate), CertificateStatus::Confirmed);

            let key = SoftKey::from_der(&key.to_pkcs8().unwrap()).unwrap();
            let mut holder = Client::with_certificate(&chain.ca, key, certificate.clone());
            let answer = chain.send(&mut holder, genm(InfoTypeAndValue::absent(general::CA_CERTS)));
            assert_eq!(status(&answer).status, PkiStatus::WAITING);
            assert_eq!(carry(&mut chain, NOW_S), 1);
            let answer = chain.send(&mut holder, poll_req_all());
            assert_eq!(answer.body.body_type(), BodyType::Genp);
            holder.begin();
            let answer = chain.send(&mut holder, rr(&certificate, Some(1)));
            assert_eq!(status(&answer).status, PkiStatus::WAITING);
            assert_eq!(carry(&mut chain, NOW_S), 1);
            let answer = chain.send(&mut holder, poll_req_all());
            assert_eq!(answer.body.body_type(), BodyType::Rp);
        }
    }
}

#[test]
fn where_protections_stay_the_answer_comes_byte_for_byte_with_the_nonce_of_its_request() {
    for forward in [Forward::Unchanged, Forward::Nested] {
        let mut chain = by_files(forward, None);
        let mut client = chain.station("CS-1");
        let first = ir(&client, &key());
        let waiting = chain.pass(&first);
        client.take(NOW_S, &first, &waiting);
        let file = chain.carry_out(NOW_S).remove(0);
        let answer = chain.ca.handle(NOW_S, &file.message);
        assert_eq!(chain.ra.arrive(NOW_S, &answer).unwrap(), Ok(()));
        let poll = client.message(poll_req(), |_| {});
        let delivered = chain.pass(&poll);
        assert_eq!(delivered, answer);
        // RFC 9483 §3.1: in a delayed response it is the senderNonce of the request.
        issued(&client.take(NOW_S, &first, &delivered));
    }
}

#[test]
fn what_is_under_way_survives_a_restart_at_any_moment() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.sqlite");
    let mut chain = by_files(Forward::Replaced, None);
    let identity = RaIdentity::new(&chain.identity).unwrap();
    let config = config_of_ra(chain.ca.pki());
    let forward = chain.ra.forward_config().clone();
    let restart = |chain: &mut Chain| {
        let store = Store::open(&path).unwrap();
        chain.ra = Forwarder::new(identity.clone(), config.clone(), forward.clone(), store).unwrap();
    };
    restart(&mut chain);
    let mut client = chain.station("CS-1");
    chain.send(&mut client, PkiBody::Ir(vec![request(&key(), "CN=CS-1", |_| {})]));
    restart(&mut chain);
    assert_poll_rep(&chain.send(&mut client, poll_req()), 0);
    // The file was written, and that it was is not recorded.
    let before = chain.ra.outgoing(NOW_S).unwrap();
    restart(&mut chain);
    assert_eq!(chain.ra.outgoing(NOW_S).unwrap(), before);
    chain.ra.sent(&before[0]).unwrap();
    restart(&mut chain);
    assert!(chain.ra.outgoing(NOW_S).unwrap().is_empty());
    let answer = chain.ca.handle(NOW_S, &before[0].message);
    assert_eq!(chain.ra.arrive(NOW_S, &answer).unwrap(), Ok(()));
    // The answer was taken, and its file not removed.
    restart(&mut chain);
    let again = chain.ra.arrive(NOW_S, &answer).unwrap();
    assert_eq!(again, Err(UpstreamError::NotAwaited));
    let certificate = issued(&chain.send(&mut client, poll_req()));
    restart(&mut chain);
    chain.send(&mut client, cert_conf(&certificate));
    restart(&mut chain);
    carry(&mut chain, NOW_S);
    restart(&mut chain);
    let answer = chain.send(&mut client, poll_req_all());
    assert_eq!(answer.body.body_type(), BodyType::PkiConf);
}

#[test]
fn a_repeated_message_is_answered_as_before_and_becomes_no_second_file() {
    let mut chain = by_files(Forward::Replaced, None);
    let mut client = chain.station("CS-1");
    chain.send(&mut client, PkiBody::Ir(vec![request(&key(), "CN=CS-1", |_| {})]));
    let poll = client.message(poll_req(), |_| {});
    let lost = PkiMessage::from_bytes(&chain.pass(&poll)).unwrap();
    let again = PkiMessage::from_bytes(&chain.pass(&poll)).unwrap();
    assert_eq!(lost.header.sender_nonce, again.header.sender_nonce);
    client.take(NOW_S, &poll, &again.to_bytes().unwrap());
    assert_eq!(carry(&mut chain, NOW_S), 1);
    let poll = client.message(poll_req(), |_| {});
    let lost = PkiMessage::from_bytes(&chain.pass(&poll)).unwrap();
    let again = chain.pass(&poll);
    let certificate = issued(&client.take(NOW_S, &poll, &again));
    assert_eq!(certificate, issued(&lost));
    let conf = client.message(cert_conf(&certificate), |_| {});
    chain.pass(&conf);
    let waiting = chain.pass(&conf);
    let waiting = client.take(NOW_S, &conf, &waiting);
    assert_eq!(status(&waiting).status, PkiStatus::WAITING);
    assert_eq!(carry(&mut chain, NOW_S), 1);
    assert_eq!(chain.ca.store().certificates().unwrap().len(), 2);
}

#[test]
fn files_of_no_use_change_nothing_and_say_why() {
    let mut chain = by_files(Forward::Replaced, None);
    let mut client = chain.station("CS-1");
    chain.send(&mut client, PkiBody::Ir(vec![request(&key(), "CN=CS-1", |_| {})]));
    let file = chain.carry_out(NOW_S).remove(0);
    let answer = chain.ca.handle(NOW_S, &file.message);
    let good = PkiMessage::from_bytes(&answer).unwrap();
    let with = |change: fn(&mut cmp_message::PkiHeader)| {
        let mut message = good.clone();
        let mut header = message.header.clone().into_value();
        change(&mut header);
        message.header = Exact::new(header).unwrap();
        message.to_bytes().unwrap()
    };
    let cases = [
        (
            "half",
            answer[..answer.len() / 2].to_vec(),
            UpstreamError::Malformed,
        ),
        (
            "more",
            [answer.clone(), vec![0]].concat(),
            UpstreamError::Malformed,
        ),
        (
            "another transaction",
            with(|header| header.transaction_id = Some(octets(&[1; 16]))),
            UpstreamError::UnknownTransaction,
        ),
        (
            "another nonce",
            with(|header| header.recip_nonce = Some(octets(&[1; 16]))),
            UpstreamError::OtherMessage,
        ),
        (
            "a changed header",
            with(|header| header.free_text = Some(vec!["more".into()])),
            UpstreamError::Protection(cmp_message::validate::ValidationError::WrongSignature),
        ),
    ];
    for (what, message, expected) in cases {
        assert_eq!(chain.ra.arrive(NOW_S, &message).unwrap(), Err(expected), "{what}");
        assert_poll_rep(&chain.send(&mut client, poll_req()), 0);
    }
    assert_eq!(chain.ra.arrive(NOW_S, &answer).unwrap(), Ok(()));
    issued(&chain.send(&mut client, poll_req()));
}

#[test]
fn what_no_answer_came_for_in_time_is_over() {
    let mut chain = by_files(Forward::Replaced, None);
    let keep_s = chain.ra.forward_config().keep_s;
    let mut client = chain.station("CS-1");
    chain.send(&mut client, PkiBody::Ir(vec![request(&key(), "CN=CS-1", |_| {})]));
    let file = chain.carry_out(NOW_S).remove(0);
    let answer = chain.ca.handle(NOW_S, &file.message);
    let late_s = NOW_S + keep_s + 1;
    let arrived = chain.ra.arrive(late_s, &answer).unwrap();
    assert_eq!(arrived, Err(UpstreamError::NotAwaited));
    let poll = client.message(poll_req(), |_| {});
    let answer = chain.pass_at(late_s, &poll);
    assert_eq!(
        failure(&PkiMessage::from_bytes(&answer).unwrap()),
        PkiFailure::BadRequest
    );
}

/// Stations whose first message has become part of a file, or waits for others.
fn gather(chain: &mut Chain, count: usize) -> Vec<(Client, Vec<u8>)> {
    let stations = (0..count).map(|n| {
        let mut client = chain.station(&format!("CS-{n}"));
        let message = ir(&client, &key());
        let waiting = chain.pass(&message);
        let waiting = client.take(NOW_S, &message, &waiting);
        assert_eq!(status(&waiting).status, PkiStatus::WAITING);
        (client, message)
    });
    stations.collect()
}

#[test]
fn files_gather_until_there_are_enough_or_the_first_has_waited_long_enough() {
    let batch = Batch {
        messages: 3,
        wait_s: 60,
    };
    let mut chain = by_files(Forward::Nested, Some(batch));
    let mut stations = gather(&mut chain, 2);
    assert!(chain.carry_out(NOW_S + 59).is_empty());
    stations.extend(gather(&mut chain, 2));
    let full = chain.carry_out(NOW_S + 59);
    assert_eq!(full.len(), 1);
    assert_eq!(inside(&full[0].message).len(), 3);
    stations.extend(gather(&mut chain, 1));
    let due = chain.carry_out(NOW_S + 60);
    assert_eq!(due.len(), 1);
    assert_eq!(inside(&due[0].message).len(), 2);
    assert!(full[0].name < due[0].name);
    for file in [&due[0], &full[0]] {
        let answer = chain.ca.handle(NOW_S, &file.message);
        assert_eq!(chain.ra.arrive(NOW_S, &answer).unwrap(), Ok(()));
    }
    for (mut client, message) in stations {
        let poll = client.message(poll_req(), |_| {});
        let answer = chain.pass(&poll);
        issued(&client.take(NOW_S, &message, &answer));
    }
}

#[test]
fn whoever_is_left_out_of_a_batch_s_answer_hears_it() {
    let batch = Batch {
        messages: 2,
        wait_s: 60,
    };
    // Refused as a whole, and with the second answer missing.
    for is_refused in [true, false] {
        let mut chain = by_files(Forward::Nested, Some(batch));
        let stations = gather(&mut chain, 2);
        let file = chain.carry_out(NOW_S).remove(0);
        let answer = chain.ca.handle(NOW_S, &file.message);
        let request = PkiMessage::peek_header(&file.message).unwrap();
        let ca = Client::with_issued(&chain.ca, "CN=CA's own RA", true);
        let body = match is_refused {
            true => {
                PkiBody::Error(cmp_message::PkiStatusInfo::rejection(PkiFailure::BadRequest, "no").into())
            }
            false => PkiBody::Nested(Raw::encode(&vec![inside(&answer)[0].clone()]).unwrap()),
        };
        let answer = ca.message(body, |header| {
            header.transaction_id = request.transaction_id.clone();
            header.recip_nonce = request.sender_nonce.clone();
        });
        assert_eq!(chain.ra.arrive(NOW_S, &answer).unwrap(), Ok(()));
        for (n, (mut client, message)) in stations.into_iter().enumerate() {
            let poll = client.message(poll_req(), |_| {});
            let answer = chain.pass(&poll);
            if n == 0 && !is_refused {
                issued(&client.take(NOW_S, &message, &answer));
                continue;
            }
            let answer = client.take(NOW_S, &poll, &answer);
            assert_eq!(failure(&answer), PkiFailure::SystemFailure);
            // That answer may have got lost.
            let answer = chain.send(&mut client, poll_req());
            assert_eq!(failure(&answer), PkiFailure::SystemFailure);
        }
    }
}
