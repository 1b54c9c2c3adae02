//! AsymmetricKeyPackage (RFC 5958): the private key itself.

use alloc::vec::Vec;
use core::fmt;

use der::asn1::{BitStringRef, OctetStringRef};
use der::{Decode, Encode, Sequence};
use spki::{AlgorithmIdentifierRef, SubjectPublicKeyInfoRef};
use zeroize::Zeroizing;

use super::cms::{SequenceOf, SetOf};
use super::{EnvelopeError, Structure};
use crate::crypto::Crypto;

/// ```text
/// AsymmetricKeyPackage ::= SEQUENCE SIZE (1..MAX) OF OneAsymmetricKey
///
/// OneAsymmetricKey ::= SEQUENCE {
///     version                  Version,   -- v2(1)
///     privateKeyAlgorithm      PrivateKeyAlgorithmIdentifier,
///     privateKey               PrivateKey,
///     attributes           [0] Attributes OPTIONAL,
///     publicKey            [1] PublicKey  OPTIONAL }
/// ```
#[derive(Sequence)]
struct OneAsymmetricKey<'a> {
    version: u8,
    private_key_algorithm: AlgorithmIdentifierRef<'a>,
    private_key: &'a OctetStringRef,
    #[asn1(
        context_specific = "0",
        tag_mode = "IMPLICIT",
        constructed = "true",
        optional = "true"
    )]
    attributes: Option<SetOf<'a>>,
    #[asn1(context_specific = "1", tag_mode = "IMPLICIT", optional = "true")]
    public_key: Option<BitStringRef<'a>>,
}

/// v2: the version with a public key.
const VERSION_2: u8 = 1;

/// A private key that somebody else made. Wiped when dropped, never shown.
#[derive(Clone)]
pub struct DeliveredKey(Zeroizing<Vec<u8>>);

impl DeliveredKey {
    /// Unencrypted PKCS#8 DER, version 1, which every reader of PKCS#8 understands.
    #[must_use]
    pub fn as_pkcs8(&self) -> &[u8] {
        &self.0
    }

    /// The same, to be kept.
    #[must_use]
    pub fn into_pkcs8(self) -> Zeroizing<Vec<u8>> {
        self.0
    }

    /// Takes the key out of the DER of an AsymmetricKeyPackage: exactly one, of version 2, and the one that belongs
    /// to `public_key`, a DER SubjectPublicKeyInfo.
    pub(super) fn from_package(
        crypto: &dyn Crypto,
        package: &[u8],
        public_key: &[u8],
    ) -> Result<Self, EnvelopeError> {
        let keys = SequenceOf::from_der(package)?;
        let key: OneAsymmetricKey<'_> = keys.only()?.map_err(EnvelopeError::KeyCount)?;
        if key.version != VERSION_2 {
            return Err(EnvelopeError::Version(Structure::OneAsymmetricKey, key.version));
        }
        let claimed = key.public_key.ok_or(EnvelopeError::MissingPublicKey)?;
        let certified = SubjectPublicKeyInfoRef::from_der(public_key)?;
        if claimed != certified.subject_public_key {
            return Err(EnvelopeError::KeyMismatch);
        }
        let plain = OneAsymmetricKey {
            version: 0,
            attributes: None,
            public_key: None,
            ..key
        };
        let pkcs8 = Zeroizing::new(plain.to_der()?);
        let derived = crypto.public_key_of(&pkcs8).map_err(EnvelopeError::PrivateKey)?;
        if derived == public_key {
            Ok(Self(pkcs8))
        } else {
            Err(EnvelopeError::KeyMismatch)
        }
    }
}

impl fmt::Debug for DeliveredKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DeliveredKey(…)")
    }
}

/// The DER of the AsymmetricKeyPackage of a key in PKCS#8 and of its DER SubjectPublicKeyInfo.
pub(super) fn package(pkcs8: &[u8], public_key: &[u8]) -> der::Result<Zeroizing<Vec<u8>>> {
    let key = OneAsymmetricKey {
        version: VERSION_2,
        attributes: None,
        public_key: Some(SubjectPublicKeyInfoRef::from_der(public_key)?.subject_public_key),
        ..OneAsymmetricKey::from_der(pkcs8)?
    };
    let key = Zeroizing::new(key.to_der()?);
    SequenceOf(&key).to_der().map(Zeroizing::new)
}
