//! Labs and stations with keys of every type, and keys that no type makes acceptable.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    unreachable_pub
)]

mod client;

use client::{
    Client, NOW_S, cert_conf, cert_status, cert_status_with, failure, issued, key, proven, request, status_of,
};
use cmp_message::{
    BodyType, PkiBody, PkiFailure, ProofOfPossession,
    certificate::Certificate,
    crypto::{AwsLc, HashAlgorithm, KeyAlgorithm, SignatureAlgorithm, SigningKey, aws_lc::SoftKey},
};
use const_oid::ObjectIdentifier;
use der::{
    asn1::{Any, BitString},
    referenced::RefToOwned,
};
use lab_ra::{CertificateStatus, Pki, Ra, RaConfig, Store};
use spki::{AlgorithmIdentifierOwned, SubjectPublicKeyInfoOwned};

fn lab(profile: KeyAlgorithm) -> Ra {
    let pki = Pki::generate(profile, NOW_S).unwrap();
    Ra::new(pki, RaConfig::default(), Store::in_memory().unwrap()).unwrap()
}

#[test]
fn a_lab_of_any_type_of_keys_certifies_and_updates_keys_of_any_type() {
    for profile in KeyAlgorithm::GENERATED {
        let mut ra = lab(profile);
        for algorithm in KeyAlgorithm::GENERATED {
            let [first, second] = [(); 2].map(|()| SoftKey::generate(algorithm).unwrap());
            let certificate = Client::with_idevid(&ra, "CS-1").enroll(&mut ra, &first, "CN=CS-1");
            let old = Certificate::from_der(certificate.as_slice()).unwrap();
            old.verify_signature(&AwsLc, ra.pki().ca.key().public_key())
                .unwrap();
            assert_eq!(KeyAlgorithm::of_public_key(old.public_key()), Ok(algorithm));

            let mut client = Client::with_certificate(&ra, first, certificate);
            let body = PkiBody::Kur(vec![client::update(&second, "CN=CS-1", &old)]);
            let answer = client.send(&mut ra, body);
            let updated = issued(&answer);
            let answer = client.send(&mut ra, cert_conf(&updated));
            assert_eq!(
                answer.body.body_type(),
                BodyType::PkiConf,
                "{profile} {algorithm}"
            );
            assert_eq!(status_of(&ra, &updated), CertificateStatus::Confirmed);
        }
    }
}

#[test]
fn a_saved_lab_of_any_type_of_keys_is_the_same_when_it_is_loaded() {
    for profile in KeyAlgorithm::GENERATED {
        let folder = tempfile::tempdir().unwrap();
        let pki = Pki::generate(profile, NOW_S).unwrap();
        pki.save(folder.path()).unwrap();
        let again = Pki::load(folder.path()).unwrap();
        assert_eq!(again.root.key().public_key(), pki.root.key().public_key());
        assert_eq!(again.ra.key().key_algorithm(), profile);
        assert_eq!(again.manufacturer_ca.key().key_algorithm(), profile);
    }
}

#[test]
fn a_cert_conf_for_a_certificate_whose_signature_has_no_hash_must_name_one() {
    for (profile, implied) in [
        (KeyAlgorithm::MlDsa44, false),
        (KeyAlgorithm::MlDsa65, false),
        (KeyAlgorithm::MlDsa87, false),
        (KeyAlgorithm::Ed25519, true),
        (KeyAlgorithm::P521, true),
    ] {
        let mut ra = lab(profile);
        let mut client = Client::with_idevid(&ra, "CS-1");
        let answer = client.send(&mut ra, PkiBody::Ir(vec![request(&key(), "CN=CS-1", |_| {})]));
        let certificate = issued(&answer);
        let mut status = cert_status_with(HashAlgorithm::Sha512, &certificate);
        status.hash_alg = None;
        let answer = client.send(&mut ra, PkiBody::CertConf(vec![status]));
        if implied {
            assert_eq!(answer.body.body_type(), BodyType::PkiConf, "{profile}");
        } else {
            assert_eq!(failure(&answer), PkiFailure::BadAlg, "{profile}");
            assert_eq!(status_of(&ra, &certificate), CertificateStatus::Refused);
        }
    }
}

