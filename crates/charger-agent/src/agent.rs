//! One transaction at a time, carried over OCPP.
//!
//! ```text
//! start / resume ──► poll_action: Sign, Store, Install ──► handle_done ──► … ──► Done
//!                    poll_call ──► (DataTransfer) ──► handle_result
//!                    handle_call ◄── (DataTransfer from the CSMS)
//! ```
//! A message is handed to the binding only after the state that it belongs to is stored, and its exchange is
//! acknowledged only after what its response changed is stored. So a loss of power at any point costs nothing: the RA
//! gets no message twice, and a certificate that it has issued is confirmed after the restart.

use alloc::{collections::VecDeque, vec::Vec};
use core::{fmt, time::Duration};

use cmp_binding::{
    Answer, Call, CallOutcome, CallToken, Data, DoOperation, ExchangeId, Route, SlotReport,
    station::{self, Event, Mode, Snapshot, Station},
};
use cmp_client::{Config, Failure, KeyId, Outcome, Request, Time, Transaction, TransferFailure};
use cmp_message::{
    certificate::Certificate,
    crypto::{Crypto, HashAlgorithm, SignatureAlgorithm},
};
#[cfg(feature = "envelope")]
use cmp_message::{envelope::KeyTransport, mac::Secret};

use crate::record;

/// A pull is told to wait for this long while a transaction is open and nothing more exact is known.
const BUSY: Duration = Duration::from_secs(5);

/// Names an action, so that its completion finds back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct JobId(u32);

/// What is to be done. Each but [`Action::Report`] and [`Action::Done`] is answered by [`Agent::handle_done`].
#[derive(Debug)]
#[non_exhaustive]
pub enum Action {
    /// Sign.
    Sign {
        /// To be named in [`Agent::handle_done`].
        job: JobId,
        /// With which key.
        key: KeyId,
        /// How.
        algorithm: SignatureAlgorithm,
        /// What, not hashed yet.
        input: Vec<u8>,
    },
    /// ECDH with the key that protects the messages.
    #[cfg(feature = "envelope")]
    Agree {
        /// To be named in [`Agent::handle_done`].
        job: JobId,
        /// With which key.
        key: KeyId,
        /// The public key of the other side, DER of SubjectPublicKeyInfo.
        public_key: Vec<u8>,
    },
    /// RSA decryption with the key that protects the messages.
    #[cfg(feature = "envelope")]
    Decrypt {
        /// To be named in [`Agent::handle_done`].
        job: JobId,
        /// With which key.
        key: KeyId,
        /// How.
        algorithm: KeyTransport,
        /// What.
        encrypted_key: Vec<u8>,
    },
    /// Keep this in place of what was kept before, for [`Agent::resume`]. Holds no secret.
    Store {
        /// To be named in [`Agent::handle_done`].
        job: JobId,
        /// After a loss of power the old record or this one must be there, never a mix.
        record: Vec<u8>,
    },
    /// Keep the result and put it to use, and forget the record. Until the record is forgotten a restart may bring the
    /// same result once more.
    Install {
        /// To be named in [`Agent::handle_done`].
        job: JobId,
        /// What the transaction gave. A certificate is confirmed; what needs to be verified is.
        outcome: Outcome,
        /// Who signed the last answer; `None` under a MAC. A new root that this certificate chains to has proven itself.
        signer: Option<Certificate>,
    },
    /// Nothing to do: something that people may want to know.
    Report(Report),
    /// The transaction is over. After a failure the record may be forgotten.
    Done(Result<(), Failure>),
}

/// How an action ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JobResult {
    /// The signature that [`Action::Sign`] asked for.
    Signed(Vec<u8>),
    /// The shared secret that [`Action::Agree`] asked for, or what [`Action::Decrypt`] gave.
    #[cfg(feature = "envelope")]
    Recovered(Secret),
    /// What [`Action::Store`] or [`Action::Install`] asked for survives a loss of power.
    Stored,
    /// It could not be done.
    Failed,
}

/// Something to know.
#[derive(Debug)]
#[non_exhaustive]
pub enum Report {
    /// A CMP message goes out, DER.
    Sending(ExchangeId, Vec<u8>),
    /// A CMP message came in, DER.
    Received(ExchangeId, Vec<u8>),
    /// The transaction says something.
    Transaction(cmp_client::Report),
    /// An exchange ended without a response.
    Transfer(station::Failure),
    /// The CSMS does not carry CMP.
    NoBinding,
    /// The CSMS asks for something. It is unprotected: whether it is done is the station's policy.
    Do(DoOperation),
    /// The CSMS says what it can do: its unit in bytes, and its routes.
    Hello(usize, Vec<Route>),
}

/// Why a record cannot be taken up.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ResumeError {
    /// It is no record, or of a version that this firmware does not know.
    Record,
    /// What the transaction kept of itself cannot be taken up.
    Transaction(cmp_client::StateError),
}

