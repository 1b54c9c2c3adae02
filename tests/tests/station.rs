//! `charger-sim station` as its user starts it, at RAs of OpenSSL's and ours, through bridges of ours and of the Python
//! package `ocpp`: what it gets, what it keeps, and what it does when something is wrong.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs
)]

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::mpsc::channel;

use cmp_message::{BodyType, PkiMessage};
use system_tests::http::{Door, kinds, post};
use system_tests::openssl::{Pki, SECRET};
use system_tests::programs::{LabRa, bridge, csms_url, peer};
use system_tests::station::Station;
use system_tests::tap::Tap;

fn enrols_and_updates_at_openssl(ocpp: &str, station: impl Fn(&Pki) -> Station, options: &[&str]) {
    let pki = Arc::new(Pki::make());
    let door = pki.issuing_server(&[]);
    let bridge = bridge(&door.url(), &[]);
    let station = station(&pki);
    let options = [&["--ocpp", ocpp], options].concat();
    let report = station.succeeds(&csms_url(&bridge), "enroll,update", &options);
    assert_eq!(report["steps"].as_array().unwrap().len(), 2, "{report:#}");
    assert_eq!(
        kinds(&door.seen()),
        [
            BodyType::Ir,
            BodyType::CertConf,
            BodyType::Kur,
            BodyType::CertConf
        ]
    );
    station.check_certificate(&pki.file("root.crt"));
}

#[test]
fn it_enrols_and_updates_at_openssl_with_a_manufacturer_certificate_over_1_6() {
    enrols_and_updates_at_openssl("1.6", |pki| Station::of_pki(pki, "idevid"), &[]);
}

#[test]
fn it_enrols_and_updates_at_openssl_with_a_manufacturer_certificate_over_2_0_1_in_small_frames() {
    let idevid = |pki: &Pki| Station::of_pki(pki, "idevid");
    enrols_and_updates_at_openssl("2.0.1", idevid, &["--unit", "512"]);
}

#[test]
fn it_enrols_and_updates_at_openssl_with_a_shared_secret_over_2_1() {
    let with_secret = |pki: &Pki| Station::with_secret(SECRET.1, pki.file("root.crt"));
    enrols_and_updates_at_openssl("2.1", with_secret, &[]);
}

#[test]
fn it_enrols_and_updates_through_a_python_csms_that_it_calls() {
    let (lab, csms) = python_csms("1.6", "push");
    enrols_and_updates_at_lab_ra(&lab, &format!("ws://{}/ocpp", csms.address()), "1.6");
}

#[test]
fn it_enrols_and_updates_through_a_python_csms_that_holds_it_pending() {
    let (lab, csms) = python_csms("2.0.1", "pull");
    enrols_and_updates_at_lab_ra(&lab, &format!("ws://{}/ocpp", csms.address()), "2.0.1");
}

#[test]
fn it_enrols_and_updates_through_a_bridge_that_holds_it_pending() {
    let lab = LabRa::init();
    let ra = lab.serve(&[]);
    let bridge = bridge(&format!("http://{}/", ra.address()), &["--hold-pending"]);
    enrols_and_updates_at_lab_ra(&(lab, ra), &csms_url(&bridge), "2.0.1");
}

type Lab = (LabRa, system_tests::Program);

fn python_csms(ocpp: &str, mode: &str) -> (Lab, system_tests::Program) {
    let lab = LabRa::init();
    let ra = lab.serve(&[]);
    let route = format!("default=http://{}/", ra.address());
    let options = [
        "--ocpp",
        ocpp,
        "--mode",
        mode,
        "--listen",
        "127.0.0.1:0",
        "--route",
        &route,
    ];
    ((lab, ra), peer("csms_ocpp.py", &options))
}

fn enrols_and_updates_at_lab_ra((lab, _ra): &Lab, csms: &str, ocpp: &str) {
    let station = Station::of_lab(lab, "SN-1");
    let _ = station.succeeds(csms, "enroll,update", &["--ocpp", ocpp]);
    station.check_certificate(&lab.file("root.pem"));
}

