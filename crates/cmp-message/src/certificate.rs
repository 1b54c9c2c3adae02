//! X.509 certificates (RFC 5280 §4) as CMP needs them: read once, kept in the bytes received.
//!
//! Only what path validation and CMP's checks ask for is understood. Everything else stays reachable as DER.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;
use core::ops::Range;

use const_oid::ObjectIdentifier;
use const_oid::db::rfc5280::{
    ID_CE_AUTHORITY_KEY_IDENTIFIER, ID_CE_BASIC_CONSTRAINTS, ID_CE_EXT_KEY_USAGE, ID_CE_KEY_USAGE,
    ID_CE_SUBJECT_ALT_NAME, ID_CE_SUBJECT_KEY_IDENTIFIER,
};
use der::asn1::{AnyRef, BitStringRef, OctetStringRef};
use der::{Decode, Reader, SliceReader, Tag, TagMode, TagNumber, Tagged};
use spki::{AlgorithmIdentifierRef, SubjectPublicKeyInfoRef};
use x509_cert::ext::pkix::{BasicConstraints, ExtendedKeyUsage, KeyUsage};
use x509_cert::name::Name;
use x509_cert::time::Time;

use crate::crypto::{Crypto, CryptoError, SignatureAlgorithm};

mod name;
pub use name::names_match;

/// A parsed certificate together with its exact DER. Two are equal if their DER is.
#[derive(Clone)]
pub struct Certificate {
    der: Vec<u8>,
    fields: Fields,
}

impl Certificate {
    /// The longest certificate that is read: room for the largest post-quantum signatures in use.
    pub const MAX_BYTES: usize = 64 * 1024;

    /// The most extensions that a certificate may have.
    pub const MAX_EXTENSIONS: usize = 64;

    /// Parses `der`, which must be one certificate and nothing else.
    ///
    /// # Errors
    /// A [`CertificateError`]. An algorithm that is not supported is none: it shows when the signature is verified.
    pub fn from_der(der: impl Into<Vec<u8>>) -> Result<Self, CertificateError> {
        let der = der.into();
        if der.len() > Self::MAX_BYTES {
            return Err(CertificateError::TooLong);
        }
        let fields = Fields::parse(&der)?;
        Ok(Self { der, fields })
    }

    /// The whole certificate as received.
    #[must_use]
    pub fn as_der(&self) -> &[u8] {
        &self.der
    }

    /// The TBSCertificate as received: what the signature covers.
    #[must_use]
    pub fn tbs(&self) -> &[u8] {
        self.slice(&self.fields.tbs)
    }

    /// The bytes of the serial number's INTEGER, big-endian two's complement, 1 to 21 bytes.
    #[must_use]
    pub fn serial_number(&self) -> &[u8] {
        self.slice(&self.fields.serial_number)
    }

    /// The issuer's Name, DER. Never the empty name.
    #[must_use]
    pub fn issuer(&self) -> &[u8] {
        self.slice(&self.fields.issuer)
    }

    /// The subject's Name, DER. May be the empty name.
    #[must_use]
    pub fn subject(&self) -> &[u8] {
        self.slice(&self.fields.subject)
    }

    /// The subject in the notation of RFC 4514, for people. Control characters are replaced.
    #[must_use]
    pub fn subject_string(&self) -> String {
        name_string(self.subject())
    }

    /// The issuer, likewise.
    #[must_use]
    pub fn issuer_string(&self) -> String {
        name_string(self.issuer())
    }

    /// The SubjectPublicKeyInfo, DER.
    #[must_use]
    pub fn public_key(&self) -> &[u8] {
        self.slice(&self.fields.public_key)
    }

    /// First second of validity, in seconds since 1970.
    #[must_use]
    pub fn not_before(&self) -> u64 {
        self.fields.not_before
    }

    /// Last second of validity, in seconds since 1970.
    #[must_use]
    pub fn not_after(&self) -> u64 {
        self.fields.not_after
    }

