//! Does what was asked for: makes the certificate, records it and hands it out.

use cmp_message::{
    CertOrEncCert, CertifiedKeyPair, InfoTypeAndValue, PkiStatus, PkiStatusInfo, Raw, general,
};

use super::{
    Exchange, Failure, Ra,
    answer::{Reply, generalized_time},
    check::Checked,
    config::ImplicitConfirm,
};
use crate::{
    CertificateStatus,
    store::{NewCertificate, Peer, State, Transaction, hex},
};

impl Ra {
    /// Issues, records and hands out a certificate.
    pub(super) fn issue(
        &mut self,
        exchange: &Exchange<'_>,
        mut transaction: Transaction,
        checked: Checked,
    ) -> Result<Reply, Failure> {
        let (now_s, order) = (exchange.now_s, &checked.order);
        let issued = order.certify(&self.pki().ca, now_s, self.config.certificate_lifetime_s)?;
        let record = NewCertificate {
            serial: &issued.serial,
            generation: 1,
            certificate: &issued.certificate,
            subject: order.subject_text(),
            not_after_s: issued.not_after_s,
            transaction_id: &transaction.id,
        };
        self.store.record(record, now_s)?;
        tracing::info!(
            serial = hex(&issued.serial),
            subject = order.subject_text(),
            transaction = hex(&transaction.id),
            "certificate issued"
        );
        let grant = checked.implicit_confirm && self.config.implicit_confirm == ImplicitConfirm::Grant;
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
        transaction.serial = Some(issued.serial.to_vec());
        self.store.save(&mut transaction, now_s)?;
        let status = match issued.modified {
            true => PkiStatus::GRANTED_WITH_MODS,
            false => PkiStatus::ACCEPTED,
        };
        self.hand_out(&transaction, checked.kind, status.into(), &issued.certificate)
    }

    /// The response with a certificate of this transaction.
    pub(super) fn hand_out(
        &self,
        transaction: &Transaction,
        kind: super::RequestKind,
        status: PkiStatusInfo,
        certificate: &[u8],
    ) -> Result<Reply, Failure> {
        let ca_pubs = match transaction.peer {
            Peer::Mac(_) => Some(vec![self.answerer.root_certificate().clone()]),
            Peer::Signer(_) => None,
        };
        let pair = CertifiedKeyPair {
            cert_or_enc_cert: CertOrEncCert::Certificate(
                Raw::new(certificate).map_err(crate::PkiError::from)?,
            ),
            private_key: None,
            publication_info: None,
        };
        let info = match transaction.state {
            State::ImplicitlyConfirmed => InfoTypeAndValue::implicit_confirm(),
            _ => generalized_time(transaction.deadline_s).map(|time| InfoTypeAndValue {
                info_type: general::CONFIRM_WAIT_TIME,
                info_value: Some(time),
            }),
        };
        let mut reply = Reply::certificate_response(kind, status, Some(pair), ca_pubs);
        reply.general_info = vec![info.map_err(crate::PkiError::from)?];
        Ok(reply)
    }
}
