//! Every operation of RFC 9483 §4 of `charger-sim station` at `lab-ra`: general messages, templates, CRLs, a new root.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs
)]

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use cmp_message::BodyType;
use serde_json::Value;
use system_tests::http::{Door, kinds};
use system_tests::openssl::{self, SECRET, certification_request};
use system_tests::programs::{LabRa, bridge, csms_url};
use system_tests::station::{Station, detail};
use system_tests::tap::Tap;
use system_tests::{DEADLINE, Program, arg, folder, run};

/// A lab, before it a door that remembers, and a bridge.
struct Line {
    lab: LabRa,
    _ra: Program,
    door: Door,
    bridge: Program,
}

impl Line {
    fn open(options: &[&str]) -> Self {
        Self::of(LabRa::init(), options)
    }

    /// A lab with a configuration file.
    fn configured(configuration: &str) -> Self {
        let lab = LabRa::init();
        let file = lab.write("lab.toml", configuration);
        Self::of(lab, &["--config", &file])
    }

    fn of(lab: LabRa, options: &[&str]) -> Self {
        let ra = lab.serve(options);
        let door = Door::before(ra.address());
        let bridge = bridge(&door.url(), &[]);
        Self {
            lab,
            _ra: ra,
            door,
            bridge,
        }
    }

    fn csms(&self) -> String {
        csms_url(&self.bridge)
    }

    fn root(&self) -> String {
        self.lab.file("root.pem")
    }

    fn station(&self) -> Station {
        Station::of_lab(&self.lab, "SN-1")
    }
}

/// What `openssl x509` says of a certificate.
fn x509(certificate: &str, option: &[&str]) -> String {
    run(
        "openssl",
        &[&["x509", "-in", certificate, "-noout"], option].concat(),
    )
    .success()
    .output
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).unwrap();
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

const ALL: &str = "enroll,certify,csr FILE,update,ca-certs,root-update,template,crl,revoke";

/// Without polling.
const ALL_KINDS: [BodyType; 13] = [
    BodyType::Ir,
    BodyType::CertConf,
    BodyType::Cr,
    BodyType::CertConf,
    BodyType::P10cr,
    BodyType::CertConf,
    BodyType::Kur,
    BodyType::CertConf,
    BodyType::Genm,
    BodyType::Genm,
    BodyType::Genm,
    BodyType::Genm,
    BodyType::Rr,
];

fn does_everything(line: &Line, options: &[&str]) -> Value {
    let dir = folder();
    let (_, csr) = certification_request(dir.path(), "PEM");
    let station = line.station();
    let report = station.succeeds(&line.csms(), &ALL.replace("FILE", &csr), options);
    assert_eq!(report["steps"].as_array().unwrap().len(), 9);
    station.check_certificate(&line.root());
    let listed = line.lab.command(&["certificates"]);
    assert_eq!(listed.matches("confirmed").count(), 3, "{listed}");
    assert_eq!(listed.matches("revoked").count(), 1, "{listed}");
    report
}

#[test]
fn every_operation_over_1_6_in_small_frames() {
    let line = Line::open(&[]);
    let _ = does_everything(&line, &["--ocpp", "1.6", "--unit", "512"]);
    assert_eq!(kinds(&line.door.seen()), ALL_KINDS);
}

#[test]
fn every_operation_over_2_0_1_with_implicit_confirmation() {
    let line = Line::open(&[]);
    let report = does_everything(&line, &["--ocpp", "2.0.1", "--implicit-confirm"]);
    for name in ["enroll", "certify", "csr", "update"] {
        assert_eq!(detail(&report, name)["implicit_confirm"], true, "{name}");
    }
    let expected: Vec<_> = ALL_KINDS
        .into_iter()
        .filter(|kind| *kind != BodyType::CertConf)
        .collect();
    assert_eq!(kinds(&line.door.seen()), expected);
}

#[test]
fn every_operation_over_2_1_at_an_ra_that_needs_time_for_each() {
    let delayed = "ir,cr,p10cr,kur,rr,genm,certConf";
    let line = Line::open(&["--poll-after", "1,1", "--delay", delayed]);
    let _ = does_everything(&line, &["--ocpp", "2.1"]);
    let seen = kinds(&line.door.seen());
    let polls = seen.iter().filter(|kind| **kind == BodyType::PollReq).count();
    assert_eq!(polls, 2 * ALL_KINDS.len(), "{seen:?}");
}

