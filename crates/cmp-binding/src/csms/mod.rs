//! The CSMS side's end of the binding: what it knows of one station.
//!
//! ```text
//! handle_call ──► Reply::Now: send it
//!             └─► Reply::Pending + Action::Forward ──► handle_asked ──► (HTTP) ──► handle_ra_response
//!                        ├─ 2 s ─► expire: send it                          └─► Action::Reply, or a CmpNotify
//!                        └──► handle_deposited ──► (files) ──► days later ───────┘
//! ```
//! After every method that takes `&mut self`: first make [`Csms::take_writes`] durable, then act on what was returned,
//! [`Csms::poll_action`] and [`Csms::poll_call`]. A process that dies at any moment then loses nothing that a station
//! was told to be held, and [`Csms::restore`] goes on without asking an RA twice.

mod budget;
mod done;
mod exchange;
mod pull;
mod push;
mod ra;
mod rate;
mod record;

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

pub use budget::Budget;
use done::Done;
use exchange::{Exchange, State};
pub use ra::RaError;
use rate::Rate;
pub use record::{Record, Stage, StationRecords, Write};

use crate::config::{DEFAULT_MAX, DEFAULT_UNIT, MIN_UNIT};
use crate::data::{Answer, CallToken, Data, Form};
use crate::error::{ErrorCode, TransferError};
use crate::frame::Envelope;
use crate::id::{DoOperation, ExchangeId, Operation, Route};
use crate::wire::{Fit, Members, SlotReport};

/// What the CSMS side can be set to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Config {
    /// Largest whole OCPP-J frame, in bytes, that this side sends and takes. Default 65,536, at least 512.
    pub unit: usize,
    /// Largest CMP message, in bytes. Default 65,536.
    pub max: usize,
    /// The routes that this station may use. Default: `default`.
    pub routes: Vec<Route>,
    /// Bytes of a frame around `data`. Default: compact frames with the default vendorId.
    pub envelope: Envelope,
    /// The longest `wait` that a station is told. Default 15 min.
    pub wait_max: Duration,
    /// When a request is forwarded again that no RA could be reached for; doubled each time, up to 5 min. Default 10 s.
    pub first_retry: Duration,
    /// The limits for this station.
    pub limits: Limits,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            unit: 65_536,
            max: DEFAULT_MAX,
            routes: [Route::default()].into(),
            envelope: Envelope::default(),
            wait_max: Duration::from_secs(900),
            first_retry: Duration::from_secs(10),
            limits: Limits::default(),
        }
    }
}

/// Limits for one station. Each has its own answer; none closes a socket.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Exchanges at a time. One more evicts the oldest incomplete upload, then the oldest unfetched response. Default 4,
    /// at most [`MOST_EXCHANGES`].
    pub exchanges: usize,
    /// Bytes of CMP messages, the largest possible responses to whole requests included. Default 512 KiB.
    pub bytes: usize,
    /// Calls a minute. Default 240.
    pub calls_per_minute: u32,
    /// How long a response is kept from its arrival on. Default 24 h.
    pub retention: Duration,
    /// How long the first part of a request is kept from its last piece on. Default 1 h.
    pub upload_retention: Duration,
    /// How long a finished exchange is remembered at least. Default 10 min.
    pub done_for: Duration,
    /// How many finished exchanges are remembered at least, however old. Default 64.
    pub done_at_least: usize,
}

/// The most exchanges of one station: so many that a `CmpPull` with all their ids fits into the smallest unit.
pub const MOST_EXCHANGES: usize = 8;

impl Default for Limits {
    fn default() -> Self {
        Self {
            exchanges: 4,
            bytes: 512 << 10,
            calls_per_minute: 240,
            retention: Duration::from_secs(24 * 3_600),
            upload_retention: Duration::from_secs(3_600),
            done_for: Duration::from_secs(600),
            done_at_least: 64,
        }
    }
}

