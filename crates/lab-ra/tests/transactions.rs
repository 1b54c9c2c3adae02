//! Whole transactions and wrong messages, each answered as RFC 9483 wants it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    unreachable_pub
)]

mod client;

use client::{
    Client, Credential, NOW_S, ask_implicit_confirm, cert_conf, cert_status, cert_status_with, extension,
    failure, issued, key, octets, poll_req, proven, ra, random, request, status, status_of, update,
};
use cmp_message::{
    BodyType, CMP_2021, ErrorMsgContent, PkiBody, PkiFailure as F, PkiMessage, PkiStatus, PkiStatusInfo,
    PollReq, ProofOfPossession,
    certificate::Certificate,
    crypto::{AwsLc, HashAlgorithm, aws_lc::SoftKey},
    mac::MacAlgorithm,
};
use der::{Encode, asn1::Null};
use lab_ra::{CertificateStatus, ImplicitConfirm, PollAfter, RaConfig};
use x509_cert::{name::Name, time::Time};

fn ignore_implicit(config: &mut RaConfig) {
    config.implicit_confirm = ImplicitConfirm::Ignore;
}

/// What a station with a manufacturer certificate gets for this request.
fn ir(change: impl FnOnce(&mut cmp_message::CertTemplate)) -> PkiMessage {
    let mut ra = ra(|_| {});
    let wanted = request(&key(), "CN=CS-1", change);
    Client::with_idevid(&ra, "CS-1").send(&mut ra, PkiBody::Ir(vec![wanted]))
}

#[test]
fn an_enrolment_with_a_manufacturer_certificate_is_issued_confirmed_and_recorded() {
    let mut ra = ra(|_| {});
    let mut client = Client::with_idevid(&ra, "CS-1");
    let key = key();
    let answer = client.send(&mut ra, PkiBody::Ir(vec![request(&key, "CN=CS-1,O=Op", |_| {})]));
    assert_eq!(status(&answer).status, PkiStatus::ACCEPTED);
    assert_eq!(answer.header.confirm_wait_time(), Some(NOW_S + 300));
    assert!(!answer.header.implicit_confirm());
    assert_eq!(
        answer.extra_certs.as_ref().unwrap()[0].as_bytes(),
        ra.pki().ra.certificate()
    );
    let der = issued(&answer);
    let certificate = Certificate::from_der(der.as_slice()).unwrap();
    use cmp_message::crypto::SigningKey;
    assert_eq!(certificate.public_key(), key.public_key());
    assert_eq!(
        certificate.subject(),
        client::name("CN=CS-1,O=Op").to_der().unwrap()
    );
    certificate
        .verify_signature(&AwsLc, ra.pki().ca.key().public_key())
        .unwrap();
    assert_eq!(
        certificate.authority_key_identifier().unwrap(),
        ra.pki().ca.key_identifier()
    );
    assert_eq!(status_of(&ra, &der), CertificateStatus::Issued);
    let answer = client.send(&mut ra, cert_conf(&der));
    assert_eq!(answer.body.body_type(), BodyType::PkiConf);
    assert_eq!(status_of(&ra, &der), CertificateStatus::Confirmed);
}

#[test]
fn both_macs_enrol_and_bring_the_root_in_ca_pubs_under_a_fresh_salt() {
    for algorithm in [
        MacAlgorithm::password_based_mac([7; 16]),
        MacAlgorithm::pbmac1([7; 16]),
    ] {
        let mut ra = ra(|_| {});
        let mut client = Client::with_secret(&ra, "s3cret", algorithm.clone());
        let answer = client.send(&mut ra, PkiBody::Ir(vec![request(&key(), "CN=CS-1", |_| {})]));
        let PkiBody::Ip(content) = &*answer.body else {
            panic!()
        };
        assert_eq!(
            content.ca_pubs.as_ref().unwrap()[0].as_bytes(),
            ra.pki().root.certificate()
        );
        let used = answer.header.protection_alg.as_ref().unwrap();
        assert_eq!(used.oid, algorithm.algorithm_identifier().unwrap().oid);
        assert_ne!(MacAlgorithm::from_algorithm_identifier(used).unwrap(), algorithm);
        let answer = client.send(&mut ra, cert_conf(&issued(&answer)));
        assert_eq!(answer.body.body_type(), BodyType::PkiConf);
    }
}