#[test]
fn an_ra_that_needs_time_is_polled() {
    let lab = LabRa::init();
    let ra = lab.serve(&["--poll-after", "2,1"]);
    let bridge = bridge(&format!("http://{}/", ra.address()), &[]);
    let station = Station::of_lab(&lab, "SN-1");
    let report = station.succeeds(&csms_url(&bridge), "enroll", &[]);
    let polls = report.to_string().matches("\"pollReq\"").count();
    assert_eq!(polls, 3, "{report:#}");
    station.check_certificate(&lab.file("root.pem"));
}

/// A lab with a bridge before it, and before the RA a door that a test may tamper with.
struct Line {
    lab: LabRa,
    _ra: system_tests::Program,
    door: Door,
    bridge: system_tests::Program,
}

impl Line {
    fn tampering(tamper: impl Fn(&mut Vec<u8>) + Send + 'static) -> Self {
        let lab = LabRa::init();
        let ra = lab.serve(&[]);
        let address = ra.address();
        let door = Door::open(move |request| {
            let mut response = post(&address, "/", request).unwrap();
            tamper(&mut response);
            Some(response)
        });
        let bridge = bridge(&door.url(), &[]);
        Self {
            lab,
            _ra: ra,
            door,
            bridge,
        }
    }
}

#[test]
fn a_wrong_secret_gets_nothing_and_says_why() {
    let line = Line::tampering(|_| ());
    let station = Station::with_secret("wrong", line.lab.file("root.pem"));
    station.fails(&csms_url(&line.bridge), "enroll", "badMessageCheck");
    assert_eq!(station.certificate_bytes(), None);
    assert_eq!(line.door.seen().len(), 1, "a refusal is not asked again");
    station.fails(&csms_url(&line.bridge), "enroll", "compare --secret");
}

#[test]
fn an_ra_under_another_root_is_not_believed() {
    let line = Line::tampering(|_| ());
    let stranger = Pki::make();
    let station = Station::of_lab(&line.lab, "SN-1").trusting(stranger.file("other.crt"));
    station.fails(&csms_url(&line.bridge), "enroll", "its issuer is not known");
    assert_eq!(station.certificate_bytes(), None);
    station.fails(&csms_url(&line.bridge), "enroll", "with --trust");
}

#[test]
fn an_expired_manufacturer_certificate_is_refused_by_openssl_and_the_reason_is_told() {
    let pki = Arc::new(Pki::make());
    let door = pki.issuing_server(&[]);
    let bridge = bridge(&door.url(), &[]);
    let station = Station::of_pki(&pki, "idevid-expired");
    station.fails(&csms_url(&bridge), "enroll", "ir of transaction");
    assert_eq!(station.certificate_bytes(), None);
    assert_eq!(kinds(&door.seen()), [BodyType::Ir]);
}

#[test]
fn an_answer_with_a_changed_byte_is_not_believed() {
    for place in ["protection", "body"] {
        let line = Line::tampering(move |response| {
            let message = PkiMessage::from_bytes(response).unwrap();
            let part = match place {
                "protection" => message.protection.unwrap().raw_bytes().to_vec(),
                _ => message.body.as_der().to_vec(),
            };
            let at = response
                .windows(part.len())
                .position(|bytes| bytes == part)
                .unwrap();
            response[at + part.len() - 1] ^= 1;
        });
        let station = Station::of_lab(&line.lab, "SN-1");
        station.fails(&csms_url(&line.bridge), "enroll", "signature");
        assert_eq!(station.certificate_bytes(), None, "{place}");
        assert_eq!(kinds(&line.door.seen()), [BodyType::Ir], "{place}");
    }
}

#[test]
fn a_failed_update_leaves_the_old_certificate_and_key_in_use() {
    let line = Line::tampering(|response| {
        let message = PkiMessage::from_bytes(response).unwrap();
        if message.body.body_type() == BodyType::Kup {
            *response.last_mut().unwrap() ^= 1;
            let signature = message.protection.unwrap().raw_bytes().to_vec();
            let at = response
                .windows(signature.len())
                .position(|bytes| bytes == signature);
            response[at.unwrap() + signature.len() - 1] ^= 1;
        }
    });
    let station = Station::of_lab(&line.lab, "SN-1");
    let csms = csms_url(&line.bridge);
    let _ = station.succeeds(&csms, "enroll", &[]);
    let before = station.certificate_bytes();
    station.fails(&csms, "update", "kur of transaction");
    assert_eq!(station.certificate_bytes(), before);
    station.check_certificate(&line.lab.file("root.pem"));
}

