//! Between the exchanges and the RA: forwarded, asked, answered, and what a restart makes of each.

use alloc::vec::Vec;
use core::error::Error;
use core::fmt;
use core::time::Duration;

use super::exchange::{Delivery, Exchange, State};
use super::{Action, Csms, Notice, Record, Stage, Write};
use crate::assembly::{Assembly, is_one_sequence};
use crate::config::clamp_hint;
use crate::error::ErrorCode;
use crate::id::ExchangeId;

/// Why there is no answer of an RA.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum RaError {
    /// No byte of the request can have reached an RA.
    Unreachable,
    /// Nothing was tried, because too much is going on or the RA is known to be down; to be tried again after this.
    Busy(Duration),
    /// A byte may have reached an RA, and no answer came.
    Timeout,
    /// What came was not one DER SEQUENCE, or too large.
    BadResponse,
    /// The route is not for this station, or this message not for the route; nothing was sent.
    Forbidden,
}

impl fmt::Display for RaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unreachable => "no RA could be reached",
            Self::Busy(_) => "too much is going on to ask the RA now",
            Self::Timeout => "the RA did not answer",
            Self::BadResponse => "the RA's answer is not a CMP message, or too large",
            Self::Forbidden => "not allowed",
        })
    }
}

impl Error for RaError {}

const LONGEST_RETRY: Duration = Duration::from_secs(300);

impl Csms {
    /// The first byte of the request is about to be written to an RA. From here on it is never asked again.
    ///
    /// Returns whether it may be: `false` if the station has given the exchange up, or if it was asked already. Make
    /// [`Csms::take_writes`] durable before the byte is written.
    #[must_use]
    pub fn handle_asked(&mut self, now: Duration, id: ExchangeId) -> bool {
        match self.exchange_mut(id) {
            Some(exchange) if matches!(exchange.state, State::Held) => {
                self.set_state(now, id, State::Asked);
                true
            }
            _ => false,
        }
    }

    /// The request is about to be left where an RA finds it, as a file that somebody carries (RFC 9483 §6.4). From here
    /// on it is never given away again, and its answer is waited for as long as it takes, over a restart too.
    ///
    /// Returns whether it may be, as [`Csms::handle_asked`] does. Make [`Csms::take_writes`] durable before the request
    /// can be found. [`Csms::handle_ra_response`] brings the answer; no error does but [`RaError::Timeout`], where the place
    /// is gone and its outcome will not be known.
    #[must_use]
    pub fn handle_deposited(&mut self, now: Duration, id: ExchangeId) -> bool {
        match self.exchange_mut(id) {
            Some(exchange) if matches!(exchange.state, State::Held) => {
                self.set_state(now, id, State::Deposited);
                // It will take a while: nobody holds a call open for that.
                self.reply(now, id);
                true
            }
            _ => false,
        }
    }

    /// What came of [`Action::Forward`]. Anything for an exchange that is not being forwarded is ignored.
    ///
    /// After [`Csms::handle_asked`], [`RaError::Unreachable`] and [`RaError::Busy`] are a promise of the caller that
    /// no byte was written after all.
    pub fn handle_ra_response(&mut self, now: Duration, id: ExchangeId, result: Result<Vec<u8>, RaError>) {
        let (max, first_retry) = (self.config.max, self.config.first_retry);
        let Some(exchange) = self.exchange_mut(id) else {
            return;
        };
        match exchange.state {
            State::Held | State::Asked => {}
            State::Deposited if matches!(result, Ok(_) | Err(RaError::Timeout)) => {}
            _ => return,
        }
        let state = match result {
            Ok(response) if response.len() <= max && is_one_sequence(&response) => State::Answered(response),
            Ok(_) | Err(RaError::BadResponse) => State::Failed(ErrorCode::RaBadResponse),
            Err(RaError::Timeout) => State::Failed(ErrorCode::RaTimeout),
            Err(RaError::Forbidden) => State::Failed(ErrorCode::Forbidden),
            Err(RaError::Busy(retry)) => State::Delayed {
                retry_at: now.saturating_add(clamp_hint(retry)),
                code: ErrorCode::Busy,
            },
            Err(RaError::Unreachable) => {
                let retry = first_retry.saturating_mul(1 << exchange.tries.min(8));
                let retry = retry.min(LONGEST_RETRY);
                exchange.tries += 1;
                State::Delayed {
                    retry_at: now.saturating_add(retry),
                    code: ErrorCode::RaUnreachable,
                }
            }
        };
        self.set_state(now, id, state);
        let settled = self.exchange(id).is_some_and(Exchange::is_settled);
        if !self.reply(now, id) && settled && !self.is_pulling() {
            self.queue_notice(Notice::Ready(id));
        }
    }

