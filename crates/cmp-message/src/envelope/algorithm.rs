//! The algorithms of RFC 9481 §4 and §5 that go into an EnvelopedData.

use alloc::vec::Vec;

use const_oid::ObjectIdentifier;
use const_oid::db::{rfc5753, rfc5911, rfc5912};
use der::asn1::{AnyRef, OctetString, OctetStringRef};
use der::{Decode, Encode, Sequence};
use spki::{AlgorithmIdentifierOwned, AlgorithmIdentifierRef};
use zeroize::Zeroizing;

use super::EnvelopeError;
use crate::crypto::{Crypto, CryptoError, HashAlgorithm, KeyAlgorithm};
use crate::mac::{self, MacError, Secret};

/// `id-aes*-wrap` (RFC 3565 §2.3.2): a key-encryption key of AES that encrypts the content-encryption key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum KeyWrap {
    Aes128,
    Aes256,
}

impl KeyWrap {
    pub(super) const fn key_len(self) -> usize {
        match self {
            Self::Aes128 => 16,
            Self::Aes256 => 32,
        }
    }

    const fn oid(self) -> ObjectIdentifier {
        match self {
            Self::Aes128 => rfc5911::ID_AES_128_WRAP,
            Self::Aes256 => rfc5911::ID_AES_256_WRAP,
        }
    }

    /// Parameters are absent (RFC 3565 §2.3.2). NULL is what RFC 5753 §7.2 has for other ciphers, and harmless.
    pub(super) fn from_identifier(id: &AlgorithmIdentifierRef<'_>) -> Result<Self, EnvelopeError> {
        let known = [Self::Aes128, Self::Aes256];
        let found = known.into_iter().find(|wrap| wrap.oid() == id.oid);
        match (found, id.parameters) {
            (Some(_), Some(parameters)) if !parameters.is_null() => {
                Err(EnvelopeError::MalformedAlgorithm(id.oid))
            }
            (Some(wrap), _) => Ok(wrap),
            (None, _) => Err(unsupported(id.oid)),
        }
    }

    pub(super) const fn identifier(self) -> AlgorithmIdentifierRef<'static> {
        AlgorithmIdentifierRef {
            oid: self.oid(),
            parameters: None,
        }
    }
}

/// `id-aes*-CBC` (RFC 3565 §4.1) with its initialisation vector. The profile has nothing else, and AES-GCM would need
/// another container than EnvelopedData (RFC 5084).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct AesCbc {
    pub(super) key_len: usize,
    pub(super) iv: [u8; 16],
}

impl AesCbc {
    pub(super) fn from_identifier(id: &AlgorithmIdentifierRef<'_>) -> Result<Self, EnvelopeError> {
        let key_len = match id.oid {
            rfc5911::ID_AES_128_CBC => 16,
            rfc5911::ID_AES_256_CBC => 32,
            other => return Err(unsupported(other)),
        };
        let iv = id
            .parameters
            .and_then(|iv| iv.decode_as::<&OctetStringRef>().ok());
        let iv = iv.and_then(|iv| iv.as_bytes().try_into().ok());
        let iv = iv.ok_or(EnvelopeError::MalformedAlgorithm(id.oid))?;
        Ok(Self { key_len, iv })
    }

    /// AES-256-CBC.
    pub(super) fn identifier_256(iv: &OctetStringRef) -> AlgorithmIdentifierRef<'_> {
        AlgorithmIdentifierRef {
            oid: rfc5911::ID_AES_256_CBC,
            parameters: Some(AnyRef::from(iv)),
        }
    }
}

/// The hash of the X9.63 key derivation in `dhSinglePass-stdDH-sha*kdf-scheme` or in its cofactor sibling (RFC 5753
/// §7.1.4), which is the same on curves of prime order; and the key wrap in the parameters.
pub(super) fn key_agreement<'a>(
    id: &AlgorithmIdentifierRef<'a>,
) -> Result<(HashAlgorithm, AlgorithmIdentifierRef<'a>), EnvelopeError> {
    let hash = match id.oid {
        rfc5753::DH_SINGLE_PASS_STD_DH_SHA_256_KDF_SCHEME
        | rfc5753::DH_SINGLE_PASS_COFACTOR_DH_SHA_256_KDF_SCHEME => HashAlgorithm::Sha256,
        rfc5753::DH_SINGLE_PASS_STD_DH_SHA_384_KDF_SCHEME
        | rfc5753::DH_SINGLE_PASS_COFACTOR_DH_SHA_384_KDF_SCHEME => HashAlgorithm::Sha384,
        rfc5753::DH_SINGLE_PASS_STD_DH_SHA_512_KDF_SCHEME
        | rfc5753::DH_SINGLE_PASS_COFACTOR_DH_SHA_512_KDF_SCHEME => HashAlgorithm::Sha512,
        rfc5753::DH_SINGLE_PASS_STD_DH_SHA_1_KDF_SCHEME
        | rfc5753::DH_SINGLE_PASS_COFACTOR_DH_SHA_1_KDF_SCHEME => {
            return Err(EnvelopeError::WeakAlgorithm(id.oid));
        }
        other => return Err(unsupported(other)),
    };
    let wrap = id.parameters.and_then(|any| any.decode_as().ok());
    Ok((hash, wrap.ok_or(EnvelopeError::MalformedAlgorithm(id.oid))?))
}

