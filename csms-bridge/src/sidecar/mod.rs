//! Mode `sidecar`: a CSMS that has the stations passes their DataTransfers on over HTTP, says who is connected, and takes
//! the bridge's calls at a webhook. `openapi.json` describes it.
//!
//! ```text
//! station ══OCPP══ CSMS ──PUT /v1/stations/ID, POST …/data-transfer──► here ──► relay
//!                    ▲                                                            │
//!                    └────────────── POST WEBHOOK (signed) ◄──────────────────────┘
//! ```

mod api;
mod connection;
mod webhook;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use axum::{
    Router,
    extract::{Request, State},
    http::header,
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{get, post, put},
};
use tokio::{sync::watch, task::JoinSet};
use tracing::warn;

use crate::{
    Config, StationKey,
    access::Access,
    http::{self, PeerError, Problem, SecretError, SecretFile, Token},
    listen::{Listeners, Terms},
    relay::Relay,
};
use connection::Connection;
use webhook::Webhook;

/// HTTP connections of the CSMS at a time.
const MAX_CONNECTIONS: usize = 1_000;

/// Why the CSMS cannot be served.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SidecarError {
    /// The token cannot be used.
    #[error("sidecar.token_file: {0}")]
    Token(#[source] SecretError),
    /// The key of the webhook cannot be used.
    #[error("sidecar.webhook_secret_file: {0}")]
    Secret(#[source] SecretError),
    /// The webhook cannot be asked.
    #[error("sidecar.webhook: {0}")]
    Webhook(#[source] PeerError),
}

/// What the CSMS is served with: secrets are read, nothing is open yet.
pub(crate) struct Sidecar {
    token: Option<Token>,
    webhook: Option<Webhook>,
}

/// What the handlers see.
struct Shared {
    config: Arc<Config>,
    relay: Arc<Relay>,
    access: Arc<Access>,
    sidecar: Arc<Sidecar>,
    /// The stations that the CSMS says are connected.
    stations: Mutex<HashMap<StationKey, Arc<Connection>>>,
    /// What looks after each of them.
    tasks: Mutex<JoinSet<()>>,
}

type Paths = http::Paths<Arc<Shared>>;

impl Sidecar {
    /// Reads the secrets that the configuration names.
    pub(crate) fn load(config: &Config) -> Result<Self, SidecarError> {
        let token = config.sidecar.token_file.as_deref().map(SecretFile::load);
        let token = token.transpose().map_err(SidecarError::Token)?;
        Ok(Self {
            token: token.as_ref().map(Token::new),
            webhook: Webhook::load(config)?,
        })
    }
}

/// Serves the CSMS until `stop` turns true; then lets what is in flight end within the drain time.
pub(crate) async fn serve(
    sidecar: Arc<Sidecar>,
    config: Arc<Config>,
    relay: Arc<Relay>,
    access: Arc<Access>,
    listeners: Listeners,
    stop: watch::Receiver<bool>,
) {
    let shared = Arc::new(Shared {
        config,
        relay,
        access,
        sidecar,
        stations: Mutex::default(),
        tasks: Mutex::default(),
    });
    let mut servers = JoinSet::new();
    for (tcp, terms) in listeners.into_each() {
        let router = router(&shared, &terms);
        servers.spawn(http::serve(
            tcp,
            Some(terms),
            router,
            MAX_CONNECTIONS,
            stop.clone(),
        ));
    }
    while servers.join_next().await.is_some() {}
    shared.stations().clear();
    let ended = async {
        let mut tasks = std::mem::take(&mut *shared.tasks());
        while tasks.join_next().await.is_some() {}
        shared.relay.drained().await;
    };
    if tokio::time::timeout(shared.config.drain(), ended).await.is_err() {
        warn!("not all that was in flight ended in time");
    }
}

impl Shared {
    fn stations(&self) -> MutexGuard<'_, HashMap<StationKey, Arc<Connection>>> {
        self.stations.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tasks(&self) -> MutexGuard<'_, JoinSet<()>> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What everybody may ask.
fn open_paths() -> Paths {
    Box::new([
        ("/healthz", get(async || "ok\n")),
        ("/openapi.json", get(openapi)),
    ])
}

/// What is for the CSMS alone.
fn closed_paths() -> Paths {
    Box::new([
        ("/v1/stations/{id}", put(api::connected).delete(api::disconnected)),
        ("/v1/stations/{id}/data-transfer", post(api::data_transfer)),
    ])
}

fn router(shared: &Arc<Shared>, terms: &Terms) -> Router {
    let gate = Gate {
        shared: Arc::clone(shared),
        knows_by_certificate: terms.requires_certificate(),
    };
    let closed = http::routes(closed_paths());
    let closed = closed.route_layer(middleware::from_fn_with_state(gate, let_in));
    http::routes(open_paths())
        .merge(closed)
        .fallback(async || Problem::NoSuchPath)
        .method_not_allowed_fallback(async || Problem::Method)
        .with_state(Arc::clone(shared))
}

#[derive(Clone)]
struct Gate {
    shared: Arc<Shared>,
    /// Who gets as far as here has shown a certificate of the CSMS.
    knows_by_certificate: bool,
}

async fn let_in(State(gate): State<Gate>, request: Request, next: Next) -> Response {
    let may = match &gate.shared.sidecar.token {
        None if gate.knows_by_certificate => Ok(()),
        token => http::admit(token.as_ref(), &request),
    };
    match may {
        Ok(()) => next.run(request).await,
        Err(problem) => {
            gate.shared.relay.metrics().reject("sidecar-access");
            problem.into_response()
        }
    }
}

/// The API's description.
const OPENAPI: &str = include_str!("openapi.json");

async fn openapi() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], OPENAPI)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_description_has_the_paths_that_exist_and_no_others() {
        assert_eq!(
            http::described(OPENAPI),
            http::names(&[open_paths(), closed_paths()])
        );
    }
}
