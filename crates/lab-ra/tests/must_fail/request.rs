//! What is wrong with a request for a certificate.

use super::*;
use cmp_message::{
    BodyType::{Cp, Kup},
    ProofOfPossession,
    certificate::Certificate,
    crypto::{SignatureAlgorithm, SigningKey},
};
use der::{
    Decode, Encode,
    asn1::{BitString, Null},
    referenced::RefToOwned,
};
use spki::SubjectPublicKeyInfoOwned;
use x509_cert::ext::pkix::name::GeneralName;

/// A key of the requester's that is not one of its signature.
fn with_public_key(lab: &Lab, spki: &[u8]) -> cmp_message::CertReqMsg {
    request(&lab.key, "CN=CS-1", |template| {
        template.public_key = Some(SubjectPublicKeyInfoOwned::from_der(spki).unwrap());
    })
}

/// DER of the SubjectPublicKeyInfo of an RSA key of this length, whose modulus is no product of primes.
fn rsa_key(modulus_bytes: usize) -> Vec<u8> {
    let modulus = vec![0xff; modulus_bytes];
    let integer = |bytes: &[u8]| der::asn1::UintRef::new(bytes).unwrap().to_der().unwrap();
    let numbers = [integer(&modulus), integer(&[1, 0, 1])].concat();
    let key = der::asn1::AnyRef::new(der::Tag::Sequence, &numbers)
        .unwrap()
        .to_der()
        .unwrap();
    SubjectPublicKeyInfoOwned {
        algorithm: KeyAlgorithm::Rsa.algorithm_identifier().ref_to_owned(),
        subject_public_key: BitString::from_bytes(&key).unwrap(),
    }
    .to_der()
    .unwrap()
}

/// DER of the SubjectPublicKeyInfo of a point on secp224r1.
fn p224_key() -> Vec<u8> {
    let mut key = SubjectPublicKeyInfoOwned::from_der(key().public_key()).unwrap();
    let curve: der::asn1::ObjectIdentifier = "1.3.132.0.33".parse().unwrap();
    key.algorithm.parameters = Some(der::asn1::Any::encode_from(&curve).unwrap());
    key.to_der().unwrap()
}

