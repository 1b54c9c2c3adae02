//! MACs by a shared secret, against OpenSSL's messages and values made with Python.
#![cfg(feature = "rustcrypto")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs
)]

use cmp_message::{
    PkiMessage,
    crypto::{HashAlgorithm, RustCrypto},
    mac::{MacAlgorithm, MacError, Secret},
};
use der::Decode;
use spki::AlgorithmIdentifierOwned;
use std::fs;

fn secret(text: &str) -> Secret {
    Secret::new(text.as_bytes().to_vec())
}

fn fixture(name: &str) -> PkiMessage {
    let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures/openssl-3.0/");
    PkiMessage::from_bytes(&fs::read(format!("{dir}{name}")).unwrap()).unwrap()
}

#[test]
fn password_based_macs_of_openssl_verify_over_the_received_bytes() {
    for name in [
        "ir_pbm.1.req",
        "ir_pbm.1.rsp",
        "ir_pbm.2.req",
        "ir_pbm.2.rsp",
        "ir_pbm_hs256.1.req",
        "ir_pbm_hs256.2.rsp",
    ] {
        let message = fixture(&format!("{name}.der"));
        let id = message.header.protection_alg.as_ref().unwrap();
        assert!(MacAlgorithm::is_mac(id));
        let algorithm = MacAlgorithm::from_algorithm_identifier(id).unwrap();
        let value = message.protection.as_ref().unwrap().as_bytes().unwrap();
        let mut input = message.protected_part().unwrap();
        assert!(
            algorithm
                .verify(&RustCrypto, &secret("hunter2"), &input, value)
                .unwrap(),
            "{name}"
        );
        assert!(
            !algorithm
                .verify(&RustCrypto, &secret("hunter3"), &input, value)
                .unwrap(),
            "{name}"
        );
        *input.last_mut().unwrap() ^= 1;
        assert!(
            !algorithm
                .verify(&RustCrypto, &secret("hunter2"), &input, value)
                .unwrap(),
            "{name}"
        );
    }
}

#[test]
fn pbmac1_agrees_with_python() {
    let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/");
    let read = |name: &str| fs::read(format!("{dir}{name}")).unwrap();
    let id = AlgorithmIdentifierOwned::from_der(&read("pbmac1.alg.der")).unwrap();
    let algorithm = MacAlgorithm::from_algorithm_identifier(&id).unwrap();
    assert_eq!(algorithm.algorithm_identifier().unwrap(), id);
    let mac = algorithm
        .compute(&RustCrypto, &secret("hunter2"), &read("message.bin"))
        .unwrap();
    assert_eq!(mac.as_bytes(), read("pbmac1.mac.bin"));
}

#[test]
fn what_is_written_is_read_back() {
    for algorithm in [
        MacAlgorithm::password_based_mac([7; 16]),
        MacAlgorithm::pbmac1([8; 16]),
    ] {
        let id = algorithm.algorithm_identifier().unwrap();
        assert_eq!(MacAlgorithm::from_algorithm_identifier(&id).unwrap(), algorithm);
    }
}

#[test]
fn weak_and_ruinous_parameters_are_refused_before_anything_is_computed() {
    let with = |n: u32, salt: usize| {
        let hash = HashAlgorithm::Sha256;
        let pbm = MacAlgorithm::PasswordBasedMac {
            owf: hash,
            mac: hash,
            iterations: n,
            salt: vec![1; salt],
        };
        MacAlgorithm::from_algorithm_identifier(&pbm.algorithm_identifier().unwrap())
    };
    assert_eq!(with(99, 16), Err(MacError::TooFewIterations));
    assert_eq!(with(1_000_001, 16), Err(MacError::TooCostly));
    assert_eq!(with(u32::MAX, 16), Err(MacError::TooCostly));
    assert_eq!(with(100, 1025), Err(MacError::TooCostly));
    assert!(with(100, 16).is_ok());
}

#[test]
fn a_mac_without_parameters_or_of_another_kind_is_an_error_of_its_own() {
    let mut id = MacAlgorithm::pbmac1([8; 16]).algorithm_identifier().unwrap();
    id.parameters = None;
    assert_eq!(
        MacAlgorithm::from_algorithm_identifier(&id),
        Err(MacError::MalformedParameters)
    );
    id.oid = "1.2.3".parse().unwrap();
    assert_eq!(
        MacAlgorithm::from_algorithm_identifier(&id),
        Err(MacError::UnknownAlgorithm)
    );
}

#[test]
fn a_secret_is_never_shown() {
    assert!(!format!("{:?}", secret("hunter2")).contains("hunter2"));
}
