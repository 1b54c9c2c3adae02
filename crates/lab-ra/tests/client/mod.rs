//! A client that builds each message by hand, so that it can build wrong ones. Each test uses a part of it.
#![allow(dead_code, unused_imports)]

mod bodies;
mod delivered;

pub use bodies::*;
pub use delivered::*;

use cmp_message::{
    BodyType, CMP_2021, PkiBody, PkiHeader, PkiMessage, Raw,
    certificate::Certificate,
    crypto::{AwsLc, KeyAlgorithm, SigningKey, aws_lc::SoftKey},
    mac::{MacAlgorithm, Secret},
    validate::{Accept, Authenticated, Context, Stage, validate},
};
use der::{
    Decode,
    asn1::{GeneralizedTime, OctetString},
    referenced::RefToOwned,
};
use lab_ra::{CertificateStatus, Credential as Issued, Pki, Ra, RaConfig, Store};
use std::{collections::HashMap, time::Duration};
use x509_cert::name::Name;

pub const NOW_S: u64 = 1_800_000_000;

/// An RA with a store in memory and the secret `r1:s3cret`.
pub fn ra(change: impl FnOnce(&mut RaConfig)) -> Ra {
    ra_at(NOW_S, change)
}

/// The same, with a hierarchy that was made at this time.
pub fn ra_at(now_s: u64, change: impl FnOnce(&mut RaConfig)) -> Ra {
    let mut config = RaConfig::default();
    config.secrets = HashMap::from([
        (b"r1".to_vec(), Secret::new(b"s3cret".to_vec())),
        (b"r2".to_vec(), Secret::new(b"other".to_vec())),
    ]);
    change(&mut config);
    let pki = Pki::generate(KeyAlgorithm::P256, now_s).unwrap();
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
        let Issued {
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

    /// A client with a certificate that the CA made without a request; with `is_ra` it speaks for others.
    pub fn with_issued(ra: &Ra, subject: &str, is_ra: bool) -> Self {
        let issued = ra.pki().issue(ra.store(), &name(subject), is_ra, NOW_S).unwrap();
        let key = SoftKey::from_der(&issued.key).unwrap();
        Self::new(
            ra,
            Credential::Signature {
                key,
                certificate: issued.certificate,
                chain: issued.chain,
            },
        )
    }

    /// Begins something new.
    pub fn begin(&mut self) {
        self.transaction_id = random();
        self.recip_nonce = None;
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
