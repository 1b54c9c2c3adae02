//! When a target that does not answer is left alone, and for how long: a value without IO.

use std::time::Duration;

/// What others are told to wait while one request tries whether the target is back.
const WHILE_PROBING: Duration = Duration::from_secs(1);

/// When it opens, and for how long.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BreakerLimits {
    /// Failures one after the other.
    pub(crate) failures: u32,
    /// The first rest; each further one is twice as long.
    pub(crate) first_rest: Duration,
    /// The longest rest.
    pub(crate) max_rest: Duration,
}

/// Counts failures and says who may ask. Times are on any clock that does not run backwards.
#[derive(Debug)]
pub(super) struct Breaker {
    limits: BreakerLimits,
    /// Since the last success.
    failures: u32,
    /// Since the last success.
    rests: u32,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// All may ask.
    Closed,
    /// Nobody may.
    Open { until: Duration },
    /// One is asking; what comes of it decides.
    Probing,
}

/// What a request was let through as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pass {
    /// One of many.
    Ordinary,
    /// The one that tries whether the target is back.
    Probe,
}

impl Breaker {
    pub(super) const fn new(limits: BreakerLimits) -> Self {
        Self {
            limits,
            failures: 0,
            rests: 0,
            state: State::Closed,
        }
    }

    /// Lets a request through, or says how long it is to wait. Each pass comes back: to [`Breaker::failed`],
    /// [`Breaker::succeeded`] or [`Breaker::gave_up`].
    pub(super) fn admit(&mut self, now: Duration) -> Result<Pass, Duration> {
        match self.state {
            State::Closed => Ok(Pass::Ordinary),
            State::Open { until } if until > now => Err(until.saturating_sub(now)),
            State::Open { .. } => {
                self.state = State::Probing;
                Ok(Pass::Probe)
            }
            State::Probing => Err(WHILE_PROBING),
        }
    }

    /// The target has answered, whoever asked.
    pub(super) const fn succeeded(&mut self) {
        self.failures = 0;
        self.rests = 0;
        self.state = State::Closed;
    }

    /// The target has not answered. What was asked before it was left alone does not prolong that.
    pub(super) fn failed(&mut self, now: Duration, pass: Pass) {
        self.failures = self.failures.saturating_add(1);
        let opens = match self.state {
            State::Closed => self.failures >= self.limits.failures,
            State::Open { .. } => false,
            State::Probing => pass == Pass::Probe,
        };
        if opens {
            let rest = self.limits.first_rest.saturating_mul(1 << self.rests.min(20));
            let until = now.saturating_add(rest.min(self.limits.max_rest));
            self.rests = self.rests.saturating_add(1);
            self.state = State::Open { until };
        }
    }

    /// Nothing was asked after all.
    pub(super) fn gave_up(&mut self, now: Duration, pass: Pass) {
        if pass == Pass::Probe && self.state == State::Probing {
            self.state = State::Open { until: now };
        }
    }

    /// Failures since the last success.
    pub(super) const fn failures(&self) -> u32 {
        self.failures
    }

