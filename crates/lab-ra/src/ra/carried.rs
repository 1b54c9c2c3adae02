//! Messages that came as files: each is answered once, however often the answer has to be written (RFC 9483 §6.4).

use cmp_message::crypto::{AwsLc, Crypto, HashAlgorithm};

use super::Ra;
use crate::{Endpoint, PkiError};

impl Ra {
    /// Answers a message like [`handle`](Self::handle), but the same one again with the same answer until it is
    /// [forgotten](Self::forget_carried).
    ///
    /// # Errors
    /// If the RA itself fails: then nothing has happened.
    pub fn answer_carried(&mut self, now_s: u64, message: &[u8]) -> Result<Vec<u8>, PkiError> {
        let digest = AwsLc.digest(HashAlgorithm::Sha256, message)?;
        self.in_transaction(|ra| {
            if let Some(answer) = ra.store.carried_answer(digest.as_bytes())? {
                return Ok(answer);
            }
            ra.follow_hierarchy()?;
            ra.expire(now_s)?;
            let answer = ra.answer(now_s, &Endpoint::default(), message)?;
            ra.store.keep_carried_answer(digest.as_bytes(), &answer)?;
            Ok(answer)
        })
    }

    /// The message is gone and will not come again.
    ///
    /// # Errors
    /// If the store fails.
    pub fn forget_carried(&mut self, message: &[u8]) -> Result<(), PkiError> {
        let digest = AwsLc.digest(HashAlgorithm::Sha256, message)?;
        Ok(self.store.forget_carried_answer(digest.as_bytes())?)
    }
}
