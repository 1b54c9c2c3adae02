//! `[sidecar]`: how the bridge and a CSMS that has the stations talk with each other.

use std::{path::PathBuf, time::Duration};

use serde::Deserialize;

use super::{ConfigError, range};

/// What mode `sidecar` needs to know of the CSMS.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SidecarConfig {
    /// A file with the bearer token that the CSMS shows: one line, 16 or more characters. Without it, and without a
    /// certificate of the CSMS (`tls.client_auth = "required"`), `listen` must be an address of loopback.
    pub token_file: Option<PathBuf>,
    /// Where the CSMS takes the bridge's calls to stations, an http or https URL. Without it there are no calls: stations
    /// are not told that a response is ready, cannot be asked to do something, and cannot be served while Pending.
    pub webhook: Option<String>,
    /// A file with the key that the bodies of those calls are signed with (HMAC-SHA-256): one line, 16 or more characters.
    pub webhook_secret_file: Option<PathBuf>,
    /// What the certificate of an https webhook is verified with (PEM).
    pub webhook_ca: Option<PathBuf>,
    /// Seconds that one attempt of a call may take: longer than the CSMS waits for a station. Default 40.
    pub webhook_attempt_s: u64,
    /// Seconds after which a call is given up, all attempts together. Default 120.
    pub webhook_timeout_s: u64,
    /// Calls at a time, for all stations. Default 64.
    pub max_webhooks: usize,
    /// Seconds that a station counts as connected after the CSMS said so, or passed something of it on. Default 300.
    pub lease_s: u64,
    /// Serve stations of which the CSMS says that they proved nothing. Default: no.
    pub accept_unauthenticated: bool,
}

impl Default for SidecarConfig {
    fn default() -> Self {
        Self {
            token_file: None,
            webhook: None,
            webhook_secret_file: None,
            webhook_ca: None,
            webhook_attempt_s: 40,
            webhook_timeout_s: 120,
            max_webhooks: 64,
            lease_s: 300,
            accept_unauthenticated: false,
        }
    }
}

impl SidecarConfig {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let useless = |key, without| Err(ConfigError::Useless { key, without });
        match (&self.webhook, &self.webhook_secret_file) {
            (Some(_), None) => {
                return Err(ConfigError::Missing {
                    key: "sidecar.webhook_secret_file",
                    why: "the CSMS must be able to tell the bridge's calls from others; make one with: (umask 077; openssl rand -hex 32 > FILE)",
                });
            }
            (None, Some(_)) => return useless("sidecar.webhook_secret_file", "sidecar.webhook"),
            (None, None) if self.webhook_ca.is_some() => {
                return useless("sidecar.webhook_ca", "sidecar.webhook");
            }
            _ => {}
        }
        range(
            "sidecar.webhook_attempt_s",
            self.webhook_attempt_s,
            1..=300,
            "1 to 300",
        )?;
        range(
            "sidecar.webhook_timeout_s",
            self.webhook_timeout_s,
            self.webhook_attempt_s..=3_600,
            "webhook_attempt_s to 3,600",
        )?;
        range(
            "sidecar.max_webhooks",
            self.max_webhooks as u64,
            1..=10_000,
            "1 to 10,000",
        )?;
        range("sidecar.lease_s", self.lease_s, 1..=86_400, "1 to 86,400")
    }

    pub(crate) const fn lease(&self) -> Duration {
        Duration::from_secs(self.lease_s)
    }
}
