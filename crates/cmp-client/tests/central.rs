//! Keys that come with their certificate (RFC 9483 §4.1.6): from an RA that behaves, and from one for each way not to.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    unreachable_pub
)]
#![cfg(feature = "envelope")]

mod ra;

use cmp_client::{
    Action, CertificateRequest, Config, Enrolled, Failure, JobResult, KeyId, Operation, Protection, Refusal,
    ResponseError, Transaction, drive::drive_with,
};
use cmp_message::{
    BodyType, CMP_2021, PkiBody, PkiFailure, PkiMessage, ProofOfPossession, Raw,
    certificate::Certificate,
    crypto::{Crypto, CryptoError, KeyAlgorithm, RustCrypto, SigningKey},
    envelope::{EnvelopeError, KeyTransport, RecipientKey, RsaRecipientKey},
    mac::Secret,
};
use ra::{
    Delivery, MADE, MADE_ID, Ra, central, config, config_of, initialization, key, mac_config, name, now,
    old_certificate, request, station_keys, with_key,
};
use std::fs;

fn ra(body: fn(PkiBody) -> PkiBody) -> Ra {
    let mut ra = Ra::new();
    ra.body = Some(body);
    ra
}

fn finish(ra: &mut Ra, transaction: &mut Transaction) -> Result<Enrolled, Failure> {
    let keys = station_keys();
    let find = |id: KeyId| keys.get(id.0 as usize);
    let outcome = drive_with(
        transaction,
        now(),
        |id| find(id).map(|key| key as &dyn SigningKey),
        |id| find(id).map(|key| key as &dyn RecipientKey),
        |now, message| ra.answer(now, message),
    );
    Ok(outcome?.into_enrolled().unwrap())
}

fn run(ra: &mut Ra, config: Config, request: CertificateRequest) -> Result<Enrolled, Failure> {
    finish(ra, &mut ra::start(config, request))
}

#[track_caller]
fn has_key(enrolled: &Enrolled) {
    assert_eq!(enrolled.key, MADE_ID);
    let private_key = enrolled.private_key.as_ref().expect("a private key");
    let public_key = RustCrypto.public_key_of(private_key.as_pkcs8()).unwrap();
    assert_eq!(public_key, key(MADE).public_key());
    assert_eq!(public_key, enrolled.certificate.public_key());
}

#[test]
fn a_key_that_the_ra_made_is_recovered_with_the_key_of_the_manufacturer_certificate() {
    let mut ra = ra(|body| Delivery::for_device().put(body));
    has_key(&run(&mut ra, config(), initialization()).unwrap());
    assert_eq!(ra.seen, [BodyType::Ir, BodyType::CertConf]);
    assert_eq!(ra.confirmed, [true]);
}

#[test]
fn the_request_has_no_key_and_no_proof_and_every_message_is_of_version_3() {
    for algorithm in [None, Some(KeyAlgorithm::P256)] {
        let mut ra = ra(|body| Delivery::for_device().put(body));
        ra.polls = vec![5];
        let _ = run(&mut ra, config(), central(Operation::Initialization, algorithm)).unwrap();
        let messages: Vec<_> = ra
            .messages
            .iter()
            .map(|bytes| PkiMessage::from_bytes(bytes).unwrap())
            .collect();
        assert!(messages.iter().all(|message| message.header.pvno == CMP_2021));
        assert!(ra.seen.contains(&BodyType::PollReq));
        let PkiBody::Ir(requests) = &*messages[0].body else {
            panic!("an ir");
        };
        assert_eq!(requests[0].popo, None::<ProofOfPossession>);
        let public_key = &requests[0].cert_req.cert_template.public_key;
        match algorithm {
            None => assert_eq!(*public_key, None),
            Some(_) => {
                let public_key = public_key.as_ref().unwrap();
                assert_eq!(public_key.subject_public_key.raw_bytes(), b"");
                assert!(public_key.algorithm.parameters.is_some(), "the curve is named");
            }
        }
    }
}

#[test]
fn a_key_that_the_ra_made_is_recovered_with_the_shared_secret_of_either_mac() {
    for pbmac1 in [false, true] {
        let mut ra = ra(|body| Delivery::by_secret().put(body));
        let mut transaction = ra::start(mac_config(pbmac1), initialization());
        has_key(&finish(&mut ra, &mut transaction).unwrap());
    }
}

