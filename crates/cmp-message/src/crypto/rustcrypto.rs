//! The provider in pure Rust.

#[cfg(feature = "ml-dsa")]
mod ml_dsa;
mod soft_key;

use alloc::vec::Vec;

use hmac::{Hmac, KeyInit, Mac};
use p256::ecdsa::signature::hazmat::PrehashVerifier;
use sha1::Sha1;
use sha2::{Digest as _, Sha256, Sha384, Sha512};

use super::public_key::PublicKey;
use super::{Crypto, CryptoError, Digest, HashAlgorithm, KeyAlgorithm, SignatureAlgorithm, SigningKey};

pub use soft_key::SoftKey;

/// ECDSA with the key's curve, over the hash of the message.
macro_rules! verify_ecdsa {
    ($curve:ident, $point:expr, $prehash:expr, $signature:expr) => {{
        let prehash = $prehash;
        let key = $curve::ecdsa::VerifyingKey::from_sec1_bytes($point)
            .map_err(|_| CryptoError::MalformedPublicKey)?;
        $curve::ecdsa::Signature::from_der($signature)
            .and_then(|signature| key.verify_prehash(prehash.as_bytes(), &signature))
            .map_err(|_| CryptoError::BadSignature)
    }};
}

/// The provider in pure Rust, for stations: `no_std`. What it verifies depends on [features](super).
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
        let key = PublicKey::from_spki(public_key)?;
        if !key.algorithm.makes(alg) {
            return Err(CryptoError::UnsupportedKey);
        }
        let prehash = || prehash(alg, message);
        match key.algorithm {
            KeyAlgorithm::P256 => verify_ecdsa!(p256, key.bytes, prehash()?, signature),
            KeyAlgorithm::P384 => verify_ecdsa!(p384, key.bytes, prehash()?, signature),
            #[cfg(feature = "p521")]
            KeyAlgorithm::P521 => verify_ecdsa!(p521, key.bytes, prehash()?, signature),
            #[cfg(feature = "ed25519")]
            KeyAlgorithm::Ed25519 => verify_ed25519(key.bytes, message, signature),
            #[cfg(feature = "ml-dsa")]
            KeyAlgorithm::MlDsa44 => ml_dsa::verify::<::ml_dsa::MlDsa44>(key.bytes, message, signature),
            #[cfg(feature = "ml-dsa")]
            KeyAlgorithm::MlDsa65 => ml_dsa::verify::<::ml_dsa::MlDsa65>(key.bytes, message, signature),
            #[cfg(feature = "ml-dsa")]
            KeyAlgorithm::MlDsa87 => ml_dsa::verify::<::ml_dsa::MlDsa87>(key.bytes, message, signature),
            #[cfg(feature = "rsa")]
            KeyAlgorithm::Rsa => verify_rsa(alg, key.bytes, prehash()?.as_bytes(), signature),
            #[cfg(not(all(feature = "p521", feature = "ed25519", feature = "ml-dsa", feature = "rsa")))]
            _ => Err(CryptoError::UnsupportedAlgorithm),
        }
    }

    fn public_key_of(&self, private_key: &[u8]) -> Result<Vec<u8>, CryptoError> {
        SoftKey::from_der(private_key).map(SoftKey::into_public_key)
    }
}

/// What ECDSA and RSA sign. Not [`Crypto::digest`]: SHA-1 is none of these hashes, and need not be in the firmware.
fn prehash(alg: SignatureAlgorithm, message: &[u8]) -> Result<Digest, CryptoError> {
    match alg {
        SignatureAlgorithm::EcdsaSha256 | SignatureAlgorithm::RsaSha256 => finished(&Sha256::digest(message)),
        SignatureAlgorithm::EcdsaSha384 | SignatureAlgorithm::RsaSha384 => finished(&Sha384::digest(message)),
        SignatureAlgorithm::EcdsaSha512 | SignatureAlgorithm::RsaSha512 => finished(&Sha512::digest(message)),
        _ => Err(CryptoError::UnsupportedAlgorithm),
    }
}

#[cfg(feature = "ed25519")]
fn verify_ed25519(key: &[u8], message: &[u8], signature: &[u8]) -> Result<(), CryptoError> {
    super::public_key::check_ed25519(key)?;
    let key = ed25519_dalek::VerifyingKey::try_from(key).map_err(|_| CryptoError::MalformedPublicKey)?;
    ed25519_dalek::Signature::from_slice(signature)
        .and_then(|signature| ed25519_dalek::Verifier::verify(&key, message, &signature))
        .map_err(|_| CryptoError::BadSignature)
}

#[cfg(feature = "rsa")]
fn verify_rsa(
    alg: SignatureAlgorithm,
    key: &[u8],
    prehash: &[u8],
    signature: &[u8],
) -> Result<(), CryptoError> {
    let (modulus, exponent) = super::public_key::rsa_components(key)?;
    let number = rsa::BoxedUint::from_be_slice_vartime;
    let key = rsa::PublicKey::new(number(modulus), number(exponent))
        .map_err(|_| CryptoError::MalformedPublicKey)?;
    match alg {
        SignatureAlgorithm::RsaSha256 => key.pkcs1v15_verify_prehash::<Sha256>(prehash, signature),
        SignatureAlgorithm::RsaSha384 => key.pkcs1v15_verify_prehash::<Sha384>(prehash, signature),
        SignatureAlgorithm::RsaSha512 => key.pkcs1v15_verify_prehash::<Sha512>(prehash, signature),
        _ => return Err(CryptoError::UnsupportedAlgorithm),
    }
    .map_err(|_| CryptoError::BadSignature)
}

fn mac<M: Mac + KeyInit>(key: &[u8], data: &[u8]) -> Result<Digest, CryptoError> {
    let mut mac = <M as KeyInit>::new_from_slice(key).map_err(|_| CryptoError::InvalidParameter)?;
    mac.update(data);
    finished(&mac.finalize().into_bytes())
}

fn finished(value: &[u8]) -> Result<Digest, CryptoError> {
    Digest::new(value).ok_or(CryptoError::UnsupportedAlgorithm)
}
