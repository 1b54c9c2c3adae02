//! One side of an OCPP-J connection: who may send what when (1.6-J and 2.x Part 4, section 4.1.1).
//!
//! Frames and the time go in by `handle_*`, frames and events come out by `poll_*`. After each `handle_*` and each call
//! of the application, take all events and all frames. Times are durations since any fixed moment.

mod event;

pub use crate::own_id::OWN_ID_LEN;
pub use event::{Dropped, Event, Outcome, RemoteError};

use alloc::borrow::Cow;
use alloc::borrow::ToOwned;
use alloc::collections::VecDeque;
use alloc::string::String;
use core::fmt;
use core::time::Duration;

use serde_json::value::RawValue;

use crate::frame::{Failure, Fault, Frame, UNREADABLE_ID, Unreadable};
use crate::own_id::own_id;
use crate::{ErrorCode, Version};

/// Limits and times of an [`Endpoint`].
#[derive(Clone, Debug)]
pub struct Config {
    /// The version that was negotiated.
    pub version: Version,
    /// How long a CALL waits for its answer. Default 30 s.
    pub call_timeout: Duration,
    /// How long the application may take to answer a CALL, before it is answered with `InternalError`. Default 60 s.
    pub answer_timeout: Duration,
    /// The most own calls and SENDs that wait to be sent. Default 32.
    pub max_queued: usize,
    /// The most CALLs of the peer without an answer. A peer that keeps to the rules has one. Default 4.
    pub max_unanswered: usize,
}

impl Config {
    /// The defaults for `version`.
    #[must_use]
    pub const fn new(version: Version) -> Self {
        Self {
            version,
            call_timeout: Duration::from_secs(30),
            answer_timeout: Duration::from_secs(60),
            max_queued: 32,
            max_unanswered: 4,
        }
    }
}

/// Names an own call; never used twice by one endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CallId(u64);

/// Names a CALL of the peer that waits for its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct IncomingId(u64);

/// Which of the waiting calls goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Priority {
    /// After all that wait.
    #[default]
    Normal,
    /// Before all that are [`Priority::Normal`], after the others that are high.
    High,
}

/// What the application asked for and cannot have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// Too many calls wait.
    QueueFull,
    /// SEND and CALLRESULTERROR exist in 2.1 only.
    NotInVersion,
    /// The CALL was answered already, or is too old to be answered.
    NothingToAnswer,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::QueueFull => "too many calls wait to be sent",
            Self::NotInVersion => "message type exists in OCPP 2.1 only",
            Self::NothingToAnswer => "no such call waits for an answer",
        })
    }
}

impl core::error::Error for Error {}

/// One side of a connection. After a reconnect a new one is made, with a new seed.
#[derive(Debug)]
pub struct Endpoint {
    config: Config,
    seed: u64,
    next_call: u64,
    next_incoming: u64,
    queue: VecDeque<Queued>,
    outstanding: Option<Outstanding>,
    unanswered: VecDeque<Unanswered>,
    answers: VecDeque<String>,
    events: VecDeque<Event>,
}

#[derive(Debug)]
struct Queued {
    call: CallId,
    text: String,
    priority: Priority,
    expects_answer: bool,
}

#[derive(Debug)]
struct Outstanding {
    call: CallId,
    deadline: Duration,
}

#[derive(Debug)]
struct Unanswered {
    call: IncomingId,
    message_id: String,
    deadline: Duration,
}

/// The most answers to faults of the peer, and events without consequence, that are kept for one who does not poll.
const MAX_UNPOLLED: usize = 32;

impl Endpoint {
    /// An endpoint of a new connection; `seed` is random and makes the message ids of this connection its own.
    #[must_use]
    pub const fn new(config: Config, seed: u64) -> Self {
        Self {
            config,
            seed,
            next_call: 0,
            next_incoming: 0,
            queue: VecDeque::new(),
            outstanding: None,
            unanswered: VecDeque::new(),
            answers: VecDeque::new(),
            events: VecDeque::new(),
        }
    }

    /// The configuration.
    #[must_use]
    pub const fn config(&self) -> &Config {
        &self.config
    }

