//! The state machine of a transaction.
//!
//! ```text
//! Proof ─► Protect ─► Store ─► Wait for the answer ─┬─ ip, kup accepted ─► certConf: Protect ─► …
//!            ▲                                      ├─ waiting, pollRep ─► Poll later: pollReq ─┐
//!            └──────────────────────────────────────┴───────────────────────────────────────────┘
//!                                                   └─ pkiconf, implicit confirmation, refusal ─► Over
//! ```

use alloc::{boxed::Box, collections::VecDeque, sync::Arc, vec::Vec};
use core::{fmt, time::Duration};

use cmp_message::{
    BodyType, CertReqMsg, CertRequest, Exact, PkiBody, PkiMessage, PollReq, Raw, certificate::Certificate,
    crypto::SignatureAlgorithm,
};
use der::asn1::OctetString;

use crate::{
    Action, Config, Enrolled, Exchange, Failure, JobId, JobResult, KeyId, Operation, Protection, Refusal,
    Report, Request, ResponseError, StateError, Time, TransferFailure,
    issued::cert_status,
    outgoing::{self, Ids, Protected},
    record::{self, IssuedRecord, Record},
    seed::Seed,
};

mod answer;
#[cfg(test)]
mod replay;

/// New transactions for one request at most, where its outcome is unknown or its transactionID is in use.
const MAX_ATTEMPTS: u8 = 3;
/// How often one message is sent again where its outcome is unknown.
const MAX_REPETITIONS: u8 = 10;
/// checkAfter above this is reported as suspension, and honoured.
const SUSPENDED_S: u64 = 24 * 3600;

/// One enrolment or update, from the request to the confirmation.
pub struct Transaction {
    config: Arc<Config>,
    seed: Seed,
    request_type: BodyType,
    key: KeyId,
    transaction_id: [u8; 16],
    /// Of our last message.
    sender_nonce: [u8; 16],
    /// Of the peer's last message.
    peer_nonce: Vec<u8>,
    known_signer: Option<Certificate>,
    request: Option<CertReqMsg>,
    attempt: u8,
    repetitions: u8,
    /// What our last message is.
    sent: BodyType,
    /// What the answer is awaited for: the request or certConf, also while polling.
    awaited: BodyType,
    poll_id: i64,
    message: Vec<u8>,
    /// implicitConfirm was asked for.
    implicit: bool,
    issued: Option<Issued>,
    phase: Phase,
    /// When this life of the transaction began, on the monotonic clock, and what earlier lives took.
    started: Duration,
    spent_before: Duration,
    actions: VecDeque<Action>,
    next_job: u32,
}

struct Issued {
    record: IssuedRecord,
    certificate: Option<Certificate>,
    refusal: Option<Refusal>,
}

enum Phase {
    /// The proof of possession is being signed.
    Proof {
        job: JobId,
        cert_req: Exact<CertRequest>,
        algorithm: SignatureAlgorithm,
    },
    /// A message is being signed.
    Protect {
        job: JobId,
        message: PkiMessage,
    },
    /// The state is being kept before the message goes out.
    Store {
        job: JobId,
        then: Then,
    },
    /// The message is under way.
    Await,
    /// The message is sent again at this time.
    Retry(Duration),
    /// A pollReq is due at this time.
    Poll(Duration),
    Over,
}

/// What follows when a state is kept.
#[derive(Clone, Copy)]
enum Then {
    Send,
    /// A pollReq after this many seconds.
    Poll(u64),
}

impl Transaction {
    /// Begins a transaction. `seed` is 32 bytes from a cryptographic random generator, used for nothing else.
    pub fn new(config: impl Into<Arc<Config>>, request: Request, seed: [u8; 32], now: Time) -> Self {
        let mut transaction = Self::empty(
            config.into(),
            request.operation.request_type(),
            request.key,
            seed,
            now,
        );
        if let Err(failure) = transaction.prove(&request) {
            transaction.fail(failure);
        }
        transaction
    }

