//! The calls of the CSMS side: `CmpNotify`, and in pull mode `CmpPull` and `CmpDeliver`.

use alloc::collections::VecDeque;
use core::time::Duration;

use super::exchange::{Exchange, State};
use super::{Action, Csms, Notice};
use crate::config::{backoff, clamp_hint};
use crate::data::{Call, CallOutcome, CallToken, NoObject};
use crate::error::{ErrorCode, TransferError};
use crate::id::{ExchangeId, Operation};
use crate::wire::{Members, Versions};

/// Calls in a row that may bring nothing before pull mode is given up.
const MOST_STALLS: u32 = 10;
/// Times that a whole response is delivered again to a station that does not acknowledge it.
const MOST_DELIVERIES: u32 = 10;
const LONGEST_BACKOFF: Duration = Duration::from_secs(300);
/// How long a station may take to store a response before it is asked again.
const STORE_TIME: Duration = Duration::from_secs(5);
const MOST_REFUSALS: usize = 4;

#[derive(Debug, Default)]
pub(super) struct Pull {
    active: bool,
    due: Duration,
    stalls: u32,
    /// The request that is being pulled.
    upload: Option<ExchangeId>,
    /// Exchanges that the station offers and that are not taken; it is to be told so.
    refusals: VecDeque<(ExchangeId, ErrorCode)>,
}

#[derive(Clone, Debug)]
pub(super) struct Outstanding {
    token: CallToken,
    kind: Kind,
}

#[derive(Clone, Debug)]
enum Kind {
    Ready,
    Do,
    Pull,
    Deliver(ExchangeId),
    Refuse,
}

impl Csms {
    /// Begins to pull, until the station is idle: for a station whose boot is Pending. Ends with the connection.
    pub fn start_pull(&mut self, now: Duration) {
        if !self.pull.active {
            self.pull = Pull {
                active: true,
                due: now,
                ..Pull::default()
            };
        }
    }

    /// Whether pull mode is on.
    #[must_use]
    pub const fn is_pulling(&self) -> bool {
        self.pull.active
    }

    /// The next call to send to the station, if one is due: at most one is outstanding. Its end goes to
    /// [`Csms::handle_result`]. To be called after every other method and when [`Csms::poll_timeout`] is due.
    #[must_use]
    pub fn poll_call(&mut self, now: Duration) -> Option<Call> {
        if self.link.is_none() || self.outstanding.is_some() {
            return None;
        }
        if let Some(notice) = self.notices.pop_front() {
            return Some(self.call_notify(notice));
        }
        if !self.pull.active {
            return None;
        }
        let refusal = self
            .pull
            .refusals
            .front()
            .copied()
            .filter(|_| self.pull.due <= now);
        if let Some((id, code)) = refusal {
            let members = Members {
                id: Some(id),
                ..Members::error(&TransferError::last(code))
            };
            return Some(self.call(Operation::Deliver, Kind::Refuse, members));
        }
        let ready = self.deliverable().find(|e| e.delivery.due <= now).map(|e| e.id);
        match ready {
            Some(id) => self.call_deliver(id),
            None => (self.pull.due <= now).then(|| self.call_pull()),
        }
    }

    /// How the call of `token` ended. A token that is not outstanding is ignored: its connection is gone.
    pub fn handle_result(&mut self, now: Duration, token: CallToken, outcome: &CallOutcome) {
        let Some(Outstanding { kind, .. }) = self.outstanding.take_if(|call| call.token == token) else {
            return;
        };
        let answer = outcome
            .object()
            .and_then(|data| Members::parse(data).map_err(|_| NoObject::Fault));
        if answer == Err(NoObject::NoBinding) {
            self.actions.push_back(Action::NoBinding);
            self.end_pull(false);
        }
        if let Ok(members) = &answer {
            for id in &members.ack {
                self.finish(now, *id);
            }
        }
        match (kind, answer) {
            (Kind::Ready, _) => {}
            (Kind::Do, answer) => {
                let refused = match answer {
                    Ok(members) => members.transfer_error().map(|error| error.code),
                    Err(_) => Some(ErrorCode::Other),
                };
                self.actions.push_back(Action::Notified(refused));
            }
            (Kind::Pull, Ok(members)) => self.pulled(now, &members),
            (Kind::Deliver(id), Ok(members)) => self.delivered(now, id, &members),
            (Kind::Refuse, Ok(_)) => {
                self.pull.refusals.pop_front();
            }
            (_, Err(_)) => self.pull_stalled(now),
        }
    }

