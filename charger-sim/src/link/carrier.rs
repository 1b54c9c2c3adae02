//! What a link carries for.

use std::time::Duration;

use cmp_binding::station::{Mode, Station};
use cmp_binding::{Answer, Call, CallOutcome, CallToken, Data};

/// What the link is to do after a carrier has worked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Go on.
    Continue,
    /// End the connection and make a new one.
    Reconnect,
    /// Everything is done: send what waits to be sent, close, and return.
    Stop,
}

/// The CMP side of a station, driven by a link. Times are those of the link's clock.
///
/// All methods but `work` and `woken` are the station's role of the binding (see [`Station`]); those are the carrier's
/// own: HTTP requests, keys, files.
pub trait Carrier: Send {
    /// The connection stands.
    fn handle_connected(&mut self, now: Duration);
    /// The connection is gone.
    fn handle_disconnected(&mut self, now: Duration);
    /// Who may call: as the boot state says.
    fn set_mode(&mut self, mode: Mode);
    /// Answers a DataTransfer of the binding.
    fn handle_call(&mut self, now: Duration, message_id: &str, data: Option<&Data>) -> Answer;
    /// The next call to send, if one is due.
    fn poll_call(&mut self, now: Duration) -> Option<Call>;
    /// How a call ended.
    fn handle_result(&mut self, now: Duration, token: CallToken, outcome: &CallOutcome);
    /// Time went by.
    fn handle_timeout(&mut self, now: Duration);
    /// When [`Carrier::handle_timeout`], [`Carrier::poll_call`] and [`Carrier::work`] are due.
    fn poll_timeout(&self) -> Option<Duration>;

    /// The link is about to end: what waits to be sent becomes due. Returns whether nothing is left.
    fn flush(&mut self, now: Duration) -> bool;

    /// The carrier's own work, after each step of the link, connected or not. Must not block.
    fn work(&mut self, now: Duration) -> Step;

    /// Ends when there is work from outside. Dropped and called again at will: nothing may get lost by that.
    fn woken(&mut self) -> impl Future<Output = ()> + Send;
}

/// The station's role of the binding alone: carries what was submitted, and nothing wakes it.
impl Carrier for Station {
    fn handle_connected(&mut self, now: Duration) {
        Self::handle_connected(self, now);
    }

    fn handle_disconnected(&mut self, _: Duration) {
        Self::handle_disconnected(self);
    }

    fn set_mode(&mut self, mode: Mode) {
        Self::set_mode(self, mode);
    }

    fn handle_call(&mut self, now: Duration, message_id: &str, data: Option<&Data>) -> Answer {
        Self::handle_call(self, now, message_id, data)
    }

    fn poll_call(&mut self, now: Duration) -> Option<Call> {
        Self::poll_call(self, now)
    }

    fn handle_result(&mut self, now: Duration, token: CallToken, outcome: &CallOutcome) {
        Self::handle_result(self, now, token, outcome);
    }

    fn handle_timeout(&mut self, now: Duration) {
        Self::handle_timeout(self, now);
    }

    fn poll_timeout(&self) -> Option<Duration> {
        Self::poll_timeout(self)
    }

    fn flush(&mut self, now: Duration) -> bool {
        self.flush_acks(now)
    }

    fn work(&mut self, _: Duration) -> Step {
        Step::Continue
    }

    async fn woken(&mut self) {
        std::future::pending().await
    }
}