    /// Queues a CALL. It goes out when those before it are through.
    ///
    /// # Errors
    /// [`Error::QueueFull`].
    pub fn call(&mut self, action: &str, payload: &RawValue, priority: Priority) -> Result<CallId, Error> {
        self.enqueue(action, payload, priority, true)
    }

    /// Queues a SEND, which gets no answer and no [`Event::Ended`] (2.1).
    ///
    /// # Errors
    /// [`Error::QueueFull`], [`Error::NotInVersion`].
    pub fn send(&mut self, action: &str, payload: &RawValue) -> Result<(), Error> {
        if !self.config.version.has_send() {
            return Err(Error::NotInVersion);
        }
        self.enqueue(action, payload, Priority::Normal, false).map(drop)
    }

    /// Takes back a call that was not sent yet, which then has no [`Event::Ended`]. Returns whether it could be.
    pub fn cancel(&mut self, call: CallId) -> bool {
        let waiting = self
            .queue
            .iter()
            .position(|queued| queued.expects_answer && queued.call == call);
        waiting.and_then(|at| self.queue.remove(at)).is_some()
    }

    /// The message id of an own call: [`OWN_ID_LEN`] characters of base64url.
    #[must_use]
    pub fn message_id(&self, call: CallId) -> String {
        own_id(self.seed, call.0)
    }

    /// Answers a CALL of the peer with a CALLRESULT.
    ///
    /// # Errors
    /// [`Error::NothingToAnswer`].
    pub fn respond(&mut self, call: IncomingId, payload: &RawValue) -> Result<(), Error> {
        let id = Cow::Owned(self.take_unanswered(call)?);
        self.answers
            .push_back(Frame::CallResult { id, payload }.to_text());
        Ok(())
    }

    /// Answers a CALL of the peer with a CALLERROR; `description` is cropped at 255 characters.
    ///
    /// # Errors
    /// [`Error::NothingToAnswer`].
    pub fn respond_error(
        &mut self,
        call: IncomingId,
        code: ErrorCode,
        description: &str,
    ) -> Result<(), Error> {
        let id = self.take_unanswered(call)?;
        let text = self.failure_text(&id, code, description, Frame::CallError);
        self.answers.push_back(text);
        Ok(())
    }

    /// Leaves a CALL of the peer without an answer, for one that OCPP says must get none.
    ///
    /// # Errors
    /// [`Error::NothingToAnswer`].
    pub fn leave_unanswered(&mut self, call: IncomingId) -> Result<(), Error> {
        self.take_unanswered(call).map(drop)
    }

    /// Tells the peer by CALLRESULTERROR that its answer to an own call was not understood (2.1).
    ///
    /// # Errors
    /// [`Error::NotInVersion`], [`Error::QueueFull`] if earlier answers were not taken.
    pub fn refuse_result(&mut self, call: CallId, code: ErrorCode, description: &str) -> Result<(), Error> {
        if !self.config.version.has_send() {
            return Err(Error::NotInVersion);
        }
        if self.answers.len() >= MAX_UNPOLLED {
            return Err(Error::QueueFull);
        }
        let text = self.failure_text(&self.message_id(call), code, description, Frame::CallResultError);
        self.answers.push_back(text);
        Ok(())
    }

    /// Takes a text that the peer sent.
    pub fn handle_frame(&mut self, now: Duration, text: &str) {
        match Frame::parse(text) {
            Ok(Frame::Call { id, action, payload }) => self.on_call(now, &id, &action, payload),
            Ok(Frame::CallResult { id, payload }) => {
                self.on_answer(Some(&id), || Outcome::Result(payload.to_owned()));
            }
            Ok(Frame::CallError(failure)) => {
                // With the id "-1" it is about what is outstanding: there is only one call that it can be about.
                let call = Some(&*failure.id).filter(|id| *id != UNREADABLE_ID);
                self.on_answer(call, || Outcome::Error(RemoteError::of(&failure)));
            }
            Ok(frame) if !self.config.version.has_send() => {
                self.refuse_type(Some(frame.id()), u64::from(frame.message_type()));
            }
            Ok(Frame::CallResultError(failure)) => {
                let error = RemoteError::of(&failure);
                self.tell(Event::ResultRefused {
                    message_id: failure.id.into_owned(),
                    error,
                });
            }
            Ok(Frame::Send { action, payload, .. }) => {
                self.tell(Event::Send {
                    action: action.into_owned(),
                    payload: payload.to_owned(),
                });
            }
            Err(unreadable) => self.on_unreadable(&unreadable),
        }
    }

