//! The protocol: a message in, a message out.
//!
//! Every message that asks for something goes through three steps. [`check`] says what it asks for, or why it is
//! refused; [`decide`] whether that happens now or later; [`carry_out`] does it. A delayed message is kept as it came
//! and goes through the first step again when its time has come.

mod answer;
mod authenticate;
mod carried;
mod carry_out;
mod check;
mod confirm;
mod crl;
mod decide;
mod deliver;
mod forward;
mod general;
mod header;
mod nested;
mod poll;
mod refusal;
mod revoke;

pub use forward::{
    Asked, Batch, BatchInFront, Bundle, Forward, ForwardConfig, Forwarder, OutgoingFile, Step, Ticket,
    WithoutCrl,
};
pub(crate) use refusal::Refusal;

use answer::{Answerer, Reply};
use cmp_message::{
    BodyType, CertRepMessage, PkiBody, PkiFailure, PkiHeader, PkiMessage, certificate::Certificate,
};
use refusal::RefusedIn;

use crate::{
    CertificateStatus, Endpoint, Pki, PkiError, RaConfig, Store, StoreError,
    protection::random,
    store::{Peer, State, hex},
};

/// What asks for a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RequestKind {
    Ir,
    Cr,
    P10cr,
    Kur,
}

impl RequestKind {
    /// By the name of the body.
    fn from_name(name: &str) -> Option<Self> {
        [
            (BodyType::Ir, Self::Ir),
            (BodyType::Cr, Self::Cr),
            (BodyType::P10cr, Self::P10cr),
            (BodyType::Kur, Self::Kur),
        ]
        .into_iter()
        .find_map(|(body, kind)| (body.name() == name).then_some(kind))
    }

    /// certReqId in requests, responses and confirmations (RFC 9483 §4.1.1, §4.1.4).
    fn cert_req_id(self) -> i64 {
        match self {
            Self::P10cr => -1,
            Self::Ir | Self::Cr | Self::Kur => 0,
        }
    }

    /// The body that answers it.
    fn response(self, content: CertRepMessage) -> PkiBody {
        match self {
            Self::Ir => PkiBody::Ip(content),
            Self::Cr | Self::P10cr => PkiBody::Cp(content),
            Self::Kur => PkiBody::Kup(content),
        }
    }

    fn section(self) -> &'static str {
        match self {
            Self::Ir => "4.1.1",
            Self::Cr => "4.1.2",
            Self::Kur => "4.1.3",
            Self::P10cr => "4.1.4",
        }
    }
}

/// An RA with its CA (RFC 9483 §5.1), as a value: [`handle`](Self::handle) takes the bytes of a message and the time.
///
/// Randomness is AWS-LC's; everything that must last is in the [`Store`], transactions included: a restart ends none.
/// What other processes write into the store and beside it (revocations, decisions, a new root) is seen with the next
/// message.
pub struct Ra {
    answerer: Answerer,
    config: RaConfig,
    store: Store,
    /// Whose certificates protect requests: every issuing CA of this lab, its manufacturer's CA, other manufacturers.
    anchors: Vec<Certificate>,
    /// Whose certificates make an RA: every issuing CA of this lab, and those of the configuration.
    ra_anchors: Vec<Certificate>,
}

/// One message and its answer, while it is worked on.
struct Exchange<'a> {
    now_s: u64,
    endpoint: &'a Endpoint,
    /// As it was received.
    der: &'a [u8],
    message: &'a PkiMessage,
    /// An RA has put its protection around the message (RFC 9483 §5.2.2.1).
    is_vouched: bool,
    /// senderNonce of the answer.
    nonce: Vec<u8>,
    /// Who sent the message, as soon as that is proven: it decides how the answer is protected.
    peer: Option<Peer>,
    /// The body in which a refusal is said.
    refused_in: RefusedIn,
}

