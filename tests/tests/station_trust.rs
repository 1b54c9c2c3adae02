//! Whom a station believes: its first trust anchors, and what the RA's certificate must be for.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs
)]

use std::fs;
use std::path::Path;

use system_tests::Program;
use system_tests::openssl::SECRET;
use system_tests::programs::{LabRa, bridge, csms_url};
use system_tests::station::Station;

/// `lab`, serving behind a bridge.
fn line(lab: &LabRa, options: &[&str]) -> (Program, Program, String) {
    let ra = lab.serve(options);
    let bridge = bridge(&format!("http://{}/.well-known/cmp", ra.address()), &[]);
    let csms = csms_url(&bridge);
    (ra, bridge, csms)
}

/// The roots that the station keeps.
fn kept_roots(station: &Station) -> Vec<Vec<u8>> {
    let Ok(folders) = fs::read_dir(station.state().join("anchors")) else {
        return Vec::new();
    };
    folders
        .map(|folder| pem(&folder.unwrap().path().join("root.pem")))
        .collect()
}

fn pem(file: &Path) -> Vec<u8> {
    der::pem::decode_vec(&fs::read(file).unwrap()).unwrap().1
}

#[test]
fn a_station_with_a_secret_needs_no_anchor_and_believes_ca_pubs_from_then_on() {
    let lab = LabRa::init();
    let (_ra, _bridge, csms) = line(&lab, &[]);
    let station = Station::with_secret(SECRET.1, String::new()).trusting_what_it_has();
    let (finished, _) = station.run(&csms, "enroll", &[]);
    let finished = finished.success();
    assert!(
        finished.output.contains("it came in caPubs"),
        "{}",
        finished.output
    );
    assert_eq!(kept_roots(&station), [pem(lab.file("root.pem").as_ref())]);
    // From here on under signature, also in another run, and the anchor is kept once.
    let _ = station.succeeds(&csms, "update,ca-certs", &[]);
    let _ = station.succeeds(&csms, "enroll", &[]);
    assert_eq!(kept_roots(&station).len(), 1);
    let _ = lab.command(&["rollover"]);
    let _ = station.succeeds(&csms, "root-update,update,update", &[]);
}

#[test]
fn a_station_under_signature_without_an_anchor_says_what_it_lacks_and_asks_nobody() {
    let lab = LabRa::init();
    let station = Station::of_lab(&lab, "SN-1").trusting_what_it_has();
    station.refuses("enroll", &[], "there is no trust anchor: give --trust");
}

#[test]
fn ca_pubs_under_a_signature_are_believed_only_from_who_is_authorised() {
    let lab = LabRa::init();
    let file = lab.write("lab.toml", "ca_pubs_under_signature = true\n");
    let (_ra, _bridge, csms) = line(&lab, &["--config", &file]);
    let root = lab.file("root.pem");
    for authorised in [false, true] {
        let station = Station::of_lab(&lab, if authorised { "SN-2" } else { "SN-1" });
        let signer = ["--anchor-signer", root.as_str()];
        let options = if authorised { &signer[..] } else { &[] };
        let (finished, _) = station.run(&csms, "enroll", options);
        let finished = finished.success();
        assert_eq!(finished.output.contains("it came in caPubs"), authorised);
        assert_eq!(kept_roots(&station).len(), usize::from(authorised));
        let station = station.trusting_what_it_has();
        if authorised {
            let _ = station.succeeds(&csms, "update", &[]);
        } else {
            station.refuses("update", &[], "there is no trust anchor");
        }
    }
}

#[test]
fn the_ra_must_have_the_extended_key_usage_that_is_asked_of_it() {
    let lab = LabRa::init();
    let (_ra, _bridge, csms) = line(&lab, &[]);
    let station = Station::of_lab(&lab, "SN-1");
    let usage = ["--signer-usage", "cmc-ca"];
    station.fails_with(&csms, "enroll", &usage, "extended key usage");
    let _ = station.succeeds(&csms, "enroll", &["--signer-usage", "cmc-ra"]);
    let _ = station.succeeds(&csms, "update", &["--signer-usage", "1.3.6.1.5.5.7.3.28"]);
}
