//! Every signature algorithm: what Python's `cryptography` signed (tests/fixtures/make-algorithms.py) verifies with both
//! providers and nothing else does, keys pass between all of them, and what is not acceptable is refused with its reason.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs
)]
#![cfg(all(feature = "full", feature = "aws-lc"))]

#[allow(dead_code, reason = "of that only tlv is used here")]
mod pki;

use std::fs;

use cmp_message::certificate::Certificate;
use cmp_message::crypto::{
    AwsLc, Crypto, CryptoError, HashAlgorithm, KeyAlgorithm, RustCrypto, SignatureAlgorithm, SigningKey,
    UnacceptableKey, aws_lc, rustcrypto,
};
use cmp_message::path::PathFailure;
use cmp_message::validate::{Accept, Authenticated, Context, Stage, ValidationError, validate};
use cmp_message::{PkiBody, PkiFailure, PkiMessage, ProofOfPossession, cert_conf_hash};
use der::asn1::AnyRef;
use der::referenced::OwnedToRef;
use der::{Decode, Encode};
use pki::tlv;
use spki::AlgorithmIdentifierRef;

const PROVIDERS: [&dyn Crypto; 2] = [&RustCrypto, &AwsLc];
const DIR: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures/algorithms/");
/// The messageTime of the fixtures: 2026-06-01.
const NOW_S: u64 = 1_780_272_000;

/// What the fixtures of one name are.
#[derive(Clone, Copy, Debug)]
struct Made {
    name: &'static str,
    key: KeyAlgorithm,
    signature: SignatureAlgorithm,
}

const MADE: [Made; 10] = [
    made("p256", KeyAlgorithm::P256, SignatureAlgorithm::EcdsaSha256),
    made("p384", KeyAlgorithm::P384, SignatureAlgorithm::EcdsaSha384),
    made("p521", KeyAlgorithm::P521, SignatureAlgorithm::EcdsaSha512),
    made("ed25519", KeyAlgorithm::Ed25519, SignatureAlgorithm::Ed25519),
    made("ml-dsa-44", KeyAlgorithm::MlDsa44, SignatureAlgorithm::MlDsa44),
    made("ml-dsa-65", KeyAlgorithm::MlDsa65, SignatureAlgorithm::MlDsa65),
    made("ml-dsa-87", KeyAlgorithm::MlDsa87, SignatureAlgorithm::MlDsa87),
    made("rsa-sha256", KeyAlgorithm::Rsa, SignatureAlgorithm::RsaSha256),
    made("rsa-sha384", KeyAlgorithm::Rsa, SignatureAlgorithm::RsaSha384),
    made("rsa-sha512", KeyAlgorithm::Rsa, SignatureAlgorithm::RsaSha512),
];

const fn made(name: &'static str, key: KeyAlgorithm, signature: SignatureAlgorithm) -> Made {
    Made { name, key, signature }
}

impl Made {
    fn file(self, kind: &str) -> Vec<u8> {
        fs::read(format!("{DIR}{}.{kind}.der", self.name)).unwrap()
    }

    fn root(self) -> Certificate {
        Certificate::from_der(self.file("root")).unwrap()
    }

    fn message(self) -> PkiMessage {
        PkiMessage::from_bytes(&self.file("ir")).unwrap()
    }

    /// The certificate of the end entity that protected the message.
    fn signer(self) -> Certificate {
        let message = self.message();
        Certificate::from_der(message.extra_certs.unwrap()[0].as_bytes()).unwrap()
    }

    fn private_key(self) -> Option<Vec<u8>> {
        (self.key != KeyAlgorithm::Rsa).then(|| self.file("key"))
    }

    /// The next one, whose algorithm is another.
    fn other(self) -> Self {
        let at = MADE.iter().position(|made| made.name == self.name).unwrap();
        MADE[(at + 1) % MADE.len()]
    }
}

fn check(
    message: &PkiMessage,
    crypto: &dyn Crypto,
    anchor: &Certificate,
) -> Result<Authenticated, ValidationError> {
    let context = Context {
        crypto,
        now_s: Some(NOW_S),
        stage: Stage::First,
        accept: Accept::Signature,
        anchors: std::slice::from_ref(anchor),
        intermediates: &[],
        signer_usage: None,
        known_signer: None,
        secret: &|_| None,
        unprotected_errors: false,
        max_clock_skew_s: Some(0),
    };
    validate(message, &context)
}

