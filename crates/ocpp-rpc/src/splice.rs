//! A station's connection and the one to its CSMS, spliced: who may send what when.
//!
//! What one side sends goes to the other as it came, with two exceptions. DataTransfers of one vendor do not pass: the
//! station's are answered here, the CSMS's are refused. And calls of an own are put in between, so that the station never
//! has one of them and a CALL of the CSMS to answer at the same time:
//!
//! - an own call goes out when no CALL of the CSMS waits for its answer; one that was not answered within the call
//!   time-out waits no more;
//! - what the CSMS sends while an own call waits for its answer is held and goes out in its order after it, but its
//!   answers to the station pass at once;
//! - the answer to an own call stays here, however late or often it comes.
//!
//! A CSMS that has several CALLs outstanding by itself is not corrected. What cannot be read is not judged: it passes,
//! unless it answers an own call. Texts and the time go in by `handle_*`, texts and events come out by `poll_*`; after
//! each method take all of them. Times are durations since any fixed moment.

mod ids;

use alloc::borrow::{Cow, ToOwned as _};
use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::string::String;
use core::time::Duration;

use serde::Deserialize;
use serde_json::value::RawValue;

use self::ids::{LastIds, Outstanding};
use crate::data_transfer::{ACTION, Response, Status, StatusInfo, is_of_vendor};
use crate::endpoint::{Outcome, RemoteError};
use crate::frame::{self, Failure, Frame, UNREADABLE_ID, Unreadable};
use crate::own_id::own_id;
use crate::{ErrorCode, Version};

/// Limits and times of a [`Splice`].
#[derive(Clone, Debug)]
pub struct Config {
    /// The version that both connections speak.
    pub version: Version,
    /// The vendorId whose DataTransfers do not pass; the case of letters does not count.
    pub vendor_id: String,
    /// How long a CALL waits for its answer, an own one and one of the CSMS. Default 30 s.
    pub call_timeout: Duration,
    /// How long a [`Kind::Notify`] may wait for its place. Default 5 s.
    pub notify_within: Duration,
    /// The most messages of the CSMS that are held; see [`Splice::takes_csms`]. Default 32.
    pub max_held: usize,
    /// The same in bytes; the last message may go over it. Default 65,536.
    pub max_held_bytes: usize,
    /// The most DataTransfers of the station without an answer. Default 4.
    pub max_unanswered: usize,
}

impl Config {
    /// The defaults for `version`.
    #[must_use]
    pub const fn new(version: Version, vendor_id: String) -> Self {
        Self {
            version,
            vendor_id,
            call_timeout: Duration::from_secs(30),
            notify_within: Duration::from_secs(5),
            max_held: 32,
            max_held_bytes: 1 << 16,
            max_unanswered: 4,
        }
    }
}

/// How the CSMS has answered the last BootNotification of the station.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Boot {
    /// Accepted; also where none was seen.
    #[default]
    Accepted,
    /// The station answers and does not call.
    Pending,
    /// The station neither answers nor calls.
    Rejected,
}

/// What an own call is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It is lost if there is no place for it in time.
    Notify,
    /// It waits for its place.
    Pull,
}

/// Names a DataTransfer of the station that waits for its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct IncomingId(u64);

/// What happened.
#[derive(Debug)]
pub enum Event {
    /// The station sent a DataTransfer of the vendor; to be answered with [`Splice::respond`] or
    /// [`Splice::respond_error`].
    DataTransfer {
        /// For the answer.
        call: IncomingId,
        /// The request, byte for byte.
        payload: Box<RawValue>,
    },
    /// The own call ended; comes exactly once for each. An answer that cannot be read counts as
    /// [`Outcome::TimedOut`]; a notify that found no place is [`Outcome::Disconnected`].
    Ended(Outcome),
    /// The CSMS has answered a BootNotification, and the answer went on to the station.
    Booted(Boot),
    /// Something did not pass, for the log.
    Kept(Kept),
}

/// What did not pass from one side to the other, beside DataTransfers of the station and answers to the own call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kept {
    /// A DataTransfer of the vendor by the CSMS; it was refused.
    OfCsms,
    /// A DataTransfer of the vendor as a SEND, which nobody answers.
    Unanswerable,
    /// A DataTransfer of the vendor by a station whose boot is not accepted; it was refused.
    BeforeBoot,
    /// A DataTransfer of the vendor beyond the limit of unanswered ones; it was refused.
    TooMany,
    /// A DataTransfer of the vendor with the message id of one that is not answered yet.
    Duplicate,
    /// A late or repeated answer to an own call, or a CALLRESULTERROR to an answer that was given here.
    NotAsked,
}

