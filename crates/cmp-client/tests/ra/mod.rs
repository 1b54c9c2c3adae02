//! A small RA that can be told to misbehave, made of `cmp-message` alone.
// Each test file uses its part.
#![allow(dead_code)]

use cmp_client::{Config, KeyId, Operation, Protection, Request, Time, Transaction};
use cmp_message::{
    BodyType, CertConfirmContent, CertId, CertOrEncCert, CertRepMessage, CertReqMsg, CertResponse,
    CertifiedKeyPair, ErrorMsgContent, InfoTypeAndValue, PkiBody, PkiFailure, PkiHeader, PkiMessage,
    PkiStatus, PkiStatusInfo, PollRep, Raw,
    certificate::Certificate,
    crypto::{EcCurve, RustCrypto, SigningKey, rustcrypto::SoftKey},
    mac::{MacAlgorithm, Secret},
};
use core::time::Duration;
use der::{
    Decode, Encode, Sequence,
    asn1::{BitString, GeneralizedTime, Int, OctetString},
    referenced::RefToOwned,
};
use spki::{AlgorithmIdentifierOwned, SubjectPublicKeyInfoOwned};
use std::str::FromStr;
use x509_cert::{name::Name, time::Time as X509Time};

pub const NOW_S: u64 = 1_800_000_000;
const SECRET: &[u8] = b"correct horse";
const REFERENCE: &[u8] = b"station-7";

pub struct Ra {
    key: SoftKey,
    certificate: Certificate,
    station_keys: Vec<SoftKey>,
    pub seen: Vec<BodyType>,
    pub messages: Vec<Vec<u8>>,
    pub transactions: Vec<Vec<u8>>,
    pub confirmed: Vec<bool>,
    /// Every certificate that was made, also the wrong ones.
    pub issued: Vec<Certificate>,
    pub last_old_cert_id: Option<CertId>,
    pub grant_implicit: bool,
    /// checkAfter of each pollRep to give.
    pub polls: Vec<i64>,
    pub poll_times: Vec<Duration>,
    pub delay_confirmation: bool,
    pub issue_other_key: bool,
    pub issue_other_subject: bool,
    pub status: PkiStatus,
    pub reject: Option<PkiStatusInfo>,
    pub error: Option<PkiStatusInfo>,
    pub unprotected: bool,
    pub signs_always: bool,
    pub in_use_once: bool,
    pub tamper: Option<fn(PkiMessage) -> Vec<u8>>,
    pub body: Option<fn(CertRepMessage) -> PkiBody>,
    /// Numbers of the messages whose answers are lost.
    pub lose: Vec<usize>,
    serial: u8,
    pending: Option<(BodyType, CertReqMsg)>,
}

/// The same keys each time: P-256 keys of small numbers.
fn key(n: u8) -> SoftKey {
    let mut scalar = [0u8; 32];
    scalar[31] = n;
    // ECPrivateKey ::= SEQUENCE { 1, OCTET STRING, [0] secp256r1 }
    let mut der = vec![0x30, 0x31, 2, 1, 1, 4, 32];
    der.extend(scalar);
    der.extend([0xa0, 10, 6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7]);
    SoftKey::from_der(&der).unwrap()
}

#[derive(Sequence)]
struct Validity {
    not_before: X509Time,
    not_after: X509Time,
}

#[derive(Sequence)]
struct Tbs {
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT", optional = "true")]
    version: Option<u8>,
    serial: Int,
    algorithm: AlgorithmIdentifierOwned,
    issuer: Name,
    validity: Validity,
    subject: Name,
    public_key: SubjectPublicKeyInfoOwned,
}

#[derive(Sequence)]
struct Signed {
    tbs: Raw,
    algorithm: AlgorithmIdentifierOwned,
    signature: BitString,
}

fn issue(issuer: &SoftKey, issuer_name: &str, serial: u8, subject: &Name, public_key: &[u8]) -> Certificate {
    let time =
        |s: u64| X509Time::GeneralTime(GeneralizedTime::from_unix_duration(Duration::from_secs(s)).unwrap());
    let algorithm = issuer.algorithm().algorithm_identifier().ref_to_owned();
    let tbs = Tbs {
        version: Some(2),
        serial: Int::new(&[serial]).unwrap(),
        algorithm: algorithm.clone(),
        issuer: Name::from_str(issuer_name).unwrap(),
        validity: Validity {
            not_before: time(NOW_S - 1000),
            not_after: time(NOW_S + 10_000_000),
        },
        subject: subject.clone(),
        public_key: SubjectPublicKeyInfoOwned::from_der(public_key).unwrap(),
    };
    let tbs = Raw::encode(&tbs).unwrap();
    let signature = BitString::from_bytes(&issuer.sign(tbs.as_bytes()).unwrap()).unwrap();
    Certificate::from_der(
        Signed {
            tbs,
            algorithm,
            signature,
        }
        .to_der()
        .unwrap(),
    )
    .unwrap()
}

fn root() -> Certificate {
    issue(
        &key(1),
        "CN=Root",
        1,
        &Name::from_str("CN=Root").unwrap(),
        key(1).public_key(),
    )
}

