//! What else `openssl cmp` can be told, and what becomes of it here.

use super::*;

const STATION: &str = "-cmd ir -cert station/cert.pem -key station/key.pem -extracerts station/chain.pem \
                       -trusted pki/root.pem -newkey 1.key -subject /CN=CS-1 -certout 1.pem";

impl Lab {
    /// A lab in which a station has a key to enrol.
    fn with_key() -> Self {
        let lab = Self::new();
        lab.new_key("1.key");
        lab
    }

    /// What `openssl x509` says of a certificate.
    fn x509(&self, certificate: &str, options: &str) -> String {
        let output = self.run("openssl", &format!("x509 -in {certificate} -noout {options}"));
        String::from_utf8(output.stdout).unwrap()
    }

    fn reason_on_crl(&self) -> String {
        self.lab_ra("crl --state pki --out crl.pem");
        let output = self.run("openssl", "crl -in crl.pem -noout -text");
        String::from_utf8(output.stdout).unwrap()
    }
}

#[test]
fn what_a_template_asks_for_is_in_the_certificate_or_the_answer_says_that_it_is_not() {
    let lab = Lab::with_key();
    let server = lab.serve("");
    let extensions = "[wanted]\nkeyUsage = critical, digitalSignature, keyAgreement\nextendedKeyUsage = clientAuth\n\
                      [policies]\ncertificatePolicies = 1.2.3.4\n";
    fs::write(lab.path("request.cnf"), extensions).unwrap();
    let asked = "-config request.cnf -reqexts wanted -sans cs-1.example,10.0.0.1 -days 10";
    let said = lab.cmp(&server, &format!("{STATION} {asked}")).unwrap();
    assert!(!said.contains("grantedWithMods"), "{said}");
    let text = lab.x509("1.pem", "-text");
    for wanted in [
        "DNS:cs-1.example, IP Address:10.0.0.1",
        "Digital Signature, Key Agreement",
        "TLS Web Client",
    ] {
        assert!(text.contains(wanted), "{wanted} in {text}");
    }
    let in_time = |seconds: u32| {
        lab.run("openssl", &format!("x509 -in 1.pem -noout -checkend {seconds}"))
            .status
    };
    assert!(in_time(9 * 86_400).success() && !in_time(10 * 86_400).success());
    for unwanted in ["-days 4000", "-policy_oids 1.2.3.4"] {
        let said = lab.cmp(&server, &format!("{STATION} {unwanted}")).unwrap();
        assert!(said.contains("grantedWithMods"), "{unwanted}: {said}");
    }
    let critical = format!("{STATION} -policy_oids 1.2.3.4 -policy_oids_critical");
    assert!(
        lab.cmp(&server, &critical)
            .unwrap_err()
            .contains("unacceptedExtension")
    );
}

#[test]
fn a_proof_of_possession_that_is_missing_or_not_for_a_station_is_refused() {
    let lab = Lab::with_key();
    let server = lab.serve("");
    for (popo, expected) in [("-1", "badPOP"), ("0", "notAuthorized"), ("2", "badPOP")] {
        let said = lab.cmp(&server, &format!("{STATION} -popo {popo}")).unwrap_err();
        assert!(said.contains(expected), "{popo}: {said}");
    }
    assert!(!lab.path("1.pem").exists());
}

#[test]
fn a_request_without_protection_is_refused() {
    let lab = Lab::with_key();
    let server = lab.serve("");
    let ir =
        "-cmd ir -unprotected_requests -trusted pki/root.pem -newkey 1.key -subject /CN=CS-1 -certout 1.pem";
    assert!(lab.cmp(&server, ir).unwrap_err().contains("badMessageCheck"));
    lab.enroll(&server, "1.key", "1.pem", "").unwrap();
    let rr = "-cmd rr -unprotected_requests -cert 1.pem -key 1.key -trusted pki/root.pem -oldcert 1.pem";
    assert!(lab.cmp(&server, rr).unwrap_err().contains("badMessageCheck"));
    assert_eq!(lab.certificates("confirmed"), 1);
}