#[test]
fn a_cr_is_answered_with_a_cp_also_under_a_certificate_of_the_own_ca() {
    let mut ra = ra(|_| {});
    let old_key = key();
    let old = Client::with_idevid(&ra, "CS-1").enroll(&mut ra, &old_key, "CN=CS-1");
    let mut client = Client::with_certificate(&ra, old_key, old);
    let answer = client.send(&mut ra, PkiBody::Cr(vec![request(&key(), "CN=CS-1", |_| {})]));
    assert_eq!(answer.body.body_type(), BodyType::Cp);
    let answer = client.send(&mut ra, cert_conf(&issued(&answer)));
    assert_eq!(answer.body.body_type(), BodyType::PkiConf);
}

#[test]
fn an_update_is_protected_with_the_certificate_that_its_old_cert_id_names() {
    let mut ra = ra(|_| {});
    let mut enrolled = || {
        let key = key();
        let certificate = Client::with_idevid(&ra, "CS-1").enroll(&mut ra, &key, "CN=CS-1");
        (key, certificate)
    };
    let ((key_1, der_1), (_, der_2)) = (enrolled(), enrolled());
    let one = Certificate::from_der(der_1.as_slice()).unwrap();
    let two = Certificate::from_der(der_2.as_slice()).unwrap();
    let mut client = Client::with_certificate(&ra, key_1, der_1);
    let answer = client.send(&mut ra, PkiBody::Kur(vec![update(&key(), "CN=CS-1", &two)]));
    assert_eq!(
        (answer.body.body_type(), failure(&answer)),
        (BodyType::Kup, F::BadCertId)
    );
    client.recip_nonce = None;
    let answer = client.send(&mut ra, PkiBody::Kur(vec![update(&key(), "CN=CS-1", &one)]));
    assert_eq!(answer.body.body_type(), BodyType::Kup);
    let answer = client.send(&mut ra, cert_conf(&issued(&answer)));
    assert_eq!(answer.body.body_type(), BodyType::PkiConf);
}

#[test]
fn an_update_under_a_mac_or_a_manufacturer_certificate_is_refused() {
    let mut ra = ra(|_| {});
    let old = Client::with_idevid(&ra, "CS-1").enroll(&mut ra, &key(), "CN=CS-1");
    let old = Certificate::from_der(old).unwrap();
    let kur = || PkiBody::Kur(vec![update(&key(), "CN=CS-1", &old)]);
    let mut client = Client::with_idevid(&ra, "CS-1");
    assert_eq!(failure(&client.send(&mut ra, kur())), F::NotAuthorized);
    let client = Client::with_secret(&ra, "s3cret", MacAlgorithm::password_based_mac([7; 16]));
    let answer = ra.handle(NOW_S, &client.message(kur(), |_| {}));
    assert_eq!(
        failure(&PkiMessage::from_bytes(&answer).unwrap()),
        F::WrongIntegrity
    );
}

#[test]
fn implicit_confirmation_is_granted_if_asked_for_and_configured() {
    for (grant, asked) in [(true, true), (true, false), (false, true)] {
        let mut ra = ra(|config| {
            if !grant {
                ignore_implicit(config)
            }
        });
        let mut client = Client::with_idevid(&ra, "CS-1");
        let body = PkiBody::Ir(vec![request(&key(), "CN=CS-1", |_| {})]);
        let answer = client.send_with(&mut ra, NOW_S, body, |header| {
            if asked {
                ask_implicit_confirm(header);
            }
        });
        let granted = answer.header.implicit_confirm();
        assert_eq!(granted, grant && asked);
        assert_eq!(answer.header.confirm_wait_time().is_some(), !granted);
        let expected = if granted {
            CertificateStatus::Confirmed
        } else {
            CertificateStatus::Issued
        };
        let certificate = issued(&answer);
        assert_eq!(status_of(&ra, &certificate), expected);
        let answer = client.send(&mut ra, cert_conf(&certificate));
        match granted {
            true => assert_eq!(failure(&answer), F::BadRequest),
            false => assert_eq!(answer.body.body_type(), BodyType::PkiConf),
        }
    }
}

#[test]
fn a_delayed_certificate_comes_after_the_configured_polls() {
    let delay = PollAfter {
        polls: 2,
        check_after_s: 9,
    };
    let mut ra = ra(|config| config.poll_after = Some(delay));
    let mut client = Client::with_idevid(&ra, "CS-1");
    let answer = client.send(&mut ra, PkiBody::Ir(vec![request(&key(), "CN=CS-1", |_| {})]));
    assert_eq!(status(&answer).status, PkiStatus::WAITING);
    for _ in 0..2 {
        let answer = client.send(&mut ra, poll_req());
        let PkiBody::PollRep(content) = &*answer.body else {
            panic!()
        };
        assert_eq!((content[0].cert_req_id, content[0].check_after), (0, 9));
    }
    let answer = client.send(&mut ra, poll_req());
    assert_eq!(answer.body.body_type(), BodyType::Ip);
    let certificate = issued(&answer);
    assert_eq!(
        client.send(&mut ra, cert_conf(&certificate)).body.body_type(),
        BodyType::PkiConf
    );
    assert_eq!(status_of(&ra, &certificate), CertificateStatus::Confirmed);
}