    /// How long the target is still left alone; zero if the next request is to try it.
    pub(super) const fn rest(&self, now: Duration) -> Option<Duration> {
        match self.state {
            State::Closed => None,
            State::Open { until } => Some(until.saturating_sub(now)),
            State::Probing => Some(Duration::ZERO),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIMITS: BreakerLimits = BreakerLimits {
        failures: 3,
        first_rest: Duration::from_secs(5),
        max_rest: Duration::from_secs(60),
    };

    fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn rests_double_up_to_the_longest_and_one_request_tries_after_each() {
        let mut breaker = Breaker::new(LIMITS);
        let mut now = s(100);
        for _ in 0..3 {
            let pass = breaker.admit(now).unwrap();
            breaker.failed(now, pass);
        }
        for rest in [5, 10, 20, 40, 60, 60] {
            assert_eq!(breaker.admit(now), Err(s(rest)));
            assert_eq!(breaker.admit(now + s(rest - 1)), Err(s(1)));
            now += s(rest);
            assert_eq!(breaker.admit(now), Ok(Pass::Probe));
            assert_eq!(breaker.admit(now), Err(WHILE_PROBING));
            breaker.failed(now, Pass::Probe);
        }
        assert_eq!(breaker.admit(now + s(60)), Ok(Pass::Probe));
        breaker.succeeded();
        for _ in 0..2 {
            assert_eq!(breaker.admit(now), Ok(Pass::Ordinary));
            breaker.failed(now, Pass::Ordinary);
        }
        assert_eq!(breaker.admit(now), Ok(Pass::Ordinary));
        breaker.failed(now, Pass::Ordinary);
        assert_eq!(breaker.admit(now), Err(s(5)), "rests are short again");
    }

    #[test]
    fn a_probe_that_asked_nothing_leaves_its_turn_to_the_next() {
        let mut breaker = Breaker::new(LIMITS);
        for _ in 0..3 {
            breaker.failed(s(0), Pass::Ordinary);
        }
        assert_eq!(breaker.admit(s(5)), Ok(Pass::Probe));
        breaker.gave_up(s(5), Pass::Ordinary);
        assert_eq!(breaker.admit(s(5)), Err(WHILE_PROBING));
        breaker.gave_up(s(5), Pass::Probe);
        assert_eq!(breaker.admit(s(5)), Ok(Pass::Probe));
    }

    #[derive(Clone, Copy, Debug)]
    enum Step {
        Pass(u64),
        Ask,
        Succeed(usize),
        Fail(usize),
        GiveUp(usize),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            (0u64..40).prop_map(Step::Pass),
            Just(Step::Ask),
            Just(Step::Ask),
            any::<usize>().prop_map(Step::Succeed),
            any::<usize>().prop_map(Step::Fail),
            any::<usize>().prop_map(Step::Fail),
            any::<usize>().prop_map(Step::GiveUp),
        ]
    }

    proptest! {
        /// Against the sentence: after three failures in a row nobody asks for as long as was said, then one does.
        #[test]
        fn nobody_asks_a_resting_target_and_nobody_waits_for_ever(steps in prop::collection::vec(step(), 0..200)) {
            let mut breaker = Breaker::new(LIMITS);
            let (mut now, mut in_a_row, mut closed_until) = (s(0), 0u32, s(0));
            let mut asking: Vec<Pass> = Vec::new();
            for step in steps {
                match step {
                    Step::Pass(seconds) => now += s(seconds),
                    Step::Ask => match breaker.admit(now) {
                        Ok(pass) => {
                            prop_assert!(now >= closed_until);
                            prop_assert_eq!(pass == Pass::Probe, in_a_row >= LIMITS.failures);
                            asking.push(pass);
                        }
                        Err(wait) => {
                            prop_assert!(in_a_row >= LIMITS.failures, "not after so few failures");
                            prop_assert!(!wait.is_zero() && wait <= LIMITS.max_rest);
                            closed_until = closed_until.max(if wait == WHILE_PROBING { now } else { now + wait });
                        }
                    },
                    Step::Succeed(which) if !asking.is_empty() => {
                        asking.swap_remove(which % asking.len());
                        breaker.succeeded();
                        (in_a_row, closed_until) = (0, now);
                    }
                    Step::Fail(which) if !asking.is_empty() => {
                        let pass = asking.swap_remove(which % asking.len());
                        breaker.failed(now, pass);
                        in_a_row += 1;
                    }
                    Step::GiveUp(which) if !asking.is_empty() => {
                        let pass = asking.swap_remove(which % asking.len());
                        breaker.gave_up(now, pass);
                    }
                    _ => {}
                }
                prop_assert_eq!(breaker.failures(), in_a_row);
            }
            // Whatever happened: when all passes are back and the longest rest is over, somebody may ask.
            for pass in asking {
                breaker.gave_up(now, pass);
            }
            prop_assert!(breaker.admit(now + LIMITS.max_rest).is_ok());
        }
    }
}
