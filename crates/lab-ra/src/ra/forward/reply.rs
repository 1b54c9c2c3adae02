//! What the RA says itself.

use cmp_message::{
    BodyType, ErrorMsgContent, PkiBody, PkiFailure, PkiHeader, PkiStatus, PkiStatusInfo, PollRep,
};

use super::{Forwarder, Incoming, Step, bad_request, transaction_id};
use crate::{
    PkiError, UpstreamError,
    protection::random,
    ra::{Refusal, RequestKind, answer::Reply, log_refusal, refusal::RefusedIn},
    store::{Peer, hex},
};

impl Forwarder {
    pub(super) fn reply(&self, incoming: &Incoming<'_>, reply: Reply) -> Result<Step, PkiError> {
        let (header, peer) = (Some(incoming.header()), incoming.peer.as_ref());
        self.own_answer(incoming.now_s, header, peer, reply, &incoming.nonce)
            .map(Step::Answer)
    }

    pub(super) fn refuse(&self, incoming: &Incoming<'_>, refusal: Refusal) -> Result<Step, PkiError> {
        log_refusal(Some(incoming.header()), Some(incoming.body_type()), &refusal);
        self.reply(incoming, Reply::refusal(incoming.refused_in, refusal))
    }

    /// It still takes time.
    pub(super) fn poll_rep(&self, cert_req_id: i64, reason: Option<&str>) -> Reply {
        let check_after_s = self.forward.delayed_check_after_s;
        Reply::new(PkiBody::PollRep(vec![PollRep {
            cert_req_id,
            check_after: check_after_s.unwrap_or(self.config.approval_check_after_s).into(),
            reason: reason.map(|reason| vec![reason.into()]),
        }]))
    }

    /// Tells an end entity that there is no answer.
    pub(super) fn upstream_failure(
        &self,
        now_s: u64,
        header: &PkiHeader,
        peer: Option<&Peer>,
        error: &UpstreamError,
        nonce: &[u8],
    ) -> Result<Vec<u8>, PkiError> {
        tracing::warn!(transaction = hex(transaction_id(header)), %error, "no answer to pass on");
        let (failure, text) = error.fail_info();
        let reply = Reply::refusal(RefusedIn::Error, Refusal::new(failure, "5.2", text));
        self.own_answer(now_s, Some(header), peer, reply, nonce)
    }

    /// An answer of the RA's own, protected like the message where that is possible.
    pub(super) fn own_answer(
        &self,
        now_s: u64,
        header: Option<&PkiHeader>,
        peer: Option<&Peer>,
        reply: Reply,
        nonce: &[u8],
    ) -> Result<Vec<u8>, PkiError> {
        let key = header.and_then(|header| self.config.mac_key(header, peer?));
        let content = (reply.body, reply.general_info);
        self.protector.answer(now_s, header, key, nonce, content, &[])
    }

    /// Says that the RA failed, as well as that can be said.
    pub(super) fn system_failure(&self, now_s: u64, header: Option<&PkiHeader>) -> Vec<u8> {
        let text = "the RA failed; its log says why";
        let reply = Reply::refusal(
            RefusedIn::Error,
            Refusal::new(PkiFailure::SystemFailure, "3.6.4", text),
        );
        let nonce = random::<16>().unwrap_or_default();
        self.own_answer(now_s, header, None, reply, &nonce)
            .unwrap_or_else(|error| {
                tracing::error!(%error, "cannot make an answer");
                Vec::new()
            })
    }
}

/// The answer to a message comes later (RFC 9483 §4.4).
pub(super) fn waiting(body: BodyType) -> Reply {
    let status = PkiStatusInfo::from(PkiStatus::WAITING);
    match RequestKind::from_name(body.name()) {
        Some(kind) => Reply::certificate_response(kind, status, None, None),
        None => Reply::new(PkiBody::Error(ErrorMsgContent::from(status))),
    }
}

/// certReqId of a pollReq; `None` if the message is none.
pub(super) fn polled(incoming: &Incoming<'_>) -> Result<Option<i64>, Refusal> {
    let PkiBody::PollReq(content) = &*incoming.message.body else {
        return Ok(None);
    };
    match content.as_slice() {
        [poll_req] if matches!(poll_req.cert_req_id, 0 | -1) => Ok(Some(poll_req.cert_req_id)),
        _ => Err(bad_request("there must be one pollReq, with certReqId 0 or -1")),
    }
}
