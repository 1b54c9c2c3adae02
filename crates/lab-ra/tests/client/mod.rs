//! A client that builds each message by hand, so that it can build wrong ones.

use cmp_message::{
    AttributeTypeAndValue, BodyType, CMP_2021, CertConfirmContent, CertId, CertOrEncCert, CertReqMsg,
    CertRequest, CertStatus, CertTemplate, Exact, InfoTypeAndValue, PkiBody, PkiFailure, PkiHeader,
    PkiMessage, PkiStatus, PkiStatusInfo, PollReq, PopoSigningKey, ProofOfPossession, Raw, cert_conf_hash,
    certificate::Certificate,
    crypto::{AwsLc, Crypto, HashAlgorithm, KeyAlgorithm, SigningKey, aws_lc::SoftKey},
    mac::{MacAlgorithm, Secret},
    validate::{Accept, Authenticated, Context, Stage, validate},
};
use der::{
    Decode,
    asn1::{BitString, GeneralizedTime, OctetString},
    referenced::RefToOwned,
};
use lab_ra::{CertificateStatus, Idevid, Pki, Ra, RaConfig, Store};
use std::{collections::HashMap, time::Duration};
use x509_cert::{
    ext::{Extension, pkix::name::GeneralName},
    name::Name,
};

pub const NOW_S: u64 = 1_800_000_000;

/// An RA with a store in memory and the secret `r1:s3cret`.
pub fn ra(change: impl FnOnce(&mut RaConfig)) -> Ra {
    let mut config = RaConfig::default();
    config.secrets = HashMap::from([
        (b"r1".to_vec(), Secret::new(b"s3cret".to_vec())),
        (b"r2".to_vec(), Secret::new(b"other".to_vec())),
    ]);
    change(&mut config);
    let pki = Pki::generate(KeyAlgorithm::P256, NOW_S).unwrap();
    Ra::new(pki, config, Store::in_memory().unwrap()).unwrap()
}

/// What became of a certificate.
pub fn status_of(ra: &Ra, certificate: &[u8]) -> CertificateStatus {
    ra.store().status(&serial(certificate)).unwrap().unwrap()
}

pub fn key() -> SoftKey {
    SoftKey::generate(KeyAlgorithm::P256).unwrap()
}

pub fn name(text: &str) -> Name {
    text.parse().unwrap()
}

/// Whatever has a hierarchy.
pub trait HasPki {
    fn hierarchy(&self) -> &Pki;
}

impl HasPki for Pki {
    fn hierarchy(&self) -> &Pki {
        self
    }
}

impl HasPki for Ra {
    fn hierarchy(&self) -> &Pki {
        self.pki()
    }
}

pub enum Credential {
    Signature {
        key: SoftKey,
        certificate: Vec<u8>,
        chain: Vec<Vec<u8>>,
    },
    Mac {
        reference: &'static str,
        secret: &'static str,
        algorithm: MacAlgorithm,
    },
}

/// One end entity in one transaction.
pub struct Client {
    pub credential: Credential,
    pub transaction_id: [u8; 16],
    pub recip_nonce: Option<Vec<u8>>,
    /// What its clock says.
    pub now_s: u64,
    /// How far the clock of the server may be off.
    pub max_clock_skew_s: u64,
    root: Certificate,
}

impl Client {
    pub fn new(lab: &impl HasPki, credential: Credential) -> Self {
        Self {
            credential,
            transaction_id: random(),
            recip_nonce: None,
            now_s: NOW_S,
            max_clock_skew_s: 0,
            root: Certificate::from_der(lab.hierarchy().root.certificate()).unwrap(),
        }
    }

    pub fn with_idevid(lab: &impl HasPki, serial_number: &str) -> Self {
        Self::with_idevid_at(NOW_S, lab, serial_number)
    }

    /// A client with a manufacturer certificate that was made at this time, which its clock shows.
    pub fn with_idevid_at(now_s: u64, lab: &impl HasPki, serial_number: &str) -> Self {
        let Idevid {
            certificate,
            key,
            chain,
        } = lab.hierarchy().issue_idevid(serial_number, now_s).unwrap();
        let key = SoftKey::from_der(&key).unwrap();
        let client = Self::new(
            lab,
            Credential::Signature {
                key,
                certificate,
                chain,
            },
        );
        Self { now_s, ..client }
    }

    pub fn with_certificate(lab: &impl HasPki, key: SoftKey, certificate: Vec<u8>) -> Self {
        let chain = Vec::new();
        Self::new(
            lab,
            Credential::Signature {
                key,
                certificate,
                chain,
            },
        )
    }

    pub fn with_secret(lab: &impl HasPki, secret: &'static str, algorithm: MacAlgorithm) -> Self {
        Self::new(
            lab,
            Credential::Mac {
                reference: "r1",
                secret,
                algorithm,
            },
        )
    }

