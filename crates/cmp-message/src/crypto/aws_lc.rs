//! The provider by aws-lc-rs.

use alloc::vec::Vec;
use core::fmt;
use core::num::NonZeroU32;

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P256_SHA384_ASN1, ECDSA_P256_SHA512_ASN1,
    ECDSA_P384_SHA256_ASN1, ECDSA_P384_SHA384_ASN1, ECDSA_P384_SHA384_ASN1_SIGNING, ECDSA_P384_SHA512_ASN1,
    EcdsaKeyPair, EcdsaSigningAlgorithm, EcdsaVerificationAlgorithm, KeyPair, ParsedPublicKey,
};
use aws_lc_rs::{digest, hmac, pbkdf2};
use zeroize::Zeroizing;

use super::ec::{EcPrivateKey, public_point};
use super::{Crypto, CryptoError, Digest, EcCurve, HashAlgorithm, SignatureAlgorithm, SigningKey};

/// The provider by aws-lc-rs, for servers: P-256 and P-384, several times faster than pure Rust.
#[derive(Clone, Copy, Debug, Default)]
pub struct AwsLc;

impl Crypto for AwsLc {
    fn digest(&self, alg: HashAlgorithm, data: &[u8]) -> Result<Digest, CryptoError> {
        let alg = match alg {
            HashAlgorithm::Sha1 => &digest::SHA1_FOR_LEGACY_USE_ONLY,
            HashAlgorithm::Sha256 => &digest::SHA256,
            HashAlgorithm::Sha384 => &digest::SHA384,
            HashAlgorithm::Sha512 => &digest::SHA512,
        };
        finished(digest::digest(alg, data).as_ref())
    }

    fn hmac(&self, alg: HashAlgorithm, key: &[u8], data: &[u8]) -> Result<Digest, CryptoError> {
        let alg = match alg {
            HashAlgorithm::Sha1 => hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
            HashAlgorithm::Sha256 => hmac::HMAC_SHA256,
            HashAlgorithm::Sha384 => hmac::HMAC_SHA384,
            HashAlgorithm::Sha512 => hmac::HMAC_SHA512,
        };
        finished(hmac::sign(&hmac::Key::new(alg, key), data).as_ref())
    }

    fn pbkdf2(
        &self,
        prf: HashAlgorithm,
        password: &[u8],
        salt: &[u8],
        iterations: u32,
        out: &mut [u8],
    ) -> Result<(), CryptoError> {
        let iterations = NonZeroU32::new(iterations).ok_or(CryptoError::InvalidParameter)?;
        if out.is_empty() {
            return Err(CryptoError::InvalidParameter);
        }
        let alg = match prf {
            HashAlgorithm::Sha1 => pbkdf2::PBKDF2_HMAC_SHA1,
            HashAlgorithm::Sha256 => pbkdf2::PBKDF2_HMAC_SHA256,
            HashAlgorithm::Sha384 => pbkdf2::PBKDF2_HMAC_SHA384,
            HashAlgorithm::Sha512 => pbkdf2::PBKDF2_HMAC_SHA512,
        };
        pbkdf2::derive(alg, iterations, salt, password, out);
        Ok(())
    }

    fn verify(
        &self,
        alg: SignatureAlgorithm,
        public_key: &[u8],
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), CryptoError> {
        let (curve, point) = public_point(public_key)?;
        ParsedPublicKey::new(verification_algorithm(curve, alg), point)
            .map_err(|_| CryptoError::MalformedPublicKey)?
            .verify_sig(message, signature)
            .map_err(|_| CryptoError::BadSignature)
    }

    fn public_key_of(&self, private_key: &[u8]) -> Result<Vec<u8>, CryptoError> {
        SoftKey::from_der(private_key).map(|key| key.public_key)
    }
}

/// An ECDSA key in memory, wiped when dropped by AWS-LC.
pub struct SoftKey {
    curve: EcCurve,
    pair: EcdsaKeyPair,
    /// DER SubjectPublicKeyInfo.
    public_key: Vec<u8>,
}

