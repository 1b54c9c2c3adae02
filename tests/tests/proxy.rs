//! A station and a CSMS of the Python package `ocpp` with the bridge between them: what they say to each other is the same
//! on both ends while CMP is carried through the same connection.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs
)]

use std::collections::HashSet;
use std::path::Path;

use serde_json::Value;
use system_tests::carriage::carries;
use system_tests::http::Door;
use system_tests::openssl::{MockServer, Pki, Protection};
use system_tests::programs::{bridge, csms_url, peer};
use system_tests::{Program, arg, folder};

/// What one end has sent and received, in its order.
#[derive(Default)]
struct Record {
    all: Vec<(bool, String)>,
}

impl Record {
    fn read(file: &Path) -> Self {
        let text = std::fs::read_to_string(file).unwrap();
        let line = |line: &str| {
            let (what, text): (String, String) = serde_json::from_str(line).unwrap();
            (what == "sent", text)
        };
        Self {
            all: text.lines().map(line).collect(),
        }
    }

    fn texts(&self, sent: bool) -> Vec<&str> {
        let these = self.all.iter().filter(|(was_sent, _)| *was_sent == sent);
        these.map(|(_, text)| text.as_str()).collect()
    }

    /// The ids of the CALLs of the binding.
    fn cmp_calls(&self, sent: bool) -> HashSet<String> {
        let frames = self.texts(sent).into_iter().map(frame);
        let cmp = frames.filter(|frame| frame[0] == 2 && frame[3]["vendorId"] == "io.github.ocpp-cmp");
        cmp.map(|frame| frame[1].as_str().unwrap().to_owned()).collect()
    }

    /// Without what belongs to the binding: those CALLs, and their answers that went the other way.
    fn ordinary(&self, sent: bool) -> Vec<&str> {
        let (calls, answered) = (self.cmp_calls(sent), self.cmp_calls(!sent));
        let is_ordinary = |text: &&str| {
            let frame = frame(text);
            let id = frame[1].as_str().unwrap();
            match frame[0].as_u64().unwrap() {
                2 => !calls.contains(id),
                _ => !answered.contains(id),
            }
        };
        self.texts(sent).into_iter().filter(is_ordinary).collect()
    }

    /// CALLs that this end sent between its first and its last message of the binding, ordinary ones.
    fn ordinary_calls_meanwhile(&self, sent: bool) -> usize {
        let calls: HashSet<_> = self
            .cmp_calls(true)
            .union(&self.cmp_calls(false))
            .cloned()
            .collect();
        let is_cmp = |(_, text): &(bool, String)| calls.contains(frame(text)[1].as_str().unwrap());
        let (first, last) = (
            self.all.iter().position(is_cmp).unwrap(),
            self.all.iter().rposition(is_cmp).unwrap(),
        );
        let meanwhile = self.all[first..last].iter();
        let ordinary = meanwhile.filter(|(was_sent, _)| *was_sent == sent);
        ordinary
            .filter(|one| frame(&one.1)[0] == 2 && !is_cmp(one))
            .count()
    }
}

