//! Protection, its signer, and whether he is trusted (RFC 9483 §3.2, §3.3).

use cmp_client::{Config, Protection};
use cmp_message::{
    PkiMessage, PkiStatusInfo, Raw,
    mac::{MacAlgorithm, Secret},
};
use const_oid::ObjectIdentifier;
use der::asn1::OctetString;
use spki::AlgorithmIdentifierOwned;
use x509_cert::ext::pkix::{KeyUsage, KeyUsages, name::GeneralName};

use super::{
    How::{CertConf, Ir, Mac, Operation},
    check, row,
};
use crate::ra::{Draft, NOW_S, Ra, extension, key384, name, root};

const CMC_RA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.28");

fn algorithm(oid: &str) -> Option<AlgorithmIdentifierOwned> {
    Some(AlgorithmIdentifierOwned {
        oid: oid.parse().unwrap(),
        parameters: None,
    })
}

fn with_extra_certs(message: PkiMessage, extra_certs: Vec<Raw>) -> Vec<u8> {
    let message = PkiMessage {
        extra_certs: (!extra_certs.is_empty()).then_some(extra_certs),
        ..message
    };
    message.to_bytes().unwrap()
}

fn speak(ra: &mut Ra, change: impl FnOnce(&mut Draft)) {
    let mut draft = Draft::new("CN=RA", 2, 2);
    change(&mut draft);
    ra.speak_as(draft.issue(), crate::ra::key(2));
}

fn raw(certificate: &cmp_message::certificate::Certificate) -> Raw {
    Raw::new(certificate.as_der()).unwrap()
}

