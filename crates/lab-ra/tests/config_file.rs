//! The configuration file, and the sample that documents it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    unreachable_pub
)]

use cmp_message::{BodyType, crypto::KeyAlgorithm};
use lab_ra::{Approval, ConfigError, ConfigFile, ImplicitConfirm, KeyGeneration, Pki, PollAfter, RaConfig};
use std::path::Path;

fn parse(text: &str) -> Result<ConfigFile, ConfigError> {
    ConfigFile::parse(text, Path::new("/somewhere"))
}

const SAMPLE: &str = include_str!("../lab-ra.toml");

#[test]
fn the_sample_is_read_and_its_examples_do_what_they_say() {
    let file = parse(SAMPLE).unwrap();
    let config = file.ra;
    assert_eq!(config.secrets.len(), 2);
    let delay = PollAfter {
        polls: 1,
        check_after_s: 1,
    };
    assert_eq!(config.poll_after, Some(delay));
    assert_eq!(config.header.max_clock_skew_s, Some(300));
    let station = &config.profiles["station"];
    assert_eq!(station.certificate_lifetime_s, 90 * 86_400);
    assert_eq!(station.key_algorithms, [KeyAlgorithm::P256, KeyAlgorithm::P384]);
    assert_eq!(station.ext_key_usages, ["1.3.6.1.5.5.7.3.2".parse().unwrap()]);
    assert_eq!(
        station.subject,
        ["CN".parse().unwrap(), "O=Operator".parse().unwrap()]
    );
    let initial = file.initial.unwrap();
    assert_eq!(initial.out, Path::new("/somewhere/first"));
    assert_eq!(initial.subject.to_string(), "CN=CS-1,O=Operator");
}

/// What the sample calls a default is one.
#[test]
fn the_defaults_of_the_sample_are_those_of_the_program() {
    let (sample, default) = (parse(SAMPLE).unwrap().ra, RaConfig::default());
    assert_eq!(sample.implicit_confirm, default.implicit_confirm);
    assert_eq!(sample.approval, default.approval);
    assert_eq!(sample.key_generation, default.key_generation);
    assert_eq!(sample.confirm_wait_s, default.confirm_wait_s);
    assert_eq!(sample.poll_grace_s, default.poll_grace_s);
    assert_eq!(sample.max_transactions, default.max_transactions);
    assert_eq!(sample.delayed, default.delayed);
    assert_eq!(sample.signature_algorithms, default.signature_algorithms);
    assert_eq!(sample.mac_algorithms, default.mac_algorithms);
    assert_eq!(sample.nested_ra_verified, default.nested_ra_verified);
    assert_eq!(sample.update_with_same_key, default.update_with_same_key);
    assert_eq!(sample.ca_pubs_under_signature, default.ca_pubs_under_signature);
    assert_eq!(sample.crl_lifetime_s, default.crl_lifetime_s);
    assert_eq!(sample.header.message_time, default.header.message_time);
    assert_eq!(sample.header.sender_kid, default.header.sender_kid);
    assert_eq!(sample.header.mac_sender, default.header.mac_sender);
    assert_eq!(
        sample.header.fresh_sender_nonce,
        default.header.fresh_sender_nonce
    );
    let (sample, default) = (sample.default_profile, default.default_profile);
    assert_eq!(sample.certificate_lifetime_s, default.certificate_lifetime_s);
    assert_eq!(sample.key_algorithms, default.key_algorithms);
    assert_eq!(sample.subject, default.subject);
}

#[test]
fn an_empty_file_changes_nothing_and_one_line_changes_one_thing() {
    assert_eq!(parse("").unwrap().ra.confirm_wait_s, 300);
    let config = parse("implicit_confirm = \"ignore\"\napproval = \"person\"")
        .unwrap()
        .ra;
    assert_eq!(config.implicit_confirm, ImplicitConfirm::Ignore);
    assert_eq!(config.approval, Approval::Person);
    let config = parse("key_generation = \"allow\"").unwrap().ra;
    assert_eq!(config.key_generation, KeyGeneration::Allow);
    let text = "[poll]\npolls = 2\ncheck_after_s = 3\nbodies = [\"rr\", \"certConf\"]";
    let config = parse(text).unwrap().ra;
    assert_eq!(config.delayed, [BodyType::Rr, BodyType::CertConf]);
}

#[test]
fn a_profile_has_what_the_default_profile_has_where_it_says_nothing() {
    let config = parse("[default_profile]\ndays = 7\n[profile.a]\n[profile.b]\ndays = 8")
        .unwrap()
        .ra;
    let days = |name: &str| config.profiles[name].certificate_lifetime_s / 86_400;
    assert_eq!((days("a"), days("b")), (7, 8));
}

