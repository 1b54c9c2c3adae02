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
mod header;
mod ra;
mod relay;
mod standalone;
mod store;

use std::sync::Arc;

use tokio::{net::TcpListener, sync::watch};

pub use config::{Config, ConfigError};
pub use store::{MemoryStore, StationKey, Store, StoreError};

/// Serves stations on `listener` until `stop` turns true; then lets what is in flight end within the drain time.
pub async fn serve(config: Config, listener: TcpListener, stop: watch::Receiver<bool>) {
    let config = Arc::new(config);
    let store = Arc::new(MemoryStore::new(config.max_stations));
    let relay = relay::Relay::new(Arc::clone(&config), store);
    standalone::serve(config, relay, listener, stop).await;
}
