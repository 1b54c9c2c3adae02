//! Message ids of own calls.

use alloc::string::String;

/// The length in bytes of the message ids of own calls, which need no escapes: with it the size of a frame is known
/// before the call is made.
pub const OWN_ID_LEN: usize = 16;

/// The message id of the call number `count` of a connection with this random seed: [`OWN_ID_LEN`] characters of
/// base64url.
pub(crate) fn own_id(seed: u64, count: u64) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let letter = |bits: u64| LETTERS.get((bits & 63) as usize).copied().map_or('A', char::from);
    let seed = (0..11).map(|at| letter(seed >> (6 * at)));
    let count = (0..5).map(|at| letter(count >> (6 * at)));
    seed.chain(count).collect()
}
