//! A chain of RAs: messages with the protection of an RA in front around them, at an RA that passes on.
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
use client::{Client, NOW_S, cert_conf, failure, issued, key, nested, octets, request, status_of, update};
use cmp_message::{
    BodyType, PkiBody, PkiFailure, PkiMessage, ProofOfPossession, Raw, certificate::Certificate,
    crypto::aws_lc::SoftKey,
};
use der::asn1::Null;
use lab_ra::{CertificateStatus, Forward, RaConfig};

fn local_ra(chain: &Chain) -> Client {
    Client::with_issued(&chain.ca, "CN=Local RA", true)
}

/// The protection of this RA around a message, whose transactionID and nonces it copies (RFC 9483 §5.2.2.1).
fn around(ra: &Client, message: &[u8]) -> Vec<u8> {
    let inner = PkiMessage::peek_header(message).unwrap();
    ra.message(nested(&[message.to_vec()]), |header| {
        header.transaction_id = inner.transaction_id.clone();
        header.sender_nonce = inner.sender_nonce.clone();
        header.recip_nonce = inner.recip_nonce.clone();
    })
}

fn inside(message: &PkiMessage) -> Vec<Raw> {
    let PkiBody::Nested(content) = &*message.body else {
        panic!("not nested: {:?}", message.body.body_type());
    };
    content.parse().unwrap()
}

fn send(chain: &mut Chain, ra: &Client, client: &mut Client, body: PkiBody) -> PkiMessage {
    let message = client.message(body, |_| {});
    let answer = chain.pass(&around(ra, &message));
    client.take(NOW_S, &message, &answer)
}

#[test]
fn a_whole_life_passes_nested_each_way_and_is_answered_plainly() {
    for forward in Forward::ALL {
        let mut chain = Chain::of(forward);
        let ra = local_ra(&chain);
        for mut client in [chain.station("CS-1"), chain.newcomer()] {
            let own_key = key();
            let ir = PkiBody::Ir(vec![request(&own_key, "CN=CS-1", |_| {})]);
            let certificate = issued(&send(&mut chain, &ra, &mut client, ir));
            let answer = send(&mut chain, &ra, &mut client, cert_conf(&certificate));
            assert_eq!(answer.body.body_type(), BodyType::PkiConf, "{}", forward.name());
            let old = Certificate::from_der(certificate.as_slice()).unwrap();
            let own_key = SoftKey::from_der(&own_key.to_pkcs8().unwrap()).unwrap();
            let mut holder = Client::with_certificate(&chain.ca, own_key, certificate);
            let kur = PkiBody::Kur(vec![update(&key(), "CN=CS-1", &old)]);
            let updated = issued(&send(&mut chain, &ra, &mut holder, kur));
            send(&mut chain, &ra, &mut holder, cert_conf(&updated));
            assert_eq!(status_of(&chain.ca, &updated), CertificateStatus::Confirmed);
        }
    }
}

#[test]
fn unchanged_leaves_the_protection_of_the_first_ra_and_the_others_put_their_own_in_its_place() {
    for forward in Forward::ALL {
        let mut chain = Chain::of(forward);
        let (ra, client) = (local_ra(&chain), chain.station("CS-1"));
        let ir = client.message(PkiBody::Ir(vec![request(&key(), "CN=CS-1", |_| {})]), |_| {});
        let outer = around(&ra, &ir);
        chain.pass(&outer);
        let (sent, last) = (chain.passed.last().unwrap().0.clone(), chain.last());
        match forward {
            Forward::Unchanged => assert_eq!(sent, outer),
            Forward::Nested => {
                assert_eq!(inside(&last)[0].as_bytes(), ir);
                assert_ne!(sent, outer);
            }
            _ => assert_eq!(last.body.body_type(), BodyType::Ir),
        }
    }
}

#[test]
fn ra_verified_of_an_end_entity_passes_only_where_the_word_of_the_first_ra_counts_for_it() {
    let counts = |config: &mut RaConfig| config.nested_ra_verified = true;
    for forward in Forward::ALL {
        let mut chain = Chain::with(forward, |_| {}, counts, counts);
        let ra = local_ra(&chain);
        let vouched = || {
            let mut wanted = request(&key(), "CN=CS-1", |_| {});
            wanted.popo = Some(ProofOfPossession::RaVerified(Null));
            PkiBody::Ir(vec![wanted])
        };
        let mut client = chain.station("CS-1");
        issued(&send(&mut chain, &ra, &mut client, vouched()));
        client.begin();
        let answer = chain.send(&mut client, vouched());
        assert_eq!(failure(&answer), PkiFailure::NotAuthorized, "{}", forward.name());
        let mut chain = Chain::of(forward);
        let ra = local_ra(&chain);
        let mut client = chain.station("CS-1");
        let answer = send(&mut chain, &ra, &mut client, vouched());
        assert_eq!(failure(&answer), PkiFailure::NotAuthorized, "{}", forward.name());
        assert!(chain.passed.is_empty());
    }
}

