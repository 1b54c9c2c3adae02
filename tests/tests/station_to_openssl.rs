//! `charger-sim station` → `csms-bridge` → `openssl cmp -port`, which signs for an RA that we did not write.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs
)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use system_tests::http::{Door, post};
use system_tests::openssl::{Pki, SECRET};
use system_tests::programs::{bridge, csms_url};
use system_tests::station::Station;

#[test]
fn a_station_enrols_and_updates_with_signatures() {
    let pki = Arc::new(Pki::make());
    let door = pki.issuing_server(&[]);
    let bridge = bridge(&door.url(), &[]);
    let station = Station::of_pki(&pki, "idevid");
    let _ = station.succeeds(&csms_url(&bridge), "enroll", &["--ocpp", "1.6"]);
    station.check_certificate(&pki.file("root.crt"));
    let first = station.certificate_bytes();
    let _ = station.succeeds(&csms_url(&bridge), "update", &["--ocpp", "2.0.1"]);
    station.check_certificate(&pki.file("root.crt"));
    assert_ne!(station.certificate_bytes(), first);
    assert_eq!(door.seen().len(), 4, "ir, certConf, kur, certConf");
}

#[test]
fn a_station_enrols_with_a_shared_secret() {
    let pki = Arc::new(Pki::make());
    let door = pki.issuing_server(&[]);
    let bridge = bridge(&door.url(), &[]);
    let station = Station::with_secret(SECRET.1, pki.file("root.crt"));
    let _ = station.succeeds(&csms_url(&bridge), "enroll", &[]);
    station.check_certificate(&pki.file("root.crt"));
}

#[test]
fn a_station_polls_as_openssl_says() {
    let pki = Arc::new(Pki::make());
    let door = pki.issuing_server(&["-poll_count", "1", "-check_after", "1"]);
    let bridge = bridge(&door.url(), &[]);
    let station = Station::of_pki(&pki, "idevid");
    let _ = station.succeeds(&csms_url(&bridge), "enroll", &[]);
    station.check_certificate(&pki.file("root.crt"));
    assert!(door.seen().len() > 2, "{}", door.seen().len());
}

#[test]
fn a_certificate_for_another_key_is_refused_in_certconf() {
    let pki = Pki::make();
    let server = pki.mock_server(&pki.file("lc.crt"), &[]);
    let door = Door::before(server.address.clone());
    let bridge = bridge(&door.url(), &[]);
    let station = Station::of_pki(&pki, "idevid");
    station.fails(
        &csms_url(&bridge),
        "enroll",
        "the issued certificate was refused in certConf",
    );
    assert_eq!(station.certificate_bytes(), None);
    assert_eq!(door.seen().len(), 2, "ir and the certConf that refuses");
}

#[test]
fn an_expired_manufacturer_certificate_is_refused_by_openssl_and_the_reason_arrives() {
    let pki = Arc::new(Pki::make());
    let door = pki.issuing_server(&[]);
    let bridge = bridge(&door.url(), &[]);
    let station = Station::of_pki(&pki, "idevid-expired");
    let (finished, report) = station.run(&csms_url(&bridge), "enroll", &[]);
    assert_eq!(finished.code, Some(1), "{}", finished.output);
    assert!(
        finished.output.to_lowercase().contains("expired")
            || finished.output.contains("certificate has expired")
            || finished.output.contains("error validating protection"),
        "{}",
        finished.output
    );
    assert_eq!(report["ok"], false);
    assert_eq!(station.certificate_bytes(), None);
}

#[test]
fn a_refusal_comes_with_its_failinfo_and_its_text() {
    let pki = Arc::new(Pki::make());
    let door = pki.issuing_server(&[
        "-pkistatus",
        "2",
        "-failure",
        "24",
        "-statusstring",
        "not on the list",
    ]);
    let bridge = bridge(&door.url(), &[]);
    let station = Station::of_pki(&pki, "idevid");
    station.fails(&csms_url(&bridge), "enroll", "not on the list");
    assert_eq!(station.certificate_bytes(), None);
}

#[test]
fn a_response_that_was_changed_on_the_way_is_refused() {
    let pki = Arc::new(Pki::make());
    let inner = pki.issuing_server(&[]);
    let url = inner.url();
    let address = url
        .trim_start_matches("http://")
        .split('/')
        .next()
        .unwrap()
        .to_owned();
    let changed = Arc::new(AtomicBool::new(false));
    let flag = changed.clone();
    let door = Door::open(move |request| {
        let mut response = post(&address, "/pkix/", request).unwrap();
        // Within the issued certificate, which begins after some 300 bytes of header: still DER, other content.
        if !flag.swap(true, Ordering::SeqCst) {
            let at = find(&response, b"Operator").expect("the operator's name");
            response[at] ^= 1;
        }
        Some(response)
    });
    let bridge = bridge(&door.url(), &[]);
    let station = Station::of_pki(&pki, "idevid");
    let (finished, report) = station.run(&csms_url(&bridge), "enroll", &[]);
    assert!(changed.load(Ordering::SeqCst));
    assert_eq!(finished.code, Some(1), "{}", finished.output);
    assert!(
        finished.output.contains("is not acceptable"),
        "{}",
        finished.output
    );
    assert_eq!(report["ok"], false);
    assert_eq!(station.certificate_bytes(), None);
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}
