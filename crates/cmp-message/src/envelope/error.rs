use core::fmt;

use const_oid::ObjectIdentifier;

use super::{MAX_CERTIFICATES, MAX_ENCRYPTED_KEY_BYTES};
use crate::PkiFailure;
use crate::crypto::{CryptoError, KeyAlgorithm};
use crate::mac::{MAX_ITERATIONS, MIN_ITERATIONS};
use crate::path::PathError;

/// A structure with a version of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are those of RFC 5652 and RFC 5958")]
pub enum Structure {
    EnvelopedData,
    KeyTransRecipientInfo,
    KeyAgreeRecipientInfo,
    PasswordRecipientInfo,
    SignedData,
    SignerInfo,
    OneAsymmetricKey,
}

/// Why a delivered private key is not taken. The peer is to blame, but for [`Recipient`](Self::Recipient) and
/// [`WrongRecipient`](Self::WrongRecipient).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EnvelopeError {
    /// Longer than [`MAX_ENCRYPTED_KEY_BYTES`].
    TooLong,
    /// Not the DER that RFC 5652 or RFC 5958 want there.
    Malformed,
    /// The deprecated EncryptedValue in place of EnvelopedData (RFC 9810 §5.2.2).
    EncryptedValue,
    /// A version that the structure must not have where it is.
    Version(Structure, u8),
    /// Not one recipient, but this many.
    RecipientCount(usize),
    /// A kind of recipient that the profile does not have: kekri or ori.
    RecipientKind,
    /// The kind of recipient does not go with the protection of the request: a password where it was signed, a key
    /// where it had a MAC.
    RecipientProtection,
    /// It is for the key of another certificate than the one that protected the request.
    NotForUs,
    /// The originator's key is named by a certificate that is not at hand.
    UnknownOriginator,
    /// The originator's key is not on the recipient's curve, or is not one for a key agreement.
    OriginatorKey,
    /// An algorithm that is not of RFC 9481, or not supported here.
    UnsupportedAlgorithm(ObjectIdentifier),
    /// An algorithm that is too weak to be taken.
    WeakAlgorithm(ObjectIdentifier),
    /// An algorithm with wrong parameters.
    MalformedAlgorithm(ObjectIdentifier),
    /// PBKDF2 with fewer than [`MIN_ITERATIONS`].
    TooFewIterations,
    /// PBKDF2 with more than [`MAX_ITERATIONS`], or with a huge salt.
    TooCostly,
    /// What is encrypted is not said to be SignedData.
    ContentType(ObjectIdentifier),
    /// There is no encrypted content.
    MissingContent,
    /// The recipient's key or secret could not be used.
    Recipient(CryptoError),
    /// The recipient's key or secret was used for another kind of recipient than this one is.
    WrongRecipient,
    /// The content-encryption key cannot be recovered: it is encrypted for another key or secret, or was changed.
    WrongKey,
    /// The content cannot be decrypted: it was changed.
    WrongContent,
    /// What is signed is not said to be an AsymmetricKeyPackage.
    SignedContentType(ObjectIdentifier),
    /// What is signed is not there.
    MissingSignedContent,
    /// Not one signer, but this many.
    SignerCount(usize),
    /// digestAlgorithms does not name the signer's digest algorithm alone.
    DigestAlgorithms,
    /// There are more than [`MAX_CERTIFICATES`] certificates.
    TooManyCertificates(usize),
    /// The signer's certificate is not among the certificates.
    MissingSigner,
    /// There are no signed attributes.
    MissingSignedAttributes,
    /// The signed attribute is missing, is there twice, or has not one value.
    SignedAttribute(ObjectIdentifier),
    /// The signed content-type is another than that of the content.
    WrongContentType(ObjectIdentifier),
    /// The signed message-digest is another than that of the content.
    WrongMessageDigest,
    /// The key generation authority's signature is wrong.
    WrongSignature,
    /// The signature cannot be checked.
    Crypto(CryptoError),
    /// The key generation authority's certificate does not chain to an anchor.
    KgaNotTrusted(PathError),
    /// The signer is neither marked with id-kp-cmKGA nor the CA that issued the certificate (RFC 9810 §4.5).
    KgaNotAuthorized,
    /// Not one key, but this many.
    KeyCount(usize),
    /// There is no public key beside the private one.
    MissingPublicKey,
    /// The private key cannot be read.
    PrivateKey(CryptoError),
    /// The private key is not the one of the certificate.
    KeyMismatch,
}

impl EnvelopeError {
    /// What goes into failInfo when the certificate is refused for this.
    ///
    /// A wrong key and a changed content are told alike: nobody learns from the answer how a decryption failed.
    #[must_use]
    pub fn fail_info(&self) -> PkiFailure {
        match self {
            Self::UnsupportedAlgorithm(_)
            | Self::WeakAlgorithm(_)
            | Self::MalformedAlgorithm(_)
            | Self::TooFewIterations
            | Self::TooCostly
            | Self::Crypto(_)
            | Self::PrivateKey(CryptoError::UnsupportedKey | CryptoError::UnsupportedAlgorithm) => {
                PkiFailure::BadAlg
            }
            Self::KgaNotTrusted(_) => PkiFailure::SignerNotTrusted,
            Self::KgaNotAuthorized => PkiFailure::NotAuthorized,
            Self::Recipient(_) | Self::WrongRecipient => PkiFailure::SystemFailure,
            Self::WrongSignature | Self::WrongMessageDigest => PkiFailure::BadMessageCheck,
            Self::KeyMismatch | Self::PrivateKey(_) | Self::NotForUs | Self::RecipientProtection => {
                PkiFailure::IncorrectData
            }
            _ => PkiFailure::BadDataFormat,
        }
    }
}

