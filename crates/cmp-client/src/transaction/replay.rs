//! What OpenSSL's CMP server answered, given to transactions that are taken up where OpenSSL's client had sent.

use alloc::{string::ToString, vec::Vec};

use cmp_message::{
    BodyType, CertOrEncCert, PkiBody, PkiMessage, Raw,
    certificate::Certificate,
    crypto::{RustCrypto, SignatureAlgorithm},
    mac::Secret,
};
use der::asn1::OctetString;
use x509_cert::name::Name;

use super::*;
use crate::{
    Enrolled, KeyId, Protection, StateError,
    record::{self, Record},
};

macro_rules! fixture {
    ($($name:literal),+) => {
        include_bytes!(concat!("../../../../tests/fixtures/openssl-3.0/", $($name),+)).as_slice()
    };
}

macro_rules! exchange {
    ($name:literal) => {
        (fixture!($name, ".req.der"), fixture!($name, ".rsp.der"))
    };
}

type Fixture = (&'static [u8], &'static [u8]);

fn certificate(text: &[u8]) -> Certificate {
    match der::Document::from_pem(core::str::from_utf8(text).unwrap_or_default()) {
        Ok((_, document)) => Certificate::from_der(document.as_bytes()).unwrap(),
        Err(_) => Certificate::from_der(text).unwrap(),
    }
}

fn signed_with(own: &[u8]) -> Config {
    let protection = Protection::Signature {
        key: KeyId(0),
        algorithm: SignatureAlgorithm::EcdsaSha256,
        certificate: certificate(own),
        chain: Vec::new(),
    };
    let root = certificate(fixture!("pki/root.crt"));
    Config::new(&RustCrypto, Name::default(), protection, alloc::vec![root])
}

fn with_secret() -> Config {
    Config {
        protection: Protection::PasswordBasedMac {
            reference: b"4711".to_vec(),
            secret: Secret::new(b"hunter2".to_vec()),
        },
        ..signed_with(fixture!("pki/idevid.crt"))
    }
}

fn parse(message: &[u8]) -> PkiMessage {
    PkiMessage::from_bytes(message).unwrap()
}

/// When the answer was made.
fn time_of(answer: &[u8]) -> Time {
    let made = parse(answer).header.message_time.unwrap();
    Time {
        monotonic: Duration::ZERO,
        utc_s: Some(made.to_unix_duration().as_secs()),
    }
}

fn issued_in(answer: &[u8]) -> IssuedRecord {
    let (PkiBody::Ip(content) | PkiBody::Cp(content) | PkiBody::Kup(content)) =
        parse(answer).body.into_value()
    else {
        panic!("no certificate")
    };
    let pair = content
        .response
        .into_iter()
        .next()
        .unwrap()
        .certified_key_pair
        .unwrap();
    let CertOrEncCert::Certificate(certificate) = pair.cert_or_enc_cert else {
        panic!("encrypted")
    };
    IssuedRecord {
        certificate,
        chain: Vec::new(),
        new_anchors: Vec::new(),
        refused: None,
        private_key: None,
    }
}

/// A transaction that has just sent `sent`, after the request `first`.
fn taken_up(
    config: Config,
    first: &[u8],
    sent: &[u8],
    issued: Option<IssuedRecord>,
    now: Time,
) -> Transaction {
    let (request, message) = (parse(first), parse(sent));
    let request_kind = record::code(request.body.body_type());
    let certificate = asks_for_certificate(request.body.body_type());
    let state = Record {
        version: Record::VERSION,
        request: request.body.clone().into_value(),
        sent: record::code(message.body.body_type()),
        awaited: issued
            .as_ref()
            .map_or(request_kind, |_| record::code(BodyType::CertConf)),
        attempt: 1,
        poll_id: 0,
        transaction_id: message.header.transaction_id.clone().unwrap(),
        sender_nonce: message.header.sender_nonce.clone().unwrap(),
        awaited_nonce: message.header.sender_nonce.clone().unwrap(),
        message: OctetString::new(sent).unwrap(),
        implicit: request.header.implicit_confirm(),
        spent_s: 0,
        peer_nonce: OctetString::new(&[][..]).unwrap(),
        issued,
        check_after_s: None,
        signer: None,
        peer_algorithm: None,
        key: certificate.then_some(1),
        cert_profile: None,
        crl_issuer: None,
    };
    let mut transaction = Transaction::resume(config, &state.encode().unwrap(), [7; 32], now).unwrap();
    let Some(Action::Send { message, .. }) = transaction.poll_action() else {
        panic!("nothing is sent")
    };
    assert_eq!(message, sent);
    transaction
}

