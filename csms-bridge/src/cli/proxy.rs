//! Flags about the CSMS behind the bridge.

use std::path::PathBuf;

use clap::Args;
use csms_bridge::config::ProxyConfig;

#[derive(Args)]
pub(crate) struct ProxyFlags {
    /// Mode proxy: the CSMS, ws:// or wss://; path and query of each station come behind it.
    #[arg(long, value_name = "URL")]
    upstream: Option<String>,
    /// For a wss:// CSMS: the certificates that vouch for it (PEM).
    #[arg(long, value_name = "FILE")]
    upstream_trust: Option<PathBuf>,
}

impl ProxyFlags {
    /// Puts the flags over a configuration.
    pub(crate) fn apply(&self, config: &mut ProxyConfig) {
        if let Some(upstream) = &self.upstream {
            config.upstream.clone_from(upstream);
        }
        config.trust = self.upstream_trust.clone().or(config.trust.take());
    }
}
