//! What is asked for.

use alloc::{string::String, vec::Vec};

#[cfg(feature = "envelope")]
use cmp_message::crypto::KeyAlgorithm;
use cmp_message::{
    AttributeTypeAndValue, BodyType, CertId, CertReqMsg, CertRequest, CertTemplate, Exact, InfoTypeAndValue,
    PkiBody, PopoSigningKey, ProofOfPossession, Raw, RevDetails, certificate::Certificate,
    crypto::SignatureAlgorithm,
};
use const_oid::AssociatedOid;
use der::{
    Decode, Encode,
    asn1::{BitString, Int, OctetString},
    referenced::RefToOwned,
};
use spki::SubjectPublicKeyInfoOwned;
use x509_cert::{
    ext::{Extension, pkix::CrlReason},
    name::Name,
};

use crate::{
    Config, KeyId, Protection, RequestError,
    issued::{Wanted, WantedKey},
};

mod general;
mod pkcs10;

pub use general::{CrlUpdate, GeneralRequest};
pub use pkcs10::Pkcs10Request;

/// One operation of RFC 9483 §4.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Request {
    /// `ir`, `cr` or `kur`: a certificate, with a request that is made here (RFC 9483 §4.1.1 to §4.1.3).
    Certificate(CertificateRequest),
    /// `p10cr`: a certificate, with a PKCS #10 request that was made elsewhere (RFC 9483 §4.1.4).
    Pkcs10(Pkcs10Request),
    /// `rr`: the revocation of our own certificate (RFC 9483 §4.2).
    Revocation(RevocationRequest),
    /// `genm`: something to know (RFC 9483 §4.3).
    General(GeneralRequest),
}

impl From<CertificateRequest> for Request {
    fn from(request: CertificateRequest) -> Self {
        Self::Certificate(request)
    }
}

impl From<Pkcs10Request> for Request {
    fn from(request: Pkcs10Request) -> Self {
        Self::Pkcs10(request)
    }
}

impl From<RevocationRequest> for Request {
    fn from(request: RevocationRequest) -> Self {
        Self::Revocation(request)
    }
}

impl From<GeneralRequest> for Request {
    fn from(request: GeneralRequest) -> Self {
        Self::General(request)
    }
}

impl Request {
    /// The body that it becomes.
    pub fn body_type(&self) -> BodyType {
        match self {
            Self::Certificate(request) => request.operation.body_type(),
            Self::Pkcs10(_) => BodyType::P10cr,
            Self::Revocation(_) => BodyType::Rr,
            Self::General(_) => BodyType::Genm,
        }
    }
}

/// Which certificate request it is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Operation {
    /// `ir`: the first certificate of this PKI (RFC 9483 §4.1.1).
    Initialization,
    /// `cr`: one more certificate of a PKI that has already issued one (RFC 9483 §4.1.2).
    Certification,
    /// `kur`: a new key and certificate in place of this one, which also protects the request (RFC 9483 §4.1.3).
    Update(Certificate),
}

impl Operation {
    /// The body of the request.
    pub fn body_type(&self) -> BodyType {
        match self {
            Self::Initialization => BodyType::Ir,
            Self::Certification => BodyType::Cr,
            Self::Update(_) => BodyType::Kur,
        }
    }
}

/// The key of the certificate that is asked for.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum NewKey {
    /// Its private key is held here and proves itself by a signature (RFC 9810 §5.2.8).
    Own {
        /// The private key.
        key: KeyId,
        /// The public key, DER of SubjectPublicKeyInfo.
        public_key: Vec<u8>,
        /// How that key signs.
        algorithm: SignatureAlgorithm,
    },
    /// The RA has it made, and delivers it encrypted for the key or secret that protects the request
    /// (RFC 9483 §4.1.6). A key that is to encrypt must be allowed to by its certificate.
    #[cfg(feature = "envelope")]
    Central {
        /// What the new key will be called here.
        key: KeyId,
        /// Of which type; `None`: what the RA finds right.
        algorithm: Option<KeyAlgorithm>,
    },
}

impl NewKey {
    /// The publicKey of the template: without the key itself where that is yet to be made.
    pub(crate) fn template(&self) -> Result<Option<SubjectPublicKeyInfoOwned>, RequestError> {
        match self {
            Self::Own { public_key, .. } => SubjectPublicKeyInfoOwned::from_der(public_key)
                .map(Some)
                .map_err(|_| RequestError::PublicKey),
            #[cfg(feature = "envelope")]
            Self::Central { algorithm, .. } => algorithm
                .map(|algorithm| {
                    Ok(SubjectPublicKeyInfoOwned {
                        algorithm: algorithm.algorithm_identifier().ref_to_owned(),
                        subject_public_key: BitString::from_bytes(&[]).map_err(encoding)?,
                    })
                })
                .transpose(),
        }
    }

