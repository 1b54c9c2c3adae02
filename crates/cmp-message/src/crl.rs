//! Certificate revocation lists (RFC 5280 §5): read once, kept in the bytes received.

use alloc::vec::Vec;
use core::fmt;
use core::ops::Range;

use const_oid::ObjectIdentifier;
use const_oid::db::rfc5280::{
    ID_CE_AUTHORITY_KEY_IDENTIFIER, ID_CE_CRL_NUMBER, ID_CE_ISSUING_DISTRIBUTION_POINT,
};
use der::asn1::{AnyRef, BitStringRef};
use der::{Decode, Reader, SliceReader, Tag, TagNumber, Tagged};
use spki::AlgorithmIdentifierRef;
use x509_cert::ext::pkix::crl::dp::IssuingDistributionPoint;
use x509_cert::time::Time;

use crate::certificate::{Certificate, CertificateError, names_match, parse_extensions, range_in};
use crate::crypto::{Crypto, CryptoError, SignatureAlgorithm};

/// A CRL together with its exact DER. Two are equal if their DER is.
#[derive(Clone)]
pub struct Crl {
    der: Vec<u8>,
    tbs: Range<usize>,
    signature_algorithm: Range<usize>,
    signature: Range<usize>,
    issuer: Range<usize>,
    this_update: u64,
    next_update: Option<u64>,
    /// The contents of revokedCertificates, each entry well-formed.
    entries: Range<usize>,
    /// A critical extension that is not processed here.
    unprocessed: Option<ObjectIdentifier>,
    number: Option<Range<usize>>,
}

impl Crl {
    /// Parses `der`, which must be one CertificateList and nothing else. The caller limits its length.
    ///
    /// # Errors
    /// [`CrlError::Malformed`]. An algorithm that is not supported is none: it shows when the signature is verified.
    pub fn from_der(der: impl Into<Vec<u8>>) -> Result<Self, CrlError> {
        let der = der.into();
        let mut crl = parse(&der)?;
        crl.der = der;
        Ok(crl)
    }

    /// The whole CRL as received.
    #[must_use]
    pub fn as_der(&self) -> &[u8] {
        &self.der
    }

    /// The issuer's Name, DER.
    #[must_use]
    pub fn issuer(&self) -> &[u8] {
        self.slice(&self.issuer)
    }

    /// When it was issued, in seconds since 1970.
    #[must_use]
    pub fn this_update(&self) -> u64 {
        self.this_update
    }

    /// Until when the next one is issued, in seconds since 1970.
    #[must_use]
    pub fn next_update(&self) -> Option<u64> {
        self.next_update
    }

    /// The bytes of cRLNumber's INTEGER, big-endian two's complement (RFC 5280 §5.2.3).
    #[must_use]
    pub fn number(&self) -> Option<&[u8]> {
        self.number.as_ref().map(|range| self.slice(range))
    }

    /// The serial numbers of the revoked certificates, each as the bytes of its INTEGER.
    pub fn serial_numbers(&self) -> impl Iterator<Item = &[u8]> {
        let mut reader = SliceReader::new(self.slice(&self.entries)).ok();
        core::iter::from_fn(move || entry(reader.as_mut().filter(|reader| !reader.is_finished())?).ok())
    }

    /// Whether a certificate with this serial number is on the list.
    #[must_use]
    pub fn contains(&self, serial_number: &[u8]) -> bool {
        self.serial_numbers().any(|serial| serial == serial_number)
    }

