use alloc::{vec, vec::Vec};
use core::fmt;

use aws_lc_rs::encoding::AsRawBytes;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING, ECDSA_P521_SHA512_ASN1_SIGNING,
    EcdsaKeyPair, EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair, ML_DSA_44_SIGNING, ML_DSA_65_SIGNING,
    ML_DSA_87_SIGNING, PqdsaKeyPair, PqdsaSigningAlgorithm,
};
use der::Tag;
use zeroize::Zeroizing;

use crate::crypto::private_key::{PrivateKey, Secret};
use crate::crypto::seeded::to_pkcs8;
use crate::crypto::{CryptoError, KeyAlgorithm, SignatureAlgorithm, SigningKey};

/// A key in memory, wiped when dropped by AWS-LC. Its signatures are randomised, but for those of Ed25519.
pub struct SoftKey {
    algorithm: KeyAlgorithm,
    pair: Pair,
    /// DER SubjectPublicKeyInfo.
    public_key: Vec<u8>,
}

impl SoftKey {
    /// A new key from AWS-LC's own source of randomness.
    ///
    /// # Errors
    /// [`CryptoError::SigningFailed`] if AWS-LC fails; [`CryptoError::UnsupportedKey`] for RSA.
    pub fn generate(algorithm: KeyAlgorithm) -> Result<Self, CryptoError> {
        let pair = match scheme(algorithm)? {
            Scheme::Ecdsa(scheme) => EcdsaKeyPair::generate(scheme).map(Pair::Ecdsa),
            Scheme::Ed25519 => Ed25519KeyPair::generate().map(Pair::Ed25519),
            Scheme::MlDsa(scheme) => PqdsaKeyPair::generate(scheme).map(Pair::MlDsa),
        };
        Self::new(algorithm, pair.map_err(|_| CryptoError::SigningFailed)?)
    }

    /// Reads an unencrypted key: DER of PKCS#8 (RFC 5958) or of SEC 1's ECPrivateKey (RFC 5915) that names its curve.
    /// An ML-DSA key is a seed, an expanded key or both (RFC 9881 §6).
    ///
    /// # Errors
    /// [`CryptoError::MalformedPrivateKey`], also if a public key or an expanded key that came along does not belong to
    /// it; [`CryptoError::UnsupportedKey`] for other curves and types.
    pub fn from_der(der: &[u8]) -> Result<Self, CryptoError> {
        let key = PrivateKey::from_der(der)?;
        let pair = match (scheme(key.algorithm)?, key.secret) {
            (Scheme::Ecdsa(scheme), _) => EcdsaKeyPair::from_private_key_der(scheme, der).map(Pair::Ecdsa),
            (Scheme::Ed25519, Secret::Seed(seed)) => {
                Ed25519KeyPair::from_seed_unchecked(seed).map(Pair::Ed25519)
            }
            (Scheme::MlDsa(scheme), Secret::Seed(seed) | Secret::Both { seed, .. }) => {
                PqdsaKeyPair::from_seed(scheme, seed).map(Pair::MlDsa)
            }
            (Scheme::MlDsa(scheme), Secret::Expanded(expanded)) => {
                PqdsaKeyPair::from_raw_private_key(scheme, expanded).map(Pair::MlDsa)
            }
            (Scheme::Ed25519, _) => return Err(CryptoError::MalformedPrivateKey),
        };
        let pair = pair.map_err(|_| CryptoError::MalformedPrivateKey)?;
        let belongs = match (&pair, key.secret) {
            (Pair::MlDsa(pair), Secret::Both { expanded, .. }) => {
                let derived = pair.private_key().as_raw_bytes();
                derived.is_ok_and(|derived| derived.as_ref() == expanded)
            }
            _ => true,
        };
        match key.public_key {
            Some(claimed) if claimed != pair.public_key() => Err(CryptoError::MalformedPrivateKey),
            _ if !belongs => Err(CryptoError::MalformedPrivateKey),
            _ => Self::new(key.algorithm, pair),
        }
    }

