//! The private key that comes with a certificate (RFC 9483 §4.1.6).

use alloc::vec::Vec;

use cmp_message::{
    certificate::Certificate,
    crypto::CryptoError,
    envelope::{
        DeliveredKey, EncryptedPrivateKey, EnvelopeError, KgaTrust, RecipientOperation, RecipientSecret,
    },
};

use super::{Phase, Transaction};
use crate::{Action, Failure, JobResult, Protection, Refusal, Report, Time, issued};

/// What follows when the key is decrypted, or is found to be none.
#[derive(Clone, Copy)]
pub(super) enum Then {
    /// The certificate is confirmed or refused.
    Conclude {
        /// The RA has confirmed it already.
        implicit: bool,
    },
    /// It is confirmed, and handed out with its key.
    HandOut {
        /// It was confirmed implicitly.
        implicit: bool,
    },
}

impl Transaction {
    /// Whether there is a key that is still to be decrypted, and a certificate that makes it worth that.
    pub(super) fn has_delivery(&self) -> bool {
        self.issued.as_ref().is_some_and(|issued| {
            issued.record.private_key.is_some() && issued.private_key.is_none() && issued.refusal.is_none()
        })
    }

    /// Decrypts the key, with the help of whoever holds ours.
    pub(super) fn open_delivery(&mut self, now: Time, then: Then) -> Result<(), Failure> {
        let operation = self.encrypted().and_then(|encrypted| {
            let originators: Vec<_> = self.extra_certs().take(1).collect();
            encrypted.operation(self.own_certificate(), &originators)
        });
        let operation = match operation {
            Ok(RecipientOperation::Password) => return self.unlock(now, None, then),
            Ok(operation) => operation,
            Err(error) => return self.delivered(now, Err(error), then),
        };
        let Protection::Signature { key, .. } = self.config.protection else {
            return Err(Failure::Encoding);
        };
        let job = self.job();
        self.actions.push_back(match operation.clone() {
            RecipientOperation::Agree { public_key } => Action::Agree { job, key, public_key },
            RecipientOperation::Decrypt {
                algorithm,
                encrypted_key,
            } => Action::Decrypt {
                job,
                key,
                algorithm,
                encrypted_key,
            },
            RecipientOperation::Password => return Err(Failure::Encoding),
        });
        self.phase = Phase::Recover { job, operation, then };
        Ok(())
    }

    /// The holder of our key is done.
    pub(super) fn recovered(
        &mut self,
        now: Time,
        operation: &RecipientOperation,
        result: JobResult,
        then: Then,
    ) -> Result<(), Failure> {
        match result {
            JobResult::Recovered(secret) => self.unlock(now, operation.secret(secret.as_bytes()), then),
            _ => {
                let failed = EnvelopeError::Recipient(CryptoError::DecryptionFailed);
                self.delivered(now, Err(failed), then)
            }
        }
    }

    /// Opens the key with what was recovered, or with the secret that protects our messages.
    fn unlock(
        &mut self,
        now: Time,
        recovered: Option<RecipientSecret<'_>>,
        then: Then,
    ) -> Result<(), Failure> {
        let password = self.config.protection.secret();
        let secret = recovered.or(password.map(|(_, secret)| RecipientSecret::Password(secret)));
        let secret = secret.ok_or(Failure::Encoding)?;
        let opened = self
            .encrypted()
            .and_then(|encrypted| self.open(now, &encrypted, &secret));
        self.delivered(now, opened, then)
    }

    /// The KGA is trusted under every anchor that the RA or the certificate may be trusted under.
    fn open(
        &self,
        now: Time,
        encrypted: &EncryptedPrivateKey<'_>,
        secret: &RecipientSecret<'_>,
    ) -> Result<DeliveredKey, EnvelopeError> {
        let config = &*self.config;
        let issued = self.issued.as_ref().ok_or(EnvelopeError::Malformed)?;
        let certificate = issued.certificate.as_ref().ok_or(EnvelopeError::Malformed)?;
        let new_anchors = issued::parsed(&issued.record.new_anchors);
        let further = config.issued_anchors.iter().flatten().cloned().chain(new_anchors);
        let anchors: Vec<_> = config.anchors.iter().cloned().chain(further).collect();
        let known = config.intermediates.iter().cloned();
        let untrusted: Vec<_> = known.chain(self.extra_certs()).collect();
        let trust = KgaTrust {
            certificate,
            anchors: &anchors,
            untrusted: &untrusted,
            now_s: now.utc_s,
        };
        encrypted.open(config.crypto, secret, &trust)
    }

    fn delivered(
        &mut self,
        now: Time,
        opened: Result<DeliveredKey, EnvelopeError>,
        then: Then,
    ) -> Result<(), Failure> {
        let issued = self.issued.as_mut().ok_or(Failure::Encoding)?;
        let refusal = match opened {
            Ok(key) => {
                issued.private_key = Some(key);
                None
            }
            Err(error) => Some(Refusal::PrivateKey(error)),
        };
        match (then, refusal) {
            (Then::HandOut { implicit }, None) => self.confirmed(now, implicit),
            // It was opened before, and cannot be now: the key or secret that protects our messages is another.
            (Then::HandOut { .. }, Some(refusal)) => Err(Failure::CertificateUnusable {
                exchange: self.exchange(),
                refusal,
            }),
            (Then::Conclude { implicit }, refusal) => {
                if let Some(refusal) = refusal {
                    let status = refusal.status();
                    issued.record.refused = Some(status.clone());
                    issued.record.private_key = None;
                    issued.certificate = None;
                    issued.refusal = Some(refusal);
                    self.report(Report::Refusing { status });
                }
                self.conclude(now, implicit)
            }
        }
    }

    fn encrypted(&self) -> Result<EncryptedPrivateKey<'_>, EnvelopeError> {
        let issued = self.issued.as_ref();
        let private_key = issued.and_then(|issued| issued.record.private_key.as_ref());
        EncryptedPrivateKey::from_der(private_key.ok_or(EnvelopeError::Malformed)?.as_bytes())
    }

    /// extraCerts of the answer with the certificate, its protection certificate first.
    fn extra_certs(&self) -> impl Iterator<Item = Certificate> {
        let chain = self.issued.as_ref().map(|issued| issued.record.chain.as_slice());
        issued::parsed(chain.unwrap_or_default())
    }

    fn own_certificate(&self) -> Option<&Certificate> {
        match &self.config.protection {
            Protection::Signature { certificate, .. } => Some(certificate),
            _ => None,
        }
    }
}
