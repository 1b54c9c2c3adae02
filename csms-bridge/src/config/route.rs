//! `[routes.NAME]`: the RAs behind a route.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use cmp_http::{BadUrl, Client, MediaType, Tls, TlsError, Url};
use serde::Deserialize;

use super::{ConfigError, range};
use crate::ra::{self, SpoolError};

/// An RA.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RouteConfig {
    /// `http[s]://HOST[:PORT][/PATH]`, one or several. The later ones serve where the earlier cannot be reached; all
    /// messages of a transaction go to one.
    pub urls: Vec<String>,
    /// Instead of URLs: a folder whose files somebody carries to the RA and back (RFC 9483 §6.4).
    pub spool: Option<PathBuf>,
    /// Milliseconds between two looks into that folder. Default 1,000.
    pub scan_interval_ms: u64,
    /// PEM with the certificates below which an RA at https is believed, and no others.
    pub trust: Option<PathBuf>,
    /// PEM with the certificate that is shown to an RA at https, and what leads from it to a root.
    pub client_certificate: Option<PathBuf>,
    /// PEM with its private key.
    pub client_key: Option<PathBuf>,
    /// Milliseconds to connect, TLS included; also what a request waits for others to be done. Default 5,000.
    pub connect_timeout_ms: u64,
    /// Milliseconds to answer. Default 30,000.
    pub response_timeout_ms: u64,
    /// Requests at a time. Default 64.
    pub max_concurrent: usize,
    /// Requests that wait for others to be done; one more is told to come back. Default 1,000.
    pub max_queued: usize,
    /// Bytes of an answer that are read at most. Default 65,536.
    pub max_response_bytes: usize,
    /// Failures in a row after which a URL is left alone. Default 5.
    pub breaker_failures: u32,
    /// Seconds for which it is then left alone, doubled each time that it fails again. Default 5.
    pub breaker_rest_s: u64,
    /// Seconds for which it is left alone at most. Default 300.
    pub breaker_max_rest_s: u64,
}

impl Default for RouteConfig {
    fn default() -> Self {
        Self {
            urls: Vec::new(),
            spool: None,
            scan_interval_ms: 1_000,
            trust: None,
            client_certificate: None,
            client_key: None,
            connect_timeout_ms: 5_000,
            response_timeout_ms: 30_000,
            max_concurrent: 64,
            max_queued: 1_000,
            max_response_bytes: 65_536,
            breaker_failures: 5,
            breaker_rest_s: 5,
            breaker_max_rest_s: 300,
        }
    }
}

/// Why a route cannot be opened.
#[derive(Debug, thiserror::Error)]
#[error("route {route}: {source}")]
pub struct RouteError {
    /// Its name.
    pub route: String,
    /// What is wrong.
    pub source: RouteCause,
}

