//! Who sent a message (RFC 9483 §3.5), and for whom that one speaks.

use cmp_message::{
    BodyType, PkiFailure, PkiMessage,
    certificate::{Certificate, names_match},
    crypto::AwsLc,
    path::PathRequest,
    validate::{Accept, Authenticated, Context, Stage, validate},
};
use const_oid::ObjectIdentifier;

use super::{Exchange, Failure, Ra, Refusal};
use crate::{
    CertificateStatus, PkiError,
    pki::ID_KP_CMC_RA,
    store::{Peer, State, Transaction},
};

/// A message that goes on with a transaction.
pub(super) struct Next {
    pub(super) transaction: Transaction,
    /// It answers what the peer's last message answered: our answer to that one got lost.
    pub(super) is_repetition: bool,
}

impl Ra {
    /// Takes the trust anchors from hierarchy and configuration.
    pub(super) fn collect_anchors(&mut self) -> Result<(), PkiError> {
        let pki = self.answerer.pki();
        let cas = pki.issuing_cas().map(|ca| parse(ca.certificate()));
        let cas = cas.collect::<Result<Vec<_>, _>>()?;
        let mut anchors = cas.clone();
        anchors.push(parse(pki.manufacturer_ca.certificate())?);
        anchors.extend(self.config.manufacturers.iter().cloned());
        let mut ra_anchors = cas;
        ra_anchors.extend(self.config.registration_authorities.iter().cloned());
        (self.anchors, self.ra_anchors) = (anchors, ra_anchors);
        Ok(())
    }

    /// The generic checks on a message that begins a transaction.
    pub(super) fn authenticate_first(
        &self,
        exchange: &mut Exchange<'_>,
        accept: Accept,
    ) -> Result<Transaction, Failure> {
        let id = exchange.transaction_id();
        let is_known = self.store.has_transaction(id)?;
        if is_known && exchange.header().recip_nonce.is_some() {
            self.authenticate_next(exchange)?;
            let text = "there is one request in a transaction";
            return Err(Refusal::new(PkiFailure::BadRequest, "3.6.1", text).into());
        }
        let peer = self.authenticate(exchange, Stage::First, accept, None)?;
        exchange.peer = Some(peer.clone());
        self.config.check_header(exchange.message, &peer)?;
        if is_known {
            let text = "this transactionID is in use";
            return Err(Refusal::new(PkiFailure::TransactionIdInUse, "3.5", text).into());
        }
        let mut transaction = Transaction::new(
            exchange.transaction_id(),
            exchange.message.body.body_type().name(),
            peer,
            protection_alg(exchange)?,
            exchange.now_s,
        );
        transaction.profile = exchange.endpoint.profile().map(Into::into);
        transaction.is_vouched = exchange.is_vouched;
        transaction.peer_nonce = sender_nonce(exchange).to_vec();
        Ok(transaction)
    }

    /// The generic checks on a message that goes on with a transaction; whoever sends it must have begun it.
    pub(super) fn authenticate_next(&self, exchange: &mut Exchange<'_>) -> Result<Next, Failure> {
        let id = exchange.transaction_id();
        let Some(mut transaction) = self.store.transaction(id)? else {
            self.authenticate_claimed(exchange)?;
            let text = "there is no such transaction";
            return Err(Refusal::new(PkiFailure::BadRequest, "3.6.1", text).into());
        };
        let recip_nonce = exchange.header().recip_nonce.as_ref();
        let recip_nonce = recip_nonce.map(|nonce| nonce.as_bytes());
        let may_be_repeated = match exchange.message.body.body_type() {
            BodyType::PollReq => true,
            BodyType::CertConf => transaction.state == State::Waiting,
            _ => false,
        };
        let repeated = transaction.answered_nonce.as_deref();
        let repeated = repeated.filter(|nonce| may_be_repeated && recip_nonce == Some(nonce));
        let stage = Stage::Answer {
            transaction_id: id,
            sender_nonce: repeated.unwrap_or(&transaction.sender_nonce),
        };
        let (accept, known_signer) = match &transaction.peer {
            Peer::Signer(signer) => (Accept::Signature, Some(signer)),
            Peer::Mac(_) => (Accept::Mac, None),
        };
        let peer = self.authenticate(exchange, stage, accept, known_signer)?;
        let is_same = peer.is_same(&transaction.peer);
        exchange.peer = Some(peer);
        if !is_same || protection_alg(exchange)? != transaction.protection_alg {
            let text = "the protection is not that of the message which began the transaction";
            return Err(Refusal::new(PkiFailure::BadMessageCheck, "3.5", text).into());
        }
        self.config.check_header(exchange.message, &transaction.peer)?;
        let is_repetition = repeated.is_some();
        let is_reused = sender_nonce(exchange) == transaction.peer_nonce;
        let wants_fresh = self.config.header.fresh_sender_nonce && transaction.state.is_open();
        if is_reused && wants_fresh && !is_repetition {
            let text = "senderNonce is that of the message before";
            return Err(Refusal::new(PkiFailure::BadSenderNonce, "3.1", text).into());
        }
        transaction.peer_nonce = sender_nonce(exchange).to_vec();
        Ok(Next {
            transaction,
            is_repetition,
        })
    }