impl Exchange<'_> {
    fn header(&self) -> &PkiHeader {
        &self.message.header
    }

    fn transaction_id(&self) -> &[u8] {
        let id = self.message.header.transaction_id.as_ref();
        id.map(|id| id.as_bytes()).unwrap_or_default()
    }
}

impl Ra {
    /// An RA of this hierarchy.
    ///
    /// # Errors
    /// If a certificate of the hierarchy cannot be read.
    pub fn new(pki: Pki, config: RaConfig, store: Store) -> Result<Self, PkiError> {
        let mut ra = Self {
            answerer: Answerer::new(pki)?,
            config,
            store,
            anchors: Vec::new(),
            ra_anchors: Vec::new(),
        };
        ra.collect_anchors()?;
        Ok(ra)
    }

    /// Answers a message that was posted to `/.well-known/cmp`. `now_s` is the time in seconds since 1970.
    ///
    /// The answer is always a CMP message, errors included: protected like the request where that is authentic,
    /// signed by the RA otherwise. What it says is in the store before it is given.
    pub fn handle(&mut self, now_s: u64, request: &[u8]) -> Vec<u8> {
        self.handle_at(now_s, &Endpoint::default(), request)
    }

    /// Answers a message that was posted to `endpoint`.
    pub fn handle_at(&mut self, now_s: u64, endpoint: &Endpoint, request: &[u8]) -> Vec<u8> {
        let answered = self.in_transaction(|ra| {
            ra.follow_hierarchy()?;
            ra.expire(now_s)?;
            ra.answer(now_s, endpoint, request)
        });
        answered.unwrap_or_else(|error| {
            tracing::error!(%error, "cannot answer");
            let header = PkiMessage::peek_header(request).ok();
            self.answerer.system_failure(now_s, header.as_ref(), &self.config)
        })
    }

    /// The hierarchy.
    pub fn pki(&self) -> &Pki {
        self.answerer.pki()
    }

    /// What lasts.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The hierarchy and what lasts, for an RA with another configuration.
    pub fn into_parts(self) -> (Pki, Store) {
        (self.answerer.into_pki(), self.store)
    }