#[test]
fn a_station_that_loses_power_over_any_message_goes_on_and_nothing_is_asked_twice() {
    let dir = folder();
    let (_, csr) = certification_request(dir.path(), "DER");
    let operations = ALL.replace("FILE", &csr);
    for at in 1..=ALL_KINDS.len() {
        let lab = LabRa::init();
        let ra = lab.serve(&[]);
        let (door, held) = Door::holding(ra.address(), at);
        let bridge = bridge(&door.url(), &[]);
        let csms = csms_url(&bridge);
        let station = Station::of_lab(&lab, "SN-1");
        let mut first = station.start(&csms, &operations, &[]);
        held.wait();
        first.kill();
        held.release();
        let _ = station.succeeds(&csms, &operations, &[]);
        assert_eq!(kinds(&door.seen()), ALL_KINDS, "power lost at {at}");
        assert_eq!(
            fs::read_to_string(station.state().join("current/revoked")).unwrap(),
            "unspecified\n"
        );
    }
}

#[test]
fn a_station_that_loses_power_at_any_frame_of_a_revocation_knows_in_the_end_that_it_is_revoked() {
    let line = Line::open(&[]);
    let enrolled = |serial: &str| {
        let station = Station::of_lab(&line.lab, serial);
        let _ = station.succeeds(&line.csms(), "enroll", &[]);
        station
    };
    let whole = Tap::before(line.bridge.address());
    let _ = enrolled("SN-0").succeeds(&whole.url(), "revoke", &[]);
    let frames = whole.frames().len();
    assert!(frames >= 4, "{frames}");
    for frame in 1..=frames {
        let station = enrolled(&format!("SN-{frame}"));
        let before = line.door.seen().len();
        let tap = Tap::before(line.bridge.address());
        let mut first = station.start(&tap.url(), "revoke", &[]);
        tap.wait_for("frames", |seen| seen.len() >= frame);
        first.kill();
        let marker = station.state().join("current/revoked");
        let done = !station.state().join("work.der").exists() && marker.exists();
        if done {
            // It had done all but exit.
            station.refuses("revoke", &[], "is revoked, unspecified: enroll again");
        } else {
            let _ = station.succeeds(&tap.url(), "revoke", &[]);
        }
        assert!(marker.exists(), "cut at frame {frame}");
        assert_eq!(
            kinds(&line.door.seen()[before..]),
            [BodyType::Rr],
            "cut at frame {frame}"
        );
    }
}

#[test]
fn certificates_of_cas_are_kept_as_files_and_asked_for_with_a_secret_too() {
    let line = Line::open(&[]);
    let station = Station::with_secret(SECRET.1, line.root());
    let report = station.succeeds(&line.csms(), "ca-certs", &[]);
    let kept = files(&station.state().join("ca-certs"));
    let told = detail(&report, "ca-certs")["certificates"]
        .as_array()
        .unwrap()
        .clone();
    let mut named: Vec<_> = told
        .iter()
        .map(|one| PathBuf::from(one["file"].as_str().unwrap()))
        .collect();
    named.sort();
    assert_eq!(named, kept);
    assert!(kept.len() >= 2);
    for (file, one) in kept.iter().zip(&told) {
        openssl::verify(&line.root(), &line.root(), &arg(file));
        assert!(one["subject"].as_str().unwrap().contains("Lab"), "{one}");
    }
}

#[test]
fn a_new_root_is_trusted_beside_the_old_one_until_the_ra_has_signed_under_it() {
    let line = Line::open(&[]);
    let station = line.station();
    let csms = line.csms();
    let report = station.succeeds(&csms, "enroll,root-update", &[]);
    assert_eq!(detail(&report, "root-update")["updated"], false);
    assert!(!station.state().join("anchors").exists());

    line.lab.command(&["rollover"]);
    let report = station.succeeds(&csms, "root-update", &[]);
    let updated = detail(&report, "root-update");
    assert_eq!(
        (&updated["updated"], &updated["root_proven"]),
        (&true.into(), &Value::Null)
    );
    let kept = station.state().join("anchors/0001");
    let new_root = line.lab.file("2/root.pem");
    let same = |a: &str, b: &str| assert_eq!(x509(a, &["-fingerprint"]), x509(b, &["-fingerprint"]));
    same(&arg(kept.join("root.pem")), &new_root);
    same(&arg(kept.join("replaces.pem")), &line.root());
    same(
        &arg(kept.join("new-with-old.pem")),
        &line.lab.file("2/root-new-with-old.pem"),
    );
    same(
        &arg(kept.join("old-with-new.pem")),
        &line.lab.file("2/root-old-with-new.pem"),
    );
    assert!(!kept.join("proven").exists(), "the old root is still trusted");

    // The next operation is under the new root, and the certificate that it brings too.
    let report = station.succeeds(&csms, "update,ca-certs", &[]);
    let serial = x509(&new_root, &["-serial"]).trim().to_lowercase();
    let proven = detail(&report, "update")["root_proven"].as_str().unwrap();
    assert!(
        serial.ends_with(proven.trim_start_matches('0')),
        "{serial} {proven}"
    );
    assert_eq!(
        detail(&report, "ca-certs")["root_proven"],
        Value::Null,
        "it is proven once"
    );
    assert!(kept.join("proven").exists());
    station.check_certificate(&new_root);
    let report = station.succeeds(&csms, "root-update", &[]);
    assert_eq!(
        detail(&report, "root-update")["updated"],
        false,
        "the new root has no successor"
    );
}