    pub(super) fn call_due(&self) -> Option<Duration> {
        if self.link.is_none() || self.outstanding.is_some() {
            return None;
        }
        if !self.notices.is_empty() {
            return Some(Duration::ZERO);
        }
        if !self.pull.active {
            return None;
        }
        if !self.pull.refusals.is_empty() {
            return Some(self.pull.due);
        }
        let deliveries = self.deliverable().map(|e| e.delivery.due);
        deliveries.chain([self.pull.due]).min()
    }

    /// What may be delivered: nothing, before an answer on this connection could say how large a frame may be.
    fn deliverable(&self) -> impl Iterator<Item = &Exchange> {
        let told = self.link.is_some_and(|link| link.told);
        self.exchanges.iter().filter(move |e| told && e.is_settled())
    }

    fn call(&mut self, operation: Operation, kind: Kind, members: Members) -> Call {
        let token = self.call_token();
        self.outstanding = Some(Outstanding { token, kind });
        let form = self.link.map(|link| link.form).unwrap_or_default();
        Call {
            token,
            message_id: operation.as_str(),
            data: members.into_data(form),
        }
    }

    fn call_notify(&mut self, notice: Notice) -> Call {
        match notice {
            Notice::Ready(id) => {
                let members = Members {
                    ready: Some(id),
                    ..Members::default()
                };
                self.call(Operation::Notify, Kind::Ready, members)
            }
            Notice::Do(operation, slot) => {
                let operation = Some(operation.as_str().into());
                let members = Members {
                    operation,
                    slot: Some(slot),
                    ..Members::default()
                };
                self.call(Operation::Notify, Kind::Do, members)
            }
        }
    }

    fn call_pull(&mut self) -> Call {
        let upload = self
            .pull
            .upload
            .and_then(|id| self.exchange(id))
            .filter(|e| !e.is_complete());
        let members = if let Some(upload) = upload {
            Members {
                id: Some(upload.id),
                off: Some(upload.request.held()),
                ..Members::default()
            }
        } else {
            self.pull.upload = None;
            let have = self.exchanges.iter().filter(|e| e.is_complete()).map(|e| e.id);
            Members {
                have: Some(have.collect()),
                ..Members::default()
            }
        };
        let members = Members {
            v: Some(Versions::offer()),
            unit: Some(self.config.unit),
            max: Some(self.config.max),
            ..members
        };
        self.call(Operation::Pull, Kind::Pull, members)
    }

    fn call_deliver(&mut self, id: ExchangeId) -> Option<Call> {
        let form = self.link.map(|link| link.form).unwrap_or_default();
        let fit = self.fit(self.config.envelope.call_bytes, form);
        let station_max = self.station_max();
        let exchange = self.exchange(id)?;
        let members = Members {
            id: Some(id),
            ..Members::default()
        };
        let error = |code| Members {
            id: Some(id),
            ..Members::error(&TransferError::last(code))
        };
        let members = match &exchange.state {
            State::Answered(response) if response.len() > station_max => error(ErrorCode::ResponseTooLarge),
            State::Answered(response) => members.with_piece(response, exchange.delivery.off, fit),
            State::Failed(code) => error(*code),
            _ => return None,
        };
        Some(self.call(Operation::Deliver, Kind::Deliver(id), members))
    }

    fn pulled(&mut self, now: Duration, answer: &Members) {
        self.learn_limits(answer);
        if let Some(error) = answer.transfer_error() {
            return self.pull_refused(now, &error);
        }
        if let Some(wait) = answer.wait {
            self.pull.stalls = 0;
            self.pull.due = now.saturating_add(clamp_hint(Duration::from_secs(wait)));
        } else if answer.idle == Some(true) {
            self.end_pull(true);
        } else if let Some(id) = answer.id {
            self.offered(now, id, answer);
        } else {
            self.pull_stalled(now);
        }
    }

