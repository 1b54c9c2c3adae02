//! Certificate responses and their confirmation (RFC 9483 §4.1).

use alloc::vec::Vec;

use cmp_message::{
    BodyType, CMP_2021, CertOrEncCert, CertRepMessage, CertResponse, PkiBody, PkiMessage, PkiStatus, Raw,
    path::{MAX_UNTRUSTED_CERTIFICATES, PathRequest},
};

use super::{Issued, Transaction};
use crate::{
    Enrolled, Failure, Outcome, Refusal, Report, ResponseError, Time,
    issued::{self, Issued as Candidate, cert_status},
    record::IssuedRecord,
    request::Asked,
};

impl Transaction {
    pub(super) fn certificate_response(
        &mut self,
        now: Time,
        message: &PkiMessage,
        content: &CertRepMessage,
    ) -> Result<(), Failure> {
        let [response] = content.response.as_slice() else {
            return Err(self.response_error(ResponseError::ResponseCount(content.response.len())));
        };
        let cert_req_id = self.request.as_ref().map_or(0, |asked| asked.cert_req_id());
        if response.cert_req_id != cert_req_id {
            return Err(self.response_error(ResponseError::CertReqId(response.cert_req_id)));
        }
        let status = &response.status;
        let modified = match status.status {
            PkiStatus::ACCEPTED => false,
            PkiStatus::GRANTED_WITH_MODS => true,
            PkiStatus::WAITING => return self.waiting(now, cert_req_id, status),
            PkiStatus::REJECTION => return self.refused(now, message.body.body_type(), status.clone()),
            _ => return Err(self.response_error(ResponseError::UnexpectedStatus(status.clone()))),
        };
        let granted = self.granted(message, response);
        let (certificate, private_key) = granted.map_err(|error| self.response_error(error))?;
        self.take_certificate(now, message, content, certificate, private_key, modified)?;
        // Granted without having been asked for is not granted.
        let implicit = self.implicit && message.header.implicit_confirm();
        #[cfg(feature = "envelope")]
        if self.has_delivery() {
            return self.open_delivery(now, super::delivery::Then::Conclude { implicit });
        }
        self.conclude(now, implicit)
    }

    /// The verdict on the certificate is there: it is confirmed or refused.
    pub(super) fn conclude(&mut self, now: Time, implicit: bool) -> Result<(), Failure> {
        let refusal = self.issued.as_ref().and_then(|issued| issued.refusal.clone());
        match (implicit, refusal) {
            (true, Some(refusal)) => Err(Failure::CertificateUnusable {
                exchange: self.exchange(),
                refusal,
            }),
            (true, None) => self.confirmed(now, true),
            (false, _) => self.confirm(now),
        }
    }