/// A call cannot be taken: the one before it has not ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Busy;

impl core::fmt::Display for Busy {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("an own call has not ended yet")
    }
}

impl core::error::Error for Busy {}

/// The two connections of one station. After a reconnect a new one is made, with a new seed.
#[derive(Debug)]
pub struct Splice {
    config: Config,
    seed: u64,
    next_call: u64,
    next_incoming: u64,
    boot: Boot,
    /// The BootNotification that the CSMS has not answered, and until when that is waited for.
    booting: Option<(String, Duration)>,
    own: Own,
    /// Own calls that have ended.
    past: LastIds,
    /// CALLs of the CSMS that are with the station.
    csms_calls: Outstanding,
    held: VecDeque<FromCsms>,
    held_bytes: usize,
    /// DataTransfers of the station that are with the application.
    unanswered: VecDeque<(IncomingId, String)>,
    /// CALLs of the station, and of the CSMS, that were answered here.
    answered_station: LastIds,
    answered_csms: LastIds,
    to_station: VecDeque<String>,
    to_csms: VecDeque<String>,
    events: VecDeque<Event>,
}

#[derive(Debug)]
enum Own {
    None,
    Waiting {
        payload: Box<RawValue>,
        until: Option<Duration>,
    },
    Out {
        id: String,
        deadline: Duration,
    },
}

/// A message of the CSMS for the station.
#[derive(Debug)]
struct FromCsms {
    text: String,
    /// The message id that its answer will have; `None` where none will come.
    answered_as: Option<String>,
}

/// Where a text goes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    /// On to the other side.
    Passes,
    /// Nowhere.
    Stays,
}

/// The most events without consequence, and texts to either side, that are kept for one who does not poll.
const MAX_UNPOLLED: usize = 32;

const BOOT: &str = "BootNotification";

impl Splice {
    /// A splice of two new connections; `seed` is random and makes the message ids of its own calls unlike others.
    /// `boot` is what is known from earlier connections of the station.
    #[must_use]
    pub fn new(config: Config, seed: u64, boot: Boot) -> Self {
        Self {
            config,
            seed,
            next_call: 0,
            next_incoming: 0,
            boot,
            booting: None,
            own: Own::None,
            past: LastIds::default(),
            csms_calls: Outstanding::default(),
            held: VecDeque::new(),
            held_bytes: 0,
            unanswered: VecDeque::new(),
            answered_station: LastIds::default(),
            answered_csms: LastIds::default(),
            to_station: VecDeque::new(),
            to_csms: VecDeque::new(),
            events: VecDeque::new(),
        }
    }

    /// The configuration.
    #[must_use]
    pub const fn config(&self) -> &Config {
        &self.config
    }

    /// Takes an own DataTransfer for the station; it goes out when there is a place for it.
    ///
    /// # Errors
    /// [`Busy`] if [`Splice::takes_call`] says no.
    pub fn call(&mut self, now: Duration, kind: Kind, payload: Box<RawValue>) -> Result<(), Busy> {
        if !self.takes_call() {
            return Err(Busy);
        }
        let until = (kind == Kind::Notify).then(|| now.saturating_add(self.config.notify_within));
        self.own = Own::Waiting { payload, until };
        self.advance(now);
        Ok(())
    }

    /// Whether [`Splice::call`] takes one: there is none that has not ended.
    #[must_use]
    pub const fn takes_call(&self) -> bool {
        matches!(self.own, Own::None)
    }

    /// Whether there is room for what the station sends; while not, its connection is not read.
    #[must_use]
    pub fn takes_station(&self) -> bool {
        self.to_station.len() < MAX_UNPOLLED && self.to_csms.len() < MAX_UNPOLLED
    }

    /// Whether there is room for what the CSMS sends; while not, its connection is not read.
    #[must_use]
    pub fn takes_csms(&self) -> bool {
        // What is refused on one side is answered there, whether that side reads or not.
        self.takes_station()
            && self.held.len() < self.config.max_held
            && self.held_bytes < self.config.max_held_bytes
    }

