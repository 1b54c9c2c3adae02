//! The CSMS side of CMP over OCPP (`docs/binding.md`): stations are reached with OCPP, or through a CSMS that has them;
//! their CMP messages go to an RA byte for byte. The bridge carries and cannot read; it has no type for a CMP body.
//!
//! ```text
//! listen ─► standalone ┐
//! (TLS,     proxy      ┤ OCPP
//! access)   sidecar    ┴ HTTP ──► relay (the binding, one state for each station) ──► ra (HTTP or files) ──► RA
//!           admin ──────────────►   └─► store
//! ```
#![forbid(unsafe_code)]

mod access;
pub mod admin;
mod clock;
pub mod config;
mod digest;
pub mod header;
mod http;
mod link;
mod listen;
mod metrics;
mod proxy;
mod ra;
mod relay;
mod sidecar;
mod standalone;
pub mod store;

use std::sync::Arc;

use cmp_binding::DoOperation;
use config::Mode;
use tokio::sync::watch;
use tracing::warn;

use access::Access;
pub use access::{
    AccessError, ITERATIONS, InvalidVerifier, PasswordVerifier, StationsError, parse_authorization_key,
};
pub use admin::{Admin, AdminError};
pub use config::{Config, ConfigError, RouteError};
pub use http::{CallError, PeerError, SecretError, SecretFile};
pub use listen::{ListenError, Listeners, Reload, TlsError, TlsFileError};
use proxy::{Proxy, Upstream};
pub use ra::{Failure, LATENCY_BOUNDS_MS, Latency, RouteView, SpoolError, TargetState, TargetView};
use relay::Relay;
pub use relay::{NotifyError, StationView};
use sidecar::Sidecar;
pub use sidecar::SidecarError;
use standalone::Standalone;
pub use store::{
    AuditEntry, AuditQuery, Batch, Boot, Facts, Hello, Later, MemoryStore, OpenError, Outcome, Retention,
    SqliteStore, StationKey, Store, StoreError, Stored,
};

/// The bridge: all of its stations, however they reach it.
#[derive(Clone)]
pub struct Bridge {
    config: Arc<Config>,
    access: Arc<Access>,
    relay: Arc<Relay>,
    way: Way,
}

/// How it stands next to a CSMS.
#[derive(Clone)]
enum Way {
    Standalone,
    Proxy(Arc<Upstream>),
    Sidecar(Arc<Sidecar>),
}

/// Why there is no bridge.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// It cannot be decided who is let in.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// A route cannot be opened.
    #[error(transparent)]
    Route(#[from] RouteError),
    /// The CSMS cannot be served.
    #[error(transparent)]
    Sidecar(#[from] SidecarError),
    /// The store does not say what a former run has left.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The configuration does not say where the CSMS is.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The certificates that vouch for the CSMS cannot be used.
    #[error("proxy.trust")]
    Trust(#[from] cmp_http::TlsError),
}

impl StartError {
    /// Whether the configuration, or a file that it names, is to blame.
    #[must_use]
    pub const fn is_config(&self) -> bool {
        !matches!(self, Self::Store(_))
    }
}

impl Bridge {
    /// A bridge that goes on with what a former run has left in `store`. `config` is one that [`Config::check`] takes.
    ///
    /// # Errors
    /// [`StartError`]: a file that the configuration names, or the store.
    pub async fn new(config: Config, store: Arc<dyn Store>) -> Result<Self, StartError> {
        let config = Arc::new(config);
        let access = Arc::new(Access::load(&config.access)?);
        let way = match config.mode {
            Mode::Standalone => Way::Standalone,
            Mode::Proxy => Way::Proxy(Arc::new(Upstream::new(&config)?)),
            Mode::Sidecar => Way::Sidecar(Arc::new(Sidecar::load(&config)?)),
        };
        let relay = Relay::new(Arc::clone(&config), store, Arc::clone(&access))?;
        relay.resume().await?;
        Ok(Self {
            config,
            access,
            relay,
            way,
        })
    }

    /// Serves stations on `listeners` until `stop` turns true; then lets what is in flight end within the drain time.
    pub async fn serve(&self, listeners: Listeners, stop: watch::Receiver<bool>) {
        let (config, relay, access) = (
            Arc::clone(&self.config),
            Arc::clone(&self.relay),
            Arc::clone(&self.access),
        );
        let mut connections = match &self.way {
            Way::Sidecar(sidecar) => {
                return sidecar::serve(Arc::clone(sidecar), config, relay, access, listeners, stop).await;
            }
            Way::Standalone => {
                let shared = Arc::new(Standalone {
                    config,
                    relay,
                    stop: stop.clone(),
                });
                let station = move |arrival| standalone::station(Arc::clone(&shared), arrival);
                listen::serve(&self.config, access, listeners, stop, station).await
            }
            Way::Proxy(upstream) => {
                let shared = Arc::new(Proxy::new(config, relay, Arc::clone(upstream), stop.clone()));
                let station = move |arrival| proxy::station(Arc::clone(&shared), arrival);
                listen::serve(&self.config, access, listeners, stop, station).await
            }
        };
        let drain = async {
            while connections.join_next().await.is_some() {}
            self.relay.drained().await;
        };
        if tokio::time::timeout(self.config.drain(), drain).await.is_err() {
            warn!(
                connections = connections.len(),
                "not all connections ended in time"
            );
        }
    }

    /// What reads the files of `listeners`, those of the routes and the list of stations again while they are served.
    #[must_use]
    pub fn reload(&self, listeners: &Listeners) -> Reload {
        Reload::new(listeners, Arc::clone(&self.access), Arc::clone(&self.relay))
    }

    /// Asks a connected station to do something, and waits for its answer; how long, is the caller's business.
    ///
    /// # Errors
    /// [`NotifyError`].
    pub async fn notify(
        &self,
        station: &StationKey,
        operation: DoOperation,
        slot: &str,
    ) -> Result<(), NotifyError> {
        self.relay.notify(station, operation, slot).await
    }

    /// The stations that are connected or of which something is open.
    pub async fn stations(&self) -> Vec<StationView> {
        self.relay.stations().await
    }

    /// The routes to RAs and how they are, by their names.
    #[must_use]
    pub fn routes(&self) -> Vec<RouteView> {
        self.relay.routes()
    }

    /// Requests on their way to an RA.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.relay.in_flight()
    }
}
