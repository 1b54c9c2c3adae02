//! How a transaction goes on: what its end entity may send next, and what becomes of it.

use cmp_message::{
    BodyType, PkiBody, PkiFailure, PkiMessage,
    validate::{Accept, Stage},
};
use der::asn1::Null;

use super::{
    Asked, Failure, Forwarder, Incoming, REMEMBERED_S, Refusal, Step, Ticket, bad_request,
    downstream::protection_alg,
    reply::{polled, waiting},
    transaction_id,
};
use crate::{
    Approval, PkiError, StoreError, UpstreamError,
    protection::random,
    ra::{RequestKind, answer::Reply, refusal::RefusedIn},
    store::{Forwarded, Peer, Progress},
};

impl Forwarder {
    /// The first message of a transaction.
    pub(super) fn begin(&mut self, incoming: &mut Incoming<'_>) -> Result<Step, Failure> {
        let accept = match incoming.body_type() {
            BodyType::Kur | BodyType::Rr => Accept::Signature,
            _ => Accept::Any,
        };
        let peer = self.authenticate(incoming, Stage::First, accept, None)?;
        let id = transaction_id(incoming.header()).to_vec();
        if self.store.has_forwarded(&id)? {
            let text = "this transactionID is in use";
            return Err(Refusal::new(PkiFailure::TransactionIdInUse, "3.5", text).into());
        }
        incoming.refused_in = RefusedIn::answer_to(incoming.body_type().name());
        let checked = self.check(incoming, &peer)?;
        if self.store.open_forwarded_count()? >= self.config.max_transactions {
            incoming.refused_in = RefusedIn::Error;
            let text = "too many transactions are open; try again later";
            return Err(Refusal::new(PkiFailure::SystemUnavail, "3.6.4", text).into());
        }
        let body = incoming.body_type();
        let forwarded = Forwarded {
            id,
            body,
            forward: checked.forward,
            peer,
            protection_alg: protection_alg(incoming)?,
            progress: Progress::Asked,
            awaited_for: body,
            sent_body: body,
            sent_nonce: Vec::new(),
            nonce: Vec::new(),
            answered_nonce: None,
            response: None,
            deadline_s: incoming.now_s,
        };
        match checked.subject {
            Some(subject) if self.config.approval == Approval::Person => {
                self.ask_person(incoming, forwarded, &subject)
            }
            _ => self.pass_on(incoming, incoming, forwarded),
        }
    }

    /// A later message of a transaction, from whoever began it.
    pub(super) fn go_on(&mut self, incoming: &mut Incoming<'_>) -> Result<Step, Failure> {
        let header = incoming.header();
        let Some(forwarded) = self.store.forwarded(transaction_id(header))? else {
            self.authenticate_claimed(incoming)?;
            return Err(bad_request("there is no such transaction").into());
        };
        let recip_nonce = header.recip_nonce.as_ref().map(|nonce| nonce.as_bytes());
        let repeated = forwarded.answered_nonce.as_deref();
        let repeated = repeated.filter(|nonce| recip_nonce == Some(nonce));
        let stage = Stage::Answer {
            transaction_id: &forwarded.id,
            sender_nonce: repeated.unwrap_or(&forwarded.nonce),
        };
        let (accept, known_signer) = match &forwarded.peer {
            Peer::Signer(signer) => (Accept::Signature, Some(signer)),
            Peer::Mac(_) => (Accept::Mac, None),
        };
        let peer = self.authenticate(incoming, stage, accept, known_signer)?;
        if !peer.is_same(&forwarded.peer) || protection_alg(incoming)? != forwarded.protection_alg {
            let text = "the protection is not that of the message which began the transaction";
            return Err(Refusal::new(PkiFailure::BadMessageCheck, "3.5", text).into());
        }
        match repeated.is_some() {
            true => self.answer_again(incoming, &forwarded),
            false => self.answer_next(incoming, forwarded),
        }
    }

