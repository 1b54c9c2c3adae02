//! The audit trail: who asked what when, and what came of it. It is written from the same changes as the exchanges.

use std::time::Duration;

use cmp_binding::{
    ErrorCode, ExchangeId, Route,
    csms::{Record, Stage},
};
use serde::{Serialize, Serializer};

use super::StationKey;
use crate::{
    digest::{Hex, sha256},
    header,
};

/// One exchange in the audit trail. Times are seconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AuditEntry {
    /// Its place in the trail.
    pub number: u64,
    /// Who asked.
    pub station: StationKey,
    /// Name of the exchange.
    pub exchange: ExchangeId,
    /// The route that was asked for.
    pub route: Route,
    /// The body of the request (RFC 9810 §5.1.2), where its outer tag says one: `ir`, `kur`, `certConf` and so on.
    pub operation: Option<&'static str>,
    /// The transactionID of the request, where it has one.
    #[serde(serialize_with = "hex_or_null")]
    pub transaction_id: Option<Vec<u8>>,
    /// Size of the request.
    pub request_bytes: usize,
    /// SHA-256 of the request.
    #[serde(serialize_with = "hex")]
    pub request_sha256: [u8; 32],
    /// When all of the request was here.
    pub accepted_at_s: u64,
    /// The URL that it was written to.
    pub target: Option<String>,
    /// How it stands.
    pub outcome: Outcome,
    /// Since when.
    pub outcome_at_s: u64,
    /// Size of the response.
    pub response_bytes: Option<usize>,
    /// SHA-256 of the response.
    #[serde(serialize_with = "hex_or_null")]
    pub response_sha256: Option<[u8; 32]>,
    /// When the station acknowledged the response or gave the exchange up, or its retention was over.
    pub done_at_s: Option<u64>,
}

/// How an exchange stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// No byte of the request can have reached an RA.
    Held,
    /// A byte may have, and no answer came yet.
    Asked,
    /// An RA has answered.
    Answered,
    /// It is over without an answer.
    Failed(ErrorCode),
}

/// What to look for in the audit trail.
#[derive(Clone, Debug)]
pub struct AuditQuery {
    /// Entries of stations of this identity alone.
    pub identity: Option<String>,
    /// Failures alone.
    pub failed: bool,
    /// Entries below this number alone: the last one seen, to go on.
    pub before: Option<u64>,
    /// So many at most.
    pub limit: usize,
}

impl Default for AuditQuery {
    fn default() -> Self {
        Self {
            identity: None,
            failed: false,
            before: None,
            limit: 100,
        }
    }
}

impl AuditQuery {
    pub(super) fn takes(&self, entry: &AuditEntry) -> bool {
        self.identity
            .as_ref()
            .is_none_or(|identity| *identity == entry.station.identity)
            && (!self.failed || matches!(entry.outcome, Outcome::Failed(_)))
            && self.before.is_none_or(|before| entry.number < before)
    }
}

impl AuditEntry {
    pub(super) fn accepted(number: u64, station: &StationKey, record: &Record) -> Self {
        let mut entry = Self {
            number,
            station: station.clone(),
            exchange: record.id,
            route: record.route.clone(),
            operation: header::body_type(&record.request).map(header::BodyType::name),
            transaction_id: header::transaction_id(&record.request),
            request_bytes: record.request.len(),
            request_sha256: sha256(&record.request),
            accepted_at_s: record.at.as_secs(),
            target: None,
            outcome: Outcome::Held,
            outcome_at_s: record.at.as_secs(),
            response_bytes: None,
            response_sha256: None,
            done_at_s: None,
        };
        entry.set(&record.stage, record.at);
        entry
    }

    pub(super) fn set(&mut self, stage: &Stage, at: Duration) {
        self.outcome = Outcome::of(stage);
        self.outcome_at_s = at.as_secs();
        let response = match stage {
            Stage::Answered(response) => Some(response),
            _ => None,
        };
        self.response_bytes = response.map(Vec::len);
        self.response_sha256 = response.map(|response| sha256(response));
        if *stage == Stage::Held {
            // Not a byte was written there after all.
            self.target = None;
        }
    }
}

impl Outcome {
    pub(super) const fn of(stage: &Stage) -> Self {
        match stage {
            Stage::Held => Self::Held,
            Stage::Answered(_) => Self::Answered,
            Stage::Failed(code) => Self::Failed(*code),
            // A stage that is not known here is one that has gone on.
            _ => Self::Asked,
        }
    }
}

fn hex<S: Serializer>(bytes: &[u8; 32], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&Hex(bytes))
}

fn hex_or_null<S: Serializer>(bytes: &Option<impl AsRef<[u8]>>, serializer: S) -> Result<S::Ok, S::Error> {
    match bytes {
        Some(bytes) => serializer.collect_str(&Hex(bytes.as_ref())),
        None => serializer.serialize_none(),
    }
}
