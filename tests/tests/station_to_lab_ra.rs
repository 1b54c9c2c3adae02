//! `charger-sim station` → `csms-bridge` → `lab-ra`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs
)]

use system_tests::Program;
use system_tests::http::Door;
use system_tests::openssl::SECRET;
use system_tests::programs::{LabRa, bridge, csms_url};
use system_tests::station::Station;

struct Lab {
    lab: LabRa,
    _ra: Program,
    door: Door,
    bridge: Program,
}

impl Lab {
    fn of(ra_options: &[&str], bridge_options: &[&str]) -> Self {
        let lab = LabRa::init();
        let ra = lab.serve(ra_options);
        let door = Door::before(ra.address());
        let bridge = bridge(&door.url(), bridge_options);
        Self {
            lab,
            _ra: ra,
            door,
            bridge,
        }
    }

    fn root(&self) -> String {
        self.lab.file("root.pem")
    }

    fn csms(&self) -> String {
        csms_url(&self.bridge)
    }
}

#[track_caller]
fn enrols_and_updates(ocpp: &str, options: &[&str]) {
    let lab = Lab::of(&[], &[]);
    let station = Station::of_lab(&lab.lab, "CS-1");
    let options = [&["--ocpp", ocpp], options].concat();
    let _ = station.succeeds(&lab.csms(), "enroll", &options);
    station.check_certificate(&lab.root());
    let first = station.certificate_bytes().unwrap();
    let _ = station.succeeds(&lab.csms(), "update", &options);
    station.check_certificate(&lab.root());
    assert_ne!(
        station.certificate_bytes().unwrap(),
        first,
        "an update brings another certificate"
    );
}

#[test]
fn a_station_enrols_and_updates_over_1_6() {
    enrols_and_updates("1.6", &[]);
}

#[test]
fn a_station_enrols_and_updates_over_2_0_1_in_frames_of_1000_bytes() {
    enrols_and_updates("2.0.1", &["--unit", "1000"]);
}

#[test]
fn a_station_enrols_and_updates_over_2_1() {
    enrols_and_updates("2.1", &[]);
}

#[test]
fn enrolment_and_update_in_one_run_are_two_steps_of_the_report() {
    let lab = Lab::of(&[], &[]);
    let station = Station::of_lab(&lab.lab, "CS-1");
    let report = station.succeeds(&lab.csms(), "enroll,update", &[]);
    let names: Vec<_> = report["steps"]
        .as_array()
        .unwrap()
        .iter()
        .map(|step| step["name"].as_str().unwrap())
        .collect();
    let position = |name| {
        names
            .iter()
            .position(|n| *n == name)
            .unwrap_or_else(|| panic!("no {name} in {names:?}"))
    };
    assert!(position("enroll") < position("update"));
    station.check_certificate(&lab.root());
}

#[test]
fn a_station_enrols_with_a_shared_secret() {
    let lab = Lab::of(&[], &[]);
    let station = Station::with_secret(SECRET.1, lab.root());
    let _ = station.succeeds(&lab.csms(), "enroll", &[]);
    station.check_certificate(&lab.root());
}

#[test]
fn a_station_waits_for_as_long_as_the_ra_says() {
    let lab = Lab::of(&["--poll-after", "2,1"], &[]);
    let station = Station::of_lab(&lab.lab, "CS-1");
    let _ = station.succeeds(&lab.csms(), "enroll", &[]);
    station.check_certificate(&lab.root());
    assert_eq!(lab.door.seen().len(), 5, "ir, three pollReqs, certConf");
}

#[test]
fn a_station_that_is_held_pending_enrols_while_the_bridge_does_the_calling() {
    let lab = Lab::of(&[], &["--hold-pending"]);
    let station = Station::of_lab(&lab.lab, "CS-1");
    let _ = station.succeeds(&lab.csms(), "enroll", &["--ocpp", "2.0.1"]);
    station.check_certificate(&lab.root());
}

#[test]
fn a_station_with_a_wrong_secret_is_told_so_and_has_nothing() {
    let lab = Lab::of(&[], &[]);
    let station = Station::with_secret("wrong", lab.root());
    station.fails(&lab.csms(), "enroll", "MAC is wrong");
    assert_eq!(station.certificate_bytes(), None);
}

#[test]
fn a_station_refuses_an_ra_that_it_does_not_trust() {
    let (lab, other) = (Lab::of(&[], &[]), LabRa::init());
    let station = Station::of_lab(&lab.lab, "CS-1").trusting(other.file("root.pem"));
    station.fails(&lab.csms(), "enroll", "the protection certificate is not trusted");
    assert_eq!(station.certificate_bytes(), None);
}

#[test]
fn a_failed_update_leaves_the_certificate_in_use_as_it_was() {
    let lab = Lab::of(&[], &[]);
    let station = Station::of_lab(&lab.lab, "CS-1");
    let _ = station.succeeds(&lab.csms(), "enroll", &[]);
    let before = station.certificate_bytes().unwrap();
    let stranger = Lab::of(&[], &[]);
    let (finished, report) = station.run(&stranger.csms(), "update", &[]);
    assert_eq!(finished.code, Some(1), "{}", finished.output);
    assert_eq!(report["ok"], false);
    assert_eq!(station.certificate_bytes().unwrap(), before);
    station.check_certificate(&lab.root());
    let _ = station.succeeds(&lab.csms(), "update", &[]);
    assert_ne!(station.certificate_bytes().unwrap(), before);
}
