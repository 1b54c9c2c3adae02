//! End entity → csms-bridge → RA → CA, each a process of its own (RFC 9483 §5.2, §6.4).
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs
)]

mod files;
mod openssl_cmp;
mod options;
mod policy;
mod stations;

use cmp_message::{BodyType, PkiBody, PkiMessage, Raw};
use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use system_tests::http::{Door, Exchanged};
use system_tests::openssl::{self, Pki, SECRET};
use system_tests::programs::{LabRa, bridge, csms_url, path, peer, run_peer, serve_in_front};
use system_tests::station::Station;
use system_tests::{Finished, Program, arg, folder, run};

const FORWARDS: [&str; 4] = ["unchanged", "nested", "replaced", "ra-verified"];

/// A CA, a door that records what goes to it, and an RA in front.
struct Chain {
    lab: LabRa,
    ra: Program,
    door: Door,
    _ca: Program,
}

impl Chain {
    fn of(options: &[&str], ca_options: &[&str]) -> Self {
        let lab = LabRa::init();
        let ca = lab.serve(ca_options);
        let door = Door::before(ca.address());
        let folder = lab.issue_ra("Depot");
        let ra = lab.serve_in_front(&folder, &door.url(), options);
        Self {
            lab,
            ra,
            door,
            _ca: ca,
        }
    }

    fn url(&self) -> String {
        format!("http://{}/.well-known/cmp", self.ra.address())
    }

    fn stations(&self) -> [Station; 2] {
        let root = self.lab.file("root.pem");
        [
            Station::of_lab(&self.lab, "SN-1"),
            Station::with_secret(SECRET.1, root),
        ]
    }
}

fn kinds(seen: &[Exchanged]) -> Vec<&'static str> {
    let kind = |message: &[u8]| PkiMessage::from_bytes(message).unwrap().body.body_type().name();
    seen.iter().map(|(request, _)| kind(request)).collect()
}

fn inside(message: &[u8]) -> Vec<Raw> {
    match &*PkiMessage::from_bytes(message).unwrap().body {
        PkiBody::Nested(content) => content.parse().unwrap(),
        body => panic!("{}", body.body_type()),
    }
}

/// pyasn1 decodes all of it and encodes it to the same bytes.
fn is_read_by_pyasn1(seen: &[Exchanged]) {
    let dir = folder();
    let mut files = Vec::new();
    for (n, message) in seen.iter().flat_map(|(from, to)| [from, to]).enumerate() {
        let file = dir.path().join(format!("{n}.der"));
        fs::write(&file, message).unwrap();
        files.push(arg(file));
    }
    let files: Vec<&str> = files.iter().map(String::as_str).collect();
    let _ = run_peer("decode_rfc9810.py", &files).success();
}

/// A CA behind files: answers what comes until `station` is done.
fn carry_until_done(lab: &LabRa, spool: &Path, station: Program) -> usize {
    let mut station = station;
    let mut count = 0;
    while !station.has_ended() {
        count += lab.answer_spool(spool);
    }
    let _ = station.finish().success();
    count
}