/// The proof of possession of an ir.
fn check_possession(message: &PkiMessage, crypto: &dyn Crypto) -> Result<(), CryptoError> {
    let PkiBody::Ir(requests) = &*message.body else {
        panic!("not an ir")
    };
    let template = &requests[0].cert_req.cert_template;
    let key = template.public_key.as_ref().unwrap().to_der().unwrap();
    let Some(ProofOfPossession::Signature(proof)) = &requests[0].popo else {
        panic!("no signature")
    };
    let algorithm =
        SignatureAlgorithm::from_algorithm_identifier(&proof.algorithm_identifier.owned_to_ref())?;
    let signature = proof.signature.as_bytes().unwrap();
    crypto.verify(algorithm, &key, requests[0].popo_input(), signature)
}

#[test]
fn a_message_of_python_is_from_its_signer_and_proves_possession_with_every_algorithm() {
    for made in MADE {
        let message = made.message();
        assert_eq!(made.root().signature_algorithm(), Ok(made.signature));
        assert_eq!(
            KeyAlgorithm::of_public_key(made.root().public_key()),
            Ok(made.key)
        );
        for crypto in PROVIDERS {
            let signer = check(&message, crypto, &made.root());
            let Ok(Authenticated::Signer(signer)) = signer else {
                panic!("{made:?}: {signer:?}")
            };
            assert_eq!(signer.subject_string(), "CN=CS-1");
            assert_eq!(check_possession(&message, crypto), Ok(()), "{made:?}");
        }
    }
}

#[test]
fn the_root_of_another_algorithm_does_not_make_a_signer_trusted() {
    for made in MADE {
        for crypto in PROVIDERS {
            let error = check(&made.message(), crypto, &made.other().root()).unwrap_err();
            let ValidationError::SignerNotTrusted(error) = error else {
                panic!("{made:?}: {error:?}")
            };
            assert_eq!(error.failure, PathFailure::UnknownIssuer);
        }
    }
}

#[test]
fn no_message_survives_a_flipped_bit_wherever_it_is() {
    for made in MADE {
        let (bytes, root) = (made.file("ir"), made.root());
        // Of the long ones of ML-DSA one byte in five.
        let step = if bytes.len() > 4096 { 5 } else { 1 };
        for at in (0..bytes.len()).step_by(step) {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1 << (at % 8);
            let Ok(message) = PkiMessage::from_bytes(&flipped) else {
                continue;
            };
            assert!(check(&message, &AwsLc, &root).is_err(), "{made:?} byte {at}");
            // Slower, and the same but for the signatures, which have a test of their own.
            if at % 61 == 0 {
                assert!(check(&message, &RustCrypto, &root).is_err(), "{made:?} byte {at}");
            }
        }
    }
}

#[test]
fn no_signature_survives_a_flipped_bit_or_another_length() {
    for made in MADE {
        let (message, signer) = (made.message(), made.signer());
        let input = message.protected_part().unwrap();
        let signature = message.protection.as_ref().unwrap().as_bytes().unwrap();
        // Every bit, but of the long ones of ML-DSA one in nine; fewer with the slower provider.
        let step = if signature.len() > 512 { 9 } else { 1 };
        for (crypto, step) in [(PROVIDERS[0], 8 * step + 9), (PROVIDERS[1], step)] {
            let verify =
                |signature: &[u8]| crypto.verify(made.signature, signer.public_key(), &input, signature);
            assert_eq!(verify(signature), Ok(()));
            for bit in (0..signature.len() * 8).step_by(step) {
                let mut flipped = signature.to_vec();
                flipped[bit / 8] ^= 1 << (bit % 8);
                assert_eq!(
                    verify(&flipped),
                    Err(CryptoError::BadSignature),
                    "{made:?} bit {bit}"
                );
            }
            let longer = [signature, &[0]].concat();
            for other in [
                &[][..],
                &signature[1..],
                &signature[..signature.len() - 1],
                &longer,
            ] {
                assert_eq!(verify(other), Err(CryptoError::BadSignature), "{made:?}");
            }
        }
    }
}

#[test]
fn a_key_of_another_type_than_the_algorithm_is_an_error_of_its_own() {
    for made in MADE {
        for other in MADE.iter().filter(|other| !other.key.makes(made.signature)) {
            for crypto in PROVIDERS {
                let key = other.signer();
                let verified = crypto.verify(made.signature, key.public_key(), b"message", &[0; 64]);
                assert_eq!(verified, Err(CryptoError::UnsupportedKey), "{made:?} {other:?}");
            }
        }
    }
}