    /// Answers a DataTransfer of the station. One that was answered before is left alone.
    pub fn respond(&mut self, call: IncomingId, payload: &RawValue) {
        if let Some(id) = self.take_unanswered(call) {
            self.answered_station.insert(&id);
            let id = Cow::Owned(id);
            self.to_station
                .push_back(Frame::CallResult { id, payload }.to_text());
        }
    }

    /// Answers a DataTransfer of the station with a CALLERROR.
    pub fn respond_error(&mut self, call: IncomingId, code: ErrorCode, description: &str) {
        if let Some(id) = self.take_unanswered(call) {
            self.refuse_station(&id, code, description);
        }
    }

    /// Takes a text of the station.
    pub fn handle_station(&mut self, now: Duration, text: String) {
        let way = match Frame::parse(&text) {
            Ok(frame) => self.on_station(now, &frame),
            Err(unreadable) => self.on_station_unreadable(now, &unreadable),
        };
        if way == Way::Passes {
            self.to_csms.push_back(text);
        }
        self.advance(now);
    }

    /// Takes a text of the CSMS.
    pub fn handle_csms(&mut self, now: Duration, text: String) {
        let answered_as = match Frame::parse(&text) {
            Ok(Frame::Call { id, action, payload }) => {
                if self.is_own(&action, payload) {
                    return self.refuse_csms(&id);
                }
                self.answered_csms.remove(&id);
                Some(id.into_owned())
            }
            Ok(Frame::Send { action, payload, .. }) => {
                if self.is_own(&action, payload) {
                    return self.tell(Kept::Unanswerable);
                }
                None
            }
            Ok(frame) => {
                let refused = matches!(frame, Frame::CallResultError(_));
                if refused && self.answered_csms.contains(frame.id()) {
                    return self.tell(Kept::NotAsked);
                }
                let boot = self.boot_of(&frame);
                self.to_station.push_back(text);
                // After the text: what follows from it goes out behind it.
                if let Some(boot) = boot {
                    self.boot = boot;
                    self.events.push_back(Event::Booted(boot));
                }
                return self.advance(now);
            }
            Err(Unreadable {
                message_type: Some(3..=5),
                ..
            }) => return self.to_station.push_back(text),
            Err(Unreadable {
                message_type: Some(6),
                ..
            }) => None,
            // A station may answer it.
            Err(unreadable) => Some(
                unreadable
                    .id
                    .map_or_else(|| UNREADABLE_ID.into(), Cow::into_owned),
            ),
        };
        let message = FromCsms { text, answered_as };
        if matches!(self.own, Own::Out { .. }) {
            self.held_bytes = self.held_bytes.saturating_add(message.text.len());
            self.held.push_back(message);
        } else {
            self.pass_to_station(now, message);
        }
    }

    /// Ends what has waited for too long.
    pub fn handle_timeout(&mut self, now: Duration) {
        match &self.own {
            Own::Out { deadline, .. } if *deadline <= now => self.end(Outcome::TimedOut),
            Own::Waiting {
                until: Some(until), ..
            } if *until <= now => self.end(Outcome::Disconnected { sent: false }),
            _ => {}
        }
        self.advance(now);
    }

    /// The CSMS is gone: what it had said goes on to the station, and nothing of our own any more.
    pub fn handle_csms_closed(&mut self, now: Duration) {
        if !self.takes_call() {
            self.end(Outcome::Disconnected {
                sent: matches!(self.own, Own::Out { .. }),
            });
        }
        self.advance(now);
    }