    /// Checks that `issuer` has issued and signed the list (RFC 5280 §6.3.3 (b), (f), (g)), and that it is valid at `now_s`, in
    /// seconds since 1970; `None` where there is no clock. Whether `issuer` itself is to be trusted is the caller's question.
    ///
    /// # Errors
    /// The first check that failed.
    pub fn verify(
        &self,
        crypto: &dyn Crypto,
        issuer: &Certificate,
        now_s: Option<u64>,
    ) -> Result<(), CrlError> {
        if !names_match(self.issuer(), issuer.subject()) {
            return Err(CrlError::WrongIssuer);
        }
        if issuer.key_usage().is_some_and(|usage| !usage.crl_sign()) {
            return Err(CrlError::NoCrlSign);
        }
        if let Some(oid) = self.unprocessed {
            return Err(CrlError::CriticalExtension(oid));
        }
        let algorithm = AlgorithmIdentifierRef::from_der(self.slice(&self.signature_algorithm))
            .map_err(|_| CrlError::Signature(CryptoError::MalformedAlgorithm))
            .and_then(|id| SignatureAlgorithm::from_algorithm_identifier(&id).map_err(CrlError::Signature))?;
        crypto
            .verify(
                algorithm,
                issuer.public_key(),
                self.slice(&self.tbs),
                self.slice(&self.signature),
            )
            .map_err(CrlError::Signature)?;
        match (now_s, self.next_update) {
            (Some(now_s), _) if now_s < self.this_update => Err(CrlError::NotYetValid),
            (Some(now_s), Some(next_update)) if now_s > next_update => Err(CrlError::Expired),
            _ => Ok(()),
        }
    }

    fn slice(&self, range: &Range<usize>) -> &[u8] {
        self.der.get(range.clone()).unwrap_or_default()
    }
}

impl PartialEq for Crl {
    fn eq(&self, other: &Self) -> bool {
        self.der == other.der
    }
}

impl Eq for Crl {}

impl fmt::Debug for Crl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Crl")
            .field("this_update", &self.this_update)
            .field("next_update", &self.next_update)
            .field("bytes", &self.der.len())
            .finish_non_exhaustive()
    }
}

/// Why a CRL is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CrlError {
    /// Not the DER of a CertificateList.
    Malformed,
    /// Another issuer than the CA that was asked about.
    WrongIssuer,
    /// The keyUsage of the CA's certificate lacks cRLSign.
    NoCrlSign,
    /// A critical extension that is not processed here: that of a delta CRL or of an indirect one, among others.
    CriticalExtension(ObjectIdentifier),
    /// The signature does not verify under the CA's key.
    Signature(CryptoError),
    /// thisUpdate is in the future.
    NotYetValid,
    /// nextUpdate is in the past.
    Expired,
    /// Not newer than the one that is there already.
    NotNewer,
}

impl fmt::Display for CrlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed => f.write_str("the CRL is not DER of a CertificateList"),
            Self::WrongIssuer => f.write_str("the CRL is of another issuer"),
            Self::NoCrlSign => f.write_str("the key usage of the CRL's issuer does not allow to sign CRLs"),
            Self::CriticalExtension(oid) => write!(f, "the CRL's critical extension {oid} is not supported"),
            Self::Signature(error) => write!(f, "the CRL is not signed by its issuer: {error}"),
            Self::NotYetValid => f.write_str("the CRL is not valid yet"),
            Self::Expired => f.write_str("the CRL has expired"),
            Self::NotNewer => f.write_str("the CRL is not newer than the one that is there"),
        }
    }
}

impl core::error::Error for CrlError {}

impl From<der::Error> for CrlError {
    fn from(_: der::Error) -> Self {
        Self::Malformed
    }
}

impl From<der::ErrorKind> for CrlError {
    fn from(_: der::ErrorKind) -> Self {
        Self::Malformed
    }
}

impl From<CertificateError> for CrlError {
    fn from(_: CertificateError) -> Self {
        Self::Malformed
    }
}

/// `CertificateList ::= SEQUENCE { tbsCertList, signatureAlgorithm, signatureValue }`
fn parse(der: &[u8]) -> Result<Crl, CrlError> {
    let mut reader = SliceReader::new(der)?;
    let (tbs, algorithm, signature) = reader.sequence(|seq| {
        Ok::<_, der::Error>((seq.tlv_bytes()?, seq.tlv_bytes()?, BitStringRef::decode(seq)?))
    })?;
    reader.finish()?;
    AlgorithmIdentifierRef::from_der(algorithm)?;
    let signature = signature.as_bytes().ok_or(CrlError::Malformed)?;
    let mut reader = SliceReader::new(tbs)?;
    let mut crl = reader.sequence(|seq| parse_tbs(der, algorithm, seq))?;
    reader.finish()?;
    crl.tbs = range_in(der, tbs);
    crl.signature_algorithm = range_in(der, algorithm);
    crl.signature = range_in(der, signature);
    Ok(crl)
}

