//! Keys, certificates and CRLs of the tests.

use cmp_message::{
    Raw,
    certificate::Certificate,
    crypto::{SigningKey, rustcrypto::SoftKey},
};
use core::time::Duration;
use der::{
    Decode, Encode, Sequence,
    asn1::{BitString, GeneralizedTime, Int, OctetString},
    referenced::RefToOwned,
};
use spki::{AlgorithmIdentifierOwned, SubjectPublicKeyInfoOwned};
use std::str::FromStr;
use x509_cert::{
    ext::{
        Extension,
        pkix::{BasicConstraints, KeyUsage, KeyUsages},
    },
    name::Name,
    time::Time,
};

pub const NOW_S: u64 = 1_800_000_000;

/// The same keys each time: P-256 keys of small numbers.
pub fn key(n: u8) -> SoftKey {
    let mut scalar = [0u8; 32];
    scalar[31] = n;
    // ECPrivateKey ::= SEQUENCE { 1, OCTET STRING, [0] secp256r1 }
    let mut der = vec![0x30, 0x31, 2, 1, 1, 4, 32];
    der.extend(scalar);
    der.extend([0xa0, 10, 6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7]);
    SoftKey::from_der(&der).unwrap()
}

/// A key of P-384.
pub fn key384() -> SoftKey {
    let mut der = vec![0x30, 62, 2, 1, 1, 4, 48];
    der.extend([7; 48]);
    der.extend([0xa0, 7, 6, 5, 0x2b, 0x81, 4, 0, 0x22]);
    SoftKey::from_der(&der).unwrap()
}

pub fn name(text: &str) -> Name {
    Name::from_str(text).unwrap()
}

fn time(s: u64) -> Time {
    Time::GeneralTime(GeneralizedTime::from_unix_duration(Duration::from_secs(s)).unwrap())
}

#[derive(Sequence)]
struct Validity {
    not_before: Time,
    not_after: Time,
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
    #[asn1(context_specific = "3", tag_mode = "EXPLICIT", optional = "true")]
    extensions: Option<Vec<Extension>>,
}

#[derive(Sequence)]
struct Signed {
    tbs: Raw,
    algorithm: AlgorithmIdentifierOwned,
    signature: BitString,
}

fn sign(key: &SoftKey, tbs: &impl Encode) -> Vec<u8> {
    let tbs = Raw::encode(tbs).unwrap();
    let signature = BitString::from_bytes(&key.sign(tbs.as_bytes()).unwrap()).unwrap();
    let algorithm = key.algorithm().algorithm_identifier().ref_to_owned();
    let signed = Signed {
        tbs,
        algorithm,
        signature,
    };
    signed.to_der().unwrap()
}

/// A certificate to be made.
pub struct Draft {
    pub issuer_key: u8,
    pub issuer: &'static str,
    pub serial: u8,
    pub subject: Name,
    pub public_key: Vec<u8>,
    pub not_before_s: u64,
    pub not_after_s: u64,
    pub extensions: Vec<Extension>,
}

impl Draft {
    /// One of the root's, for the key of this number.
    pub fn new(subject: &str, serial: u8, key_number: u8) -> Self {
        Self {
            issuer_key: 1,
            issuer: "CN=Root",
            serial,
            subject: name(subject),
            public_key: key(key_number).public_key().to_vec(),
            not_before_s: NOW_S - 1000,
            not_after_s: NOW_S + 10_000_000,
            extensions: Vec::new(),
        }
    }

    /// That of a CA, which signs itself unless told otherwise.
    pub fn ca(subject: &'static str, serial: u8, key_number: u8) -> Self {
        let constraints = BasicConstraints {
            ca: true,
            path_len_constraint: None,
        };
        let usage = KeyUsage(KeyUsages::KeyCertSign | KeyUsages::CRLSign | KeyUsages::DigitalSignature);
        Self {
            issuer_key: key_number,
            issuer: subject,
            extensions: vec![
                extension("2.5.29.19", true, &constraints),
                extension("2.5.29.15", true, &usage),
            ],
            ..Self::new(subject, serial, key_number)
        }
    }

