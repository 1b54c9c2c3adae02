//! An RA in front of another server: what passes and how, and what does not (RFC 9483 §5.2).
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
use client::{
    Client, Credential, NOW_S, ask_implicit_confirm, cert_conf, cert_conf_of_p10cr, failure, genm, issued,
    key, octets, p10cr, poll_req, request, request_for_key, rr, serial, status_of, update, version_3,
};
use cmp_message::{
    BodyType, CertReqMsg, InfoTypeAndValue, PkiBody, PkiFailure, PkiHeader, PkiMessage, PkiStatus,
    PkiStatusInfo, ProofOfPossession, Raw,
    certificate::Certificate,
    crypto::{KeyAlgorithm, aws_lc::SoftKey},
    general,
};
use der::asn1::Null;
use lab_ra::{
    CertificateStatus, Forward, ImplicitConfirm, KeyGeneration, Pki, PollAfter, RaConfig, UpstreamError,
};

fn enroll(chain: &mut Chain, client: &mut Client, subject: &str) -> (SoftKey, Vec<u8>) {
    let key = key();
    let answer = chain.send(client, PkiBody::Ir(vec![request(&key, subject, |_| {})]));
    let certificate = issued(&answer);
    let answer = chain.send(client, cert_conf(&certificate));
    assert_eq!(answer.body.body_type(), BodyType::PkiConf);
    (key, certificate)
}

/// The same client with the certificate that it got.
fn with_certificate(chain: &Chain, key: &SoftKey, certificate: &[u8]) -> Client {
    let key = SoftKey::from_der(&key.to_pkcs8().unwrap()).unwrap();
    Client::with_certificate(&chain.ca, key, certificate.to_vec())
}

fn inside(message: &PkiMessage) -> Vec<Raw> {
    let PkiBody::Nested(content) = &*message.body else {
        panic!("not nested: {:?}", message.body.body_type());
    };
    content.parse().unwrap()
}

fn is_signed_by_ra(chain: &Chain, message: &PkiMessage) -> bool {
    message.extra_certs.as_deref().unwrap()[0].as_bytes() == chain.identity.certificate
}

#[test]
fn each_operation_passes_each_way_with_signature_and_mac() {
    for forward in Forward::ALL {
        let mut chain = Chain::of(forward);
        for with_mac in [false, true] {
            let mut client = match with_mac {
                false => chain.station("CS-1"),
                true => chain.newcomer(),
            };
            let (key, certificate) = enroll(&mut chain, &mut client, "CN=CS-1");
            assert_eq!(status_of(&chain.ca, &certificate), CertificateStatus::Confirmed);
            let mut holder = with_certificate(&chain, &key, &certificate);
            let old = Certificate::from_der(certificate.as_slice()).unwrap();
            let new_key = client::key();
            let kur = PkiBody::Kur(vec![update(&new_key, "CN=CS-1", &old)]);
            let answer = chain.send(&mut holder, kur);
            let updated = issued(&answer);
            let answer = chain.send(&mut holder, cert_conf(&updated));
            assert_eq!(answer.body.body_type(), BodyType::PkiConf, "{}", forward.name());
            let mut asker = match with_mac {
                false => with_certificate(&chain, &new_key, &updated),
                true => chain.newcomer(),
            };
            let question = genm(InfoTypeAndValue::absent(general::CA_CERTS));
            let answer = chain.send(&mut asker, question);
            assert_eq!(answer.body.body_type(), BodyType::Genp, "{}", forward.name());
            let mut holder = with_certificate(&chain, &new_key, &updated);
            let answer = chain.send(&mut holder, rr(&updated, Some(1)));
            assert_eq!(answer.body.body_type(), BodyType::Rp, "{}", forward.name());
            assert_eq!(status_of(&chain.ca, &updated), CertificateStatus::Revoked);
            assert_eq!(status_of(&chain.ca, &certificate), CertificateStatus::Confirmed);
        }
    }
}