#[test]
fn a_batch_is_taken_apart_and_answered_together() {
    for forward in Forward::ALL {
        let mut chain = Chain::of(forward);
        let mut ra = local_ra(&chain);
        let mut clients = [chain.station("CS-1"), chain.newcomer(), chain.station("CS-3")];
        let mut bodies: Vec<_> = (0..3).map(|_| request(&key(), "CN=CS-1", |_| {})).collect();
        bodies[2].popo = None;
        let messages: Vec<_> = clients
            .iter()
            .zip(bodies)
            .map(|(client, body)| client.message(PkiBody::Ir(vec![body]), |_| {}))
            .collect();
        let batch = ra.message(nested(&messages), |_| {});
        let answer = chain.pass(&batch);
        let answer = ra.take(NOW_S, &batch, &answer);
        let answers = inside(&answer);
        assert_eq!(answers.len(), 3);
        assert_eq!(chain.passed.len(), 2);
        for (n, client) in clients.iter_mut().enumerate() {
            let answer = client.take(NOW_S, &messages[n], answers[n].as_bytes());
            match n {
                2 => assert_eq!(failure(&answer), PkiFailure::BadPop),
                _ => drop(issued(&answer)),
            }
        }
    }
}

#[test]
fn a_nested_message_that_is_none_of_an_ra_or_does_not_fit_does_not_pass() {
    for forward in Forward::ALL {
        let mut chain = Chain::of(forward);
        let ra = local_ra(&chain);
        let station = chain.station("CS-1");
        let ir = station.message(PkiBody::Ir(vec![request(&key(), "CN=CS-1", |_| {})]), |_| {});
        let mut damaged = ir.clone();
        let at = ir.windows(4).position(|four| four == b"CS-1").unwrap();
        damaged[at + 3] ^= 1;
        let other_id = ra.message(nested(std::slice::from_ref(&ir)), |header| {
            header.sender_nonce = PkiMessage::peek_header(&ir).unwrap().sender_nonce;
        });
        let other_nonce = ra.message(nested(std::slice::from_ref(&ir)), |header| {
            header.transaction_id = PkiMessage::peek_header(&ir).unwrap().transaction_id;
        });
        let cases: [(&str, Vec<u8>, PkiFailure); 8] = [
            (
                "of an end entity",
                around(&station, &ir),
                PkiFailure::NotAuthorized,
            ),
            (
                "with a MAC",
                around(&chain.newcomer(), &ir),
                PkiFailure::WrongIntegrity,
            ),
            ("with another transactionID", other_id, PkiFailure::BadRequest),
            (
                "with another senderNonce",
                other_nonce,
                PkiFailure::BadSenderNonce,
            ),
            (
                "with nothing inside",
                ra.message(nested(&[]), |_| {}),
                PkiFailure::BadRequest,
            ),
            (
                "with another nested message inside",
                around(&ra, &around(&ra, &ir)),
                PkiFailure::BadRequest,
            ),
            (
                "with the same message twice",
                ra.message(nested(&[ir.clone(), ir.clone()]), |header| {
                    header.transaction_id = Some(octets(&[5; 16]));
                }),
                PkiFailure::TransactionIdInUse,
            ),
            (
                "with a bad signature inside",
                around(&ra, &damaged),
                PkiFailure::BadMessageCheck,
            ),
        ];
        for (what, message, expected) in cases {
            let answer = PkiMessage::from_bytes(&chain.pass(&message)).unwrap();
            assert_eq!(failure(&answer), expected, "{}: {what}", forward.name());
        }
        assert!(chain.passed.is_empty(), "{}", forward.name());
    }
}

#[test]
fn an_ra_of_another_ca_is_taken_where_the_configuration_names_it() {
    use cmp_message::crypto::KeyAlgorithm;
    let other = lab_ra::Pki::generate(KeyAlgorithm::P256, NOW_S).unwrap();
    let store = lab_ra::Store::in_memory().unwrap();
    let credential = other
        .issue(&store, &client::name("CN=Foreign RA"), true, NOW_S)
        .unwrap();
    for is_known in [false, true] {
        let mut chain = Chain::with(
            Forward::Nested,
            |_| {},
            |ra| {
                if is_known {
                    ra.registration_authorities = chain::certificates(&[other.ca.certificate()]);
                }
            },
            |_| {},
        );
        let foreign_key = SoftKey::from_der(&credential.key).unwrap();
        let foreign = Client::with_certificate(&chain.ca, foreign_key, credential.certificate.clone());
        let client = chain.station("CS-1");
        let ir = client.message(PkiBody::Ir(vec![request(&key(), "CN=CS-1", |_| {})]), |_| {});
        let answer = chain.pass(&around(&foreign, &ir));
        let answer = PkiMessage::from_bytes(&answer).unwrap();
        match is_known {
            true => drop(issued(&answer)),
            false => assert_eq!(failure(&answer), PkiFailure::SignerNotTrusted),
        }
    }
}
