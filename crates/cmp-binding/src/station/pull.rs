//! What the station answers to calls of the CSMS: `CmpPull`, `CmpDeliver`, `CmpNotify`.

use alloc::string::String;
use core::time::Duration;

use super::exchange::Phase;
use super::{Event, Failure, Station};
use crate::config::{clamp_hint, seconds};
use crate::data::{Answer, Data, Form};
use crate::error::{ErrorCode, TransferError};
use crate::id::{DoOperation, ExchangeId, Operation};
use crate::wire::Members;

impl Station {
    /// Answers a DataTransfer of our vendorId from the CSMS. `data` is `None` if the request had none.
    #[must_use]
    pub fn handle_call(&mut self, now: Duration, message_id: &str, data: Option<&Data>) -> Answer {
        let operation = match Operation::parse(message_id) {
            Some(operation @ (Operation::Notify | Operation::Pull | Operation::Deliver)) => operation,
            _ => return Answer::UNKNOWN_MESSAGE_ID,
        };
        let form = data.map_or_else(Form::default, |data| data.form);
        let answer = data
            .ok_or(TransferError::last(ErrorCode::Malformed))
            .and_then(Members::parse)
            .and_then(|call| match operation {
                Operation::Pull => self.pulled(now, form, &call),
                Operation::Deliver => self.delivered(now, &call),
                _ => self.notified(now, call),
            });
        Answer::accepted(
            answer
                .unwrap_or_else(|error| Members::error(&error))
                .into_data(form),
        )
    }

    fn pulled(&mut self, now: Duration, form: Form, call: &Members) -> Result<Members, TransferError> {
        call.check_version()?;
        self.learn_limits(call.unit, call.max);
        let offer = match call.id {
            Some(id) => Some((id, call.off.ok_or(TransferError::last(ErrorCode::Malformed))?)),
            None => self
                .first_not_in(call.have.as_deref().unwrap_or_default())
                .map(|id| (id, 0)),
        };
        let ack = self.some_acks();
        let limits = Members {
            unit: Some(self.config.unit),
            max: Some(self.config.max),
            ack: ack.clone(),
            ..Members::default()
        };
        let members = match offer {
            Some((id, off)) => self.offer(now, form, id, off, limits)?,
            None => self.nothing_to_offer(now, limits),
        };
        // Lost with this answer, an acknowledgement is made good by `done` to the next delivery.
        self.acks.retain(|id| !ack.contains(id));
        Ok(members)
    }

    /// The oldest request without a response that the CSMS side does not hold.
    fn first_not_in(&mut self, have: &[ExchangeId]) -> Option<ExchangeId> {
        for exchange in self
            .exchanges
            .iter_mut()
            .filter(|exchange| have.contains(&exchange.id))
        {
            exchange.completed();
        }
        self.exchanges
            .iter()
            .find(|e| !e.is_answered() && !have.contains(&e.id))
            .map(|e| e.id)
    }

    fn offer(
        &mut self,
        now: Duration,
        form: Form,
        id: ExchangeId,
        off: usize,
        limits: Members,
    ) -> Result<Members, TransferError> {
        let fit = self.fit(self.config.envelope.result_bytes, form);
        let Some(exchange) = self.exchange_mut(id) else {
            return Err(TransferError::last(ErrorCode::UnknownExchange));
        };
        if off >= exchange.request.len() {
            return Err(TransferError::last(ErrorCode::Malformed));
        }
        exchange.begun = true;
        exchange.ask = true;
        exchange.progress = now;
        let route = Some(exchange.route.clone());
        let members = Members {
            id: Some(id),
            route,
            ..limits
        };
        Ok(members.with_piece(&exchange.request, off, fit))
    }

    fn nothing_to_offer(&self, now: Duration, limits: Members) -> Members {
        let wait = if self.busy_until > now {
            Some(clamp_hint(self.busy_until - now))
        } else if self.exchanges.is_empty() {
            None
        } else {
            Some(self.config.pull_wait)
        };
        Members {
            wait: wait.map(seconds),
            idle: wait.is_none().then_some(true),
            ..limits
        }
    }

    fn delivered(&mut self, now: Duration, call: &Members) -> Result<Members, TransferError> {
        let id = call.id.ok_or(TransferError::last(ErrorCode::Malformed))?;
        let Some(exchange) = self.exchange(id) else {
            let known = self.finished.contains(&id);
            let unknown = TransferError::last(ErrorCode::UnknownExchange);
            return if known { Ok(Members::done()) } else { Err(unknown) };
        };
        if let (Some(error), false) = (call.transfer_error(), exchange.is_answered()) {
            self.fail(now, id, Failure::Transfer(error));
            self.acks.retain(|ack| *ack != id);
            return Ok(Members::done());
        }
        let chunk = call.chunk()?;
        if let Err(error) = self.accept_response(now, id, &chunk) {
            if error.retry.is_none() {
                self.fail(now, id, Failure::Transfer(error.clone()));
            }
            return Err(error);
        }
        // The whole of it stays `next` until the caller has acknowledged: then it is safe to forget.
        Ok(Members::next(
            self.exchange(id)
                .map_or(chunk.len, super::Exchange::response_held),
        ))
    }

    fn notified(&mut self, now: Duration, call: Members) -> Result<Members, TransferError> {
        if let Some(id) = call.ready {
            if let Some(exchange) = self.exchange_mut(id)
                && matches!(exchange.phase, Phase::Waiting { .. })
            {
                exchange.due = now;
            }
            return Ok(Members::default());
        }
        let (Some(operation), Some(slot)) = (call.operation, call.slot) else {
            return Err(TransferError::last(ErrorCode::Malformed));
        };
        self.asked_to(now, &operation, slot)?;
        Ok(Members::default())
    }

    fn asked_to(&mut self, now: Duration, operation: &str, slot: String) -> Result<(), TransferError> {
        let Some(operation) = DoOperation::parse(operation).filter(|_| self.config.slots.contains(&slot))
        else {
            return Err(TransferError::last(ErrorCode::Forbidden));
        };
        if let Some(last) = self.done_do.get(&slot) {
            let since = now.saturating_sub(*last);
            if since < self.config.do_interval {
                let rest = clamp_hint(self.config.do_interval - since);
                return Err(TransferError::again(ErrorCode::Busy, rest));
            }
        }
        self.done_do.insert(slot.clone(), now);
        self.events.push_back(Event::Do { operation, slot });
        Ok(())
    }
}
