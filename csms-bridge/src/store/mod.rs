//! What must outlive a process, behind one narrow trait.

use std::{
    collections::HashMap,
    fmt,
    sync::{Mutex, PoisonError},
};

use cmp_binding::csms::{StationRecords, Write};

/// A station: where it connected and who it says that it is. Two of the same identity below different paths are two.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StationKey {
    /// The path before the identity, percent-decoded.
    pub prefix: String,
    /// The OCPP identity, percent-decoded.
    pub identity: String,
}

impl fmt::Display for StationKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.identity.escape_default())
    }
}

/// Keeps what the binding says must be kept.
pub trait Store: Send + Sync {
    /// Makes the changes durable, all or none, before it returns.
    ///
    /// # Errors
    /// [`StoreError`]: nothing of the batch was kept, and nothing that depends on it is done.
    fn apply(&self, station: &StationKey, writes: Vec<Write>) -> Result<(), StoreError>;

    /// What is kept of a station.
    ///
    /// # Errors
    /// [`StoreError`].
    fn load(&self, station: &StationKey) -> Result<StationRecords, StoreError>;
}

/// The store does not work. The cause is for the log, not for stations.
#[derive(Debug, thiserror::Error)]
#[error("the store failed: {0}")]
pub struct StoreError(pub Box<dyn std::error::Error + Send + Sync>);

/// Keeps everything in memory: a restart forgets it.
#[derive(Debug)]
pub struct MemoryStore {
    stations: Mutex<HashMap<StationKey, StationRecords>>,
    max_stations: usize,
}

impl MemoryStore {
    /// Remembers at most about `max_stations` stations of which nothing is open; what is open is always kept.
    #[must_use]
    pub fn new(max_stations: usize) -> Self {
        Self {
            stations: Mutex::default(),
            max_stations,
        }
    }
}

impl Store for MemoryStore {
    fn apply(&self, station: &StationKey, writes: Vec<Write>) -> Result<(), StoreError> {
        let mut stations = self.stations.lock().unwrap_or_else(PoisonError::into_inner);
        let records = stations.entry(station.clone()).or_default();
        writes.into_iter().for_each(|write| records.apply(write));
        if records.is_empty() {
            stations.remove(station);
        } else if stations.len() > self.max_stations {
            let idle = stations
                .iter()
                .find(|(key, records)| *key != station && records.exchanges.is_empty());
            if let Some(idle) = idle.map(|(key, _)| key.clone()) {
                stations.remove(&idle);
            }
        }
        Ok(())
    }

    fn load(&self, station: &StationKey) -> Result<StationRecords, StoreError> {
        let stations = self.stations.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(stations.get(station).cloned().unwrap_or_default())
    }
}