#[test]
fn a_poll_req_is_refused_where_nothing_is_delayed() {
    let mut ra = ra(|_| {});
    let mut client = Client::with_idevid(&ra, "CS-1");
    client.recip_nonce = Some(vec![1; 16]);
    assert_eq!(failure(&client.send(&mut ra, poll_req())), F::BadRequest);
    client.recip_nonce = None;
    client.send(&mut ra, PkiBody::Ir(vec![request(&key(), "CN=CS-1", |_| {})]));
    assert_eq!(failure(&client.send(&mut ra, poll_req())), F::BadRequest);
}

#[test]
fn a_poll_req_for_another_request_is_refused_and_the_delay_goes_on() {
    let delay = PollAfter {
        polls: 0,
        check_after_s: 9,
    };
    let mut ra = ra(|config| config.poll_after = Some(delay));
    let mut client = Client::with_idevid(&ra, "CS-1");
    client.send(&mut ra, PkiBody::Ir(vec![request(&key(), "CN=CS-1", |_| {})]));
    let nonce = client.recip_nonce.clone();
    let of = |ids: &[i64]| ids.iter().map(|id| PollReq { cert_req_id: *id }).collect();
    for other in [&[1][..], &[], &[0, 0]] {
        let answer = client.send(&mut ra, PkiBody::PollReq(of(other)));
        assert_eq!(failure(&answer), F::BadRequest);
        client.recip_nonce = nonce.clone();
    }
    assert_eq!(client.send(&mut ra, poll_req()).body.body_type(), BodyType::Ip);
}

#[test]
fn a_poll_req_whose_answer_got_lost_is_answered_again_and_leaves_the_nonce_as_it_was() {
    let delay = PollAfter {
        polls: 1,
        check_after_s: 9,
    };
    let mut ra = ra(|config| config.poll_after = Some(delay));
    let mut client = Client::with_idevid(&ra, "CS-1");
    client.send(&mut ra, PkiBody::Ir(vec![request(&key(), "CN=CS-1", |_| {})]));
    for expected in [BodyType::PollRep, BodyType::Ip] {
        let poll_req = client.message(poll_req(), |_| {});
        let lost = client.take(NOW_S, &poll_req, &ra.handle(NOW_S, &poll_req));
        let again = client.take(NOW_S, &poll_req, &ra.handle(NOW_S, &poll_req));
        assert_eq!(again.body.body_type(), expected);
        assert_eq!(again.body, lost.body);
        assert_eq!(again.header.sender_nonce, lost.header.sender_nonce);
    }
    let certificate = ra.store().certificates().unwrap().remove(0).certificate;
    let answer = client.send(&mut ra, cert_conf(&certificate));
    assert_eq!(answer.body.body_type(), BodyType::PkiConf);
    client.recip_nonce = None;
    assert_eq!(ra.store().certificates().unwrap().len(), 1);
}

#[test]
fn an_answer_that_is_given_again_says_again_that_the_certificate_was_modified() {
    let delay = PollAfter {
        polls: 0,
        check_after_s: 9,
    };
    let mut ra = ra(|config| config.poll_after = Some(delay));
    let mut client = Client::with_idevid(&ra, "CS-1");
    let wanted = request(&key(), "CN=CS-1", |template| {
        template.extensions = Some(vec![extension("1.2.3.4", false, &[5, 0])]);
    });
    client.send(&mut ra, PkiBody::Ir(vec![wanted]));
    let poll_req = client.message(poll_req(), |_| {});
    for _ in 0..2 {
        let answer = client.take(NOW_S, &poll_req, &ra.handle(NOW_S, &poll_req));
        assert_eq!(status(&answer).status, PkiStatus::GRANTED_WITH_MODS);
    }
}

