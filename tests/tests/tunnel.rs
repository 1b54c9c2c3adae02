//! `openssl cmp` → `charger-sim tunnel` → `csms-bridge` → `openssl cmp -port`: nothing but the transport is ours.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs
)]

use system_tests::Program;
use system_tests::carriage::{carries_every_message, our_bridge};
use system_tests::http::Door;
use system_tests::openssl::Protection;
use system_tests::programs::{csms_url, path, peer};

fn tunnel(ocpp: &'static str) -> impl Fn(&Program, &str) -> Program {
    move |bridge, route| {
        let (url, id) = (csms_url(bridge), format!("CS-{route}"));
        let arguments = [
            "tunnel",
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
        Program::start(&path("charger-sim"), &arguments)
    }
}

#[test]
fn every_message_with_signatures_over_1_6() {
    carries_every_message(our_bridge, tunnel("1.6"), Protection::Signature);
}

#[test]
fn every_message_with_a_secret_over_1_6() {
    carries_every_message(our_bridge, tunnel("1.6"), Protection::Secret);
}

#[test]
fn every_message_with_signatures_over_2_0_1() {
    carries_every_message(our_bridge, tunnel("2.0.1"), Protection::Signature);
}

#[test]
fn every_message_with_a_secret_over_2_0_1() {
    carries_every_message(our_bridge, tunnel("2.0.1"), Protection::Secret);
}

#[test]
fn every_message_with_signatures_over_2_1() {
    carries_every_message(our_bridge, tunnel("2.1"), Protection::Signature);
}

/// A CSMS made of the Python package `ocpp`.
fn python_csms(ocpp: &'static str, mode: &'static str) -> impl Fn(&Door, &Door) -> Program {
    move |door, update_door| {
        let (one, two) = (
            format!("default={}", door.url()),
            format!("update={}", update_door.url()),
        );
        let arguments = [
            "--ocpp",
            ocpp,
            "--mode",
            mode,
            "--listen",
            "127.0.0.1:0",
            "--route",
            &one,
            "--route",
            &two,
        ];
        peer("csms_ocpp.py", &arguments)
    }
}

#[test]
fn every_message_to_a_python_csms_over_1_6() {
    carries_every_message(python_csms("1.6", "push"), tunnel("1.6"), Protection::Signature);
}

#[test]
fn every_message_to_a_python_csms_over_2_0_1() {
    carries_every_message(python_csms("2.0.1", "push"), tunnel("2.0.1"), Protection::Secret);
}

#[test]
fn every_message_is_pulled_by_a_python_csms_that_holds_its_stations_pending_over_1_6() {
    carries_every_message(python_csms("1.6", "pull"), tunnel("1.6"), Protection::Signature);
}

#[test]
fn every_message_is_pulled_by_a_python_csms_that_holds_its_stations_pending_over_2_0_1() {
    carries_every_message(
        python_csms("2.0.1", "pull"),
        tunnel("2.0.1"),
        Protection::Signature,
    );
}