impl fmt::Display for ResumeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Record => f.write_str("the stored record is not one that this version can read"),
            Self::Transaction(_) => f.write_str("the stored transaction cannot be taken up"),
        }
    }
}

impl core::error::Error for ResumeError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Transaction(error) => Some(error),
            Self::Record => None,
        }
    }
}

/// A station's certificate business over its OCPP connection.
pub struct Agent {
    station: Station,
    route: Route,
    transaction: Option<Transaction>,
    /// What the transaction has last asked to keep.
    state: Vec<u8>,
    /// The exchange that carries the transaction's last message.
    exchange: Option<ExchangeId>,
    /// An exchange of before the restart, to be taken up rather than begun anew.
    resumed: Option<ExchangeId>,
    /// A message whose exchange is being stored.
    to_submit: Option<(ExchangeId, Vec<u8>)>,
    /// An exchange whose response changes what is about to be stored.
    to_acknowledge: Option<ExchangeId>,
    /// A message that is to be tried again.
    retry: Option<(Duration, Vec<u8>)>,
    pending: Vec<(JobId, Job)>,
    actions: VecDeque<Action>,
    next_job: u32,
    seed: [u8; 32],
    ids: u32,
    crypto: Option<&'static (dyn Crypto + Send + Sync)>,
}

/// Who waits for a completion.
#[derive(Clone, Copy, Debug)]
enum Job {
    Transaction(cmp_client::JobId),
    Submit,
    Install,
}

impl Agent {
    /// An agent with nothing to do. `route` names the RA at the CSMS side.
    pub fn new(config: station::Config, route: Route) -> Self {
        Self {
            station: Station::new(config),
            route,
            transaction: None,
            state: Vec::new(),
            exchange: None,
            resumed: None,
            to_submit: None,
            to_acknowledge: None,
            retry: None,
            pending: Vec::new(),
            actions: VecDeque::new(),
            next_job: 0,
            seed: [0; 32],
            ids: 0,
            crypto: None,
        }
    }

    /// Begins a transaction, in place of one that may be under way. `seed` is 32 bytes from a cryptographic random
    /// generator, new for each start and each resumption.
    pub fn start(&mut self, now: Time, config: Config, request: impl Into<Request>, seed: [u8; 32]) {
        self.reset(&config, seed);
        self.transaction = Some(Transaction::new(
            config,
            request,
            self.derive(b"transaction").unwrap_or(seed),
            now,
        ));
        self.advance(now);
    }

    /// Takes up the transaction of a stored record.
    ///
    /// # Errors
    /// [`ResumeError`]; then nothing is under way.
    pub fn resume(
        &mut self,
        now: Time,
        config: Config,
        record: &[u8],
        seed: [u8; 32],
    ) -> Result<(), ResumeError> {
        let (state, exchange) = record::decode(record).ok_or(ResumeError::Record)?;
        self.reset(&config, seed);
        let transaction =
            Transaction::resume(config, &state, self.derive(b"transaction").unwrap_or(seed), now)
                .map_err(ResumeError::Transaction)?;
        self.transaction = Some(transaction);
        self.state = state;
        self.resumed = exchange;
        self.advance(now);
        Ok(())
    }

    /// Whether a transaction is under way.
    pub fn is_busy(&self) -> bool {
        self.transaction.is_some()
    }

    /// What is to be done next.
    #[must_use]
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// How an action ended.
    pub fn handle_done(&mut self, now: Time, job: JobId, result: JobResult) {
        let Some(at) = self.pending.iter().position(|(id, _)| *id == job) else {
            return;
        };
        match self.pending.swap_remove(at).1 {
            Job::Transaction(job) => {
                if result == JobResult::Stored {
                    self.acknowledge(now);
                }
                if let Some(transaction) = &mut self.transaction {
                    let result = match result {
                        JobResult::Signed(signature) => cmp_client::JobResult::Signed(signature),
                        #[cfg(feature = "envelope")]
                        JobResult::Recovered(secret) => cmp_client::JobResult::Recovered(secret),
                        JobResult::Stored => cmp_client::JobResult::Stored,
                        JobResult::Failed => cmp_client::JobResult::Failed,
                    };
                    transaction.handle_done(now, job, result);
                }
            }
            Job::Submit => self.submit(now, result == JobResult::Stored),
            Job::Install => {
                let stored = result == JobResult::Stored;
                if stored {
                    self.acknowledge(now);
                }
                self.finish(if stored { Ok(()) } else { Err(Failure::Storage) });
            }
        }
        self.advance(now);
    }

