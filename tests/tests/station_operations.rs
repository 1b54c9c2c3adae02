//! The operations of RFC 9483 §4 beyond enrolment and update, as the user of `charger-sim station` starts them.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs
)]

use std::fs;
use std::sync::Arc;

use cmp_message::{BodyType, PkiBody, PkiMessage};
use serde_json::Value;
use system_tests::http::{Door, kinds};
use system_tests::openssl::{self, Pki, SECRET, certification_request, serial_number};
use system_tests::programs::{bridge, csms_url};
use system_tests::station::{Station, detail};
use system_tests::{Program, arg, folder, run};

/// OpenSSL as RA, with a bridge before it.
struct OfOpenssl {
    pki: Arc<Pki>,
    door: Door,
    bridge: Program,
}

impl OfOpenssl {
    fn open() -> Self {
        let pki = Arc::new(Pki::make());
        let door = pki.issuing_server(&[]);
        let bridge = bridge(&door.url(), &[]);
        Self { pki, door, bridge }
    }

    fn csms(&self) -> String {
        csms_url(&self.bridge)
    }

    fn root(&self) -> String {
        self.pki.file("root.crt")
    }

    /// Who has signed the last message of a kind: the subject.
    fn signer_of_last(&self, kind: BodyType) -> String {
        let seen = self.door.seen();
        let at = kinds(&seen).iter().rposition(|seen| *seen == kind).unwrap();
        let message = PkiMessage::from_bytes(&seen[at].0).unwrap();
        let file = self.pki.path().join("signer.pem");
        let der = self.pki.path().join("signer.der");
        fs::write(&der, message.extra_certs.unwrap()[0].as_bytes()).unwrap();
        let arguments = ["x509", "-inform", "DER", "-in", &arg(&der), "-out", &arg(&file)];
        let _ = run("openssl", &arguments).success();
        openssl::subject(&arg(&file))
    }
}

#[test]
fn one_more_certificate_of_openssl_is_asked_for_with_the_one_in_use_over_1_6_in_small_frames() {
    let ra = OfOpenssl::open();
    let station = Station::of_pki(&ra.pki, "idevid");
    let options = ["--ocpp", "1.6", "--unit", "512"];
    let report = station.succeeds(&ra.csms(), "enroll,certify", &options);
    let expected = [BodyType::Ir, BodyType::CertConf, BodyType::Cr, BodyType::CertConf];
    assert_eq!(kinds(&ra.door.seen()), expected);
    assert_eq!(ra.signer_of_last(BodyType::Cr), "CN=CS-1,O=Operator");
    station.check_certificate(&ra.root());
    assert_ne!(
        detail(&report, "enroll")["serial"],
        detail(&report, "certify")["serial"]
    );
    assert!(
        station.state().join("credentials/0001/cert.pem").exists(),
        "the first stays"
    );
}

#[test]
fn a_first_certificate_by_cr_is_proven_by_a_shared_secret() {
    let ra = OfOpenssl::open();
    let station = Station::with_secret(SECRET.1, ra.root());
    let _ = station.succeeds(&ra.csms(), "certify", &["--ocpp", "2.1"]);
    assert_eq!(kinds(&ra.door.seen()), [BodyType::Cr, BodyType::CertConf]);
    station.check_certificate(&ra.root());
}

#[test]
fn a_csr_made_elsewhere_gets_its_certificate_of_openssl_also_between_other_operations() {
    let ra = OfOpenssl::open();
    let station = Station::of_pki(&ra.pki, "idevid");
    for (form, operations) in [("PEM", "enroll,csr FILE,update"), ("DER", "csr FILE")] {
        let dir = folder();
        let (key, csr) = certification_request(dir.path(), form);
        let before = ra.door.seen().len();
        let report = station.succeeds(&ra.csms(), &operations.replace("FILE", &csr), &[]);
        let asked = kinds(&ra.door.seen()[before..]);
        assert!(asked.contains(&BodyType::P10cr), "{asked:?}");
        let file = arg(station.state().join("issued/hsm.pem"));
        assert_eq!(detail(&report, "csr")["certificate"], file.as_str());
        openssl::verify(&ra.root(), &file, &file);
        assert_eq!(openssl::subject(&file), "CN=HSM-1,O=Operator");
        assert_eq!(
            openssl::public_key_of_certificate(&file),
            openssl::public_key_of_key(&key)
        );
        station.check_certificate(&ra.root());
    }
}

#[test]
fn a_revoked_certificate_is_not_used_any_more_and_the_station_says_so() {
    let ra = OfOpenssl::open();
    let station = Station::of_pki(&ra.pki, "idevid");
    let csms = ra.csms();
    let _ = station.succeeds(&csms, "enroll", &["--ocpp", "2.0.1"]);
    let serial = serial_number(&station.certificate());
    let report = station.succeeds(&csms, "revoke", &["--reason", "keyCompromise", "--ocpp", "2.0.1"]);
    let revoked = detail(&report, "revoke");
    assert_eq!(revoked["reason"], "keyCompromise");
    assert!(
        revoked["serial"].as_str().unwrap().ends_with(&serial),
        "{revoked:#}"
    );
    let last = ra.door.seen().last().unwrap().0.clone();
    let PkiBody::Rr(details) = &*PkiMessage::from_bytes(&last).unwrap().body else {
        panic!("no rr");
    };
    let reason = &details[0].crl_entry_details.as_ref().unwrap()[0];
    assert_eq!(reason.extn_value.as_bytes(), [0x0a, 1, 1], "keyCompromise");

    let text = format!("{serial}) is revoked, keyCompromise: enroll again");
    station.refuses("update", &[], &text);
    station.refuses("revoke", &[], &text);
    let before = ra.door.seen().len();
    assert_eq!(before, 3, "nobody was asked");
    // What proved it at first proves it again.
    let _ = station.succeeds(&csms, "certify,update,revoke", &[]);
    assert_eq!(
        kinds(&ra.door.seen()[before..]),
        [
            BodyType::Cr,
            BodyType::CertConf,
            BodyType::Kur,
            BodyType::CertConf,
            BodyType::Rr
        ]
    );
}

