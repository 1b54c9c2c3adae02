//! Nonces from the caller's randomness.

use cmp_message::crypto::{Crypto, CryptoError, HashAlgorithm};

/// Gives 128-bit values: HMAC-SHA-256 of a counter under 32 random bytes that are used for nothing else.
pub(crate) struct Seed {
    seed: [u8; 32],
    counter: u32,
}

impl Seed {
    pub(crate) fn new(seed: [u8; 32]) -> Self {
        Self { seed, counter: 0 }
    }

    /// The next value, as long as a nonce, a transactionID or a salt.
    pub(crate) fn next(&mut self, crypto: &dyn Crypto) -> Result<[u8; 16], CryptoError> {
        let value = crypto.hmac(HashAlgorithm::Sha256, &self.seed, &self.counter.to_be_bytes())?;
        self.counter = self.counter.wrapping_add(1);
        value
            .as_bytes()
            .first_chunk()
            .copied()
            .ok_or(CryptoError::InvalidParameter)
    }
}
