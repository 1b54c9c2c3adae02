//! The generic validation of RFC 9483 §3.5 on messages captured from OpenSSL, whole and damaged.
#![cfg(feature = "rustcrypto")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs
)]

use cmp_message::{
    PkiFailure, PkiHeader, PkiMessage, Raw,
    certificate::Certificate,
    crypto::RustCrypto,
    general::{self, InfoTypeAndValue},
    mac::{MacError, Secret},
    path::PathFailure,
    validate::{Accept, Authenticated, Context, Stage, ValidationError as E, validate},
};
use der::{
    Decode,
    asn1::{GeneralizedTime, OctetString},
};
use std::{fs, sync::LazyLock, time::Duration};

const DIR: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures/openssl-3.0/");

fn message(name: &str) -> PkiMessage {
    PkiMessage::from_bytes(&fs::read(format!("{DIR}{name}.der")).unwrap()).unwrap()
}

fn certificate(name: &str) -> Certificate {
    let pem = fs::read_to_string(format!("{DIR}pki/{name}.crt")).unwrap();
    let pem = &pem[pem.find("-----BEGIN").unwrap()..];
    Certificate::from_der(der::pem::decode_vec(pem.as_bytes()).unwrap().1).unwrap()
}

/// The response `name.1.rsp` held against its request, with what a client knows; `change` makes it another case.
fn check(
    request: &str,
    response: PkiMessage,
    change: impl FnOnce(&mut Context<'_>),
) -> Result<Authenticated, E> {
    let request = message(request);
    let secret = Secret::new(b"hunter2".to_vec());
    let anchors = [certificate("root")];
    let issuing = [certificate("issuing")];
    let lookup = |reference: Option<&[u8]>| (reference == Some(b"4711")).then_some(&secret);
    let mut context = Context {
        crypto: &RustCrypto,
        now_s: Some(response.header.message_time.unwrap().to_unix_duration().as_secs()),
        stage: Stage::Answer {
            transaction_id: request.header.transaction_id.as_ref().unwrap().as_bytes(),
            sender_nonce: request.header.sender_nonce.as_ref().unwrap().as_bytes(),
        },
        accept: Accept::Any,
        anchors: &anchors,
        intermediates: &issuing,
        signer_usage: None,
        known_signer: None,
        secret: &lookup,
        unprotected_errors: false,
        max_clock_skew_s: Some(300),
    };
    change(&mut context);
    validate(&response, &context)
}

fn with_header(message: PkiMessage, change: impl FnOnce(&mut PkiHeader)) -> PkiMessage {
    let mut header = message.header.clone().into_value();
    change(&mut header);
    let changed = PkiMessage::new(header, message.body.clone().into_value()).unwrap();
    PkiMessage {
        protection: message.protection,
        extra_certs: message.extra_certs,
        ..changed
    }
}

/// What a changed header of a valid response comes to.
fn header_case(change: impl FnOnce(&mut PkiHeader)) -> E {
    check(
        "ir_sig.1.req",
        with_header(message("ir_sig.1.rsp"), change),
        |_| {},
    )
    .unwrap_err()
}

#[test]
fn every_captured_answer_with_a_signature_is_from_the_ra() {
    for name in [
        "ir_sig",
        "cr_sig",
        "kur",
        "p10cr",
        "rr",
        "genm",
        "error_send",
        "ir_poll_http",
        "reject_ip",
    ] {
        let signer = check(
            &format!("{name}.1.req"),
            message(&format!("{name}.1.rsp")),
            |_| {},
        );
        let Ok(Authenticated::Signer(signer)) = signer else {
            panic!("{name}: {signer:?}")
        };
        assert_eq!(signer, certificate("ra"), "{name}");
    }
}

#[test]
fn every_captured_request_with_a_signature_is_from_its_manufacturer_certificate() {
    let request = message("ir_sig.1.req");
    let anchors = [certificate("mfrroot")];
    let result = check("ir_sig.1.req", request, |context| {
        context.stage = Stage::First;
        context.anchors = Box::leak(Box::new(anchors));
    });
    assert!(matches!(result, Ok(Authenticated::Signer(signer)) if signer == certificate("idevid")));
}

#[test]
fn an_answer_with_a_mac_is_from_a_holder_of_the_secret() {
    let result = check("ir_pbm.1.req", message("ir_pbm.1.rsp"), |_| {});
    assert!(matches!(result, Ok(Authenticated::Mac(Some(reference))) if reference == b"4711"));
}

#[test]
fn a_changed_header_field_is_found_by_its_own_check() {
    let nonce = |n: usize| Some(OctetString::new(vec![9; n]).unwrap());
    assert_eq!(header_case(|h| h.pvno = 1), E::UnsupportedVersion(1));
    assert_eq!(header_case(|h| h.pvno = 4), E::UnsupportedVersion(4));
    assert_eq!(header_case(|h| h.transaction_id = None), E::MissingTransactionId);
    assert_eq!(
        header_case(|h| h.transaction_id = nonce(15)),
        E::TransactionIdLength(15)
    );
    assert_eq!(
        header_case(|h| h.transaction_id = nonce(16)),
        E::WrongTransactionId
    );
    assert_eq!(header_case(|h| h.sender_nonce = None), E::MissingSenderNonce);
    assert_eq!(
        header_case(|h| h.sender_nonce = nonce(8)),
        E::SenderNonceLength(8)
    );
    assert_eq!(
        header_case(|h| h.sender_nonce = nonce(65)),
        E::SenderNonceLength(65)
    );
    assert_eq!(
        header_case(|h| h.sender_nonce = h.recip_nonce.clone()),
        E::ReusedSenderNonce
    );
    assert_eq!(header_case(|h| h.recip_nonce = None), E::MissingRecipNonce);
    assert_eq!(header_case(|h| h.recip_nonce = nonce(16)), E::WrongRecipNonce);
    assert_eq!(header_case(|h| h.sender_kid = nonce(20)), E::SenderKidIsNotSigner);
    assert_eq!(
        header_case(|h| h.sender = h.recipient.clone()),
        E::SenderIsNotSigner
    );
    assert_eq!(
        header_case(|h| h.free_text = Some(vec!["changed".into()])),
        E::WrongSignature
    );
    assert_eq!(
        header_case(|h| h.protection_alg = None),
        E::ProtectionAlgorithmMissing
    );
    let both = |h: &mut PkiHeader| {
        let time = InfoTypeAndValue {
            info_type: general::CONFIRM_WAIT_TIME,
            info_value: None,
        };
        h.general_info = Some(vec![InfoTypeAndValue::implicit_confirm().unwrap(), time]);
    };
    assert_eq!(header_case(both), E::ImplicitConfirmWithWaitTime);
    let later = |h: &mut PkiHeader| {
        let time = h.message_time.unwrap().to_unix_duration() + Duration::from_secs(301);
        h.message_time = Some(GeneralizedTime::from_unix_duration(time).unwrap());
    };
    let at = message("ir_sig.1.rsp")
        .header
        .message_time
        .unwrap()
        .to_unix_duration()
        .as_secs();
    let late = check("ir_sig.1.req", with_header(message("ir_sig.1.rsp"), later), |c| {
        c.now_s = Some(at)
    });
    assert_eq!(late.unwrap_err(), E::MessageTime(301));
}

#[test]
fn a_recip_nonce_in_a_first_message_is_refused() {
    let result = check("ir_sig.1.req", message("ir_sig.1.rsp"), |c| {
        c.stage = Stage::First
    });
    assert_eq!(result.unwrap_err(), E::UnexpectedRecipNonce);
}

#[test]
fn missing_protection_is_let_through_only_for_errors_and_only_where_allowed() {
    let bare = |name: &str| {
        let message = with_header(message(name), |h| h.protection_alg = None);
        PkiMessage {
            protection: None,
            ..message
        }
    };
    let strict = check("ir_sig.1.req", bare("ir_sig.1.rsp"), |_| {});
    assert_eq!(strict.unwrap_err(), E::MissingProtection);
    let lax = check("ir_sig.1.req", bare("ir_sig.1.rsp"), |c| {
        c.unprotected_errors = true
    });
    assert_eq!(lax.unwrap_err(), E::MissingProtection, "an ip is no error");
    let error = check("error_send.1.req", bare("error_send.1.rsp"), |_| {});
    assert_eq!(error.unwrap_err(), E::MissingProtection);
    let error = check("error_send.1.req", bare("error_send.1.rsp"), |c| {
        c.unprotected_errors = true
    });
    assert!(matches!(error, Ok(Authenticated::Unprotected)));
    let value_missing = PkiMessage {
        protection: None,
        ..message("ir_sig.1.rsp")
    };
    assert_eq!(
        check("ir_sig.1.req", value_missing, |_| {}).unwrap_err(),
        E::ProtectionValueMissing
    );
}

#[test]
fn the_kind_of_protection_must_be_the_one_that_is_taken() {
    let mac = check("ir_pbm.1.req", message("ir_pbm.1.rsp"), |c| {
        c.accept = Accept::Signature
    });
    assert_eq!(mac.unwrap_err(), E::WrongProtectionKind);
    let signature = check("ir_sig.1.req", message("ir_sig.1.rsp"), |c| {
        c.accept = Accept::Mac
    });
    assert_eq!(signature.unwrap_err(), E::WrongProtectionKind);
    assert_eq!(E::WrongProtectionKind.fail_info(), PkiFailure::WrongIntegrity);
}

#[test]
fn a_secret_that_is_unknown_or_wrong_is_told_apart() {
    static OTHER: LazyLock<Secret> = LazyLock::new(|| Secret::new(b"hunter3".to_vec()));
    let result = check("ir_pbm.1.req", message("ir_pbm.1.rsp"), |c| {
        c.secret = &|_| Some(&*OTHER)
    });
    assert_eq!(result.unwrap_err(), E::WrongMac);
    let result = check("ir_pbm.1.req", message("ir_pbm.1.rsp"), |c| c.secret = &|_| None);
    assert_eq!(result.unwrap_err(), E::UnknownSecret);
    let weak = with_header(message("ir_pbm.1.rsp"), |h| {
        h.protection_alg.as_mut().unwrap().parameters = None
    });
    let result = check("ir_pbm.1.req", weak, |_| {});
    assert_eq!(result.unwrap_err(), E::Mac(MacError::MalformedParameters));
}

#[test]
fn a_signer_that_is_missing_misplaced_or_not_trusted_is_told_apart() {
    let with_certs = |certs: Option<Vec<Raw>>| PkiMessage {
        extra_certs: certs,
        ..message("ir_sig.1.rsp")
    };
    let raw = |name: &str| Raw::new(certificate(name).as_der().to_vec()).unwrap();
    let result = |certs| check("ir_sig.1.req", with_certs(certs), |_| {}).unwrap_err();
    assert_eq!(result(None), E::MissingExtraCerts);
    assert_eq!(
        result(Some(vec![raw("issuing"), raw("ra")])),
        E::SenderIsNotSigner
    );
    assert_eq!(result(Some(vec![raw("ra"); 17])), E::TooManyExtraCerts(17));
    assert_eq!(
        result(Some(vec![Raw::new(vec![0x30, 0]).unwrap()])),
        E::MalformedSigner
    );
    let anchors = [certificate("mfrroot")];
    let other = check("ir_sig.1.req", message("ir_sig.1.rsp"), |c| {
        c.anchors = Box::leak(Box::new(anchors))
    });
    let Err(E::SignerNotTrusted(error)) = other else {
        panic!("{other:?}")
    };
    assert_eq!(error.failure, PathFailure::UnknownIssuer);
    let expired = check("ir_sig.1.req", message("ir_sig.1.rsp"), |c| {
        c.now_s = Some(certificate("ra").not_after() + 1);
        c.max_clock_skew_s = None;
    });
    let Err(E::SignerNotTrusted(error)) = expired else {
        panic!("{expired:?}")
    };
    assert_eq!(error.failure, PathFailure::Expired);
    let known = certificate("ra");
    let known: &Certificate = Box::leak(Box::new(known));
    let result = check("ir_sig.1.req", with_certs(None), |c| c.known_signer = Some(known));
    assert!(matches!(result, Ok(Authenticated::Signer(signer)) if signer == *known));
}

#[test]
fn a_known_signer_needs_no_path_but_its_own_validity_and_signature() {
    let known: &Certificate = Box::leak(Box::new(certificate("ra")));
    let without_path = |change: &dyn Fn(&mut Context<'_>)| {
        check("ir_sig.1.req", message("ir_sig.1.rsp"), |c| {
            (c.known_signer, c.anchors) = (Some(known), &[]);
            change(c);
        })
    };
    assert!(matches!(without_path(&|_| {}), Ok(Authenticated::Signer(signer)) if signer == *known));
    let expired = without_path(&|c| {
        c.now_s = Some(known.not_after() + 1);
        c.max_clock_skew_s = None;
    });
    let Err(E::SignerNotTrusted(error)) = expired else {
        panic!("{expired:?}")
    };
    assert_eq!(error.failure, PathFailure::Expired);
    let other: &Certificate = Box::leak(Box::new(certificate("lc")));
    let stranger = without_path(&|c| c.known_signer = Some(other));
    assert!(matches!(stranger, Err(E::SignerNotTrusted(_))), "{stranger:?}");
}

#[test]
fn an_unknown_protection_algorithm_is_named() {
    let oid = "1.2.3.4".parse().unwrap();
    assert_eq!(
        header_case(|h| h.protection_alg.as_mut().unwrap().oid = oid),
        E::UnknownProtectionAlgorithm(oid)
    );
}

#[test]
fn every_flipped_bit_of_what_is_protected_is_found() {
    let bytes = fs::read(format!("{DIR}ir_sig.1.rsp.der")).unwrap();
    let end = message("ir_sig.1.rsp").protected_part().unwrap().len();
    for at in (8..end).step_by(7) {
        let mut changed = bytes.clone();
        changed[at] ^= 1;
        if let Ok(changed) = PkiMessage::from_bytes(&changed) {
            assert!(
                check("ir_sig.1.req", changed_with_time(changed), |_| {}).is_err(),
                "bit of byte {at}"
            );
        }
    }
}

/// `check` takes the time from the message; a damaged one may have lost it.
fn changed_with_time(message: PkiMessage) -> PkiMessage {
    if message.header.message_time.is_some() {
        return message;
    }
    with_header(message, |h| {
        h.message_time = Some(GeneralizedTime::from_der(b"\x18\x0f20260101000000Z").unwrap())
    })
}