pub fn stranger() -> Certificate {
    issue(
        &key(9),
        "CN=Stranger",
        1,
        &Name::from_str("CN=Stranger").unwrap(),
        key(9).public_key(),
    )
}

pub fn config() -> Config {
    let subject = Name::from_str("CN=Device").unwrap();
    let certificate = issue(&key(1), "CN=Root", 3, &subject, key(3).public_key());
    let protection = Protection::Signature {
        key: KeyId(0),
        algorithm: key(3).algorithm(),
        certificate,
        chain: Vec::new(),
    };
    Config::new(
        &RustCrypto,
        Name::from_str("CN=RA").unwrap(),
        protection,
        vec![root()],
    )
}

pub fn mac_config(pbmac1: bool) -> Config {
    let (reference, secret) = (REFERENCE.to_vec(), Secret::new(SECRET.to_vec()));
    let protection = if pbmac1 {
        Protection::Pbmac1 { reference, secret }
    } else {
        Protection::PasswordBasedMac { reference, secret }
    };
    Config {
        protection,
        ..config()
    }
}

pub fn request(ra: &Ra) -> Request {
    Request {
        operation: Operation::Initialization,
        subject: Name::from_str("CN=Station 7,O=Operator").unwrap(),
        public_key: ra.station_keys[1].public_key().to_vec(),
        key: KeyId(1),
        algorithm: ra.station_keys[1].algorithm(),
        extensions: Vec::new(),
    }
}

pub fn update_request(old: &Certificate) -> (Config, Request) {
    let protection = Protection::Signature {
        key: KeyId(1),
        algorithm: key(4).algorithm(),
        certificate: old.clone(),
        chain: Vec::new(),
    };
    let request = Request {
        operation: Operation::Update(old.clone()),
        subject: Name::from_der(old.subject()).unwrap(),
        public_key: key(5).public_key().to_vec(),
        key: KeyId(2),
        algorithm: key(5).algorithm(),
        extensions: Vec::new(),
    };
    (
        Config {
            protection,
            ..config()
        },
        request,
    )
}

pub fn start(ra: &Ra, config: Config) -> Transaction {
    Transaction::new(
        config,
        request(ra),
        [42; 32],
        Time {
            monotonic: Duration::ZERO,
            utc_s: Some(NOW_S),
        },
    )
}

impl Ra {
    pub fn new() -> Self {
        assert_eq!(key(3).curve(), EcCurve::P256);
        let name = Name::from_str("CN=RA").unwrap();
        Self {
            key: key(2),
            certificate: issue(&key(1), "CN=Root", 2, &name, key(2).public_key()),
            station_keys: vec![key(3), key(4), key(5)],
            seen: Vec::new(),
            messages: Vec::new(),
            transactions: Vec::new(),
            confirmed: Vec::new(),
            issued: Vec::new(),
            last_old_cert_id: None,
            grant_implicit: false,
            polls: Vec::new(),
            poll_times: Vec::new(),
            delay_confirmation: false,
            issue_other_key: false,
            issue_other_subject: false,
            status: PkiStatus::ACCEPTED,
            reject: None,
            error: None,
            unprotected: false,
            signs_always: false,
            in_use_once: false,
            tamper: None,
            body: None,
            lose: Vec::new(),
            serial: 10,
            pending: None,
        }
    }

    pub fn station_keys(&self) -> Vec<SoftKey> {
        vec![key(3), key(4), key(5)]
    }

    pub fn answer(&mut self, now: Time, request: &[u8]) -> Option<Vec<u8>> {
        let message = PkiMessage::from_bytes(request).unwrap();
        let number = self.seen.len();
        self.seen.push(message.body.body_type());
        self.messages.push(request.to_vec());
        self.transactions.push(
            message
                .header
                .transaction_id
                .as_ref()
                .unwrap()
                .as_bytes()
                .to_vec(),
        );
        let body = self.body(now, &message);
        if self.lose.contains(&number) {
            return None;
        }
        let answer = self.protect(&message, body);
        Some(match self.tamper {
            Some(tamper) => tamper(answer),
            None => answer.to_bytes().unwrap(),
        })
    }

    /// An answer that says what it is told to, and is authentic.
    pub fn say(&mut self, request: &[u8], body: PkiBody) -> Vec<u8> {
        let message = PkiMessage::from_bytes(request).unwrap();
        self.protect(&message, body).to_bytes().unwrap()
    }

