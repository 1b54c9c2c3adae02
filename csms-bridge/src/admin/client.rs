//! Asks the admin address of a bridge that runs, for the commands.

use std::{path::Path, time::Duration};

use hyper::{
    Method, StatusCode,
    body::Bytes,
    header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue},
};
use ocpp_rpc::ws::percent_encode;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};

use crate::{
    SecretFile,
    http::{CallError, Peer, PeerError, PeerLimits},
};

/// Longer than the bridge waits for a station.
const LIMITS: PeerLimits = PeerLimits {
    connect_timeout: Duration::from_secs(5),
    response_timeout: Duration::from_secs(60),
    max_response_bytes: 32 << 20,
};

/// Why the bridge did not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The admin address cannot be asked so.
    #[error("--admin: {0}")]
    Peer(#[from] PeerError),
    /// The token cannot be sent.
    #[error("the token cannot be sent in a header")]
    Token,
    /// There is no answer.
    #[error("the admin address of the bridge: {0}")]
    Call(#[from] CallError),
    /// It says no.
    #[error("{detail} ({code}). {cure}")]
    Problem {
        /// For programs.
        code: String,
        /// What is wrong.
        detail: String,
        /// What to do.
        cure: String,
    },
    /// What answers is no admin address of a bridge.
    #[error("status {0}, and not what a bridge answers: check the URL of the admin address")]
    NoBridge(StatusCode),
}

/// The admin address of a bridge.
pub struct AdminClient {
    peer: Peer,
    authorization: Option<HeaderValue>,
}

/// A part of a list, each entry as the API has it.
#[derive(Debug, Deserialize)]
pub struct ListPage<N> {
    /// The entries.
    #[serde(alias = "stations")]
    pub entries: Vec<Value>,
    /// What to go on with, if there are more.
    pub next: Option<N>,
}

#[derive(Deserialize)]
struct ProblemWire {
    code: String,
    detail: String,
    cure: String,
}

impl AdminClient {
    /// `url` is that of the admin address, `ca` what its certificate is verified with if it is https.
    ///
    /// # Errors
    /// [`ClientError::Peer`], [`ClientError::Token`].
    pub fn new(url: &str, token: Option<&SecretFile>, ca: Option<&Path>) -> Result<Self, ClientError> {
        let bearer = |token: &SecretFile| -> Result<_, ClientError> {
            let mut value = HeaderValue::from_str(&format!("Bearer {}", token.expose()))
                .map_err(|_| ClientError::Token)?;
            value.set_sensitive(true);
            Ok(value)
        };
        Ok(Self {
            peer: Peer::new(url, ca, &LIMITS)?,
            authorization: token.map(bearer).transpose()?,
        })
    }

    /// Asks a station to do something; returns when it has said that it will.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn notify(
        &self,
        station: &str,
        operation: &str,
        slot: Option<&str>,
    ) -> Result<(), ClientError> {
        let order = match slot {
            Some(slot) => json!({ "do": operation, "slot": slot }),
            None => json!({ "do": operation }),
        };
        let path = format!("/v1/stations/{}/notify", percent_encode(station));
        self.ask(Method::POST, &path, Some(&order)).await.map(drop)
    }

    /// A page of stations. `after` is the `next` of the page before.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn stations(
        &self,
        only_trouble: bool,
        after: Option<&str>,
    ) -> Result<ListPage<String>, ClientError> {
        let mut path = format!("/v1/stations?limit=1000&trouble={only_trouble}");
        if let Some(after) = after {
            path.push_str("&after=");
            path.push_str(&percent_encode(after));
        }
        self.list(&path).await
    }

    /// A page of the audit trail. `before` is the `next` of the page before.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn audit(
        &self,
        identity: Option<&str>,
        only_failed: bool,
        before: Option<u64>,
        limit: usize,
    ) -> Result<ListPage<u64>, ClientError> {
        let mut path = format!("/v1/audit?limit={limit}&failed={only_failed}");
        if let Some(identity) = identity {
            path.push_str("&identity=");
            path.push_str(&percent_encode(identity));
        }
        if let Some(before) = before {
            path.push_str(&format!("&before={before}"));
        }
        self.list(&path).await
    }

    async fn list<N: DeserializeOwned>(&self, path: &str) -> Result<ListPage<N>, ClientError> {
        let answer = self.ask(Method::GET, path, None).await?;
        serde_json::from_value(answer).map_err(|_| ClientError::NoBridge(StatusCode::OK))
    }

    async fn ask(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Value, ClientError> {
        let mut headers = Vec::new();
        if let Some(authorization) = &self.authorization {
            headers.push((AUTHORIZATION, authorization.clone()));
        }
        if body.is_some() {
            headers.push((CONTENT_TYPE, HeaderValue::from_static("application/json")));
        }
        let body = body.map_or_else(Bytes::new, |body| body.to_string().into());
        let target = format!("{}{path}", self.peer.path());
        let (status, answer) = self.peer.call(method, &target, headers, body).await?;
        if status == StatusCode::NO_CONTENT {
            return Ok(Value::Null);
        }
        let parsed = serde_json::from_slice(&answer);
        if status.is_success() {
            return parsed.map_err(|_| ClientError::NoBridge(status));
        }
        let problem = parsed.and_then(|answer: Value| serde_json::from_value(answer));
        let ProblemWire { code, detail, cure } = problem.map_err(|_| ClientError::NoBridge(status))?;
        Err(ClientError::Problem { code, detail, cure })
    }
}
