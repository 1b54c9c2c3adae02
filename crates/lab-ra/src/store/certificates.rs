use rusqlite::{OptionalExtension, Row, params};

use super::{Store, StoreError, hex};
use crate::RevocationReason;

/// What became of an issued certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CertificateStatus {
    /// Issued, not confirmed yet.
    Issued,
    /// Confirmed by its holder, or implicitly.
    Confirmed,
    /// Refused by its holder.
    Refused,
    /// Not confirmed in time.
    Expired,
    /// Revoked.
    Revoked,
}

impl CertificateStatus {
    /// Every status.
    pub const ALL: [Self; 5] = [
        Self::Issued,
        Self::Confirmed,
        Self::Refused,
        Self::Expired,
        Self::Revoked,
    ];

    /// One word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Issued => "issued",
            Self::Confirmed => "confirmed",
            Self::Refused => "refused",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
        }
    }

    fn from_name(name: &str) -> Result<Self, StoreError> {
        let status = Self::ALL.into_iter().find(|status| status.name() == name);
        status.ok_or(StoreError::Damaged("certificates.status"))
    }
}

/// An issued certificate and what became of it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CertificateRecord {
    /// Content of the INTEGER, 16 bytes.
    pub serial: Vec<u8>,
    /// DER.
    pub certificate: Vec<u8>,
    /// The subject as a person reads it.
    pub subject: String,
    /// The transaction in which it was asked for.
    pub transaction_id: Option<Vec<u8>>,
    /// What became of it.
    pub status: CertificateStatus,
    /// Why it is revoked.
    pub reason: Option<RevocationReason>,
    /// Since when, in seconds since 1970.
    pub changed_s: u64,
}

impl CertificateRecord {
    /// The serial number in hexadecimal.
    pub fn serial_hex(&self) -> String {
        hex(&self.serial)
    }

    /// Whether it may be revoked for this reason, or with removeFromCRL be made valid again.
    pub(crate) fn check_revocable(&self, reason: RevocationReason) -> Result<(), RevokeError> {
        let is_held = self.reason == Some(RevocationReason::CertificateHold);
        match self.status {
            CertificateStatus::Revoked if is_held && reason != RevocationReason::CertificateHold => Ok(()),
            CertificateStatus::Revoked | CertificateStatus::Refused | CertificateStatus::Expired => {
                Err(RevokeError::AlreadyRevoked)
            }
            _ if reason == RevocationReason::RemoveFromCrl => Err(RevokeError::NotOnHold),
            // What ends a suspension would confirm it.
            CertificateStatus::Issued if reason == RevocationReason::CertificateHold => {
                Err(RevokeError::NotConfirmed)
            }
            _ => Ok(()),
        }
    }
}

/// Why a certificate is not revoked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RevokeError {
    /// There is none with this serial number.
    #[error("no certificate with this serial number was issued here")]
    Unknown,
    /// It is revoked, or counts as revoked because it was refused or not confirmed in time.
    #[error("the certificate is revoked already")]
    AlreadyRevoked,
    /// Only a suspension can be ended.
    #[error("the certificate is not on hold")]
    NotOnHold,
    /// Only what is confirmed can be suspended.
    #[error("the certificate is not confirmed yet")]
    NotConfirmed,
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A certificate that was just issued.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NewCertificate<'a> {
    pub(crate) serial: &'a [u8],
    pub(crate) generation: u32,
    pub(crate) certificate: &'a [u8],
    pub(crate) subject: &'a str,
    pub(crate) not_after_s: u64,
    pub(crate) transaction_id: Option<&'a [u8]>,
}

impl Store {
    /// Records a certificate with status [`CertificateStatus::Issued`], before anybody gets it.
    ///
    /// # Errors
    /// If it cannot be recorded, also because its transaction has one already; then it must not be handed out.
    pub(crate) fn record(&self, new: NewCertificate<'_>, now_s: u64) -> Result<(), StoreError> {
        let mut insert = self.connection.prepare_cached(
            "INSERT INTO certificates
                 (serial, generation, certificate, subject, not_after_s, transaction_id, status, changed_s)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        )?;
        insert.execute(params![
            new.serial,
            new.generation,
            new.certificate,
            new.subject,
            new.not_after_s,
            new.transaction_id,
            CertificateStatus::Issued.name(),
            now_s,
        ])?;
        Ok(())
    }

    /// Records a certificate that needs no confirmation.
    pub(crate) fn record_confirmed(&self, new: NewCertificate<'_>, now_s: u64) -> Result<(), StoreError> {
        self.begin()?;
        self.record(new, now_s)?;
        self.settle(new.serial, CertificateStatus::Confirmed, now_s)?;
        self.commit()
    }

    /// Settles what becomes of a certificate that was issued and not confirmed yet; `false` if there is none.
    pub(crate) fn settle(
        &self,
        serial: &[u8],
        status: CertificateStatus,
        now_s: u64,
    ) -> Result<bool, StoreError> {
        let mut update = self.connection.prepare_cached(
            "UPDATE certificates SET status = ?2, changed_s = ?3 WHERE serial = ?1 AND status = 'issued'",
        )?;
        Ok(update.execute(params![serial, status.name(), now_s])? == 1)
    }

    /// Revokes a certificate for this reason, or with removeFromCRL makes one valid again that was on hold. `serial` is the
    /// content of its INTEGER.
    ///
    /// # Errors
    /// Any [`RevokeError`].
    pub fn revoke(&self, serial: &[u8], reason: RevocationReason, now_s: u64) -> Result<(), RevokeError> {
        let record = self.certificate(serial)?.ok_or(RevokeError::Unknown)?;
        record.check_revocable(reason)?;
        self.set_reason(serial, reason, now_s)?;
        Ok(())
    }

