//! The station's end of the binding.
//!
//! ```text
//! submit ──► poll_call ──► (OCPP) ──► handle_result ──► poll_event: Response ──► acknowledge
//!                          (OCPP) ──► handle_call   ──► its answer
//! ```
//! In push mode the station calls; while the CSMS has not accepted its boot it only answers ([`Mode::PullOnly`]). An
//! exchange may begin in one mode and end in the other.

mod exchange;
mod pull;
mod push;

use alloc::collections::{BTreeMap, VecDeque};
use alloc::string::String;
use alloc::vec::Vec;
use core::error::Error;
use core::fmt;
use core::time::Duration;

pub use exchange::Snapshot;
use exchange::{Exchange, Phase};

use crate::assembly::{Assembly, is_one_sequence};
use crate::config::{DEFAULT_MAX, DEFAULT_UNIT, MIN_UNIT};
use crate::data::{CallToken, Form};
use crate::error::{ErrorCode, TransferError};
use crate::frame::Envelope;
use crate::id::{DoOperation, ExchangeId, Route};
use crate::wire::{Chunk, Fit, SlotReport};

/// What a station can be set to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Config {
    /// Largest whole OCPP-J frame, in bytes, that this station's stack sends and takes. Default 3,500, at least 512.
    /// Below the default, every connection begins with a `CmpHello`.
    pub unit: usize,
    /// Largest CMP message, in bytes. Default 65,536.
    pub max: usize,
    /// Most exchanges open at a time. Default 4.
    pub exchanges: usize,
    /// How `data` is put into calls. Default [`Form::Text`].
    pub form: Form,
    /// Bytes of a frame around `data`. Default: compact frames with the default vendorId.
    pub envelope: Envelope,
    /// How long an acknowledgement waits for a call to travel on. Default 2 s.
    pub ack_delay: Duration,
    /// An exchange that has not come forward for this long fails with [`Failure::Expired`]. Default 24 h.
    pub patience: Duration,
    /// What `CmpPull` is told while a response is outstanding. Default 5 s.
    pub pull_wait: Duration,
    /// The least time between two accepted `do` for one slot. Default 1 h.
    pub do_interval: Duration,
    /// The slots for which a `do` is accepted. Default: none.
    pub slots: Vec<String>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            unit: DEFAULT_UNIT,
            max: DEFAULT_MAX,
            exchanges: 4,
            form: Form::Text,
            envelope: Envelope::default(),
            ack_delay: Duration::from_secs(2),
            patience: Duration::from_secs(24 * 3_600),
            pull_wait: Duration::from_secs(5),
            do_interval: Duration::from_secs(3_600),
            slots: Vec::new(),
        }
    }
}

/// Who calls.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Mode {
    /// The station calls, and answers.
    #[default]
    Push,
    /// The station only answers: its boot is Pending.
    PullOnly,
}

/// Why a request was not taken. By whom: the caller.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum SubmitError {
    /// As many exchanges are open as [`Config::exchanges`] allows.
    TooManyExchanges,
    /// The request is above [`Config::max`], or above what the CSMS side has said that it takes.
    TooLarge,
    /// The request is not one DER SEQUENCE.
    NotOneSequence,
    /// An exchange of this name exists or existed: the random bytes were used before.
    IdInUse,
}

impl fmt::Display for SubmitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooManyExchanges => "too many exchanges are open",
            Self::TooLarge => "the request is too large",
            Self::NotOneSequence => "the request is not one DER SEQUENCE",
            Self::IdInUse => "the exchange id was used before",
        })
    }
}

impl Error for SubmitError {}

/// Why an exchange ended without a response.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Failure {
    /// The CSMS side, or this station on what it got, ended it with a transfer error.
    Transfer(TransferError),
    /// The peer has no binding: not accepted, not implemented, or answered without an object.
    NoBinding,
    /// The CSMS side says that the exchange is finished, and its response is not here. The outcome is unknown.
    Finished,
    /// Several answers in a row were CALLERRORs or not of the binding.
    Faults,
    /// It did not come forward for [`Config::patience`].
    Expired,
}

impl Failure {
    /// Whether an RA may have got the request. `held`: the CSMS side has shown that it holds the whole of it.
    fn outcome_unknown(&self, held: bool) -> bool {
        match self {
            Self::Transfer(error) => match error.code {
                ErrorCode::Forbidden | ErrorCode::RaUnreachable => false,
                // What is refused is not passed on; but what was held in whole was not refused.
                ErrorCode::Malformed | ErrorCode::Unsupported | ErrorCode::TooLarge | ErrorCode::Busy => held,
                _ => true,
            },
            Self::NoBinding => held,
            Self::Finished | Self::Faults | Self::Expired => true,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Transfer(error) => write!(f, "{error}"),
            Self::NoBinding => f.write_str("the peer does not carry CMP"),
            Self::Finished => f.write_str("finished without its response having arrived"),
            Self::Faults => f.write_str("the peer kept answering with faults"),
            Self::Expired => f.write_str("no progress for too long"),
        }
    }
}

