//! The encodings of private keys, read once for both providers.

use const_oid::ObjectIdentifier;
use der::asn1::{BitStringRef, OctetStringRef};
use der::{Decode, Reader, SliceReader, Tag, TagMode, TagNumber};
use pkcs8::PrivateKeyInfoRef;

use super::{CryptoError, KeyAlgorithm, UnacceptableKey};

/// An unencrypted private key as it was found in one of its encodings; borrows from them.
pub(crate) struct PrivateKey<'a> {
    pub(crate) algorithm: KeyAlgorithm,
    pub(crate) secret: Secret<'a>,
    /// The content of the BIT STRING that came along, to be compared with what is derived.
    pub(crate) public_key: Option<&'a [u8]>,
}

/// What the private key itself consists of.
#[derive(Clone, Copy)]
pub(crate) enum Secret<'a> {
    /// An EC key's scalar, big-endian, or a seed; as long as the algorithm says.
    Seed(&'a [u8]),
    /// An ML-DSA key as FIPS 204 encodes it, without its seed. Its length is not checked yet.
    #[cfg(any(feature = "ml-dsa", feature = "aws-lc"))]
    Expanded(&'a [u8]),
    /// An ML-DSA key in both forms. They may contradict each other.
    #[cfg(any(feature = "ml-dsa", feature = "aws-lc"))]
    Both { seed: &'a [u8], expanded: &'a [u8] },
}

impl<'a> Secret<'a> {
    /// An EC key's scalar, or the seed; `None` for a key without.
    pub(crate) fn seed(self) -> Option<&'a [u8]> {
        match self {
            Self::Seed(seed) => Some(seed),
            #[cfg(any(feature = "ml-dsa", feature = "aws-lc"))]
            Self::Both { seed, .. } => Some(seed),
            #[cfg(any(feature = "ml-dsa", feature = "aws-lc"))]
            Self::Expanded(_) => None,
        }
    }
}

impl<'a> PrivateKey<'a> {
    /// Reads PKCS#8 (RFC 5958) or, failing that, SEC 1's ECPrivateKey (RFC 5915), both unencrypted DER.
    pub(crate) fn from_der(der: &'a [u8]) -> Result<Self, CryptoError> {
        let Ok(info) = PrivateKeyInfoRef::from_der(der) else {
            return Self::from_sec1(der, None);
        };
        let algorithm = KeyAlgorithm::from_algorithm_identifier(&info.algorithm).map_err(unusable)?;
        let key = info.private_key.as_bytes();
        let secret = match algorithm {
            KeyAlgorithm::P256 | KeyAlgorithm::P384 | KeyAlgorithm::P521 => {
                return Self::from_sec1(key, Some(algorithm));
            }
            KeyAlgorithm::Ed25519 => {
                <&OctetStringRef>::from_der(key).map(|seed| Secret::Seed(seed.as_bytes()))
            }
            #[cfg(any(feature = "ml-dsa", feature = "aws-lc"))]
            KeyAlgorithm::MlDsa44 | KeyAlgorithm::MlDsa65 | KeyAlgorithm::MlDsa87 => {
                super::seeded::ml_dsa_secret(key)
            }
            _ => return Err(CryptoError::UnsupportedKey),
        };
        let public_key = info.public_key.map(|key| key.as_bytes().unwrap_or_default());
        Self::checked(
            algorithm,
            secret.map_err(|_| CryptoError::MalformedPrivateKey)?,
            public_key,
        )
    }

    /// `outer` is the curve that the PKCS#8 around it names.
    fn from_sec1(der: &'a [u8], outer: Option<KeyAlgorithm>) -> Result<Self, CryptoError> {
        let (scalar, named, public_key) = sec1_fields(der).map_err(|_| CryptoError::MalformedPrivateKey)?;
        let named = named
            .map(KeyAlgorithm::from_curve)
            .transpose()
            .map_err(unusable)?;
        match (outer, named) {
            (Some(outer), Some(named)) if outer != named => Err(CryptoError::MalformedPrivateKey),
            (Some(algorithm), _) | (None, Some(algorithm)) => {
                Self::checked(algorithm, Secret::Seed(scalar), public_key)
            }
            (None, None) => Err(CryptoError::MalformedPrivateKey),
        }
    }

    fn checked(
        algorithm: KeyAlgorithm,
        secret: Secret<'a>,
        public_key: Option<&'a [u8]>,
    ) -> Result<Self, CryptoError> {
        match secret.seed() {
            Some(seed) if seed.len() != algorithm.private_key_len() => Err(CryptoError::MalformedPrivateKey),
            _ => Ok(Self {
                algorithm,
                secret,
                public_key,
            }),
        }
    }
}

/// A private key that names no usable type is the caller's mistake, not a peer's.
fn unusable(reason: UnacceptableKey) -> CryptoError {
    match reason {
        UnacceptableKey::Malformed => CryptoError::MalformedPrivateKey,
        _ => CryptoError::UnsupportedKey,
    }
}

type Sec1Fields<'a> = (&'a [u8], Option<ObjectIdentifier>, Option<&'a [u8]>);

/// `ECPrivateKey ::= SEQUENCE { version INTEGER (1), privateKey OCTET STRING, parameters [0] ECParameters OPTIONAL,
/// publicKey [1] BIT STRING OPTIONAL }`
fn sec1_fields(der: &[u8]) -> der::Result<Sec1Fields<'_>> {
    let mut reader = SliceReader::new(der)?;
    let fields = reader.sequence(|seq| {
        if u8::decode(seq)? != 1 {
            return Err(seq.error(der::ErrorKind::Value { tag: Tag::Integer }));
        }
        let scalar = <&OctetStringRef>::decode(seq)?.as_bytes();
        let curve = seq.context_specific::<ObjectIdentifier>(TagNumber(0), TagMode::Explicit)?;
        let point = seq.context_specific::<BitStringRef<'_>>(TagNumber(1), TagMode::Explicit)?;
        Ok::<_, der::Error>((scalar, curve, point.and_then(|bits| bits.as_bytes())))
    })?;
    reader.finish()?;
    Ok(fields)
}