#[test]
fn the_protection_algorithm_does_not_change_within_a_transaction() {
    let mut ra = ra(|_| {});
    let mut client = Client::with_secret(&ra, "s3cret", MacAlgorithm::password_based_mac([7; 16]));
    let answer = client.send(&mut ra, PkiBody::Ir(vec![request(&key(), "CN=CS-1", |_| {})]));
    let certificate = issued(&answer);
    let nonce = client.recip_nonce.clone();
    client.credential = Credential::Mac {
        reference: "r1",
        secret: "s3cret",
        algorithm: MacAlgorithm::pbmac1([7; 16]),
    };
    let answer = client.send(&mut ra, cert_conf(&certificate));
    assert_eq!(failure(&answer), F::BadMessageCheck);
    assert_eq!(status_of(&ra, &certificate), CertificateStatus::Issued);
    client.credential = Credential::Mac {
        reference: "r1",
        secret: "s3cret",
        algorithm: MacAlgorithm::password_based_mac([8; 16]),
    };
    client.recip_nonce = nonce;
    let answer = client.send(&mut ra, cert_conf(&certificate));
    assert_eq!(answer.body.body_type(), BodyType::PkiConf);
}

#[test]
fn a_certificate_refused_in_cert_conf_is_recorded_as_refused() {
    let mut ra = ra(|_| {});
    let mut client = Client::with_idevid(&ra, "CS-1");
    let answer = client.send(&mut ra, PkiBody::Ir(vec![request(&key(), "CN=CS-1", |_| {})]));
    let certificate = issued(&answer);
    let mut refused = cert_status(&certificate);
    refused.status_info = Some(PkiStatusInfo::rejection(F::BadCertTemplate, "not my name"));
    let answer = client.send(&mut ra, PkiBody::CertConf(vec![refused]));
    assert_eq!(answer.body.body_type(), BodyType::PkiConf);
    assert_eq!(status_of(&ra, &certificate), CertificateStatus::Refused);
}

#[test]
fn an_error_of_the_peer_is_acknowledged_and_refuses_the_certificate() {
    let mut ra = ra(|_| {});
    let mut client = Client::with_idevid(&ra, "CS-1");
    let answer = client.send(&mut ra, PkiBody::Ir(vec![request(&key(), "CN=CS-1", |_| {})]));
    let error = ErrorMsgContent::from(PkiStatusInfo::rejection(F::SystemFailure, "out of flash"));
    let answer_2 = client.send(&mut ra, PkiBody::Error(error));
    assert_eq!(answer_2.body.body_type(), BodyType::PkiConf);
    assert_eq!(status_of(&ra, &issued(&answer)), CertificateStatus::Refused);
}

#[test]
fn a_cert_conf_for_another_hash_ends_the_transaction() {
    let mut ra = ra(|_| {});
    let mut client = Client::with_idevid(&ra, "CS-1");
    let answer = client.send(&mut ra, PkiBody::Ir(vec![request(&key(), "CN=CS-1", |_| {})]));
    let certificate = issued(&answer);
    assert_eq!(
        failure(&client.send(&mut ra, cert_conf(b"another"))),
        F::BadCertId
    );
    assert_eq!(status_of(&ra, &certificate), CertificateStatus::Refused);
}

#[test]
fn a_cert_conf_for_another_request_or_for_two_is_a_bad_request() {
    for count in [1, 2] {
        let mut ra = ra(|_| {});
        let mut client = Client::with_idevid(&ra, "CS-1");
        let answer = client.send(&mut ra, PkiBody::Ir(vec![request(&key(), "CN=CS-1", |_| {})]));
        let mut wrong = cert_status(&issued(&answer));
        wrong.cert_req_id = 2 - count;
        let content = vec![wrong; count as usize];
        assert_eq!(
            failure(&client.send(&mut ra, PkiBody::CertConf(content))),
            F::BadRequest
        );
    }
}

#[test]
fn hash_alg_in_cert_conf_is_taken_in_version_3_only() {
    for (pvno, hash) in [(CMP_2021, HashAlgorithm::Sha512), (2, HashAlgorithm::Sha512)] {
        let mut ra = ra(|_| {});
        let mut client = Client::with_idevid(&ra, "CS-1");
        let body = PkiBody::Ir(vec![request(&key(), "CN=CS-1", |_| {})]);
        let answer = client.send_with(&mut ra, NOW_S, body, |header| header.pvno = pvno);
        assert_eq!(answer.header.pvno, pvno);
        let certificate = issued(&answer);
        let body = PkiBody::CertConf(vec![cert_status_with(hash, &certificate)]);
        let answer = client.send_with(&mut ra, NOW_S, body, |header| header.pvno = pvno);
        match pvno {
            CMP_2021 => assert_eq!(answer.body.body_type(), BodyType::PkiConf),
            _ => assert_eq!(failure(&answer), F::BadRequest),
        }
    }
}