/// What the transaction does with the answer; signatures are not real.
fn answered(transaction: &mut Transaction, now: Time, answer: &[u8]) -> Vec<Action> {
    transaction.handle_response(now, answer);
    let mut actions = Vec::new();
    while let Some(action) = transaction.poll_action() {
        match &action {
            Action::Sign { job, .. } => {
                transaction.handle_done(now, *job, JobResult::Signed(alloc::vec![1; 8]))
            }
            Action::Store { job, .. } => transaction.handle_done(now, *job, JobResult::Stored),
            _ => {}
        }
        actions.push(action);
    }
    actions
}

fn sent(actions: &[Action]) -> PkiMessage {
    let sent = actions.iter().find_map(|action| match action {
        Action::Send { message, .. } => Some(parse(message)),
        _ => None,
    });
    sent.unwrap_or_else(|| panic!("{actions:?}"))
}

fn enrolled(actions: Vec<Action>) -> Enrolled {
    match actions.into_iter().last() {
        Some(Action::Done(Ok(Outcome::Enrolled(enrolled)))) => enrolled,
        other => panic!("{other:?}"),
    }
}

/// Request and certConf of a whole transaction: the same hash is confirmed, and the end is the same certificate.
fn whole(config: &Config, (request, response): Fixture, (cert_conf, pki_conf): Fixture) {
    let now = time_of(response);
    let mut transaction = taken_up(config.clone(), request, request, None, now);
    let ours = sent(&answered(&mut transaction, now, response));
    let (PkiBody::CertConf(ours), PkiBody::CertConf(theirs)) =
        (ours.body.into_value(), parse(cert_conf).body.into_value())
    else {
        panic!("no certConf")
    };
    assert_eq!(ours[0].cert_hash, theirs[0].cert_hash);
    assert_eq!(
        (ours[0].cert_req_id, &ours[0].status_info),
        (theirs[0].cert_req_id, &None)
    );

    let issued = issued_in(response);
    let mut transaction = taken_up(config.clone(), request, cert_conf, Some(issued.clone()), now);
    let enrolled = enrolled(answered(&mut transaction, now, pki_conf));
    assert_eq!(enrolled.certificate.as_der(), issued.certificate.as_bytes());
}

#[test]
fn openssl_answers_to_ir_and_cert_conf_under_signature_are_taken() {
    let config = signed_with(fixture!("pki/idevid.crt"));
    whole(&config, exchange!("ir_sig.1"), exchange!("ir_sig.2"));
    whole(
        &config,
        exchange!("grantedwithmods.1"),
        exchange!("grantedwithmods.2"),
    );
}

/// The mock server gives the same certificate to everybody.
#[test]
fn an_openssl_certificate_for_another_subject_is_refused_in_cert_conf() {
    let (request, response) = exchange!("ir_utf8.1");
    let now = time_of(response);
    let config = signed_with(fixture!("pki/idevid.crt"));
    let mut transaction = taken_up(config, request, request, None, now);
    let PkiBody::CertConf(content) = sent(&answered(&mut transaction, now, response)).body.into_value()
    else {
        panic!("no certConf")
    };
    let status = content[0].status_info.as_ref().unwrap();
    assert_eq!(status.status, cmp_message::PkiStatus::REJECTION);
}

#[test]
fn openssl_answers_to_ir_and_cert_conf_under_a_mac_are_taken() {
    whole(&with_secret(), exchange!("ir_pbm.1"), exchange!("ir_pbm.2"));
    whole(
        &with_secret(),
        exchange!("ir_pbm_hs256.1"),
        exchange!("ir_pbm_hs256.2"),
    );
}

#[test]
fn openssl_answers_to_kur_are_taken() {
    let config = signed_with(fixture!("pki/lc.crt"));
    whole(&config, exchange!("kur.1"), exchange!("kur.2"));
}

#[test]
fn openssl_answers_to_cr_and_p10cr_are_taken() {
    let config = signed_with(fixture!("pki/idevid.crt"));
    whole(&config, exchange!("cr_sig.1"), exchange!("cr_sig.2"));
    whole(&config, exchange!("cr_csr.1"), exchange!("cr_csr.2"));
    whole(&config, exchange!("p10cr.1"), exchange!("p10cr.2"));
}