#[test]
fn a_revocation_that_openssl_refuses_leaves_the_certificate_in_use() {
    let pki = Arc::new(Pki::make());
    let door = pki.issuing_server(&[]);
    let bridge_to_issuer = bridge(&door.url(), &[]);
    let station = Station::of_pki(&pki, "idevid");
    let _ = station.succeeds(&csms_url(&bridge_to_issuer), "enroll", &[]);
    // This server knows another certificate.
    let other = pki.mock_server(&pki.file("lc.crt"), &[]);
    let door = Door::before(other.address.clone());
    let bridge_to_other = bridge(&door.url(), &[]);
    station.fails(
        &csms_url(&bridge_to_other),
        "revoke",
        "the RA answered the rr of transaction",
    );
    let _ = station.succeeds(&csms_url(&bridge_to_issuer), "update", &[]);
}

#[test]
fn general_messages_that_openssl_only_echoes_are_understood_as_far_as_they_go() {
    let ra = OfOpenssl::open();
    let station = Station::of_pki(&ra.pki, "idevid");
    let csms = ra.csms();
    let report = station.succeeds(&csms, "ca-certs,template", &[]);
    assert_eq!(
        detail(&report, "ca-certs")["certificates"],
        Value::Array(Vec::new())
    );
    assert_eq!(detail(&report, "template")["demands"], Value::Null);
    let issuer = ra.pki.file("issuing.crt");
    station.fails(
        &csms,
        "root-update",
        "it is about rootCaCert, which was not asked",
    );
    let options = ["--crl-issuer", &issuer];
    station.fails_with(
        &csms,
        "crl",
        &options,
        "it is about crlStatusList, which was not asked",
    );
}

#[test]
fn what_cannot_be_done_is_told_before_anybody_is_asked() {
    let pki = Pki::make();
    let station = Station::of_pki(&pki, "idevid");
    let dir = folder();
    let (_, csr) = certification_request(dir.path(), "PEM");
    let (key, not_there) = (pki.file("lc.key"), arg(dir.path().join("none.csr")));
    for (operations, options, text) in [
        (
            "revoke",
            &[][..],
            "there is no certificate to revoke: enroll first",
        ),
        ("update", &[], "there is no certificate to update: enroll first"),
        (
            "crl",
            &[],
            "without a certificate in use, name the issuer of the CRL with --crl-issuer",
        ),
        ("csr", &[], "csr needs a file: `csr FILE`"),
        ("enroll,renew", &[], "\"renew\" is no operation"),
        (
            "revoke",
            &["--reason", "stolen"],
            "one of unspecified, keyCompromise, cACompromise",
        ),
        (
            "enroll",
            &["--reason", "superseded"],
            "--reason is only for revoke",
        ),
        (
            "update",
            &["--san", "DNS:"],
            "not KIND:VALUE, as in DNS:cp-1.example",
        ),
        (
            "root-update",
            &["--root", &pki.file("lc.crt")],
            "is no trust anchor of this station",
        ),
        (
            "root-update",
            &["--profile", "a"],
            "--profile is only for enroll, certify, csr, update, template",
        ),
        (&format!("csr {key}"), &[], "not PEM of a certification request"),
        (
            &format!("csr {}", pki.file("root.crt")),
            &[],
            "not PEM of a certification request",
        ),
        (&format!("csr {not_there}"), &[], "No such file"),
        (
            &format!("csr {}", pki.file("idevid.key")),
            &[],
            "not PEM of a certification request",
        ),
    ] {
        station.refuses(operations, options, text);
    }
    fs::write(&csr, "nothing of the kind").unwrap();
    station.refuses(&format!("csr {csr}"), &[], "not a certification request");
}

/// The power goes while the RA thinks about message number `at`, counted from 1.
fn loses_power_while_openssl_works(operations: &str, expected: &[BodyType], at: usize) {
    let pki = Arc::new(Pki::make());
    let issuer = pki.issuing_server(&[]);
    let (door, held) = Door::holding(issuer.address().to_owned(), at);
    let bridge = bridge(&door.url(), &[]);
    let csms = csms_url(&bridge);
    let station = Station::of_pki(&pki, "idevid");
    let mut first = station.start(&csms, operations, &[]);
    held.wait();
    first.kill();
    held.release();
    let _ = station.succeeds(&csms, operations, &[]);
    assert_eq!(
        kinds(&door.seen()),
        expected,
        "each message once, power lost at {at}"
    );
}

#[test]
fn a_station_that_loses_power_over_cr_p10cr_or_rr_goes_on_and_nothing_is_asked_twice() {
    let dir = folder();
    let (_, csr) = certification_request(dir.path(), "PEM");
    let expected = [
        BodyType::Cr,
        BodyType::CertConf,
        BodyType::P10cr,
        BodyType::CertConf,
        BodyType::Rr,
    ];
    for at in 1..=5 {
        loses_power_while_openssl_works(&format!("certify,csr {csr},revoke"), &expected, at);
    }
}
