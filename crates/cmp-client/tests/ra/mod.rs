//! A small RA that can be told to misbehave, made of `cmp-message` alone, and a station that talks to it.
// Each test file uses its part.
#![allow(dead_code, unused_imports)]

#[cfg(feature = "envelope")]
mod delivery;
mod pki;
mod station;

#[cfg(feature = "envelope")]
pub use delivery::*;
pub use pki::*;
pub use station::*;

use cmp_client::Time;
use cmp_message::{
    BodyType, CertConfirmContent, CertId, CertOrEncCert, CertRepMessage, CertRequest, CertResponse,
    CertTemplate, CertifiedKeyPair, ErrorMsgContent, GenMsgContent, InfoTypeAndValue, PkiBody, PkiFailure,
    PkiHeader, PkiMessage, PkiStatus, PkiStatusInfo, PollRep, Raw, RevDetails, RevRepContent,
    certificate::Certificate,
    crypto::{RustCrypto, SigningKey, rustcrypto::SoftKey},
    general::{self, CertReqTemplateContent, RootCaKeyUpdateContent},
    mac::{MacAlgorithm, Secret},
};
use core::time::Duration;
use der::{Decode, Encode, asn1::OctetString, referenced::RefToOwned};
use std::sync::LazyLock;
use x509_cert::{ext::pkix::name::GeneralName, name::Name};

pub const SECRET: &[u8] = b"correct horse";
const REFERENCE: &[u8] = b"station-7";

#[derive(Clone)]
pub struct Ra {
    key: SoftKey,
    pub certificate: Certificate,
    pub seen: Vec<BodyType>,
    pub messages: Vec<Vec<u8>>,
    pub transactions: Vec<Vec<u8>>,
    pub confirmed: Vec<bool>,
    /// Every certificate that was made, also the wrong ones.
    pub issued: Vec<Certificate>,
    pub revoked: Vec<CertId>,
    pub last_old_cert_id: Option<CertId>,
    pub poll_times: Vec<Duration>,
    /// certReqId of each pollReq.
    pub poll_ids: Vec<i64>,

    pub grant_implicit: bool,
    /// checkAfter of each pollRep to give; a delay if there is any.
    pub polls: Vec<i64>,
    /// A delay is told by an error, also where a certificate is asked for.
    pub delay_by_error: bool,
    pub delay_confirmation: bool,
    /// What ends a delay names the message of this number, as it came here, and not the last pollReq.
    pub delivery_names: Option<usize>,
    pub poll_reps_name_it_too: bool,
    pub issue_other_key: bool,
    pub issue_other_subject: bool,
    pub status: PkiStatus,
    pub reject: Option<PkiStatusInfo>,
    pub error: Option<PkiStatusInfo>,
    pub in_use_once: bool,
    pub ca_certs: Option<Vec<Raw>>,
    pub root_update: Option<RootCaKeyUpdateContent>,
    pub template: Option<CertReqTemplateContent>,
    pub crls: Option<Vec<Raw>>,

    pub unprotected: bool,
    pub signs_always: bool,
    /// Protects with this MAC, whatever the request has.
    pub mac: Option<fn() -> MacAlgorithm>,
    /// Changes the body before it is protected.
    pub body: Option<fn(PkiBody) -> PkiBody>,
    /// Changes the header before it is protected.
    pub header: Option<fn(&mut PkiHeader)>,
    /// Changes the message after it was protected.
    pub tamper: Option<fn(PkiMessage) -> Vec<u8>>,
    /// Numbers of the messages whose answers are lost.
    pub lose: Vec<usize>,
    serial: u8,
    pending: Option<PkiBody>,
}

impl Ra {
    pub fn new() -> Self {
        static RA: LazyLock<Ra> = LazyLock::new(Ra::made);
        RA.clone()
    }

