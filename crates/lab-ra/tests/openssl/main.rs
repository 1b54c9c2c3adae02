//! The program against `openssl cmp`, over HTTP.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs
)]

mod options;

use std::{
    fs,
    io::{BufRead, BufReader},
    path::PathBuf,
    process::{Child, Command, ExitStatus, Output, Stdio},
    thread,
};
use tempfile::TempDir;

/// A lab in a folder of its own: `pki` is the RA's state, `station` what a station has from the factory.
struct Lab {
    folder: TempDir,
}

impl Lab {
    fn new() -> Self {
        let lab = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        lab.lab_ra("init --state pki");
        lab.lab_ra("issue-idevid --state pki --serial CS-1 --out station");
        lab
    }

    fn lab_ra(&self, arguments: &str) {
        let output = self.run(env!("CARGO_BIN_EXE_lab-ra"), arguments);
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }

    fn run(&self, program: &str, arguments: &str) -> Output {
        let arguments = arguments.split(' ').filter(|one| !one.is_empty());
        let mut command = Command::new(program);
        command
            .args(arguments)
            .current_dir(self.folder.path())
            .stdin(Stdio::null());
        command.output().unwrap()
    }

    fn serve(&self, arguments: &str) -> Server {
        let mut child = Command::new(env!("CARGO_BIN_EXE_lab-ra"))
            .args(["serve", "--state", "pki", "--listen", "127.0.0.1:0"])
            .args(arguments.split(' ').filter(|one| !one.is_empty()))
            .current_dir(self.folder.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let address = line.strip_prefix("listening on ").unwrap().trim_end().to_owned();
        Server { child, address }
    }

    fn new_key(&self, name: &str) {
        let output = self.run(
            "openssl",
            &format!("ecparam -name prime256v1 -genkey -noout -out {name}"),
        );
        assert!(output.status.success());
    }

    /// `openssl cmp` with these arguments; what it said, if it succeeded or not.
    fn cmp(&self, server: &Server, arguments: &str) -> Result<String, String> {
        let address = &server.address;
        let output = self.run(
            "openssl",
            &format!(
                "cmp -server {address} -path .well-known/cmp -recipient /CN=RA -msg_timeout 20 {arguments}"
            ),
        );
        let said = format!(
            "{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        if output.status.success() {
            Ok(said)
        } else {
            Err(said)
        }
    }

    /// A new enrolment with the manufacturer certificate into `certificate` for `key`.
    fn enroll(&self, server: &Server, key: &str, certificate: &str, more: &str) -> Result<String, String> {
        self.new_key(key);
        self.cmp(
            server,
            &format!("-cmd ir {IDEVID} -newkey {key} -subject /CN=CS-1 -certout {certificate} {more}"),
        )
    }

    /// `openssl verify` up to the trust anchor.
    fn verify(&self, certificate: &str) {
        let arguments =
            format!("verify -x509_strict -CAfile pki/root.pem -untrusted pki/ca.pem {certificate}");
        let output = self.run("openssl", &arguments);
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The number of the first request that waits for a person, once there is one.
    fn first_pending(&self) -> u64 {
        for _ in 0..2_000 {
            let output = self.run(env!("CARGO_BIN_EXE_lab-ra"), "pending --state pki");
            let lines = String::from_utf8(output.stdout).unwrap();
            if let Some(number) = lines.split(' ').next().and_then(|word| word.parse().ok()) {
                return number;
            }
        }
        panic!("no request waits");
    }

    /// How many certificates have this status.
    fn certificates(&self, status: &str) -> usize {
        let output = self.run(env!("CARGO_BIN_EXE_lab-ra"), "certificates --state pki");
        let lines = String::from_utf8(output.stdout).unwrap();
        lines
            .lines()
            .filter(|line| line.split_whitespace().next() == Some(status))
            .count()
    }
}

/// Ends its process when it is dropped.
struct Server {
    child: Child,
    address: String,
}

impl Server {
    fn terminate(mut self) -> ExitStatus {
        let pid = self.child.id().to_string();
        assert!(
            Command::new("kill")
                .args(["-TERM", &pid])
                .status()
                .unwrap()
                .success()
        );
        self.child.wait().unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const IDEVID: &str =
    "-cert station/cert.pem -key station/key.pem -extracerts station/chain.pem -trusted pki/root.pem";
const SECRET: &str = "-ref r1 -secret pass:s3cret";

#[test]
fn the_hierarchy_verifies_strictly() {
    let lab = Lab::new();
    lab.verify("pki/ra.pem");
    let arguments =
        "verify -x509_strict -CAfile pki/manufacturer-root.pem -untrusted station/chain.pem station/cert.pem";
    assert!(lab.run("openssl", arguments).status.success());
    let text = lab.run("openssl", "x509 -in station/cert.pem -noout -subject");
    let text = String::from_utf8(text.stdout).unwrap();
    assert!(
        text.contains("serialNumber = CS-1") && text.contains("CN = CS-1"),
        "{text}"
    );
}

#[test]
fn openssl_enrols_with_the_manufacturer_certificate_and_updates() {
    let lab = Lab::new();
    let server = lab.serve("--implicit-confirm grant");
    lab.enroll(&server, "1.key", "1.pem", "").unwrap();
    lab.verify("1.pem");
    lab.new_key("2.key");
    let kur = "-cmd kur -cert 1.pem -key 1.key -trusted pki/root.pem -newkey 2.key -certout 2.pem";
    let said = lab.cmp(&server, kur).unwrap();
    assert!(
        said.contains("received KUP") && said.contains("received PKICONF"),
        "{said}"
    );
    lab.verify("2.pem");
    let serial_of = |file: &str| {
        lab.run("openssl", &format!("x509 -in {file} -noout -serial"))
            .stdout
    };
    assert_ne!(serial_of("1.pem"), serial_of("2.pem"));
    assert_eq!(
        (lab.certificates("issued"), lab.certificates("confirmed")),
        (0, 2)
    );
}

#[test]
fn openssl_enrols_with_a_secret_and_gets_the_root_in_ca_pubs() {
    let lab = Lab::new();
    let server = lab.serve("--secret r0:other --secret r1:s3cret");
    lab.new_key("1.key");
    let ir = format!("-cmd ir {SECRET} -newkey 1.key -subject /CN=CS-1 -certout 1.pem -cacertsout root.pem");
    lab.cmp(&server, &ir).unwrap();
    lab.verify("1.pem");
    let der_of = |file: &str| {
        lab.run("openssl", &format!("x509 -in {file} -outform DER"))
            .stdout
    };
    assert_eq!(der_of("root.pem"), der_of("pki/root.pem"));
    assert_eq!(lab.certificates("confirmed"), 1);
}

#[test]
fn openssl_asks_for_a_cr_with_its_certificate() {
    let lab = Lab::new();
    let server = lab.serve("");
    lab.enroll(&server, "1.key", "1.pem", "").unwrap();
    lab.new_key("2.key");
    let cr =
        "-cmd cr -cert 1.pem -key 1.key -trusted pki/root.pem -newkey 2.key -subject /CN=CS-1 -certout 2.pem";
    lab.cmp(&server, cr).unwrap();
    lab.verify("2.pem");
}

#[test]
fn openssl_gets_its_implicit_confirmation_or_sends_a_cert_conf() {
    let lab = Lab::new();
    for (mode, expects_cert_conf) in [("grant", false), ("ignore", true)] {
        let server = lab.serve(&format!("--implicit-confirm {mode}"));
        let said = lab
            .enroll(&server, "1.key", "1.pem", "-implicit_confirm")
            .unwrap();
        assert_eq!(said.contains("sending CERTCONF"), expects_cert_conf, "{said}");
        lab.verify("1.pem");
    }
    assert_eq!(lab.certificates("confirmed"), 2);
}

#[test]
fn openssl_polls_for_a_delayed_certificate() {
    let lab = Lab::new();
    let server = lab.serve("--poll-after 1,1");
    let said = lab.enroll(&server, "1.key", "1.pem", "").unwrap();
    assert!(said.contains("received POLLREP"), "{said}");
    lab.verify("1.pem");
}

#[test]
fn openssl_refuses_a_certificate_in_cert_conf_and_that_is_recorded() {
    let lab = Lab::new();
    let server = lab.serve("");
    // An anchor for new certificates that this one does not lead to.
    let said = lab.enroll(
        &server,
        "1.key",
        "1.pem",
        "-out_trusted pki/manufacturer-root.pem",
    );
    assert!(said.unwrap_err().contains("sending CERTCONF"));
    assert_eq!((lab.certificates("issued"), lab.certificates("refused")), (0, 1));
}

#[test]
fn a_wrong_secret_is_refused_with_bad_message_check() {
    let lab = Lab::new();
    let server = lab.serve("--secret r1:s3cret");
    lab.new_key("1.key");
    let ir = "-cmd ir -ref r1 -secret pass:wrong -newkey 1.key -subject /CN=CS-1 -certout 1.pem -unprotected_errors";
    let said = lab
        .cmp(&server, &format!("{ir} -trusted pki/root.pem"))
        .unwrap_err();
    assert!(
        said.contains("received ERROR") && !lab.path("1.pem").exists(),
        "{said}"
    );
    assert_eq!(lab.certificates("issued"), 0);
}

#[test]
fn a_manufacturer_certificate_of_elsewhere_is_refused_as_not_trusted() {
    let (lab, elsewhere) = (Lab::new(), Lab::new());
    let server = lab.serve("");
    lab.new_key("1.key");
    let station = elsewhere.path("station").display().to_string();
    let ir = format!(
        "-cmd ir -cert {station}/cert.pem -key {station}/key.pem -extracerts {station}/chain.pem \
         -trusted pki/root.pem -newkey 1.key -subject /CN=CS-1 -certout 1.pem"
    );
    let said = lab.cmp(&server, &ir).unwrap_err();
    assert!(said.contains("signerNotTrusted"), "{said}");
}

#[test]
fn openssl_does_not_trust_the_ra_under_another_root() {
    let (lab, elsewhere) = (Lab::new(), Lab::new());
    let server = lab.serve("");
    let root = elsewhere.path("pki/root.pem").display().to_string();
    lab.new_key("1.key");
    let ir = format!(
        "-cmd ir -cert station/cert.pem -key station/key.pem -extracerts station/chain.pem -trusted {root} \
         -newkey 1.key -subject /CN=CS-1 -certout 1.pem"
    );
    lab.cmp(&server, &ir).unwrap_err();
    assert!(!lab.path("1.pem").exists());
}

#[test]
fn a_person_grants_one_request_and_denies_another_while_openssl_polls() {
    let lab = Lab::new();
    let server = lab.serve("--approve person --poll-after 0,1");
    for (name, command, is_granted) in [("1", "approve", true), ("2", "deny", false)] {
        let said = thread::scope(|scope| {
            let (key, certificate) = (format!("{name}.key"), format!("{name}.pem"));
            let client = scope.spawn({
                let (lab, server) = (&lab, &server);
                move || lab.enroll(server, &key, &certificate, "")
            });
            let number = lab.first_pending();
            lab.lab_ra(&format!("{command} --state pki {number}"));
            client.join().unwrap()
        });
        match is_granted {
            true => drop(said.unwrap()),
            false => assert!(said.unwrap_err().contains("the request was denied")),
        }
    }
    lab.verify("1.pem");
    assert_eq!(lab.certificates("confirmed"), 1);
}

#[test]
fn a_certificate_is_revoked_while_the_server_runs_and_its_update_is_refused() {
    let lab = Lab::new();
    let server = lab.serve("");
    lab.enroll(&server, "1.key", "1.pem", "").unwrap();
    let text = lab.run("openssl", "x509 -in 1.pem -noout -serial").stdout;
    let serial = String::from_utf8(text).unwrap();
    let serial = serial.trim().strip_prefix("serial=").unwrap();
    lab.lab_ra(&format!(
        "revoke --state pki --serial {serial} --reason keyCompromise"
    ));
    lab.new_key("2.key");
    let kur = "-cmd kur -cert 1.pem -key 1.key -trusted pki/root.pem -newkey 2.key -certout 2.pem";
    assert!(lab.cmp(&server, kur).unwrap_err().contains("certRevoked"));
    lab.lab_ra("crl --state pki --out crl.pem");
    let verify = "verify -crl_check -CAfile pki/root.pem -untrusted pki/ca.pem -CRLfile crl.pem 1.pem";
    let output = lab.run("openssl", verify);
    assert!(String::from_utf8_lossy(&output.stderr).contains("certificate revoked"));
}

#[test]
fn a_first_certificate_is_made_once_and_authenticates() {
    let config = "[initial]\nsubject = \"CN=CS-1\"\nout = \"first\"\n";
    for options in [
        "--config lab-ra.toml",
        "--initial first --initial-subject CN=CS-1",
    ] {
        let lab = Lab::new();
        fs::write(lab.path("lab-ra.toml"), config).unwrap();
        let server = lab.serve(options);
        drop(server);
        let server = lab.serve(options);
        assert_eq!(lab.certificates("confirmed"), 1);
        lab.verify("first/cert.pem");
        lab.new_key("2.key");
        let cr = "-cmd cr -cert first/cert.pem -key first/key.pem -trusted pki/root.pem -newkey 2.key \
                  -subject /CN=CS-1 -certout 2.pem";
        lab.cmp(&server, cr).unwrap();
        lab.verify("2.pem");
    }
}

#[test]
fn manufacturers_and_ras_of_elsewhere_are_trusted_by_file_or_by_option_and_not_otherwise() {
    let config = "manufacturers = [\"elsewhere/manufacturer-root.pem\"]\nregistration_authorities = [\"elsewhere/ca.pem\"]\n";
    let lab = Lab::new();
    fs::write(lab.path("lab-ra.toml"), config).unwrap();
    lab.lab_ra("init --state elsewhere");
    lab.lab_ra("issue-idevid --state elsewhere --serial CS-9 --out device");
    lab.lab_ra("issue --state elsewhere --subject CN=RA --ra --out ra");
    lab.new_key("1.key");
    let enroll = "-cmd ir -trusted pki/root.pem -newkey 1.key -subject /CN=CS-9 -certout 1.pem";
    let device = "-cert device/cert.pem -key device/key.pem -extracerts device/chain.pem";
    let ra = "-cert ra/cert.pem -key ra/key.pem";
    let options = "--manufacturer elsewhere/manufacturer-root.pem --trusted-ra elsewhere/ca.pem";
    for (options, is_trusted) in [("", false), ("--config lab-ra.toml", true), (options, true)] {
        let server = lab.serve(options);
        for said in [
            lab.cmp(&server, &format!("{enroll} {device}")),
            // Only an RA vouches for a proof of possession.
            lab.cmp(&server, &format!("{enroll} {ra} -popo 0")),
        ] {
            match is_trusted {
                true => drop(said.unwrap()),
                false => assert!(said.unwrap_err().contains("signerNotTrusted")),
            }
        }
        if is_trusted {
            let rr = format!("-cmd rr {ra} -trusted pki/root.pem -oldcert 1.pem -revreason 5");
            assert!(lab.cmp(&server, &rr).unwrap().contains("revocation accepted"));
        }
    }
    assert_eq!(
        (lab.certificates("confirmed"), lab.certificates("revoked")),
        (2, 2)
    );
}

#[test]
fn options_go_before_the_configuration_file() {
    let lab = Lab::new();
    let config = "implicit_confirm = \"ignore\"\n[[secret]]\nreference = \"r1\"\nvalue = \"s3cret\"\n";
    fs::write(lab.path("lab-ra.toml"), config).unwrap();
    for (options, expects_cert_conf) in [("", true), ("--implicit-confirm grant", false)] {
        let server = lab.serve(&format!("--config lab-ra.toml {options}"));
        lab.new_key("1.key");
        let ir = format!("-cmd ir {SECRET} -newkey 1.key -subject /CN=CS-1 -certout 1.pem -implicit_confirm");
        let said = lab.cmp(&server, &ir).unwrap();
        assert_eq!(said.contains("sending CERTCONF"), expects_cert_conf, "{said}");
    }
}

#[test]
fn the_server_goes_on_after_a_restart_and_ends_cleanly() {
    let lab = Lab::new();
    let server = lab.serve("");
    lab.enroll(&server, "1.key", "1.pem", "").unwrap();
    assert!(server.terminate().success());
    let server = lab.serve("");
    lab.new_key("2.key");
    let kur = "-cmd kur -cert 1.pem -key 1.key -trusted pki/root.pem -newkey 2.key -certout 2.pem";
    lab.cmp(&server, kur).unwrap();
    assert!(server.terminate().success());
}

#[test]
fn failures_have_exit_codes() {
    let lab = Lab::new();
    let code = |arguments: &str| lab.run(env!("CARGO_BIN_EXE_lab-ra"), arguments).status.code();
    assert_eq!(code("init --state pki"), Some(3));
    assert_eq!(code("issue-idevid --state nowhere --serial 1 --out x"), Some(3));
    assert_eq!(code("issue-idevid --state pki --serial _ --out x"), Some(2));
    for wrong in [
        "--poll-after 1",
        "--poll-after 1,0",
        "--poll-after 1,31536001",
        "--initial first",
        "--initial-subject CN=CS-1",
        "--secret r1",
        "--manufacturer nowhere.pem",
        "--trusted-ra pki/ca-key.pem",
    ] {
        let serve = format!("serve --state pki --listen 127.0.0.1:0 {wrong}");
        assert_eq!(code(&serve), Some(2), "{wrong}");
    }
    assert_eq!(code("serve --state pki --listen 192.0.2.1:1"), Some(4));
    assert_eq!(code("serve --state pki --listen 127.0.0.1:0 --delay ip"), Some(2));
    fs::write(lab.path("wrong.toml"), "nonsense = 1").unwrap();
    assert_eq!(
        code("serve --state pki --listen 127.0.0.1:0 --config wrong.toml"),
        Some(2)
    );
    assert_eq!(code("revoke --state pki --serial 4"), Some(2));
    assert_eq!(code("revoke --state pki --serial 41"), Some(5));
    assert_eq!(code("revoke --state pki --serial 41 --reason because"), Some(2));
    assert_eq!(code("approve --state pki 1"), Some(5));
    assert_eq!(code("deny --state pki 1"), Some(5));
    assert_eq!(code("crl --state pki --out crl.pem --generation 2"), Some(5));
    assert_eq!(code("certificates --state station"), Some(3));
    assert!(!lab.path("station/state.sqlite").exists());
}