#[test]
fn what_means_nothing_is_refused_and_named() {
    for (text, named) in [
        ("confirm_wait = 3", "confirm_wait"),
        ("[header]\nsender_nonce = true", "sender_nonce"),
        ("[profile.a]\nday = 3", "day"),
        ("signature_algorithms = [\"md5\"]", "md5"),
        ("mac_algorithms = [\"hmac\"]", "hmac"),
        ("key_generation = \"yes\"", "yes"),
        ("[default_profile]\nkey_algorithms = [\"dsa\"]", "dsa"),
        (
            "[default_profile]\next_key_usages = [\"everything\"]",
            "everything",
        ),
        ("[default_profile]\nsubject = [\"CN=\"]", "subject"),
        ("[default_profile]\ndays = 0", "days"),
        ("[profile.a]\ndays = 36501", "days"),
        ("confirm_wait_s = 9223372036854775807", "confirm_wait_s"),
        ("poll_grace_s = 31536001", "poll_grace_s"),
        ("[crl]\nlifetime_s = 0", "lifetime_s"),
        ("[profile.\"a/b\"]", "a/b"),
        ("[[secret]]\nreference = \"\"\nvalue = \"s\"", "secret"),
        ("[[secret]]\nreference = \"r\"\nvalue = \"\"", "secret"),
        (
            "secret = [{reference = \"r\", value = \"s\"}, {reference = \"r\", value = \"t\"}]",
            "secret",
        ),
        ("[poll]\npolls = 1\ncheck_after_s = 0", "check_after_s"),
        ("[poll]\npolls = 1\ncheck_after_s = 1\nbodies = [\"ip\"]", "ip"),
        ("[initial]\nsubject = \"nonsense\"\nout = \"x\"", "nonsense"),
        ("manufacturers = [\"nowhere.pem\"]", "nowhere.pem"),
    ] {
        let error = parse(text).unwrap_err().to_string();
        assert!(error.contains(named), "{text}: {error}");
    }
}

#[test]
fn certificates_are_read_from_pem_files_beside_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let pki = Pki::generate(KeyAlgorithm::P256, 1_800_000_000).unwrap();
    pki.save(folder.path()).unwrap();
    let pem = |file: &str| std::fs::read_to_string(folder.path().join(file)).unwrap();
    let two = format!("# a comment\n{}{}", pem("ca.pem"), pem("root.pem"));
    std::fs::write(folder.path().join("two.pem"), two).unwrap();
    let path = folder.path().join("lab-ra.toml");
    let text = "registration_authorities = [\"ra.pem\"]\nmanufacturers = [\"two.pem\", \"ra.pem\"]";
    std::fs::write(&path, text).unwrap();
    let config = ConfigFile::read(&path).unwrap().ra;
    assert_eq!(config.registration_authorities[0].as_der(), pki.ra.certificate());
    let manufacturers = config.manufacturers.iter().map(|one| one.as_der());
    let expected = [&pki.ca, &pki.root, &pki.ra].map(|one| one.certificate());
    assert_eq!(manufacturers.collect::<Vec<_>>(), expected);
    for bad in [
        "no PEM",
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    ] {
        std::fs::write(folder.path().join("two.pem"), bad).unwrap();
        assert!(matches!(
            ConfigFile::read(&path),
            Err(ConfigError::Certificate(_))
        ));
    }
}

#[test]
fn a_secret_is_not_in_what_is_shown_of_a_wrong_file() {
    let error = parse("[[secret]]\nreference = \"r\"\nvalue = \"hunter2\"\nmore = 1").unwrap_err();
    assert!(!format!("{error:?}").contains("SecretText"), "{error:?}");
}

#[test]
fn keys_that_only_a_ca_can_obey_are_known() {
    let of = |text: &str| parse(text).unwrap().for_ca_alone;
    for (text, key) in [
        ("implicit_confirm = \"ignore\"", "implicit_confirm"),
        ("confirm_wait_s = 1", "confirm_wait_s"),
        ("poll_grace_s = 1", "poll_grace_s"),
        ("ca_pubs_under_signature = true", "ca_pubs_under_signature"),
        ("[poll]\npolls = 1\ncheck_after_s = 1", "poll"),
        ("[header]\nfresh_sender_nonce = true", "header.fresh_sender_nonce"),
        ("[crl]\nlifetime_s = 1", "crl.lifetime_s"),
        (
            "[crl]\ndistribution_point = \"http://x/\"",
            "crl.distribution_point",
        ),
        ("[default_profile]\ndays = 1", "days"),
        ("[profile.a]\next_key_usages = []", "ext_key_usages"),
        ("[initial]\nsubject = \"CN=a\"\nout = \"b\"", "initial"),
    ] {
        assert_eq!(of(text), Some(key), "{text}");
    }
    let both = "approval = \"person\"\nkey_generation = \"allow\"\nmax_transactions = 1\nmac_algorithms = []\n\
                update_with_same_key = false\n[header]\nmessage_time = true\n[profile.a]\nsubject = [\"CN\"]";
    assert_eq!(of(both), None);
}