    /// Ends what has waited for too long.
    pub fn handle_timeout(&mut self, now: Duration) {
        if let Some(outstanding) = self
            .outstanding
            .take_if(|outstanding| outstanding.deadline <= now)
        {
            self.events.push_back(Event::Ended {
                call: outstanding.call,
                outcome: Outcome::TimedOut,
            });
        }
        while self
            .unanswered
            .front()
            .is_some_and(|oldest| oldest.deadline <= now)
        {
            let Some(late) = self.unanswered.pop_front() else {
                break;
            };
            self.answer_fault(&late.message_id, ErrorCode::InternalError, "no answer in time");
            self.drop_message(Some(&late.message_id), Dropped::NotAnswered);
        }
    }

    /// Ends everything, as the connection is gone: each own call gets its [`Event::Ended`].
    pub fn handle_disconnect(&mut self) {
        if let Some(Outstanding { call, .. }) = self.outstanding.take() {
            self.events.push_back(Event::Ended {
                call,
                outcome: Outcome::Disconnected { sent: true },
            });
        }
        for queued in self.queue.drain(..).filter(|queued| queued.expects_answer) {
            let outcome = Outcome::Disconnected { sent: false };
            self.events.push_back(Event::Ended {
                call: queued.call,
                outcome,
            });
        }
        self.unanswered.clear();
        self.answers.clear();
    }

    /// The next text to send: answers first, then a call if none is outstanding. The time of a call begins here.
    #[must_use]
    pub fn poll_transmit(&mut self, now: Duration) -> Option<String> {
        if let Some(answer) = self.answers.pop_front() {
            return Some(answer);
        }
        // A SEND waits for nothing; it still keeps its place among the calls.
        let next_expects = self.queue.front()?.expects_answer;
        if next_expects && self.outstanding.is_some() {
            return None;
        }
        let queued = self.queue.pop_front()?;
        if next_expects {
            let deadline = now.saturating_add(self.config.call_timeout);
            self.outstanding = Some(Outstanding {
                call: queued.call,
                deadline,
            });
        }
        Some(queued.text)
    }