    fn id(&self) -> KeyId {
        match self {
            Self::Own { key, .. } => *key,
            #[cfg(feature = "envelope")]
            Self::Central { key, .. } => *key,
        }
    }
}

/// One certificate, and the key that it is to be for.
#[derive(Clone, Debug)]
pub struct CertificateRequest {
    /// Which request it is.
    pub operation: Operation,
    /// The subject; not empty.
    pub subject: Name,
    /// The key.
    pub key: NewKey,
    /// Extensions that are wanted.
    pub extensions: Vec<Extension>,
    /// The name of the certificate profile that is wanted, if the RA has several (RFC 9483 §3.1).
    pub cert_profile: Option<String>,
}

impl CertificateRequest {
    /// A request without extensions and profile.
    pub fn new(operation: Operation, subject: Name, key: NewKey) -> Self {
        Self {
            operation,
            subject,
            key,
            extensions: Vec::new(),
            cert_profile: None,
        }
    }

    /// The part that the proof of possession covers.
    pub(crate) fn cert_request(&self) -> Result<Exact<CertRequest>, RequestError> {
        if self.subject.is_empty() {
            return Err(RequestError::EmptySubject);
        }
        let controls = match &self.operation {
            Operation::Initialization | Operation::Certification => None,
            Operation::Update(old) => {
                let id = cert_id(old)?;
                Some(alloc::vec![
                    AttributeTypeAndValue::old_cert_id(&id).map_err(encoding)?
                ])
            }
        };
        let cert_template = CertTemplate {
            subject: Some(self.subject.clone()),
            public_key: self.key.template()?,
            extensions: (!self.extensions.is_empty()).then(|| self.extensions.clone()),
            ..CertTemplate::default()
        };
        let request = CertRequest {
            cert_req_id: 0,
            cert_template,
            controls,
        };
        Exact::new(request).map_err(encoding)
    }
}

/// The revocation of a certificate, asked for with that certificate (RFC 9483 §4.2).
#[derive(Clone, Debug)]
pub struct RevocationRequest {
    /// The certificate to be revoked; it also protects the request.
    pub certificate: Certificate,
    /// Why; `Unspecified` where that is not known or nobody's business.
    pub reason: CrlReason,
}

/// A request as it goes out, and what else its answer is held against.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) body: PkiBody,
    /// Of the certificate that is asked for.
    pub(crate) key: Option<KeyId>,
    pub(crate) cert_profile: Option<String>,
    /// Who must have signed the CRL that is asked for.
    pub(crate) crl_issuer: Option<Certificate>,
}

impl Asked {
    fn new(body: PkiBody) -> Self {
        Self {
            body,
            key: None,
            cert_profile: None,
            crl_issuer: None,
        }
    }

    /// A certificate request with its proof of possession.
    pub(crate) fn with_proof(
        request: &CertificateRequest,
        cert_req: Exact<CertRequest>,
        algorithm: SignatureAlgorithm,
        signature: &[u8],
    ) -> Result<Self, RequestError> {
        let popo = ProofOfPossession::Signature(PopoSigningKey {
            poposk_input: None,
            algorithm_identifier: algorithm.algorithm_identifier().ref_to_owned(),
            signature: BitString::from_bytes(signature).map_err(encoding)?,
        });
        Ok(Self::certificate(request, cert_req, Some(popo)))
    }

    /// A certificate request; there is nothing to prove where the key is yet to be made.
    pub(crate) fn certificate(
        request: &CertificateRequest,
        cert_req: Exact<CertRequest>,
        popo: Option<ProofOfPossession>,
    ) -> Self {
        let messages = alloc::vec![CertReqMsg {
            cert_req,
            popo,
            reg_info: None,
        }];
        let body = match request.operation {
            Operation::Initialization => PkiBody::Ir(messages),
            Operation::Certification => PkiBody::Cr(messages),
            Operation::Update(_) => PkiBody::Kur(messages),
        };
        Self {
            key: Some(request.key.id()),
            cert_profile: request.cert_profile.clone(),
            ..Self::new(body)
        }
    }

    pub(crate) fn pkcs10(request: &Pkcs10Request) -> Result<Self, RequestError> {
        let csr = Raw::new(request.csr.as_slice()).map_err(|_| RequestError::Pkcs10)?;
        pkcs10::subject_and_key(&csr)?;
        Ok(Self {
            key: Some(request.key),
            cert_profile: request.cert_profile.clone(),
            ..Self::new(PkiBody::P10cr(csr))
        })
    }

