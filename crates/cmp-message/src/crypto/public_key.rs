//! The encodings of public keys, read once for both providers, and which keys are good enough.

use core::fmt;

use der::asn1::UintRef;
use der::{Decode, Reader, SliceReader};
use spki::SubjectPublicKeyInfoRef;

use super::{CryptoError, KeyAlgorithm};

/// Less is not believed (RFC 9481 §7.1), more takes too long to verify.
const RSA_MODULUS_BITS: core::ops::RangeInclusive<usize> = 2048..=8192;
/// From F4 (FIPS 186-5 §A.1.1) to what verifies in an acceptable time.
const RSA_EXPONENT: core::ops::RangeInclusive<u64> = 65_537..=(1 << 33) - 1;

/// Why a public key is neither believed nor certified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum UnacceptableKey {
    /// It does not parse, or its parameters or its length are not those of its type.
    Malformed,
    /// Its type is unknown here.
    UnsupportedType,
    /// Its curve is unknown here, or its point is compressed (RFC 5480 §2.2 lets us refuse that).
    UnsupportedCurve,
    /// Its curve is smaller than P-256.
    WeakCurve,
    /// Its RSA modulus has less than 2048 bits.
    WeakRsaModulus,
    /// Its RSA modulus has more than 8192 bits.
    LongRsaModulus,
    /// Its RSA exponent is even, less than 65537, or more than 2³³ − 1.
    RsaExponent,
    /// Its Ed25519 point is of small order: everybody can make signatures for it.
    SmallOrder,
}

impl fmt::Display for UnacceptableKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => "the public key is malformed",
            Self::UnsupportedType => "the type of the public key is not supported",
            Self::UnsupportedCurve => "the curve or point format of the public key is not supported",
            Self::WeakCurve => "the curve of the public key is smaller than P-256",
            Self::WeakRsaModulus => "the RSA modulus has less than 2048 bits",
            Self::LongRsaModulus => "the RSA modulus has more than 8192 bits",
            Self::RsaExponent => "the RSA exponent is even or out of range",
            Self::SmallOrder => "the Ed25519 key is of small order",
        })
    }
}

impl core::error::Error for UnacceptableKey {}

impl From<UnacceptableKey> for CryptoError {
    fn from(reason: UnacceptableKey) -> Self {
        match reason {
            UnacceptableKey::Malformed => Self::MalformedPublicKey,
            UnacceptableKey::UnsupportedType | UnacceptableKey::UnsupportedCurve => Self::UnsupportedKey,
            UnacceptableKey::WeakCurve
            | UnacceptableKey::WeakRsaModulus
            | UnacceptableKey::LongRsaModulus
            | UnacceptableKey::RsaExponent
            | UnacceptableKey::SmallOrder => Self::WeakKey,
        }
    }
}

/// A public key as it was found in a SubjectPublicKeyInfo; borrows from it.
pub(crate) struct PublicKey<'a> {
    pub(crate) algorithm: KeyAlgorithm,
    /// The content of the BIT STRING: an uncompressed point, an RSAPublicKey, or the key itself.
    pub(crate) bytes: &'a [u8],
}

impl<'a> PublicKey<'a> {
    /// Reads a DER SubjectPublicKeyInfo.
    pub(super) fn checked(spki: &'a [u8]) -> Result<Self, UnacceptableKey> {
        let key = Self::from_spki(spki)?;
        match key.algorithm {
            KeyAlgorithm::Rsa => rsa_components(key.bytes).map(|_| key),
            KeyAlgorithm::Ed25519 => check_ed25519(key.bytes).map(|()| key),
            _ => Ok(key),
        }
    }

