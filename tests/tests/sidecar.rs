//! A CSMS of the Python package `ocpp` with `csms-bridge serve --mode sidecar` beside it: stations enrol through both.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs
)]

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;

use system_tests::programs::{LabRa, bridge, path, peer, python};
use system_tests::station::Station;
use system_tests::{Program, arg, folder, run};

const TOKEN: &str = "0123456789abcdef0123456789abcdef\n";
const KEY: &str = "fedcba9876543210fedcba9876543210\n";

fn secret(folder: &tempfile::TempDir, name: &str, content: &str) -> String {
    let path = folder.path().join(name);
    fs::write(&path, content).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    arg(path)
}

/// Where two programs have to know of each other before either starts.
fn free_address() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().to_string()
}

fn last_word(line: &str) -> String {
    line.rsplit(' ').next().unwrap().to_owned()
}

struct Place {
    lab: LabRa,
    _ra: Program,
    bridge: Program,
    csms: Program,
    _secrets: tempfile::TempDir,
}

impl Place {
    fn new(ocpp: &str, csms_options: &[&str], bridge_options: &[&str]) -> Self {
        let lab = LabRa::init();
        let ra = lab.serve(&[]);
        let secrets = folder();
        let (token, key) = (secret(&secrets, "token", TOKEN), secret(&secrets, "key", KEY));
        let free = free_address();
        let url = format!("http://{free}");
        let own = [
            "--ocpp",
            ocpp,
            "--listen",
            "127.0.0.1:0",
            "--bridge",
            &url,
            "--secret",
            &key,
            "--token",
            &token,
        ];
        let csms = peer("csms_sidecar.py", &[&own[..], csms_options].concat());
        let hook = last_word(&csms.wait_line("hook on "));
        let own = [
            "--mode",
            "sidecar",
            "--listen",
            &free,
            "--sidecar-token-file",
            &token,
            "--webhook",
            &hook,
            "--webhook-secret-file",
            &key,
            "--admin",
            "127.0.0.1:0",
        ];
        let bridge = bridge(
            &format!("http://{}/", ra.address()),
            &[&own[..], bridge_options].concat(),
        );
        let _ = bridge.wait_line("listening on ");
        Self {
            lab,
            _ra: ra,
            bridge,
            csms,
            _secrets: secrets,
        }
    }

    fn csms_url(&self) -> String {
        format!("ws://{}/ocpp", self.csms.address())
    }

    fn admin(&self) -> String {
        last_word(&self.bridge.wait_line("admin on "))
    }

    fn enrols(&self, ocpp: &str, operations: &str) {
        let station = Station::of_lab(&self.lab, "SN-1");
        let _ = station.succeeds(&self.csms_url(), operations, &["--ocpp", ocpp]);
        station.check_certificate(&self.lab.file("root.pem"));
    }
}

#[test]
fn a_station_enrols_and_updates_through_a_csms_with_a_sidecar_over_1_6() {
    let place = Place::new("1.6", &[], &[]);
    place.enrols("1.6", "enroll,update");
    let _ = place.csms.wait_line("station CS-1 calls CmpSend");
}

#[test]
fn a_station_that_its_csms_holds_pending_enrols_through_the_webhook_over_2_0_1() {
    let place = Place::new("2.0.1", &["--hold"], &[]);
    place.enrols("2.0.1", "enroll,update");
    for line in [
        "station CS-1 boots: Pending",
        "bridge calls CmpPull",
        "bridge calls CmpDeliver",
    ] {
        let _ = place.csms.wait_line(line);
    }
}

#[test]
fn a_station_is_pulled_through_a_csms_that_knows_nothing_of_it() {
    let lab = LabRa::init();
    let ra = lab.serve(&[]);
    let secrets = folder();
    let (token, key) = (secret(&secrets, "token", TOKEN), secret(&secrets, "key", KEY));
    let header = secret(&secrets, "header", "X-Key: of steve\n");
    let csms = peer("csms_rest.py", &["--listen", "127.0.0.1:0"]);
    let rest = last_word(&csms.wait_line("rest on "));
    let free = free_address();
    let example = arg(system_tests::here().join("../examples/webhook_to_rest.py"));
    let url = format!("http://{free}");
    let arguments = [
        &example,
        "--listen",
        "127.0.0.1:0",
        "--secret",
        &key,
        "--token",
        &token,
        "--rest",
        &rest,
        "--header-file",
        &header,
        "--bridge",
        &url,
        "--station",
        "CS-1",
    ];
    // It is told again and again until the bridge is there.
    let hook = Program::start(&python(), &[&["-u"], &arguments[..]].concat());
    let webhook = last_word(&hook.wait_line("hook on "));
    let options = [
        "--mode",
        "sidecar",
        "--listen",
        &free,
        "--sidecar-token-file",
        &token,
        "--webhook",
        &webhook,
        "--webhook-secret-file",
        &key,
    ];
    let _bridge = bridge(&format!("http://{}/", ra.address()), &options);
    let station = Station::of_lab(&lab, "SN-1");
    let csms_url = format!("ws://{}/ocpp", csms.address());
    let _ = station.succeeds(&csms_url, "enroll", &["--ocpp", "1.6"]);
    station.check_certificate(&lab.file("root.pem"));
    let _ = csms.wait_line("sent CmpDeliver");
}

#[test]
fn operators_ask_a_bridge_that_runs() {
    let place = Place::new("2.0.1", &[], &[]);
    place.enrols("2.0.1", "enroll");
    let program = path("csms-bridge");
    let admin = place.admin();
    let listed = run(&program, &["stations", "--admin", &admin]).success();
    assert!(
        listed.output.contains("\"identity\":\"CS-1\""),
        "{}",
        listed.output
    );
    let trail = run(&program, &["audit", "--admin", &admin, "--station", "CS-1"]).success();
    assert_eq!(trail.output.lines().count(), 2, "{}", trail.output);
    assert!(trail.output.contains("\"operation\":\"ir\""), "{}", trail.output);
    let one = run(&program, &["audit", "--admin", &admin, "--limit", "1"]).success();
    assert_eq!(one.output.lines().count(), 1, "{}", one.output);
    let notify = |more: &[&str]| run(&program, &[&["notify", "--admin", &admin][..], more].concat());
    let _ = notify(&["--station", "CS-1", "--do", "update"]).failure(1, "not connected");
    let _ = notify(&["--station", "CS-9", "--do", "update"]).failure(1, "no station of this identity");
    let _ = notify(&["--station", "CS-1", "--do", "explode"]).failure(2, "explode");
    let elsewhere = [
        "notify",
        "--admin",
        "http://127.0.0.1:9",
        "--station",
        "x",
        "--do",
        "enroll",
    ];
    let _ = run(&program, &elsewhere).failure(1, "cannot connect");
    let wrong = ["notify", "--admin", "ftp://x", "--station", "x", "--do", "enroll"];
    let _ = run(&program, &wrong).failure(2, "not a URL");
}
