//! The provider in pure Rust.

use alloc::vec::Vec;
use core::fmt;

use hmac::{Hmac, KeyInit, Mac};
use p256::ecdsa::signature::hazmat::{PrehashSigner, PrehashVerifier};
use p256::elliptic_curve::Generate;
use pkcs8::EncodePrivateKey;
use rand_core::TryCryptoRng;
use sha1::Sha1;
use sha2::{Digest as _, Sha256, Sha384, Sha512};
use spki::EncodePublicKey;
use zeroize::Zeroizing;

use super::ec::{EcPrivateKey, public_point};
use super::{Crypto, CryptoError, Digest, EcCurve, HashAlgorithm, SignatureAlgorithm, SigningKey};

/// The provider in pure Rust, for stations: `no_std`, P-256 and P-384.
#[derive(Clone, Copy, Debug, Default)]
pub struct RustCrypto;

impl Crypto for RustCrypto {
    fn digest(&self, alg: HashAlgorithm, data: &[u8]) -> Result<Digest, CryptoError> {
        match alg {
            HashAlgorithm::Sha1 => finished(&Sha1::digest(data)),
            HashAlgorithm::Sha256 => finished(&Sha256::digest(data)),
            HashAlgorithm::Sha384 => finished(&Sha384::digest(data)),
            HashAlgorithm::Sha512 => finished(&Sha512::digest(data)),
        }
    }

    fn hmac(&self, alg: HashAlgorithm, key: &[u8], data: &[u8]) -> Result<Digest, CryptoError> {
        match alg {
            HashAlgorithm::Sha1 => mac::<Hmac<Sha1>>(key, data),
            HashAlgorithm::Sha256 => mac::<Hmac<Sha256>>(key, data),
            HashAlgorithm::Sha384 => mac::<Hmac<Sha384>>(key, data),
            HashAlgorithm::Sha512 => mac::<Hmac<Sha512>>(key, data),
        }
    }

    fn pbkdf2(
        &self,
        prf: HashAlgorithm,
        password: &[u8],
        salt: &[u8],
        iterations: u32,
        out: &mut [u8],
    ) -> Result<(), CryptoError> {
        if iterations == 0 || out.is_empty() {
            return Err(CryptoError::InvalidParameter);
        }
        match prf {
            HashAlgorithm::Sha1 => pbkdf2::pbkdf2::<Hmac<Sha1>>(password, salt, iterations, out),
            HashAlgorithm::Sha256 => pbkdf2::pbkdf2::<Hmac<Sha256>>(password, salt, iterations, out),
            HashAlgorithm::Sha384 => pbkdf2::pbkdf2::<Hmac<Sha384>>(password, salt, iterations, out),
            HashAlgorithm::Sha512 => pbkdf2::pbkdf2::<Hmac<Sha512>>(password, salt, iterations, out),
        }
        .map_err(|_| CryptoError::InvalidParameter)
    }

    fn verify(
        &self,
        alg: SignatureAlgorithm,
        public_key: &[u8],
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), CryptoError> {
        let (curve, point) = public_point(public_key)?;
        let prehash = self.digest(alg.hash_algorithm(), message)?;
        match curve {
            EcCurve::P256 => {
                let key = p256::ecdsa::VerifyingKey::from_sec1_bytes(point)
                    .map_err(|_| CryptoError::MalformedPublicKey)?;
                p256::ecdsa::Signature::from_der(signature)
                    .and_then(|signature| key.verify_prehash(prehash.as_bytes(), &signature))
            }
            EcCurve::P384 => {
                let key = p384::ecdsa::VerifyingKey::from_sec1_bytes(point)
                    .map_err(|_| CryptoError::MalformedPublicKey)?;
                p384::ecdsa::Signature::from_der(signature)
                    .and_then(|signature| key.verify_prehash(prehash.as_bytes(), &signature))
            }
        }
        .map_err(|_| CryptoError::BadSignature)
    }

    fn public_key_of(&self, private_key: &[u8]) -> Result<Vec<u8>, CryptoError> {
        SoftKey::from_der(private_key).map(|key| key.public_key)
    }
}

/// An ECDSA key in memory, wiped when dropped. Its signatures are deterministic (RFC 6979).
#[derive(Clone)]
pub struct SoftKey {
    secret: Secret,
    /// DER SubjectPublicKeyInfo.
    public_key: Vec<u8>,
}

#[derive(Clone)]
enum Secret {
    P256(p256::ecdsa::SigningKey),
    P384(p384::ecdsa::SigningKey),
}

