//! Profiles of an RA in front of another server, by path and by certProfile.
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
use client::{Client, NOW_S, failure, issued, key, request, update};
use cmp_message::{
    InfoTypeAndValue, PkiBody, PkiFailure, PkiHeader, PkiMessage, Raw,
    certificate::Certificate,
    crypto::{KeyAlgorithm, aws_lc::SoftKey},
    general::CERT_PROFILE,
};
use lab_ra::{Endpoint, Forward, Profile, RaConfig};

const DAY_S: u64 = 86_400;

/// Of P-256 keys and CN only; the CA's is good for 9 days, by which it is known.
fn profile(days: u64) -> Profile {
    let mut profile = Profile::default();
    profile.key_algorithms = vec![KeyAlgorithm::P256];
    profile.subject = vec!["CN".parse().unwrap()];
    profile.certificate_lifetime_s = days * DAY_S;
    profile
}

fn with_profile(config: &mut RaConfig) {
    config.profiles.insert("station".into(), profile(9));
}

fn chain(forward: Forward, has_paths: bool) -> Chain {
    let change = |forward: &mut lab_ra::ForwardConfig| forward.profile_paths = has_paths;
    Chain::with(forward, change, with_profile, with_profile)
}

fn at_path() -> Endpoint {
    Endpoint::parse("/.well-known/cmp/p/station").unwrap()
}

fn named(header: &mut PkiHeader) {
    header
        .general_info
        .get_or_insert_default()
        .push(InfoTypeAndValue {
            info_type: CERT_PROFILE,
            info_value: Some(Raw::encode(&vec!["station".to_owned()]).unwrap()),
        });
}

fn ir(client: &Client, subject: &str, change: impl FnOnce(&mut PkiHeader)) -> Vec<u8> {
    client.message(PkiBody::Ir(vec![request(&key(), subject, |_| {})]), change)
}

/// Whether the CA has issued it by the rules of the profile.
fn is_of_profile(answer: &[u8]) -> bool {
    let certificate = issued(&PkiMessage::from_bytes(answer).unwrap());
    Certificate::from_der(certificate).unwrap().not_after() == NOW_S + 9 * DAY_S
}

fn refusal(answer: &[u8]) -> PkiFailure {
    failure(&PkiMessage::from_bytes(answer).unwrap())
}

#[test]
fn a_profile_reaches_the_server_behind_by_path_or_by_name() {
    for forward in Forward::ALL {
        for has_paths in [false, true] {
            let mut chain = chain(forward, has_paths);
            let station = || Client::with_idevid(&chain.ca, "CS-1");
            let (one, two, three) = (station(), station(), station());
            let answer = chain.pass_to(NOW_S, &at_path(), &ir(&one, "CN=CS-1", |_| {}));
            let gets_lost = !has_paths && matches!(forward, Forward::Unchanged | Forward::Nested);
            match gets_lost {
                true => assert_eq!(refusal(&answer), PkiFailure::BadRequest, "{}", forward.name()),
                false => assert!(is_of_profile(&answer), "{}", forward.name()),
            }
            let answer = chain.pass(&ir(&two, "CN=CS-1", named));
            assert!(is_of_profile(&answer), "{}", forward.name());
            let answer = chain.pass(&ir(&three, "CN=CS-1", |_| {}));
            assert!(!is_of_profile(&answer), "{}", forward.name());
        }
    }
}

#[test]
fn what_the_profile_does_not_have_does_not_pass() {
    for forward in Forward::ALL {
        let mut chain = chain(forward, true);
        let client = chain.station("CS-1");
        let bad = ir(&client, "CN=CS-1,O=Somebody", |_| {});
        let answer = chain.pass_to(NOW_S, &at_path(), &bad);
        assert_eq!(
            refusal(&answer),
            PkiFailure::BadCertTemplate,
            "{}",
            forward.name()
        );
        let client = chain.station("CS-1");
        let large = SoftKey::generate(KeyAlgorithm::P384).unwrap();
        let bad = PkiBody::Ir(vec![request(&large, "CN=CS-1", |_| {})]);
        let answer = chain.pass_to(NOW_S, &at_path(), &client.message(bad, |_| {}));
        assert_eq!(
            refusal(&answer),
            PkiFailure::BadCertTemplate,
            "{}",
            forward.name()
        );
        let client = chain.station("CS-1");
        let other = Endpoint::parse("/.well-known/cmp/p/other").unwrap();
        let answer = chain.pass_to(NOW_S, &other, &ir(&client, "CN=CS-1", named));
        assert_eq!(refusal(&answer), PkiFailure::BadRequest, "{}", forward.name());
        assert!(chain.passed.is_empty(), "{}", forward.name());
    }
}

#[test]
fn a_kur_whose_protection_stays_needs_the_path_or_the_name() {
    for has_paths in [false, true] {
        let mut chain = chain(Forward::Replaced, has_paths);
        let client = Client::with_issued(&chain.ca, "CN=CS-1", false);
        let client::Credential::Signature { certificate, .. } = &client.credential else {
            panic!("no certificate");
        };
        let old = Certificate::from_der(certificate.as_slice()).unwrap();
        let kur = PkiBody::Kur(vec![update(&key(), "CN=CS-1", &old)]);
        let answer = chain.pass_to(NOW_S, &at_path(), &client.message(kur, |_| {}));
        match has_paths {
            true => assert!(is_of_profile(&answer)),
            false => assert_eq!(refusal(&answer), PkiFailure::BadRequest),
        }
    }
}

#[test]
fn algorithms_that_the_configuration_does_not_have_do_not_pass() {
    for forward in Forward::ALL {
        let rules = |config: &mut RaConfig| {
            config.signature_algorithms.clear();
            config.mac_algorithms.clear();
        };
        let mut chain = Chain::with(forward, |_| {}, rules, |_| {});
        for client in [chain.station("CS-1"), chain.newcomer()] {
            let answer = chain.pass(&ir(&client, "CN=CS-1", |_| {}));
            assert_eq!(refusal(&answer), PkiFailure::BadAlg, "{}", forward.name());
        }
        assert!(chain.passed.is_empty());
    }
}
