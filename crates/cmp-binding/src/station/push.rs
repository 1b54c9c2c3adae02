//! Push mode: the calls of the station and what their answers mean.

use alloc::vec::Vec;
use core::time::Duration;

use super::exchange::Phase;
use super::{Event, Failure, Station, call_token};
use crate::config::{backoff, clamp_hint};
use crate::data::{Call, CallOutcome, CallToken, NoObject};
use crate::error::{ErrorCode, TransferError};
use crate::id::{ExchangeId, Operation};
use crate::wire::{Chunk, Members, SlotReport, Versions};

/// Answers in a row that are none of the binding's before an exchange fails.
const MOST_FAULTS: u32 = 8;
/// Calls in a row that may fail before a `CmpHello` that nothing depends on is given up.
const MOST_TRIES: u32 = 4;
/// Times that the CSMS side may ask for more of a request that it has said to hold.
const MOST_CONTRADICTIONS: u32 = 3;
/// Acknowledgements in one call.
const ACKS_IN_A_CALL: usize = 4;
const LONGEST_BACKOFF: Duration = Duration::from_secs(300);

#[derive(Debug)]
pub(super) struct Outstanding {
    token: CallToken,
    kind: Kind,
    acks: Vec<ExchangeId>,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Hello,
    Exchange(ExchangeId),
    Acks,
}

impl Station {
    /// The next call to send, if one is due: at most one is outstanding. Its end goes to
    /// [`Station::handle_result`]. To be called after every other method and when [`Station::poll_timeout`] is due.
    #[must_use]
    pub fn poll_call(&mut self, now: Duration) -> Option<Call> {
        self.handle_timeout(now);
        if !self.may_call() {
            return None;
        }
        let hello_due = self.hello.is_some().then_some(self.hello_due);
        if hello_due.is_some_and(|due| due <= now) {
            return Some(self.call_hello());
        }
        if hello_due.is_some() && self.hello_comes_first() {
            return None;
        }
        let due = self.exchanges.iter().filter(|e| !e.is_answered() && e.due <= now);
        if let Some(id) = due.min_by_key(|e| e.due).map(|e| e.id) {
            return self.call_exchange(id);
        }
        (!self.acks.is_empty() && self.ack_due <= now).then(|| {
            let acks = self.some_acks();
            let members = Members {
                ack: acks.clone(),
                ..Members::default()
            };
            self.call(Operation::Fetch, Kind::Acks, acks, members)
        })
    }

    /// How the call of `token` ended. A token that is not outstanding is ignored: its connection is gone.
    pub fn handle_result(&mut self, now: Duration, token: CallToken, outcome: &CallOutcome) {
        let Some(outstanding) = self.outstanding.take_if(|outstanding| outstanding.token == token) else {
            return;
        };
        let answer = outcome
            .object()
            .and_then(|data| Members::parse(data).map_err(|_| NoObject::Fault));
        if let Ok(members) = &answer
            && members.error.is_none()
        {
            self.acks.retain(|id| !outstanding.acks.contains(id));
        }
        if answer == Err(NoObject::NoBinding) {
            self.events.push_back(Event::NoBinding);
        }
        match outstanding.kind {
            Kind::Hello => self.hello_ended(now, answer),
            Kind::Acks => self.acks_ended(now, answer),
            Kind::Exchange(id) => match answer {
                Ok(members) => self.outcome(now, id, &members),
                Err(why) => self.call_failed(now, id, why),
            },
        }
    }

    fn call(&mut self, operation: Operation, kind: Kind, acks: Vec<ExchangeId>, members: Members) -> Call {
        let token = call_token(&mut self.next_token);
        self.outstanding = Some(Outstanding { token, kind, acks });
        Call {
            token,
            message_id: operation.as_str(),
            data: members.into_data(self.config.form),
        }
    }

