//! What does not fit into its transaction.

use super::*;
use cmp_message::{ErrorMsgContent, PkiStatusInfo, crypto::HashAlgorithm};
use der::{asn1::Null, referenced::RefToOwned};
use lab_ra::PollAfter;

fn implicitly(lab: &mut Lab) {
    let ir = lab.ir();
    let answer = lab.client.send_with(&mut lab.ra, NOW_S, ir, ask_implicit_confirm);
    lab.certificate = issued(&answer);
}

const DELAY: PollAfter = PollAfter {
    polls: 1,
    check_after_s: 1,
};

#[test]
fn what_does_not_fit_into_its_transaction_is_refused() {
    play(&[
        Row {
            name: "a body that is not for an RA",
            config: usual,
            send: |lab| lab.send(PkiBody::PkiConf(Null), |_| {}),
            answer: (Error, F::BadRequest),
            after: Nothing,
        },
        Row {
            name: "a body of CMP that the profile does not have",
            config: usual,
            send: |lab| lab.send(PkiBody::Krr(Raw::encode(&Null).unwrap()), |_| {}),
            answer: (Error, F::BadRequest),
            after: Nothing,
        },
        Row {
            name: "second request in a transaction",
            config: usual,
            send: |lab| {
                lab.get_certificate();
                lab.ir_with(|_| {})
            },
            answer: (Error, F::BadRequest),
            after: GoesOn,
        },
        Row {
            name: "certConf where none is expected",
            config: usual,
            send: |lab| {
                implicitly(lab);
                lab.send(cert_conf(&lab.certificate.clone()), |_| {})
            },
            answer: (Error, F::BadRequest),
            after: Ended(CertificateStatus::Confirmed),
        },
        Row {
            name: "certConf for another hash",
            config: usual,
            send: |lab| {
                lab.get_certificate();
                lab.send(cert_conf(b"another"), |_| {})
            },
            answer: (Error, F::BadCertId),
            after: Ended(CertificateStatus::Refused),
        },
        Row {
            name: "certConf with another certReqId",
            config: usual,
            send: |lab| {
                lab.get_certificate();
                lab.send(cert_conf_of_p10cr(&lab.certificate.clone()), |_| {})
            },
            answer: (Error, F::BadRequest),
            after: Ended(CertificateStatus::Refused),
        },
        Row {
            name: "certConf with two CertStatus",
            config: usual,
            send: |lab| {
                lab.get_certificate();
                let twice = vec![cert_status(&lab.certificate); 2];
                lab.send(PkiBody::CertConf(twice), |_| {})
            },
            answer: (Error, F::BadRequest),
            after: Ended(CertificateStatus::Refused),
        },
        Row {
            name: "certConf that accepts and has a failInfo",
            config: usual,
            send: |lab| {
                lab.get_certificate();
                let mut wrong = cert_status(&lab.certificate);
                let mut info = PkiStatusInfo::accepted();
                info.fail_info = Some(F::BadRequest.into());
                wrong.status_info = Some(info);
                lab.send(PkiBody::CertConf(vec![wrong]), |_| {})
            },
            answer: (Error, F::BadRequest),
            after: Ended(CertificateStatus::Refused),
        },
        Row {
            name: "certConf with an unknown status",
            config: usual,
            send: |lab| {
                lab.get_certificate();
                let mut wrong = cert_status(&lab.certificate);
                wrong.status_info = Some(cmp_message::PkiStatus(9).into());
                lab.send(PkiBody::CertConf(vec![wrong]), |_| {})
            },
            answer: (Error, F::BadRequest),
            after: Ended(CertificateStatus::Refused),
        },
        Row {
            name: "hashAlg in a certConf of version 2",
            config: usual,
            send: |lab| {
                lab.get_certificate();
                let mut wrong = cert_status(&lab.certificate);
                wrong.hash_alg = Some(HashAlgorithm::Sha256.algorithm_identifier().ref_to_owned());
                lab.send(PkiBody::CertConf(vec![wrong]), |header| header.pvno = 2)
            },
            answer: (Error, F::BadRequest),
            after: Ended(CertificateStatus::Refused),
        },
        Row {
            name: "certConf repeated",
            config: usual,
            send: |lab| {
                lab.get_certificate();
                let message = lab.client.message(cert_conf(&lab.certificate), |_| {});
                assert_eq!(lab.post(&message).body.body_type(), PkiConf);
                lab.post(&message)
            },
            answer: (Error, F::CertConfirmed),
            after: Ended(CertificateStatus::Confirmed),
        },
        Row {
            name: "certConf late",
            config: |config| config.confirm_wait_s = 10,
            send: |lab| {
                lab.get_certificate();
                let message = lab.client.message(cert_conf(&lab.certificate), |_| {});
                PkiMessage::from_bytes(&lab.ra.handle(NOW_S + 11, &message)).unwrap()
            },
            answer: (Error, F::BadRequest),
            after: Ended(CertificateStatus::Expired),
        },
        Row {
            name: "certConf for a certificate that was revoked meanwhile",
            config: usual,
            send: |lab| {
                lab.get_certificate();
                let serial = serial(&lab.certificate);
                let reason = lab_ra::RevocationReason::KeyCompromise;
                lab.ra.store().revoke(&serial, reason, NOW_S).unwrap();
                lab.send(cert_conf(&lab.certificate.clone()), |_| {})
            },
            answer: (Error, F::CertRevoked),
            after: Ended(CertificateStatus::Revoked),
        },
        Row {
            name: "pollReq where nothing is delayed",
            config: usual,
            send: |lab| {
                lab.get_certificate();
                lab.send(poll_req(), |_| {})
            },
            answer: (Error, F::BadRequest),
            after: GoesOn,
        },
        Row {
            name: "certConf that answers the message before the ip",
            config: |config| config.poll_after = Some(PollAfter { polls: 0, ..DELAY }),
            send: |lab| {
                let ir = lab.ir();
                lab.client.send(&mut lab.ra, ir);
                let before = lab.client.recip_nonce.clone();
                lab.certificate = issued(&lab.client.send(&mut lab.ra, poll_req()));
                lab.recip_nonce = lab.client.recip_nonce.clone();
                lab.client.recip_nonce = before;
                lab.send(cert_conf(&lab.certificate.clone()), |_| {})
            },
            answer: (Error, F::BadRecipientNonce),
            after: GoesOn,
        },
        Row {
            name: "pollReq without a transaction",
            config: usual,
            send: |lab| {
                lab.client.recip_nonce = Some(vec![1; 16]);
                lab.send(poll_req(), |_| {})
            },
            answer: (Error, F::BadRequest),
            after: Nothing,
        },
        Row {
            name: "anything after an error",
            config: usual,
            send: |lab| {
                lab.get_certificate();
                let error = PkiStatusInfo::rejection(F::SystemFailure, "out of flash");
                let body = PkiBody::Error(ErrorMsgContent::from(error));
                let answer = lab.client.send(&mut lab.ra, body);
                assert_eq!(answer.body.body_type(), PkiConf);
                lab.client.recip_nonce = lab.recip_nonce.clone();
                lab.send(cert_conf(&lab.certificate.clone()), |_| {})
            },
            answer: (Error, F::BadRequest),
            after: Ended(CertificateStatus::Refused),
        },
        Row {
            name: "transaction expired",
            config: |config| config.poll_after = Some(DELAY),
            send: |lab| {
                let ir = lab.ir();
                lab.client.send(&mut lab.ra, ir);
                let message = lab.client.message(poll_req(), |_| {});
                PkiMessage::from_bytes(&lab.ra.handle(NOW_S + 4_000, &message)).unwrap()
            },
            answer: (Error, F::BadRequest),
            after: Nothing,
        },
        Row {
            name: "more transactions than the limit",
            config: |config| config.max_transactions = 1,
            send: |lab| {
                lab.get_certificate();
                lab.client.begin();
                lab.ir_with(|_| {})
            },
            answer: (Ip, F::SystemUnavail),
            after: GoesOn,
        },
    ]);
}
