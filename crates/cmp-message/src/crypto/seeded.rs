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

#[cfg(all(test, feature = "full", feature = "aws-lc"))]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;
    use crate::crypto::{Crypto, SigningKey, aws_lc, rustcrypto};
    use alloc::vec;

    const ML_DSA: [KeyAlgorithm; 3] = [
        KeyAlgorithm::MlDsa44,
        KeyAlgorithm::MlDsa65,
        KeyAlgorithm::MlDsa87,
    ];
    const SEED: [u8; 32] = [7; 32];

    fn octets(tag: Tag, octets: &[u8]) -> Vec<u8> {
        AnyRef::new(tag, octets).unwrap().to_der().unwrap()
    }

    fn pkcs8(algorithm: KeyAlgorithm, key: &[u8]) -> Vec<u8> {
        PrivateKeyInfoRef::new(
            algorithm.algorithm_identifier(),
            OctetStringRef::new(key).unwrap(),
        )
        .to_der()
        .unwrap()
    }

    fn seed_form(algorithm: KeyAlgorithm) -> Vec<u8> {
        pkcs8(algorithm, &octets(ML_DSA_SEED, &SEED))
    }

    fn expanded_form(algorithm: KeyAlgorithm, expanded: &[u8]) -> Vec<u8> {
        pkcs8(algorithm, &octets(Tag::OctetString, expanded))
    }

    fn both_form(algorithm: KeyAlgorithm, seed: &[u8], expanded: &[u8]) -> Vec<u8> {
        let both = [octets(Tag::OctetString, seed), octets(Tag::OctetString, expanded)].concat();
        pkcs8(algorithm, &octets(Tag::Sequence, &both))
    }

    /// The expanded key of [`SEED`], made by AWS-LC.
    fn expanded_key(algorithm: KeyAlgorithm) -> Vec<u8> {
        use aws_lc_rs::{encoding::AsRawBytes, signature as s};
        let scheme = match algorithm {
            KeyAlgorithm::MlDsa44 => &s::ML_DSA_44_SIGNING,
            KeyAlgorithm::MlDsa65 => &s::ML_DSA_65_SIGNING,
            _ => &s::ML_DSA_87_SIGNING,
        };
        let pair = s::PqdsaKeyPair::from_seed(scheme, &SEED).unwrap();
        pair.private_key().as_raw_bytes().unwrap().as_ref().to_vec()
    }

    fn both_refuse(der: &[u8]) {
        let malformed = Some(CryptoError::MalformedPrivateKey);
        assert_eq!(rustcrypto::SoftKey::from_der(der).err(), malformed);
        assert_eq!(aws_lc::SoftKey::from_der(der).err(), malformed);
    }

    #[test]
    fn an_ml_dsa_key_is_the_same_in_its_three_forms_and_written_as_a_seed_where_there_is_one() {
        for algorithm in ML_DSA {
            let expanded = expanded_key(algorithm);
            let seed_form = seed_form(algorithm);
            let expected = aws_lc::SoftKey::from_der(&seed_form).unwrap();
            let expanded_form = expanded_form(algorithm, &expanded);
            for (form, written) in [
                (&seed_form, &seed_form),
                (&both_form(algorithm, &SEED, &expanded), &seed_form),
                (&expanded_form, &expanded_form),
            ] {
                let pure = rustcrypto::SoftKey::from_der(form).unwrap();
                let fast = aws_lc::SoftKey::from_der(form).unwrap();
                for key in [&pure as &dyn SigningKey, &fast] {
                    assert_eq!(key.public_key(), expected.public_key());
                    let signature = key.sign(b"in any form").unwrap();
                    for crypto in [&rustcrypto::RustCrypto as &dyn Crypto, &aws_lc::AwsLc] {
                        let verified =
                            crypto.verify(key.algorithm(), key.public_key(), b"in any form", &signature);
                        assert_eq!(verified, Ok(()));
                    }
                }
                assert_eq!(*pure.to_pkcs8().unwrap(), *written);
                assert_eq!(*fast.to_pkcs8().unwrap(), *written);
            }
        }
    }

    #[test]
    fn an_ml_dsa_key_whose_two_forms_contradict_each_other_is_refused() {
        for algorithm in ML_DSA {
            let expanded = expanded_key(algorithm);
            both_refuse(&both_form(algorithm, &[8; 32], &expanded));
            both_refuse(&both_form(algorithm, &SEED[1..], &expanded));
            both_refuse(&both_form(algorithm, &SEED, &expanded[1..]));
            for at in [0, 32, 64, 128, expanded.len() / 2, expanded.len() - 1] {
                let mut other = expanded.clone();
                other[at] ^= 1;
                both_refuse(&both_form(algorithm, &SEED, &other));
            }
        }
    }

    #[test]
    fn an_expanded_key_out_of_range_or_of_another_length_is_refused_without_a_panic() {
        for algorithm in ML_DSA {
            let expanded = expanded_key(algorithm);
            both_refuse(&expanded_form(algorithm, &[]));
            both_refuse(&expanded_form(algorithm, &expanded[1..]));
            both_refuse(&expanded_form(algorithm, &[&expanded[..], &[0]].concat()));
            both_refuse(&expanded_form(algorithm, &vec![0xff; expanded.len()]));
            // Coefficients beyond eta, first and last.
            let short_vectors_end = match algorithm {
                KeyAlgorithm::MlDsa44 => 128 + 8 * 96,
                KeyAlgorithm::MlDsa65 => 128 + 11 * 128,
                _ => 128 + 15 * 96,
            };
            for at in [128, short_vectors_end - 1] {
                let mut other = expanded.clone();
                other[at] = 0xff;
                both_refuse(&expanded_form(algorithm, &other));
            }
            // rho, which the public key begins with, and the hash of the public key.
            for at in [0, 64] {
                let mut other = expanded.clone();
                other[at] ^= 1;
                both_refuse(&expanded_form(algorithm, &other));
            }
        }
    }
}
