//! What is wrong with the protection.

use super::*;
use cmp_message::{
    ErrorMsgContent, PkiStatusInfo,
    crypto::{HashAlgorithm, SignatureAlgorithm, SigningKey},
    mac::PBMAC1,
};
use der::asn1::BitString;

#[test]
fn wrong_protection_gets_nothing_and_changes_nothing() {
    play(&[
        Row {
            name: "protection and protectionAlg missing",
            config: usual,
            send: |lab| {
                lab.ir_changed(|message| {
                    let mut header = message.header.clone().into_value();
                    header.protection_alg = None;
                    *message = PkiMessage::new(header, message.body.clone().into_value()).unwrap();
                })
            },
            answer: (Error, F::BadMessageCheck),
            after: Nothing,
        },
        Row {
            name: "protectionAlg without protection",
            config: usual,
            send: |lab| lab.ir_changed(|message| message.protection = None),
            answer: (Error, F::BadMessageCheck),
            after: Nothing,
        },
        Row {
            name: "protection without protectionAlg",
            config: usual,
            send: |lab| lab.ir_with(|header| header.protection_alg = None),
            answer: (Error, F::BadMessageCheck),
            after: Nothing,
        },
        Row {
            name: "wrong signature",
            config: usual,
            send: |lab| {
                lab.ir_changed(|message| {
                    let other = key().sign(b"something else").unwrap();
                    message.protection = Some(BitString::from_bytes(&other).unwrap());
                })
            },
            answer: (Error, F::BadMessageCheck),
            after: Nothing,
        },
        Row {
            name: "wrong MAC secret",
            config: usual,
            send: |lab| {
                lab.client = with_mac(lab, "wrong");
                lab.ir_with(|_| {})
            },
            answer: (Error, F::BadMessageCheck),
            after: Nothing,
        },
        Row {
            name: "unknown reference of a secret",
            config: usual,
            send: |lab| {
                lab.client = with_mac(lab, "s3cret");
                lab.ir_with(|header| header.sender_kid = Some(octets(b"r9")))
            },
            answer: (Error, F::BadMessageCheck),
            after: Nothing,
        },
        Row {
            name: "no reference of a secret",
            config: usual,
            send: |lab| {
                lab.client = with_mac(lab, "s3cret");
                lab.ir_with(|header| header.sender_kid = None)
            },
            answer: (Error, F::BadMessageCheck),
            after: Nothing,
        },
        Row {
            name: "unknown protection algorithm",
            config: usual,
            send: |lab| {
                lab.ir_with(|header| {
                    header.protection_alg.as_mut().unwrap().oid = "1.2.840.10040.4.3".parse().unwrap();
                })
            },
            answer: (Error, F::BadAlg),
            after: Nothing,
        },
        Row {
            name: "weak MAC: few iterations",
            config: usual,
            send: |lab| {
                let algorithm = MacAlgorithm::PasswordBasedMac {
                    owf: HashAlgorithm::Sha256,
                    mac: HashAlgorithm::Sha256,
                    iterations: 10,
                    salt: vec![7; 16],
                };
                lab.client = Client::with_secret(&lab.ra, "s3cret", algorithm);
                lab.ir_with(|_| {})
            },
            answer: (Error, F::BadAlg),
            after: Nothing,
        },
        Row {
            name: "a signature algorithm that is not allowed here",
            config: |config| config.signature_algorithms = vec![SignatureAlgorithm::Ed25519],
            send: |lab| lab.ir_with(|_| {}),
            answer: (Error, F::BadAlg),
            after: Nothing,
        },
        Row {
            name: "a MAC that is not allowed here",
            config: |config| config.mac_algorithms = vec![PBMAC1],
            send: |lab| {
                lab.client = with_mac(lab, "s3cret");
                lab.ir_with(|_| {})
            },
            answer: (Error, F::BadAlg),
            after: Nothing,
        },
        Row {
            name: "algorithm changed in mid transaction: MAC after signature",
            config: usual,
            send: |lab| {
                lab.get_certificate();
                let mut other = with_mac(lab, "s3cret");
                other.transaction_id = lab.client.transaction_id;
                other.recip_nonce = lab.client.recip_nonce.clone();
                let message = other.message(cert_conf(&lab.certificate), |_| {});
                lab.post(&message)
            },
            answer: (Error, F::WrongIntegrity),
            after: GoesOn,
        },
        Row {
            name: "certConf signed with the new key",
            config: usual,
            send: |lab| {
                lab.get_certificate();
                let new_key = key_of(&lab.client_key());
                let mut other = Client::with_certificate(&lab.ra, new_key, lab.certificate.clone());
                other.transaction_id = lab.client.transaction_id;
                other.recip_nonce = lab.client.recip_nonce.clone();
                let message = other.message(cert_conf(&lab.certificate), |_| {});
                lab.post(&message)
            },
            answer: (Error, F::BadMessageCheck),
            after: GoesOn,
        },
        Row {
            name: "error of somebody else",
            config: usual,
            send: |lab| {
                lab.get_certificate();
                let mut other = Client::with_idevid(&lab.ra, "CS-2");
                other.transaction_id = lab.client.transaction_id;
                other.recip_nonce = lab.client.recip_nonce.clone();
                let error = PkiStatusInfo::rejection(F::SystemFailure, "");
                let body = PkiBody::Error(ErrorMsgContent::from(error));
                lab.post(&other.message(body, |_| {}))
            },
            answer: (Error, F::BadMessageCheck),
            after: GoesOn,
        },
        Row {
            name: "certConf without protection",
            config: usual,
            send: |lab| {
                lab.get_certificate();
                let body = cert_conf(&lab.certificate);
                let message = lab.client.message(body, |header| header.protection_alg = None);
                let mut message = PkiMessage::from_bytes(&message).unwrap();
                message.protection = None;
                lab.post(&message.to_bytes().unwrap())
            },
            answer: (Error, F::BadMessageCheck),
            after: GoesOn,
        },
        Row {
            name: "unprotected error",
            config: usual,
            send: |lab| {
                lab.get_certificate();
                let error = PkiStatusInfo::rejection(F::SystemFailure, "");
                let body = PkiBody::Error(ErrorMsgContent::from(error));
                let message = lab.client.message(body, |header| header.protection_alg = None);
                let mut message = PkiMessage::from_bytes(&message).unwrap();
                message.protection = None;
                lab.post(&message.to_bytes().unwrap())
            },
            answer: (Error, F::BadMessageCheck),
            after: GoesOn,
        },
    ]);
}
