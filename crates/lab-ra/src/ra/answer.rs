//! Makes messages: header, protection, extraCerts (RFC 9483 §3.1 to §3.3).

use aws_lc_rs::rand;
use cmp_message::{
    CMP_2000, CMP_2021, CertId, CertRepMessage, CertResponse, CertifiedKeyPair, ErrorMsgContent,
    InfoTypeAndValue, PkiBody, PkiFailure, PkiHeader, PkiMessage, PkiStatus, PkiStatusInfo, Raw,
    RevRepContent,
    crypto::{AwsLc, CryptoError, SigningKey},
    mac::{MacAlgorithm, Secret},
};
use der::{
    Decode, Encode,
    asn1::{GeneralizedTime, OctetString},
    referenced::RefToOwned,
};
use spki::AlgorithmIdentifierOwned;
use std::time::Duration;
use x509_cert::{ext::pkix::name::GeneralName, name::Name};

use super::{Refusal, RequestKind, refusal::RefusedIn};
use crate::{Pki, PkiError, RaConfig, store::Peer};

/// What an answer says.
pub(super) struct Reply {
    pub(super) body: PkiBody,
    pub(super) general_info: Vec<InfoTypeAndValue>,
}

impl Reply {
    /// A body with nothing in generalInfo.
    pub(super) fn new(body: PkiBody) -> Self {
        Self {
            body,
            general_info: Vec::new(),
        }
    }

    /// An ip, cp or kup.
    pub(super) fn certificate_response(
        kind: RequestKind,
        status: PkiStatusInfo,
        pair: Option<CertifiedKeyPair>,
        ca_pubs: Option<Vec<Raw>>,
    ) -> Self {
        let response = CertResponse {
            cert_req_id: kind.cert_req_id(),
            status,
            certified_key_pair: pair,
            rsp_info: None,
        };
        Self::new(kind.response(CertRepMessage {
            ca_pubs,
            response: vec![response],
        }))
    }

    /// An rp.
    pub(super) fn revocation_response(status: PkiStatusInfo, rev_certs: Option<Vec<CertId>>) -> Self {
        Self::new(PkiBody::Rp(RevRepContent {
            status: vec![status],
            rev_certs,
            crls: None,
        }))
    }

    /// The answer to whatever it is comes later (RFC 9483 §4.4).
    pub(super) fn waiting() -> Self {
        let status = PkiStatusInfo::from(PkiStatus::WAITING);
        Self::new(PkiBody::Error(ErrorMsgContent::from(status)))
    }

    /// No, in this body.
    pub(super) fn refusal(refused_in: RefusedIn, refusal: Refusal) -> Self {
        let status = PkiStatusInfo::rejection(refusal.failure, &refusal.text);
        match refused_in {
            RefusedIn::Error => Self::new(PkiBody::Error(ErrorMsgContent::from(status))),
            RefusedIn::Certificate(kind) => Self::certificate_response(kind, status, None, None),
            RefusedIn::Revocation => Self::revocation_response(status, None),
        }
    }
}

/// Keeps ready what every answer needs.
pub(super) struct Answerer {
    pki: Pki,
    name: Name,
    key_identifier: OctetString,
    signature_algorithm: AlgorithmIdentifierOwned,
    /// The RA's certificate and what leads from it to every root there was.
    chain: Vec<Raw>,
    ca_certificate: Raw,
    root_certificate: Raw,
    /// Said where nothing else can be.
    last_resort: Vec<u8>,
}

impl Answerer {
    pub(super) fn new(pki: Pki) -> Result<Self, PkiError> {
        let name = Name::from_der(pki.ra.subject())?;
        let failed = PkiStatusInfo::rejection(PkiFailure::SystemFailure, "the server failed");
        let header = PkiHeader::new(name.clone(), Name::default());
        Ok(Self {
            last_resort: PkiMessage::new(header, PkiBody::Error(failed.into()))?.to_bytes()?,
            name,
            key_identifier: OctetString::new(pki.ra.key_identifier())?,
            signature_algorithm: pki.ra.key().algorithm().algorithm_identifier().ref_to_owned(),
            chain: chain(&pki)?,
            ca_certificate: Raw::new(pki.ca.certificate())?,
            root_certificate: Raw::new(pki.root.certificate())?,
            pki,
        })
    }

    pub(super) fn pki(&self) -> &Pki {
        &self.pki
    }

    pub(super) fn into_pki(self) -> Pki {
        self.pki
    }

    /// The trust anchor, for caPubs.
    pub(super) fn root_certificate(&self) -> &Raw {
        &self.root_certificate
    }

