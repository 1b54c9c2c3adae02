//! An RA that speaks for others (RFC 9483 §5.2.2, §5.2.3, §5.3), profiles, and the paths of RFC 9811.
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
    BodyType, CertReqMsg, InfoTypeAndValue, PkiBody, PkiFailure as F, PkiHeader, PkiMessage, PkiStatus,
    ProofOfPossession, Raw,
    certificate::Certificate,
    crypto::{KeyAlgorithm, aws_lc::SoftKey},
    mac::MacAlgorithm,
};
use der::asn1::Null;
use lab_ra::{CertificateStatus, Endpoint, Pki, Ra, RaConfig, Store};

fn ra_verified(key: &SoftKey, subject: &str) -> CertReqMsg {
    let mut wanted = request(key, subject, |_| {});
    wanted.popo = Some(ProofOfPossession::RaVerified(Null));
    wanted
}

#[test]
fn an_ra_of_this_ca_asks_for_others_and_vouches_for_their_proof() {
    let mut lab = ra(|_| {});
    let mut other = Client::with_issued(&lab, "CN=RA", true);
    let answer = other.send(&mut lab, PkiBody::Ir(vec![ra_verified(&key(), "CN=CS-1")]));
    let certificate = issued(&answer);
    assert_eq!(
        other.send(&mut lab, cert_conf(&certificate)).body.body_type(),
        BodyType::PkiConf
    );
    // The same without that extended key usage.
    let mut plain = Client::with_issued(&lab, "CN=plain", false);
    let answer = plain.send(&mut lab, PkiBody::Ir(vec![ra_verified(&key(), "CN=CS-1")]));
    assert_eq!(failure(&answer), F::NotAuthorized);
}

#[test]
fn an_ra_of_elsewhere_speaks_for_others_if_it_is_configured_and_updates_nothing_of_theirs() {
    let elsewhere = Pki::generate(KeyAlgorithm::P256, NOW_S).unwrap();
    let store = Store::in_memory().unwrap();
    let issued_there = |is_ra| elsewhere.issue(&store, &name("CN=RA"), is_ra, NOW_S).unwrap();
    let anchor = Certificate::from_der(elsewhere.ca.certificate()).unwrap();
    for (is_configured, is_ra) in [(true, true), (true, false), (false, true)] {
        let anchors = vec![anchor.clone()];
        let mut lab = ra(|config: &mut RaConfig| {
            if is_configured {
                config.registration_authorities = anchors;
            }
        });
        let credential = issued_there(is_ra);
        let mut client = Client::new(
            &lab,
            Credential::Signature {
                key: SoftKey::from_der(&credential.key).unwrap(),
                certificate: credential.certificate,
                chain: credential.chain,
            },
        );
        let answer = client.send(&mut lab, PkiBody::Ir(vec![ra_verified(&key(), "CN=CS-1")]));
        if !(is_configured && is_ra) {
            assert_eq!(failure(&answer), F::SignerNotTrusted);
            continue;
        }
        let certificate = issued(&answer);
        client.send(&mut lab, cert_conf(&certificate));
        client.begin();
        let old = Certificate::from_der(certificate).unwrap();
        let kur = PkiBody::Kur(vec![update(&key(), "CN=CS-1", &old)]);
        assert_eq!(failure(&client.send(&mut lab, kur)), F::NotAuthorized);
    }
}

#[test]
fn a_revoked_ra_speaks_for_nobody() {
    let mut lab = ra(|_| {});
    let mut other = Client::with_issued(&lab, "CN=RA", true);
    let own = lab.store().certificates().unwrap().remove(0);
    let reason = lab_ra::RevocationReason::PrivilegeWithdrawn;
    lab.store().revoke(&own.serial, reason, NOW_S).unwrap();
    let answer = other.send(&mut lab, PkiBody::Ir(vec![ra_verified(&key(), "CN=CS-1")]));
    assert_eq!(failure(&answer), F::CertRevoked);
    let inner = Client::with_idevid(&lab, "CS-1").message(PkiBody::Ir(Vec::new()), |_| {});
    let answer = lab.handle(NOW_S, &wrap(&other, &[inner]));
    assert_eq!(failure(&PkiMessage::from_bytes(&answer).unwrap()), F::CertRevoked);
}

/// A nested message around these; around one it copies transactionID and senderNonce.
fn wrap(ra: &Client, inner: &[Vec<u8>]) -> Vec<u8> {
    let header = PkiMessage::peek_header(&inner[0]).unwrap();
    let is_one = inner.len() == 1;
    ra.message(nested(inner), |outer: &mut PkiHeader| {
        let ids = match is_one {
            true => (header.transaction_id, header.sender_nonce),
            false => (Some(octets(&random::<16>())), Some(octets(&random::<16>()))),
        };
        (outer.transaction_id, outer.sender_nonce) = ids;
        outer.recip_nonce = if is_one { header.recip_nonce } else { None };
    })
}