#[test]
fn a_private_key_of_python_signs_for_its_certificate_with_both_providers() {
    for made in MADE {
        let Some(pkcs8) = made.private_key() else { continue };
        let pure = rustcrypto::SoftKey::from_der(&pkcs8).unwrap();
        let fast = aws_lc::SoftKey::from_der(&pkcs8).unwrap();
        for key in [&pure as &dyn SigningKey, &fast] {
            assert_eq!(key.public_key(), made.signer().public_key(), "{made:?}");
            assert_eq!(key.algorithm(), made.signature);
            let signature = key.sign(b"signed here").unwrap();
            for crypto in PROVIDERS {
                let verified = crypto.verify(made.signature, key.public_key(), b"signed here", &signature);
                assert_eq!(verified, Ok(()), "{made:?}");
            }
        }
        for written in [pure.to_pkcs8().unwrap(), fast.to_pkcs8().unwrap()] {
            assert_eq!(*written, pkcs8, "{made:?}");
        }
    }
}

#[test]
fn a_private_key_of_python_that_is_cut_or_for_another_type_is_refused() {
    let refused = |der: &[u8], error: CryptoError| {
        assert_eq!(rustcrypto::SoftKey::from_der(der).err(), Some(error));
        assert_eq!(aws_lc::SoftKey::from_der(der).err(), Some(error));
    };
    for made in MADE {
        let Some(pkcs8) = made.private_key() else { continue };
        for at in 0..pkcs8.len() {
            refused(&pkcs8[..at], CryptoError::MalformedPrivateKey);
        }
        refused(&[&pkcs8[..], &[0]].concat(), CryptoError::MalformedPrivateKey);
    }
    let pkcs8 =
        |identifier: &[u8], key: &[u8]| tlv(0x30, &[tlv(2, &[0]), identifier.to_vec(), tlv(4, key)].concat());
    let identifier = |alg: KeyAlgorithm| alg.algorithm_identifier().to_der().unwrap();
    let seed = tlv(4, &[7; 32]);
    // Ed25519 and ML-DSA keys have no parameters, a seed has 32 bytes, and RSA does not sign.
    let with_null = |alg: KeyAlgorithm| {
        let oid = alg.algorithm_identifier().oid.to_der().unwrap();
        tlv(0x30, &[oid, tlv(5, &[])].concat())
    };
    refused(
        &pkcs8(&with_null(KeyAlgorithm::Ed25519), &seed),
        CryptoError::MalformedPrivateKey,
    );
    refused(
        &pkcs8(&with_null(KeyAlgorithm::MlDsa65), &tlv(0x80, &[7; 32])),
        CryptoError::MalformedPrivateKey,
    );
    refused(
        &pkcs8(&identifier(KeyAlgorithm::Ed25519), &tlv(4, &[7; 31])),
        CryptoError::MalformedPrivateKey,
    );
    refused(
        &pkcs8(&identifier(KeyAlgorithm::MlDsa44), &tlv(0x80, &[7; 33])),
        CryptoError::MalformedPrivateKey,
    );
    refused(
        &pkcs8(&identifier(KeyAlgorithm::MlDsa44), &tlv(0x81, &[7; 32])),
        CryptoError::MalformedPrivateKey,
    );
    refused(
        &pkcs8(&identifier(KeyAlgorithm::MlDsa44), &seed),
        CryptoError::MalformedPrivateKey,
    );
    refused(
        &pkcs8(&identifier(KeyAlgorithm::Rsa), &tlv(0x30, &[])),
        CryptoError::UnsupportedKey,
    );
}