/// The answer to a call, or the promise of one.
#[derive(Clone, PartialEq, Eq, Debug)]
#[must_use]
pub enum Reply {
    /// Send this now.
    Now(Answer),
    /// The RA is being asked. [`Action::Reply`] brings the answer; when the answer budget (2 s by default) is over
    /// first, [`Csms::expire`] does.
    Pending(ReplyToken),
}

/// Names one call that is still to be answered.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ReplyToken(u64);

/// Something to do.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Action {
    /// Ask the RA behind `route`: [`Csms::handle_asked`] right before the first byte is written, then
    /// [`Csms::handle_ra_response`].
    Forward {
        /// The exchange.
        id: ExchangeId,
        /// Names the RA.
        route: Route,
        /// The CMP message, to be sent byte for byte.
        request: Vec<u8>,
    },
    /// A request was given away ([`Csms::handle_deposited`]) before a restart: go on waiting for its answer.
    Await {
        /// The exchange.
        id: ExchangeId,
        /// Names the RA.
        route: Route,
        /// The CMP message.
        request: Vec<u8>,
    },
    /// Answer the call that was [`Reply::Pending`].
    Reply {
        /// Which call.
        token: ReplyToken,
        /// Its answer.
        answer: Answer,
    },
    /// The station reported itself with `CmpHello`.
    Hello {
        /// Largest frame, in bytes, that the station takes.
        unit: usize,
        /// Largest CMP message, in bytes, that the station takes.
        max: usize,
        /// Its slots.
        slots: Vec<SlotReport>,
    },
    /// The station does not carry CMP: a call of this side was refused.
    NoBinding,
    /// How a [`Csms::notify`] ended: `None`, it was taken; an error, it was refused, or got no answer.
    Notified(Option<ErrorCode>),
    /// Pull mode is over: `idle`, the station has nothing open; otherwise it did not answer as it should.
    PullEnded {
        /// Whether the station said so itself.
        idle: bool,
    },
}

/// Where an exchange stands on the CSMS side.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Progress {
    /// Never seen, or forgotten.
    Unknown,
    /// The first `held` bytes of the request are here.
    Receiving {
        /// Bytes.
        held: usize,
    },
    /// The whole request is here; no byte of it can have reached an RA.
    Held,
    /// A byte of the request may have reached an RA.
    Asked,
    /// The RA's answer waits for the station.
    Answered {
        /// Its bytes.
        len: usize,
    },
    /// It is over without an answer, and the station is still to learn that.
    Failed(ErrorCode),
    /// Finished, and remembered as such.
    Done,
}

/// What the CSMS side knows of one station: its exchanges, its connection, the calls to it.
#[derive(Debug)]
pub struct Csms {
    config: Config,
    budget: Budget,
    exchanges: Vec<Exchange>,
    done: Done,
    rate: Rate,
    link: Option<Link>,
    pending: Vec<push::Pending>,
    notices: VecDeque<Notice>,
    pull: pull::Pull,
    outstanding: Option<pull::Outstanding>,
    actions: VecDeque<Action>,
    writes: Vec<Write>,
    next_token: u64,
}

/// What is known of the station on this connection.
#[derive(Clone, Copy, Debug)]
struct Link {
    unit: usize,
    max: usize,
    form: Form,
    /// Largest frame, in bytes, that what is between here and the station takes.
    way: usize,
    /// The station has had the opportunity to say what it takes.
    told: bool,
}

impl Link {
    const NEW: Self = Self {
        unit: DEFAULT_UNIT,
        max: usize::MAX,
        form: Form::Text,
        way: usize::MAX,
        told: false,
    };
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Notice {
    Ready(ExchangeId),
    Do(DoOperation, String),
}

/// Notices that wait to be sent.
const MOST_NOTICES: usize = 8;

impl Csms {
    /// A station of which nothing is known.
    #[must_use]
    pub fn new(mut config: Config, budget: Budget) -> Self {
        config.unit = config.unit.max(MIN_UNIT);
        config.limits.exchanges = config.limits.exchanges.min(MOST_EXCHANGES);
        let rate = Rate::new(config.limits.calls_per_minute);
        Self {
            config,
            budget,
            exchanges: Vec::new(),
            done: Done::default(),
            rate,
            link: None,
            pending: Vec::new(),
            notices: VecDeque::new(),
            pull: pull::Pull::default(),
            outstanding: None,
            actions: VecDeque::new(),
            writes: Vec::new(),
            next_token: 0,
        }
    }

