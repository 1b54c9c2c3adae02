//! What end entities send: who sent it, and whether it may pass.

use cmp_message::{
    BodyType, CertReqMsg, PkiBody, PkiFailure, RevReqContent,
    certificate::{Certificate, names_match},
    crypto::AwsLc,
    general::CERT_PROFILE,
    validate::{Accept, Authenticated, Context, Stage, ValidationError, validate},
};
use const_oid::ObjectIdentifier;
use der::Encode;

use super::{Failure, Forward, Forwarder, Incoming, bad_request, transaction_id};
use crate::{
    Approval,
    ra::{
        Refusal, RequestKind,
        authenticate::{claims_to_be_ra, is_ra},
        check::Requester,
    },
    store::Peer,
};

/// A message that may pass.
pub(super) struct Checked {
    /// How it passes.
    pub(super) forward: Forward,
    /// Of the certificate that is asked for, as a person reads it; `None` if none is.
    pub(super) subject: Option<String>,
}

impl Forwarder {
    /// The generic checks (RFC 9483 §3.5).
    pub(super) fn authenticate(
        &self,
        incoming: &mut Incoming<'_>,
        stage: Stage<'_>,
        accept: Accept,
        known_signer: Option<&Certificate>,
    ) -> Result<Peer, Failure> {
        let with_ras;
        let mut anchors = &self.anchors;
        if !self.config.registration_authorities.is_empty() && claims_to_be_ra(incoming.message) {
            with_ras = [anchors.as_slice(), &self.config.registration_authorities].concat();
            anchors = &with_ras;
        }
        let context = Context {
            crypto: &AwsLc,
            now_s: Some(incoming.now_s),
            stage,
            accept,
            anchors,
            intermediates: &[],
            signer_usage: None,
            known_signer,
            secret: &|reference| self.config.secrets.get(reference?),
            unprotected_errors: false,
            max_clock_skew_s: self.config.header.max_clock_skew_s,
        };
        let peer = match validate(incoming.message, &context) {
            Ok(Authenticated::Signer(signer)) => Peer::Signer(signer),
            Ok(Authenticated::Mac(Some(reference))) => Peer::Mac(reference),
            Ok(_) => return Err(not_protected().into()),
            Err(ValidationError::UnknownSecret) if self.passes_unknown_macs() => {
                return Ok(Peer::Mac(self.unverified_reference(incoming)?));
            }
            Err(error) => return Err(error.into()),
        };
        incoming.peer = Some(peer.clone());
        self.config.check_header(incoming.message, &peer)?;
        Ok(peer)
    }

    /// The generic checks on a message that will be refused anyway, so that the refusal can be protected alike.
    pub(super) fn authenticate_claimed(&self, incoming: &mut Incoming<'_>) -> Result<(), Failure> {
        let header = &incoming.message.header;
        let stage = match &header.recip_nonce {
            None => Stage::First,
            Some(nonce) => Stage::Answer {
                transaction_id: transaction_id(header),
                sender_nonce: nonce.as_bytes(),
            },
        };
        self.authenticate(incoming, stage, Accept::Any, None).map(|_| ())
    }

    /// Where nothing is vouched for and nothing of the RA's own is said, a MAC that the RA cannot check is for the server
    /// behind to check.
    fn passes_unknown_macs(&self) -> bool {
        self.forward.forward == Forward::Unchanged
            && self.forward.delayed_check_after_s.is_none()
            && self.config.approval == Approval::Auto
    }

    fn unverified_reference(&self, incoming: &Incoming<'_>) -> Result<Vec<u8>, Refusal> {
        let reference = incoming.header().sender_kid.as_ref();
        let reference = reference.ok_or_else(not_protected)?.as_bytes().to_vec();
        tracing::info!("a MAC is passed on without a check: its secret is not known here");
        Ok(reference)
    }

    /// Whether a request may pass, and how.
    pub(super) fn check(&self, incoming: &Incoming<'_>, peer: &Peer) -> Result<Checked, Failure> {
        self.check_revoked(incoming, peer)?;
        let subject = match &*incoming.message.body {
            PkiBody::Rr(content) => {
                self.check_revocation(incoming, content, peer)?;
                None
            }
            PkiBody::Genm(_) => None,
            body => Some(self.check_request(incoming, body, peer)?),
        };
        let configured = self.forward.forward;
        // RFC 9483 §5.2.1: the original protection of a kur is needed behind; and a key is made for whoever it names.
        let keeps = incoming.body_type() == BodyType::Kur || asks_for_key(&incoming.message.body);
        let forward = match configured {
            Forward::Replaced | Forward::RaVerified if keeps => Forward::Nested,
            configured => configured,
        };
        self.check_profile_passes(incoming, forward)?;
        Ok(Checked { forward, subject })
    }

