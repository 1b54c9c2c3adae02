//! `openssl cmp` as client of `lab-ra`, without anything in between.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs
)]

use std::fs;

use system_tests::openssl::{self, SECRET};
use system_tests::programs::{LabRa, run_peer};
use system_tests::{Finished, Program, arg, folder, run};

struct Client {
    lab: LabRa,
    ra: Program,
    dir: tempfile::TempDir,
}

impl Client {
    fn of(options: &[&str]) -> Self {
        let lab = LabRa::init();
        let ra = lab.serve(options);
        Self {
            lab,
            ra,
            dir: folder(),
        }
    }

    fn file(&self, name: &str) -> String {
        arg(self.dir.path().join(name))
    }

    fn new_key(&self, name: &str) -> String {
        let key = self.file(name);
        let _ = run(
            "openssl",
            &[
                "genpkey",
                "-algorithm",
                "EC",
                "-pkeyopt",
                "ec_paramgen_curve:P-256",
                "-out",
                &key,
            ],
        )
        .success();
        key
    }

    fn cmp(&self, options: &[&str]) -> Finished {
        let url = format!("http://{}/.well-known/cmp", self.ra.address());
        let dir = self.dir.path().join("messages");
        fs::create_dir_all(&dir).unwrap();
        let chain = self.file("chain.crt");
        let mut all = vec!["-chainout", &chain];
        all.extend_from_slice(options);
        openssl::client(&url, &dir, 12, &all)
    }

    /// An ir with the manufacturer certificate `serial` of this lab.
    fn enroll(&self, serial: &str, key: &str, certificate: &str, options: &[&str]) -> Finished {
        let idevid = self.lab.idevid(serial);
        let (cert, own_key, chain) = (
            arg(idevid.join("cert.pem")),
            arg(idevid.join("key.pem")),
            arg(idevid.join("chain.pem")),
        );
        let (root, subject) = (self.lab.file("root.pem"), format!("/CN={serial}/O=Operator"));
        let mut all = vec![
            "-cmd",
            "ir",
            "-cert",
            &cert,
            "-key",
            &own_key,
            "-extracerts",
            &chain,
            "-trusted",
            &root,
            "-newkey",
            key,
            "-subject",
            &subject,
            "-recipient",
            "/CN=RA",
            "-certout",
            certificate,
        ];
        all.extend_from_slice(options);
        self.cmp(&all)
    }

    #[track_caller]
    fn check(&self, certificate: &str, key: &str, subject: &str) {
        openssl::verify(&self.lab.file("root.pem"), &self.file("chain.crt"), certificate);
        assert_eq!(
            openssl::public_key_of_certificate(certificate),
            openssl::public_key_of_key(key)
        );
        assert_eq!(openssl::subject(certificate), subject);
    }

    fn messages(&self) -> usize {
        openssl::kept(&self.dir.path().join("messages")).len()
    }
}

#[test]
fn openssl_enrols_with_a_manufacturer_certificate_and_updates() {
    let client = Client::of(&[]);
    let (key, cert) = (client.new_key("one.key"), client.file("one.crt"));
    let _ = client.enroll("CS-7", &key, &cert, &[]).success();
    client.check(&cert, &key, "O=Operator,CN=CS-7");
    assert_eq!(client.messages(), 2, "ir and certConf");

    let (next, updated) = (client.new_key("two.key"), client.file("two.crt"));
    let root = client.lab.file("root.pem");
    let chain = client.file("chain.crt");
    let arguments = [
        "-cmd",
        "kur",
        "-cert",
        &cert,
        "-key",
        &key,
        "-untrusted",
        &chain,
        "-trusted",
        &root,
        "-newkey",
        &next,
        "-certout",
        &updated,
    ];
    let _ = client.cmp(&arguments).success();
    client.check(&updated, &next, "O=Operator,CN=CS-7");
    assert_ne!(fs::read(&cert).unwrap(), fs::read(&updated).unwrap());
}

#[test]
fn openssl_enrols_with_a_shared_secret() {
    let client = Client::of(&[]);
    let (key, cert, root) = (
        client.new_key("one.key"),
        client.file("one.crt"),
        client.lab.file("root.pem"),
    );
    let pass = format!("pass:{}", SECRET.1);
    let arguments = [
        "-cmd",
        "ir",
        "-ref",
        SECRET.0,
        "-secret",
        &pass,
        "-newkey",
        &key,
        "-subject",
        "/CN=CS-8/O=Operator",
        "-recipient",
        "/CN=RA",
        "-certout",
        &cert,
        "-out_trusted",
        &root,
    ];
    let _ = client.cmp(&arguments).success();
    client.check(&cert, &key, "O=Operator,CN=CS-8");
}

