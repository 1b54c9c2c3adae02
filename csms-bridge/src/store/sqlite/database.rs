//! The statements.

use std::{path::Path, time::Duration};

use cmp_binding::csms::{Record, Stage, StationRecords, Write};
use rusqlite::{CachedStatement, Connection, OptionalExtension, Row, Transaction, params};

use super::super::{AuditEntry, AuditQuery, Batch, Facts, StationKey, Stored};
use super::{
    OpenError, Retention,
    rows::{Damaged, audit_entry, exchange_id, milliseconds, record, stage_columns, station_key, time},
};
use crate::{digest::sha256, header};

/// The schema, version by version: a file of an earlier version gets what comes after it.
const SCHEMAS: [&str; 3] = [
    include_str!("schema.sql"),
    include_str!("schema_2.sql"),
    include_str!("schema_3.sql"),
];
/// How long another program may hold the file.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Room for every statement of this module.
const CACHED_STATEMENTS: usize = 32;
/// Rows that are deleted in one go, so that stations do not wait for long.
const CLEAN_ROWS: i64 = 5_000;

/// The last entry of the audit trail of an exchange: its id may come again when it is forgotten.
macro_rules! last_of_exchange {
    () => {
        "WHERE number = (SELECT max(number) FROM audit WHERE station = ? AND exchange = ?)"
    };
}

