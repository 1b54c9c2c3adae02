//! What an answer says, and its way into a message.

use cmp_message::{
    CertId, CertRepMessage, CertResponse, CertifiedKeyPair, ErrorMsgContent, InfoTypeAndValue, PkiBody,
    PkiFailure, PkiHeader, PkiMessage, PkiStatus, PkiStatusInfo, Raw, RevRepContent,
};
use der::{Encode, asn1::GeneralizedTime};
use std::time::Duration;
use x509_cert::name::Name;

use super::{Refusal, RequestKind, refusal::RefusedIn};
use crate::{
    Pki, PkiError, RaConfig,
    protection::{Protector, random},
    store::Peer,
};

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
    protector: Protector,
    ca_certificate: Raw,
    root_certificate: Raw,
    /// Said where nothing else can be.
    last_resort: Vec<u8>,
}

impl Answerer {
    pub(super) fn new(pki: Pki) -> Result<Self, PkiError> {
        let protector = protector(&pki)?;
        let failed = PkiStatusInfo::rejection(PkiFailure::SystemFailure, "the server failed");
        let header = PkiHeader::new(protector.name().clone(), Name::default());
        Ok(Self {
            last_resort: PkiMessage::new(header, PkiBody::Error(failed.into()))?.to_bytes()?,
            protector,
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
        let key = request.and_then(|header| config.mac_key(header, peer?));
        let has_certificate = matches!(reply.body, PkiBody::Ip(_) | PkiBody::Cp(_) | PkiBody::Genp(_));
        let others = has_certificate.then(|| self.ca_certificate.clone());
        let content = (reply.body, reply.general_info);
        self.protector
            .answer(now_s, request, key, nonce, content, others.as_slice())
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
}

/// With the links by which a new root is trusted where an old one is (RFC 9810 §4.4).
fn protector(pki: &Pki) -> Result<Protector, PkiError> {
    let links: Vec<_> = pki.root_updates().map(|update| update.new_with_old).collect();
    let chain = [pki.ca.certificate()].into_iter().chain(links);
    Protector::new(pki.ra.clone(), chain)
}

/// Seconds since 1970 as an infoValue.
pub(super) fn generalized_time(unix_s: u64) -> der::Result<Raw> {
    Raw::new(GeneralizedTime::from_unix_duration(Duration::from_secs(unix_s))?.to_der()?)
}
