//! Messages with the protection of an RA in front around them: a chain of RAs (RFC 9483 §5.2.2).

use cmp_message::{
    PkiBody, PkiFailure, PkiHeader, PkiMessage, Raw,
    validate::{Accept, Stage},
};

use super::{Failure, Forwarder, Incoming, Refusal, Step, transaction_id};
use crate::{
    Endpoint, PkiError,
    protection::random,
    ra::{
        answer::Reply,
        nested::{Purpose, messages_inside},
        refusal::RefusedIn,
    },
    store::Peer,
};

/// A batch of an RA in front.
#[derive(Debug)]
pub struct BatchInFront {
    /// What becomes of each of its messages, in their order.
    pub steps: Vec<Step>,
    header: PkiHeader,
    peer: Option<Peer>,
}

impl Forwarder {
    /// Takes what is inside: one message that the RA in front vouches for, or each message of a batch by itself.
    pub(super) fn take_nested(
        &mut self,
        endpoint: &Endpoint,
        mut outer: Incoming<'_>,
        content: &Raw,
    ) -> Result<Step, PkiError> {
        let (purpose, inner) = match self.open_nested(endpoint, &mut outer, content) {
            Ok(opened) => opened,
            Err(Failure::Own(error)) => return Err(error),
            Err(Failure::Refused(refusal)) => return self.refuse(&outer, refusal),
        };
        let inside = endpoint.inside();
        let is_vouched = purpose == Purpose::AddedProtection;
        let mut steps = Vec::with_capacity(inner.len());
        for (der, message) in &inner {
            let incoming = Incoming {
                now_s: outer.now_s,
                received: if is_vouched {
                    outer.received
                } else {
                    der.as_bytes()
                },
                der: der.as_bytes(),
                message,
                is_vouched,
                profile: outer.profile,
                nonce: random::<16>()?.to_vec(),
                peer: None,
                refused_in: RefusedIn::Error,
            };
            steps.push(self.take_message(&inside, incoming)?);
        }
        if is_vouched && let Some(step) = steps.pop() {
            return Ok(step);
        }
        Ok(Step::Batch(BatchInFront {
            steps,
            header: outer.header().clone(),
            peer: outer.peer,
        }))
    }

    /// The answer to a batch, when each of its messages has one; in their order.
    pub fn answer_batch(&self, now_s: u64, batch: &BatchInFront, answers: &[Vec<u8>]) -> Vec<u8> {
        let answer = || -> Result<Vec<u8>, PkiError> {
            let answers = answers.iter().map(|der| Raw::new(der.as_slice()));
            let answers = answers.collect::<der::Result<Vec<_>>>()?;
            let reply = Reply::new(PkiBody::Nested(Raw::encode(&answers)?));
            let (header, nonce) = (Some(&batch.header), random::<16>()?);
            self.own_answer(now_s, header, batch.peer.as_ref(), reply, &nonce)
        };
        answer().unwrap_or_else(|error| {
            tracing::error!(%error, "cannot answer a batch");
            self.system_failure(now_s, Some(&batch.header))
        })
    }

    /// The messages inside, if an RA that may speak for others has signed the outside and its header fits.
    fn open_nested(
        &self,
        endpoint: &Endpoint,
        outer: &mut Incoming<'_>,
        content: &Raw,
    ) -> Result<(Purpose, Vec<(Raw, PkiMessage)>), Failure> {
        if !endpoint.accepts(&outer.message.body) {
            self.authenticate_claimed(outer)?;
            let text = "this kind of message does not belong to the path that it was posted to";
            return Err(Refusal::new(PkiFailure::BadRequest, "6.1", text).into());
        }
        let header = outer.message.header.clone();
        let stage = match &header.recip_nonce {
            None => Stage::First,
            // Around a message that is not the first of its transaction, whose nonce it copies.
            Some(nonce) => Stage::Answer {
                transaction_id: transaction_id(&header),
                sender_nonce: nonce.as_bytes(),
            },
        };
        let peer = self.authenticate(outer, stage, Accept::Signature, None)?;
        self.check_revoked(outer, &peer)?;
        if !self.is_ra(outer, &peer) {
            let text = "only an RA puts its protection around messages of others";
            return Err(Refusal::new(PkiFailure::NotAuthorized, "5.2.2", text).into());
        }
        Ok(messages_inside(&header, content)?)
    }
}
