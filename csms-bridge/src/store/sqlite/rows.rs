//! Between rows and values.

use std::{str::FromStr, time::Duration};

use cmp_binding::{
    ErrorCode, ExchangeId, Route,
    csms::{Record, Stage},
};
use rusqlite::Row;
use serde::{Deserialize, de::value::StrDeserializer};

use super::super::{AuditEntry, Outcome, StationKey};
use super::database::Error;
use crate::header::BodyType;

/// A value that this program does not write.
#[derive(Debug, thiserror::Error)]
#[error("the store is damaged: {0} has an impossible value")]
pub(super) struct Damaged(pub(super) &'static str);

pub(super) fn milliseconds(at: Duration) -> i64 {
    i64::try_from(at.as_millis()).unwrap_or(i64::MAX)
}

pub(super) fn time(row: &Row<'_>, column: usize) -> Result<Duration, rusqlite::Error> {
    Ok(Duration::from_millis(row.get(column)?))
}

pub(super) fn station_key(row: &Row<'_>, first: usize) -> Result<StationKey, rusqlite::Error> {
    Ok(StationKey {
        listener: row.get(first)?,
        prefix: row.get(first + 1)?,
        identity: row.get(first + 2)?,
    })
}

pub(super) fn exchange_id(row: &Row<'_>, column: usize) -> Result<ExchangeId, Error> {
    Ok(ExchangeId::from_random(row.get(column)?))
}

/// Name of a stage, response and error.
pub(super) fn stage_columns(stage: &Stage) -> (&'static str, Option<&[u8]>, Option<&'static str>) {
    match stage {
        Stage::Held => ("held", None, None),
        Stage::Deposited => ("deposited", None, None),
        Stage::Answered(response) => ("answered", Some(response), None),
        Stage::Failed(code) => ("failed", None, Some(code.as_str())),
        // A stage that is not known here is one that has gone on.
        _ => ("asked", None, None),
    }
}

pub(super) fn record(row: &Row<'_>) -> Result<Record, Error> {
    let stage = match row.get_ref(3)?.as_str().map_err(|_| Damaged("exchanges.stage"))? {
        "held" => Stage::Held,
        "asked" => Stage::Asked,
        "deposited" => Stage::Deposited,
        "answered" => Stage::Answered(row.get(4)?),
        "failed" => Stage::Failed(error_code(&row.get::<_, String>(5)?)?),
        _ => return Err(Damaged("exchanges.stage").into()),
    };
    Ok(Record {
        id: exchange_id(row, 0)?,
        route: route(row, 1)?,
        request: row.get(2)?,
        stage,
        at: time(row, 6)?,
    })
}

pub(super) fn audit_entry(row: &Row<'_>) -> Result<AuditEntry, Error> {
    let outcome = match row.get_ref(12)?.as_str().map_err(|_| Damaged("audit.outcome"))? {
        "held" => Outcome::Held,
        "asked" => Outcome::Asked,
        "answered" => Outcome::Answered,
        "failed" => Outcome::Failed(error_code(&row.get::<_, String>(13)?)?),
        _ => return Err(Damaged("audit.outcome").into()),
    };
    let operation: Option<String> = row.get(6)?;
    Ok(AuditEntry {
        number: row.get(0)?,
        station: station_key(row, 1)?,
        exchange: exchange_id(row, 4)?,
        route: route(row, 5)?,
        operation: operation
            .and_then(|name| BodyType::from_name(&name))
            .map(BodyType::name),
        transaction_id: row.get(7)?,
        request_bytes: row.get(8)?,
        request_sha256: row.get(9)?,
        accepted_at_s: row.get(10)?,
        target: row.get(11)?,
        outcome,
        outcome_at_s: row.get(14)?,
        response_bytes: row.get(15)?,
        response_sha256: row.get(16)?,
        done_at_s: row.get(17)?,
    })
}

fn route(row: &Row<'_>, column: usize) -> Result<Route, Error> {
    let name: String = row.get(column)?;
    Ok(Route::from_str(&name).map_err(|_| Damaged("route"))?)
}

fn error_code(name: &str) -> Result<ErrorCode, Error> {
    let code = ErrorCode::deserialize(StrDeserializer::<serde::de::value::Error>::new(name));
    Ok(code.map_err(|_| Damaged("error"))?)
}