/// What is wrong with a route.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RouteCause {
    /// Its TLS.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// A URL.
    #[error(transparent)]
    Url(#[from] BadUrl),
    /// Its folder.
    #[error(transparent)]
    Spool(#[from] SpoolError),
}

impl RouteConfig {
    pub(super) fn check(&self, name: &str) -> Result<(), ConfigError> {
        let error = |url: &str, reason| ConfigError::Url {
            route: name.into(),
            url: url.into(),
            reason,
        };
        match &self.spool {
            Some(_) if !self.urls.is_empty() => {
                return Err(error("urls and spool", "exclude each other"));
            }
            Some(spool) if spool.as_os_str().is_empty() => {
                return Err(error("spool", "is empty; a folder is written spool:DIR"));
            }
            None if self.urls.is_empty() => return Err(error("urls", "is empty")),
            _ => {}
        }
        let mut is_https = false;
        for url in &self.urls {
            let parsed = parse(url).map_err(|bad| error(url, explain(bad)))?;
            is_https |= parsed.is_https();
            if parsed.is_https() && self.trust.is_none() {
                return Err(error(
                    url,
                    "https needs trust = \"FILE\", PEM with the certificates below which the RA is believed",
                ));
            }
        }
        let has_client = self.client_certificate.is_some() || self.client_key.is_some();
        if !is_https && (self.trust.is_some() || has_client) {
            return Err(error(
                "trust, client_certificate and client_key",
                "are for https, which no URL has",
            ));
        }
        if self.client_certificate.is_some() != self.client_key.is_some() {
            return Err(error("client_certificate and client_key", "need each other"));
        }
        self.check_numbers()
    }

    fn check_numbers(&self) -> Result<(), ConfigError> {
        let (day_ms, day_s) = (86_400_000, 86_400);
        for (name, value, allowed, text) in [
            (
                "connect_timeout_ms",
                self.connect_timeout_ms,
                1..=day_ms,
                "1 to 86,400,000",
            ),
            (
                "response_timeout_ms",
                self.response_timeout_ms,
                1..=day_ms,
                "1 to 86,400,000",
            ),
            (
                "max_concurrent",
                self.max_concurrent as u64,
                1..=100_000,
                "1 to 100,000",
            ),
            (
                "max_queued",
                self.max_queued as u64,
                0..=1_000_000,
                "0 to 1,000,000",
            ),
            (
                "max_response_bytes",
                self.max_response_bytes as u64,
                1_024..=(16 << 20),
                "1,024 to 16,777,216",
            ),
            (
                "breaker_failures",
                self.breaker_failures.into(),
                1..=1_000_000,
                "1 to 1,000,000",
            ),
            (
                "scan_interval_ms",
                self.scan_interval_ms,
                1..=day_ms,
                "1 to 86,400,000",
            ),
            ("breaker_rest_s", self.breaker_rest_s, 1..=day_s, "1 to 86,400"),
            (
                "breaker_max_rest_s",
                self.breaker_max_rest_s,
                self.breaker_rest_s..=day_s,
                "breaker_rest_s to 86,400",
            ),
        ] {
            range(name, value, allowed, text)?;
        }
        Ok(())
    }

    /// Takes `DIR` of `spool:DIR`, or URLs with commas between them, as where requests go.
    pub(super) fn lead_to(&mut self, text: &str) {
        (self.spool, self.urls) = match text.strip_prefix("spool:") {
            Some(folder) => (Some(folder.into()), Vec::new()),
            None => (None, text.split(',').map(Into::into).collect()),
        };
    }

    /// Opens it: reads what belongs to its TLS, or makes its folder. `max_bytes` is what a message may have.
    pub(crate) fn open(&self, name: &cmp_binding::Route, max_bytes: usize) -> Result<ra::Route, RouteError> {
        let Some(folder) = &self.spool else {
            return Ok(ra::Route::Http(ra::Http::new(self.clients(name)?, self.limits())));
        };
        match ra::Spool::open(folder, max_bytes.min(self.max_response_bytes)) {
            Ok(spool) => Ok(ra::Route::Spool(Arc::new(spool))),
            Err(error) => Err(RouteError {
                route: name.to_string(),
                source: error.into(),
            }),
        }
    }

    pub(crate) fn scan_interval(&self) -> Duration {
        Duration::from_millis(self.scan_interval_ms)
    }

    /// The clients of its URLs, in their order.
    pub(crate) fn clients(&self, name: &cmp_binding::Route) -> Result<Vec<Client>, RouteError> {
        let clients = self.urls.iter().map(|url| self.client(url)).collect();
        let clients: Result<_, RouteCause> = clients;
        clients.map_err(|source| RouteError {
            route: name.to_string(),
            source,
        })
    }

    fn client(&self, url: &str) -> Result<Client, RouteCause> {
        let url = parse(url)?;
        let tls = match &self.trust {
            Some(trust) if url.is_https() => Some(self.tls(trust)?),
            _ => None,
        };
        let limits = cmp_http::Limits {
            connect_timeout: Duration::from_millis(self.connect_timeout_ms),
            response_timeout: Duration::from_millis(self.response_timeout_ms),
            max_response_bytes: self.max_response_bytes,
            ..cmp_http::Limits::default()
        };
        // RAs that say another media type have been seen, and what is in the body is for the station to judge.
        Ok(Client::new(url, tls, limits)?.taking(MediaType::Any))
    }

    fn tls(&self, trust: &Path) -> Result<Tls, TlsError> {
        let tls = Tls::with_anchors(trust)?;
        match (&self.client_certificate, &self.client_key) {
            (Some(certificate), Some(key)) => tls.with_client(certificate, key),
            _ => Ok(tls),
        }
    }

    fn limits(&self) -> ra::Limits {
        ra::Limits {
            concurrency: self.max_concurrent,
            queue: self.max_queued,
            queue_timeout: Duration::from_millis(self.connect_timeout_ms),
            breaker: ra::BreakerLimits {
                failures: self.breaker_failures,
                first_rest: Duration::from_secs(self.breaker_rest_s),
                max_rest: Duration::from_secs(self.breaker_max_rest_s),
            },
        }
    }
}

fn parse(url: &str) -> Result<Url, BadUrl> {
    url.trim().parse()
}

fn explain(bad: BadUrl) -> &'static str {
    match bad {
        // It would be in every log line, and is not sent either.
        BadUrl::UserInfo => "a URL with a user or a password is not taken",
        _ => "not an http:// or https:// URL; it looks like http://ra.example:8080/pkix/",
    }
}