#[test]
fn a_pkcs_10_request_passes_each_way() {
    for forward in Forward::ALL {
        let mut chain = Chain::of(forward);
        let mut client = chain.station("CS-1");
        let answer = chain.send(&mut client, p10cr(&key(), "CN=CS-1", |_| {}));
        let certificate = issued(&answer);
        let answer = chain.send(&mut client, cert_conf_of_p10cr(&certificate));
        assert_eq!(answer.body.body_type(), BodyType::PkiConf, "{}", forward.name());
        assert_eq!(status_of(&chain.ca, &certificate), CertificateStatus::Confirmed);
    }
}

#[test]
fn unchanged_is_byte_for_byte_in_both_directions() {
    let mut chain = Chain::of(Forward::Unchanged);
    let client = chain.station("CS-1");
    let ir = client.message(PkiBody::Ir(vec![request(&key(), "CN=CS-1", |_| {})]), |_| {});
    let answer = chain.pass(&ir);
    assert_eq!(chain.passed, [(ir, answer)]);
}

#[test]
fn unchanged_passes_a_mac_whose_secret_the_ra_does_not_know() {
    let mut chain = Chain::with(Forward::Unchanged, |_| {}, |ra| ra.secrets.clear(), |_| {});
    let mut client = chain.newcomer();
    enroll(&mut chain, &mut client, "CN=CS-1");
    let mut stranger = Client::with_secret(&chain.ca, "guessed", chain::pbm());
    let answer = chain.send(
        &mut stranger,
        PkiBody::Ir(vec![request(&key(), "CN=CS-1", |_| {})]),
    );
    assert_eq!(failure(&answer), PkiFailure::BadMessageCheck);
    assert_eq!(chain.passed.len(), 3);
}

#[test]
fn nested_copies_recipient_transaction_and_nonces_and_leaves_what_is_inside_alone() {
    let mut chain = Chain::of(Forward::Nested);
    let mut client = chain.station("CS-1");
    let ir = client.message(PkiBody::Ir(vec![request(&key(), "CN=CS-1", |_| {})]), |_| {});
    let answer = chain.pass(&ir);
    let conf = cert_conf(&issued(&client.take(NOW_S, &ir, &answer)));
    let conf = client.message(conf, |_| {});
    let pki_conf = chain.pass(&conf);
    client.take(NOW_S, &conf, &pki_conf);
    for ((sent, response), (from, to)) in chain.passed.iter().zip([(&ir, &answer), (&conf, &pki_conf)]) {
        let (sent, inner) = (
            PkiMessage::from_bytes(sent).unwrap(),
            PkiMessage::from_bytes(from).unwrap(),
        );
        assert!(is_signed_by_ra(&chain, &sent));
        assert_eq!(inside(&sent)[0].as_bytes(), from.as_slice());
        assert_eq!(sent.header.recipient, inner.header.recipient);
        assert_eq!(sent.header.transaction_id, inner.header.transaction_id);
        assert_eq!(sent.header.sender_nonce, inner.header.sender_nonce);
        assert_eq!(sent.header.recip_nonce, inner.header.recip_nonce);
        assert_eq!(response, to);
    }
}

#[test]
fn replaced_changes_only_the_protection_and_what_belongs_to_it() {
    let mut chain = Chain::of(Forward::Replaced);
    for mut client in [chain.station("CS-1"), chain.newcomer()] {
        let body = PkiBody::Ir(vec![request(&key(), "CN=CS-1", |_| {})]);
        let ir = client.message(body, ask_implicit_confirm);
        let answer = chain.pass(&ir);
        let answer = client.take(NOW_S, &ir, &answer);
        let (sent, response) = chain.passed.last().unwrap();
        let ir = PkiMessage::from_bytes(&ir).unwrap();
        let sent = PkiMessage::from_bytes(sent).unwrap();
        let response = PkiMessage::from_bytes(response).unwrap();
        assert!(is_signed_by_ra(&chain, &sent));
        assert_eq!(sent.body.as_der(), ir.body.as_der());
        for (to, from) in [(&sent, &ir), (&answer, &response)] {
            assert_eq!(to.header.transaction_id, from.header.transaction_id);
            assert_eq!(to.header.sender_nonce, from.header.sender_nonce);
            assert_eq!(to.header.recip_nonce, from.header.recip_nonce);
            assert_eq!(to.header.general_info, from.header.general_info);
            assert_ne!(to.header.sender, from.header.sender);
        }
        assert_eq!(answer.header.recipient, ir.header.sender);
        let is_mac = matches!(client.credential, Credential::Mac { .. });
        let PkiBody::Ip(content) = &*answer.body else {
            panic!("{:?}", answer.body);
        };
        // A newcomer gets the root, and whatever leads from its certificate there.
        let root = chain.ca.pki().root.certificate();
        let ca_pubs = content.ca_pubs.as_deref().unwrap_or_default();
        assert_eq!(ca_pubs.iter().any(|one| one.as_bytes() == root), is_mac);
        let extra = answer.extra_certs.as_deref().unwrap();
        let ca = chain.ca.pki().ca.certificate();
        assert!(extra.iter().any(|one| one.as_bytes() == ca));
        assert_eq!(is_signed_by_ra(&chain, &answer), !is_mac);
        if !is_mac {
            assert_eq!(answer.body.as_der(), response.body.as_der());
        }
    }
}

