//! Stations and RAs with keys beyond ECDSA on P-256 and P-384: whole enrolments over the bridge, judged by Python's
//! `cryptography`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs
)]

use std::fs;
use std::path::Path;

use system_tests::http::Door;
use system_tests::programs::{LabRa, bridge, csms_url, path, run_peer};
use system_tests::station::Station;
use system_tests::{Finished, arg, folder, run};

/// The profile of the RA, the type of the station's keys, and what Python calls the signatures of the RA and of them.
const CASES: [[&str; 4]; 7] = [
    ["ml-dsa-44", "ml-dsa-44", "ml-dsa-44", "ml-dsa-44"],
    ["ml-dsa-65", "ml-dsa-65", "ml-dsa-65", "ml-dsa-65"],
    ["ml-dsa-87", "ml-dsa-87", "ml-dsa-87", "ml-dsa-87"],
    ["ed25519", "ed25519", "ed25519", "ed25519"],
    ["p521", "p521", "ecdsa-sha512", "ecdsa-sha512"],
    // A migration begins on either side.
    ["p256", "ml-dsa-65", "ecdsa-sha256", "ml-dsa-65"],
    ["ml-dsa-65", "p384", "ml-dsa-65", "ecdsa-sha384"],
];

/// What went between the bridge and the RA, one message a file, in order.
fn written(door: &Door, folder: &Path) -> Vec<String> {
    let messages = door.seen();
    let messages = messages
        .iter()
        .flat_map(|(request, response)| [request, response]);
    messages
        .enumerate()
        .map(|(n, message)| {
            let file = folder.join(format!("{n}.der"));
            fs::write(&file, message).unwrap();
            arg(file)
        })
        .collect()
}

fn judged(lab: &LabRa, station: &Station, messages: &[String]) -> Finished {
    let current = station.state().join("current");
    let file = |name: &str| arg(current.join(name));
    let credentials = [
        lab.file("root.pem"),
        file("chain.pem"),
        file("cert.pem"),
        file("key.pem"),
    ];
    let arguments: Vec<&str> = credentials.iter().chain(messages).map(String::as_str).collect();
    run_peer("check_signatures.py", &arguments)
}

#[test]
fn stations_with_keys_of_every_type_enrol_and_update_and_python_verifies_every_signature() {
    for [profile, key_type, ra_signature, station_signature] in CASES {
        let lab = LabRa::with_profile(profile);
        let ra = lab.serve(&[]);
        let door = Door::before(ra.address());
        let bridge = bridge(&door.url(), &[]);
        let station = Station::of_lab(&lab, "CS-1");
        let options = ["--key-type", key_type, "--unit", "4096"];
        let _ = station.succeeds(&csms_url(&bridge), "enroll,update", &options);

        let messages = folder();
        let messages = written(&door, messages.path());
        let said = judged(&lab, &station, &messages).success().output;
        // The manufacturer's key, of the RA's type, signs until there is a certificate for the station's own.
        let expected = [
            ("ir", ra_signature),
            ("ip", ra_signature),
            ("certConf", ra_signature),
            ("pkiconf", ra_signature),
            ("kur", station_signature),
            ("kup", ra_signature),
            ("certConf", station_signature),
            ("pkiconf", ra_signature),
        ];
        let expected: Vec<String> = expected.map(|(body, name)| format!("{body} {name}")).into();
        let said: Vec<&str> = said.lines().collect();
        assert_eq!(said, expected, "{profile} {key_type}");
    }
}

#[test]
fn python_finds_a_flipped_bit_in_a_message_signed_with_ml_dsa() {
    let lab = LabRa::with_profile("ml-dsa-44");
    let ra = lab.serve(&[]);
    let door = Door::before(ra.address());
    let bridge = bridge(&door.url(), &[]);
    let station = Station::of_lab(&lab, "CS-1");
    let _ = station.succeeds(&csms_url(&bridge), "enroll", &["--key-type", "ml-dsa-44"]);
    let dir = folder();
    let messages = written(&door, dir.path());
    let _ = judged(&lab, &station, &messages).success();
    // A third of the ir lies before its protection: header, key and proof of possession. Half of it are certificates.
    let mut ir = fs::read(&messages[0]).unwrap();
    let in_protection = ir.len() / 3;
    ir[in_protection] ^= 1;
    fs::write(&messages[0], ir).unwrap();
    let _ = judged(&lab, &station, &messages).failure(1, "InvalidSignature");
}

#[test]
fn a_lab_keeps_to_the_types_of_keys_that_it_knows() {
    let dir = folder();
    let state = arg(dir.path());
    for profile in ["rsa", "ml-dsa", "p224"] {
        let arguments = ["init", "--state", &state, "--profile", profile];
        let _ = run(&path("lab-ra"), &arguments).failure(2, "not one of p256 p384 p521 ed25519");
    }
}