    /// A DataTransfer of our vendorId from the CSMS; gives what to answer.
    #[must_use]
    pub fn handle_call(&mut self, now: Time, message_id: &str, data: Option<&Data>) -> Answer {
        let answer = self.station.handle_call(now.monotonic, message_id, data);
        self.advance(now);
        answer
    }

    /// The next DataTransfer to send, if there is one.
    #[must_use]
    pub fn poll_call(&mut self, now: Time) -> Option<Call> {
        self.station.poll_call(now.monotonic)
    }

    /// How a DataTransfer ended.
    pub fn handle_result(&mut self, now: Time, token: CallToken, outcome: &CallOutcome) {
        self.station.handle_result(now.monotonic, token, outcome);
        self.advance(now);
    }

    /// The OCPP connection stands.
    pub fn handle_connected(&mut self, now: Time) {
        self.station.handle_connected(now.monotonic);
    }

    /// The OCPP connection is gone.
    pub fn handle_disconnected(&mut self) {
        self.station.handle_disconnected();
    }

    /// Has acknowledgements sent at once, as the station is about to disconnect; says whether none is left.
    pub fn flush_acks(&mut self, now: Time) -> bool {
        self.station.flush_acks(now.monotonic)
    }

    /// Says who may call: only the CSMS while the boot is Pending.
    pub fn set_mode(&mut self, mode: Mode) {
        self.station.set_mode(mode);
    }

    /// Reports the station's slots to the CSMS.
    pub fn hello(&mut self, now: Time, slots: Vec<SlotReport>) {
        self.station.hello(now.monotonic, slots);
    }

    /// To be called when [`Agent::poll_timeout`] is due.
    pub fn handle_timeout(&mut self, now: Time) {
        self.station.handle_timeout(now.monotonic);
        if let Some((_, message)) = self.retry.take_if(|(due, _)| *due <= now.monotonic) {
            self.send(now, message);
        }
        if let Some(transaction) = &mut self.transaction {
            transaction.handle_timeout(now);
        }
        self.advance(now);
    }

