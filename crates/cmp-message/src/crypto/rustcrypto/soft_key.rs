use alloc::vec::Vec;
use core::fmt;

use p256::ecdsa::signature::hazmat::PrehashSigner;
use p256::elliptic_curve::Generate;
use pkcs8::EncodePrivateKey;
use rand_core::TryCryptoRng;
use zeroize::Zeroizing;

#[cfg(feature = "ml-dsa")]
use super::ml_dsa::MlDsaKey;
use super::{CryptoError, KeyAlgorithm, SignatureAlgorithm, SigningKey};
use crate::crypto::private_key::{PrivateKey, Secret};
#[cfg(feature = "ed25519")]
use crate::crypto::seeded::to_pkcs8;

/// A key in memory, wiped when dropped. Its signatures are deterministic (RFC 6979, RFC 8032, FIPS 204 §3.4).
#[derive(Clone)]
pub struct SoftKey {
    algorithm: KeyAlgorithm,
    private: Private,
    /// DER SubjectPublicKeyInfo.
    public_key: Vec<u8>,
}

impl SoftKey {
    /// A new key from the caller's source of randomness.
    ///
    /// # Errors
    /// [`CryptoError::SigningFailed`] if that source fails; [`CryptoError::UnsupportedKey`] for RSA and for types
    /// whose feature is off.
    pub fn generate<R: TryCryptoRng + ?Sized>(
        algorithm: KeyAlgorithm,
        rng: &mut R,
    ) -> Result<Self, CryptoError> {
        let private = Private::generate(algorithm, rng)?;
        let public_key = private.public_key();
        Self::new(algorithm, private, &public_key)
    }

    /// Reads an unencrypted key: DER of PKCS#8 (RFC 5958) or of SEC 1's ECPrivateKey (RFC 5915) that names its curve.
    /// An ML-DSA key is a seed, an expanded key or both (RFC 9881 §6); an expanded key without a seed is taken if a
    /// signature of it verifies.
    ///
    /// # Errors
    /// [`CryptoError::MalformedPrivateKey`], also if a public key or an expanded key that came along does not belong to
    /// it; [`CryptoError::UnsupportedKey`] for other curves and types, and for those whose feature is off.
    pub fn from_der(der: &[u8]) -> Result<Self, CryptoError> {
        let key = PrivateKey::from_der(der)?;
        let private = Private::new(key.algorithm, &key.secret)?;
        let public_key = private.public_key();
        match key.public_key {
            Some(claimed) if claimed != public_key => Err(CryptoError::MalformedPrivateKey),
            _ => Self::new(key.algorithm, private, &public_key),
        }
    }

    /// The key as unencrypted PKCS#8 DER: an EC key with its public key, an ML-DSA key as its seed if it has one.
    ///
    /// # Errors
    /// [`CryptoError::SigningFailed`] if it cannot be encoded.
    pub fn to_pkcs8(&self) -> Result<Zeroizing<Vec<u8>>, CryptoError> {
        let document = match &self.private {
            Private::P256(key) => key.to_pkcs8_der(),
            Private::P384(key) => key.to_pkcs8_der(),
            #[cfg(feature = "p521")]
            Private::P521(key) => key.to_pkcs8_der(),
            #[cfg(feature = "ed25519")]
            Private::Ed25519(key) => {
                return to_pkcs8(self.algorithm, der::Tag::OctetString, key.as_bytes());
            }
            #[cfg(feature = "ml-dsa")]
            Private::MlDsa44(key) => return key.to_pkcs8(self.algorithm),
            #[cfg(feature = "ml-dsa")]
            Private::MlDsa65(key) => return key.to_pkcs8(self.algorithm),
            #[cfg(feature = "ml-dsa")]
            Private::MlDsa87(key) => return key.to_pkcs8(self.algorithm),
        };
        Ok(document.map_err(|_| CryptoError::SigningFailed)?.to_bytes())
    }

    /// The type of the key.
    #[must_use]
    pub fn key_algorithm(&self) -> KeyAlgorithm {
        self.algorithm
    }

    pub(super) fn into_public_key(self) -> Vec<u8> {
        self.public_key
    }

    fn new(algorithm: KeyAlgorithm, private: Private, public_key: &[u8]) -> Result<Self, CryptoError> {
        Ok(Self {
            algorithm,
            private,
            public_key: algorithm.subject_public_key_info(public_key)?,
        })
    }
}

impl SigningKey for SoftKey {
    fn algorithm(&self) -> SignatureAlgorithm {
        self.algorithm.signature_algorithm()
    }

