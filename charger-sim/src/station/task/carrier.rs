//! What the connection asks of the operations: the agent answers, with the time of day added.

use std::time::Duration;

use cmp_binding::{Answer, Call, CallOutcome, CallToken, Data, station::Mode};

use super::Task;
use crate::link::{Carrier, Step};

impl Carrier for Task {
    fn handle_connected(&mut self, now: Duration) {
        self.seen().trouble = None;
        let now = self.now(now);
        self.agent.handle_connected(now);
    }

    fn handle_disconnected(&mut self, _: Duration) {
        self.agent.handle_disconnected();
    }

    fn set_mode(&mut self, mode: Mode) {
        self.agent.set_mode(mode);
    }

    fn handle_call(&mut self, now: Duration, message_id: &str, data: Option<&Data>) -> Answer {
        let now = self.now(now);
        self.agent.handle_call(now, message_id, data)
    }

    fn poll_call(&mut self, now: Duration) -> Option<Call> {
        let now = self.now(now);
        self.agent.poll_call(now)
    }

    fn handle_result(&mut self, now: Duration, token: CallToken, outcome: &CallOutcome) {
        let now = self.now(now);
        self.agent.handle_result(now, token, outcome);
    }

    fn handle_timeout(&mut self, now: Duration) {
        let now = self.now(now);
        self.agent.handle_timeout(now);
    }

    fn poll_timeout(&self) -> Option<Duration> {
        self.agent.poll_timeout()
    }

    fn flush(&mut self, now: Duration) -> bool {
        let now = self.now(now);
        self.agent.flush_acks(now)
    }

    fn work(&mut self, now: Duration) -> Step {
        let now = self.now(now);
        while let Some(action) = self.agent.poll_action() {
            self.handle_action(now, action);
        }
        if self.over { Step::Stop } else { Step::Continue }
    }

    async fn woken(&mut self) {
        std::future::pending().await
    }
}
