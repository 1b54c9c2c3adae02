//! The part of a command line that says where and as what to connect.

use ocpp_rpc::Version;

use super::Config;

/// The connection to the CSMS.
#[derive(Clone, Debug, clap::Args)]
pub struct LinkArgs {
    /// The CSMS: `ws://HOST:PORT/PATH`, without the station's identity.
    #[arg(long, value_name = "URL")]
    pub csms: String,
    /// The station's identity, put at the end of the URL.
    #[arg(long)]
    pub id: String,
    /// The version of OCPP: 1.6, 2.0.1 or 2.1. Without it all are offered.
    #[arg(long, value_name = "VERSION", value_parser = version)]
    pub ocpp: Option<Version>,
    /// The largest OCPP frame, in bytes, that the station sends and takes; at least 512.
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u32).range(512..=1_048_576))]
    pub unit: Option<u32>,
}

impl LinkArgs {
    /// The configuration of the link.
    #[must_use]
    pub fn config(&self) -> Config {
        let mut config = Config::new(&self.csms, &self.id);
        if let Some(version) = self.ocpp {
            config.versions = vec![version];
        }
        config
    }

    /// The unit of the binding, in bytes.
    #[must_use]
    pub fn unit(&self) -> usize {
        self.unit.map_or(cmp_binding::DEFAULT_UNIT, |unit| {
            usize::try_from(unit).unwrap_or(usize::MAX)
        })
    }
}

fn version(text: &str) -> Result<Version, &'static str> {
    Version::ALL
        .into_iter()
        .find(|version| version.to_string() == text)
        .ok_or("not one of 1.6, 2.0.1, 2.1")
}