impl fmt::Display for EnvelopeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Self::TooLong => {
                return write!(
                    f,
                    "the encrypted private key has more than {MAX_ENCRYPTED_KEY_BYTES} bytes"
                );
            }
            Self::Malformed => "the encrypted private key is malformed",
            Self::EncryptedValue => "the private key is in an EncryptedValue, not in EnvelopedData",
            Self::Version(structure, version) => {
                return write!(f, "{structure:?} has version {version}, which is not right there");
            }
            Self::RecipientCount(n) => {
                return write!(f, "the private key is for {n} recipients, not for one");
            }
            Self::RecipientKind => "the kind of recipient is not supported",
            Self::RecipientProtection => {
                "the kind of recipient does not go with the protection of the request"
            }
            Self::NotForUs => "the private key is encrypted for another certificate",
            Self::UnknownOriginator => "the certificate of the originator's key is not known",
            Self::OriginatorKey => "the originator's key is of another kind than the recipient's",
            Self::UnsupportedAlgorithm(oid) => return write!(f, "the algorithm {oid} is not supported"),
            Self::WeakAlgorithm(oid) => return write!(f, "the algorithm {oid} is too weak"),
            Self::MalformedAlgorithm(oid) => {
                return write!(f, "the parameters of the algorithm {oid} are wrong");
            }
            Self::TooFewIterations => {
                return write!(f, "PBKDF2 has fewer than {MIN_ITERATIONS} iterations");
            }
            Self::TooCostly => {
                return write!(
                    f,
                    "PBKDF2 asks for more than {MAX_ITERATIONS} iterations or a huge salt"
                );
            }
            Self::ContentType(oid) => return write!(f, "what is encrypted is {oid}, not SignedData"),
            Self::MissingContent => "there is no encrypted content",
            Self::Recipient(_) => "the recipient's key cannot be used",
            Self::WrongRecipient => "the recipient's key is of another kind than the recipient",
            Self::WrongKey => "the content-encryption key cannot be recovered",
            Self::WrongContent => "the content cannot be decrypted",
            Self::SignedContentType(oid) => {
                return write!(f, "what is signed is {oid}, not an AsymmetricKeyPackage");
            }
            Self::MissingSignedContent => "there is no signed content",
            Self::SignerCount(n) => return write!(f, "the private key has {n} signers, not one"),
            Self::DigestAlgorithms => "digestAlgorithms is not the digest algorithm of the signer alone",
            Self::TooManyCertificates(n) => {
                return write!(
                    f,
                    "{n} certificates came with the private key, more than {MAX_CERTIFICATES}"
                );
            }
            Self::MissingSigner => "the signer's certificate is missing",
            Self::MissingSignedAttributes => "there are no signed attributes",
            Self::SignedAttribute(oid) => {
                return write!(f, "there is not exactly one signed attribute {oid}");
            }
            Self::WrongContentType(oid) => {
                return write!(f, "the signed content-type is {oid}, not that of the content");
            }
            Self::WrongMessageDigest => "the signed message-digest is not that of the content",
            Self::WrongSignature => "the signature of the key generation authority is wrong",
            Self::Crypto(_) => "the signature of the key generation authority cannot be checked",
            Self::KgaNotTrusted(_) => "the key generation authority is not trusted",
            Self::KgaNotAuthorized => "the signer is not authorised to generate keys",
            Self::KeyCount(n) => return write!(f, "there are {n} private keys, not one"),
            Self::MissingPublicKey => "there is no public key beside the private key",
            Self::PrivateKey(_) => "the private key cannot be read",
            Self::KeyMismatch => "the private key does not belong to the certificate",
        };
        f.write_str(text)
    }
}

impl core::error::Error for EnvelopeError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Recipient(error) | Self::Crypto(error) | Self::PrivateKey(error) => Some(error),
            Self::KgaNotTrusted(error) => Some(error),
            _ => None,
        }
    }
}

impl From<der::Error> for EnvelopeError {
    fn from(_: der::Error) -> Self {
        Self::Malformed
    }
}

/// Why a private key cannot be delivered.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SealError {
    /// The recipient's certificate has a key that nothing can be encrypted for.
    RecipientKey(KeyAlgorithm),
    /// The recipient's keyUsage does not allow what its key would be used for: keyAgreement or keyEncipherment.
    KeyUsage,
    /// The certificate of the key generation authority has no subjectKeyIdentifier.
    NoKeyIdentifier,
    /// A key or an algorithm failed.
    Crypto(CryptoError),
    /// The private key is not PKCS#8, or something cannot be encoded.
    Encoding(der::Error),
}

impl fmt::Display for SealError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RecipientKey(key) => write!(f, "nothing can be encrypted for a key of type {key}"),
            Self::KeyUsage => f.write_str("the key usage of the recipient does not allow encryption"),
            Self::NoKeyIdentifier => {
                f.write_str("the certificate of the key generation authority has no subjectKeyIdentifier")
            }
            Self::Crypto(_) => f.write_str("a key failed"),
            Self::Encoding(_) => f.write_str("the private key cannot be encoded"),
        }
    }
}

impl core::error::Error for SealError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Crypto(error) => Some(error),
            Self::Encoding(error) => Some(error),
            _ => None,
        }
    }
}

impl From<CryptoError> for SealError {
    fn from(error: CryptoError) -> Self {
        Self::Crypto(error)
    }
}

impl From<der::Error> for SealError {
    fn from(error: der::Error) -> Self {
        Self::Encoding(error)
    }
}