    /// The station did not give what was pulled.
    fn pull_refused(&mut self, now: Duration, error: &TransferError) {
        if let (Some(id), None) = (self.pull.upload.take(), error.retry) {
            self.exchanges
                .retain(|exchange| exchange.id != id || exchange.is_complete());
        }
        self.pull_stalled(now);
    }

    /// The station offers a piece of a request.
    fn offered(&mut self, now: Duration, id: ExchangeId, answer: &Members) {
        if self.done.contains(id) {
            return self.refuse(now, id, ErrorCode::UnknownExchange);
        }
        let before = self.exchange(id).map_or(0, |exchange| exchange.request.held());
        let taken = answer
            .chunk()
            .and_then(|chunk| self.accept(now, id, answer.route.as_ref(), &chunk));
        let after = self.exchange(id).map_or(0, |exchange| exchange.request.held());
        match taken {
            Err(TransferError {
                retry: None, code, ..
            }) => self.refuse(now, id, code),
            Err(
                error @ TransferError {
                    code: ErrorCode::Busy,
                    ..
                },
            ) => {
                self.pull.due = now.saturating_add(clamp_hint(error.retry.unwrap_or_default()));
            }
            Ok(()) | Err(_) => {
                self.pull.upload = Some(id);
                if after > before {
                    self.pull.stalls = 0;
                    self.pull.due = now;
                } else {
                    self.pull_stalled(now);
                }
            }
        }
    }

    fn refuse(&mut self, now: Duration, id: ExchangeId, code: ErrorCode) {
        self.pull.upload = None;
        self.pull.due = now;
        let listed = self.pull.refusals.iter().any(|(refused, _)| *refused == id);
        if !listed && self.pull.refusals.len() < MOST_REFUSALS {
            self.pull.refusals.push_back((id, code));
        }
    }

    fn delivered(&mut self, now: Duration, id: ExchangeId, answer: &Members) {
        let error = answer.transfer_error();
        let gone = matches!(&error, Some(error) if error.retry.is_none());
        if answer.done == Some(true) || gone {
            self.pull.stalls = 0;
            self.pull.due = now;
            return self.finish(now, id);
        }
        let retry = error.as_ref().and_then(|error| error.retry);
        let next = answer.next.or_else(|| error.and_then(|error| error.next));
        let Some(exchange) = self.exchange_mut(id) else {
            return;
        };
        let len = if let State::Answered(response) = &exchange.state {
            response.len()
        } else {
            0
        };
        let delivery = &mut exchange.delivery;
        let forward = next.is_some_and(|next| next > delivery.off);
        match next {
            Some(next) if next < len => delivery.off = next,
            // All of it is there, and not safe yet: on with the pulling, and the last piece again if no `ack` comes.
            Some(_) => return self.deliver_again(now, id),
            None => {}
        }
        if forward {
            delivery.stalls = 0;
            delivery.due = now;
            self.pull.stalls = 0;
        } else {
            delivery.due = now.saturating_add(clamp_hint(retry.unwrap_or_default()));
            self.pull_stalled(now);
        }
    }

    fn deliver_again(&mut self, now: Duration, id: ExchangeId) {
        self.pull.stalls = 0;
        self.pull.due = now;
        let Some(exchange) = self.exchange_mut(id) else {
            return;
        };
        let delivery = &mut exchange.delivery;
        delivery.due = now.saturating_add((STORE_TIME * (1 << delivery.stalls.min(8))).min(LONGEST_BACKOFF));
        delivery.stalls += 1;
        if delivery.stalls > MOST_DELIVERIES {
            // Left to the retention.
            delivery.due = Duration::MAX;
        }
    }

    /// Nothing came of a call: later again, and not for ever.
    fn pull_stalled(&mut self, now: Duration) {
        let due = now.saturating_add(backoff(self.pull.stalls, LONGEST_BACKOFF));
        self.pull.due = due;
        self.pull.stalls += 1;
        for exchange in self.exchanges.iter_mut().filter(|exchange| exchange.is_settled()) {
            exchange.delivery.due = exchange.delivery.due.max(due);
        }
        if self.pull.stalls >= MOST_STALLS {
            self.end_pull(false);
        }
    }

    fn end_pull(&mut self, idle: bool) {
        if core::mem::take(&mut self.pull).active {
            self.actions.push_back(Action::PullEnded { idle });
        }
    }
}
