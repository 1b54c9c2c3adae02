//! Calls a minute, with a burst of one minute's worth.

use core::time::Duration;

use crate::error::{ErrorCode, TransferError};

const MINUTE: Duration = Duration::from_secs(60);

/// The generic cell rate algorithm: one point in time says it all.
#[derive(Debug)]
pub(super) struct Rate {
    interval: Duration,
    /// When a station that calls at exactly the allowed rate would make its next call.
    next: Duration,
}

impl Rate {
    pub(super) fn new(per_minute: u32) -> Self {
        Self {
            interval: MINUTE / per_minute.max(1),
            next: Duration::ZERO,
        }
    }

    /// Whether a new one would be the same.
    pub(super) fn is_rested(&self, now: Duration) -> bool {
        self.next <= now
    }

    /// Counts a call, or says when one may come again.
    pub(super) fn take(&mut self, now: Duration) -> Result<(), TransferError> {
        let next = self.next.max(now).saturating_add(self.interval);
        let over = next.saturating_sub(now.saturating_add(MINUTE));
        if over.is_zero() {
            self.next = next;
            Ok(())
        } else {
            Err(TransferError::again(ErrorCode::Busy, over))
        }
    }
}
