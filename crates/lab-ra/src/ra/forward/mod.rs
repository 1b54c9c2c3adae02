//! An RA in front of another CMP server (RFC 9483 §5.2), as a value.
//!
//! A message of an end entity goes in at [`take`](Forwarder::take): it is checked, and either answered by the RA itself
//! or made ready for the server behind. What comes back goes in at [`give`](Forwarder::give). Where the way is slow, the
//! end entity is told to poll at once, the message goes to [`outgoing`](Forwarder::outgoing), and its answer comes in at
//! [`arrive`](Forwarder::arrive).

mod bundle;
mod config;
mod downstream;
mod upstream;

pub use bundle::{Bundle, OutgoingFile};
pub use config::{Batch, Forward, ForwardConfig};

use cmp_message::{
    BodyType, ErrorMsgContent, PkiBody, PkiFailure, PkiHeader, PkiMessage, PkiStatus, PkiStatusInfo, PollRep,
    certificate::{Certificate, names_match},
    validate::{Accept, Stage},
};
use der::asn1::Null;

use super::{Failure, Refusal, RequestKind, answer::Reply, log_refusal, refusal::RefusedIn};
use crate::{
    Endpoint, PkiError, RaConfig, RaIdentity, Store, StoreError, UpstreamError,
    protection::{Protector, random},
    store::{Forwarded, Peer, Progress, hex},
};
use downstream::protection_alg;

/// Whoever took part is remembered this long after the end.
const REMEMBERED_S: u64 = 3_600;

/// An RA that passes messages on. Everything that must last is in its [`Store`]: a restart ends nothing but what the
/// server behind was just being asked.
pub struct Forwarder {
    identity: RaIdentity,
    protector: Protector,
    config: RaConfig,
    forward: ForwardConfig,
    store: Store,
    /// Whose certificates protect requests.
    anchors: Vec<Certificate>,
    /// Whose certificates protect answers.
    upstream_anchors: Vec<Certificate>,
    /// The root that the RA's certificate leads to, if it is known.
    root: Option<Certificate>,
}

/// What becomes of a message.
#[derive(Debug)]
pub enum Step {
    /// It is answered.
    Answer(Vec<u8>),
    /// It goes to the server behind.
    Forward(Asked),
}

/// A message that goes to the server behind while its sender waits.
#[derive(Debug)]
pub struct Asked {
    /// Its bytes. With [`Batch`] it is still to be bundled.
    pub message: Vec<u8>,
    /// Whose it is.
    pub ticket: Ticket,
}

/// Whose answer is waited for.
#[derive(Debug)]
pub struct Ticket {
    /// Of the end entity's message.
    header: PkiHeader,
}

/// A message of an end entity, while it is worked on.
struct Incoming<'a> {
    now_s: u64,
    der: &'a [u8],
    message: &'a PkiMessage,
    /// senderNonce of an answer of the RA's own.
    nonce: Vec<u8>,
    /// Who sent it, as soon as that is proven.
    peer: Option<Peer>,
    /// The body in which a refusal is said.
    refused_in: RefusedIn,
}

impl Incoming<'_> {
    fn header(&self) -> &PkiHeader {
        &self.message.header
    }

    fn body_type(&self) -> BodyType {
        self.message.body.body_type()
    }
}

impl Forwarder {
    /// An RA with this identity.
    ///
    /// # Errors
    /// If it cannot make its certificates ready.
    pub fn new(
        identity: RaIdentity,
        config: RaConfig,
        forward: ForwardConfig,
        store: Store,
    ) -> Result<Self, PkiError> {
        let upstream_anchors = [identity.chain.as_slice(), &forward.upstream_anchors].concat();
        Ok(Self {
            anchors: [identity.chain.as_slice(), &config.manufacturers].concat(),
            root: root_of(&identity, &upstream_anchors),
            upstream_anchors,
            protector: Protector::new(
                identity.ra.clone(),
                identity.chain.iter().map(Certificate::as_der),
            )?,
            identity,
            config,
            forward,
            store,
        })
    }

    /// How it passes on.
    pub fn forward_config(&self) -> &ForwardConfig {
        &self.forward
    }

    /// What lasts.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Takes a message of an end entity that was posted to `endpoint`. `now_s` is the time in seconds since 1970.
    pub fn take(&mut self, now_s: u64, endpoint: &Endpoint, message: &[u8]) -> Step {
        let taken = self.in_transaction(|ra| {
            ra.expire(now_s)?;
            ra.try_take(now_s, endpoint, message)
        });
        taken.unwrap_or_else(|error| {
            tracing::error!(%error, "cannot take a message");
            Step::Answer(self.system_failure(now_s, PkiMessage::peek_header(message).ok().as_ref()))
        })
    }