    /// Whether there are rules of this name.
    pub fn has_profile(&self, name: &str) -> bool {
        self.config.profiles.contains_key(name)
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

    /// Errors are the server's own: what was written for this message is undone.
    fn answer(&mut self, now_s: u64, endpoint: &Endpoint, request: &[u8]) -> Result<Vec<u8>, PkiError> {
        let message = match PkiMessage::from_bytes(request) {
            Ok(message) => message,
            Err(error) => {
                let header = PkiMessage::peek_header(request).ok();
                let text = "this is not a PKIMessage in DER";
                let refusal = Refusal::new(PkiFailure::BadDataFormat, "3.5", text).because(error);
                log_refusal(header.as_ref(), None, &refusal);
                let reply = Reply::refusal(RefusedIn::Error, refusal);
                let nonce = random::<16>()?;
                return self
                    .answerer
                    .answer(now_s, header.as_ref(), None, &self.config, reply, &nonce);
            }
        };
        let mut exchange = Exchange {
            now_s,
            endpoint,
            der: request,
            message: &message,
            is_vouched: false,
            nonce: random::<16>()?.to_vec(),
            peer: None,
            refused_in: RefusedIn::Error,
        };
        match &*message.body {
            PkiBody::Nested(content) => self.nested(&mut exchange, content),
            _ => self.answer_message(&mut exchange),
        }
    }

    /// Answers a message that is not nested.
    fn answer_message(&mut self, exchange: &mut Exchange<'_>) -> Result<Vec<u8>, PkiError> {
        let reply = match self.process(exchange) {
            Ok(reply) => reply,
            Err(Failure::Refused(refusal)) => {
                let body = exchange.message.body.body_type();
                log_refusal(Some(exchange.header()), Some(body), &refusal);
                Reply::refusal(exchange.refused_in, refusal)
            }
            Err(Failure::Own(error)) => return Err(error),
        };
        let header = Some(exchange.header());
        let peer = exchange.peer.as_ref();
        self.answerer
            .answer(exchange.now_s, header, peer, &self.config, reply, &exchange.nonce)
    }

    fn process(&mut self, exchange: &mut Exchange<'_>) -> Result<Reply, Failure> {
        if !exchange.endpoint.accepts(&exchange.message.body) {
            self.authenticate_claimed(exchange)?;
            let text = "this kind of message does not belong to the path that it was posted to";
            return Err(Refusal::new(PkiFailure::BadRequest, "6.1", text).into());
        }
        match &*exchange.message.body {
            PkiBody::Ir(_)
            | PkiBody::Cr(_)
            | PkiBody::P10cr(_)
            | PkiBody::Kur(_)
            | PkiBody::Rr(_)
            | PkiBody::Genm(_) => self.begin(exchange),
            PkiBody::CertConf(_) => self.cert_conf(exchange),
            PkiBody::PollReq(content) => self.poll_req(exchange, content),
            PkiBody::Error(content) => self.peer_error(exchange, content),
            _ => {
                self.authenticate_claimed(exchange)?;
                let text = "this kind of message is not for an RA";
                Err(Refusal::new(PkiFailure::BadRequest, "3.6.1", text).into())
            }
        }
    }

    /// Reads the hierarchy again if another process has made a new generation of it.
    fn follow_hierarchy(&mut self) -> Result<(), PkiError> {
        let Some(folder) = self.pki().folder() else {
            return Ok(());
        };
        if !self.store.was_changed_elsewhere()? || self.store.generation()? <= self.pki().generation() {
            return Ok(());
        }
        let pki = Pki::load(folder)?;
        tracing::info!(generation = pki.generation(), "a new root is in use");
        self.answerer = Answerer::new(pki)?;
        self.collect_anchors()
    }

    /// Ends the transactions whose deadline is over, and with them their unconfirmed certificates.
    fn expire(&mut self, now_s: u64) -> Result<(), StoreError> {
        while let Some(mut transaction) = self.store.due_transaction(now_s)? {
            tracing::warn!(
                transaction = hex(&transaction.id),
                "transaction ended: the peer did not go on in time"
            );
            if let Some(serial) = &transaction.serial {
                self.store.settle(serial, CertificateStatus::Expired, now_s)?;
            }
            transaction.state = State::Late;
            (transaction.message, transaction.private_key) = (None, None);
            self.store.save(&mut transaction, now_s)?;
        }
        self.store.forget(now_s)
    }
}

/// Why there is no answer to what was asked.
#[derive(Debug)]
enum Failure {
    /// By the message's fault, or by decision: it is told.
    Refused(Refusal),
    /// By our own.
    Own(PkiError),
}

impl<T: Into<Refusal>> From<T> for Failure {
    fn from(refusal: T) -> Self {
        Self::Refused(refusal.into())
    }
}

impl From<PkiError> for Failure {
    fn from(error: PkiError) -> Self {
        Self::Own(error)
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::Own(error.into())
    }
}

impl From<der::Error> for Failure {
    fn from(error: der::Error) -> Self {
        Self::Own(error.into())
    }
}

fn log_refusal(header: Option<&PkiHeader>, body: Option<BodyType>, refusal: &Refusal) {
    let sender = header.and_then(PkiHeader::sender_name).map(ToString::to_string);
    let transaction = header.and_then(|header| header.transaction_id.as_ref());
    tracing::warn!(
        body = body.map_or("?", BodyType::name),
        fail_info = %refusal.failure,
        section = refusal.section,
        cause = refusal.cause.as_deref().unwrap_or_default(),
        sender = sender.as_deref().unwrap_or("?").replace(char::is_control, " "),
        transaction = transaction.map(|id| hex(id.as_bytes())).as_deref().unwrap_or("?"),
        "refused: {}",
        refusal.text
    );
}
