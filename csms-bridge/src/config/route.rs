//! `[routes.NAME]`: the RAs behind a route.

use std::time::Duration;

use hyper::Uri;
use serde::Deserialize;

use super::{ConfigError, range};
use crate::ra;

/// An RA.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RouteConfig {
    /// `http://HOST[:PORT]/PATH`, one or several. The later ones serve where the earlier cannot be reached; all messages
    /// of a transaction go to one.
    pub urls: Vec<String>,
    /// Milliseconds to connect. Default 5,000.
    pub connect_timeout_ms: u64,
    /// Milliseconds to answer. Default 30,000.
    pub response_timeout_ms: u64,
    /// Requests at a time. Default 64.
    pub max_concurrent: usize,
    /// Bytes of an answer that are read at most. Default 65,536.
    pub max_response_bytes: usize,
}

impl Default for RouteConfig {
    fn default() -> Self {
        Self {
            urls: Vec::new(),
            connect_timeout_ms: 5_000,
            response_timeout_ms: 30_000,
            max_concurrent: 64,
            max_response_bytes: 65_536,
        }
    }
}

impl RouteConfig {
    /// A route to these URLs, with the defaults.
    pub(super) fn to(urls: Vec<String>) -> Self {
        Self {
            urls,
            ..Self::default()
        }
    }

    pub(super) fn check(&self, name: &str) -> Result<(), ConfigError> {
        let error = |url: &str, reason| ConfigError::Url {
            route: name.into(),
            url: url.into(),
            reason,
        };
        if self.urls.is_empty() {
            return Err(error("", "urls is empty"));
        }
        for url in &self.urls {
            parse_url(url).map_err(|reason| error(url, reason))?;
        }
        let concurrent = self.max_concurrent as u64;
        range("max_concurrent", concurrent, 1..=100_000, "1 to 100,000")
    }

    pub(crate) fn to_ra(&self) -> ra::Route {
        let urls = self.urls.iter().filter_map(|url| parse_url(url).ok()).collect();
        ra::Route::new(
            urls,
            ra::Limits {
                connect_timeout: Duration::from_millis(self.connect_timeout_ms),
                response_timeout: Duration::from_millis(self.response_timeout_ms),
                max_response_bytes: self.max_response_bytes,
                concurrency: self.max_concurrent,
            },
        )
    }
}

fn parse_url(url: &str) -> Result<Uri, &'static str> {
    let uri: Uri = url
        .trim()
        .parse()
        .map_err(|_| "not a URL; it looks like http://ra.example:8080/pkix/")?;
    match uri.scheme_str() {
        // It would be in every log line, and is not sent either.
        Some("http")
            if uri
                .authority()
                .is_some_and(|authority| authority.as_str().contains('@')) =>
        {
            Err("a URL with a password is not taken")
        }
        Some("http") if uri.host().is_some_and(|host| !host.is_empty()) => Ok(uri),
        Some("https") => Err("https is not supported yet; end TLS in front of the RA"),
        _ => Err("not an http:// URL; it looks like http://ra.example:8080/pkix/"),
    }
}