#[test]
fn openssl_polls_until_the_certificate_is_there() {
    let client = Client::of(&["--poll-after", "2,1"]);
    let (key, cert) = (client.new_key("one.key"), client.file("one.crt"));
    let done = client.enroll("CS-9", &key, &cert, &[]).success();
    assert!(
        done.output.contains("received 'waiting' PKIStatus"),
        "{}",
        done.output
    );
    client.check(&cert, &key, "O=Operator,CN=CS-9");
    assert_eq!(client.messages(), 5, "ir, three pollReqs, certConf");
}

#[test]
fn openssl_needs_no_certconf_where_implicit_confirmation_is_granted() {
    let client = Client::of(&["--implicit-confirm", "grant"]);
    let (key, cert) = (client.new_key("one.key"), client.file("one.crt"));
    let _ = client
        .enroll("CS-10", &key, &cert, &["-implicit_confirm"])
        .success();
    client.check(&cert, &key, "O=Operator,CN=CS-10");
    assert_eq!(client.messages(), 1, "ir alone");
}

#[test]
fn openssl_confirms_where_the_wish_for_implicit_confirmation_is_ignored() {
    let client = Client::of(&["--implicit-confirm", "ignore"]);
    let (key, cert) = (client.new_key("one.key"), client.file("one.crt"));
    let _ = client
        .enroll("CS-11", &key, &cert, &["-implicit_confirm"])
        .success();
    client.check(&cert, &key, "O=Operator,CN=CS-11");
    assert_eq!(client.messages(), 2, "ir and certConf");
}

#[test]
fn a_wrong_secret_gets_no_certificate_and_the_reason() {
    let client = Client::of(&[]);
    let (key, cert) = (client.new_key("one.key"), client.file("one.crt"));
    let arguments = [
        "-cmd",
        "ir",
        "-ref",
        SECRET.0,
        "-secret",
        "pass:wrong",
        "-newkey",
        &key,
        "-subject",
        "/CN=CS-8",
        "-recipient",
        "/CN=RA",
        "-certout",
        &cert,
        "-unprotected_errors",
    ];
    let _ = client.cmp(&arguments).failure(1, "badMessageCheck");
    assert!(!fs::exists(&cert).unwrap());
}

#[test]
fn a_manufacturer_that_is_not_known_gets_no_certificate_and_the_reason() {
    let client = Client::of(&[]);
    let (key, cert, root) = (
        client.new_key("one.key"),
        client.file("one.crt"),
        client.lab.file("root.pem"),
    );
    let lab = LabRa::init();
    let idevid = lab.idevid("CS-12");
    let (cert_of_other, key_of_other, chain) = (
        arg(idevid.join("cert.pem")),
        arg(idevid.join("key.pem")),
        arg(idevid.join("chain.pem")),
    );
    let arguments = [
        "-cmd",
        "ir",
        "-cert",
        &cert_of_other,
        "-key",
        &key_of_other,
        "-extracerts",
        &chain,
        "-trusted",
        &root,
        "-newkey",
        &key,
        "-subject",
        "/CN=CS-12",
        "-recipient",
        "/CN=RA",
        "-certout",
        &cert,
    ];
    let _ = client.cmp(&arguments).failure(1, "signerNotTrusted");
    assert!(!fs::exists(&cert).unwrap());
}

#[test]
fn every_answer_of_lab_ra_is_read_by_pyasn1() {
    let client = Client::of(&["--poll-after", "1,1"]);
    let (key, cert) = (client.new_key("one.key"), client.file("one.crt"));
    let _ = client.enroll("CS-9", &key, &cert, &[]).success();
    let folder = client.dir.path().join("messages");
    let files: Vec<_> = (1..=client.messages())
        .map(|n| arg(folder.join(format!("rsp.{n}"))))
        .collect();
    let files: Vec<&str> = files.iter().map(String::as_str).collect();
    let read = run_peer("decode_rfc9810.py", &files).success().output;
    let kinds: Vec<_> = read.lines().map(|line| line.split(' ').nth(1).unwrap()).collect();
    assert_eq!(kinds, ["ip", "pollRep", "ip", "pkiconf"]);
}

#[test]
fn lab_ra_ends_cleanly_on_sigterm() {
    let client = Client::of(&[]);
    let _ = client.ra.address();
    let _ = client.ra.terminate().success();
}