#[test]
fn replaced_enrols_with_a_secret_that_only_the_ra_knows() {
    for forward in [Forward::Replaced, Forward::RaVerified] {
        let mut chain = Chain::with(forward, |_| {}, |_| {}, |ca| ca.secrets.clear());
        let mut client = chain.newcomer();
        enroll(&mut chain, &mut client, "CN=CS-1");
    }
}

#[test]
fn a_kur_goes_nested_where_protections_are_replaced() {
    for forward in [Forward::Replaced, Forward::RaVerified] {
        let mut chain = Chain::of(forward);
        let mut client = chain.station("CS-1");
        let (key, certificate) = enroll(&mut chain, &mut client, "CN=CS-1");
        let old = Certificate::from_der(certificate.as_slice()).unwrap();
        let mut holder = with_certificate(&chain, &key, &certificate);
        let kur = holder.message(PkiBody::Kur(vec![update(&key, "CN=CS-1", &old)]), |_| {});
        let answer = chain.pass(&kur);
        assert_eq!(inside(&chain.last())[0].as_bytes(), kur.as_slice());
        let answer = holder.take(NOW_S, &kur, &answer);
        assert!(is_signed_by_ra(&chain, &answer));
        let conf = holder.message(cert_conf(&issued(&answer)), |_| {});
        let answer = chain.pass(&conf);
        assert_eq!(inside(&chain.last())[0].as_bytes(), conf.as_slice());
        let answer = holder.take(NOW_S, &conf, &answer);
        assert_eq!(answer.body.body_type(), BodyType::PkiConf);
    }
}

fn allow(config: &mut RaConfig) {
    config.key_generation = KeyGeneration::Allow;
}

#[test]
fn a_request_for_a_key_goes_nested_where_protections_are_replaced() {
    for forward in Forward::ALL {
        let mut chain = Chain::with(forward, |_| {}, allow, allow);
        for mut client in [chain.station("CS-1"), chain.newcomer()] {
            let body = PkiBody::Ir(vec![request_for_key("CN=CS-1", None)]);
            let ir = client.message(body, version_3);
            let answer = chain.pass(&ir);
            match forward {
                Forward::Unchanged => assert_eq!(chain.passed.last().unwrap().0, ir),
                _ => assert_eq!(inside(&chain.last())[0].as_bytes(), ir),
            }
            let answer = client.take(NOW_S, &ir, &answer);
            client.open(&answer, chain.ca.pki().root.certificate()).unwrap();
            let answer = chain.send(&mut client, cert_conf(&issued(&answer)));
            assert_eq!(answer.body.body_type(), BodyType::PkiConf, "{}", forward.name());
        }
    }
}

