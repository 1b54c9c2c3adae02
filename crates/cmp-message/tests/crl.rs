//! CRLs that OpenSSL made (`data/make-crls.sh`).
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs
)]

use cmp_message::{
    certificate::Certificate,
    crl::{Crl, CrlError},
    crypto::RustCrypto,
};

const FULL: &[u8] = include_bytes!("data/crl.der");
const EMPTY: &[u8] = include_bytes!("data/crl-empty.der");
const PARTIAL: &[u8] = include_bytes!("data/crl-partial.der");
const INDIRECT: &[u8] = include_bytes!("data/crl-indirect.der");
/// 1 June and 1 July 2025.
const THIS_UPDATE_S: u64 = 1_748_736_000;
const NEXT_UPDATE_S: u64 = 1_751_328_000;

fn ca() -> Certificate {
    Certificate::from_der(include_bytes!("data/crl-ca.der").as_slice()).unwrap()
}

fn verify(der: &[u8], now_s: u64) -> Result<(), CrlError> {
    Crl::from_der(der)
        .unwrap()
        .verify(&RustCrypto, &ca(), Some(now_s))
}

#[test]
fn what_openssl_put_into_a_crl_is_read() {
    let crl = Crl::from_der(FULL).unwrap();
    assert_eq!(crl.as_der(), FULL);
    assert_eq!(crl.issuer(), ca().subject());
    assert_eq!(
        (crl.this_update(), crl.next_update()),
        (THIS_UPDATE_S, Some(NEXT_UPDATE_S))
    );
    assert_eq!(crl.number(), Some(&[7][..]));
    let serials: Vec<&[u8]> = crl.serial_numbers().collect();
    assert_eq!(serials, [&[0, 0x80][..], &[0x10, 0]]);
    assert!(crl.contains(&[0x10, 0]) && !crl.contains(&[0x10]) && !crl.contains(&[]));
    let empty = Crl::from_der(EMPTY).unwrap();
    assert_eq!(empty.serial_numbers().count(), 0);
    assert_eq!(empty.number(), None);
}

#[test]
fn a_crl_is_good_under_its_issuer_from_this_update_to_next_update() {
    for der in [FULL, EMPTY, PARTIAL] {
        assert_eq!(verify(der, THIS_UPDATE_S), Ok(()));
        assert_eq!(verify(der, NEXT_UPDATE_S), Ok(()));
        assert_eq!(verify(der, THIS_UPDATE_S - 1), Err(CrlError::NotYetValid));
        assert_eq!(verify(der, NEXT_UPDATE_S + 1), Err(CrlError::Expired));
        let without_clock = Crl::from_der(der).unwrap().verify(&RustCrypto, &ca(), None);
        assert_eq!(without_clock, Ok(()));
    }
    let indirect = verify(INDIRECT, THIS_UPDATE_S);
    assert!(matches!(indirect, Err(CrlError::CriticalExtension(oid)) if oid.to_string() == "2.5.29.28"));
}

#[test]
fn every_flipped_bit_makes_a_crl_unreadable_or_not_the_issuers() {
    for at in 0..FULL.len() {
        for bit in [0, 3, 7] {
            let mut der = FULL.to_vec();
            der[at] ^= 1 << bit;
            let Ok(crl) = Crl::from_der(der) else { continue };
            let verified = crl.verify(&RustCrypto, &ca(), Some(THIS_UPDATE_S));
            assert!(verified.is_err(), "byte {at}, bit {bit}");
        }
    }
}

#[test]
fn every_truncation_and_every_byte_behind_is_malformed() {
    for len in 0..FULL.len() {
        assert_eq!(Crl::from_der(&FULL[..len]).unwrap_err(), CrlError::Malformed);
    }
    let longer = [FULL, &[0]].concat();
    assert_eq!(Crl::from_der(longer).unwrap_err(), CrlError::Malformed);
}
