//! What is wrong with the header.

use super::*;
use cmp_message::general;
use der::{Encode, asn1::GeneralizedTime};

fn info_of(infos: &[InfoTypeAndValue]) -> impl FnOnce(&mut PkiHeader) + use<> {
    let infos = infos.to_vec();
    move |header| header.general_info = Some(infos)
}

fn wait_time(value: &impl Encode) -> InfoTypeAndValue {
    InfoTypeAndValue::with_value(general::CONFIRM_WAIT_TIME, value).unwrap()
}

fn in_an_hour() -> GeneralizedTime {
    let time = std::time::Duration::from_secs(NOW_S + 3_600);
    GeneralizedTime::from_unix_duration(time).unwrap()
}

#[test]
fn a_wrong_header_is_refused_with_its_reason() {
    play(&[
        Row {
            name: "pvno too low",
            config: usual,
            send: |lab| lab.ir_with(|header| header.pvno = 1),
            answer: (Error, F::UnsupportedVersion),
            after: Nothing,
        },
        Row {
            name: "pvno too high",
            config: usual,
            send: |lab| {
                let answer = lab.ir_with(|header| header.pvno = 4);
                assert_eq!(answer.header.pvno, 3);
                answer
            },
            answer: (Error, F::UnsupportedVersion),
            after: Nothing,
        },
        Row {
            name: "transactionID missing",
            config: usual,
            send: |lab| lab.ir_with(|header| header.transaction_id = None),
            answer: (Error, F::BadDataFormat),
            after: Nothing,
        },
        Row {
            name: "transactionID short",
            config: usual,
            send: |lab| lab.ir_with(|header| header.transaction_id = Some(octets(&[1; 15]))),
            answer: (Error, F::BadDataFormat),
            after: Nothing,
        },
        Row {
            name: "transactionID long",
            config: usual,
            send: |lab| lab.ir_with(|header| header.transaction_id = Some(octets(&[1; 65]))),
            answer: (Error, F::BadDataFormat),
            after: Nothing,
        },
        Row {
            name: "wrong transactionID",
            config: usual,
            send: |lab| {
                lab.get_certificate();
                lab.client.transaction_id = random();
                lab.send(cert_conf(&lab.certificate.clone()), |_| {})
            },
            answer: (Error, F::BadRequest),
            after: GoesOn,
        },
        Row {
            name: "wrong recipNonce",
            config: usual,
            send: |lab| {
                lab.get_certificate();
                lab.client.recip_nonce = Some(vec![1; 16]);
                lab.send(cert_conf(&lab.certificate.clone()), |_| {})
            },
            answer: (Error, F::BadRecipientNonce),
            after: GoesOn,
        },
        Row {
            name: "missing recipNonce",
            config: usual,
            send: |lab| {
                lab.get_certificate();
                lab.client.recip_nonce = None;
                lab.send(cert_conf(&lab.certificate.clone()), |_| {})
            },
            answer: (Error, F::BadRecipientNonce),
            after: GoesOn,
        },
        Row {
            name: "recipNonce on a first message",
            config: usual,
            send: |lab| lab.ir_with(|header| header.recip_nonce = Some(octets(&[1; 16]))),
            answer: (Error, F::BadRecipientNonce),
            after: Nothing,
        },
        Row {
            name: "missing senderNonce",
            config: usual,
            send: |lab| lab.ir_with(|header| header.sender_nonce = None),
            answer: (Error, F::BadSenderNonce),
            after: Nothing,
        },
        Row {
            name: "short senderNonce",
            config: usual,
            send: |lab| lab.ir_with(|header| header.sender_nonce = Some(octets(&[1; 15]))),
            answer: (Error, F::BadSenderNonce),
            after: Nothing,
        },
        Row {
            name: "long senderNonce",
            config: usual,
            send: |lab| lab.ir_with(|header| header.sender_nonce = Some(octets(&[1; 65]))),
            answer: (Error, F::BadSenderNonce),
            after: Nothing,
        },
        Row {
            name: "senderNonce of the message before",
            config: usual,
            send: |lab| {
                let ir = lab
                    .client
                    .message(lab.ir(), |header| header.sender_nonce = Some(octets(&[9; 16])));
                let answer = lab.ra.handle(NOW_S, &ir);
                lab.certificate = issued(&lab.client.take(NOW_S, &ir, &answer));
                lab.recip_nonce = lab.client.recip_nonce.clone();
                lab.send(cert_conf(&lab.certificate.clone()), |header| {
                    header.sender_nonce = Some(octets(&[9; 16]));
                })
            },
            answer: (Error, F::BadSenderNonce),
            after: GoesOn,
        },
        Row {
            name: "senderNonce that is ours, mirrored",
            config: usual,
            send: |lab| {
                lab.get_certificate();
                let ours = lab.recip_nonce.clone().unwrap();
                lab.send(cert_conf(&lab.certificate.clone()), |header| {
                    header.sender_nonce = Some(octets(&ours));
                })
            },
            answer: (Error, F::BadSenderNonce),
            after: GoesOn,
        },
        Row {
            name: "transactionID in use",
            config: usual,
            send: |lab| {
                lab.get_certificate();
                lab.client.recip_nonce = None;
                lab.ir_with(|_| {})
            },
            answer: (Error, F::TransactionIdInUse),
            after: GoesOn,
        },
        Row {
            name: "messageTime far off",
            config: |config| config.header.max_clock_skew_s = Some(60),
            send: |lab| {
                lab.client.now_s = NOW_S - 61;
                lab.ir_with(|_| {})
            },
            answer: (Error, F::BadTime),
            after: Nothing,
        },
        Row {
            name: "messageTime missing where it is wanted",
            config: |config| config.header.message_time = true,
            send: |lab| lab.ir_with(|header| header.message_time = None),
            answer: (Error, F::BadTime),
            after: Nothing,
        },
        Row {
            name: "messageTime missing beside confirmWaitTime",
            config: usual,
            send: |lab| {
                lab.ir_with(|header| {
                    info_of(&[wait_time(&in_an_hour())])(header);
                    header.message_time = None;
                })
            },
            answer: (Error, F::BadTime),
            after: Nothing,
        },
        Row {
            name: "implicitConfirm together with confirmWaitTime",
            config: usual,
            send: |lab| {
                let implicit = InfoTypeAndValue::implicit_confirm().unwrap();
                lab.ir_with(info_of(&[implicit, wait_time(&in_an_hour())]))
            },
            answer: (Error, F::BadRequest),
            after: Nothing,
        },
        Row {
            name: "implicitConfirm that is not NULL",
            config: usual,
            send: |lab| {
                let wrong = InfoTypeAndValue::with_value(general::IMPLICIT_CONFIRM, &1_u8).unwrap();
                lab.ir_with(info_of(&[wrong]))
            },
            answer: (Error, F::BadRequest),
            after: Nothing,
        },
        Row {
            name: "implicitConfirm in a certConf",
            config: usual,
            send: |lab| {
                lab.get_certificate();
                lab.send(cert_conf(&lab.certificate.clone()), ask_implicit_confirm)
            },
            answer: (Error, F::BadRequest),
            after: GoesOn,
        },
        Row {
            name: "confirmWaitTime that is no GeneralizedTime",
            config: usual,
            send: |lab| lab.ir_with(info_of(&[wait_time(&500_u16)])),
            answer: (Error, F::BadDataFormat),
            after: Nothing,
        },
        Row {
            name: "certProfile in a certConf",
            config: usual,
            send: |lab| {
                lab.get_certificate();
                let profile = InfoTypeAndValue::cert_profile("station").unwrap();
                lab.send(cert_conf(&lab.certificate.clone()), info_of(&[profile]))
            },
            answer: (Error, F::BadRequest),
            after: GoesOn,
        },
        Row {
            name: "two names in certProfile",
            config: usual,
            send: |lab| {
                let names = vec!["a".to_owned(), "b".to_owned()];
                let two = InfoTypeAndValue::with_value(CERT_PROFILE, &names).unwrap();
                lab.ir_with(info_of(&[two]))
            },
            answer: (Error, F::BadRequest),
            after: Nothing,
        },
        Row {
            name: "a certProfile that is not known",
            config: usual,
            send: |lab| lab.ir_with(info_of(&[InfoTypeAndValue::cert_profile("nobody").unwrap()])),
            answer: (Ip, F::BadRequest),
            after: Nothing,
        },
    ]);
}