    /// A message that answers what the end entity got last.
    fn answer_next(
        &mut self,
        incoming: &mut Incoming<'_>,
        mut forwarded: Forwarded,
    ) -> Result<Step, Failure> {
        let body = incoming.body_type();
        match (body, forwarded.progress, polled(incoming)?) {
            (_, Progress::Undecided, Some(cert_req_id)) => self.decided(incoming, forwarded, cert_req_id),
            (_, Progress::Delayed, Some(cert_req_id)) => {
                self.move_on(incoming, &mut forwarded);
                self.store.save_forwarded(&forwarded)?;
                Ok(self.reply(incoming, self.poll_rep(cert_req_id, None))?)
            }
            // It polls once more while the server behind is being asked: what is said has the nonce that it knows.
            (_, Progress::Asked, Some(cert_req_id)) if forwarded.is_polled() => {
                incoming.nonce = forwarded.nonce;
                Ok(self.reply(incoming, self.poll_rep(cert_req_id, None))?)
            }
            (_, Progress::Arrived, Some(_)) => {
                self.move_on(incoming, &mut forwarded);
                let ticket = ticket(incoming, &forwarded)?;
                let answer = self.deliver(incoming.now_s, &ticket, forwarded)?;
                Ok(Step::Answer(answer))
            }
            (_, Progress::Failed, Some(_)) => {
                self.move_on_to_refusal(incoming, &mut forwarded)?;
                let (failure, text) = UpstreamError::LackingInBatch.fail_info();
                Err(Refusal::new(failure, "5.2", text).into())
            }
            (BodyType::CertConf, Progress::AwaitingCertConf, _)
            | (BodyType::Error, Progress::AwaitingCertConf | Progress::AwaitingPollReq, _) => {
                forwarded.awaited_for = body;
                self.pass_on(incoming, incoming, forwarded)
            }
            (_, Progress::AwaitingPollReq, Some(_)) => self.pass_on(incoming, incoming, forwarded),
            (
                BodyType::Error,
                Progress::Undecided | Progress::Delayed | Progress::Arrived | Progress::Failed,
                _,
            ) => {
                // The server behind will learn it from a certConf that never comes.
                self.end(incoming, forwarded)
            }
            (BodyType::CertConf, Progress::Confirmed, _) => Err(confirmed_already().into()),
            _ => Err(bad_request("this kind of message is not expected here").into()),
        }
    }

    /// A message that was answered already: the answer got lost, or somebody replays the message.
    fn answer_again(&mut self, incoming: &mut Incoming<'_>, forwarded: &Forwarded) -> Result<Step, Failure> {
        incoming.nonce = forwarded.nonce.clone();
        let is_sent = incoming.body_type() == forwarded.sent_body;
        match (incoming.body_type(), forwarded.progress, polled(incoming)?) {
            // Not what has come since: whoever replays this message would take it from the one who polls next.
            (_, progress, Some(cert_req_id)) if progress.is_polled_for() => {
                Ok(self.reply(incoming, self.poll_rep(cert_req_id, None))?)
            }
            (body, Progress::Delayed, None) if is_sent => Ok(self.reply(incoming, waiting(body))?),
            (_, _, Some(_)) if forwarded.response.is_some() => {
                let ticket = ticket(incoming, forwarded)?;
                let answer = self.deliver(incoming.now_s, &ticket, forwarded.clone())?;
                Ok(Step::Answer(answer))
            }
            // It gives up without having heard the last pollRep.
            (
                BodyType::Error,
                Progress::Undecided | Progress::Delayed | Progress::Arrived | Progress::Failed,
                _,
            ) => self.end(incoming, forwarded.clone()),
            (BodyType::CertConf, Progress::Confirmed, _) => Err(confirmed_already().into()),
            _ => Err(bad_request("this message was answered already").into()),
        }
    }

    /// The answer to this message has the nonce of the RA's next message.
    pub(super) fn move_on(&self, incoming: &Incoming<'_>, forwarded: &mut Forwarded) {
        forwarded.turn(incoming.nonce.clone());
        forwarded.deadline_s = incoming.now_s.saturating_add(self.forward.keep_s);
    }

    /// The answer is a refusal. It may get lost: for a while it is said again to whoever polls.
    pub(super) fn move_on_to_refusal(
        &self,
        incoming: &Incoming<'_>,
        forwarded: &mut Forwarded,
    ) -> Result<(), StoreError> {
        self.move_on(incoming, forwarded);
        forwarded.deadline_s = incoming.now_s.saturating_add(REMEMBERED_S);
        self.store.save_forwarded(forwarded)
    }

    /// Sends a message to the server behind; its answer goes to whoever sent `asker`, which is the same message, or a
    /// pollReq for it. Where that takes long, the asker is told so.
    pub(super) fn pass_on(
        &self,
        incoming: &Incoming<'_>,
        asker: &Incoming<'_>,
        mut forwarded: Forwarded,
    ) -> Result<Step, Failure> {
        let message = self.for_upstream(incoming, forwarded.forward)?;
        forwarded.sent_body = incoming.body_type();
        forwarded.sent_nonce = incoming.sender_nonce();
        forwarded.response = None;
        if self.forward.delayed_check_after_s.is_some() {
            let is_bundled = self.forward.batch.is_none();
            self.store.enqueue(&message, is_bundled, incoming.now_s)?;
            if incoming.body_type() == BodyType::Error {
                return self.end(incoming, forwarded);
            }
            forwarded.progress = Progress::Delayed;
            self.move_on(asker, &mut forwarded);
            self.store.save_forwarded(&forwarded)?;
            let reply = match polled(asker)? {
                Some(cert_req_id) => self.poll_rep(cert_req_id, None),
                None => waiting(asker.body_type()),
            };
            return Ok(self.reply(asker, reply)?);
        }
        forwarded.progress = Progress::Asked;
        forwarded.deadline_s = incoming.now_s.saturating_add(self.forward.patience_s);
        self.store.save_forwarded(&forwarded)?;
        Ok(Step::Forward(Asked {
            message,
            profile: incoming.profile.map(Into::into),
            ticket: ticket(asker, &forwarded)?,
        }))
    }