    fn body(&mut self, now: Time, message: &PkiMessage) -> PkiBody {
        if let Some(status) = self.error.clone() {
            return PkiBody::Error(ErrorMsgContent::from(status));
        }
        match &*message.body {
            PkiBody::Ir(content) | PkiBody::Kur(content) => {
                if core::mem::take(&mut self.in_use_once) {
                    let status = PkiStatusInfo::rejection(PkiFailure::TransactionIdInUse, "");
                    return PkiBody::Error(ErrorMsgContent::from(status));
                }
                self.last_old_cert_id = content[0].cert_req.old_cert_id().transpose().unwrap();
                self.pending = Some((message.body.body_type(), content[0].clone()));
                if self.polls.is_empty() {
                    self.grant()
                } else {
                    self.response(PkiStatus::WAITING.into(), None)
                }
            }
            PkiBody::PollReq(content) => {
                self.poll_times.push(now.monotonic);
                if core::mem::take(&mut self.delay_confirmation) {
                    return PkiBody::PkiConf(der::asn1::Null);
                }
                if self.polls.is_empty() {
                    return self.grant();
                }
                let check_after = self.polls.remove(0);
                PkiBody::PollRep(vec![PollRep {
                    cert_req_id: content[0].cert_req_id,
                    check_after,
                    reason: None,
                }])
            }
            PkiBody::CertConf(content) => self.confirm(content),
            other => panic!("{:?}", other.body_type()),
        }
    }

    fn confirm(&mut self, content: &CertConfirmContent) -> PkiBody {
        if !self.confirmed.is_empty() {
            let status = PkiStatusInfo::rejection(PkiFailure::CertConfirmed, "already");
            return PkiBody::Error(ErrorMsgContent::from(status));
        }
        let accepted = content[0]
            .status_info
            .as_ref()
            .is_none_or(|s| s.status == PkiStatus::ACCEPTED);
        self.confirmed.push(accepted);
        if self.delay_confirmation {
            return PkiBody::Error(ErrorMsgContent::from(PkiStatusInfo::from(PkiStatus::WAITING)));
        }
        PkiBody::PkiConf(der::asn1::Null)
    }

    fn grant(&mut self) -> PkiBody {
        if let Some(status) = self.reject.clone() {
            return self.response(status, None);
        }
        let Some((_, request)) = self.pending.clone() else {
            let status = PkiStatusInfo::rejection(PkiFailure::BadRequest, "polled for nothing");
            return PkiBody::Error(ErrorMsgContent::from(status));
        };
        let template = &request.cert_req.cert_template;
        let other = Name::from_str("CN=Somebody else").unwrap();
        let subject = if self.issue_other_subject {
            &other
        } else {
            template.subject.as_ref().unwrap()
        };
        let public_key = match self.issue_other_key {
            true => key(9).public_key().to_vec(),
            false => template.public_key.to_der().unwrap(),
        };
        self.serial += 1;
        let certificate = issue(&key(1), "CN=Root", self.serial, subject, &public_key);
        self.issued.push(certificate.clone());
        self.response(self.status.into(), Some(certificate))
    }

    fn response(&self, status: PkiStatusInfo, certificate: Option<Certificate>) -> PkiBody {
        let pair = certificate.map(|certificate| CertifiedKeyPair {
            cert_or_enc_cert: CertOrEncCert::Certificate(Raw::new(certificate.as_der()).unwrap()),
            private_key: None,
            publication_info: None,
        });
        let content = CertRepMessage {
            ca_pubs: pair.is_some().then(|| vec![Raw::new(root().as_der()).unwrap()]),
            response: vec![CertResponse {
                cert_req_id: 0,
                status,
                certified_key_pair: pair,
                rsp_info: None,
            }],
        };
        match (self.body, &self.pending) {
            (Some(body), _) => body(content),
            (None, Some((BodyType::Kur, _))) => PkiBody::Kup(content),
            _ => PkiBody::Ip(content),
        }
    }

    fn protect(&self, request: &PkiMessage, body: PkiBody) -> PkiMessage {
        let name = Name::from_str("CN=RA").unwrap();
        let mut header = PkiHeader::new(name, request.header.sender_name().unwrap().clone());
        header.transaction_id = request.header.transaction_id.clone();
        header.recip_nonce = request.header.sender_nonce.clone();
        header.sender_nonce = Some(OctetString::new(vec![self.seen.len() as u8; 16]).unwrap());
        if self.grant_implicit && matches!(body, PkiBody::Ip(_) | PkiBody::Kup(_)) {
            header.general_info = Some(vec![InfoTypeAndValue::implicit_confirm().unwrap()]);
        }
        if self.unprotected {
            return PkiMessage::new(header, body).unwrap();
        }
        let theirs = request.header.protection_alg.as_ref().unwrap();
        if MacAlgorithm::is_mac(theirs) && !self.signs_always {
            let algorithm = MacAlgorithm::from_algorithm_identifier(theirs)
                .unwrap()
                .with_salt([3; 16]);
            header.sender_kid = Some(OctetString::new(REFERENCE).unwrap());
            header.protection_alg = Some(algorithm.algorithm_identifier().unwrap());
            let message = PkiMessage::new(header, body).unwrap();
            let input = message.protected_part().unwrap();
            let mac = algorithm
                .compute(&RustCrypto, &Secret::new(SECRET.to_vec()), &input)
                .unwrap();
            return message.with_protection(mac.as_bytes(), Vec::new()).unwrap();
        }
        header.protection_alg = Some(self.key.algorithm().algorithm_identifier().ref_to_owned());
        let message = PkiMessage::new(header, body).unwrap();
        let signature = self.key.sign(&message.protected_part().unwrap()).unwrap();
        message
            .with_protection(&signature, vec![Raw::new(self.certificate.as_der()).unwrap()])
            .unwrap()
    }
}