#[test]
fn a_request_for_a_key_passes_only_where_that_is_allowed_and_only_for_the_requester() {
    for forward in Forward::ALL {
        let ask = || PkiBody::Ir(vec![request_for_key("CN=CS-1", None)]);
        let mut chain = Chain::with(forward, |_| {}, |_| {}, allow);
        for client in [chain.station("CS-1"), chain.newcomer()] {
            let answer = chain.pass(&client.message(ask(), version_3));
            let answer = PkiMessage::from_bytes(&answer).unwrap();
            assert_eq!(
                failure(&answer),
                PkiFailure::BadCertTemplate,
                "{}",
                forward.name()
            );
        }
        assert!(chain.passed.is_empty());

        let mut chain = Chain::with(forward, |_| {}, allow, allow);
        let key = SoftKey::from_der(&chain.identity.key).unwrap();
        let ra = Client::with_certificate(&chain.ca, key, chain.identity.certificate.clone());
        let answer = chain.pass(&ra.message(ask(), version_3));
        let answer = PkiMessage::from_bytes(&answer).unwrap();
        assert_eq!(failure(&answer), PkiFailure::NotAuthorized, "{}", forward.name());
        assert!(chain.passed.is_empty());
    }
}

#[test]
fn ra_verified_vouches_for_the_proof_and_sets_what_the_policy_sets() {
    let mut chain = Chain::with(
        Forward::RaVerified,
        |forward| forward.organization = Some("Operator".into()),
        |_| {},
        |_| {},
    );
    for body in [PkiBody::Ir as fn(Vec<CertReqMsg>) -> PkiBody, PkiBody::Cr] {
        let mut client = chain.station("CS-1");
        let is_cr = body(Vec::new()).body_type() == BodyType::Cr;
        if is_cr {
            let (key, certificate) = enroll(&mut chain, &mut client, "CN=CS-1");
            client = with_certificate(&chain, &key, &certificate);
        }
        let wanted = request(&key(), "O=Somebody,CN=CS-1,OU=Depot", |_| {});
        let answer = chain.send(&mut client, body(vec![wanted]));
        let certificate = Certificate::from_der(issued(&answer)).unwrap();
        let subject = certificate.subject_string();
        assert!(
            subject.contains("O=Operator") && !subject.contains("Somebody"),
            "{subject}"
        );
        assert!(
            subject.contains("CN=CS-1") && subject.contains("OU=Depot"),
            "{subject}"
        );
        let sent = chain.last();
        let (PkiBody::Ir(content) | PkiBody::Cr(content)) = &*sent.body else {
            panic!("{:?}", sent.body);
        };
        assert_eq!(content[0].popo, Some(ProofOfPossession::RaVerified(Null)));
    }
}

#[test]
fn what_fails_the_checks_is_refused_here_and_does_not_pass() {
    for forward in Forward::ALL {
        let mut chain = Chain::of(forward);
        let (key, other) = (key(), key());
        let stranger = Pki::generate(KeyAlgorithm::P256, NOW_S).unwrap();
        let ir = |change: fn(&mut CertReqMsg)| {
            let mut wanted = request(&key, "CN=CS-1", |_| {});
            change(&mut wanted);
            PkiBody::Ir(vec![wanted])
        };
        let station = || Client::with_idevid(&chain.ca, "CS-1");
        let stranger = Client::with_idevid(&stranger, "CS-1").credential;
        let cases: Vec<(&str, Client, PkiBody, PkiFailure)> = vec![
            (
                "another's proof of possession",
                station(),
                ir(|one| one.popo = request(&client::key(), "CN=CS-1", |_| {}).popo),
                PkiFailure::BadPop,
            ),
            (
                "no proof of possession",
                station(),
                ir(|one| one.popo = None),
                PkiFailure::BadPop,
            ),
            (
                "raVerified of an end entity",
                station(),
                ir(|one| one.popo = Some(ProofOfPossession::RaVerified(Null))),
                PkiFailure::NotAuthorized,
            ),
            (
                "two requests",
                station(),
                PkiBody::Ir(vec![
                    request(&key, "CN=a", |_| {}),
                    request(&other, "CN=b", |_| {}),
                ]),
                PkiFailure::BadRequest,
            ),
            (
                "a certificate of a stranger",
                Client::new(&chain.ca, stranger),
                ir(|_| {}),
                PkiFailure::SignerNotTrusted,
            ),
            (
                "another secret",
                Client::with_secret(&chain.ca, "guessed", chain::pbm()),
                ir(|_| {}),
                PkiFailure::BadMessageCheck,
            ),
            (
                "a kur with a MAC",
                chain.newcomer(),
                PkiBody::Kur(vec![request(&key, "CN=CS-1", |_| {})]),
                PkiFailure::WrongIntegrity,
            ),
            (
                "an rr with a MAC",
                chain.newcomer(),
                rr(&chain.identity.certificate, Some(1)),
                PkiFailure::WrongIntegrity,
            ),
            (
                "an rr for another",
                station(),
                rr(&chain.identity.certificate, Some(1)),
                PkiFailure::NotAuthorized,
            ),
            (
                "a pollReq without a transaction",
                station(),
                poll_req(),
                PkiFailure::BadRequest,
            ),
            (
                "a message for end entities",
                station(),
                PkiBody::PkiConf(Null),
                PkiFailure::BadRequest,
            ),
        ];
        for (what, mut client, body, expected) in cases {
            let answer = chain.send(&mut client, body);
            let found = match &*answer.body {
                PkiBody::Rp(content) => content.status[0].fail_info.unwrap().iter().collect(),
                _ => vec![failure(&answer)],
            };
            assert_eq!(found, [expected], "{}: {what}", forward.name());
            let is_mac = answer.extra_certs.is_none();
            assert!(
                is_mac || is_signed_by_ra(&chain, &answer),
                "{}: {what}",
                forward.name()
            );
        }
        assert!(chain.passed.is_empty(), "{}", forward.name());
    }
}

