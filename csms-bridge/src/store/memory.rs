//! Everything in memory: a restart forgets it.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
};

use cmp_binding::{
    ExchangeId,
    csms::{Record, Stage, Write},
};

use super::{AuditEntry, AuditQuery, Batch, Facts, Later, StationKey, Store, Stored};

/// Entries of the audit trail that are kept.
const MAX_AUDIT: usize = 10_000;

/// Keeps everything in memory: a restart forgets it.
#[derive(Debug)]
pub struct MemoryStore {
    inner: Mutex<Inner>,
    max_stations: usize,
}

#[derive(Debug, Default)]
struct Inner {
    stations: HashMap<StationKey, Stored>,
    /// The newest is last. Numbers are consecutive.
    audit: VecDeque<AuditEntry>,
    next_number: u64,
}

impl MemoryStore {
    /// Remembers at most about `max_stations` stations of which nothing is open; what is open is always kept.
    #[must_use]
    pub fn new(max_stations: usize) -> Self {
        Self {
            inner: Mutex::default(),
            max_stations,
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn now<T: Send + 'static>(value: T) -> Later<T> {
    Box::pin(std::future::ready(Ok(value)))
}

impl Store for MemoryStore {
    fn apply(&self, batch: Batch) -> Later<()> {
        let mut inner = self.inner();
        let station = batch.station.clone();
        inner.apply(batch);
        inner.make_room(&station, self.max_stations);
        now(())
    }

    fn load(&self, station: &StationKey) -> Later<Stored> {
        now(self.inner().stations.get(station).cloned().unwrap_or_default())
    }

    fn unfinished(&self) -> Later<Vec<StationKey>> {
        let open = |stored: &Stored| stored.records.exchanges.iter().any(is_on_its_way);
        let inner = self.inner();
        let open = inner.stations.iter().filter(|(_, stored)| open(stored));
        now(open.map(|(key, _)| key.clone()).collect())
    }

    fn target(&self, station: &StationKey, transaction_id: &[u8]) -> Later<Option<String>> {
        let inner = self.inner();
        let last = inner.audit.iter().rev().find(|entry| {
            entry.target.is_some()
                && entry.transaction_id.as_deref() == Some(transaction_id)
                && entry.station == *station
        });
        now(last.and_then(|entry| entry.target.clone()))
    }

    fn stations(&self) -> Later<Vec<(StationKey, Facts)>> {
        let inner = self.inner();
        let all = inner
            .stations
            .iter()
            .map(|(key, stored)| (key.clone(), stored.facts.clone()));
        now(all.collect())
    }

    fn audit(&self, query: AuditQuery) -> Later<Vec<AuditEntry>> {
        let inner = self.inner();
        let found = inner.audit.iter().rev().filter(|entry| query.takes(entry));
        now(found.take(query.limit).cloned().collect())
    }
}

fn is_on_its_way(record: &Record) -> bool {
    matches!(record.stage, Stage::Held | Stage::Asked | Stage::Deposited)
}

impl Inner {
    fn apply(&mut self, batch: Batch) {
        for write in &batch.writes {
            self.note(&batch.station, write);
        }
        if let Some((id, target)) = batch.target
            && let Some(entry) = self.entry(&batch.station, id)
        {
            entry.target = Some(target);
        }
        let stored = self.stations.entry(batch.station).or_default();
        batch
            .writes
            .into_iter()
            .for_each(|write| stored.records.apply(write));
        stored.facts = batch.facts.unwrap_or_else(|| std::mem::take(&mut stored.facts));
    }

    /// Writes the audit trail.
    fn note(&mut self, station: &StationKey, write: &Write) {
        match write {
            Write::Accepted(record) => {
                self.audit
                    .push_back(AuditEntry::accepted(self.next_number, station, record));
                self.next_number += 1;
                if self.audit.len() > MAX_AUDIT {
                    self.audit.pop_front();
                }
            }
            Write::Stage { id, stage, at } => {
                if let Some(entry) = self.entry(station, *id) {
                    entry.set(stage, *at);
                }
            }
            Write::Done { id, at } => {
                if let Some(entry) = self.entry(station, *id) {
                    entry.done_at_s = Some(at.as_secs());
                }
            }
            _ => {}
        }
    }

    fn entry(&mut self, station: &StationKey, id: ExchangeId) -> Option<&mut AuditEntry> {
        self.audit
            .iter_mut()
            .rev()
            .find(|entry| entry.exchange == id && entry.station == *station)
    }

    /// Forgets a station of which nothing is open, and not `station`, where there are too many.
    fn make_room(&mut self, station: &StationKey, max_stations: usize) {
        if self.stations.len() > max_stations {
            let idle = self
                .stations
                .iter()
                .find(|(key, stored)| *key != station && stored.records.exchanges.is_empty());
            if let Some(idle) = idle.map(|(key, _)| key.clone()) {
                self.stations.remove(&idle);
            }
        }
    }
}
