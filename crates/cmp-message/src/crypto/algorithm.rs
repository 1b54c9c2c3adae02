use const_oid::ObjectIdentifier;
use const_oid::db::{rfc5753, rfc5911, rfc5912};
use der::asn1::AnyRef;
use spki::AlgorithmIdentifierRef;

use super::CryptoError;

/// id-hmacWithSHA1 (RFC 8018 §B.1.1), the name that PBKDF2 and modern peers use.
const ID_HMAC_WITH_SHA_1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.2.7");

/// A hash function, also as the base of an HMAC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum HashAlgorithm {
    /// SHA-1: only as HMAC or one-way function of password-based MACs, where a peer insists. Never under a signature.
    Sha1,
    /// SHA-256.
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512.
    Sha512,
}

impl HashAlgorithm {
    /// The length of the hash in bytes.
    #[must_use]
    pub const fn output_len(self) -> usize {
        match self {
            Self::Sha1 => 20,
            Self::Sha256 => 32,
            Self::Sha384 => 48,
            Self::Sha512 => 64,
        }
    }

    /// The identifier of the hash itself (RFC 5754 §2, RFC 3279 §2.1).
    #[must_use]
    pub const fn oid(self) -> ObjectIdentifier {
        match self {
            Self::Sha1 => rfc5912::ID_SHA_1,
            Self::Sha256 => rfc5912::ID_SHA_256,
            Self::Sha384 => rfc5912::ID_SHA_384,
            Self::Sha512 => rfc5912::ID_SHA_512,
        }
    }

    /// The hash that `oid` names.
    #[must_use]
    pub fn from_oid(oid: ObjectIdentifier) -> Option<Self> {
        ALL_HASHES.into_iter().find(|hash| hash.oid() == oid)
    }

    /// The identifier of HMAC with this hash (RFC 8018 §B.1.1, RFC 4231 §3.1).
    #[must_use]
    pub const fn hmac_oid(self) -> ObjectIdentifier {
        match self {
            Self::Sha1 => ID_HMAC_WITH_SHA_1,
            Self::Sha256 => rfc5753::ID_HMAC_WITH_SHA_256,
            Self::Sha384 => rfc5753::ID_HMAC_WITH_SHA_384,
            Self::Sha512 => rfc5753::ID_HMAC_WITH_SHA_512,
        }
    }

    /// The hash of the HMAC that `oid` names. SHA-1 goes by two names: RFC 8018's and RFC 3370's hMAC-SHA1.
    #[must_use]
    pub fn from_hmac_oid(oid: ObjectIdentifier) -> Option<Self> {
        if oid == rfc5911::HMAC_SHA_1 {
            return Some(Self::Sha1);
        }
        ALL_HASHES.into_iter().find(|hash| hash.hmac_oid() == oid)
    }

    /// The hash of an AlgorithmIdentifier, whose parameters are absent or NULL (RFC 5754 §2).
    ///
    /// # Errors
    /// [`CryptoError::UnsupportedAlgorithm`] or [`CryptoError::MalformedAlgorithm`].
    pub fn from_algorithm_identifier(id: &AlgorithmIdentifierRef<'_>) -> Result<Self, CryptoError> {
        let hash = Self::from_oid(id.oid).ok_or(CryptoError::UnsupportedAlgorithm)?;
        absent_or_null(id.parameters).map(|()| hash)
    }

    /// The hash of an HMAC's AlgorithmIdentifier, whose parameters are absent or NULL (RFC 4231 §3.1).
    ///
    /// # Errors
    /// [`CryptoError::UnsupportedAlgorithm`] or [`CryptoError::MalformedAlgorithm`].
    pub fn from_hmac_algorithm_identifier(id: &AlgorithmIdentifierRef<'_>) -> Result<Self, CryptoError> {
        let hash = Self::from_hmac_oid(id.oid).ok_or(CryptoError::UnsupportedAlgorithm)?;
        absent_or_null(id.parameters).map(|()| hash)
    }

    /// The AlgorithmIdentifier of the hash, without parameters, as RFC 5754 §2 wants them made.
    #[must_use]
    pub const fn algorithm_identifier(self) -> AlgorithmIdentifierRef<'static> {
        AlgorithmIdentifierRef {
            oid: self.oid(),
            parameters: None,
        }
    }
}

