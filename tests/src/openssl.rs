//! OpenSSL's command line as CMP client, CMP server and CA.

use std::fs;
use std::path::{Path, PathBuf};

use cmp_message::{CertReqMsg, PkiBody, PkiMessage};

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

    /// An RA that really issues: for each ir, cr, p10cr or kur a certificate for the key asked for, handed out by a mock
    /// server of its own, which also takes its revocation. What passes the door is what OpenSSL's server reads and writes.
    #[must_use]
    pub fn issuing_server(self: &std::sync::Arc<Self>, options: &'static [&'static str]) -> Door {
        let pki = self.clone();
        let mut server = None;
        let mut issued: Vec<String> = Vec::new();
        Door::open(move |request| {
            let certificate = match First::of(request) {
                Some(First::Certificate(wish)) => {
                    let certificate = pki.issue(&format!("issued-{}", issued.len()), &wish);
                    issued.push(certificate.clone());
                    Some(certificate)
                }
                Some(First::Revocation(serial)) => {
                    issued.iter().find(|file| serial_number(file) == serial).cloned()
                }
                Some(First::Question) => Some(pki.file("lc.crt")),
                None => None,
            };
            if let Some(certificate) = certificate {
                server = Some(pki.mock_server(&certificate, options));
            }
            let server: &MockServer = server.as_ref().expect("a first message");
            Some(post(&server.address, "/pkix/", request).unwrap())
        })
    }

    fn issue(&self, name: &str, wish: &Wish) -> String {
        let (ca, ca_key, extensions, out) = (
            self.file("issuing.crt"),
            self.file("issuing.key"),
            self.file("ee.ext"),
            self.file(&format!("{name}.crt")),
        );
        let text = "basicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature\n\
                    subjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n";
        fs::write(&extensions, text).unwrap();
        let (csr, pem) = (self.file("wish.csr"), self.file("wish.pem"));
        let mut arguments = vec![
            "x509", "-req", "-in", &csr, "-CA", &ca, "-CAkey", &ca_key, "-days", "90",
        ];
        arguments.extend(["-extfile", &extensions, "-out", &out]);
        let mut serial = None;
        match wish {
            Wish::Csr(der) => {
                fs::write(&csr, der).unwrap();
                arguments.extend(["-inform", "DER"]);
            }
            Wish::Template {
                public_key,
                subject,
                old_serial,
            } => {
                let (spki, any_key) = (self.dir.path().join("spki.der"), self.file("newkey.key"));
                fs::write(&spki, public_key).unwrap();
                let spki = arg(&spki);
                let _ = run(
                    "openssl",
                    &["pkey", "-pubin", "-inform", "DER", "-in", &spki, "-out", &pem],
                )
                .success();
                let _ = run(
                    "openssl",
                    &["req", "-new", "-key", &any_key, "-subj", subject, "-out", &csr],
                )
                .success();
                arguments.extend(["-force_pubkey", &pem]);
                // OpenSSL's mock server takes a kur only if the certificate that it hands out has the serial number of the
                // old.
                serial = old_serial.as_ref().map(|serial| format!("0x{serial}"));
            }
        }
        if let Some(serial) = &serial {
            arguments.extend(["-set_serial", serial]);
        }
        let _ = run("openssl", &arguments).success();
        out
    }
}

/// What a message asks for that begins a transaction.
enum First {
    Certificate(Wish),
    /// Of the certificate with this serial number.
    Revocation(String),
    /// A genm.
    Question,
}

/// What a certificate is asked for with.
enum Wish {
    Template {
        /// DER of the SubjectPublicKeyInfo.
        public_key: Vec<u8>,
        /// As OpenSSL writes it: `/CN=…`.
        subject: String,
        /// Of the certificate that is updated, in hexadecimal.
        old_serial: Option<String>,
    },
    /// DER of a PKCS #10 request.
    Csr(Vec<u8>),
}

impl First {
    fn of(message: &[u8]) -> Option<Self> {
        let message = PkiMessage::from_bytes(message).ok()?;
        Some(match &*message.body {
            PkiBody::Ir(requests) | PkiBody::Cr(requests) | PkiBody::Kur(requests) => {
                Self::Certificate(Wish::of(requests.first()?)?)
            }
            PkiBody::P10cr(csr) => Self::Certificate(Wish::Csr(csr.as_bytes().to_vec())),
            PkiBody::Rr(details) => {
                let serial = details.first()?.cert_details.serial_number.as_ref()?;
                Self::Revocation(hex(serial.as_bytes()))
            }
            PkiBody::Genm(_) => Self::Question,
            _ => return None,
        })
    }
}

impl Wish {
    fn of(request: &CertReqMsg) -> Option<Self> {
        let subject = request.cert_req.cert_template.subject.as_ref()?.to_string();
        let mut parts: Vec<_> = subject.split(',').collect();
        parts.reverse();
        let old = request
            .cert_req
            .old_cert_id()
            .map(|id| id.expect("an oldCertId that can be read"));
        Some(Self::Template {
            public_key: request.public_key_der()?.ok()?,
            subject: format!("/{}", parts.join("/")),
            old_serial: old.map(|id| hex(id.serial_number.as_bytes())),
        })
    }
}

/// In hexadecimal, without leading zeros.
fn hex(bytes: &[u8]) -> String {
    let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    digits.trim_start_matches('0').to_owned()
}

/// The serial number of a certificate in a PEM file, in hexadecimal without leading zeros.
#[must_use]
pub fn serial_number(certificate: &str) -> String {
    let output = run("openssl", &["x509", "-in", certificate, "-noout", "-serial"])
        .success()
        .output;
    let serial = output.trim().trim_start_matches("serial=").to_lowercase();
    serial.trim_start_matches('0').to_owned()
}

/// A running `openssl cmp -port`.
pub struct MockServer {
    /// `HOST:PORT`.
    pub address: String,
    _program: Program,
}

/// A key in `DIR/hsm.key` and a PKCS #10 request for it in `DIR/hsm.csr`, in PEM or DER, for O=Operator and CN=HSM-1.
#[must_use]
pub fn certification_request(dir: &Path, form: &str) -> (String, String) {
    let (key, csr) = (arg(dir.join("hsm.key")), arg(dir.join("hsm.csr")));
    let curve = [
        "ecparam",
        "-name",
        "prime256v1",
        "-genkey",
        "-noout",
        "-out",
        &key,
    ];
    let _ = run("openssl", &curve).success();
    let subject = "/O=Operator/CN=HSM-1";
    let request = [
        "req", "-new", "-key", &key, "-subj", subject, "-outform", form, "-out", &csr,
    ];
    let _ = run("openssl", &request).success();
    (key, csr)
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
