//! End entity → csms-bridge → RA → CA, each a process of its own (RFC 9483 §5.2, §6.4).
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs
)]

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;
use std::thread;

use cmp_message::{BodyType, PkiBody, PkiMessage, Raw};
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

#[test]
fn a_station_enrols_and_updates_through_bridge_and_ra_each_way() {
    for forward in FORWARDS {
        let chain = Chain::of(&["--forward", forward], &[]);
        let bridge = bridge(&chain.url(), &[]);
        for station in chain.stations() {
            let report = station.succeeds(&csms_url(&bridge), "enroll,update", &[]);
            assert_eq!(report["steps"].as_array().unwrap().len(), 2, "{report:#}");
            station.check_certificate(&chain.lab.file("root.pem"));
        }
        let seen = chain.door.seen();
        let expected = match forward {
            "unchanged" => ["ir", "certConf", "kur", "certConf"],
            "nested" => ["nested"; 4],
            // The protection of a kur is never replaced.
            _ => ["ir", "certConf", "nested", "nested"],
        };
        assert_eq!(kinds(&seen), [expected, expected].concat(), "{forward}");
        is_read_by_pyasn1(&seen);
    }
}

#[test]
fn a_station_polls_through_bridge_and_ra_while_the_ca_needs_time() {
    for forward in FORWARDS {
        let chain = Chain::of(&["--forward", forward], &["--poll-after", "1,1"]);
        let bridge = bridge(&chain.url(), &[]);
        for station in chain.stations() {
            let report = station.succeeds(&csms_url(&bridge), "enroll", &[]);
            let polls = report.to_string().matches("\"pollReq\"").count();
            assert_eq!(polls, 2, "{report:#}");
            station.check_certificate(&chain.lab.file("root.pem"));
        }
    }
}

#[test]
fn stations_whose_messages_go_together_all_get_their_own() {
    let chain = Chain::of(&["--forward", "nested", "--batch", "3,60"], &[]);
    // Each its own bridge: they all are CS-1.
    let stations: Vec<_> = (1..=3)
        .map(|n| {
            (
                Station::of_lab(&chain.lab, &format!("SN-{n}")),
                bridge(&chain.url(), &[]),
            )
        })
        .collect();
    thread::scope(|scope| {
        for (station, bridge) in &stations {
            scope.spawn(|| station.succeeds(&csms_url(bridge), "enroll", &[]));
        }
    });
    for (station, _) in &stations {
        station.check_certificate(&chain.lab.file("root.pem"));
    }
    let seen = chain.door.seen();
    assert_eq!(kinds(&seen), ["nested", "nested"]);
    for (request, response) in &seen {
        assert_eq!((inside(request).len(), inside(response).len()), (3, 3));
    }
    is_read_by_pyasn1(&seen);
}

#[test]
fn one_message_does_not_wait_for_others_longer_than_it_must() {
    let chain = Chain::of(&["--forward", "nested", "--batch", "3,1"], &[]);
    let bridge = bridge(&chain.url(), &[]);
    let station = Station::of_lab(&chain.lab, "SN-1");
    let _ = station.succeeds(&csms_url(&bridge), "enroll", &[]);
    for (request, response) in chain.door.seen() {
        assert_eq!(inside(&request).len(), 1);
        let body = PkiMessage::from_bytes(&response).unwrap().body.body_type();
        assert_ne!(body, BodyType::Nested);
    }
}

/// `openssl cmp` as an end entity, straight at the RA.
struct OpenSsl<'a> {
    chain: &'a Chain,
    dir: tempfile::TempDir,
}

