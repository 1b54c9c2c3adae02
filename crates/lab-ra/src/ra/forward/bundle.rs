//! Messages inside of nested messages (RFC 9483 §5.2.2), and those that go and come as files (§6.4).

use cmp_message::{Exact, PkiBody, PkiHeader, PkiMessage, Raw, validate::Stage};
use der::asn1::OctetString;
use std::collections::BTreeMap;
use x509_cert::name::Name;

use super::{Forwarder, transaction_id};
use crate::{
    PkiError, UpstreamError,
    protection::random,
    store::{Forwarded, Progress, hex},
};

/// Files that are made ready in one go at most.
const MAX_OUTGOING: u32 = 100;

/// Messages that go together to the server behind.
#[derive(Debug)]
pub struct Bundle {
    /// What goes.
    pub message: Vec<u8>,
    /// transactionID and senderNonce of the batch; `None`: it is one message with added protection.
    batch: Option<([u8; 16], [u8; 16])>,
}

/// A message that is to become a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutgoingFile {
    /// The file's name, which says in which order messages go.
    pub name: String,
    /// What is in it.
    pub message: Vec<u8>,
    number: u64,
}

impl Forwarder {
    /// Puts messages of end entities together: one gets the RA's protection added, several become a batch.
    ///
    /// # Errors
    /// If the RA's key fails.
    pub fn bundle(&self, now_s: u64, messages: &[&[u8]]) -> Result<Bundle, PkiError> {
        if let [message] = messages {
            return Ok(Bundle {
                message: self.add_protection(now_s, message)?,
                batch: None,
            });
        }
        let (id, nonce) = (random::<16>()?, random::<16>()?);
        let mut header = PkiHeader::new(Name::default(), self.protector.ca_name().clone());
        header.transaction_id = Some(OctetString::new(id.as_slice())?);
        header.sender_nonce = Some(OctetString::new(nonce.as_slice())?);
        Ok(Bundle {
            message: self.nest(now_s, header, messages)?,
            batch: Some((id, nonce)),
        })
    }

    /// The answers to bundled messages, in their order.
    pub fn unbundle(
        &self,
        now_s: u64,
        bundle: &Bundle,
        messages: &[&[u8]],
        response: Result<Vec<u8>, UpstreamError>,
    ) -> Vec<Result<Vec<u8>, UpstreamError>> {
        let answers = match (bundle.batch, response) {
            (None, response) => return vec![response],
            (Some(_), Err(error)) => Err(error),
            (Some((id, nonce)), Ok(response)) => self.open(now_s, &response, &id, &nonce),
        };
        let answer_to = |message: &&[u8]| {
            let answers = answers.as_ref().map_err(Clone::clone)?;
            let header = PkiMessage::peek_header(message).map_err(|_| UpstreamError::Malformed)?;
            let answer = answers.get(transaction_id(&header));
            answer.cloned().ok_or(UpstreamError::LackingInBatch)
        };
        messages.iter().map(answer_to).collect()
    }

    /// The RA's protection around one message, whose transactionID and nonces it copies (RFC 9483 §5.2.2.1).
    pub(super) fn add_protection(&self, now_s: u64, message: &[u8]) -> Result<Vec<u8>, PkiError> {
        let inner = PkiMessage::peek_header(message)?;
        let mut header = PkiHeader::new(Name::default(), Name::default());
        header.pvno = inner.pvno;
        header.recipient = inner.recipient;
        header.transaction_id = inner.transaction_id;
        header.sender_nonce = inner.sender_nonce;
        header.recip_nonce = inner.recip_nonce;
        self.nest(now_s, header, &[message])
    }

    fn nest(&self, now_s: u64, header: PkiHeader, messages: &[&[u8]]) -> Result<Vec<u8>, PkiError> {
        let messages = messages.iter().map(|message| Raw::new(*message));
        let messages = messages.collect::<der::Result<Vec<_>>>()?;
        let body = Exact::new(PkiBody::Nested(Raw::encode(&messages)?))?;
        Ok(self.protector.sign(now_s, header, body, &[])?.to_bytes()?)
    }

    /// The answers in a nested answer by their transactionIDs.
    fn open(
        &self,
        now_s: u64,
        response: &[u8],
        id: &[u8],
        nonce: &[u8],
    ) -> Result<BTreeMap<Vec<u8>, Vec<u8>>, UpstreamError> {
        let message = PkiMessage::from_bytes(response).map_err(|_| UpstreamError::Malformed)?;
        let stage = Stage::Answer {
            transaction_id: id,
            sender_nonce: nonce,
        };
        self.authenticate_upstream(now_s, &message, stage, None)?;
        if let PkiBody::Error(content) = &*message.body {
            tracing::warn!(batch = hex(id), error = %content.pki_status_info, "a batch was refused");
            return Err(UpstreamError::BatchRefused);
        }
        let with_id = |message: Raw| {
            let header = PkiMessage::peek_header(message.as_bytes()).ok()?;
            Some((transaction_id(&header).to_vec(), message.as_bytes().to_vec()))
        };
        Ok(inside(&message)?.into_iter().filter_map(with_id).collect())
    }

    /// The next messages that are to become files. Each is given again until it was [`sent`](Self::sent).
    ///
    /// # Errors
    /// If the store or the RA's key fails.
    pub fn outgoing(&mut self, now_s: u64) -> Result<Vec<OutgoingFile>, PkiError> {
        self.in_transaction(|ra| {
            ra.expire(now_s)?;
            while ra.bundle_queued(now_s)? {}
            let queued = ra.store.queued(true, MAX_OUTGOING)?;
            let file = |one: crate::store::Outgoing| {
                let id = PkiMessage::peek_header(&one.message).map(|header| hex(transaction_id(&header)));
                OutgoingFile {
                    // As many digits as the largest number has: the order of the names is that of the numbers.
                    name: format!("{:019}-{}.pki", one.number, id.unwrap_or_default()),
                    message: one.message,
                    number: one.number,
                }
            };
            Ok(queued.into_iter().map(file).collect())
        })
    }

