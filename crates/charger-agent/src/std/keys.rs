//! Private keys in software.

use std::{collections::BTreeMap, vec::Vec};

use cmp_client::KeyId;
use cmp_message::crypto::{CryptoError, KeyAlgorithm, SigningKey, rustcrypto::SoftKey};
#[cfg(feature = "envelope")]
use cmp_message::{envelope::RecipientKey, mac::Secret};
use zeroize::Zeroizing;

/// Private keys in memory, by [`KeyId`].
#[derive(Default)]
pub struct SoftKeys {
    keys: BTreeMap<u32, SoftKey>,
}

impl SoftKeys {
    /// Takes a key in PKCS #8 or SEC 1 DER.
    ///
    /// # Errors
    /// [`CryptoError::MalformedPrivateKey`] or [`CryptoError::UnsupportedKey`].
    pub fn import(&mut self, der: &[u8]) -> Result<KeyId, CryptoError> {
        Ok(self.insert(SoftKey::from_der(der)?))
    }

    /// Makes a key, and gives its PKCS #8 DER, so that it can be kept.
    ///
    /// # Errors
    /// [`CryptoError::SigningFailed`] where the system has no randomness; [`CryptoError::UnsupportedKey`] for RSA.
    pub fn generate(&mut self, algorithm: KeyAlgorithm) -> Result<(KeyId, Zeroizing<Vec<u8>>), CryptoError> {
        let key = SoftKey::generate(algorithm, &mut getrandom::SysRng)?;
        let pkcs8 = key.to_pkcs8()?;
        Ok((self.insert(key), pkcs8))
    }

    /// The key of this name.
    pub fn key(&self, id: KeyId) -> Option<&SoftKey> {
        self.keys.get(&id.0)
    }

    /// Signs `input`.
    ///
    /// # Errors
    /// [`CryptoError::SigningFailed`] where there is no such key.
    pub fn sign(&self, id: KeyId, input: &[u8]) -> Result<Vec<u8>, CryptoError> {
        self.key(id).ok_or(CryptoError::SigningFailed)?.sign(input)
    }

    /// Agrees on a secret with the holder of `public_key`, DER of SubjectPublicKeyInfo.
    ///
    /// # Errors
    /// [`CryptoError::DecryptionFailed`] where there is no such key, and those of [`RecipientKey::agree`].
    #[cfg(feature = "envelope")]
    pub fn agree(&self, id: KeyId, public_key: &[u8]) -> Result<Secret, CryptoError> {
        let shared = self
            .key(id)
            .ok_or(CryptoError::DecryptionFailed)?
            .agree(public_key)?;
        Ok(Secret::new(shared.to_vec()))
    }

    fn insert(&mut self, key: SoftKey) -> KeyId {
        let id = self.keys.keys().next_back().map_or(0, |last| last + 1);
        self.keys.insert(id, key);
        KeyId(id)
    }
}

impl core::fmt::Debug for SoftKeys {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "SoftKeys({})", self.keys.len())
    }
}
