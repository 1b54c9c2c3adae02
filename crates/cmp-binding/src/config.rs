//! Numbers that both roles share.

use core::time::Duration;

/// The version of the binding that this crate speaks.
pub const VERSION: u32 = 1;
/// The unit, in bytes of a whole OCPP-J frame, of a peer that has not said otherwise on this connection.
pub const DEFAULT_UNIT: usize = 3_500;
/// The smallest unit, in bytes; a peer that says less is taken to have said this.
pub const MIN_UNIT: usize = 512;
/// The largest CMP message, in bytes, that a side takes unless configured otherwise.
pub const DEFAULT_MAX: usize = 65_536;

const SHORTEST_HINT: Duration = Duration::from_secs(1);
const LONGEST_HINT: Duration = Duration::from_secs(3_600);

/// A `wait` or `retry` of the peer, held to what is reasonable: 1 s to 1 h.
pub(crate) fn clamp_hint(hint: Duration) -> Duration {
    hint.clamp(SHORTEST_HINT, LONGEST_HINT)
}

/// 1 s, doubled for each of `tries` before, at most `cap`.
pub(crate) fn backoff(tries: u32, cap: Duration) -> Duration {
    Duration::from_secs(1 << tries.min(12)).min(cap)
}

/// Whole seconds for the wire, rounded up, at least 1.
pub(crate) fn seconds(duration: Duration) -> u64 {
    let up = u64::from(duration.subsec_nanos() > 0);
    duration.as_secs().saturating_add(up).max(1)
}