/// The scheme whose hash is as strong as the curve; `None` for keys that do not agree on anything.
pub(super) fn key_agreement_scheme(key: KeyAlgorithm) -> Option<(HashAlgorithm, ObjectIdentifier)> {
    match key {
        KeyAlgorithm::P256 => Some((
            HashAlgorithm::Sha256,
            rfc5753::DH_SINGLE_PASS_STD_DH_SHA_256_KDF_SCHEME,
        )),
        KeyAlgorithm::P384 => Some((
            HashAlgorithm::Sha384,
            rfc5753::DH_SINGLE_PASS_STD_DH_SHA_384_KDF_SCHEME,
        )),
        KeyAlgorithm::P521 => Some((
            HashAlgorithm::Sha512,
            rfc5753::DH_SINGLE_PASS_STD_DH_SHA_512_KDF_SCHEME,
        )),
        _ => None,
    }
}

/// How a content-encryption key is encrypted for an RSA key (RFC 9481 §4.2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum KeyTransport {
    /// RSAES-OAEP with this hash, MGF1 with the same, and no label (RFC 4055 §4.1).
    RsaesOaep(HashAlgorithm),
    /// RSAES-PKCS1-v1_5: only read. Whoever decrypts must not tell how it failed.
    RsaesPkcs1V15,
}

/// ```text
/// RSAES-OAEP-params ::= SEQUENCE {
///     hashFunc         [0] AlgorithmIdentifier DEFAULT sha1Identifier,
///     maskGenFunc      [1] AlgorithmIdentifier DEFAULT mgf1SHA1Identifier,
///     pSourceFunc      [2] AlgorithmIdentifier DEFAULT pSpecifiedEmptyIdentifier }
/// ```
#[derive(Sequence)]
struct OaepParams<'a> {
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT", optional = "true")]
    hash_func: Option<AlgorithmIdentifierRef<'a>>,
    #[asn1(context_specific = "1", tag_mode = "EXPLICIT", optional = "true")]
    mask_gen_func: Option<AlgorithmIdentifierRef<'a>>,
    #[asn1(context_specific = "2", tag_mode = "EXPLICIT", optional = "true")]
    p_source_func: Option<AlgorithmIdentifierRef<'a>>,
}

impl KeyTransport {
    pub(super) fn from_identifier(id: &AlgorithmIdentifierRef<'_>) -> Result<Self, EnvelopeError> {
        match id.oid {
            rfc5912::ID_RSAES_OAEP => {
                let malformed = EnvelopeError::MalformedAlgorithm(id.oid);
                let parameters = id.parameters.ok_or(malformed)?;
                oaep(&parameters.decode_as()?).map(Self::RsaesOaep)
            }
            rfc5912::RSA_ENCRYPTION if id.parameters.is_none_or(|any| any.is_null()) => {
                Ok(Self::RsaesPkcs1V15)
            }
            rfc5912::RSA_ENCRYPTION => Err(EnvelopeError::MalformedAlgorithm(id.oid)),
            other => Err(unsupported(other)),
        }
    }

    /// The DER of the AlgorithmIdentifier.
    pub(super) fn identifier(self) -> der::Result<AlgorithmIdentifierOwned> {
        let Self::RsaesOaep(hash) = self else {
            return mac::identifier(rfc5912::RSA_ENCRYPTION, &AnyRef::NULL);
        };
        let hash = AlgorithmIdentifierRef {
            parameters: Some(AnyRef::NULL),
            ..hash.algorithm_identifier()
        };
        let hash_der = hash.to_der()?;
        let parameters = OaepParams {
            hash_func: Some(hash),
            mask_gen_func: Some(AlgorithmIdentifierRef {
                oid: rfc5912::ID_MGF_1,
                parameters: Some(AnyRef::from_der(&hash_der)?),
            }),
            p_source_func: None,
        };
        mac::identifier(rfc5912::ID_RSAES_OAEP, &parameters)
    }
}