#[test]
fn an_update_and_a_further_certificate_may_come_with_their_key_too() {
    let old = old_certificate();
    let deliver: fn(PkiBody) -> PkiBody = |body| Delivery::for_certificate(&old_certificate()).put(body);
    let certification = central(Operation::Certification, None);
    has_key(&run(&mut ra(deliver), config_of(&old), certification).unwrap());
    let update = CertificateRequest {
        subject: name("CN=Station 7,O=Operator"),
        ..central(Operation::Update(old.clone()), None)
    };
    has_key(&run(&mut ra(deliver), config_of(&old), update).unwrap());
}

#[test]
fn implicit_confirmation_hands_the_key_out_or_says_that_the_certificate_is_unusable() {
    let implicit = || Config {
        implicit_confirm: true,
        ..config()
    };
    let mut good = ra(|body| Delivery::for_device().put(body));
    good.grant_implicit = true;
    let enrolled = run(&mut good, implicit(), initialization()).unwrap();
    assert!(enrolled.implicit);
    has_key(&enrolled);
    let mut bad = ra(|body| Delivery::by_secret().put(body));
    bad.grant_implicit = true;
    let failure = run(&mut bad, implicit(), initialization()).unwrap_err();
    assert!(
        matches!(failure, Failure::CertificateUnusable { .. }),
        "{failure}"
    );
}

/// The certificate is refused in certConf with this reason, and the RA hears it with this failInfo.
#[track_caller]
fn refused(config: Config, body: fn(PkiBody) -> PkiBody, fail_info: PkiFailure) -> Refusal {
    let mut ra = ra(body);
    let failure = run(&mut ra, config.clone(), initialization()).unwrap_err();
    assert_eq!(ra.confirmed, [false]);
    let last = PkiMessage::from_bytes(ra.messages.last().unwrap()).unwrap();
    let PkiBody::CertConf(statuses) = &*last.body else {
        panic!("a certConf");
    };
    let status = statuses[0].status_info.as_ref().unwrap();
    assert!(status.contains(fail_info), "{status}");
    let Failure::CertificateRefused {
        refusal, told: true, ..
    } = failure
    else {
        panic!("{failure}");
    };
    refusal
}

#[track_caller]
fn refused_key(config: Config, body: fn(PkiBody) -> PkiBody) -> EnvelopeError {
    let fail_info = |error: &EnvelopeError| error.fail_info();
    let mut broken = ra(body);
    let failure = run(&mut broken, config.clone(), initialization()).unwrap_err();
    let Failure::CertificateRefused {
        refusal: Refusal::PrivateKey(error),
        ..
    } = failure
    else {
        panic!("{failure}");
    };
    assert_eq!(
        refused(config, body, fail_info(&error)),
        Refusal::PrivateKey(error.clone())
    );
    error
}

#[test]
fn a_key_for_another_recipient_or_under_another_secret_is_refused() {
    let other = refused_key(config(), |body| {
        Delivery::for_certificate(&old_certificate()).put(body)
    });
    assert_eq!(other, EnvelopeError::NotForUs);
    let by_secret = refused_key(config(), |body| Delivery::by_secret().put(body));
    assert_eq!(by_secret, EnvelopeError::RecipientProtection);
    let by_key = refused_key(mac_config(false), |body| Delivery::for_device().put(body));
    assert_eq!(by_key, EnvelopeError::RecipientProtection);
    let other_secret = refused_key(mac_config(false), |body| {
        let secret = b"correct mule";
        Delivery {
            secret,
            ..Delivery::by_secret()
        }
        .put(body)
    });
    assert_eq!(other_secret, EnvelopeError::WrongKey);
}

#[test]
fn a_key_from_somebody_who_may_not_make_keys_is_refused() {
    let unmarked = refused_key(config(), |body| {
        let mut delivery = Delivery::for_device();
        delivery.kga.extensions.remove(0);
        delivery.put(body)
    });
    assert_eq!(unmarked, EnvelopeError::KgaNotAuthorized);
    let stranger = refused_key(config(), |body| {
        let mut delivery = Delivery::for_device();
        delivery.kga.issuer = "CN=Stranger";
        delivery.kga.issuer_key = 9;
        delivery.put(body)
    });
    assert!(matches!(stranger, EnvelopeError::KgaNotTrusted(_)), "{stranger}");
    let forged = refused_key(config(), |body| {
        let kga_key = 8;
        Delivery {
            kga_key,
            ..Delivery::for_device()
        }
        .put(body)
    });
    assert_eq!(forged, EnvelopeError::WrongSignature);
}

