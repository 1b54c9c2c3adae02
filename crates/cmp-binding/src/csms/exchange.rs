//! One exchange as the CSMS side sees it.

use alloc::vec::Vec;
use core::time::Duration;

use super::Limits;
use super::budget::Reservation;
use crate::assembly::Assembly;
use crate::error::ErrorCode;
use crate::id::{ExchangeId, Route};

#[derive(Debug)]
pub(super) struct Exchange {
    pub(super) id: ExchangeId,
    pub(super) route: Route,
    pub(super) request: Assembly,
    pub(super) state: State,
    /// Since when it is in this state; for an upload: since the last piece.
    pub(super) at: Duration,
    /// Since when its request is whole. However often an RA is then tried, it is not kept for longer than a response.
    pub(super) held_since: Duration,
    /// For what is held and, once the request is whole, for the largest response.
    pub(super) reserved: Reservation,
    /// How far its response was delivered in pull mode, and when to go on.
    pub(super) delivery: Delivery,
    /// Times that no RA could be reached.
    pub(super) tries: u32,
}

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Delivery {
    pub(super) off: usize,
    pub(super) due: Duration,
    pub(super) stalls: u32,
}

#[derive(Debug)]
pub(super) enum State {
    /// The request is not whole.
    Receiving,
    /// Given to the caller to be forwarded; no byte has reached an RA.
    Held,
    /// No RA could be reached, or too much was going on; to be forwarded again at `retry_at`.
    Delayed { retry_at: Duration, code: ErrorCode },
    /// A byte may have reached an RA.
    Asked,
    /// It lies where an RA finds it, whatever becomes of this process.
    Deposited,
    /// The RA's answer.
    Answered(Vec<u8>),
    /// Over without an answer.
    Failed(ErrorCode),
}

impl Exchange {
    /// The request is whole.
    pub(super) const fn is_complete(&self) -> bool {
        !matches!(self.state, State::Receiving)
    }

    /// It waits for the station, not for an RA.
    pub(super) const fn is_settled(&self) -> bool {
        matches!(self.state, State::Answered(_) | State::Failed(_))
    }

    /// Until when it is kept; `None` while an RA is being asked.
    pub(super) fn kept_until(&self, limits: &Limits) -> Option<Duration> {
        let (since, retention) = match self.state {
            State::Held | State::Asked | State::Deposited => return None,
            State::Delayed { .. } => (self.held_since, limits.retention),
            State::Receiving => (self.at, limits.upload_retention),
            State::Answered(_) | State::Failed(_) => (self.at, limits.retention),
        };
        Some(since.saturating_add(retention))
    }

    /// Bytes held for it.
    pub(super) fn bytes(&self) -> usize {
        let response = if let State::Answered(response) = &self.state {
            response.len()
        } else {
            0
        };
        self.request.held() + response
    }
}