    pub fn issue(&self) -> Certificate {
        let issuer = key(self.issuer_key);
        let tbs = Tbs {
            version: Some(2),
            serial: Int::new(&[self.serial]).unwrap(),
            algorithm: issuer.algorithm().algorithm_identifier().ref_to_owned(),
            issuer: name(self.issuer),
            validity: Validity {
                not_before: time(self.not_before_s),
                not_after: time(self.not_after_s),
            },
            subject: self.subject.clone(),
            public_key: SubjectPublicKeyInfoOwned::from_der(&self.public_key).unwrap(),
            extensions: (!self.extensions.is_empty()).then(|| self.extensions.clone()),
        };
        Certificate::from_der(sign(&issuer, &tbs)).unwrap()
    }
}

pub fn extension(oid: &str, critical: bool, value: &impl Encode) -> Extension {
    Extension {
        extn_id: oid.parse().unwrap(),
        critical,
        extn_value: OctetString::new(value.to_der().unwrap()).unwrap(),
    }
}

pub fn root() -> Certificate {
    Draft::ca("CN=Root", 1, 1).issue()
}

pub fn stranger() -> Certificate {
    Draft::ca("CN=Stranger", 1, 9).issue()
}

#[derive(Sequence)]
struct TbsCrl {
    version: u8,
    algorithm: AlgorithmIdentifierOwned,
    issuer: Name,
    this_update: Time,
    next_update: Time,
    revoked: Vec<Entry>,
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT", optional = "true")]
    extensions: Option<Vec<Extension>>,
}

#[derive(Sequence)]
struct Entry {
    serial: Int,
    date: Time,
}

/// A CRL to be made.
pub struct CrlDraft {
    pub key: u8,
    pub issuer: &'static str,
    pub this_update_s: u64,
    pub next_update_s: u64,
    pub extensions: Vec<Extension>,
}

impl CrlDraft {
    pub fn new() -> Self {
        Self {
            key: 1,
            issuer: "CN=Root",
            this_update_s: NOW_S - 100,
            next_update_s: NOW_S + 1_000_000,
            extensions: Vec::new(),
        }
    }

    /// With the serial numbers 5 and 6 on it.
    pub fn issue(&self) -> Raw {
        let issuer = key(self.key);
        let entry = |serial| Entry {
            serial: Int::new(&[serial]).unwrap(),
            date: time(NOW_S - 500),
        };
        let tbs = TbsCrl {
            version: 1,
            algorithm: issuer.algorithm().algorithm_identifier().ref_to_owned(),
            issuer: name(self.issuer),
            this_update: time(self.this_update_s),
            next_update: time(self.next_update_s),
            revoked: vec![entry(5), entry(6)],
            extensions: (!self.extensions.is_empty()).then(|| self.extensions.clone()),
        };
        Raw::new(sign(&issuer, &tbs)).unwrap()
    }
}

#[derive(Sequence)]
struct CsrInfo {
    version: u8,
    subject: Name,
    public_key: SubjectPublicKeyInfoOwned,
    attributes: Raw,
}

/// A PKCS #10 request for the key of this number.
pub fn csr(subject: &str, key_number: u8) -> Vec<u8> {
    let key = key(key_number);
    let info = CsrInfo {
        version: 0,
        subject: name(subject),
        public_key: SubjectPublicKeyInfoOwned::from_der(key.public_key()).unwrap(),
        attributes: Raw::new([0xa0, 0]).unwrap(),
    };
    sign(&key, &info)
}

/// A new root of key 11 that the root vouches for, with both links.
pub struct Succession {
    pub new_with_new: Draft,
    pub new_with_old: Draft,
    pub old_with_new: Draft,
}

impl Succession {
    pub fn new() -> Self {
        let new = || Draft {
            not_before_s: NOW_S - 10,
            not_after_s: NOW_S + 20_000_000,
            ..Draft::ca("CN=Root", 21, 11)
        };
        Self {
            new_with_new: new(),
            new_with_old: Draft {
                issuer_key: 1,
                serial: 22,
                ..new()
            },
            old_with_new: Draft {
                issuer_key: 11,
                serial: 23,
                ..Draft::ca("CN=Root", 23, 1)
            },
        }
    }

    pub fn content(&self) -> cmp_message::general::RootCaKeyUpdateContent {
        let raw = |draft: &Draft| Raw::new(draft.issue().as_der()).unwrap();
        cmp_message::general::RootCaKeyUpdateContent {
            new_with_new: raw(&self.new_with_new),
            new_with_old: Some(raw(&self.new_with_old)),
            old_with_new: Some(raw(&self.old_with_new)),
        }
    }
}
