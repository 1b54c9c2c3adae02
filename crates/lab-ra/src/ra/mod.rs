//! The protocol: a message in, a message out.

mod answer;
mod config;
mod confirm;
mod enroll;
mod poll;
mod refusal;
mod transaction;

pub use config::{ImplicitConfirm, PollAfter, RaConfig};
pub(crate) use refusal::Refusal;

use answer::{Answerer, Reply};
use cmp_message::{
    BodyType, CertRepMessage, PkiBody, PkiFailure, PkiHeader, PkiMessage,
    certificate::Certificate,
    crypto::AwsLc,
    validate::{Accept, Authenticated, Context, Stage, validate},
};
use std::sync::Arc;
use transaction::{End, Peer, State, Transactions};

use crate::{CertificateStatus, Pki, PkiError, Store, store::hex};

/// What asks for a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RequestKind {
    Ir,
    Cr,
    Kur,
}

impl RequestKind {
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
/// Randomness is AWS-LC's; what must last goes to the [`Store`]. Transactions are in memory: a restart ends them.
pub struct Ra {
    answerer: Answerer,
    config: RaConfig,
    store: Box<dyn Store>,
    transactions: Transactions,
    /// The CAs whose certificates protect requests: the issuing CA first, then the manufacturer's.
    anchors: Vec<Certificate>,
}

impl Ra {
    /// An RA of this hierarchy.
    ///
    /// # Errors
    /// If a certificate of the hierarchy cannot be read.
    pub fn new(pki: Pki, config: RaConfig, store: Box<dyn Store>) -> Result<Self, PkiError> {
        let anchors = [("ca.pem", &pki.ca), ("manufacturer-ca.pem", &pki.manufacturer_ca)];
        let anchors = anchors.into_iter().map(|(file, authority)| {
            Certificate::from_der(authority.certificate()).map_err(|_| PkiError::Damaged(file.into()))
        });
        Ok(Self {
            anchors: anchors.collect::<Result<_, _>>()?,
            answerer: Answerer::new(pki)?,
            transactions: Transactions::new(config.max_transactions),
            config,
            store,
        })
    }

    /// Answers a message. `now_s` is the time in seconds since 1970.
    ///
    /// The answer is always a CMP message, errors included: protected like the request where that is authentic,
    /// signed by the RA otherwise.
    pub fn handle(&mut self, now_s: u64, request: &[u8]) -> Vec<u8> {
        self.expire(now_s);
        let message = match PkiMessage::from_bytes(request) {
            Ok(message) => message,
            Err(error) => {
                let header = PkiMessage::peek_header(request).ok();
                let text = "this is not a PKIMessage in DER";
                let refusal = Refusal::new(PkiFailure::BadDataFormat, "3.5", text).because(error);
                log_refusal(header.as_ref(), None, &refusal);
                return self
                    .answerer
                    .answer(now_s, header.as_ref(), None, &self.config, refusal.into())
                    .0;
            }
        };
        let mut peer = None;
        let reply = self
            .process(now_s, &message, &mut peer)
            .unwrap_or_else(|refusal| {
                log_refusal(Some(&message.header), Some(message.body.body_type()), &refusal);
                refusal.into()
            });
        let goes_on = reply.goes_on;
        let header = Some(&*message.header);
        let (answer, nonce) = self
            .answerer
            .answer(now_s, header, peer.as_deref(), &self.config, reply);
        if let Some(transaction) = self
            .transactions
            .find_mut(transaction_id(&message))
            .filter(|_| goes_on)
        {
            transaction.sender_nonce = nonce;
        }
        answer
    }

    /// The hierarchy.
    pub fn pki(&self) -> &Pki {
        self.answerer.pki()
    }

    /// How many transactions are remembered, open or closed.
    pub fn transaction_count(&self) -> usize {
        self.transactions.len()
    }

    /// What became of an issued certificate; `serial` is the content of its INTEGER.
    pub fn certificate_status(&self, serial: &[u8]) -> Option<CertificateStatus> {
        self.store.status(serial)
    }