#[test]
fn a_key_that_is_not_the_one_of_the_certificate_is_refused() {
    for pair in [(8, 8), (8, MADE), (MADE, 8)] {
        let deliver: fn(PkiBody) -> PkiBody = match pair {
            (8, 8) => |body| {
                Delivery {
                    key: (8, 8),
                    ..Delivery::for_device()
                }
                .put(body)
            },
            (8, _) => |body| {
                Delivery {
                    key: (8, MADE),
                    ..Delivery::for_device()
                }
                .put(body)
            },
            _ => |body| {
                Delivery {
                    key: (MADE, 8),
                    ..Delivery::for_device()
                }
                .put(body)
            },
        };
        assert_eq!(
            refused_key(config(), deliver),
            EnvelopeError::KeyMismatch,
            "{pair:?}"
        );
    }
}

#[test]
fn a_missing_key_and_one_that_cannot_be_read_are_refused() {
    let missing = refused(config(), |body| body, PkiFailure::IncorrectData);
    assert_eq!(missing, Refusal::MissingPrivateKey);
    let malformed = refused_key(config(), |body| {
        with_key(body, Some(Raw::new(vec![0xa0, 0]).unwrap()))
    });
    assert_eq!(malformed, EnvelopeError::Malformed);
    let deprecated = refused_key(config(), |body| {
        with_key(body, Some(Raw::new(vec![0x30, 0]).unwrap()))
    });
    assert_eq!(deprecated, EnvelopeError::EncryptedValue);
}

#[test]
fn a_key_that_the_holder_of_ours_does_not_recover_is_refused() {
    let mut ra = ra(|body| Delivery::for_device().put(body));
    let mut transaction = ra::start(config(), initialization());
    let keys = station_keys();
    let failure = drive_with(
        &mut transaction,
        now(),
        |id| keys.get(id.0 as usize).map(|key| key as &dyn SigningKey),
        |_| None,
        |now, message| ra.answer(now, message),
    )
    .unwrap_err();
    let failed = Refusal::PrivateKey(EnvelopeError::Recipient(CryptoError::DecryptionFailed));
    assert!(
        matches!(&failure, Failure::CertificateRefused { refusal, told: true, .. } if *refusal == failed),
        "{failure}"
    );
    assert_eq!(ra.confirmed, [false]);
}

#[test]
fn a_key_in_a_message_of_version_2_and_a_key_that_nobody_asked_for_end_the_transaction() {
    let mut old = ra(|body| Delivery::for_device().put(body));
    old.header = Some(|header| header.pvno = 2);
    let failure = run(&mut old, config(), initialization()).unwrap_err();
    let error = |failure: Failure| match failure {
        Failure::Response { error, .. } => error,
        other => panic!("{other}"),
    };
    assert_eq!(error(failure), ResponseError::PrivateKeyVersion(2));
    assert_eq!(old.seen, [BodyType::Ir]);
    let mut eager = ra(|body| Delivery::for_device().put(body));
    let failure = run(&mut eager, config(), request()).unwrap_err();
    assert_eq!(error(failure), ResponseError::UnexpectedPrivateKey);
    assert_eq!(eager.seen, [BodyType::Ir]);
}

#[test]
fn a_certificate_for_a_key_of_another_type_than_was_asked_for_is_refused() {
    let mut ra = ra(|body| Delivery::for_device().put(body));
    let request = central(Operation::Initialization, Some(KeyAlgorithm::P384));
    let failure = run(&mut ra, config(), request).unwrap_err();
    assert!(
        matches!(
            failure,
            Failure::CertificateRefused {
                refusal: Refusal::OtherKey,
                told: true,
                ..
            }
        ),
        "{failure}"
    );
}

