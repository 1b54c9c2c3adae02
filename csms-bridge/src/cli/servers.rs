//! Flags of `serve` for the bridge's own HTTP servers.

use std::{net::SocketAddr, path::PathBuf};

use clap::Args;
use csms_bridge::Config;

/// Flags that go over `[admin]`, `[sidecar]` and what stations in Pending are asked to do.
#[derive(Args)]
pub(crate) struct ServerFlags {
    /// Where health, metrics, the API and the status page are; without it, nowhere.
    #[arg(long, value_name = "ADDRESS:PORT")]
    admin: Option<SocketAddr>,
    /// A file with the bearer token that the admin address asks for; needed where that is not on loopback.
    #[arg(long, value_name = "FILE")]
    admin_token_file: Option<PathBuf>,
    /// Mode sidecar: a file with the bearer token that the CSMS shows; needed where --listen is not on loopback.
    #[arg(long, value_name = "FILE")]
    sidecar_token_file: Option<PathBuf>,
    /// Mode sidecar: where the CSMS takes the bridge's calls to stations.
    #[arg(long, value_name = "URL")]
    webhook: Option<String>,
    /// Mode sidecar: a file with the key that those calls are signed with.
    #[arg(long, value_name = "FILE")]
    webhook_secret_file: Option<PathBuf>,
    /// What a station that is Pending is asked to do, for those that do not begin by themselves: enroll, mostly.
    #[arg(long, value_name = "OPERATION")]
    pending_do: Option<String>,
}

impl ServerFlags {
    /// Puts the flags over what the file said.
    pub(crate) fn apply(&self, config: &mut Config) {
        fn over<T: Clone>(key: &mut Option<T>, flag: &Option<T>) {
            if flag.is_some() {
                key.clone_from(flag);
            }
        }
        over(&mut config.admin.listen, &self.admin);
        over(&mut config.admin.token_file, &self.admin_token_file);
        over(&mut config.sidecar.token_file, &self.sidecar_token_file);
        over(&mut config.sidecar.webhook, &self.webhook);
        over(&mut config.sidecar.webhook_secret_file, &self.webhook_secret_file);
        over(&mut config.pending_do, &self.pending_do);
    }
}
