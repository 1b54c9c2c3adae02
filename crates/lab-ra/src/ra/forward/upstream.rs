//! To the server behind and back.

use cmp_message::{
    BodyType, CertRepMessage, CertReqMessages, Exact, InfoTypeAndValue, PkiBody, PkiHeader, PkiMessage,
    PkiStatus, PkiStatusInfo, ProofOfPossession, Raw,
    certificate::Certificate,
    crypto::AwsLc,
    general::CERT_PROFILE,
    validate::{Accept, Authenticated, Context, Stage, validate},
};
use der::asn1::Null;
use x509_cert::{ext::pkix::name::GeneralName, name::Name};

use super::{Failure, Forward, Forwarder, Incoming, transaction_id};
use crate::{
    PkiError, UpstreamError,
    pki::{ID_KP_CMC_CA, ID_KP_CMC_RA},
    ra::RequestKind,
    store::{Forwarded, Peer, Progress},
    x509,
};

impl Forwarder {
    /// A message as the server behind gets it.
    pub(super) fn for_upstream(&self, incoming: &Incoming<'_>, forward: Forward) -> Result<Vec<u8>, Failure> {
        let message = incoming.message;
        match forward {
            Forward::Unchanged => Ok(incoming.received.to_vec()),
            Forward::Nested if self.forward.batch.is_some() => Ok(incoming.der.to_vec()),
            Forward::Nested => Ok(self.add_protection(incoming.now_s, incoming.der)?),
            Forward::Replaced => self.replaced(incoming, message.body.clone()),
            Forward::RaVerified => {
                let body = match &*message.body {
                    PkiBody::Ir(content) => Exact::new(PkiBody::Ir(self.vouched(content)?))?,
                    PkiBody::Cr(content) => Exact::new(PkiBody::Cr(self.vouched(content)?))?,
                    _ => message.body.clone(),
                };
                self.replaced(incoming, body)
            }
        }
    }

    /// The RA's protection instead; transactionID and nonces stay (RFC 9483 §5.2.3). A profile that only the path named
    /// becomes the certProfile.
    fn replaced(&self, incoming: &Incoming<'_>, body: Exact<PkiBody>) -> Result<Vec<u8>, Failure> {
        let mut header = incoming.header().clone();
        let asks = RequestKind::from_name(incoming.body_type().name()).is_some();
        if let Some(profile) = incoming.profile.filter(|_| asks)
            && header.info(CERT_PROFILE).is_none()
        {
            header
                .general_info
                .get_or_insert_default()
                .push(InfoTypeAndValue {
                    info_type: CERT_PROFILE,
                    info_value: Some(Raw::encode(&vec![profile.to_owned()])?),
                });
        }
        let message = self.protector.sign(incoming.now_s, header, body, &[])?;
        Ok(message.to_bytes()?)
    }

    /// The RA says that it has verified the proof of possession, and sets what its policy sets (RFC 9483 §5.2.3.2).
    fn vouched(&self, content: &CertReqMessages) -> Result<CertReqMessages, Failure> {
        let vouch = |message: &cmp_message::CertReqMsg| {
            let mut message = message.clone();
            if let Some(organization) = &self.forward.organization {
                let mut request = message.cert_req.into_value();
                let subject = request.cert_template.subject.take().unwrap_or_default();
                request.cert_template.subject = Some(x509::with_organization(&subject, organization)?);
                message.cert_req = Exact::new(request)?;
            }
            message.popo = Some(ProofOfPossession::RaVerified(Null));
            Ok(message)
        };
        content.iter().map(vouch).collect()
    }

    /// Checks an answer against the message that was sent last.
    ///
    /// Where the RA replaces protections it must be authentic; where it does not, that is for the end entity to check.
    pub(super) fn examine(
        &self,
        now_s: u64,
        forwarded: &Forwarded,
        bytes: &[u8],
    ) -> Result<(), UpstreamError> {
        let message = PkiMessage::from_bytes(bytes).map_err(|_| UpstreamError::Malformed)?;
        let header = &message.header;
        let recip_nonce = header.recip_nonce.as_ref().map(|nonce| nonce.as_bytes());
        if transaction_id(header) != forwarded.id
            || recip_nonce != Some(&forwarded.sent_nonce)
            || header.sender_nonce.is_none()
        {
            return Err(UpstreamError::OtherMessage);
        }
        if self.forward.forward.replaces() {
            let stage = Stage::Answer {
                transaction_id: &forwarded.id,
                sender_nonce: &forwarded.sent_nonce,
            };
            self.authenticate_upstream(now_s, &message, stage, Some(&forwarded.peer))?;
        }
        next(forwarded, &message).map(|_| ())
    }

    /// That an answer is of somebody who speaks for the PKI, or has the MAC of this peer.
    pub(super) fn authenticate_upstream(
        &self,
        now_s: u64,
        message: &PkiMessage,
        stage: Stage<'_>,
        peer: Option<&Peer>,
    ) -> Result<(), UpstreamError> {
        let context = Context {
            crypto: &AwsLc,
            now_s: Some(now_s),
            stage,
            accept: match peer {
                Some(Peer::Mac(_)) => Accept::Any,
                _ => Accept::Signature,
            },
            anchors: &self.upstream_anchors,
            intermediates: &[],
            signer_usage: None,
            known_signer: None,
            secret: &|reference| match peer {
                Some(Peer::Mac(ours)) if reference == Some(ours) => self.config.secrets.get(ours),
                _ => None,
            },
            unprotected_errors: false,
            max_clock_skew_s: self.config.header.max_clock_skew_s,
        };
        match validate(message, &context).map_err(UpstreamError::Protection)? {
            Authenticated::Signer(signer) if !self.speaks_for_pki(&signer) => {
                Err(UpstreamError::NotAuthorized)
            }
            _ => Ok(()),
        }
    }

