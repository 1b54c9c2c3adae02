//! nested: messages with the protection of an RA around them (RFC 9483 §5.2.2).

use cmp_message::{
    PkiBody, PkiFailure, PkiMessage, Raw,
    validate::{Accept, Stage},
};
use std::collections::HashSet;

use super::{Exchange, Failure, Ra, Refusal, answer::Reply, log_refusal, refusal::RefusedIn};
use crate::PkiError;

/// Messages in one batch at most.
const MAX_MESSAGES: usize = 100;

impl Ra {
    /// Takes the outer protection off and answers what is inside: one message by its plain answer, several by a batch.
    pub(super) fn nested(&mut self, exchange: &mut Exchange<'_>, content: &Raw) -> Result<Vec<u8>, PkiError> {
        let inner = match self.open_nested(exchange, content) {
            Ok(inner) => inner,
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
        for message in &inner {
            let der = message.to_bytes()?;
            answers.push(self.answer_message(&mut Exchange {
                now_s: exchange.now_s,
                endpoint: &endpoint,
                der: &der,
                message,
                is_vouched: inner.len() == 1,
                nonce: super::random::<16>()?.to_vec(),
                peer: None,
                refused_in: RefusedIn::Error,
            })?);
        }
        match answers.as_slice() {
            [_] => Ok(answers.remove(0)),
            _ => {
                let answers = answers.iter().map(|der| Raw::new(der.as_slice()));
                let answers = answers.collect::<der::Result<Vec<_>>>()?;
                self.reply(exchange, Reply::new(PkiBody::Nested(Raw::encode(&answers)?)))
            }
        }
    }

    /// The messages inside, if an authorised RA has signed the outside and its header fits.
    fn open_nested(&self, exchange: &mut Exchange<'_>, content: &Raw) -> Result<Vec<PkiMessage>, Failure> {
        let bad_request = |text| Refusal::new(PkiFailure::BadRequest, "5.2.2", text);
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
        let inner = content.parse::<Vec<PkiMessage>>().map_err(|error| {
            let text = "this is not a sequence of PKIMessages";
            Refusal::new(PkiFailure::BadDataFormat, "5.2.2", text).because(error)
        })?;
        if inner
            .iter()
            .any(|message| matches!(*message.body, PkiBody::Nested(_)))
        {
            return Err(bad_request("a nested message is inside of another").into());
        }
        match inner.as_slice() {
            [] => Err(bad_request("there is no message inside")),
            [only] => check_copied(exchange, only).map(|()| inner),
            all if all.len() > MAX_MESSAGES => Err(bad_request("there are too many messages inside")),
            all => check_unique(exchange, all).map(|()| inner),
        }
        .map_err(Into::into)
    }

    fn reply(&self, exchange: &Exchange<'_>, reply: Reply) -> Result<Vec<u8>, PkiError> {
        let (header, peer) = (Some(exchange.header()), exchange.peer.as_ref());
        self.answerer
            .answer(exchange.now_s, header, peer, &self.config, reply, &exchange.nonce)
    }
}

/// transactionID and senderNonce are those of the one message inside (RFC 9483 §5.2.2.1).
fn check_copied(exchange: &Exchange<'_>, inner: &PkiMessage) -> Result<(), Refusal> {
    let outer = exchange.header();
    if outer.transaction_id != inner.header.transaction_id {
        let text = "transactionID is not that of the message inside";
        return Err(Refusal::new(PkiFailure::BadRequest, "5.2.2.1", text));
    }
    if outer.sender_nonce != inner.header.sender_nonce {
        let text = "senderNonce is not that of the message inside";
        return Err(Refusal::new(PkiFailure::BadSenderNonce, "5.2.2.1", text));
    }
    Ok(())
}

/// In a batch each message, and the batch, has its own transactionID and senderNonce (RFC 9483 §5.2.2.2).
fn check_unique(exchange: &Exchange<'_>, inner: &[PkiMessage]) -> Result<(), Refusal> {
    let headers = || {
        [exchange.header()]
            .into_iter()
            .chain(inner.iter().map(|message| &*message.header))
    };
    let mut ids = HashSet::new();
    if !headers().all(|header| ids.insert(header.transaction_id.as_ref().map(|id| id.as_bytes()))) {
        let text = "a transactionID is there twice";
        return Err(Refusal::new(PkiFailure::TransactionIdInUse, "5.2.2.2", text));
    }
    let mut nonces = HashSet::new();
    if !headers().all(|header| nonces.insert(header.sender_nonce.as_ref().map(|nonce| nonce.as_bytes()))) {
        let text = "a senderNonce is there twice";
        return Err(Refusal::new(PkiFailure::BadSenderNonce, "5.2.2.2", text));
    }
    Ok(())
}
