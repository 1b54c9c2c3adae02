//! certConf, and the errors of the peer (RFC 9483 §4.1.1, §3.6.2).

use cmp_message::{
    CMP_2021, CertConfirmContent, CertStatus, ErrorMsgContent, PkiBody, PkiFailure, PkiMessage, PkiStatus,
    certificate::Certificate,
    crypto::{AwsLc, Crypto, HashAlgorithm, SignatureAlgorithm, constant_time_eq},
};
use der::{asn1::Null, referenced::OwnedToRef};
use std::sync::Arc;

use super::{
    Ra, Refusal,
    answer::Reply,
    transaction::{End, Peer, State},
    transaction_id,
};
use crate::{CertificateStatus, store::hex};

const SECTION: &str = "4.1.1";

impl Ra {
    pub(super) fn cert_conf(
        &mut self,
        now_s: u64,
        message: &PkiMessage,
        content: &CertConfirmContent,
        peer: &mut Option<Arc<Peer>>,
    ) -> Result<Reply, Refusal> {
        self.authenticate_next(now_s, message, peer)?;
        let id = transaction_id(message);
        let certificate = match self.transactions.find(id).map(|transaction| &transaction.state) {
            Some(State::AwaitingCertConf { certificate, .. }) => certificate,
            Some(State::Closed(End::Confirmed)) => {
                let text = "this certificate is confirmed already";
                return Err(Refusal::new(PkiFailure::CertConfirmed, SECTION, text));
            }
            Some(State::Closed(End::Late)) => {
                let text = "this certConf comes too late: the certificate is not valid";
                return Err(Refusal::new(PkiFailure::BadRequest, SECTION, text));
            }
            _ => {
                return Err(Refusal::new(
                    PkiFailure::BadRequest,
                    SECTION,
                    "no certConf is expected here",
                ));
            }
        };
        match verdict(content, certificate, message.header.pvno) {
            Ok(true) => self.finish(now_s, id, End::Confirmed, CertificateStatus::Confirmed)?,
            Ok(false) => {
                tracing::warn!(
                    transaction = hex(id),
                    status = content
                        .first()
                        .and_then(|one| one.status_info.as_ref())
                        .map(ToString::to_string),
                    "the certificate was refused by its requester"
                );
                self.finish(now_s, id, End::Refused, CertificateStatus::Refused)?;
            }
            Err(refusal) => {
                self.finish(now_s, id, End::Refused, CertificateStatus::Refused)?;
                return Err(refusal);
            }
        }
        Ok(Reply::last(PkiBody::PkiConf(Null)))
    }

    /// An error of the peer ends the transaction and is acknowledged.
    pub(super) fn peer_error(
        &mut self,
        now_s: u64,
        message: &PkiMessage,
        content: &ErrorMsgContent,
        peer: &mut Option<Arc<Peer>>,
    ) -> Result<Reply, Refusal> {
        self.authenticate_next(now_s, message, peer)?;
        let id = transaction_id(message);
        tracing::warn!(transaction = hex(id), error = %content.pki_status_info, "the peer gave up");
        self.finish(now_s, id, End::Refused, CertificateStatus::Refused)?;
        Ok(Reply::last(PkiBody::PkiConf(Null)))
    }

    /// Closes the transaction and records what became of its certificate, if there is one.
    fn finish(&mut self, now_s: u64, id: &[u8], end: End, status: CertificateStatus) -> Result<(), Refusal> {
        match self.transactions.close(id, end, now_s) {
            Some(State::AwaitingCertConf { serial, .. }) => Ok(self.store.change(&serial, status, now_s)?),
            _ => Ok(()),
        }
    }
}

/// Whether the certificate is accepted; an error if the certConf is not about it.
fn verdict(content: &CertConfirmContent, certificate: &[u8], pvno: i64) -> Result<bool, Refusal> {
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
    if status.cert_req_id != 0 {
        return Err(Refusal::new(
            PkiFailure::BadRequest,
            SECTION,
            "certReqId must be 0",
        ));
    }
    let hash = AwsLc.digest(hash_algorithm(status, certificate, pvno)?, certificate);
    let hash = hash.map_err(|error| {
        Refusal::new(PkiFailure::BadAlg, SECTION, "this hashAlg is not supported").because(error)
    })?;
    if !constant_time_eq(hash.as_bytes(), status.cert_hash.as_bytes()) {
        let text = "certHash is not the hash of the certificate that was issued";
        return Err(Refusal::new(PkiFailure::BadCertId, SECTION, text));
    }
    match status.status_info.as_ref().map(|info| info.status) {
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
            HashAlgorithm::from_algorithm_identifier(&algorithm.owned_to_ref()).map_err(|_| bad_alg())
        }
        None => {
            let certificate = Certificate::from_der(certificate).map_err(|_| bad_alg())?;
            certificate
                .signature_algorithm()
                .map(SignatureAlgorithm::hash_algorithm)
                .map_err(|_| bad_alg())
        }
    }
}
