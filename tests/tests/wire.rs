//! What goes over the WebSocket: how much, in frames of what size, and what a line that breaks does to it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs
)]

use std::collections::BTreeSet;

use system_tests::http::{Door, Exchanged};
use system_tests::openssl::{self, Pki};
use system_tests::programs::{bridge, path};
use system_tests::tap::Tap;
use system_tests::{Program, folder};

/// `openssl cmp` → tunnel → tap → bridge → door → `openssl cmp -port`.
struct Line {
    pki: Pki,
    door: Door,
    tap: Tap,
    tunnel: Program,
    _others: (openssl::MockServer, Program),
}

impl Line {
    fn of(tunnel_options: &[&str]) -> Self {
        let pki = Pki::make();
        let server = pki.mock_server(&pki.file("lc.crt"), &[]);
        let door = Door::before(server.address.clone());
        let bridge = bridge(&door.url(), &[]);
        let tap = Tap::before(bridge.address());
        let url = tap.url();
        let arguments = [
            &[
                "tunnel",
                "--csms",
                &url,
                "--id",
                "CS-1",
                "--listen",
                "127.0.0.1:0",
            ],
            tunnel_options,
        ]
        .concat();
        let tunnel = Program::start(&path("charger-sim"), &arguments);
        Self {
            pki,
            door,
            tap,
            tunnel,
            _others: (server, bridge),
        }
    }

    #[track_caller]
    fn enroll(&self) -> Vec<Exchanged> {
        let file = |name: &str| self.pki.file(name);
        let (cert, key, new_key, root, out) = (
            file("idevid.crt"),
            file("idevid.key"),
            file("lc.key"),
            file("root.crt"),
            file("out.crt"),
        );
        let messages = folder();
        let url = format!("http://{}/pkix/", self.tunnel.address());
        let options = [
            "-cmd",
            "ir",
            "-cert",
            &cert,
            "-key",
            &key,
            "-trusted",
            &root,
            "-newkey",
            &new_key,
            "-subject",
            "/CN=CS-1/O=Operator",
            "-recipient",
            "/CN=RA",
            "-certout",
            &out,
        ];
        let _ = openssl::client(&url, messages.path(), 2, &options).success();
        openssl::kept(messages.path())
    }
}

fn der_bytes(exchanged: &[Exchanged]) -> usize {
    exchanged
        .iter()
        .map(|(request, response)| request.len() + response.len())
        .sum()
}

#[test]
fn one_enrolment_costs_at_most_1_55_times_its_der_bytes_on_the_wire() {
    let line = Line::of(&["--ocpp", "1.6"]);
    let kept = line.enroll();
    // The last acknowledgement belongs to it: a CmpFetch and its empty answer.
    line.tap.wait_for("acknowledgement", |frames| {
        frames.iter().any(|frame| frame.contains("CmpFetch"))
            && frames.last().is_some_and(|last| last.contains("\"{}\""))
    });
    let frames = line.tap.data_transfers();
    let (wire, der) = (frames.iter().map(String::len).sum::<usize>(), der_bytes(&kept));
    let ratio = wire as f64 / der as f64;
    println!(
        "{wire} bytes in {} frames for {der} bytes of DER: {ratio:.3}",
        frames.len()
    );
    // Below base64 alone something was not counted.
    assert!(
        (1.34..=1.55).contains(&ratio),
        "{ratio:.3}: {wire} bytes for {der}\n{}",
        frames.join("\n")
    );
}

#[test]
fn a_line_that_breaks_at_any_frame_delivers_each_message_once_and_byte_for_byte() {
    let whole = Line::of(&[]);
    let _ = whole.enroll();
    let frames = whole.tap.frames().len();
    assert!(frames >= 6, "{frames}");
    // Boot comes first: cut from the first DataTransfer on.
    let first = whole
        .tap
        .frames()
        .iter()
        .position(|frame| frame.contains("DataTransfer"))
        .unwrap()
        + 1;
    for frame in first..=frames {
        let line = Line::of(&[]);
        line.tap.cut_at(frame);
        let kept = line.enroll();
        assert_eq!(line.door.seen(), kept, "cut at frame {frame}");
        let requests: BTreeSet<_> = line.door.seen().into_iter().map(|(request, _)| request).collect();
        assert_eq!(requests.len(), 2, "each message once, cut at frame {frame}");
        assert_eq!(line.tap.connections(), 2, "one cut, at frame {frame}");
    }
}
