//! What is wrong with a revocation.

use super::*;
use cmp_message::{BodyType::Rp, crypto::SigningKey};
use der::Decode;
use spki::SubjectPublicKeyInfoOwned;

/// Enrols, then asks for a revocation whose details were changed.
fn revoke(lab: &mut Lab, change: impl FnOnce(&mut cmp_message::RevDetails)) -> PkiMessage {
    lab.enroll();
    let mut details = rev_details(&lab.certificate, Some(1));
    change(&mut details);
    lab.send(PkiBody::Rr(vec![details]), |_| {})
}

#[test]
fn a_wrong_revocation_revokes_nothing() {
    const KEPT: After = Kept(CertificateStatus::Confirmed);
    play(&[
        Row {
            name: "rr with a MAC",
            config: usual,
            send: |lab| {
                lab.enroll();
                lab.client = with_mac(lab, "s3cret");
                lab.send(rr(&lab.certificate.clone(), None), |_| {})
            },
            answer: (Rp, F::WrongIntegrity),
            after: KEPT,
        },
        Row {
            name: "rr unprotected",
            config: usual,
            send: |lab| {
                lab.enroll();
                let message = lab
                    .client
                    .message(rr(&lab.certificate, None), |header| header.protection_alg = None);
                let mut message = PkiMessage::from_bytes(&message).unwrap();
                message.protection = None;
                lab.post(&message.to_bytes().unwrap())
            },
            answer: (Rp, F::BadMessageCheck),
            after: KEPT,
        },
        Row {
            name: "rr for an unknown serial number",
            config: usual,
            send: |lab| {
                revoke(lab, |details| {
                    details.cert_details.serial_number = Some(der::asn1::Int::new(&[7]).unwrap());
                })
            },
            answer: (Rp, F::BadCertId),
            after: KEPT,
        },
        Row {
            name: "rr for another issuer",
            config: usual,
            send: |lab| {
                revoke(lab, |details| {
                    details.cert_details.issuer = Some(name("CN=other"))
                })
            },
            answer: (Rp, F::BadCertId),
            after: KEPT,
        },
        Row {
            name: "rr without serial number",
            config: usual,
            send: |lab| revoke(lab, |details| details.cert_details.serial_number = None),
            answer: (Rp, F::AddInfoNotAvailable),
            after: KEPT,
        },
        Row {
            name: "rr without issuer",
            config: usual,
            send: |lab| revoke(lab, |details| details.cert_details.issuer = None),
            answer: (Rp, F::AddInfoNotAvailable),
            after: KEPT,
        },
        Row {
            name: "rr for another subject",
            config: usual,
            send: |lab| {
                revoke(lab, |details| {
                    details.cert_details.subject = Some(name("CN=CS-2"))
                })
            },
            answer: (Rp, F::BadCertId),
            after: KEPT,
        },
        Row {
            name: "rr for another key",
            config: usual,
            send: |lab| {
                revoke(lab, |details| {
                    let other = SubjectPublicKeyInfoOwned::from_der(key().public_key()).unwrap();
                    details.cert_details.public_key = Some(other);
                })
            },
            answer: (Rp, F::BadCertId),
            after: KEPT,
        },
        Row {
            name: "rr for another version",
            config: usual,
            send: |lab| revoke(lab, |details| details.cert_details.version = Some(0)),
            answer: (Rp, F::BadRequest),
            after: KEPT,
        },
        Row {
            name: "rr with an invalid reason",
            config: usual,
            send: |lab| {
                revoke(lab, |details| {
                    details.crl_entry_details = Some(vec![extension("2.5.29.21", false, &[10, 1, 7])]);
                })
            },
            answer: (Rp, F::BadDataFormat),
            after: KEPT,
        },
        Row {
            name: "rr with two reasons",
            config: usual,
            send: |lab| {
                revoke(lab, |details| {
                    let reason = details.crl_entry_details.as_ref().unwrap()[0].clone();
                    details.crl_entry_details = Some(vec![reason.clone(), reason]);
                })
            },
            answer: (Rp, F::BadRequest),
            after: KEPT,
        },
        Row {
            name: "rr for two certificates",
            config: usual,
            send: |lab| {
                lab.enroll();
                let details = rev_details(&lab.certificate, None);
                lab.send(PkiBody::Rr(vec![details.clone(), details]), |_| {})
            },
            answer: (Rp, F::BadRequest),
            after: KEPT,
        },
        Row {
            name: "rr by somebody else",
            config: usual,
            send: |lab| {
                lab.enroll();
                lab.client = Client::with_idevid(&lab.ra, "CS-2");
                lab.send(rr(&lab.certificate.clone(), None), |_| {})
            },
            answer: (Rp, F::NotAuthorized),
            after: KEPT,
        },
        Row {
            name: "rr for what is revoked already",
            config: usual,
            send: |lab| {
                lab.enroll();
                lab.client.send(&mut lab.ra, rr(&lab.certificate, Some(1)));
                lab.client.begin();
                lab.send(rr(&lab.certificate.clone(), Some(4)), |_| {})
            },
            answer: (Rp, F::CertRevoked),
            after: Kept(CertificateStatus::Revoked),
        },
        Row {
            name: "removeFromCRL for what is valid",
            config: usual,
            send: |lab| {
                lab.enroll();
                lab.send(rr(&lab.certificate.clone(), Some(8)), |_| {})
            },
            answer: (Rp, F::BadCertId),
            after: KEPT,
        },
        Row {
            name: "removeFromCRL for what is revoked for good",
            config: usual,
            send: |lab| {
                lab.enroll();
                lab.client.send(&mut lab.ra, rr(&lab.certificate, Some(1)));
                lab.client.begin();
                lab.send(rr(&lab.certificate.clone(), Some(8)), |_| {})
            },
            answer: (Rp, F::CertRevoked),
            after: Kept(CertificateStatus::Revoked),
        },
        Row {
            name: "rr that is replayed after the hold has ended",
            config: usual,
            send: |lab| {
                lab.enroll();
                let hold = lab.client.message(rr(&lab.certificate, Some(6)), |_| {});
                assert_eq!(lab.post(&hold).body.body_type(), Rp);
                lab.client.begin();
                lab.send(rr(&lab.certificate.clone(), Some(8)), |_| {});
                lab.post(&hold)
            },
            answer: (Rp, F::TransactionIdInUse),
            after: KEPT,
        },
    ]);
}
