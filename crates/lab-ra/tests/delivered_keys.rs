//! Keys that the RA makes for whoever asks for a certificate without having one (RFC 9483 §4.1.6).
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    unreachable_pub
)]

mod client;

use client::{
    Client, NOW_S, cert_conf, encrypted_key, failure, issued, key, poll_req, request, request_for_key,
    status, status_of, update, version_3,
};
use cmp_message::{
    BodyType, PkiBody, PkiFailure, PkiStatus,
    certificate::Certificate,
    crypto::{KeyAlgorithm, SigningKey, aws_lc::SoftKey},
    envelope::EnvelopeError,
    mac::{MacAlgorithm, Secret},
};
use lab_ra::{CertificateStatus, ImplicitConfirm, KeyGeneration, Pki, PollAfter, Ra, RaConfig, Store};
use rusqlite::Connection;

fn allow(config: &mut RaConfig) {
    config.key_generation = KeyGeneration::Allow;
}

fn lab(profile: KeyAlgorithm) -> Ra {
    let pki = Pki::generate(profile, NOW_S).unwrap();
    let mut config = RaConfig::default();
    allow(&mut config);
    Ra::new(pki, config, Store::in_memory().unwrap()).unwrap()
}

fn ir(algorithm: Option<KeyAlgorithm>) -> PkiBody {
    let algorithm = algorithm.map(KeyAlgorithm::algorithm_identifier);
    PkiBody::Ir(vec![request_for_key("CN=CS-1", algorithm)])
}

/// Asks for a key, opens it and confirms.
fn deliver(ra: &mut Ra, client: &mut Client, body: PkiBody) -> (SoftKey, Vec<u8>) {
    let answer = client.send_with(ra, NOW_S, body, version_3);
    let key = client.open(&answer, ra.pki().root.certificate()).unwrap();
    let certificate = issued(&answer);
    let public_key = Certificate::from_der(certificate.as_slice()).unwrap();
    assert_eq!(public_key.public_key(), key.public_key());
    let answer = client.send(ra, cert_conf(&certificate));
    assert_eq!(answer.body.body_type(), BodyType::PkiConf);
    assert_eq!(status_of(ra, &certificate), CertificateStatus::Confirmed);
    (key, certificate)
}

#[test]
fn a_key_of_any_type_is_made_for_whoever_has_a_certificate_of_any_curve() {
    for profile in [KeyAlgorithm::P256, KeyAlgorithm::P384, KeyAlgorithm::P521] {
        let mut ra = lab(profile);
        for algorithm in KeyAlgorithm::GENERATED {
            let mut client = Client::with_idevid(&ra, "CS-1");
            let (key, _) = deliver(&mut ra, &mut client, ir(Some(algorithm)));
            assert_eq!(key.key_algorithm(), algorithm);
        }
    }
}

#[test]
fn a_key_of_any_type_is_made_for_whoever_has_a_secret() {
    let macs = [
        MacAlgorithm::password_based_mac([7; 16]),
        MacAlgorithm::pbmac1([7; 16]),
    ];
    let mut ra = client::ra(allow);
    for (mac, algorithm) in macs.into_iter().cycle().zip(KeyAlgorithm::GENERATED) {
        let mut client = Client::with_secret(&ra, "s3cret", mac);
        let (key, _) = deliver(&mut ra, &mut client, ir(Some(algorithm)));
        assert_eq!(key.key_algorithm(), algorithm);
    }
}

#[test]
fn a_lab_whose_own_keys_are_of_any_type_makes_a_key_of_the_first_type_of_the_profile() {
    for profile in KeyAlgorithm::GENERATED {
        let pki = Pki::generate(profile, NOW_S).unwrap();
        let mut config = RaConfig::default();
        allow(&mut config);
        let secret = Secret::new(b"s3cret".to_vec());
        config.secrets.insert(b"r1".to_vec(), secret);
        config.default_profile.key_algorithms =
            vec![KeyAlgorithm::Rsa, KeyAlgorithm::P384, KeyAlgorithm::P256];
        let mut ra = Ra::new(pki, config, Store::in_memory().unwrap()).unwrap();
        let mac = MacAlgorithm::password_based_mac([7; 16]);
        let mut client = Client::with_secret(&ra, "s3cret", mac);
        let (key, _) = deliver(&mut ra, &mut client, ir(None));
        assert_eq!(key.key_algorithm(), KeyAlgorithm::P384, "{profile}");
    }
}

