use rusqlite::{OptionalExtension, params};

use super::{Store, StoreError};
use crate::{RevocationReason, x509::CrlEntry};

/// A CRL that was issued.
#[derive(Clone, Debug)]
pub(crate) struct Crl {
    pub(crate) number: u64,
    pub(crate) this_update_s: u64,
    pub(crate) der: Vec<u8>,
    /// Something has changed since.
    pub(crate) is_stale: bool,
}

/// A CRL that was just issued.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NewCrl<'a> {
    pub(crate) generation: u32,
    pub(crate) number: u64,
    pub(crate) this_update_s: u64,
    pub(crate) der: &'a [u8],
    /// Another one is needed soon.
    pub(crate) is_stale: bool,
}

impl Store {
    /// The last CRL of an issuing CA.
    pub(crate) fn crl(&self, generation: u32) -> Result<Option<Crl>, StoreError> {
        let mut select = self
            .connection
            .prepare_cached("SELECT number, this_update_s, crl, is_stale FROM crls WHERE generation = ?1")?;
        let crl = select.query_row([generation], |row| {
            Ok(Crl {
                number: row.get(0)?,
                this_update_s: row.get(1)?,
                der: row.get(2)?,
                is_stale: row.get(3)?,
            })
        });
        Ok(crl.optional()?)
    }

    /// Keeps a CRL in place of the one before it.
    pub(crate) fn save_crl(&self, crl: NewCrl<'_>) -> Result<(), StoreError> {
        let mut upsert = self.connection.prepare_cached(
            "INSERT OR REPLACE INTO crls (generation, number, this_update_s, crl, is_stale)
             VALUES (?1, ?2, ?3, ?4, ?5)",
        )?;
        upsert.execute(params![
            crl.generation,
            crl.number,
            crl.this_update_s,
            crl.der,
            crl.is_stale
        ])?;
        Ok(())
    }

    /// What belongs on a CRL: the certificates that are revoked, refused or were never confirmed, of those that were
    /// still valid at `since_s`.
    pub(crate) fn revoked_certificates(
        &self,
        generation: u32,
        since_s: u64,
    ) -> Result<Vec<CrlEntry>, StoreError> {
        let mut select = self.connection.prepare_cached(
            "SELECT serial, changed_s, reason FROM certificates
             WHERE generation = ?1 AND status IN ('refused', 'expired', 'revoked') AND not_after_s >= ?2
             ORDER BY rowid",
        )?;
        let entries = select.query_and_then(params![generation, since_s], |row| {
            let code: Option<u8> = row.get(2)?;
            let reason = code.map(|code| {
                RevocationReason::from_code(code).ok_or(StoreError::Damaged("certificates.reason"))
            });
            Ok(CrlEntry {
                serial: row.get(0)?,
                revoked_s: row.get(1)?,
                reason: reason.transpose()?,
            })
        })?;
        entries.collect()
    }
}