    /// Like [`checked`](Self::checked), but for [`rsa_components`] and [`check_ed25519`]: firmware without these
    /// algorithms need not have the code.
    pub(crate) fn from_spki(spki: &'a [u8]) -> Result<Self, UnacceptableKey> {
        let spki = SubjectPublicKeyInfoRef::from_der(spki).map_err(|_| UnacceptableKey::Malformed)?;
        let algorithm = KeyAlgorithm::from_algorithm_identifier(&spki.algorithm)?;
        let bytes = spki
            .subject_public_key
            .as_bytes()
            .ok_or(UnacceptableKey::Malformed)?;
        match algorithm {
            KeyAlgorithm::P256 | KeyAlgorithm::P384 | KeyAlgorithm::P521 => match bytes.first() {
                Some(0x04) => {}
                Some(0x02 | 0x03) => return Err(UnacceptableKey::UnsupportedCurve),
                _ => return Err(UnacceptableKey::Malformed),
            },
            _ => {}
        }
        match algorithm.public_key_len() {
            Some(len) if len != bytes.len() => Err(UnacceptableKey::Malformed),
            _ => Ok(Self { algorithm, bytes }),
        }
    }
}

/// Modulus and exponent of an acceptable RSAPublicKey, big-endian without leading zeros (RFC 8017 §A.1.1).
///
/// `RSAPublicKey ::= SEQUENCE { modulus INTEGER, publicExponent INTEGER }`
pub(super) fn rsa_components(key: &[u8]) -> Result<(&[u8], &[u8]), UnacceptableKey> {
    let (modulus, exponent) = rsa_public_key(key).map_err(|_| UnacceptableKey::Malformed)?;
    let leading_zeros = modulus.first().map_or(0, |byte| byte.leading_zeros() as usize);
    let modulus_bits = (modulus.len() * 8).saturating_sub(leading_zeros);
    if modulus_bits < *RSA_MODULUS_BITS.start() {
        return Err(UnacceptableKey::WeakRsaModulus);
    }
    if modulus_bits > *RSA_MODULUS_BITS.end() {
        return Err(UnacceptableKey::LongRsaModulus);
    }
    if modulus.last().is_some_and(|byte| byte % 2 == 0) {
        return Err(UnacceptableKey::Malformed);
    }
    // What does not fit into 64 bits is more than the largest.
    let value = exponent.iter().try_fold(0_u64, |value, byte| {
        Some(value.checked_mul(256)? | u64::from(*byte))
    });
    match value {
        Some(value) if RSA_EXPONENT.contains(&value) && value % 2 == 1 => Ok((modulus, exponent)),
        _ => Err(UnacceptableKey::RsaExponent),
    }
}

fn rsa_public_key(key: &[u8]) -> der::Result<(&[u8], &[u8])> {
    let mut reader = SliceReader::new(key)?;
    let (modulus, exponent) =
        reader.sequence(|seq| Ok::<_, der::Error>((UintRef::decode(seq)?, UintRef::decode(seq)?)))?;
    reader.finish()?;
    Ok((modulus.as_bytes(), exponent.as_bytes()))
}

/// Refuses the points of order 1, 2, 4 and 8, also in encodings that are not canonical.
pub(super) fn check_ed25519(key: &[u8]) -> Result<(), UnacceptableKey> {
    /// Their y, little-endian: 0, 1, −1, the two of order 8, and 0 and 1 once more as p and p + 1.
    const Y: [[u8; 32]; 7] = [
        ends(0x00, 0x00, 0x00),
        ends(0x01, 0x00, 0x00),
        ends(0xec, 0xff, 0x7f),
        [
            0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98, 0xf0,
            0xd5, 0xdf, 0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53, 0xfc, 0x05,
        ],
        [
            0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67, 0x0f,
            0x2a, 0x20, 0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac, 0x03, 0x7a,
        ],
        ends(0xed, 0xff, 0x7f),
        ends(0xee, 0xff, 0x7f),
    ];
    const fn ends(first: u8, middle: u8, last: u8) -> [u8; 32] {
        let mut y = [middle; 32];
        y[0] = first;
        y[31] = last;
        y
    }
    let mut y = <[u8; 32]>::try_from(key).map_err(|_| UnacceptableKey::Malformed)?;
    // The sign of x.
    y[31] &= 0x7f;
    if Y.contains(&y) {
        return Err(UnacceptableKey::SmallOrder);
    }
    Ok(())
}
