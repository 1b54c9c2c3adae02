//! What an answer does to a transaction.

use alloc::{string::String, vec::Vec};

use cmp_message::{
    BodyType, CertOrEncCert, CertRepMessage, ErrorMsgContent, PkiBody, PkiFailure, PkiMessage, PkiStatus,
    PollRep, Raw,
    mac::Secret,
    path::MAX_UNTRUSTED_CERTIFICATES,
    validate::{Accept, Authenticated, Context, Stage, validate},
};

use super::{Issued, MAX_ATTEMPTS, Phase, SUSPENDED_S, Then, Transaction};
use crate::{
    Failure, Report, ResponseError, Time,
    issued::{self, Issued as Candidate},
    record::IssuedRecord,
};

impl Transaction {
    /// Checks the answer and goes on from it.
    pub(super) fn answer(&mut self, now: Time, bytes: &[u8]) -> Result<(), Failure> {
        if bytes.len() > self.config.max_message_bytes {
            return Err(self.response_error(ResponseError::TooLarge(bytes.len())));
        }
        let message =
            PkiMessage::from_bytes(bytes).map_err(|_| self.response_error(ResponseError::Malformed))?;
        self.react(now, &message)
            .map_err(|failure| failure.with_sender(&message.header))
    }

    fn react(&mut self, now: Time, message: &PkiMessage) -> Result<(), Failure> {
        let authenticated = self.authenticate(now, message)?;
        if let (Authenticated::Unprotected, PkiBody::Error(error)) = (&authenticated, &*message.body) {
            return self.unprotected_error(now, error);
        }
        if let Authenticated::Signer(signer) = authenticated {
            if let (Some(_), PkiBody::Error(error)) = (self.config.protection.secret(), &*message.body) {
                // Whoever does not know the secret may refuse. It neither confirms nor delays.
                return self.refused(now, error);
            }
            self.known_signer = Some(signer);
        }
        self.peer_nonce = message
            .header
            .sender_nonce
            .as_ref()
            .map(|n| n.as_bytes().to_vec())
            .unwrap_or_default();
        match (&*message.body, self.awaited) {
            (PkiBody::Ip(content), BodyType::Ir) | (PkiBody::Kup(content), BodyType::Kur) => {
                self.certificate_response(now, message, content)
            }
            (PkiBody::PkiConf(_), BodyType::CertConf) => {
                self.confirmed(false);
                Ok(())
            }
            (PkiBody::PollRep(content), _) if self.sent == BodyType::PollReq => self.poll_rep(now, content),
            (PkiBody::Error(error), _) => self.error(now, error),
            (body, _) => Err(self.response_error(ResponseError::UnexpectedBody(body.body_type()))),
        }
    }

    fn authenticate(&self, now: Time, message: &PkiMessage) -> Result<Authenticated, Failure> {
        let config = &*self.config;
        let secret = config.protection.secret();
        let lookup = |reference: Option<&[u8]>| -> Option<&Secret> {
            let (ours, secret) = secret?;
            reference
                .is_none_or(|reference| reference == ours)
                .then_some(secret)
        };
        let context = Context {
            crypto: config.crypto,
            now_s: now.utc_s,
            stage: Stage::Answer {
                transaction_id: &self.transaction_id,
                sender_nonce: &self.sender_nonce,
            },
            accept: match (secret, message.body.body_type()) {
                // An RA that does not know our secret can only sign that it refuses. That is as good a proof.
                (Some(_), BodyType::Error) => Accept::Any,
                (Some(_), _) => Accept::Mac,
                (None, _) => Accept::Signature,
            },
            anchors: &config.anchors,
            intermediates: &config.intermediates,
            signer_usage: config.signer_usage,
            known_signer: self.known_signer.as_ref(),
            secret: &lookup,
            unprotected_errors: true,
            max_clock_skew_s: config.max_clock_skew_s,
        };
        validate(message, &context).map_err(|error| self.response_error(ResponseError::Validation(error)))
    }

    fn certificate_response(
        &mut self,
        now: Time,
        message: &PkiMessage,
        content: &CertRepMessage,
    ) -> Result<(), Failure> {
        let [response] = content.response.as_slice() else {
            return Err(self.response_error(ResponseError::ResponseCount(content.response.len())));
        };
        if response.cert_req_id != 0 {
            return Err(self.response_error(ResponseError::CertReqId(response.cert_req_id)));
        }
        let modified = match response.status.status {
            PkiStatus::ACCEPTED => false,
            PkiStatus::GRANTED_WITH_MODS => true,
            PkiStatus::WAITING if self.sent == self.request_type => {
                // The first pollReq goes out at once: how long to wait is said in its answer (RFC 9483 §4.4).
                self.poll_id = 0;
                self.phase = Phase::Poll(now.monotonic);
                self.handle_timeout(now);
                return Ok(());
            }
            PkiStatus::REJECTION => {
                return Err(Failure::Rejected {
                    exchange: self.exchange(),
                    answer: message.body.body_type(),
                    status: response.status.clone(),
                });
            }
            _ => return Err(self.response_error(ResponseError::UnexpectedStatus(response.status.clone()))),
        };
        let certificate = match response
            .certified_key_pair
            .as_ref()
            .map(|pair| &pair.cert_or_enc_cert)
        {
            Some(CertOrEncCert::Certificate(certificate)) => certificate,
            Some(CertOrEncCert::EncryptedCert(_)) => {
                return Err(self.response_error(ResponseError::EncryptedCertificate));
            }
            None => return Err(self.response_error(ResponseError::MissingCertificate)),
        };
        self.take_certificate(now, message, content, certificate, modified)?;
        // Granted without having been asked for is not granted.
        let implicit = self.implicit && message.header.implicit_confirm();
        match (
            implicit,
            self.issued.as_ref().and_then(|issued| issued.refusal.clone()),
        ) {
            (true, Some(refusal)) => Err(Failure::CertificateUnusable { refusal }),
            (true, None) => {
                self.confirmed(true);
                Ok(())
            }
            (false, _) => self.confirm(now),
        }
    }

