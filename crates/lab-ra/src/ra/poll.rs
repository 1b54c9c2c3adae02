//! pollReq and pollRep (RFC 9483 §4.4).

use cmp_message::{PkiBody, PkiFailure, PkiMessage, PkiStatus, PollRep, PollReqContent};

use super::{
    Exchange, Failure, Ra, Refusal, RequestKind, answer::Reply, authenticate::Next, refusal::RefusedIn,
};
use crate::{
    PkiError, StoreError,
    store::{State, Transaction},
};

const SECTION: &str = "4.4";

impl Ra {
    /// Answers from the present state, and a repetition as the message before it, with the same nonce: neither an
    /// answer that got lost nor a message that somebody replays stops the transaction.
    pub(super) fn poll_req(
        &mut self,
        exchange: &mut Exchange<'_>,
        content: &PollReqContent,
    ) -> Result<Reply, Failure> {
        let Next {
            mut transaction,
            is_repetition,
        } = self.authenticate_next(exchange)?;
        let cert_req_id = match content.as_slice() {
            [poll_req] if matches!(poll_req.cert_req_id, 0 | -1) => poll_req.cert_req_id,
            _ => {
                let text = "there must be one pollReq, with certReqId 0 or -1";
                return Err(Refusal::new(PkiFailure::BadRequest, SECTION, text).into());
            }
        };
        if is_repetition {
            exchange.nonce = transaction.sender_nonce.clone();
        }
        match transaction.state {
            State::Waiting if is_repetition => Ok(self.poll_rep(cert_req_id)),
            State::Waiting => {
                let answered_nonce = std::mem::replace(&mut transaction.sender_nonce, exchange.nonce.clone());
                transaction.answered_nonce = Some(answered_nonce);
                self.go_on(exchange, transaction, cert_req_id)
            }
            State::AwaitingCertConf | State::ImplicitlyConfirmed if is_repetition => {
                self.hand_out_again(&transaction)
            }
            _ => Err(Refusal::new(PkiFailure::BadRequest, SECTION, "no pollReq is expected here").into()),
        }
    }

    fn go_on(
        &mut self,
        exchange: &mut Exchange<'_>,
        mut transaction: Transaction,
        cert_req_id: i64,
    ) -> Result<Reply, Failure> {
        if transaction.polls_left > 0 {
            transaction.polls_left -= 1;
            transaction.deadline_s = self.poll_deadline(exchange.now_s);
            self.store.save(&mut transaction, exchange.now_s)?;
            return Ok(self.poll_rep(cert_req_id));
        }
        let delayed = transaction.message.take().unwrap_or_default();
        let delayed = PkiMessage::from_bytes(&delayed).map_err(PkiError::from)?;
        if let Some(kind) = RequestKind::of(&delayed.body) {
            exchange.refused_in = RefusedIn::Certificate(kind);
        }
        match self.check(exchange.now_s, &delayed, &transaction.peer) {
            Ok(checked) => self.issue(exchange, transaction, checked),
            Err(failure) => {
                transaction.state = State::Refused;
                self.store.save(&mut transaction, exchange.now_s)?;
                Err(failure)
            }
        }
    }

    fn poll_rep(&self, cert_req_id: i64) -> Reply {
        let check_after_s = self.config.poll_after.map_or(1, |delay| delay.check_after_s);
        Reply::last(PkiBody::PollRep(vec![PollRep {
            cert_req_id,
            check_after: check_after_s.into(),
            reason: None,
        }]))
    }

    /// The certificate that was handed out already, in an answer that got lost.
    fn hand_out_again(&self, transaction: &Transaction) -> Result<Reply, Failure> {
        let serial = transaction.serial.as_deref().unwrap_or_default();
        let record = self.store.certificate(serial)?;
        let record = record.ok_or(StoreError::Damaged("transactions.serial"))?;
        let kind = RequestKind::from_name(&transaction.body);
        let kind = kind.ok_or(StoreError::Damaged("transactions.body"))?;
        self.hand_out(transaction, kind, PkiStatus::ACCEPTED.into(), &record.certificate)
    }
}