    /// Takes up the transaction whose state was kept last: sends the message that was under way once more, byte for byte,
    /// or waits the whole of the last checkAfter. `config` is the one that it was begun with; `seed` is new.
    ///
    /// # Errors
    /// [`StateError`] for a state that this version cannot read, or that was begun under another protection.
    pub fn resume(
        config: impl Into<Arc<Config>>,
        state: &[u8],
        seed: [u8; 32],
        now: Time,
    ) -> Result<Self, StateError> {
        let stored = Record::decode(state)?;
        let id = |octets: &OctetString| octets.as_bytes().try_into().map_err(|_| StateError::Malformed);
        let request_type = record::kind(stored.request_kind)?;
        let mut transaction = Self::empty(config.into(), request_type, KeyId(stored.key), seed, now);
        transaction.sent = record::kind(stored.kind)?;
        transaction.awaited = record::kind(stored.awaited)?;
        transaction.attempt = stored.attempt;
        transaction.poll_id = stored.poll_id;
        transaction.transaction_id = id(&stored.transaction_id)?;
        transaction.sender_nonce = id(&stored.sender_nonce)?;
        transaction.request = Some(stored.request);
        transaction.message = stored.message.into_bytes().into_vec();
        transaction.implicit = stored.implicit;
        transaction.spent_before = Duration::from_secs(stored.spent_s);
        transaction.peer_nonce = stored.peer_nonce.into_bytes().into_vec();
        transaction.known_signer = stored
            .signer
            .and_then(|signer| Certificate::from_der(signer.as_bytes()).ok());
        transaction.issued = stored.issued.map(|record| Issued {
            certificate: Certificate::from_der(record.certificate.as_bytes()).ok(),
            refusal: record.refused.clone().map(Refusal::Earlier),
            record,
        });
        let header = PkiMessage::peek_header(&transaction.message).map_err(|_| StateError::Malformed)?;
        if !outgoing::is_ours(&transaction.config, &header) {
            return Err(StateError::OtherProtection);
        }
        match stored.check_after_s {
            Some(s) => transaction.poll_after(now, s),
            None => transaction.send(),
        }
        Ok(transaction)
    }

    fn empty(config: Arc<Config>, request_type: BodyType, key: KeyId, seed: [u8; 32], now: Time) -> Self {
        Self {
            implicit: config.implicit_confirm,
            started: now.monotonic,
            spent_before: Duration::ZERO,
            config,
            seed: Seed::new(seed),
            request_type,
            key,
            transaction_id: [0; 16],
            sender_nonce: [0; 16],
            peer_nonce: Vec::new(),
            known_signer: None,
            request: None,
            attempt: 1,
            repetitions: 0,
            sent: request_type,
            awaited: request_type,
            poll_id: 0,
            message: Vec::new(),
            issued: None,
            phase: Phase::Over,
            actions: VecDeque::new(),
            next_job: 0,
        }
    }

