//! The ASN.1 of RFC 5652 that carries a private key, borrowed from the bytes received.

use const_oid::ObjectIdentifier;
use der::asn1::{AnyRef, BitStringRef, OctetStringRef};
use der::{
    Choice, Decode, DecodeValue, EncodeValue, FixedTag, Header, Length, Reader, Sequence, SliceReader, Tag,
    Writer,
};
use spki::AlgorithmIdentifierRef;

use crate::certificate::{Certificate, names_match};

/// ```text
/// EnvelopedData ::= SEQUENCE {
///     version               CMSVersion,
///     recipientInfos        RecipientInfos,
///     encryptedContentInfo  EncryptedContentInfo }
/// ```
/// originatorInfo and unprotectedAttrs have no use here and make it malformed.
#[derive(Sequence)]
pub(super) struct EnvelopedData<'a> {
    pub(super) version: u8,
    pub(super) recipient_infos: SetOf<'a>,
    pub(super) encrypted_content_info: EncryptedContentInfo<'a>,
}

/// ```text
/// EncryptedContentInfo ::= SEQUENCE {
///     contentType                     ContentType,
///     contentEncryptionAlgorithm      ContentEncryptionAlgorithmIdentifier,
///     encryptedContent            [0] IMPLICIT EncryptedContent OPTIONAL }
/// ```
#[derive(Sequence)]
pub(super) struct EncryptedContentInfo<'a> {
    pub(super) content_type: ObjectIdentifier,
    pub(super) content_encryption_algorithm: AlgorithmIdentifierRef<'a>,
    #[asn1(context_specific = "0", tag_mode = "IMPLICIT", optional = "true")]
    pub(super) encrypted_content: Option<&'a OctetStringRef>,
}

/// ```text
/// RecipientInfo ::= CHOICE {
///     ktri      KeyTransRecipientInfo,
///     kari  [1] KeyAgreeRecipientInfo,
///     kekri [2] KEKRecipientInfo,
///     pwri  [3] PasswordRecipientInfo,
///     ori   [4] OtherRecipientInfo }
/// ```
/// kekri and ori are not of the profile.
#[derive(Choice)]
pub(super) enum RecipientInfo<'a> {
    KeyTrans(KeyTransRecipientInfo<'a>),
    #[asn1(context_specific = "1", tag_mode = "IMPLICIT", constructed = "true")]
    KeyAgree(KeyAgreeRecipientInfo<'a>),
    #[asn1(context_specific = "3", tag_mode = "IMPLICIT", constructed = "true")]
    Password(PasswordRecipientInfo<'a>),
}

/// ```text
/// KeyTransRecipientInfo ::= SEQUENCE {
///     version                 CMSVersion,
///     rid                     RecipientIdentifier,
///     keyEncryptionAlgorithm  KeyEncryptionAlgorithmIdentifier,
///     encryptedKey            EncryptedKey }
/// ```
#[derive(Sequence)]
pub(super) struct KeyTransRecipientInfo<'a> {
    pub(super) version: u8,
    pub(super) rid: CertificateIdentifier<'a>,
    pub(super) key_encryption_algorithm: AlgorithmIdentifierRef<'a>,
    pub(super) encrypted_key: &'a OctetStringRef,
}

/// ```text
/// KeyAgreeRecipientInfo ::= SEQUENCE {
///     version                     CMSVersion,
///     originator              [0] EXPLICIT OriginatorIdentifierOrKey,
///     ukm                     [1] EXPLICIT UserKeyingMaterial OPTIONAL,
///     keyEncryptionAlgorithm      KeyEncryptionAlgorithmIdentifier,
///     recipientEncryptedKeys      SEQUENCE OF RecipientEncryptedKey }
/// ```
#[derive(Sequence)]
pub(super) struct KeyAgreeRecipientInfo<'a> {
    pub(super) version: u8,
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT", constructed = "true")]
    pub(super) originator: Originator<'a>,
    #[asn1(context_specific = "1", tag_mode = "EXPLICIT", optional = "true")]
    pub(super) ukm: Option<&'a OctetStringRef>,
    pub(super) key_encryption_algorithm: AlgorithmIdentifierRef<'a>,
    pub(super) recipient_encrypted_keys: SequenceOf<'a>,
}

