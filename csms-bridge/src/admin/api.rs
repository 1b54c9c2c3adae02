//! The API below `/v1`; `openapi.json` describes it.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use axum::{
    extract::{Path, Request, State},
    http::{StatusCode, Uri},
    response::{IntoResponse, Response},
};
use cmp_binding::DoOperation;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{Shared, station::StationDoc};
use crate::{AuditQuery, StationKey, clock, config::DEFAULT_SLOT, http, http::Problem};

/// The largest body that is read.
const MAX_BODY_BYTES: usize = 4096;
/// Stations of one answer.
const MAX_STATIONS: usize = 1_000;
/// Entries of the audit trail in one answer.
const MAX_ENTRIES: usize = 1_000;
/// Entries of the audit trail that are shown with a station.
const STATION_ENTRIES: usize = 20;
/// How long a station gets to answer: longer than OCPP's usual call time-out.
const NOTIFY_TIMEOUT: Duration = Duration::from_secs(45);
/// The longest name of a slot, in characters.
const MAX_SLOT_CHARS: usize = 64;

type Answer = Result<Response, Problem>;

/// How the bridge as a whole does.
pub(super) async fn status(State(shared): State<Arc<Shared>>) -> Response {
    let bridge = &shared.bridge;
    http::json(&json!({
        "version": env!("CARGO_PKG_VERSION"),
        "mode": bridge.config.mode,
        "now_s": clock::utc().as_secs(),
        "draining": *shared.draining.borrow(),
        "in_flight": bridge.in_flight(),
        "routes": bridge.routes(),
    }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StationsQuery {
    limit: Option<usize>,
    after: Option<String>,
    #[serde(default)]
    trouble: bool,
    #[serde(default)]
    connected: bool,
    #[serde(default)]
    search: String,
}

#[derive(Serialize)]
struct StationsPage {
    /// Of all, whatever was asked for.
    total: usize,
    connected: usize,
    troubled: usize,
    /// What was asked for.
    matching: usize,
    stations: Vec<StationDoc>,
    /// To be sent as `after` to go on.
    next: Option<String>,
}

/// All stations that are known, in the order of listener, path and identity.
pub(super) async fn stations(State(shared): State<Arc<Shared>>, uri: Uri) -> Answer {
    let query: StationsQuery = http::query(&uri)?;
    let after = query.after.as_deref().map(read_cursor).transpose()?;
    let limit = limit(query.limit, MAX_STATIONS)?;
    let all = known(&shared).await?;
    let count = |is: fn(&StationDoc) -> bool| all.values().filter(|station| is(station)).count();
    let (total, connected) = (all.len(), count(|station| station.connected));
    let troubled = count(|station| !station.trouble.is_empty());
    let search = query.search.to_lowercase();
    let wanted = |station: &StationDoc| {
        (!query.trouble || !station.trouble.is_empty())
            && (!query.connected || station.connected)
            && station.key().to_string().to_lowercase().contains(&search)
    };
    let matching: Vec<_> = all.into_values().filter(wanted).collect();
    let count = matching.len();
    let rest = matching
        .into_iter()
        .filter(|station| after.as_ref().is_none_or(|after| station.key() > after));
    let mut stations: Vec<_> = rest.take(limit + 1).collect();
    let has_more = stations.len() > limit;
    stations.truncate(limit);
    let next = stations.last().filter(|_| has_more);
    Ok(http::json(&StationsPage {
        total,
        connected,
        troubled,
        matching: count,
        next: next.map(|last| cursor(last.key())),
        stations,
    }))
}

/// All of memory and store; what is in memory is newer.
async fn known(shared: &Shared) -> Result<BTreeMap<StationKey, StationDoc>, Problem> {
    let now = clock::utc();
    let relay = &shared.bridge.relay;
    let stored = relay.store().stations().await?.into_iter();
    let mut all: BTreeMap<_, _> = stored
        .map(|(key, facts)| (key.clone(), StationDoc::stored(key, facts, now)))
        .collect();
    for view in relay.stations().await {
        all.insert(view.key.clone(), StationDoc::new(view, now));
    }
    Ok(all)
}

fn cursor(key: &StationKey) -> String {
    json!([key.listener, key.prefix, key.identity]).to_string()
}

fn read_cursor(text: &str) -> Result<StationKey, Problem> {
    let parts: Result<(String, String, String), _> = serde_json::from_str(text);
    let (listener, prefix, identity) = parts.map_err(|_| Problem::Value {
        name: "after",
        expected: "what the answer before had as next",
    })?;
    Ok(StationKey {
        listener,
        prefix,
        identity,
    })
}

fn limit(asked: Option<usize>, max: usize) -> Result<usize, Problem> {
    let limit = asked.unwrap_or(100);
    if (1..=max).contains(&limit) {
        Ok(limit)
    } else {
        Err(Problem::Value {
            name: "limit",
            expected: "1 to 1,000",
        })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Which {
    listener: Option<String>,
    prefix: Option<String>,
}

impl Which {
    fn is(&self, key: &StationKey) -> bool {
        self.listener
            .as_ref()
            .is_none_or(|listener| *listener == key.listener)
            && self.prefix.as_ref().is_none_or(|prefix| *prefix == key.prefix)
    }
}

/// The one station of this identity, in memory or else in the store.
async fn find(shared: &Shared, identity: &str, uri: &Uri) -> Result<StationKey, Problem> {
    let which: Which = http::query(uri)?;
    let relay = &shared.bridge.relay;
    let mut found = relay.keys_of(identity);
    found.retain(|key| which.is(key));
    if found.is_empty() {
        let stored = relay.store().stations().await?;
        let keys = stored.into_iter().map(|(key, _)| key);
        found.extend(keys.filter(|key| key.identity == identity && which.is(key)));
    }
    match (found.len(), found.pop()) {
        (1, Some(key)) => Ok(key),
        (0, _) => Err(Problem::UnknownStation),
        (many, _) => Err(Problem::Ambiguous(many)),
    }
}

/// One station, with its last exchanges.
pub(super) async fn station(
    State(shared): State<Arc<Shared>>,
    Path(identity): Path<String>,
    uri: Uri,
) -> Answer {
    let key = find(&shared, &identity, &uri).await?;
    let (relay, now) = (&shared.bridge.relay, clock::utc());
    let station = match relay.station(&key).await {
        Some(view) => StationDoc::new(view, now),
        None => {
            let stored = relay.store().load(&key).await?;
            StationDoc::stored(key.clone(), stored.facts, now)
        }
    };
    let query = AuditQuery {
        identity: Some(identity),
        limit: STATION_ENTRIES,
        ..AuditQuery::default()
    };
    let mut exchanges = relay.store().audit(query).await?;
    exchanges.retain(|entry| entry.station == key);
    Ok(http::json(&json!({ "station": station, "exchanges": exchanges })))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Order {
    r#do: String,
    slot: Option<String>,
}

/// Asks a station to do something, and waits for what it says.
pub(super) async fn notify(
    State(shared): State<Arc<Shared>>,
    Path(identity): Path<String>,
    uri: Uri,
    request: Request,
) -> Answer {
    let order: Order = http::json_body(request, MAX_BODY_BYTES).await?;
    let operation = DoOperation::parse(&order.r#do).ok_or(Problem::Value {
        name: "do",
        expected: "enroll, update, ca-certs, root-update, template or crl",
    })?;
    let slot = order.slot.as_deref().unwrap_or(DEFAULT_SLOT);
    if slot.is_empty() || slot.chars().count() > MAX_SLOT_CHARS {
        return Err(Problem::Value {
            name: "slot",
            expected: "1 to 64 characters",
        });
    }
    let key = find(&shared, &identity, &uri).await?;
    tracing::info!(station = %key, operation = operation.as_str(), slot = %slot.escape_default(), "an operator asks the station");
    let asked = shared.bridge.notify(&key, operation, slot);
    match tokio::time::timeout(NOTIFY_TIMEOUT, asked).await {
        Ok(result) => result?,
        Err(_) => return Err(Problem::NotifyTimedOut),
    }
    Ok(StatusCode::NO_CONTENT.into_response())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TrailQuery {
    identity: Option<String>,
    #[serde(default)]
    failed: bool,
    before: Option<u64>,
    limit: Option<usize>,
}

/// Who asked what when, and what came of it; the newest first.
pub(super) async fn audit(State(shared): State<Arc<Shared>>, uri: Uri) -> Answer {
    let query: TrailQuery = http::query(&uri)?;
    let limit = limit(query.limit, MAX_ENTRIES)?;
    let query = AuditQuery {
        identity: query.identity,
        failed: query.failed,
        before: query.before,
        limit,
    };
    let entries = shared.bridge.relay.store().audit(query).await?;
    let next = entries.last().filter(|_| entries.len() == limit);
    let next = next.map(|entry| entry.number);
    Ok(http::json(&json!({ "entries": entries, "next": next })))
}
