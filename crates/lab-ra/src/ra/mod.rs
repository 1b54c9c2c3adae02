//! The protocol: a message in, a message out.
//!
//! A request goes through three steps. [`check`] says what it asks for, or why it is refused; [`decide`] whether that
//! happens now or later; [`issue`] does it. A delayed request is kept as its message and goes through the first step
//! again when its time has come.

mod answer;
mod authenticate;
mod check;
mod config;
mod confirm;
mod decide;
mod issue;
mod poll;
mod refusal;

pub use config::{ImplicitConfirm, PollAfter, RaConfig};
pub(crate) use refusal::Refusal;

use answer::{Answerer, Reply, random};
use cmp_message::{
    BodyType, CertRepMessage, PkiBody, PkiFailure, PkiHeader, PkiMessage, certificate::Certificate,
};
use refusal::RefusedIn;

use crate::{
    CertificateStatus, Pki, PkiError, Store, StoreError,
    store::{Peer, State, hex},
};

/// What asks for a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RequestKind {
    Ir,
    Cr,
    Kur,
}

impl RequestKind {
    fn of(body: &PkiBody) -> Option<Self> {
        match body {
            PkiBody::Ir(_) => Some(Self::Ir),
            PkiBody::Cr(_) => Some(Self::Cr),
            PkiBody::Kur(_) => Some(Self::Kur),
            _ => None,
        }
    }

    /// By the name of the body.
    fn from_name(name: &str) -> Option<Self> {
        [Self::Ir, Self::Cr, Self::Kur]
            .into_iter()
            .find(|kind| kind.body_type().name() == name)
    }

    fn body_type(self) -> BodyType {
        match self {
            Self::Ir => BodyType::Ir,
            Self::Cr => BodyType::Cr,
            Self::Kur => BodyType::Kur,
        }
    }

    /// The body that answers it.
    fn response(self, content: CertRepMessage) -> PkiBody {
        match self {
            Self::Ir => PkiBody::Ip(content),
            Self::Cr => PkiBody::Cp(content),
            Self::Kur => PkiBody::Kup(content),
        }
    }

    fn section(self) -> &'static str {
        match self {
            Self::Ir => "4.1.1",
            Self::Cr => "4.1.2",
            Self::Kur => "4.1.3",
        }
    }
}

/// An RA with its CA (RFC 9483 §5.1), as a value: [`handle`](Self::handle) takes the bytes of a message and the time.
///
/// Randomness is AWS-LC's; everything that must last is in the [`Store`], transactions included: a restart ends none.
pub struct Ra {
    answerer: Answerer,
    config: RaConfig,
    store: Store,
    /// The CAs whose certificates protect requests: the issuing CA first, then the manufacturer's.
    anchors: Vec<Certificate>,
}

/// One message and its answer, while it is worked on.
struct Exchange<'a> {
    now_s: u64,
    /// As it was received.
    der: &'a [u8],
    message: &'a PkiMessage,
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
        let anchors = [("ca.pem", &pki.ca), ("manufacturer-ca.pem", &pki.manufacturer_ca)];
        let anchors = anchors.into_iter().map(|(file, authority)| {
            Certificate::from_der(authority.certificate()).map_err(|_| PkiError::Damaged(file.into()))
        });
        Ok(Self {
            anchors: anchors.collect::<Result<_, _>>()?,
            answerer: Answerer::new(pki)?,
            config,
            store,
        })
    }

    /// Answers a message. `now_s` is the time in seconds since 1970.
    ///
    /// The answer is always a CMP message, errors included: protected like the request where that is authentic,
    /// signed by the RA otherwise. What it says is in the store before it is given.
    pub fn handle(&mut self, now_s: u64, request: &[u8]) -> Vec<u8> {
        let answered = self.store.begin().map_err(PkiError::from).and_then(|()| {
            self.expire(now_s)?;
            let answer = self.answer(now_s, request)?;
            self.store.commit()?;
            Ok(answer)
        });
        answered.unwrap_or_else(|error| {
            tracing::error!(%error, "cannot answer");
            if let Err(error) = self.store.roll_back() {
                tracing::error!(%error, "cannot roll back");
            }
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

    /// Errors are the server's own: what was written for this message is undone.
    fn answer(&mut self, now_s: u64, request: &[u8]) -> Result<Vec<u8>, PkiError> {
        let nonce = random::<16>()?.to_vec();
        let message = match PkiMessage::from_bytes(request) {
            Ok(message) => message,
            Err(error) => {
                let header = PkiMessage::peek_header(request).ok();
                let text = "this is not a PKIMessage in DER";
                let refusal = Refusal::new(PkiFailure::BadDataFormat, "3.5", text).because(error);
                log_refusal(header.as_ref(), None, &refusal);
                let reply = Reply::refusal(RefusedIn::Error, refusal);
                return self
                    .answerer
                    .answer(now_s, header.as_ref(), None, &self.config, reply, &nonce);
            }
        };
        let mut exchange = Exchange {
            now_s,
            der: request,
            message: &message,
            nonce,
            peer: None,
            refused_in: RefusedIn::Error,
        };
        let reply = match self.process(&mut exchange) {
            Ok(reply) => reply,
            Err(Failure::Refused(refusal)) => {
                log_refusal(Some(&message.header), Some(message.body.body_type()), &refusal);
                Reply::refusal(exchange.refused_in, refusal)
            }
            Err(Failure::Own(error)) => return Err(error),
        };
        let header = Some(exchange.header());
        let peer = exchange.peer.as_ref();
        self.answerer
            .answer(now_s, header, peer, &self.config, reply, &exchange.nonce)
    }

    fn process(&mut self, exchange: &mut Exchange<'_>) -> Result<Reply, Failure> {
        match &*exchange.message.body {
            PkiBody::Ir(_) | PkiBody::Cr(_) | PkiBody::Kur(_) => self.begin(exchange),
            PkiBody::CertConf(content) => self.cert_conf(exchange, content),
            PkiBody::PollReq(content) => self.poll_req(exchange, content),
            PkiBody::Error(content) => self.peer_error(exchange, content),
            PkiBody::P10cr(_) | PkiBody::Rr(_) | PkiBody::Genm(_) | PkiBody::Nested(_) => {
                self.authenticate_claimed(exchange)?;
                let text = "this RA does not support this kind of request";
                Err(Refusal::new(PkiFailure::BadRequest, "5.1", text).into())
            }
            _ => {
                self.authenticate_claimed(exchange)?;
                let text = "this kind of message is not for an RA";
                Err(Refusal::new(PkiFailure::BadRequest, "3.6.1", text).into())
            }
        }
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
            transaction.message = None;
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