impl Error for Failure {}

/// What happened.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Event {
    /// The response is here, byte for byte. When what it changes is stored, call [`Station::acknowledge`].
    Response {
        /// The exchange.
        id: ExchangeId,
        /// One DER SEQUENCE: the RA's CMP message, a CMP error message included.
        bytes: Vec<u8>,
    },
    /// The exchange is over without a response.
    Failed {
        /// The exchange.
        id: ExchangeId,
        /// Why.
        error: Failure,
        /// Whether an RA may have got the request although no response is here (RFC 9811 §3.3).
        outcome_unknown: bool,
    },
    /// The peer does not carry CMP. Each exchange that meets this also fails.
    NoBinding,
    /// The CSMS asks for something, within this station's policy. It proves nothing: it is unprotected.
    Do {
        /// What.
        operation: DoOperation,
        /// For which of [`Config::slots`].
        slot: String,
    },
    /// `CmpHello` was answered.
    Hello {
        /// The CSMS side's unit in bytes.
        unit: usize,
        /// Its largest CMP message in bytes.
        max: usize,
        /// The routes that it has.
        routes: Vec<Route>,
    },
    /// `CmpHello` was refused.
    HelloFailed(TransferError),
}

/// Where an exchange stands on the station.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Progress {
    /// The CSMS side is known to hold the request up to here.
    Sending {
        /// Bytes.
        next: usize,
    },
    /// The CSMS side holds the whole request; the first `held` bytes of the response are here.
    Waiting {
        /// Bytes.
        held: usize,
    },
    /// The whole response is here and not acknowledged by the caller yet.
    Answered {
        /// Its bytes.
        len: usize,
    },
}

/// The station's end of the binding: all exchanges of one station.
#[derive(Debug)]
pub struct Station {
    config: Config,
    mode: Mode,
    connected: bool,
    peer_unit: usize,
    peer_max: usize,
    exchanges: Vec<Exchange>,
    acks: VecDeque<ExchangeId>,
    ack_due: Duration,
    /// It is due so late only because another call may come along before.
    ack_delayed: bool,
    /// Lone acknowledgements in a row that were not answered as they should be.
    ack_tries: u32,
    finished: VecDeque<ExchangeId>,
    hello: Option<Vec<SlotReport>>,
    last_slots: Vec<SlotReport>,
    hello_due: Duration,
    hello_tries: u32,
    busy_until: Duration,
    done_do: BTreeMap<String, Duration>,
    outstanding: Option<push::Outstanding>,
    next_token: u64,
    events: VecDeque<Event>,
}

/// Finished exchanges that a station remembers, so that a late `CmpDeliver` is answered `done`.
const FINISHED_MEMORY: usize = 64;
/// Acknowledgements that wait to be sent; older ones are left to the retention of the CSMS side.
const ACK_MEMORY: usize = 64;

impl Station {
    /// A station without exchanges, not connected.
    #[must_use]
    pub fn new(mut config: Config) -> Self {
        config.unit = config.unit.max(MIN_UNIT);
        Self {
            config,
            mode: Mode::Push,
            connected: false,
            peer_unit: DEFAULT_UNIT,
            peer_max: usize::MAX,
            exchanges: Vec::new(),
            acks: VecDeque::new(),
            ack_due: Duration::ZERO,
            ack_delayed: false,
            ack_tries: 0,
            finished: VecDeque::new(),
            hello: None,
            last_slots: Vec::new(),
            hello_due: Duration::ZERO,
            hello_tries: 0,
            busy_until: Duration::ZERO,
            done_do: BTreeMap::new(),
            outstanding: None,
            next_token: 0,
            events: VecDeque::new(),
        }
    }

    /// Begins an exchange: `request` is carried to the RA behind `route`.
    ///
    /// `id_random` is 16 new bytes from a cryptographic random generator, for each exchange, even one with the same
    /// request. To survive a loss of power, store [`Station::snapshot`] before the next [`Station::poll_call`].
    ///
    /// # Errors
    /// See [`SubmitError`]; nothing was begun.
    pub fn submit(
        &mut self,
        now: Duration,
        id_random: [u8; 16],
        route: Route,
        request: Vec<u8>,
    ) -> Result<ExchangeId, SubmitError> {
        let id = ExchangeId::from_random(id_random);
        if request.len() > self.config.max.min(self.peer_max) {
            return Err(SubmitError::TooLarge);
        }
        if !is_one_sequence(&request) {
            return Err(SubmitError::NotOneSequence);
        }
        self.check_new(id)?;
        if self.exchanges.len() >= self.config.exchanges {
            return Err(SubmitError::TooManyExchanges);
        }
        self.exchanges.push(Exchange::new(now, id, route, request));
        Ok(id)
    }

