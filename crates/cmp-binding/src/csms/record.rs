//! What has to survive the process, and how a store keeps up with it.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::time::Duration;

use serde::{Deserialize, Serialize};

use crate::error::ErrorCode;
use crate::id::{ExchangeId, Route};

/// A change to what is stored of one station.
///
/// [`Csms::take_writes`](super::Csms::take_writes) returns them in order. They are to be durable, all or none of one
/// batch, before anything else that the same call returned (an answer, an action) is acted on.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Write {
    /// A whole request was taken: insert it.
    Accepted(Record),
    /// The exchange is in another stage: update it.
    Stage {
        /// The exchange.
        id: ExchangeId,
        /// Where it stands now.
        stage: Stage,
        /// Since when, on the clock of `now`.
        at: Duration,
    },
    /// The exchange is finished: delete it and remember its id.
    Done {
        /// The exchange.
        id: ExchangeId,
        /// Since when, on the clock of `now`.
        at: Duration,
    },
    /// A finished exchange need no longer be remembered: delete its id.
    Forget {
        /// The exchange.
        id: ExchangeId,
    },
}

/// An exchange in storage.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Record {
    /// Name of the exchange, within its station.
    pub id: ExchangeId,
    /// The RA it is for.
    pub route: Route,
    /// The whole request, DER.
    pub request: Vec<u8>,
    /// Where it stands.
    pub stage: Stage,
    /// Since when, on the clock of `now`.
    pub at: Duration,
}

/// Where an exchange whose request is whole stands.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Stage {
    /// No byte of the request can have reached an RA.
    Held,
    /// A byte of the request may have reached an RA.
    Asked,
    /// The request was given away for good, and its answer comes whatever becomes of this process.
    Deposited,
    /// The RA's answer.
    Answered(Vec<u8>),
    /// It is over without an answer.
    Failed(ErrorCode),
}

/// All that is stored of one station: what [`Csms::restore`](super::Csms::restore) starts from.
///
/// [`StationRecords::apply`] is the whole meaning of a [`Write`]; a store in memory is a map of these.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct StationRecords {
    /// Exchanges that are not finished, oldest first.
    pub exchanges: Vec<Record>,
    /// Finished exchanges that are remembered and since when, oldest first.
    pub done: VecDeque<(ExchangeId, Duration)>,
}

impl StationRecords {
    /// Carries out one change.
    pub fn apply(&mut self, write: Write) {
        match write {
            Write::Accepted(record) => self.exchanges.push(record),
            Write::Stage { id, stage, at } => {
                if let Some(record) = self.exchanges.iter_mut().find(|record| record.id == id) {
                    record.stage = stage;
                    record.at = at;
                }
            }
            Write::Done { id, at } => {
                self.exchanges.retain(|record| record.id != id);
                self.done.push_back((id, at));
            }
            Write::Forget { id } => self.done.retain(|(done, _)| *done != id),
        }
    }

    /// Whether nothing is left to be stored.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.exchanges.is_empty() && self.done.is_empty()
    }
}