fn oaep(parameters: &OaepParams<'_>) -> Result<HashAlgorithm, EnvelopeError> {
    let hash_of = |id: Option<AlgorithmIdentifierRef<'_>>| match id {
        None => Ok(HashAlgorithm::Sha1),
        Some(id) => HashAlgorithm::from_algorithm_identifier(&id).map_err(|_| unsupported(id.oid)),
    };
    let hash = hash_of(parameters.hash_func)?;
    let mgf_hash = match parameters.mask_gen_func {
        Some(id) if id.oid != rfc5912::ID_MGF_1 => return Err(unsupported(id.oid)),
        Some(id) => {
            let inner = id.parameters.and_then(|any| any.decode_as().ok());
            hash_of(Some(inner.ok_or(EnvelopeError::MalformedAlgorithm(id.oid))?))?
        }
        None => HashAlgorithm::Sha1,
    };
    let label = parameters.p_source_func.is_some_and(|source| {
        let label = source
            .parameters
            .and_then(|any| any.decode_as::<&OctetStringRef>().ok());
        label.is_none_or(|label| !label.as_bytes().is_empty())
    });
    if mgf_hash == hash && !label {
        Ok(hash)
    } else {
        Err(unsupported(rfc5912::ID_RSAES_OAEP))
    }
}

/// `id-PBKDF2` (RFC 8018 §5.2) as it makes a key-encryption key out of a shared secret (RFC 9481 §4.4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pbkdf2 {
    pub(super) prf: HashAlgorithm,
    pub(super) salt: OctetString,
    pub(super) iterations: u32,
}

impl Pbkdf2 {
    /// `key_len` is what the key wrap needs: keyLength may be left out, and must not say something else.
    pub(super) fn from_identifier(
        id: &AlgorithmIdentifierRef<'_>,
        key_len: usize,
    ) -> Result<Self, EnvelopeError> {
        if id.oid != rfc5911::ID_PBKDF_2 {
            return Err(unsupported(id.oid));
        }
        let parameters = id
            .parameters
            .and_then(|any| any.decode_as::<mac::Pbkdf2Params>().ok());
        let fits = |length: u32| usize::try_from(length) == Ok(key_len);
        let parameters = parameters
            .filter(|parameters| parameters.key_length.is_none_or(fits))
            .ok_or(EnvelopeError::MalformedAlgorithm(id.oid))?;
        let prf = parameters
            .prf
            .as_ref()
            .map_or(Ok(HashAlgorithm::Sha1), mac::hmac_of);
        match prf.map_err(|_| unsupported(id.oid))? {
            HashAlgorithm::Sha1 => Err(EnvelopeError::WeakAlgorithm(HashAlgorithm::Sha1.hmac_oid())),
            prf => {
                let (salt, iterations) = (parameters.salt, parameters.iteration_count);
                mac::check_cost(iterations, salt.as_bytes().len()).map_err(cost)?;
                Ok(Self {
                    prf,
                    salt,
                    iterations,
                })
            }
        }
    }

    /// The key-encryption key.
    pub(super) fn derive(
        &self,
        crypto: &dyn Crypto,
        password: &Secret,
        key_len: usize,
    ) -> Result<Zeroizing<Vec<u8>>, CryptoError> {
        let mut key = Zeroizing::new(alloc::vec![0; key_len]);
        let salt = self.salt.as_bytes();
        crypto.pbkdf2(self.prf, password.as_bytes(), salt, self.iterations, &mut key)?;
        Ok(key)
    }

    pub(super) fn identifier(&self, key_len: usize) -> der::Result<AlgorithmIdentifierOwned> {
        mac::identifier(
            rfc5911::ID_PBKDF_2,
            &mac::Pbkdf2Params {
                salt: self.salt.clone(),
                iteration_count: self.iterations,
                key_length: u32::try_from(key_len).ok(),
                prf: Some(mac::hmac_identifier(self.prf)),
            },
        )
    }
}

fn cost(error: MacError) -> EnvelopeError {
    match error {
        MacError::TooFewIterations => EnvelopeError::TooFewIterations,
        _ => EnvelopeError::TooCostly,
    }
}

fn unsupported(oid: ObjectIdentifier) -> EnvelopeError {
    EnvelopeError::UnsupportedAlgorithm(oid)
}
