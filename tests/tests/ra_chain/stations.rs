//! Stations through bridge and RA, in each way of passing on.

use super::*;

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