    /// Gives the answer of the server behind, or that there is none; what its end entity gets.
    pub fn give(&mut self, now_s: u64, ticket: &Ticket, response: Result<Vec<u8>, UpstreamError>) -> Vec<u8> {
        let given = self.in_transaction(|ra| ra.try_give(now_s, &ticket.header, response));
        given.unwrap_or_else(|error| {
            tracing::error!(%error, "cannot give an answer");
            self.system_failure(now_s, Some(&ticket.header))
        })
    }

    /// Does `work` within one transaction of the store: whole, or not at all if it fails.
    fn in_transaction<T>(
        &mut self,
        work: impl FnOnce(&mut Self) -> Result<T, PkiError>,
    ) -> Result<T, PkiError> {
        self.store.begin()?;
        let done = work(self).and_then(|done| {
            self.store.commit()?;
            Ok(done)
        });
        if done.is_err()
            && let Err(error) = self.store.roll_back()
        {
            tracing::error!(%error, "cannot roll back");
        }
        done
    }

    fn expire(&self, now_s: u64) -> Result<(), StoreError> {
        for id in self.store.expire_forwarded(now_s, REMEMBERED_S)? {
            tracing::warn!(
                transaction = hex(&id),
                "transaction ended: nothing went on in time"
            );
        }
        Ok(())
    }

    fn try_take(&mut self, now_s: u64, endpoint: &Endpoint, der: &[u8]) -> Result<Step, PkiError> {
        let message = match PkiMessage::from_bytes(der) {
            Ok(message) => message,
            Err(error) => {
                let header = PkiMessage::peek_header(der).ok();
                let text = "this is not a PKIMessage in DER";
                let refusal = Refusal::new(PkiFailure::BadDataFormat, "3.5", text).because(error);
                log_refusal(header.as_ref(), None, &refusal);
                let reply = Reply::refusal(RefusedIn::Error, refusal);
                let answer = self.own_answer(now_s, header.as_ref(), None, reply, &random::<16>()?);
                return answer.map(Step::Answer);
            }
        };
        let mut incoming = Incoming {
            now_s,
            der,
            message: &message,
            nonce: random::<16>()?.to_vec(),
            peer: None,
            refused_in: RefusedIn::Error,
        };
        match self.process(endpoint, &mut incoming) {
            Ok(step) => Ok(step),
            Err(Failure::Own(error)) => Err(error),
            Err(Failure::Refused(refusal)) => {
                log_refusal(Some(incoming.header()), Some(incoming.body_type()), &refusal);
                self.reply(&incoming, Reply::refusal(incoming.refused_in, refusal))
            }
        }
    }

    fn process(&mut self, endpoint: &Endpoint, incoming: &mut Incoming<'_>) -> Result<Step, Failure> {
        if !endpoint.accepts(&incoming.message.body) {
            self.authenticate_claimed(incoming)?;
            let text = "this kind of message does not belong to the path that it was posted to";
            return Err(Refusal::new(PkiFailure::BadRequest, "6.1", text).into());
        }
        match &*incoming.message.body {
            PkiBody::Ir(_)
            | PkiBody::Cr(_)
            | PkiBody::P10cr(_)
            | PkiBody::Kur(_)
            | PkiBody::Rr(_)
            | PkiBody::Genm(_) => self.begin(incoming),
            PkiBody::CertConf(_) | PkiBody::PollReq(_) | PkiBody::Error(_) => self.go_on(incoming),
            _ => {
                self.authenticate_claimed(incoming)?;
                let text = "this kind of message is not for an RA";
                Err(Refusal::new(PkiFailure::BadRequest, "3.6.1", text).into())
            }
        }
    }