#[test]
fn a_public_key_beside_a_private_one_must_belong_to_it() {
    for alg in KeyAlgorithm::GENERATED {
        if matches!(alg, KeyAlgorithm::P256 | KeyAlgorithm::P384 | KeyAlgorithm::P521) {
            continue; // Their public key is inside: tests/crypto.rs.
        }
        let (tag, seed) = match alg {
            KeyAlgorithm::Ed25519 => (4, [7; 32]),
            _ => (0x80, [7; 32]),
        };
        let v1 = [
            alg.algorithm_identifier().to_der().unwrap(),
            tlv(4, &tlv(tag, &seed)),
        ]
        .concat();
        let key = aws_lc::SoftKey::from_der(&tlv(0x30, &[tlv(2, &[0]), v1.clone()].concat())).unwrap();
        let spki = spki::SubjectPublicKeyInfoRef::from_der(key.public_key()).unwrap();
        let public = spki.subject_public_key.as_bytes().unwrap();
        // RFC 5958: version 1, which is v2, and [1] publicKey.
        let v2 = |public: &[u8]| {
            let public = tlv(0x81, &[&[0], public].concat());
            tlv(0x30, &[tlv(2, &[1]), v1.clone(), public].concat())
        };
        let mut other = public.to_vec();
        other[0] ^= 1;
        let refused = Some(CryptoError::MalformedPrivateKey);
        assert_eq!(rustcrypto::SoftKey::from_der(&v2(public)).err(), None, "{alg}");
        assert_eq!(aws_lc::SoftKey::from_der(&v2(public)).err(), None, "{alg}");
        assert_eq!(rustcrypto::SoftKey::from_der(&v2(&other)).err(), refused, "{alg}");
        assert_eq!(aws_lc::SoftKey::from_der(&v2(&other)).err(), refused, "{alg}");
    }
}

#[test]
fn nobody_makes_rsa_keys() {
    let refused = Some(CryptoError::UnsupportedKey);
    assert_eq!(aws_lc::SoftKey::generate(KeyAlgorithm::Rsa).err(), refused);
    assert_eq!("rsa".parse::<KeyAlgorithm>().ok(), None);
}

#[test]
fn the_types_that_keys_are_made_of_are_known_by_their_names() {
    for alg in KeyAlgorithm::GENERATED {
        assert_eq!(alg.to_string().parse(), Ok(alg));
    }
    let error = "ml-dsa".parse::<KeyAlgorithm>().unwrap_err();
    assert_eq!(
        error.to_string(),
        "not one of p256 p384 p521 ed25519 ml-dsa-44 ml-dsa-65 ml-dsa-87"
    );
}

#[test]
fn a_signature_algorithm_has_exactly_its_parameters() {
    let sequence = AnyRef::new(der::Tag::Sequence, &[]).unwrap();
    for made in MADE {
        let id = made.signature.algorithm_identifier();
        assert_eq!(id.parameters.is_some(), made.key == KeyAlgorithm::Rsa);
        for parameters in [None, Some(AnyRef::NULL), Some(sequence)] {
            let other = AlgorithmIdentifierRef { parameters, ..id };
            let expected = match parameters == id.parameters {
                true => Ok(made.signature),
                false => Err(CryptoError::MalformedAlgorithm),
            };
            assert_eq!(
                SignatureAlgorithm::from_algorithm_identifier(&other),
                expected,
                "{made:?}"
            );
        }
    }
}

#[test]
fn a_weak_or_unknown_signature_algorithm_is_unsupported() {
    for oid in [
        "1.2.840.113549.1.1.4",    // md5WithRSAEncryption
        "1.2.840.113549.1.1.5",    // sha1WithRSAEncryption
        "1.2.840.113549.1.1.10",   // RSASSA-PSS
        "1.2.840.113549.1.1.14",   // sha224WithRSAEncryption
        "1.2.840.10045.4.1",       // ecdsa-with-SHA1
        "1.2.840.10045.4.3.1",     // ecdsa-with-SHA224
        "1.2.840.10040.4.3",       // dsa-with-sha1
        "1.3.101.113",             // Ed448
        "2.16.840.1.101.3.4.3.32", // HashML-DSA-44 with SHA-512
        "1.2.3.4",
    ] {
        for parameters in [None, Some(AnyRef::NULL)] {
            let oid = oid.parse().unwrap();
            let id = AlgorithmIdentifierRef { oid, parameters };
            let unsupported = Err(CryptoError::UnsupportedAlgorithm);
            assert_eq!(
                SignatureAlgorithm::from_algorithm_identifier(&id),
                unsupported,
                "{oid}"
            );
        }
    }
}

/// A SubjectPublicKeyInfo.
fn spki(algorithm: &[u8], key: &[u8]) -> Vec<u8> {
    tlv(0x30, &[algorithm, &tlv(3, &[&[0], key].concat())].concat())
}

