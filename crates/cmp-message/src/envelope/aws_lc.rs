//! Delivering by aws-lc-rs, and recipient keys.

use alloc::vec::Vec;
use core::fmt;

use aws_lc_rs::agreement::{self, ECDH_P256, ECDH_P384, ECDH_P521, UnparsedPublicKey};
use aws_lc_rs::rand;
use aws_lc_rs::rsa::{
    OAEP_SHA1_MGF1SHA1, OAEP_SHA256_MGF1SHA256, OAEP_SHA384_MGF1SHA384, OAEP_SHA512_MGF1SHA512,
    OaepAlgorithm, OaepPrivateDecryptingKey, OaepPublicEncryptingKey, Pkcs1PrivateDecryptingKey,
    PrivateDecryptingKey, PublicEncryptingKey,
};
use zeroize::Zeroizing;

use super::{KeyTransport, RecipientKey, SealCrypto};
use crate::crypto::aws_lc::SoftKey;
use crate::crypto::{AwsLc, CryptoError, HashAlgorithm, KeyAlgorithm, PrivateKey, PublicKey};

impl SealCrypto for AwsLc {
    fn random(&self, out: &mut [u8]) -> Result<(), CryptoError> {
        rand::fill(out).map_err(|_| CryptoError::RandomFailed)
    }

    fn agree_ephemeral(&self, public_key: &[u8]) -> Result<(Vec<u8>, Zeroizing<Vec<u8>>), CryptoError> {
        let other = PublicKey::from_spki(public_key)?;
        let own = agreement::PrivateKey::generate(ecdh(other.algorithm)?);
        let own = own.map_err(|_| CryptoError::RandomFailed)?;
        let point = own.compute_public_key().map_err(|_| CryptoError::RandomFailed)?;
        Ok((point.as_ref().to_vec(), agree(&own, &other)?))
    }

    fn encrypt(
        &self,
        algorithm: KeyTransport,
        public_key: &[u8],
        key: &[u8],
    ) -> Result<Vec<u8>, CryptoError> {
        let KeyTransport::RsaesOaep(hash) = algorithm else {
            return Err(CryptoError::UnsupportedAlgorithm);
        };
        let malformed = |_| CryptoError::MalformedPublicKey;
        let public_key =
            PublicEncryptingKey::from_der(public_key).map_err(|_| CryptoError::MalformedPublicKey)?;
        let public_key = OaepPublicEncryptingKey::new(public_key).map_err(malformed)?;
        let mut out = alloc::vec![0; public_key.ciphertext_size()];
        let written = public_key.encrypt(oaep(hash), key, &mut out, None);
        let len = written.map_err(|_| CryptoError::UnsupportedKey)?.len();
        out.truncate(len);
        Ok(out)
    }
}

impl RecipientKey for SoftKey {
    fn agree(&self, public_key: &[u8]) -> Result<Zeroizing<Vec<u8>>, CryptoError> {
        let pkcs8 = self.to_pkcs8()?;
        let own = PrivateKey::from_der(&pkcs8)?.algorithm;
        let other = PublicKey::from_spki(public_key)?;
        if other.algorithm != own {
            return Err(CryptoError::UnsupportedKey);
        }
        let own = agreement::PrivateKey::from_private_key_der(ecdh(own)?, &pkcs8);
        agree(&own.map_err(|_| CryptoError::MalformedPrivateKey)?, &other)
    }

    fn decrypt(&self, _: KeyTransport, _: &[u8]) -> Result<Zeroizing<Vec<u8>>, CryptoError> {
        Err(CryptoError::UnsupportedKey)
    }
}

/// An RSA key in memory that decrypts what was encrypted for its certificate. Wiped when dropped by AWS-LC.
pub struct RsaRecipientKey(PrivateDecryptingKey);

impl RsaRecipientKey {
    /// Reads unencrypted PKCS#8 DER; 2048 to 8192 bits.
    ///
    /// # Errors
    /// [`CryptoError::MalformedPrivateKey`], also for other types and lengths.
    pub fn from_pkcs8(der: &[u8]) -> Result<Self, CryptoError> {
        let key = PrivateDecryptingKey::from_pkcs8(der);
        key.map(Self).map_err(|_| CryptoError::MalformedPrivateKey)
    }
}

impl RecipientKey for RsaRecipientKey {
    fn agree(&self, _: &[u8]) -> Result<Zeroizing<Vec<u8>>, CryptoError> {
        Err(CryptoError::UnsupportedKey)
    }

    fn decrypt(
        &self,
        algorithm: KeyTransport,
        encrypted_key: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, CryptoError> {
        let failed = |_| CryptoError::DecryptionFailed;
        let mut out = Zeroizing::new(alloc::vec![0; self.0.key_size_bytes()]);
        let len = match algorithm {
            KeyTransport::RsaesOaep(hash) => OaepPrivateDecryptingKey::new(self.0.clone()).and_then(|key| {
                key.decrypt(oaep(hash), encrypted_key, &mut out, None)
                    .map(|key| key.len())
            }),
            KeyTransport::RsaesPkcs1V15 => Pkcs1PrivateDecryptingKey::new(self.0.clone())
                .and_then(|key| key.decrypt(encrypted_key, &mut out).map(|key| key.len())),
        };
        out.truncate(len.map_err(failed)?);
        Ok(out)
    }
}

impl fmt::Debug for RsaRecipientKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RsaRecipientKey({} bits)", self.0.key_size_bits())
    }
}

fn agree(own: &agreement::PrivateKey, other: &PublicKey<'_>) -> Result<Zeroizing<Vec<u8>>, CryptoError> {
    let other = UnparsedPublicKey::new(ecdh(other.algorithm)?, other.bytes);
    agreement::agree(own, other, CryptoError::MalformedPublicKey, |shared| {
        Ok(Zeroizing::new(shared.to_vec()))
    })
}

fn ecdh(algorithm: KeyAlgorithm) -> Result<&'static agreement::Algorithm, CryptoError> {
    match algorithm {
        KeyAlgorithm::P256 => Ok(&ECDH_P256),
        KeyAlgorithm::P384 => Ok(&ECDH_P384),
        KeyAlgorithm::P521 => Ok(&ECDH_P521),
        _ => Err(CryptoError::UnsupportedKey),
    }
}

fn oaep(hash: HashAlgorithm) -> &'static OaepAlgorithm {
    match hash {
        HashAlgorithm::Sha1 => &OAEP_SHA1_MGF1SHA1,
        HashAlgorithm::Sha256 => &OAEP_SHA256_MGF1SHA256,
        HashAlgorithm::Sha384 => &OAEP_SHA384_MGF1SHA384,
        HashAlgorithm::Sha512 => &OAEP_SHA512_MGF1SHA512,
    }
}