#[test]
fn a_csr_and_an_old_certificate_say_what_the_request_is_like() {
    let lab = Lab::with_key();
    let server = lab.serve("");
    let csr =
        "req -new -key 1.key -subj /CN=CS-1/O=Operator -addext subjectAltName=DNS:cs-1.example -out 1.csr";
    assert!(lab.run("openssl", csr).status.success());
    // An ir made of a CSR: the proof is a signature with its key all the same.
    let station = STATION.replace("-subject /CN=CS-1 ", "");
    lab.cmp(&server, &format!("{station} -csr 1.csr")).unwrap();
    assert!(
        lab.x509("1.pem", "-subject -ext subjectAltName")
            .contains("DNS:cs-1.example")
    );
    assert!(lab.x509("1.pem", "-subject").contains("O = Operator"));
    // A kur with -oldcert is signed with another certificate: that is no update by its holder.
    lab.enroll(&server, "2.key", "2.pem", "").unwrap();
    lab.new_key("3.key");
    let kur = "-cmd kur -cert 2.pem -key 2.key -trusted pki/root.pem -newkey 3.key -certout 3.pem";
    let said = lab.cmp(&server, &format!("{kur} -oldcert 1.pem")).unwrap_err();
    assert!(said.contains("badCertId"), "{said}");
    lab.cmp(&server, &format!("{kur} -oldcert 2.pem")).unwrap();
    lab.verify("3.pem");
}

#[test]
fn every_reason_of_a_revocation_is_on_the_crl_and_a_hold_ends() {
    let lab = Lab::new();
    let server = lab.serve("");
    let reasons = [
        ("-1", ""),
        ("0", ""),
        ("1", "Key Compromise"),
        ("2", "CA Compromise"),
        ("3", "Affiliation Changed"),
        ("4", "Superseded"),
        ("5", "Cessation Of Operation"),
        ("6", "Certificate Hold"),
        ("9", "Privilege Withdrawn"),
        ("10", "AA Compromise"),
    ];
    for (code, text) in reasons {
        lab.enroll(&server, "1.key", "1.pem", "").unwrap();
        let rr = "-cmd rr -cert 1.pem -key 1.key -trusted pki/root.pem -oldcert 1.pem";
        lab.cmp(&server, &format!("{rr} -revreason {code}")).unwrap();
        assert!(lab.reason_on_crl().contains(text), "{code}");
        let again = lab.cmp(&server, &format!("{rr} -revreason 8"));
        match code {
            "6" => assert!(again.unwrap().contains("revocation accepted")),
            _ => assert!(again.unwrap_err().contains("certRevoked"), "{code}"),
        }
    }
    assert_eq!(
        (lab.certificates("revoked"), lab.certificates("confirmed")),
        (9, 1)
    );
}

#[test]
fn messages_that_are_sent_again_get_no_second_certificate() {
    let lab = Lab::with_key();
    let server = lab.serve("");
    lab.cmp(&server, &format!("{STATION} -reqout ir.der,certconf.der"))
        .unwrap();
    let said = lab
        .cmp(&server, &format!("{STATION} -reqin ir.der,certconf.der"))
        .unwrap_err();
    assert!(said.contains("transactionIdInUse"), "{said}");
    // With another transactionID the signature is not that of the message any more; OpenSSL signs it again.
    lab.cmp(&server, &format!("{STATION} -implicit_confirm -repeat 3"))
        .unwrap();
    assert_eq!(
        (lab.certificates("confirmed"), lab.certificates("issued")),
        (4, 0)
    );
}

#[test]
fn a_client_that_never_confirms_has_a_certificate_that_expires() {
    let lab = Lab::with_key();
    let server = lab.serve("--confirm-wait 0");
    lab.cmp(&server, &format!("{STATION} -disable_confirm")).unwrap();
    assert_eq!(lab.certificates("issued"), 1);
    // With the first message after the time is over.
    let count = || lab.certificates("expired");
    for _ in 0..200 {
        lab.cmp(&server, "-cmd genm -cert station/cert.pem -key station/key.pem -extracerts station/chain.pem -trusted pki/root.pem")
            .unwrap_err();
        if count() == 1 {
            break;
        }
    }
    assert_eq!(count(), 1);
}

