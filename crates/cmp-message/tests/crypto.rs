//! Both providers against published vectors, against OpenSSL's signatures, and against each other.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs
)]
#![cfg(all(feature = "full", feature = "aws-lc"))]

use cmp_message::crypto::{
    AwsLc, Crypto, CryptoError, HashAlgorithm, KeyAlgorithm, RustCrypto, SignatureAlgorithm, SigningKey,
    aws_lc, constant_time_eq, pbm_base_key, rustcrypto,
};
use der::{AnyRef, Tag};
use spki::AlgorithmIdentifierRef;

const PROVIDERS: [&dyn Crypto; 2] = [&RustCrypto, &AwsLc];
const MESSAGE: &[u8] = include_bytes!("data/message.bin");

struct Made {
    spki: &'static [u8],
    sec1: &'static [u8],
    pkcs8: &'static [u8],
    signatures: [(SignatureAlgorithm, &'static [u8]); 3],
}

macro_rules! made {
    ($name:literal) => {
        Made {
            spki: include_bytes!(concat!("data/", $name, ".spki.der")),
            sec1: include_bytes!(concat!("data/", $name, ".sec1.der")),
            pkcs8: include_bytes!(concat!("data/", $name, ".pkcs8.der")),
            signatures: [
                (
                    SignatureAlgorithm::EcdsaSha256,
                    include_bytes!(concat!("data/", $name, ".sha256.sig")),
                ),
                (
                    SignatureAlgorithm::EcdsaSha384,
                    include_bytes!(concat!("data/", $name, ".sha384.sig")),
                ),
                (
                    SignatureAlgorithm::EcdsaSha512,
                    include_bytes!(concat!("data/", $name, ".sha512.sig")),
                ),
            ],
        }
    };
}

const OPENSSL: [Made; 3] = [made!("p256"), made!("p384"), made!("p521")];

fn hex(text: &str) -> Vec<u8> {
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
        .collect()
}

/// A counter hashed: enough for tests, and the same in every run.
struct TestRng(u64);

impl rand_core::TryRng for TestRng {
    type Error = core::convert::Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
        let mut bytes = [0; 4];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
        let mut bytes = [0; 8];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, dst: &mut [u8]) -> Result<(), Self::Error> {
        for chunk in dst.chunks_mut(32) {
            self.0 += 1;
            let hash = RustCrypto
                .digest(HashAlgorithm::Sha256, &self.0.to_le_bytes())
                .unwrap();
            chunk.copy_from_slice(&hash.as_bytes()[..chunk.len()]);
        }
        Ok(())
    }
}

impl rand_core::TryCryptoRng for TestRng {}

#[test]
fn digests_match_the_fips_180_vectors() {
    let abc = [
        (HashAlgorithm::Sha1, "a9993e364706816aba3e25717850c26c9cd0d89d"),
        (
            HashAlgorithm::Sha256,
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
        ),
        (
            HashAlgorithm::Sha384,
            "cb00753f45a35e8bb5a03d699ac65007272c32ab0eded1631a8b605a43ff5bed8086072ba1e7cc2358baeca134c825a7",
        ),
        (
            HashAlgorithm::Sha512,
            "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a\
             2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
        ),
    ];
    for crypto in PROVIDERS {
        for (alg, expected) in abc {
            let digest = crypto.digest(alg, b"abc").unwrap();
            assert_eq!(digest.as_bytes(), hex(expected), "{alg:?}");
            assert_eq!(digest.as_bytes().len(), alg.output_len());
        }
    }
}

#[test]
fn hmacs_match_the_rfc_2202_and_rfc_4231_vectors() {
    let case_2 = [
        (HashAlgorithm::Sha1, "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79"),
        (
            HashAlgorithm::Sha256,
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
        ),
        (
            HashAlgorithm::Sha384,
            "af45d2e376484031617f78d2b58a6b1b9c7ef464f5a01b47e42ec3736322445e8e2240ca5e69e2c78b3239ecfab21649",
        ),
        (
            HashAlgorithm::Sha512,
            "164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea250554\
             9758bf75c05a994a6d034f65f8f0e6fdcaeab1a34d4a6b4b636e070a38bce737",
        ),
    ];
    for crypto in PROVIDERS {
        for (alg, expected) in case_2 {
            let mac = crypto
                .hmac(alg, b"Jefe", b"what do ya want for nothing?")
                .unwrap();
            assert_eq!(mac.as_bytes(), hex(expected), "{alg:?}");
        }
    }
}

#[test]
fn pbkdf2_matches_the_rfc_6070_and_rfc_7914_vectors() {
    for crypto in PROVIDERS {
        let mut out = [0; 20];
        crypto
            .pbkdf2(HashAlgorithm::Sha1, b"password", b"salt", 2, &mut out)
            .unwrap();
        assert_eq!(out.to_vec(), hex("ea6c014dc72d6f8ccd1ed92ace1d41f0d8de8957"));
        let mut out = [0; 32];
        crypto
            .pbkdf2(HashAlgorithm::Sha256, b"passwd", b"salt", 1, &mut out)
            .unwrap();
        assert_eq!(
            out.to_vec(),
            hex("55ac046e56e3089fec1691c22544b605f94185216dde0465e68b9d57c20dacbc")
        );
    }
}

#[test]
fn both_providers_derive_the_same_keys_for_every_hash_and_length() {
    for alg in [
        HashAlgorithm::Sha1,
        HashAlgorithm::Sha256,
        HashAlgorithm::Sha384,
        HashAlgorithm::Sha512,
    ] {
        for len in [1, 32, 100] {
            let (mut ours, mut theirs) = (vec![0; len], vec![0; len]);
            RustCrypto.pbkdf2(alg, b"secret", b"NaCl", 7, &mut ours).unwrap();
            AwsLc.pbkdf2(alg, b"secret", b"NaCl", 7, &mut theirs).unwrap();
            assert_eq!(ours, theirs, "{alg:?} {len}");
        }
    }
}

#[test]
fn zero_iterations_and_an_empty_output_are_refused() {
    for crypto in PROVIDERS {
        let none = crypto.pbkdf2(HashAlgorithm::Sha256, b"p", b"s", 0, &mut [0; 32]);
        assert_eq!(none, Err(CryptoError::InvalidParameter));
        let empty = crypto.pbkdf2(HashAlgorithm::Sha256, b"p", b"s", 1, &mut []);
        assert_eq!(empty, Err(CryptoError::InvalidParameter));
        let pbm = pbm_base_key(crypto, HashAlgorithm::Sha256, b"p", b"s", 0);
        assert_eq!(pbm, Err(CryptoError::InvalidParameter));
    }
}

#[test]
fn the_pbm_base_key_is_the_hash_iterated_over_secret_and_salt() {
    for crypto in PROVIDERS {
        let once = crypto.digest(HashAlgorithm::Sha256, b"secretsalt").unwrap();
        let twice = crypto.digest(HashAlgorithm::Sha256, once.as_bytes()).unwrap();
        let thrice = crypto.digest(HashAlgorithm::Sha256, twice.as_bytes()).unwrap();
        for (iterations, expected) in [(1, once), (2, twice), (3, thrice)] {
            let key = pbm_base_key(crypto, HashAlgorithm::Sha256, b"secret", b"salt", iterations).unwrap();
            assert_eq!(key.as_slice(), expected.as_bytes());
        }
    }
}

#[test]
fn openssl_signatures_verify_with_every_curve_and_hash() {
    for crypto in PROVIDERS {
        for made in &OPENSSL {
            for (alg, signature) in made.signatures {
                assert_eq!(
                    crypto.verify(alg, made.spki, MESSAGE, signature),
                    Ok(()),
                    "{alg:?}"
                );
            }
        }
    }
}

#[test]
fn a_wrong_message_signature_algorithm_or_key_is_a_bad_signature() {
    for crypto in PROVIDERS {
        for (made, other) in [
            (&OPENSSL[0], &OPENSSL[1]),
            (&OPENSSL[1], &OPENSSL[2]),
            (&OPENSSL[2], &OPENSSL[0]),
        ] {
            let (alg, signature) = made.signatures[0];
            let bad = Err(CryptoError::BadSignature);
            assert_eq!(crypto.verify(alg, made.spki, b"another message", signature), bad);
            assert_eq!(
                crypto.verify(SignatureAlgorithm::EcdsaSha384, made.spki, MESSAGE, signature),
                bad
            );
            assert_eq!(crypto.verify(alg, other.spki, MESSAGE, signature), bad);
            for at in 0..signature.len() {
                let mut flipped = signature.to_vec();
                flipped[at] ^= 1;
                assert_eq!(crypto.verify(alg, made.spki, MESSAGE, &flipped), bad, "byte {at}");
                assert_eq!(
                    crypto.verify(alg, made.spki, MESSAGE, &signature[..at]),
                    bad,
                    "cut at {at}"
                );
            }
        }
    }
}

#[test]
fn each_provider_verifies_what_the_other_signed() {
    for algorithm in KeyAlgorithm::GENERATED {
        let pure = rustcrypto::SoftKey::generate(algorithm, &mut TestRng(7)).unwrap();
        let fast = aws_lc::SoftKey::generate(algorithm).unwrap();
        for (key, other) in [
            (&pure as &dyn SigningKey, &fast as &dyn SigningKey),
            (&fast, &pure),
        ] {
            assert_eq!(key.algorithm(), algorithm.signature_algorithm());
            let signature = key.sign(b"cross").unwrap();
            for crypto in PROVIDERS {
                let verify =
                    |key: &[u8]| crypto.verify(algorithm.signature_algorithm(), key, b"cross", &signature);
                assert_eq!(verify(key.public_key()), Ok(()), "{algorithm}");
                assert_eq!(
                    verify(other.public_key()),
                    Err(CryptoError::BadSignature),
                    "{algorithm}"
                );
            }
        }
    }
}

#[test]
fn keys_pass_between_openssl_and_both_providers_in_both_encodings() {
    for made in &OPENSSL {
        for der in [made.sec1, made.pkcs8] {
            let pure = rustcrypto::SoftKey::from_der(der).unwrap();
            let fast = aws_lc::SoftKey::from_der(der).unwrap();
            assert_eq!(pure.public_key(), made.spki);
            assert_eq!(fast.public_key(), made.spki);
            let again = aws_lc::SoftKey::from_der(&pure.to_pkcs8().unwrap()).unwrap();
            assert_eq!(again.public_key(), made.spki);
            let again = rustcrypto::SoftKey::from_der(&fast.to_pkcs8().unwrap()).unwrap();
            assert_eq!(again.public_key(), made.spki);
        }
    }
}

#[test]
fn the_public_key_of_a_private_key_is_the_one_that_openssl_made() {
    for crypto in PROVIDERS {
        for made in &OPENSSL {
            assert_eq!(crypto.public_key_of(made.pkcs8).unwrap(), made.spki);
            let cut = &made.pkcs8[..made.pkcs8.len() - 1];
            let error = crypto.public_key_of(cut).unwrap_err();
            assert_eq!(error, CryptoError::MalformedPrivateKey);
        }
    }
}

#[test]
fn a_private_key_that_is_cut_or_contradicts_its_public_key_is_refused() {
    for made in &OPENSSL {
        for der in [made.sec1, made.pkcs8] {
            for at in 0..der.len() {
                assert_eq!(
                    rustcrypto::SoftKey::from_der(&der[..at]).err(),
                    Some(CryptoError::MalformedPrivateKey)
                );
                assert_eq!(
                    aws_lc::SoftKey::from_der(&der[..at]).err(),
                    Some(CryptoError::MalformedPrivateKey)
                );
            }
            // The public point ends both encodings.
            let mut other_point = der.to_vec();
            *other_point.last_mut().unwrap() ^= 1;
            let refused = Some(CryptoError::MalformedPrivateKey);
            assert_eq!(rustcrypto::SoftKey::from_der(&other_point).err(), refused);
            assert_eq!(aws_lc::SoftKey::from_der(&other_point).err(), refused);
        }
    }
}

#[test]
fn debug_shows_no_secret() {
    let key = rustcrypto::SoftKey::from_der(OPENSSL[0].sec1).unwrap();
    assert_eq!(format!("{key:?}"), "SoftKey { algorithm: P256, .. }");
    let key = aws_lc::SoftKey::from_der(OPENSSL[0].sec1).unwrap();
    assert_eq!(format!("{key:?}"), "SoftKey { algorithm: P256, .. }");
    let digest = RustCrypto.digest(HashAlgorithm::Sha256, b"abc").unwrap();
    assert_eq!(format!("{digest:?}"), "Digest(32 bytes)");
}

#[test]
fn a_malformed_public_key_is_an_error_of_its_own() {
    for crypto in PROVIDERS {
        for made in &OPENSSL {
            let (alg, signature) = made.signatures[0];
            let verify = |spki: &[u8]| crypto.verify(alg, spki, MESSAGE, signature);
            for at in 0..made.spki.len() {
                assert_eq!(
                    verify(&made.spki[..at]),
                    Err(CryptoError::MalformedPublicKey),
                    "cut at {at}"
                );
            }
            let mut trailing = made.spki.to_vec();
            trailing.push(0);
            assert_eq!(verify(&trailing), Err(CryptoError::MalformedPublicKey));
            let mut off_curve = made.spki.to_vec();
            *off_curve.last_mut().unwrap() ^= 1;
            assert_eq!(verify(&off_curve), Err(CryptoError::MalformedPublicKey));
        }
    }
}

#[test]
fn a_key_of_another_type_or_curve_is_unsupported() {
    // Ed25519 (RFC 8410 §10.1) and secp256k1's identifier on a P-256 point.
    let ed25519 =
        hex("302a300506032b657003210019bf44096984cdfe8541bac167dc3b96c85086aa30b6b6cb0c5c38ad703166e1");
    let secp256k1 = {
        let mut spki = hex("3056301006072a8648ce3d020106052b8104000a03420004");
        spki.extend_from_slice(&OPENSSL[0].spki[27..]);
        spki
    };
    let (alg, signature) = OPENSSL[0].signatures[0];
    for crypto in PROVIDERS {
        for spki in [&ed25519, &secp256k1] {
            assert_eq!(
                crypto.verify(alg, spki, MESSAGE, signature),
                Err(CryptoError::UnsupportedKey)
            );
        }
    }
}

#[test]
fn the_parameters_of_a_hash_or_an_hmac_are_absent_or_null() {
    for hash in [
        HashAlgorithm::Sha1,
        HashAlgorithm::Sha256,
        HashAlgorithm::Sha384,
        HashAlgorithm::Sha512,
    ] {
        let sequence = AnyRef::new(Tag::Sequence, &[]).unwrap();
        for (parameters, taken) in [(None, true), (Some(AnyRef::NULL), true), (Some(sequence), false)] {
            let expected = taken.then_some(hash).ok_or(CryptoError::MalformedAlgorithm);
            let id = |oid| AlgorithmIdentifierRef { oid, parameters };
            assert_eq!(
                HashAlgorithm::from_algorithm_identifier(&id(hash.oid())),
                expected
            );
            assert_eq!(
                HashAlgorithm::from_hmac_algorithm_identifier(&id(hash.hmac_oid())),
                expected
            );
        }
    }
}

#[test]
fn hmac_sha1_goes_by_two_names() {
    for oid in ["1.3.6.1.5.5.8.1.2", "1.2.840.113549.2.7"] {
        assert_eq!(
            HashAlgorithm::from_hmac_oid(oid.parse().unwrap()),
            Some(HashAlgorithm::Sha1)
        );
    }
}

#[test]
fn macs_are_equal_only_if_every_byte_is() {
    assert!(constant_time_eq(b"mac", b"mac"));
    assert!(!constant_time_eq(b"mac", b"mad"));
    assert!(!constant_time_eq(b"mac", b"mac "));
}
