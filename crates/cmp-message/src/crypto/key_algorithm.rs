use alloc::vec::Vec;
use core::{fmt, str::FromStr};

use const_oid::ObjectIdentifier;
use const_oid::db::{fips204, rfc5912, rfc8410};
use der::Encode;
use der::asn1::{AnyRef, BitStringRef};
use spki::{AlgorithmIdentifierRef, SubjectPublicKeyInfoRef};

use super::public_key::PublicKey;
use super::{CryptoError, SignatureAlgorithm, UnacceptableKey};

/// secp192r1 (RFC 5480 §2.1.1.1).
const SECP_192_R_1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.1");

/// A type of key, with its parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum KeyAlgorithm {
    /// An elliptic-curve key on secp256r1 (RFC 5480 §2.1.1).
    P256,
    /// An elliptic-curve key on secp384r1.
    P384,
    /// An elliptic-curve key on secp521r1.
    P521,
    /// An Ed25519 key (RFC 8410).
    Ed25519,
    /// An ML-DSA-44 key (RFC 9881).
    MlDsa44,
    /// An ML-DSA-65 key.
    MlDsa65,
    /// An ML-DSA-87 key.
    MlDsa87,
    /// An RSA key of any length (RFC 3279 §2.3.1). No key of this library is one: RSA is verified only.
    Rsa,
}

impl KeyAlgorithm {
    /// The types that keys are made of.
    pub const GENERATED: [Self; 7] = [
        Self::P256,
        Self::P384,
        Self::P521,
        Self::Ed25519,
        Self::MlDsa44,
        Self::MlDsa65,
        Self::MlDsa87,
    ];

    /// The algorithm of the key in a DER SubjectPublicKeyInfo, if the key is good enough to be believed or certified.
    ///
    /// Asked for are P-256 or a larger one of the NIST's prime curves with an uncompressed point, Ed25519 but for points
    /// of small order, ML-DSA of the right length, or RSA with a modulus of 2048 to 8192 bits and an odd exponent from
    /// 65537 to 2³³ − 1. Whether a point lies on its curve is found when a signature is verified.
    ///
    /// # Errors
    /// The reason why the key is not acceptable.
    pub fn of_public_key(spki: &[u8]) -> Result<Self, UnacceptableKey> {
        PublicKey::checked(spki).map(|key| key.algorithm)
    }

    /// The algorithm of a key's AlgorithmIdentifier. EC names its curve, RSA has NULL, all others have no parameters.
    ///
    /// # Errors
    /// [`UnacceptableKey::Malformed`], [`UnacceptableKey::UnsupportedType`], [`UnacceptableKey::UnsupportedCurve`] or
    /// [`UnacceptableKey::WeakCurve`].
    pub fn from_algorithm_identifier(id: &AlgorithmIdentifierRef<'_>) -> Result<Self, UnacceptableKey> {
        if id.oid == rfc5912::ID_EC_PUBLIC_KEY {
            let curve = id.parameters_oid().map_err(|_| UnacceptableKey::Malformed)?;
            return Self::from_curve(curve);
        }
        let alg = [
            Self::Ed25519,
            Self::MlDsa44,
            Self::MlDsa65,
            Self::MlDsa87,
            Self::Rsa,
        ]
        .into_iter()
        .find(|alg| alg.oid() == id.oid)
        .ok_or(UnacceptableKey::UnsupportedType)?;
        if id.parameters == alg.algorithm_identifier().parameters {
            Ok(alg)
        } else {
            Err(UnacceptableKey::Malformed)
        }
    }

    /// The algorithm of an EC key on the named curve.
    pub(super) fn from_curve(oid: ObjectIdentifier) -> Result<Self, UnacceptableKey> {
        let known = [
            (Self::P256, rfc5912::SECP_256_R_1),
            (Self::P384, rfc5912::SECP_384_R_1),
            (Self::P521, rfc5912::SECP_521_R_1),
        ];
        match known.into_iter().find(|(_, curve)| *curve == oid) {
            Some((alg, _)) => Ok(alg),
            None if [SECP_192_R_1, rfc5912::SECP_224_R_1].contains(&oid) => Err(UnacceptableKey::WeakCurve),
            None => Err(UnacceptableKey::UnsupportedCurve),
        }
    }