/// ```text
/// OriginatorIdentifierOrKey ::= CHOICE {
///     issuerAndSerialNumber      IssuerAndSerialNumber,
///     subjectKeyIdentifier   [0] SubjectKeyIdentifier,
///     originatorKey          [1] OriginatorPublicKey }
/// ```
#[derive(Choice)]
pub(super) enum Originator<'a> {
    IssuerAndSerialNumber(IssuerAndSerialNumber<'a>),
    #[asn1(context_specific = "0", tag_mode = "IMPLICIT")]
    SubjectKeyIdentifier(&'a OctetStringRef),
    #[asn1(context_specific = "1", tag_mode = "IMPLICIT", constructed = "true")]
    Key(OriginatorPublicKey<'a>),
}

/// `OriginatorPublicKey ::= SEQUENCE { algorithm AlgorithmIdentifier, publicKey BIT STRING }`
#[derive(Sequence)]
pub(super) struct OriginatorPublicKey<'a> {
    pub(super) algorithm: AlgorithmIdentifierRef<'a>,
    pub(super) public_key: BitStringRef<'a>,
}

/// ```text
/// RecipientEncryptedKey ::= SEQUENCE { rid KeyAgreeRecipientIdentifier, encryptedKey EncryptedKey }
/// ```
#[derive(Sequence)]
pub(super) struct RecipientEncryptedKey<'a> {
    pub(super) rid: KeyAgreeRecipientIdentifier<'a>,
    pub(super) encrypted_key: &'a OctetStringRef,
}

/// ```text
/// KeyAgreeRecipientIdentifier ::= CHOICE {
///     issuerAndSerialNumber      IssuerAndSerialNumber,
///     rKeyId                 [0] IMPLICIT RecipientKeyIdentifier }
/// ```
#[derive(Choice)]
pub(super) enum KeyAgreeRecipientIdentifier<'a> {
    IssuerAndSerialNumber(IssuerAndSerialNumber<'a>),
    #[asn1(context_specific = "0", tag_mode = "IMPLICIT", constructed = "true")]
    KeyId(RecipientKeyIdentifier<'a>),
}

/// `RecipientKeyIdentifier ::= SEQUENCE { subjectKeyIdentifier SubjectKeyIdentifier, date GeneralizedTime OPTIONAL,
/// other OtherKeyAttribute OPTIONAL }`, of which the profile uses the first.
#[derive(Sequence)]
pub(super) struct RecipientKeyIdentifier<'a> {
    pub(super) subject_key_identifier: &'a OctetStringRef,
}

/// ```text
/// PasswordRecipientInfo ::= SEQUENCE {
///     version                     CMSVersion,   -- always 0
///     keyDerivationAlgorithm  [0] KeyDerivationAlgorithmIdentifier OPTIONAL,
///     keyEncryptionAlgorithm      KeyEncryptionAlgorithmIdentifier,
///     encryptedKey                EncryptedKey }
/// ```
#[derive(Sequence)]
pub(super) struct PasswordRecipientInfo<'a> {
    pub(super) version: u8,
    #[asn1(
        context_specific = "0",
        tag_mode = "IMPLICIT",
        constructed = "true",
        optional = "true"
    )]
    pub(super) key_derivation_algorithm: Option<AlgorithmIdentifierRef<'a>>,
    pub(super) key_encryption_algorithm: AlgorithmIdentifierRef<'a>,
    pub(super) encrypted_key: &'a OctetStringRef,
}

/// ```text
/// SignedData ::= SEQUENCE {
///     version               CMSVersion,
///     digestAlgorithms      SET OF DigestAlgorithmIdentifier,
///     encapContentInfo      EncapsulatedContentInfo,
///     certificates      [0] IMPLICIT CertificateSet OPTIONAL,
///     crls              [1] IMPLICIT RevocationInfoChoices OPTIONAL,
///     signerInfos           SET OF SignerInfo }
/// ```
#[derive(Sequence)]
pub(super) struct SignedData<'a> {
    pub(super) version: u8,
    pub(super) digest_algorithms: SetOf<'a>,
    pub(super) encap_content_info: EncapsulatedContentInfo<'a>,
    #[asn1(
        context_specific = "0",
        tag_mode = "IMPLICIT",
        constructed = "true",
        optional = "true"
    )]
    pub(super) certificates: Option<SetOf<'a>>,
    #[asn1(
        context_specific = "1",
        tag_mode = "IMPLICIT",
        constructed = "true",
        optional = "true"
    )]
    pub(super) crls: Option<SetOf<'a>>,
    pub(super) signer_infos: SetOf<'a>,
}

/// `EncapsulatedContentInfo ::= SEQUENCE { eContentType ContentType, eContent [0] EXPLICIT OCTET STRING OPTIONAL }`
#[derive(Sequence)]
pub(super) struct EncapsulatedContentInfo<'a> {
    pub(super) content_type: ObjectIdentifier,
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT", optional = "true")]
    pub(super) content: Option<&'a OctetStringRef>,
}

