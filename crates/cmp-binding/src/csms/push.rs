//! Push mode: what the CSMS side answers to `CmpHello`, `CmpSend` and `CmpFetch`.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::time::Duration;

use super::budget::Reservation;
use super::exchange::{Delivery, Exchange, State};
use super::{Action, Answered, Csms, Outcome, Record, ReplyToken, Stage, Write};
use crate::assembly::{Assembly, is_one_sequence};
use crate::config::VERSION;
use crate::data::{Answer, Data, Form};
use crate::error::{ErrorCode, TransferError};
use crate::id::{ExchangeId, Operation, Route};
use crate::wire::{Chunk, Members, Versions};

const SHORTEST_WAIT: Duration = Duration::from_secs(2);

/// A call whose answer waits for the RA.
#[derive(Debug)]
pub(super) struct Pending {
    token: ReplyToken,
    id: ExchangeId,
    form: Form,
}

impl Csms {
    pub(super) fn answer(
        &mut self,
        now: Duration,
        operation: Operation,
        form: Form,
        data: Option<&Data>,
    ) -> Answered {
        self.rate.take(now)?;
        let call = Members::parse(data.ok_or(TransferError::last(ErrorCode::Malformed))?)?;
        for id in &call.ack {
            self.finish(now, *id);
        }
        match operation {
            Operation::Hello => self.hello(form, call),
            Operation::Send => self.sent(now, form, &call),
            _ => self.fetched(now, form, &call),
        }
    }

    fn hello(&mut self, form: Form, call: Members) -> Answered {
        call.check_version()?;
        self.learn_limits(&call);
        let link = self.link.unwrap_or(super::Link::NEW);
        let slots = call.slots.unwrap_or_default();
        self.actions.push_back(Action::Hello {
            unit: link.unit,
            max: link.max,
            slots,
        });
        let fit = self.fit(self.config.envelope.result_bytes, form);
        let mut routes = self.config.routes.clone();
        loop {
            let answer = Members {
                v: Some(Versions::One(u64::from(VERSION))),
                unit: Some(self.config.unit),
                max: Some(self.config.max),
                routes: Some(routes.clone()),
                ..Members::default()
            };
            if routes.is_empty() || answer.fits(fit) {
                return Ok(settled(answer));
            }
            // So many that it takes a few steps to what fits.
            routes.truncate(routes.len() / 2);
        }
    }

    fn sent(&mut self, now: Duration, form: Form, call: &Members) -> Answered {
        let id = call.id.ok_or(TransferError::last(ErrorCode::Malformed))?;
        let was_complete = self.exchange(id).is_some_and(Exchange::is_complete);
        if !self.done.contains(id) {
            self.accept(now, id, call.route.as_ref(), &call.chunk()?)?;
            let held = self
                .exchange(id)
                .is_some_and(|exchange| matches!(exchange.state, State::Held));
            if held && !was_complete {
                let token = ReplyToken(self.new_token());
                self.pending.push(Pending { token, id, form });
                return Ok(Outcome::Pending(token));
            }
        }
        self.outcome(now, id, 0, form).map(settled)
    }

    fn fetched(&mut self, now: Duration, form: Form, call: &Members) -> Answered {
        match (call.id, call.off) {
            (Some(id), Some(off)) => self.outcome(now, id, off, form).map(settled),
            (None, None) if !call.ack.is_empty() => Ok(settled(Members::default())),
            _ => Err(TransferError::last(ErrorCode::Malformed)),
        }
    }

    /// The answer budget of a [`Reply::Pending`](super::Reply::Pending) is over: what to answer now. `None` if the
    /// call was answered already or its connection is gone.
    #[must_use]
    pub fn expire(&mut self, now: Duration, token: ReplyToken) -> Option<Answer> {
        let at = self.pending.iter().position(|pending| pending.token == token)?;
        let pending = self.pending.swap_remove(at);
        Some(self.answer_pending(now, &pending))
    }

