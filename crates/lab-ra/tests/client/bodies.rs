//! Bodies, right ones unless they are changed, and what comes back.

use cmp_message::{
    AttributeTypeAndValue, CMP_2021, CertConfirmContent, CertId, CertOrEncCert, CertReqMsg, CertRequest,
    CertStatus, CertTemplate, Exact, InfoTypeAndValue, PkiBody, PkiFailure, PkiHeader, PkiMessage, PkiStatus,
    PkiStatusInfo, PollReq, PopoSigningKey, ProofOfPossession, Raw, RevDetails, cert_conf_hash,
    certificate::Certificate,
    crypto::{AwsLc, Crypto, HashAlgorithm, SigningKey, aws_lc::SoftKey},
};
use der::{
    Decode, Encode,
    asn1::{BitString, Int, SetOfVec},
    referenced::RefToOwned,
};
use spki::{AlgorithmIdentifierRef, SubjectPublicKeyInfoOwned};
use x509_cert::{
    attr::Attribute,
    ext::{Extension, pkix::name::GeneralName},
    name::Name,
    request::{CertReq, CertReqInfo},
};

use super::{name, octets};

/// A request with its proof of possession.
pub fn request(key: &SoftKey, subject: &str, change: impl FnOnce(&mut CertTemplate)) -> CertReqMsg {
    let mut cert_template = CertTemplate {
        subject: Some(name(subject)),
        public_key: Some(Decode::from_der(key.public_key()).unwrap()),
        ..CertTemplate::default()
    };
    change(&mut cert_template);
    proven(
        key,
        CertRequest {
            cert_req_id: 0,
            cert_template,
            controls: None,
        },
    )
}

/// A request for a certificate and a key of this type, or of the server's choice.
pub fn request_for_key(subject: &str, algorithm: Option<AlgorithmIdentifierRef<'_>>) -> CertReqMsg {
    let public_key = algorithm.map(|algorithm| SubjectPublicKeyInfoOwned {
        algorithm: algorithm.ref_to_owned(),
        subject_public_key: BitString::from_bytes(&[]).unwrap(),
    });
    let cert_template = CertTemplate {
        subject: Some(name(subject)),
        public_key,
        ..CertTemplate::default()
    };
    CertReqMsg {
        cert_req: Exact::new(CertRequest {
            cert_req_id: 0,
            cert_template,
            controls: None,
        })
        .unwrap(),
        popo: None,
        reg_info: None,
    }
}

/// A header of version 3.
pub fn version_3(header: &mut PkiHeader) {
    header.pvno = CMP_2021;
}

/// A kur's request for the certificate after `old`.
pub fn update(key: &SoftKey, subject: &str, old: &Certificate) -> CertReqMsg {
    let mut wanted = request(key, subject, |_| {}).cert_req.into_value();
    let id = CertId {
        issuer: GeneralName::DirectoryName(Name::from_der(old.issuer()).unwrap()),
        serial_number: Int::new(old.serial_number()).unwrap(),
    };
    wanted.controls = Some(vec![AttributeTypeAndValue::old_cert_id(&id).unwrap()]);
    proven(key, wanted)
}

pub fn proven(key: &SoftKey, cert_req: CertRequest) -> CertReqMsg {
    let cert_req = Exact::new(cert_req).unwrap();
    let signature = key.sign(cert_req.as_der()).unwrap();
    CertReqMsg {
        cert_req,
        popo: Some(ProofOfPossession::Signature(PopoSigningKey {
            poposk_input: None,
            algorithm_identifier: key.algorithm().algorithm_identifier().ref_to_owned(),
            signature: BitString::from_bytes(&signature).unwrap(),
        })),
        reg_info: None,
    }
}

pub fn extension(oid: &str, critical: bool, value: &[u8]) -> Extension {
    Extension {
        extn_id: oid.parse().unwrap(),
        critical,
        extn_value: octets(value),
    }
}

/// The certificate in an ip, cp or kup that grants it.
pub fn issued(answer: &PkiMessage) -> Vec<u8> {
    let (PkiBody::Ip(content) | PkiBody::Cp(content) | PkiBody::Kup(content)) = &*answer.body else {
        panic!("not a certificate response: {:?}", answer.body);
    };
    match &content.response[0]
        .certified_key_pair
        .as_ref()
        .unwrap()
        .cert_or_enc_cert
    {
        CertOrEncCert::Certificate(raw) => raw.as_bytes().to_vec(),
        CertOrEncCert::EncryptedCert(_) => panic!("encrypted"),
    }
}

/// The status in a certificate response or error.
pub fn status(answer: &PkiMessage) -> PkiStatusInfo {
    match &*answer.body {
        PkiBody::Ip(content) | PkiBody::Cp(content) | PkiBody::Kup(content) => {
            content.response[0].status.clone()
        }
        PkiBody::Rp(content) => content.status[0].clone(),
        PkiBody::Error(content) => content.pki_status_info.clone(),
        body => panic!("no status in {}", body.body_type()),
    }
}

