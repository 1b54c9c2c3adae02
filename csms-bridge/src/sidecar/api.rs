//! What the CSMS asks.

use std::sync::Arc;

use axum::{
    extract::{Path, Request, State},
    http::{StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use cmp_binding::{Answer as BindingAnswer, is_vendor_id};
use ocpp_rpc::{
    RawValue, Version,
    data_transfer::{self, Response as WireResponse},
    ws::IDENTITY_MAX_CHARS,
};
use serde::Deserialize;
use serde_json::json;
use tracing::info;

use super::{Connection, Shared};
use crate::{
    Boot, StationKey,
    access::Shown,
    http::{self, Problem},
    link::{from_wire, response_of},
};

/// The largest body that says of a station that it is connected.
const MAX_BODY_BYTES: usize = 4096;
/// The longest name of a connection, in characters.
const MAX_NAME_CHARS: usize = 64;

type Answer = Result<Response, Problem>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Connected {
    boot: BootState,
    authenticated: Authenticated,
    version: OcppVersion,
    /// The largest frame that the CSMS or the station's way to it takes, in bytes.
    unit: Option<usize>,
    connection: Option<String>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum BootState {
    Pending,
    Accepted,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Authenticated {
    None,
    Password,
    Certificate,
}

#[derive(Clone, Copy, Debug, Deserialize)]
enum OcppVersion {
    #[serde(rename = "1.6")]
    V1_6,
    #[serde(rename = "2.0.1")]
    V2_0_1,
    #[serde(rename = "2.1")]
    V2_1,
}

/// The CSMS says that a station is connected, and in which state.
pub(super) async fn connected(
    State(shared): State<Arc<Shared>>,
    Path(identity): Path<String>,
    request: Request,
) -> Answer {
    let key = key(&identity)?;
    let told: Connected = http::json_body(request, MAX_BODY_BYTES).await?;
    check(&told)?;
    admit(&shared, &key, &told).await?;
    let lease = shared.config.sidecar.lease();
    let known = shared.stations().get(&key).cloned();
    let is_it = |known: &Arc<Connection>| known.name == told.connection && known.session.is_newest();
    let connection = match known.filter(is_it) {
        Some(known) => {
            known.renew(lease);
            known
        }
        None => begin(&shared, &key, &told).await?,
    };
    let session = &connection.session;
    if let Some(unit) = told.unit {
        session.limit_unit(unit).await;
    }
    // Asked before its boot state changes: who is let in was held until now.
    let served = session.may_be_let_in().await;
    match told.boot {
        BootState::Accepted => session.set_boot(Boot::Accepted).await,
        BootState::Pending => {
            session.set_boot(Boot::Pending).await;
            if shared.sidecar.webhook.is_some() {
                session.start_pull().await;
            }
        }
    }
    Ok(http::json(
        &json!({ "lease_s": lease.as_secs(), "served": served }),
    ))
}

fn check(told: &Connected) -> Result<(), Problem> {
    let name = told.connection.as_deref().unwrap_or("-");
    if name.is_empty() || name.chars().count() > MAX_NAME_CHARS {
        return Err(Problem::Value {
            name: "connection",
            expected: "1 to 64 characters",
        });
    }
    if told.unit.is_some_and(|unit| unit < cmp_binding::MIN_UNIT) {
        return Err(Problem::Value {
            name: "unit",
            expected: "512 or more bytes",
        });
    }
    Ok(())
}

async fn admit(shared: &Shared, key: &StationKey, told: &Connected) -> Result<(), Problem> {
    if told.authenticated == Authenticated::None && !shared.config.sidecar.accept_unauthenticated {
        shared.relay.metrics().reject("unauthenticated");
        return Err(Problem::Unauthenticated);
    }
    // The CSMS has seen what the station showed; here it is only looked up.
    let shown = Shown {
        address: std::net::Ipv4Addr::LOCALHOST.into(),
        identity: &key.identity,
        certificate: None,
        basic: None,
        wants_password: false,
    };
    match shared.access.admit(shown).await {
        Ok(_) => Ok(()),
        Err(_) => {
            shared.relay.metrics().reject("unlisted");
            Err(Problem::Unlisted)
        }
    }
}

async fn begin(shared: &Arc<Shared>, key: &StationKey, told: &Connected) -> Result<Arc<Connection>, Problem> {
    if shared.stations().len() >= shared.config.max_connections {
        return Err(Problem::Overloaded);
    }
    let session = shared.relay.connect(key.clone()).await.ok_or(Problem::Store)?;
    info!(
        station = %key,
        version = ?told.version,
        boot = ?told.boot,
        authenticated = ?told.authenticated,
        "station connected"
    );
    let connection = Connection::begin(shared, key, session, told.connection.clone());
    shared.stations().insert(key.clone(), Arc::clone(&connection));
    Ok(connection)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Which {
    connection: Option<String>,
}

/// The CSMS says that a station is not connected any more. With the name of a connection, only if it is that one.
pub(super) async fn disconnected(
    State(shared): State<Arc<Shared>>,
    Path(identity): Path<String>,
    uri: Uri,
) -> Answer {
    let key = key(&identity)?;
    let which: Which = http::query(&uri)?;
    let removed = {
        let mut stations = shared.stations();
        let is_it =
            |connection: &Arc<Connection>| which.connection.is_none() || which.connection == connection.name;
        stations
            .get(&key)
            .is_some_and(is_it)
            .then(|| stations.remove(&key))
    };
    if let Some(Some(connection)) = removed {
        // Its task ends by itself; but what comes next is to find it gone.
        connection.session.disconnect().await;
    }
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Answers a DataTransfer of a station as the CSMS is to answer it.
pub(super) async fn data_transfer(
    State(shared): State<Arc<Shared>>,
    Path(identity): Path<String>,
    request: Request,
) -> Answer {
    let key = key(&identity)?;
    let payload: Box<RawValue> = http::json_body(request, shared.config.max_frame_bytes).await?;
    let wire = data_transfer::Request::parse(&payload).map_err(Problem::DataTransfer)?;
    if !is_vendor_id(&shared.config.vendor_id, &wire.vendor_id) {
        return Ok(response(&WireResponse::new(
            data_transfer::Status::UnknownVendorId,
            None,
        )));
    }
    let connection = shared.stations().get(&key).cloned().ok_or(Problem::NotTold)?;
    connection.renew(shared.config.sidecar.lease());
    if connection.session.is_pending().await {
        return Err(Problem::Pending);
    }
    let message_id = wire.message_id.as_deref().unwrap_or_default().to_owned();
    let data = wire.data.as_ref().map(from_wire);
    let answer: Option<BindingAnswer> = connection.session.data_transfer(message_id, data).await;
    answer
        .map(|answer| response(&response_of(&answer)))
        .ok_or(Problem::NotTold)
}

fn response(response: &WireResponse<'_>) -> Response {
    // Nothing in it depends on the version.
    let payload = response.to_payload(Version::V2_0_1);
    let headers = [
        (header::CONTENT_TYPE, "application/json"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    (headers, String::from(Box::<str>::from(payload))).into_response()
}

/// A station of the CSMS: it has no listener and no path here.
fn key(identity: &str) -> Result<StationKey, Problem> {
    let chars = identity.chars().count();
    if chars == 0 || chars > IDENTITY_MAX_CHARS || identity.chars().any(char::is_control) {
        return Err(Problem::Value {
            name: "the identity in the path",
            expected: "1 to 48 characters without control characters",
        });
    }
    Ok(StationKey {
        identity: identity.into(),
        ..StationKey::default()
    })
}