    /// The first message of a transaction.
    fn begin(&mut self, incoming: &mut Incoming<'_>) -> Result<Step, Failure> {
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
        let forward = self.check(incoming, &peer)?;
        if self.store.open_forwarded_count()? >= self.config.max_transactions {
            incoming.refused_in = RefusedIn::Error;
            let text = "too many transactions are open; try again later";
            return Err(Refusal::new(PkiFailure::SystemUnavail, "3.6.4", text).into());
        }
        let body = incoming.body_type();
        let forwarded = Forwarded {
            id,
            body,
            forward,
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
        self.pass_on(incoming, forwarded)
    }

    /// A later message of a transaction, from whoever began it.
    fn go_on(&mut self, incoming: &mut Incoming<'_>) -> Result<Step, Failure> {
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
        match (body, forwarded.progress) {
            (BodyType::PollReq, Progress::Delayed) => {
                let reply = self.poll_rep(incoming)?;
                self.move_on(incoming, &mut forwarded);
                self.store.save_forwarded(&forwarded)?;
                Ok(self.reply(incoming, reply)?)
            }
            (BodyType::PollReq, Progress::Arrived) => {
                self.move_on(incoming, &mut forwarded);
                let answer = self.deliver(incoming.now_s, incoming.header(), forwarded)?;
                Ok(Step::Answer(answer))
            }
            (BodyType::PollReq, Progress::Failed) => {
                self.move_on(incoming, &mut forwarded);
                self.close(incoming.now_s, &mut forwarded, Progress::Over)?;
                let (failure, text) = UpstreamError::LackingInBatch.fail_info();
                Err(Refusal::new(failure, "5.2", text).into())
            }
            (BodyType::CertConf, Progress::AwaitingCertConf)
            | (BodyType::Error, Progress::AwaitingCertConf | Progress::AwaitingPollReq) => {
                forwarded.awaited_for = body;
                self.pass_on(incoming, forwarded)
            }
            (BodyType::PollReq, Progress::AwaitingPollReq) => self.pass_on(incoming, forwarded),
            (BodyType::Error, Progress::Delayed | Progress::Arrived | Progress::Failed) => {
                // The server behind will learn it from a certConf that never comes.
                self.end(incoming, forwarded)
            }
            (BodyType::CertConf, Progress::Confirmed) => {
                let text = "this certificate is confirmed already";
                Err(Refusal::new(PkiFailure::CertConfirmed, "4.1.1", text).into())
            }
            _ => Err(bad_request("this kind of message is not expected here").into()),
        }
    }

    /// A message that was answered already: the answer got lost, or somebody replays the message.
    fn answer_again(&mut self, incoming: &mut Incoming<'_>, forwarded: &Forwarded) -> Result<Step, Failure> {
        incoming.nonce = forwarded.nonce.clone();
        let is_sent = incoming.body_type() == forwarded.sent_body;
        match (incoming.body_type(), forwarded.progress) {
            (BodyType::PollReq, Progress::Delayed) => {
                let reply = self.poll_rep(incoming)?;
                Ok(self.reply(incoming, reply)?)
            }
            (_, Progress::Delayed) if is_sent => Ok(self.reply(incoming, waiting(incoming.body_type()))?),
            (BodyType::PollReq, _) if forwarded.response.is_some() => {
                let answer = self.deliver(incoming.now_s, incoming.header(), forwarded.clone())?;
                Ok(Step::Answer(answer))
            }
            (BodyType::CertConf, Progress::Confirmed) => {
                let text = "this certificate is confirmed already";
                Err(Refusal::new(PkiFailure::CertConfirmed, "4.1.1", text).into())
            }
            _ => Err(bad_request("this message was answered already").into()),
        }
    }

    /// The answer to this message has the nonce of the RA's next message.
    fn move_on(&self, incoming: &Incoming<'_>, forwarded: &mut Forwarded) {
        forwarded.turn(incoming.nonce.clone());
        forwarded.deadline_s = incoming.now_s.saturating_add(self.forward.keep_s);
    }

    /// Sends a message to the server behind. Where that takes long, its sender is told so.
    fn pass_on(&mut self, incoming: &mut Incoming<'_>, mut forwarded: Forwarded) -> Result<Step, Failure> {
        let message = self.for_upstream(incoming, forwarded.forward)?;
        let header = incoming.header();
        forwarded.sent_body = incoming.body_type();
        forwarded.sent_nonce = header
            .sender_nonce
            .as_ref()
            .map(|nonce| nonce.as_bytes().to_vec())
            .unwrap_or_default();
        forwarded.response = None;
        if self.forward.delayed_check_after_s.is_some() {
            let is_bundled = self.forward.batch.is_none();
            self.store.enqueue(&message, is_bundled, incoming.now_s)?;
            if incoming.body_type() == BodyType::Error {
                return self.end(incoming, forwarded);
            }
            forwarded.progress = Progress::Delayed;
            self.move_on(incoming, &mut forwarded);
            self.store.save_forwarded(&forwarded)?;
            let reply = match incoming.body_type() {
                BodyType::PollReq => self.poll_rep(incoming)?,
                body => waiting(body),
            };
            return Ok(self.reply(incoming, reply)?);
        }
        forwarded.progress = Progress::Asked;
        forwarded.deadline_s = incoming.now_s.saturating_add(self.forward.patience_s);
        self.store.save_forwarded(&forwarded)?;
        let ticket = Ticket {
            header: header.clone(),
        };
        Ok(Step::Forward(Asked { message, ticket }))
    }

    /// The end entity gives up, and is told that this is known.
    fn end(&mut self, incoming: &Incoming<'_>, mut forwarded: Forwarded) -> Result<Step, Failure> {
        self.move_on(incoming, &mut forwarded);
        self.close(incoming.now_s, &mut forwarded, Progress::Over)?;
        Ok(self.reply(incoming, Reply::new(PkiBody::PkiConf(Null)))?)
    }

    fn close(&self, now_s: u64, forwarded: &mut Forwarded, end: Progress) -> Result<(), StoreError> {
        forwarded.progress = end;
        forwarded.deadline_s = now_s.saturating_add(REMEMBERED_S);
        self.store.save_forwarded(forwarded)
    }

    fn try_give(
        &mut self,
        now_s: u64,
        header: &PkiHeader,
        response: Result<Vec<u8>, UpstreamError>,
    ) -> Result<Vec<u8>, PkiError> {
        let forwarded = self.store.forwarded(transaction_id(header))?;
        let sent = |forwarded: &Forwarded| {
            let nonce = header.sender_nonce.as_ref().map(|nonce| nonce.as_bytes());
            forwarded.progress == Progress::Asked && nonce == Some(&forwarded.sent_nonce)
        };
        let Some(mut forwarded) = forwarded.filter(sent) else {
            let nonce = random::<16>()?;
            return self.upstream_failure(now_s, header, None, &UpstreamError::NotAwaited, &nonce);
        };
        let examined = response.and_then(|bytes| {
            self.examine(now_s, &forwarded, &bytes)?;
            Ok(bytes)
        });
        match examined {
            Ok(bytes) => {
                forwarded.turn(Vec::new());
                forwarded.response = Some(bytes);
                self.deliver(now_s, header, forwarded)
            }
            Err(error) => {
                let nonce = random::<16>()?;
                forwarded.turn(nonce.to_vec());
                self.close(now_s, &mut forwarded, Progress::Over)?;
                self.upstream_failure(now_s, header, Some(&forwarded.peer), &error, &nonce)
            }
        }
    }

    /// Tells an end entity that there is no answer.
    fn upstream_failure(
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

    fn poll_rep(&self, incoming: &Incoming<'_>) -> Result<Reply, Refusal> {
        let PkiBody::PollReq(content) = &*incoming.message.body else {
            return Err(bad_request("this is no pollReq"));
        };
        let cert_req_id = match content.as_slice() {
            [poll_req] if matches!(poll_req.cert_req_id, 0 | -1) => poll_req.cert_req_id,
            _ => return Err(bad_request("there must be one pollReq, with certReqId 0 or -1")),
        };
        Ok(Reply::new(PkiBody::PollRep(vec![PollRep {
            cert_req_id,
            check_after: self.forward.delayed_check_after_s.unwrap_or(1).into(),
            reason: None,
        }])))
    }

    fn reply(&self, incoming: &Incoming<'_>, reply: Reply) -> Result<Step, PkiError> {
        let (header, peer) = (Some(incoming.header()), incoming.peer.as_ref());
        self.own_answer(incoming.now_s, header, peer, reply, &incoming.nonce)
            .map(Step::Answer)
    }

    /// An answer of the RA's own, protected like the message where that is possible.
    fn own_answer(
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
    fn system_failure(&self, now_s: u64, header: Option<&PkiHeader>) -> Vec<u8> {
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
fn waiting(body: BodyType) -> Reply {
    let status = PkiStatusInfo::from(PkiStatus::WAITING);
    match RequestKind::from_name(body.name()) {
        Some(kind) => Reply::certificate_response(kind, status, None, None),
        None => Reply::new(PkiBody::Error(ErrorMsgContent::from(status))),
    }
}

fn transaction_id(header: &PkiHeader) -> &[u8] {
    let id = header.transaction_id.as_ref();
    id.map(|id| id.as_bytes()).unwrap_or_default()
}

fn bad_request(text: &'static str) -> Refusal {
    Refusal::new(PkiFailure::BadRequest, "3.6.1", text)
}

fn root_of(identity: &RaIdentity, known: &[Certificate]) -> Option<Certificate> {
    let last = identity.chain.last()?;
    let mut roots = known.iter().filter(|one| one.is_self_issued());
    roots
        .find(|root| names_match(root.subject(), last.issuer()))
        .cloned()
}
