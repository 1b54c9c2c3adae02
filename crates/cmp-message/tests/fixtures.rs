//! Messages captured from OpenSSL: each decodes and encodes to the same bytes.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs
)]

use cmp_message::{BodyType, PkiMessage};
use std::{fs, path::PathBuf};

fn fixtures() -> Vec<(String, Vec<u8>)> {
    let dir = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/openssl-3.0");
    let mut all: Vec<_> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "der"))
        .map(|path| {
            (
                path.file_name().unwrap().to_str().unwrap().to_owned(),
                fs::read(&path).unwrap(),
            )
        })
        .collect();
    all.sort();
    all
}

#[test]
fn every_captured_message_decodes_and_encodes_to_the_same_bytes() {
    let all = fixtures();
    assert!(all.len() >= 80, "only {} fixtures", all.len());
    for (name, bytes) in all {
        let message = PkiMessage::from_bytes(&bytes).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(message.to_bytes().unwrap(), bytes, "{name}");
        let body = message.body.clone().into_value();
        let header = message.header.clone().into_value();
        let again = PkiMessage::new(header, body).unwrap();
        assert_eq!(
            again.protected_part().unwrap(),
            message.protected_part().unwrap(),
            "{name} re-encoded from its fields"
        );
    }
}

#[test]
fn the_body_types_are_those_that_were_asked_for() {
    let expect = [
        ("ir_sig.1.req.der", BodyType::Ir),
        ("ir_sig.1.rsp.der", BodyType::Ip),
        ("ir_sig.2.req.der", BodyType::CertConf),
        ("ir_sig.2.rsp.der", BodyType::PkiConf),
        ("kur.1.req.der", BodyType::Kur),
        ("kur.1.rsp.der", BodyType::Kup),
        ("p10cr.1.req.der", BodyType::P10cr),
        ("rr.1.req.der", BodyType::Rr),
        ("rr.1.rsp.der", BodyType::Rp),
        ("genm.1.req.der", BodyType::Genm),
        ("genm.1.rsp.der", BodyType::Genp),
        ("poll.2.req.der", BodyType::PollReq),
        ("poll.2.rsp.der", BodyType::PollRep),
        ("error_send.1.rsp.der", BodyType::Error),
    ];
    let all = fixtures();
    for (name, body_type) in expect {
        let (_, bytes) = all.iter().find(|(n, _)| n == name).unwrap();
        assert_eq!(
            PkiMessage::from_bytes(bytes).unwrap().body.body_type(),
            body_type,
            "{name}"
        );
    }
}

#[test]
fn trailing_bytes_and_every_truncation_are_errors() {
    for (name, bytes) in fixtures() {
        let mut longer = bytes.clone();
        longer.push(0);
        assert!(PkiMessage::from_bytes(&longer).is_err(), "{name}");
        for cut in 0..bytes.len() {
            assert!(
                PkiMessage::from_bytes(&bytes[..cut]).is_err(),
                "{name} cut at {cut}"
            );
        }
    }
}

#[test]
fn a_message_with_an_indefinite_length_is_refused() {
    let (_, mut bytes) = fixtures().remove(0);
    bytes[1] = 0x80;
    assert!(PkiMessage::from_bytes(&bytes).is_err());
}

/// Found by the fuzz target `pki_message`: it decodes, and would be written two bytes shorter.
#[test]
fn what_is_not_written_as_der_writes_it_is_refused() {
    PkiMessage::from_bytes(include_bytes!("data/not-der.bin")).unwrap_err();
}