/// A signature algorithm, with its hash. The curve is the key's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SignatureAlgorithm {
    /// ecdsa-with-SHA256.
    EcdsaSha256,
    /// ecdsa-with-SHA384.
    EcdsaSha384,
    /// ecdsa-with-SHA512.
    EcdsaSha512,
}

impl SignatureAlgorithm {
    /// The identifier (RFC 5758 §3.2).
    #[must_use]
    pub const fn oid(self) -> ObjectIdentifier {
        match self {
            Self::EcdsaSha256 => rfc5912::ECDSA_WITH_SHA_256,
            Self::EcdsaSha384 => rfc5912::ECDSA_WITH_SHA_384,
            Self::EcdsaSha512 => rfc5912::ECDSA_WITH_SHA_512,
        }
    }

    /// The algorithm of an AlgorithmIdentifier. ECDSA forbids parameters, even NULL (RFC 5758 §3.2).
    ///
    /// # Errors
    /// [`CryptoError::UnsupportedAlgorithm`] or [`CryptoError::MalformedAlgorithm`].
    pub fn from_algorithm_identifier(id: &AlgorithmIdentifierRef<'_>) -> Result<Self, CryptoError> {
        let alg = [Self::EcdsaSha256, Self::EcdsaSha384, Self::EcdsaSha512]
            .into_iter()
            .find(|alg| alg.oid() == id.oid)
            .ok_or(CryptoError::UnsupportedAlgorithm)?;
        match id.parameters {
            None => Ok(alg),
            Some(_) => Err(CryptoError::MalformedAlgorithm),
        }
    }

    /// The AlgorithmIdentifier, with exactly the parameters that the algorithm demands.
    #[must_use]
    pub const fn algorithm_identifier(self) -> AlgorithmIdentifierRef<'static> {
        AlgorithmIdentifierRef {
            oid: self.oid(),
            parameters: None,
        }
    }

    /// The hash that is part of the algorithm: a certConf hashes the certificate with it (RFC 9810 §5.3.18).
    #[must_use]
    pub const fn hash_algorithm(self) -> HashAlgorithm {
        match self {
            Self::EcdsaSha256 => HashAlgorithm::Sha256,
            Self::EcdsaSha384 => HashAlgorithm::Sha384,
            Self::EcdsaSha512 => HashAlgorithm::Sha512,
        }
    }
}

/// A curve of an elliptic-curve key (RFC 5480 §2.1.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum EcCurve {
    /// secp256r1.
    P256,
    /// secp384r1.
    P384,
}

impl EcCurve {
    /// The identifier of the named curve.
    #[must_use]
    pub const fn oid(self) -> ObjectIdentifier {
        match self {
            Self::P256 => rfc5912::SECP_256_R_1,
            Self::P384 => rfc5912::SECP_384_R_1,
        }
    }

    /// The curve that `oid` names.
    #[must_use]
    pub fn from_oid(oid: ObjectIdentifier) -> Option<Self> {
        [Self::P256, Self::P384]
            .into_iter()
            .find(|curve| curve.oid() == oid)
    }

    /// The length of a coordinate and of a private scalar, in bytes.
    #[must_use]
    pub const fn field_len(self) -> usize {
        match self {
            Self::P256 => 32,
            Self::P384 => 48,
        }
    }

    /// The signature algorithm whose hash is as strong as the curve (RFC 9481 §3.2).
    #[must_use]
    pub const fn signature_algorithm(self) -> SignatureAlgorithm {
        match self {
            Self::P256 => SignatureAlgorithm::EcdsaSha256,
            Self::P384 => SignatureAlgorithm::EcdsaSha384,
        }
    }
}

fn absent_or_null(parameters: Option<AnyRef<'_>>) -> Result<(), CryptoError> {
    match parameters {
        Some(any) if !any.is_null() => Err(CryptoError::MalformedAlgorithm),
        _ => Ok(()),
    }
}

const ALL_HASHES: [HashAlgorithm; 4] = [
    HashAlgorithm::Sha1,
    HashAlgorithm::Sha256,
    HashAlgorithm::Sha384,
    HashAlgorithm::Sha512,
];