fn frame(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

/// The programs between which everything passes.
struct Way {
    pki: Pki,
    _ra: MockServer,
    door: Door,
    _csms: Program,
    _bridge: Program,
    station: Program,
    dir: tempfile::TempDir,
}

impl Way {
    fn start(ocpp: &str, station_mode: &str, csms_options: &[&str], station_options: &[&str]) -> Self {
        let (pki, dir) = (Pki::make(), folder());
        let ra = pki.mock_server(&pki.file("lc.crt"), &[]);
        let door = Door::before(ra.address.clone());
        let record = |name: &str| arg(dir.path().join(name));
        let common = ["--ocpp", ocpp, "--listen", "127.0.0.1:0"];
        let csms_record = record("csms");
        let own = ["--mode", "plain", "--traffic", "--record", &csms_record];
        let csms = peer("csms_ocpp.py", &[&common[..], &own, csms_options].concat());
        let upstream = format!("ws://{}", csms.address());
        let bridge = bridge(&door.url(), &["--mode", "proxy", "--upstream", &upstream]);
        let (url, station_record) = (csms_url(&bridge), record("station"));
        let own = [
            "--csms",
            &url,
            "--id",
            "CS-1",
            "--mode",
            station_mode,
            "--record",
            &station_record,
        ];
        let station = peer("station_ocpp.py", &[&common[..], &own, station_options].concat());
        Self {
            pki,
            _ra: ra,
            door,
            _csms: csms,
            _bridge: bridge,
            station,
            dir,
        }
    }

    fn carry(&self, commands: &[&str], protection: Protection) {
        for command in commands {
            carries(command, &self.pki, protection, &self.station, &self.door);
        }
    }

    /// Lets both ends come to rest, and compares what they have written down: the station's record, then the CSMS's.
    #[track_caller]
    fn end(self) -> (Record, Record) {
        let _ = self.station.terminate().success();
        let read = |name: &str| Record::read(&self.dir.path().join(name));
        let (station, csms) = (read("station"), read("csms"));
        assert_eq!(station.ordinary(true), csms.texts(false), "station to CSMS");
        assert_eq!(station.ordinary(false), csms.texts(true), "CSMS to station");
        (station, csms)
    }
}

#[track_caller]
fn ordinary_traffic_is_the_same_on_both_ends(ocpp: &str, protection: Protection) {
    let way = Way::start(ocpp, "push", &[], &["--traffic"]);
    way.carry(&["ir", "cr", "p10cr", "rr", "genm"], protection);
    let (station, _) = way.end();
    // ir, cr and p10cr with their certConf, rr and genm.
    let calls = station.cmp_calls(true).len();
    assert!(calls >= 8, "CMP went through this connection with {calls} calls");
    for sent in [true, false] {
        let calls = station.ordinary_calls_meanwhile(sent);
        assert!(calls >= 20, "only {calls} ordinary calls, sent: {sent}");
    }
}

#[test]
fn ordinary_traffic_of_1_6_is_the_same_on_both_ends_while_a_station_enrols() {
    ordinary_traffic_is_the_same_on_both_ends("1.6", Protection::Signature);
}

#[test]
fn ordinary_traffic_of_2_0_1_is_the_same_on_both_ends_while_a_station_enrols() {
    ordinary_traffic_is_the_same_on_both_ends("2.0.1", Protection::Secret);
}

#[test]
fn ordinary_traffic_of_2_1_is_the_same_on_both_ends_while_a_station_enrols() {
    ordinary_traffic_is_the_same_on_both_ends("2.1", Protection::Signature);
}

#[track_caller]
fn a_pending_station_is_pulled_between_the_calls_of_its_csms(ocpp: &str) {
    let way = Way::start(ocpp, "pull", &["--boot", "Pending"], &[]);
    let _ = way.station.wait_line("boot Pending");
    way.carry(&["ir"], Protection::Secret);
    let (station, csms) = way.end();
    let pulls = station.cmp_calls(false);
    assert!(pulls.len() >= 4, "the bridge called {} times", pulls.len());
    let calls = station.ordinary_calls_meanwhile(false);
    assert!(calls >= 4, "only {calls} calls of the CSMS meanwhile");
    // Never two at a time: between two calls that came there is always an answer that went.
    let mut open = None;
    for (sent, text) in &station.all {
        let frame = frame(text);
        match (sent, frame[0] == 2) {
            (false, true) => {
                let before = open.replace(frame[1].clone());
                assert_eq!(before, None, "two CALLs at a time: {text}");
            }
            (true, false) => assert_eq!(open.take(), Some(frame[1].clone()), "{text}"),
            _ => {}
        }
    }
    let heard = csms
        .texts(false)
        .into_iter()
        .map(|text| frame(text)[1].as_str().unwrap().to_owned());
    let heard: HashSet<String> = heard.collect();
    assert!(
        pulls.is_disjoint(&heard),
        "the CSMS got an answer that it did not ask for"
    );
}

#[test]
fn a_station_that_a_1_6_csms_leaves_pending_enrols_between_its_calls() {
    a_pending_station_is_pulled_between_the_calls_of_its_csms("1.6");
}

#[test]
fn a_station_that_a_2_0_1_csms_leaves_pending_enrols_between_its_calls() {
    a_pending_station_is_pulled_between_the_calls_of_its_csms("2.0.1");
}