/// The end of a transaction of one request.
fn only(config: Config, (request, response): Fixture) -> Result<Outcome, Failure> {
    let now = time_of(response);
    let mut transaction = taken_up(config, request, request, None, now);
    match answered(&mut transaction, now, response).pop() {
        Some(Action::Done(result)) => result,
        other => panic!("{other:?}"),
    }
}

#[test]
fn openssl_answers_to_rr_are_taken() {
    for exchange in [exchange!("rr.1"), exchange!("rr_noreason.1")] {
        let revoked = only(signed_with(fixture!("pki/lc.crt")), exchange).unwrap();
        let Outcome::Revoked(revoked) = revoked else {
            panic!("{revoked:?}")
        };
        let certificate = certificate(fixture!("pki/lc.crt"));
        assert_eq!(
            revoked.certificate.serial_number.as_bytes(),
            certificate.serial_number()
        );
        assert!(!revoked.earlier);
    }
    let failure = only(signed_with(fixture!("pki/lc.crt")), exchange!("rr_reject.1")).unwrap_err();
    assert!(
        matches!(
            failure,
            Failure::Rejected {
                answer: BodyType::Rp,
                ..
            }
        ),
        "{failure}"
    );
}

/// The mock server gives back what it was asked.
#[test]
fn openssl_answers_to_genm_are_taken_for_what_they_are() {
    let config = || signed_with(fixture!("pki/idevid.crt"));
    let outcome = only(config(), exchange!("genm_caCerts.1")).unwrap();
    let Outcome::CaCerts(certificates) = outcome else {
        panic!("{outcome:?}")
    };
    assert!(certificates.is_empty());
    let error = |exchange| match only(config(), exchange).unwrap_err() {
        Failure::Response { error, .. } => error,
        other => panic!("{other}"),
    };
    assert_eq!(error(exchange!("genm.1")), ResponseError::ResponseCount(0));
    let current_crl = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.4.6");
    assert_eq!(
        error(exchange!("genm_implicit.1")),
        ResponseError::UnexpectedInfoType(current_crl)
    );
}

#[test]
fn an_openssl_error_is_told() {
    let failure = only(signed_with(fixture!("pki/idevid.crt")), exchange!("error_send.1")).unwrap_err();
    assert!(
        matches!(
            failure,
            Failure::Rejected {
                answer: BodyType::Error,
                ..
            }
        ),
        "{failure}"
    );
}

#[test]
fn openssl_grants_implicit_confirmation() {
    for (config, (request, response)) in [
        (
            signed_with(fixture!("pki/idevid.crt")),
            exchange!("ir_sig_implicit.1"),
        ),
        (signed_with(fixture!("pki/lc.crt")), exchange!("kur_implicit.1")),
    ] {
        let now = time_of(response);
        let mut transaction = taken_up(config, request, request, None, now);
        assert!(enrolled(answered(&mut transaction, now, response)).implicit);
    }
}

#[test]
fn a_wrong_secret_and_another_ra_are_found_out_in_openssl_answers() {
    let (request, response) = exchange!("ir_pbm.1");
    let now = time_of(response);
    let wrong = Config {
        protection: Protection::PasswordBasedMac {
            reference: b"4711".to_vec(),
            secret: Secret::new(b"hunter3".to_vec()),
        },
        ..with_secret()
    };
    let mut transaction = taken_up(wrong, request, request, None, now);
    assert!(matches!(
        answered(&mut transaction, now, response).last(),
        Some(Action::Done(Err(Failure::Response {
            error: ResponseError::Validation(cmp_message::validate::ValidationError::WrongMac),
            ..
        })))
    ));

    let (request, response) = exchange!("ir_sig.1");
    let stranger = Config {
        anchors: alloc::vec![certificate(fixture!("pki/mfrroot.crt"))],
        ..signed_with(fixture!("pki/idevid.crt"))
    };
    let mut transaction = taken_up(stranger, request, request, None, now);
    let actions = answered(&mut transaction, now, response);
    let Some(Action::Done(Err(failure))) = actions.last() else {
        panic!("{actions:?}")
    };
    assert!(failure.to_string().contains("CMP RA"), "{failure}");
}

