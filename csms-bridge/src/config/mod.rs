//! Configuration: a TOML file, flags over it, and an explanation of what is wrong with either.

mod access;
mod admin;
mod check;
mod error;
mod explain;
mod listener;
mod proxy;
mod route;
mod sidecar;
mod store;

use std::{
    collections::BTreeMap,
    fs,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::Path,
    time::Duration,
};

use cmp_binding::{DoOperation, VENDOR_ID, csms};
use ocpp_rpc::ws::{Limits, ServerOptions};
use serde::{Deserialize, Serialize};

pub use access::{AccessConfig, ExpiredCertificates, Operations, ProtectionSerials, Unlisted};
pub use admin::AdminConfig;
pub use error::ConfigError;
use error::range;
pub use explain::{Explained, explain};
pub use listener::{ClientAuth, DEFAULT_LISTENER, ExpiredCrls, ListenerConfig, SecurityProfile, TlsConfig};
pub use proxy::{CertificateFormat, ProxyConfig};
pub use route::{RouteCause, RouteConfig, RouteError};
pub use sidecar::SidecarConfig;
pub use store::StoreConfig;

/// All that the bridge can be told. Every number has its unit in its name; what is not said has a default.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// How the bridge stands next to a CSMS.
    pub mode: Mode,
    /// Where stations connect: the listener `default`. Without it, and without other listeners, 127.0.0.1:9000.
    pub listen: Option<SocketAddr>,
    /// How stations prove who they are at `listen`. Without it the bridge does not ask.
    pub security_profile: Option<SecurityProfile>,
    /// TLS at `listen`; without it that is plain.
    pub tls: Option<TlsConfig>,
    /// Further listeners.
    pub listeners: BTreeMap<String, ListenerConfig>,
    /// Which stations are let in, and what they may do.
    pub access: AccessConfig,
    /// The vendorId of the binding's DataTransfers.
    pub vendor_id: String,
    /// The routes that stations may name, and the RAs behind them.
    pub routes: BTreeMap<cmp_binding::Route, RouteConfig>,
    /// Hold each station in boot state Pending until it has been served in pull mode: it has acknowledged an answer of an
    /// RA, whatever that said, and has nothing open.
    pub hold_pending: bool,
    /// Seconds after which a Pending station is to send its next BootNotification. Default 10.
    pub pending_interval_s: u64,
    /// What a station that is Pending is asked to do when it connects or boots: `enroll`, for stations that do not begin by
    /// themselves. At most once an hour, as a station takes it no more often. Default: nothing.
    pub pending_do: Option<String>,
    /// The slot that it is to do it with. Default `ChargingStationCertificate`.
    pub pending_slot: String,
    /// Seconds between heartbeats of accepted stations. Default 300.
    pub heartbeat_interval_s: u64,
    /// Milliseconds after which a request is tried again for which no RA could be reached; doubled each time, up to 5 min.
    /// Default 10,000.
    pub ra_retry_ms: u64,
    /// Milliseconds that a DataTransfer may wait for the RA before it is answered with `wait`. Default 2,000.
    pub answer_budget_ms: u64,
    /// Seconds between the signal to end and the end: `/readyz` says at once that nothing more is to be sent here, and all
    /// goes on meanwhile. Default 0.
    pub drain_notice_s: u64,
    /// Seconds that connections get to end when the bridge is stopped. Default 10.
    pub drain_s: u64,
    /// Connections at a time. Default 20,000.
    pub max_connections: usize,
    /// Connections at a time from one address (IPv6: from one /64). Default 1,000.
    pub max_connections_per_address: usize,
    /// Seconds that a connection may take for TLS, and again for the WebSocket. Default 10.
    pub handshake_timeout_s: u64,
    /// Bytes of the head of an HTTP request that are taken at most; beyond it the answer is 431. Default 8,192.
    pub max_head_bytes: usize,
    /// Stations that are remembered at a time, connected or not. Default 100,000.
    pub max_stations: usize,
    /// Bytes of CMP messages held for all stations. Default 256 MiB.
    pub max_bytes: usize,
    /// Bytes of an OCPP-J frame that are taken at most; beyond it the connection is closed with 1009. Default 1 MiB.
    pub max_frame_bytes: usize,
    /// The largest frame, in bytes, that this side sends where the station does not ask for less. Default 65,536.
    pub unit_bytes: usize,
    /// The largest CMP message in bytes. Default 65,536.
    pub max_message_bytes: usize,
    /// Exchanges of one station at a time, at most 8. Default 4.
    pub max_exchanges: usize,
    /// DataTransfers of one station in a minute. Default 240.
    pub max_calls_per_minute: u32,
    /// Hours that a response is kept for a station that does not fetch it. Default 24.
    pub retention_h: u64,
    /// Seconds that the first part of a request is kept for a station that does not go on. Default 3,600.
    pub upload_retention_s: u64,
    /// Bytes of CMP messages held for one station, the largest possible responses to its whole requests included; at least
    /// twice `max_message_bytes` in effect. Default 524,288.
    pub max_station_bytes: usize,
    /// The longest that a station is told to wait, in seconds. Default 900.
    pub wait_max_s: u64,
    /// Where the bridge keeps what must outlive it.
    pub store: StoreConfig,
    /// The CSMS behind the bridge, of the mode `proxy`.
    pub proxy: ProxyConfig,
    /// Health, metrics, the API and the status page.
    pub admin: AdminConfig,
    /// The CSMS of mode `sidecar`.
    pub sidecar: SidecarConfig,
}

