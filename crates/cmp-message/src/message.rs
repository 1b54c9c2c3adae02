//! PKIMessage (RFC 9810 §5.1).

use alloc::vec::Vec;
use der::{Decode, Encode, Header, Length, Sequence, SliceReader, Tag, asn1::BitString};

use crate::{Exact, PkiBody, PkiHeader, Raw};

/// A message: header and body, over which the protection is, and certificates that help to verify it.
///
/// ```text
/// PKIMessage ::= SEQUENCE {
///     header           PKIHeader,
///     body             PKIBody,
///     protection   [0] BIT STRING                             OPTIONAL,
///     extraCerts   [1] SEQUENCE SIZE (1..MAX) OF CMPCertificate OPTIONAL }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Sequence)]
pub struct PkiMessage {
    /// Who, when, in which transaction.
    pub header: Exact<PkiHeader>,
    /// What.
    pub body: Exact<PkiBody>,
    /// Signature or MAC over header and body.
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT", optional = "true")]
    pub protection: Option<BitString>,
    /// Certificates, the protection certificate first; unparsed.
    #[asn1(context_specific = "1", tag_mode = "EXPLICIT", optional = "true")]
    pub extra_certs: Option<Vec<Raw>>,
}

impl PkiMessage {
    /// A message without protection yet.
    pub fn new(header: PkiHeader, body: PkiBody) -> der::Result<Self> {
        Ok(Self {
            header: Exact::new(header)?,
            body: Exact::new(body)?,
            protection: None,
            extra_certs: None,
        })
    }

    /// The bytes that the protection is over: the DER of `ProtectedPart`, made of header and body as received.
    ///
    /// ```text
    /// ProtectedPart ::= SEQUENCE { header PKIHeader, body PKIBody }
    /// ```
    pub fn protected_part(&self) -> der::Result<Vec<u8>> {
        protected_part(self.header.as_der(), self.body.as_der())
    }

    /// The same message with this protection.
    pub fn with_protection(mut self, protection: &[u8], extra_certs: Vec<Raw>) -> der::Result<Self> {
        self.protection = Some(BitString::from_bytes(protection)?);
        self.extra_certs = (!extra_certs.is_empty()).then_some(extra_certs);
        Ok(self)
    }

    /// Decodes a whole message; bytes behind it are an error, and so is what is not written as DER writes it.
    pub fn from_bytes(bytes: &[u8]) -> der::Result<Self> {
        let message = Self::from_der(bytes)?;
        if message.to_der()? == bytes {
            Ok(message)
        } else {
            Err(Tag::Sequence.value_error().into())
        }
    }

    /// Encodes the message. Header and body are written as they came in.
    pub fn to_bytes(&self) -> der::Result<Vec<u8>> {
        self.to_der()
    }

    /// Only the header of a message, for those who need no more: the rest is not looked at.
    pub fn peek_header(bytes: &[u8]) -> der::Result<PkiHeader> {
        let mut reader = SliceReader::new(bytes)?;
        let outer = Header::decode(&mut reader)?;
        outer.tag().assert_eq(Tag::Sequence)?;
        PkiHeader::decode(&mut reader)
    }
}

fn protected_part(header: &[u8], body: &[u8]) -> der::Result<Vec<u8>> {
    let length = (Length::try_from(header.len())? + Length::try_from(body.len())?)?;
    let mut out = Vec::with_capacity(header.len() + body.len() + 6);
    Header::new(Tag::Sequence, length).encode_to_vec(&mut out)?;
    out.extend_from_slice(header);
    out.extend_from_slice(body);
    Ok(out)
}
