use alloc::vec::Vec;

use const_oid::ObjectIdentifier;
use const_oid::db::rfc5911::{ID_CONTENT_TYPE, ID_MESSAGE_DIGEST};
use const_oid::db::rfc5912::RSA_ENCRYPTION;
use der::asn1::OctetStringRef;
use der::{Decode, Encode};

use super::cms::{Attribute, CertificateIdentifier, SetOf, SignedData, SignerInfo};
use super::{DeliveredKey, EnvelopeError, ID_CT_KP_A_KEY_PACKAGE, ID_KP_CM_KGA, MAX_CERTIFICATES, Structure};
use crate::certificate::{Certificate, names_match};
use crate::crypto::{Crypto, CryptoError, HashAlgorithm, SignatureAlgorithm};
use crate::path::PathRequest;

/// What a delivered key and its key generation authority are held against.
#[derive(Clone, Copy, Debug)]
pub struct KgaTrust<'a> {
    /// The certificate that the key was delivered with. The CA that issued it may be the KGA without further mark.
    pub certificate: &'a Certificate,
    /// Trust anchors for the KGA.
    pub anchors: &'a [Certificate],
    /// Certificates that a path may lead through, beside those in the SignedData.
    pub untrusted: &'a [Certificate],
    /// Seconds since 1970; `None` where the clock is not set: then no validity is checked.
    pub now_s: Option<u64>,
}

impl KgaTrust<'_> {
    /// Takes the key out of the DER of a SignedData, for those who decrypted it by other means.
    ///
    /// # Errors
    /// The first check that failed, [`EnvelopeError::WrongContent`] if it is no SignedData.
    pub fn verify(&self, crypto: &dyn Crypto, signed_data: &[u8]) -> Result<DeliveredKey, EnvelopeError> {
        let package = self.signed_content(crypto, signed_data)?;
        DeliveredKey::from_package(crypto, package, self.certificate.public_key())
    }

    /// The DER of the AsymmetricKeyPackage in a SignedData whose signature is right (RFC 5652 §5.4).
    fn signed_content<'d>(
        &self,
        crypto: &dyn Crypto,
        signed_data: &'d [u8],
    ) -> Result<&'d [u8], EnvelopeError> {
        // What was decrypted and is no SignedData was changed before: that is told like a wrong padding.
        let signed = SignedData::from_der(signed_data).map_err(|_| EnvelopeError::WrongContent)?;
        if signed.version != 3 {
            return Err(EnvelopeError::Version(Structure::SignedData, signed.version));
        }
        let content = &signed.encap_content_info;
        if content.content_type != ID_CT_KP_A_KEY_PACKAGE {
            return Err(EnvelopeError::SignedContentType(content.content_type));
        }
        let content = content
            .content
            .ok_or(EnvelopeError::MissingSignedContent)?
            .as_bytes();
        let signer: SignerInfo<'_> = signed.signer_infos.only()?.map_err(EnvelopeError::SignerCount)?;
        let digests = signed
            .digest_algorithms
            .only::<spki::AlgorithmIdentifierRef<'_>>()?;
        if !digests.is_ok_and(|digest| digest.oid == signer.digest_algorithm.oid) {
            return Err(EnvelopeError::DigestAlgorithms);
        }
        let certificates = certificates(signed.certificates)?;
        let kga = signer_certificate(&signer, &certificates)?;
        verify_signature(crypto, &signer, kga, content)?;
        self.check_authority(crypto, kga, &certificates)?;
        Ok(content)
    }

    /// A KGA is a CA, or has the extended key usage (RFC 9810 §4.5). Of the CAs, only the one that vouches for the key
    /// has a reason to know it.
    fn check_authority(
        &self,
        crypto: &dyn Crypto,
        kga: &Certificate,
        certificates: &[Certificate],
    ) -> Result<(), EnvelopeError> {
        let all = certificates.iter().chain(self.untrusted).cloned();
        let untrusted: Vec<_> = all.take(MAX_CERTIFICATES).collect();
        let mut request = PathRequest::new(kga, self.anchors, self.now_s.into());
        request.untrusted = &untrusted;
        request.validate(crypto).map_err(EnvelopeError::KgaNotTrusted)?;
        let marked = kga
            .ext_key_usage()
            .is_some_and(|usages| usages.contains(&ID_KP_CM_KGA));
        if marked || self.is_issuer(crypto, kga) {
            Ok(())
        } else {
            Err(EnvelopeError::KgaNotAuthorized)
        }
    }

    fn is_issuer(&self, crypto: &dyn Crypto, kga: &Certificate) -> bool {
        kga.basic_constraints().is_some_and(|constraints| constraints.ca)
            && names_match(kga.subject(), self.certificate.issuer())
            && self
                .certificate
                .verify_signature(crypto, kga.public_key())
                .is_ok()
    }
}

