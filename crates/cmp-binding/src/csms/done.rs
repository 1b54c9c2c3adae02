//! Finished exchanges, remembered so that a late or repeated call never brings one back to life.

use alloc::collections::VecDeque;
use core::time::Duration;

use super::Limits;
use crate::id::ExchangeId;

/// Never remembered more than this many of one station, however fast it goes.
const MOST: usize = 1_024;

#[derive(Debug, Default)]
pub(super) struct Done(VecDeque<(ExchangeId, Duration)>);

impl Done {
    pub(super) const fn new(done: VecDeque<(ExchangeId, Duration)>) -> Self {
        Self(done)
    }

    pub(super) fn contains(&self, id: ExchangeId) -> bool {
        self.0.iter().any(|(done, _)| *done == id)
    }

    pub(super) fn push(&mut self, now: Duration, id: ExchangeId) {
        self.0.push_back((id, now));
    }

    /// Takes out the oldest id if it need no longer be remembered.
    pub(super) fn forget(&mut self, now: Duration, limits: &Limits) -> Option<ExchangeId> {
        let (_, at) = self.0.front()?;
        let old = now.saturating_sub(*at) > limits.done_for;
        let surplus = self.0.len() > limits.done_at_least;
        if (old && surplus) || self.0.len() > MOST {
            self.0.pop_front().map(|(id, _)| id)
        } else {
            None
        }
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}