    /// The generic checks on a message that will be refused anyway, so that the refusal can be protected alike.
    pub(super) fn authenticate_claimed(&self, exchange: &mut Exchange<'_>) -> Result<(), Failure> {
        let stage = match &exchange.header().recip_nonce {
            None => Stage::First,
            Some(nonce) => Stage::Answer {
                transaction_id: exchange.transaction_id(),
                sender_nonce: nonce.as_bytes(),
            },
        };
        exchange.peer = Some(self.authenticate(exchange, stage, Accept::Any, None)?);
        Ok(())
    }

    pub(super) fn authenticate(
        &self,
        exchange: &Exchange<'_>,
        stage: Stage<'_>,
        accept: Accept,
        known_signer: Option<&Certificate>,
    ) -> Result<Peer, Refusal> {
        let mut anchors = &self.anchors;
        let with_ras;
        if !self.config.registration_authorities.is_empty() && claims_to_be_ra(exchange.message) {
            with_ras = [anchors.as_slice(), &self.config.registration_authorities].concat();
            anchors = &with_ras;
        }
        let context = Context {
            crypto: &AwsLc,
            now_s: Some(exchange.now_s),
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
        match validate(exchange.message, &context)? {
            Authenticated::Signer(signer) => Ok(Peer::Signer(signer)),
            Authenticated::Mac(Some(reference)) => Ok(Peer::Mac(reference)),
            _ => Err(not_protected()),
        }
    }

    /// Whether the signer of `message` is an RA that speaks for others: with id-kp-cmcRA (RFC 9810 §4.5), from this CA or
    /// by configuration. It was authenticated before.
    pub(super) fn is_ra(&self, now_s: u64, message: &PkiMessage, peer: &Peer) -> bool {
        is_ra(now_s, message, peer, &self.ra_anchors)
    }

    /// Whether the certificate that protects a request, if it is one of ours, is still good.
    pub(super) fn check_signer_status(&self, signer: &Certificate) -> Result<(), Failure> {
        if !self.is_ours(signer) {
            return Ok(());
        }
        match self.store.status(signer.serial_number())? {
            Some(CertificateStatus::Confirmed) => Ok(()),
            Some(CertificateStatus::Revoked) => {
                let text = "the signer's certificate is revoked";
                Err(Refusal::new(PkiFailure::CertRevoked, "3.5", text).into())
            }
            status => {
                let text = "the signer's certificate was never confirmed";
                let cause = status.map_or("not issued here", CertificateStatus::name);
                Err(Refusal::new(PkiFailure::NotAuthorized, "3.5", text)
                    .because(cause)
                    .into())
            }
        }
    }

    /// Whether the certificate says that one of this lab's CAs has issued it. All labs have the same names: the key
    /// identifier tells them apart.
    pub(super) fn is_ours(&self, certificate: &Certificate) -> bool {
        self.pki().issuing_cas().any(|ca| {
            names_match(certificate.issuer(), ca.subject())
                && certificate.authority_key_identifier() == Some(ca.key_identifier())
        })
    }
}

pub(super) fn parse(der: &[u8]) -> Result<Certificate, PkiError> {
    Certificate::from_der(der).map_err(|_| PkiError::Damaged("a certificate of the hierarchy".into()))
}

fn sender_nonce<'a>(exchange: &'a Exchange<'_>) -> &'a [u8] {
    let nonce = exchange.header().sender_nonce.as_ref();
    nonce.map(|nonce| nonce.as_bytes()).unwrap_or_default()
}

/// Whether a path leads from the signer of `message`, which was authenticated before, to somebody who makes RAs.
pub(super) fn is_ra(now_s: u64, message: &PkiMessage, peer: &Peer, anchors: &[Certificate]) -> bool {
    let Peer::Signer(signer) = peer else {
        return false;
    };
    if !has_ra_usage(signer) {
        return false;
    }
    let others = message.extra_certs.iter().flatten().skip(1);
    let others = others.filter_map(|der| Certificate::from_der(der.as_bytes()).ok());
    let others: Vec<_> = others.collect();
    let mut request = PathRequest::new(signer, anchors, Some(now_s).into());
    request.untrusted = &others;
    request.ext_key_usage = Some(ID_KP_CMC_RA);
    request.validate(&AwsLc).is_ok()
}

fn has_ra_usage(certificate: &Certificate) -> bool {
    let usages = certificate.ext_key_usage();
    usages.is_some_and(|usages| usages.contains(&ID_KP_CMC_RA))
}

pub(super) fn claims_to_be_ra(message: &PkiMessage) -> bool {
    let signer = message.extra_certs.iter().flatten().next();
    let signer = signer.and_then(|der| Certificate::from_der(der.as_bytes()).ok());
    signer.is_some_and(|signer| has_ra_usage(&signer))
}

fn protection_alg(exchange: &Exchange<'_>) -> Result<ObjectIdentifier, Refusal> {
    let algorithm = exchange.header().protection_alg.as_ref();
    algorithm.map(|algorithm| algorithm.oid).ok_or_else(not_protected)
}

fn not_protected() -> Refusal {
    Refusal::new(PkiFailure::BadMessageCheck, "3.5", "the message is not protected")
}