/// What cannot be read as a certificate leads nowhere, and need not.
fn certificates(set: Option<SetOf<'_>>) -> Result<Vec<Certificate>, EnvelopeError> {
    let elements: Vec<&[u8]> = set.map_or(Ok(Vec::new()), |set| set.elements().collect())?;
    if elements.len() > MAX_CERTIFICATES {
        return Err(EnvelopeError::TooManyCertificates(elements.len()));
    }
    let read = elements
        .into_iter()
        .filter_map(|der| Certificate::from_der(der).ok());
    Ok(read.collect())
}

/// The version says how the signer is named (RFC 5652 §5.3).
fn signer_certificate<'c>(
    signer: &SignerInfo<'_>,
    certificates: &'c [Certificate],
) -> Result<&'c Certificate, EnvelopeError> {
    let version = match signer.sid {
        CertificateIdentifier::IssuerAndSerialNumber(_) => 1,
        CertificateIdentifier::SubjectKeyIdentifier(_) => 3,
    };
    if signer.version != version {
        return Err(EnvelopeError::Version(Structure::SignerInfo, signer.version));
    }
    let found = certificates
        .iter()
        .find(|certificate| signer.sid.names(certificate));
    found.ok_or(EnvelopeError::MissingSigner)
}

fn verify_signature(
    crypto: &dyn Crypto,
    signer: &SignerInfo<'_>,
    kga: &Certificate,
    content: &[u8],
) -> Result<(), EnvelopeError> {
    let attributes = signer
        .signed_attrs
        .ok_or(EnvelopeError::MissingSignedAttributes)?;
    let content_type: ObjectIdentifier = signed_attribute(attributes, ID_CONTENT_TYPE)?;
    if content_type != ID_CT_KP_A_KEY_PACKAGE {
        return Err(EnvelopeError::WrongContentType(content_type));
    }
    let message_digest: &OctetStringRef = signed_attribute(attributes, ID_MESSAGE_DIGEST)?;
    let hash = digest_algorithm(signer)?;
    let digest = crypto.digest(hash, content).map_err(EnvelopeError::Crypto)?;
    if digest.as_bytes() != message_digest.as_bytes() {
        return Err(EnvelopeError::WrongMessageDigest);
    }
    let algorithm = signature_algorithm(signer, hash)?;
    // Signed is a SET OF; what is sent has another tag in its place.
    let message = attributes.to_der()?;
    let signature = signer.signature.as_bytes();
    crypto
        .verify(algorithm, kga.public_key(), &message, signature)
        .map_err(|error| match error {
            CryptoError::BadSignature => EnvelopeError::WrongSignature,
            other => EnvelopeError::Crypto(other),
        })
}

fn digest_algorithm(signer: &SignerInfo<'_>) -> Result<HashAlgorithm, EnvelopeError> {
    let oid = signer.digest_algorithm.oid;
    match HashAlgorithm::from_algorithm_identifier(&signer.digest_algorithm) {
        Ok(HashAlgorithm::Sha1) => Err(EnvelopeError::WeakAlgorithm(oid)),
        Ok(hash) => Ok(hash),
        Err(_) => Err(EnvelopeError::UnsupportedAlgorithm(oid)),
    }
}

/// CMS also names RSA without its hash, which is then that of the digest (RFC 5754 §3.2).
fn signature_algorithm(
    signer: &SignerInfo<'_>,
    hash: HashAlgorithm,
) -> Result<SignatureAlgorithm, EnvelopeError> {
    let id = &signer.signature_algorithm;
    let algorithm = match (id.oid, hash) {
        (RSA_ENCRYPTION, HashAlgorithm::Sha256) => Ok(SignatureAlgorithm::RsaSha256),
        (RSA_ENCRYPTION, HashAlgorithm::Sha384) => Ok(SignatureAlgorithm::RsaSha384),
        (RSA_ENCRYPTION, HashAlgorithm::Sha512) => Ok(SignatureAlgorithm::RsaSha512),
        _ => SignatureAlgorithm::from_algorithm_identifier(id),
    };
    algorithm.map_err(|_| EnvelopeError::UnsupportedAlgorithm(id.oid))
}

/// The one value of the one signed attribute of this type (RFC 5652 §11).
fn signed_attribute<'a, T: Decode<'a, Error = der::Error>>(
    attributes: SetOf<'a>,
    oid: ObjectIdentifier,
) -> Result<T, EnvelopeError> {
    let missing = EnvelopeError::SignedAttribute(oid);
    let mut found = None;
    for element in attributes.elements() {
        let attribute = Attribute::from_der(element?)?;
        if attribute.attr_type == oid && found.replace(attribute).is_some() {
            return Err(missing);
        }
    }
    let attribute = found.ok_or(missing)?;
    attribute
        .attr_values
        .only()?
        .map_err(|_| EnvelopeError::SignedAttribute(oid))
}
