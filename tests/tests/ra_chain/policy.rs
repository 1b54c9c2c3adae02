//! What the RA itself decides: persons, CRLs, TLS, profiles.

use super::*;

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