#[test]
fn a_wrong_request_gets_no_certificate() {
    play(&[
        Row {
            name: "bad POP",
            config: usual,
            send: |lab| {
                let mut wanted = request(&lab.key, "CN=CS-1", |_| {});
                wanted.popo = proven(&key(), wanted.cert_req.clone().into_value()).popo;
                lab.ir_of(wanted)
            },
            answer: (Ip, F::BadPop),
            after: Nothing,
        },
        Row {
            name: "missing POP",
            config: usual,
            send: |lab| {
                let mut wanted = request(&lab.key, "CN=CS-1", |_| {});
                wanted.popo = None;
                lab.ir_of(wanted)
            },
            answer: (Ip, F::BadPop),
            after: Nothing,
        },
        Row {
            name: "POP of another kind",
            config: usual,
            send: |lab| {
                let mut wanted = request(&lab.key, "CN=CS-1", |_| {});
                let later = Raw::new([0x81, 1, 0]).unwrap();
                wanted.popo = Some(ProofOfPossession::KeyEncipherment(later));
                lab.ir_of(wanted)
            },
            answer: (Ip, F::BadPop),
            after: Nothing,
        },
        Row {
            name: "POP by an algorithm that is not allowed here",
            config: |config| config.signature_algorithms = vec![SignatureAlgorithm::EcdsaSha256],
            send: |lab| {
                lab.key = SoftKey::generate(KeyAlgorithm::P384).unwrap();
                lab.ir_with(|_| {})
            },
            answer: (Ip, F::BadAlg),
            after: Nothing,
        },
        Row {
            name: "no CertReqMsg",
            config: usual,
            send: |lab| lab.send(PkiBody::Ir(Vec::new()), |_| {}),
            answer: (Ip, F::BadRequest),
            after: Nothing,
        },
        Row {
            name: "two CertReqMsgs",
            config: usual,
            send: |lab| {
                let wanted = request(&lab.key, "CN=CS-1", |_| {});
                lab.send(PkiBody::Ir(vec![wanted.clone(), wanted]), |_| {})
            },
            answer: (Ip, F::BadRequest),
            after: Nothing,
        },
        Row {
            name: "certReqId not 0",
            config: usual,
            send: |lab| {
                let mut wanted = request(&lab.key, "CN=CS-1", |_| {}).cert_req.into_value();
                wanted.cert_req_id = -1;
                lab.ir_of(proven(&lab.key, wanted))
            },
            answer: (Ip, F::BadRequest),
            after: Nothing,
        },
        Row {
            name: "no subject",
            config: usual,
            send: |lab| lab.ir_of(request(&lab.key, "CN=CS-1", |template| template.subject = None)),
            answer: (Ip, F::BadCertTemplate),
            after: Nothing,
        },
        Row {
            name: "no publicKey",
            config: usual,
            send: |lab| {
                lab.ir_of(request(&lab.key, "CN=CS-1", |template| {
                    template.public_key = None
                }))
            },
            answer: (Ip, F::BadCertTemplate),
            after: Nothing,
        },
        Row {
            name: "a serialNumber that the requester chose",
            config: usual,
            send: |lab| {
                lab.ir_of(request(&lab.key, "CN=CS-1", |template| {
                    template.serial_number = Some(der::asn1::Int::new(&[7]).unwrap());
                }))
            },
            answer: (Ip, F::BadCertTemplate),
            after: Nothing,
        },
        Row {
            name: "key too weak: 1024 bits of RSA",
            config: usual,
            send: |lab| lab.ir_of(with_public_key(lab, &rsa_key(128))),
            answer: (Ip, F::BadCertTemplate),
            after: Nothing,
        },
        Row {
            name: "key too long: 16384 bits of RSA",
            config: usual,
            send: |lab| lab.ir_of(with_public_key(lab, &rsa_key(2048))),
            answer: (Ip, F::BadCertTemplate),
            after: Nothing,
        },
        Row {
            name: "key too weak: P-224",
            config: usual,
            send: |lab| lab.ir_of(with_public_key(lab, &p224_key())),
            answer: (Ip, F::BadCertTemplate),
            after: Nothing,
        },
        Row {
            name: "key of a type that is forbidden here",
            config: |config| config.default_profile.key_algorithms = vec![KeyAlgorithm::P256],
            send: |lab| {
                lab.key = SoftKey::generate(KeyAlgorithm::P384).unwrap();
                lab.ir_with(|_| {})
            },
            answer: (Ip, F::BadCertTemplate),
            after: Nothing,
        },
        Row {
            name: "a subject against the rules",
            config: |config| config.default_profile.subject = vec!["O=Operator".parse().unwrap()],
            send: |lab| lab.ir_with(|_| {}),
            answer: (Ip, F::BadCertTemplate),
            after: Nothing,
        },
        Row {
            name: "a critical extension that is not known",
            config: usual,
            send: |lab| {
                lab.ir_of(request(&lab.key, "CN=CS-1", |template| {
                    template.extensions = Some(vec![extension("1.2.3.4", true, &[5, 0])]);
                }))
            },
            answer: (Ip, F::UnacceptedExtension),
            after: Nothing,
        },
        Row {
            name: "an extension twice",
            config: usual,
            send: |lab| {
                lab.ir_of(request(&lab.key, "CN=CS-1", |template| {
                    template.extensions = Some(vec![extension("1.2.3.4", false, &[5, 0]); 2]);
                }))
            },
            answer: (Ip, F::BadCertTemplate),
            after: Nothing,
        },
        Row {
            name: "an extension that is malformed",
            config: usual,
            send: |lab| {
                lab.ir_of(request(&lab.key, "CN=CS-1", |template| {
                    template.extensions = Some(vec![extension("2.5.29.17", false, &[5, 0])]);
                }))
            },
            answer: (Ip, F::BadCertTemplate),
            after: Nothing,
        },
        Row {
            name: "a request to become an RA",
            config: usual,
            send: |lab| {
                let cmc_ra = [0x30, 10, 6, 8, 0x2b, 6, 1, 5, 5, 7, 3, 28];
                lab.ir_of(request(&lab.key, "CN=CS-1", |template| {
                    template.extensions = Some(vec![extension("2.5.29.37", false, &cmc_ra)]);
                }))
            },
            answer: (Ip, F::BadCertTemplate),
            after: Nothing,
        },
        Row {
            name: "a request to become a CA",
            config: usual,
            send: |lab| {
                lab.ir_of(request(&lab.key, "CN=CS-1", |template| {
                    template.extensions = Some(vec![extension("2.5.29.19", true, &[0x30, 3, 1, 1, 0xff])]);
                }))
            },
            answer: (Ip, F::BadCertTemplate),
            after: Nothing,
        },
        Row {
            name: "cr with a certificate of somewhere else",
            config: usual,
            send: |lab| {
                let wanted = request(&lab.key, "CN=CS-1", |_| {});
                lab.send(PkiBody::Cr(vec![wanted]), |_| {})
            },
            answer: (Cp, F::NotAuthorized),
            after: Nothing,
        },
        Row {
            name: "p10cr whose signature is another's",
            config: usual,
            send: |lab| {
                let other = key();
                let body = p10cr(&lab.key, "CN=CS-1", |info| {
                    info.public_key = SubjectPublicKeyInfoOwned::from_der(other.public_key()).unwrap();
                });
                lab.send(body, |_| {})
            },
            answer: (Cp, F::BadPop),
            after: Nothing,
        },
        Row {
            name: "p10cr that is no CertificationRequest",
            config: usual,
            send: |lab| lab.send(PkiBody::P10cr(Raw::encode(&Null).unwrap()), |_| {}),
            answer: (Cp, F::BadDataFormat),
            after: Nothing,
        },
        Row {
            name: "p10cr confirmed with certReqId 0",
            config: usual,
            send: |lab| {
                let body = p10cr(&lab.key, "CN=CS-1", |_| {});
                let answer = lab.client.send(&mut lab.ra, body);
                lab.certificate = issued(&answer);
                lab.send(cert_conf(&lab.certificate.clone()), |_| {})
            },
            answer: (Error, F::BadRequest),
            after: Ended(CertificateStatus::Refused),
        },
    ]);
}

