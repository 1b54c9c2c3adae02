//! An RA that passes on knows from CRLs which signers are revoked.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    unreachable_pub,
    dead_code
)]

mod chain;
mod client;

use chain::Chain;
use client::{Client, NOW_S, cert_conf, failure, issued, key, nested, poll_req, request, rr, serial, update};
use cmp_message::{
    BodyType, PkiBody, PkiFailure, PkiMessage, certificate::Certificate, crl::Crl, crypto::KeyAlgorithm,
};
use lab_ra::{Approval, CrlFiles, Forward, Pki, Ra, RaConfig, RevocationReason, Store, WithoutCrl};
use std::fs;

fn chain(forward: Forward, rule: WithoutCrl) -> Chain {
    Chain::with(forward, |forward| forward.without_crl = rule, |_| {}, |_| {})
}

fn crl(ca: &mut Ra, now_s: u64) -> Crl {
    Crl::from_der(ca.crl(1, now_s).unwrap().unwrap()).unwrap()
}

/// Somebody with a certificate of the CA, and its serial number.
fn holder(chain: &Chain) -> (Client, Vec<u8>, Certificate) {
    let client = Client::with_issued(&chain.ca, "CN=CS-1", false);
    let client::Credential::Signature { certificate, .. } = &client.credential else {
        panic!("no certificate");
    };
    let certificate = Certificate::from_der(certificate.as_slice()).unwrap();
    let serial = certificate.serial_number().to_vec();
    (client, serial, certificate)
}

fn cr() -> PkiBody {
    PkiBody::Cr(vec![request(&key(), "CN=CS-1", |_| {})])
}

#[test]
fn what_a_revoked_certificate_has_signed_does_not_pass_any_way() {
    for forward in Forward::ALL {
        let mut chain = chain(forward, WithoutCrl::Accept);
        let (mut client, serial, certificate) = holder(&chain);
        let good = crl(&mut chain.ca, NOW_S);
        chain.ra.replace_crls(vec![good]);
        let answer = chain.send(&mut client, cr());
        chain.send(&mut client, cert_conf(&issued(&answer)));
        let passed = chain.passed.len();
        let store = chain.ca.store();
        store
            .revoke(&serial, RevocationReason::KeyCompromise, NOW_S)
            .unwrap();
        let newer = crl(&mut chain.ca, NOW_S);
        chain.ra.replace_crls(vec![newer]);
        let kur = PkiBody::Kur(vec![update(&key(), "CN=CS-1", &certificate)]);
        let ir = PkiBody::Ir(vec![request(&key(), "CN=CS-1", |_| {})]);
        let rr = rr(certificate.as_der(), Some(1));
        let genm = client::genm(cmp_message::InfoTypeAndValue::absent(
            cmp_message::general::CA_CERTS,
        ));
        for body in [cr(), kur, ir, rr, genm] {
            client.begin();
            let answer = chain.send(&mut client, body);
            let found = match &*answer.body {
                PkiBody::Rp(content) => content.status[0].fail_info.unwrap().iter().collect(),
                _ => vec![failure(&answer)],
            };
            assert_eq!(found, [PkiFailure::CertRevoked], "{}", forward.name());
        }
        assert_eq!(chain.passed.len(), passed, "{}", forward.name());
    }
}

#[test]
fn an_ra_in_front_that_is_revoked_speaks_for_nobody_any_more() {
    let mut chain = chain(Forward::Nested, WithoutCrl::Accept);
    let local = Client::with_issued(&chain.ca, "CN=Local RA", true);
    let client::Credential::Signature { certificate, .. } = &local.credential else {
        panic!("no certificate");
    };
    let number = serial(certificate);
    let store = chain.ca.store();
    store
        .revoke(&number, RevocationReason::KeyCompromise, NOW_S)
        .unwrap();
    let list = crl(&mut chain.ca, NOW_S);
    chain.ra.replace_crls(vec![list]);
    let client = chain.station("CS-1");
    let ir = client.message(PkiBody::Ir(vec![request(&key(), "CN=CS-1", |_| {})]), |_| {});
    let inner = PkiMessage::peek_header(&ir).unwrap();
    let outer = local.message(nested(&[ir]), |header| {
        header.transaction_id = inner.transaction_id.clone();
        header.sender_nonce = inner.sender_nonce.clone();
    });
    let answer = PkiMessage::from_bytes(&chain.pass(&outer)).unwrap();
    assert_eq!(failure(&answer), PkiFailure::CertRevoked);
    assert!(chain.passed.is_empty());
}