    /// The bytes of a protected message.
    pub fn message(&self, body: PkiBody, change: impl FnOnce(&mut PkiHeader)) -> Vec<u8> {
        let sender = match &self.credential {
            Credential::Signature { certificate, .. } => {
                Name::from_der(Certificate::from_der(certificate.as_slice()).unwrap().subject()).unwrap()
            }
            Credential::Mac { reference, .. } => name(&format!("CN={reference}")),
        };
        let mut header = PkiHeader::new(sender, name("CN=Lab RA"));
        header.message_time =
            Some(GeneralizedTime::from_unix_duration(Duration::from_secs(self.now_s)).unwrap());
        header.transaction_id = Some(octets(&self.transaction_id));
        header.sender_nonce = Some(octets(&random::<16>()));
        header.recip_nonce = self.recip_nonce.as_deref().map(octets);
        if matches!(&body, PkiBody::CertConf(content) if content.iter().any(|one| one.hash_alg.is_some())) {
            header.pvno = CMP_2021;
        }
        match &self.credential {
            Credential::Signature {
                key,
                certificate,
                chain,
            } => {
                header.protection_alg = Some(key.algorithm().algorithm_identifier().ref_to_owned());
                change(&mut header);
                let message = PkiMessage::new(header, body).unwrap();
                let signature = key.sign(&message.protected_part().unwrap()).unwrap();
                let certificates = [certificate].into_iter().chain(chain);
                let certificates = certificates
                    .map(|der| Raw::new(der.as_slice()).unwrap())
                    .collect();
                message
                    .with_protection(&signature, certificates)
                    .unwrap()
                    .to_bytes()
                    .unwrap()
            }
            Credential::Mac {
                reference,
                secret,
                algorithm,
            } => {
                header.sender_kid = Some(octets(reference.as_bytes()));
                header.protection_alg = Some(algorithm.algorithm_identifier().unwrap());
                change(&mut header);
                let message = PkiMessage::new(header, body).unwrap();
                let secret = Secret::new(secret.as_bytes().to_vec());
                let mac = algorithm
                    .compute(&AwsLc, &secret, &message.protected_part().unwrap())
                    .unwrap();
                message
                    .with_protection(mac.as_bytes(), Vec::new())
                    .unwrap()
                    .to_bytes()
                    .unwrap()
            }
        }
    }

    pub fn send(&mut self, ra: &mut Ra, body: PkiBody) -> PkiMessage {
        self.send_with(ra, NOW_S, body, |_| {})
    }

    /// Sends a message, holds the answer against RFC 9483 §3.5 and remembers its nonce.
    pub fn send_with(
        &mut self,
        ra: &mut Ra,
        now_s: u64,
        body: PkiBody,
        change: impl FnOnce(&mut PkiHeader),
    ) -> PkiMessage {
        let request = self.message(body, change);
        let answer = ra.handle(now_s, &request);
        self.take(now_s, &request, &answer)
    }

    /// Holds an answer against RFC 9483 §3.5 and remembers its nonce.
    pub fn take(&mut self, now_s: u64, request: &[u8], answer: &[u8]) -> PkiMessage {
        let nonce = PkiMessage::peek_header(request).unwrap().sender_nonce.unwrap();
        let answer = PkiMessage::from_bytes(answer).unwrap();
        let secret = match self.credential {
            Credential::Mac { secret, .. } => Secret::new(secret.as_bytes().to_vec()),
            Credential::Signature { .. } => Secret::new(Vec::new()),
        };
        let authenticated = validate(
            &answer,
            &Context {
                crypto: &AwsLc,
                now_s: Some(now_s),
                stage: Stage::Answer {
                    transaction_id: &self.transaction_id,
                    sender_nonce: nonce.as_bytes(),
                },
                accept: Accept::Any,
                anchors: std::slice::from_ref(&self.root),
                intermediates: &[],
                signer_usage: Some("1.3.6.1.5.5.7.3.28".parse().unwrap()),
                known_signer: None,
                secret: &|_| Some(&secret),
                unprotected_errors: false,
                max_clock_skew_s: Some(self.max_clock_skew_s),
            },
        )
        .unwrap();
        let is_mac = matches!(authenticated, Authenticated::Mac(_));
        let is_refusal = answer.body.body_type() == BodyType::Error;
        assert!(is_refusal || is_mac == matches!(self.credential, Credential::Mac { .. }));
        self.recip_nonce = Some(answer.header.sender_nonce.as_ref().unwrap().as_bytes().to_vec());
        answer
    }

    /// Enrols and confirms; the certificate.
    pub fn enroll(&mut self, ra: &mut Ra, key: &SoftKey, subject: &str) -> Vec<u8> {
        let answer = self.send(ra, PkiBody::Ir(vec![request(key, subject, |_| {})]));
        let certificate = issued(&answer);
        let answer = self.send(ra, cert_conf(&certificate));
        assert_eq!(answer.body.body_type(), BodyType::PkiConf);
        certificate
    }
}

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

/// A kur's request for the certificate after `old`.
pub fn update(key: &SoftKey, subject: &str, old: &Certificate) -> CertReqMsg {
    let mut wanted = request(key, subject, |_| {}).cert_req.into_value();
    let id = CertId {
        issuer: GeneralName::DirectoryName(Name::from_der(old.issuer()).unwrap()),
        serial_number: der::asn1::Int::new(old.serial_number()).unwrap(),
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

pub fn octets(bytes: &[u8]) -> OctetString {
    OctetString::new(bytes).unwrap()
}

pub fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    aws_lc_rs::rand::fill(&mut bytes).unwrap();
    bytes
}

pub fn serial(certificate: &[u8]) -> Vec<u8> {
    Certificate::from_der(certificate)
        .unwrap()
        .serial_number()
        .to_vec()
}
