//! The bridge as a process, which can be killed.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use ocpp_rpc::Version;
use tempfile::TempDir;

use super::Station;

/// `csms-bridge serve` with a store in a folder.
pub struct Program {
    child: Child,
    base: String,
}

impl Program {
    /// `target` is what the route `default` leads to.
    pub fn start(dir: &TempDir, target: &str, options: &[&str]) -> Self {
        let store = dir.path().join("store");
        let mut child = Command::new(env!("CARGO_BIN_EXE_csms-bridge"))
            .args([
                "serve",
                "--listen",
                "127.0.0.1:0",
                "--route",
                &format!("default={target}"),
            ])
            .arg("--store")
            .arg(store)
            .args(options)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        stdout.read_line(&mut line).unwrap();
        let address = line.strip_prefix("listening on ").expect("it did not start");
        Self {
            base: format!("ws://{}/ocpp", address.trim_end()),
            child,
        }
    }

    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub async fn station(&self) -> Station {
        Station::connect_to(&self.base, "CS1", Version::V2_0_1)
            .await
            .unwrap()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