    /// A station as it was stored. Requests of which no byte can have reached an RA are forwarded again; where a byte
    /// may have, the exchange has failed with `ra-timeout`, but for those that were given away: see [`Action::Await`].
    #[must_use]
    pub fn restore(config: Config, budget: Budget, now: Duration, records: StationRecords) -> Self {
        let mut csms = Self::new(config, budget);
        csms.done = Done::new(records.done);
        for record in records.exchanges {
            csms.restore_exchange(now, record);
        }
        csms
    }

    /// Answers a DataTransfer of our vendorId from the station. `data` is `None` if the request had none.
    pub fn handle_call(&mut self, now: Duration, message_id: &str, data: Option<&Data>) -> Reply {
        self.handle_timeout(now);
        let operation = match Operation::parse(message_id) {
            Some(operation @ (Operation::Hello | Operation::Send | Operation::Fetch)) => operation,
            _ => return Reply::Now(Answer::UNKNOWN_MESSAGE_ID),
        };
        let form = data.map_or_else(Form::default, |data| data.form);
        self.link.get_or_insert(Link::NEW).form = form;
        match self.answer(now, operation, form, data) {
            Ok(Outcome::Members(members)) => Reply::Now(Answer::accepted(members.into_data(form))),
            Ok(Outcome::Pending(token)) => Reply::Pending(token),
            Err(error) => Reply::Now(Answer::accepted(Members::error(&error).into_data(form))),
        }
    }

    /// A new connection of the station stands; an older one counts no more.
    pub fn handle_connected(&mut self) {
        self.handle_disconnected();
        self.link = Some(Link::NEW);
    }

    /// The connection is gone. Its calls, either way, end with it; pull mode ends without an action.
    pub fn handle_disconnected(&mut self) {
        self.link = None;
        self.pending.clear();
        self.outstanding = None;
        self.notices.clear();
        self.pull = pull::Pull::default();
        for exchange in &mut self.exchanges {
            exchange.delivery = exchange::Delivery::default();
        }
    }

    /// Asks the station to do something. [`Action::Notified`] says how it ended, in the order of the calls.
    ///
    /// Returns whether the station will be asked: not without a connection, nor where the same or too much waits already.
    pub fn notify(&mut self, operation: DoOperation, slot: impl Into<String>) -> bool {
        self.queue_notice(Notice::Do(operation, slot.into()))
    }

    /// Forwards what is due again and ends what is too old. To be called when [`Csms::poll_timeout`] is due.
    pub fn handle_timeout(&mut self, now: Duration) {
        let limits = self.config.limits.clone();
        let old = |e: &&Exchange| e.kept_until(&limits).is_some_and(|until| until <= now);
        let ids: Vec<_> = self.exchanges.iter().filter(old).map(|e| e.id).collect();
        for id in ids {
            self.drop_exchange(now, id);
        }
        while let Some(id) = self.done.forget(now, &limits) {
            self.writes.push(Write::Forget { id });
        }
        self.forward_again(now);
    }

    /// Frames on this connection have at most `unit` bytes, at least 512, whatever the station takes: something between here
    /// and the station takes no larger ones.
    pub fn limit_unit(&mut self, unit: usize) {
        self.link.get_or_insert(Link::NEW).way = unit.max(MIN_UNIT);
    }

    /// The next change to make durable before anything else; empty if there is none.
    #[must_use]
    pub fn take_writes(&mut self) -> Vec<Write> {
        core::mem::take(&mut self.writes)
    }

    /// The next thing to do, in order.
    #[must_use]
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// When [`Csms::handle_timeout`] and [`Csms::poll_call`] are to be called at the latest; it may be past.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Duration> {
        let due = |e: &Exchange| match e.state {
            State::Delayed { retry_at, .. } => Some(retry_at),
            _ => e.kept_until(&self.config.limits),
        };
        self.exchanges.iter().filter_map(due).chain(self.call_due()).min()
    }