#[test]
fn a_delivered_key_protects_the_request_for_the_next_one() {
    let mut ra = client::ra(allow);
    let mut client = Client::with_idevid(&ra, "CS-1");
    let (first, certificate) = deliver(&mut ra, &mut client, ir(None));
    let old = Certificate::from_der(certificate.clone()).unwrap();
    assert!(old.key_usage().unwrap().key_agreement() && old.key_usage().unwrap().digital_signature());
    let public_key = first.public_key().to_vec();

    let mut wanted = update(&first, "CN=CS-1", &old).cert_req.into_value();
    wanted.cert_template.public_key = None;
    let mut request = request_for_key("CN=CS-1", None);
    request.cert_req = cmp_message::Exact::new(wanted).unwrap();
    let mut client = Client::with_certificate(&ra, first, certificate);
    let (second, _) = deliver(&mut ra, &mut client, PkiBody::Kur(vec![request]));
    assert_ne!(second.public_key(), public_key);

    client.begin();
    let cr = PkiBody::Cr(vec![request_for_key("CN=CS-1", None)]);
    deliver(&mut ra, &mut client, cr);
}

#[test]
fn only_an_ra_that_makes_keys_issues_certificates_to_encrypt_for_unless_it_is_asked_to() {
    for (key_generation, expected) in [(KeyGeneration::Refuse, false), (KeyGeneration::Allow, true)] {
        let mut ra = client::ra(|config| config.key_generation = key_generation);
        let certificate = Client::with_idevid(&ra, "CS-1").enroll(&mut ra, &key(), "CN=CS-1");
        let certificate = Certificate::from_der(certificate).unwrap();
        let usage = certificate.key_usage().unwrap();
        assert_eq!(
            (usage.digital_signature(), usage.key_agreement()),
            (true, expected)
        );
    }
}

#[test]
fn whoever_has_a_key_gets_none_where_keys_are_made() {
    let mut ra = client::ra(allow);
    let body = PkiBody::Ir(vec![request(&key(), "CN=CS-1", |_| {})]);
    let answer = Client::with_idevid(&ra, "CS-1").send(&mut ra, body);
    assert_eq!((encrypted_key(&answer), answer.header.pvno), (None, 2));
}

#[test]
fn nobody_else_can_open_a_delivered_key() {
    let mut ra = client::ra(allow);
    let root = ra.pki().root.certificate().to_vec();
    let mut client = Client::with_idevid(&ra, "CS-1");
    let answer = client.send_with(&mut ra, NOW_S, ir(None), version_3);
    let other = Client::with_idevid(&ra, "CS-2");
    assert_eq!(other.open(&answer, &root).unwrap_err(), EnvelopeError::NotForUs);

    let mac = || MacAlgorithm::password_based_mac([7; 16]);
    let mut client = Client::with_secret(&ra, "s3cret", mac());
    let answer = client.send_with(&mut ra, NOW_S, ir(None), version_3);
    let other = Client::with_secret(&ra, "guessed", mac());
    assert_eq!(other.open(&answer, &root).unwrap_err(), EnvelopeError::WrongKey);
}

