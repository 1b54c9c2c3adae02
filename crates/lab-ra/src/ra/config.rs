use cmp_message::mac::Secret;
use std::collections::HashMap;

/// What an RA does where the profile leaves it a choice.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RaConfig {
    /// What becomes of a wish for implicit confirmation.
    pub implicit_confirm: ImplicitConfirm,
    /// Each certificate is delayed, so that clients have to poll.
    pub poll_after: Option<PollAfter>,
    /// How long a certConf is waited for.
    pub confirm_wait_s: u64,
    /// How long an issued certificate is valid.
    pub certificate_lifetime_s: u64,
    /// Shared secrets by their reference, the senderKID.
    pub secrets: HashMap<Vec<u8>, Secret>,
    /// How far messageTime may be off; `None`: not looked at, for stations boot without a clock.
    pub max_clock_skew_s: Option<u64>,
    /// Transactions that are remembered at most. Beyond it the oldest closed ones are forgotten; if all are open,
    /// requests are refused with systemUnavail.
    pub max_transactions: usize,
}

impl Default for RaConfig {
    /// Implicit confirmation granted, nothing delayed, 300 s for a certConf, a year of validity, no secrets.
    fn default() -> Self {
        Self {
            implicit_confirm: ImplicitConfirm::Grant,
            poll_after: None,
            confirm_wait_s: 300,
            certificate_lifetime_s: 365 * 86_400,
            secrets: HashMap::new(),
            max_clock_skew_s: None,
            max_transactions: 10_000,
        }
    }
}

/// What becomes of a wish for implicit confirmation (RFC 9810 §5.1.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImplicitConfirm {
    /// It is granted.
    Grant,
    /// It is passed over: a certConf is expected.
    Ignore,
}

/// A delay: `waiting`, then this many pollReps, then the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PollAfter {
    /// pollReqs that are answered with pollRep.
    pub polls: u32,
    /// checkAfter in each of them.
    pub check_after_s: u32,
}
