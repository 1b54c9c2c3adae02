use const_oid::ObjectIdentifier;
use const_oid::db::{fips204, rfc5753, rfc5911, rfc5912, rfc8410};
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

/// A signature algorithm, with its hash where there is one. A curve is the key's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SignatureAlgorithm {
    /// ecdsa-with-SHA256 (RFC 5758 §3.2).
    EcdsaSha256,
    /// ecdsa-with-SHA384.
    EcdsaSha384,
    /// ecdsa-with-SHA512.
    EcdsaSha512,
    /// PureEdDSA on edwards25519 (RFC 8410 §3).
    Ed25519,
    /// sha256WithRSAEncryption: RSASSA-PKCS1-v1_5 (RFC 4055 §5).
    RsaSha256,
    /// sha384WithRSAEncryption.
    RsaSha384,
    /// sha512WithRSAEncryption.
    RsaSha512,
    /// Pure ML-DSA-44 with an empty context (RFC 9881 §2).
    MlDsa44,
    /// Pure ML-DSA-65.
    MlDsa65,
    /// Pure ML-DSA-87.
    MlDsa87,
}

impl SignatureAlgorithm {
    /// The identifier (RFC 9481 §3, RFC 9881 §2).
    #[must_use]
    pub const fn oid(self) -> ObjectIdentifier {
        match self {
            Self::EcdsaSha256 => rfc5912::ECDSA_WITH_SHA_256,
            Self::EcdsaSha384 => rfc5912::ECDSA_WITH_SHA_384,
            Self::EcdsaSha512 => rfc5912::ECDSA_WITH_SHA_512,
            Self::Ed25519 => rfc8410::ID_ED_25519,
            Self::RsaSha256 => rfc5912::SHA_256_WITH_RSA_ENCRYPTION,
            Self::RsaSha384 => rfc5912::SHA_384_WITH_RSA_ENCRYPTION,
            Self::RsaSha512 => rfc5912::SHA_512_WITH_RSA_ENCRYPTION,
            Self::MlDsa44 => fips204::ID_ML_DSA_44,
            Self::MlDsa65 => fips204::ID_ML_DSA_65,
            Self::MlDsa87 => fips204::ID_ML_DSA_87,
        }
    }

    /// The algorithm that `oid` names.
    #[must_use]
    pub fn from_oid(oid: ObjectIdentifier) -> Option<Self> {
        ALL_SIGNATURES.into_iter().find(|alg| alg.oid() == oid)
    }

    /// The algorithm of an AlgorithmIdentifier. RSA wants NULL as its parameters (RFC 4055 §5), all others want none,
    /// not even NULL (RFC 5758 §3.2, RFC 8410 §3, RFC 9881 §2).
    ///
    /// # Errors
    /// [`CryptoError::UnsupportedAlgorithm`] or [`CryptoError::MalformedAlgorithm`].
    pub fn from_algorithm_identifier(id: &AlgorithmIdentifierRef<'_>) -> Result<Self, CryptoError> {
        let alg = Self::from_oid(id.oid).ok_or(CryptoError::UnsupportedAlgorithm)?;
        if id.parameters == alg.algorithm_identifier().parameters {
            Ok(alg)
        } else {
            Err(CryptoError::MalformedAlgorithm)
        }
    }

    /// The AlgorithmIdentifier, with exactly the parameters that the algorithm demands.
    #[must_use]
    pub const fn algorithm_identifier(self) -> AlgorithmIdentifierRef<'static> {
        AlgorithmIdentifierRef {
            oid: self.oid(),
            parameters: match self {
                Self::RsaSha256 | Self::RsaSha384 | Self::RsaSha512 => Some(AnyRef::NULL),
                _ => None,
            },
        }
    }

    /// The hash that goes with the algorithm in CMP: what [`cert_conf_hash`](crate::cert_conf_hash) says of a
    /// certificate that is signed with it. ECDSA and RSA sign this hash; Ed25519 only has it assigned (RFC 9481 §3.3);
    /// ML-DSA has none.
    #[must_use]
    pub const fn hash_algorithm(self) -> Option<HashAlgorithm> {
        match self {
            Self::EcdsaSha256 | Self::RsaSha256 => Some(HashAlgorithm::Sha256),
            Self::EcdsaSha384 | Self::RsaSha384 => Some(HashAlgorithm::Sha384),
            Self::EcdsaSha512 | Self::RsaSha512 | Self::Ed25519 => Some(HashAlgorithm::Sha512),
            Self::MlDsa44 | Self::MlDsa65 | Self::MlDsa87 => None,
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

const ALL_SIGNATURES: [SignatureAlgorithm; 10] = [
    SignatureAlgorithm::EcdsaSha256,
    SignatureAlgorithm::EcdsaSha384,
    SignatureAlgorithm::EcdsaSha512,
    SignatureAlgorithm::Ed25519,
    SignatureAlgorithm::RsaSha256,
    SignatureAlgorithm::RsaSha384,
    SignatureAlgorithm::RsaSha512,
    SignatureAlgorithm::MlDsa44,
    SignatureAlgorithm::MlDsa65,
    SignatureAlgorithm::MlDsa87,
];