#[test]
fn a_repeated_cert_conf_is_told_that_it_is_confirmed() {
    let mut ra = ra(|_| {});
    let mut client = Client::with_idevid(&ra, "CS-1");
    let answer = client.send(&mut ra, PkiBody::Ir(vec![request(&key(), "CN=CS-1", |_| {})]));
    let certificate = issued(&answer);
    let nonce = client.recip_nonce.clone();
    client.send(&mut ra, cert_conf(&certificate));
    client.recip_nonce = nonce;
    assert_eq!(
        failure(&client.send(&mut ra, cert_conf(&certificate))),
        F::CertConfirmed
    );
    assert_eq!(status_of(&ra, &certificate), CertificateStatus::Confirmed);
}

#[test]
fn a_late_cert_conf_is_refused_and_the_certificate_is_expired() {
    let mut ra = ra(|config| config.confirm_wait_s = 10);
    let mut client = Client::with_idevid(&ra, "CS-1");
    let answer = client.send(&mut ra, PkiBody::Ir(vec![request(&key(), "CN=CS-1", |_| {})]));
    let certificate = issued(&answer);
    let answer = client.send_with(&mut ra, NOW_S + 11, cert_conf(&certificate), |_| {});
    assert_eq!(failure(&answer), F::BadRequest);
    assert_eq!(status_of(&ra, &certificate), CertificateStatus::Expired);
}

#[test]
fn a_cert_conf_signed_with_the_new_key_or_by_another_station_is_refused() {
    let mut ra = ra(|_| {});
    let mut client = Client::with_idevid(&ra, "CS-1");
    let new_key = key();
    let answer = client.send(&mut ra, PkiBody::Ir(vec![request(&new_key, "CN=CS-1", |_| {})]));
    let certificate = issued(&answer);
    let with_new_key = Client::with_certificate(&ra, new_key, certificate.clone());
    for mut other in [with_new_key, Client::with_idevid(&ra, "CS-2")] {
        other.transaction_id = client.transaction_id;
        other.recip_nonce = client.recip_nonce.clone();
        assert_eq!(
            failure(&other.send(&mut ra, cert_conf(&certificate))),
            F::BadMessageCheck
        );
    }
    assert_eq!(status_of(&ra, &certificate), CertificateStatus::Issued);
    assert_eq!(
        client.send(&mut ra, cert_conf(&certificate)).body.body_type(),
        BodyType::PkiConf
    );
}

#[test]
fn an_unconfirmed_certificate_authenticates_nothing() {
    let mut ra = ra(|_| {});
    let new_key = key();
    let mut client = Client::with_idevid(&ra, "CS-1");
    let answer = client.send(&mut ra, PkiBody::Ir(vec![request(&new_key, "CN=CS-1", |_| {})]));
    let der = issued(&answer);
    let old = Certificate::from_der(der.as_slice()).unwrap();
    let mut client = Client::with_certificate(&ra, new_key, der);
    let answer = client.send(&mut ra, PkiBody::Kur(vec![update(&key(), "CN=CS-1", &old)]));
    assert_eq!(failure(&answer), F::NotAuthorized);
}

#[test]
fn a_transaction_id_in_use_is_refused_and_so_is_a_second_request() {
    let mut ra = ra(|_| {});
    let mut client = Client::with_idevid(&ra, "CS-1");
    let ir = || PkiBody::Ir(vec![request(&key(), "CN=CS-1", |_| {})]);
    let certificate = issued(&client.send(&mut ra, ir()));
    let nonce = client.recip_nonce.clone();
    assert_eq!(failure(&client.send(&mut ra, ir())), F::BadRequest);
    client.recip_nonce = None;
    assert_eq!(failure(&client.send(&mut ra, ir())), F::TransactionIdInUse);
    client.recip_nonce = nonce;
    assert_eq!(
        client.send(&mut ra, cert_conf(&certificate)).body.body_type(),
        BodyType::PkiConf
    );
    client.recip_nonce = None;
    assert_eq!(failure(&client.send(&mut ra, ir())), F::TransactionIdInUse);
}

