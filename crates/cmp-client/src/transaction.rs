//! The state machine of a transaction.
//!
//! ```text
//! Proof ─► Protect ─► Store ─► Wait for the answer ─┬─ ip, cp, kup accepted ─► (Recover ─►) certConf: Protect ─► …
//!            ▲                                      ├─ waiting, pollRep ─► Poll later: pollReq ─┐
//!            └──────────────────────────────────────┴───────────────────────────────────────────┘
//!                                                   └─ pkiConf, implicit confirmation, rp, genp, refusal ─► Over
//! ```

use alloc::{boxed::Box, collections::VecDeque, sync::Arc, vec::Vec};
use core::{fmt, time::Duration};

#[cfg(feature = "envelope")]
use cmp_message::envelope::{DeliveredKey, RecipientOperation};
use cmp_message::{
    BodyType, CertRequest, Exact, PkiBody, PkiMessage, PollReq, certificate::Certificate,
    crypto::SignatureAlgorithm,
};
use const_oid::ObjectIdentifier;

use crate::{
    Action, CertificateRequest, Config, Exchange, Failure, JobId, JobResult, Outcome, Refusal, Report,
    Request, ResponseError, Time, TransferFailure, outgoing,
    record::{IssuedRecord, asks_for_certificate},
    request::Asked,
    seed::Seed,
};

mod answer;
mod certificate;
#[cfg(feature = "envelope")]
mod delivery;
mod general;
mod polling;
mod refusal;
#[cfg(test)]
mod replay;
mod resume;
mod revocation;
mod sending;

/// New transactions for one request at most, where its outcome is unknown or its transactionID is in use.
const MAX_ATTEMPTS: u8 = 3;
/// How often one message is sent again where its outcome is unknown.
const MAX_REPETITIONS: u8 = 10;

/// One operation, from the request to its end.
pub struct Transaction {
    config: Arc<Config>,
    seed: Seed,
    request_type: BodyType,
    /// `None` while the proof of possession is not there.
    request: Option<Asked>,
    transaction_id: [u8; 16],
    /// Of our last message.
    sender_nonce: [u8; 16],
    /// Of the message whose answer is awaited, also while polling.
    awaited_nonce: [u8; 16],
    /// Of the peer's last message.
    peer_nonce: Vec<u8>,
    /// protectionAlg of the peer's last message.
    peer_algorithm: Option<ObjectIdentifier>,
    known_signer: Option<Certificate>,
    attempt: u8,
    repetitions: u8,
    /// It was taken up after a restart: whether what was kept had been sent nobody knows.
    resumed: bool,
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
    /// The key that came with it, once it is decrypted.
    #[cfg(feature = "envelope")]
    private_key: Option<DeliveredKey>,
}

enum Phase {
    /// The proof of possession is being signed.
    Proof {
        job: JobId,
        request: Box<CertificateRequest>,
        cert_req: Exact<CertRequest>,
        algorithm: SignatureAlgorithm,
    },
    /// The key that came with the certificate is being decrypted.
    #[cfg(feature = "envelope")]
    Recover {
        job: JobId,
        operation: RecipientOperation,
        then: delivery::Then,
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
    pub fn new(
        config: impl Into<Arc<Config>>,
        request: impl Into<Request>,
        seed: [u8; 32],
        now: Time,
    ) -> Self {
        let request = request.into();
        let mut transaction = Self::empty(config.into(), request.body_type(), seed, now);
        if let Err(failure) = transaction.begin(now, request) {
            transaction.fail(failure);
        }
        transaction
    }

    fn empty(config: Arc<Config>, request_type: BodyType, seed: [u8; 32], now: Time) -> Self {
        Self {
            implicit: config.implicit_confirm && asks_for_certificate(request_type),
            started: now.monotonic,
            spent_before: Duration::ZERO,
            config,
            seed: Seed::new(seed),
            request_type,
            request: None,
            transaction_id: [0; 16],
            sender_nonce: [0; 16],
            awaited_nonce: [0; 16],
            peer_nonce: Vec::new(),
            peer_algorithm: None,
            known_signer: None,
            attempt: 1,
            repetitions: 0,
            resumed: false,
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

    /// Whose signature the last authentic answer had: proven to lead to one of the configuration's anchors. `None` under a
    /// MAC, and before there was an answer.
    #[must_use]
    pub fn signer(&self) -> Option<&Certificate> {
        self.known_signer.as_ref()
    }

    /// How a signature or the keeping of a state ended.
    pub fn handle_done(&mut self, now: Time, job: JobId, result: JobResult) {
        let awaited = match &self.phase {
            Phase::Proof { job, .. } | Phase::Protect { job, .. } | Phase::Store { job, .. } => *job,
            #[cfg(feature = "envelope")]
            Phase::Recover { job, .. } => *job,
            _ => return,
        };
        if awaited != job {
            return;
        }
        let done = match (core::mem::replace(&mut self.phase, Phase::Over), result) {
            (
                Phase::Proof {
                    request,
                    cert_req,
                    algorithm,
                    ..
                },
                JobResult::Signed(signature),
            ) => Asked::with_proof(&request, cert_req, algorithm, &signature)
                .map_err(Failure::Request)
                .and_then(|asked| self.ask(now, asked)),
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
            #[cfg(feature = "envelope")]
            (Phase::Recover { operation, then, .. }, result) => self.recovered(now, &operation, result, then),
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

    /// Ends the transaction from this side. The RA is not told: an end entity sends no `error` (RFC 9483 §3.6.1), and what
    /// the RA issued it drops when no certConf comes.
    pub fn give_up(&mut self) {
        if !matches!(self.phase, Phase::Over) {
            self.fail(Failure::GivenUp);
        }
    }

    fn deadline(&self) -> Option<Duration> {
        let left = self.config.max_total_wait?.saturating_sub(self.spent_before);
        Some(self.started.saturating_add(left))
    }

    /// The one way to end well; to be called once.
    fn succeed(&mut self, outcome: Outcome) {
        self.phase = Phase::Over;
        self.actions.push_back(Action::Done(Ok(outcome)));
    }

    /// The one way to end without a result; to be called once.
    fn fail(&mut self, failure: Failure) {
        self.phase = Phase::Over;
        // What nobody has begun need not be done any more.
        self.actions.retain(|action| matches!(action, Action::Report(_)));
        // Whatever followed: why the certificate was refused is what matters.
        let refusal = self.issued.take().and_then(|issued| issued.refusal);
        let failure = match (refusal, failure) {
            (Some(refusal), failure) if failure.follows_refusal() => Failure::CertificateRefused {
                exchange: self.exchange(),
                refusal,
                told: false,
            },
            (_, failure) => failure,
        };
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
            claim: None,
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