    /// Answers the pending call of `id`, if there is one.
    pub(super) fn reply(&mut self, now: Duration, id: ExchangeId) -> bool {
        let Some(at) = self.pending.iter().position(|pending| pending.id == id) else {
            return false;
        };
        let pending = self.pending.swap_remove(at);
        let answer = self.answer_pending(now, &pending);
        self.actions.push_back(Action::Reply {
            token: pending.token,
            answer,
        });
        true
    }

    fn answer_pending(&self, now: Duration, pending: &Pending) -> Answer {
        let members = self.outcome(now, pending.id, 0, pending.form);
        Answer::accepted(
            members
                .unwrap_or_else(|error| Members::error(&error))
                .into_data(pending.form),
        )
    }

    /// The *outcome* of an exchange as it is now, with the response from `off` on.
    fn outcome(
        &self,
        now: Duration,
        id: ExchangeId,
        off: usize,
        form: Form,
    ) -> Result<Members, TransferError> {
        if self.done.contains(id) {
            return Ok(Members::done());
        }
        let Some(exchange) = self.exchange(id) else {
            return Err(TransferError::last(ErrorCode::UnknownExchange));
        };
        match &exchange.state {
            State::Receiving => Ok(Members::next(exchange.request.held())),
            State::Held | State::Asked | State::Deposited => {
                // As long again as it has taken so far: a slow RA is asked after less and less often.
                let so_far = now.saturating_sub(exchange.at).max(SHORTEST_WAIT);
                Ok(Members::wait(so_far.min(self.config.wait_max)))
            }
            State::Delayed { retry_at, code } => {
                let retry = retry_at.saturating_sub(now).max(Duration::from_secs(1));
                Err(TransferError::again(*code, retry))
            }
            State::Failed(code) => Err(TransferError::last(*code)),
            State::Answered(response) if response.len() > self.station_max() => {
                Err(TransferError::last(ErrorCode::ResponseTooLarge))
            }
            State::Answered(response) if off >= response.len() => {
                Err(TransferError::last(ErrorCode::Malformed))
            }
            State::Answered(response) => {
                let fit = self.fit(self.config.envelope.result_bytes, form);
                Ok(Members::default().with_piece(response, off, fit))
            }
        }
    }

    /// Takes a piece of a request, pushed or pulled. A request that is whole is stored and forwarded.
    pub(super) fn accept(
        &mut self,
        now: Duration,
        id: ExchangeId,
        route: Option<&Route>,
        chunk: &Chunk,
    ) -> Result<(), TransferError> {
        if self.exchange(id).is_none() {
            self.begin(now, id, route, chunk)?;
        } else {
            self.grow(now, id, chunk)?;
        }
        let Some(exchange) = self.exchange_mut(id) else {
            return Ok(());
        };
        if route.is_some_and(|route| *route != exchange.route) {
            return Err(TransferError::last(ErrorCode::Conflict));
        }
        let result = exchange.request.accept(chunk);
        if exchange.is_complete() {
            return result;
        }
        if exchange.request.held() == 0 {
            // It was begun for this piece, and the piece was refused.
            self.exchanges.retain(|exchange| exchange.id != id);
            return result;
        }
        result?;
        exchange.at = now;
        if exchange.request.is_whole() {
            self.completed(now, id)
        } else {
            Ok(())
        }
    }

    fn begin(
        &mut self,
        now: Duration,
        id: ExchangeId,
        route: Option<&Route>,
        chunk: &Chunk,
    ) -> Result<(), TransferError> {
        if chunk.off > 0 {
            return Err(TransferError::gap(0));
        }
        let route = route.cloned().unwrap_or_default();
        if !self.config.routes.contains(&route) {
            return Err(TransferError::last(ErrorCode::Forbidden));
        }
        if chunk.len > self.config.max {
            return Err(TransferError::last(ErrorCode::TooLarge));
        }
        if chunk.piece.len() == chunk.len && !is_one_sequence(&chunk.piece) {
            return Err(TransferError::last(ErrorCode::Malformed));
        }
        let request = Assembly::new(chunk.len);
        let room = request.room_for(chunk, self.config.max);
        let reserved = self.make_room(now, room, None)?;
        self.exchanges.push(Exchange {
            id,
            route,
            request,
            state: State::Receiving,
            at: now,
            held_since: now,
            reserved,
            delivery: Delivery::default(),
            tries: 0,
        });
        Ok(())
    }