    fn call_hello(&mut self) -> Call {
        let fit = self.fit(self.config.envelope.call_bytes, self.config.form);
        let with = |slots: &[SlotReport]| Members {
            v: Some(Versions::offer()),
            unit: Some(self.config.unit),
            max: Some(self.config.max),
            slots: Some(slots.to_vec()).filter(|slots| !slots.is_empty()),
            ..Members::default()
        };
        let mut slots = self.hello.clone().unwrap_or_default();
        if !with(&slots).fits(fit) {
            slots.iter_mut().for_each(|slot| slot.error = None);
        }
        while !slots.is_empty() && !with(&slots).fits(fit) {
            slots.pop();
        }
        let members = with(&slots);
        self.call(Operation::Hello, Kind::Hello, Vec::new(), members)
    }

    fn call_exchange(&mut self, id: ExchangeId) -> Option<Call> {
        let ack = self.some_acks();
        let fit = self.fit(self.config.envelope.call_bytes, self.config.form);
        let exchange = self.exchange_mut(id)?;
        exchange.begun = true;
        let members = Members {
            id: Some(id),
            ack: ack.clone(),
            ..Members::default()
        };
        let (operation, members) = match exchange.phase {
            Phase::Sending { next } if !exchange.ask => {
                let route = (next == 0).then(|| exchange.route.clone());
                let members = Members { route, ..members };
                (Operation::Send, members.with_piece(&exchange.request, next, fit))
            }
            _ => (
                Operation::Fetch,
                Members {
                    off: Some(exchange.response_held()),
                    ..members
                },
            ),
        };
        Some(self.call(operation, Kind::Exchange(id), ack, members))
    }

    pub(super) fn some_acks(&self) -> Vec<ExchangeId> {
        self.acks.iter().copied().take(ACKS_IN_A_CALL).collect()
    }

    fn hello_ended(&mut self, now: Duration, answer: Result<Members, NoObject>) {
        match answer {
            Ok(members) => match members.transfer_error() {
                Some(TransferError {
                    retry: Some(retry), ..
                }) => self.hello_due = now + clamp_hint(retry),
                Some(error) => {
                    self.hello = None;
                    self.events.push_back(Event::HelloFailed(error));
                }
                None => {
                    self.hello = None;
                    self.learn_limits(members.unit, members.max);
                    let (unit, max) = (self.peer_unit, self.peer_max);
                    self.events.push_back(Event::Hello {
                        unit,
                        max,
                        routes: members.routes.unwrap_or_default(),
                    });
                }
            },
            Err(NoObject::NoBinding) => self.hello = None,
            Err(_) => {
                self.hello_due = now + backoff(self.hello_tries, LONGEST_BACKOFF);
                self.hello_tries += 1;
                if self.hello_tries >= MOST_TRIES && !self.hello_comes_first() {
                    self.hello = None;
                }
            }
        }
    }

    fn acks_ended(&mut self, now: Duration, answer: Result<Members, NoObject>) {
        let is_fault = match answer.map(|members| members.transfer_error()) {
            Ok(None) => {
                self.ack_tries = 0;
                self.ack_due = now;
                return;
            }
            Ok(Some(TransferError {
                retry: Some(retry), ..
            })) => {
                self.ack_due = now + clamp_hint(retry);
                return;
            }
            Ok(Some(_)) | Err(NoObject::Fault) => true,
            Err(NoObject::TimedOut | NoObject::Disconnected) => false,
            Err(NoObject::NoBinding) => return self.acks.clear(),
        };
        self.ack_due = now + backoff(self.ack_tries, LONGEST_BACKOFF);
        self.ack_tries += 1;
        // The retention of the CSMS side ends what is never acknowledged.
        if is_fault && self.ack_tries >= MOST_FAULTS {
            self.ack_tries = 0;
            self.acks.clear();
        }
    }

    /// No object of ours came: call again later, or give up.
    fn call_failed(&mut self, now: Duration, id: ExchangeId, why: NoObject) {
        let Some(exchange) = self.exchange_mut(id) else {
            return;
        };
        match why {
            NoObject::NoBinding => self.fail(now, id, Failure::NoBinding),
            NoObject::Disconnected => exchange.ask = true,
            NoObject::TimedOut => {
                exchange.due = now + backoff(exchange.stalls, LONGEST_BACKOFF);
                exchange.stalls += 1;
            }
            NoObject::Fault => {
                exchange.faults += 1;
                exchange.due = now + backoff(exchange.faults, LONGEST_BACKOFF);
                if exchange.faults >= MOST_FAULTS {
                    self.fail(now, id, Failure::Faults);
                }
            }
        }
    }