    /// The next event.
    #[must_use]
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// When [`Endpoint::handle_timeout`] is due.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Duration> {
        let call = self.outstanding.as_ref().map(|outstanding| outstanding.deadline);
        let answer = self.unanswered.front().map(|unanswered| unanswered.deadline);
        call.into_iter().chain(answer).min()
    }

    /// Whether nothing waits: no own call queued or outstanding, no CALL of the peer unanswered.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.outstanding.is_none()
            && self.queue.is_empty()
            && self.unanswered.is_empty()
            && self.answers.is_empty()
    }

    fn enqueue(
        &mut self,
        action: &str,
        payload: &RawValue,
        priority: Priority,
        expects_answer: bool,
    ) -> Result<CallId, Error> {
        if self.queue.len() >= self.config.max_queued {
            return Err(Error::QueueFull);
        }
        let call = CallId(self.next_call);
        self.next_call += 1;
        let id = Cow::Owned(self.message_id(call));
        let text = match expects_answer {
            true => Frame::Call {
                id,
                action: action.into(),
                payload,
            },
            false => Frame::Send {
                id,
                action: action.into(),
                payload,
            },
        }
        .to_text();
        let at = match priority {
            Priority::Normal => self.queue.len(),
            Priority::High => self
                .queue
                .iter()
                .take_while(|queued| queued.priority == Priority::High)
                .count(),
        };
        self.queue.insert(
            at,
            Queued {
                call,
                text,
                priority,
                expects_answer,
            },
        );
        Ok(call)
    }

    fn on_call(&mut self, now: Duration, id: &str, action: &str, payload: &RawValue) {
        if self
            .unanswered
            .iter()
            .any(|unanswered| unanswered.message_id == id)
        {
            return self.drop_message(Some(id), Dropped::Duplicate);
        }
        // Answers that were not taken count too: a peer that calls and does not read must not fill the memory.
        if self.unanswered.len() + self.answers.len() >= self.config.max_unanswered {
            self.answer_fault(id, ErrorCode::GenericError, "too many calls at once");
            return self.drop_message(Some(id), Dropped::TooManyCalls);
        }
        let call = IncomingId(self.next_incoming);
        self.next_incoming += 1;
        let deadline = now.saturating_add(self.config.answer_timeout);
        self.unanswered.push_back(Unanswered {
            call,
            message_id: id.into(),
            deadline,
        });
        self.events.push_back(Event::Call {
            call,
            message_id: id.into(),
            action: action.into(),
            payload: payload.to_owned(),
        });
    }

    /// Takes an answer to the call of that message id, or to whatever is outstanding.
    fn on_answer(&mut self, id: Option<&str>, outcome: impl FnOnce() -> Outcome) {
        let expected = self.outstanding.as_ref().map(|outstanding| outstanding.call);
        match expected.filter(|&call| id.is_none_or(|id| self.message_id(call) == id)) {
            Some(call) => {
                self.outstanding = None;
                self.events.push_back(Event::Ended {
                    call,
                    outcome: outcome(),
                });
            }
            None => self.drop_message(id.or(Some(UNREADABLE_ID)), Dropped::NotAsked),
        }
    }

    fn on_unreadable(&mut self, unreadable: &Unreadable<'_>) {
        let Unreadable {
            message_type,
            ref id,
            fault,
        } = *unreadable;
        let id = id.as_deref();
        match (fault, message_type) {
            (Fault::MessageType, Some(number)) => return self.refuse_type(id, number),
            // Broken answers get none, or two peers would answer each other without end.
            (_, Some(3..=5)) => {}
            // A SEND is never answered.
            (_, Some(6)) => {}
            (Fault::Elements, _) => {
                self.answer_fault(
                    id.unwrap_or(UNREADABLE_ID),
                    ErrorCode::FormatViolation,
                    "not the elements of a CALL",
                );
            }
            _ => {
                self.answer_fault(
                    id.unwrap_or(UNREADABLE_ID),
                    ErrorCode::RpcFrameworkError,
                    "not an OCPP-J message",
                );
            }
        }
        self.drop_message(id, Dropped::Unreadable(fault));
    }

    /// 1.6 ignores unknown message types (1.6-J section 4.1.3), 2.x answers them (Part 4 section 4.4), but not 5, which
    /// is an answer.
    fn refuse_type(&mut self, id: Option<&str>, message_type: u64) {
        if self.config.version != Version::V1_6 && message_type != 5 {
            let id = id.unwrap_or(UNREADABLE_ID);
            self.answer_fault(
                id,
                ErrorCode::MessageTypeNotSupported,
                "message type is not supported",
            );
        }
        self.drop_message(id, Dropped::NotInVersion);
    }

    fn take_unanswered(&mut self, call: IncomingId) -> Result<String, Error> {
        let at = self
            .unanswered
            .iter()
            .position(|unanswered| unanswered.call == call);
        let taken = at.and_then(|at| self.unanswered.remove(at));
        taken
            .map(|unanswered| unanswered.message_id)
            .ok_or(Error::NothingToAnswer)
    }

    fn answer_fault(&mut self, id: &str, code: ErrorCode, description: &str) {
        if self.answers.len() < MAX_UNPOLLED {
            let text = self.failure_text(id, code, description, Frame::CallError);
            self.answers.push_back(text);
        }
    }

    fn failure_text<'a>(
        &self,
        id: &'a str,
        code: ErrorCode,
        description: &'a str,
        frame: impl FnOnce(Failure<'a>) -> Frame<'a>,
    ) -> String {
        let failure = Failure::new(id, code, description, self.config.version);
        frame(failure).to_text()
    }

    fn drop_message(&mut self, id: Option<&str>, reason: Dropped) {
        self.tell(Event::Dropped {
            message_id: id.map(Into::into),
            reason,
        });
    }

    /// Reports what has no consequence if it is lost.
    fn tell(&mut self, event: Event) {
        if self.events.len() < MAX_UNPOLLED {
            self.events.push_back(event);
        }
    }
}
