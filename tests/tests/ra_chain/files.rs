//! CAs that are reached by carried files, and losses of power.

use super::*;

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