    /// The exchange as it is to be stored; `None` if there is none of this name.
    #[must_use]
    pub fn snapshot(&self, id: ExchangeId) -> Option<Snapshot> {
        self.exchange(id).map(Exchange::snapshot)
    }

    /// Takes an exchange up again after a restart. Where it stands is asked of the CSMS. What is stored is taken even
    /// above [`Config::exchanges`]: an end that was not seen before the restart may have made room for another.
    ///
    /// # Errors
    /// [`SubmitError::IdInUse`].
    pub fn restore(&mut self, now: Duration, snapshot: Snapshot) -> Result<(), SubmitError> {
        self.check_new(snapshot.id)?;
        self.exchanges.push(Exchange::restored(now, snapshot));
        Ok(())
    }

    /// The response of `id` is stored, or no longer needed: ends the exchange and tells the CSMS side soon.
    pub fn acknowledge(&mut self, now: Duration, id: ExchangeId) {
        self.exchanges.retain(|exchange| exchange.id != id);
        self.remember(id);
        self.queue_ack(now, id);
    }

    /// Gives `id` up, in any state. On the wire the same as [`Station::acknowledge`].
    pub fn abandon(&mut self, now: Duration, id: ExchangeId) {
        let begun = self.exchange(id).is_none_or(|exchange| exchange.begun);
        self.exchanges.retain(|exchange| exchange.id != id);
        self.remember(id);
        if begun {
            self.queue_ack(now, id);
        }
    }

    /// Acknowledgements wait for no other call to travel on any more, as the station is about to disconnect. Returns
    /// whether none is left.
    pub fn flush_acks(&mut self, now: Duration) -> bool {
        if core::mem::take(&mut self.ack_delayed) {
            self.ack_due = now;
        }
        self.acks.is_empty()
    }

    /// Asks for a `CmpHello` that reports `slots`, as soon as a call is possible. Where they do not fit into one frame,
    /// errors are left out, then slots from the end on.
    pub fn hello(&mut self, now: Duration, slots: Vec<SlotReport>) {
        self.last_slots.clone_from(&slots);
        self.hello = Some(slots);
        self.hello_due = now;
    }

    /// Says who may call. [`Mode::Push`] is the default.
    pub fn set_mode(&mut self, mode: Mode) {
        self.mode = mode;
    }

    /// Says for how long, by a guess, work is going on that will lead to a request or that uses a response (a key is
    /// made, `checkAfter` runs): a `CmpPull` is told to wait rather than that nothing is open. `None`: no longer.
    pub fn set_busy(&mut self, now: Duration, busy: Option<Duration>) {
        self.busy_until = busy.map_or(Duration::ZERO, |busy| now.saturating_add(busy));
    }

    /// The connection stands. What was begun is asked after first.
    pub fn handle_connected(&mut self, now: Duration) {
        self.handle_disconnected();
        self.connected = true;
        if self.hello_comes_first() && self.hello.is_none() {
            self.hello = Some(self.last_slots.clone());
        }
        self.hello_due = now;
        self.hello_tries = 0;
        for exchange in &mut self.exchanges {
            exchange.due = now;
            exchange.stalls = 0;
        }
    }

    /// The connection is gone. An outstanding call ends with it.
    pub fn handle_disconnected(&mut self) {
        self.connected = false;
        self.peer_unit = DEFAULT_UNIT;
        self.peer_max = usize::MAX;
        self.outstanding = None;
        for exchange in &mut self.exchanges {
            exchange.ask = exchange.begun;
        }
    }

    /// Ends exchanges that are out of patience. To be called when [`Station::poll_timeout`] is due.
    pub fn handle_timeout(&mut self, now: Duration) {
        let patience = self.config.patience;
        let expired = |e: &&Exchange| !e.is_answered() && now.saturating_sub(e.progress) >= patience;
        let ids: Vec<_> = self.exchanges.iter().filter(expired).map(|e| e.id).collect();
        for id in ids {
            self.fail(now, id, Failure::Expired);
        }
    }

