//! rr and rp, and the CRLs that follow (RFC 9483 §4.2, §5.3.2).
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    unreachable_pub
)]

mod client;

use client::*;
use cmp_message::{
    BodyType, CertId, PkiBody, PkiFailure, PkiMessage, PkiStatus, certificate::Certificate, crl::Crl,
    crypto::AwsLc,
};
use der::{Decode, Encode};
use lab_ra::{CertificateStatus, Ra, RevocationReason, RevokeError};
use x509_cert::crl::CertificateList;

/// A station with a certificate that it may revoke.
fn enrolled(ra: &mut Ra) -> (Client, Vec<u8>) {
    let key = key();
    let certificate = Client::with_idevid(ra, "CS-1").enroll(ra, &key, "CN=CS-1");
    (
        Client::with_certificate(ra, key, certificate.clone()),
        certificate,
    )
}

fn rev_certs(answer: &PkiMessage) -> Vec<CertId> {
    match &*answer.body {
        PkiBody::Rp(content) => content.rev_certs.clone().unwrap(),
        body => panic!("not an rp: {body:?}"),
    }
}

/// The present CRL, verified.
fn crl(ra: &mut Ra, now_s: u64) -> Crl {
    let crl = Crl::from_der(ra.crl(1, now_s).unwrap().unwrap()).unwrap();
    let issuer = Certificate::from_der(ra.pki().ca.certificate()).unwrap();
    crl.verify(&AwsLc, &issuer, Some(now_s)).unwrap();
    crl
}

/// The reason of each entry, as another reader sees it.
fn reasons(crl: &Crl) -> Vec<Option<Vec<u8>>> {
    let list = CertificateList::<x509_cert::certificate::Rfc5280>::from_der(crl.as_der()).unwrap();
    let entries = list.tbs_cert_list.revoked_certificates.unwrap_or_default();
    entries
        .iter()
        .map(|entry| {
            let extensions = entry.crl_entry_extensions.as_ref()?;
            Some(extensions[0].extn_value.as_bytes().to_vec())
        })
        .collect()
}

#[test]
fn a_certificate_revokes_itself_and_is_on_the_crl_with_its_reason() {
    let mut ra = ra(|_| {});
    let (mut client, certificate) = enrolled(&mut ra);
    assert!(!crl(&mut ra, NOW_S).contains(&serial(&certificate)));
    let answer = client.send(&mut ra, rr(&certificate, Some(1)));
    let status = status(&answer);
    assert_eq!(status.status, PkiStatus::ACCEPTED);
    assert!(status.status_string.unwrap()[0].contains("revoked"));
    let named = &rev_certs(&answer)[0];
    assert_eq!(named.serial_number.as_bytes(), serial(&certificate));
    assert_eq!(status_of(&ra, &certificate), CertificateStatus::Revoked);
    let after = crl(&mut ra, NOW_S);
    assert!(after.contains(&serial(&certificate)));
    assert_eq!(reasons(&after), [Some(vec![10, 1, 1])]);
    assert_eq!(
        (after.number(), after.this_update()),
        (Some([2].as_slice()), NOW_S)
    );
    // Of the same second as the one before, so that there will be one that is newer by its time.
    let next = crl(&mut ra, NOW_S + 1);
    assert_eq!(
        (next.number(), next.this_update()),
        (Some([3].as_slice()), NOW_S + 1)
    );
    assert_eq!(crl(&mut ra, NOW_S + 2), next);
}

#[test]
fn a_reason_that_is_missing_or_unspecified_leaves_no_reason_on_the_crl() {
    for reason in [None, Some(0)] {
        let mut ra = ra(|_| {});
        let (mut client, certificate) = enrolled(&mut ra);
        client.send(&mut ra, rr(&certificate, reason));
        assert_eq!(reasons(&crl(&mut ra, NOW_S)), [None]);
    }
}