#[test]
fn digests_macs_and_further_information_are_taken_as_the_client_likes() {
    let lab = Lab::with_key();
    let server = lab.serve("--secret r1:s3cret");
    for digest in ["sha256", "sha384", "sha512"] {
        lab.cmp(&server, &format!("{STATION} -digest {digest}")).unwrap();
    }
    assert!(
        lab.cmp(&server, &format!("{STATION} -digest sha1"))
            .unwrap_err()
            .contains("badAlg")
    );
    let secret = STATION.split(" -newkey ").last().unwrap();
    for options in [
        "-mac hmac-sha1",
        "-mac hmacWithSHA256",
        "-mac hmacWithSHA512",
        "-digest sha384",
        "-geninfo 1.2.3.4:int:7",
    ] {
        let said = lab.cmp(&server, &format!("-cmd ir {SECRET} -newkey {secret} {options}"));
        assert!(said.is_ok(), "{options}: {said:?}");
    }
    let pinned = format!("{STATION} -srvcert pki/ra.pem -extracertsout extra.pem")
        .replace("-trusted pki/root.pem", "");
    lab.cmp(
        &server,
        &format!("{pinned} -out_trusted pki/root.pem -untrusted pki/ca.pem"),
    )
    .unwrap();
    assert!(lab.path("extra.pem").exists());
}

#[test]
fn every_request_for_a_certificate_can_be_polled_for_on_any_kind_of_connection() {
    let lab = Lab::with_key();
    let server = lab.serve("--poll-after 1,1 --secret r1:s3cret");
    let polled = |arguments: &str| {
        let said = lab.cmp(&server, arguments).unwrap();
        assert!(said.contains("received POLLREP"), "{said}");
    };
    polled(&format!("{STATION} -keep_alive 0"));
    lab.new_key("2.key");
    let own = "-cert 1.pem -key 1.key -trusted pki/root.pem -newkey 2.key -certout 2.pem -keep_alive 2";
    polled(&format!("-cmd cr -subject /CN=CS-1 {own}"));
    polled(&format!("-cmd kur {own} -implicit_confirm"));
    let csr = "req -new -key 1.key -subj /CN=CS-2 -out 2.csr";
    assert!(lab.run("openssl", csr).status.success());
    polled(&format!(
        "-cmd p10cr {SECRET} -csr 2.csr -certout 3.pem -out_trusted pki/root.pem -untrusted pki/ca.pem"
    ));
    assert_eq!(lab.certificates("confirmed"), 4);
    // A client that has no time gives up, and its certificate is never made.
    let said = lab
        .cmp(&server, &format!("{STATION} -total_timeout 1"))
        .unwrap_err();
    assert!(said.contains("timeout"), "{said}");
    assert_eq!(lab.certificates("issued"), 0);
}

#[test]
fn a_general_message_is_answered_under_a_secret_too() {
    let lab = Lab::new();
    let server = lab.serve("--secret r1:s3cret");
    let said = lab
        .cmp(&server, &format!("-cmd genm {SECRET} -infotype caCerts"))
        .unwrap();
    assert!(said.contains("id-it-caCerts"), "{said}");
}

#[test]
fn paths_of_profiles_and_operations_are_taken_and_others_are_not_found() {
    let lab = Lab::with_key();
    fs::write(lab.path("lab-ra.toml"), "[profile.short]\ndays = 5\n").unwrap();
    let server = lab.serve("--config lab-ra.toml");
    let at = |path: &str| lab.cmp(&server, &format!("{STATION} -path {path}"));
    at(".well-known/cmp/p/short/initialization").unwrap();
    let lasts = |days: u32| {
        let arguments = format!("x509 -in 1.pem -noout -checkend {}", days * 86_400);
        lab.run("openssl", &arguments).status.success()
    };
    assert!(lasts(4) && !lasts(5));
    assert!(
        at(".well-known/cmp/certification")
            .unwrap_err()
            .contains("badRequest")
    );
    for path in [".well-known/cmp/p/long", "cmp"] {
        assert!(at(path).unwrap_err().contains("404"), "{path}");
    }
}
