//! Private keys that we deliver, opened by OpenSSL and by Python's `cryptography`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs
)]

use std::fs;
use std::path::{Path, PathBuf};

use cmp_message::certificate::Certificate;
use cmp_message::crypto::{AwsLc, Crypto, RustCrypto, aws_lc};
use cmp_message::envelope::{KeyGenerationAuthority, Recipient, seal};
use cmp_message::mac::Secret;
use system_tests::programs::run_peer;
use system_tests::{arg, folder, here, run};

fn fixture(name: &str) -> PathBuf {
    here().join("fixtures/envelope").join(name)
}

fn certificate(name: &str) -> Certificate {
    let text = fs::read_to_string(fixture(&format!("{name}.crt"))).unwrap();
    let (_, der) = der::pem::decode_vec(text.as_bytes()).unwrap();
    Certificate::from_der(der).unwrap()
}

fn key(name: &str) -> Vec<u8> {
    fs::read(fixture(&format!("{name}.pk8"))).unwrap()
}

/// The key of `new`, delivered by `kga`.
fn sealed(recipient: Recipient<'_>) -> Vec<u8> {
    let kga_key = aws_lc::SoftKey::from_der(&key("kga")).unwrap();
    let (kga, chain) = (certificate("kga"), [certificate("issuing")]);
    let kga = KeyGenerationAuthority {
        key: &kga_key,
        certificate: &kga,
        chain: &chain,
    };
    let public_key = certificate("new").public_key().to_vec();
    let sealed = seal(&AwsLc, &key("new"), &public_key, &kga, recipient).unwrap();
    sealed.as_bytes().to_vec()
}

/// A ContentInfo around `content`, for the `n`th of the content types of PKCS#7.
fn content_info(n: u8, content: &[u8]) -> Vec<u8> {
    let tlv = |tag: u8, value: &[u8]| {
        let len = u16::try_from(value.len()).unwrap().to_be_bytes();
        [&[tag, 0x82, len[0], len[1]], value].concat()
    };
    let content_type = [0x06, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 7, n];
    tlv(0x30, &[content_type.as_slice(), &tlv(0xa0, content)].concat())
}

fn openssl_cms(dir: &Path, input: &[u8], arguments: &[&str]) -> Vec<u8> {
    let (from, to) = (arg(dir.join("in.der")), arg(dir.join("out.der")));
    fs::write(&from, input).unwrap();
    let files = ["-binary", "-inform", "DER", "-in", &from, "-out", &to];
    let all = [&["cms"], arguments, &files].concat();
    let _ = run("openssl", &all).success();
    fs::read(to).unwrap()
}

#[test]
fn openssl_decrypts_and_verifies_what_is_sealed_for_a_certificate() {
    let dir = folder();
    for recipient in ["p256", "p384", "p521", "noid", "rsa"] {
        let mut enveloped = sealed(Recipient::Certificate(&certificate(recipient)));
        enveloped[0] = 0x30;
        let (crt, pk8) = (
            arg(fixture(&format!("{recipient}.crt"))),
            arg(fixture(&format!("{recipient}.pk8"))),
        );
        let decrypting = ["-decrypt", "-recip", &crt, "-inkey", &pk8, "-keyform", "DER"];
        let signed = openssl_cms(dir.path(), &content_info(3, &enveloped), &decrypting);
        let root = arg(fixture("root.crt"));
        let verifying = ["-verify", "-CAfile", &root, "-purpose", "any"];
        let package = openssl_cms(dir.path(), &content_info(2, &signed), &verifying);
        is_new_key(&package[2 + usize::from(package[1] == 0x81)..]);
    }
}

#[test]
fn python_opens_what_is_sealed_for_a_certificate_or_a_password() {
    let dir = folder();
    let file = arg(dir.path().join("encrypted.der"));
    let secret = Secret::new(b"hunter2".to_vec());
    let [p256, p384, p521, rsa] = ["p256", "p384", "p521", "rsa"].map(certificate);
    let all = [
        (Recipient::Password(&secret), "password:hunter2".to_owned()),
        (Recipient::Certificate(&p256), arg(fixture("p256.pk8"))),
        (Recipient::Certificate(&p384), arg(fixture("p384.pk8"))),
        (Recipient::Certificate(&p521), arg(fixture("p521.pk8"))),
        (Recipient::Certificate(&rsa), arg(fixture("rsa.pk8"))),
    ];
    for (recipient, with) in all {
        fs::write(&file, sealed(recipient)).unwrap();
        let finished = run_peer("open_envelope.py", &[&file, &with]).success();
        let hex = finished.output.trim();
        let key: Vec<u8> = (0..hex.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap())
            .collect();
        is_new_key(&key);
    }
    fs::write(&file, sealed(Recipient::Password(&secret))).unwrap();
    let _ = run_peer("open_envelope.py", &[&file, "password:hunter3"]).failure(1, "InvalidUnwrap");
}

#[track_caller]
fn is_new_key(one_asymmetric_key: &[u8]) {
    let public_key = RustCrypto.public_key_of(one_asymmetric_key).unwrap();
    assert_eq!(public_key, certificate("new").public_key());
}