    fn public_key(&self) -> &[u8] {
        &self.public_key
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, CryptoError> {
        let prehash = || super::prehash(self.algorithm(), message);
        let signature = match &self.private {
            Private::P256(key) => key
                .sign_prehash(prehash()?.as_bytes())
                .map(|s: p256::ecdsa::DerSignature| s.as_bytes().to_vec()),
            Private::P384(key) => key
                .sign_prehash(prehash()?.as_bytes())
                .map(|s: p384::ecdsa::DerSignature| s.as_bytes().to_vec()),
            #[cfg(feature = "p521")]
            Private::P521(key) => key
                .sign_prehash(prehash()?.as_bytes())
                .map(|s: p521::ecdsa::DerSignature| s.as_bytes().to_vec()),
            #[cfg(feature = "ed25519")]
            Private::Ed25519(key) => Ok(ed25519_dalek::Signer::sign(key, message).to_bytes().to_vec()),
            #[cfg(feature = "ml-dsa")]
            Private::MlDsa44(key) => return key.sign(message),
            #[cfg(feature = "ml-dsa")]
            Private::MlDsa65(key) => return key.sign(message),
            #[cfg(feature = "ml-dsa")]
            Private::MlDsa87(key) => return key.sign(message),
        };
        signature.map_err(|_| CryptoError::SigningFailed)
    }
}

impl fmt::Debug for SoftKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SoftKey")
            .field("algorithm", &self.algorithm)
            .finish_non_exhaustive()
    }
}

#[derive(Clone)]
enum Private {
    P256(p256::ecdsa::SigningKey),
    P384(p384::ecdsa::SigningKey),
    #[cfg(feature = "p521")]
    P521(p521::ecdsa::SigningKey),
    #[cfg(feature = "ed25519")]
    Ed25519(ed25519_dalek::SigningKey),
    #[cfg(feature = "ml-dsa")]
    MlDsa44(MlDsaKey<ml_dsa::MlDsa44>),
    #[cfg(feature = "ml-dsa")]
    MlDsa65(MlDsaKey<ml_dsa::MlDsa65>),
    #[cfg(feature = "ml-dsa")]
    MlDsa87(MlDsaKey<ml_dsa::MlDsa87>),
}

impl Private {
    fn generate<R: TryCryptoRng + ?Sized>(algorithm: KeyAlgorithm, rng: &mut R) -> Result<Self, CryptoError> {
        match algorithm {
            KeyAlgorithm::P256 => p256::ecdsa::SigningKey::try_generate_from_rng(rng).map(Self::P256),
            KeyAlgorithm::P384 => p384::ecdsa::SigningKey::try_generate_from_rng(rng).map(Self::P384),
            #[cfg(feature = "p521")]
            KeyAlgorithm::P521 => p521::ecdsa::SigningKey::try_generate_from_rng(rng).map(Self::P521),
            _ => {
                let mut seed = Zeroizing::new([0; 32]);
                return match rng.try_fill_bytes(&mut *seed) {
                    Ok(()) => Self::new(algorithm, &Secret::Seed(&*seed)),
                    Err(_) => Err(CryptoError::SigningFailed),
                };
            }
        }
        .map_err(|_| CryptoError::SigningFailed)
    }

    fn new(algorithm: KeyAlgorithm, secret: &Secret<'_>) -> Result<Self, CryptoError> {
        match (algorithm, secret) {
            (KeyAlgorithm::P256, Secret::Seed(scalar)) => {
                p256::ecdsa::SigningKey::from_slice(scalar).map(Self::P256)
            }
            (KeyAlgorithm::P384, Secret::Seed(scalar)) => {
                p384::ecdsa::SigningKey::from_slice(scalar).map(Self::P384)
            }
            #[cfg(feature = "p521")]
            (KeyAlgorithm::P521, Secret::Seed(scalar)) => {
                p521::ecdsa::SigningKey::from_slice(scalar).map(Self::P521)
            }
            #[cfg(feature = "ed25519")]
            (KeyAlgorithm::Ed25519, Secret::Seed(seed)) => {
                ed25519_dalek::SigningKey::try_from(*seed).map(Self::Ed25519)
            }
            #[cfg(feature = "ml-dsa")]
            (KeyAlgorithm::MlDsa44, secret) => return MlDsaKey::new(algorithm, secret).map(Self::MlDsa44),
            #[cfg(feature = "ml-dsa")]
            (KeyAlgorithm::MlDsa65, secret) => return MlDsaKey::new(algorithm, secret).map(Self::MlDsa65),
            #[cfg(feature = "ml-dsa")]
            (KeyAlgorithm::MlDsa87, secret) => return MlDsaKey::new(algorithm, secret).map(Self::MlDsa87),
            _ => return Err(CryptoError::UnsupportedKey),
        }
        .map_err(|_| CryptoError::MalformedPrivateKey)
    }

    /// The content of the SubjectPublicKeyInfo's BIT STRING.
    fn public_key(&self) -> Vec<u8> {
        match self {
            Self::P256(key) => key.verifying_key().to_sec1_point(false).as_bytes().to_vec(),
            Self::P384(key) => key.verifying_key().to_sec1_point(false).as_bytes().to_vec(),
            #[cfg(feature = "p521")]
            Self::P521(key) => key.verifying_key().to_sec1_point(false).as_bytes().to_vec(),
            #[cfg(feature = "ed25519")]
            Self::Ed25519(key) => key.verifying_key().as_bytes().to_vec(),
            #[cfg(feature = "ml-dsa")]
            Self::MlDsa44(key) => key.public_key(),
            #[cfg(feature = "ml-dsa")]
            Self::MlDsa65(key) => key.public_key(),
            #[cfg(feature = "ml-dsa")]
            Self::MlDsa87(key) => key.public_key(),
        }
    }
}
