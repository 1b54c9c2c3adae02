//! Requests that an RA passes on only when a person says so.

use rusqlite::{OptionalExtension, params};

use super::{Decision, Store, StoreError};

/// A request that a person is asked about.
pub(crate) struct NewApproval<'a> {
    /// Its transactionID.
    pub(crate) id: &'a [u8],
    pub(crate) body: &'a str,
    pub(crate) subject: &'a str,
    /// As it was received.
    pub(crate) message: &'a [u8],
    /// That its path named.
    pub(crate) profile: Option<&'a str>,
    pub(crate) began_s: u64,
}

/// What is kept of it, and what was decided.
pub(crate) struct ApprovalRecord {
    pub(crate) message: Vec<u8>,
    pub(crate) profile: Option<String>,
    pub(crate) decision: Decision,
}

impl Store {
    /// Asks a person about a request.
    pub(crate) fn record_approval(&self, new: &NewApproval<'_>) -> Result<(), StoreError> {
        let mut insert = self.connection.prepare_cached(
            "INSERT INTO approvals (id, body, subject, message, profile, began_s, decision)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, 'open')",
        )?;
        let NewApproval {
            id,
            body,
            subject,
            message,
            profile,
            began_s,
        } = new;
        insert.execute(params![id, body, subject, message, profile, began_s])?;
        Ok(())
    }

    /// What was decided in this transaction, if a person was asked.
    pub(crate) fn approval(&self, id: &[u8]) -> Result<Option<ApprovalRecord>, StoreError> {
        let mut select = self
            .connection
            .prepare_cached("SELECT message, profile, decision, denial FROM approvals WHERE id = ?1")?;
        let row = select.query_row([id], |row| {
            Ok((
                row.get(0)?,
                row.get(1)?,
                row.get::<_, String>(2)?,
                row.get::<_, Option<String>>(3)?,
            ))
        });
        let Some((message, profile, decision, denial)) = row.optional()? else {
            return Ok(None);
        };
        Ok(Some(ApprovalRecord {
            message,
            profile,
            decision: match decision.as_str() {
                "open" => Decision::Open,
                "approved" => Decision::Approved,
                "denied" => Decision::Denied(denial.unwrap_or_default()),
                _ => return Err(StoreError::Damaged("approvals.decision")),
            },
        }))
    }

    /// Whoever was asked need not decide any more.
    pub(super) fn forget_approval(&self, id: &[u8]) -> Result<(), StoreError> {
        let mut delete = self
            .connection
            .prepare_cached("DELETE FROM approvals WHERE id = ?1")?;
        delete.execute([id])?;
        Ok(())
    }
}
