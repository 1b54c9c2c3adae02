//! What CMP needs of cryptography, as one small trait with two providers.
//!
//! [`Crypto`] covers what needs no private key: digests, MACs, password-based derivation and the verification of
//! signatures. [`SigningKey`] is one private key, wherever it lives: in software ([`rustcrypto::SoftKey`],
//! [`aws_lc::SoftKey`]), in a secure element or in an HSM. Both are object-safe.
//!
//! | provider | feature | for |
//! |---|---|---|
//! | [`RustCrypto`] | `rustcrypto` | stations: pure Rust, `no_std` |
//! | [`AwsLc`] | `aws-lc` | servers: several times faster, needs `std` |
//!
//! | signature | [`RustCrypto`] | [`AwsLc`] |
//! |---|---|---|
//! | ECDSA on P-256 and P-384 with SHA-256, SHA-384 or SHA-512 | always | always |
//! | the same on P-521 | feature `p521` | always |
//! | Ed25519 | feature `ed25519` | always |
//! | ML-DSA-44, ML-DSA-65, ML-DSA-87 | feature `ml-dsa` | always |
//! | RSASSA-PKCS1-v1_5 with the same hashes, 2048 to 8192 bits, verified only | feature `rsa` | always |
//!
//! The feature `full` is all of them. Ed448 is not there: neither AWS-LC nor a released crate of the same generation as
//! the others has it. RSASSA-PSS and signatures with SHA-1 or SHA-224 are refused as unsupported.

mod algorithm;
#[cfg(feature = "aws-lc")]
pub mod aws_lc;
mod key_algorithm;
mod pbm;
#[cfg(any(feature = "rustcrypto", feature = "aws-lc"))]
mod private_key;
mod public_key;
#[cfg(feature = "rustcrypto")]
pub mod rustcrypto;
#[cfg(any(feature = "ed25519", feature = "ml-dsa", feature = "aws-lc"))]
mod seeded;

use alloc::vec::Vec;
use core::fmt;

pub use algorithm::{HashAlgorithm, SignatureAlgorithm};
#[cfg(feature = "aws-lc")]
pub use aws_lc::AwsLc;
pub use key_algorithm::{KeyAlgorithm, UnknownKeyAlgorithm};
pub use pbm::pbm_base_key;
#[cfg(all(feature = "envelope", any(feature = "rustcrypto", feature = "aws-lc")))]
pub(crate) use private_key::PrivateKey;
#[cfg(all(feature = "envelope", any(feature = "rustcrypto", feature = "aws-lc")))]
pub(crate) use public_key::PublicKey;
pub use public_key::UnacceptableKey;
#[cfg(feature = "rustcrypto")]
pub use rustcrypto::RustCrypto;

/// The operations that need no private key.
pub trait Crypto {
    /// The hash of `data`.
    ///
    /// # Errors
    /// [`CryptoError::UnsupportedAlgorithm`] if the provider lacks `alg`.
    fn digest(&self, alg: HashAlgorithm, data: &[u8]) -> Result<Digest, CryptoError>;

    /// HMAC (RFC 2104) of `data`, not truncated. Compare the result with [`constant_time_eq`].
    ///
    /// # Errors
    /// [`CryptoError::UnsupportedAlgorithm`] if the provider lacks `alg`.
    fn hmac(&self, alg: HashAlgorithm, key: &[u8], data: &[u8]) -> Result<Digest, CryptoError>;

    /// PBKDF2 (RFC 8018 §5.2) with HMAC-`prf`; fills the whole of `out`.
    ///
    /// The time taken grows with `iterations` times the length of `out`: the caller limits both.
    ///
    /// # Errors
    /// [`CryptoError::InvalidParameter`] for zero iterations or an empty `out`,
    /// [`CryptoError::UnsupportedAlgorithm`] if the provider lacks `prf`.
    fn pbkdf2(
        &self,
        prf: HashAlgorithm,
        password: &[u8],
        salt: &[u8],
        iterations: u32,
        out: &mut [u8],
    ) -> Result<(), CryptoError>;

    /// Verifies `signature` over `message`.
    ///
    /// `public_key` is a DER SubjectPublicKeyInfo. An ECDSA `signature` is the DER ECDSA-Sig-Value (RFC 3279 §2.2.3);
    /// the others are the octets that their standards define.
    ///
    /// # Errors
    /// [`CryptoError::BadSignature`] if it does not verify; [`CryptoError::MalformedPublicKey`],
    /// [`CryptoError::UnsupportedKey`] or [`CryptoError::WeakKey`] if the key is not usable;
    /// [`CryptoError::UnsupportedAlgorithm`] if the provider lacks `alg` or the curve.
    fn verify(
        &self,
        alg: SignatureAlgorithm,
        public_key: &[u8],
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), CryptoError>;