    /// The end entity gives up, and is told that this is known.
    fn end(&self, incoming: &Incoming<'_>, mut forwarded: Forwarded) -> Result<Step, Failure> {
        self.move_on(incoming, &mut forwarded);
        self.close(incoming.now_s, &mut forwarded, Progress::Over)?;
        Ok(self.reply(incoming, Reply::new(PkiBody::PkiConf(Null)))?)
    }

    pub(super) fn close(
        &self,
        now_s: u64,
        forwarded: &mut Forwarded,
        end: Progress,
    ) -> Result<(), StoreError> {
        forwarded.progress = end;
        forwarded.deadline_s = now_s.saturating_add(REMEMBERED_S);
        self.store.save_forwarded(forwarded)
    }

    pub(super) fn try_give(
        &self,
        now_s: u64,
        ticket: &Ticket,
        response: Result<Vec<u8>, UpstreamError>,
    ) -> Result<Vec<u8>, PkiError> {
        let header = &ticket.header;
        let forwarded = self.store.forwarded(transaction_id(header))?;
        let awaits = |one: &Forwarded| one.progress == Progress::Asked && one.sent_nonce == ticket.sent_nonce;
        let Some(mut forwarded) = forwarded.filter(awaits) else {
            let nonce = random::<16>()?;
            return self.upstream_failure(now_s, header, None, &UpstreamError::NotAwaited, &nonce);
        };
        let examined = response.and_then(|bytes| {
            self.examine(now_s, &forwarded, &bytes)?;
            Ok(bytes)
        });
        match (examined, ticket.polled) {
            (Ok(bytes), _) => {
                forwarded.turn(Vec::new());
                forwarded.response = Some(bytes);
                self.deliver(now_s, ticket, forwarded)
            }
            // What a person has approved waits until the server behind is there.
            (Err(error), Some(cert_req_id))
                if !error.was_sent() && RequestKind::from_name(forwarded.sent_body.name()).is_some() =>
            {
                tracing::warn!(%error, "an approved request waits for the server behind");
                let nonce = random::<16>()?.to_vec();
                forwarded.turn(nonce.clone());
                forwarded.progress = Progress::Undecided;
                forwarded.deadline_s = now_s.saturating_add(self.forward.keep_s);
                self.store.save_forwarded(&forwarded)?;
                let reply = self.poll_rep(cert_req_id, None);
                self.own_answer(now_s, Some(header), Some(&forwarded.peer), reply, &nonce)
            }
            (Err(error), _) => {
                let nonce = random::<16>()?;
                forwarded.turn(nonce.to_vec());
                self.close(now_s, &mut forwarded, Progress::Over)?;
                self.upstream_failure(now_s, header, Some(&forwarded.peer), &error, &nonce)
            }
        }
    }

    /// What the end entity gets, in answer to the message of the ticket; the answer is stored with `forwarded`.
    pub(super) fn deliver(
        &self,
        now_s: u64,
        ticket: &Ticket,
        mut forwarded: Forwarded,
    ) -> Result<Vec<u8>, PkiError> {
        let bytes = forwarded.response.take().unwrap_or_default();
        let message = PkiMessage::from_bytes(&bytes)?;
        // It was examined when it came.
        let end = super::upstream::next(&forwarded, &message).unwrap_or(Progress::Over);
        let nonce = message.header.sender_nonce.as_ref();
        let nonce = nonce.map(|nonce| nonce.as_bytes().to_vec()).unwrap_or_default();
        let says_wait = end == Progress::AwaitingPollReq && message.body.body_type() != BodyType::PollRep;
        let answer = match ticket.polled {
            // It knows already that it has to wait, from this RA. Its next pollReq is for the server behind, so this
            // pollRep has the nonce of that one.
            Some(cert_req_id) if says_wait => {
                let (reply, peer) = (self.poll_rep(cert_req_id, None), Some(&forwarded.peer));
                self.own_answer(now_s, Some(&ticket.header), peer, reply, &nonce)?
            }
            _ if self.forward.forward.replaces() => {
                self.for_end_entity(now_s, &ticket.header, &forwarded.peer, &message)?
            }
            _ => bytes.clone(),
        };
        forwarded.nonce = nonce;
        forwarded.response = Some(bytes);
        if end.is_open() {
            forwarded.progress = end;
            forwarded.deadline_s = now_s.saturating_add(self.forward.keep_s);
            self.store.save_forwarded(&forwarded)?;
        } else {
            self.close(now_s, &mut forwarded, end)?;
        }
        Ok(answer)
    }
}

fn ticket(asker: &Incoming<'_>, forwarded: &Forwarded) -> Result<Ticket, Refusal> {
    Ok(Ticket {
        header: asker.header().clone(),
        polled: polled(asker)?,
        sent_nonce: forwarded.sent_nonce.clone(),
    })
}

fn confirmed_already() -> Refusal {
    let text = "this certificate is confirmed already";
    Refusal::new(PkiFailure::CertConfirmed, "4.1.1", text)
}