    /// What is to be done next.
    #[must_use]
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// When [`Transaction::handle_timeout`] is to be called, on the monotonic clock.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Duration> {
        let due = match self.phase {
            Phase::Retry(due) | Phase::Poll(due) => Some(due),
            Phase::Over => return None,
            _ => None,
        };
        due.into_iter().chain(self.deadline()).min()
    }

    /// How a signature or the keeping of a state ended.
    pub fn handle_done(&mut self, now: Time, job: JobId, result: JobResult) {
        let awaited = match &self.phase {
            Phase::Proof { job, .. } | Phase::Protect { job, .. } | Phase::Store { job, .. } => *job,
            _ => return,
        };
        if awaited != job {
            return;
        }
        let done = match (core::mem::replace(&mut self.phase, Phase::Over), result) {
            (
                Phase::Proof {
                    cert_req, algorithm, ..
                },
                JobResult::Signed(signature),
            ) => self.proven(now, cert_req, algorithm, &signature),
            (Phase::Protect { message, .. }, JobResult::Signed(signature)) => {
                outgoing::with_signature(&self.config, message, &signature).and_then(|m| self.keep(now, m))
            }
            (Phase::Store { then, .. }, JobResult::Stored) => {
                match then {
                    Then::Send => self.send(),
                    Then::Poll(s) => self.poll_after(now, s),
                }
                Ok(())
            }
            (Phase::Store { .. }, _) => Err(Failure::Storage),
            _ => Err(Failure::Key(cmp_message::crypto::CryptoError::SigningFailed)),
        };
        if let Err(failure) = done {
            self.fail(failure);
        }
    }

    /// The answer to the message that was sent last, whatever it is.
    pub fn handle_response(&mut self, now: Time, message: &[u8]) {
        if matches!(self.phase, Phase::Over) {
            return;
        }
        if !matches!(self.phase, Phase::Await) {
            return self.report(Report::UnexpectedResponse);
        }
        if let Err(failure) = self.answer(now, message) {
            self.fail(failure);
        }
    }

    /// There is no answer (RFC 9811 §3.3): what follows depends on what was sent.
    pub fn handle_transfer_failure(&mut self, now: Time, failure: TransferFailure) {
        if !matches!(self.phase, Phase::Await) {
            return;
        }
        let result = match failure {
            TransferFailure::NotSent { retry_after } => {
                self.phase = Phase::Retry(now.monotonic.saturating_add(retry_after));
                Ok(())
            }
            TransferFailure::Refused => Err(Failure::Delivery(self.exchange())),
            TransferFailure::OutcomeUnknown if self.sent == self.request_type => self.begin_again(now),
            TransferFailure::OutcomeUnknown if self.repetitions < MAX_REPETITIONS => {
                self.repetitions += 1;
                self.report(Report::Repeating { message: self.sent });
                self.send();
                Ok(())
            }
            TransferFailure::OutcomeUnknown => Err(Failure::Delivery(self.exchange())),
        };
        if let Err(failure) = result {
            self.fail(failure);
        }
    }

    /// To be called when [`Transaction::poll_timeout`] is due.
    pub fn handle_timeout(&mut self, now: Time) {
        if matches!(self.phase, Phase::Over) {
            return;
        }
        if self.deadline().is_some_and(|deadline| now.monotonic >= deadline) {
            return self.fail(Failure::TimedOut(self.exchange()));
        }
        match self.phase {
            Phase::Retry(due) if now.monotonic >= due => self.send(),
            Phase::Poll(due) if now.monotonic >= due => {
                let poll = PkiBody::PollReq(alloc::vec![PollReq {
                    cert_req_id: self.poll_id
                }]);
                if let Err(failure) = self.compose(now, poll) {
                    self.fail(failure);
                }
            }
            _ => {}
        }
    }

    /// Ends the transaction from this side. The RA is not told: what it issued it drops when no certConf comes.
    pub fn give_up(&mut self) {
        if !matches!(self.phase, Phase::Over) {
            self.fail(Failure::GivenUp);
        }
    }

    fn prove(&mut self, request: &Request) -> Result<(), Failure> {
        if let Operation::Update(old) = &request.operation
            && !self.signs_with(old)
        {
            return Err(Failure::UpdateProtection);
        }
        self.new_transaction_id()?;
        let cert_req = request.cert_request().map_err(|_| Failure::Encoding)?;
        let job = self.job();
        let (key, algorithm, input) = (request.key, request.algorithm, cert_req.as_der().to_vec());
        self.phase = Phase::Proof {
            job,
            cert_req,
            algorithm,
        };
        self.actions.push_back(Action::Sign {
            job,
            key,
            algorithm,
            input,
        });
        Ok(())
    }

    fn proven(
        &mut self,
        now: Time,
        cert_req: Exact<CertRequest>,
        algorithm: SignatureAlgorithm,
        signature: &[u8],
    ) -> Result<(), Failure> {
        let message = Request::with_proof(cert_req, algorithm, signature).map_err(|_| Failure::Encoding)?;
        self.request = Some(message.clone());
        self.compose(now, Operation::body(self.request_type, message))
    }

    /// The same request, key and proof in a new transaction.
    fn begin_again(&mut self, now: Time) -> Result<(), Failure> {
        let Some(request) = self.request.clone().filter(|_| self.attempt < MAX_ATTEMPTS) else {
            return Err(Failure::Delivery(self.exchange()));
        };
        self.attempt += 1;
        self.report(Report::NewTransaction {
            attempt: self.attempt,
        });
        self.new_transaction_id()?;
        self.peer_nonce.clear();
        self.awaited = self.request_type;
        self.compose(now, Operation::body(self.request_type, request))
    }

    fn new_transaction_id(&mut self) -> Result<(), Failure> {
        self.transaction_id = self.seed.next(self.config.crypto).map_err(Failure::Key)?;
        Ok(())
    }

    /// Makes a message of `body`: to be signed, or complete and to be kept.
    fn compose(&mut self, now: Time, body: PkiBody) -> Result<(), Failure> {
        self.sent = body.body_type();
        self.repetitions = 0;
        self.sender_nonce = self.seed.next(self.config.crypto).map_err(Failure::Key)?;
        let first = self.sent == self.request_type;
        let ids = Ids {
            transaction_id: &self.transaction_id,
            sender_nonce: &self.sender_nonce,
            recip_nonce: (!first).then_some(self.peer_nonce.as_slice()),
        };
        let ask = first && self.implicit;
        match outgoing::message(&self.config, &ids, body, ask, now.utc_s, &mut self.seed)? {
            Protected::Complete(message) => self.keep(now, message),
            Protected::Unsigned(message) => {
                let input = message.protected_part().map_err(|_| Failure::Encoding)?;
                let Protection::Signature { key, algorithm, .. } = self.config.protection else {
                    return Err(Failure::Encoding);
                };
                let job = self.job();
                self.phase = Phase::Protect { job, message };
                self.actions.push_back(Action::Sign {
                    job,
                    key,
                    algorithm,
                    input,
                });
                Ok(())
            }
        }
    }

    /// Takes a finished message, to be sent when it is kept.
    fn keep(&mut self, now: Time, message: Vec<u8>) -> Result<(), Failure> {
        self.message = message;
        self.store(now, Then::Send)
    }

    fn store(&mut self, now: Time, then: Then) -> Result<(), Failure> {
        let spent = now.monotonic.saturating_sub(self.started);
        let signer = self.known_signer.as_ref().map(|signer| Raw::new(signer.as_der()));
        let octets = |bytes: &[u8]| OctetString::new(bytes).map_err(|_| Failure::Encoding);
        let record = Record {
            version: Record::VERSION,
            request_kind: record::code(self.request_type),
            kind: record::code(self.sent),
            awaited: record::code(self.awaited),
            attempt: self.attempt,
            key: self.key.0,
            poll_id: self.poll_id,
            transaction_id: octets(&self.transaction_id)?,
            sender_nonce: octets(&self.sender_nonce)?,
            request: self.request.clone().ok_or(Failure::Encoding)?,
            message: octets(&self.message)?,
            implicit: self.implicit,
            spent_s: self.spent_before.saturating_add(spent).as_secs(),
            peer_nonce: octets(&self.peer_nonce)?,
            issued: self.issued.as_ref().map(|issued| issued.record.clone()),
            check_after_s: match then {
                Then::Send => None,
                Then::Poll(s) => Some(s),
            },
            signer: signer.transpose().map_err(|_| Failure::Encoding)?,
        };
        let state = record.encode().map_err(|_| Failure::Encoding)?;
        let job = self.job();
        self.phase = Phase::Store { job, then };
        self.actions.push_back(Action::Store { job, state });
        Ok(())
    }

    fn send(&mut self) {
        let job = self.job();
        self.phase = Phase::Await;
        let first = self.sent == self.request_type;
        self.actions.push_back(Action::Send {
            job,
            message: self.message.clone(),
            first,
        });
    }

    /// Confirms or refuses the certificate.
    fn confirm(&mut self, now: Time) -> Result<(), Failure> {
        let issued = self.issued.as_ref().ok_or(Failure::Encoding)?;
        let record = &issued.record;
        let status = cert_status(
            &self.config,
            record.certificate.as_bytes(),
            record.refused.clone(),
        )
        .map_err(Failure::Key)?;
        self.awaited = BodyType::CertConf;
        self.compose(now, PkiBody::CertConf(alloc::vec![status]))
    }

    /// The RA knows: the certificate is in use, or refused.
    fn confirmed(&mut self, implicit: bool) {
        self.phase = Phase::Over;
        let transaction_id = self.transaction_id.to_vec();
        let result = match self.issued.take() {
            Some(Issued {
                refusal: Some(refusal),
                ..
            }) => Err(Failure::CertificateRefused { refusal }),
            Some(Issued {
                certificate: Some(certificate),
                record,
                ..
            }) => Ok(Enrolled {
                certificate,
                key: self.key,
                chain: record.chain,
                new_anchors: record.new_anchors,
                transaction_id,
                implicit,
            }),
            _ => Err(Failure::Encoding),
        };
        self.actions.push_back(Action::Done(result));
    }

    fn poll_after(&mut self, now: Time, check_after_s: u64) {
        self.phase = Phase::Poll(now.monotonic.saturating_add(Duration::from_secs(check_after_s)));
    }

    fn deadline(&self) -> Option<Duration> {
        let left = self.config.max_total_wait?.saturating_sub(self.spent_before);
        Some(self.started.saturating_add(left))
    }

    /// Whether our messages are signed with the key of this certificate.
    fn signs_with(&self, certificate: &Certificate) -> bool {
        matches!(&self.config.protection, Protection::Signature { certificate: ours, .. } if ours == certificate)
    }

    /// The one way to end without a certificate; to be called once.
    fn fail(&mut self, failure: Failure) {
        self.phase = Phase::Over;
        // What nobody has begun need not be done any more.
        self.actions.retain(|action| matches!(action, Action::Report(_)));
        self.actions.push_back(Action::Done(Err(failure)));
    }

    fn report(&mut self, report: Report) {
        self.actions.push_back(Action::Report(report));
    }

    fn response_error(&self, error: ResponseError) -> Failure {
        Failure::Response {
            exchange: self.exchange(),
            error,
        }
    }

    fn exchange(&self) -> Box<Exchange> {
        Box::new(Exchange {
            sent: self.sent,
            transaction_id: self.transaction_id.to_vec(),
            sender: None,
        })
    }

    fn job(&mut self) -> JobId {
        let job = JobId(self.next_job);
        self.next_job = self.next_job.wrapping_add(1);
        job
    }
}

impl fmt::Debug for Transaction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transaction")
            .field("exchange", &self.exchange())
            .finish_non_exhaustive()
    }
}
