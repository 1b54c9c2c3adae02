//! The programs of this workspace, and the peers in Python.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::{Finished, Program, arg, here, run};

/// The path of a program of the workspace, built from what is in the tree.
///
/// `tests/run.sh` has built all before and says so in `SYSTEM_TESTS_BUILT`.
#[must_use]
pub fn path(name: &str) -> String {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    let folder = FOLDER.get_or_init(|| {
        if env::var_os("SYSTEM_TESTS_BUILT").is_none() {
            let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
            let built = Command::new(cargo)
                .args(["build", "-q", "--workspace", "--all-features", "--bins"])
                .current_dir(here())
                .status();
            assert!(
                built.is_ok_and(|status| status.success()),
                "the programs do not build"
            );
        }
        // target/debug/deps/TEST
        let test = env::current_exe().unwrap();
        test.parent().and_then(|deps| deps.parent()).unwrap().to_owned()
    });
    let program = folder.join(name);
    assert!(program.exists(), "no program {}", program.display());
    arg(program)
}

/// `lab-ra` with a PKI of its own.
pub struct LabRa {
    dir: tempfile::TempDir,
}

impl LabRa {
    /// `lab-ra init`.
    #[must_use]
    pub fn init() -> Self {
        Self::with_profile("p256")
    }

    /// `lab-ra init` with this type of keys.
    #[must_use]
    pub fn with_profile(profile: &str) -> Self {
        let dir = crate::folder();
        let arguments = ["init", "--state", &arg(dir.path()), "--profile", profile];
        let _ = run(&path("lab-ra"), &arguments).success();
        Self { dir }
    }

    /// A file of its state folder.
    #[must_use]
    pub fn file(&self, name: &str) -> String {
        arg(self.dir.path().join(name))
    }

    /// `lab-ra issue-idevid`: the folder with cert.pem, key.pem and chain.pem.
    #[must_use]
    pub fn idevid(&self, serial: &str) -> PathBuf {
        let out = self.dir.path().join(format!("idevid-{serial}"));
        let state = arg(self.dir.path());
        let arguments = [
            "issue-idevid",
            "--state",
            &state,
            "--serial",
            serial,
            "--out",
            &arg(&out),
        ];
        let _ = run(&path("lab-ra"), &arguments).success();
        out
    }

    /// A command of `lab-ra` on its state folder.
    #[track_caller]
    pub fn command(&self, arguments: &[&str]) -> String {
        let state = arg(self.dir.path());
        let mut all = arguments.to_vec();
        all.extend(["--state", &state]);
        run(&path("lab-ra"), &all).success().output
    }

    /// `lab-ra issue --ra`: the folder of an RA that is to stand in front of this CA.
    #[must_use]
    pub fn issue_ra(&self, name: &str) -> PathBuf {
        let out = self.dir.path().join(format!("ra-{name}"));
        let subject = format!("CN={name}");
        self.command(&["issue", "--ra", "--subject", &subject, "--out", &arg(&out)]);
        out
    }

    /// `lab-ra serve --role ra` in the folder that [`issue_ra`](Self::issue_ra) made; it accepts what this CA accepts.
    #[must_use]
    pub fn serve_in_front(&self, folder: &Path, upstream: &str, options: &[&str]) -> Program {
        let (manufacturer, root) = (self.file("manufacturer-ca.pem"), self.file("root.pem"));
        let trust = ["--manufacturer", &manufacturer, "--upstream-signer", &root];
        serve_in_front(folder, upstream, &[&trust, options].concat())
    }

    /// `lab-ra spool`, once; how many messages it answered.
    #[must_use]
    pub fn answer_spool(&self, spool: &Path) -> usize {
        let (state, secret) = (arg(self.dir.path()), secret());
        let arguments = [
            "spool",
            "--state",
            &state,
            "--spool",
            &arg(spool),
            "--secret",
            &secret,
        ];
        let finished = run(&path("lab-ra"), &arguments).success();
        let line = finished
            .output
            .lines()
            .find_map(|line| line.strip_prefix("answered: "));
        line.unwrap().parse().unwrap()
    }

    /// Writes a file into the state folder, such as a configuration; its path.
    #[must_use]
    pub fn write(&self, name: &str, text: &str) -> String {
        let file = self.file(name);
        std::fs::write(&file, text).unwrap();
        file
    }

    /// `lab-ra serve` with further options; it accepts [`SECRET`](crate::openssl::SECRET).
    #[must_use]
    pub fn serve(&self, options: &[&str]) -> Program {
        let (state, secret) = (arg(self.dir.path()), secret());
        let mut arguments = vec![
            "serve",
            "--state",
            &state,
            "--listen",
            "127.0.0.1:0",
            "--secret",
            &secret,
        ];
        arguments.extend_from_slice(options);
        Program::start(&path("lab-ra"), &arguments)
    }
}

/// `lab-ra serve --role ra` in a folder with cert.pem, key.pem and chain.pem; it accepts
/// [`SECRET`](crate::openssl::SECRET).
#[must_use]
pub fn serve_in_front(folder: &Path, upstream: &str, options: &[&str]) -> Program {
    let (state, secret) = (arg(folder), secret());
    let mut arguments = vec![
        "serve",
        "--role",
        "ra",
        "--state",
        &state,
        "--upstream",
        upstream,
        "--secret",
        &secret,
    ];
    if !options.contains(&"--listen") {
        arguments.extend(["--listen", "127.0.0.1:0"]);
    }
    arguments.extend_from_slice(options);
    Program::start(&path("lab-ra"), &arguments)
}

fn secret() -> String {
    format!("{}:{}", crate::openssl::SECRET.0, crate::openssl::SECRET.1)
}

/// `csms-bridge serve` in front of an RA, with further options; without `--store` it remembers nothing.
#[must_use]
pub fn bridge(ra_url: &str, options: &[&str]) -> Program {
    let route = format!("default={ra_url}");
    let mut arguments = vec!["serve", "--route", &route];
    if !options.contains(&"--listen") {
        arguments.extend(["--listen", "127.0.0.1:0"]);
    }
    if !options.contains(&"--store") {
        arguments.extend(["--store", "memory"]);
    }
    arguments.extend_from_slice(options);
    Program::start(&path("csms-bridge"), &arguments)
}

/// The address of a bridge or of a CSMS as a station is told it.
#[must_use]
pub fn csms_url(bridge: &Program) -> String {
    format!("ws://{}/ocpp", bridge.address())
}

/// The Python of `tests/requirements.txt`, which `tests/run.sh` installs.
#[must_use]
pub fn python() -> String {
    let python = here().join(".venv/bin/python");
    assert!(
        python.exists(),
        "no Python environment: run `bash tests/run.sh style` once"
    );
    arg(python)
}

/// Starts a peer of `tests/peers`.
#[must_use]
pub fn peer(script: &str, options: &[&str]) -> Program {
    let script = arg(here().join("peers").join(script));
    let mut arguments = vec![script.as_str()];
    arguments.extend_from_slice(options);
    Program::start(&python(), &arguments)
}

/// Runs a peer of `tests/peers` to its end.
#[must_use]
pub fn run_peer(script: &str, options: &[&str]) -> Finished {
    peer(script, options).finish()
}
