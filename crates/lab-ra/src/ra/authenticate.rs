//! Who sent a message (RFC 9483 §3.5).

use cmp_message::{
    PkiFailure,
    certificate::{Certificate, names_match},
    crypto::AwsLc,
    validate::{Accept, Authenticated, Context, Stage, validate},
};
use const_oid::ObjectIdentifier;

use super::{Exchange, Failure, Ra, Refusal};
use crate::{
    CertificateStatus,
    store::{Peer, Transaction},
};

/// A message that goes on with a transaction.
pub(super) struct Next {
    pub(super) transaction: Transaction,
    /// It answers what the peer's last message answered: our answer to that one got lost.
    pub(super) is_repetition: bool,
}

impl Ra {
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
        if is_known {
            let text = "this transactionID is in use";
            return Err(Refusal::new(PkiFailure::TransactionIdInUse, "3.5", text).into());
        }
        let body = exchange.message.body.body_type().name();
        Ok(Transaction::new(
            exchange.transaction_id(),
            body,
            peer,
            protection_alg(exchange)?,
            exchange.now_s,
        ))
    }

    /// The generic checks on a message that goes on with a transaction; whoever sends it must have begun it.
    pub(super) fn authenticate_next(&self, exchange: &mut Exchange<'_>) -> Result<Next, Failure> {
        let id = exchange.transaction_id();
        let Some(transaction) = self.store.transaction(id)? else {
            self.authenticate_claimed(exchange)?;
            let text = "there is no such transaction";
            return Err(Refusal::new(PkiFailure::BadRequest, "3.6.1", text).into());
        };
        let recip_nonce = exchange
            .header()
            .recip_nonce
            .as_ref()
            .map(|nonce| nonce.as_bytes());
        let repeated = transaction.answered_nonce.as_deref();
        let repeated = repeated.filter(|nonce| recip_nonce == Some(nonce));
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
        Ok(Next {
            is_repetition: repeated.is_some(),
            transaction,
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

    fn authenticate(
        &self,
        exchange: &Exchange<'_>,
        stage: Stage<'_>,
        accept: Accept,
        known_signer: Option<&Certificate>,
    ) -> Result<Peer, Refusal> {
        let context = Context {
            crypto: &AwsLc,
            now_s: Some(exchange.now_s),
            stage,
            accept,
            anchors: &self.anchors,
            intermediates: &[],
            signer_usage: None,
            known_signer,
            secret: &|reference| self.config.secrets.get(reference?),
            unprotected_errors: false,
            max_clock_skew_s: self.config.max_clock_skew_s,
        };
        match validate(exchange.message, &context)? {
            Authenticated::Signer(signer) => Ok(Peer::Signer(signer)),
            Authenticated::Mac(Some(reference)) => Ok(Peer::Mac(reference)),
            _ => Err(not_protected()),
        }
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

    pub(super) fn is_ours(&self, certificate: &Certificate) -> bool {
        names_match(certificate.issuer(), self.pki().ca.subject())
    }
}

fn protection_alg(exchange: &Exchange<'_>) -> Result<ObjectIdentifier, Refusal> {
    let algorithm = exchange.header().protection_alg.as_ref();
    algorithm.map(|algorithm| algorithm.oid).ok_or_else(not_protected)
}

fn not_protected() -> Refusal {
    Refusal::new(PkiFailure::BadMessageCheck, "3.5", "the message is not protected")
}
