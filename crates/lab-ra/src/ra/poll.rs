//! pollReq and pollRep (RFC 9483 §4.4).

use cmp_message::{PkiBody, PkiFailure, PkiMessage, PollRep, PollReqContent};
use der::asn1::Null;

use super::{
    Exchange, Failure, Ra, Refusal, RequestKind, answer::Reply, authenticate::Next, refusal::RefusedIn,
};
use crate::{
    StoreError,
    store::{Decision, State, Transaction},
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
        let cert_req_id = cert_req_id(content, &transaction)?;
        if is_repetition {
            exchange.nonce = transaction.sender_nonce.clone();
        }
        match transaction.state {
            State::Waiting if is_repetition => Ok(self.poll_rep(cert_req_id, &transaction)),
            State::Waiting => {
                let answered_nonce = std::mem::replace(&mut transaction.sender_nonce, exchange.nonce.clone());
                transaction.answered_nonce = Some(answered_nonce);
                self.go_on(exchange, transaction, cert_req_id)
            }
            State::AwaitingCertConf | State::ImplicitlyConfirmed if is_repetition => {
                self.hand_out_again(&transaction)
            }
            State::Confirmed if is_repetition && transaction.message.is_some() => {
                Ok(Reply::new(PkiBody::PkiConf(Null)))
            }
            State::Answered if is_repetition => self.go_on(exchange, transaction, cert_req_id),
            _ => Err(Refusal::new(PkiFailure::BadRequest, SECTION, "no pollReq is expected here").into()),
        }
    }

    fn go_on(
        &mut self,
        exchange: &mut Exchange<'_>,
        mut transaction: Transaction,
        cert_req_id: i64,
    ) -> Result<Reply, Failure> {
        if transaction.polls_left > 0 || transaction.decision == Some(Decision::Open) {
            transaction.polls_left = transaction.polls_left.saturating_sub(1);
            transaction.deadline_s = self.poll_deadline(exchange.now_s);
            self.store.save(&mut transaction, exchange.now_s)?;
            return Ok(self.poll_rep(cert_req_id, &transaction));
        }
        let delayed = transaction.message.as_deref().unwrap_or_default();
        let delayed = PkiMessage::from_bytes(delayed)?;
        exchange.refused_in = RefusedIn::answer_to(delayed.body.body_type().name());
        let task = match &transaction.decision {
            Some(Decision::Denied(why)) => {
                Err(Refusal::new(PkiFailure::NotAuthorized, "5.1.1", why.clone()).into())
            }
            _ => self.check(exchange.now_s, &delayed, &transaction),
        };
        match task {
            Ok(task) => self.carry_out(exchange, transaction, task),
            Err(failure) if transaction.state == State::Waiting => {
                Err(self.give_up(exchange.now_s, transaction, failure))
            }
            Err(failure) => Err(failure),
        }
    }

    fn poll_rep(&self, cert_req_id: i64, transaction: &Transaction) -> Reply {
        let is_undecided = transaction.decision == Some(Decision::Open);
        Reply::new(PkiBody::PollRep(vec![PollRep {
            cert_req_id,
            check_after: self.check_after_s().into(),
            reason: is_undecided.then(|| vec!["a person has to approve the request".into()]),
        }]))
    }

    /// The certificate that was handed out already, in an answer that got lost.
    fn hand_out_again(&self, transaction: &Transaction) -> Result<Reply, Failure> {
        let serial = transaction.serial.as_deref().unwrap_or_default();
        let record = self.store.certificate(serial)?;
        let record = record.ok_or(StoreError::Damaged("transactions.serial"))?;
        let kind = RequestKind::from_name(&transaction.body);
        let kind = kind.ok_or(StoreError::Damaged("transactions.body"))?;
        self.hand_out(transaction, kind, &record.certificate)
    }
}

/// certReqId of the request whose answer is waited for, or −1 for the answer as a whole (RFC 9810 §5.3.22).
fn cert_req_id(content: &PollReqContent, transaction: &Transaction) -> Result<i64, Refusal> {
    let is_confirmed = transaction.state == State::Waiting && transaction.serial.is_some();
    let kind = RequestKind::from_name(&transaction.body).filter(|_| !is_confirmed);
    match content.as_slice() {
        [poll_req] if poll_req.cert_req_id == -1 => Ok(-1),
        [poll_req] if kind.is_some_and(|kind| kind.cert_req_id() == poll_req.cert_req_id) => {
            Ok(poll_req.cert_req_id)
        }
        _ => {
            let text = "there must be one pollReq, with the certReqId of the request";
            Err(Refusal::new(PkiFailure::BadRequest, SECTION, text))
        }
    }
}