#[test]
fn an_answer_whose_protection_is_wrong_is_refused_with_its_own_error() {
    check(&[
        row(
            "protection missing",
            Ir(|ra, _| ra.unprotected = true),
            "Validation(MissingProtection)",
        ),
        row(
            "protection missing under a MAC",
            Mac(|ra, _| ra.unprotected = true),
            "Validation(MissingProtection)",
        ),
        row(
            "protection of the rp missing",
            Operation("rr", |ra, _| ra.unprotected = true),
            "Validation(MissingProtection)",
        ),
        row(
            "protection of the genp missing",
            Operation("genm caCerts", |ra, _| ra.unprotected = true),
            "Validation(MissingProtection)",
        ),
        row(
            "protection of the pkiConf missing",
            CertConf(|ra| ra.unprotected = true),
            "Validation(MissingProtection)",
        ),
        row(
            "unprotected rejection where the policy does not allow it",
            Ir(|ra, config| {
                (ra.unprotected, config.accept_unprotected_errors) = (true, true);
                ra.reject = Some(PkiStatusInfo::rejection(cmp_message::PkiFailure::BadPop, ""));
            }),
            "Validation(MissingProtection)",
        ),
        row(
            "unprotected error where the policy does not allow it",
            Ir(|ra, _| {
                ra.unprotected = true;
                ra.error = Some(PkiStatusInfo::rejection(cmp_message::PkiFailure::BadPop, ""));
            }),
            "UnprotectedError",
        ),
        row(
            "wrong signature",
            Ir(|ra, _| {
                ra.tamper = Some(|message| {
                    let mut header = message.header.clone().into_value();
                    header.free_text = Some(vec!["changed".into()]);
                    let changed = PkiMessage::new(header, message.body.clone().into_value()).unwrap();
                    PkiMessage {
                        protection: message.protection,
                        extra_certs: message.extra_certs,
                        ..changed
                    }
                    .to_bytes()
                    .unwrap()
                })
            }),
            "Validation(WrongSignature)",
        ),
        row(
            "wrong MAC secret",
            Mac(|_, config| {
                config.protection = Protection::PasswordBasedMac {
                    reference: b"station-7".to_vec(),
                    secret: Secret::new(b"another".to_vec()),
                }
            }),
            "Validation(WrongMac)",
        ),
        row(
            "reference of another secret",
            Mac(|ra, _| {
                ra.header = Some(|header| header.sender_kid = Some(OctetString::new(*b"other").unwrap()))
            }),
            "Validation(UnknownSecret)",
        ),
        row(
            "unknown algorithm",
            Ir(|ra, _| ra.header = Some(|header| header.protection_alg = algorithm("1.2.3.4"))),
            "Validation(UnknownProtectionAlgorithm",
        ),
        row(
            "weak algorithm: ecdsa-with-SHA1",
            Ir(|ra, _| ra.header = Some(|header| header.protection_alg = algorithm("1.2.840.10045.4.1"))),
            "Validation(UnknownProtectionAlgorithm",
        ),
        row(
            "weak MAC: one iteration",
            Mac(|ra, _| {
                ra.mac = Some(|| {
                    let hash = cmp_message::crypto::HashAlgorithm::Sha256;
                    MacAlgorithm::PasswordBasedMac {
                        owf: hash,
                        mac: hash,
                        iterations: 1,
                        salt: vec![1; 16],
                    }
                })
            }),
            "Validation(Mac(TooFewIterations))",
        ),
        row(
            "ruinous MAC: two thousand million iterations",
            Mac(|ra, _| {
                ra.header = Some(|header| {
                    let hash = cmp_message::crypto::HashAlgorithm::Sha256;
                    let mac = MacAlgorithm::PasswordBasedMac {
                        owf: hash,
                        mac: hash,
                        iterations: 2_000_000_000,
                        salt: vec![1; 16],
                    };
                    header.protection_alg = Some(mac.algorithm_identifier().unwrap());
                })
            }),
            "Validation(Mac(TooCostly))",
        ),
        row(
            "MAC parameters that cannot be read",
            Mac(|ra, _| {
                ra.header = Some(|header| header.protection_alg = algorithm("1.2.840.113533.7.66.13"))
            }),
            "Validation(Mac(MalformedParameters))",
        ),
        row(
            "protectionAlg without value",
            Ir(|ra, _| {
                ra.tamper = Some(|message| {
                    PkiMessage {
                        protection: None,
                        ..message
                    }
                    .to_bytes()
                    .unwrap()
                })
            }),
            "Validation(ProtectionValueMissing)",
        ),
        row(
            "value without protectionAlg",
            Ir(|ra, _| ra.header = Some(|header| header.protection_alg = None)),
            "Validation(ProtectionAlgorithmMissing)",
        ),
        row(
            "MAC where a signature is wanted",
            Ir(|ra, _| ra.mac = Some(|| MacAlgorithm::password_based_mac([1; 16]))),
            "Validation(WrongProtectionKind)",
        ),
        row(
            "signature where a MAC is wanted",
            Mac(|ra, _| ra.signs_always = true),
            "Validation(WrongProtectionKind)",
        ),
        row(
            "another kind of MAC than that of the request",
            Mac(|ra, _| ra.mac = Some(|| MacAlgorithm::pbmac1([1; 16]))),
            "AlgorithmChanged",
        ),
        row(
            "algorithm changed in mid transaction",
            CertConf(|ra| {
                let key = key384();
                let mut draft = Draft::new("CN=RA", 2, 2);
                draft.public_key = cmp_message::crypto::SigningKey::public_key(&key).to_vec();
                ra.speak_as(draft.issue(), key);
            }),
            "AlgorithmChanged",
        ),
    ]);
}