impl OpenSsl<'_> {
    fn file(&self, name: &str) -> String {
        arg(self.dir.path().join(name))
    }

    fn new_key(&self, name: &str) -> String {
        let key = self.file(name);
        let curve = "ec_paramgen_curve:P-256";
        let arguments = ["genpkey", "-algorithm", "EC", "-pkeyopt", curve, "-out", &key];
        let _ = run("openssl", &arguments).success();
        key
    }

    fn cmp(&self, options: &[&str]) -> Finished {
        let dir = self.dir.path().join("messages");
        fs::create_dir_all(&dir).unwrap();
        let root = self.chain.lab.file("root.pem");
        let all = [options, &["-trusted", &root, "-recipient", "/CN=RA"]].concat();
        openssl::client(&self.chain.url(), &dir, 12, &all)
    }

    /// With the certificate in `NAME.crt` and its key.
    fn with(&self, name: &str, options: &[&str]) -> Finished {
        let (cert, key, ca) = (
            self.file(&format!("{name}.crt")),
            self.file(&format!("{name}.key")),
            self.chain.lab.file("ca.pem"),
        );
        self.cmp(&[&["-cert", &cert, "-key", &key, "-untrusted", &ca], options].concat())
    }
}

#[test]
fn openssl_does_every_operation_through_the_ra_each_way() {
    for forward in FORWARDS {
        let chain = Chain::of(&["--forward", forward], &[]);
        let client = OpenSsl {
            chain: &chain,
            dir: folder(),
        };
        let idevid = chain.lab.idevid("CS-7");
        let file = |name: &str| arg(idevid.join(name));
        let (key, cert) = (client.new_key("one.key"), client.file("one.crt"));
        let wish = ["-newkey", &key, "-subject", "/CN=CS-7", "-certout", &cert];
        let (own, own_key, others) = (file("cert.pem"), file("key.pem"), file("chain.pem"));
        let with_idevid = ["-cert", &own, "-key", &own_key, "-extracerts", &others];
        let _ = client
            .cmp(&[&["-cmd", "ir"], &with_idevid[..], &wish].concat())
            .success();
        let (next, updated) = (client.new_key("two.key"), client.file("two.crt"));
        let wish = ["-cmd", "kur", "-newkey", &next, "-certout", &updated];
        let _ = client.with("one", &wish).success();
        let (third, more) = (client.new_key("three.key"), client.file("three.crt"));
        let wish = [
            "-cmd", "cr", "-newkey", &third, "-subject", "/CN=CS-7", "-certout", &more,
        ];
        let _ = client.with("two", &wish).success();
        let csr = client.file("four.csr");
        let fourth = client.new_key("four.key");
        let arguments = ["req", "-new", "-key", &fourth, "-subj", "/CN=CS-7", "-out", &csr];
        let _ = run("openssl", &arguments).success();
        let from_csr = client.file("four.crt");
        let wish = ["-cmd", "p10cr", "-csr", &csr, "-certout", &from_csr];
        let _ = client.with("two", &wish).success();
        let _ = client
            .with("two", &["-cmd", "genm", "-infotype", "currentCRL"])
            .success();
        let revoke = ["-cmd", "rr", "-oldcert", &updated, "-revreason", "1"];
        let _ = client.with("two", &revoke).success();
        let _ = client.with("two", &revoke).failure(1, "");

        let (key, cert) = (client.new_key("five.key"), client.file("five.crt"));
        let pass = format!("pass:{}", SECRET.1);
        let with_secret = ["-ref", SECRET.0, "-secret", &pass];
        let wish = [
            "-cmd", "ir", "-newkey", &key, "-subject", "/CN=CS-8", "-certout", &cert,
        ];
        let _ = client.cmp(&[&with_secret[..], &wish].concat()).success();
        let question = ["-cmd", "genm", "-infotype", "currentCRL"];
        let _ = client.cmp(&[&with_secret[..], &question].concat()).success();
        let wrong = ["-ref", SECRET.0, "-secret", "pass:wrong", "-unprotected_errors"];
        let _ = client
            .cmp(&[&wrong[..], &wish].concat())
            .failure(1, "badMessageCheck");
        is_read_by_pyasn1(&chain.door.seen());
    }
}