#[test]
fn a_station_that_has_missed_two_new_roots_takes_one_after_the_other() {
    let line = Line::open(&[]);
    let station = line.station();
    let _ = station.succeeds(&line.csms(), "enroll", &[]);
    line.lab.command(&["rollover"]);
    line.lab.command(&["rollover"]);
    let report = station.succeeds(&line.csms(), "root-update,root-update,root-update,update", &[]);
    let steps = report["steps"].as_array().unwrap();
    let updated: Vec<_> = steps
        .iter()
        .map(|step| step["detail"]["updated"].clone())
        .collect();
    assert_eq!(updated, [true.into(), true.into(), false.into(), Value::Null]);
    station.check_certificate(&line.lab.file("3/root.pem"));
}

#[test]
fn a_root_that_the_ra_does_not_know_has_no_successor_and_the_reason_is_told() {
    let line = Line::open(&[]);
    let manufacturer = line.lab.file("manufacturer-root.pem");
    let both = [line.root(), manufacturer.clone()].map(|file| fs::read_to_string(file).unwrap());
    let trust = line.lab.write("both.pem", &both.concat());
    let station = line.station().trusting(trust);
    let options = ["--root", &manufacturer];
    station.fails_with(&line.csms(), "root-update", &options, "badCertId");
}

#[test]
fn a_template_is_applied_to_what_is_asked_for_after_it() {
    let line = Line::configured(
        "[profile.charger]\nsubject = [\"CN\", \"O=Fleet\"]\nkey_algorithms = [\"p384\", \"p521\"]\n\
         ext_key_usages = [\"clientAuth\"]\n",
    );
    let station = line.station();
    let csms = line.csms();
    let report = station.succeeds(&csms, "template,enroll,update", &["--profile", "charger"]);
    let demands = &detail(&report, "template")["demands"];
    assert_eq!(demands["subject"], "O=Fleet,CN=");
    assert_eq!(demands["key"], "p384 or p521");
    assert_eq!(demands["extKeyUsage"], "clientAuth");
    let as_wanted = || {
        let text = x509(&station.certificate(), &["-text"]);
        assert!(text.contains("secp384r1"), "{text}");
        assert!(text.contains("TLS Web Client Authentication"), "{text}");
        assert_eq!(openssl::subject(&station.certificate()), "O=Fleet,CN=CS-1");
        station.check_credential(&line.root());
    };
    as_wanted();
    // The template brings its profile with it.
    let _ = station.succeeds(&csms, "certify", &["--key-type", "p384"]);
    as_wanted();
    station.refuses(
        "update",
        &["--key-type", "ed25519"],
        "the template accepts only p384 or p521 for a key, and this station makes only ed25519",
    );
    // It is for no other profile.
    let finished = station.start(&csms, "update", &["--profile", "other"]).finish();
    let text = "the template that is kept is for the profile charger: not applied";
    let _ = finished.failure(1, text);
    fs::remove_file(station.state().join("template.der")).unwrap();
    let _ = station.succeeds(&csms, "enroll", &[]);
    station.check_certificate(&line.root());
}

#[test]
fn what_a_template_demands_and_the_station_lacks_is_told_with_what_gives_it() {
    let line = Line::configured(
        "[profile.unit]\nsubject = [\"CN\", \"OU\"]\n[profile.rsa]\nkey_algorithms = [\"rsa\"]\n",
    );
    for (profile, text) in [
        ("unit", "the template demands OU in the subject: give --subject"),
        (
            "rsa",
            "the template accepts only RSA of 3072 bits for a key, and this station makes none of them",
        ),
    ] {
        let station = line.station();
        let options = ["--profile", profile];
        station.fails_with(&line.csms(), "template,enroll", &options, text);
        station.refuses("enroll", &options, text);
        assert_eq!(station.certificate_bytes(), None);
    }
}