    /// The certificate of a response that grants one, and the private key that came with it.
    fn granted<'r>(
        &self,
        message: &PkiMessage,
        response: &'r CertResponse,
    ) -> Result<(&'r Raw, Option<&'r Raw>), ResponseError> {
        let pair = response.certified_key_pair.as_ref();
        let pair = pair.ok_or(ResponseError::MissingCertificate)?;
        let CertOrEncCert::Certificate(certificate) = &pair.cert_or_enc_cert else {
            return Err(ResponseError::EncryptedCertificate);
        };
        if pair.private_key.is_some() && !self.request.as_ref().is_some_and(Asked::is_central) {
            return Err(ResponseError::UnexpectedPrivateKey);
        }
        if pair.private_key.is_some() && message.header.pvno != CMP_2021 {
            return Err(ResponseError::PrivateKeyVersion(message.header.pvno));
        }
        Ok((certificate, pair.private_key.as_ref()))
    }

    /// Holds the certificate against the request, and keeps the verdict for certConf.
    fn take_certificate(
        &mut self,
        now: Time,
        message: &PkiMessage,
        content: &CertRepMessage,
        certificate: &Raw,
        private_key: Option<&Raw>,
        modified: bool,
    ) -> Result<(), Failure> {
        let mut new_anchors = content.ca_pubs.clone().unwrap_or_default();
        if !new_anchors.is_empty() && !self.may_hand_out_anchors(now, message) {
            self.report(Report::CaPubsIgnored {
                count: new_anchors.len(),
            });
            new_anchors.clear();
        }
        new_anchors.truncate(MAX_UNTRUSTED_CERTIFICATES);
        let mut chain = message.extra_certs.clone().unwrap_or_default();
        chain.truncate(MAX_UNTRUSTED_CERTIFICATES);
        let candidate = Candidate {
            der: certificate.as_bytes(),
            modified,
            others: &chain,
            new_anchors: &new_anchors,
        };
        let asked = self.request.as_ref().ok_or(Failure::Encoding)?;
        let wanted = asked.wanted().ok_or(Failure::Encoding)?;
        let mut reports = Vec::new();
        let verdict = if asked.is_central() && private_key.is_none() {
            Err(Refusal::MissingPrivateKey)
        } else {
            issued::check(&self.config, &wanted, &candidate, now.utc_s, &mut reports)
        };
        let refusal = verdict.as_ref().err().cloned();
        let refused = refusal.as_ref().map(Refusal::status);
        reports.extend(refused.clone().map(|status| Report::Refusing { status }));
        self.issued = Some(Issued {
            record: IssuedRecord {
                certificate: certificate.clone(),
                chain,
                new_anchors,
                refused,
                private_key: private_key.cloned(),
            },
            certificate: verdict.ok(),
            refusal,
            #[cfg(feature = "envelope")]
            private_key: None,
        });
        reports.into_iter().for_each(|report| self.report(report));
        Ok(())
    }

    /// Whether caPubs of this answer may become trust anchors: under the shared secret (RFC 9483 §4.1.5), or from a signer
    /// that is authorised for it. A kup has none to give.
    fn may_hand_out_anchors(&self, now: Time, message: &PkiMessage) -> bool {
        if message.body.body_type() == BodyType::Kup {
            return false;
        }
        if self.config.protection.secret().is_some() {
            return true;
        }
        let Some(signer) = &self.known_signer else {
            return false;
        };
        let received = message.extra_certs.as_deref().unwrap_or_default();
        let untrusted: Vec<_> = self
            .config
            .intermediates
            .iter()
            .cloned()
            .chain(issued::parsed(received))
            .take(MAX_UNTRUSTED_CERTIFICATES)
            .collect();
        let mut path = PathRequest::new(signer, &self.config.anchor_signers, now.utc_s.into());
        path.untrusted = &untrusted;
        path.validate(self.config.crypto).is_ok()
    }

    /// Confirms or refuses the certificate.
    fn confirm(&mut self, now: Time) -> Result<(), Failure> {
        let issued = self.issued.as_ref().ok_or(Failure::Encoding)?;
        let record = &issued.record;
        let cert_req_id = self.request.as_ref().map_or(0, |asked| asked.cert_req_id());
        let status = cert_status(
            &self.config,
            record.certificate.as_bytes(),
            cert_req_id,
            record.refused.clone(),
        )
        .map_err(Failure::Key)?;
        self.awaited = BodyType::CertConf;
        self.compose(now, PkiBody::CertConf(alloc::vec![status]))
    }

    /// The RA knows: the certificate is in use, or refused.
    #[cfg_attr(
        not(feature = "envelope"),
        expect(unused_variables, reason = "no time passes here")
    )]
    pub(super) fn confirmed(&mut self, now: Time, implicit: bool) -> Result<(), Failure> {
        #[cfg(feature = "envelope")]
        if self.has_delivery() {
            // It was decrypted in an earlier life.
            return self.open_delivery(now, super::delivery::Then::HandOut { implicit });
        }
        let Issued {
            record,
            certificate,
            refusal,
            #[cfg(feature = "envelope")]
            private_key,
        } = self.issued.take().ok_or(Failure::Encoding)?;
        if let Some(refusal) = refusal {
            return Err(Failure::CertificateRefused {
                exchange: self.exchange(),
                refusal,
                told: true,
            });
        }
        let key = self.request.as_ref().and_then(|asked| asked.key);
        let enrolled = Enrolled {
            certificate: certificate.ok_or(Failure::Encoding)?,
            key: key.ok_or(Failure::Encoding)?,
            #[cfg(feature = "envelope")]
            private_key,
            chain: record.chain,
            new_anchors: record.new_anchors,
            transaction_id: self.transaction_id.to_vec(),
            implicit,
        };
        self.succeed(Outcome::Enrolled(enrolled));
        Ok(())
    }
}
