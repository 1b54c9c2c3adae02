//! `openssl cmp` as end entity, and its mock server as CA.

use super::*;

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