#[test]
fn a_message_with_the_protection_of_an_ra_around_it_is_answered_as_if_it_came_alone() {
    let mut lab = ra(|_| {});
    let outer = Client::with_issued(&lab, "CN=RA", true);
    let mac = Client::with_secret(&lab, "s3cret", MacAlgorithm::password_based_mac([7; 16]));
    for mut inner in [Client::with_idevid(&lab, "CS-1"), mac] {
        let ir = inner.message(PkiBody::Ir(vec![request(&key(), "CN=CS-1", |_| {})]), |_| {});
        // The client's checks of the answer say that it is protected like the request inside.
        let answer = inner.take(
            NOW_S,
            &ir,
            &lab.handle(NOW_S, &wrap(&outer, std::slice::from_ref(&ir))),
        );
        let certificate = issued(&answer);
        let cert_conf = inner.message(cert_conf(&certificate), |_| {});
        let wrapped = wrap(&outer, std::slice::from_ref(&cert_conf));
        let answer = inner.take(NOW_S, &cert_conf, &lab.handle(NOW_S, &wrapped));
        assert_eq!(answer.body.body_type(), BodyType::PkiConf);
        assert_eq!(status_of(&lab, &certificate), CertificateStatus::Confirmed);
    }
}

#[test]
fn what_is_inside_of_a_nested_message_has_no_path_of_its_own() {
    let mut lab = ra(|_| {});
    let outer = Client::with_issued(&lab, "CN=RA", true);
    let inner = Client::with_idevid(&lab, "CS-1");
    let ir = inner.message(PkiBody::Ir(vec![request(&key(), "CN=CS-1", |_| {})]), |_| {});
    let wrapped = wrap(&outer, &[ir]);
    for (path, expected) in [("initialization", None), ("nested", Some(BodyType::Ip))] {
        let endpoint = Endpoint::parse(&format!("/.well-known/cmp/{path}")).unwrap();
        let answer = PkiMessage::from_bytes(&lab.handle_at(NOW_S, &endpoint, &wrapped)).unwrap();
        match expected {
            Some(body) => assert_eq!(answer.body.body_type(), body),
            None => assert_eq!(failure(&answer), F::BadRequest),
        }
    }
}

/// What becomes of an ir, cr or kur with raVerified of an end entity that an RA has put its protection around.
fn nested_ra_verified(lab: &mut Ra, client: &mut Client, body: fn(Vec<CertReqMsg>) -> PkiBody) -> PkiMessage {
    let outer = Client::with_issued(lab, "CN=RA", true);
    client.begin();
    let inner = client.message(body(vec![ra_verified(&key(), "CN=CS-1")]), |_| {});
    PkiMessage::from_bytes(&lab.handle(NOW_S, &wrap(&outer, &[inner]))).unwrap()
}

#[test]
fn ra_verified_is_for_ras_also_inside_of_a_nested_message_unless_that_is_configured() {
    for is_configured in [false, true] {
        let mut lab = ra(|config| config.nested_ra_verified = is_configured);
        let mut station = Client::with_idevid(&lab, "CS-1");
        let answer = nested_ra_verified(&mut lab, &mut station, PkiBody::Ir);
        match is_configured {
            true => drop(issued(&answer)),
            false => assert_eq!(failure(&answer), F::NotAuthorized),
        }
        // Nobody vouches for an update, and a batch vouches for nothing.
        let mut enrolled = Client::with_issued(&lab, "CN=CS-1", false);
        let answer = nested_ra_verified(&mut lab, &mut enrolled, PkiBody::Kur);
        assert_eq!(failure(&answer), F::NotAuthorized);
        let outer = Client::with_issued(&lab, "CN=RA", true);
        let inner = [(); 2].map(|()| {
            station.begin();
            station.message(PkiBody::Ir(vec![ra_verified(&key(), "CN=CS-1")]), |_| {})
        });
        let answers = batched(&lab.handle(NOW_S, &wrap(&outer, &inner)));
        assert!(answers.iter().all(|answer| failure(answer) == F::NotAuthorized));
    }
}

#[test]
fn ra_verified_of_an_ra_counts_inside_of_the_protection_of_another() {
    let mut lab = ra(|_| {});
    let mut local = Client::with_issued(&lab, "CN=local RA", true);
    let answer = nested_ra_verified(&mut lab, &mut local, PkiBody::Ir);
    issued(&answer);
}