#[test]
fn what_does_not_go_on_with_its_transaction_is_refused_here() {
    for forward in Forward::ALL {
        let mut chain = Chain::with(
            forward,
            |_| {},
            |_| {},
            |ca| ca.implicit_confirm = ImplicitConfirm::Ignore,
        );
        let mut client = chain.station("CS-1");
        let ir = PkiBody::Ir(vec![request(&key(), "CN=CS-1", |_| {})]);
        let first = client.message(ir.clone(), |_| {});
        let answer = chain.pass(&first);
        let certificate = issued(&client.take(NOW_S, &first, &answer));
        let passed = chain.passed.len();
        let refuse = |chain: &mut Chain, client: &Client, message: &[u8], expected| {
            let answer = PkiMessage::from_bytes(&chain.pass(message)).unwrap();
            assert_eq!(failure(&answer), expected, "{}", forward.name());
            assert_eq!(
                answer.header.transaction_id.as_ref().unwrap().as_bytes(),
                client.transaction_id
            );
        };
        let conf = cert_conf(&certificate);
        refuse(&mut chain, &client, &first, PkiFailure::TransactionIdInUse);
        let mut other = chain.station("CS-2");
        (other.transaction_id, other.recip_nonce) = (client.transaction_id, client.recip_nonce.clone());
        let stolen = other.message(conf.clone(), |_| {});
        refuse(&mut chain, &client, &stolen, PkiFailure::BadMessageCheck);
        let mut newcomer = chain.newcomer();
        (newcomer.transaction_id, newcomer.recip_nonce) = (client.transaction_id, client.recip_nonce.clone());
        let stolen = newcomer.message(conf.clone(), |_| {});
        refuse(&mut chain, &client, &stolen, PkiFailure::WrongIntegrity);
        let wrong = client.message(conf.clone(), |header| header.recip_nonce = Some(octets(&[9; 16])));
        refuse(&mut chain, &client, &wrong, PkiFailure::BadRecipientNonce);
        let poll = client.message(poll_req(), |_| {});
        refuse(&mut chain, &client, &poll, PkiFailure::BadRequest);
        let mut damaged = client.message(conf.clone(), |_| {});
        let at = damaged.len() / 2;
        damaged[at] ^= 1;
        let answer = PkiMessage::from_bytes(&chain.pass(&damaged)).unwrap();
        assert_eq!(answer.body.body_type(), BodyType::Error);
        assert_eq!(chain.passed.len(), passed, "{}", forward.name());
        let good = client.message(conf, |_| {});
        let answer = chain.pass(&good);
        let answer = client.take(NOW_S, &good, &answer);
        assert_eq!(answer.body.body_type(), BodyType::PkiConf);
        refuse(&mut chain, &client, &good, PkiFailure::CertConfirmed);
        assert_eq!(status_of(&chain.ca, &certificate), CertificateStatus::Confirmed);
    }
}