/// The slot that OCPP's own signing flow is about (2.x: CertificateSigningUseEnumType).
pub const DEFAULT_SLOT: &str = "ChargingStationCertificate";

/// How the bridge stands next to a CSMS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// It is a small CSMS itself.
    #[default]
    Standalone,
    /// It stands in front of the CSMS: all but CMP passes as it is.
    Proxy,
    /// A CSMS has the stations, and passes their DataTransfers on over HTTP.
    Sidecar,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            mode: Mode::Standalone,
            listen: None,
            security_profile: None,
            tls: None,
            listeners: BTreeMap::new(),
            access: AccessConfig::default(),
            vendor_id: VENDOR_ID.into(),
            routes: BTreeMap::new(),
            hold_pending: false,
            pending_interval_s: 10,
            pending_do: None,
            pending_slot: DEFAULT_SLOT.into(),
            heartbeat_interval_s: 300,
            ra_retry_ms: 10_000,
            answer_budget_ms: 2_000,
            drain_notice_s: 0,
            drain_s: 10,
            max_connections: 20_000,
            max_connections_per_address: 1_000,
            handshake_timeout_s: 10,
            max_head_bytes: 8_192,
            max_stations: 100_000,
            max_bytes: 256 << 20,
            max_frame_bytes: 1 << 20,
            unit_bytes: 65_536,
            max_message_bytes: 65_536,
            max_exchanges: 4,
            max_calls_per_minute: 240,
            retention_h: 24,
            upload_retention_s: 3_600,
            max_station_bytes: 512 << 10,
            wait_max_s: 900,
            store: StoreConfig::default(),
            proxy: ProxyConfig::default(),
            admin: AdminConfig::default(),
            sidecar: SidecarConfig::default(),
        }
    }
}

impl Config {
    /// Reads a file.
    ///
    /// # Errors
    /// [`ConfigError::Read`] and [`ConfigError::Parse`].
    pub fn from_file(path: &Path) -> Result<Self, ConfigError> {
        let name = path.display().to_string();
        let text = fs::read_to_string(path).map_err(|source| ConfigError::Read {
            path: name.clone(),
            source,
        })?;
        toml::from_str(&text).map_err(|source| ConfigError::Parse {
            path: name,
            source: Box::new(source),
        })
    }

    /// Adds a route given as `NAME=URL[,URL…]` or `NAME=spool:DIR`. Of one of that name, only these are replaced.
    ///
    /// # Errors
    /// [`ConfigError::Route`].
    pub fn add_route(&mut self, text: &str) -> Result<(), ConfigError> {
        let error = || ConfigError::Route(text.into());
        let (name, target) = text.split_once('=').ok_or_else(error)?;
        let name = name.parse().map_err(|_| error())?;
        self.routes.entry(name).or_default().lead_to(target);
        Ok(())
    }

    /// Whether there is a listener of `listen`.
    fn serves_default(&self) -> bool {
        self.listen.is_some() || self.listeners.is_empty()
    }

    /// All listeners by name.
    pub(crate) fn each_listener(&self) -> Vec<(String, ListenerConfig)> {
        let simple = self.serves_default().then(|| {
            let listener = ListenerConfig {
                listen: self.listen.unwrap_or(DEFAULT_LISTEN),
                security_profile: self.security_profile,
                tls: self.tls.clone(),
            };
            (DEFAULT_LISTENER.to_owned(), listener)
        });
        let named = self.listeners.iter();
        simple
            .into_iter()
            .chain(named.map(|(name, listener)| (name.clone(), listener.clone())))
            .collect()
    }

