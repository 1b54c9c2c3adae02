use alloc::vec::Vec;
use core::fmt;

use const_oid::db::rfc5911::ID_SIGNED_DATA;
use der::asn1::{AnyRef, OctetStringRef};
use der::{Decode, Encode, Reader, SliceReader, Tag, TagMode, TagNumber, Tagged};
use spki::{AlgorithmIdentifierRef, SubjectPublicKeyInfoRef};
use zeroize::Zeroizing;

use super::algorithm::{AesCbc, KeyTransport, KeyWrap, Pbkdf2, key_agreement};
use super::cms::{
    CertificateIdentifier, EnvelopedData, KeyAgreeRecipientIdentifier, KeyAgreeRecipientInfo,
    KeyTransRecipientInfo, Originator, OriginatorPublicKey, PasswordRecipientInfo, RecipientEncryptedKey,
    RecipientInfo,
};
use super::seal::shared_info;
use super::{
    DeliveredKey, EnvelopeError, KgaTrust, MAX_ENCRYPTED_KEY_BYTES, RecipientKey, Structure, cipher,
};
use crate::certificate::Certificate;
use crate::crypto::{Crypto, CryptoError, HashAlgorithm};
use crate::mac::Secret;

/// The privateKey of a CertifiedKeyPair: read and checked from outside, not yet decrypted.
pub struct EncryptedPrivateKey<'a> {
    recipient: RecipientData<'a>,
    cbc: AesCbc,
    content: &'a [u8],
}

enum RecipientData<'a> {
    KeyTrans {
        rid: CertificateIdentifier<'a>,
        algorithm: KeyTransport,
        encrypted_key: &'a [u8],
    },
    KeyAgree {
        rid: KeyAgreeRecipientIdentifier<'a>,
        originator: Originator<'a>,
        hash: HashAlgorithm,
        wrap: KeyWrap,
        /// As received: it goes into the key derivation.
        wrap_identifier: AlgorithmIdentifierRef<'a>,
        ukm: Option<&'a OctetStringRef>,
        encrypted_key: &'a [u8],
    },
    Password {
        kdf: Pbkdf2,
        wrap: KeyWrap,
        encrypted_key: &'a [u8],
    },
}

/// What has to be done with the recipient's private key before a delivered key can be opened.
#[derive(Clone, PartialEq, Eq)]
pub enum RecipientOperation {
    /// ECDH with this public key, a DER SubjectPublicKeyInfo; gives [`RecipientSecret::Agreed`].
    Agree {
        /// The originator's key, on the curve of the recipient's.
        public_key: Vec<u8>,
    },
    /// RSA decryption; gives [`RecipientSecret::Decrypted`].
    Decrypt {
        /// How it is encrypted.
        algorithm: KeyTransport,
        /// The content-encryption key.
        encrypted_key: Vec<u8>,
    },
    /// Nothing: the shared secret of the request's MAC is used as it is, as [`RecipientSecret::Password`].
    Password,
}