    /// The algorithm of the issuer's signature.
    ///
    /// # Errors
    /// [`CryptoError::UnsupportedAlgorithm`] or [`CryptoError::MalformedAlgorithm`].
    pub fn signature_algorithm(&self) -> Result<SignatureAlgorithm, CryptoError> {
        let id = AlgorithmIdentifierRef::from_der(self.slice(&self.fields.signature_algorithm))
            .map_err(|_| CryptoError::MalformedAlgorithm)?;
        SignatureAlgorithm::from_algorithm_identifier(&id)
    }

    /// The issuer's signature: the contents of the BIT STRING.
    #[must_use]
    pub fn signature(&self) -> &[u8] {
        self.slice(&self.fields.signature)
    }

    /// Verifies the signature under `issuer_public_key`, a DER SubjectPublicKeyInfo. Nothing else is checked: a
    /// certificate is to be trusted only at the end of a [path](crate::path).
    ///
    /// # Errors
    /// Those of [`Crypto::verify`] and of [`signature_algorithm`](Self::signature_algorithm).
    pub fn verify_signature(&self, crypto: &dyn Crypto, issuer_public_key: &[u8]) -> Result<(), CryptoError> {
        crypto.verify(
            self.signature_algorithm()?,
            issuer_public_key,
            self.tbs(),
            self.signature(),
        )
    }

    /// Whether issuer and subject are the same name: a root, or a CA that certifies its own next key.
    #[must_use]
    pub fn is_self_issued(&self) -> bool {
        names_match(self.issuer(), self.subject())
    }

    /// basicConstraints (RFC 5280 §4.2.1.9).
    #[must_use]
    pub fn basic_constraints(&self) -> Option<&BasicConstraints> {
        self.fields.basic_constraints.as_ref()
    }

    /// keyUsage (RFC 5280 §4.2.1.3).
    #[must_use]
    pub fn key_usage(&self) -> Option<KeyUsage> {
        self.fields.key_usage
    }

    /// extKeyUsage (RFC 5280 §4.2.1.12): `None` without the extension.
    #[must_use]
    pub fn ext_key_usage(&self) -> Option<&[ObjectIdentifier]> {
        self.fields.ext_key_usage.as_deref()
    }

    /// The bytes of subjectKeyIdentifier (RFC 5280 §4.2.1.2).
    #[must_use]
    pub fn subject_key_identifier(&self) -> Option<&[u8]> {
        self.fields
            .subject_key_identifier
            .as_ref()
            .map(|range| self.slice(range))
    }

    /// The keyIdentifier in authorityKeyIdentifier (RFC 5280 §4.2.1.1).
    #[must_use]
    pub fn authority_key_identifier(&self) -> Option<&[u8]> {
        self.fields
            .authority_key_identifier
            .as_ref()
            .map(|range| self.slice(range))
    }

    /// subjectAltName (RFC 5280 §4.2.1.6): DER of GeneralNames, not looked into.
    #[must_use]
    pub fn subject_alt_name(&self) -> Option<&[u8]> {
        self.extension(ID_CE_SUBJECT_ALT_NAME)
    }

    /// The contents of the extension's OCTET STRING.
    #[must_use]
    pub fn extension(&self, oid: ObjectIdentifier) -> Option<&[u8]> {
        self.fields
            .extensions
            .iter()
            .find(|ext| ext.oid == oid)
            .map(|ext| self.slice(&ext.value))
    }

    /// The critical extensions that path validation here does not process, nameConstraints and the policy
    /// extensions among them: a path through such a certificate is refused (RFC 5280 §6.1.4 (o)).
    pub fn unprocessed_critical_extensions(&self) -> impl Iterator<Item = ObjectIdentifier> + '_ {
        self.fields
            .extensions
            .iter()
            .filter(|ext| ext.critical && !PROCESSED_EXTENSIONS.contains(&ext.oid))
            .map(|ext| ext.oid)
    }

    fn slice(&self, range: &Range<usize>) -> &[u8] {
        self.der.get(range.clone()).unwrap_or_default()
    }
}

