//! nested: messages with the protection of an RA around them (RFC 9483 §5.2.2).

use cmp_message::{
    PkiBody, PkiFailure, PkiHeader, PkiMessage, Raw,
    validate::{Accept, Stage},
};
use std::{collections::HashSet, iter};

use super::{Exchange, Failure, Ra, Refusal, answer::Reply, log_refusal, refusal::RefusedIn};
use crate::PkiError;

/// Messages in one batch at most.
const MAX_MESSAGES: usize = 100;

impl Ra {
    /// Takes the outer protection off and answers what is inside: a message that protection was added to by its plain
    /// answer, a batch by a batch.
    pub(super) fn nested(&mut self, exchange: &mut Exchange<'_>, content: &Raw) -> Result<Vec<u8>, PkiError> {
        let (purpose, inner) = match self.open_nested(exchange, content) {
            Ok(opened) => opened,
            Err(Failure::Own(error)) => return Err(error),
            Err(Failure::Refused(refusal)) => {
                let body = exchange.message.body.body_type();
                log_refusal(Some(exchange.header()), Some(body), &refusal);
                let reply = Reply::refusal(RefusedIn::Error, refusal);
                return self.reply(exchange, reply);
            }
        };
        let endpoint = exchange.endpoint.inside();
        let mut answers = Vec::with_capacity(inner.len());
        for (der, message) in &inner {
            answers.push(self.answer_message(&mut Exchange {
                now_s: exchange.now_s,
                endpoint: &endpoint,
                der: der.as_bytes(),
                message,
                is_vouched: purpose == Purpose::AddedProtection,
                nonce: super::random::<16>()?.to_vec(),
                peer: None,
                refused_in: RefusedIn::Error,
            })?);
        }
        match (purpose, answers.pop()) {
            (Purpose::AddedProtection, Some(only)) => Ok(only),
            (_, last) => {
                answers.extend(last);
                let answers = answers.iter().map(|der| Raw::new(der.as_slice()));
                let answers = answers.collect::<der::Result<Vec<_>>>()?;
                self.reply(exchange, Reply::new(PkiBody::Nested(Raw::encode(&answers)?)))
            }
        }
    }

    /// The messages inside, if an authorised RA has signed the outside and its header fits.
    fn open_nested(
        &self,
        exchange: &mut Exchange<'_>,
        content: &Raw,
    ) -> Result<(Purpose, Vec<(Raw, PkiMessage)>), Failure> {
        if !exchange.endpoint.accepts(&exchange.message.body) {
            self.authenticate_claimed(exchange)?;
            let text = "this kind of message does not belong to the path that it was posted to";
            return Err(Refusal::new(PkiFailure::BadRequest, "6.1", text).into());
        }
        let stage = match &exchange.header().recip_nonce {
            None => Stage::First,
            // Around a message that is not the first of its transaction, whose nonce it copies.
            Some(nonce) => Stage::Answer {
                transaction_id: exchange.transaction_id(),
                sender_nonce: nonce.as_bytes(),
            },
        };
        let peer = self.authenticate(exchange, stage, Accept::Signature, None)?;
        exchange.peer = Some(peer.clone());
        self.config.check_header(exchange.message, &peer)?;
        if let crate::store::Peer::Signer(signer) = &peer {
            self.check_signer_status(signer)?;
        }
        if !self.is_ra(exchange.now_s, exchange.message, &peer) {
            let text = "only an RA puts its protection around messages of others";
            return Err(Refusal::new(PkiFailure::NotAuthorized, "5.2.2", text).into());
        }
        Ok(messages_inside(exchange.header(), content)?)
    }

    fn reply(&self, exchange: &Exchange<'_>, reply: Reply) -> Result<Vec<u8>, PkiError> {
        let (header, peer) = (Some(exchange.header()), exchange.peer.as_ref());
        self.answerer
            .answer(exchange.now_s, header, peer, &self.config, reply, &exchange.nonce)
    }
}

