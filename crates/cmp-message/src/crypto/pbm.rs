use alloc::vec::Vec;

use zeroize::{Zeroize, Zeroizing};

use super::{Crypto, CryptoError, HashAlgorithm};

/// The base key of a password-based MAC: `owf` applied `iterations` times, first to `secret` followed by `salt`
/// (RFC 9810 §5.1.3.1). Its length is that of the hash.
///
/// The time taken grows with `iterations`: the caller limits it, on both ends of the range.
///
/// # Errors
/// [`CryptoError::InvalidParameter`] for zero iterations, and the provider's errors.
pub fn pbm_base_key(
    crypto: &dyn Crypto,
    owf: HashAlgorithm,
    secret: &[u8],
    salt: &[u8],
    iterations: u32,
) -> Result<Zeroizing<Vec<u8>>, CryptoError> {
    let again = iterations.checked_sub(1).ok_or(CryptoError::InvalidParameter)?;
    // The exact capacity: growing would leave a copy of the secret behind.
    let mut input = Zeroizing::new(Vec::with_capacity(secret.len().saturating_add(salt.len())));
    input.extend_from_slice(secret);
    input.extend_from_slice(salt);
    let mut key = Zeroizing::new(crypto.digest(owf, &input)?);
    for _ in 0..again {
        let mut next = crypto.digest(owf, key.as_bytes())?;
        *key = next;
        next.zeroize();
    }
    Ok(Zeroizing::new(key.as_bytes().to_vec()))
}
