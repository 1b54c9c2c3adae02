//! `[admin]`: health, metrics, the API and the status page.

use std::{net::SocketAddr, path::PathBuf};

use serde::Deserialize;

use super::ConfigError;

/// Where operators and their machines look into the bridge.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AdminConfig {
    /// Address and port; port 0 takes a free one. Without it there is no admin address.
    pub listen: Option<SocketAddr>,
    /// A file with the bearer token that the API and the metrics ask for: one line, 16 or more characters. Without it they
    /// ask for nothing, and `listen` must be an address of loopback.
    pub token_file: Option<PathBuf>,
}

impl AdminConfig {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        match self.listen {
            Some(listen) if !listen.ip().is_loopback() && self.token_file.is_none() => {
                Err(ConfigError::OpenToAll {
                    table: "admin",
                    address: listen,
                })
            }
            None if self.token_file.is_some() => Err(ConfigError::Useless {
                key: "admin.token_file",
                without: "admin.listen (--admin)",
            }),
            _ => Ok(()),
        }
    }
}
