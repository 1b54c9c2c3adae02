//! PKCS#8 of the keys that are made from seeds: Ed25519 and ML-DSA.

use alloc::vec::Vec;

use der::asn1::{AnyRef, OctetStringRef};
use der::{Encode, Tag};
use pkcs8::PrivateKeyInfoRef;
use zeroize::Zeroizing;

use super::{CryptoError, KeyAlgorithm};

/// The tag of an ML-DSA seed (RFC 9881 §6).
#[cfg(any(feature = "ml-dsa", feature = "aws-lc"))]
pub(super) const ML_DSA_SEED: Tag = Tag::ContextSpecific {
    constructed: false,
    number: der::TagNumber(0),
};

/// Unencrypted PKCS#8 DER without the public key; the private key consists of `octets` in an element of this tag.
pub(super) fn to_pkcs8(
    algorithm: KeyAlgorithm,
    tag: Tag,
    octets: &[u8],
) -> Result<Zeroizing<Vec<u8>>, CryptoError> {
    let encode = || {
        let private_key = Zeroizing::new(AnyRef::new(tag, octets)?.to_der()?);
        let private_key = OctetStringRef::new(&private_key)?;
        PrivateKeyInfoRef::new(algorithm.algorithm_identifier(), private_key).to_der()
    };
    encode()
        .map(Zeroizing::new)
        .map_err(|_| CryptoError::SigningFailed)
}

/// The three forms of an ML-DSA key (RFC 9881 §6):
///
/// `CHOICE { seed [0] IMPLICIT OCTET STRING, expandedKey OCTET STRING, both SEQUENCE { seed OCTET STRING, expandedKey
/// OCTET STRING } }`
#[cfg(any(feature = "ml-dsa", feature = "aws-lc"))]
pub(super) fn ml_dsa_secret(der: &[u8]) -> der::Result<super::private_key::Secret<'_>> {
    use super::private_key::Secret;
    use der::{Decode, Reader, Tagged};

    let mut reader = der::SliceReader::new(der)?;
    let secret = match Tag::peek(&reader)? {
        Tag::OctetString => Secret::Expanded(<&OctetStringRef>::decode(&mut reader)?.as_bytes()),
        Tag::Sequence => reader.sequence(|seq| {
            Ok::<_, der::Error>(Secret::Both {
                seed: <&OctetStringRef>::decode(seq)?.as_bytes(),
                expanded: <&OctetStringRef>::decode(seq)?.as_bytes(),
            })
        })?,
        _ => {
            let seed = AnyRef::decode(&mut reader)?;
            seed.tag().assert_eq(ML_DSA_SEED)?;
            Secret::Seed(seed.value())
        }
    };
    reader.finish()?;
    Ok(secret)
}
