//! What must outlive the process, in SQLite: the certificates and what became of them, CRLs, the transactions,
//! and what an RA passes on.

mod approvals;
mod carried;
mod certificates;
mod crls;
mod forwards;
mod pending;
mod transactions;

pub(crate) use approvals::NewApproval;
pub(crate) use certificates::NewCertificate;
pub use certificates::{CertificateRecord, CertificateStatus, RevokeError};
pub(crate) use crls::{Crl, NewCrl};
pub(crate) use forwards::{Forwarded, Outgoing, Progress};
pub use pending::PendingRequest;
pub(crate) use transactions::{Decision, Peer, State, Transaction};

use rusqlite::Connection;
use std::{cell::Cell, fs::OpenOptions, io, os::unix::fs::OpenOptionsExt, path::Path, time::Duration};

/// The version of `schema.sql`, in the database's `user_version`.
const SCHEMA_VERSION: i64 = 1;
/// How long another process may hold the database.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Room for every statement of this crate.
const CACHED_STATEMENTS: usize = 64;

/// Why a store failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The file cannot be made.
    #[error("cannot make the database: {0}")]
    Io(#[from] io::Error),
    /// The database does not do what it should.
    #[error("the database failed: {0}")]
    Sqlite(#[from] rusqlite::Error),
    /// The database is of a later version of this program.
    #[error("the database has version {0}, which this program does not know")]
    Version(i64),
    /// A value in the database that this program does not write.
    #[error("the database is damaged: {0} has an impossible value")]
    Damaged(&'static str),
}

/// Keeps certificates and transactions in an SQLite database.
///
/// What belongs to one message is one transaction of the database: it is there whole or not at all, wherever the
/// process ends. With a file, what was answered for outlives the process, though not a loss of power right after it.
/// Other processes may use the file at the same time.
#[derive(Debug)]
pub struct Store {
    connection: Connection,
    /// Open CMP transactions, and how many there were when the transaction of the database began.
    open: Cell<usize>,
    open_before: Cell<usize>,
    /// When the ended CMP transactions were last looked through.
    forgot_s: Cell<u64>,
    /// Changes when another process writes.
    data_version: Cell<i64>,
}

impl Store {
    /// Opens a database file, which is made if needed, readable by its owner alone.
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o600)
            .open(path)?;
        let connection = Connection::open(path)?;
        connection.busy_timeout(BUSY_TIMEOUT)?;
        connection.pragma_update(None, "journal_mode", "wal")?;
        connection.pragma_update(None, "synchronous", "normal")?;
        Self::with_connection(connection)
    }

    /// A database in memory, which goes with its value.
    ///
    /// # Errors
    /// [`StoreError::Sqlite`].
    pub fn in_memory() -> Result<Self, StoreError> {
        Self::with_connection(Connection::open_in_memory()?)
    }

    fn with_connection(mut connection: Connection) -> Result<Self, StoreError> {
        connection.set_prepared_statement_cache_capacity(CACHED_STATEMENTS);
        migrate(&mut connection)?;
        let open = connection.query_row(
            "SELECT count(*) FROM transactions WHERE deadline_s IS NOT NULL",
            [],
            |row| row.get(0),
        )?;
        Ok(Self {
            connection,
            open: Cell::new(open),
            open_before: Cell::new(open),
            forgot_s: Cell::new(0),
            data_version: Cell::new(0),
        })
    }

    /// Begins what [`commit`](Self::commit) makes last and [`roll_back`](Self::roll_back) undoes.
    pub(crate) fn begin(&self) -> Result<(), StoreError> {
        if !self.connection.is_autocommit() {
            self.roll_back()?;
        }
        self.open_before.set(self.open.get());
        self.execute("BEGIN IMMEDIATE")
    }

    pub(crate) fn commit(&self) -> Result<(), StoreError> {
        self.execute("COMMIT")
    }

    pub(crate) fn roll_back(&self) -> Result<(), StoreError> {
        self.open.set(self.open_before.get());
        self.execute("ROLLBACK")
    }

    /// Whether another process has written since this was asked last; the first time, yes.
    pub(crate) fn was_changed_elsewhere(&self) -> Result<bool, StoreError> {
        let mut select = self.connection.prepare_cached("PRAGMA data_version")?;
        let version = select.query_row([], |row| row.get(0))?;
        Ok(self.data_version.replace(version) != version)
    }

    /// The newest hierarchy that was announced here; 0 if none was.
    pub(crate) fn generation(&self) -> Result<u32, StoreError> {
        let mut select = self
            .connection
            .prepare_cached("SELECT coalesce(max(number), 0) FROM generations")?;
        Ok(select.query_row([], |row| row.get(0))?)
    }

    /// Announces a hierarchy whose files are there.
    ///
    /// # Errors
    /// [`StoreError::Sqlite`].
    pub fn announce_generation(&self, number: u32, now_s: u64) -> Result<(), StoreError> {
        let mut insert = self
            .connection
            .prepare_cached("INSERT OR IGNORE INTO generations (number, began_s) VALUES (?1, ?2)")?;
        insert.execute((number, now_s))?;
        Ok(())
    }

    fn execute(&self, sql: &str) -> Result<(), StoreError> {
        self.connection.prepare_cached(sql)?.execute([])?;
        Ok(())
    }
}

fn migrate(connection: &mut Connection) -> Result<(), StoreError> {
    let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    let version = transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
    match version {
        SCHEMA_VERSION => Ok(()),
        0 => {
            transaction.execute_batch(include_str!("schema.sql"))?;
            transaction.execute_batch(include_str!("forwards.sql"))?;
            transaction.pragma_update(None, "user_version", SCHEMA_VERSION)?;
            Ok(transaction.commit()?)
        }
        other => Err(StoreError::Version(other)),
    }
}

/// Lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_database_of_a_later_version_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.sqlite");
        let store = Store::open(&path).unwrap();
        store.connection.pragma_update(None, "user_version", 2).unwrap();
        drop(store);
        assert!(matches!(Store::open(&path), Err(StoreError::Version(2))));
    }

    #[test]
    fn the_database_and_what_lies_beside_it_is_for_its_owner() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("state.sqlite")).unwrap();
        store.begin().unwrap();
        store.commit().unwrap();
        for entry in std::fs::read_dir(folder.path()).unwrap() {
            let entry = entry.unwrap();
            let mode = entry.metadata().unwrap().permissions().mode();
            assert_eq!(mode & 0o077, 0, "{}", entry.path().display());
        }
    }
}
