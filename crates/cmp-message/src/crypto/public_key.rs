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
            | UnacceptableKey::RsaExponent => Self::WeakKey,
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
    /// The components of an RSA key are still to be [checked](rsa_components): what does not verify RSA need not have
    /// the code for it.
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
