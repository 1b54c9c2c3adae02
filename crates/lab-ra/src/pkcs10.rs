//! Certification requests of PKCS #10 (RFC 2986), for p10cr.

use const_oid::{ObjectIdentifier, db::rfc5912};
use der::{Decode, Reader, SliceReader, Tag, asn1::BitStringRef};
use spki::{AlgorithmIdentifierRef, SubjectPublicKeyInfoOwned};
use x509_cert::{attr::Attributes, ext::Extensions, name::Name};

use cmp_message::{
    CertTemplate,
    crypto::{Crypto, CryptoError, SignatureAlgorithm},
};

/// `id-ExtensionReq` (RFC 2985 §5.4.2).
const EXTENSION_REQUEST: ObjectIdentifier = rfc5912::ID_EXTENSION_REQ;

/// A certification request, with the bytes that its signature covers as they were received.
///
/// ```text
/// CertificationRequest ::= SEQUENCE {
///     certificationRequestInfo  CertificationRequestInfo,
///     signatureAlgorithm        AlgorithmIdentifier,
///     signature                 BIT STRING }
///
/// CertificationRequestInfo ::= SEQUENCE {
///     version        INTEGER { v1(0) },
///     subject        Name,
///     subjectPKInfo  SubjectPublicKeyInfo,
///     attributes [0] SET OF Attribute }
/// ```
pub(crate) struct CertificationRequest<'a> {
    info: &'a [u8],
    /// DER of the subjectPKInfo.
    public_key: &'a [u8],
    signature_algorithm: AlgorithmIdentifierRef<'a>,
    signature: &'a [u8],
    /// What is asked for.
    pub(crate) template: CertTemplate,
}

impl<'a> CertificationRequest<'a> {
    pub(crate) fn from_der(der: &'a [u8]) -> der::Result<Self> {
        let mut reader = SliceReader::new(der)?;
        let (info, signature_algorithm, signature) = reader.sequence(|seq| {
            Ok::<_, der::Error>((
                seq.tlv_bytes()?,
                AlgorithmIdentifierRef::decode(seq)?,
                BitStringRef::decode(seq)?,
            ))
        })?;
        reader.finish()?;
        let mut reader = SliceReader::new(info)?;
        let (public_key, template) = reader.sequence(read_info)?;
        reader.finish()?;
        Ok(Self {
            info,
            public_key,
            signature_algorithm,
            signature: signature.as_bytes().ok_or_else(|| Tag::BitString.value_error())?,
            template,
        })
    }

    /// The algorithm of the signature.
    pub(crate) fn signature_algorithm(&self) -> Result<SignatureAlgorithm, CryptoError> {
        SignatureAlgorithm::from_algorithm_identifier(&self.signature_algorithm)
    }

    /// Whether the request is signed with its own key: the proof of possession.
    pub(crate) fn verify(&self, crypto: &dyn Crypto) -> Result<(), CryptoError> {
        crypto.verify(
            self.signature_algorithm()?,
            self.public_key,
            self.info,
            self.signature,
        )
    }
}

fn read_info<'a>(info: &mut SliceReader<'a>) -> der::Result<(&'a [u8], CertTemplate)> {
    if u8::decode(info)? != 0 {
        return Err(Tag::Integer.value_error().into());
    }
    let subject = Name::decode(info)?;
    let public_key = info.tlv_bytes()?;
    let attributes = info.context_specific::<Attributes>(der::TagNumber(0), der::TagMode::Implicit)?;
    let mut extensions = None;
    for attribute in attributes.unwrap_or_default().iter() {
        if attribute.oid != EXTENSION_REQUEST {
            continue;
        }
        let [value] = attribute.values.as_slice() else {
            return Err(Tag::Set.value_error().into());
        };
        if extensions.replace(value.decode_as::<Extensions>()?).is_some() {
            return Err(Tag::Set.value_error().into());
        }
    }
    let template = CertTemplate {
        subject: Some(subject),
        public_key: Some(SubjectPublicKeyInfoOwned::from_der(public_key)?),
        extensions,
        ..CertTemplate::default()
    };
    Ok((public_key, template))
}