#[test]
fn whatever_fails_behind_reaches_the_end_entity_as_an_error_of_the_ra() {
    use UpstreamError as E;
    use cmp_http::Error;
    let cases = [
        (E::Http(Error::ConnectTimeout), PkiFailure::SystemUnavail),
        (E::Http(Error::Timeout), PkiFailure::SystemUnavail),
        (E::Http(Error::BrokeOff), PkiFailure::SystemUnavail),
        (E::Http(Error::Status(503)), PkiFailure::SystemUnavail),
        (E::Http(Error::Status(404)), PkiFailure::SystemFailure),
        (E::Http(Error::ContentType), PkiFailure::SystemFailure),
        (E::Http(Error::Empty), PkiFailure::SystemFailure),
        (E::Http(Error::TooLarge), PkiFailure::SystemFailure),
        (E::LackingInBatch, PkiFailure::SystemFailure),
    ];
    for forward in Forward::ALL {
        let mut chain = Chain::of(forward);
        for (error, expected) in cases.clone() {
            for mut client in [chain.station("CS-1"), chain.newcomer()] {
                let ir = PkiBody::Ir(vec![request(&key(), "CN=CS-1", |_| {})]);
                let ir = client.message(ir, |_| {});
                let answer = chain.pass_by(&ir, |_, _| Err(error.clone()));
                let answer = client.take(NOW_S, &ir, &answer);
                assert_eq!(failure(&answer), expected, "{error}");
                let poll = client.message(poll_req(), |_| {});
                let answer = chain.pass(&poll);
                let answer = client.take(NOW_S, &poll, &answer);
                assert_eq!(failure(&answer), PkiFailure::BadRequest, "{error}");
            }
        }
    }
}

#[test]
fn an_answer_that_does_not_fit_is_not_passed_on() {
    for forward in Forward::ALL {
        let mut chain = Chain::of(forward);
        let mut refuse = |what: &str, behind: &dyn Fn(&mut lab_ra::Ra, &[u8]) -> Vec<u8>| {
            let mut client = chain.station("CS-1");
            let ir = PkiBody::Ir(vec![request(&key(), "CN=CS-1", |_| {})]);
            let ir = client.message(ir, |_| {});
            let answer = chain.pass_by(&ir, |ca, message| Ok(behind(ca, message)));
            let answer = client.take(NOW_S, &ir, &answer);
            assert_eq!(
                failure(&answer),
                PkiFailure::SystemFailure,
                "{}: {what}",
                forward.name()
            );
            assert!(is_signed_by_ra(&chain, &answer), "{}: {what}", forward.name());
        };
        refuse("no DER", &|_, _| b"no DER".to_vec());
        refuse("half a message", &|ca, message| {
            let answer = ca.handle(NOW_S, message);
            answer[..answer.len() / 2].to_vec()
        });
        refuse("the request itself", &|_, message| message.to_vec());
        let change = |change: fn(&mut PkiHeader)| {
            move |ca: &mut lab_ra::Ra, message: &[u8]| {
                let mut answer = PkiMessage::from_bytes(&ca.handle(NOW_S, message)).unwrap();
                let mut header = answer.header.clone().into_value();
                change(&mut header);
                answer.header = cmp_message::Exact::new(header).unwrap();
                answer.to_bytes().unwrap()
            }
        };
        refuse(
            "another transaction",
            &change(|h| h.transaction_id = Some(octets(&[1; 16]))),
        );
        refuse(
            "another nonce",
            &change(|h| h.recip_nonce = Some(octets(&[1; 16]))),
        );
        refuse("no recipNonce", &change(|h| h.recip_nonce = None));
        refuse("no senderNonce", &change(|h| h.sender_nonce = None));
        refuse("an answer to something else", &|_, message| {
            answer_by_ra(message, PkiBody::PkiConf(Null))
        });
        let rejection = PkiStatusInfo::from(PkiStatus::REVOCATION_WARNING);
        refuse("a status without meaning", &|_, message| {
            answer_by_ra(message, ip(rejection.clone()))
        });
        refuse("no response inside", &|_, message| {
            answer_by_ra(
                message,
                PkiBody::Ip(cmp_message::CertRepMessage {
                    ca_pubs: None,
                    response: vec![],
                }),
            )
        });
    }
}