    fn made() -> Self {
        Self {
            key: key(2),
            certificate: Draft::new("CN=RA", 2, 2).issue(),
            seen: Vec::new(),
            messages: Vec::new(),
            transactions: Vec::new(),
            confirmed: Vec::new(),
            issued: Vec::new(),
            revoked: Vec::new(),
            last_old_cert_id: None,
            poll_times: Vec::new(),
            poll_ids: Vec::new(),
            grant_implicit: false,
            polls: Vec::new(),
            delay_by_error: false,
            delay_confirmation: false,
            delivery_names: None,
            poll_reps_name_it_too: false,
            issue_other_key: false,
            issue_other_subject: false,
            status: PkiStatus::ACCEPTED,
            reject: None,
            error: None,
            in_use_once: false,
            ca_certs: Some(vec![Raw::new(root().as_der()).unwrap()]),
            root_update: Some(Succession::new().content()),
            template: Some(CertReqTemplateContent {
                cert_template: CertTemplate::default(),
                key_spec: None,
            }),
            crls: Some(vec![CrlDraft::new().issue()]),
            unprotected: false,
            signs_always: false,
            mac: None,
            body: None,
            header: None,
            tamper: None,
            lose: Vec::new(),
            serial: 30,
            pending: None,
        }
    }

    /// Speaks from now on with this certificate, which belongs to this key.
    pub fn speak_as(&mut self, certificate: Certificate, key: SoftKey) {
        self.certificate = certificate;
        self.key = key;
    }

