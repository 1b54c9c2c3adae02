//! What a certificate request is to contain, as the RA says (RFC 9483 §4.3.3, RFC 9810 §5.3.19.16).

use alloc::vec::Vec;
use core::fmt;

use cmp_message::{
    AttributeTypeAndValue as Control, CertTemplate, Raw,
    crypto::KeyAlgorithm,
    general::{CertReqTemplateContent, REG_CTRL_ALG_ID, REG_CTRL_RSA_KEY_LEN},
};
use const_oid::{ObjectIdentifier, db::rfc5912};
use der::{
    Decode, Encode, Sequence, Tagged,
    asn1::{Null, SetOfVec},
};
use spki::{AlgorithmIdentifierOwned, AlgorithmIdentifierRef, SubjectPublicKeyInfoRef};
use x509_cert::{
    attr::AttributeTypeAndValue,
    ext::{
        Extension,
        pkix::name::{GeneralName, GeneralNames},
    },
    name::{Name, RdnSequence, RelativeDistinguishedName},
};

use crate::CertificateRequest;

/// What a certificate request is to contain. [`apply`](Self::apply) makes a request so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertReqTemplate {
    /// The subject. Attributes without a value are the requester's to fill; `None` or an empty name: all of it is.
    pub subject: Option<Name>,
    /// Extensions. Those without a value are the requester's to fill, and so are the names without a value in
    /// subjectAltName.
    pub extensions: Vec<Extension>,
    /// Keys that are accepted; empty: the RA demands none.
    pub key_specs: Vec<KeySpec>,
}

/// A key that is accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeySpec {
    /// Of this algorithm, and of these parameters where there are any: a curve.
    Algorithm(AlgorithmIdentifierOwned),
    /// An RSA key with a modulus of this many bits.
    RsaKeyLen(u32),
    /// A demand that is not known here, and that no key meets.
    Unknown(ObjectIdentifier),
}

/// Why a template cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TemplateError {
    /// It cannot be read.
    Malformed,
    /// It has a field that a template must not have, or asks for another version than 3.
    ForbiddenField,
    /// keySpec has a value that cannot be read, or a length of zero.
    KeySpec,
    /// The key of the request is none of those that are accepted.
    KeyNotAccepted,
    /// The subject must have this attribute, and the request has none.
    MissingAttribute(ObjectIdentifier),
    /// This extension must be there, and the request has none, or not all of its names.
    MissingExtension(ObjectIdentifier),
    /// Neither the template nor the request has a subject.
    MissingSubject,
}

impl fmt::Display for TemplateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed => f.write_str("the certificate request template cannot be read"),
            Self::ForbiddenField => {
                f.write_str("the certificate request template has a field that it must not have")
            }
            Self::KeySpec => f.write_str("the keySpec of the certificate request template cannot be read"),
            Self::KeyNotAccepted => {
                f.write_str("the key is none of those that the certificate request template accepts")
            }
            Self::MissingAttribute(oid) => {
                write!(f, "the subject lacks the attribute {oid} that is demanded")
            }
            Self::MissingExtension(oid) => {
                write!(f, "the request lacks what is demanded of the extension {oid}")
            }
            Self::MissingSubject => f.write_str("neither the template nor the request has a subject"),
        }
    }
}

impl core::error::Error for TemplateError {}

impl CertReqTemplate {
    /// Takes what the RA sent.
    ///
    /// # Errors
    /// [`TemplateError::ForbiddenField`] for a public key, a serial number and other fields that no template has,
    /// [`TemplateError::KeySpec`]. issuer and validity are the CA's to decide, and are not asked for.
    pub fn from_content(content: &CertReqTemplateContent) -> Result<Self, TemplateError> {
        let template = &content.cert_template;
        let forbidden = template.version.is_some_and(|version| version != 2)
            || template.serial_number.is_some()
            || template.signing_alg.is_some()
            || template.public_key.is_some()
            || template.issuer_uid.is_some()
            || template.subject_uid.is_some();
        if forbidden {
            return Err(TemplateError::ForbiddenField);
        }
        let key_specs = content
            .key_spec
            .iter()
            .flatten()
            .map(|control| match control.attr_type {
                REG_CTRL_ALG_ID => control.value.parse().map(KeySpec::Algorithm),
                REG_CTRL_RSA_KEY_LEN => control.value.parse().map(KeySpec::RsaKeyLen),
                other => Ok(KeySpec::Unknown(other)),
            })
            .collect::<der::Result<Vec<_>>>();
        let key_specs = key_specs.map_err(|_| TemplateError::KeySpec)?;
        if key_specs.contains(&KeySpec::RsaKeyLen(0)) {
            return Err(TemplateError::KeySpec);
        }
        Ok(Self {
            subject: template.subject.clone(),
            extensions: template.extensions.clone().unwrap_or_default(),
            key_specs,
        })
    }