    /// The AlgorithmIdentifier of a key, with exactly the parameters that the algorithm demands.
    #[must_use]
    pub fn algorithm_identifier(self) -> AlgorithmIdentifierRef<'static> {
        let parameters = match self {
            Self::P256 => Some(AnyRef::from(&rfc5912::SECP_256_R_1)),
            Self::P384 => Some(AnyRef::from(&rfc5912::SECP_384_R_1)),
            Self::P521 => Some(AnyRef::from(&rfc5912::SECP_521_R_1)),
            Self::Rsa => Some(AnyRef::NULL),
            Self::Ed25519 | Self::MlDsa44 | Self::MlDsa65 | Self::MlDsa87 => None,
        };
        AlgorithmIdentifierRef {
            oid: self.oid(),
            parameters,
        }
    }

    /// The signature algorithm for a key of this type; of several, the one whose hash is as strong as the key
    /// (RFC 9481 §3.2).
    #[must_use]
    pub const fn signature_algorithm(self) -> SignatureAlgorithm {
        match self {
            Self::P256 => SignatureAlgorithm::EcdsaSha256,
            Self::P384 => SignatureAlgorithm::EcdsaSha384,
            Self::P521 => SignatureAlgorithm::EcdsaSha512,
            Self::Ed25519 => SignatureAlgorithm::Ed25519,
            Self::MlDsa44 => SignatureAlgorithm::MlDsa44,
            Self::MlDsa65 => SignatureAlgorithm::MlDsa65,
            Self::MlDsa87 => SignatureAlgorithm::MlDsa87,
            Self::Rsa => SignatureAlgorithm::RsaSha256,
        }
    }

    /// Whether signatures of `alg` are made with keys of this type. ECDSA and RSA take any of the hashes.
    #[must_use]
    pub const fn makes(self, alg: SignatureAlgorithm) -> bool {
        use SignatureAlgorithm as Signature;
        match self {
            Self::P256 | Self::P384 | Self::P521 => {
                matches!(
                    alg,
                    Signature::EcdsaSha256 | Signature::EcdsaSha384 | Signature::EcdsaSha512
                )
            }
            Self::Rsa => matches!(
                alg,
                Signature::RsaSha256 | Signature::RsaSha384 | Signature::RsaSha512
            ),
            Self::Ed25519 => matches!(alg, Signature::Ed25519),
            Self::MlDsa44 => matches!(alg, Signature::MlDsa44),
            Self::MlDsa65 => matches!(alg, Signature::MlDsa65),
            Self::MlDsa87 => matches!(alg, Signature::MlDsa87),
        }
    }

    /// The DER SubjectPublicKeyInfo of a key of this type; `key` is the content of its BIT STRING.
    #[cfg_attr(
        not(any(feature = "rustcrypto", feature = "aws-lc")),
        expect(dead_code, reason = "only providers have keys")
    )]
    pub(super) fn subject_public_key_info(self, key: &[u8]) -> Result<Vec<u8>, CryptoError> {
        let encode = || {
            SubjectPublicKeyInfoRef {
                algorithm: self.algorithm_identifier(),
                subject_public_key: BitStringRef::from_bytes(key)?,
            }
            .to_der()
        };
        encode().map_err(|_| CryptoError::SigningFailed)
    }

    /// The length in bytes of the BIT STRING's content; `None` for RSA, where it varies.
    pub(super) const fn public_key_len(self) -> Option<usize> {
        match self {
            Self::P256 | Self::P384 | Self::P521 => Some(1 + 2 * self.private_key_len()),
            Self::Ed25519 => Some(32),
            Self::MlDsa44 => Some(1312),
            Self::MlDsa65 => Some(1952),
            Self::MlDsa87 => Some(2592),
            Self::Rsa => None,
        }
    }

    /// The length in bytes of an EC key's scalar, or of the seed of the other types; 0 for RSA.
    pub(super) const fn private_key_len(self) -> usize {
        match self {
            Self::P256 | Self::Ed25519 | Self::MlDsa44 | Self::MlDsa65 | Self::MlDsa87 => 32,
            Self::P384 => 48,
            Self::P521 => 66,
            Self::Rsa => 0,
        }
    }

    /// The name that programs use on their command lines.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::P256 => "p256",
            Self::P384 => "p384",
            Self::P521 => "p521",
            Self::Ed25519 => "ed25519",
            Self::MlDsa44 => "ml-dsa-44",
            Self::MlDsa65 => "ml-dsa-65",
            Self::MlDsa87 => "ml-dsa-87",
            Self::Rsa => "rsa",
        }
    }

    const fn oid(self) -> ObjectIdentifier {
        match self {
            Self::P256 | Self::P384 | Self::P521 => rfc5912::ID_EC_PUBLIC_KEY,
            Self::Ed25519 => rfc8410::ID_ED_25519,
            Self::MlDsa44 => fips204::ID_ML_DSA_44,
            Self::MlDsa65 => fips204::ID_ML_DSA_65,
            Self::MlDsa87 => fips204::ID_ML_DSA_87,
            Self::Rsa => rfc5912::RSA_ENCRYPTION,
        }
    }
}

impl fmt::Display for KeyAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for KeyAlgorithm {
    type Err = UnknownKeyAlgorithm;

    /// Takes the [name](Self::name) of a type that keys are [made of](Self::GENERATED).
    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let mut known = Self::GENERATED.into_iter();
        known.find(|alg| alg.name() == name).ok_or(UnknownKeyAlgorithm)
    }
}

/// A name that is none of a type of key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownKeyAlgorithm;

impl fmt::Display for UnknownKeyAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not one of")?;
        KeyAlgorithm::GENERATED
            .into_iter()
            .try_for_each(|alg| write!(f, " {alg}"))
    }
}

impl core::error::Error for UnknownKeyAlgorithm {}