#[test]
fn a_cert_conf_may_name_any_hash_but_a_weak_or_unknown_one() {
    let sha_1 = HashAlgorithm::Sha1;
    for hash in [
        HashAlgorithm::Sha256,
        HashAlgorithm::Sha384,
        HashAlgorithm::Sha512,
        sha_1,
    ] {
        let mut ra = lab(KeyAlgorithm::MlDsa44);
        let mut client = Client::with_idevid(&ra, "CS-1");
        let answer = client.send(&mut ra, PkiBody::Ir(vec![request(&key(), "CN=CS-1", |_| {})]));
        let status = cert_status_with(hash, &issued(&answer));
        let answer = client.send(&mut ra, PkiBody::CertConf(vec![status]));
        match hash {
            HashAlgorithm::Sha1 => assert_eq!(failure(&answer), PkiFailure::BadAlg),
            _ => assert_eq!(answer.body.body_type(), BodyType::PkiConf),
        }
    }
    let mut ra = lab(KeyAlgorithm::MlDsa44);
    let mut client = Client::with_idevid(&ra, "CS-1");
    let answer = client.send(&mut ra, PkiBody::Ir(vec![request(&key(), "CN=CS-1", |_| {})]));
    let mut status = cert_status(&issued(&answer));
    // SHAKE256.
    status.hash_alg.as_mut().unwrap().oid = "2.16.840.1.101.3.4.2.12".parse().unwrap();
    let answer = client.send(&mut ra, PkiBody::CertConf(vec![status]));
    assert_eq!(failure(&answer), PkiFailure::BadAlg);
}

#[test]
fn a_key_that_is_too_weak_or_of_an_unknown_type_gets_no_certificate() {
    let spki = |oid: &str, parameters: Option<Any>, key: &[u8]| SubjectPublicKeyInfoOwned {
        algorithm: AlgorithmIdentifierOwned {
            oid: oid.parse().unwrap(),
            parameters,
        },
        subject_public_key: BitString::from_bytes(key).unwrap(),
    };
    let secp224r1 = "1.3.132.0.33".parse::<ObjectIdentifier>().unwrap();
    let rsa_1024 = [
        &[0x30, 0x81, 0x89, 0x02, 0x81, 0x81, 0][..],
        &[0xff; 128],
        &[0x02, 3, 1, 0, 1],
    ];
    for weak in [
        spki("1.2.840.113549.1.1.1", Some(Any::null()), &rsa_1024.concat()),
        spki(
            "1.2.840.10045.2.1",
            Some(Any::encode_from(&secp224r1).unwrap()),
            &[&[4][..], &[1; 56]].concat(),
        ),
        spki("1.3.101.113", None, &[1; 57]),
    ] {
        let mut ra = lab(KeyAlgorithm::P256);
        let mut client = Client::with_idevid(&ra, "CS-1");
        let request = request(&key(), "CN=CS-1", |template| template.public_key = Some(weak));
        let answer = client.send(&mut ra, PkiBody::Ir(vec![request]));
        assert_eq!(failure(&answer), PkiFailure::BadCertTemplate);
    }
}

#[test]
fn a_proof_of_possession_by_another_type_of_key_or_under_another_name_is_refused() {
    let mut ra = lab(KeyAlgorithm::P256);
    for (proof_key, claimed, expected) in [
        (
            KeyAlgorithm::P256,
            SignatureAlgorithm::EcdsaSha256,
            PkiFailure::BadPop,
        ),
        (
            KeyAlgorithm::MlDsa44,
            SignatureAlgorithm::MlDsa44,
            PkiFailure::BadPop,
        ),
        (
            KeyAlgorithm::MlDsa65,
            SignatureAlgorithm::MlDsa44,
            PkiFailure::BadPop,
        ),
    ] {
        let wanted = SoftKey::generate(KeyAlgorithm::MlDsa65).unwrap();
        let prover = SoftKey::generate(proof_key).unwrap();
        let inner = request(&wanted, "CN=CS-1", |_| {}).cert_req.into_value();
        let mut request = proven(&prover, inner);
        let Some(ProofOfPossession::Signature(proof)) = &mut request.popo else {
            panic!("no signature")
        };
        proof.algorithm_identifier = claimed.algorithm_identifier().ref_to_owned();
        let mut client = Client::with_idevid(&ra, "CS-1");
        let answer = client.send(&mut ra, PkiBody::Ir(vec![request]));
        assert_eq!(failure(&answer), expected, "{proof_key}");
    }
}
