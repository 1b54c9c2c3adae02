//! From a request to a message that is under way.

use alloc::{boxed::Box, vec::Vec};

use cmp_message::{BodyType, InfoTypeAndValue, PkiBody};

use super::{MAX_ATTEMPTS, Phase, Then, Transaction};
use crate::{
    Action, CertificateRequest, Failure, NewKey, Protection, Report, Request, Time,
    outgoing::{self, Ids, Protected},
    request::{self, Asked},
};

impl Transaction {
    pub(super) fn begin(&mut self, now: Time, request: Request) -> Result<(), Failure> {
        request::check(&self.config, &request).map_err(Failure::Request)?;
        self.new_transaction_id()?;
        let asked = match request {
            Request::Certificate(request) => return self.prove(now, request),
            Request::Pkcs10(request) => Asked::pkcs10(&request),
            Request::Revocation(request) => Asked::revocation(&request),
            Request::General(request) => Asked::general(&request),
        };
        self.ask(now, asked.map_err(Failure::Request)?)
    }

    #[cfg_attr(
        not(feature = "envelope"),
        expect(unused_variables, reason = "a proof is signed first")
    )]
    fn prove(&mut self, now: Time, request: CertificateRequest) -> Result<(), Failure> {
        let cert_req = request.cert_request().map_err(Failure::Request)?;
        let (key, algorithm) = match request.key {
            NewKey::Own { key, algorithm, .. } => (key, algorithm),
            #[cfg(feature = "envelope")]
            NewKey::Central { .. } => return self.ask(now, Asked::certificate(&request, cert_req, None)),
        };
        let job = self.job();
        let input = cert_req.as_der().to_vec();
        self.phase = Phase::Proof {
            job,
            request: Box::new(request),
            cert_req,
            algorithm,
        };
        self.actions.push_back(Action::Sign {
            job,
            key,
            algorithm,
            input,
        });
        Ok(())
    }

    /// Takes a complete request.
    pub(super) fn ask(&mut self, now: Time, asked: Asked) -> Result<(), Failure> {
        let body = asked.body.clone();
        self.request = Some(asked);
        self.compose(now, body)
    }

    /// The same request, key and proof in a new transaction.
    pub(super) fn begin_again(&mut self, now: Time) -> Result<(), Failure> {
        let body = self.request.as_ref().map(|asked| asked.body.clone());
        let Some(body) = body.filter(|_| self.attempt < MAX_ATTEMPTS) else {
            return Err(Failure::Delivery(self.exchange()));
        };
        self.attempt += 1;
        self.report(Report::NewTransaction {
            attempt: self.attempt,
        });
        self.new_transaction_id()?;
        self.peer_nonce.clear();
        self.peer_algorithm = None;
        self.awaited = self.request_type;
        self.compose(now, body)
    }

    fn new_transaction_id(&mut self) -> Result<(), Failure> {
        self.transaction_id = self.seed.next(self.config.crypto).map_err(Failure::Key)?;
        Ok(())
    }

    /// Makes a message of `body`: to be signed, or complete and to be kept. The key that protects the first message of a
    /// transaction protects all of them.
    pub(super) fn compose(&mut self, now: Time, body: PkiBody) -> Result<(), Failure> {
        self.sent = body.body_type();
        self.repetitions = 0;
        self.sender_nonce = self.seed.next(self.config.crypto).map_err(Failure::Key)?;
        if self.sent != BodyType::PollReq {
            self.awaited_nonce = self.sender_nonce;
        }
        let first = self.sent == self.request_type;
        let general_info = if first { self.general_info()? } else { Vec::new() };
        let ids = Ids {
            transaction_id: &self.transaction_id,
            sender_nonce: &self.sender_nonce,
            recip_nonce: (!first).then_some(self.peer_nonce.as_slice()),
            central: self.request.as_ref().is_some_and(Asked::is_central),
        };
        match outgoing::message(&self.config, &ids, body, general_info, now.utc_s, &mut self.seed)? {
            Protected::Complete(message) => self.keep(now, message),
            Protected::Unsigned(message) => {
                let input = message.protected_part().map_err(|_| Failure::Encoding)?;
                let Protection::Signature { key, algorithm, .. } = self.config.protection else {
                    return Err(Failure::Encoding);
                };
                let job = self.job();
                self.phase = Phase::Protect { job, message };
                self.actions.push_back(Action::Sign {
                    job,
                    key,
                    algorithm,
                    input,
                });
                Ok(())
            }
        }
    }

    /// generalInfo of a request (RFC 9483 §3.1).
    fn general_info(&self) -> Result<Vec<InfoTypeAndValue>, Failure> {
        let profile = self
            .request
            .as_ref()
            .and_then(|asked| asked.cert_profile.as_deref());
        let implicit = self.implicit.then(InfoTypeAndValue::implicit_confirm);
        implicit
            .into_iter()
            .chain(profile.map(InfoTypeAndValue::cert_profile))
            .collect::<der::Result<_>>()
            .map_err(|_| Failure::Encoding)
    }

    /// Takes a finished message, to be sent when it is kept.
    pub(super) fn keep(&mut self, now: Time, message: Vec<u8>) -> Result<(), Failure> {
        self.message = message;
        self.store(now, Then::Send)
    }

    pub(super) fn send(&mut self) {
        let job = self.job();
        self.phase = Phase::Await;
        let first = self.sent == self.request_type;
        self.actions.push_back(Action::Send {
            job,
            message: self.message.clone(),
            first,
        });
    }
}