#[test]
fn whose_revocation_is_not_known_passes_as_the_rule_says() {
    const WEEK_S: u64 = 7 * 86_400;
    let elsewhere = Pki::generate(KeyAlgorithm::P256, NOW_S).unwrap();
    let mut elsewhere = Ra::new(elsewhere, RaConfig::default(), Store::in_memory().unwrap()).unwrap();
    for (rule, own, manufacturers) in [
        (WithoutCrl::Accept, true, true),
        (WithoutCrl::RefuseOwn, false, true),
        (WithoutCrl::Refuse, false, false),
    ] {
        let mut chain = chain(Forward::Replaced, rule);
        let over = crl(&mut chain.ca, NOW_S - WEEK_S - 9);
        let early = crl(&mut chain.ca, NOW_S + 86_400);
        // Of the same name, from another CA.
        let foreign = crl(&mut elsewhere, NOW_S);
        for crls in [vec![], vec![over], vec![early], vec![foreign]] {
            chain.ra.replace_crls(crls);
            for (mut client, body, passes) in [
                (holder(&chain).0, cr(), own),
                (
                    chain.station("CS-1"),
                    PkiBody::Ir(vec![request(&key(), "CN=CS-1", |_| {})]),
                    manufacturers,
                ),
            ] {
                let answer = chain.send(&mut client, body);
                match passes {
                    true => drop(issued(&answer)),
                    false => assert_eq!(failure(&answer), PkiFailure::SystemUnavail, "{rule:?}"),
                }
            }
            // A secret cannot be on a CRL.
            let mut newcomer = chain.newcomer();
            let ir = PkiBody::Ir(vec![request(&key(), "CN=CS-1", |_| {})]);
            issued(&chain.send(&mut newcomer, ir));
        }
    }
}

#[test]
fn a_crl_that_is_over_still_says_who_is_revoked() {
    let mut chain = chain(Forward::Replaced, WithoutCrl::Accept);
    let (mut client, serial, _) = holder(&chain);
    let store = chain.ca.store();
    store
        .revoke(&serial, RevocationReason::Superseded, NOW_S)
        .unwrap();
    let over = crl(&mut chain.ca, NOW_S - 30 * 86_400);
    assert!(over.next_update().unwrap() < NOW_S);
    chain.ra.replace_crls(vec![over]);
    assert_eq!(failure(&chain.send(&mut client, cr())), PkiFailure::CertRevoked);
}

#[test]
fn whoever_is_revoked_while_a_person_thinks_gets_nothing() {
    let mut chain = Chain::with(
        Forward::Replaced,
        |_| {},
        |ra| ra.approval = Approval::Person,
        |_| {},
    );
    let (mut client, serial, _) = holder(&chain);
    chain.send(&mut client, cr());
    let pending = chain.ra.store().pending_requests().unwrap();
    assert!(chain.ra.store().approve(pending[0].number).unwrap());
    let store = chain.ca.store();
    store
        .revoke(&serial, RevocationReason::KeyCompromise, NOW_S)
        .unwrap();
    let list = crl(&mut chain.ca, NOW_S);
    chain.ra.replace_crls(vec![list]);
    let answer = chain.send(&mut client, poll_req());
    assert_eq!(answer.body.body_type(), BodyType::Cp);
    assert_eq!(failure(&answer), PkiFailure::CertRevoked);
    assert!(chain.passed.is_empty());
}

#[test]
fn files_are_read_when_they_change_and_what_is_damaged_changes_nothing() {
    let mut chain = chain(Forward::Replaced, WithoutCrl::Accept);
    let folder = tempfile::tempdir().unwrap();
    let (der, pem) = (folder.path().join("1.crl"), folder.path().join("2.pem"));
    let mut files = CrlFiles::new([der.clone(), pem.clone()]);
    assert!(files.read_if_changed().is_none());
    let list = crl(&mut chain.ca, NOW_S);
    fs::write(&der, list.as_der()).unwrap();
    assert_eq!(files.read_if_changed().unwrap(), std::slice::from_ref(&list));
    assert!(files.read_if_changed().is_none());
    let text = der::pem::encode_string("X509 CRL", der::pem::LineEnding::LF, list.as_der()).unwrap();
    fs::write(&pem, text).unwrap();
    assert_eq!(files.read_if_changed().unwrap(), [list.clone(), list.clone()]);
    fs::write(&der, "half a CRL").unwrap();
    assert!(files.read_if_changed().is_none());
    fs::remove_file(&der).unwrap();
    assert!(files.read_if_changed().is_none());
    let (_, serial, _) = holder(&chain);
    let store = chain.ca.store();
    store
        .revoke(&serial, RevocationReason::Superseded, NOW_S)
        .unwrap();
    let newer = crl(&mut chain.ca, NOW_S);
    fs::write(&der, newer.as_der()).unwrap();
    assert_eq!(files.read_if_changed().unwrap(), [newer, list]);
}