    /// The same where it was checked before.
    pub(crate) fn set_reason(
        &self,
        serial: &[u8],
        reason: RevocationReason,
        now_s: u64,
    ) -> Result<(), StoreError> {
        let (status, reason) = match reason {
            RevocationReason::RemoveFromCrl => (CertificateStatus::Confirmed, None),
            reason => (CertificateStatus::Revoked, Some(reason.code())),
        };
        let mut update = self.connection.prepare_cached(
            "UPDATE certificates SET status = ?2, reason = ?3, changed_s = ?4 WHERE serial = ?1",
        )?;
        update.execute(params![serial, status.name(), reason, now_s])?;
        Ok(())
    }

    /// What became of a certificate; `None` if it was not issued here. `serial` is the content of its INTEGER.
    ///
    /// # Errors
    /// [`StoreError::Sqlite`] or [`StoreError::Damaged`].
    pub fn status(&self, serial: &[u8]) -> Result<Option<CertificateStatus>, StoreError> {
        let mut select = self
            .connection
            .prepare_cached("SELECT status FROM certificates WHERE serial = ?1")?;
        let name: Option<String> = select.query_row([serial], |row| row.get(0)).optional()?;
        name.map(|name| CertificateStatus::from_name(&name)).transpose()
    }

    /// A certificate that was issued here.
    ///
    /// # Errors
    /// [`StoreError::Sqlite`] or [`StoreError::Damaged`].
    pub fn certificate(&self, serial: &[u8]) -> Result<Option<CertificateRecord>, StoreError> {
        let mut select = self.connection.prepare_cached(concat!(
            "SELECT serial, certificate, subject, transaction_id, status, reason, changed_s ",
            "FROM certificates WHERE serial = ?1"
        ))?;
        select
            .query_row([serial], |row| Ok(record(row)))
            .optional()?
            .transpose()
    }

    /// Every certificate that was issued here, in the order in which that happened.
    ///
    /// # Errors
    /// [`StoreError::Sqlite`] or [`StoreError::Damaged`].
    pub fn certificates(&self) -> Result<Vec<CertificateRecord>, StoreError> {
        let mut select = self.connection.prepare_cached(concat!(
            "SELECT serial, certificate, subject, transaction_id, status, reason, changed_s ",
            "FROM certificates ORDER BY rowid"
        ))?;
        select.query_and_then([], record)?.collect()
    }
}

fn record(row: &Row<'_>) -> Result<CertificateRecord, StoreError> {
    Ok(CertificateRecord {
        serial: row.get(0)?,
        certificate: row.get(1)?,
        subject: row.get(2)?,
        transaction_id: row.get(3)?,
        status: CertificateStatus::from_name(row.get_ref(4)?.as_str().map_err(rusqlite::Error::from)?)?,
        reason: match row.get(5)? {
            None => None,
            Some(code) => {
                let reason = RevocationReason::from_code(code);
                Some(reason.ok_or(StoreError::Damaged("certificates.reason"))?)
            }
        },
        changed_s: row.get(6)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn new<'a>(serial: &'a [u8], transaction_id: &'a [u8]) -> NewCertificate<'a> {
        NewCertificate {
            serial,
            generation: 1,
            certificate: b"0\0",
            subject: "CN=CS-1",
            not_after_s: 9,
            transaction_id: Some(transaction_id),
        }
    }

    #[test]
    fn what_was_recorded_and_settled_survives_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.sqlite");
        let store = Store::open(&path).unwrap();
        store.record(new(&[1], &[7]), 2).unwrap();
        store.record(new(&[2], &[8]), 3).unwrap();
        assert!(store.settle(&[1], CertificateStatus::Confirmed, 4).unwrap());
        drop(store);
        let store = Store::open(&path).unwrap();
        assert_eq!(store.status(&[1]).unwrap(), Some(CertificateStatus::Confirmed));
        assert_eq!(store.status(&[2]).unwrap(), Some(CertificateStatus::Issued));
        assert_eq!(store.status(&[3]).unwrap(), None);
        let all = store.certificates().unwrap();
        assert_eq!(all.iter().map(|one| one.changed_s).collect::<Vec<_>>(), [4, 3]);
    }

    #[test]
    fn a_certificate_is_settled_once() {
        let store = Store::in_memory().unwrap();
        store.record(new(&[1], &[7]), 2).unwrap();
        assert!(store.settle(&[1], CertificateStatus::Refused, 3).unwrap());
        assert!(!store.settle(&[1], CertificateStatus::Confirmed, 4).unwrap());
        assert!(!store.settle(&[2], CertificateStatus::Confirmed, 4).unwrap());
        assert_eq!(store.status(&[1]).unwrap(), Some(CertificateStatus::Refused));
    }

    #[test]
    fn a_transaction_has_one_certificate() {
        let store = Store::in_memory().unwrap();
        store.record(new(&[1], &[7]), 2).unwrap();
        assert!(store.record(new(&[2], &[7]), 2).is_err());
    }

    #[test]
    fn what_is_rolled_back_was_never_there() {
        let store = Store::in_memory().unwrap();
        store.begin().unwrap();
        store.record(new(&[1], &[7]), 2).unwrap();
        store.roll_back().unwrap();
        assert_eq!(store.status(&[1]).unwrap(), None);
    }
}
