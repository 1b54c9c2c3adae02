//! What a message costs: decoding, encoding, validation and protection, by provider.
//!
//!     cargo bench -p cmp-message --all-features
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    missing_docs
)]

use std::{fs, hint::black_box};

use cmp_message::{
    PkiMessage,
    certificate::Certificate,
    crypto::{AwsLc, Crypto, KeyAlgorithm, RustCrypto, SigningKey, aws_lc, rustcrypto},
    mac::{MacAlgorithm, Secret},
    validate::{Accept, Context, Stage, validate},
};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

const DIR: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures/openssl-3.0/");
const PROVIDERS: [(&str, &dyn Crypto); 2] = [("rustcrypto", &RustCrypto), ("aws-lc", &AwsLc)];

fn bytes(name: &str) -> Vec<u8> {
    fs::read(format!("{DIR}{name}.der")).unwrap()
}

fn message(name: &str) -> PkiMessage {
    PkiMessage::from_bytes(&bytes(name)).unwrap()
}

fn certificate(name: &str) -> Certificate {
    let text = fs::read_to_string(format!("{DIR}pki/{name}.crt")).unwrap();
    let pem = &text[text.find("-----BEGIN").unwrap()..];
    Certificate::from_der(der::pem::decode_vec(pem.as_bytes()).unwrap().1).unwrap()
}

fn coding(c: &mut Criterion) {
    let mut group = c.benchmark_group("decode");
    for name in [
        "ir_sig.1.req",
        "ir_sig.1.rsp",
        "ir_pbm.1.req",
        "rr.1.req",
        "genm.1.req",
    ] {
        let der = bytes(name);
        group.throughput(Throughput::Bytes(der.len() as u64));
        group.bench_function(name, |b| {
            b.iter(|| PkiMessage::from_bytes(black_box(&der)).unwrap())
        });
    }
    group.finish();
    let mut group = c.benchmark_group("encode");
    let ip = message("ir_sig.1.rsp");
    group.throughput(Throughput::Bytes(bytes("ir_sig.1.rsp").len() as u64));
    group.bench_function("ir_sig.1.rsp", |b| b.iter(|| black_box(&ip).to_bytes().unwrap()));
    group.finish();
}

/// A response as a client validates it: signature and path of two certificates, or MAC.
fn validation(c: &mut Criterion) {
    let mut group = c.benchmark_group("validate");
    let secret = Secret::new(b"hunter2".to_vec());
    let anchors = [certificate("root")];
    let issuing = [certificate("issuing")];
    let signer = certificate("ra");
    for (provider, crypto) in PROVIDERS {
        for (what, name, known) in [
            ("signature and path", "ir_sig", None),
            ("signature of a known signer", "ir_sig", Some(&signer)),
            ("PasswordBasedMac", "ir_pbm", None),
        ] {
            let (request, response) = (
                message(&format!("{name}.1.req")),
                message(&format!("{name}.1.rsp")),
            );
            let context = Context {
                crypto,
                now_s: Some(response.header.message_time.unwrap().to_unix_duration().as_secs()),
                stage: Stage::Answer {
                    transaction_id: request.header.transaction_id.as_ref().unwrap().as_bytes(),
                    sender_nonce: request.header.sender_nonce.as_ref().unwrap().as_bytes(),
                },
                accept: Accept::Any,
                anchors: &anchors,
                intermediates: &issuing,
                signer_usage: None,
                known_signer: known,
                secret: &|_| Some(&secret),
                unprotected_errors: false,
                max_clock_skew_s: None,
            };
            group.bench_function(format!("{what}, {provider}"), |b| {
                b.iter(|| validate(black_box(&response), &context).unwrap());
            });
        }
    }
    group.finish();
}

/// The protection of a request of some 300 bytes.
fn protection(c: &mut Criterion) {
    let mut group = c.benchmark_group("protect");
    let input = message("ir_sig.1.req").protected_part().unwrap();
    let key = aws_lc::SoftKey::generate(KeyAlgorithm::P256).unwrap();
    let same = rustcrypto::SoftKey::from_der(&key.to_pkcs8().unwrap()).unwrap();
    let keys: [(&str, &dyn SigningKey); 2] = [("rustcrypto", &same), ("aws-lc", &key)];
    for (provider, key) in keys {
        group.bench_function(format!("ECDSA P-256, {provider}"), |b| {
            b.iter(|| key.sign(black_box(&input)).unwrap());
        });
    }
    let secret = Secret::new(b"hunter2".to_vec());
    for (provider, crypto) in PROVIDERS {
        for (what, algorithm) in [
            (
                "PasswordBasedMac, 10,000 iterations",
                MacAlgorithm::password_based_mac([7; 16]),
            ),
            ("PBMAC1, 100,000 iterations", MacAlgorithm::pbmac1([7; 16])),
        ] {
            group.bench_function(format!("{what}, {provider}"), |b| {
                b.iter(|| algorithm.compute(crypto, &secret, black_box(&input)).unwrap());
            });
        }
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(50).without_plots();
    targets = coding, validation, protection
}
criterion_main!(benches);