/// The one reason of a refusal.
pub fn failure(answer: &PkiMessage) -> PkiFailure {
    let status = status(answer);
    assert_eq!(status.status, PkiStatus::REJECTION, "{status}");
    let reasons = status.fail_info.unwrap().iter().collect::<Vec<_>>();
    assert_eq!(reasons.len(), 1);
    reasons[0]
}

/// Accepts a certificate, with hashAlg where its signature has no hash.
pub fn cert_status(certificate: &[u8]) -> CertStatus {
    match cert_conf_hash(certificate) {
        Some(hash) => CertStatus {
            hash_alg: None,
            ..cert_status_with(hash, certificate)
        },
        None => cert_status_with(HashAlgorithm::Sha512, certificate),
    }
}

/// Accepts a certificate, with this hashAlg.
pub fn cert_status_with(hash: HashAlgorithm, certificate: &[u8]) -> CertStatus {
    CertStatus {
        cert_hash: octets(AwsLc.digest(hash, certificate).unwrap().as_bytes()),
        cert_req_id: 0,
        status_info: None,
        hash_alg: Some(hash.algorithm_identifier().ref_to_owned()),
    }
}

pub fn cert_conf(certificate: &[u8]) -> PkiBody {
    PkiBody::CertConf(CertConfirmContent::from([cert_status(certificate)]))
}

pub fn poll_req() -> PkiBody {
    PkiBody::PollReq(vec![PollReq { cert_req_id: 0 }])
}

pub fn ask_implicit_confirm(header: &mut PkiHeader) {
    header.general_info = Some(vec![InfoTypeAndValue::implicit_confirm().unwrap()]);
}

/// A p10cr for the key, after its CertificationRequestInfo was changed.
pub fn p10cr(key: &SoftKey, subject: &str, change: impl FnOnce(&mut CertReqInfo)) -> PkiBody {
    let mut info = CertReqInfo {
        version: x509_cert::request::Version::V1,
        subject: name(subject),
        public_key: SubjectPublicKeyInfoOwned::from_der(key.public_key()).unwrap(),
        attributes: SetOfVec::new(),
    };
    change(&mut info);
    let signature = key.sign(&info.to_der().unwrap()).unwrap();
    let request = CertReq {
        info,
        algorithm: key.algorithm().algorithm_identifier().ref_to_owned(),
        signature: BitString::from_bytes(&signature).unwrap(),
    };
    PkiBody::P10cr(Raw::encode(&request).unwrap())
}

/// extensionRequest, for a p10cr.
pub fn extension_request(extensions: &[Extension]) -> Attribute {
    let value = der::asn1::Any::encode_from(&extensions.to_vec()).unwrap();
    Attribute {
        oid: "1.2.840.113549.1.9.14".parse().unwrap(),
        values: SetOfVec::try_from(vec![value]).unwrap(),
    }
}

/// A certConf for a p10cr.
pub fn cert_conf_of_p10cr(certificate: &[u8]) -> PkiBody {
    let mut status = cert_status(certificate);
    status.cert_req_id = -1;
    PkiBody::CertConf(vec![status])
}

/// What a revocation of this certificate says, with this CRLReason.
pub fn rev_details(certificate: &[u8], reason: Option<u8>) -> RevDetails {
    let certificate = Certificate::from_der(certificate).unwrap();
    RevDetails {
        cert_details: CertTemplate {
            serial_number: Some(Int::new(certificate.serial_number()).unwrap()),
            issuer: Some(Name::from_der(certificate.issuer()).unwrap()),
            ..CertTemplate::default()
        },
        crl_entry_details: reason.map(|reason| vec![extension("2.5.29.21", false, &[10, 1, reason])]),
    }
}

pub fn rr(certificate: &[u8], reason: Option<u8>) -> PkiBody {
    PkiBody::Rr(vec![rev_details(certificate, reason)])
}

pub fn genm(info: InfoTypeAndValue) -> PkiBody {
    PkiBody::Genm(vec![info])
}

/// The one piece of information in a genp.
pub fn info(answer: &PkiMessage) -> InfoTypeAndValue {
    match &*answer.body {
        PkiBody::Genp(content) if content.len() == 1 => content[0].clone(),
        body => panic!("not a genp: {body:?}"),
    }
}

/// A pollReq for the answer as a whole.
pub fn poll_req_all() -> PkiBody {
    PkiBody::PollReq(vec![PollReq { cert_req_id: -1 }])
}

pub fn nested(messages: &[Vec<u8>]) -> PkiBody {
    let messages = messages.iter().map(|der| Raw::new(der.as_slice()).unwrap());
    PkiBody::Nested(Raw::encode(&messages.collect::<Vec<_>>()).unwrap())
}