    /// The bytes of the answer.
    ///
    /// It is protected with the secret of `peer` where that is a MAC's, signed by the RA otherwise.
    pub(super) fn answer(
        &self,
        now_s: u64,
        request: Option<&PkiHeader>,
        peer: Option<&Peer>,
        config: &RaConfig,
        reply: Reply,
        nonce: &[u8],
    ) -> Result<Vec<u8>, PkiError> {
        let mut header = self.header(now_s, request, nonce)?;
        header.general_info = (!reply.general_info.is_empty()).then_some(reply.general_info);
        let message = match (peer, request.and_then(|header| header.protection_alg.as_ref())) {
            (Some(Peer::Mac(reference)), Some(algorithm)) => {
                let algorithm = MacAlgorithm::from_algorithm_identifier(algorithm)
                    .map_err(|_| CryptoError::UnsupportedAlgorithm)?;
                let secret = config
                    .secrets
                    .get(reference)
                    .ok_or(CryptoError::InvalidParameter)?;
                self.with_mac(header, reply.body, reference, algorithm, secret)?
            }
            _ => self.with_signature(header, reply.body)?,
        };
        Ok(message.to_bytes()?)
    }

    /// Says that the server failed, as well as that can be said.
    pub(super) fn system_failure(
        &self,
        now_s: u64,
        request: Option<&PkiHeader>,
        config: &RaConfig,
    ) -> Vec<u8> {
        let text = "the server failed; its log says why";
        let refusal = Refusal::new(PkiFailure::SystemFailure, "3.6.4", text);
        let reply = Reply::refusal(RefusedIn::Error, refusal);
        let nonce = random::<16>().unwrap_or_default();
        self.answer(now_s, request, None, config, reply, &nonce)
            .unwrap_or_else(|error| {
                tracing::error!(%error, "cannot make an answer");
                self.last_resort.clone()
            })
    }

    fn header(&self, now_s: u64, request: Option<&PkiHeader>, nonce: &[u8]) -> Result<PkiHeader, PkiError> {
        let mut header = PkiHeader::new(self.name.clone(), Name::default());
        header.message_time = Some(GeneralizedTime::from_unix_duration(Duration::from_secs(now_s))?);
        header.sender_nonce = Some(OctetString::new(nonce)?);
        if let Some(request) = request {
            // RFC 9810 §7: where it is not supported, the nearest that is.
            header.pvno = request.pvno.clamp(CMP_2000, CMP_2021);
            header.recipient = match &request.sender {
                GeneralName::DirectoryName(name) => GeneralName::DirectoryName(name.clone()),
                _ => header.recipient,
            };
            header.transaction_id = request.transaction_id.clone();
            header.recip_nonce = request.sender_nonce.clone();
        }
        if header.transaction_id.is_none() {
            header.transaction_id = Some(OctetString::new(random::<16>()?)?);
        }
        Ok(header)
    }

    fn with_signature(&self, mut header: PkiHeader, body: PkiBody) -> Result<PkiMessage, PkiError> {
        header.protection_alg = Some(self.signature_algorithm.clone());
        header.sender_kid = Some(self.key_identifier.clone());
        let message = PkiMessage::new(header, body)?;
        let signature = self.pki.ra.key().sign(&message.protected_part()?)?;
        Ok(message.with_protection(&signature, self.chain.clone())?)
    }

    /// The same kind of MAC as in the request, with a salt of its own.
    fn with_mac(
        &self,
        mut header: PkiHeader,
        body: PkiBody,
        reference: &[u8],
        algorithm: MacAlgorithm,
        secret: &Secret,
    ) -> Result<PkiMessage, PkiError> {
        let algorithm = algorithm.with_salt(random()?);
        header.protection_alg = Some(algorithm.algorithm_identifier()?);
        header.sender_kid = Some(OctetString::new(reference)?);
        let has_certificate = matches!(body, PkiBody::Ip(_) | PkiBody::Cp(_) | PkiBody::Genp(_));
        let message = PkiMessage::new(header, body)?;
        let mac = algorithm.compute(&AwsLc, secret, &message.protected_part()?)?;
        let chain = has_certificate.then(|| self.ca_certificate.clone());
        Ok(message.with_protection(mac.as_bytes(), chain.into_iter().collect())?)
    }
}

/// The RA's certificate, that of its CA, and the links by which a new root is trusted where an old one is
/// (RFC 9810 §4.4).
fn chain(pki: &Pki) -> der::Result<Vec<Raw>> {
    let links = pki.root_updates().map(|update| update.new_with_old);
    [pki.ra.certificate(), pki.ca.certificate()]
        .into_iter()
        .chain(links)
        .map(Raw::new)
        .collect()
}

/// Seconds since 1970 as an infoValue.
pub(super) fn generalized_time(unix_s: u64) -> der::Result<Raw> {
    Raw::new(GeneralizedTime::from_unix_duration(Duration::from_secs(unix_s))?.to_der()?)
}

pub(super) fn random<const N: usize>() -> Result<[u8; N], PkiError> {
    let mut bytes = [0; N];
    rand::fill(&mut bytes).map_err(|_| PkiError::Random)?;
    Ok(bytes)
}
