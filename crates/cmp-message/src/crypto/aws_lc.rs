//! The provider by aws-lc-rs.

mod soft_key;

use alloc::vec::Vec;
use core::num::NonZeroU32;

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA384_ASN1, ECDSA_P256_SHA512_ASN1, ECDSA_P384_SHA256_ASN1,
    ECDSA_P384_SHA384_ASN1, ECDSA_P384_SHA512_ASN1, ECDSA_P521_SHA256_ASN1, ECDSA_P521_SHA384_ASN1,
    ECDSA_P521_SHA512_ASN1, ED25519, ML_DSA_44, ML_DSA_65, ML_DSA_87, ParsedPublicKey,
    RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512,
    VerificationAlgorithm,
};
use aws_lc_rs::{digest, hmac, pbkdf2};

use super::public_key::PublicKey;
use super::{Crypto, CryptoError, Digest, HashAlgorithm, KeyAlgorithm, SignatureAlgorithm};

pub use soft_key::SoftKey;

/// The provider by aws-lc-rs, for servers: several times faster than pure Rust.
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
        let key = PublicKey::checked(public_key)?;
        ParsedPublicKey::new(verification_algorithm(key.algorithm, alg)?, key.bytes)
            .map_err(|_| CryptoError::MalformedPublicKey)?
            .verify_sig(message, signature)
            .map_err(|_| CryptoError::BadSignature)
    }

    fn public_key_of(&self, private_key: &[u8]) -> Result<Vec<u8>, CryptoError> {
        SoftKey::from_der(private_key).map(SoftKey::into_public_key)
    }
}

/// AWS-LC's name for what is verified; the key is of the right type.
fn verification_algorithm(
    key: KeyAlgorithm,
    alg: SignatureAlgorithm,
) -> Result<&'static dyn VerificationAlgorithm, CryptoError> {
    use SignatureAlgorithm::{EcdsaSha256, EcdsaSha384, EcdsaSha512, RsaSha256, RsaSha384, RsaSha512};
    Ok(match (key, alg) {
        (KeyAlgorithm::P256, EcdsaSha256) => &ECDSA_P256_SHA256_ASN1,
        (KeyAlgorithm::P256, EcdsaSha384) => &ECDSA_P256_SHA384_ASN1,
        (KeyAlgorithm::P256, EcdsaSha512) => &ECDSA_P256_SHA512_ASN1,
        (KeyAlgorithm::P384, EcdsaSha256) => &ECDSA_P384_SHA256_ASN1,
        (KeyAlgorithm::P384, EcdsaSha384) => &ECDSA_P384_SHA384_ASN1,
        (KeyAlgorithm::P384, EcdsaSha512) => &ECDSA_P384_SHA512_ASN1,
        (KeyAlgorithm::P521, EcdsaSha256) => &ECDSA_P521_SHA256_ASN1,
        (KeyAlgorithm::P521, EcdsaSha384) => &ECDSA_P521_SHA384_ASN1,
        (KeyAlgorithm::P521, EcdsaSha512) => &ECDSA_P521_SHA512_ASN1,
        (KeyAlgorithm::Rsa, RsaSha256) => &RSA_PKCS1_2048_8192_SHA256,
        (KeyAlgorithm::Rsa, RsaSha384) => &RSA_PKCS1_2048_8192_SHA384,
        (KeyAlgorithm::Rsa, RsaSha512) => &RSA_PKCS1_2048_8192_SHA512,
        (KeyAlgorithm::Ed25519, SignatureAlgorithm::Ed25519) => &ED25519,
        (KeyAlgorithm::MlDsa44, SignatureAlgorithm::MlDsa44) => &ML_DSA_44,
        (KeyAlgorithm::MlDsa65, SignatureAlgorithm::MlDsa65) => &ML_DSA_65,
        (KeyAlgorithm::MlDsa87, SignatureAlgorithm::MlDsa87) => &ML_DSA_87,
        _ => return Err(CryptoError::UnsupportedKey),
    })
}

fn finished(value: &[u8]) -> Result<Digest, CryptoError> {
    Digest::new(value).ok_or(CryptoError::UnsupportedAlgorithm)
}