/// ```text
/// TBSCertList ::= SEQUENCE {
///     version              INTEGER OPTIONAL, -- 1: version 2
///     signature            AlgorithmIdentifier,
///     issuer               Name,
///     thisUpdate           Time,
///     nextUpdate           Time OPTIONAL,
///     revokedCertificates  SEQUENCE OF SEQUENCE { … } OPTIONAL,
///     crlExtensions    [0] Extensions OPTIONAL }
/// ```
fn parse_tbs(der: &[u8], outer_algorithm: &[u8], seq: &mut SliceReader<'_>) -> Result<Crl, CrlError> {
    if !matches!(Option::<u8>::decode(seq)?, None | Some(1)) || seq.tlv_bytes()? != outer_algorithm {
        return Err(CrlError::Malformed);
    }
    let issuer = seq.tlv_bytes()?;
    let this_update = seconds(Time::decode(seq)?);
    let next_update = match Tag::peek(seq) {
        Ok(Tag::UtcTime | Tag::GeneralizedTime) => Some(seconds(Time::decode(seq)?)),
        _ => None,
    };
    let entries = match Tag::peek(seq) {
        Ok(Tag::Sequence) => AnyRef::decode(seq)?.value(),
        _ => &[],
    };
    let mut reader = SliceReader::new(entries)?;
    while !reader.is_finished() {
        entry(&mut reader)?;
    }
    let extensions = match Tag::peek(seq) {
        Ok(tag) if tag == EXTENSIONS => parse_extensions(der, AnyRef::decode(seq)?.value())?,
        _ => Vec::new(),
    };
    let mut crl = Crl {
        der: Vec::new(),
        tbs: 0..0,
        signature_algorithm: 0..0,
        signature: 0..0,
        issuer: range_in(der, issuer),
        this_update,
        next_update,
        entries: range_in(der, entries),
        unprocessed: None,
        number: None,
    };
    for extension in extensions {
        let value = der.get(extension.value).unwrap_or_default();
        let processed = match extension.oid {
            ID_CE_CRL_NUMBER => {
                let number = AnyRef::from_der(value)?;
                number.tag().assert_eq(Tag::Integer)?;
                crl.number = Some(range_in(der, number.value()));
                true
            }
            ID_CE_AUTHORITY_KEY_IDENTIFIER => true,
            // An indirect CRL lists certificates of other issuers too.
            ID_CE_ISSUING_DISTRIBUTION_POINT => !IssuingDistributionPoint::from_der(value)?.indirect_crl,
            _ => false,
        };
        if extension.critical && !processed {
            crl.unprocessed.get_or_insert(extension.oid);
        }
    }
    Ok(crl)
}

/// Reads one entry of revokedCertificates; gives its serial number.
///
/// ```text
/// SEQUENCE { userCertificate INTEGER, revocationDate Time, crlEntryExtensions Extensions OPTIONAL }
/// ```
fn entry<'a>(reader: &mut SliceReader<'a>) -> der::Result<&'a [u8]> {
    reader.sequence(|seq| {
        let serial_number = AnyRef::decode(seq)?;
        serial_number.tag().assert_eq(Tag::Integer)?;
        Time::decode(seq)?;
        if !seq.is_finished() {
            AnyRef::decode(seq)?.tag().assert_eq(Tag::Sequence)?;
        }
        Ok(serial_number.value())
    })
}

const EXTENSIONS: Tag = Tag::ContextSpecific {
    constructed: true,
    number: TagNumber(0),
};

fn seconds(time: Time) -> u64 {
    time.to_unix_duration().as_secs()
}
