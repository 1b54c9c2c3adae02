//! The benchmarks run and give figures; what the figures are, depends on the machine and is for people to read.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs
)]

use serde_json::Value;
use system_tests::programs::path;
use system_tests::run;

fn figures(arguments: &[&str]) -> Value {
    let mut all = vec!["bench"];
    all.extend_from_slice(arguments);
    all.push("--json");
    let output = run(&path("charger-sim"), &all).success().output;
    serde_json::from_str(output.lines().last().unwrap()).expect(&output)
}

#[test]
fn enrolments_are_measured_beside_those_of_openssl() {
    let figures = figures(&["enroll", "--count", "10", "--peer", "openssl"]);
    assert!(figures["cpu_us"].as_f64().unwrap() > 0.0, "{figures}");
    assert!(figures["peer_cpu_us"].as_f64().unwrap() > 0.0, "{figures}");
}

#[test]
fn a_bridge_is_measured_with_stations_that_stay_and_exchange() {
    let figures = figures(&["bridge", "--count", "60", "--stations", "5", "--concurrency", "3"]);
    let bridge = &figures["bridges"][0];
    assert_eq!(bridge["name"], "csms-bridge");
    let (p50, p99) = (&bridge["latency"]["p50_us"], &bridge["latency"]["p99_us"]);
    assert!(
        p50.as_u64().unwrap() > 0 && p50.as_u64() <= p99.as_u64(),
        "{figures}"
    );
    assert!(
        figures["direct"]["latency"]["p50_us"].as_u64().unwrap() > 0,
        "{figures}"
    );
}
