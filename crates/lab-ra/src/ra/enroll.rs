//! ir, cr and kur (RFC 9483 §4.1.1 to §4.1.3 and §4.1.5).

use cmp_message::{
    CertOrEncCert, CertRepMessage, CertReqMessages, CertReqMsg, CertResponse, CertifiedKeyPair,
    InfoTypeAndValue, PkiFailure, PkiMessage, PkiStatus, PkiStatusInfo, ProofOfPossession, Raw,
    certificate::{Certificate, names_match},
    crypto::{AwsLc, Crypto, SignatureAlgorithm},
    general,
    validate::{Accept, Stage},
};
use der::{Encode, referenced::OwnedToRef};
use std::sync::Arc;
use x509_cert::ext::pkix::name::GeneralName;

use super::{
    Ra, Refusal, RequestKind,
    answer::{Reply, generalized_time},
    config::ImplicitConfirm,
    transaction::{End, Full, Peer, State},
    transaction_id,
};
use crate::{
    CertificateStatus, IssuedCertificate,
    certificate_policy::{Issued, Order},
    store::hex,
};

/// A client that was told to wait may be this late with its next pollReq.
const POLL_GRACE_S: u64 = 3_600;

impl Ra {
    pub(super) fn request(
        &mut self,
        now_s: u64,
        message: &PkiMessage,
        kind: RequestKind,
        content: &CertReqMessages,
        peer: &mut Option<Arc<Peer>>,
    ) -> Result<Reply, Refusal> {
        let sender = self.authenticate_first(now_s, message, kind, peer)?;
        let [request] = content.as_slice() else {
            let text = "there must be exactly one CertReqMsg";
            return Err(Refusal::new(PkiFailure::BadRequest, kind.section(), text));
        };
        if request.cert_req.cert_req_id != 0 {
            let text = "certReqId must be 0";
            return Err(Refusal::new(PkiFailure::BadRequest, kind.section(), text));
        }
        let order = self.check_request(now_s, kind, request, &sender);
        let order = order.map_err(|refusal| refusal.in_response_to(kind))?;
        self.transactions.reserve().map_err(|Full| {
            Refusal::new(
                PkiFailure::SystemUnavail,
                "3.6.4",
                "too many transactions are open; try again later",
            )
        })?;
        let implicit_confirm = message.header.implicit_confirm();
        let id = transaction_id(message);
        match self.config.poll_after {
            None => self.deliver(now_s, id, sender, kind, &order, implicit_confirm),
            Some(delay) => {
                let wait_s = u64::from(delay.check_after_s).saturating_mul(u64::from(delay.polls) + 2);
                let state = State::Waiting {
                    order: Arc::new(order),
                    kind,
                    implicit_confirm,
                    polls_left: delay.polls,
                };
                let deadline_s = now_s.saturating_add(wait_s).saturating_add(POLL_GRACE_S);
                self.transactions.set(id, sender, state, deadline_s);
                Ok(reply(
                    kind,
                    response(PkiStatus::WAITING.into(), None),
                    None,
                    Vec::new(),
                ))
            }
        }
    }

    /// Issues, records and hands out a certificate.
    pub(super) fn deliver(
        &mut self,
        now_s: u64,
        id: &[u8],
        peer: Arc<Peer>,
        kind: RequestKind,
        order: &Order,
        implicit_confirm: bool,
    ) -> Result<Reply, Refusal> {
        let issued = order.certify(&self.pki().ca, now_s, self.config.certificate_lifetime_s)?;
        let record = IssuedCertificate {
            serial: &issued.serial,
            certificate: &issued.certificate,
            subject: order.subject_text(),
            transaction_id: id,
        };
        self.store.record(record, now_s)?;
        let serial = hex(&issued.serial);
        tracing::info!(
            serial,
            subject = order.subject_text(),
            transaction = hex(id),
            "certificate issued"
        );
        let ca_pubs = match *peer {
            Peer::Mac(_) => Some(vec![self.answerer.root_certificate().clone()]),
            Peer::Signer(_) => None,
        };
        let Issued {
            serial,
            certificate,
            modified,
        } = issued;
        let pair = CertifiedKeyPair {
            cert_or_enc_cert: CertOrEncCert::Certificate(Raw::new(certificate.as_slice())?),
            private_key: None,
            publication_info: None,
        };
        let wait_until_s = now_s.saturating_add(self.config.confirm_wait_s);
        let state = State::AwaitingCertConf {
            serial: serial.to_vec(),
            certificate,
        };
        self.transactions.set(id, peer, state, wait_until_s);
        let grant = implicit_confirm && self.config.implicit_confirm == ImplicitConfirm::Grant;
        let info = if grant {
            self.store.change(&serial, CertificateStatus::Confirmed, now_s)?;
            self.transactions.close(id, End::ImplicitlyConfirmed, now_s);
            InfoTypeAndValue::implicit_confirm()?
        } else {
            InfoTypeAndValue {
                info_type: general::CONFIRM_WAIT_TIME,
                info_value: Some(generalized_time(wait_until_s)?),
            }
        };
        let status = match modified {
            true => PkiStatus::GRANTED_WITH_MODS,
            false => PkiStatus::ACCEPTED,
        };
        Ok(reply(
            kind,
            response(status.into(), Some(pair)),
            ca_pubs,
            vec![info],
        ))
    }