    /// The profile of a path must not get lost: it goes on in certProfile, or in the path behind.
    fn check_profile_passes(&self, incoming: &Incoming<'_>, forward: Forward) -> Result<(), Refusal> {
        let is_said = incoming.header().info(CERT_PROFILE).is_some();
        match incoming.profile {
            Some(_) if !is_said && !forward.replaces() && !self.forward.profile_paths => {
                let text = "the profile of this path cannot be passed on: name it as certProfile";
                Err(Refusal::new(PkiFailure::BadRequest, "6.1", text))
            }
            _ => Ok(()),
        }
    }

    /// What a request asks for must be of a profile here, and the requester must have the key.
    fn check_request(&self, incoming: &Incoming<'_>, body: &PkiBody, peer: &Peer) -> Result<String, Failure> {
        let profile = self.config.profile(incoming.header(), incoming.profile)?;
        let (kind, content) = match body {
            PkiBody::Ir(content) => (RequestKind::Ir, content),
            PkiBody::Cr(content) => (RequestKind::Cr, content),
            PkiBody::Kur(content) => (RequestKind::Kur, content),
            PkiBody::P10cr(content) => {
                let order = self.config.order_p10cr(incoming.now_s, profile, content)?;
                return Ok(order.subject_text().into());
            }
            _ => return Err(bad_request("this kind of message asks for no certificate").into()),
        };
        let (request, order) = self.config.order(incoming.now_s, profile, kind, content, peer)?;
        let requester = Requester {
            peer,
            is_ra: kind != RequestKind::Kur && self.is_ra(incoming, peer),
            is_vouched: self.config.nested_ra_verified && incoming.is_vouched && kind != RequestKind::Kur,
        };
        self.config
            .check_key(request, incoming.header().pvno, order.key(), &requester)?;
        Ok(order.subject_text().into())
    }

    /// Whether it is an RA in front of this one, by a certificate of the same CA or by configuration.
    pub(super) fn is_ra(&self, incoming: &Incoming<'_>, peer: &Peer) -> bool {
        is_ra(incoming.now_s, incoming.message, peer, &self.ra_anchors)
    }

    /// What the RA vouches for is what its holder asks for.
    fn check_revocation(
        &self,
        incoming: &Incoming<'_>,
        content: &RevReqContent,
        peer: &Peer,
    ) -> Result<(), Refusal> {
        let (Peer::Signer(signer), [details]) = (peer, content.as_slice()) else {
            let text = "there must be exactly one RevDetails";
            return Err(Refusal::new(PkiFailure::BadRequest, "4.2", text));
        };
        let template = &details.cert_details;
        let issuer = template.issuer.as_ref().and_then(|name| name.to_der().ok());
        let serial = template.serial_number.as_ref().map(|serial| serial.as_bytes());
        let is_own = issuer.is_some_and(|issuer| names_match(&issuer, signer.issuer()))
            && serial == Some(signer.serial_number());
        match is_own || self.is_ra(incoming, peer) {
            true => Ok(()),
            false => {
                let text = "a certificate is revoked by its holder or by an RA";
                Err(Refusal::new(PkiFailure::NotAuthorized, "5.3.2", text))
            }
        }
    }
}

fn asks_for_key(body: &PkiBody) -> bool {
    let (PkiBody::Ir(content) | PkiBody::Cr(content)) = body else {
        return false;
    };
    content.iter().any(CertReqMsg::asks_for_key)
}

pub(super) fn protection_alg(incoming: &Incoming<'_>) -> Result<ObjectIdentifier, Refusal> {
    let algorithm = incoming.header().protection_alg.as_ref();
    algorithm.map(|algorithm| algorithm.oid).ok_or_else(not_protected)
}

fn not_protected() -> Refusal {
    Refusal::new(PkiFailure::BadMessageCheck, "3.5", "the message is not protected")
}
