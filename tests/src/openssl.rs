//! OpenSSL's command line as CMP client, CMP server and CA.

use std::fs;
use std::path::{Path, PathBuf};

use cmp_message::{PkiBody, PkiMessage};

use crate::http::{Door, post};
use crate::{Finished, Program, arg, here, run};

/// A throw-away PKI of `fixtures/make-pki.sh`.
pub struct Pki {
    dir: tempfile::TempDir,
}

/// How the two sides of a CMP transaction authenticate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protection {
    /// ECDSA, each with its certificate.
    Signature,
    /// A shared secret: reference 4711, value hunter2.
    Secret,
}

/// Reference and value of [`Protection::Secret`].
pub const SECRET: (&str, &str) = ("4711", "hunter2");

impl Pki {
    /// Makes a new one.
    #[must_use]
    pub fn make() -> Self {
        let dir = crate::folder();
        let script = arg(here().join("fixtures/make-pki.sh"));
        let _ = run("bash", &[&script, &arg(dir.path())]).success();
        Self { dir }
    }

    /// A file of it, such as `root.crt`.
    #[must_use]
    pub fn file(&self, name: &str) -> String {
        arg(self.dir.path().join(name))
    }

    /// Its folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Starts `openssl cmp -port` as RA, which issues `rsp_cert` to everybody, with further options.
    #[must_use]
    pub fn mock_server(&self, rsp_cert: &str, options: &[&str]) -> MockServer {
        let (ra_crt, ra_key) = (self.file("ra.crt"), self.file("ra.key"));
        let (issuing, mfrroot) = (self.file("issuing.crt"), self.file("mfrroot.crt"));
        let trusted = format!("{},{mfrroot}", self.file("root.crt"));
        let pass = format!("pass:{}", SECRET.1);
        let mut arguments = vec![
            "cmp",
            "-config",
            "",
            "-port",
            "0",
            "-srv_cert",
            &ra_crt,
            "-srv_key",
            &ra_key,
            "-srv_trusted",
            &trusted,
            "-srv_untrusted",
            &issuing,
            "-srv_ref",
            SECRET.0,
            "-srv_secret",
            &pass,
            "-rsp_cert",
            rsp_cert,
            "-rsp_extracerts",
            &issuing,
        ];
        arguments.extend_from_slice(options);
        let program = Program::start("openssl", &arguments);
        let line = program.wait_line("ACCEPT ");
        let port = line
            .split_whitespace()
            .nth(1)
            .unwrap()
            .rsplit(':')
            .next()
            .unwrap()
            .to_owned();
        MockServer {
            address: format!("localhost:{port}"),
            _program: program,
        }
    }

    /// An RA that really issues: for each ir, cr or kur a certificate for the key asked for, handed out by a mock
    /// server of its own. What passes the door is what OpenSSL's server reads and writes.
    #[must_use]
    pub fn issuing_server(self: &std::sync::Arc<Self>, options: &'static [&'static str]) -> Door {
        let pki = self.clone();
        let mut server = None;
        let mut count = 0;
        Door::open(move |request| {
            if let Some(wish) = requested(request) {
                count += 1;
                let certificate = pki.issue(&format!("issued-{count}"), &wish);
                server = Some(pki.mock_server(&certificate, options));
            }
            let server: &MockServer = server
                .as_ref()
                .expect("a first message that asks for a certificate");
            Some(post(&server.address, "/pkix/", request).unwrap())
        })
    }

    fn issue(&self, name: &str, wish: &Wish) -> String {
        let (spki, pem, out) = (
            self.dir.path().join("spki.der"),
            self.file("spki.pem"),
            self.file(&format!("{name}.crt")),
        );
        fs::write(&spki, &wish.public_key).unwrap();
        let _ = run(
            "openssl",
            &[
                "pkey",
                "-pubin",
                "-inform",
                "DER",
                "-in",
                &arg(&spki),
                "-out",
                &pem,
            ],
        )
        .success();
        let (ca, ca_key, extensions) = (
            self.file("issuing.crt"),
            self.file("issuing.key"),
            self.file("ee.ext"),
        );
        let text = "basicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature\n\
                    subjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n";
        fs::write(&extensions, text).unwrap();
        let (csr, any_key) = (self.file("any.csr"), self.file("newkey.key"));
        let _ = run(
            "openssl",
            &[
                "req",
                "-new",
                "-key",
                &any_key,
                "-subj",
                &wish.subject,
                "-out",
                &csr,
            ],
        )
        .success();
        // OpenSSL's mock server takes a kur only if the certificate that it hands out has the serial number of the old.
        let serial = wish.old_serial.as_ref().map(|serial| format!("0x{serial}"));
        let mut arguments = vec![
            "x509",
            "-req",
            "-in",
            &csr,
            "-force_pubkey",
            &pem,
            "-CA",
            &ca,
            "-CAkey",
            &ca_key,
            "-days",
            "90",
            "-extfile",
            &extensions,
            "-out",
            &out,
        ];
        if let Some(serial) = &serial {
            arguments.extend(["-set_serial", serial]);
        }
        let _ = run("openssl", &arguments).success();
        out
    }
}