#[test]
fn the_organization_of_the_policy_is_in_the_certificate() {
    let options = ["--forward", "ra-verified", "--organization", "Operator"];
    let chain = Chain::of(&options, &[]);
    let client = OpenSsl {
        chain: &chain,
        dir: folder(),
    };
    let (key, cert) = (client.new_key("one.key"), client.file("one.crt"));
    let pass = format!("pass:{}", SECRET.1);
    let wish = [
        "-cmd",
        "ir",
        "-newkey",
        &key,
        "-subject",
        "/CN=CS-8/O=Somebody",
        "-certout",
        &cert,
    ];
    let _ = client
        .cmp(&[&["-ref", SECRET.0, "-secret", &pass], &wish[..]].concat())
        .success();
    let subject = openssl::subject(&cert);
    assert!(
        subject.contains("O=Operator") && !subject.contains("Somebody"),
        "{subject}"
    );
}

/// The folder of an RA of OpenSSL's PKI.
fn ra_of(pki: &Pki) -> tempfile::TempDir {
    let dir = folder();
    let to = |name: &str| arg(dir.path().join(name));
    fs::copy(pki.file("ra.crt"), to("cert.pem")).unwrap();
    fs::copy(pki.file("issuing.crt"), to("chain.pem")).unwrap();
    // As PKCS#8.
    let arguments = ["pkey", "-in", &pki.file("ra.key"), "-out", &to("key.pem")];
    let _ = run("openssl", &arguments).success();
    dir
}

