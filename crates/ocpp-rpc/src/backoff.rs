//! Waiting before the next attempt to connect.

use core::time::Duration;

/// The reconnect back-off of OCPP 2.x (Part 4 section 5.3), used for 1.6 as well, which names none.
///
/// The first wait is `WaitMinimum` plus a random part of `RandomRange`; each further one is twice the last plus a new
/// random part, doubled at most `RepeatTimes` times and then kept. After a connection that worked, [`Backoff::reset`].
#[derive(Clone, Debug)]
pub struct Backoff {
    /// `RetryBackOffRepeatTimes`: how often the wait is doubled.
    repeat_times: u32,
    /// `RetryBackOffRandomRange`: the random part is below this or equal.
    random_range: Duration,
    /// `RetryBackOffWaitMinimum`: the first wait without its random part.
    wait_minimum: Duration,
    doubled: u32,
    last: Option<Duration>,
}

impl Backoff {
    /// A back-off with the three values of the configuration.
    #[must_use]
    pub const fn new(repeat_times: u32, random_range: Duration, wait_minimum: Duration) -> Self {
        Self {
            repeat_times,
            random_range,
            wait_minimum,
            doubled: 0,
            last: None,
        }
    }

    /// How long to wait before the next attempt; `random` is 32 uniformly random bits.
    pub fn next_wait(&mut self, random: u32) -> Duration {
        let wait = match self.last {
            None => self.wait_minimum.saturating_add(self.random_part(random)),
            Some(last) if self.doubled < self.repeat_times => {
                self.doubled += 1;
                last.saturating_mul(2).saturating_add(self.random_part(random))
            }
            Some(last) => last,
        };
        self.last = Some(wait);
        wait
    }

    /// Begins again with the shortest wait.
    pub fn reset(&mut self) {
        self.doubled = 0;
        self.last = None;
    }

    fn random_part(&self, random: u32) -> Duration {
        let nanos = self.random_range.as_nanos().saturating_mul(u128::from(random)) / u128::from(u32::MAX);
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

impl Default for Backoff {
    /// Waits from 5 s, at most 15 s, up to at most 390 s after four doublings.
    fn default() -> Self {
        Self::new(4, Duration::from_secs(10), Duration::from_secs(5))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: fn(u64) -> Duration = Duration::from_secs;

    #[test]
    fn waits_double_with_a_new_random_part_and_then_stay() {
        let mut backoff = Backoff::new(2, S(10), S(5));
        assert_eq!(backoff.next_wait(0), S(5));
        assert_eq!(backoff.next_wait(u32::MAX), S(20));
        assert_eq!(backoff.next_wait(0), S(40));
        assert_eq!(backoff.next_wait(u32::MAX), S(40));
        backoff.reset();
        assert_eq!(backoff.next_wait(u32::MAX), S(15));
    }

    #[test]
    fn absurd_values_saturate() {
        let mut backoff = Backoff::new(u32::MAX, Duration::MAX, Duration::MAX);
        for _ in 0..100 {
            assert_eq!(backoff.next_wait(u32::MAX), Duration::MAX);
        }
    }
}