/// An ip without a certificate.
fn ip(status: PkiStatusInfo) -> PkiBody {
    PkiBody::Ip(cmp_message::CertRepMessage {
        ca_pubs: None,
        response: vec![cmp_message::CertResponse {
            cert_req_id: 0,
            status,
            certified_key_pair: None,
            rsp_info: None,
        }],
    })
}

/// An unprotected answer with fitting header.
fn answer_by_ra(message: &[u8], body: PkiBody) -> Vec<u8> {
    let request = PkiMessage::peek_header(message).unwrap();
    let mut header = PkiHeader::new(client::name("CN=Nobody"), client::name("CN=CS-1"));
    header.transaction_id = request.transaction_id;
    header.recip_nonce = request.sender_nonce;
    header.sender_nonce = Some(octets(&[3; 16]));
    PkiMessage::new(header, body).unwrap().to_bytes().unwrap()
}

type Behind<'a> = &'a dyn Fn(&[u8]) -> Vec<u8>;

#[test]
fn where_protections_are_replaced_the_answer_must_be_authentic() {
    for forward in [Forward::Replaced, Forward::RaVerified] {
        let mut chain = Chain::of(forward);
        let mut client = chain.station("CS-9");
        let (key, certificate) = enroll(&mut chain, &mut client, "CN=CS-9");
        let holder = with_certificate(&chain, &key, &certificate);
        let newcomer = chain.newcomer();
        let rejection = PkiStatusInfo::rejection(PkiFailure::BadRequest, "no");
        let answers: [(&str, Behind<'_>); 3] = [
            ("no protection", &|message| {
                answer_by_ra(message, ip(rejection.clone()))
            }),
            ("signed by an end entity of the same CA", &|message| {
                let request = PkiMessage::peek_header(message).unwrap();
                holder.message(ip(rejection.clone()), |header| {
                    header.transaction_id = request.transaction_id.clone();
                    header.recip_nonce = request.sender_nonce.clone();
                })
            }),
            ("with a MAC, to a signature", &|message| {
                let request = PkiMessage::peek_header(message).unwrap();
                newcomer.message(ip(rejection.clone()), |header| {
                    header.transaction_id = request.transaction_id.clone();
                    header.recip_nonce = request.sender_nonce.clone();
                })
            }),
        ];
        for (what, behind) in answers {
            let mut client = chain.station("CS-1");
            let ir = client.message(PkiBody::Ir(vec![request(&key, "CN=CS-1", |_| {})]), |_| {});
            let answer = chain.pass_by(&ir, |_, message| Ok(behind(message)));
            let answer = client.take(NOW_S, &ir, &answer);
            assert_eq!(
                failure(&answer),
                PkiFailure::SystemFailure,
                "{}: {what}",
                forward.name()
            );
        }
    }
}

#[test]
fn a_rejection_and_an_error_from_behind_pass() {
    for forward in Forward::ALL {
        let mut chain = Chain::with(
            forward,
            |_| {},
            |_| {},
            |ca| ca.default_profile.key_algorithms.clear(),
        );
        for mut client in [chain.station("CS-1"), chain.newcomer()] {
            let ir = PkiBody::Ir(vec![request(&key(), "CN=CS-1", |_| {})]);
            let answer = chain.send(&mut client, ir);
            assert_eq!(
                failure(&answer),
                PkiFailure::BadCertTemplate,
                "{}",
                forward.name()
            );
            assert_eq!(answer.body.body_type(), BodyType::Ip);
        }
        // The CA does not know the certificate of this one.
        let mut chain = Chain::of(forward);
        let pki = chain.ca.pki();
        let elsewhere = lab_ra::Store::in_memory().unwrap();
        let issued = pki
            .issue(&elsewhere, &client::name("CN=CS-1"), false, NOW_S)
            .unwrap();
        let key = SoftKey::from_der(&issued.key).unwrap();
        let mut client = Client::with_certificate(&chain.ca, key, issued.certificate);
        let question = genm(InfoTypeAndValue::absent(general::CA_CERTS));
        let answer = chain.send(&mut client, question);
        let expected = matches!(forward, Forward::Unchanged | Forward::Nested);
        assert_eq!(
            answer.body.body_type() == BodyType::Error,
            expected,
            "{}",
            forward.name()
        );
    }
}

#[test]
fn polling_that_the_server_behind_wants_passes_too() {
    for forward in Forward::ALL {
        let poll_after = Some(PollAfter {
            polls: 2,
            check_after_s: 7,
        });
        let mut chain = Chain::with(forward, |_| {}, |_| {}, |ca| ca.poll_after = poll_after);
        for mut client in [chain.station("CS-1"), chain.newcomer()] {
            let ir = PkiBody::Ir(vec![request(&key(), "CN=CS-1", |_| {})]);
            let answer = chain.send(&mut client, ir);
            assert_eq!(client::status(&answer).status, PkiStatus::WAITING);
            for _ in 0..2 {
                let answer = chain.send(&mut client, poll_req());
                let PkiBody::PollRep(content) = &*answer.body else {
                    panic!("{:?}", answer.body);
                };
                assert_eq!(content[0].check_after, 7);
            }
            let answer = chain.send(&mut client, poll_req());
            let certificate = issued(&answer);
            let answer = chain.send(&mut client, cert_conf(&certificate));
            assert_eq!(answer.body.body_type(), BodyType::PkiConf, "{}", forward.name());
        }
    }
}

#[test]
fn an_answer_that_got_lost_is_given_again_to_a_repeated_poll_req_without_asking_again() {
    for forward in Forward::ALL {
        let poll_after = Some(PollAfter {
            polls: 0,
            check_after_s: 7,
        });
        let mut chain = Chain::with(forward, |_| {}, |_| {}, |ca| ca.poll_after = poll_after);
        let mut client = chain.station("CS-1");
        chain.send(&mut client, PkiBody::Ir(vec![request(&key(), "CN=CS-1", |_| {})]));
        let poll = client.message(poll_req(), |_| {});
        let lost = PkiMessage::from_bytes(&chain.pass(&poll)).unwrap();
        let passed = chain.passed.len();
        let again = chain.pass(&poll);
        let again = client.take(NOW_S, &poll, &again);
        assert_eq!(issued(&again), issued(&lost), "{}", forward.name());
        assert_eq!(chain.passed.len(), passed);
        let answer = chain.send(&mut client, cert_conf(&issued(&again)));
        assert_eq!(answer.body.body_type(), BodyType::PkiConf);
    }
}

#[test]
fn implicit_confirmation_passes_and_ends_the_transaction() {
    for forward in Forward::ALL {
        let mut chain = Chain::of(forward);
        let mut client = chain.station("CS-1");
        let ir = PkiBody::Ir(vec![request(&key(), "CN=CS-1", |_| {})]);
        let ir = client.message(ir, ask_implicit_confirm);
        let answer = chain.pass(&ir);
        let answer = client.take(NOW_S, &ir, &answer);
        assert!(answer.header.implicit_confirm());
        let certificate = issued(&answer);
        let answer = chain.send(&mut client, cert_conf(&certificate));
        assert_eq!(failure(&answer), PkiFailure::BadRequest);
        assert_eq!(status_of(&chain.ca, &certificate), CertificateStatus::Confirmed);
    }
}

#[test]
fn an_end_entity_that_gives_up_is_heard_behind() {
    for forward in Forward::ALL {
        let mut chain = Chain::of(forward);
        let mut client = chain.station("CS-1");
        let answer = chain.send(&mut client, PkiBody::Ir(vec![request(&key(), "CN=CS-1", |_| {})]));
        let certificate = issued(&answer);
        let no = PkiStatusInfo::rejection(PkiFailure::SystemFailure, "no room");
        let answer = chain.send(&mut client, PkiBody::Error(no.into()));
        assert_eq!(answer.body.body_type(), BodyType::PkiConf);
        assert_eq!(status_of(&chain.ca, &certificate), CertificateStatus::Refused);
        assert_eq!(serial(&certificate).len(), 16);
    }
}