    /// The DER SubjectPublicKeyInfo that belongs to `private_key`, which is unencrypted DER of PKCS#8 (RFC 5958).
    ///
    /// # Errors
    /// [`CryptoError::MalformedPrivateKey`], also if a public key that came along does not belong to it;
    /// [`CryptoError::UnsupportedKey`] if the provider lacks keys of its type.
    fn public_key_of(&self, private_key: &[u8]) -> Result<Vec<u8>, CryptoError>;
}

/// One private key.
pub trait SigningKey {
    /// The algorithm of the signatures that [`sign`](Self::sign) makes.
    fn algorithm(&self) -> SignatureAlgorithm;

    /// The public key, as a DER SubjectPublicKeyInfo.
    fn public_key(&self) -> &[u8];

    /// Signs `message`, which is not hashed yet. ECDSA gives a DER ECDSA-Sig-Value.
    ///
    /// # Errors
    /// [`CryptoError::SigningFailed`] if the key's holder fails.
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, CryptoError>;
}

/// A hash or MAC value of at most 64 bytes, without an allocation.
///
/// Not for secrets that must be wiped, and its `==` takes a time that depends on the contents: MACs are compared
/// with [`constant_time_eq`].
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Digest {
    bytes: [u8; Self::MAX_BYTES],
    len: u8,
}

impl Digest {
    /// The longest value: SHA-512.
    pub const MAX_BYTES: usize = 64;

    /// Takes a finished hash or MAC value; `None` if it is longer than [`MAX_BYTES`](Self::MAX_BYTES).
    #[must_use]
    pub fn new(value: &[u8]) -> Option<Self> {
        let mut bytes = [0; Self::MAX_BYTES];
        bytes.get_mut(..value.len())?.copy_from_slice(value);
        Some(Self {
            bytes,
            len: u8::try_from(value.len()).ok()?,
        })
    }

    /// The value.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or_default()
    }
}

impl AsRef<[u8]> for Digest {
    fn as_ref(&self) -> &[u8] {
        self.as_bytes()
    }
}

impl fmt::Debug for Digest {
    /// The length only: the value may be a MAC or a derived key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({} bytes)", self.len)
    }
}

impl zeroize::Zeroize for Digest {
    fn zeroize(&mut self) {
        self.bytes.zeroize();
        self.len = 0;
    }
}

/// Why a cryptographic operation gave nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CryptoError {
    /// The peer's signature does not verify under the key.
    BadSignature,
    /// The peer's SubjectPublicKeyInfo does not parse, or its point is not on the curve.
    MalformedPublicKey,
    /// The key is well-formed but of a type, a curve or a point format that is not supported, or of another type
    /// than the algorithm.
    UnsupportedKey,
    /// The key is well-formed but not good enough to be believed; [`KeyAlgorithm::of_public_key`] says why.
    WeakKey,
    /// The algorithm is unknown, or the provider lacks it.
    UnsupportedAlgorithm,
    /// The AlgorithmIdentifier has not the parameters that its algorithm demands.
    MalformedAlgorithm,
    /// A number or a length given by the caller is out of range.
    InvalidParameter,
    /// The private key given by the caller does not parse, or contradicts its public key.
    MalformedPrivateKey,
    /// The holder of the private key could not generate, export or sign.
    SigningFailed,
    /// What was encrypted for the private key cannot be decrypted with it.
    DecryptionFailed,
    /// The random generator failed.
    RandomFailed,
}

impl fmt::Display for CryptoError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::BadSignature => "the signature does not verify",
            Self::MalformedPublicKey => "the public key is malformed",
            Self::UnsupportedKey => "the type of the key is not supported, or not that of the algorithm",
            Self::WeakKey => "the public key is too weak",
            Self::UnsupportedAlgorithm => "the algorithm is not supported",
            Self::MalformedAlgorithm => "the algorithm identifier has wrong parameters",
            Self::InvalidParameter => "a cryptographic parameter is out of range",
            Self::MalformedPrivateKey => "the private key is malformed",
            Self::SigningFailed => "the private key cannot be used",
            Self::DecryptionFailed => "it cannot be decrypted with the private key",
            Self::RandomFailed => "the random generator failed",
        })
    }
}

impl core::error::Error for CryptoError {}

/// Whether `a` and `b` are equal, in a time that depends on their lengths only.
#[must_use]
pub fn constant_time_eq(a: &[u8], b: &[u8]) -> bool {
    subtle::ConstantTimeEq::ct_eq(a, b).into()
}
