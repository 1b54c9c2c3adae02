//! The header (RFC 9483 §3.1), and messages that are none.

use cmp_message::{InfoTypeAndValue, Raw, general::CONFIRM_WAIT_TIME};
use core::time::Duration;
use der::asn1::{GeneralizedTime, OctetString};

use super::{
    How::{CertConf, Ir, Mac},
    check, row,
};
use crate::ra::NOW_S;

fn octets(n: usize) -> Option<OctetString> {
    Some(OctetString::new(vec![9; n]).unwrap())
}

fn time(s: u64) -> GeneralizedTime {
    GeneralizedTime::from_unix_duration(Duration::from_secs(s)).unwrap()
}

fn confirm_wait_time() -> InfoTypeAndValue {
    InfoTypeAndValue::with_value(CONFIRM_WAIT_TIME, &time(NOW_S + 60)).unwrap()
}

#[test]
fn a_header_that_does_not_fit_is_refused_with_its_own_error() {
    check(&[
        row(
            "pvno 1",
            Ir(|ra, _| ra.header = Some(|header| header.pvno = 1)),
            "Validation(UnsupportedVersion(1))",
        ),
        row(
            "pvno 4",
            Ir(|ra, _| ra.header = Some(|header| header.pvno = 4)),
            "Validation(UnsupportedVersion(4))",
        ),
        row(
            "transactionID missing",
            Ir(|ra, _| ra.header = Some(|header| header.transaction_id = None)),
            "Validation(MissingTransactionId)",
        ),
        row(
            "wrong transactionID",
            Ir(|ra, _| ra.header = Some(|header| header.transaction_id = octets(16))),
            "Validation(WrongTransactionId)",
        ),
        row(
            "wrong transactionID in the answer to certConf",
            CertConf(|ra| ra.header = Some(|header| header.transaction_id = octets(16))),
            "Validation(WrongTransactionId)",
        ),
        row(
            "short transactionID",
            Ir(|ra, _| ra.header = Some(|header| header.transaction_id = octets(15))),
            "Validation(TransactionIdLength(15))",
        ),
        row(
            "recipNonce missing",
            Ir(|ra, _| ra.header = Some(|header| header.recip_nonce = None)),
            "Validation(MissingRecipNonce)",
        ),
        row(
            "wrong recipNonce",
            Mac(|ra, _| ra.header = Some(|header| header.recip_nonce = octets(16))),
            "Validation(WrongRecipNonce)",
        ),
        row(
            "senderNonce missing",
            Ir(|ra, _| ra.header = Some(|header| header.sender_nonce = None)),
            "Validation(MissingSenderNonce)",
        ),
        row(
            "short senderNonce",
            Ir(|ra, _| ra.header = Some(|header| header.sender_nonce = octets(15))),
            "Validation(SenderNonceLength(15))",
        ),
        row(
            "senderNonce that is ours",
            Ir(|ra, _| ra.header = Some(|header| header.sender_nonce = header.recip_nonce.clone())),
            "Validation(ReusedSenderNonce)",
        ),
        row(
            "reused senderNonce",
            CertConf(|ra| {
                ra.header = Some(|header| header.sender_nonce = Some(OctetString::new([1; 16]).unwrap()))
            }),
            "RepeatedSenderNonce",
        ),
        row(
            "messageTime far off",
            Ir(|ra, config| {
                config.max_clock_skew_s = Some(300);
                ra.header = Some(|header| header.message_time = Some(time(NOW_S - 301)));
            }),
            "Validation(MessageTime(301))",
        ),
        row(
            "messageTime missing where the policy needs it",
            Ir(|_, config| config.max_clock_skew_s = Some(300)),
            "MissingMessageTime",
        ),
        row(
            "messageTime missing where confirmWaitTime needs it",
            Ir(|ra, _| ra.header = Some(|header| header.general_info = Some(vec![confirm_wait_time()]))),
            "Validation(MissingMessageTime)",
        ),
        row(
            "implicitConfirm together with confirmWaitTime",
            Ir(|ra, config| {
                config.implicit_confirm = true;
                ra.header = Some(|header| {
                    header.message_time = Some(time(NOW_S));
                    let implicit = InfoTypeAndValue::implicit_confirm().unwrap();
                    header.general_info = Some(vec![implicit, confirm_wait_time()]);
                });
            }),
            "Validation(ImplicitConfirmWithWaitTime)",
        ),
    ]);
}

#[test]
fn bytes_that_are_no_message_are_refused_unread() {
    check(&[
        row("empty", Ir(|ra, _| ra.tamper = Some(|_| Vec::new())), "Malformed"),
        row(
            "not DER",
            Ir(|ra, _| ra.tamper = Some(|_| b"<html>".to_vec())),
            "Malformed",
        ),
        row(
            "another structure",
            Ir(|ra, _| ra.tamper = Some(|_| Raw::new([0x30, 0]).unwrap().as_bytes().to_vec())),
            "Malformed",
        ),
        row(
            "half a message",
            Ir(|ra, _| {
                ra.tamper = Some(|message| {
                    let bytes = message.to_bytes().unwrap();
                    bytes[..bytes.len() / 2].to_vec()
                })
            }),
            "Malformed",
        ),
        row(
            "trailing bytes",
            Ir(|ra, _| ra.tamper = Some(|message| [message.to_bytes().unwrap(), vec![0]].concat())),
            "Malformed",
        ),
        row(
            "BER: a length that is longer than it need be",
            Ir(|ra, _| {
                ra.tamper = Some(|message| {
                    let bytes = message.to_bytes().unwrap();
                    assert_eq!(bytes[..2], [0x30, 0x82]);
                    [&[0x30, 0x83, 0], &bytes[2..]].concat()
                })
            }),
            "Malformed",
        ),
        row(
            "BER: an indefinite length",
            Ir(|ra, _| {
                ra.tamper = Some(|message| {
                    let bytes = message.to_bytes().unwrap();
                    [&[0x30, 0x80], &bytes[4..], &[0, 0]].concat()
                })
            }),
            "Malformed",
        ),
        row(
            "10-MB message",
            Ir(|ra, _| ra.tamper = Some(|_| vec![0x30; 10_000_000])),
            "TooLarge(10000000)",
        ),
    ]);
}