fn rsa_spki(modulus: &[u8], exponent: &[u8]) -> Vec<u8> {
    let algorithm = KeyAlgorithm::Rsa.algorithm_identifier().to_der().unwrap();
    // Positive numbers.
    let number = |bytes: &[u8]| tlv(2, &[if bytes[0] < 0x80 { &[][..] } else { &[0] }, bytes].concat());
    spki(
        &algorithm,
        &tlv(0x30, &[number(modulus), number(exponent)].concat()),
    )
}

/// Both providers refuse the key, with a signature algorithm that would fit it, and so does the policy.
fn assert_unacceptable(key: &[u8], alg: SignatureAlgorithm, reason: UnacceptableKey, error: CryptoError) {
    assert_eq!(KeyAlgorithm::of_public_key(key), Err(reason));
    assert_eq!(CryptoError::from(reason), error);
    for crypto in PROVIDERS {
        assert_eq!(
            crypto.verify(alg, key, b"message", &[0; 256]),
            Err(error),
            "{reason:?}"
        );
    }
}

#[test]
fn a_weak_rsa_key_is_unacceptable_whatever_it_signed() {
    let alg = SignatureAlgorithm::RsaSha256;
    let odd = |bits: usize| {
        let mut modulus = vec![0xff; bits.div_ceil(8)];
        modulus[0] = 0xff >> (modulus.len() * 8 - bits);
        modulus
    };
    let f4 = [1, 0, 1];
    for bits in [512, 1024, 2040, 2047] {
        let key = rsa_spki(&odd(bits), &f4);
        assert_unacceptable(&key, alg, UnacceptableKey::WeakRsaModulus, CryptoError::WeakKey);
    }
    for bits in [8193, 16384] {
        let key = rsa_spki(&odd(bits), &f4);
        assert_unacceptable(&key, alg, UnacceptableKey::LongRsaModulus, CryptoError::WeakKey);
    }
    for bits in [2048, 8192] {
        assert_eq!(
            KeyAlgorithm::of_public_key(&rsa_spki(&odd(bits), &f4)),
            Ok(KeyAlgorithm::Rsa)
        );
    }
    for exponent in [
        &[1][..],
        &[3],
        &[0xff, 0xff],
        &[1, 0, 0],
        &[1, 0, 2],
        &[2, 0, 0, 0, 1],
        &[1; 9],
        &[1; 256],
    ] {
        let key = rsa_spki(&odd(2048), exponent);
        assert_unacceptable(&key, alg, UnacceptableKey::RsaExponent, CryptoError::WeakKey);
    }
    let mut even = odd(2048);
    even[255] = 0xfe;
    let key = rsa_spki(&even, &f4);
    assert_unacceptable(
        &key,
        alg,
        UnacceptableKey::Malformed,
        CryptoError::MalformedPublicKey,
    );
}

#[test]
fn a_public_key_of_a_weak_or_unknown_type_or_curve_is_unacceptable() {
    let ec = |curve: &str, len: usize| {
        let oid = |text: &str| {
            text.parse::<const_oid::ObjectIdentifier>()
                .unwrap()
                .to_der()
                .unwrap()
        };
        let algorithm = tlv(0x30, &[oid("1.2.840.10045.2.1"), oid(curve)].concat());
        spki(&algorithm, &[&[4][..], &vec![1; 2 * len]].concat())
    };
    let ecdsa = SignatureAlgorithm::EcdsaSha256;
    for (curve, len) in [("1.2.840.10045.3.1.1", 24), ("1.3.132.0.33", 28)] {
        assert_unacceptable(
            &ec(curve, len),
            ecdsa,
            UnacceptableKey::WeakCurve,
            CryptoError::WeakKey,
        );
    }
    // secp256k1 and brainpoolP256r1.
    for curve in ["1.3.132.0.10", "1.3.36.3.3.2.8.1.1.7"] {
        let key = ec(curve, 32);
        assert_unacceptable(
            &key,
            ecdsa,
            UnacceptableKey::UnsupportedCurve,
            CryptoError::UnsupportedKey,
        );
    }
    // A compressed point.
    let algorithm = KeyAlgorithm::P256.algorithm_identifier().to_der().unwrap();
    let compressed = spki(&algorithm, &[&[2][..], &[1; 32]].concat());
    assert_unacceptable(
        &compressed,
        ecdsa,
        UnacceptableKey::UnsupportedCurve,
        CryptoError::UnsupportedKey,
    );
    // DSA, X25519 and Ed448.
    for oid in ["1.2.840.10040.4.1", "1.3.101.110", "1.3.101.113"] {
        let oid = oid
            .parse::<const_oid::ObjectIdentifier>()
            .unwrap()
            .to_der()
            .unwrap();
        let key = spki(&tlv(0x30, &oid), &[1; 57]);
        assert_unacceptable(
            &key,
            ecdsa,
            UnacceptableKey::UnsupportedType,
            CryptoError::UnsupportedKey,
        );
    }
}