    /// Whether nothing is known of the station that is worth keeping: the value may be dropped while disconnected.
    #[must_use]
    pub fn is_empty(&self, now: Duration) -> bool {
        self.exchanges.is_empty() && self.done.len() == 0 && self.rate.is_rested(now)
    }

    /// Where an exchange stands.
    #[must_use]
    pub fn progress(&self, id: ExchangeId) -> Progress {
        if self.done.contains(id) {
            return Progress::Done;
        }
        let Some(exchange) = self.exchange(id) else {
            return Progress::Unknown;
        };
        match &exchange.state {
            State::Receiving => Progress::Receiving {
                held: exchange.request.held(),
            },
            State::Held | State::Delayed { .. } => Progress::Held,
            State::Asked | State::Deposited => Progress::Asked,
            State::Answered(response) => Progress::Answered { len: response.len() },
            State::Failed(code) => Progress::Failed(*code),
        }
    }

    /// Bytes of CMP messages held for this station.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.exchanges.iter().map(Exchange::bytes).sum()
    }

    /// Exchanges that are not finished.
    #[must_use]
    pub fn open(&self) -> usize {
        self.exchanges.len()
    }

    fn exchange_mut(&mut self, id: ExchangeId) -> Option<&mut Exchange> {
        self.exchanges.iter_mut().find(|exchange| exchange.id == id)
    }

    fn exchange(&self, id: ExchangeId) -> Option<&Exchange> {
        self.exchanges.iter().find(|exchange| exchange.id == id)
    }

    fn queue_notice(&mut self, notice: Notice) -> bool {
        let may = self.link.is_some() && self.notices.len() < MOST_NOTICES && !self.notices.contains(&notice);
        if may {
            self.notices.push_back(notice);
        }
        may
    }

    /// Ends an exchange. What was whole is remembered; an upload is forgotten, so that it may begin again.
    fn drop_exchange(&mut self, now: Duration, id: ExchangeId) {
        let complete = self.exchange(id).is_some_and(Exchange::is_complete);
        self.exchanges.retain(|exchange| exchange.id != id);
        if complete {
            self.remember(now, id);
        }
    }

    /// Ends an exchange, in any state, for good. Ids never seen are remembered too: their call may be late.
    fn finish(&mut self, now: Duration, id: ExchangeId) {
        self.exchanges.retain(|exchange| exchange.id != id);
        self.remember(now, id);
    }

    fn remember(&mut self, now: Duration, id: ExchangeId) {
        if !self.done.contains(id) {
            self.done.push(now, id);
            self.writes.push(Write::Done { id, at: now });
        }
        while let Some(id) = self.done.forget(now, &self.config.limits) {
            self.writes.push(Write::Forget { id });
        }
    }

    fn fit(&self, envelope_bytes: usize, form: Form) -> Fit {
        let unit = self
            .link
            .map_or(DEFAULT_UNIT, |link| link.unit.min(link.way))
            .min(self.config.unit);
        Fit {
            unit,
            envelope_bytes,
            form,
        }
    }

    fn learn_limits(&mut self, members: &Members) {
        let link = self.link.get_or_insert(Link::NEW);
        link.told = true;
        if let Some(unit) = members.unit {
            link.unit = unit.max(MIN_UNIT);
        }
        if let Some(max) = members.max {
            link.max = max;
        }
    }

    fn station_max(&self) -> usize {
        self.link.map_or(usize::MAX, |link| link.max)
    }

    fn new_token(&mut self) -> u64 {
        self.next_token += 1;
        self.next_token
    }

    fn call_token(&mut self) -> CallToken {
        CallToken(self.new_token())
    }
}

/// What a call comes to, before it is put into a frame.
enum Outcome {
    Members(Box<Members>),
    Pending(ReplyToken),
}

type Answered = Result<Outcome, TransferError>;
