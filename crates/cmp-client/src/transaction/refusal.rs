//! What an `error` does to a transaction (RFC 9483 §3.6).

use cmp_message::{BodyType, ErrorMsgContent, PkiFailure, PkiStatus, PkiStatusInfo};

use super::{MAX_ATTEMPTS, Transaction};
use crate::{Failure, ResponseError, Time};

impl Transaction {
    pub(super) fn error(&mut self, now: Time, error: &ErrorMsgContent) -> Result<(), Failure> {
        let status = &error.pki_status_info;
        if status.status == PkiStatus::WAITING {
            return self.waiting(now, -1, status);
        }
        if self.awaited == BodyType::CertConf && status.contains(PkiFailure::CertConfirmed) {
            return self.confirmed(now, false);
        }
        if self.is_revoked_already(status) {
            return self.revoked(true);
        }
        self.refused_by_error(now, error)
    }

    /// An error that nobody has signed: it may end the transaction where that is wanted, and can do nothing else.
    pub(super) fn unprotected_error(&mut self, now: Time, error: &ErrorMsgContent) -> Result<(), Failure> {
        if self.config.accept_unprotected_errors {
            return self.refused_by_error(now, error);
        }
        Err(Failure::UnprotectedError {
            exchange: self.exchange(),
            status: error.pki_status_info.clone(),
        })
    }

    /// An error that may only refuse: it neither delays nor confirms. That is one that nobody has signed, and one that is
    /// signed where we protect by a MAC: an RA that does not know the secret can prove its refusal in no other way, but what
    /// follows a delay could only be believed under the MAC, and meanwhile anybody with a certificate under our anchors
    /// could keep a station waiting.
    pub(super) fn refused_by_error(&mut self, now: Time, error: &ErrorMsgContent) -> Result<(), Failure> {
        let mut status = error.pki_status_info.clone();
        if status.status == PkiStatus::WAITING {
            return Err(self.response_error(ResponseError::UnexpectedStatus(status)));
        }
        if let Some(details) = &error.error_details {
            status
                .status_string
                .get_or_insert_default()
                .extend(details.iter().cloned());
        }
        self.refused(now, BodyType::Error, status)
    }

    /// The RA refuses, in a body of this kind. Only a request whose transactionID is in use is asked once more.
    pub(super) fn refused(
        &mut self,
        now: Time,
        answer: BodyType,
        status: PkiStatusInfo,
    ) -> Result<(), Failure> {
        let in_use = self.sent == self.request_type && status.contains(PkiFailure::TransactionIdInUse);
        if in_use && self.attempt < MAX_ATTEMPTS {
            return self.begin_again(now);
        }
        Err(Failure::Rejected {
            exchange: self.exchange(),
            answer,
            status,
        })
    }
}
