//! Whether what is asked for happens now or later (RFC 9483 §4.4).

use cmp_message::{PkiFailure, PkiStatus, validate::Accept};

use super::{Exchange, Failure, Ra, Refusal, RequestKind, answer::Reply, check::Checked, refusal::RefusedIn};
use crate::store::{State, Transaction};

/// A client that was told to wait may be this late with its next pollReq.
const POLL_GRACE_S: u64 = 3_600;

impl Ra {
    /// Begins a transaction.
    pub(super) fn begin(&mut self, exchange: &mut Exchange<'_>) -> Result<Reply, Failure> {
        let kind = RequestKind::of(&exchange.message.body);
        let accept = match kind {
            Some(RequestKind::Kur) => Accept::Signature,
            _ => Accept::Any,
        };
        let transaction = self.authenticate_first(exchange, accept)?;
        if let Some(kind) = kind {
            exchange.refused_in = RefusedIn::Certificate(kind);
        }
        let checked = self.check(exchange.now_s, exchange.message, &transaction.peer)?;
        if self.store.open_transaction_count() >= self.config.max_transactions {
            exchange.refused_in = RefusedIn::Error;
            let text = "too many transactions are open; try again later";
            return Err(Refusal::new(PkiFailure::SystemUnavail, "3.6.4", text).into());
        }
        match self.config.poll_after {
            None => self.issue(exchange, transaction, checked),
            Some(_) => self.delay(exchange, transaction, &checked),
        }
    }

    fn delay(
        &mut self,
        exchange: &Exchange<'_>,
        mut transaction: Transaction,
        checked: &Checked,
    ) -> Result<Reply, Failure> {
        transaction.state = State::Waiting;
        transaction.sender_nonce = exchange.nonce.clone();
        transaction.message = Some(exchange.der.to_vec());
        transaction.polls_left = self.config.poll_after.map_or(0, |delay| delay.polls);
        transaction.deadline_s = self.poll_deadline(exchange.now_s);
        self.store.save(&mut transaction, exchange.now_s)?;
        Ok(Reply::certificate_response(
            checked.kind,
            PkiStatus::WAITING.into(),
            None,
            None,
        ))
    }

    /// Until when the next pollReq is waited for.
    pub(super) fn poll_deadline(&self, now_s: u64) -> u64 {
        let check_after_s = self.config.poll_after.map_or(0, |delay| delay.check_after_s);
        now_s
            .saturating_add(u64::from(check_after_s))
            .saturating_add(POLL_GRACE_S)
    }
}