#[test]
fn a_station_with_the_old_root_trusts_the_key_generation_authority_under_the_new_one() {
    let mut pki = Pki::generate(KeyAlgorithm::P256, NOW_S).unwrap();
    let old_root = pki.root.certificate().to_vec();
    pki.roll_over(NOW_S).unwrap();
    let mut config = RaConfig::default();
    allow(&mut config);
    let mut ra = Ra::new(pki, config, Store::in_memory().unwrap()).unwrap();
    let mut client = Client::with_idevid(&ra, "CS-1");
    let answer = client.send_with(&mut ra, NOW_S, ir(None), version_3);
    client.open(&answer, &old_root).unwrap();
    client.open(&answer, ra.pki().root.certificate()).unwrap();
    let elsewhere = Pki::generate(KeyAlgorithm::P256, NOW_S).unwrap();
    let error = client.open(&answer, elsewhere.root.certificate()).unwrap_err();
    assert!(matches!(error, EnvelopeError::KgaNotTrusted(_)), "{error:?}");
}

/// What is stored of delivered keys.
fn stored_keys(database: &Connection) -> usize {
    let count = "SELECT count(*) FROM transactions WHERE private_key IS NOT NULL";
    database.query_row(count, [], |row| row.get(0)).unwrap()
}

#[test]
fn a_key_whose_delivery_got_lost_comes_again_until_it_is_confirmed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.sqlite");
    let mut config = RaConfig::default();
    allow(&mut config);
    config.poll_after = Some(PollAfter {
        polls: 0,
        check_after_s: 1,
    });
    let pki = Pki::generate(KeyAlgorithm::P256, NOW_S).unwrap();
    let mut ra = Ra::new(pki, config.clone(), Store::open(&path).unwrap()).unwrap();
    let mut client = Client::with_idevid(&ra, "CS-1");
    let answer = client.send_with(&mut ra, NOW_S, ir(None), version_3);
    assert_eq!(status(&answer).status, PkiStatus::WAITING);

    // The pollReq is of version 2, which changes nothing.
    let message = client.message(poll_req(), |_| {});
    let answer = client.take(NOW_S, &message, &ra.handle(NOW_S, &message));
    let root = ra.pki().root.certificate().to_vec();
    let first = client.open(&answer, &root).unwrap();
    let mut ra = {
        let (pki, _) = ra.into_parts();
        Ra::new(pki, config, Store::open(&path).unwrap()).unwrap()
    };
    let again = client.take(NOW_S, &message, &ra.handle(NOW_S, &message));
    assert_eq!(encrypted_key(&again), encrypted_key(&answer));
    assert_eq!(
        client.open(&again, &root).unwrap().public_key(),
        first.public_key()
    );

    let database = Connection::open(&path).unwrap();
    assert_eq!(stored_keys(&database), 1);
    client.send(&mut ra, cert_conf(&issued(&again)));
    assert_eq!(stored_keys(&database), 0);
    let late = client.take(NOW_S, &message, &ra.handle(NOW_S, &message));
    assert_eq!(failure(&late), PkiFailure::BadRequest);
}

#[test]
fn a_key_that_is_not_confirmed_in_time_or_refused_is_forgotten() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.sqlite");
    let mut config = RaConfig::default();
    allow(&mut config);
    config.implicit_confirm = ImplicitConfirm::Ignore;
    let pki = Pki::generate(KeyAlgorithm::P256, NOW_S).unwrap();
    let mut ra = Ra::new(pki, config.clone(), Store::open(&path).unwrap()).unwrap();
    let database = Connection::open(&path).unwrap();

    let mut late = Client::with_idevid(&ra, "CS-1");
    late.send_with(&mut ra, NOW_S, ir(None), version_3);
    assert_eq!(stored_keys(&database), 1);
    let now_s = NOW_S + config.confirm_wait_s + 1;
    let mut refusing = Client::with_idevid(&ra, "CS-2");
    let answer = refusing.send_with(&mut ra, now_s, ir(None), version_3);
    assert_eq!(stored_keys(&database), 1);
    let certificate = issued(&answer);
    refusing.send_with(&mut ra, now_s, PkiBody::CertConf(Vec::new()), |_| {});
    assert_eq!(status_of(&ra, &certificate), CertificateStatus::Refused);
    assert_eq!(stored_keys(&database), 0);
}
