//! pollReq and pollRep (RFC 9483 §4.4).

use cmp_message::{PkiBody, PkiFailure, PkiMessage, PollRep, PollReqContent};
use std::sync::Arc;

use super::{
    Ra, Refusal,
    answer::Reply,
    transaction::{Peer, State},
    transaction_id,
};

const SECTION: &str = "4.4";

impl Ra {
    pub(super) fn poll_req(
        &mut self,
        now_s: u64,
        message: &PkiMessage,
        content: &PollReqContent,
        peer: &mut Option<Arc<Peer>>,
    ) -> Result<Reply, Refusal> {
        self.authenticate_next(now_s, message, peer)?;
        let unexpected = || Refusal::new(PkiFailure::BadRequest, SECTION, "no pollReq is expected here");
        if !matches!(content.as_slice(), [poll_req] if poll_req.cert_req_id == 0) {
            let text = "there must be one pollReq, with certReqId 0";
            return Err(Refusal::new(PkiFailure::BadRequest, SECTION, text));
        }
        let id = transaction_id(message);
        let delay = self.config.poll_after.ok_or_else(unexpected)?;
        let transaction = self.transactions.find_mut(id).ok_or_else(unexpected)?;
        let peer = transaction.peer.clone();
        let State::Waiting {
            order,
            kind,
            implicit_confirm,
            polls_left,
        } = &mut transaction.state
        else {
            return Err(unexpected());
        };
        if *polls_left > 0 {
            *polls_left -= 1;
            let poll_rep = PollRep {
                cert_req_id: 0,
                check_after: delay.check_after_s.into(),
                reason: None,
            };
            return Ok(Reply {
                goes_on: true,
                ..Reply::last(PkiBody::PollRep(vec![poll_rep]))
            });
        }
        let (kind, implicit_confirm) = (*kind, *implicit_confirm);
        let order = order.clone();
        self.deliver(now_s, id, peer, kind, &order, implicit_confirm)
    }
}
