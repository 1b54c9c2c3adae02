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
use system_tests::programs::LabRa;
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

/// A station that is enrolled: its key and certificate.
fn enrolled(client: &Client) -> (String, String) {
    let (key, cert) = (client.new_key("one.key"), client.file("one.crt"));
    let _ = client.enroll("CS-7", &key, &cert, &[]).success();
    (key, cert)
}

impl Client {
    /// `openssl cmp` with the certificate that it was enrolled for.
    fn with_certificate(&self, (key, cert): &(String, String), options: &[&str]) -> Finished {
        let (chain, root) = (self.file("chain.crt"), self.lab.file("root.pem"));
        // The chain that came with the enrolment, before this call writes another.
        let own_chain = self.file("own-chain.crt");
        if !fs::exists(&own_chain).unwrap() {
            fs::copy(&chain, &own_chain).unwrap();
        }
        let mut all = vec![
            "-cert",
            cert,
            "-key",
            key,
            "-untrusted",
            &own_chain,
            "-trusted",
            &root,
        ];
        all.extend_from_slice(options);
        self.cmp(&all)
    }
}

#[test]
fn openssl_gets_another_certificate_with_its_own() {
    let client = Client::of(&[]);
    let one = enrolled(&client);
    let (key, cert) = (client.new_key("two.key"), client.file("two.crt"));
    let options = [
        "-cmd",
        "cr",
        "-newkey",
        &key,
        "-subject",
        "/CN=CS-7/OU=second",
        "-certout",
        &cert,
    ];
    let _ = client.with_certificate(&one, &options).success();
    client.check(&cert, &key, "OU=second,CN=CS-7");
}

#[test]
fn openssl_enrols_with_a_pkcs_10_request_under_a_signature_and_under_a_secret() {
    let client = Client::of(&[]);
    let (key, csr) = (client.new_key("one.key"), client.file("one.csr"));
    let subject = "/O=Operator/CN=CS-7";
    let san = "subjectAltName=DNS:cs-7.example";
    let _ = run(
        "openssl",
        &[
            "req", "-new", "-key", &key, "-subj", subject, "-addext", san, "-out", &csr,
        ],
    )
    .success();
    let idevid = client.lab.idevid("CS-7");
    let [own_cert, own_key, chain] = ["cert.pem", "key.pem", "chain.pem"].map(|file| arg(idevid.join(file)));
    let (root, pass) = (client.lab.file("root.pem"), format!("pass:{}", SECRET.1));
    let signature = [
        "-cert",
        &own_cert,
        "-key",
        &own_key,
        "-extracerts",
        &chain,
        "-trusted",
        &root,
    ];
    let secret = ["-ref", SECRET.0, "-secret", &pass, "-out_trusted", &root];
    for (name, protection) in [("a.crt", signature.as_slice()), ("b.crt", secret.as_slice())] {
        let cert = client.file(name);
        let mut options = vec![
            "-cmd",
            "p10cr",
            "-csr",
            &csr,
            "-recipient",
            "/CN=RA",
            "-certout",
            &cert,
        ];
        options.extend_from_slice(protection);
        let _ = client.cmp(&options).success();
        client.check(&cert, &key, "CN=CS-7,O=Operator");
        let text = run(
            "openssl",
            &["x509", "-in", &cert, "-noout", "-ext", "subjectAltName"],
        )
        .success();
        assert!(text.output.contains("cs-7.example"), "{}", text.output);
        assert_eq!(client.messages(), 2, "p10cr and certConf");
    }
}

#[test]
fn openssl_revokes_its_certificate_and_finds_it_on_the_crl() {
    let client = Client::of(&[]);
    let one = enrolled(&client);
    let revoke = [
        "-cmd",
        "rr",
        "-oldcert",
        &one.1,
        "-revreason",
        "1",
        "-recipient",
        "/CN=RA",
    ];
    let done = client.with_certificate(&one, &revoke).success();
    assert!(done.output.contains("revocation accepted"), "{}", done.output);
    let again = client.with_certificate(&one, &revoke);
    let _ = again.failure(1, "certRevoked");

    let crl = client.file("crl.pem");
    client.lab.command(&["crl", "--out", &crl]);
    let issuer = client.lab.file("ca.pem");
    let checked = run(
        "openssl",
        &["crl", "-in", &crl, "-CAfile", &issuer, "-noout", "-text"],
    )
    .success();
    assert!(checked.output.contains("verify OK"), "{}", checked.output);
    assert!(checked.output.contains("Key Compromise"), "{}", checked.output);
    let root = client.lab.file("root.pem");
    let verify = [
        "verify",
        "-crl_check",
        "-CAfile",
        &root,
        "-untrusted",
        &issuer,
        "-CRLfile",
        &crl,
        &one.1,
    ];
    let _ = run("openssl", &verify).failure(2, "certificate revoked");
}

#[test]
fn openssl_asks_what_a_general_message_can_ask() {
    let client = Client::of(&[]);
    let one = enrolled(&client);
    for (asked, answered) in [
        ("caCerts", "id-it-caCerts"),
        ("certReqTemplate", "id-it-certReqTemplate"),
        ("currentCRL", "id-it-currentCRL"),
    ] {
        let genm = ["-cmd", "genm", "-infotype", asked, "-recipient", "/CN=RA"];
        let done = client.with_certificate(&one, &genm).success();
        assert!(done.output.contains(answered), "{asked}: {}", done.output);
    }
    let genm = [
        "-cmd",
        "genm",
        "-infotype",
        "keyPairParamReq",
        "-recipient",
        "/CN=RA",
    ];
    let _ = client.with_certificate(&one, &genm).failure(1, "badRequest");
}

#[test]
fn openssl_with_the_old_root_updates_to_the_ca_under_the_new_one() {
    let client = Client::of(&[]);
    let one = enrolled(&client);
    client.lab.command(&["rollover"]);
    let (key, cert) = (client.new_key("two.key"), client.file("two.crt"));
    let kur = ["-cmd", "kur", "-newkey", &key, "-certout", &cert];
    let _ = client.with_certificate(&one, &kur).success();
    let (new_root, new_ca) = (client.lab.file("2/root.pem"), client.lab.file("2/ca.pem"));
    openssl::verify(&new_root, &new_ca, &cert);
    // By the link certificate the old root still leads there.
    let (old_root, link) = (
        client.lab.file("root.pem"),
        client.lab.file("2/root-new-with-old.pem"),
    );
    let both = client.file("both.pem");
    fs::write(
        &both,
        [fs::read(&new_ca).unwrap(), fs::read(&link).unwrap()].concat(),
    )
    .unwrap();
    openssl::verify(&old_root, &both, &cert);
    assert_ne!(fs::read(&old_root).unwrap(), fs::read(&new_root).unwrap());
}

#[test]
fn openssl_is_told_that_its_answer_waits_where_it_asks_for_a_revocation() {
    let client = Client::of(&["--poll-after", "1,1", "--delay", "rr"]);
    let one = enrolled(&client);
    let revoke = ["-cmd", "rr", "-oldcert", &one.1, "-recipient", "/CN=RA"];
    // Version 3.0 does not know that an error can say `waiting`.
    let refused = client.with_certificate(&one, &revoke);
    assert!(
        refused.output.contains("PKIStatus: waiting"),
        "{}",
        refused.output
    );
}

#[test]
fn lab_ra_ends_cleanly_on_sigterm() {
    let client = Client::of(&[]);
    let _ = client.ra.address();
    let _ = client.ra.terminate().success();
}