    /// `peer` is set as soon as it is known who sent the message: it decides how the answer is protected.
    fn process(
        &mut self,
        now_s: u64,
        message: &PkiMessage,
        peer: &mut Option<Arc<Peer>>,
    ) -> Result<Reply, Refusal> {
        match &*message.body {
            PkiBody::Ir(content) => self.request(now_s, message, RequestKind::Ir, content, peer),
            PkiBody::Cr(content) => self.request(now_s, message, RequestKind::Cr, content, peer),
            PkiBody::Kur(content) => self.request(now_s, message, RequestKind::Kur, content, peer),
            PkiBody::CertConf(content) => self.cert_conf(now_s, message, content, peer),
            PkiBody::PollReq(content) => self.poll_req(now_s, message, content, peer),
            PkiBody::Error(content) => self.peer_error(now_s, message, content, peer),
            PkiBody::P10cr(_) | PkiBody::Rr(_) | PkiBody::Genm(_) | PkiBody::Nested(_) => {
                self.authenticate_claimed(now_s, message, peer)?;
                Err(Refusal::new(
                    PkiFailure::BadRequest,
                    "5.1",
                    "this RA does not support this kind of request",
                ))
            }
            _ => {
                self.authenticate_claimed(now_s, message, peer)?;
                Err(Refusal::new(
                    PkiFailure::BadRequest,
                    "3.6.1",
                    "this kind of message is not for an RA",
                ))
            }
        }
    }

    /// The generic checks on a message (RFC 9483 §3.5).
    fn authenticate(
        &self,
        now_s: u64,
        message: &PkiMessage,
        stage: Stage<'_>,
        accept: Accept,
        known_signer: Option<&Certificate>,
    ) -> Result<Arc<Peer>, Refusal> {
        let context = Context {
            crypto: &AwsLc,
            now_s: Some(now_s),
            stage,
            accept,
            anchors: &self.anchors,
            intermediates: &[],
            signer_usage: None,
            known_signer,
            secret: &|reference| self.config.secrets.get(reference?),
            unprotected_errors: false,
            max_clock_skew_s: self.config.max_clock_skew_s,
        };
        match validate(message, &context)? {
            Authenticated::Signer(signer) => Ok(Arc::new(Peer::Signer(signer))),
            Authenticated::Mac(reference) => Ok(Arc::new(Peer::Mac(reference))),
            _ => Err(Refusal::new(
                PkiFailure::BadMessageCheck,
                "3.5",
                "the message is not protected",
            )),
        }
    }

    /// The generic checks on a message that goes on with a transaction; whoever sends it must have begun it.
    fn authenticate_next(
        &self,
        now_s: u64,
        message: &PkiMessage,
        peer: &mut Option<Arc<Peer>>,
    ) -> Result<(), Refusal> {
        let id = transaction_id(message);
        let Some(transaction) = self.transactions.find(id) else {
            self.authenticate_claimed(now_s, message, peer)?;
            return Err(Refusal::new(
                PkiFailure::BadRequest,
                "3.6.1",
                "there is no such transaction",
            ));
        };
        let stage = Stage::Answer {
            transaction_id: id,
            sender_nonce: &transaction.sender_nonce,
        };
        let (accept, known_signer) = match &*transaction.peer {
            Peer::Signer(signer) => (Accept::Signature, Some(signer)),
            Peer::Mac(_) => (Accept::Mac, None),
        };
        let sender = self.authenticate(now_s, message, stage, accept, known_signer)?;
        let is_same = sender.is_same(&transaction.peer);
        *peer = Some(sender);
        match is_same {
            true => Ok(()),
            false => {
                let text = "the transaction was begun by somebody else";
                Err(Refusal::new(PkiFailure::NotAuthorized, "3.5", text))
            }
        }
    }

    /// The generic checks on a message that will be refused anyway, so that the refusal can be protected alike.
    fn authenticate_claimed(
        &self,
        now_s: u64,
        message: &PkiMessage,
        peer: &mut Option<Arc<Peer>>,
    ) -> Result<(), Refusal> {
        let stage = match &message.header.recip_nonce {
            None => Stage::First,
            Some(nonce) => Stage::Answer {
                transaction_id: transaction_id(message),
                sender_nonce: nonce.as_bytes(),
            },
        };
        *peer = Some(self.authenticate(now_s, message, stage, Accept::Any, None)?);
        Ok(())
    }

    /// Ends the transactions whose deadline is over, and with them their unconfirmed certificates.
    fn expire(&mut self, now_s: u64) {
        while let Some(id) = self.transactions.due(now_s) {
            let state = self.transactions.close(&id, End::Late, now_s);
            tracing::warn!(
                transaction = hex(&id),
                "transaction ended: the peer did not go on in time"
            );
            if let Some(State::AwaitingCertConf { serial, .. }) = state
                && let Err(error) = self.store.change(&serial, CertificateStatus::Expired, now_s)
            {
                tracing::error!(serial = hex(&serial), %error, "cannot record that a certificate expired");
            }
        }
        self.transactions.forget(now_s);
    }
}

fn transaction_id(message: &PkiMessage) -> &[u8] {
    message
        .header
        .transaction_id
        .as_ref()
        .map(|id| id.as_bytes())
        .unwrap_or_default()
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