#[test]
fn a_batch_may_be_of_one_message() {
    let mut lab = ra(|_| {});
    let outer = Client::with_issued(&lab, "CN=RA", true);
    let mut inner = Client::with_idevid(&lab, "CS-1");
    let ir = inner.message(PkiBody::Ir(vec![request(&key(), "CN=CS-1", |_| {})]), |_| {});
    let batch = outer.message(nested(std::slice::from_ref(&ir)), |_| {});
    let [answer] = batched(&lab.handle(NOW_S, &batch)).try_into().unwrap();
    let certificate = issued(&inner.take(NOW_S, &ir, &answer.to_bytes().unwrap()));
    assert_eq!(status_of(&lab, &certificate), CertificateStatus::Issued);
}

/// The answers in a nested answer.
fn batched(answer: &[u8]) -> Vec<PkiMessage> {
    let answer = PkiMessage::from_bytes(answer).unwrap();
    match &*answer.body {
        PkiBody::Nested(content) => content.parse::<Vec<PkiMessage>>().unwrap(),
        body => panic!("not nested: {body:?}"),
    }
}

#[test]
fn each_message_of_a_batch_gets_its_own_answer_whatever_the_others_get() {
    let mut lab = ra(|_| {});
    let outer = Client::with_issued(&lab, "CN=RA", true);
    let ir = |client: &Client, subject: &str| {
        client.message(PkiBody::Ir(vec![request(&key(), subject, |_| {})]), |_| {})
    };
    let mut good = Client::with_idevid(&lab, "CS-1");
    let good_ir = ir(&good, "CN=CS-1");
    let bad_ir = ir(
        &Client::with_secret(&lab, "wrong", MacAlgorithm::pbmac1([7; 16])),
        "CN=CS-2",
    );
    let answers = batched(&lab.handle(NOW_S, &wrap(&outer, &[bad_ir, good_ir.clone()])));
    assert_eq!(failure(&answers[0]), F::BadMessageCheck);
    let answer = good.take(NOW_S, &good_ir, &answers[1].to_bytes().unwrap());
    let certificate = issued(&answer);
    assert_eq!(
        good.send(&mut lab, cert_conf(&certificate)).body.body_type(),
        BodyType::PkiConf
    );
}

fn with_profiles(config: &mut RaConfig) {
    let mut short = config.default_profile.clone();
    short.certificate_lifetime_s = 86_400;
    short.ext_key_usages = vec!["1.3.6.1.5.5.7.3.2".parse().unwrap()];
    short.key_algorithms = vec![KeyAlgorithm::P384];
    config.profiles.insert("short".into(), short);
}

fn profile(name: &str) -> impl FnOnce(&mut PkiHeader) {
    let info = InfoTypeAndValue::cert_profile(name).unwrap();
    move |header| header.general_info = Some(vec![info])
}

#[test]
fn a_profile_sets_lifetime_usage_and_types_of_keys_by_header_or_by_path() {
    let mut lab = ra(with_profiles);
    let by_path = Endpoint::parse("/.well-known/cmp/p/short/initialization").unwrap();
    let wanted = SoftKey::generate(KeyAlgorithm::P384).unwrap();
    for is_by_path in [true, false] {
        let mut client = Client::with_idevid(&lab, "CS-1");
        let body = PkiBody::Ir(vec![request(&wanted, "CN=CS-1", |_| {})]);
        let answer = match is_by_path {
            true => {
                let ir = client.message(body, |_| {});
                let answer = lab.handle_at(NOW_S, &by_path, &ir);
                client.take(NOW_S, &ir, &answer)
            }
            false => client.send_with(&mut lab, NOW_S, body, profile("short")),
        };
        let certificate = Certificate::from_der(issued(&answer)).unwrap();
        assert_eq!(certificate.not_after(), NOW_S + 86_400);
        assert_eq!(
            certificate.ext_key_usage().unwrap(),
            ["1.3.6.1.5.5.7.3.2".parse().unwrap()]
        );
    }
    let mut client = Client::with_idevid(&lab, "CS-1");
    let body = PkiBody::Ir(vec![request(&key(), "CN=CS-1", |_| {})]);
    let answer = client.send_with(&mut lab, NOW_S, body, profile("short"));
    assert_eq!(failure(&answer), F::BadCertTemplate);
}

#[test]
fn an_empty_name_of_a_profile_is_none() {
    let mut lab = ra(with_profiles);
    let mut client = Client::with_idevid(&lab, "CS-1");
    let wanted = PkiBody::Ir(vec![request(&key(), "CN=CS-1", |_| {})]);
    issued(&client.send_with(&mut lab, NOW_S, wanted, profile("")));
}