/// What a certificate is asked for with.
struct Wish {
    /// DER of the SubjectPublicKeyInfo.
    public_key: Vec<u8>,
    /// As OpenSSL writes it: `/CN=…`.
    subject: String,
    /// Of the certificate that is updated, in hexadecimal.
    old_serial: Option<String>,
}

/// What a message asks for, if it asks for a certificate.
fn requested(message: &[u8]) -> Option<Wish> {
    let message = PkiMessage::from_bytes(message).ok()?;
    let (PkiBody::Ir(requests) | PkiBody::Cr(requests) | PkiBody::Kur(requests)) = &*message.body else {
        return None;
    };
    let request = requests.first()?;
    let subject = request.cert_req.cert_template.subject.as_ref()?.to_string();
    let mut parts: Vec<_> = subject.split(',').collect();
    parts.reverse();
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let old = request
        .cert_req
        .old_cert_id()
        .map(|id| id.expect("an oldCertId that can be read"));
    Some(Wish {
        public_key: request.public_key_der()?.ok()?,
        subject: format!("/{}", parts.join("/")),
        old_serial: old.map(|id| hex(id.serial_number.as_bytes())),
    })
}

/// A running `openssl cmp -port`.
pub struct MockServer {
    /// `HOST:PORT`.
    pub address: String,
    _program: Program,
}

/// Runs `openssl cmp` as a client of `server`, its messages kept in `dir` as `req.N` and `rsp.N`.
#[must_use]
pub fn client(server: &str, dir: &Path, messages: usize, options: &[&str]) -> Finished {
    let names =
        |kind: &str| -> Vec<PathBuf> { (1..=messages).map(|n| dir.join(format!("{kind}.{n}"))).collect() };
    let list = |kind: &str| names(kind).iter().map(arg).collect::<Vec<_>>().join(",");
    let (requests, responses) = (list("req"), list("rsp"));
    let mut arguments = vec![
        "cmp",
        "-config",
        "",
        "-batch",
        "-server",
        server,
        "-msg_timeout",
        "60",
        "-reqout",
        &requests,
        "-rspout",
        &responses,
    ];
    arguments.extend_from_slice(options);
    run("openssl", &arguments)
}

/// What [`client`] kept: requests with their responses.
#[must_use]
pub fn kept(dir: &Path) -> Vec<(Vec<u8>, Vec<u8>)> {
    (1..)
        .map_while(|n| {
            let read = |kind: &str| fs::read(dir.join(format!("{kind}.{n}"))).ok();
            Some((read("req")?, read("rsp")?))
        })
        .collect()
}

/// Whether `certificate` chains to `root` over `intermediate`, by OpenSSL's judgement.
#[track_caller]
pub fn verify(root: &str, intermediate: &str, certificate: &str) {
    let _ = run(
        "openssl",
        &[
            "verify",
            "-x509_strict",
            "-CAfile",
            root,
            "-untrusted",
            intermediate,
            certificate,
        ],
    )
    .success();
}

/// The subject of a certificate in a PEM file, in the style of RFC 2253.
#[must_use]
pub fn subject(certificate: &str) -> String {
    let output = run(
        "openssl",
        &[
            "x509",
            "-in",
            certificate,
            "-noout",
            "-subject",
            "-nameopt",
            "RFC2253",
        ],
    )
    .success()
    .output;
    output.trim().trim_start_matches("subject=").to_owned()
}

/// The public key of a certificate in a PEM file.
#[must_use]
pub fn public_key_of_certificate(certificate: &str) -> String {
    run("openssl", &["x509", "-in", certificate, "-noout", "-pubkey"])
        .success()
        .output
}

/// The public key of a private key in a PEM file.
#[must_use]
pub fn public_key_of_key(key: &str) -> String {
    run("openssl", &["pkey", "-in", key, "-pubout"]).success().output
}
