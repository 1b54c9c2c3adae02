//! Flags of `serve` that say who is let in.

use std::path::PathBuf;

use clap::Args;
use csms_bridge::{
    Config,
    config::{SecurityProfile, TlsConfig},
};

/// Flags for the listener of --listen and for the list of stations. They go over `security_profile`, `[tls]` and
/// `[access]`.
#[derive(Args)]
pub(crate) struct AccessFlags {
    /// OCPP's security profile of --listen: 1 password, 2 TLS and password, 3 TLS and station certificate. Without it the
    /// bridge does not ask who a station is.
    #[arg(long, value_name = "1|2|3", value_parser = security_profile)]
    security_profile: Option<SecurityProfile>,
    /// Server certificate and chain (PEM) for TLS at --listen. SIGHUP reads all files again.
    #[arg(long, value_name = "FILE")]
    tls_cert: Option<PathBuf>,
    /// Private key of the server certificate (PEM, not encrypted).
    #[arg(long, value_name = "FILE")]
    tls_key: Option<PathBuf>,
    /// CA of station certificates (PEM). Repeatable.
    #[arg(long = "tls-client-ca", value_name = "FILE")]
    tls_client_cas: Vec<PathBuf>,
    /// CA of manufacturer certificates (PEM); a station that shows one is held in Pending, for CMP only. Repeatable.
    #[arg(long = "tls-manufacturer-ca", value_name = "FILE")]
    tls_manufacturer_cas: Vec<PathBuf>,
    /// CRL (PEM or DER). Repeatable; with any, each CA of station certificates needs one.
    #[arg(long = "tls-crl", value_name = "FILE")]
    tls_crls: Vec<PathBuf>,
    /// The stations: a TOML file with a table for each. Who is not in it is refused.
    #[arg(long, value_name = "FILE")]
    stations: Option<PathBuf>,
    /// What O of a station certificate is to be. Repeatable.
    #[arg(long = "organization", value_name = "NAME")]
    organizations: Vec<String>,
}

impl AccessFlags {
    /// Puts the flags over what the file said.
    pub(crate) fn apply(&self, config: &mut Config) {
        config.security_profile = self.security_profile.or(config.security_profile);
        self.apply_tls(&mut config.tls);
        if self.stations.is_some() {
            config.access.stations.clone_from(&self.stations);
        }
        if !self.organizations.is_empty() {
            config.access.organizations = Some(self.organizations.clone());
        }
    }

    fn apply_tls(&self, tls: &mut Option<TlsConfig>) {
        let lists = [&self.tls_client_cas, &self.tls_manufacturer_cas, &self.tls_crls];
        let files = [&self.tls_cert, &self.tls_key];
        if files.iter().all(|file| file.is_none()) && lists.iter().all(|list| list.is_empty()) {
            return;
        }
        let tls = tls.get_or_insert_default();
        for (flag, key) in files.into_iter().zip([&mut tls.cert, &mut tls.key]) {
            if let Some(file) = flag {
                key.clone_from(file);
            }
        }
        let keys = [&mut tls.client_cas, &mut tls.manufacturer_cas, &mut tls.crls];
        for (flag, key) in lists.into_iter().zip(keys) {
            if !flag.is_empty() {
                key.clone_from(flag);
            }
        }
    }
}

fn security_profile(text: &str) -> Result<SecurityProfile, String> {
    let number = text.parse().unwrap_or_default();
    u8::try_into(number).map_err(|_| "one of 1, 2 and 3".into())
}