    /// The types of keys that can be made here and that the RA accepts: one of them is to be made for the request.
    pub fn accepted_keys(&self) -> impl Iterator<Item = KeyAlgorithm> {
        let accepted = |key: &KeyAlgorithm| {
            let id = key.algorithm_identifier();
            self.key_specs.is_empty() || self.key_specs.iter().any(|spec| spec.names(&id))
        };
        KeyAlgorithm::GENERATED.into_iter().filter(accepted)
    }

    /// The same as the RA sends it, so that it can be kept. Of a demand that is not known here only its name is left.
    ///
    /// # Errors
    /// Of the encoding.
    pub fn to_content(&self) -> der::Result<CertReqTemplateContent> {
        let control = |spec: &KeySpec| -> der::Result<Control> {
            let (attr_type, value) = match spec {
                KeySpec::Algorithm(algorithm) => (REG_CTRL_ALG_ID, Raw::encode(algorithm)?),
                KeySpec::RsaKeyLen(bits) => (REG_CTRL_RSA_KEY_LEN, Raw::encode(bits)?),
                KeySpec::Unknown(oid) => (*oid, Raw::encode(&Null)?),
            };
            Ok(Control { attr_type, value })
        };
        let key_spec: Vec<_> = self.key_specs.iter().map(control).collect::<der::Result<_>>()?;
        Ok(CertReqTemplateContent {
            cert_template: CertTemplate {
                subject: self.subject.clone(),
                extensions: (!self.extensions.is_empty()).then(|| self.extensions.clone()),
                ..CertTemplate::default()
            },
            key_spec: (!key_spec.is_empty()).then_some(key_spec),
        })
    }

    /// Whether the RA accepts this key, DER of SubjectPublicKeyInfo.
    pub fn accepts(&self, public_key: &[u8]) -> bool {
        let Ok(key) = SubjectPublicKeyInfoRef::from_der(public_key) else {
            return false;
        };
        self.key_specs.is_empty() || self.key_specs.iter().any(|spec| spec.is_met_by(&key))
    }

    /// `request` as the RA wants it: values of the template replace its own, and its own fill what the template leaves
    /// open. Attributes of the subject that the template does not name are left out; other extensions of the request stay.
    ///
    /// # Errors
    /// A [`TemplateError`] where the request lacks what is demanded.
    pub fn apply(&self, mut request: CertificateRequest) -> Result<CertificateRequest, TemplateError> {
        let public_key = request
            .key
            .template()
            .map_err(|_| TemplateError::KeyNotAccepted)?;
        let public_key = public_key
            .map(|key| key.to_der())
            .transpose()
            .map_err(|_| TemplateError::Malformed)?;
        if public_key.is_some_and(|key| !self.accepts(&key)) {
            return Err(TemplateError::KeyNotAccepted);
        }
        if let Some(subject) = self.subject.as_ref().filter(|subject| !subject.is_empty()) {
            request.subject = fill_subject(subject, &request.subject)?;
        }
        if request.subject.is_empty() {
            return Err(TemplateError::MissingSubject);
        }
        for wanted in &self.extensions {
            let own = request
                .extensions
                .iter_mut()
                .find(|own| own.extn_id == wanted.extn_id);
            let filled = fill_extension(wanted, own.as_deref())?;
            match own {
                Some(own) => *own = filled,
                None => request.extensions.push(filled),
            }
        }
        Ok(request)
    }
}

impl KeySpec {
    fn is_met_by(&self, key: &SubjectPublicKeyInfoRef<'_>) -> bool {
        match self {
            Self::Algorithm(_) => self.names(&key.algorithm),
            Self::RsaKeyLen(bits) => {
                key.algorithm.oid == rfc5912::RSA_ENCRYPTION
                    && key
                        .subject_public_key
                        .as_bytes()
                        .and_then(modulus_bits)
                        .is_some_and(|length| length == u64::from(*bits))
            }
            Self::Unknown(_) => false,
        }
    }