/// ```text
/// SignerInfo ::= SEQUENCE {
///     version                 CMSVersion,
///     sid                     SignerIdentifier,
///     digestAlgorithm         DigestAlgorithmIdentifier,
///     signedAttrs         [0] IMPLICIT SignedAttributes OPTIONAL,
///     signatureAlgorithm      SignatureAlgorithmIdentifier,
///     signature               SignatureValue,
///     unsignedAttrs       [1] IMPLICIT UnsignedAttributes OPTIONAL }
/// ```
#[derive(Sequence)]
pub(super) struct SignerInfo<'a> {
    pub(super) version: u8,
    pub(super) sid: CertificateIdentifier<'a>,
    pub(super) digest_algorithm: AlgorithmIdentifierRef<'a>,
    #[asn1(
        context_specific = "0",
        tag_mode = "IMPLICIT",
        constructed = "true",
        optional = "true"
    )]
    pub(super) signed_attrs: Option<SetOf<'a>>,
    pub(super) signature_algorithm: AlgorithmIdentifierRef<'a>,
    pub(super) signature: &'a OctetStringRef,
    #[asn1(
        context_specific = "1",
        tag_mode = "IMPLICIT",
        constructed = "true",
        optional = "true"
    )]
    pub(super) unsigned_attrs: Option<SetOf<'a>>,
}

/// `Attribute ::= SEQUENCE { attrType OBJECT IDENTIFIER, attrValues SET OF AttributeValue }`
#[derive(Sequence)]
pub(super) struct Attribute<'a> {
    pub(super) attr_type: ObjectIdentifier,
    pub(super) attr_values: SetOf<'a>,
}

/// RecipientIdentifier of a KeyTransRecipientInfo and SignerIdentifier of a SignerInfo, which are the same.
///
/// ```text
/// SignerIdentifier ::= CHOICE {
///     issuerAndSerialNumber      IssuerAndSerialNumber,
///     subjectKeyIdentifier   [0] SubjectKeyIdentifier }
/// ```
#[derive(Choice)]
pub(super) enum CertificateIdentifier<'a> {
    IssuerAndSerialNumber(IssuerAndSerialNumber<'a>),
    #[asn1(context_specific = "0", tag_mode = "IMPLICIT")]
    SubjectKeyIdentifier(&'a OctetStringRef),
}

impl CertificateIdentifier<'_> {
    pub(super) fn names(&self, certificate: &Certificate) -> bool {
        match self {
            Self::IssuerAndSerialNumber(id) => id.names(certificate),
            Self::SubjectKeyIdentifier(id) => certificate.subject_key_identifier() == Some(id.as_bytes()),
        }
    }
}

/// `IssuerAndSerialNumber ::= SEQUENCE { issuer Name, serialNumber CertificateSerialNumber }`
#[derive(Sequence)]
pub(super) struct IssuerAndSerialNumber<'a> {
    pub(super) issuer: AnyRef<'a>,
    pub(super) serial_number: AnyRef<'a>,
}

impl IssuerAndSerialNumber<'_> {
    pub(super) fn names(&self, certificate: &Certificate) -> bool {
        let issuer = der::Encode::to_der(&self.issuer).unwrap_or_default();
        self.serial_number.value() == certificate.serial_number()
            && names_match(&issuer, certificate.issuer())
    }
}

macro_rules! elements {
    ($(#[$doc:meta])* $name:ident, $tag:expr) => {
        $(#[$doc])*
        #[derive(Clone, Copy)]
        pub(super) struct $name<'a>(pub(super) &'a [u8]);

        impl<'a> $name<'a> {
            /// The DER of each element in turn; ends after one that is cut.
            pub(super) fn elements(self) -> impl Iterator<Item = der::Result<&'a [u8]>> {
                let mut reader = SliceReader::new(self.0).ok();
                core::iter::from_fn(move || {
                    let cursor = reader.as_mut().filter(|reader| !reader.is_finished())?;
                    let element = cursor.tlv_bytes();
                    if element.is_err() {
                        reader = None;
                    }
                    Some(element)
                })
            }

            /// The only element, or how many there are.
            pub(super) fn only<T: Decode<'a, Error = der::Error>>(self) -> der::Result<Result<T, usize>> {
                let mut elements = self.elements();
                match (elements.next(), elements.count()) {
                    (Some(element), 0) => T::from_der(element?).map(Ok),
                    (first, more) => Ok(Err(usize::from(first.is_some()) + more)),
                }
            }
        }

        impl FixedTag for $name<'_> {
            const TAG: Tag = $tag;
        }

        impl<'a> DecodeValue<'a> for $name<'a> {
            type Error = der::Error;

            fn decode_value<R: Reader<'a>>(reader: &mut R, header: Header) -> der::Result<Self> {
                reader.read_slice(header.length()).map(Self)
            }
        }

        impl EncodeValue for $name<'_> {
            fn value_len(&self) -> der::Result<Length> {
                Length::try_from(self.0.len())
            }

            fn encode_value(&self, writer: &mut impl Writer) -> der::Result<()> {
                writer.write(self.0)
            }
        }
    };
}

elements! {
    /// The elements of a SET OF as received: a signature may be over them, and their order may mean something.
    SetOf, Tag::Set
}

elements! {
    /// The elements of a SEQUENCE OF as received.
    SequenceOf, Tag::Sequence
}