#[test]
fn a_bad_proof_of_possession_is_refused_in_the_ip() {
    let other_key = key();
    type Change = fn(&SoftKey, &mut cmp_message::CertReqMsg);
    let wrong: [(Change, F); 3] = [
        (|_, wanted| wanted.popo = None, F::BadPop),
        (
            |_, wanted| wanted.popo = Some(ProofOfPossession::RaVerified(Null)),
            F::NotAuthorized,
        ),
        (
            |other, wanted| wanted.popo = proven(other, wanted.cert_req.clone().into_value()).popo,
            F::BadPop,
        ),
    ];
    for (change, expected) in wrong {
        let mut ra = ra(|_| {});
        let mut wanted = request(&key(), "CN=CS-1", |_| {});
        change(&other_key, &mut wanted);
        let answer = Client::with_idevid(&ra, "CS-1").send(&mut ra, PkiBody::Ir(vec![wanted]));
        assert_eq!(
            (answer.body.body_type(), failure(&answer)),
            (BodyType::Ip, expected)
        );
    }
}

#[test]
fn a_request_must_be_one_and_have_the_id_zero() {
    let mut ra = ra(|_| {});
    let key = key();
    let one = request(&key, "CN=CS-1", |_| {});
    let mut other_id = one.cert_req.clone().into_value();
    other_id.cert_req_id = 1;
    for content in [vec![], vec![one.clone(), one], vec![proven(&key, other_id)]] {
        let answer = Client::with_idevid(&ra, "CS-1").send(&mut ra, PkiBody::Ir(content));
        assert_eq!(
            (answer.body.body_type(), failure(&answer)),
            (BodyType::Ip, F::BadRequest)
        );
    }
}

#[test]
fn a_template_without_subject_or_key_or_with_a_wrong_one_is_refused() {
    assert_eq!(
        failure(&ir(|template| template.subject = None)),
        F::BadCertTemplate
    );
    assert_eq!(
        failure(&ir(|template| template.subject = Some(Name::default()))),
        F::BadCertTemplate
    );
    assert_eq!(
        failure(&ir(|template| template.public_key = None)),
        F::BadCertTemplate
    );
    assert_eq!(
        failure(&ir(|template| template.version = Some(0))),
        F::BadCertTemplate
    );
    let rsa = "1.2.840.113549.1.1.1".parse().unwrap();
    let answer = ir(|template| template.public_key.as_mut().unwrap().algorithm.oid = rsa);
    assert_eq!(failure(&answer), F::BadCertTemplate);
}

#[test]
fn extensions_of_the_template_are_taken_or_refused_or_left_out() {
    const SAN: &[u8] = b"\x30\x06\x82\x04cs-1";
    let ext = |oid, critical, value| {
        ir(|template| template.extensions = Some(vec![extension(oid, critical, value)]))
    };
    let granted = ext("2.5.29.17", false, SAN);
    let certificate = Certificate::from_der(issued(&granted)).unwrap();
    assert_eq!(certificate.subject_alt_name(), Some(SAN));
    assert_eq!(status(&granted).status, PkiStatus::ACCEPTED);
    // digitalSignature and keyAgreement; clientAuth.
    assert_eq!(
        status(&ext("2.5.29.15", true, &[3, 2, 3, 0x88])).status,
        PkiStatus::ACCEPTED
    );
    let client_auth = b"\x30\x0a\x06\x08\x2b\x06\x01\x05\x05\x07\x03\x02";
    assert_eq!(
        status(&ext("2.5.29.37", false, client_auth)).status,
        PkiStatus::ACCEPTED
    );
    // keyCertSign; cmcRA; a CA; SAN without names; what nobody knows.
    let cmc_ra = b"\x30\x0a\x06\x08\x2b\x06\x01\x05\x05\x07\x03\x1c";
    assert_eq!(
        failure(&ext("2.5.29.15", true, &[3, 2, 2, 0x04])),
        F::BadCertTemplate
    );
    assert_eq!(failure(&ext("2.5.29.37", false, cmc_ra)), F::BadCertTemplate);
    assert_eq!(
        failure(&ext("2.5.29.19", true, &[0x30, 3, 1, 1, 0xff])),
        F::BadCertTemplate
    );
    assert_eq!(failure(&ext("2.5.29.17", false, &[0x30, 0])), F::BadCertTemplate);
    assert_eq!(failure(&ext("1.2.3.4", true, &[5, 0])), F::UnacceptedExtension);
    assert_eq!(
        status(&ext("1.2.3.4", false, &[5, 0])).status,
        PkiStatus::GRANTED_WITH_MODS
    );
}