#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
    #[error(transparent)]
    Damaged(#[from] Damaged),
    #[error("what is known of a station cannot be written: {0}")]
    Facts(#[from] serde_json::Error),
}

#[derive(Debug)]
pub(super) struct Database {
    connection: Connection,
    retention: Retention,
}

impl Database {
    pub(super) fn open(path: &Path, retention: Retention) -> Result<Self, OpenError> {
        let failed = |error| OpenError::Database(path.into(), error);
        let mut connection = Connection::open(path).map_err(failed)?;
        connection.set_prepared_statement_cache_capacity(CACHED_STATEMENTS);
        let version = prepare(&mut connection).map_err(failed)?;
        if version > SCHEMAS.len() as i64 {
            return Err(OpenError::Newer {
                path: path.into(),
                version,
            });
        }
        Ok(Self {
            connection,
            retention,
        })
    }

    /// All of the batches or none.
    pub(super) fn apply<'a>(&mut self, batches: impl IntoIterator<Item = &'a Batch>) -> Result<(), Error> {
        let transaction = self.connection.transaction()?;
        for batch in batches {
            apply(&transaction, batch)?;
        }
        Ok(transaction.commit()?)
    }

    pub(super) fn load(&mut self, station: &StationKey) -> Result<Stored, Error> {
        let found = self
            .statement(
                "SELECT number, facts FROM stations WHERE listener = ? AND prefix = ? AND identity = ?",
            )?
            .query_row(key(station), |row| {
                Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?))
            })
            .optional()?;
        let Some((number, facts)) = found else {
            return Ok(Stored::default());
        };
        let exchanges = self.rows(
            "SELECT id, route, request, stage, response, error, at_ms FROM exchanges WHERE station = ? ORDER BY number",
            [number],
            record,
        )?;
        let done = self.rows(
            "SELECT id, at_ms FROM done WHERE station = ? ORDER BY number",
            [number],
            |row| Ok((exchange_id(row, 0)?, time(row, 1)?)),
        )?;
        Ok(Stored {
            records: StationRecords {
                exchanges,
                done: done.into(),
            },
            facts: serde_json::from_str(&facts)?,
        })
    }

    pub(super) fn unfinished(&mut self) -> Result<Vec<StationKey>, Error> {
        self.rows(
            "SELECT listener, prefix, identity FROM stations
             WHERE number IN (SELECT station FROM exchanges WHERE stage IN ('held', 'asked', 'deposited'))",
            [],
            |row| Ok(station_key(row, 0)?),
        )
    }

    pub(super) fn target(
        &mut self,
        station: &StationKey,
        transaction_id: &[u8],
    ) -> Result<Option<String>, Error> {
        let mut statement = self.statement(
            "SELECT target FROM audit WHERE station =
                 (SELECT number FROM stations WHERE listener = ? AND prefix = ? AND identity = ?)
             AND transaction_id = ? AND target IS NOT NULL ORDER BY number DESC LIMIT 1",
        )?;
        let (listener, prefix, identity) = key(station);
        let values = params![listener, prefix, identity, transaction_id];
        Ok(statement.query_row(values, |row| row.get(0)).optional()?)
    }

    pub(super) fn stations(&mut self) -> Result<Vec<(StationKey, Facts)>, Error> {
        self.rows(
            "SELECT listener, prefix, identity, facts FROM stations ORDER BY identity",
            [],
            |row| {
                let facts = serde_json::from_str(&row.get::<_, String>(3)?)?;
                Ok((station_key(row, 0)?, facts))
            },
        )
    }

    pub(super) fn audit(&mut self, query: &AuditQuery) -> Result<Vec<AuditEntry>, Error> {
        let limit = i64::try_from(query.limit).unwrap_or(i64::MAX);
        let before = query
            .before
            .map_or(i64::MAX, |before| i64::try_from(before).unwrap_or(i64::MAX));
        // Each in words that an index serves: the thread is not to read a million entries while stations wait for it.
        let whose = match query.identity {
            Some(_) => "a.station IN (SELECT number FROM stations WHERE identity = ?2)",
            None => "?2 IS NULL",
        };
        let which = match query.failed {
            true => "outcome = 'failed'",
            false => "TRUE",
        };
        let sql = format!(
            "SELECT a.number, listener, prefix, identity, exchange, route, operation, transaction_id, request_bytes,
                 request_sha256, accepted_at_s, target, outcome, error, outcome_at_s, response_bytes, response_sha256,
                 done_at_s
             FROM audit AS a JOIN stations AS s ON a.station = s.number
             WHERE a.number < ?1 AND {whose} AND {which} ORDER BY a.number DESC LIMIT ?3"
        );
        self.rows(&sql, params![before, query.identity, limit], audit_entry)
    }

    /// Deletes what is too old, some of it at a time.
    pub(super) fn clean(&mut self, utc: Duration) -> Result<(), Error> {
        let day = |days: u64| utc.as_secs().saturating_sub(days.saturating_mul(86_400));
        self.connection.execute(
            "DELETE FROM audit WHERE number IN (SELECT number FROM audit WHERE accepted_at_s < ?1 LIMIT ?2)",
            params![day(self.retention.audit_d), CLEAN_ROWS],
        )?;
        self.connection.execute(
            "DELETE FROM audit WHERE number IN (SELECT number FROM audit
                 WHERE number <= (SELECT max(number) FROM audit) - ?1 LIMIT ?2)",
            params![self.retention.audit_entries, CLEAN_ROWS],
        )?;
        let transaction = self.connection.transaction()?;
        transaction.execute_batch("CREATE TEMP TABLE IF NOT EXISTS gone (number INTEGER PRIMARY KEY)")?;
        transaction.execute(
            "INSERT INTO gone SELECT number FROM stations AS s WHERE seen_at_s < ?1
                 AND NOT EXISTS (SELECT 1 FROM exchanges WHERE station = s.number)
                 AND NOT EXISTS (SELECT 1 FROM audit WHERE station = s.number) LIMIT ?2",
            params![day(self.retention.stations_d), CLEAN_ROWS],
        )?;
        transaction.execute_batch(
            "DELETE FROM done WHERE station IN (SELECT number FROM gone);
             DELETE FROM stations WHERE number IN (SELECT number FROM gone);
             DELETE FROM gone;",
        )?;
        Ok(transaction.commit()?)
    }

    fn statement(&self, sql: &str) -> Result<CachedStatement<'_>, rusqlite::Error> {
        self.connection.prepare_cached(sql)
    }

    fn rows<T>(
        &self,
        sql: &str,
        values: impl rusqlite::Params,
        read: impl Fn(&Row<'_>) -> Result<T, Error>,
    ) -> Result<Vec<T>, Error> {
        let mut statement = self.statement(sql)?;
        let mut rows = statement.query(values)?;
        let mut found = Vec::new();
        while let Some(row) = rows.next()? {
            found.push(read(row)?);
        }
        Ok(found)
    }
}

/// Sets the connection up and brings the schema up to date; returns the version of the file.
fn prepare(connection: &mut Connection) -> Result<i64, rusqlite::Error> {
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.pragma_update(None, "journal_mode", "wal")?;
    connection.pragma_update(None, "synchronous", "full")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    let version: i64 = transaction.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    let done = usize::try_from(version).unwrap_or(usize::MAX);
    for schema in SCHEMAS.iter().skip(done) {
        transaction.execute_batch(schema)?;
    }
    if done < SCHEMAS.len() {
        transaction.pragma_update(None, "user_version", SCHEMAS.len() as i64)?;
    }
    transaction.commit()?;
    Ok(version)
}

fn key(station: &StationKey) -> (&str, &str, &str) {
    (&station.listener, &station.prefix, &station.identity)
}