    pub fn answer(&mut self, now: Time, request: &[u8]) -> Option<Vec<u8>> {
        let message = PkiMessage::from_bytes(request).unwrap();
        let number = self.seen.len();
        self.seen.push(message.body.body_type());
        self.messages.push(request.to_vec());
        let transaction = message.header.transaction_id.as_ref().unwrap();
        self.transactions.push(transaction.as_bytes().to_vec());
        let body = self.react(now, &message);
        if self.lose.contains(&number) {
            return None;
        }
        let body = match self.body {
            Some(change) => change(body),
            None => body,
        };
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

    fn react(&mut self, now: Time, message: &PkiMessage) -> PkiBody {
        if let Some(status) = self.error.clone() {
            return PkiBody::Error(ErrorMsgContent::from(status));
        }
        match &*message.body {
            PkiBody::PollReq(content) => {
                self.poll_times.push(now.monotonic);
                self.poll_ids.push(content[0].cert_req_id);
                if !self.confirmed.is_empty() && core::mem::take(&mut self.delay_confirmation) {
                    return PkiBody::PkiConf(der::asn1::Null);
                }
                if self.polls.is_empty() {
                    return self.respond();
                }
                PkiBody::PollRep(vec![PollRep {
                    cert_req_id: content[0].cert_req_id,
                    check_after: self.polls.remove(0),
                    reason: None,
                }])
            }
            PkiBody::CertConf(content) => self.confirm(content),
            request => {
                if core::mem::take(&mut self.in_use_once) {
                    return refusal(PkiFailure::TransactionIdInUse);
                }
                self.pending = Some(request.clone());
                let by_error = self.delay_by_error || matches!(request, PkiBody::Rr(_) | PkiBody::Genm(_));
                match (self.polls.is_empty(), by_error) {
                    (true, _) => self.respond(),
                    (false, false) => self.response(PkiStatus::WAITING.into(), None),
                    (false, true) => PkiBody::Error(PkiStatusInfo::from(PkiStatus::WAITING).into()),
                }
            }
        }
    }

    fn confirm(&mut self, content: &CertConfirmContent) -> PkiBody {
        if !self.confirmed.is_empty() {
            return refusal(PkiFailure::CertConfirmed);
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

    /// The answer to what is pending.
    fn respond(&mut self) -> PkiBody {
        match self.pending.clone() {
            Some(PkiBody::Rr(content)) => self.revoke(&content[0]),
            Some(PkiBody::Genm(content)) => PkiBody::Genp(vec![self.inform(&content)]),
            Some(request) => self.grant(&request),
            None => refusal(PkiFailure::BadRequest),
        }
    }

    fn revoke(&mut self, details: &RevDetails) -> PkiBody {
        let id = CertId {
            issuer: GeneralName::DirectoryName(details.cert_details.issuer.clone().unwrap()),
            serial_number: details.cert_details.serial_number.clone().unwrap(),
        };
        let status = match &self.reject {
            Some(status) => status.clone(),
            None if self.revoked.contains(&id) => PkiStatusInfo::rejection(PkiFailure::CertRevoked, ""),
            None => self.status.into(),
        };
        let rev_certs = (status.status == PkiStatus::ACCEPTED).then(|| vec![id.clone()]);
        self.revoked.push(id);
        PkiBody::Rp(RevRepContent {
            status: vec![status],
            rev_certs,
            crls: None,
        })
    }

    fn inform(&self, content: &GenMsgContent) -> InfoTypeAndValue {
        let raw = |value: Option<Raw>, info_type| InfoTypeAndValue {
            info_type,
            info_value: value,
        };
        match content[0].info_type {
            general::CA_CERTS => raw(encoded(&self.ca_certs), general::CA_CERTS),
            general::ROOT_CA_CERT => raw(encoded(&self.root_update), general::ROOT_CA_KEY_UPDATE),
            general::CERT_REQ_TEMPLATE => raw(encoded(&self.template), general::CERT_REQ_TEMPLATE),
            general::CRL_STATUS_LIST => raw(encoded(&self.crls), general::CRLS),
            other => panic!("{other}"),
        }
    }

    fn grant(&mut self, request: &PkiBody) -> PkiBody {
        if let Some(status) = self.reject.clone() {
            return self.response(status, None);
        }
        let (asked, public_key) = asked(request);
        self.last_old_cert_id = match request {
            PkiBody::Kur(content) => content[0].cert_req.old_cert_id().transpose().unwrap(),
            _ => None,
        };
        self.serial += 1;
        let draft = Draft {
            subject: match self.issue_other_subject {
                true => name("CN=Somebody else"),
                false => asked,
            },
            public_key: match self.issue_other_key {
                true => key(9).public_key().to_vec(),
                false => public_key,
            },
            ..Draft::new("CN=", self.serial, 4)
        };
        let certificate = draft.issue();
        self.issued.push(certificate.clone());
        self.response(self.status.into(), Some(certificate))
    }

    fn response(&self, status: PkiStatusInfo, certificate: Option<Certificate>) -> PkiBody {
        let pair = certificate.map(|certificate| CertifiedKeyPair {
            cert_or_enc_cert: CertOrEncCert::Certificate(Raw::new(certificate.as_der()).unwrap()),
            private_key: None,
            publication_info: None,
        });
        let p10cr = matches!(self.pending, Some(PkiBody::P10cr(_)));
        let content = CertRepMessage {
            ca_pubs: pair.is_some().then(|| vec![Raw::new(root().as_der()).unwrap()]),
            response: vec![CertResponse {
                cert_req_id: if p10cr { -1 } else { 0 },
                status,
                certified_key_pair: pair,
                rsp_info: None,
            }],
        };
        match self.pending {
            Some(PkiBody::Kur(_)) => PkiBody::Kup(content),
            Some(PkiBody::Cr(_) | PkiBody::P10cr(_)) => PkiBody::Cp(content),
            _ => PkiBody::Ip(content),
        }
    }

    fn protect(&self, request: &PkiMessage, body: PkiBody) -> PkiMessage {
        let sender = Name::from_der(self.certificate.subject()).unwrap();
        let mut header = PkiHeader::new(sender, request.header.sender_name().unwrap().clone());
        header.pvno = request.header.pvno;
        header.transaction_id = request.header.transaction_id.clone();
        header.recip_nonce = match (self.delivery_names, &*request.body, &body) {
            (Some(number), PkiBody::PollReq(_), ending)
                if self.poll_reps_name_it_too || !matches!(ending, PkiBody::PollRep(_)) =>
            {
                let named = PkiMessage::from_bytes(&self.messages[number]).unwrap();
                named.header.sender_nonce.clone()
            }
            _ => request.header.sender_nonce.clone(),
        };
        header.sender_nonce = Some(OctetString::new(vec![self.seen.len() as u8; 16]).unwrap());
        if self.grant_implicit && matches!(body, PkiBody::Ip(_) | PkiBody::Cp(_) | PkiBody::Kup(_)) {
            header.general_info = Some(vec![InfoTypeAndValue::implicit_confirm().unwrap()]);
        }
        let theirs = request.header.protection_alg.as_ref().unwrap();
        let by_mac = MacAlgorithm::is_mac(theirs) && !self.signs_always;
        let mac = match self.mac {
            Some(mac) => Some(mac()),
            None => by_mac.then(|| {
                MacAlgorithm::from_algorithm_identifier(theirs)
                    .unwrap()
                    .with_salt([3; 16])
            }),
        };
        match &mac {
            _ if self.unprotected => {}
            Some(mac) => {
                header.sender_kid = Some(OctetString::new(REFERENCE).unwrap());
                header.protection_alg = Some(mac.algorithm_identifier().unwrap());
            }
            None => header.protection_alg = Some(self.key.algorithm().algorithm_identifier().ref_to_owned()),
        }
        if let Some(change) = self.header {
            change(&mut header);
        }
        let message = PkiMessage::new(header, body).unwrap();
        let input = message.protected_part().unwrap();
        match mac {
            _ if self.unprotected => message,
            Some(mac) => {
                let secret = Secret::new(SECRET.to_vec());
                let value = mac.compute(&RustCrypto, &secret, &input).unwrap();
                message.with_protection(value.as_bytes(), Vec::new()).unwrap()
            }
            None => {
                let signature = self.key.sign(&input).unwrap();
                let own = Raw::new(self.certificate.as_der()).unwrap();
                message.with_protection(&signature, vec![own]).unwrap()
            }
        }
    }
}

fn refusal(failure: PkiFailure) -> PkiBody {
    PkiBody::Error(ErrorMsgContent::from(PkiStatusInfo::rejection(failure, "")))
}

fn encoded(value: &Option<impl Encode>) -> Option<Raw> {
    value.as_ref().map(|value| Raw::encode(value).unwrap())
}

/// Subject and public key that a request asks for.
fn asked(request: &PkiBody) -> (Name, Vec<u8>) {
    let template = match request {
        PkiBody::Ir(content) | PkiBody::Cr(content) | PkiBody::Kur(content) => {
            &content[0].cert_req.cert_template
        }
        PkiBody::P10cr(csr) => {
            let csr: x509_cert::request::CertReq = csr.parse().unwrap();
            return (csr.info.subject, csr.info.public_key.to_der().unwrap());
        }
        other => panic!("{:?}", other.body_type()),
    };
    let subject = template.subject.clone().unwrap();
    let own = template
        .public_key
        .as_ref()
        .filter(|key| !key.subject_public_key.raw_bytes().is_empty());
    let public_key = own.map(|key| key.to_der().unwrap());
    (
        subject,
        public_key.unwrap_or_else(|| key(6).public_key().to_vec()),
    )
}

/// What was sent to the RA.
pub fn messages(ra: &Ra) -> Vec<PkiMessage> {
    let parse = |message: &Vec<u8>| PkiMessage::from_bytes(message).unwrap();
    ra.messages.iter().map(parse).collect()
}

/// Makes the RA speak with a key of another type.
pub fn speak_otherwise(ra: &mut Ra) {
    let mut draft = Draft::new("CN=RA", 2, 2);
    draft.public_key = key384().public_key().to_vec();
    ra.speak_as(draft.issue(), key384());
}
