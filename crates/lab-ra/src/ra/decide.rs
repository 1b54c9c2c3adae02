//! Whether what is asked for happens now or later (RFC 9483 §4.4).

use cmp_message::{BodyType, PkiFailure, PkiStatus, validate::Accept};

use super::{Exchange, Failure, Ra, Refusal, answer::Reply, check::Task, refusal::RefusedIn};
use crate::{
    Approval,
    store::{Decision, State, Transaction},
};

impl Ra {
    /// Begins a transaction.
    pub(super) fn begin(&mut self, exchange: &mut Exchange<'_>) -> Result<Reply, Failure> {
        let body = exchange.message.body.body_type();
        if body == BodyType::Rr {
            exchange.refused_in = RefusedIn::Revocation;
        }
        let accept = match body {
            BodyType::Kur => Accept::Signature,
            _ => Accept::Any,
        };
        let transaction = self.authenticate_first(exchange, accept)?;
        exchange.refused_in = RefusedIn::answer_to(body.name());
        let task = self.check(exchange.now_s, exchange.message, &transaction)?;
        self.now_or_later(exchange, transaction, task)
    }

    /// Does it, or promises to.
    pub(super) fn now_or_later(
        &mut self,
        exchange: &Exchange<'_>,
        mut transaction: Transaction,
        task: Task,
    ) -> Result<Reply, Failure> {
        let body = exchange.message.body.body_type();
        let delay = self.config.poll_after;
        let delay = delay.filter(|_| self.config.delayed.contains(&body));
        let needs_person = self.config.approval == Approval::Person && matches!(task, Task::Issue(_));
        let is_late = delay.is_some() || needs_person;
        let stays_open = is_late || matches!(task, Task::Issue(_));
        let is_full = self.store.open_transaction_count() >= self.config.max_transactions;
        if stays_open && is_full && !transaction.is_open_in_store() {
            let text = "too many transactions are open; try again later";
            return Err(Refusal::new(PkiFailure::SystemUnavail, "3.6.4", text).into());
        }
        if !is_late {
            return self.carry_out(exchange, transaction, task);
        }
        if needs_person {
            transaction.decision = Some(Decision::Open);
        }
        if let Task::Issue(issue) = &task {
            transaction.subject = issue.order.subject_text().into();
        }
        transaction.state = State::Waiting;
        let answered_nonce = std::mem::replace(&mut transaction.sender_nonce, exchange.nonce.clone());
        transaction.answered_nonce = Some(answered_nonce).filter(|nonce| !nonce.is_empty());
        transaction.message = Some(exchange.der.to_vec());
        transaction.polls_left = delay.map_or(0, |delay| delay.polls);
        transaction.deadline_s = self.poll_deadline(exchange.now_s);
        self.store.save(&mut transaction, exchange.now_s)?;
        Ok(match task {
            Task::Issue(issue) => {
                Reply::certificate_response(issue.kind, PkiStatus::WAITING.into(), None, None)
            }
            _ => Reply::waiting(),
        })
    }

    /// Until when the next pollReq is waited for.
    pub(super) fn poll_deadline(&self, now_s: u64) -> u64 {
        now_s
            .saturating_add(u64::from(self.check_after_s()))
            .saturating_add(self.config.poll_grace_s)
    }

    /// checkAfter in a pollRep.
    pub(super) fn check_after_s(&self) -> u32 {
        let delay = self.config.poll_after;
        delay.map_or(self.config.approval_check_after_s, |delay| delay.check_after_s)
    }
}