#[test]
fn other_extended_key_usages_than_those_of_the_profile_are_left_out() {
    let mut lab = ra(with_profiles);
    let wanted = SoftKey::generate(KeyAlgorithm::P384).unwrap();
    // serverAuth
    let usage = extension(
        "2.5.29.37",
        false,
        b"\x30\x0a\x06\x08\x2b\x06\x01\x05\x05\x07\x03\x01",
    );
    let request = request(&wanted, "CN=CS-1", |template| {
        template.extensions = Some(vec![usage])
    });
    let mut client = Client::with_idevid(&lab, "CS-1");
    let answer = client.send_with(&mut lab, NOW_S, PkiBody::Ir(vec![request]), profile("short"));
    assert_eq!(status(&answer).status, PkiStatus::GRANTED_WITH_MODS);
    let certificate = Certificate::from_der(issued(&answer)).unwrap();
    assert_eq!(
        certificate.ext_key_usage().unwrap(),
        ["1.3.6.1.5.5.7.3.2".parse().unwrap()]
    );
}

#[test]
fn a_profile_of_the_path_that_is_not_that_of_the_header_is_refused() {
    let mut lab = ra(|config| {
        with_profiles(config);
        let usual = config.default_profile.clone();
        config.profiles.insert("usual".into(), usual);
    });
    let endpoint = Endpoint::parse("/.well-known/cmp/p/usual").unwrap();
    for (name, expected) in [("short", Some(F::BadRequest)), ("usual", None)] {
        let mut client = Client::with_idevid(&lab, "CS-1");
        let ir = client.message(
            PkiBody::Ir(vec![request(&key(), "CN=CS-1", |_| {})]),
            profile(name),
        );
        let answer = client.take(NOW_S, &ir, &lab.handle_at(NOW_S, &endpoint, &ir));
        match expected {
            Some(expected) => assert_eq!(failure(&answer), expected),
            None => drop(issued(&answer)),
        }
    }
}

#[test]
fn a_message_on_the_path_of_another_operation_is_refused_and_its_transaction_goes_on_anywhere() {
    let mut lab = ra(|_| {});
    let certification = Endpoint::parse("/.well-known/cmp/certification").unwrap();
    let initialization = Endpoint::parse("/.well-known/cmp/initialization").unwrap();
    let mut client = Client::with_idevid(&lab, "CS-1");
    let ir = client.message(PkiBody::Ir(vec![request(&key(), "CN=CS-1", |_| {})]), |_| {});
    let answer = client.take(NOW_S, &ir, &lab.handle_at(NOW_S, &certification, &ir));
    assert_eq!(
        (answer.body.body_type(), failure(&answer)),
        (BodyType::Error, F::BadRequest)
    );
    let answer = client.take(NOW_S, &ir, &lab.handle_at(NOW_S, &initialization, &ir));
    let certificate = issued(&answer);
    let cert_conf = client.message(cert_conf(&certificate), |_| {});
    let answer = client.take(
        NOW_S,
        &cert_conf,
        &lab.handle_at(NOW_S, &certification, &cert_conf),
    );
    assert_eq!(answer.body.body_type(), BodyType::PkiConf);
}

#[test]
fn the_root_comes_in_ca_pubs_under_a_signature_only_if_that_is_configured() {
    for is_configured in [false, true] {
        let mut lab = ra(|config| config.ca_pubs_under_signature = is_configured);
        let mut client = Client::with_idevid(&lab, "CS-1");
        let answer = client.send(&mut lab, PkiBody::Ir(vec![request(&key(), "CN=CS-1", |_| {})]));
        let PkiBody::Ip(content) = &*answer.body else {
            panic!("not an ip")
        };
        let expected = is_configured.then(|| vec![Raw::new(lab.pki().root.certificate()).unwrap()]);
        assert_eq!(content.ca_pubs, expected);
    }
}

#[test]
fn a_p10cr_gets_what_it_asks_for_with_its_own_cert_req_id() {
    const SAN: &[u8] = b"\x30\x06\x82\x04cs-1";
    let mut lab = ra(|_| {});
    let mac = Client::with_secret(&lab, "s3cret", MacAlgorithm::pbmac1([7; 16]));
    for mut client in [Client::with_idevid(&lab, "CS-1"), mac] {
        let key = key();
        let body = p10cr(&key, "CN=CS-1,O=Operator", |info| {
            let wanted = extension_request(&[extension("2.5.29.17", false, SAN)]);
            info.attributes.insert(wanted).unwrap();
        });
        let answer = client.send(&mut lab, body);
        let PkiBody::Cp(content) = &*answer.body else {
            panic!("not a cp: {:?}", answer.body)
        };
        assert_eq!(content.response[0].cert_req_id, -1);
        let der = issued(&answer);
        let certificate = Certificate::from_der(der.as_slice()).unwrap();
        use cmp_message::crypto::SigningKey;
        assert_eq!(certificate.public_key(), key.public_key());
        assert_eq!(certificate.subject_alt_name(), Some(SAN));
        let answer = client.send(&mut lab, cert_conf_of_p10cr(&der));
        assert_eq!(answer.body.body_type(), BodyType::PkiConf);
        assert_eq!(status_of(&lab, &der), CertificateStatus::Confirmed);
    }
}