    /// What happened, oldest first.
    #[must_use]
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// When [`Station::handle_timeout`] and [`Station::poll_call`] are to be called at the latest; it may be past.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Duration> {
        let open = || self.exchanges.iter().filter(|exchange| !exchange.is_answered());
        let expiry = open()
            .map(|exchange| exchange.progress.saturating_add(self.config.patience))
            .min();
        if !self.may_call() {
            return expiry;
        }
        let hello = self.hello.as_ref().map(|_| self.hello_due);
        if hello.is_some() && self.hello_comes_first() {
            return expiry.into_iter().chain(hello).min();
        }
        let calls = open().map(|exchange| exchange.due).min();
        let acks = (!self.acks.is_empty()).then_some(self.ack_due);
        [expiry, hello, calls, acks].into_iter().flatten().min()
    }

    /// Names of the open exchanges, oldest first.
    pub fn open(&self) -> impl Iterator<Item = ExchangeId> + '_ {
        self.exchanges.iter().map(|exchange| exchange.id)
    }

    /// Where an open exchange stands; `None` if there is none of this name.
    #[must_use]
    pub fn progress(&self, id: ExchangeId) -> Option<Progress> {
        self.exchange(id).map(|exchange| match &exchange.phase {
            Phase::Sending { next } => Progress::Sending { next: *next },
            Phase::Waiting { .. } => Progress::Waiting {
                held: exchange.response_held(),
            },
            Phase::Answered { len } => Progress::Answered { len: *len },
        })
    }

    fn may_call(&self) -> bool {
        self.connected && self.mode == Mode::Push && self.outstanding.is_none()
    }

    /// A peer that does not know how little this stack takes would answer with more.
    const fn hello_comes_first(&self) -> bool {
        self.config.unit < DEFAULT_UNIT
    }

    fn check_new(&self, id: ExchangeId) -> Result<(), SubmitError> {
        let known = self.exchange(id).is_some() || self.finished.contains(&id);
        if known { Err(SubmitError::IdInUse) } else { Ok(()) }
    }

    fn exchange(&self, id: ExchangeId) -> Option<&Exchange> {
        self.exchanges.iter().find(|exchange| exchange.id == id)
    }

    fn exchange_mut(&mut self, id: ExchangeId) -> Option<&mut Exchange> {
        self.exchanges.iter_mut().find(|exchange| exchange.id == id)
    }

    fn remember(&mut self, id: ExchangeId) {
        if !self.finished.contains(&id) {
            self.finished.push_back(id);
        }
        if self.finished.len() > FINISHED_MEMORY {
            self.finished.pop_front();
        }
    }

    fn queue_ack(&mut self, now: Duration, id: ExchangeId) {
        if self.acks.contains(&id) {
            return;
        }
        if self.acks.is_empty() {
            self.ack_due = now.saturating_add(self.config.ack_delay);
            self.ack_delayed = true;
        }
        self.acks.push_back(id);
        if self.acks.len() > ACK_MEMORY {
            self.acks.pop_front();
        }
    }

    fn fail(&mut self, now: Duration, id: ExchangeId, error: Failure) {
        let Some(exchange) = self.exchange(id) else { return };
        let outcome_unknown = error.outcome_unknown(exchange.complete);
        self.abandon(now, id);
        self.events.push_back(Event::Failed {
            id,
            error,
            outcome_unknown,
        });
    }

    fn fit(&self, envelope_bytes: usize, form: Form) -> Fit {
        Fit {
            unit: self.config.unit.min(self.peer_unit),
            envelope_bytes,
            form,
        }
    }

    fn learn_limits(&mut self, unit: Option<usize>, max: Option<usize>) {
        if let Some(unit) = unit {
            self.peer_unit = unit.max(MIN_UNIT);
        }
        if let Some(max) = max {
            self.peer_max = max;
        }
    }

    /// Takes a piece of a response. The exchange fails where the piece cannot be right.
    fn accept_response(&mut self, now: Duration, id: ExchangeId, chunk: &Chunk) -> Result<(), TransferError> {
        let max = self.config.max;
        let Some(exchange) = self.exchange_mut(id) else {
            return Ok(());
        };
        if chunk.len > max {
            return Err(TransferError::last(ErrorCode::ResponseTooLarge));
        }
        exchange.completed();
        let Phase::Waiting { response } = &mut exchange.phase else {
            return Ok(());
        };
        let assembly = response.get_or_insert_with(|| Assembly::new(chunk.len));
        let before = assembly.held();
        assembly.accept(chunk)?;
        let (after, whole) = (assembly.held(), assembly.is_whole());
        if after > before {
            exchange.came_forward(now);
        }
        if whole { self.answered(id) } else { Ok(()) }
    }

    fn answered(&mut self, id: ExchangeId) -> Result<(), TransferError> {
        let Some(exchange) = self.exchange_mut(id) else {
            return Ok(());
        };
        let Phase::Waiting { response } = &mut exchange.phase else {
            return Ok(());
        };
        let bytes = response.take().map(Assembly::into_bytes).unwrap_or_default();
        if !is_one_sequence(&bytes) {
            return Err(TransferError::last(ErrorCode::Malformed));
        }
        exchange.phase = Phase::Answered { len: bytes.len() };
        self.events.push_back(Event::Response { id, bytes });
        Ok(())
    }
}

fn call_token(next: &mut u64) -> CallToken {
    *next += 1;
    CallToken(*next)
}