#[test]
fn an_earlier_end_is_granted_a_later_one_is_shortened_a_past_one_refused() {
    let until = |not_after_s: u64| {
        let time =
            der::asn1::GeneralizedTime::from_unix_duration(std::time::Duration::from_secs(not_after_s));
        let validity = cmp_message::OptionalValidity {
            not_before: None,
            not_after: Some(Time::GeneralTime(time.unwrap())),
        };
        ir(|template| template.validity = Some(validity))
    };
    let not_after = |answer: &PkiMessage| Certificate::from_der(issued(answer)).unwrap().not_after();
    let short = until(NOW_S + 1_000);
    assert_eq!(
        (status(&short).status, not_after(&short)),
        (PkiStatus::ACCEPTED, NOW_S + 1_000)
    );
    let long = until(NOW_S + 1_000 * 86_400);
    assert_eq!(
        (status(&long).status, not_after(&long)),
        (PkiStatus::GRANTED_WITH_MODS, NOW_S + 365 * 86_400)
    );
    assert_eq!(failure(&until(NOW_S - 1)), F::BadCertTemplate);
}

#[test]
fn a_beginning_is_granted_within_the_hour_before_now() {
    let from = |not_before_s: u64| {
        let time = std::time::Duration::from_secs(not_before_s);
        let time = der::asn1::GeneralizedTime::from_unix_duration(time).unwrap();
        let validity = cmp_message::OptionalValidity {
            not_before: Some(Time::GeneralTime(time)),
            not_after: None,
        };
        let answer = ir(|template| template.validity = Some(validity));
        let certificate = Certificate::from_der(issued(&answer)).unwrap();
        (status(&answer).status, certificate.not_before())
    };
    const HOUR_S: u64 = 3_600;
    for asked in [NOW_S - HOUR_S, NOW_S] {
        assert_eq!(from(asked), (PkiStatus::ACCEPTED, asked));
    }
    for asked in [NOW_S - HOUR_S - 1, NOW_S + 1] {
        assert_eq!(from(asked), (PkiStatus::GRANTED_WITH_MODS, NOW_S - HOUR_S));
    }
}

#[test]
fn a_wrong_secret_or_an_unknown_reference_is_told_the_same() {
    let mut ra = ra(|_| {});
    let mut texts = Vec::new();
    for (reference, secret) in [("r1", "wrong"), ("r9", "s3cret")] {
        let algorithm = MacAlgorithm::password_based_mac([7; 16]);
        let client = Client::new(
            &ra,
            Credential::Mac {
                reference,
                secret,
                algorithm,
            },
        );
        let body = PkiBody::Ir(vec![request(&key(), "CN=CS-1", |_| {})]);
        let answer = PkiMessage::from_bytes(&ra.handle(NOW_S, &client.message(body, |_| {}))).unwrap();
        assert_eq!(failure(&answer), F::BadMessageCheck);
        texts.push(status(&answer));
    }
    assert_eq!(texts[0], texts[1]);
    assert_eq!(ra.store().open_transaction_count(), 0);
}

#[test]
fn a_manufacturer_that_is_not_known_or_a_certificate_out_of_date_is_not_trusted() {
    let mut here = ra(|_| {});
    let elsewhere = ra(|_| {});
    let stranger = elsewhere.pki().issue_idevid("CS-1", NOW_S).unwrap();
    let body = || PkiBody::Ir(vec![request(&key(), "CN=CS-1", |_| {})]);
    let key = SoftKey::from_der(&stranger.key).unwrap();
    let (certificate, chain) = (stranger.certificate, stranger.chain);
    let mut client = Client::new(
        &here,
        Credential::Signature {
            key,
            certificate,
            chain,
        },
    );
    assert_eq!(failure(&client.send(&mut here, body())), F::SignerNotTrusted);
    let client = Client::with_idevid(&here, "CS-1");
    let answer = here.handle(NOW_S - 90_000, &client.message(body(), |_| {}));
    assert_eq!(
        failure(&PkiMessage::from_bytes(&answer).unwrap()),
        F::SignerNotTrusted
    );
}

#[test]
fn a_changed_message_is_refused() {
    let mut ra = ra(|_| {});
    let client = Client::with_idevid(&ra, "CS-1");
    let body = PkiBody::Ir(vec![request(&key(), "CN=CS-1", |_| {})]);
    let honest = PkiMessage::from_bytes(&client.message(body, |_| {})).unwrap();
    let other = PkiBody::Ir(vec![request(&key(), "CN=CS-1", |_| {})]);
    let changed = PkiMessage {
        protection: honest.protection,
        extra_certs: honest.extra_certs,
        ..PkiMessage::new(honest.header.into_value(), other).unwrap()
    };
    let answer = ra.handle(NOW_S, &changed.to_bytes().unwrap());
    assert_eq!(
        failure(&PkiMessage::from_bytes(&answer).unwrap()),
        F::BadMessageCheck
    );
}