#[test]
fn the_extended_key_usage_of_the_ra_can_be_demanded() {
    let (request, response) = exchange!("ir_sig.1");
    let now = time_of(response);
    for (usage, taken) in [(const_oid::db::rfc5280::ID_KP_SERVER_AUTH, false), (CMC_RA, true)] {
        let config = Config {
            signer_usage: Some(usage),
            ..signed_with(fixture!("pki/idevid.crt"))
        };
        let mut transaction = taken_up(config, request, request, None, now);
        let actions = answered(&mut transaction, now, response);
        assert_eq!(
            !matches!(actions.last(), Some(Action::Done(Err(_)))),
            taken,
            "{actions:?}"
        );
    }
}

const CMC_RA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.28");

#[test]
fn openssl_delays_are_polled() {
    let (request, response) = exchange!("poll.1");
    let config = signed_with(fixture!("pki/idevid.crt"));
    let now = time_of(response);
    let mut transaction = taken_up(config.clone(), request, request, None, now);
    let poll = sent(&answered(&mut transaction, now, response));
    assert_eq!(poll.body.body_type(), BodyType::PollReq);
    assert_eq!(poll.header.recip_nonce, parse(response).header.sender_nonce);

    for (poll_req, answer) in [exchange!("poll.2"), exchange!("poll.3")] {
        let now = time_of(answer);
        let mut transaction = taken_up(config.clone(), request, poll_req, None, now);
        let actions = answered(&mut transaction, now, answer);
        match parse(answer).body.body_type() {
            BodyType::PollRep => assert!(transaction.poll_timeout() > Some(now.monotonic), "{actions:?}"),
            _ => assert_eq!(sent(&actions).body.body_type(), BodyType::CertConf),
        }
    }
}

#[test]
fn an_openssl_rejection_is_told() {
    let (request, response) = exchange!("reject_ip.1");
    let now = time_of(response);
    let config = signed_with(fixture!("pki/idevid.crt"));
    let mut transaction = taken_up(config, request, request, None, now);
    let actions = answered(&mut transaction, now, response);
    assert!(
        matches!(actions.last(), Some(Action::Done(Err(Failure::Rejected { .. })))),
        "{actions:?}"
    );
}

#[test]
fn a_state_of_another_protection_is_not_taken_up() {
    let (request, response) = exchange!("ir_sig.1");
    let message = parse(request);
    let state = Record {
        version: Record::VERSION,
        request: message.body.clone().into_value(),
        sent: 0,
        awaited: 0,
        attempt: 1,
        poll_id: 0,
        transaction_id: message.header.transaction_id.clone().unwrap(),
        sender_nonce: message.header.sender_nonce.clone().unwrap(),
        awaited_nonce: message.header.sender_nonce.clone().unwrap(),
        message: OctetString::new(request).unwrap(),
        implicit: false,
        spent_s: 0,
        peer_nonce: OctetString::new(&[][..]).unwrap(),
        issued: None,
        check_after_s: None,
        signer: Some(Raw::new(certificate(fixture!("pki/ra.crt")).as_der()).unwrap()),
        peer_algorithm: None,
        key: Some(1),
        cert_profile: None,
        crl_issuer: None,
    };
    let now = time_of(response);
    let resumed = |config, state: &Record| {
        Transaction::resume(config, &state.encode().unwrap(), [7; 32], now).map(|_| ())
    };
    let idevid = signed_with(fixture!("pki/idevid.crt"));
    assert_eq!(resumed(idevid.clone(), &state), Ok(()));
    assert_eq!(resumed(with_secret(), &state), Err(StateError::OtherProtection));
    assert_eq!(
        resumed(signed_with(fixture!("pki/lc.crt")), &state),
        Err(StateError::OtherProtection)
    );
    let later = Record {
        version: 9,
        ..state.clone()
    };
    assert_eq!(resumed(idevid.clone(), &later), Err(StateError::Version(9)));
    for torn in [
        Record {
            awaited: 24,
            ..state.clone()
        },
        Record {
            key: None,
            ..state.clone()
        },
        Record {
            check_after_s: Some(5),
            ..state.clone()
        },
        Record {
            request: PkiBody::PkiConf(der::asn1::Null),
            ..state
        },
    ] {
        assert_eq!(resumed(idevid.clone(), &torn), Err(StateError::Malformed));
    }
}
