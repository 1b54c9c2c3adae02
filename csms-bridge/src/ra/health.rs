//! What is known of a target, and how others see it.

use std::time::Duration;

use serde::Serialize;

use super::breaker::{Breaker, BreakerLimits, Pass};
use crate::clock;

/// Upper bounds, in milliseconds, of the classes of [`Latency`]; above the last there is one more.
pub const LATENCY_BOUNDS_MS: [u64; 12] = [5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 30_000];

/// A route as others see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RouteView {
    /// Its name.
    pub name: cmp_binding::Route,
    /// Requests that a target is being asked now.
    pub asking: usize,
    /// Requests that wait for others to be done.
    pub queued: usize,
    /// Requests that lie in files, or are being carried, and have no answer yet.
    pub deposited: usize,
    /// Where its requests go, in the order in which they are tried.
    pub targets: Vec<TargetView>,
}

/// A target of a route as others see it. Times are seconds since 1970; counts are since the process began.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TargetView {
    /// `http…` or `spool:DIR`.
    pub target: String,
    /// How it is.
    pub state: TargetState,
    /// Seconds until it is tried again, where it is left alone.
    pub retry_in_s: Option<u64>,
    /// Failures since the last answer.
    pub consecutive_failures: u32,
    /// When it answered last.
    pub last_success_at_s: Option<u64>,
    /// When it did not answer as it should, the last time.
    pub last_failure_at_s: Option<u64>,
    /// What was wrong then.
    pub last_failure: Option<Failure>,
    /// Answers that were CMP messages.
    pub answered: u64,
    /// Requests and attempts to connect that came to nothing, by what was wrong, in the order of [`Failure::ALL`].
    pub failed: [u64; Failure::ALL.len()],
    /// How long answers took.
    pub latency: Latency,
}

/// How a target is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum TargetState {
    /// Nothing was asked of it so far.
    Untried,
    /// It answers.
    Up,
    /// It did not answer the last time, and is still asked.
    Failing,
    /// It has failed too often: it is left alone for a while, then one request tries it.
    Resting,
}

/// What was wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Failure {
    /// No connection.
    Unreachable,
    /// No connection in time.
    ConnectTimeout,
    /// No TLS: another certificate than the anchors vouch for, or ours is not taken.
    Tls,
    /// No answer in time.
    Timeout,
    /// The connection broke before the answer was there.
    BrokeOff,
    /// A gateway says that the server behind it is away: 502, 503 or 504.
    Unavailable,
    /// An answer that is no CMP message; a redirect is one of them.
    NotCmp,
    /// An answer that is too large.
    TooLarge,
    /// A file cannot be read or written.
    File,
}

impl Failure {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Unreachable,
        Self::ConnectTimeout,
        Self::Tls,
        Self::Timeout,
        Self::BrokeOff,
        Self::Unavailable,
        Self::NotCmp,
        Self::TooLarge,
        Self::File,
    ];

    /// Its name: that of its JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unreachable => "unreachable",
            Self::ConnectTimeout => "connect-timeout",
            Self::Tls => "tls",
            Self::Timeout => "timeout",
            Self::BrokeOff => "broke-off",
            Self::Unavailable => "unavailable",
            Self::NotCmp => "not-cmp",
            Self::TooLarge => "too-large",
            Self::File => "file",
        }
    }

    /// The target does not work; otherwise it does, and says what is no use here.
    pub(super) const fn is_outage(self) -> bool {
        !matches!(self, Self::NotCmp | Self::TooLarge)
    }
}

/// How long answers took.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Latency {
    /// Answers for each class: up to the bound of [`LATENCY_BOUNDS_MS`] and above the one before; the last one is above all.
    pub counts: [u64; LATENCY_BOUNDS_MS.len() + 1],
    /// All of them together, in milliseconds.
    pub sum_ms: u64,
}

impl Latency {
    fn note(&mut self, took: Duration) {
        let ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        let class = LATENCY_BOUNDS_MS.partition_point(|bound| *bound < ms);
        if let Some(count) = self.counts.get_mut(class) {
            *count += 1;
        }
        self.sum_ms = self.sum_ms.saturating_add(ms);
    }
}

/// What is known of a target.
#[derive(Debug)]
pub(super) struct Health {
    breaker: Breaker,
    last_success_at_s: Option<u64>,
    last_failure: Option<(u64, Failure)>,
    answered: u64,
    failed: [u64; Failure::ALL.len()],
    latency: Latency,
}

impl Health {
    pub(super) fn new(limits: BreakerLimits) -> Self {
        Self {
            breaker: Breaker::new(limits),
            last_success_at_s: None,
            last_failure: None,
            answered: 0,
            failed: [0; Failure::ALL.len()],
            latency: Latency::default(),
        }
    }

    pub(super) fn admit(&mut self, now: Duration) -> Result<Pass, Duration> {
        self.breaker.admit(now)
    }

    pub(super) fn gave_up(&mut self, now: Duration, pass: Pass) {
        self.breaker.gave_up(now, pass);
    }

    pub(super) fn succeeded(&mut self, took: Option<Duration>) {
        self.breaker.succeeded();
        self.last_success_at_s = Some(clock::utc().as_secs());
        self.answered += 1;
        if let Some(took) = took {
            self.latency.note(took);
        }
    }

    /// It works, which is no answer yet.
    pub(super) const fn works(&mut self) {
        self.breaker.succeeded();
    }

    pub(super) fn failed(&mut self, now: Duration, pass: Pass, failure: Failure) {
        match failure.is_outage() {
            true => self.breaker.failed(now, pass),
            false => self.breaker.succeeded(),
        }
        self.last_failure = Some((clock::utc().as_secs(), failure));
        if let Some(count) = self.failed.get_mut(failure as usize) {
            *count += 1;
        }
    }

    /// Failures since the last answer.
    pub(super) const fn failures(&self) -> u32 {
        self.breaker.failures()
    }

    /// How long the target is left alone from now on.
    pub(super) const fn rest(&self, now: Duration) -> Option<Duration> {
        self.breaker.rest(now)
    }

    pub(super) fn view(&self, now: Duration, target: String) -> TargetView {
        let rest = self.breaker.rest(now);
        let state = match (rest, self.breaker.failures()) {
            (Some(_), _) => TargetState::Resting,
            (None, 1..) => TargetState::Failing,
            (None, 0) if self.last_success_at_s.is_none() && self.last_failure.is_none() => {
                TargetState::Untried
            }
            (None, 0) => TargetState::Up,
        };
        TargetView {
            target,
            state,
            retry_in_s: rest.map(|rest| rest.as_millis().div_ceil(1_000) as u64),
            consecutive_failures: self.breaker.failures(),
            last_success_at_s: self.last_success_at_s,
            last_failure_at_s: self.last_failure.map(|(at_s, _)| at_s),
            last_failure: self.last_failure.map(|(_, failure)| failure),
            answered: self.answered,
            failed: self.failed,
            latency: self.latency.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_counted_in_the_order_in_which_they_are_listed() {
        for (index, failure) in Failure::ALL.into_iter().enumerate() {
            assert_eq!(failure as usize, index);
            let name = format!("\"{}\"", failure.as_str());
            assert_eq!(serde_json::to_string(&failure).unwrap(), name);
        }
    }

    #[test]
    fn an_answer_is_counted_in_the_first_class_that_it_fits_into() {
        let mut latency = Latency::default();
        for ms in [0, 5, 6, 30_000, 30_001] {
            latency.note(Duration::from_millis(ms));
        }
        assert_eq!(latency.counts, [2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1]);
        assert_eq!(latency.sum_ms, 60_012);
    }
}
