//! `charger-sim fleet` → `csms-bridge` → `lab-ra`: many stations at a time, and what the summary says of them.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs
)]

use std::collections::BTreeSet;

use serde_json::Value;
use system_tests::openssl::SECRET;
use system_tests::programs::{LabRa, bridge, csms_url, path};
use system_tests::{Finished, Program, folder, run};

struct Lab {
    lab: LabRa,
    bridge: Program,
    _ra: Program,
}

impl Lab {
    fn open() -> Self {
        let lab = LabRa::init();
        let ra = lab.serve(&[]);
        let url = format!("http://{}/.well-known/cmp", ra.address());
        let bridge = bridge(&url, &[]);
        Self { lab, bridge, _ra: ra }
    }

    fn fleet(&self, count: &str, options: &[&str]) -> Finished {
        let (csms, trust) = (csms_url(&self.bridge), self.lab.file("root.pem"));
        let mut arguments = vec!["fleet", "--csms", &csms, "--trust", &trust, "--count", count];
        arguments.extend_from_slice(options);
        run(&path("charger-sim"), &arguments)
    }

    /// The same with a report.
    fn report(&self, count: &str, options: &[&str]) -> Value {
        let file = folder().keep().join("report");
        let file = file.to_str().unwrap();
        let finished = self.fleet(count, &[options, &["--report", file]].concat());
        let text = std::fs::read_to_string(file).expect(&finished.output);
        std::fs::remove_file(file).unwrap();
        serde_json::from_str(&text).unwrap()
    }
}

fn secret() -> String {
    format!("{}:{}", SECRET.0, SECRET.1)
}

#[test]
fn every_station_of_a_fleet_enrols_and_renews_with_a_certificate_of_its_maker() {
    let lab = Lab::open();
    let maker = format!(
        "{},{}",
        lab.lab.file("manufacturer-ca.pem"),
        lab.lab.file("manufacturer-ca-key.pem")
    );
    let options = ["--maker-ca", &maker, "--ramp", "1", "--scenario", "renew"];
    let report = lab.report("12", &options);
    assert_eq!(
        (&report["ok"], &report["settled"]),
        (&true.into(), &12.into()),
        "{report}"
    );
    for step in ["boot", "enroll", "renew"] {
        assert_eq!(report["steps"][step]["count"], 12, "{report}");
    }
    // The RA has issued two for each, each under its own name.
    let certificates = lab.lab.command(&["certificates"]);
    let names: BTreeSet<_> = (1..=12).map(|number| format!("CN=CP-{number}")).collect();
    for name in names {
        let issued = certificates
            .lines()
            .filter(|line| line.split_whitespace().any(|word| word == name));
        assert_eq!(issued.count(), 2, "{name} in\n{certificates}");
    }
}

#[test]
fn a_fleet_with_a_secret_or_with_nothing_to_do_ends_well_in_every_version() {
    let lab = Lab::open();
    for version in ["1.6", "2.0.1", "2.1"] {
        let secret = secret();
        let options = ["--ramp", "0", "--ocpp", version, "--secret", &secret];
        let finished = lab.fleet("3", &options).success();
        assert!(
            finished.output.contains("3 of 3 stations did what they should"),
            "{}",
            finished.output
        );
        let idle = [
            "--ramp",
            "0",
            "--ocpp",
            version,
            "--scenario",
            "idle",
            "--hold",
            "0.1",
        ];
        let report = lab.report("3", &idle);
        assert_eq!(report["steps"]["boot"]["count"], 3, "{report}");
    }
}

#[test]
fn stations_that_are_refused_are_counted_with_the_reason_and_fail_the_run() {
    let lab = Lab::open();
    let wrong = format!("{}:not-the-secret", SECRET.0);
    let options = ["--ramp", "0", "--secret", &wrong];
    let _ = lab
        .fleet("4", &options)
        .failure(1, "4 of 4 stations did not do what they should");
    let report = lab.report("4", &options);
    let reasons = report["failures"].as_object().unwrap();
    assert_eq!(reasons.len(), 1, "{report}");
    let (reason, times) = reasons.iter().next().unwrap();
    assert!(reason.contains("badMessageCheck"), "{reason}");
    assert_eq!(times, 4);
}

#[test]
fn a_fleet_that_cannot_begin_says_what_is_missing() {
    for (arguments, says) in [
        (&["--csms", "ws://127.0.0.1:1/"][..], "--trust is missing"),
        (&["--csms", "127.0.0.1", "--maker-ca", "one"], "CERT,KEY"),
    ] {
        let mut all = vec!["fleet", "--count", "2"];
        all.extend_from_slice(arguments);
        let _ = run(&path("charger-sim"), &all).failure(2, says);
    }
    let options = ["--scenario", "idle", "--timeout", "0.2", "--ramp", "0"];
    let mut all = vec!["fleet", "--count", "2", "--csms", "ws://127.0.0.1:1/"];
    all.extend_from_slice(&options);
    let _ = run(&path("charger-sim"), &all).failure(1, "not let in by the CSMS in time");
}
