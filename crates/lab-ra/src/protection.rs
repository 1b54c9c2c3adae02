//! Puts an RA's protection on messages: its signature, or the MAC of an end entity's secret (RFC 9483 §3.2, §3.3).

use aws_lc_rs::rand;
use cmp_message::{
    CMP_2000, CMP_2021, Exact, InfoTypeAndValue, PkiBody, PkiHeader, PkiMessage, Raw,
    certificate::Certificate,
    crypto::{AwsLc, SigningKey},
    mac::{MacAlgorithm, Secret},
    validate::MAX_EXTRA_CERTS,
};
use der::{
    Decode,
    asn1::{GeneralizedTime, OctetString},
    referenced::RefToOwned,
};
use spki::AlgorithmIdentifierOwned;
use std::{sync::Arc, time::Duration};
use x509_cert::{ext::pkix::name::GeneralName, name::Name};

use crate::{Authority, PkiError, RaConfig, store::Peer};

/// The secret of an end entity, and how its MAC is made.
pub(crate) struct MacKey<'a> {
    pub(crate) reference: &'a [u8],
    pub(crate) secret: &'a Secret,
    /// As in the end entity's message; the salt is made anew.
    pub(crate) algorithm: MacAlgorithm,
}

impl RaConfig {
    /// What protects answers to the message of this peer with this header; `None`: a signature.
    pub(crate) fn mac_key<'a>(&'a self, header: &PkiHeader, peer: &'a Peer) -> Option<MacKey<'a>> {
        let Peer::Mac(reference) = peer else {
            return None;
        };
        Some(MacKey {
            secret: self.secrets.get(reference)?,
            algorithm: MacAlgorithm::from_algorithm_identifier(header.protection_alg.as_ref()?).ok()?,
            reference,
        })
    }
}

/// Protects messages in the name of an RA.
pub(crate) struct Protector {
    ra: Arc<Authority>,
    name: Name,
    key_identifier: OctetString,
    algorithm: AlgorithmIdentifierOwned,
    /// The name of the CA that issued the RA's certificate.
    ca_name: Name,
    /// The RA's certificate and what leads from it to a root.
    chain: Vec<Raw>,
}

