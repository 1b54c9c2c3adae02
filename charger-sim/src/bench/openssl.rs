//! OpenSSL's client and mock server on the same hierarchy, which issue nothing: what an enrolment is held against.

use std::{
    fs,
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context, bail};
use lab_ra::{Credential, Pki};
use tempfile::TempDir;

/// `openssl cmp` with the files that it needs.
pub(super) struct Openssl {
    folder: TempDir,
}

impl Openssl {
    pub(super) fn new(pki: &Pki, idevid: &Credential) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        pki.save(folder.path())?;
        idevid.save(folder.path())?;
        Ok(Self { folder })
    }

    /// CPU time of `count` enrolments by client and mock server in one process.
    pub(super) fn cpu_time(&self, count: u32) -> anyhow::Result<Duration> {
        let before = children_time()?;
        // The same anchors on both sides as here, and the certificate at hand for an answer.
        let arguments = "cmp -batch -use_mock_srv -partial_chain -cmd ir -recipient /CN=RA -subject /CN=CP-BENCH \
        -srv_cert ra.pem -srv_key ra-key.pem -srv_untrusted ca.pem -srv_trusted manufacturer-ca.pem \
        -rsp_cert cert.pem -cert cert.pem -key key.pem -newkey key.pem -trusted root.pem -certout /dev/null";
        let status = Command::new("openssl")
            .args(arguments.split_whitespace())
            .args(["-config", "", "-repeat", &count.to_string()])
            .current_dir(self.folder.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .context("openssl")?;
        if !status.success() {
            bail!("openssl cmp: {status}");
        }
        Ok(children_time()?.saturating_sub(before))
    }
}

/// The CPU time of the processes that this one has waited for: fields 16 and 17 of proc(5)'s stat, in 1/100 s.
fn children_time() -> anyhow::Result<Duration> {
    let path = "/proc/self/stat";
    let text = fs::read_to_string(path).context(path)?;
    let fields = text.rsplit(')').next().unwrap_or_default().split_whitespace();
    let ticks = fields
        .skip(13)
        .take(2)
        .map(str::parse::<u64>)
        .collect::<Result<Vec<_>, _>>()
        .context(path)?;
    Ok(Duration::from_millis(ticks.iter().sum::<u64>() * 10))
}