#[test]
fn names_that_are_asked_for_are_in_the_certificate_and_stay_in_an_update() {
    let line = Line::open(&[]);
    let station = line.station();
    let names = ["--san", "DNS:cs-1.example,IP:192.0.2.7"];
    let _ = station.succeeds(&line.csms(), "enroll", &names);
    let kept = || x509(&station.certificate(), &["-ext", "subjectAltName"]);
    let before = kept();
    assert!(
        before.contains("DNS:cs-1.example, IP Address:192.0.2.7"),
        "{before}"
    );
    let _ = station.succeeds(&line.csms(), "update", &[]);
    assert_eq!(kept(), before);
    let _ = station.succeeds(&line.csms(), "update", &["--san", "URI:urn:cs:1"]);
    assert!(kept().contains("URI:urn:cs:1"), "{}", kept());
}

#[test]
fn a_crl_is_kept_and_only_a_newer_one_is_taken_which_shows_the_revocation() {
    let line = Line::open(&[]);
    let station = line.station();
    let csms = line.csms();
    let report = station.succeeds(&csms, "enroll,crl,crl", &[]);
    let steps = report["steps"].as_array().unwrap();
    let crls: Vec<_> = steps[1..].iter().map(|step| &step["detail"]).collect();
    assert_eq!(
        (&crls[0]["newer"], &crls[1]["newer"]),
        (&true.into(), &false.into())
    );
    for crl in crls {
        assert_eq!(
            (&crl["entries"], &crl["revoked"]),
            (&0.into(), &false.into()),
            "{crl}"
        );
    }
    let kept = files(&station.state().join("crls"));
    assert_eq!(kept.len(), 1);
    let verified = run(
        "openssl",
        &[
            "crl",
            "-in",
            &arg(&kept[0]),
            "-CAfile",
            &line.lab.file("ca.pem"),
            "-noout",
        ],
    );
    assert!(verified.output.contains("verify OK"), "{}", verified.output);

    let _ = station.succeeds(&csms, "revoke", &["--reason", "superseded"]);
    // thisUpdate counts seconds: the next CRL may be of the same one.
    let end = Instant::now() + DEADLINE;
    let newer = loop {
        let report = station.succeeds(&csms, "crl", &[]);
        let crl = detail(&report, "crl").clone();
        if crl["newer"] == true || Instant::now() > end {
            break crl;
        }
    };
    assert_eq!(newer["newer"], true);
    assert_eq!(
        (&newer["entries"], &newer["revoked"]),
        (&1.into(), &true.into()),
        "{newer}"
    );
    assert_eq!(files(&station.state().join("crls")), kept);
}

#[test]
fn a_crl_is_found_at_the_distribution_point_that_the_certificate_names() {
    let line = Line::configured("[crl]\ndistribution_point = \"http://crl.example/lab\"\n");
    let station = line.station();
    let report = station.succeeds(&line.csms(), "enroll,crl", &[]);
    assert!(x509(&station.certificate(), &["-text"]).contains("http://crl.example/lab/1.crl"));
    assert_eq!(detail(&report, "crl")["newer"], true);
    let asked = line.door.seen().last().unwrap().0.clone();
    let point = b"http://crl.example/lab/1.crl";
    assert!(
        asked.windows(point.len()).any(|bytes| bytes == point),
        "asked by distribution point"
    );
}

#[test]
fn the_crl_of_a_named_issuer_needs_no_certificate_in_use_and_a_stranger_has_none() {
    let line = Line::open(&[]);
    let station = Station::with_secret(SECRET.1, line.root());
    let (issuer, stranger) = (line.lab.file("ca.pem"), line.lab.file("manufacturer-ca.pem"));
    let report = station.succeeds(&line.csms(), "crl", &["--crl-issuer", &issuer]);
    let crl = detail(&report, "crl");
    assert_eq!((&crl["newer"], &crl["revoked"]), (&true.into(), &Value::Null));
    let options = ["--crl-issuer", &stranger];
    station.fails_with(&line.csms(), "crl", &options, "addInfoNotAvailable");
}

#[test]
fn a_revoked_certificate_asks_for_nothing_more_and_the_lab_knows_the_reason() {
    let line = Line::open(&[]);
    let station = line.station();
    let csms = line.csms();
    let options = ["--reason", "cessationOfOperation"];
    let report = station.succeeds(&csms, "enroll,revoke", &options);
    let serial = detail(&report, "revoke")["serial"].as_str().unwrap().to_owned();
    let listed = line.lab.command(&["certificates"]);
    let ours = listed.lines().find(|line| line.contains(&serial)).unwrap();
    assert!(
        ours.contains("revoked") && ours.contains("cessationOfOperation"),
        "{ours}"
    );
    station.refuses("update", &[], "is revoked, cessationOfOperation: enroll again");
    // All else is proven by the manufacturer certificate again.
    let _ = station.succeeds(&csms, "ca-certs,enroll,update", &[]);
    station.check_certificate(&line.root());
}