impl Protector {
    /// Protects with this key. `chain` leads from the RA's certificate to every root that it is to be trusted under.
    pub(crate) fn new<'a>(
        ra: Arc<Authority>,
        chain: impl IntoIterator<Item = &'a [u8]>,
    ) -> Result<Self, PkiError> {
        let mut own_chain = vec![Raw::new(ra.certificate())?];
        for certificate in chain {
            own_chain.push(Raw::new(certificate)?);
        }
        let certificate = Certificate::from_der(ra.certificate());
        let certificate = certificate.map_err(|_| PkiError::Damaged("the RA's certificate".into()))?;
        let key_identifier = certificate.subject_key_identifier();
        Ok(Self {
            name: Name::from_der(ra.subject())?,
            ca_name: Name::from_der(certificate.issuer())?,
            key_identifier: OctetString::new(key_identifier.unwrap_or(ra.key_identifier()))?,
            algorithm: ra.key().algorithm().algorithm_identifier().ref_to_owned(),
            chain: own_chain,
            ra,
        })
    }

    /// The RA's name, which is the sender of what it protects.
    pub(crate) fn name(&self) -> &Name {
        &self.name
    }

    /// The name of the CA that issued the RA's certificate.
    pub(crate) fn ca_name(&self) -> &Name {
        &self.ca_name
    }

    /// An answer of the RA's own to the message with this header, with a MAC where there is a key for it; then `others`
    /// go along.
    pub(crate) fn answer(
        &self,
        now_s: u64,
        request: Option<&PkiHeader>,
        key: Option<MacKey<'_>>,
        nonce: &[u8],
        (body, general_info): (PkiBody, Vec<InfoTypeAndValue>),
        others: &[Raw],
    ) -> Result<Vec<u8>, PkiError> {
        let mut header = PkiHeader::new(self.name.clone(), Name::default());
        header.sender_nonce = Some(OctetString::new(nonce)?);
        header.general_info = (!general_info.is_empty()).then_some(general_info);
        if let Some(request) = request {
            // RFC 9810 §7: where it is not supported, the nearest that is.
            header.pvno = request.pvno.clamp(CMP_2000, CMP_2021);
            if let Some(name) = request.sender_name() {
                header.recipient = GeneralName::DirectoryName(name.clone());
            }
            header.transaction_id = request.transaction_id.clone();
            header.recip_nonce = request.sender_nonce.clone();
        }
        if carries_key(&body) {
            // RFC 9810 §7, whatever the pollReq had.
            header.pvno = CMP_2021;
        }
        if header.transaction_id.is_none() {
            header.transaction_id = Some(OctetString::new(random::<16>()?)?);
        }
        let body = Exact::new(body)?;
        let message = match key {
            Some(key) => self.mac(now_s, header, body, key, others)?,
            None => self.sign(now_s, header, body, &[])?,
        };
        Ok(message.to_bytes()?)
    }

    /// Signs. The sender becomes the RA, and messageTime now; `others` follow the RA's own certificates.
    pub(crate) fn sign(
        &self,
        now_s: u64,
        mut header: PkiHeader,
        body: Exact<PkiBody>,
        others: &[Raw],
    ) -> Result<PkiMessage, PkiError> {
        self.stamp(now_s, &mut header)?;
        header.protection_alg = Some(self.algorithm.clone());
        header.sender_kid = Some(self.key_identifier.clone());
        let message = unprotected(header, body)?;
        let signature = self.ra.key().sign(&message.protected_part()?)?;
        let certificates = self.chain.iter().chain(others);
        Ok(message.with_protection(&signature, without_repetition(certificates))?)
    }

    /// Puts a MAC on, otherwise like [`sign`](Self::sign); only `others` go along.
    pub(crate) fn mac(
        &self,
        now_s: u64,
        mut header: PkiHeader,
        body: Exact<PkiBody>,
        key: MacKey<'_>,
        others: &[Raw],
    ) -> Result<PkiMessage, PkiError> {
        self.stamp(now_s, &mut header)?;
        let algorithm = key.algorithm.with_salt(random()?);
        header.protection_alg = Some(algorithm.algorithm_identifier()?);
        header.sender_kid = Some(OctetString::new(key.reference)?);
        let message = unprotected(header, body)?;
        let mac = algorithm.compute(&AwsLc, key.secret, &message.protected_part()?)?;
        Ok(message.with_protection(mac.as_bytes(), without_repetition(others))?)
    }

    fn stamp(&self, now_s: u64, header: &mut PkiHeader) -> Result<(), PkiError> {
        header.sender = GeneralName::DirectoryName(self.name.clone());
        header.message_time = Some(GeneralizedTime::from_unix_duration(Duration::from_secs(now_s))?);
        Ok(())
    }
}

/// The body stays byte for byte what it is.
fn unprotected(header: PkiHeader, body: Exact<PkiBody>) -> der::Result<PkiMessage> {
    Ok(PkiMessage {
        header: Exact::new(header)?,
        body,
        protection: None,
        extra_certs: None,
    })
}

fn carries_key(body: &PkiBody) -> bool {
    let (PkiBody::Ip(content) | PkiBody::Cp(content) | PkiBody::Kup(content)) = body else {
        return false;
    };
    let pairs = content.response.iter();
    let mut pairs = pairs.filter_map(|response| response.certified_key_pair.as_ref());
    pairs.any(|pair| pair.private_key.is_some())
}

fn without_repetition<'a>(certificates: impl IntoIterator<Item = &'a Raw>) -> Vec<Raw> {
    let mut all: Vec<Raw> = Vec::new();
    for certificate in certificates {
        if all.len() < MAX_EXTRA_CERTS && !all.contains(certificate) {
            all.push(certificate.clone());
        }
    }
    all
}

pub(crate) fn random<const N: usize>() -> Result<[u8; N], PkiError> {
    let mut bytes = [0; N];
    rand::fill(&mut bytes).map_err(|_| PkiError::Random)?;
    Ok(bytes)
}