/// What a nested message is for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// An RA approves of the one message inside (RFC 9483 §5.2.2.1).
    AddedProtection,
    /// Messages travel together, which says nothing about them (RFC 9483 §5.2.2.2).
    Batch,
}

/// The messages in the body of a message with this header, each as it was received and read.
pub(super) fn messages_inside(
    outer: &PkiHeader,
    content: &Raw,
) -> Result<(Purpose, Vec<(Raw, PkiMessage)>), Refusal> {
    let bad_request = |text| Refusal::new(PkiFailure::BadRequest, "5.2.2", text);
    let malformed = |error: der::Error| {
        let text = "this is not a sequence of PKIMessages";
        Refusal::new(PkiFailure::BadDataFormat, "5.2.2", text).because(error)
    };
    let inner = content.parse::<Vec<Raw>>().map_err(malformed)?;
    if inner.len() > MAX_MESSAGES {
        return Err(bad_request("there are too many messages inside"));
    }
    let read = |der: Raw| PkiMessage::from_bytes(der.as_bytes()).map(|message| (der, message));
    let inner = inner.into_iter().map(read).collect::<Result<Vec<_>, _>>();
    let inner = inner.map_err(malformed)?;
    if inner
        .iter()
        .any(|(_, message)| matches!(*message.body, PkiBody::Nested(_)))
    {
        return Err(bad_request("a nested message is inside of another"));
    }
    let purpose = match inner.as_slice() {
        [] => return Err(bad_request("there is no message inside")),
        [(_, only)] if copies_something(outer, &only.header) => {
            check_copied(outer, &only.header)?;
            Purpose::AddedProtection
        }
        all => {
            check_batch(outer, all)?;
            Purpose::Batch
        }
    };
    Ok((purpose, inner))
}

/// A batch, also one of a single message, has nothing of what is inside in its header.
fn copies_something(outer: &PkiHeader, inner: &PkiHeader) -> bool {
    outer.transaction_id == inner.transaction_id || outer.sender_nonce == inner.sender_nonce
}

/// transactionID and nonces are those of the one message inside (RFC 9483 §5.2.2.1). An RA may leave recipNonce out.
fn check_copied(outer: &PkiHeader, inner: &PkiHeader) -> Result<(), Refusal> {
    let (failure, text) = if outer.transaction_id != inner.transaction_id {
        let text = "transactionID is not that of the message inside";
        (PkiFailure::BadRequest, text)
    } else if outer.sender_nonce != inner.sender_nonce {
        let text = "senderNonce is not that of the message inside";
        (PkiFailure::BadSenderNonce, text)
    } else if outer.recip_nonce.is_some() && outer.recip_nonce != inner.recip_nonce {
        let text = "recipNonce is not that of the message inside";
        (PkiFailure::BadRecipientNonce, text)
    } else {
        return Ok(());
    };
    Err(Refusal::new(failure, "5.2.2.1", text))
}

/// In a batch each message, and the batch, has its own transactionID and senderNonce (RFC 9483 §5.2.2.2); the batch begins
/// a transaction.
fn check_batch(outer: &PkiHeader, inner: &[(Raw, PkiMessage)]) -> Result<(), Refusal> {
    let refuse = |failure, text| Err(Refusal::new(failure, "5.2.2.2", text));
    if outer.recip_nonce.is_some() {
        let text = "a batch answers nothing and has no recipNonce";
        return refuse(PkiFailure::BadRecipientNonce, text);
    }
    let headers = || iter::once(outer).chain(inner.iter().map(|(_, message)| &*message.header));
    let mut ids = HashSet::new();
    if !headers().all(|header| ids.insert(header.transaction_id.as_ref().map(|id| id.as_bytes()))) {
        return refuse(PkiFailure::TransactionIdInUse, "a transactionID is there twice");
    }
    let mut nonces = HashSet::new();
    if !headers().all(|header| nonces.insert(header.sender_nonce.as_ref().map(|nonce| nonce.as_bytes()))) {
        return refuse(PkiFailure::BadSenderNonce, "a senderNonce is there twice");
    }
    Ok(())
}