    /// A message has become a file.
    ///
    /// # Errors
    /// If the store fails.
    pub fn sent(&mut self, file: &OutgoingFile) -> Result<(), PkiError> {
        self.in_transaction(|ra| Ok(ra.store.dequeue(file.number)?))
    }

    /// Makes a bundle of the messages that wait, if there are enough or they have waited long enough.
    fn bundle_queued(&self, now_s: u64) -> Result<bool, PkiError> {
        let Some(batch) = self.forward.batch else {
            return Ok(false);
        };
        let waiting = self.store.queued(false, batch.messages)?;
        let is_full = waiting.len() as u64 >= u64::from(batch.messages);
        let is_due = |since_s: u64| since_s.saturating_add(batch.wait_s.into()) <= now_s;
        match waiting.first() {
            Some(first) if is_full || is_due(first.since_s) => {}
            _ => return Ok(false),
        }
        let messages: Vec<_> = waiting.iter().map(|one| one.message.as_slice()).collect();
        let bundle = self.bundle(now_s, &messages)?;
        if let Some((id, _)) = &bundle.batch {
            let deadline_s = now_s.saturating_add(self.forward.keep_s);
            self.store.record_bundle(id, &bundle.message, deadline_s)?;
        }
        for one in &waiting {
            self.store.dequeue(one.number)?;
        }
        self.store.enqueue(&bundle.message, true, now_s)?;
        Ok(true)
    }

    /// Takes an answer that came as a file. Its end entity gets it with its next pollReq.
    ///
    /// # Errors
    /// Inside: what makes it useless, in whole or in part; what was of use is kept. Outside: if the store fails, then
    /// nothing was kept.
    pub fn arrive(&mut self, now_s: u64, response: &[u8]) -> Result<Result<(), UpstreamError>, PkiError> {
        self.in_transaction(|ra| {
            ra.expire(now_s)?;
            let Ok(header) = PkiMessage::peek_header(response) else {
                return Ok(Err(UpstreamError::Malformed));
            };
            match ra.store.bundle(transaction_id(&header))? {
                None => ra.arrive_alone(now_s, response),
                Some(bundle) => ra.arrive_together(now_s, response, &bundle),
            }
        })
    }

    fn arrive_together(
        &self,
        now_s: u64,
        response: &[u8],
        bundle: &[u8],
    ) -> Result<Result<(), UpstreamError>, PkiError> {
        let bundle = PkiMessage::from_bytes(bundle)?;
        let id = transaction_id(&bundle.header);
        let nonce = bundle.header.sender_nonce.as_ref();
        let nonce = nonce.map(|nonce| nonce.as_bytes()).unwrap_or_default();
        let answers = match self.open(now_s, response, id, nonce) {
            Ok(answers) => answers,
            // Whoever may refuse has refused them all.
            Err(UpstreamError::BatchRefused) => BTreeMap::new(),
            Err(error) => return Ok(Err(error)),
        };
        self.store.forget_bundle(id)?;
        let mut all = Ok(());
        for answer in answers.values() {
            let one = self.arrive_alone(now_s, answer)?;
            all = all.and(one);
        }
        for message in inside(&bundle).unwrap_or_default() {
            self.give_up(now_s, &PkiMessage::peek_header(message.as_bytes())?)?;
        }
        Ok(all)
    }

    /// A message whose bundle was answered without it will get no answer any more.
    fn give_up(&self, now_s: u64, sent: &PkiHeader) -> Result<(), PkiError> {
        let nonce = sent.sender_nonce.as_ref().map(|nonce| nonce.as_bytes());
        let forwarded = self.store.forwarded(transaction_id(sent))?;
        let is_it = |one: &Forwarded| one.progress == Progress::Delayed && nonce == Some(&one.sent_nonce);
        if let Some(mut forwarded) = forwarded.filter(is_it) {
            tracing::warn!(transaction = hex(&forwarded.id), "there will be no answer");
            forwarded.progress = Progress::Failed;
            forwarded.deadline_s = now_s.saturating_add(self.forward.keep_s);
            self.store.save_forwarded(&forwarded)?;
        }
        Ok(())
    }

    fn arrive_alone(&self, now_s: u64, response: &[u8]) -> Result<Result<(), UpstreamError>, PkiError> {
        let Ok(header) = PkiMessage::peek_header(response) else {
            return Ok(Err(UpstreamError::Malformed));
        };
        let Some(mut forwarded) = self.store.forwarded(transaction_id(&header))? else {
            return Ok(Err(UpstreamError::UnknownTransaction));
        };
        if forwarded.progress != Progress::Delayed {
            return Ok(Err(UpstreamError::NotAwaited));
        }
        if let Err(error) = self.examine(now_s, &forwarded, response) {
            return Ok(Err(error));
        }
        tracing::info!(transaction = hex(&forwarded.id), "an answer has arrived");
        forwarded.progress = Progress::Arrived;
        forwarded.response = Some(response.to_vec());
        forwarded.deadline_s = now_s.saturating_add(self.forward.keep_s);
        self.store.save_forwarded(&forwarded)?;
        Ok(Ok(()))
    }
}

/// What a nested message has inside.
fn inside(message: &PkiMessage) -> Result<Vec<Raw>, UpstreamError> {
    match &*message.body {
        PkiBody::Nested(content) => content.parse().map_err(|_| UpstreamError::Malformed),
        body => Err(UpstreamError::UnexpectedBody(body.body_type())),
    }
}