    /// Holds the certificate against the request, and keeps the verdict for certConf.
    fn take_certificate(
        &mut self,
        now: Time,
        message: &PkiMessage,
        content: &CertRepMessage,
        certificate: &Raw,
        modified: bool,
    ) -> Result<(), Failure> {
        let ca_pubs = content.ca_pubs.clone().unwrap_or_default();
        let by_mac = self.config.protection.secret().is_some();
        if !by_mac && !ca_pubs.is_empty() {
            self.report(Report::CaPubsIgnored { count: ca_pubs.len() });
        }
        let new_anchors: Vec<Raw> = ca_pubs
            .into_iter()
            .filter(|_| by_mac)
            .take(MAX_UNTRUSTED_CERTIFICATES)
            .collect();
        let mut chain = message.extra_certs.clone().unwrap_or_default();
        chain.truncate(MAX_UNTRUSTED_CERTIFICATES);
        let candidate = Candidate {
            der: certificate.as_bytes(),
            modified,
            others: &chain,
            new_anchors: &new_anchors,
        };
        let request = self.request.as_ref().ok_or(Failure::Encoding)?;
        let mut reports = Vec::new();
        let verdict = issued::check(
            &self.config,
            &request.cert_req,
            &candidate,
            now.utc_s,
            &mut reports,
        );
        let refusal = verdict.as_ref().err().cloned();
        let refused = refusal.as_ref().map(issued::Refusal::status);
        reports.extend(refused.clone().map(|status| Report::Refusing { status }));
        self.issued = Some(Issued {
            record: IssuedRecord {
                certificate: certificate.clone(),
                chain,
                new_anchors,
                refused,
            },
            certificate: verdict.ok(),
            refusal,
        });
        reports.into_iter().for_each(|report| self.report(report));
        Ok(())
    }

    fn poll_rep(&mut self, now: Time, content: &[PollRep]) -> Result<(), Failure> {
        let [rep] = content else {
            return Err(self.response_error(ResponseError::ResponseCount(content.len())));
        };
        if rep.cert_req_id != self.poll_id {
            return Err(self.response_error(ResponseError::CertReqId(rep.cert_req_id)));
        }
        let check_after_s = u64::try_from(rep.check_after)
            .ok()
            .filter(|s| *s > 0)
            .ok_or_else(|| self.response_error(ResponseError::CheckAfter(rep.check_after)))?;
        let reason: Vec<String> = rep.reason.clone().unwrap_or_default();
        self.report(if check_after_s > SUSPENDED_S {
            Report::Suspended { check_after_s }
        } else {
            Report::Waiting {
                check_after_s,
                reason,
            }
        });
        // The peer's nonce and the delay must outlive a restart: the next pollReq names the one after the other.
        self.store(now, Then::Poll(check_after_s))
    }

    fn error(&mut self, now: Time, error: &ErrorMsgContent) -> Result<(), Failure> {
        let status = &error.pki_status_info;
        if status.status == PkiStatus::WAITING && self.sent != BodyType::PollReq {
            // The delay of any body but a certificate request is told by an error (RFC 9483 §4.4).
            self.poll_id = -1;
            self.phase = Phase::Poll(now.monotonic);
            self.handle_timeout(now);
            return Ok(());
        }
        if self.awaited == BodyType::CertConf && status.contains(PkiFailure::CertConfirmed) {
            self.confirmed(false);
            return Ok(());
        }
        self.refused(now, error)
    }

    /// An error that nobody has signed: it may end the transaction where that is wanted, and can do nothing else.
    fn unprotected_error(&mut self, now: Time, error: &ErrorMsgContent) -> Result<(), Failure> {
        if self.config.accept_unprotected_errors {
            return self.refused(now, error);
        }
        Err(Failure::UnprotectedError {
            exchange: self.exchange(),
            status: error.pki_status_info.clone(),
        })
    }

    fn refused(&mut self, now: Time, error: &ErrorMsgContent) -> Result<(), Failure> {
        let mut status = error.pki_status_info.clone();
        let in_use = self.sent == self.request_type && status.contains(PkiFailure::TransactionIdInUse);
        if in_use && self.attempt < MAX_ATTEMPTS {
            return self.begin_again(now);
        }
        if let Some(details) = &error.error_details {
            status
                .status_string
                .get_or_insert_default()
                .extend(details.iter().cloned());
        }
        Err(Failure::Rejected {
            exchange: self.exchange(),
            answer: BodyType::Error,
            status,
        })
    }
}
