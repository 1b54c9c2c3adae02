//! `charger-sim station`, and what it leaves behind.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::openssl::{self, Pki, SECRET};
use crate::programs::{LabRa, path};
use crate::{Finished, Program, arg};

/// A station with a state folder of its own.
pub struct Station {
    dir: tempfile::TempDir,
    credential: Vec<String>,
    trust: Option<String>,
}

impl Station {
    /// One that has a manufacturer certificate of `lab`.
    #[must_use]
    pub fn of_lab(lab: &LabRa, serial: &str) -> Self {
        let idevid = lab.idevid(serial);
        let file = |name: &str| arg(idevid.join(name));
        let own = [
            "--cert",
            &file("cert.pem"),
            "--key",
            &file("key.pem"),
            "--chain",
            &file("chain.pem"),
        ];
        Self::new(&own, lab.file("root.pem"))
    }

    /// One that has the manufacturer certificate `NAME.crt` of a PKI of OpenSSL's.
    #[must_use]
    pub fn of_pki(pki: &Pki, name: &str) -> Self {
        let (cert, key) = (pki.file(&format!("{name}.crt")), pki.file(&format!("{name}.key")));
        Self::new(&["--cert", &cert, "--key", &key], pki.file("root.crt"))
    }

    /// One that has a shared secret; `trust` is its anchor.
    #[must_use]
    pub fn with_secret(value: &str, trust: String) -> Self {
        Self::new(&["--secret", &format!("{}:{value}", SECRET.0)], trust)
    }

    fn new(credential: &[&str], trust: String) -> Self {
        let credential = credential.iter().map(|part| (*part).to_owned()).collect();
        Self {
            dir: crate::folder(),
            credential,
            trust: Some(trust),
        }
    }

    /// The same station, but with another anchor.
    #[must_use]
    pub fn trusting(mut self, anchor: String) -> Self {
        self.trust = Some(anchor);
        self
    }

    /// The same station, started without an anchor.
    #[must_use]
    pub fn trusting_what_it_has(mut self) -> Self {
        self.trust = None;
        self
    }

    /// Starts it at a CSMS, with operations as one word: `enroll,csr FILE,update`.
    #[must_use]
    pub fn start(&self, csms: &str, operations: &str, options: &[&str]) -> Program {
        let (state, report) = (arg(self.state()), arg(self.report_path()));
        // The report of an earlier run is none of this one.
        let _ = fs::remove_file(&report);
        let mut arguments = vec!["station", "--csms", csms, "--id", "CS-1", "--state", &state];
        if let Some(trust) = &self.trust {
            arguments.extend(["--trust", trust]);
        }
        arguments.extend(self.credential.iter().map(String::as_str));
        arguments.extend([
            "--subject",
            "CN=CS-1,O=Operator",
            "--recipient",
            "CN=Test RA,O=Operator",
            "--report",
            &report,
        ]);
        arguments.extend_from_slice(options);
        arguments.push(operations);
        Program::start(&path("charger-sim"), &arguments)
    }

    /// Runs it to its end; what it said and its report.
    #[track_caller]
    #[must_use]
    pub fn run(&self, csms: &str, operations: &str, options: &[&str]) -> (Finished, Value) {
        let finished = self.start(csms, operations, options).finish();
        let report = self.report(&finished);
        (finished, report)
    }

    /// Runs it to its good end; its report.
    #[track_caller]
    #[must_use]
    pub fn succeeds(&self, csms: &str, operations: &str, options: &[&str]) -> Value {
        let (finished, report) = self.run(csms, operations, options);
        assert_eq!(finished.code, Some(0), "{}\n{report:#}", finished.output);
        assert_eq!(report["ok"], true, "{report:#}");
        let steps = report["steps"].as_array().unwrap();
        assert!(
            !steps.is_empty() && steps.iter().all(|step| step["ok"] == true),
            "{report:#}"
        );
        report
    }

    /// Runs it to its bad end, which must be told with `text`, by exit code 1 and in the report.
    #[track_caller]
    pub fn fails(&self, csms: &str, operations: &str, text: &str) {
        self.fails_with(csms, operations, &[], text);
    }

    /// As [`Self::fails`], with options.
    #[track_caller]
    pub fn fails_with(&self, csms: &str, operations: &str, options: &[&str], text: &str) {
        let (finished, report) = self.run(csms, operations, options);
        let finished = finished.failure(1, text);
        assert_eq!(report["ok"], false, "{report:#}");
        assert!(
            report.to_string().contains(text),
            "nothing of {text:?} in {report:#}\n{}",
            finished.output
        );
    }

    /// Runs it where it cannot begin, which must be told with `text`, by exit code 2.
    #[track_caller]
    pub fn refuses(&self, operations: &str, options: &[&str], text: &str) {
        // Nobody listens there: it is not asked.
        let finished = self.start("ws://127.0.0.1:9/ocpp", operations, options).finish();
        let _ = finished.failure(2, text);
    }

    /// The report of a run that has ended.
    #[track_caller]
    #[must_use]
    pub fn report(&self, finished: &Finished) -> Value {
        let text = fs::read_to_string(self.report_path())
            .unwrap_or_else(|e| panic!("no report: {e}\n{}", finished.output));
        serde_json::from_str(&text).unwrap()
    }

    /// The state folder.
    #[must_use]
    pub fn state(&self) -> std::path::PathBuf {
        self.dir.path().join("state")
    }

    fn report_path(&self) -> std::path::PathBuf {
        self.dir.path().join("report.json")
    }

    /// The certificate in use.
    #[must_use]
    pub fn certificate(&self) -> String {
        arg(self.state().join("current/cert.pem"))
    }

    /// The certificate in use as bytes; `None` if there is none.
    #[must_use]
    pub fn certificate_bytes(&self) -> Option<Vec<u8>> {
        fs::read(self.certificate()).ok()
    }

    /// The certificate in use chains to `root`, has the subject that was asked for and belongs to the key in use.
    #[track_caller]
    pub fn check_certificate(&self, root: &str) {
        assert_eq!(openssl::subject(&self.certificate()), "CN=CS-1,O=Operator");
        self.check_credential(root);
    }

    /// The certificate in use chains to `root` and belongs to the key in use.
    #[track_caller]
    pub fn check_credential(&self, root: &str) {
        let current = self.state().join("current");
        openssl::verify(root, &arg(current.join("chain.pem")), &self.certificate());
        let key = arg(current.join("key.pem"));
        assert_eq!(
            openssl::public_key_of_certificate(&self.certificate()),
            openssl::public_key_of_key(&key)
        );
        check_modes(&current);
    }
}

/// The detail of the step of this name in a report.
#[must_use]
#[track_caller]
pub fn detail<'a>(report: &'a Value, name: &str) -> &'a Value {
    let steps = report["steps"].as_array().unwrap();
    let step = steps.iter().find(|step| step["name"] == name);
    &step.unwrap_or_else(|| panic!("no step {name} in {report:#}"))["detail"]
}

/// Credentials are for their owner alone.
#[track_caller]
fn check_modes(folder: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600,
            "{}",
            path.display()
        );
    }
}
