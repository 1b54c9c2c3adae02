//! `[store]`: where the bridge keeps what must outlive it.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use serde::Deserialize;

use super::{ConfigError, range};
use crate::{MemoryStore, OpenError, SqliteStore, Store, store::Retention};

/// Where the bridge keeps what must outlive it: requests on their way, responses that stations have not fetched, the audit
/// trail.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StoreConfig {
    /// A file, which is made if needed, or `memory`: nothing outlives the process. Default: `csms-bridge.sqlite` in the
    /// working directory.
    pub file: PathBuf,
    /// Days that an entry of the audit trail is kept. Default 400.
    pub audit_retention_d: u64,
    /// Entries of the audit trail that are kept at most. Default 1,000,000.
    pub max_audit_entries: u64,
    /// Days that a station is remembered that does not connect any more. Default 400.
    pub station_retention_d: u64,
}

/// The name that is no file.
const MEMORY: &str = "memory";

impl Default for StoreConfig {
    fn default() -> Self {
        Self {
            file: "csms-bridge.sqlite".into(),
            audit_retention_d: 400,
            max_audit_entries: 1_000_000,
            station_retention_d: 400,
        }
    }
}

impl StoreConfig {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let days = 1..=36_500;
        range(
            "store.audit_retention_d",
            self.audit_retention_d,
            days.clone(),
            "1 to 36,500",
        )?;
        range(
            "store.station_retention_d",
            self.station_retention_d,
            days,
            "1 to 36,500",
        )?;
        range(
            "store.max_audit_entries",
            self.max_audit_entries,
            1..=1_000_000_000,
            "1 to 1,000,000,000",
        )
    }

    /// Opens it. `max_stations` is for the store in memory.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open(&self, max_stations: usize) -> Result<Arc<dyn Store>, OpenError> {
        if self.file == Path::new(MEMORY) {
            return Ok(Arc::new(MemoryStore::new(max_stations)));
        }
        let retention = Retention {
            audit_d: self.audit_retention_d,
            audit_entries: self.max_audit_entries,
            stations_d: self.station_retention_d,
        };
        Ok(Arc::new(SqliteStore::open(&self.file, retention)?))
    }
}