    /// The key as unencrypted PKCS#8 DER: an EC key with its public key, an ML-DSA key as its seed if it has one.
    ///
    /// # Errors
    /// [`CryptoError::SigningFailed`] if it cannot be encoded.
    pub fn to_pkcs8(&self) -> Result<Zeroizing<Vec<u8>>, CryptoError> {
        let document = match &self.pair {
            Pair::Ecdsa(pair) => pair.to_pkcs8v1(),
            // With the public key, many readers do not take it.
            Pair::Ed25519(pair) => pair.to_pkcs8v1(),
            Pair::MlDsa(pair) => match pair.to_pkcs8v1() {
                Ok(seed) => Ok(seed),
                Err(_) => {
                    let expanded = pair.private_key().as_raw_bytes();
                    let expanded = expanded.map_err(|_| CryptoError::SigningFailed)?;
                    return to_pkcs8(self.algorithm, Tag::OctetString, expanded.as_ref());
                }
            },
        };
        let document = document.map_err(|_| CryptoError::SigningFailed)?;
        Ok(Zeroizing::new(document.as_ref().to_vec()))
    }

    /// The type of the key.
    #[must_use]
    pub fn key_algorithm(&self) -> KeyAlgorithm {
        self.algorithm
    }

    pub(super) fn into_public_key(self) -> Vec<u8> {
        self.public_key
    }

    fn new(algorithm: KeyAlgorithm, pair: Pair) -> Result<Self, CryptoError> {
        Ok(Self {
            algorithm,
            public_key: algorithm.subject_public_key_info(pair.public_key())?,
            pair,
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
        match &self.pair {
            Pair::Ecdsa(pair) => pair
                .sign(&SystemRandom::new(), message)
                .map(|signature| signature.as_ref().to_vec()),
            Pair::Ed25519(pair) => pair
                .try_sign(message)
                .map(|signature| signature.as_ref().to_vec()),
            Pair::MlDsa(pair) => {
                let mut signature = vec![0; pair.algorithm().signature_len()];
                pair.sign(message, &mut signature).map(|len| {
                    signature.truncate(len);
                    signature
                })
            }
        }
        .map_err(|_| CryptoError::SigningFailed)
    }
}

impl fmt::Debug for SoftKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SoftKey")
            .field("algorithm", &self.algorithm)
            .finish_non_exhaustive()
    }
}

enum Pair {
    Ecdsa(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
    MlDsa(PqdsaKeyPair),
}

impl Pair {
    /// The content of the SubjectPublicKeyInfo's BIT STRING.
    fn public_key(&self) -> &[u8] {
        match self {
            Self::Ecdsa(pair) => pair.public_key().as_ref(),
            Self::Ed25519(pair) => pair.public_key().as_ref(),
            Self::MlDsa(pair) => pair.public_key().as_ref(),
        }
    }
}

/// How AWS-LC names the types of keys.
enum Scheme {
    Ecdsa(&'static EcdsaSigningAlgorithm),
    Ed25519,
    MlDsa(&'static PqdsaSigningAlgorithm),
}

fn scheme(algorithm: KeyAlgorithm) -> Result<Scheme, CryptoError> {
    Ok(match algorithm {
        KeyAlgorithm::P256 => Scheme::Ecdsa(&ECDSA_P256_SHA256_ASN1_SIGNING),
        KeyAlgorithm::P384 => Scheme::Ecdsa(&ECDSA_P384_SHA384_ASN1_SIGNING),
        KeyAlgorithm::P521 => Scheme::Ecdsa(&ECDSA_P521_SHA512_ASN1_SIGNING),
        KeyAlgorithm::Ed25519 => Scheme::Ed25519,
        KeyAlgorithm::MlDsa44 => Scheme::MlDsa(&ML_DSA_44_SIGNING),
        KeyAlgorithm::MlDsa65 => Scheme::MlDsa(&ML_DSA_65_SIGNING),
        KeyAlgorithm::MlDsa87 => Scheme::MlDsa(&ML_DSA_87_SIGNING),
        KeyAlgorithm::Rsa => return Err(CryptoError::UnsupportedKey),
    })
}