/// What a [`RecipientOperation`] gave. Never shown.
pub enum RecipientSecret<'a> {
    /// The x-coordinate of the shared point, as long as the curve's field.
    Agreed(&'a [u8]),
    /// The content-encryption key.
    Decrypted(&'a [u8]),
    /// The secret that the request was protected with.
    Password(&'a Secret),
}

impl<'a> EncryptedPrivateKey<'a> {
    /// Reads the DER of an EncryptedKey: the contents of privateKey.
    ///
    /// ```text
    /// EncryptedKey ::= CHOICE { encryptedValue EncryptedValue, envelopedData [0] EnvelopedData }
    /// ```
    ///
    /// # Errors
    /// One [`EnvelopeError`] for each check; nothing costly is done.
    pub fn from_der(encrypted_key: &'a [u8]) -> Result<Self, EnvelopeError> {
        if encrypted_key.len() > MAX_ENCRYPTED_KEY_BYTES {
            return Err(EnvelopeError::TooLong);
        }
        let mut reader = SliceReader::new(encrypted_key)?;
        if Tag::peek(&reader)? == Tag::Sequence {
            return Err(EnvelopeError::EncryptedValue);
        }
        let enveloped = reader.context_specific::<EnvelopedData<'_>>(TagNumber(0), TagMode::Implicit)?;
        reader.finish()?;
        let enveloped = enveloped.ok_or(EnvelopeError::Malformed)?;
        let recipient = recipient(&enveloped)?;
        let content = enveloped.encrypted_content_info;
        if content.content_type != ID_SIGNED_DATA {
            return Err(EnvelopeError::ContentType(content.content_type));
        }
        Ok(Self {
            recipient,
            cbc: AesCbc::from_identifier(&content.content_encryption_algorithm)?,
            content: content
                .encrypted_content
                .ok_or(EnvelopeError::MissingContent)?
                .as_bytes(),
        })
    }

    /// What has to be done with the recipient's private key.
    ///
    /// `signer` is the certificate that protected the request, `None` where a MAC did: it must be the recipient.
    /// `originators` may name the other key of a key agreement: the protection certificate of the response.
    ///
    /// # Errors
    /// [`EnvelopeError::RecipientProtection`], [`EnvelopeError::NotForUs`], [`EnvelopeError::UnknownOriginator`] or
    /// [`EnvelopeError::OriginatorKey`].
    pub fn operation(
        &self,
        signer: Option<&Certificate>,
        originators: &[Certificate],
    ) -> Result<RecipientOperation, EnvelopeError> {
        match (&self.recipient, signer) {
            (RecipientData::Password { .. }, None) => Ok(RecipientOperation::Password),
            (RecipientData::Password { .. }, Some(_)) | (_, None) => Err(EnvelopeError::RecipientProtection),
            (
                RecipientData::KeyTrans {
                    rid,
                    algorithm,
                    encrypted_key,
                },
                Some(signer),
            ) => {
                if !rid.names(signer) {
                    return Err(EnvelopeError::NotForUs);
                }
                Ok(RecipientOperation::Decrypt {
                    algorithm: *algorithm,
                    encrypted_key: encrypted_key.to_vec(),
                })
            }
            (RecipientData::KeyAgree { rid, originator, .. }, Some(signer)) => {
                let for_us = match rid {
                    KeyAgreeRecipientIdentifier::IssuerAndSerialNumber(id) => id.names(signer),
                    KeyAgreeRecipientIdentifier::KeyId(id) => {
                        signer.subject_key_identifier() == Some(id.subject_key_identifier.as_bytes())
                    }
                };
                if !for_us {
                    return Err(EnvelopeError::NotForUs);
                }
                originator_key(originator, signer, originators)
                    .map(|public_key| RecipientOperation::Agree { public_key })
            }
        }
    }

    /// Decrypts and checks everything (RFC 9483 §4.1.6): there is one signer, a KGA that `trust` reaches and that is
    /// authorised, its signature is right, and there is one private key, the one of `trust.certificate`.
    ///
    /// # Errors
    /// The first check that failed. [`EnvelopeError::WrongRecipient`] if `secret` is of another kind than
    /// [`operation`](Self::operation) asked for.
    pub fn open(
        &self,
        crypto: &dyn Crypto,
        secret: &RecipientSecret<'_>,
        trust: &KgaTrust<'_>,
    ) -> Result<DeliveredKey, EnvelopeError> {
        let key = self.content_encryption_key(crypto, secret)?;
        if key.len() != self.cbc.key_len {
            return Err(EnvelopeError::WrongKey);
        }
        let signed_data =
            cipher::cbc_decrypt(&self.cbc, &key, self.content).ok_or(EnvelopeError::WrongContent)?;
        trust.verify(crypto, &signed_data)
    }

    fn content_encryption_key(
        &self,
        crypto: &dyn Crypto,
        secret: &RecipientSecret<'_>,
    ) -> Result<Zeroizing<Vec<u8>>, EnvelopeError> {
        let unwrapped = match (&self.recipient, secret) {
            (RecipientData::KeyTrans { .. }, RecipientSecret::Decrypted(key)) => {
                Some(Zeroizing::new(key.to_vec()))
            }
            (
                RecipientData::KeyAgree {
                    hash,
                    wrap,
                    wrap_identifier,
                    ukm,
                    encrypted_key,
                    ..
                },
                RecipientSecret::Agreed(shared),
            ) => {
                let info = shared_info(wrap_identifier, *ukm, wrap.key_len())?;
                let kek = cipher::x963(crypto, *hash, shared, &info).map_err(EnvelopeError::Recipient)?;
                let kek = kek.as_bytes().get(..wrap.key_len()).unwrap_or_default();
                cipher::unwrap_key(*wrap, kek, encrypted_key)
            }
            (
                RecipientData::Password {
                    kdf,
                    wrap,
                    encrypted_key,
                },
                RecipientSecret::Password(password),
            ) => {
                let kek = kdf
                    .derive(crypto, password, wrap.key_len())
                    .map_err(EnvelopeError::Recipient)?;
                cipher::unwrap_key(*wrap, &kek, encrypted_key)
            }
            _ => return Err(EnvelopeError::WrongRecipient),
        };
        unwrapped.ok_or(EnvelopeError::WrongKey)
    }
}

impl fmt::Debug for EncryptedPrivateKey<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match &self.recipient {
            RecipientData::KeyTrans { .. } => "ktri",
            RecipientData::KeyAgree { .. } => "kari",
            RecipientData::Password { .. } => "pwri",
        };
        write!(f, "EncryptedPrivateKey({kind}, {} bytes)", self.content.len())
    }
}

