//! What must outlive a process, behind one narrow trait.

mod audit;
mod memory;
mod sqlite;

use std::{fmt, future::Future, pin::Pin};

use cmp_binding::{
    ExchangeId, SlotReport,
    csms::{StationRecords, Write},
};
use serde::{Deserialize, Serialize};

pub use audit::{AuditEntry, AuditQuery, Outcome};
pub use memory::MemoryStore;
pub use sqlite::{OpenError, Retention, SqliteStore};

/// A station: where it connected and who it says that it is. Two of the same identity at different listeners or below
/// different paths are two.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct StationKey {
    /// The name of the listener; empty for the one that has none.
    pub listener: String,
    /// The path before the identity, percent-decoded.
    pub prefix: String,
    /// The OCPP identity, percent-decoded.
    pub identity: String,
}

impl fmt::Display for StationKey {
    /// `[LISTENER:][PREFIX/]IDENTITY`, without what could steer a terminal.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.listener.is_empty() {
            write!(f, "{}:", self.listener.escape_default())?;
        }
        let prefix = self.prefix.trim_matches('/');
        if !prefix.is_empty() {
            write!(f, "{}/", prefix.escape_default())?;
        }
        self.identity.escape_default().fmt(f)
    }
}

/// What a station was told of its boot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Boot {
    /// No boot was seen.
    #[default]
    Unknown,
    /// It is held: it may not call.
    Pending,
    /// It may call.
    Accepted,
}

/// What is known of a station beside its exchanges.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Facts {
    /// How its last boot, on any connection, was answered.
    pub boot: Boot,
    /// It was held, has been served, and was let in: it is not held again.
    pub is_let_in: bool,
    /// Seconds since 1970 when it connected or went last.
    pub seen_at_s: u64,
    /// Seconds since 1970 when it was last asked to do something without anybody's order; 0: never.
    pub asked_at_s: u64,
    /// What it said of itself last.
    pub hello: Option<Hello>,
}

/// What a station says of itself in `CmpHello`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// Largest frame, in bytes, that it takes.
    pub unit: usize,
    /// Largest CMP message, in bytes, that it takes.
    pub max: usize,
    /// Its slots; the first [`MAX_SLOTS`], with cropped texts.
    pub slots: Vec<SlotReport>,
    /// Seconds since 1970 when it said so.
    pub at_s: u64,
}

/// Slots of a `CmpHello` that are kept, and characters of each of their texts.
pub const MAX_SLOTS: usize = 8;
const MAX_SLOT_CHARS: usize = 64;

impl Hello {
    pub(crate) fn new(unit: usize, max: usize, slots: &[SlotReport], at_s: u64) -> Self {
        let crop = |text: &String| text.chars().take(MAX_SLOT_CHARS).collect();
        let slots = slots.iter().take(MAX_SLOTS).map(|slot| SlotReport {
            slot: crop(&slot.slot),
            state: crop(&slot.state),
            not_after: slot.not_after.as_ref().map(crop),
            error: slot.error.as_ref().map(crop),
        });
        Self {
            unit,
            max,
            slots: slots.collect(),
            at_s,
        }
    }
}

/// Changes that belong together.
#[derive(Clone, Debug)]
pub struct Batch {
    /// Whose they are.
    pub station: StationKey,
    /// What the binding says must be kept.
    pub writes: Vec<Write>,
    /// The URL that the exchange's request is about to be written to. All messages of its transaction follow it there.
    pub target: Option<(ExchangeId, String)>,
    /// What is known of the station now, where that has changed.
    pub facts: Option<Facts>,
}

/// All that is kept of a station.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stored {
    /// Its exchanges.
    pub records: StationRecords,
    /// What else is known of it.
    pub facts: Facts,
}

/// What a store answers, later.
pub type Later<T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send>>;

/// Keeps what the binding says must be kept, and who asked what when.
///
/// Calls take effect in their order, whether or not what they return is waited for.
pub trait Store: Send + Sync {
    /// Makes the changes durable, all or none. An error means that nothing of the batch was kept; nothing that depends on
    /// it may be done.
    fn apply(&self, batch: Batch) -> Later<()>;

    /// What is kept of a station.
    fn load(&self, station: &StationKey) -> Later<Stored>;

    /// The stations of which a request is on its way: not answered by an RA, and not failed.
    fn unfinished(&self) -> Later<Vec<StationKey>>;

    /// Where the messages of a station's transaction go: the URL that one of them was last written to.
    fn target(&self, station: &StationKey, transaction_id: &[u8]) -> Later<Option<String>>;

    /// What is known of each station that was ever seen, and not for too long.
    fn stations(&self) -> Later<Vec<(StationKey, Facts)>>;

    /// Who asked what when, the newest first.
    fn audit(&self, query: AuditQuery) -> Later<Vec<AuditEntry>>;
}

/// The store does not work. The cause is for the log, not for stations.
#[derive(Debug, thiserror::Error)]
#[error("the store failed: {0}")]
pub struct StoreError(pub Box<dyn std::error::Error + Send + Sync>);

impl StoreError {
    fn of(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self(error.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hello_fills_no_log() {
        let long = || "\n".repeat(10_000);
        let slot = SlotReport {
            slot: long(),
            state: long(),
            not_after: Some(long()),
            error: Some(long()),
        };
        let hello = Hello::new(1, 1, &vec![slot; 1_000], 0);
        assert!(serde_json::to_string(&hello).unwrap().len() < 6_000);
    }

    #[test]
    fn a_station_is_named_with_where_it_connected() {
        let mut key = StationKey {
            identity: "CS\u{1b}1".into(),
            ..StationKey::default()
        };
        assert_eq!(key.to_string(), "CS\\u{1b}1");
        key.prefix = "/ocpp".into();
        key.listener = "tls".into();
        assert_eq!(key.to_string(), "tls:ocpp/CS\\u{1b}1");
    }
}