fn kur(lab: &Lab, change: impl FnOnce(&mut cmp_message::CertRequest)) -> PkiBody {
    let old = Certificate::from_der(lab.certificate.as_slice()).unwrap();
    let mut wanted = update(&lab.key, "CN=CS-1", &old).cert_req.into_value();
    change(&mut wanted);
    PkiBody::Kur(vec![proven(&lab.key, wanted)])
}

fn with_old_cert_id(wanted: &mut cmp_message::CertRequest, change: impl FnOnce(&mut cmp_message::CertId)) {
    let mut id = wanted.old_cert_id().unwrap().unwrap();
    change(&mut id);
    wanted.controls = Some(vec![
        cmp_message::AttributeTypeAndValue::old_cert_id(&id).unwrap(),
    ]);
}

#[test]
fn a_wrong_update_leaves_the_old_certificate_as_it_is() {
    play(&[
        Row {
            name: "kur whose oldCertId has another serial number",
            config: usual,
            send: |lab| {
                lab.enroll();
                let body = kur(lab, |wanted| {
                    with_old_cert_id(wanted, |id| id.serial_number = der::asn1::Int::new(&[7]).unwrap());
                });
                lab.send(body, |_| {})
            },
            answer: (Kup, F::BadCertId),
            after: Kept(CertificateStatus::Confirmed),
        },
        Row {
            name: "kur whose oldCertId has another issuer",
            config: usual,
            send: |lab| {
                lab.enroll();
                let body = kur(lab, |wanted| {
                    with_old_cert_id(wanted, |id| {
                        id.issuer = GeneralName::DirectoryName(name("CN=other"))
                    });
                });
                lab.send(body, |_| {})
            },
            answer: (Kup, F::BadCertId),
            after: Kept(CertificateStatus::Confirmed),
        },
        Row {
            name: "kur with a MAC",
            config: usual,
            send: |lab| {
                lab.enroll();
                lab.client = with_mac(lab, "s3cret");
                let body = kur(lab, |_| {});
                lab.send(body, |_| {})
            },
            answer: (Error, F::WrongIntegrity),
            after: Kept(CertificateStatus::Confirmed),
        },
        Row {
            name: "kur for a revoked certificate",
            config: usual,
            send: |lab| {
                lab.enroll();
                lab.client.send(&mut lab.ra, rr(&lab.certificate, Some(1)));
                lab.client.begin();
                let body = kur(lab, |_| {});
                lab.send(body, |_| {})
            },
            answer: (Kup, F::CertRevoked),
            after: Kept(CertificateStatus::Revoked),
        },
        Row {
            name: "kur with a manufacturer certificate",
            config: usual,
            send: |lab| {
                lab.enroll();
                lab.client = Client::with_idevid(&lab.ra, "CS-1");
                let body = kur(lab, |_| {});
                lab.send(body, |_| {})
            },
            answer: (Kup, F::NotAuthorized),
            after: Kept(CertificateStatus::Confirmed),
        },
        Row {
            name: "kur for another subject",
            config: usual,
            send: |lab| {
                lab.enroll();
                let body = kur(lab, |wanted| wanted.cert_template.subject = Some(name("CN=CS-2")));
                lab.send(body, |_| {})
            },
            answer: (Kup, F::BadCertTemplate),
            after: Kept(CertificateStatus::Confirmed),
        },
        Row {
            name: "kur for the same key where a new one is wanted",
            config: |config| config.update_with_same_key = false,
            send: |lab| {
                lab.get_certificate();
                lab.client.send(&mut lab.ra, cert_conf(&lab.certificate));
                let enrolled = key_of(&lab.client_key());
                lab.client = Client::with_certificate(&lab.ra, enrolled, lab.certificate.clone());
                let body = kur(lab, |_| {});
                lab.send(body, |_| {})
            },
            answer: (Kup, F::BadCertTemplate),
            after: Kept(CertificateStatus::Confirmed),
        },
    ]);
}
