//! Revocation responses (RFC 9483 §4.2).

use cmp_message::{
    BodyType, CertId, PkiFailure, PkiStatus, PkiStatusInfo, RevRepContent, certificate::names_match,
};
use der::Encode;
use x509_cert::ext::pkix::name::GeneralName;

use super::Transaction;
use crate::{Failure, Outcome, ResponseError, Revoked, Time};

impl Transaction {
    pub(super) fn revocation_response(&mut self, now: Time, content: &RevRepContent) -> Result<(), Failure> {
        let [status] = content.status.as_slice() else {
            return Err(self.response_error(ResponseError::ResponseCount(content.status.len())));
        };
        if let Some(certificates) = &content.rev_certs {
            let [certificate] = certificates.as_slice() else {
                return Err(self.response_error(ResponseError::ResponseCount(certificates.len())));
            };
            if !self.to_be_revoked().is_some_and(|ours| same(&ours, certificate)) {
                return Err(self.response_error(ResponseError::OtherCertificate));
            }
        }
        match status.status {
            PkiStatus::ACCEPTED | PkiStatus::GRANTED_WITH_MODS => self.revoked(false),
            PkiStatus::REJECTION if self.is_revoked_already(status) => self.revoked(true),
            PkiStatus::REJECTION => self.refused(now, BodyType::Rp, status.clone()),
            _ => Err(self.response_error(ResponseError::UnexpectedStatus(status.clone()))),
        }
    }

    /// Whether a refusal says that what we want has been done, to a request that may have reached the RA before.
    pub(super) fn is_revoked_already(&self, status: &PkiStatusInfo) -> bool {
        let repeated = self.resumed || self.attempt > 1 || self.repetitions > 0;
        self.awaited == BodyType::Rr && repeated && status.contains(PkiFailure::CertRevoked)
    }

    pub(super) fn revoked(&mut self, earlier: bool) -> Result<(), Failure> {
        let certificate = self.to_be_revoked().ok_or(Failure::Encoding)?;
        self.succeed(Outcome::Revoked(Revoked {
            certificate,
            transaction_id: self.transaction_id.to_vec(),
            earlier,
        }));
        Ok(())
    }

    fn to_be_revoked(&self) -> Option<CertId> {
        let details = self.request.as_ref()?.rev_details()?;
        Some(CertId {
            issuer: GeneralName::DirectoryName(details.issuer.clone()?),
            serial_number: details.serial_number.clone()?,
        })
    }
}

fn same(ours: &CertId, theirs: &CertId) -> bool {
    let name = |id: &CertId| match &id.issuer {
        GeneralName::DirectoryName(name) => name.to_der().ok(),
        _ => None,
    };
    let (Some(a), Some(b)) = (name(ours), name(theirs)) else {
        return false;
    };
    ours.serial_number == theirs.serial_number && names_match(&a, &b)
}
