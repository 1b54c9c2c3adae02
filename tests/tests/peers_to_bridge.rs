//! `openssl cmp` → a station made of the Python package `ocpp` → `csms-bridge` → `openssl cmp -port`: the bridge is the
//! only part of ours.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs
)]

use std::sync::Arc;

use system_tests::carriage::{carries_every_message, our_bridge};
use system_tests::http::Door;
use system_tests::openssl::{self, Pki, Protection, SECRET};
use system_tests::programs::{bridge, csms_url, peer};
use system_tests::{Finished, Program, folder};

fn station(bridge: &Program, ocpp: &str, mode: &str) -> Program {
    let url = csms_url(bridge);
    let arguments = [
        "--csms",
        &url,
        "--id",
        "CS-1",
        "--ocpp",
        ocpp,
        "--mode",
        mode,
        "--listen",
        "127.0.0.1:0",
    ];
    peer("station_ocpp.py", &arguments)
}

fn enroll(pki: &Pki, server: &str, dir: &std::path::Path, protection: Protection) -> Finished {
    let (cert, key, new_key) = (pki.file("idevid.crt"), pki.file("idevid.key"), pki.file("lc.key"));
    let (root, out, pass) = (
        pki.file("root.crt"),
        pki.file("out.crt"),
        format!("pass:{}", SECRET.1),
    );
    let url = format!("http://{server}/pkix/");
    let common = [
        "-cmd",
        "ir",
        "-newkey",
        &new_key,
        "-subject",
        "/CN=CS-1/O=Operator",
        "-recipient",
        "/CN=RA",
        "-certout",
        &out,
    ];
    let own = match protection {
        Protection::Signature => vec!["-cert", &cert, "-key", &key, "-trusted", &root],
        Protection::Secret => vec!["-ref", SECRET.0, "-secret", &pass],
    };
    openssl::client(&url, dir, 2, &[&common[..], &own].concat())
}

#[track_caller]
fn enrols(ocpp: &str, mode: &str, options: &[&str], protection: Protection) {
    let pki = Arc::new(Pki::make());
    let server = pki.mock_server(&pki.file("lc.crt"), &[]);
    let door = Door::before(server.address.clone());
    let bridge = bridge(&door.url(), options);
    let station = station(&bridge, ocpp, mode);
    let messages = folder();
    let _ = enroll(&pki, &station.address(), messages.path(), protection).success();
    let boot = if mode == "pull" {
        "boot Pending"
    } else {
        "boot Accepted"
    };
    let _ = station.wait_line(boot);
    assert_eq!(door.seen().len(), 2, "ir and certConf");
    assert_eq!(
        door.seen(),
        openssl::kept(messages.path()),
        "the bytes that arrived are those that were sent"
    );
    openssl::verify(
        &pki.file("root.crt"),
        &pki.file("issuing.crt"),
        &pki.file("out.crt"),
    );
}

fn push_station(ocpp: &'static str) -> impl Fn(&Program, &str) -> Program {
    move |bridge, route| {
        let (url, id) = (csms_url(bridge), format!("CS-{route}"));
        let arguments = [
            "--csms",
            &url,
            "--id",
            &id,
            "--ocpp",
            ocpp,
            "--route",
            route,
            "--listen",
            "127.0.0.1:0",
        ];
        peer("station_ocpp.py", &arguments)
    }
}

#[test]
fn a_python_station_carries_every_message_over_1_6_with_signatures() {
    carries_every_message(our_bridge, push_station("1.6"), Protection::Signature);
}

#[test]
fn a_python_station_carries_every_message_over_2_0_1_with_a_secret() {
    carries_every_message(our_bridge, push_station("2.0.1"), Protection::Secret);
}

#[test]
fn a_python_station_that_is_held_pending_enrols_over_1_6_in_pull_mode() {
    enrols("1.6", "pull", &["--hold-pending"], Protection::Secret);
}

#[test]
fn a_python_station_that_is_held_pending_enrols_over_2_0_1_in_pull_mode() {
    enrols("2.0.1", "pull", &["--hold-pending"], Protection::Signature);
}

#[test]
fn a_python_station_is_told_that_no_ra_can_be_reached() {
    let pki = Pki::make();
    // A port that was free a moment ago and that nobody listens on.
    let gone = Door::open(|_| None).url();
    let bridge = bridge(&gone, &[]);
    let station = station(&bridge, "1.6", "push");
    let messages = folder();
    let url = format!("http://{}/pkix/", station.address());
    let (new_key, pass) = (pki.file("lc.key"), format!("pass:{}", SECRET.1));
    let options = [
        "-cmd",
        "genm",
        "-ref",
        SECRET.0,
        "-secret",
        &pass,
        "-newkey",
        &new_key,
        "-msg_timeout",
        "3",
    ];
    let failed = openssl::client(&url, messages.path(), 1, &options);
    assert_eq!(failed.code, Some(1), "{}", failed.output);
    let _ = station.wait_line("told ra-unreachable, retry ");
}

#[test]
fn an_answer_that_does_not_come_is_told_as_unknown_outcome() {
    let pki = Pki::make();
    let door = Door::open(|_| None);
    let bridge = bridge(&door.url(), &[]);
    let station = station(&bridge, "2.0.1", "push");
    let messages = folder();
    let failed = enroll(&pki, &station.address(), messages.path(), Protection::Signature);
    assert_eq!(failed.code, Some(1), "{}", failed.output);
    let _ = station.wait_line("transfer error ra-timeout");
    assert_eq!(door.seen().len(), 1, "the RA is asked once");
}
