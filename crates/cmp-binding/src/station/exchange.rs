//! One exchange as the station sees it, and its form for storage.

use alloc::vec::Vec;
use core::time::Duration;

use serde::{Deserialize, Serialize};

use crate::assembly::Assembly;
use crate::id::{ExchangeId, Route};

/// An exchange as it is put into storage, so that it survives a loss of power.
///
/// One taken right after [`submit`](super::Station::submit) is enough for the whole exchange: where it stands is
/// asked of the CSMS after the restart. The request may hold personal data of the station; it holds no secret key.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Snapshot {
    /// Name of the exchange.
    pub id: ExchangeId,
    /// The RA it is for.
    pub route: Route,
    /// The CMP request, DER.
    pub request: Vec<u8>,
    /// Whether the CSMS side is known to hold the whole request.
    pub complete: bool,
}

#[derive(Debug)]
pub(super) struct Exchange {
    pub(super) id: ExchangeId,
    pub(super) route: Route,
    pub(super) request: Vec<u8>,
    pub(super) phase: Phase,
    /// A part of it may have reached the CSMS side.
    pub(super) begun: bool,
    /// The CSMS side has shown that it holds the whole request.
    pub(super) complete: bool,
    /// Ask where it stands (`CmpFetch`) before going on.
    pub(super) ask: bool,
    /// The next call for it is not made before.
    pub(super) due: Duration,
    /// Answers in a row that did not bring it forward.
    pub(super) stalls: u32,
    /// Answers in a row that asked for more of a request that was said to be held in whole.
    pub(super) contradictions: u32,
    /// Answers in a row that were none of the binding's.
    pub(super) faults: u32,
    /// When it last came forward or was told to wait.
    pub(super) progress: Duration,
}

#[derive(Debug)]
pub(super) enum Phase {
    /// The CSMS side stands at `next`.
    Sending { next: usize },
    /// The request is there; the response is not, or in part.
    Waiting { response: Option<Assembly> },
    /// The whole response, of `len` bytes, went to the caller, who has not acknowledged it yet.
    Answered { len: usize },
}

impl Exchange {
    pub(super) fn new(now: Duration, id: ExchangeId, route: Route, request: Vec<u8>) -> Self {
        Self {
            id,
            route,
            request,
            phase: Phase::Sending { next: 0 },
            begun: false,
            complete: false,
            ask: false,
            due: now,
            stalls: 0,
            contradictions: 0,
            faults: 0,
            progress: now,
        }
    }

    pub(super) fn restored(now: Duration, snapshot: Snapshot) -> Self {
        let Snapshot {
            id,
            route,
            request,
            complete,
        } = snapshot;
        Self {
            begun: true,
            ask: true,
            complete,
            ..Self::new(now, id, route, request)
        }
    }

    pub(super) fn snapshot(&self) -> Snapshot {
        let Self {
            id,
            route,
            request,
            complete,
            ..
        } = self;
        Snapshot {
            id: *id,
            route: route.clone(),
            request: request.clone(),
            complete: *complete,
        }
    }

    pub(super) const fn is_answered(&self) -> bool {
        matches!(self.phase, Phase::Answered { .. })
    }

    /// Bytes of the response that are held.
    pub(super) fn response_held(&self) -> usize {
        match &self.phase {
            Phase::Waiting {
                response: Some(response),
            } => response.held(),
            Phase::Sending { .. } | Phase::Waiting { .. } => 0,
            Phase::Answered { len } => *len,
        }
    }

    /// The CSMS side holds the whole request.
    pub(super) fn completed(&mut self) {
        self.complete = true;
        if let Phase::Sending { .. } = self.phase {
            self.phase = Phase::Waiting { response: None };
        }
    }

    pub(super) fn came_forward(&mut self, now: Duration) {
        self.stalls = 0;
        self.contradictions = 0;
        self.faults = 0;
        self.progress = now;
        self.due = now;
    }
}
