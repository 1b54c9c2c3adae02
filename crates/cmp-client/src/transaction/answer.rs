//! What an answer does to a transaction.

use cmp_message::{
    BodyType, PkiBody, PkiHeader, PkiMessage,
    certificate::{Certificate, names_match},
    mac::{self, Secret},
    validate::{Accept, Authenticated, Context, Stage, validate},
};

use super::Transaction;
use crate::{Failure, Protection, ResponseError, Time};

impl Transaction {
    /// Checks the answer and goes on from it.
    pub(super) fn answer(&mut self, now: Time, bytes: &[u8]) -> Result<(), Failure> {
        if bytes.len() > self.config.max_message_bytes {
            return Err(self.response_error(ResponseError::TooLarge(bytes.len())));
        }
        let message =
            PkiMessage::from_bytes(bytes).map_err(|_| self.response_error(ResponseError::Malformed))?;
        self.react(now, &message)
            .map_err(|failure| failure.with_answer(&message))
    }

    fn react(&mut self, now: Time, message: &PkiMessage) -> Result<(), Failure> {
        let authenticated = self.authenticate(now, message)?;
        if let (Authenticated::Unprotected, PkiBody::Error(error)) = (&authenticated, &*message.body) {
            return self.unprotected_error(now, error);
        }
        if let (Authenticated::Signer(_), Some(_), PkiBody::Error(error)) =
            (&authenticated, self.config.protection.secret(), &*message.body)
        {
            // Whoever does not know the secret may refuse. It neither confirms nor delays.
            return self.refused_by_error(now, error);
        }
        let signer = match authenticated {
            Authenticated::Signer(signer) => Some(signer),
            Authenticated::Mac(_) | Authenticated::Unprotected => None,
        };
        self.check_continuity(now, &message.header, signer.as_ref())
            .map_err(|error| self.response_error(error))?;
        self.known_signer = signer;
        match (&*message.body, self.awaited) {
            (PkiBody::Ip(content), BodyType::Ir)
            | (PkiBody::Cp(content), BodyType::Cr | BodyType::P10cr)
            | (PkiBody::Kup(content), BodyType::Kur) => self.certificate_response(now, message, content),
            (PkiBody::Rp(content), BodyType::Rr) => self.revocation_response(now, content),
            (PkiBody::Genp(content), BodyType::Genm) => self.general_response(now, content),
            (PkiBody::PkiConf(_), BodyType::CertConf) => self.confirmed(now, false),
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
            stage: self.stage(message.body.body_type()),
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

    /// What an answer must name: our last message, and at the end of a delay that or the message that was delayed.
    fn stage(&self, answer: BodyType) -> Stage<'_> {
        if self.sent == BodyType::PollReq && answer != BodyType::PollRep {
            Stage::Delivery {
                transaction_id: &self.transaction_id,
                poll_nonce: &self.sender_nonce,
                delayed_nonce: &self.awaited_nonce,
            }
        } else {
            Stage::Answer {
                transaction_id: &self.transaction_id,
                sender_nonce: &self.sender_nonce,
            }
        }
    }

    /// That an authentic answer goes on where the one before was, and remembers it.
    fn check_continuity(
        &mut self,
        now: Time,
        header: &PkiHeader,
        signer: Option<&Certificate>,
    ) -> Result<(), ResponseError> {
        if let Some(algorithm) = &header.protection_alg {
            // A CA whose answer the RA passes on has its own key, and with it its own algorithm.
            let same_signer = match (&self.known_signer, signer) {
                (Some(before), Some(signer)) => names_match(before.subject(), signer.subject()),
                _ => true,
            };
            let expected = match self.config.protection {
                Protection::PasswordBasedMac { .. } => Some(mac::PASSWORD_BASED_MAC),
                Protection::Pbmac1 { .. } => Some(mac::PBMAC1),
                Protection::Signature { .. } => self.peer_algorithm.filter(|_| same_signer),
            };
            if expected.is_some_and(|expected| expected != algorithm.oid) {
                return Err(ResponseError::AlgorithmChanged(algorithm.oid));
            }
            self.peer_algorithm = Some(algorithm.oid);
        }
        let nonce = header.sender_nonce.as_ref().map(|nonce| nonce.as_bytes());
        let nonce = nonce.unwrap_or_default();
        if self.peer_nonce == nonce {
            return Err(ResponseError::RepeatedSenderNonce);
        }
        self.peer_nonce = nonce.to_vec();
        // A peer that leaves out what is compared would get past the comparison.
        let wanted = self.config.max_clock_skew_s.is_some() && now.utc_s.is_some();
        if wanted && header.message_time.is_none() {
            return Err(ResponseError::MissingMessageTime);
        }
        Ok(())
    }
}