impl PartialEq for Certificate {
    fn eq(&self, other: &Self) -> bool {
        self.der == other.der
    }
}

impl Eq for Certificate {}

impl fmt::Display for Certificate {
    /// Subject and serial number in one line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, serial ", self.subject_string())?;
        self.serial_number()
            .iter()
            .try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Certificate({self})")
    }
}

/// Why bytes are not a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CertificateError {
    /// Not the DER of a Certificate, or not only.
    Malformed(der::Error),
    /// The algorithm inside the signed part is not the one beside the signature (RFC 5280 §4.1.1.2).
    AlgorithmMismatch,
    /// A version above 3, or fields that the version does not have (RFC 5280 §4.1.2.1).
    Version,
    /// The issuer is the empty name (RFC 5280 §4.1.2.4).
    EmptyIssuer,
    /// The serial number is longer than 21 bytes (RFC 5280 §4.1.2.2 allows 20; many CAs put a zero before).
    SerialNumber,
    /// An extension occurs twice (RFC 5280 §4.2).
    DuplicateExtension(ObjectIdentifier),
    /// More extensions than [`Certificate::MAX_EXTENSIONS`], or an empty list.
    ExtensionCount,
    /// Longer than [`Certificate::MAX_BYTES`].
    TooLong,
}

impl fmt::Display for CertificateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(_) => f.write_str("not the DER of a certificate"),
            Self::AlgorithmMismatch => f.write_str("the certificate names two signature algorithms"),
            Self::Version => f.write_str("the certificate's version does not fit its fields"),
            Self::EmptyIssuer => f.write_str("the certificate has no issuer"),
            Self::SerialNumber => f.write_str("the certificate's serial number is too long"),
            Self::DuplicateExtension(oid) => write!(f, "the certificate has extension {oid} twice"),
            Self::ExtensionCount => f.write_str("the certificate has too many or no extensions in its list"),
            Self::TooLong => f.write_str("the certificate is too long"),
        }
    }
}

impl core::error::Error for CertificateError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Malformed(error) => Some(error),
            _ => None,
        }
    }
}

impl From<der::Error> for CertificateError {
    fn from(error: der::Error) -> Self {
        Self::Malformed(error)
    }
}

impl From<der::ErrorKind> for CertificateError {
    fn from(kind: der::ErrorKind) -> Self {
        Self::Malformed(kind.into())
    }
}

/// Where things are in the DER, and what was understood of them.
#[derive(Clone)]
struct Fields {
    tbs: Range<usize>,
    serial_number: Range<usize>,
    issuer: Range<usize>,
    subject: Range<usize>,
    public_key: Range<usize>,
    signature_algorithm: Range<usize>,
    signature: Range<usize>,
    not_before: u64,
    not_after: u64,
    extensions: Vec<Extension>,
    basic_constraints: Option<BasicConstraints>,
    key_usage: Option<KeyUsage>,
    ext_key_usage: Option<Vec<ObjectIdentifier>>,
    subject_key_identifier: Option<Range<usize>>,
    authority_key_identifier: Option<Range<usize>>,
}

#[derive(Clone)]
pub(crate) struct Extension {
    pub(crate) oid: ObjectIdentifier,
    pub(crate) critical: bool,
    pub(crate) value: Range<usize>,
}

impl Fields {
    /// `Certificate ::= SEQUENCE { tbsCertificate, signatureAlgorithm, signatureValue }`
    fn parse(der: &[u8]) -> Result<Self, CertificateError> {
        let mut reader = SliceReader::new(der)?;
        let (tbs, algorithm, signature) = reader.sequence(|seq| {
            Ok::<_, der::Error>((seq.tlv_bytes()?, seq.tlv_bytes()?, BitStringRef::decode(seq)?))
        })?;
        reader.finish()?;
        AlgorithmIdentifierRef::from_der(algorithm)?;
        let signature = signature.as_bytes().ok_or_else(|| Tag::BitString.value_error())?;

        let mut reader = SliceReader::new(tbs)?;
        let mut fields = reader.sequence(|seq| Self::parse_tbs(der, algorithm, seq))?;
        reader.finish()?;
        fields.tbs = range_in(der, tbs);
        fields.signature_algorithm = range_in(der, algorithm);
        fields.signature = range_in(der, signature);
        fields.understand(der)?;
        Ok(fields)
    }