impl SoftKey {
    /// A new key from AWS-LC's own source of randomness.
    ///
    /// # Errors
    /// [`CryptoError::SigningFailed`] if AWS-LC fails.
    pub fn generate(curve: EcCurve) -> Result<Self, CryptoError> {
        let pair =
            EcdsaKeyPair::generate(signing_algorithm(curve)).map_err(|_| CryptoError::SigningFailed)?;
        Self::new(curve, pair)
    }

    /// Reads an unencrypted key: DER of PKCS#8 (RFC 5958) or of SEC 1's ECPrivateKey (RFC 5915) that names its curve.
    ///
    /// # Errors
    /// [`CryptoError::MalformedPrivateKey`], also if a public key that came along does not belong to it;
    /// [`CryptoError::UnsupportedKey`] for other curves and types.
    pub fn from_der(der: &[u8]) -> Result<Self, CryptoError> {
        let key = EcPrivateKey::from_der(der)?;
        let pair = EcdsaKeyPair::from_private_key_der(signing_algorithm(key.curve), der)
            .map_err(|_| CryptoError::MalformedPrivateKey)?;
        match key.public_point {
            Some(claimed) if claimed != pair.public_key().as_ref() => Err(CryptoError::MalformedPrivateKey),
            _ => Self::new(key.curve, pair),
        }
    }

    /// The key as unencrypted PKCS#8 DER, with its public key.
    ///
    /// # Errors
    /// [`CryptoError::SigningFailed`] if it cannot be encoded.
    pub fn to_pkcs8(&self) -> Result<Zeroizing<Vec<u8>>, CryptoError> {
        let document = self.pair.to_pkcs8v1().map_err(|_| CryptoError::SigningFailed)?;
        Ok(Zeroizing::new(document.as_ref().to_vec()))
    }

    /// The curve of the key.
    #[must_use]
    pub fn curve(&self) -> EcCurve {
        self.curve
    }

    fn new(curve: EcCurve, pair: EcdsaKeyPair) -> Result<Self, CryptoError> {
        let public_key = pair
            .public_key()
            .as_der()
            .map_err(|_| CryptoError::SigningFailed)?
            .as_ref()
            .to_vec();
        Ok(Self {
            curve,
            pair,
            public_key,
        })
    }
}

impl SigningKey for SoftKey {
    fn algorithm(&self) -> SignatureAlgorithm {
        self.curve.signature_algorithm()
    }

    fn public_key(&self) -> &[u8] {
        &self.public_key
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, CryptoError> {
        let signature = self.pair.sign(&SystemRandom::new(), message);
        Ok(signature
            .map_err(|_| CryptoError::SigningFailed)?
            .as_ref()
            .to_vec())
    }
}

impl fmt::Debug for SoftKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SoftKey")
            .field("curve", &self.curve)
            .finish_non_exhaustive()
    }
}

fn verification_algorithm(curve: EcCurve, alg: SignatureAlgorithm) -> &'static EcdsaVerificationAlgorithm {
    match (curve, alg) {
        (EcCurve::P256, SignatureAlgorithm::EcdsaSha256) => &ECDSA_P256_SHA256_ASN1,
        (EcCurve::P256, SignatureAlgorithm::EcdsaSha384) => &ECDSA_P256_SHA384_ASN1,
        (EcCurve::P256, SignatureAlgorithm::EcdsaSha512) => &ECDSA_P256_SHA512_ASN1,
        (EcCurve::P384, SignatureAlgorithm::EcdsaSha256) => &ECDSA_P384_SHA256_ASN1,
        (EcCurve::P384, SignatureAlgorithm::EcdsaSha384) => &ECDSA_P384_SHA384_ASN1,
        (EcCurve::P384, SignatureAlgorithm::EcdsaSha512) => &ECDSA_P384_SHA512_ASN1,
    }
}

fn signing_algorithm(curve: EcCurve) -> &'static EcdsaSigningAlgorithm {
    match curve {
        EcCurve::P256 => &ECDSA_P256_SHA256_ASN1_SIGNING,
        EcCurve::P384 => &ECDSA_P384_SHA384_ASN1_SIGNING,
    }
}

fn finished(value: &[u8]) -> Result<Digest, CryptoError> {
    Digest::new(value).ok_or(CryptoError::UnsupportedAlgorithm)
}
