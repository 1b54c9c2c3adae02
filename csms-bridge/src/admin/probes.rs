//! For machines: whether the process lives, whether it can work, and what it counts.

use std::{sync::Arc, time::Duration};

use axum::{
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::json;

use super::Shared;
use crate::{AuditQuery, TargetState, TargetView};

/// A store that takes longer does not work.
const STORE_TIMEOUT: Duration = Duration::from_secs(2);

/// The process lives.
pub(super) async fn healthz() -> impl IntoResponse {
    ([(header::CACHE_CONTROL, "no-store")], "ok\n")
}

/// The bridge can be given stations.
pub(super) async fn readyz(State(shared): State<Arc<Shared>>) -> Response {
    let reasons = reasons(&shared).await;
    let status = if reasons.is_empty() {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    let body = json!({ "ready": reasons.is_empty(), "reasons": reasons });
    let headers = [
        (header::CONTENT_TYPE, "application/json"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    (status, headers, body.to_string()).into_response()
}

/// Why it cannot.
async fn reasons(shared: &Shared) -> Vec<&'static str> {
    let relay = &shared.bridge.relay;
    let mut reasons = Vec::new();
    if *shared.draining.borrow() {
        reasons.push("the bridge is being stopped");
    }
    let one = AuditQuery {
        limit: 1,
        ..AuditQuery::default()
    };
    let read = tokio::time::timeout(STORE_TIMEOUT, relay.store().audit(one)).await;
    if !relay.store_works() || !matches!(read, Ok(Ok(_))) {
        reasons.push("the store does not work");
    }
    let rests = |target: &TargetView| target.state == TargetState::Resting;
    if relay.routes().iter().any(|route| route.targets.iter().all(rests)) {
        reasons.push("a route has no RA that answers");
    }
    reasons
}

/// In the text format of Prometheus.
pub(super) async fn metrics(State(shared): State<Arc<Shared>>) -> impl IntoResponse {
    let content_type = "text/plain; version=0.0.4; charset=utf-8";
    (
        [(header::CONTENT_TYPE, content_type)],
        shared.bridge.relay.metrics().render(),
    )
}
