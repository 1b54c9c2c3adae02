//! Every kind of message that OpenSSL's client makes, through something that carries CMP over OCPP, to OpenSSL's
//! server.

use crate::http::Door;
use crate::openssl::{self, Pki, Protection, SECRET};
use crate::programs::bridge;
use crate::{Program, folder, run};

/// Runs ir, cr, p10cr, kur, rr and genm from `openssl cmp` through what `carrier` starts for a route on what `csms`
/// starts for the two routes, `default` and `update`, and compares the bytes on both ends.
///
/// # Panics
/// If a transaction fails or a byte differs.
#[track_caller]
pub fn carries_every_message(
    csms: impl Fn(&Door, &Door) -> Program,
    carrier: impl Fn(&Program, &str) -> Program,
    protection: Protection,
) {
    let pki = Pki::make();
    let (one, two) = (
        pki.mock_server(&pki.file("lc.crt"), &[]),
        pki.mock_server(&pki.file("lc.crt"), &[]),
    );
    let (door, update_door) = (
        Door::before(one.address.clone()),
        Door::before(two.address.clone()),
    );
    let bridge = csms(&door, &update_door);
    let (default, update) = (carrier(&bridge, "default"), carrier(&bridge, "update"));
    for command in ["ir", "cr", "p10cr", "rr", "genm"] {
        carries(command, &pki, protection, &default, &door);
    }
    carries("kur", &pki, protection, &update, &update_door);
}

/// `csms-bridge` as the CSMS side.
#[must_use]
pub fn our_bridge(door: &Door, update_door: &Door) -> Program {
    let update_route = format!("update={}", update_door.url());
    bridge(&door.url(), &["--route", &update_route])
}

/// Runs one command of `openssl cmp` through `carrier`, and compares the bytes with those that came through `door`.
///
/// # Panics
/// If the transaction fails or a byte differs.
#[track_caller]
pub fn carries(command: &str, pki: &Pki, protection: Protection, carrier: &Program, door: &Door) {
    let before = door.seen().len();
    let dir = folder();
    let url = format!("http://{}/pkix/", carrier.address());
    let options = options(command, pki, protection);
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    let done = openssl::client(&url, dir.path(), 4, &options);
    assert_eq!(
        done.code,
        Some(0),
        "{command} {protection:?}:\n{}\n--- carrier:\n{}",
        done.output,
        carrier.output()
    );
    let kept = openssl::kept(dir.path());
    let expected = if matches!(command, "rr" | "genm") { 1 } else { 2 };
    assert_eq!(kept.len(), expected, "{command}: messages");
    assert!(
        door.seen()[before..] == kept,
        "{command} {protection:?}: the bytes that arrived are not those that were sent"
    );
}

/// Options of `openssl cmp` for a command, in the PKI of `fixtures/make-pki.sh`.
fn options(command: &str, pki: &Pki, protection: Protection) -> Vec<String> {
    let file = |name: &str| pki.file(name);
    let mut options = vec![
        "-cmd".to_owned(),
        command.to_owned(),
        "-recipient".into(),
        "/CN=Test RA/O=Operator".into(),
    ];
    let mut add = |more: &[&str]| options.extend(more.iter().map(|option| (*option).to_owned()));
    // A kur is signed with the certificate that it updates, an rr with that to be revoked.
    let signer = if matches!(command, "kur" | "rr" | "cr" | "p10cr") {
        "lc"
    } else {
        "idevid"
    };
    match protection {
        Protection::Signature => add(&[
            "-cert",
            &file(&format!("{signer}.crt")),
            "-key",
            &file(&format!("{signer}.key")),
            "-trusted",
            &file("root.crt"),
            "-untrusted",
            &file("issuing.crt"),
        ]),
        Protection::Secret => add(&["-ref", SECRET.0, "-secret", &format!("pass:{}", SECRET.1)]),
    }
    match command {
        "ir" | "cr" => add(&["-newkey", &file("lc.key"), "-subject", "/CN=CS-1/O=Operator"]),
        // OpenSSL's mock server takes a kur only for the certificate that it is going to hand out.
        "kur" => add(&["-newkey", &file("lc.key"), "-oldcert", &file("lc.crt")]),
        "p10cr" => {
            let (csr, key) = (file("p10.csr"), file("lc.key"));
            let _ = run(
                "openssl",
                &[
                    "req",
                    "-new",
                    "-key",
                    &key,
                    "-subj",
                    "/CN=CS-1/O=Operator",
                    "-out",
                    &csr,
                ],
            )
            .success();
            add(&["-csr", &csr]);
        }
        "rr" => add(&["-oldcert", &file("lc.crt"), "-revreason", "4"]),
        _ => add(&["-infotype", "signKeyPairTypes"]),
    }
    if matches!(command, "ir" | "cr" | "kur" | "p10cr") {
        add(&["-certout", &file("out.crt")]);
    }
    options
}