#[test]
fn a_hold_is_ended_by_remove_from_crl_or_becomes_a_revocation_for_good() {
    let mut ra = ra(|_| {});
    let (mut client, certificate) = enrolled(&mut ra);
    for (reason, status) in [
        (6, CertificateStatus::Revoked),
        (8, CertificateStatus::Confirmed),
        (6, CertificateStatus::Revoked),
        (4, CertificateStatus::Revoked),
    ] {
        client.begin();
        let answer = client.send(&mut ra, rr(&certificate, Some(reason)));
        assert_eq!(client::status(&answer).status, PkiStatus::ACCEPTED);
        assert_eq!(status_of(&ra, &certificate), status);
        let is_listed = crl(&mut ra, NOW_S + 100).contains(&serial(&certificate));
        assert_eq!(is_listed, status == CertificateStatus::Revoked);
    }
    let record = ra.store().certificate(&serial(&certificate)).unwrap().unwrap();
    assert_eq!(record.reason, Some(RevocationReason::Superseded));
}

#[test]
fn a_certificate_on_hold_asks_for_nothing_and_updates_again_afterwards() {
    let mut ra = ra(|_| {});
    let (mut client, certificate) = enrolled(&mut ra);
    let old = Certificate::from_der(certificate.as_slice()).unwrap();
    let kur = || PkiBody::Kur(vec![update(&key(), "CN=CS-1", &old)]);
    client.send(&mut ra, rr(&certificate, Some(6)));
    client.begin();
    assert_eq!(failure(&client.send(&mut ra, kur())), PkiFailure::CertRevoked);
    client.begin();
    client.send(&mut ra, rr(&certificate, Some(8)));
    client.begin();
    issued(&client.send(&mut ra, kur()));
}

#[test]
fn an_ra_revokes_for_others_and_ends_their_hold() {
    let mut lab = ra(|_| {});
    let (_, certificate) = enrolled(&mut lab);
    let mut other = Client::with_issued(&lab, "CN=RA", true);
    for (reason, status) in [
        (6, CertificateStatus::Revoked),
        (8, CertificateStatus::Confirmed),
        (1, CertificateStatus::Revoked),
    ] {
        other.begin();
        let answer = other.send(&mut lab, rr(&certificate, Some(reason)));
        assert_eq!(client::status(&answer).status, PkiStatus::ACCEPTED);
        assert_eq!(status_of(&lab, &certificate), status);
    }
}

#[test]
fn what_is_not_confirmed_yet_is_revoked_for_good_or_not_at_all() {
    let mut lab = ra(|_| {});
    let mut station = Client::with_idevid(&lab, "CS-1");
    let wanted = PkiBody::Ir(vec![request(&key(), "CN=CS-1", |_| {})]);
    let certificate = issued(&station.send(&mut lab, wanted));
    let mut other = Client::with_issued(&lab, "CN=RA", true);
    let answer = other.send(&mut lab, rr(&certificate, Some(6)));
    assert_eq!(failure(&answer), PkiFailure::BadCertId);
    assert_eq!(status_of(&lab, &certificate), CertificateStatus::Issued);
    other.begin();
    let answer = other.send(&mut lab, rr(&certificate, Some(1)));
    assert_eq!(status(&answer).status, PkiStatus::ACCEPTED);
    let answer = station.send(&mut lab, cert_conf(&certificate));
    assert_eq!(failure(&answer), PkiFailure::CertRevoked);
    assert_eq!(status_of(&lab, &certificate), CertificateStatus::Revoked);
}