impl SoftKey {
    /// A new key from the caller's source of randomness.
    ///
    /// # Errors
    /// [`CryptoError::SigningFailed`] if that source fails.
    pub fn generate<R: TryCryptoRng + ?Sized>(curve: EcCurve, rng: &mut R) -> Result<Self, CryptoError> {
        Self::new(
            match curve {
                EcCurve::P256 => p256::ecdsa::SigningKey::try_generate_from_rng(rng).map(Secret::P256),
                EcCurve::P384 => p384::ecdsa::SigningKey::try_generate_from_rng(rng).map(Secret::P384),
            }
            .map_err(|_| CryptoError::SigningFailed)?,
        )
    }

    /// Reads an unencrypted key: DER of PKCS#8 (RFC 5958) or of SEC 1's ECPrivateKey (RFC 5915) that names its curve.
    ///
    /// # Errors
    /// [`CryptoError::MalformedPrivateKey`], also if a public key that came along does not belong to it;
    /// [`CryptoError::UnsupportedKey`] for other curves and types.
    pub fn from_der(der: &[u8]) -> Result<Self, CryptoError> {
        let key = EcPrivateKey::from_der(der)?;
        let secret = match key.curve {
            EcCurve::P256 => p256::ecdsa::SigningKey::from_slice(key.scalar).map(Secret::P256),
            EcCurve::P384 => p384::ecdsa::SigningKey::from_slice(key.scalar).map(Secret::P384),
        };
        let soft_key = Self::new(secret.map_err(|_| CryptoError::MalformedPrivateKey)?)?;
        let belongs = match key.public_point {
            Some(claimed) => public_point(&soft_key.public_key)?.1 == claimed,
            None => true,
        };
        if belongs {
            Ok(soft_key)
        } else {
            Err(CryptoError::MalformedPrivateKey)
        }
    }

    /// The key as unencrypted PKCS#8 DER, with its public key.
    ///
    /// # Errors
    /// [`CryptoError::SigningFailed`] if it cannot be encoded.
    pub fn to_pkcs8(&self) -> Result<Zeroizing<Vec<u8>>, CryptoError> {
        let document = match &self.secret {
            Secret::P256(key) => key.to_pkcs8_der(),
            Secret::P384(key) => key.to_pkcs8_der(),
        };
        Ok(document.map_err(|_| CryptoError::SigningFailed)?.to_bytes())
    }

    /// The curve of the key.
    #[must_use]
    pub fn curve(&self) -> EcCurve {
        match self.secret {
            Secret::P256(_) => EcCurve::P256,
            Secret::P384(_) => EcCurve::P384,
        }
    }

    fn new(secret: Secret) -> Result<Self, CryptoError> {
        let public_key = match &secret {
            Secret::P256(key) => key.verifying_key().to_public_key_der(),
            Secret::P384(key) => key.verifying_key().to_public_key_der(),
        };
        let public_key = public_key.map_err(|_| CryptoError::SigningFailed)?.into_vec();
        Ok(Self { secret, public_key })
    }
}

impl SigningKey for SoftKey {
    fn algorithm(&self) -> SignatureAlgorithm {
        self.curve().signature_algorithm()
    }

    fn public_key(&self) -> &[u8] {
        &self.public_key
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, CryptoError> {
        let prehash = RustCrypto.digest(self.algorithm().hash_algorithm(), message)?;
        let signature = match &self.secret {
            Secret::P256(key) => key
                .sign_prehash(prehash.as_bytes())
                .map(|s: p256::ecdsa::DerSignature| s.as_bytes().to_vec()),
            Secret::P384(key) => key
                .sign_prehash(prehash.as_bytes())
                .map(|s: p384::ecdsa::DerSignature| s.as_bytes().to_vec()),
        };
        signature.map_err(|_| CryptoError::SigningFailed)
    }
}

impl fmt::Debug for SoftKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SoftKey")
            .field("curve", &self.curve())
            .finish_non_exhaustive()
    }
}

fn mac<M: Mac + KeyInit>(key: &[u8], data: &[u8]) -> Result<Digest, CryptoError> {
    let mut mac = <M as KeyInit>::new_from_slice(key).map_err(|_| CryptoError::InvalidParameter)?;
    mac.update(data);
    finished(&mac.finalize().into_bytes())
}

fn finished(value: &[u8]) -> Result<Digest, CryptoError> {
    Digest::new(value).ok_or(CryptoError::UnsupportedAlgorithm)
}
