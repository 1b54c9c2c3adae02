//! Keys that lab-ra makes and delivers with their certificates (RFC 9483 §4.1.6).
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs
)]

use cmp_message::certificate::Certificate;
use cmp_message::crypto::KeyAlgorithm;
use cmp_message::{CMP_2021, PkiBody, PkiMessage};
use system_tests::arg;
use system_tests::http::{Door, Exchanged};
use system_tests::openssl::SECRET;
use system_tests::programs::{LabRa, bridge, csms_url, run_peer};
use system_tests::station::Station;

const CENTRAL: [&str; 2] = ["--keygen", "central"];

fn stations(lab: &LabRa) -> [Station; 2] {
    [
        Station::of_lab(lab, "SN-1"),
        Station::with_secret(SECRET.1, lab.file("root.pem")),
    ]
}

/// The responses with a certificate; each must carry a key.
fn deliveries(seen: &[Exchanged]) -> usize {
    let mut count = 0;
    for (_, response) in seen {
        let message = PkiMessage::from_bytes(response).unwrap();
        let (PkiBody::Ip(content) | PkiBody::Kup(content)) = &*message.body else {
            continue;
        };
        let Some(pair) = &content.response[0].certified_key_pair else {
            continue;
        };
        assert!(pair.private_key.is_some());
        assert_eq!(message.header.pvno, CMP_2021);
        count += 1;
    }
    count
}

#[test]
fn a_station_enrols_and_updates_with_keys_that_the_ra_makes() {
    let lab = LabRa::init();
    let ra = lab.serve(&["--keygen", "allow"]);
    let door = Door::before(ra.address());
    let bridge = bridge(&door.url(), &[]);
    for station in stations(&lab) {
        let _ = station.succeeds(&csms_url(&bridge), "enroll", &CENTRAL);
        station.check_certificate(&lab.file("root.pem"));
        let first = station.certificate_bytes().unwrap();
        let options = ["--keygen", "central", "--key-type", "p384"];
        let _ = station.succeeds(&csms_url(&bridge), "update", &options);
        station.check_certificate(&lab.file("root.pem"));
        let second = station.certificate_bytes().unwrap();
        assert_ne!(first, second);
        let (_, der) = der::pem::decode_vec(&second).unwrap();
        let key = Certificate::from_der(der).unwrap();
        let algorithm = KeyAlgorithm::of_public_key(key.public_key());
        assert_eq!(algorithm, Ok(KeyAlgorithm::P384));
        // And on with a key of its own.
        let _ = station.succeeds(&csms_url(&bridge), "update", &[]);
        station.check_certificate(&lab.file("root.pem"));
    }
    let seen = door.seen();
    let with_key: Vec<_> = seen.chunks(6).flat_map(|six| six[..4].to_vec()).collect();
    assert_eq!((seen.len(), deliveries(&with_key)), (12, 4));
}

#[test]
fn a_key_of_each_type_comes_over_1_6_in_small_frames_after_a_while() {
    let lab = LabRa::init();
    let ra = lab.serve(&["--keygen", "allow", "--poll-after", "1,1"]);
    let bridge = bridge(&format!("http://{}/.well-known/cmp", ra.address()), &[]);
    for key_type in ["p521", "ed25519", "ml-dsa-44", "ml-dsa-87"] {
        let station = Station::of_lab(&lab, key_type);
        let options = ["--key-type", key_type, "--ocpp", "1.6", "--unit", "512"];
        let report = station.succeeds(&csms_url(&bridge), "enroll", &[&CENTRAL, &options[..]].concat());
        assert!(report.to_string().contains("\"pollReq\""), "{report:#}");
        let (_, der) = der::pem::decode_vec(&station.certificate_bytes().unwrap()).unwrap();
        let certificate = Certificate::from_der(der).unwrap();
        let algorithm = KeyAlgorithm::of_public_key(certificate.public_key()).unwrap();
        assert_eq!(algorithm.name(), key_type);
    }
}

#[test]
fn an_ra_in_front_passes_on_what_asks_for_a_key_in_a_way_that_only_the_station_can_open_the_answer() {
    for forward in ["unchanged", "nested", "replaced", "ra-verified"] {
        let lab = LabRa::init();
        let ca = lab.serve(&["--keygen", "allow"]);
        let door = Door::before(ca.address());
        let folder = lab.issue_ra("Depot");
        let options = ["--forward", forward, "--keygen", "allow"];
        let ra = lab.serve_in_front(&folder, &door.url(), &options);
        let bridge = bridge(&format!("http://{}/.well-known/cmp", ra.address()), &[]);
        for station in stations(&lab) {
            let _ = station.succeeds(&csms_url(&bridge), "enroll,update", &CENTRAL);
            station.check_certificate(&lab.file("root.pem"));
        }
        assert_eq!(deliveries(&door.seen()), 4, "{forward}");
    }
}

#[test]
fn a_station_is_told_where_keys_are_not_made() {
    let lab = LabRa::init();
    let ca = lab.serve(&[]);
    let door = Door::before(ca.address());
    let folder = lab.issue_ra("Depot");
    let front = lab.serve_in_front(&folder, &door.url(), &[]);
    let bridges = [
        bridge(&door.url(), &[]),
        bridge(&format!("http://{}/.well-known/cmp", front.address()), &[]),
    ];
    for bridge in bridges {
        for station in stations(&lab) {
            let text = "keys are not made here";
            station.fails_with(&csms_url(&bridge), "enroll", &CENTRAL, text);
            assert_eq!(station.certificate_bytes(), None);
        }
    }
    // The RA in front has passed nothing on.
    assert_eq!(door.seen().len(), 2);
}

#[test]
fn a_station_of_a_lab_whose_certificates_are_for_signatures_only_gets_its_key_with_a_secret() {
    let lab = LabRa::with_profile("ml-dsa-65");
    let ra = lab.serve(&["--keygen", "allow"]);
    let bridge = bridge(&format!("http://{}/.well-known/cmp", ra.address()), &[]);
    let [with_certificate, with_secret] = stations(&lab);
    let text = "not for key agreement or key encipherment";
    with_certificate.fails_with(&csms_url(&bridge), "enroll", &CENTRAL, text);
    let options = ["--keygen", "central", "--key-type", "p256"];
    let _ = with_secret.succeeds(&csms_url(&bridge), "enroll", &options);
    assert!(with_secret.certificate_bytes().is_some());
}

#[test]
fn a_client_of_pythons_opens_the_key_that_lab_ra_made_for_it_and_uses_it() {
    let lab = LabRa::init();
    let ra = lab.serve(&["--keygen", "allow"]);
    let url = format!("http://{}/.well-known/cmp", ra.address());
    let idevid = lab.idevid("SN-1");
    let file = |name: &str| arg(idevid.join(name));
    let certificate = [file("cert.pem"), file("key.pem"), file("chain.pem")];
    let password = [format!("password:{}:{}", SECRET.0, SECRET.1)];
    for (subject, proof) in [("CS-1", &certificate[..]), ("CS-2", &password[..])] {
        let mut arguments = vec![url.clone(), lab.file("root.pem"), subject.to_owned()];
        arguments.extend_from_slice(proof);
        let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
        let finished = run_peer("central_key.py", &arguments).success();
        assert_eq!(
            finished.output.trim(),
            format!("CN={subject} with a key of secp256r1")
        );
    }
}
