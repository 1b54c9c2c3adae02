//! A certification authority of a few lines: certificates with any content, also with wrong content.

use cmp_message::certificate::Certificate;
use cmp_message::crypto::SigningKey;
use cmp_message::crypto::rustcrypto::SoftKey;

/// 2026-07-01, inside the validity of [`Spec::new`].
pub(crate) const NOW: u64 = 1_782_864_000;

pub(crate) const VERSION_1: Option<u8> = None;
pub(crate) const VERSION_3: Option<u8> = Some(2);

pub(crate) const DIGITAL_SIGNATURE: u8 = 0x80;
pub(crate) const KEY_ENCIPHERMENT: u8 = 0x20;
pub(crate) const KEY_CERT_SIGN: u8 = 0x04;

/// id-kp-cmcRA, 1.3.6.1.5.5.7.3.28, as contents of an OBJECT IDENTIFIER.
pub(crate) const CMC_RA: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 3, 28];

/// What a certificate shall say.
#[derive(Clone)]
pub(crate) struct Spec {
    pub(crate) version: Option<u8>,
    pub(crate) serial: Vec<u8>,
    pub(crate) issuer: Vec<u8>,
    pub(crate) subject: Vec<u8>,
    /// `YYYYMMDDhhmmssZ`.
    pub(crate) not_before: &'static str,
    pub(crate) not_after: &'static str,
    pub(crate) extensions: Vec<Vec<u8>>,
    /// The signature algorithm named inside the signed part.
    pub(crate) inner_algorithm: Vec<u8>,
}

impl Spec {
    /// Valid in 2026, without extensions.
    pub(crate) fn new(issuer: &str, subject: &str) -> Self {
        Self {
            version: VERSION_3,
            serial: vec![1],
            issuer: name(issuer),
            subject: name(subject),
            not_before: "20260101000000Z",
            not_after: "20261231235959Z",
            extensions: Vec::new(),
            inner_algorithm: ecdsa_with_sha256(),
        }
    }

    pub(crate) fn ca(issuer: &str, subject: &str, path_len: Option<u8>) -> Self {
        Self::new(issuer, subject)
            .with(basic_constraints(true, path_len))
            .with(key_usage(KEY_CERT_SIGN))
    }

    pub(crate) fn end_entity(issuer: &str, subject: &str) -> Self {
        Self::new(issuer, subject).with(key_usage(DIGITAL_SIGNATURE))
    }

    pub(crate) fn with(mut self, extension: Vec<u8>) -> Self {
        self.extensions.push(extension);
        self
    }

    /// The DER of the certificate for `key`, signed by `issuer_key`.
    pub(crate) fn der(&self, key: &SoftKey, issuer_key: &SoftKey) -> Vec<u8> {
        let mut tbs = Vec::new();
        if let Some(version) = self.version {
            tbs.extend(tlv(0xa0, &tlv(0x02, &[version])));
        }
        tbs.extend(tlv(0x02, &self.serial));
        tbs.extend(&self.inner_algorithm);
        tbs.extend(&self.issuer);
        let not_before = tlv(0x18, self.not_before.as_bytes());
        tbs.extend(tlv(
            0x30,
            &[not_before, tlv(0x18, self.not_after.as_bytes())].concat(),
        ));
        tbs.extend(&self.subject);
        tbs.extend(key.public_key());
        if !self.extensions.is_empty() {
            tbs.extend(tlv(0xa3, &tlv(0x30, &self.extensions.concat())));
        }
        let tbs = tlv(0x30, &tbs);
        let signature = [vec![0], issuer_key.sign(&tbs).unwrap()].concat();
        tlv(0x30, &[tbs, ecdsa_with_sha256(), tlv(0x03, &signature)].concat())
    }

    pub(crate) fn sign(&self, key: &SoftKey, issuer_key: &SoftKey) -> Certificate {
        Certificate::from_der(self.der(key, issuer_key)).unwrap()
    }
}

/// The P-256 key whose private scalar is `number` in each byte: the same in every run.
pub(crate) fn key(number: u8) -> SoftKey {
    let prime256v1 = [0x06, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7];
    let fields = [tlv(0x02, &[1]), tlv(0x04, &[number; 32]), tlv(0xa0, &prime256v1)];
    SoftKey::from_der(&tlv(0x30, &fields.concat())).unwrap()
}

/// A Name of one commonName.
pub(crate) fn name(common_name: &str) -> Vec<u8> {
    names(&[(0x0c, common_name)])
}

/// A Name of commonNames, each with the tag of its string type.
pub(crate) fn names(common_names: &[(u8, &str)]) -> Vec<u8> {
    let rdns: Vec<_> = common_names
        .iter()
        .map(|(tag, text)| {
            tlv(
                0x31,
                &tlv(
                    0x30,
                    &[vec![0x06, 3, 0x55, 4, 3], tlv(*tag, text.as_bytes())].concat(),
                ),
            )
        })
        .collect();
    tlv(0x30, &rdns.concat())
}

pub(crate) fn basic_constraints(ca: bool, path_len: Option<u8>) -> Vec<u8> {
    let ca = if ca { tlv(0x01, &[0xff]) } else { Vec::new() };
    let path_len = path_len.map(|len| tlv(0x02, &[len])).unwrap_or_default();
    extension(19, true, &tlv(0x30, &[ca, path_len].concat()))
}

pub(crate) fn key_usage(bits: u8) -> Vec<u8> {
    let unused = u8::try_from(bits.trailing_zeros()).unwrap();
    extension(15, true, &tlv(0x03, &[unused, bits]))
}

pub(crate) fn ext_key_usage(oid: &[u8]) -> Vec<u8> {
    extension(37, false, &tlv(0x30, &tlv(0x06, oid)))
}

/// An extension under id-ce, 2.5.29.
pub(crate) fn extension(id_ce: u8, critical: bool, value: &[u8]) -> Vec<u8> {
    let critical = if critical { tlv(0x01, &[0xff]) } else { Vec::new() };
    tlv(
        0x30,
        &[tlv(0x06, &[0x55, 0x1d, id_ce]), critical, tlv(0x04, value)].concat(),
    )
}

pub(crate) fn ecdsa_with_sha256() -> Vec<u8> {
    tlv(0x30, &tlv(0x06, &[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2]))
}

pub(crate) fn tlv(tag: u8, value: &[u8]) -> Vec<u8> {
    let len = u16::try_from(value.len()).unwrap().to_be_bytes();
    let header = match len {
        [0, len] if len < 128 => vec![tag, len],
        [0, len] => vec![tag, 0x81, len],
        [high, low] => vec![tag, 0x82, high, low],
    };
    [&header, value].concat()
}
