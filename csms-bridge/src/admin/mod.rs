//! The admin address: `/healthz`, `/readyz` and `/metrics` for machines, the API below `/v1`, and the status page at `/`.

mod api;
mod client;
mod page;
mod probes;
mod station;

use std::{io, net::SocketAddr, sync::Arc};

use axum::{
    Router,
    extract::{Request, State},
    http::header,
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use tokio::{net::TcpListener, sync::watch};

pub use client::{AdminClient, ClientError, ListPage};

use crate::{
    Bridge,
    config::AdminConfig,
    http::{self, Problem, SecretError, SecretFile, Token},
};

/// Connections at a time.
const MAX_CONNECTIONS: usize = 100;

/// Why there is no admin address.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AdminError {
    /// The address cannot be had.
    #[error("listening on {0} for operators: {1}")]
    Bind(SocketAddr, #[source] io::Error),
    /// The token cannot be used.
    #[error("admin.token_file: {0}")]
    Token(#[from] SecretError),
}

/// The admin address, taken and not served yet.
#[derive(Debug)]
pub struct Admin {
    listener: TcpListener,
    token: Option<Token>,
}

/// What the handlers see.
struct Shared {
    bridge: Bridge,
    token: Option<Token>,
    draining: watch::Receiver<bool>,
}

type Paths = http::Paths<Arc<Shared>>;

impl Admin {
    /// Takes the address, if there is to be one.
    ///
    /// # Errors
    /// [`AdminError`].
    pub async fn bind(config: &AdminConfig) -> Result<Option<Self>, AdminError> {
        let Some(address) = config.listen else {
            return Ok(None);
        };
        let secret = config.token_file.as_deref().map(SecretFile::load).transpose()?;
        let listener = TcpListener::bind(address).await;
        Ok(Some(Self {
            listener: listener.map_err(|error| AdminError::Bind(address, error))?,
            token: secret.as_ref().map(Token::new),
        }))
    }

    /// Where it is.
    ///
    /// # Errors
    /// If the system does not say.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until `stop` turns true. As soon as `draining` does, the bridge says that it is not ready any more.
    pub async fn serve(self, bridge: Bridge, draining: watch::Receiver<bool>, stop: watch::Receiver<bool>) {
        let shared = Arc::new(Shared {
            bridge,
            token: self.token,
            draining,
        });
        http::serve(self.listener, None, router(shared), MAX_CONNECTIONS, stop).await;
    }
}

/// What everybody may ask.
fn open_paths() -> Paths {
    Box::new([
        ("/", get(page::page)),
        ("/healthz", get(probes::healthz)),
        ("/readyz", get(probes::readyz)),
        ("/openapi.json", get(openapi)),
    ])
}

/// What needs the token, where there is one.
fn closed_paths() -> Paths {
    Box::new([
        ("/metrics", get(probes::metrics)),
        ("/v1/status", get(api::status)),
        ("/v1/stations", get(api::stations)),
        ("/v1/stations/{id}", get(api::station)),
        ("/v1/stations/{id}/notify", post(api::notify)),
        ("/v1/audit", get(api::audit)),
    ])
}

fn router(shared: Arc<Shared>) -> Router {
    let closed = http::routes(closed_paths());
    let closed = closed.route_layer(middleware::from_fn_with_state(Arc::clone(&shared), let_in));
    http::routes(open_paths())
        .merge(closed)
        .fallback(async || Problem::NoSuchPath)
        .method_not_allowed_fallback(async || Problem::Method)
        .layer(middleware::map_response(harden))
        .with_state(shared)
}

/// Without a token, whoever can reach this machine's loopback is let in, and nobody who is led there from elsewhere.
async fn let_in(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    match http::admit(shared.token.as_ref(), &request) {
        Ok(()) => next.run(request).await,
        Err(problem) => {
            shared.bridge.relay.metrics().reject("admin-access");
            problem.into_response()
        }
    }
}

/// A browser is to take each answer for what it says to be.
async fn harden(mut response: Response) -> Response {
    let nosniff = header::HeaderValue::from_static("nosniff");
    response
        .headers_mut()
        .insert(header::X_CONTENT_TYPE_OPTIONS, nosniff);
    response
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

    #[test]
    fn what_needs_the_token_says_so_in_the_description() {
        let description: serde_json::Value = serde_json::from_str(OPENAPI).unwrap();
        for (paths, needs) in [(open_paths(), false), (closed_paths(), true)] {
            for (path, _) in paths {
                for (method, operation) in description["paths"][path].as_object().unwrap() {
                    if method != "parameters" {
                        assert_eq!(
                            operation["security"][0]["token"].is_array(),
                            needs,
                            "{method} {path}"
                        );
                    }
                }
            }
        }
    }
}
