//! The CSMS side of CMP over OCPP (`docs/binding.md`): stations connect with OCPP, their CMP messages go to an RA over
//! HTTP, byte for byte. The bridge carries and cannot read; it has no type for a CMP body.
//!
//! ```text
//! standalone (OCPP) ──► relay (the binding, one state for each station) ──► ra (HTTP) ──► RA
//!                          └─► store
//! ```
#![forbid(unsafe_code)]

mod clock;
pub mod config;
pub mod header;
mod link;
mod ra;
mod relay;
mod standalone;
pub mod store;

use std::sync::Arc;

use cmp_binding::DoOperation;
use tokio::{net::TcpListener, sync::watch};

pub use config::{Config, ConfigError};
use relay::Relay;
pub use relay::{NotifyError, StationView};
pub use store::{
    AuditEntry, AuditQuery, Batch, Boot, Facts, Hello, Later, MemoryStore, OpenError, Outcome, Retention,
    SqliteStore, StationKey, Store, StoreError, Stored,
};

/// The bridge: all of its stations, however they reach it.
#[derive(Clone)]
pub struct Bridge {
    config: Arc<Config>,
    relay: Arc<Relay>,
}

impl Bridge {
    /// A bridge that goes on with what a former run has left in `store`. `config` is one that [`Config::check`] takes.
    ///
    /// # Errors
    /// [`StoreError`] where the store does not say what that is.
    pub async fn new(config: Config, store: Arc<dyn Store>) -> Result<Self, StoreError> {
        let config = Arc::new(config);
        let relay = Relay::new(Arc::clone(&config), store);
        relay.resume().await?;
        Ok(Self { config, relay })
    }

    /// Serves stations on `listener` until `stop` turns true; then lets what is in flight end within the drain time.
    pub async fn serve(&self, listener: TcpListener, stop: watch::Receiver<bool>) {
        standalone::serve(Arc::clone(&self.config), Arc::clone(&self.relay), listener, stop).await;
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

    /// Requests on their way to an RA.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.relay.in_flight()
    }
}
