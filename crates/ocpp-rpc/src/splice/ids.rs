//! Message ids that are remembered, in bounded number.

use alloc::collections::VecDeque;
use alloc::string::String;
use core::time::Duration;

use crate::frame::UNREADABLE_ID;

/// The last ids of something.
#[derive(Debug, Default)]
pub(super) struct LastIds {
    ids: VecDeque<Id>,
}

#[derive(Debug)]
struct Id {
    id: String,
    answered: bool,
}

/// As many as can still come late: each was the only one of its time.
const MAX_LAST: usize = 16;

impl LastIds {
    pub(super) fn insert(&mut self, id: &str) {
        if self.ids.len() >= MAX_LAST {
            self.ids.pop_front();
        }
        let id = id.into();
        self.ids.push_back(Id { id, answered: false });
    }

    pub(super) fn contains(&self, id: &str) -> bool {
        self.ids.iter().any(|last| last.id == id)
    }

    pub(super) fn remove(&mut self, id: &str) {
        self.ids.retain(|last| last.id != id);
    }

    /// Notes an answer to `id`; false if it is not among them.
    pub(super) fn answer(&mut self, id: &str) -> bool {
        let last = self.ids.iter_mut().find(|last| last.id == id);
        last.map(|last| last.answered = true).is_some()
    }

    /// Notes an answer to the oldest that had none; false if there is none such.
    pub(super) fn answer_any(&mut self) -> bool {
        let last = self.ids.iter_mut().find(|last| !last.answered);
        last.map(|last| last.answered = true).is_some()
    }
}

/// CALLs that were not answered, each with the time until which its answer is waited for.
#[derive(Debug, Default)]
pub(super) struct Outstanding {
    calls: VecDeque<(String, Duration)>,
    /// Until when the answers of those are waited for that were too many to be remembered.
    forgotten_until: Option<Duration>,
}

/// One who keeps to the rules has one.
const MAX_OUTSTANDING: usize = 32;

impl Outstanding {
    pub(super) fn insert(&mut self, id: String, deadline: Duration) {
        if self.calls.len() >= MAX_OUTSTANDING
            && let Some((_, deadline)) = self.calls.pop_front()
        {
            self.forgotten_until = self.forgotten_until.max(Some(deadline));
        }
        self.calls.push_back((id, deadline));
    }

    pub(super) fn contains(&self, id: &str) -> bool {
        self.calls.iter().any(|(call, _)| call == id)
    }

    /// Takes out the oldest of that id.
    pub(super) fn answer(&mut self, id: &str) -> bool {
        let at = self.calls.iter().position(|(call, _)| call == id);
        at.and_then(|at| self.calls.remove(at)).is_some()
    }

    /// Takes out what an answer without an id is for: what had no readable one itself, else the oldest whose answer is
    /// waited for. False if there is none, not even a forgotten one.
    pub(super) fn answer_any(&mut self, now: Duration) -> bool {
        let waits = |(_, deadline): &(String, Duration)| *deadline > now;
        if self.answer(UNREADABLE_ID) {
            return true;
        }
        let oldest = self.calls.iter().position(waits);
        oldest.and_then(|at| self.calls.remove(at)).is_some()
            || self.forgotten_until.is_some_and(|until| now < until)
    }

    /// Until when any answer is waited for.
    pub(super) fn until(&self) -> Option<Duration> {
        let last = self.calls.iter().map(|(_, deadline)| *deadline).max();
        last.max(self.forgotten_until)
    }
}