    pub(crate) fn handshake_timeout(&self) -> Duration {
        Duration::from_secs(self.handshake_timeout_s)
    }

    pub(crate) fn answer_budget(&self) -> Duration {
        Duration::from_millis(self.answer_budget_ms)
    }

    /// What stations that are Pending are asked to do.
    pub(crate) fn pending_do(&self) -> Option<(DoOperation, &str)> {
        let operation = self.pending_do.as_deref().and_then(DoOperation::parse)?;
        Some((operation, &self.pending_slot))
    }

    /// How long the bridge goes on after the signal to end.
    #[must_use]
    pub fn drain_notice(&self) -> Duration {
        Duration::from_secs(self.drain_notice_s)
    }

    pub(crate) fn drain(&self) -> Duration {
        Duration::from_secs(self.drain_s)
    }

    pub(crate) fn server_options(&self) -> ServerOptions {
        ServerOptions {
            limits: Limits {
                max_message_bytes: self.max_frame_bytes,
                max_head_bytes: self.max_head_bytes,
                handshake_timeout: self.handshake_timeout(),
                ..Limits::default()
            },
            ..ServerOptions::default()
        }
    }

    pub(crate) fn binding(&self) -> csms::Config {
        csms::Config {
            unit: self.unit_bytes,
            max: self.max_message_bytes,
            routes: self.routes.keys().cloned().collect(),
            envelope: cmp_binding::Envelope::measured(&self.vendor_id),
            first_retry: Duration::from_millis(self.ra_retry_ms),
            limits: csms::Limits {
                exchanges: self.max_exchanges,
                calls_per_minute: self.max_calls_per_minute,
                bytes: self.max_station_bytes.max(2 * self.max_message_bytes),
                retention: Duration::from_secs(self.retention_h.saturating_mul(3600)),
                upload_retention: Duration::from_secs(self.upload_retention_s),
                ..csms::Limits::default()
            },
            wait_max: Duration::from_secs(self.wait_max_s),
        }
    }
}

const DEFAULT_LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9000);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sample_file_is_a_configuration_and_says_the_defaults() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("csms-bridge.sample.toml");
        let sample = Config::from_file(&path).unwrap();
        sample.check().unwrap();
        let defaults = Config {
            listen: sample.listen,
            routes: sample.routes.clone(),
            ..Config::default()
        };
        assert_eq!(format!("{sample:?}"), format!("{defaults:?}"));
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line_and_a_cure() {
        let parse = |text: &str| toml::from_str::<Config>(text).unwrap_err().to_string();
        let error = parse("listen = \"127.0.0.1:1\"\nlisten_port = 9");
        assert!(
            error.contains("line 2") && error.contains("unknown field `listen_port`"),
            "{error}"
        );
        let mut config = Config::default();
        assert!(matches!(config.check(), Err(ConfigError::NoRoute)));
        assert!(matches!(config.add_route("default"), Err(ConfigError::Route(_))));
        assert!(matches!(
            config.add_route("Über=http://x"),
            Err(ConfigError::Route(_))
        ));
        for (url, say) in [
            ("ftp://x/", "not an http://"),
            ("https://x/", "https needs trust"),
            ("http://", "not an http://"),
            ("http://user:secret@x/", "password"),
        ] {
            config.add_route(&format!("default={url}")).unwrap();
            let error = config.check().unwrap_err().to_string();
            assert!(error.contains(say), "{error}");
        }
        config.add_route("default=http://[::1]:80/a,http://b/").unwrap();
        config.check().unwrap();
    }

    #[test]
    fn numbers_that_cannot_work_are_out_of_range() {
        for (settings, wrong) in [
            ("unit_bytes = 100", "unit_bytes"),
            ("max_exchanges = 9", "max_exchanges"),
            ("retention_h = 0", "retention_h"),
            ("vendor_id = ''", "characters of vendor_id"),
            ("max_connections = 0", "max_connections"),
            (
                "max_connections = 9223372036854775807\nmax_stations = 9223372036854775807",
                "max_connections",
            ),
        ] {
            let mut config: Config = toml::from_str(settings).unwrap();
            config.add_route("default=http://b/").unwrap();
            match config.check() {
                Err(ConfigError::Range { name, .. }) => assert_eq!(name, wrong),
                other => panic!("{settings}: {other:?}"),
            }
        }
    }
}