    /// Reserves what one more piece of an upload takes.
    fn grow(&mut self, now: Duration, id: ExchangeId, chunk: &Chunk) -> Result<(), TransferError> {
        let max = self.config.max;
        let upload = self.exchange(id).filter(|exchange| !exchange.is_complete());
        let room = upload.map_or(0, |upload| upload.request.room_for(chunk, max));
        if room > 0 {
            let more = self.make_room(now, room, Some(id))?;
            if let Some(upload) = self.exchange_mut(id) {
                upload.reserved.add(more);
            }
        }
        Ok(())
    }

    /// Reserves `room` bytes, for `upload` or for one exchange more, in place of other exchanges if need be; those stay where
    /// it is not enough.
    fn make_room(
        &mut self,
        now: Duration,
        room: usize,
        upload: Option<ExchangeId>,
    ) -> Result<Reservation, TransferError> {
        let busy = TransferError::again(ErrorCode::Busy, Duration::from_secs(10));
        let victims = self.victims(room, upload).ok_or(busy.clone())?;
        let is_victim = |e: &&Exchange| victims.contains(&e.id);
        let freed = self
            .exchanges
            .iter()
            .filter(is_victim)
            .map(|e| e.reserved.bytes());
        if !self.budget.has(room, freed.sum()) {
            return Err(busy);
        }
        for id in victims {
            self.drop_exchange(now, id);
        }
        self.budget.reserve(room).ok_or(busy)
    }

    /// Who makes way for `room` bytes more, of `upload` or of one exchange more: the oldest uploads, then the oldest
    /// responses.
    fn victims(&self, room: usize, upload: Option<ExchangeId>) -> Option<Vec<ExchangeId>> {
        let limits = &self.config.limits;
        let most = limits.exchanges.saturating_sub(usize::from(upload.is_none()));
        let mut open = self.exchanges.len();
        let mut reserved: usize = self.exchanges.iter().map(|e| e.reserved.bytes()).sum();
        let may_go = |e: &&Exchange| Some(e.id) != upload && (!e.is_complete() || e.is_settled());
        let mut oldest: Vec<_> = self.exchanges.iter().filter(may_go).collect();
        oldest.sort_by_key(|e| (e.is_complete(), e.at));
        let mut oldest = oldest.into_iter();
        let mut victims = Vec::new();
        while open > most || reserved.saturating_add(room) > limits.bytes {
            let victim = oldest.next()?;
            open -= 1;
            reserved -= victim.reserved.bytes();
            victims.push(victim.id);
        }
        Some(victims)
    }

    fn completed(&mut self, now: Duration, id: ExchangeId) -> Result<(), TransferError> {
        let Some(exchange) = self.exchange_mut(id) else {
            return Ok(());
        };
        if !is_one_sequence(exchange.request.bytes()) {
            self.exchanges.retain(|exchange| exchange.id != id);
            return Err(TransferError::last(ErrorCode::Malformed));
        }
        exchange.state = State::Held;
        exchange.held_since = now;
        let (route, request) = (exchange.route.clone(), exchange.request.bytes().to_vec());
        let record = Record {
            id,
            route: route.clone(),
            request: request.clone(),
            stage: Stage::Held,
            at: now,
        };
        self.writes.push(Write::Accepted(record));
        self.actions.push_back(Action::Forward { id, route, request });
        Ok(())
    }
}

fn settled(members: Members) -> Outcome {
    Outcome::Members(Box::new(members))
}