#[test]
fn a_station_enrols_and_updates_through_an_ra_in_front_of_openssl() {
    for (forward, operations) in [
        ("unchanged", "enroll,update"),
        ("replaced", "enroll"),
        ("ra-verified", "enroll"),
    ] {
        let pki = Arc::new(Pki::make());
        let door = pki.issuing_server(&["-accept_raverified"]);
        let state = ra_of(&pki);
        let (root, manufacturer) = (pki.file("root.crt"), pki.file("mfrroot.crt"));
        let options = [
            "--forward",
            forward,
            "--manufacturer",
            &manufacturer,
            "--upstream-signer",
            &root,
        ];
        let ra = serve_in_front(state.path(), &door.url(), &options);
        let bridge = bridge(&format!("http://{}/", ra.address()), &[]);
        for station in [
            Station::of_pki(&pki, "idevid"),
            Station::with_secret(SECRET.1, pki.file("root.crt")),
        ] {
            let _ = station.succeeds(&csms_url(&bridge), operations, &[]);
            station.check_certificate(&pki.file("root.crt"));
        }
        let seen = door.seen();
        let first = PkiMessage::from_bytes(&seen[0].0).unwrap();
        assert_eq!(first.body.body_type(), BodyType::Ir);
    }
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

#[test]
fn a_station_enrols_and_updates_while_files_are_carried() {
    let lab = LabRa::init();
    let (ra_folder, spool) = (lab.issue_ra("Depot"), folder());
    let upstream = format!("spool:{}", arg(spool.path()));
    let options = ["--forward", "replaced", "--check-after", "1"];
    let ra = lab.serve_in_front(&ra_folder, &upstream, &options);
    let bridge = bridge(&format!("http://{}/", ra.address()), &[]);
    let root = lab.file("root.pem");
    for station in [
        Station::of_lab(&lab, "SN-1"),
        Station::with_secret(SECRET.1, root.clone()),
    ] {
        // What is of no use is put aside, and does not keep what is from its way.
        fs::write(spool.path().join("inbox/0.pki"), "no DER").unwrap();
        fs::write(spool.path().join("inbox/1.pki.part"), "half").unwrap();
        let program = station.start(&csms_url(&bridge), "enroll,update", &[]);
        assert_eq!(carry_until_done(&lab, spool.path(), program), 4);
        station.check_certificate(&root);
    }
    let names = |folder: &str| {
        let entries = fs::read_dir(spool.path().join(folder)).unwrap();
        let mut names: Vec<_> = entries
            .map(|one| one.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    };
    assert_eq!(
        names("rejected"),
        ["0-2.pki", "0-2.pki.reason", "0.pki", "0.pki.reason"]
    );
    assert_eq!(names("inbox"), ["1.pki.part"]);
    assert!(names("outbox").is_empty());
}

#[test]
fn a_station_enrols_and_updates_while_the_bridges_files_are_carried() {
    let (lab, spool, store) = (LabRa::init(), folder(), folder());
    let root = lab.file("root.pem");
    let options = ["--store", &arg(store.path().join("store"))];
    let mut bridge = bridge(&format!("spool:{}", arg(spool.path())), &options);
    for station in [
        Station::of_lab(&lab, "SN-1"),
        Station::with_secret(SECRET.1, root.clone()),
    ] {
        let program = station.start(&csms_url(&bridge), "enroll,update", &[]);
        assert_eq!(carry_until_done(&lab, spool.path(), program), 4);
        station.check_certificate(&root);
    }
    bridge.kill();
    for folder in ["outbox", "inbox", "bad", "unclaimed"] {
        let left = fs::read_dir(spool.path().join(folder)).unwrap();
        assert_eq!(left.count(), 0, "{folder}");
    }
}

#[test]
fn a_station_goes_on_polling_after_the_ra_lost_power() {
    let lab = LabRa::init();
    let (ra_folder, spool) = (lab.issue_ra("Depot"), folder());
    let upstream = format!("spool:{}", arg(spool.path()));
    let free = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .to_string();
    let options = ["--forward", "replaced", "--check-after", "3", "--listen", &free];
    let mut ra = lab.serve_in_front(&ra_folder, &upstream, &options);
    let _ = ra.address();
    let bridge = bridge(&format!("http://{free}/"), &[]);
    let station = Station::of_lab(&lab, "SN-1");
    let program = station.start(&csms_url(&bridge), "enroll", &[]);
    // It has been told to wait, has polled once, and will again in a while.
    while bridge.output().matches("exchanged").count() < 2 {
        thread::yield_now();
    }
    ra.kill();
    let ra = lab.serve_in_front(&ra_folder, &upstream, &options);
    let _ = ra.address();
    assert_eq!(carry_until_done(&lab, spool.path(), program), 2);
    station.check_certificate(&lab.file("root.pem"));
}

#[test]
fn what_is_wrong_behind_reaches_the_station_as_an_error_of_the_ra() {
    let lab = LabRa::init();
    let folder = lab.issue_ra("Depot");
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let silent = Door::open(|_| None);
    let garbage = Door::open(|_| Some(b"no DER".to_vec()));
    let cases = [
        (format!("http://{nobody}/"), "systemUnavail"),
        (silent.url(), "systemUnavail"),
        (garbage.url(), "systemFailure"),
    ];
    for (url, text) in cases {
        let ra = lab.serve_in_front(&folder, &url, &[]);
        let bridge = bridge(&format!("http://{}/", ra.address()), &[]);
        Station::of_lab(&lab, "SN-1").fails(&csms_url(&bridge), "enroll", text);
        assert!(ra.output().contains("no answer to pass on"), "{}", ra.output());
    }
}

#[test]
fn an_ra_in_front_of_an_ra_passes_on_what_the_first_one_vouches_for() {
    for forward in ["unchanged", "replaced", "ra-verified"] {
        let chain = Chain::of(&["--forward", forward], &[]);
        let depot = chain.lab.issue_ra("Local");
        let options = ["--forward", "ra-verified", "--organization", "Operator"];
        let local = chain.lab.serve_in_front(&depot, &chain.url(), &options);
        let bridge = bridge(&format!("http://{}/", local.address()), &[]);
        for station in chain.stations() {
            let _ = station.succeeds(&csms_url(&bridge), "enroll", &[]);
            station.check_certificate(&chain.lab.file("root.pem"));
        }
    }
}

#[test]
fn an_ra_in_front_that_adds_its_protection_is_taken_by_the_next() {
    for forward in FORWARDS {
        let chain = Chain::of(&["--forward", forward], &[]);
        let depot = chain.lab.issue_ra("Local");
        let local = chain
            .lab
            .serve_in_front(&depot, &chain.url(), &["--forward", "nested"]);
        let bridge = bridge(&format!("http://{}/", local.address()), &[]);
        for station in chain.stations() {
            let _ = station.succeeds(&csms_url(&bridge), "enroll,update", &[]);
            station.check_certificate(&chain.lab.file("root.pem"));
        }
        is_read_by_pyasn1(&chain.door.seen());
    }
}

#[test]
fn openssl_enrols_through_tunnel_bridge_and_ra_each_way() {
    for forward in FORWARDS {
        let chain = Chain::of(&["--forward", forward], &[]);
        let bridge = bridge(&chain.url(), &[]);
        let csms = csms_url(&bridge);
        let arguments = [
            "tunnel",
            "--csms",
            &csms,
            "--id",
            "CS-1",
            "--listen",
            "127.0.0.1:0",
        ];
        let tunnel = Program::start(&path("charger-sim"), &arguments);
        let client = OpenSsl {
            chain: &chain,
            dir: folder(),
        };
        let (key, cert) = (client.new_key("one.key"), client.file("one.crt"));
        let (dir, root) = (client.dir.path(), chain.lab.file("root.pem"));
        let pass = format!("pass:{}", SECRET.1);
        let options = [
            "-cmd",
            "ir",
            "-ref",
            SECRET.0,
            "-secret",
            &pass,
            "-newkey",
            &key,
            "-subject",
            "/CN=CS-8",
            "-certout",
            &cert,
            "-trusted",
            &root,
            "-recipient",
            "/CN=RA",
        ];
        let _ = openssl::client(&format!("http://{}/", tunnel.address()), dir, 4, &options).success();
        assert_eq!(chain.door.seen().len(), 2, "{forward}");
    }
}

/// Decides on the one request that waits in this folder, as soon as it does.
fn decide(folder: &Path, decision: &[&str]) {
    let state = arg(folder);
    let number = loop {
        let pending = run(&path("lab-ra"), &["pending", "--state", &state])
            .success()
            .output;
        if let Some(number) = pending.split_whitespace().next() {
            break number.to_owned();
        }
        thread::yield_now();
    };
    let mut arguments = vec![decision[0], &number, "--state", &state];
    arguments.extend(&decision[1..]);
    let _ = run(&path("lab-ra"), &arguments).success();
    let _ = run(&path("lab-ra"), &arguments).failure(5, "no such request waits");
}

#[test]
fn a_station_waits_at_the_ra_for_a_person() {
    for forward in FORWARDS {
        let options = ["--forward", forward, "--approve", "person", "--check-after", "1"];
        let chain = Chain::of(&options, &[]);
        let bridge = bridge(&chain.url(), &[]);
        let depot = Path::new(&chain.lab.file("ra-Depot")).to_owned();
        let [station, newcomer] = chain.stations();
        let program = station.start(&csms_url(&bridge), "enroll", &[]);
        decide(&depot, &["approve"]);
        let _ = program.finish().success();
        station.check_certificate(&chain.lab.file("root.pem"));
        assert_eq!(chain.door.seen().len(), 2, "{forward}");
        let program = newcomer.start(&csms_url(&bridge), "enroll", &[]);
        decide(&depot, &["deny", "--why", "not one of ours"]);
        let finished = program.finish();
        assert_ne!(finished.code, Some(0));
        assert!(finished.output.contains("not one of ours"), "{}", finished.output);
        assert_eq!(chain.door.seen().len(), 2, "{forward}");
    }
}

#[test]
fn a_person_s_word_counts_after_the_ra_lost_power_before_and_after_it() {
    let lab = LabRa::init();
    let ca = lab.serve(&[]);
    let depot = lab.issue_ra("Depot");
    let free = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .to_string();
    let upstream = format!("http://{}/", ca.address());
    let options = [
        "--forward",
        "replaced",
        "--approve",
        "person",
        "--check-after",
        "2",
        "--listen",
        &free,
    ];
    let mut ra = lab.serve_in_front(&depot, &upstream, &options);
    let _ = ra.address();
    let bridge = bridge(&format!("http://{free}/"), &[]);
    let station = Station::of_lab(&lab, "SN-1");
    let program = station.start(&csms_url(&bridge), "enroll", &[]);
    while bridge.output().matches("exchanged").count() < 1 {
        thread::yield_now();
    }
    ra.kill();
    // The word is given while nobody serves.
    decide(&depot, &["approve"]);
    let ra = lab.serve_in_front(&depot, &upstream, &options);
    let _ = ra.address();
    let _ = program.finish().success();
    station.check_certificate(&lab.file("root.pem"));
}

#[test]
fn a_revoked_station_gets_no_update_past_an_ra_that_has_the_crl() {
    for forward in FORWARDS {
        let lab = LabRa::init();
        let crl = lab.file("ca.crl");
        lab.command(&["crl", "--out", &crl]);
        let ca = lab.serve(&[]);
        let door = Door::before(ca.address());
        let depot = lab.issue_ra("Depot");
        let options = ["--forward", forward, "--crl", &crl, "--without-crl", "refuse-own"];
        let ra = lab.serve_in_front(&depot, &door.url(), &options);
        let bridge = bridge(&format!("http://{}/", ra.address()), &[]);
        let station = Station::of_lab(&lab, "SN-1");
        let _ = station.succeeds(&csms_url(&bridge), "enroll,update", &[]);
        let passed = door.seen().len();
        for line in lab.command(&["certificates"]).lines() {
            let mut words = line.split_whitespace();
            if let (Some("confirmed"), Some(serial), true) =
                (words.next(), words.next(), line.contains("CS-1"))
            {
                lab.command(&["revoke", "--serial", serial]);
            }
        }
        lab.command(&["crl", "--out", &crl]);
        station.fails(&csms_url(&bridge), "update", "certRevoked");
        assert_eq!(door.seen().len(), passed, "{forward}");
    }
}

#[test]
fn the_server_behind_is_reached_by_tls_with_pinned_anchors_and_our_certificate() {
    let lab = LabRa::init();
    let ca = lab.serve(&[]);
    let tls = folder();
    let file = |name: &str| arg(tls.path().join(name));
    fs::write(file("ip.ext"), "subjectAltName=IP:127.0.0.1").unwrap();
    let openssl = |arguments: String| {
        let arguments: Vec<_> = arguments.split_whitespace().collect();
        let _ = run("openssl", &arguments).success();
    };
    let ec = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes";
    for root in ["root", "other"] {
        let (key, cert) = (file(&format!("{root}.key")), file(&format!("{root}.crt")));
        openssl(format!(
            "req -x509 {ec} -subj /CN={root} -days 9 -keyout {key} -out {cert}"
        ));
    }
    for name in ["server", "client"] {
        let (key, csr, cert) = (
            file(&format!("{name}.key")),
            file(&format!("{name}.csr")),
            file(&format!("{name}.crt")),
        );
        openssl(format!("req -new {ec} -subj /CN={name} -keyout {key} -out {csr}"));
        let (root, root_key, ext) = (file("root.crt"), file("root.key"), file("ip.ext"));
        openssl(format!(
            "x509 -req -in {csr} -CA {root} -CAkey {root_key} -CAcreateserial -days 9 -extfile {ext} -out {cert}"
        ));
    }
    let options = [
        "--listen",
        "127.0.0.1:0",
        "--to",
        &ca.address(),
        "--cert",
        &file("server.crt"),
        "--key",
        &file("server.key"),
        "--clients",
        &file("root.crt"),
    ];
    let relay = peer("tls_relay.py", &options);
    let url = format!("https://{}/", relay.address());
    let depot = lab.issue_ra("Depot");
    let (root, other, cert, key) = (
        file("root.crt"),
        file("other.crt"),
        file("client.crt"),
        file("client.key"),
    );
    let with_client = ["--upstream-cert", &cert, "--upstream-key", &key];
    // Whom nobody vouches for somebody has to look at; who hangs up may be back later.
    for (trust, client, failure) in [
        (&root, &with_client[..], None),
        (&other, &with_client[..], Some("systemFailure")),
        (&root, &[], Some("systemUnavail")),
    ] {
        let options = [&["--forward", "replaced", "--upstream-trust", trust], client].concat();
        let ra = lab.serve_in_front(&depot, &url, &options);
        let bridge = bridge(&format!("http://{}/", ra.address()), &[]);
        let station = Station::of_lab(&lab, "SN-1");
        match failure {
            None => {
                let _ = station.succeeds(&csms_url(&bridge), "enroll", &[]);
                station.check_certificate(&lab.file("root.pem"));
            }
            Some(text) => station.fails(&csms_url(&bridge), "enroll", text),
        }
    }
}

#[test]
fn a_profile_of_the_path_reaches_the_ca_behind_the_ra() {
    let lab = LabRa::init();
    let ca_rules = lab.write("ca.toml", "[profile.station]\ndays = 9");
    let ra_rules = lab.write("ra.toml", "[profile.station]\nsubject = [\"CN\", \"O?\"]\n");
    let ca = lab.serve(&["--config", &ca_rules]);
    let depot = lab.issue_ra("Depot");
    for forward in FORWARDS {
        let upstream = format!("http://{}/.well-known/cmp", ca.address());
        let ra = lab.serve_in_front(&depot, &upstream, &["--forward", forward, "--config", &ra_rules]);
        let bridge = bridge(&format!("http://{}/.well-known/cmp/p/station", ra.address()), &[]);
        let station = Station::of_lab(&lab, "SN-1");
        let _ = station.succeeds(&csms_url(&bridge), "enroll", &[]);
        let checked = run(
            "openssl",
            &[
                "x509",
                "-in",
                &station.certificate(),
                "-noout",
                "-checkend",
                "864000",
            ],
        );
        // Ten days from now it is over: the CA has gone by the profile.
        let _ = checked.failure(1, "will expire");
    }
}

#[test]
fn openssl_polls_at_an_ra_whose_ca_is_reached_by_carried_files() {
    let lab = LabRa::init();
    let (depot, spool) = (lab.issue_ra("Depot"), folder());
    let upstream = format!("spool:{}", arg(spool.path()));
    let options = ["--forward", "replaced", "--check-after", "1"];
    let ra = lab.serve_in_front(&depot, &upstream, &options);
    let dir = folder();
    let file = |name: &str| arg(dir.path().join(name));
    let curve = "ec_paramgen_curve:P-256";
    let arguments = [
        "genpkey",
        "-algorithm",
        "EC",
        "-pkeyopt",
        curve,
        "-out",
        &file("one.key"),
    ];
    let _ = run("openssl", &arguments).success();
    let (server, pass, root) = (
        format!("http://{}/", ra.address()),
        format!("pass:{}", SECRET.1),
        lab.file("root.pem"),
    );
    let arguments = [
        "cmp",
        "-config",
        "",
        "-batch",
        "-server",
        &server,
        "-cmd",
        "ir",
        "-ref",
        SECRET.0,
        "-secret",
        &pass,
        "-newkey",
        &file("one.key"),
        "-subject",
        "/CN=CS-8",
        "-certout",
        &file("one.crt"),
        "-trusted",
        &root,
        "-recipient",
        "/CN=RA",
        "-implicit_confirm",
    ];
    let client = Program::start("openssl", &arguments);
    assert_eq!(carry_until_done(&lab, spool.path(), client), 1);
}

#[test]
fn a_ca_behind_files_that_is_killed_at_any_moment_answers_each_message_once() {
    let lab = LabRa::init();
    let (depot, spool) = (lab.issue_ra("Depot"), folder());
    let upstream = format!("spool:{}", arg(spool.path()));
    let ra = lab.serve_in_front(
        &depot,
        &upstream,
        &["--forward", "replaced", "--check-after", "1"],
    );
    let bridge = bridge(&format!("http://{}/", ra.address()), &[]);
    let station = Station::of_lab(&lab, "SN-1");
    let mut program = station.start(&csms_url(&bridge), "enroll,update", &[]);
    let (state, folder) = (lab.file(""), arg(spool.path()));
    let arguments = ["spool", "--state", &state, "--spool", &folder];
    let mut patience = 0u32;
    while !program.has_ended() {
        let mut ca = Program::start(&path("lab-ra"), &arguments);
        // Each one lives a little longer than the one before.
        for _ in 0..patience * 50 {
            if ca.has_ended() {
                break;
            }
            thread::yield_now();
        }
        ca.kill();
        patience = (patience + 1) % 400;
    }
    let _ = program.finish().success();
    station.check_certificate(&lab.file("root.pem"));
    let issued = lab.command(&["certificates"]);
    assert_eq!(
        issued.lines().filter(|line| line.contains("CS-1")).count(),
        2,
        "{issued}"
    );
}

#[test]
fn options_and_keys_of_the_other_role_are_refused_by_name() {
    let lab = LabRa::init();
    let depot = lab.issue_ra("Depot");
    let of_ca: [&[&str]; 6] = [
        &["--poll-after", "1,1"],
        &["--delay", "ir"],
        &["--implicit-confirm", "ignore"],
        &["--confirm-wait", "9"],
        &["--days", "9"],
        &["--initial", "x", "--initial-subject", "CN=x"],
    ];
    for options in of_ca {
        let ra = lab.serve_in_front(&depot, "http://127.0.0.1:9/", options);
        let text = format!("{} means nothing with --role ra", options[0]);
        let _ = ra.finish().failure(2, &text);
    }
    let rules = lab.write("rules.toml", "confirm_wait_s = 9");
    let ra = lab.serve_in_front(&depot, "http://127.0.0.1:9/", &["--config", &rules]);
    let _ = ra
        .finish()
        .failure(2, "confirm_wait_s means nothing with --role ra");
    let of_ra: [&[&str]; 8] = [
        &["--upstream", "http://127.0.0.1:9/"],
        &["--forward", "nested"],
        &["--batch", "3,1"],
        &["--organization", "Operator"],
        &["--crl", "x.crl"],
        &["--check-after", "1"],
        &["--upstream-timeout", "1"],
        &["--keep", "1"],
    ];
    for options in of_ra {
        let text = format!("{} means nothing with --role ca", options[0]);
        let _ = lab.serve(options).finish().failure(2, &text);
    }
}

#[test]
fn options_that_do_not_go_together_are_refused() {
    let lab = LabRa::init();
    let folder = lab.issue_ra("Depot");
    let cases: [(&[&str], &str); 3] = [
        (&["--batch", "3,1"], "--batch needs --forward nested"),
        (
            &["--organization", "Operator"],
            "--organization needs --forward ra-verified",
        ),
        (&["--forward", "nested", "--batch", "1,1"], "N from 2 to 100"),
    ];
    for (options, text) in cases {
        let ra = lab.serve_in_front(&folder, "http://127.0.0.1:9/", options);
        let _ = ra.finish().failure(2, text);
    }
    let trust = lab.file("root.pem");
    let ways: [(&str, &[&str], &str); 5] = [
        ("https://127.0.0.1/", &[], "https needs trust anchors"),
        (
            "http://127.0.0.1/",
            &["--upstream-trust", &trust],
            "the URL should be https",
        ),
        ("spool:x", &["--upstream-trust", &trust], "an upstream with https"),
        ("ftp://127.0.0.1/", &[], "http[s]://HOST[:PORT][/PATH]"),
        (
            "https://127.0.0.1/",
            &["--upstream-trust", "none.pem"],
            "none.pem",
        ),
    ];
    for (upstream, options, text) in ways {
        let ra = lab.serve_in_front(&folder, upstream, options);
        let _ = ra.finish().failure(2, text);
    }
}