    pub(crate) fn revocation(request: &RevocationRequest) -> Result<Self, RequestError> {
        let CertId {
            issuer,
            serial_number,
        } = cert_id(&request.certificate)?;
        let cert_details = CertTemplate {
            serial_number: Some(serial_number),
            issuer: match issuer {
                x509_cert::ext::pkix::name::GeneralName::DirectoryName(name) => Some(name),
                _ => None,
            },
            ..CertTemplate::default()
        };
        let reason = Extension {
            extn_id: CrlReason::OID,
            critical: false,
            extn_value: OctetString::new(request.reason.to_der().map_err(encoding)?).map_err(encoding)?,
        };
        Ok(Self::new(PkiBody::Rr(alloc::vec![RevDetails {
            cert_details,
            crl_entry_details: Some(alloc::vec![reason]),
        }])))
    }

    pub(crate) fn general(request: &GeneralRequest) -> Result<Self, RequestError> {
        let info = request.info().map_err(encoding)?;
        let (cert_profile, crl_issuer) = match request {
            GeneralRequest::CertReqTemplate { cert_profile } => (cert_profile.clone(), None),
            GeneralRequest::CrlUpdate(update) => (None, Some(update.issuer.clone())),
            _ => (None, None),
        };
        Ok(Self {
            cert_profile,
            crl_issuer,
            ..Self::new(PkiBody::Genm(alloc::vec![info]))
        })
    }

    /// The request of an ir, cr or kur.
    fn cert_req_msg(&self) -> Option<&CertReqMsg> {
        let (PkiBody::Ir(requests) | PkiBody::Cr(requests) | PkiBody::Kur(requests)) = &self.body else {
            return None;
        };
        requests.first()
    }

    /// The template of an ir, cr or kur.
    pub(crate) fn cert_request(&self) -> Option<&CertRequest> {
        self.cert_req_msg().map(|request| &*request.cert_req)
    }

    /// Whether the key is to come with the certificate.
    pub(crate) fn is_central(&self) -> bool {
        self.cert_req_msg().is_some_and(CertReqMsg::asks_for_key)
    }

    /// What the certificate must have.
    pub(crate) fn wanted(&self) -> Option<Wanted> {
        if let PkiBody::P10cr(csr) = &self.body {
            let (subject, public_key) = pkcs10::subject_and_key(csr).ok()?;
            let key = WantedKey::This(public_key);
            return Some(Wanted { subject, key });
        }
        let template = &self.cert_request()?.cert_template;
        let key = match &template.public_key {
            Some(key) if self.is_central() => WantedKey::OfType(key.algorithm.to_der().ok()?),
            Some(key) => WantedKey::This(key.to_der().ok()?),
            None => WantedKey::Any,
        };
        let subject = template.subject.as_ref()?.to_der().ok()?;
        Some(Wanted { subject, key })
    }

    /// certReqId of the answer: −1 where the request has none (RFC 9483 §4.1.4).
    pub(crate) fn cert_req_id(&self) -> i64 {
        match self.body {
            PkiBody::P10cr(_) => -1,
            _ => 0,
        }
    }

    /// The certificate that is to be revoked.
    pub(crate) fn rev_details(&self) -> Option<&CertTemplate> {
        match &self.body {
            PkiBody::Rr(details) => details.first().map(|details| &details.cert_details),
            _ => None,
        }
    }

    /// What is asked in a genm.
    pub(crate) fn info(&self) -> Option<&InfoTypeAndValue> {
        match &self.body {
            PkiBody::Genm(content) => content.first(),
            _ => None,
        }
    }
}

/// What must hold before anything is signed.
pub(crate) fn check(config: &Config, request: &Request) -> Result<(), RequestError> {
    let signs_with = |certificate: &Certificate| matches!(&config.protection, Protection::Signature { certificate: ours, .. } if ours == certificate);
    match request {
        Request::Certificate(CertificateRequest {
            operation: Operation::Update(old),
            ..
        }) if !signs_with(old) => Err(RequestError::UpdateProtection),
        Request::Revocation(revocation) if !signs_with(&revocation.certificate) => {
            Err(RequestError::RevocationProtection)
        }
        Request::General(GeneralRequest::RootCaUpdate { root }) if !config.trusts(root) => {
            Err(RequestError::UnknownRoot)
        }
        _ => Ok(()),
    }
}

fn cert_id(certificate: &Certificate) -> Result<CertId, RequestError> {
    let serial_number = Int::new(certificate.serial_number())
        .and_then(|serial| serial.to_der())
        .map_err(encoding)?;
    CertId::new(certificate.issuer(), &serial_number).map_err(encoding)
}

fn encoding(_: der::Error) -> RequestError {
    RequestError::Encoding
}