impl RecipientOperation {
    /// Carries it out with a key in memory, where there is one to carry it out with.
    ///
    /// # Errors
    /// [`EnvelopeError::WrongKey`] if the decryption failed, [`EnvelopeError::Recipient`] if the key cannot be used,
    /// [`EnvelopeError::WrongRecipient`] for [`Password`](Self::Password).
    pub fn perform(&self, key: &dyn RecipientKey) -> Result<Zeroizing<Vec<u8>>, EnvelopeError> {
        match self {
            Self::Agree { public_key } => key.agree(public_key),
            Self::Decrypt {
                algorithm,
                encrypted_key,
            } => key.decrypt(*algorithm, encrypted_key),
            Self::Password => return Err(EnvelopeError::WrongRecipient),
        }
        .map_err(|error| match error {
            CryptoError::DecryptionFailed => EnvelopeError::WrongKey,
            other => EnvelopeError::Recipient(other),
        })
    }

    /// The secret that [`perform`](Self::perform) gave, as [`EncryptedPrivateKey::open`] wants it.
    #[must_use]
    pub fn secret<'s>(&self, result: &'s [u8]) -> Option<RecipientSecret<'s>> {
        match self {
            Self::Agree { .. } => Some(RecipientSecret::Agreed(result)),
            Self::Decrypt { .. } => Some(RecipientSecret::Decrypted(result)),
            Self::Password => None,
        }
    }
}

impl fmt::Debug for RecipientOperation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Agree { .. } => f.write_str("Agree"),
            Self::Decrypt { algorithm, .. } => write!(f, "Decrypt({algorithm:?})"),
            Self::Password => f.write_str("Password"),
        }
    }
}

impl fmt::Debug for RecipientSecret<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RecipientSecret(…)")
    }
}

/// The one recipient, with versions and algorithms checked.
///
/// EnvelopedData is of version 2 with a key and of version 0 with a password in RFC 9483; RFC 5652 §6.1 has 0 for a key
/// transport by issuerAndSerialNumber and 3 with a password.
fn recipient<'a>(enveloped: &EnvelopedData<'a>) -> Result<RecipientData<'a>, EnvelopeError> {
    let infos = enveloped.recipient_infos;
    let tag = infos
        .only::<AnyRef<'_>>()?
        .map_err(EnvelopeError::RecipientCount)?
        .tag();
    if matches!(tag, Tag::ContextSpecific { number, .. } if matches!(number.value(), 2 | 4)) {
        return Err(EnvelopeError::RecipientKind);
    }
    let info = infos
        .only::<RecipientInfo<'a>>()?
        .map_err(EnvelopeError::RecipientCount)?;
    let (versions, recipient): (&[u8], _) = match info {
        RecipientInfo::KeyTrans(ktri) => (&[0, 2], key_trans(ktri)?),
        RecipientInfo::KeyAgree(kari) => (&[2], key_agree(kari)?),
        RecipientInfo::Password(pwri) => (&[0, 3], password(&pwri)?),
    };
    if versions.contains(&enveloped.version) {
        Ok(recipient)
    } else {
        Err(EnvelopeError::Version(
            Structure::EnvelopedData,
            enveloped.version,
        ))
    }
}

