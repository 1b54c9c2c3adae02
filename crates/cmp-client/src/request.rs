//! What is asked for.

use alloc::vec::Vec;

use cmp_message::{
    AttributeTypeAndValue, BodyType, CertId, CertReqMsg, CertRequest, CertTemplate, Exact, PkiBody,
    PopoSigningKey, ProofOfPossession, certificate::Certificate, crypto::SignatureAlgorithm,
};
use der::{Decode, Encode, asn1::BitString, referenced::RefToOwned};
use spki::SubjectPublicKeyInfoOwned;
use x509_cert::{ext::Extension, name::Name};

use crate::KeyId;

/// Which request it is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Operation {
    /// `ir`: the first certificate of this PKI (RFC 9483 §4.1.1).
    Initialization,
    /// `kur`: a new key and certificate in place of this one, which also protects the request (RFC 9483 §4.1.3).
    Update(Certificate),
}

impl Operation {
    pub(crate) fn request_type(&self) -> BodyType {
        match self {
            Self::Initialization => BodyType::Ir,
            Self::Update(_) => BodyType::Kur,
        }
    }

    pub(crate) fn body(request_type: BodyType, message: CertReqMsg) -> PkiBody {
        let messages = alloc::vec![message];
        match request_type {
            BodyType::Kur => PkiBody::Kur(messages),
            _ => PkiBody::Ir(messages),
        }
    }
}

/// One certificate, and the key that it is to be for.
#[derive(Clone, Debug)]
pub struct Request {
    /// Which request it is.
    pub operation: Operation,
    /// The subject; not empty.
    pub subject: Name,
    /// The public key, DER of SubjectPublicKeyInfo.
    pub public_key: Vec<u8>,
    /// Its private key, for the proof of possession.
    pub key: KeyId,
    /// How that key signs.
    pub algorithm: SignatureAlgorithm,
    /// Extensions that are wanted.
    pub extensions: Vec<Extension>,
}

impl Request {
    /// The part that the proof of possession covers.
    pub(crate) fn cert_request(&self) -> der::Result<Exact<CertRequest>> {
        let controls = match &self.operation {
            Operation::Initialization => None,
            Operation::Update(old) => {
                let mut serial_number = Vec::new();
                der::asn1::Int::new(old.serial_number())?.encode_to_vec(&mut serial_number)?;
                let id = CertId::new(old.issuer(), &serial_number)?;
                Some(alloc::vec![AttributeTypeAndValue::old_cert_id(&id)?])
            }
        };
        let cert_template = CertTemplate {
            subject: Some(self.subject.clone()),
            public_key: Some(SubjectPublicKeyInfoOwned::from_der(&self.public_key)?),
            extensions: (!self.extensions.is_empty()).then(|| self.extensions.clone()),
            ..CertTemplate::default()
        };
        Exact::new(CertRequest {
            cert_req_id: 0,
            cert_template,
            controls,
        })
    }

    /// The request with its proof of possession.
    pub(crate) fn with_proof(
        cert_req: Exact<CertRequest>,
        algorithm: SignatureAlgorithm,
        signature: &[u8],
    ) -> der::Result<CertReqMsg> {
        let popo = PopoSigningKey {
            poposk_input: None,
            algorithm_identifier: algorithm.algorithm_identifier().ref_to_owned(),
            signature: BitString::from_bytes(signature)?,
        };
        Ok(CertReqMsg {
            cert_req,
            popo: Some(ProofOfPossession::Signature(popo)),
            reg_info: None,
        })
    }
}
