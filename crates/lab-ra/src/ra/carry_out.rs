//! Does what was asked for. An RA whose CA is elsewhere does something else here.

use cmp_message::{CertOrEncCert, CertifiedKeyPair, InfoTypeAndValue, PkiBody, PkiStatus, Raw, general};
use der::asn1::Null;

use super::{
    Exchange, Failure, Ra, RequestKind,
    answer::{Reply, generalized_time},
    check::{Issue, Task},
};
use crate::{
    CertificateStatus, ImplicitConfirm, PkiError,
    order::{Issued, Order, OrderedKey},
    store::{NewCertificate, State, Transaction, hex},
};

impl Ra {
    /// Does it, and stores what becomes of the transaction.
    pub(super) fn carry_out(
        &mut self,
        exchange: &Exchange<'_>,
        transaction: Transaction,
        task: Task,
    ) -> Result<Reply, Failure> {
        match task {
            Task::Issue(issue) => self.issue(exchange, transaction, &issue),
            Task::Confirm(is_accepted) => {
                let end = match is_accepted {
                    true => State::Confirmed,
                    false => State::Refused,
                };
                self.finish(exchange.now_s, transaction, end)?;
                Ok(Reply::new(PkiBody::PkiConf(Null)))
            }
            Task::Revoke(revocation) => {
                let reply = self.revoke(exchange.now_s, &revocation)?;
                self.finish(exchange.now_s, transaction, State::Answered)?;
                Ok(reply)
            }
            Task::Answer(question) => {
                let reply = self.answer_question(exchange.now_s, question)?;
                // One that was answered at once has left no trace and needs none.
                if transaction.is_open_in_store() {
                    self.finish(exchange.now_s, transaction, State::Answered)?;
                }
                Ok(reply)
            }
        }
    }

    /// Issues, records and hands out a certificate.
    fn issue(
        &mut self,
        exchange: &Exchange<'_>,
        mut transaction: Transaction,
        issue: &Issue,
    ) -> Result<Reply, Failure> {
        let now_s = exchange.now_s;
        let issued = self.make_certificate(now_s, &mut transaction, &issue.order)?;
        let grant = issue.implicit_confirm && self.config.implicit_confirm == ImplicitConfirm::Grant;
        if grant {
            self.store
                .settle(&issued.serial, CertificateStatus::Confirmed, now_s)?;
        }
        transaction.state = match grant {
            true => State::ImplicitlyConfirmed,
            false => State::AwaitingCertConf,
        };
        transaction.deadline_s = now_s.saturating_add(self.config.confirm_wait_s);
        transaction.sender_nonce = exchange.nonce.clone();
        transaction.message = None;
        self.store.save(&mut transaction, now_s)?;
        self.hand_out(&transaction, issue.kind, &issued.certificate)
    }

    /// Issues and records a certificate; its key is made before it where the order says so.
    fn make_certificate(
        &self,
        now_s: u64,
        transaction: &mut Transaction,
        order: &Order,
    ) -> Result<Issued, PkiError> {
        let pki = self.pki();
        let (public_key, private_key) = match order.key() {
            OrderedKey::Given(_, public_key) => (public_key.clone(), None),
            OrderedKey::ToBeMade(algorithm) => {
                let (public_key, private_key) = self.make_key(*algorithm, &transaction.peer)?;
                (public_key, Some(private_key))
            }
        };
        let distribution_point = self.crl_distribution_point(pki.generation());
        let issued = order.certify(&public_key, &pki.ca, distribution_point.as_deref(), now_s)?;
        let record = NewCertificate {
            serial: &issued.serial,
            generation: pki.generation(),
            certificate: &issued.certificate,
            subject: order.subject_text(),
            not_after_s: issued.not_after_s,
            transaction_id: Some(&transaction.id),
        };
        self.store.record(record, now_s)?;
        tracing::info!(
            serial = hex(&issued.serial),
            subject = order.subject_text(),
            transaction = hex(&transaction.id),
            with_key = private_key.is_some(),
            "certificate issued"
        );
        transaction.serial = Some(issued.serial.to_vec());
        transaction.private_key = private_key;
        transaction.is_modified = issued.modified;
        Ok(issued)
    }

    /// The response with a certificate of this transaction.
    pub(super) fn hand_out(
        &self,
        transaction: &Transaction,
        kind: RequestKind,
        certificate: &[u8],
    ) -> Result<Reply, Failure> {
        // A root that comes under a signature is no trust anchor unless the receiver knows the signer for one who may
        // say so; under a shared secret it is (RFC 9483 §4.1.1, §4.1.5).
        let with_root = transaction.peer.is_mac() || self.config.ca_pubs_under_signature;
        let ca_pubs = with_root.then(|| vec![self.answerer.root_certificate().clone()]);
        let private_key = transaction.private_key.as_deref();
        let pair = CertifiedKeyPair {
            cert_or_enc_cert: CertOrEncCert::Certificate(Raw::new(certificate)?),
            private_key: private_key.map(Raw::new).transpose()?,
            publication_info: None,
        };
        let info = match transaction.state {
            State::ImplicitlyConfirmed => InfoTypeAndValue::implicit_confirm()?,
            _ => InfoTypeAndValue {
                info_type: general::CONFIRM_WAIT_TIME,
                info_value: Some(generalized_time(transaction.deadline_s)?),
            },
        };
        let status = match transaction.is_modified {
            true => PkiStatus::GRANTED_WITH_MODS,
            false => PkiStatus::ACCEPTED,
        };
        let mut reply = Reply::certificate_response(kind, status.into(), Some(pair), ca_pubs);
        reply.general_info = vec![info];
        Ok(reply)
    }

    /// Ends the transaction and settles what becomes of its certificate, if there is one.
    pub(super) fn finish(
        &mut self,
        now_s: u64,
        mut transaction: Transaction,
        end: State,
    ) -> Result<(), Failure> {
        let status = match end {
            State::Confirmed => CertificateStatus::Confirmed,
            _ => CertificateStatus::Refused,
        };
        if let Some(serial) = &transaction.serial {
            self.store.settle(serial, status, now_s)?;
        }
        transaction.state = end;
        transaction.private_key = None;
        self.store.save(&mut transaction, now_s)?;
        Ok(())
    }

    /// Ends the transaction because of a refusal; what is the server's own fault ends nothing.
    pub(super) fn give_up(&mut self, now_s: u64, transaction: Transaction, failure: Failure) -> Failure {
        match failure {
            Failure::Own(error) => Failure::Own(error),
            Failure::Refused(refusal) => match self.finish(now_s, transaction, State::Refused) {
                Ok(()) => Failure::Refused(refusal),
                Err(failure) => failure,
            },
        }
    }
}