    /// Whether every key of this algorithm, with these parameters, is accepted.
    fn names(&self, id: &AlgorithmIdentifierRef<'_>) -> bool {
        let Self::Algorithm(algorithm) = self else {
            return false;
        };
        let parameters = id.parameters.and_then(|any| any.to_der().ok());
        let wanted = algorithm.parameters.as_ref().and_then(|any| any.to_der().ok());
        algorithm.oid == id.oid && (wanted.is_none() || wanted == parameters)
    }
}

/// `RSAPublicKey ::= SEQUENCE { modulus INTEGER, publicExponent INTEGER }`
#[derive(Sequence)]
struct RsaPublicKey {
    modulus: der::asn1::Uint,
    public_exponent: der::asn1::Uint,
}

fn modulus_bits(key: &[u8]) -> Option<u64> {
    let modulus = RsaPublicKey::from_der(key).ok()?.modulus;
    let first = modulus.as_bytes().first()?;
    let bits = u64::try_from(modulus.as_bytes().len()).ok()?.checked_mul(8)?;
    bits.checked_sub(u64::from(first.leading_zeros()))
}

/// The template's subject, with the requester's values where it has none.
fn fill_subject(template: &Name, own: &Name) -> Result<Name, TemplateError> {
    let malformed = |_| TemplateError::Malformed;
    let mut rdns = Vec::new();
    for rdn in template.iter_rdn() {
        let mut attributes = SetOfVec::new();
        for attribute in rdn.iter() {
            let filled = if attribute.value.value().is_empty() {
                own_attribute(own, attribute.oid)?
            } else {
                attribute.clone()
            };
            attributes.insert(filled).map_err(malformed)?;
        }
        rdns.push(RelativeDistinguishedName::from(attributes));
    }
    let encoded = RdnSequence::from(rdns).to_der().map_err(malformed)?;
    Name::from_der(&encoded).map_err(malformed)
}

fn own_attribute(own: &Name, oid: ObjectIdentifier) -> Result<AttributeTypeAndValue, TemplateError> {
    own.iter_rdn()
        .flat_map(RelativeDistinguishedName::iter)
        .find(|attribute| attribute.oid == oid && !attribute.value.value().is_empty())
        .cloned()
        .ok_or(TemplateError::MissingAttribute(oid))
}

fn fill_extension(wanted: &Extension, own: Option<&Extension>) -> Result<Extension, TemplateError> {
    let missing = TemplateError::MissingExtension(wanted.extn_id);
    if wanted.extn_value.is_empty() {
        return own
            .filter(|own| !own.extn_value.is_empty())
            .cloned()
            .ok_or(missing);
    }
    if wanted.extn_id != const_oid::db::rfc5280::ID_CE_SUBJECT_ALT_NAME {
        return Ok(wanted.clone());
    }
    let names = |extension: &Extension| GeneralNames::from_der(extension.extn_value.as_bytes());
    let template = names(wanted).map_err(|_| TemplateError::Malformed)?;
    let own = own
        .map(names)
        .transpose()
        .map_err(|_| missing)?
        .unwrap_or_default();
    let mut filled = GeneralNames::new();
    for name in template {
        if !is_open(&name) {
            filled.push(name);
            continue;
        }
        let before = filled.len();
        filled.extend(
            own.iter()
                .filter(|own| own.tag() == name.tag() && !is_open(own))
                .cloned(),
        );
        if filled.len() == before {
            return Err(missing);
        }
    }
    let value = filled.to_der().map_err(|_| TemplateError::Malformed)?;
    Ok(Extension {
        extn_value: der::asn1::OctetString::new(value).map_err(|_| TemplateError::Malformed)?,
        ..wanted.clone()
    })
}

/// A name without a value: the requester is to give one of its kind.
fn is_open(name: &GeneralName) -> bool {
    match name {
        GeneralName::Rfc822Name(text)
        | GeneralName::DnsName(text)
        | GeneralName::UniformResourceIdentifier(text) => text.as_str().is_empty(),
        GeneralName::IpAddress(address) => address.is_empty(),
        GeneralName::DirectoryName(name) => name.is_empty(),
        _ => false,
    }
}
