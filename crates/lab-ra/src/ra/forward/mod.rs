//! An RA in front of another CMP server (RFC 9483 §5.2), as a value.
//!
//! A message of an end entity goes in at [`take`](Forwarder::take): it is checked, and either answered by the RA itself
//! or made ready for the server behind. What comes back goes in at [`give`](Forwarder::give). Where the way is slow, the
//! end entity is told to poll at once, the message goes to [`outgoing`](Forwarder::outgoing), and its answer comes in at
//! [`arrive`](Forwarder::arrive). Where a person decides, the end entity polls until then.

mod approval;
mod bundle;
mod config;
mod downstream;
mod front;
mod reply;
mod revocation;
mod transaction;
mod upstream;

pub use bundle::{Bundle, OutgoingFile};
pub use config::{Batch, Forward, ForwardConfig, WithoutCrl};
pub use front::BatchInFront;

use cmp_message::{
    BodyType, PkiBody, PkiFailure, PkiHeader, PkiMessage,
    certificate::{Certificate, names_match},
    crl::Crl,
};

use super::{Failure, Refusal, answer::Reply, log_refusal, refusal::RefusedIn};
use crate::{
    Endpoint, PkiError, RaConfig, RaIdentity, Store, StoreError, UpstreamError,
    protection::{Protector, random},
    store::{Peer, hex},
};

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
    /// Whose certificates make an RA in front of this one.
    ra_anchors: Vec<Certificate>,
    /// Whose certificates protect answers.
    upstream_anchors: Vec<Certificate>,
    /// The root that the RA's certificate leads to, if it is known.
    root: Option<Certificate>,
    /// Who is revoked.
    crls: Vec<Crl>,
}

/// What becomes of a message.
#[derive(Debug)]
pub enum Step {
    /// It is answered.
    Answer(Vec<u8>),
    /// It goes to the server behind.
    Forward(Asked),
    /// It is a batch of an RA in front: each of its messages takes a step of its own.
    Batch(BatchInFront),
}

/// A message that goes to the server behind while its sender waits.
#[derive(Debug)]
pub struct Asked {
    /// Its bytes. With [`Batch`] it is still to be bundled.
    pub message: Vec<u8>,
    /// The profile that its path named; it is for the path behind, too.
    pub profile: Option<String>,
    /// Whose it is.
    pub ticket: Ticket,
}

/// Whose answer is waited for.
#[derive(Debug)]
pub struct Ticket {
    /// Of the end entity's message.
    header: PkiHeader,
    /// certReqId, if that message is a pollReq.
    polled: Option<i64>,
    /// senderNonce of the message that was passed on.
    sent_nonce: Vec<u8>,
}

/// A message of an end entity, while it is worked on.
struct Incoming<'a> {
    now_s: u64,
    /// As it was received: with the protection of an RA in front around it, if there is one.
    received: &'a [u8],
    /// The message itself.
    der: &'a [u8],
    message: &'a PkiMessage,
    /// An RA in front has put its protection around the message.
    is_vouched: bool,
    /// That its path named.
    profile: Option<&'a str>,
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

    fn sender_nonce(&self) -> Vec<u8> {
        let nonce = self.header().sender_nonce.as_ref();
        nonce.map(|nonce| nonce.as_bytes().to_vec()).unwrap_or_default()
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
        let own_ca = identity.chain.first();
        Ok(Self {
            anchors: [identity.chain.as_slice(), &config.manufacturers].concat(),
            ra_anchors: own_ca
                .into_iter()
                .chain(&config.registration_authorities)
                .cloned()
                .collect(),
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
            crls: Vec::new(),
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

    /// What lasts, for an RA that takes over.
    pub fn into_store(self) -> Store {
        self.store
    }

    /// Whether there are rules of this name.
    pub fn has_profile(&self, name: &str) -> bool {
        self.config.profiles.contains_key(name)
    }

    /// Takes these CRLs in place of those before. Their signatures are checked when they are needed.
    pub fn replace_crls(&mut self, crls: Vec<Crl>) {
        self.crls = crls;
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
        let given = self.in_transaction(|ra| ra.try_give(now_s, ticket, response));
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
        let incoming = Incoming {
            now_s,
            received: der,
            der,
            message: &message,
            is_vouched: false,
            profile: endpoint.profile(),
            nonce: random::<16>()?.to_vec(),
            peer: None,
            refused_in: RefusedIn::Error,
        };
        match &*message.body {
            PkiBody::Nested(content) => self.take_nested(endpoint, incoming, content),
            _ => self.take_message(endpoint, incoming),
        }
    }

    /// Takes a message that is not nested.
    fn take_message(&mut self, endpoint: &Endpoint, mut incoming: Incoming<'_>) -> Result<Step, PkiError> {
        match self.process(endpoint, &mut incoming) {
            Ok(step) => Ok(step),
            Err(Failure::Own(error)) => Err(error),
            Err(Failure::Refused(refusal)) => self.refuse(&incoming, refusal),
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