fn apply(transaction: &Transaction<'_>, batch: &Batch) -> Result<(), Error> {
    let station = station_number(transaction, batch)?;
    for write in &batch.writes {
        match write {
            Write::Accepted(record) => accept(transaction, station, record)?,
            Write::Stage { id, stage, at } => {
                let (name, response, error) = stage_columns(stage);
                let mut update = transaction.prepare_cached(
                    "UPDATE exchanges SET stage = ?, response = ?, error = ?, at_ms = ? WHERE station = ? AND id = ?",
                )?;
                let id = id.as_bytes();
                update.execute(params![name, response, error, milliseconds(*at), station, id])?;
                note_stage(transaction, station, id, stage, *at)?;
            }
            Write::Done { id, at } => {
                let id = id.as_bytes();
                transaction
                    .prepare_cached("DELETE FROM exchanges WHERE station = ? AND id = ?")?
                    .execute(params![station, id])?;
                transaction
                    .prepare_cached("INSERT OR REPLACE INTO done (station, id, at_ms) VALUES (?, ?, ?)")?
                    .execute(params![station, id, milliseconds(*at)])?;
                transaction
                    .prepare_cached(concat!("UPDATE audit SET done_at_s = ? ", last_of_exchange!()))?
                    .execute(params![at.as_secs(), station, id])?;
            }
            Write::Forget { id } => {
                transaction
                    .prepare_cached("DELETE FROM done WHERE station = ? AND id = ?")?
                    .execute(params![station, id.as_bytes()])?;
            }
            // All that there is.
            _ => {}
        }
    }
    if let Some((id, target)) = &batch.target {
        transaction
            .prepare_cached(concat!("UPDATE audit SET target = ? ", last_of_exchange!()))?
            .execute(params![target, station, id.as_bytes()])?;
    }
    Ok(())
}

/// The number of the batch's station, which is new or has new facts, or neither.
fn station_number(transaction: &Transaction<'_>, batch: &Batch) -> Result<i64, Error> {
    let (listener, prefix, identity) = key(&batch.station);
    if batch.facts.is_none() {
        let mut select = transaction.prepare_cached(
            "SELECT number FROM stations WHERE listener = ? AND prefix = ? AND identity = ?",
        )?;
        let number = select.query_row((listener, prefix, identity), |row| row.get(0));
        if let Some(number) = number.optional()? {
            return Ok(number);
        }
    }
    let facts = batch.facts.clone().unwrap_or_default();
    let mut upsert = transaction.prepare_cached(
        "INSERT INTO stations (listener, prefix, identity, facts, seen_at_s) VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT (listener, prefix, identity) DO UPDATE SET facts = ?4, seen_at_s = ?5 RETURNING number",
    )?;
    let json = serde_json::to_string(&facts)?;
    let values = params![listener, prefix, identity, json, facts.seen_at_s];
    Ok(upsert.query_row(values, |row| row.get(0))?)
}

fn accept(transaction: &Transaction<'_>, station: i64, record: &Record) -> Result<(), Error> {
    let id = record.id.as_bytes();
    let (stage, response, error) = stage_columns(&record.stage);
    let (at_ms, at_s) = (milliseconds(record.at), record.at.as_secs());
    transaction
        .prepare_cached(
            "INSERT INTO exchanges (station, id, route, request, stage, response, error, at_ms)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        )?
        .execute(params![
            station,
            id,
            record.route.as_str(),
            record.request,
            stage,
            response,
            error,
            at_ms
        ])?;
    transaction
        .prepare_cached(
            "INSERT INTO audit (station, exchange, route, operation, transaction_id, request_bytes, request_sha256,
                 accepted_at_s, outcome, outcome_at_s) VALUES (?, ?, ?, ?, ?, ?, ?, ?, 'held', ?)",
        )?
        .execute(params![
            station,
            id,
            record.route.as_str(),
            header::body_type(&record.request).map(header::BodyType::name),
            header::transaction_id(&record.request),
            record.request.len(),
            sha256(&record.request),
            at_s,
            at_s
        ])?;
    Ok(())
}

/// Writes to the audit trail where the exchange stands now.
fn note_stage(
    transaction: &Transaction<'_>,
    station: i64,
    id: &[u8; 16],
    stage: &Stage,
    at: Duration,
) -> Result<(), Error> {
    let (outcome, response, error) = stage_columns(stage);
    // Whom it was given to is what the target says.
    let outcome = if *stage == Stage::Deposited {
        "asked"
    } else {
        outcome
    };
    let sha256 = response.map(sha256);
    transaction
        .prepare_cached(concat!(
            "UPDATE audit SET outcome = ?, error = ?, outcome_at_s = ?, response_bytes = ?, response_sha256 = ?,
                 target = iif(?, NULL, target) ",
            last_of_exchange!()
        ))?
        .execute(params![
            outcome,
            error,
            at.as_secs(),
            response.map(<[u8]>::len),
            sha256,
            *stage == Stage::Held,
            station,
            id
        ])?;
    Ok(())
}
