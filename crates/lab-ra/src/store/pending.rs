use rusqlite::params;

use super::{Store, StoreError};

/// A request that a person has to decide on.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PendingRequest {
    /// What [`Store::approve`] and [`Store::deny`] call it.
    pub number: u64,
    /// The name of its body.
    pub body: String,
    /// The subject that it asks for, as a person reads it.
    pub subject: String,
    /// Since when it waits, in seconds since 1970.
    pub began_s: u64,
}

impl Store {
    /// The requests that wait for a person, the oldest first.
    ///
    /// # Errors
    /// [`StoreError::Sqlite`].
    pub fn pending_requests(&self) -> Result<Vec<PendingRequest>, StoreError> {
        let mut select = self.connection.prepare_cached(
            "SELECT number, body, subject, began_s FROM transactions
             WHERE decision = 'open' AND deadline_s IS NOT NULL
             UNION ALL SELECT number, body, subject, began_s FROM approvals WHERE decision = 'open'
             ORDER BY began_s, number",
        )?;
        let pending = select.query_map([], |row| {
            Ok(PendingRequest {
                number: row.get(0)?,
                body: row.get(1)?,
                subject: row.get(2)?,
                began_s: row.get(3)?,
            })
        })?;
        Ok(pending.collect::<Result<_, _>>()?)
    }

    /// Grants a request: its requester gets the certificate when it polls. `false` if no such request waits.
    ///
    /// # Errors
    /// [`StoreError::Sqlite`].
    pub fn approve(&self, number: u64) -> Result<bool, StoreError> {
        self.decide(number, "approved", None)
    }

    /// Refuses a request: its requester is told `why` when it polls. `false` if no such request waits.
    ///
    /// # Errors
    /// [`StoreError::Sqlite`].
    pub fn deny(&self, number: u64, why: &str) -> Result<bool, StoreError> {
        self.decide(number, "denied", Some(why))
    }

    fn decide(&self, number: u64, decision: &str, denial: Option<&str>) -> Result<bool, StoreError> {
        // A state folder has the transactions of a CA or those of an RA in front of one.
        let mut updated = 0;
        for sql in [
            "UPDATE transactions SET decision = ?2, denial = ?3
             WHERE number = ?1 AND decision = 'open' AND deadline_s IS NOT NULL",
            "UPDATE approvals SET decision = ?2, denial = ?3 WHERE number = ?1 AND decision = 'open'",
        ] {
            let mut update = self.connection.prepare_cached(sql)?;
            updated += update.execute(params![number, decision, denial])?;
        }
        Ok(updated == 1)
    }
}
