//! What is wrong with a nested message.

use super::*;
use cmp_message::crypto::SigningKey;
use der::asn1::BitString;

/// A nested message of an RA around this one; its header has the same transactionID and senderNonce, then is changed.
fn wrap(lab: &Lab, inner: &[Vec<u8>], change: impl FnOnce(&mut PkiHeader)) -> Vec<u8> {
    let mut ra = Client::with_issued(&lab.ra, "CN=RA", true);
    let header = inner.first().map(|inner| PkiMessage::peek_header(inner).unwrap());
    if let Some(header) = &header {
        ra.transaction_id = header
            .transaction_id
            .as_ref()
            .unwrap()
            .as_bytes()
            .try_into()
            .unwrap();
    }
    ra.message(nested(inner), |outer| {
        outer.sender_nonce = header.map_or(outer.sender_nonce.take(), |header| header.sender_nonce);
        change(outer);
    })
}

/// Nothing is that of a message inside.
fn fresh(outer: &mut PkiHeader) {
    outer.transaction_id = Some(octets(&[9; 16]));
    outer.sender_nonce = Some(octets(&[9; 16]));
}

/// Forgets the RA's own certificate, so that a row can say that there is nothing.
fn nothing_but_the_ra(lab: &Lab) {
    let all = lab.ra.store().certificates().unwrap();
    assert!(all.iter().all(|one| one.subject == "CN=RA"));
    assert_eq!(lab.ra.store().open_transaction_count(), 0);
}

#[test]
fn a_wrong_nested_message_is_refused() {
    type Send = fn(&mut Lab) -> Vec<u8>;
    let rows: [(&str, Send, F); 13] = [
        (
            "another transactionID than inside",
            |lab| {
                let inner = lab.client.message(lab.ir(), |_| {});
                wrap(lab, &[inner], |header| {
                    header.transaction_id = Some(octets(&[9; 16]))
                })
            },
            F::BadRequest,
        ),
        (
            "another senderNonce than inside",
            |lab| {
                let inner = lab.client.message(lab.ir(), |_| {});
                wrap(lab, &[inner], |header| {
                    header.sender_nonce = Some(octets(&[9; 16]))
                })
            },
            F::BadSenderNonce,
        ),
        (
            "another recipNonce than inside",
            |lab| {
                let mut inner = Client::with_idevid(&lab.ra, "CS-1");
                inner.recip_nonce = Some(vec![7; 16]);
                let inner = inner.message(poll_req(), |_| {});
                wrap(lab, &[inner], |header| {
                    header.recip_nonce = Some(octets(&[9; 16]))
                })
            },
            F::BadRecipientNonce,
        ),
        (
            "recipNonce on a batch, which begins a transaction",
            |lab| {
                let inner = lab.client.message(lab.ir(), |_| {});
                wrap(lab, &[inner], |header| {
                    fresh(header);
                    header.recip_nonce = Some(octets(&[7; 16]));
                })
            },
            F::BadRecipientNonce,
        ),
        (
            "a MAC outside",
            |lab| {
                let inner = lab.client.message(lab.ir(), |_| {});
                with_mac(lab, "s3cret").message(nested(&[inner]), |_| {})
            },
            F::WrongIntegrity,
        ),
        (
            "a bad protection inside",
            |lab| {
                let mut inner = PkiMessage::from_bytes(&lab.client.message(lab.ir(), |_| {})).unwrap();
                let other = key().sign(b"something else").unwrap();
                inner.protection = Some(BitString::from_bytes(&other).unwrap());
                wrap(lab, &[inner.to_bytes().unwrap()], |_| {})
            },
            F::BadMessageCheck,
        ),
        ("nothing inside", |lab| wrap(lab, &[], |_| {}), F::BadRequest),
        (
            "nested in nested",
            |lab| {
                let inner = lab.client.message(lab.ir(), |_| {});
                let inner = wrap(lab, &[inner], |_| {});
                wrap(lab, &[inner], |_| {})
            },
            F::BadRequest,
        ),
        (
            "by one that is no RA",
            |lab| {
                let inner = lab.client.message(lab.ir(), |_| {});
                let mut other = Client::with_idevid(&lab.ra, "CS-2");
                other.transaction_id = lab.client.transaction_id;
                let nonce = PkiMessage::peek_header(&inner).unwrap().sender_nonce;
                other.message(nested(&[inner]), |header| header.sender_nonce = nonce)
            },
            F::NotAuthorized,
        ),
        (
            "the same transactionID twice in a batch",
            |lab| {
                let one = lab.client.message(lab.ir(), |_| {});
                let two = lab.client.message(lab.ir(), |_| {});
                wrap(lab, &[one, two], fresh)
            },
            F::TransactionIdInUse,
        ),
        (
            "the same senderNonce twice in a batch",
            |lab| {
                let [one, two] = ["CS-1", "CS-2"].map(|serial| {
                    let client = Client::with_idevid(&lab.ra, serial);
                    client.message(lab.ir(), |header| header.sender_nonce = Some(octets(&[8; 16])))
                });
                wrap(lab, &[one, two], fresh)
            },
            F::BadSenderNonce,
        ),
        (
            "more messages in a batch than are taken",
            |lab| {
                let all = (0..101).map(|_| {
                    lab.client.begin();
                    lab.client.message(lab.ir(), |_| {})
                });
                let all = all.collect::<Vec<_>>();
                wrap(lab, &all, fresh)
            },
            F::BadRequest,
        ),
        (
            "something else inside",
            |lab| {
                let ra = Client::with_issued(&lab.ra, "CN=RA", true);
                let body = PkiBody::Nested(Raw::encode(&vec![1_u8, 2]).unwrap());
                ra.message(body, |_| {})
            },
            F::BadDataFormat,
        ),
    ];
    for (name, message, expected) in rows {
        let mut lab = Lab::new(usual);
        let message = message(&mut lab);
        let answer = lab.post(&message);
        assert_eq!(answer.body.body_type(), Error, "{name}");
        assert_eq!(failure(&answer), expected, "{name}");
        nothing_but_the_ra(&lab);
    }
}