/// Steps until the RA would be sent something; gives what would be, and every state that was kept on the way.
fn until_send(transaction: &mut Transaction, states: &mut Vec<Vec<u8>>) -> Vec<u8> {
    let keys = station_keys();
    loop {
        match transaction.poll_action().expect("something to do") {
            Action::Sign { job, key, input, .. } => {
                let signature = keys[key.0 as usize].sign(&input).unwrap();
                transaction.handle_done(now(), job, JobResult::Signed(signature));
            }
            Action::Agree { job, key, public_key } => {
                let shared = keys[key.0 as usize].agree(&public_key).unwrap();
                let secret = Secret::new(shared.to_vec());
                transaction.handle_done(now(), job, JobResult::Recovered(secret));
            }
            Action::Store { job, state } => {
                states.push(state);
                transaction.handle_done(now(), job, JobResult::Stored);
            }
            Action::Send { message, .. } => return message,
            Action::Report(_) => {}
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_key_outlives_a_restart_after_certconf_without_being_in_the_state() {
    let mut ra = ra(|body| Delivery::for_device().put(body));
    let mut states = Vec::new();
    let mut transaction = ra::start(config(), initialization());
    for _ in 0..2 {
        let message = until_send(&mut transaction, &mut states);
        let answer = ra.answer(now(), &message).unwrap();
        if ra.seen.len() == 1 {
            transaction.handle_response(now(), &answer);
        }
    }
    // The certConf was sent, and power is lost before its answer comes.
    let secret = key(MADE).to_pkcs8().unwrap();
    let scalar = [0_u8; 31].iter().chain(&[MADE]).copied().collect::<Vec<_>>();
    assert!(secret.windows(32).any(|window| window == scalar));
    for state in &states {
        assert!(
            !state.windows(32).any(|window| window == scalar),
            "a secret is kept"
        );
    }
    let state = states.last().unwrap();
    let mut again = Transaction::resume(config(), state, [1; 32], now()).unwrap();
    has_key(&finish(&mut ra, &mut again).unwrap());

    let mut lost = Transaction::resume(config(), state, [1; 32], now()).unwrap();
    let keys = station_keys();
    let failure = drive_with(
        &mut lost,
        now(),
        |id| keys.get(id.0 as usize).map(|key| key as &dyn SigningKey),
        |_| None,
        |now, message| ra.answer(now, message),
    );
    let failure = failure.unwrap_err();
    assert!(
        matches!(failure, Failure::CertificateUnusable { .. }),
        "{failure}"
    );
}

fn fixture(name: &str) -> Vec<u8> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures/envelope/");
    fs::read(format!("{folder}{name}")).unwrap()
}

fn rsa_certificate() -> Certificate {
    let (_, der) = der::pem::decode_vec(&fixture("rsa.crt")).unwrap();
    Certificate::from_der(der).unwrap()
}

#[test]
fn a_key_that_comes_by_rsa_is_decrypted_by_the_holder_of_the_rsa_key() {
    let rsa = RsaRecipientKey::from_pkcs8(&fixture("rsa.pk8")).unwrap();
    let config = Config {
        protection: Protection::Signature {
            key: KeyId(0),
            algorithm: KeyAlgorithm::Rsa.signature_algorithm(),
            certificate: rsa_certificate(),
            chain: Vec::new(),
        },
        ..config()
    };
    let mut ra = ra(|body| Delivery::for_certificate(&rsa_certificate()).put(body));
    let mut transaction = ra::start(config, initialization());
    let mut decrypted = 0;
    let outcome = loop {
        match transaction.poll_action().expect("something to do") {
            // This RA verifies nothing.
            Action::Sign { job, .. } => transaction.handle_done(now(), job, JobResult::Signed(vec![1; 256])),
            Action::Decrypt {
                job,
                key,
                algorithm,
                encrypted_key,
            } => {
                assert_eq!(key, KeyId(0));
                assert!(matches!(algorithm, KeyTransport::RsaesOaep(_)));
                let secret = rsa.decrypt(algorithm, &encrypted_key).unwrap();
                decrypted += 1;
                transaction.handle_done(now(), job, JobResult::Recovered(Secret::new(secret.to_vec())));
            }
            Action::Store { job, .. } => transaction.handle_done(now(), job, JobResult::Stored),
            Action::Send { message, .. } => {
                let answer = ra.answer(now(), &message).unwrap();
                transaction.handle_response(now(), &answer);
            }
            Action::Done(result) => break result.unwrap(),
            _ => {}
        }
    };
    assert_eq!(decrypted, 1);
    has_key(&outcome.into_enrolled().unwrap());
}

#[test]
fn nothing_of_a_delivered_key_is_shown() {
    let mut ra = ra(|body| Delivery::for_device().put(body));
    let enrolled = run(&mut ra, config(), initialization()).unwrap();
    assert!(format!("{enrolled:?}").contains("DeliveredKey(…)"));
    let recovered = JobResult::Recovered(Secret::new(vec![1, 2, 3]));
    assert_eq!(format!("{recovered:?}"), "Recovered(Secret(…))");
}