    pub(super) fn set_state(&mut self, now: Duration, id: ExchangeId, state: State) {
        let Some(exchange) = self.exchange_mut(id) else {
            return;
        };
        let stage = match &state {
            State::Receiving => return,
            State::Held | State::Delayed { .. } => Stage::Held,
            State::Asked => Stage::Asked,
            State::Deposited => Stage::Deposited,
            State::Answered(response) => Stage::Answered(response.clone()),
            State::Failed(code) => Stage::Failed(*code),
        };
        let was_held = matches!(exchange.state, State::Held | State::Delayed { .. });
        exchange.state = state;
        if exchange.is_settled() {
            exchange.reserved.shrink_to(exchange.bytes());
        }
        if was_held && stage == Stage::Held {
            // Nothing new to store; and `at` stays when it was accepted, for the retention.
            return;
        }
        exchange.at = now;
        self.writes.push(Write::Stage { id, stage, at: now });
    }

    /// Forwards again what could not be forwarded before.
    pub(super) fn forward_again(&mut self, now: Duration) {
        let due = |e: &&Exchange| matches!(e.state, State::Delayed { retry_at, .. } if retry_at <= now);
        let ids: Vec<_> = self.exchanges.iter().filter(due).map(|e| e.id).collect();
        for id in ids {
            self.set_state(now, id, State::Held);
            self.forward(id);
        }
    }

    fn forward(&mut self, id: ExchangeId) {
        let Some(exchange) = self.exchange(id) else { return };
        let (route, request) = (exchange.route.clone(), exchange.request.bytes().to_vec());
        self.actions.push_back(Action::Forward { id, route, request });
    }

    fn await_response(&mut self, id: ExchangeId) {
        let Some(exchange) = self.exchange(id) else { return };
        let (route, request) = (exchange.route.clone(), exchange.request.bytes().to_vec());
        self.actions.push_back(Action::Await { id, route, request });
    }

    pub(super) fn restore_exchange(&mut self, now: Duration, record: Record) {
        let Record {
            id,
            route,
            request,
            stage,
            at,
        } = record;
        let state = match stage {
            Stage::Held | Stage::Asked => State::Held,
            Stage::Deposited => State::Deposited,
            Stage::Answered(ref response) => State::Answered(response.clone()),
            Stage::Failed(code) => State::Failed(code),
        };
        let response = match &state {
            State::Answered(response) => response.len(),
            State::Failed(_) => 0,
            _ => self.config.max,
        };
        let reserved = self.budget.insist(request.len().saturating_add(response));
        // A clock that was set back must not keep a response for longer.
        let at = at.min(now);
        let (request, delivery) = (Assembly::whole(request), Delivery::default());
        self.exchanges.push(Exchange {
            id,
            route,
            request,
            state,
            at,
            held_since: at,
            reserved,
            delivery,
            tries: 0,
        });
        match stage {
            Stage::Held => self.forward(id),
            Stage::Asked => self.set_state(now, id, State::Failed(ErrorCode::RaTimeout)),
            Stage::Deposited => self.await_response(id),
            Stage::Answered(_) | Stage::Failed(_) => {}
        }
    }
}