    fn parse_tbs(
        der: &[u8],
        outer_algorithm: &[u8],
        seq: &mut SliceReader<'_>,
    ) -> Result<Self, CertificateError> {
        let version = seq.context_specific::<u8>(TagNumber(0), TagMode::Explicit)?;
        // Version 1 is the DEFAULT, which DER leaves out.
        if !matches!(version, None | Some(1 | 2)) {
            return Err(CertificateError::Version);
        }
        let serial_number = AnyRef::decode(seq)?;
        serial_number.tag().assert_eq(Tag::Integer)?;
        if !(1..=21).contains(&serial_number.value().len()) {
            return Err(CertificateError::SerialNumber);
        }
        if seq.tlv_bytes()? != outer_algorithm {
            return Err(CertificateError::AlgorithmMismatch);
        }
        let issuer = seq.tlv_bytes()?;
        if name::rdn_count(issuer)? == 0 {
            return Err(CertificateError::EmptyIssuer);
        }
        let (not_before, not_after) =
            seq.sequence(|validity| Ok::<_, der::Error>((Time::decode(validity)?, Time::decode(validity)?)))?;
        let subject = seq.tlv_bytes()?;
        name::rdn_count(subject)?;
        let public_key = seq.tlv_bytes()?;
        SubjectPublicKeyInfoRef::from_der(public_key)?;
        let extensions = parse_tail(der, version, seq)?;
        Ok(Self {
            tbs: 0..0,
            serial_number: range_in(der, serial_number.value()),
            issuer: range_in(der, issuer),
            subject: range_in(der, subject),
            public_key: range_in(der, public_key),
            signature_algorithm: 0..0,
            signature: 0..0,
            not_before: not_before.to_unix_duration().as_secs(),
            not_after: not_after.to_unix_duration().as_secs(),
            extensions,
            basic_constraints: None,
            key_usage: None,
            ext_key_usage: None,
            subject_key_identifier: None,
            authority_key_identifier: None,
        })
    }

