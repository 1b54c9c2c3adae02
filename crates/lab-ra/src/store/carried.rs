//! Answers to messages that came as files, until they are files themselves.

use rusqlite::OptionalExtension;

use super::{Store, StoreError};

impl Store {
    /// The answer that was given to a message with this SHA-256.
    pub(crate) fn carried_answer(&self, digest: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let mut select = self
            .connection
            .prepare_cached("SELECT answer FROM carried WHERE digest = ?1")?;
        Ok(select.query_row([digest], |row| row.get(0)).optional()?)
    }

    /// Keeps an answer.
    pub(crate) fn keep_carried_answer(&self, digest: &[u8], answer: &[u8]) -> Result<(), StoreError> {
        let mut insert = self
            .connection
            .prepare_cached("INSERT OR REPLACE INTO carried (digest, answer) VALUES (?1, ?2)")?;
        insert.execute((digest, answer))?;
        Ok(())
    }

    /// Its message is gone.
    pub(crate) fn forget_carried_answer(&self, digest: &[u8]) -> Result<(), StoreError> {
        let mut delete = self
            .connection
            .prepare_cached("DELETE FROM carried WHERE digest = ?1")?;
        delete.execute([digest])?;
        Ok(())
    }
}
