//! certConf, and the errors of the peer (RFC 9483 §4.1.1, §3.6.2).

use cmp_message::{
    CMP_2021, CertConfirmContent, CertStatus, ErrorMsgContent, PkiBody, PkiFailure, PkiMessage, PkiStatus,
    cert_conf_hash,
    crypto::{AwsLc, Crypto, HashAlgorithm, constant_time_eq},
};
use der::{asn1::Null, referenced::OwnedToRef};

use super::{Exchange, Failure, Ra, Refusal, RequestKind, answer::Reply, authenticate::Next};
use crate::{
    CertificateStatus, StoreError,
    store::{State, Transaction, hex},
};

const SECTION: &str = "4.1.1";

impl Ra {
    pub(super) fn cert_conf(&mut self, exchange: &mut Exchange<'_>) -> Result<Reply, Failure> {
        let Next {
            transaction,
            is_repetition,
        } = self.authenticate_next(exchange)?;
        let text = match transaction.state {
            State::AwaitingCertConf => return self.confirm(exchange, transaction),
            State::Waiting if is_repetition && transaction.serial.is_some() => {
                exchange.nonce = transaction.sender_nonce;
                return Ok(Reply::waiting());
            }
            State::Confirmed => {
                let text = "this certificate is confirmed already";
                return Err(Refusal::new(PkiFailure::CertConfirmed, SECTION, text).into());
            }
            State::Late => "this certConf comes too late: the certificate is not valid",
            _ => "no certConf is expected here",
        };
        Err(Refusal::new(PkiFailure::BadRequest, SECTION, text).into())
    }

    fn confirm(&mut self, exchange: &Exchange<'_>, transaction: Transaction) -> Result<Reply, Failure> {
        match self.check(exchange.now_s, exchange.message, &transaction) {
            Ok(task) => self.now_or_later(exchange, transaction, task),
            Err(failure) => Err(self.give_up(exchange.now_s, transaction, failure)),
        }
    }

    /// Whether the certificate of the transaction is accepted.
    pub(super) fn check_cert_conf(
        &self,
        message: &PkiMessage,
        transaction: &Transaction,
        content: &CertConfirmContent,
    ) -> Result<bool, Failure> {
        let serial = transaction.serial.as_deref().unwrap_or_default();
        let record = self.store.certificate(serial)?;
        let record = record.ok_or(StoreError::Damaged("transactions.serial"))?;
        let kind = RequestKind::from_name(&transaction.body);
        let kind = kind.ok_or(StoreError::Damaged("transactions.body"))?;
        if record.status == CertificateStatus::Revoked {
            let text = "the certificate was revoked before it was confirmed";
            return Err(Refusal::new(PkiFailure::CertRevoked, SECTION, text).into());
        }
        let is_accepted = verdict(kind, content, &record.certificate, message.header.pvno)?;
        if !is_accepted {
            let status = content.first().and_then(|one| one.status_info.as_ref());
            tracing::warn!(
                transaction = hex(&transaction.id),
                status = status.map(ToString::to_string),
                "the certificate was refused by its requester"
            );
        }
        Ok(is_accepted)
    }

    /// An error of the peer ends the transaction and is acknowledged (RFC 9810 §5.3.21).
    pub(super) fn peer_error(
        &mut self,
        exchange: &mut Exchange<'_>,
        content: &ErrorMsgContent,
    ) -> Result<Reply, Failure> {
        let transaction = self.authenticate_next(exchange)?.transaction;
        tracing::warn!(
            transaction = hex(&transaction.id),
            error = %content.pki_status_info,
            "the peer gave up"
        );
        if transaction.state.is_open() {
            self.finish(exchange.now_s, transaction, State::Refused)?;
        }
        Ok(Reply::new(PkiBody::PkiConf(Null)))
    }
}

/// Whether the certificate is accepted; an error if the certConf is not about it.
fn verdict(
    kind: RequestKind,
    content: &CertConfirmContent,
    certificate: &[u8],
    pvno: i64,
) -> Result<bool, Refusal> {
    let status = match content.as_slice() {
        // RFC 9810 §5.3.18: an empty sequence refuses all.
        [] => return Ok(false),
        [status] => status,
        _ => {
            return Err(Refusal::new(
                PkiFailure::BadRequest,
                SECTION,
                "there must be one CertStatus",
            ));
        }
    };
    if status.cert_req_id != kind.cert_req_id() {
        let text = "certReqId is not that of the request";
        return Err(Refusal::new(PkiFailure::BadRequest, SECTION, text));
    }
    let hash = AwsLc.digest(hash_algorithm(status, certificate, pvno)?, certificate);
    let hash = hash.map_err(|error| {
        Refusal::new(PkiFailure::BadAlg, SECTION, "this hashAlg is not supported").because(error)
    })?;
    if !constant_time_eq(hash.as_bytes(), status.cert_hash.as_bytes()) {
        let text = "certHash is not the hash of the certificate that was issued";
        return Err(Refusal::new(PkiFailure::BadCertId, SECTION, text));
    }
    let info = status.status_info.as_ref();
    match info.map(|info| info.status) {
        Some(PkiStatus::ACCEPTED) if info.is_some_and(|info| info.fail_info.is_some()) => {
            let text = "a certificate that is accepted has no failInfo";
            Err(Refusal::new(PkiFailure::BadRequest, SECTION, text))
        }
        None | Some(PkiStatus::ACCEPTED) => Ok(true),
        Some(PkiStatus::REJECTION) => Ok(false),
        Some(other) => {
            let text = "the status in a certConf is accepted or rejection";
            Err(Refusal::new(PkiFailure::BadRequest, SECTION, text).because(other))
        }
    }
}

/// The hash of the certificate's signature algorithm, or that of hashAlg, which needs version 3.
fn hash_algorithm(status: &CertStatus, certificate: &[u8], pvno: i64) -> Result<HashAlgorithm, Refusal> {
    let bad_alg = || Refusal::new(PkiFailure::BadAlg, SECTION, "this hashAlg is not supported");
    match &status.hash_alg {
        Some(_) if pvno < CMP_2021 => Err(Refusal::new(
            PkiFailure::BadRequest,
            SECTION,
            "hashAlg needs pvno 3",
        )),
        Some(algorithm) => {
            match HashAlgorithm::from_algorithm_identifier(&algorithm.owned_to_ref()) {
                // It is there for MACs only: two certificates of one SHA-1 hash can be made.
                Ok(HashAlgorithm::Sha1) | Err(_) => Err(bad_alg()),
                Ok(hash) => Ok(hash),
            }
        }
        None => cert_conf_hash(certificate).ok_or_else(|| {
            let text = "hashAlg must be there: the certificate's signature algorithm has no hash";
            Refusal::new(PkiFailure::BadAlg, SECTION, text)
        }),
    }
}