#[test]
fn an_answer_whose_signer_is_not_trusted_is_refused_with_its_own_error() {
    check(&[
        row(
            "expired signer",
            Ir(|ra, _| speak(ra, |draft| draft.not_after_s = NOW_S - 1)),
            "Validation(SignerNotTrusted(PathError { failure: Expired",
        ),
        row(
            "signer not yet valid",
            Ir(|ra, _| speak(ra, |draft| draft.not_before_s = NOW_S + 1)),
            "Validation(SignerNotTrusted(PathError { failure: NotYetValid",
        ),
        row(
            "signer of a wrong anchor with the same name",
            Ir(|ra, _| speak(ra, |draft| draft.issuer_key = 9)),
            "Validation(SignerNotTrusted(PathError { failure: Signature(BadSignature)",
        ),
        row(
            "signer of an unknown anchor",
            Ir(|ra, _| speak(ra, |draft| (draft.issuer, draft.issuer_key) = ("CN=Stranger", 9))),
            "Validation(SignerNotTrusted(PathError { failure: UnknownIssuer",
        ),
        row(
            "no anchor",
            Ir(|_, config| config.anchors.clear()),
            "Validation(SignerNotTrusted(PathError { failure: UnknownIssuer",
        ),
        row(
            "incomplete chain",
            Ir(|ra, _| speak(ra, |draft| (draft.issuer, draft.issuer_key) = ("CN=Issuing", 12))),
            "Validation(SignerNotTrusted(PathError { failure: UnknownIssuer",
        ),
        row(
            "issuer that is no CA",
            Ir(|ra, _| {
                speak(ra, |draft| (draft.issuer, draft.issuer_key) = ("CN=Issuing", 12));
                ra.tamper = Some(|message| {
                    let mut all = message.extra_certs.clone().unwrap();
                    all.push(raw(&Draft::new("CN=Issuing", 13, 12).issue()));
                    with_extra_certs(message, all)
                });
            }),
            "Validation(SignerNotTrusted(PathError { failure: NotCa",
        ),
        row(
            "signer without digitalSignature",
            Ir(|ra, _| {
                speak(ra, |draft| {
                    let usage = KeyUsage(KeyUsages::KeyAgreement.into());
                    draft.extensions.push(extension("2.5.29.15", true, &usage));
                })
            }),
            "Validation(SignerNotTrusted(PathError { failure: NoDigitalSignature",
        ),
        row(
            "signer with an unknown critical extension",
            Ir(|ra, _| {
                speak(ra, |draft| {
                    draft.extensions.push(extension("1.2.3", true, &der::asn1::Null))
                })
            }),
            "Validation(SignerNotTrusted(PathError { failure: UnprocessedCriticalExtension",
        ),
        row(
            "signer without the CMP extended key usage where it is wanted",
            Ir(|_, config| config.signer_usage = Some(CMC_RA)),
            "Validation(SignerNotTrusted(PathError { failure: NoExtKeyUsage",
        ),
        row(
            "protection certificate not first in extraCerts",
            Ir(|ra, _| {
                ra.tamper = Some(|message| {
                    let mut all = message.extra_certs.clone().unwrap();
                    all.insert(0, raw(&root()));
                    with_extra_certs(message, all)
                })
            }),
            "Validation(SenderIsNotSigner)",
        ),
        row(
            "extraCerts missing",
            Ir(|ra, _| ra.tamper = Some(|message| with_extra_certs(message, Vec::new()))),
            "Validation(MissingExtraCerts)",
        ),
        row(
            "protection certificate that cannot be read",
            Ir(|ra, _| {
                ra.tamper = Some(|message| with_extra_certs(message, vec![Raw::new([5, 0]).unwrap()]))
            }),
            "Validation(MalformedSigner)",
        ),
        row(
            "too many extraCerts",
            Ir(|ra, _| {
                ra.tamper = Some(|message| {
                    let all = vec![message.extra_certs.clone().unwrap()[0].clone(); 17];
                    with_extra_certs(message, all)
                })
            }),
            "Validation(TooManyExtraCerts(17))",
        ),
        row(
            "sender that is not the signer's subject",
            Ir(|ra, _| {
                ra.header = Some(|header| header.sender = GeneralName::DirectoryName(name("CN=Root")))
            }),
            "Validation(SenderIsNotSigner)",
        ),
        row(
            "sender that is no directory name",
            Ir(|ra, _| {
                ra.header = Some(|header| {
                    let uri = der::asn1::Ia5String::new("urn:ra").unwrap();
                    header.sender = GeneralName::UniformResourceIdentifier(uri);
                })
            }),
            "Validation(SenderNotDirectoryName)",
        ),
        row(
            "senderKID wrong",
            Ir(|ra, _| {
                let identifier = OctetString::new([7; 20]).unwrap();
                speak(ra, |draft| {
                    draft.extensions.push(extension("2.5.29.14", false, &identifier))
                });
                ra.header = Some(|header| header.sender_kid = Some(OctetString::new([8; 20]).unwrap()));
            }),
            "Validation(SenderKidIsNotSigner)",
        ),
    ]);
}

#[test]
fn with_another_signer_of_the_same_kind_a_transaction_goes_on() {
    fn two(ra: &mut Ra) {
        ra.speak_as(Draft::new("CN=RA 2", 14, 13).issue(), crate::ra::key(13));
    }
    let config: Config = crate::ra::config();
    let mut transaction = crate::ra::start(config, crate::ra::request());
    let result = super::drive(&mut Ra::new(), &mut transaction, |ra| {
        if ra.seen.len() == 1 {
            two(ra);
        }
    });
    assert!(result.is_ok(), "{result:?}");
}
