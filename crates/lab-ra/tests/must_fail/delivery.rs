//! What is wrong with a request for a key that is to be made.

use super::*;
use cmp_message::{BodyType::Cp, CertReqMsg};
use der::asn1::{AnyRef, ObjectIdentifier};
use lab_ra::KeyGeneration;
use spki::AlgorithmIdentifierRef;

fn allow(config: &mut RaConfig) {
    config.key_generation = KeyGeneration::Allow;
}

fn any_key() -> CertReqMsg {
    request_for_key("CN=CS-1", None)
}

fn key_on(curve: &str) -> CertReqMsg {
    let curve: ObjectIdentifier = curve.parse().unwrap();
    let algorithm = AlgorithmIdentifierRef {
        parameters: Some(AnyRef::from(&curve)),
        ..KeyAlgorithm::P256.algorithm_identifier()
    };
    request_for_key("CN=CS-1", Some(algorithm))
}

fn key_of_type(algorithm: KeyAlgorithm) -> CertReqMsg {
    request_for_key("CN=CS-1", Some(algorithm.algorithm_identifier()))
}

impl Lab {
    fn ask(&mut self, wanted: CertReqMsg) -> PkiMessage {
        self.send(PkiBody::Ir(vec![wanted]), version_3)
    }

    /// Goes on with a certificate that has this key and these bits of keyUsage.
    fn enroll_with(&mut self, key: SoftKey, usage: Option<[u8; 2]>) {
        let wanted = request(&key, "CN=CS-1", |template| {
            template.extensions =
                usage.map(|[unused, bits]| vec![extension("2.5.29.15", true, &[3, 2, unused, bits])]);
        });
        let answer = self.client.send(&mut self.ra, PkiBody::Ir(vec![wanted]));
        self.certificate = issued(&answer);
        self.client.send(&mut self.ra, cert_conf(&self.certificate));
        self.client = Client::with_certificate(&self.ra, key, self.certificate.clone());
    }

    fn ask_with_certificate(&mut self) -> PkiMessage {
        self.send(PkiBody::Cr(vec![any_key()]), version_3)
    }
}

#[test]
fn a_request_that_no_key_is_made_for_gets_no_certificate() {
    play(&[
        Row {
            name: "keys are not made here",
            config: usual,
            send: |lab| lab.ask(any_key()),
            answer: (Ip, F::BadCertTemplate),
            after: Nothing,
        },
        Row {
            name: "keys are not made here, of a type",
            config: usual,
            send: |lab| lab.ask(key_of_type(KeyAlgorithm::P256)),
            answer: (Ip, F::BadCertTemplate),
            after: Nothing,
        },
        Row {
            name: "pvno 2",
            config: allow,
            send: |lab| lab.ir_of(any_key()),
            answer: (Ip, F::UnsupportedVersion),
            after: Nothing,
        },
        Row {
            name: "proof of possession of no key",
            config: allow,
            send: |lab| {
                let popo = request(&lab.key, "CN=CS-1", |_| {}).popo;
                lab.ask(CertReqMsg { popo, ..any_key() })
            },
            answer: (Ip, F::BadPop),
            after: Nothing,
        },
        Row {
            name: "raVerified for no key",
            config: allow,
            send: |lab| {
                let popo = Some(cmp_message::ProofOfPossession::RaVerified(der::asn1::Null));
                lab.ask(CertReqMsg { popo, ..any_key() })
            },
            answer: (Ip, F::BadPop),
            after: Nothing,
        },
        Row {
            name: "p10cr without a key",
            config: allow,
            send: |lab| {
                let body = p10cr(&lab.key, "CN=CS-1", |info| {
                    info.public_key.subject_public_key = der::asn1::BitString::from_bytes(&[]).unwrap();
                });
                lab.send(body, version_3)
            },
            answer: (Cp, F::BadCertTemplate),
            after: Nothing,
        },
        Row {
            name: "an RA that asks for another",
            config: allow,
            send: |lab| {
                lab.client = Client::with_issued(&lab.ra, "CN=RA", true);
                if let Credential::Signature { certificate, .. } = &lab.client.credential {
                    lab.certificate.clone_from(certificate);
                }
                lab.ask(any_key())
            },
            answer: (Ip, F::NotAuthorized),
            after: Kept(CertificateStatus::Confirmed),
        },
    ]);
}

#[test]
fn a_key_of_a_type_that_is_not_made_gets_no_certificate() {
    play(&[
        Row {
            name: "RSA",
            config: allow,
            send: |lab| lab.ask(key_of_type(KeyAlgorithm::Rsa)),
            answer: (Ip, F::BadCertTemplate),
            after: Nothing,
        },
        Row {
            name: "a weak curve",
            config: allow,
            send: |lab| lab.ask(key_on("1.3.132.0.33")),
            answer: (Ip, F::BadCertTemplate),
            after: Nothing,
        },
        Row {
            name: "an unknown algorithm",
            config: allow,
            send: |lab| {
                let mut algorithm = KeyAlgorithm::Ed25519.algorithm_identifier();
                algorithm.oid = "1.3.101.113".parse().unwrap();
                lab.ask(request_for_key("CN=CS-1", Some(algorithm)))
            },
            answer: (Ip, F::BadCertTemplate),
            after: Nothing,
        },
        Row {
            name: "a type that the profile does not have",
            config: |config| {
                allow(config);
                config.default_profile.key_algorithms = vec![KeyAlgorithm::P384];
            },
            send: |lab| lab.ask(key_of_type(KeyAlgorithm::P256)),
            answer: (Ip, F::BadCertTemplate),
            after: Nothing,
        },
        Row {
            name: "a profile without a type that is made",
            config: |config| {
                allow(config);
                config.default_profile.key_algorithms = vec![KeyAlgorithm::Rsa];
            },
            send: |lab| lab.ask(any_key()),
            answer: (Ip, F::BadCertTemplate),
            after: Nothing,
        },
    ]);
}

#[test]
fn nothing_is_encrypted_for_a_certificate_that_is_not_for_that() {
    play(&[
        Row {
            name: "a certificate for signatures only, as this RA issues them while it makes no keys",
            config: usual,
            send: |lab| {
                lab.enroll();
                let (pki, store) = std::mem::replace(&mut lab.ra, ra(usual)).into_parts();
                let mut config = RaConfig::default();
                allow(&mut config);
                lab.ra = Ra::new(pki, config, store).unwrap();
                lab.ask_with_certificate()
            },
            answer: (Cp, F::NotAuthorized),
            after: Kept(CertificateStatus::Confirmed),
        },
        Row {
            name: "a certificate for signatures only, as it was asked for",
            config: allow,
            send: |lab| {
                lab.enroll_with(key(), Some([7, 0x80]));
                lab.ask_with_certificate()
            },
            answer: (Cp, F::NotAuthorized),
            after: Kept(CertificateStatus::Confirmed),
        },
        Row {
            name: "Ed25519",
            config: allow,
            send: |lab| {
                lab.enroll_with(SoftKey::generate(KeyAlgorithm::Ed25519).unwrap(), None);
                lab.ask_with_certificate()
            },
            answer: (Cp, F::NotAuthorized),
            after: Kept(CertificateStatus::Confirmed),
        },
        Row {
            name: "ML-DSA with all bits of keyUsage",
            config: allow,
            send: |lab| {
                lab.enroll_with(SoftKey::generate(KeyAlgorithm::MlDsa44).unwrap(), Some([3, 0xb8]));
                lab.ask_with_certificate()
            },
            answer: (Cp, F::NotAuthorized),
            after: Kept(CertificateStatus::Confirmed),
        },
    ]);
}