#[test]
fn a_station_without_a_certificate_has_nothing_to_update_and_says_so() {
    let line = Line::tampering(|_| ());
    let station = Station::of_lab(&line.lab, "SN-1");
    let finished = station.start(&csms_url(&line.bridge), "update", &[]).finish();
    let _ = finished.failure(2, "there is no certificate to update: enroll first");
    assert_eq!(line.door.seen(), []);
}

#[test]
fn a_second_station_in_the_same_folder_is_kept_out() {
    let (asked, is_asked) = channel();
    let line = Line::tampering(move |_| asked.send(()).unwrap());
    let station = Station::of_lab(&line.lab, "SN-1");
    let gone = Tap::before(line.bridge.address());
    gone.cut_at(1);
    let first = station.start(&gone.url(), "enroll", &[]);
    let _ = first.wait_line("not connected");
    let second = station.start(&csms_url(&line.bridge), "enroll", &[]).finish();
    let _ = second.failure(2, "is in use by another process");
    drop(first);
    assert!(is_asked.try_recv().is_err(), "the RA was asked");
}

/// The power goes while the RA thinks about message number `at`, counted from 1.
fn loses_power_while_the_ra_works(at: usize) {
    let lab = LabRa::init();
    let ra = lab.serve(&[]);
    let (door, held) = Door::holding(ra.address(), at);
    let bridge = bridge(&door.url(), &[]);
    let csms = csms_url(&bridge);
    let station = Station::of_lab(&lab, "SN-1");
    let mut first = station.start(&csms, "enroll,update", &[]);
    held.wait();
    first.kill();
    held.release();
    let _ = station.succeeds(&csms, "enroll,update", &[]);
    station.check_certificate(&lab.file("root.pem"));
    let expected = [
        BodyType::Ir,
        BodyType::CertConf,
        BodyType::Kur,
        BodyType::CertConf,
    ];
    assert_eq!(
        kinds(&door.seen()),
        expected,
        "each message once, power lost at {at}"
    );
}

#[test]
fn a_station_that_loses_power_while_the_ra_works_goes_on_and_nothing_is_asked_twice() {
    for message in 1..=4 {
        loses_power_while_the_ra_works(message);
    }
}

#[test]
fn a_station_that_loses_power_at_any_frame_goes_on_and_nothing_is_asked_twice() {
    let line = Line::tampering(|_| ());
    let whole = Tap::before(line.bridge.address());
    let _ = Station::of_lab(&line.lab, "SN-0").succeeds(&whole.url(), "enroll", &[]);
    let frames = whole.frames().len();
    assert!(frames >= 6, "{frames}");
    for frame in 1..=frames {
        let before = line.door.seen().len();
        let tap = Tap::before(line.bridge.address());
        let station = Station::of_lab(&line.lab, &format!("SN-{frame}"));
        let mut first = station.start(&tap.url(), "enroll", &[]);
        tap.wait_for("frames", |seen| seen.len() >= frame);
        first.kill();
        let finished = station.start(&tap.url(), "enroll", &[]).finish();
        if station.certificate_bytes().is_none() {
            panic!("cut at frame {frame}: {}", finished.output);
        }
        station.check_certificate(&line.lab.file("root.pem"));
        let seen = line.door.seen();
        let requests: BTreeSet<_> = seen[before..].iter().map(|(request, _)| request).collect();
        assert_eq!(
            requests.len(),
            seen.len() - before,
            "a message was repeated, cut at {frame}"
        );
        let first_messages = kinds(&seen[before..])
            .into_iter()
            .filter(|kind| *kind == BodyType::Ir);
        // Where the first life had done all but exit, the second begins anew: that is what it was told.
        assert!((1..=2).contains(&first_messages.count()), "cut at frame {frame}");
    }
}