fn key_trans(ktri: KeyTransRecipientInfo<'_>) -> Result<RecipientData<'_>, EnvelopeError> {
    if !matches!(ktri.version, 0 | 2) {
        return Err(EnvelopeError::Version(
            Structure::KeyTransRecipientInfo,
            ktri.version,
        ));
    }
    Ok(RecipientData::KeyTrans {
        algorithm: KeyTransport::from_identifier(&ktri.key_encryption_algorithm)?,
        rid: ktri.rid,
        encrypted_key: ktri.encrypted_key.as_bytes(),
    })
}

fn key_agree(kari: KeyAgreeRecipientInfo<'_>) -> Result<RecipientData<'_>, EnvelopeError> {
    if kari.version != 3 {
        return Err(EnvelopeError::Version(
            Structure::KeyAgreeRecipientInfo,
            kari.version,
        ));
    }
    let (hash, wrap_identifier) = key_agreement(&kari.key_encryption_algorithm)?;
    let wrap = KeyWrap::from_identifier(&wrap_identifier)?;
    let key: RecipientEncryptedKey<'_> = kari
        .recipient_encrypted_keys
        .only()?
        .map_err(EnvelopeError::RecipientCount)?;
    Ok(RecipientData::KeyAgree {
        rid: key.rid,
        originator: kari.originator,
        hash,
        wrap,
        wrap_identifier,
        ukm: kari.ukm,
        encrypted_key: key.encrypted_key.as_bytes(),
    })
}

fn password<'a>(pwri: &PasswordRecipientInfo<'a>) -> Result<RecipientData<'a>, EnvelopeError> {
    if pwri.version != 0 {
        return Err(EnvelopeError::Version(
            Structure::PasswordRecipientInfo,
            pwri.version,
        ));
    }
    let wrap = KeyWrap::from_identifier(&pwri.key_encryption_algorithm)?;
    let kdf = pwri
        .key_derivation_algorithm
        .as_ref()
        .ok_or(EnvelopeError::Malformed)?;
    Ok(RecipientData::Password {
        kdf: Pbkdf2::from_identifier(kdf, wrap.key_len())?,
        wrap,
        encrypted_key: pwri.encrypted_key.as_bytes(),
    })
}

/// The originator's key as a SubjectPublicKeyInfo on the recipient's curve.
fn originator_key(
    originator: &Originator<'_>,
    recipient: &Certificate,
    originators: &[Certificate],
) -> Result<Vec<u8>, EnvelopeError> {
    let named = match originator {
        Originator::Key(_) => None,
        Originator::IssuerAndSerialNumber(id) => originators.iter().find(|other| id.names(other)),
        Originator::SubjectKeyIdentifier(id) => originators
            .iter()
            .find(|other| other.subject_key_identifier() == Some(id.as_bytes())),
    };
    let (algorithm, public_key) = match (originator, named) {
        (
            Originator::Key(OriginatorPublicKey {
                algorithm,
                public_key,
            }),
            _,
        ) => (*algorithm, *public_key),
        (_, Some(certificate)) => {
            let key = SubjectPublicKeyInfoRef::from_der(certificate.public_key())?;
            (key.algorithm, key.subject_public_key)
        }
        (_, None) => return Err(EnvelopeError::UnknownOriginator),
    };
    let own = SubjectPublicKeyInfoRef::from_der(recipient.public_key())?;
    // The curve may be left out, in either way: then it is the recipient's (RFC 5753 §3.1.1).
    let same_curve = algorithm.parameters.is_none_or(|curve| curve.is_null())
        || algorithm.parameters == own.algorithm.parameters;
    if algorithm.oid != own.algorithm.oid || !same_curve {
        return Err(EnvelopeError::OriginatorKey);
    }
    let public_key = SubjectPublicKeyInfoRef {
        algorithm: own.algorithm,
        subject_public_key: public_key,
    };
    Ok(public_key.to_der()?)
}