    /// Parses the extensions that are checked: a malformed one makes the certificate malformed.
    fn understand(&mut self, der: &[u8]) -> der::Result<()> {
        for extension in &self.extensions {
            let value = der.get(extension.value.clone()).unwrap_or_default();
            match extension.oid {
                ID_CE_BASIC_CONSTRAINTS => self.basic_constraints = Some(BasicConstraints::from_der(value)?),
                ID_CE_KEY_USAGE => self.key_usage = Some(KeyUsage::from_der(value)?),
                ID_CE_EXT_KEY_USAGE => self.ext_key_usage = Some(ExtendedKeyUsage::from_der(value)?.0),
                ID_CE_SUBJECT_KEY_IDENTIFIER => {
                    let identifier = <&OctetStringRef>::from_der(value)?.as_bytes();
                    self.subject_key_identifier = Some(range_in(der, identifier));
                }
                ID_CE_AUTHORITY_KEY_IDENTIFIER => {
                    let identifier = key_identifier(value)?;
                    self.authority_key_identifier = identifier.map(|bytes| range_in(der, bytes));
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// What follows the public key: unique identifiers (versions 2 and 3) and extensions (version 3).
fn parse_tail(
    der: &[u8],
    version: Option<u8>,
    seq: &mut SliceReader<'_>,
) -> Result<Vec<Extension>, CertificateError> {
    let mut extensions = Vec::new();
    let mut before = 0;
    while !seq.is_finished() {
        let field = AnyRef::decode(seq)?;
        let Tag::ContextSpecific { number, .. } = field.tag() else {
            return Err(field.tag().unexpected_error(None).into());
        };
        let number = number.value();
        let since = match number {
            1 | 2 => 1,
            3 => 2,
            _ => return Err(field.tag().unexpected_error(None).into()),
        };
        if number <= before {
            return Err(field.tag().unexpected_error(None).into());
        }
        before = number;
        if version.unwrap_or(0) < since {
            return Err(CertificateError::Version);
        }
        if number == 3 {
            extensions = parse_extensions(der, field.value())?;
        }
    }
    Ok(extensions)
}

/// `Extension ::= SEQUENCE { extnID OBJECT IDENTIFIER, critical BOOLEAN DEFAULT FALSE, extnValue OCTET STRING }`
pub(crate) fn parse_extensions(der: &[u8], list: &[u8]) -> Result<Vec<Extension>, CertificateError> {
    let mut extensions: Vec<Extension> = Vec::new();
    let mut reader = SliceReader::new(list)?;
    reader.sequence(|seq| {
        while !seq.is_finished() {
            let extension = seq.sequence(|ext| {
                let oid = ObjectIdentifier::decode(ext)?;
                let critical = Option::<bool>::decode(ext)?.unwrap_or(false);
                let value = range_in(der, <&OctetStringRef>::decode(ext)?.as_bytes());
                Ok::<_, der::Error>(Extension { oid, critical, value })
            })?;
            if extensions.iter().any(|before| before.oid == extension.oid) {
                return Err(CertificateError::DuplicateExtension(extension.oid));
            }
            if extensions.len() == Certificate::MAX_EXTENSIONS {
                return Err(CertificateError::ExtensionCount);
            }
            extensions.push(extension);
        }
        Ok(())
    })?;
    reader.finish()?;
    if extensions.is_empty() {
        Err(CertificateError::ExtensionCount)
    } else {
        Ok(extensions)
    }
}

/// A Name for people.
fn name_string(name: &[u8]) -> String {
    match Name::from_der(name) {
        Ok(name) => {
            let text = name.to_string();
            text.chars()
                .map(|c| {
                    if c.is_control() {
                        char::REPLACEMENT_CHARACTER
                    } else {
                        c
                    }
                })
                .collect()
        }
        Err(_) => String::from("(unreadable name)"),
    }
}

/// `AuthorityKeyIdentifier ::= SEQUENCE { keyIdentifier [0] OCTET STRING OPTIONAL, … }`
fn key_identifier(value: &[u8]) -> der::Result<Option<&[u8]>> {
    let mut reader = SliceReader::new(value)?;
    let identifier = reader.sequence(|seq| {
        let mut identifier = None;
        while !seq.is_finished() {
            let field = AnyRef::decode(seq)?;
            if field.tag()
                == (Tag::ContextSpecific {
                    constructed: false,
                    number: TagNumber(0),
                })
            {
                identifier = Some(field.value());
            }
        }
        Ok::<_, der::Error>(identifier)
    })?;
    reader.finish()?;
    Ok(identifier)
}

/// Where `part`, borrowed from `whole`, lies in it.
pub(crate) fn range_in(whole: &[u8], part: &[u8]) -> Range<usize> {
    let start = part.as_ptr().addr().saturating_sub(whole.as_ptr().addr());
    start..start.saturating_add(part.len())
}

/// Those that [`crate::path`] acts on, and subjectAltName, which restricts nothing.
const PROCESSED_EXTENSIONS: [ObjectIdentifier; 6] = [
    ID_CE_AUTHORITY_KEY_IDENTIFIER,
    ID_CE_BASIC_CONSTRAINTS,
    ID_CE_EXT_KEY_USAGE,
    ID_CE_KEY_USAGE,
    ID_CE_SUBJECT_ALT_NAME,
    ID_CE_SUBJECT_KEY_IDENTIFIER,
];