    /// Whether no DataTransfer of the station waits for its answer.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.unanswered.is_empty()
    }

    /// The next text for the station.
    #[must_use]
    pub fn poll_station(&mut self) -> Option<String> {
        self.to_station.pop_front()
    }

    /// The next text for the CSMS.
    #[must_use]
    pub fn poll_csms(&mut self) -> Option<String> {
        self.to_csms.pop_front()
    }

    /// The next event.
    #[must_use]
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// When [`Splice::handle_timeout`] is due.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Duration> {
        match &self.own {
            Own::None => None,
            Own::Out { deadline, .. } => Some(*deadline),
            Own::Waiting { until, .. } => {
                let booting = self.booting.as_ref().map(|(_, deadline)| *deadline);
                let in_its_way = booting.into_iter().chain(self.csms_calls.until()).max();
                let free = in_its_way.filter(|_| self.boot != Boot::Rejected);
                free.into_iter().chain(*until).min()
            }
        }
    }

    fn on_station(&mut self, now: Duration, frame: &Frame<'_>) -> Way {
        match frame {
            Frame::Call { id, action, payload } => {
                self.answered_station.remove(id);
                if self.is_own(action, payload) {
                    self.on_data_transfer(now, id, payload);
                    return Way::Stays;
                }
                if action == BOOT {
                    let deadline = now.saturating_add(self.config.call_timeout);
                    self.booting = Some(((**id).into(), deadline));
                }
                Way::Passes
            }
            Frame::Send { action, payload, .. } if self.is_own(action, payload) => {
                self.tell(Kept::Unanswerable);
                Way::Stays
            }
            Frame::Send { .. } => Way::Passes,
            Frame::CallResult { id, payload } => {
                self.on_answer(id, || Outcome::Result((*payload).to_owned()))
            }
            Frame::CallError(failure) if failure.id == UNREADABLE_ID => {
                self.on_nameless(now, || Outcome::Error(RemoteError::of(failure)))
            }
            Frame::CallError(failure) => {
                self.on_answer(&failure.id, || Outcome::Error(RemoteError::of(failure)))
            }
            Frame::CallResultError(failure) => self.on_result_refused(&failure.id),
        }
    }

    fn on_station_unreadable(&mut self, now: Duration, unreadable: &Unreadable<'_>) -> Way {
        match (unreadable.message_type, &unreadable.id) {
            (Some(3 | 4), Some(id)) => self.on_answer(id, || Outcome::TimedOut),
            (Some(3 | 4), None) => self.on_nameless(now, || Outcome::TimedOut),
            (Some(5), Some(id)) => self.on_result_refused(id),
            _ => Way::Passes,
        }
    }

    fn on_data_transfer(&mut self, now: Duration, id: &str, payload: &RawValue) {
        if self.boot != Boot::Accepted || self.is_booting(now) {
            self.tell(Kept::BeforeBoot);
            // 2.x B02.FR.09; 1.6 (section 4.2) forbids such calls as well, and names no answer.
            return self.refuse_station(id, ErrorCode::SecurityError, "not before the boot is accepted");
        }
        if self.unanswered.iter().any(|(_, unanswered)| unanswered == id) {
            return self.tell(Kept::Duplicate);
        }
        if self.unanswered.len() >= self.config.max_unanswered {
            self.tell(Kept::TooMany);
            return self.refuse_station(id, ErrorCode::GenericError, "too many calls at once");
        }
        let call = IncomingId(self.next_incoming);
        self.next_incoming += 1;
        self.unanswered.push_back((call, id.into()));
        let payload = payload.to_owned();
        self.events.push_back(Event::DataTransfer { call, payload });
    }

    /// An answer of the station.
    fn on_answer(&mut self, id: &str, outcome: impl FnOnce() -> Outcome) -> Way {
        if matches!(&self.own, Own::Out { id: own, .. } if own == id) {
            self.end(outcome());
            self.past.answer(id);
            return Way::Stays;
        }
        if self.past.answer(id) {
            self.tell(Kept::NotAsked);
            return Way::Stays;
        }
        self.csms_calls.answer(id);
        Way::Passes
    }

    /// An answer of the station that does not say to what: to what is outstanding, of which there is only one.
    fn on_nameless(&mut self, now: Duration, outcome: impl FnOnce() -> Outcome) -> Way {
        if let Own::Out { id, .. } = &self.own {
            let id = id.clone();
            self.end(outcome());
            self.past.answer(&id);
            return Way::Stays;
        }
        if !self.csms_calls.answer_any(now) && self.past.answer_any() {
            self.tell(Kept::NotAsked);
            return Way::Stays;
        }
        Way::Passes
    }

    /// A CALLRESULTERROR of the station; an own call has no use for one.
    fn on_result_refused(&mut self, id: &str) -> Way {
        let own = matches!(&self.own, Own::Out { id: own, .. } if own == id);
        if own || self.past.contains(id) || self.answered_station.contains(id) {
            self.tell(Kept::NotAsked);
            return Way::Stays;
        }
        Way::Passes
    }

    /// What an answer of the CSMS says about the boot of the station.
    fn boot_of(&mut self, frame: &Frame<'_>) -> Option<Boot> {
        #[derive(Deserialize)]
        struct Answer<'a> {
            #[serde(borrow)]
            status: &'a RawValue,
        }
        let answers = matches!(frame, Frame::CallResult { .. } | Frame::CallError(_));
        self.booting.take_if(|(id, _)| answers && id == frame.id())?;
        let Frame::CallResult { payload, .. } = frame else {
            return None;
        };
        let answer: Answer<'_> = serde_json::from_str(payload.get()).ok()?;
        match &*frame::string(answer.status)? {
            "Accepted" => Some(Boot::Accepted),
            "Pending" => Some(Boot::Pending),
            "Rejected" => Some(Boot::Rejected),
            _ => None,
        }
    }

    /// Ends the own call, and lets go what was held for it.
    fn end(&mut self, outcome: Outcome) {
        if let Own::Out { id, .. } = core::mem::replace(&mut self.own, Own::None) {
            self.past.insert(&id);
        }
        self.events.push_back(Event::Ended(outcome));
    }

    /// Sends what may go out now: what was held, else an own call.
    fn advance(&mut self, now: Duration) {
        if matches!(self.own, Own::Out { .. }) {
            return;
        }
        while let Some(message) = self.held.pop_front() {
            self.held_bytes = self.held_bytes.saturating_sub(message.text.len());
            self.pass_to_station(now, message);
        }
        if self.is_free(now)
            && let Own::Waiting { payload, .. } = core::mem::replace(&mut self.own, Own::None)
        {
            let id = self.own_id();
            let call = Frame::Call {
                id: id.as_str().into(),
                action: ACTION.into(),
                payload: &payload,
            };
            self.to_station.push_back(call.to_text());
            let deadline = now.saturating_add(self.config.call_timeout);
            self.own = Own::Out { id, deadline };
        }
    }

    /// Whether the own call that waits may go out.
    fn is_free(&self, now: Duration) -> bool {
        matches!(self.own, Own::Waiting { .. })
            && self.boot != Boot::Rejected
            && !self.is_booting(now)
            && self.csms_calls.until().is_none_or(|until| until <= now)
    }

    fn is_booting(&self, now: Duration) -> bool {
        self.booting.as_ref().is_some_and(|(_, deadline)| now < *deadline)
    }

    /// A message id that no CALL that the station may still answer has.
    fn own_id(&mut self) -> String {
        loop {
            let id = own_id(self.seed, self.next_call);
            self.next_call = self.next_call.wrapping_add(1);
            if !self.csms_calls.contains(&id) && !self.past.contains(&id) {
                return id;
            }
        }
    }

    fn pass_to_station(&mut self, now: Duration, message: FromCsms) {
        if let Some(id) = message.answered_as {
            // It is the CSMS's now.
            self.past.remove(&id);
            let deadline = now.saturating_add(self.config.call_timeout);
            self.csms_calls.insert(id, deadline);
        }
        self.to_station.push_back(message.text);
    }

    fn is_own(&self, action: &str, payload: &RawValue) -> bool {
        action == ACTION && is_of_vendor(payload, &self.config.vendor_id)
    }

    /// The vendor's messages are between the station and this side. A status and no error: the CALL as such was in order.
    fn refuse_csms(&mut self, id: &str) {
        let response = Response {
            status_info: Some(StatusInfo {
                reason_code: "UnsupportedRequest".into(),
                additional_info: Some("the station is served by a bridge for this vendorId".into()),
            }),
            ..Response::new(Status::Rejected, None)
        };
        let payload = response.to_payload(self.config.version);
        let frame = Frame::CallResult {
            id: id.into(),
            payload: &payload,
        };
        self.to_csms.push_back(frame.to_text());
        self.answered_csms.insert(id);
        self.tell(Kept::OfCsms);
    }

    fn refuse_station(&mut self, id: &str, code: ErrorCode, description: &str) {
        self.answered_station.insert(id);
        let failure = Failure::new(id, code, description, self.config.version);
        self.to_station.push_back(Frame::CallError(failure).to_text());
    }

    fn take_unanswered(&mut self, call: IncomingId) -> Option<String> {
        let at = self.unanswered.iter().position(|(waiting, _)| *waiting == call)?;
        self.unanswered.remove(at).map(|(_, id)| id)
    }

    /// Reports what has no consequence if it is lost.
    fn tell(&mut self, kept: Kept) {
        if self.events.len() < MAX_UNPOLLED {
            self.events.push_back(Event::Kept(kept));
        }
    }
}