    /// The generic checks on a message that begins a transaction, and on who may begin one.
    fn authenticate_first(
        &self,
        now_s: u64,
        message: &PkiMessage,
        kind: RequestKind,
        peer: &mut Option<Arc<Peer>>,
    ) -> Result<Arc<Peer>, Refusal> {
        let id = transaction_id(message);
        let is_open_or_recent = self.transactions.find(id).is_some();
        if is_open_or_recent && message.header.recip_nonce.is_some() {
            self.authenticate_next(now_s, message, peer)?;
            let text = "there is one request in a transaction";
            return Err(Refusal::new(PkiFailure::BadRequest, "3.6.1", text));
        }
        let accept = match kind {
            RequestKind::Kur => Accept::Signature,
            RequestKind::Ir | RequestKind::Cr => Accept::Any,
        };
        let sender = self.authenticate(now_s, message, Stage::First, accept, None)?;
        *peer = Some(sender.clone());
        if is_open_or_recent || self.store.has_transaction(id) {
            let text = "this transactionID is in use";
            return Err(Refusal::new(PkiFailure::TransactionIdInUse, "3.5", text));
        }
        Ok(sender)
    }

    fn check_request(
        &self,
        now_s: u64,
        kind: RequestKind,
        request: &CertReqMsg,
        sender: &Peer,
    ) -> Result<Order, Refusal> {
        if let Peer::Signer(signer) = sender {
            self.check_signer_status(signer)?;
        }
        if kind == RequestKind::Kur {
            self.check_old_certificate(request, sender)?;
        }
        let order = Order::new(request, now_s)?;
        check_proof_of_possession(request, order.public_key())?;
        Ok(order)
    }

    /// Whether the certificate that protects a request, if it is one of ours, is still good.
    fn check_signer_status(&self, signer: &Certificate) -> Result<(), Refusal> {
        if !self.is_ours(signer) {
            return Ok(());
        }
        match self.store.status(signer.serial_number()) {
            Some(CertificateStatus::Confirmed) => Ok(()),
            Some(CertificateStatus::Revoked) => Err(Refusal::new(
                PkiFailure::CertRevoked,
                "3.5",
                "the signer's certificate is revoked",
            )),
            status => {
                let text = "the signer's certificate was never confirmed";
                let cause = status.map_or("not issued here", CertificateStatus::name);
                Err(Refusal::new(PkiFailure::NotAuthorized, "3.5", text).because(cause))
            }
        }
    }

    /// What is updated is the certificate that protects the request (RFC 9483 §4.1.3).
    fn check_old_certificate(&self, request: &CertReqMsg, sender: &Peer) -> Result<(), Refusal> {
        let Some(signer) = (match sender {
            Peer::Signer(signer) => Some(signer).filter(|signer| self.is_ours(signer)),
            Peer::Mac(_) => None,
        }) else {
            let text = "a kur is protected with the certificate that it updates, one of this CA";
            return Err(Refusal::new(PkiFailure::NotAuthorized, "4.1.3", text));
        };
        let bad_cert_id = |text| Refusal::new(PkiFailure::BadCertId, "4.1.3", text);
        let old = match request.cert_req.old_cert_id() {
            None => return Ok(()),
            Some(old) => old.map_err(|error| bad_cert_id("oldCertId is malformed").because(error))?,
        };
        let GeneralName::DirectoryName(issuer) = &old.issuer else {
            return Err(bad_cert_id("the issuer in oldCertId is not a directory name"));
        };
        let same_serial = old.serial_number.as_bytes() == signer.serial_number();
        match same_serial && names_match(&issuer.to_der()?, signer.issuer()) {
            true => Ok(()),
            false => Err(bad_cert_id(
                "oldCertId is not the certificate that protects the request",
            )),
        }
    }

    fn is_ours(&self, certificate: &Certificate) -> bool {
        names_match(certificate.issuer(), self.pki().ca.subject())
    }
}

/// The proof is a signature with the new key over the CertRequest as it was received (RFC 4211 §4.1).
fn check_proof_of_possession(request: &CertReqMsg, public_key: &[u8]) -> Result<(), Refusal> {
    let bad_pop = |text| Refusal::new(PkiFailure::BadPop, "4.1.1", text);
    let proof = match &request.popo {
        Some(ProofOfPossession::Signature(proof)) => proof,
        Some(ProofOfPossession::RaVerified(_)) => {
            return Err(bad_pop("raVerified is not for end entities"));
        }
        Some(_) => return Err(bad_pop("the proof of possession must be a signature")),
        None => return Err(bad_pop("there is no proof of possession")),
    };
    if proof.poposk_input.is_some() {
        return Err(bad_pop(
            "poposkInput is there although the template has subject and publicKey",
        ));
    }
    let algorithm = SignatureAlgorithm::from_algorithm_identifier(&proof.algorithm_identifier.owned_to_ref());
    let algorithm = algorithm.map_err(|error| {
        let text = "the algorithm of the proof of possession is not supported";
        Refusal::new(PkiFailure::BadAlg, "4.1.1", text).because(error)
    })?;
    let signature = proof.signature.as_bytes().unwrap_or_default();
    let verified = AwsLc.verify(algorithm, public_key, request.popo_input(), signature);
    verified.map_err(|error| bad_pop("the proof of possession does not verify").because(error))
}

fn response(status: PkiStatusInfo, pair: Option<CertifiedKeyPair>) -> CertResponse {
    CertResponse {
        cert_req_id: 0,
        status,
        certified_key_pair: pair,
        rsp_info: None,
    }
}

fn reply(
    kind: RequestKind,
    response: CertResponse,
    ca_pubs: Option<Vec<Raw>>,
    general_info: Vec<InfoTypeAndValue>,
) -> Reply {
    Reply {
        body: kind.response(CertRepMessage {
            ca_pubs,
            response: vec![response],
        }),
        general_info,
        goes_on: true,
    }
}
