//! pyasn1-alt-modules' `rfc9810` on the messages of this project: it decodes them and encodes them to the same bytes.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs
)]

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use cmp_message::{PkiBody, PkiHeader, PkiMessage};
use system_tests::programs::run_peer;
use system_tests::{arg, folder, here};

fn fixtures() -> Vec<PathBuf> {
    let entries = fs::read_dir(here().join("fixtures/openssl-3.0")).unwrap();
    let mut all: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    all.retain(|path| path.extension().is_some_and(|extension| extension == "der"));
    all.sort();
    all
}

/// A message with every field taken out and put in again, so that our encoder writes all of it.
fn written_again(message: PkiMessage) -> PkiMessage {
    let header: PkiHeader = message.header.into_value();
    let body: PkiBody = message.body.into_value();
    let again = PkiMessage::new(header, body).unwrap();
    match message.protection {
        Some(protection) => again
            .with_protection(protection.raw_bytes(), message.extra_certs.unwrap_or_default())
            .unwrap(),
        None => again,
    }
}

#[test]
fn every_kind_of_message_that_we_encode_is_read_by_pyasn1() {
    let dir = folder();
    let mut kinds = BTreeSet::new();
    let mut files = Vec::new();
    for fixture in fixtures() {
        let message = PkiMessage::from_bytes(&fs::read(&fixture).unwrap()).unwrap();
        kinds.insert(message.body.body_type().name());
        let file = dir.path().join(fixture.file_name().unwrap());
        fs::write(&file, written_again(message).to_bytes().unwrap()).unwrap();
        files.push(arg(file));
    }
    let expected = [
        "ir", "ip", "cr", "cp", "p10cr", "kur", "kup", "rr", "rp", "genm", "genp", "error", "certConf",
        "pkiconf", "pollReq", "pollRep",
    ];
    assert_eq!(kinds, BTreeSet::from(expected));
    let files: Vec<&str> = files.iter().map(String::as_str).collect();
    let finished = run_peer("decode_rfc9810.py", &files).success();
    assert_eq!(finished.output.lines().count(), files.len());
}

#[test]
fn the_peer_finds_a_byte_that_is_too_many() {
    let dir = folder();
    let file = dir.path().join("longer.der");
    let mut bytes = fs::read(&fixtures()[0]).unwrap();
    bytes.push(0);
    fs::write(&file, bytes).unwrap();
    let _ = run_peer("decode_rfc9810.py", &[&arg(file)]).failure(1, "FAILED");
}
