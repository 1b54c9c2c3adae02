//! What the bridge's own HTTP servers have in common: the admin address and, in mode `sidecar`, the one for the CSMS.

mod client;
mod problem;
mod secret;
mod server;

use std::{net::IpAddr, time::Duration};

use axum::{
    Router,
    body::{Body, Bytes, HttpBody, to_bytes},
    extract::{Query, Request},
    http::{HeaderMap, Uri, header, uri::Authority},
    response::{IntoResponse, Response},
    routing::MethodRouter,
};
use serde::{Serialize, de::DeserializeOwned};

pub use client::{CallError, PeerError};
pub(crate) use client::{Peer, PeerLimits};
pub(crate) use problem::Problem;
pub(crate) use secret::Token;
pub use secret::{SecretError, SecretFile};
pub(crate) use server::serve;

/// The longest time that the body of a request may take to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// Paths with what answers there.
pub(crate) type Paths<S> = Box<[(&'static str, MethodRouter<S>)]>;

/// A router with these paths.
pub(crate) fn routes<S: Clone + Send + Sync + 'static>(paths: Paths<S>) -> Router<S> {
    let paths = paths.into_vec().into_iter();
    paths.fold(Router::new(), |router, (path, methods)| {
        router.route(path, methods)
    })
}

/// Reads a whole body of at most `max_bytes`.
async fn body(body: Body, max_bytes: usize) -> Result<Bytes, Problem> {
    let too_large = Problem::TooLarge { max_bytes };
    if HttpBody::size_hint(&body).lower() > max_bytes as u64 {
        return Err(too_large);
    }
    match tokio::time::timeout(BODY_TIMEOUT, to_bytes(body, max_bytes)).await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(error)) if is_too_long(&error) => Err(too_large),
        Ok(Err(_)) => Err(Problem::BodyBrokeOff),
        Err(_) => Err(Problem::TooSlow),
    }
}

/// Reads a body that is JSON and says so: a page of another site cannot make a browser send that without asking first.
pub(crate) async fn json_body<T: DeserializeOwned>(request: Request, max_bytes: usize) -> Result<T, Problem> {
    let content_type = request.headers().get(header::CONTENT_TYPE);
    let media_type = content_type.and_then(|value| value.to_str().ok()?.split(';').next());
    if !media_type.is_some_and(|media_type| media_type.trim().eq_ignore_ascii_case("application/json")) {
        return Err(Problem::NotJson);
    }
    let bytes = body(request.into_body(), max_bytes).await?;
    serde_json::from_slice(&bytes).map_err(Problem::Json)
}

/// Reads the query of a URI.
pub(crate) fn query<T: DeserializeOwned>(uri: &Uri) -> Result<T, Problem> {
    let query = Query::try_from_uri(uri);
    query
        .map(|Query(query)| query)
        .map_err(|error| Problem::Query(error.body_text()))
}

/// An answer in JSON that nobody keeps.
pub(crate) fn json(value: &impl Serialize) -> Response {
    let headers = [
        (header::CONTENT_TYPE, "application/json"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    match serde_json::to_vec(value) {
        Ok(bytes) => (headers, bytes).into_response(),
        Err(error) => {
            tracing::error!(%error, "an answer cannot be written");
            Problem::Internal.into_response()
        }
    }
}

/// What is after `Bearer ` in the header Authorization.
pub(crate) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers
        .get(header::AUTHORIZATION)?
        .to_str()
        .ok()?
        .split_once(' ')?;
    scheme.eq_ignore_ascii_case("Bearer").then_some(token.trim())
}

/// Lets in who shows the token; without one, who means this machine by a name that only this machine has.
pub(crate) fn admit(token: Option<&Token>, request: &Request) -> Result<(), Problem> {
    match token {
        Some(token) => token.check(request.headers()),
        None if is_for_loopback(request) => Ok(()),
        None => Err(Problem::Host),
    }
}

/// Whether a request means this machine by a name that only this machine has. A name of elsewhere can be made to point here,
/// and then a browser on this machine would ask for a page of elsewhere.
fn is_for_loopback(request: &Request) -> bool {
    let host = request
        .headers()
        .get(header::HOST)
        .and_then(|host| host.to_str().ok());
    let authority: Option<Authority> = host.and_then(|host| host.parse().ok());
    authority.is_some_and(|authority| {
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        host.eq_ignore_ascii_case("localhost") || host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
    })
}

fn is_too_long(error: &axum::Error) -> bool {
    let source = std::error::Error::source(error);
    source.is_some_and(|source| source.is::<http_body_util::LengthLimitError>())
}

/// The paths of an OpenAPI document.
#[cfg(test)]
pub(crate) fn described(openapi: &str) -> std::collections::BTreeSet<String> {
    let description: serde_json::Value = serde_json::from_str(openapi).unwrap();
    description["paths"]
        .as_object()
        .unwrap()
        .keys()
        .cloned()
        .collect()
}

/// The same of a router.
#[cfg(test)]
pub(crate) fn names<S>(all: &[Paths<S>]) -> std::collections::BTreeSet<String> {
    all.iter().flatten().map(|(path, _)| (*path).to_owned()).collect()
}