    /// What an *outcome* means for the exchange.
    fn outcome(&mut self, now: Duration, id: ExchangeId, members: &Members) {
        let Some(exchange) = self.exchange_mut(id) else {
            return;
        };
        if exchange.is_answered() {
            return;
        }
        exchange.ask = false;
        if let Some(error) = members.transfer_error() {
            self.outcome_error(now, id, error);
        } else if members.done == Some(true) {
            self.fail(now, id, Failure::Finished);
        } else if let Some(next) = members.next {
            self.stands_at(now, id, next);
        } else if let Some(wait) = members.wait {
            exchange.completed();
            exchange.came_forward(now);
            exchange.due = now + clamp_hint(Duration::from_secs(wait));
        } else if members.has_chunk() {
            match members.chunk() {
                Ok(chunk) => self.response_piece(now, id, &chunk),
                Err(_) => self.call_failed(now, id, NoObject::Fault),
            }
        } else {
            self.call_failed(now, id, NoObject::Fault);
        }
    }

    fn response_piece(&mut self, now: Duration, id: ExchangeId, chunk: &Chunk) {
        let before = self.exchange(id).map(super::Exchange::response_held);
        match self.accept_response(now, id, chunk) {
            Ok(()) if self.exchange(id).map(super::Exchange::response_held) > before => {}
            // Not where this station stands, or nothing new: ask again, later each time.
            Ok(()) | Err(TransferError { retry: Some(_), .. }) => self.stalled(now, id),
            Err(error) => self.fail(now, id, Failure::Transfer(error)),
        }
    }

    fn outcome_error(&mut self, now: Duration, id: ExchangeId, error: TransferError) {
        let Some(exchange) = self.exchange_mut(id) else {
            return;
        };
        match (error.code, error.next, error.retry) {
            (ErrorCode::Gap, Some(next), _) => self.stands_at(now, id, next),
            (ErrorCode::UnknownExchange, _, None) if !exchange.complete => self.stands_at(now, id, 0),
            (_, _, Some(retry)) => {
                if error.code == ErrorCode::RaUnreachable {
                    exchange.completed();
                }
                exchange.came_forward(now);
                exchange.due = now + clamp_hint(retry);
            }
            (_, _, None) => self.fail(now, id, Failure::Transfer(error)),
        }
    }

    /// The CSMS side holds the request up to `next`.
    fn stands_at(&mut self, now: Duration, id: ExchangeId, next: usize) {
        let Some(exchange) = self.exchange_mut(id) else {
            return;
        };
        let len = exchange.request.len();
        let before = match exchange.phase {
            Phase::Sending { next } => next,
            // It said before that it has all of it, so it may have asked the RA: never sent again.
            _ if exchange.contradictions < MOST_CONTRADICTIONS => {
                exchange.contradictions += 1;
                return self.stalled(now, id);
            }
            _ => {
                let error = TransferError::last(ErrorCode::UnknownExchange);
                return self.fail(now, id, Failure::Transfer(error));
            }
        };
        if next >= len {
            exchange.completed();
            return self.stalled(now, id);
        }
        exchange.phase = Phase::Sending { next };
        if next > before {
            exchange.came_forward(now);
        } else if next < before || exchange.stalls == 0 {
            // The other side lost what it had, or the answer only says where to begin.
            exchange.due = now;
            exchange.stalls += 1;
        } else {
            self.stalled(now, id);
        }
    }

    fn stalled(&mut self, now: Duration, id: ExchangeId) {
        let Some(exchange) = self.exchange_mut(id) else {
            return;
        };
        exchange.due = now + backoff(exchange.stalls, LONGEST_BACKOFF);
        exchange.stalls += 1;
    }
}