#[test]
fn a_public_key_with_wrong_parameters_or_of_a_wrong_length_is_malformed() {
    for made in MADE {
        let key = made.signer().public_key().to_vec();
        let parsed = spki::SubjectPublicKeyInfoRef::from_der(&key).unwrap();
        let bytes = parsed.subject_public_key.as_bytes().unwrap();
        let id = made.key.algorithm_identifier();
        let malformed = |key: &[u8]| {
            let error = CryptoError::MalformedPublicKey;
            assert_unacceptable(key, made.signature, UnacceptableKey::Malformed, error);
        };
        let sequence = AnyRef::new(der::Tag::Sequence, &[]).unwrap();
        for parameters in [None, Some(AnyRef::NULL), Some(sequence)] {
            let other = AlgorithmIdentifierRef { parameters, ..id }.to_der().unwrap();
            if parameters != id.parameters {
                malformed(&spki(&other, bytes));
            }
        }
        let id = id.to_der().unwrap();
        malformed(&spki(&id, &bytes[..bytes.len() - 1]));
        malformed(&spki(&id, &[bytes, &[0]].concat()));
        malformed(&spki(&id, &[]));
        for at in 0..key.len() {
            malformed(&key[..at]);
        }
        malformed(&[&key[..], &[0]].concat());
        // A BIT STRING that does not end with a byte.
        let unused = tlv(3, &[&[1], &bytes[..bytes.len() - 1], &[0x80]].concat());
        malformed(&tlv(0x30, &[id, unused].concat()));
    }
}

#[test]
fn a_weak_signer_is_reported_as_a_bad_algorithm() {
    for error in [
        CryptoError::WeakKey,
        CryptoError::UnsupportedKey,
        CryptoError::UnsupportedAlgorithm,
    ] {
        assert_eq!(ValidationError::Crypto(error).fail_info(), PkiFailure::BadAlg);
    }
}

#[test]
fn certconf_hashes_a_certificate_as_its_signature_algorithm_says_and_ml_dsa_says_nothing() {
    for made in MADE {
        let hash = match made.name {
            "p256" | "rsa-sha256" => Some(HashAlgorithm::Sha256),
            "p384" | "rsa-sha384" => Some(HashAlgorithm::Sha384),
            "p521" | "rsa-sha512" | "ed25519" => Some(HashAlgorithm::Sha512),
            _ => None,
        };
        assert_eq!(cert_conf_hash(made.signer().as_der()), hash, "{made:?}");
        let der = made.file("root");
        assert_eq!(cert_conf_hash(&der[..der.len() - 1]), None);
    }
}

#[test]
fn an_ed25519_key_of_small_order_is_unacceptable_in_every_encoding() {
    // The neutral element as key and as R, with s = 0: the equation holds for every message.
    let point = |first: u8, middle: u8, last: u8| [&[first][..], &[middle; 30], &[last]].concat();
    let neutral = point(1, 0, 0);
    let signature = [&neutral[..], &[0; 32]].concat();
    let id = KeyAlgorithm::Ed25519.algorithm_identifier().to_der().unwrap();
    for crypto in PROVIDERS {
        let key = spki(&id, &neutral);
        let verified = crypto.verify(SignatureAlgorithm::Ed25519, &key, b"anything", &signature);
        assert_eq!(verified, Err(CryptoError::WeakKey));
    }
    for y in [
        neutral,
        point(0, 0, 0),
        point(0xec, 0xff, 0x7f),
        point(0xed, 0xff, 0x7f),
        point(0xee, 0xff, 0x7f),
        hex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"),
        hex("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a"),
    ] {
        for sign in [0, 0x80] {
            let mut point = y.clone();
            point[31] |= sign;
            let alg = SignatureAlgorithm::Ed25519;
            let key = spki(&id, &point);
            assert_unacceptable(&key, alg, UnacceptableKey::SmallOrder, CryptoError::WeakKey);
        }
    }
}

fn hex(text: &str) -> Vec<u8> {
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
        .collect()
}
