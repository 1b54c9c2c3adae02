//! What is kept of a transaction, and how it is taken up again.

use alloc::sync::Arc;
use core::time::Duration;

use cmp_message::{PkiMessage, Raw, certificate::Certificate, path::PathRequest};
use der::asn1::OctetString;

use super::{Issued, Phase, Then, Transaction};
use crate::{
    Action, Config, Failure, KeyId, Refusal, StateError, Time, outgoing,
    record::{self, Record},
    request::Asked,
};

impl Transaction {
    /// Takes up the transaction whose state was kept last: sends the message that was under way once more, byte for byte,
    /// or waits the whole of the last checkAfter. `config` is the one that it was begun with; `seed` is new.
    ///
    /// # Errors
    /// [`StateError`] for a state that this version cannot read, or that was begun under another protection.
    pub fn resume(
        config: impl Into<Arc<Config>>,
        state: &[u8],
        seed: [u8; 32],
        now: Time,
    ) -> Result<Self, StateError> {
        let stored = Record::decode(state)?;
        let id = |octets: &OctetString| octets.as_bytes().try_into().map_err(|_| StateError::Malformed);
        let mut transaction = Self::empty(config.into(), stored.request.body_type(), seed, now);
        transaction.resumed = true;
        transaction.sent = record::kind(stored.sent)?;
        transaction.awaited = record::kind(stored.awaited)?;
        transaction.attempt = stored.attempt;
        transaction.poll_id = stored.poll_id;
        transaction.transaction_id = id(&stored.transaction_id)?;
        transaction.sender_nonce = id(&stored.sender_nonce)?;
        transaction.awaited_nonce = id(&stored.awaited_nonce)?;
        transaction.message = stored.message.into_bytes().into_vec();
        transaction.implicit = stored.implicit;
        transaction.spent_before = Duration::from_secs(stored.spent_s);
        transaction.peer_nonce = stored.peer_nonce.into_bytes().into_vec();
        transaction.peer_algorithm = stored.peer_algorithm;
        let signer = stored.signer.as_ref().map(certificate).transpose()?;
        transaction.known_signer = signer.filter(|signer| transaction.still_trusts(signer, now));
        transaction.request = Some(Asked {
            body: stored.request,
            key: stored.key.map(KeyId),
            cert_profile: stored.cert_profile,
            crl_issuer: stored.crl_issuer.as_ref().map(certificate).transpose()?,
        });
        transaction.issued = stored.issued.map(|record| Issued {
            certificate: Certificate::from_der(record.certificate.as_bytes()).ok(),
            refusal: record.refused.clone().map(Refusal::Earlier),
            #[cfg(feature = "envelope")]
            private_key: None,
            record,
        });
        let header = PkiMessage::peek_header(&transaction.message).map_err(|_| StateError::Malformed)?;
        if !outgoing::is_ours(&transaction.config, &header) {
            return Err(StateError::OtherProtection);
        }
        match stored.check_after_s {
            Some(s) => transaction.poll_after(now, s),
            None => transaction.send(),
        }
        Ok(transaction)
    }

    /// Whether the signer of an answer before the restart leads to an anchor of today's, by what the configuration has. One
    /// that does not is forgotten: the next answer must bring its certificates, and their path is walked.
    fn still_trusts(&self, signer: &Certificate, now: Time) -> bool {
        let mut request = PathRequest::new(signer, &self.config.anchors, now.utc_s.into());
        request.untrusted = &self.config.intermediates;
        request.ext_key_usage = self.config.signer_usage;
        request.validate(self.config.crypto).is_ok()
    }

    pub(super) fn store(&mut self, now: Time, then: Then) -> Result<(), Failure> {
        let spent = now.monotonic.saturating_sub(self.started);
        let octets = |bytes: &[u8]| OctetString::new(bytes).map_err(|_| Failure::Encoding);
        let raw = |certificate: &Certificate| Raw::new(certificate.as_der()).map_err(|_| Failure::Encoding);
        let asked = self.request.as_ref().ok_or(Failure::Encoding)?;
        let record = Record {
            version: Record::VERSION,
            request: asked.body.clone(),
            sent: record::code(self.sent),
            awaited: record::code(self.awaited),
            attempt: self.attempt,
            poll_id: self.poll_id,
            transaction_id: octets(&self.transaction_id)?,
            sender_nonce: octets(&self.sender_nonce)?,
            awaited_nonce: octets(&self.awaited_nonce)?,
            message: octets(&self.message)?,
            implicit: self.implicit,
            spent_s: self.spent_before.saturating_add(spent).as_secs(),
            peer_nonce: octets(&self.peer_nonce)?,
            issued: self.issued.as_ref().map(|issued| issued.record.clone()),
            check_after_s: match then {
                Then::Send => None,
                Then::Poll(s) => Some(s),
            },
            signer: self.known_signer.as_ref().map(raw).transpose()?,
            peer_algorithm: self.peer_algorithm,
            key: asked.key.map(|key| key.0),
            cert_profile: asked.cert_profile.clone(),
            crl_issuer: asked.crl_issuer.as_ref().map(raw).transpose()?,
        };
        let state = record.encode().map_err(|_| Failure::Encoding)?;
        let job = self.job();
        self.phase = Phase::Store { job, then };
        self.actions.push_back(Action::Store { job, state });
        Ok(())
    }
}

fn certificate(der: &Raw) -> Result<Certificate, StateError> {
    Certificate::from_der(der.as_bytes()).map_err(|_| StateError::Malformed)
}