    /// Whether whoever has this certificate may answer requests: an end entity of the same CA may not.
    fn speaks_for_pki(&self, signer: &Certificate) -> bool {
        let usages = signer.ext_key_usage().unwrap_or_default();
        let constraints = signer.basic_constraints();
        let configured = &self.forward.upstream_anchors;
        constraints.is_some_and(|constraints| constraints.ca)
            || usages.contains(&ID_KP_CMC_CA)
            || usages.contains(&ID_KP_CMC_RA)
            || configured.iter().any(|known| known.as_der() == signer.as_der())
    }

    /// An answer with the RA's protection, to whoever sent the message with this header (RFC 9483 §5.2.3.1).
    pub(super) fn for_end_entity(
        &self,
        now_s: u64,
        request: &PkiHeader,
        peer: &Peer,
        message: &PkiMessage,
    ) -> Result<Vec<u8>, PkiError> {
        let mut header = message.header.clone().into_value();
        let recipient = request.sender_name().cloned().unwrap_or_else(Name::default);
        header.recipient = GeneralName::DirectoryName(recipient);
        header.recip_kid = None;
        // After a delay this is the nonce of the last pollReq, which widespread clients insist on.
        header.recip_nonce = request.sender_nonce.clone();
        let others = message.extra_certs.as_deref().unwrap_or_default();
        let answer = match self.config.mac_key(request, peer) {
            Some(key) => {
                let body = self.with_root(&message.body)?;
                self.protector.mac(now_s, header, body, key, others)?
            }
            None => self.protector.sign(now_s, header, message.body.clone(), others)?,
        };
        Ok(answer.to_bytes()?)
    }

    /// Under a MAC a certificate comes with the trust anchor, for an end entity that has none yet (RFC 9483 §4.1.5).
    fn with_root(&self, body: &Exact<PkiBody>) -> Result<Exact<PkiBody>, PkiError> {
        let add = |content: &CertRepMessage| -> Result<Option<CertRepMessage>, PkiError> {
            let is_granted = content
                .response
                .iter()
                .any(|one| one.certified_key_pair.is_some());
            if content.ca_pubs.is_some() || !is_granted {
                return Ok(None);
            }
            let mut content = content.clone();
            content.ca_pubs = self
                .root
                .as_ref()
                .map(|root| Raw::new(root.as_der()).map(|root| vec![root]))
                .transpose()?;
            Ok(Some(content))
        };
        let with_root = match &**body {
            PkiBody::Ip(content) => add(content)?.map(PkiBody::Ip),
            PkiBody::Cp(content) => add(content)?.map(PkiBody::Cp),
            _ => None,
        };
        Ok(match with_root {
            Some(body) => Exact::new(body)?,
            None => body.clone(),
        })
    }
}

/// What follows an answer; an error if it does not answer what was asked.
pub(super) fn next(forwarded: &Forwarded, message: &PkiMessage) -> Result<Progress, UpstreamError> {
    let is_confirmed = message.header.implicit_confirm();
    match (&*message.body, forwarded.awaited_for) {
        (PkiBody::Ip(content), BodyType::Ir)
        | (PkiBody::Cp(content), BodyType::Cr | BodyType::P10cr)
        | (PkiBody::Kup(content), BodyType::Kur) => {
            let [response] = content.response.as_slice() else {
                return Err(UpstreamError::UnexpectedStatus(None));
            };
            match response.status.status {
                PkiStatus::WAITING => waits(&response.status, forwarded),
                PkiStatus::ACCEPTED | PkiStatus::GRANTED_WITH_MODS if is_confirmed => Ok(Progress::Over),
                PkiStatus::ACCEPTED | PkiStatus::GRANTED_WITH_MODS => Ok(Progress::AwaitingCertConf),
                PkiStatus::REJECTION => Ok(Progress::Over),
                other => Err(UpstreamError::UnexpectedStatus(Some(other))),
            }
        }
        (PkiBody::Rp(_), BodyType::Rr) | (PkiBody::Genp(_), BodyType::Genm) => Ok(Progress::Over),
        (PkiBody::PkiConf(_), BodyType::CertConf) => Ok(Progress::Confirmed),
        (PkiBody::PkiConf(_), BodyType::Error) => Ok(Progress::Over),
        (PkiBody::PollRep(_), _) if forwarded.sent_body == BodyType::PollReq => Ok(Progress::AwaitingPollReq),
        (PkiBody::Error(content), _) if content.pki_status_info.status == PkiStatus::WAITING => {
            waits(&content.pki_status_info, forwarded)
        }
        (PkiBody::Error(_), _) => Ok(Progress::Over),
        (body, _) => Err(UpstreamError::UnexpectedBody(body.body_type())),
    }
}

/// After a pollReq only a pollRep says that it still takes time.
fn waits(status: &PkiStatusInfo, forwarded: &Forwarded) -> Result<Progress, UpstreamError> {
    match forwarded.sent_body {
        BodyType::PollReq => Err(UpstreamError::UnexpectedStatus(Some(status.status))),
        _ => Ok(Progress::AwaitingPollReq),
    }
}