#[test]
fn wrong_headers_are_refused_each_with_its_reason() {
    type Change = fn(&mut cmp_message::PkiHeader);
    let cases: [(Change, F); 6] = [
        (|header| header.pvno = 1, F::UnsupportedVersion),
        (|header| header.transaction_id = None, F::BadDataFormat),
        (|header| header.sender_nonce = None, F::BadSenderNonce),
        (
            |header| header.sender_nonce = Some(octets(&[1; 8])),
            F::BadSenderNonce,
        ),
        (
            |header| header.recip_nonce = Some(octets(&[1; 16])),
            F::BadRecipientNonce,
        ),
        (|header| header.protection_alg = None, F::BadMessageCheck),
    ];
    for (change, expected) in cases {
        let mut ra = ra(|_| {});
        let client = Client::with_idevid(&ra, "CS-1");
        let body = PkiBody::Ir(vec![request(&key(), "CN=CS-1", |_| {})]);
        let answer = ra.handle(NOW_S, &client.message(body, change));
        assert_eq!(failure(&PkiMessage::from_bytes(&answer).unwrap()), expected);
    }
}

#[test]
fn a_cert_conf_with_a_wrong_recip_nonce_is_refused_and_the_right_one_still_taken() {
    let mut ra = ra(|_| {});
    let mut client = Client::with_idevid(&ra, "CS-1");
    let answer = client.send(&mut ra, PkiBody::Ir(vec![request(&key(), "CN=CS-1", |_| {})]));
    let certificate = issued(&answer);
    let nonce = client.recip_nonce.replace(vec![1; 16]);
    assert_eq!(
        failure(&client.send(&mut ra, cert_conf(&certificate))),
        F::BadRecipientNonce
    );
    client.recip_nonce = nonce;
    assert_eq!(
        client.send(&mut ra, cert_conf(&certificate)).body.body_type(),
        BodyType::PkiConf
    );
}

#[test]
fn requests_that_are_not_supported_and_bodies_that_are_no_requests_are_refused() {
    let mut ra = ra(|_| {});
    for body in [
        PkiBody::Genm(Vec::new()),
        PkiBody::PkiConf(Null),
        PkiBody::PollRep(Vec::new()),
    ] {
        let answer = Client::with_idevid(&ra, "CS-1").send(&mut ra, body);
        assert_eq!(
            (answer.body.body_type(), failure(&answer)),
            (BodyType::Error, F::BadRequest)
        );
    }
}

#[test]
fn bytes_that_are_no_message_get_an_error_message() {
    let mut ra = ra(|_| {});
    for bytes in [b"".as_slice(), b"hello", &[0x30, 0x80, 0, 0], &random::<300>()] {
        let answer = PkiMessage::from_bytes(&ra.handle(NOW_S, bytes)).unwrap();
        assert_eq!(failure(&answer), F::BadDataFormat);
        assert!(answer.protection.is_some());
    }
}

#[test]
fn too_many_open_transactions_are_refused_until_one_ends() {
    let mut ra = ra(|config| config.max_transactions = 2);
    let ir = || PkiBody::Ir(vec![request(&key(), "CN=CS-1", |_| {})]);
    let mut clients = [1, 2, 3].map(|n| Client::with_idevid(&ra, &format!("CS-{n}")));
    let certificate = issued(&clients[0].send(&mut ra, ir()));
    clients[1].send(&mut ra, ir());
    assert_eq!(failure(&clients[2].send(&mut ra, ir())), F::SystemUnavail);
    clients[0].send(&mut ra, cert_conf(&certificate));
    clients[2].recip_nonce = None;
    issued(&clients[2].send(&mut ra, ir()));
    assert_eq!(ra.store().open_transaction_count(), 2);
    for client in &mut clients[1..] {
        client.recip_nonce = None;
        assert_eq!(failure(&client.send(&mut ra, ir())), F::TransactionIdInUse);
    }
}

#[test]
fn a_message_time_far_off_is_refused_where_that_is_configured() {
    let mut ra = ra(|config| config.header.max_clock_skew_s = Some(60));
    let client = Client::with_idevid(&ra, "CS-1");
    let body = PkiBody::Ir(vec![request(&key(), "CN=CS-1", |_| {})]);
    let answer = ra.handle(NOW_S + 61, &client.message(body, |_| {}));
    assert_eq!(failure(&PkiMessage::from_bytes(&answer).unwrap()), F::BadTime);
}