    /// When [`Agent::handle_timeout`] and [`Agent::poll_call`] are to be called at the latest.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Duration> {
        let transaction = self.transaction.as_ref().and_then(Transaction::poll_timeout);
        let retry = self.retry.as_ref().map(|(due, _)| *due);
        [self.station.poll_timeout(), transaction, retry]
            .into_iter()
            .flatten()
            .min()
    }

    fn reset(&mut self, config: &Config, seed: [u8; 32]) {
        self.seed = seed;
        self.ids = 0;
        self.crypto = Some(config.crypto);
        self.state.clear();
        self.exchange = None;
        self.resumed = None;
        self.to_submit = None;
        self.to_acknowledge = None;
        self.retry = None;
        self.pending.clear();
        self.actions.clear();
    }

    /// Moves what the binding has brought into the transaction, and what the transaction wants into actions.
    fn advance(&mut self, now: Time) {
        loop {
            if let Some(event) = self.station.poll_event() {
                self.handle_event(now, event);
            } else if let Some(action) = self.transaction.as_mut().and_then(Transaction::poll_action) {
                self.handle_action(now, action);
            } else {
                break;
            }
        }
        let busy = self.transaction.as_ref().map(|transaction| {
            transaction
                .poll_timeout()
                .map_or(BUSY, |due| due.saturating_sub(now.monotonic))
        });
        self.station.set_busy(now.monotonic, busy);
    }

    fn handle_event(&mut self, now: Time, event: Event) {
        match event {
            Event::Response { id, bytes } if self.exchange == Some(id) => {
                self.exchange = None;
                self.to_acknowledge = Some(id);
                self.actions
                    .push_back(Action::Report(Report::Received(id, bytes.clone())));
                if let Some(transaction) = &mut self.transaction {
                    transaction.handle_response(now, &bytes);
                }
            }
            Event::Response { id, .. } => self.station.acknowledge(now.monotonic, id),
            Event::Failed {
                id,
                error,
                outcome_unknown,
            } if self.exchange == Some(id) => {
                self.exchange = None;
                let failure = match outcome_unknown {
                    true => TransferFailure::OutcomeUnknown,
                    false => TransferFailure::Refused,
                };
                self.actions.push_back(Action::Report(Report::Transfer(error)));
                if let Some(transaction) = &mut self.transaction {
                    transaction.handle_transfer_failure(now, failure);
                }
            }
            Event::NoBinding => self.actions.push_back(Action::Report(Report::NoBinding)),
            Event::Do { operation, .. } => self.actions.push_back(Action::Report(Report::Do(operation))),
            Event::Hello { unit, routes, .. } => {
                self.actions
                    .push_back(Action::Report(Report::Hello(unit, routes)));
            }
            _ => {}
        }
    }

    fn handle_action(&mut self, now: Time, action: cmp_client::Action) {
        match action {
            cmp_client::Action::Sign {
                job,
                key,
                algorithm,
                input,
            } => {
                let job = self.job(Job::Transaction(job));
                self.actions.push_back(Action::Sign {
                    job,
                    key,
                    algorithm,
                    input,
                });
            }
            #[cfg(feature = "envelope")]
            cmp_client::Action::Agree { job, key, public_key } => {
                let job = self.job(Job::Transaction(job));
                self.actions.push_back(Action::Agree { job, key, public_key });
            }
            #[cfg(feature = "envelope")]
            cmp_client::Action::Decrypt {
                job,
                key,
                algorithm,
                encrypted_key,
            } => {
                let job = self.job(Job::Transaction(job));
                self.actions.push_back(Action::Decrypt {
                    job,
                    key,
                    algorithm,
                    encrypted_key,
                });
            }
            cmp_client::Action::Store { job, state } => {
                self.state = state;
                self.store(Job::Transaction(job), None);
            }
            cmp_client::Action::Send { message, .. } => self.send(now, message),
            cmp_client::Action::Report(report) => {
                self.actions
                    .push_back(Action::Report(Report::Transaction(report)));
            }
            cmp_client::Action::Done(Ok(outcome)) => {
                let job = self.job(Job::Install);
                let signer = self.transaction.as_ref().and_then(Transaction::signer).cloned();
                self.actions.push_back(Action::Install { job, outcome, signer });
            }
            cmp_client::Action::Done(Err(failure)) => {
                self.acknowledge(now);
                self.finish(Err(failure));
            }
            _ => {}
        }
    }

    /// Carries `message`: in the exchange of before the restart if it has one, else in a new one, stored first.
    fn send(&mut self, now: Time, message: Vec<u8>) {
        if let Some(id) = self.resumed.take() {
            let route = self.route.clone();
            let snapshot = Snapshot {
                id,
                route,
                request: message.clone(),
                complete: false,
            };
            if self.station.restore(now.monotonic, snapshot).is_ok() {
                self.exchange = Some(id);
                self.actions
                    .push_back(Action::Report(Report::Sending(id, message)));
                return;
            }
        }
        match self.exchange_id() {
            Some(id) => {
                self.to_submit = Some((id, message));
                self.store(Job::Submit, Some(id));
            }
            None => self.finish(Err(Failure::Storage)),
        }
    }

    fn submit(&mut self, now: Time, stored: bool) {
        let Some((id, message)) = self.to_submit.take() else {
            return;
        };
        if !stored {
            return self.finish(Err(Failure::Storage));
        }
        // The answer to the message before is part of what this one is made of, and stored with it.
        self.acknowledge(now);
        match self
            .station
            .submit(now.monotonic, *id.as_bytes(), self.route.clone(), message.clone())
        {
            Ok(id) => {
                self.exchange = Some(id);
                self.actions
                    .push_back(Action::Report(Report::Sending(id, message)));
            }
            Err(station::SubmitError::TooManyExchanges) => {
                self.retry = Some((now.monotonic + BUSY, message));
            }
            Err(_) => {
                if let Some(transaction) = &mut self.transaction {
                    transaction.handle_transfer_failure(now, TransferFailure::Refused);
                }
            }
        }
    }

    fn store(&mut self, job: Job, exchange: Option<ExchangeId>) {
        match record::encode(&self.state, exchange) {
            Ok(record) => {
                let job = self.job(job);
                self.actions.push_back(Action::Store { job, record });
            }
            Err(_) => self.finish(Err(Failure::Storage)),
        }
    }

    fn acknowledge(&mut self, now: Time) {
        if let Some(id) = self.to_acknowledge.take() {
            self.station.acknowledge(now.monotonic, id);
        }
    }

    fn finish(&mut self, result: Result<(), Failure>) {
        self.transaction = None;
        self.actions.push_back(Action::Done(result));
    }

    fn job(&mut self, job: Job) -> JobId {
        let id = JobId(self.next_job);
        self.next_job = self.next_job.wrapping_add(1);
        self.pending.push((id, job));
        id
    }

    /// A name for a new exchange.
    fn exchange_id(&mut self) -> Option<ExchangeId> {
        self.ids = self.ids.wrapping_add(1);
        let [a, b, c, d] = self.ids.to_be_bytes();
        let value = self.derive(&[b'e', a, b, c, d])?;
        Some(ExchangeId::from_random(*value.first_chunk()?))
    }

    /// 256 bits of the seed, others for each `label`.
    fn derive(&self, label: &[u8]) -> Option<[u8; 32]> {
        let value = self.crypto?.hmac(HashAlgorithm::Sha256, &self.seed, label).ok()?;
        value.as_bytes().try_into().ok()
    }
}

impl fmt::Debug for Agent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Agent")
            .field("route", &self.route)
            .field("busy", &self.is_busy())
            .finish_non_exhaustive()
    }
}