#[test]
fn the_crl_has_what_was_refused_or_never_confirmed_and_drops_what_is_long_over() {
    const DAY_S: u64 = 86_400;
    let mut ra = ra(|config| config.crl_lifetime_s = DAY_S);
    let mut certificates = Vec::new();
    for verdict in ["refused", "never confirmed"] {
        let mut client = Client::with_idevid(&ra, "CS-1");
        let answer = client.send(&mut ra, PkiBody::Ir(vec![request(&key(), "CN=CS-1", |_| {})]));
        certificates.push(issued(&answer));
        if verdict == "refused" {
            let body = PkiBody::CertConf(Vec::new());
            assert_eq!(client.send(&mut ra, body).body.body_type(), BodyType::PkiConf);
        }
    }
    // Time passes with the next message.
    ra.handle(NOW_S + 1_000, b"");
    let listed = |crl: &Crl| crl.serial_numbers().map(<[u8]>::to_vec).collect::<Vec<_>>();
    let both = certificates.iter().map(|one| serial(one)).collect::<Vec<_>>();
    assert_eq!(listed(&crl(&mut ra, NOW_S + 1_000)), both);
    // Once more beyond their validity, then no more.
    let over_s = NOW_S + 366 * DAY_S;
    assert_eq!(listed(&crl(&mut ra, over_s)), both);
    assert!(listed(&crl(&mut ra, over_s + DAY_S)).is_empty());
}

#[test]
fn a_crl_is_made_again_when_something_changed_or_half_of_its_time_is_over() {
    let mut ra = ra(|config| config.crl_lifetime_s = 1_000);
    let (mut client, certificate) = enrolled(&mut ra);
    let number = |crl: Crl| crl.number().unwrap()[0];
    assert_eq!(number(crl(&mut ra, NOW_S)), 1);
    assert_eq!(number(crl(&mut ra, NOW_S + 499)), 1);
    assert_eq!(number(crl(&mut ra, NOW_S + 500)), 2);
    client.send(&mut ra, rr(&certificate, None));
    assert_eq!(number(crl(&mut ra, NOW_S + 501)), 3);
    assert_eq!(number(crl(&mut ra, NOW_S + 502)), 3);
    assert!(ra.crl(2, NOW_S).unwrap().is_none());
}

#[test]
fn what_another_process_revokes_is_revoked_here() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.sqlite");
    let pki = lab_ra::Pki::generate(cmp_message::crypto::KeyAlgorithm::P256, NOW_S).unwrap();
    let here = lab_ra::Store::open(&path).unwrap();
    let mut ra = Ra::new(pki, lab_ra::RaConfig::default(), here).unwrap();
    let (mut client, certificate) = enrolled(&mut ra);
    let there = lab_ra::Store::open(&path).unwrap();
    let revoke = |reason| there.revoke(&serial(&certificate), reason, NOW_S);
    revoke(RevocationReason::CessationOfOperation).unwrap();
    assert!(matches!(
        revoke(RevocationReason::Unspecified),
        Err(RevokeError::AlreadyRevoked)
    ));
    assert!(matches!(
        there.revoke(&[7], RevocationReason::Unspecified, NOW_S),
        Err(RevokeError::Unknown)
    ));
    let old = Certificate::from_der(certificate.as_slice()).unwrap();
    let answer = client.send(&mut ra, PkiBody::Kur(vec![update(&key(), "CN=CS-1", &old)]));
    assert_eq!(failure(&answer), PkiFailure::CertRevoked);
    assert_eq!(reasons(&crl(&mut ra, NOW_S)), [Some(vec![10, 1, 5])]);
}

#[test]
fn a_certificate_says_where_its_crl_is_if_that_is_configured() {
    let mut ra = ra(|config| config.crl_distribution_point = Some("http://lab/crl/".into()));
    let (_, certificate) = enrolled(&mut ra);
    let certificate = Certificate::from_der(certificate).unwrap();
    let points = certificate.extension("2.5.29.31".parse().unwrap()).unwrap();
    let points = x509_cert::ext::pkix::CrlDistributionPoints::from_der(points).unwrap();
    assert!(
        points
            .to_der()
            .unwrap()
            .windows(20)
            .any(|part| part == b"http://lab/crl/1.crl")
    );
}
