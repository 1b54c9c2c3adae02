//! What can be wrong with a configuration.

use std::net::SocketAddr;

use super::DEFAULT_LISTENER;

/// What is wrong with the configuration, and what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("{path}: {source}")]
    Read {
        /// Which file.
        path: String,
        /// What the system says.
        source: std::io::Error,
    },
    /// The file is no configuration; the text names line and column.
    #[error("{path}: {source}")]
    Parse {
        /// Which file.
        path: String,
        /// What is wrong where.
        source: Box<toml::de::Error>,
    },
    /// There is no route.
    #[error(
        "there is no route to an RA: add --route default=http://HOST:PORT/PATH, or [routes.default] with urls"
    )]
    NoRoute,
    /// A `--route` cannot be read.
    #[error("--route {0}: not NAME=URL[,URL…] or NAME=spool:DIR; NAME is 1 to 32 of a-z, 0-9 and -")]
    Route(String),
    /// A URL cannot be used.
    #[error("route {route}: {url}: {reason}")]
    Url {
        /// Of which route.
        route: String,
        /// Which URL.
        url: String,
        /// Why.
        reason: &'static str,
    },
    /// A listener's keys do not fit together.
    #[error("listener {name}: {reason}")]
    Listener {
        /// Which.
        name: String,
        /// Why, and what to do.
        reason: &'static str,
    },
    /// `[access]` does not fit to the listeners.
    #[error("{0}")]
    Access(&'static str),
    /// The CSMS behind the bridge cannot be used.
    #[error("proxy.upstream {url:?}: {reason}")]
    Upstream {
        /// What is said of it.
        url: String,
        /// Why.
        reason: &'static str,
    },
    /// A header cannot go on to the CSMS.
    #[error("proxy.{key}: {name}: {reason}")]
    Header {
        /// Where it is named.
        key: &'static str,
        /// Which.
        name: String,
        /// Why.
        reason: &'static str,
    },
    /// An HTTP server would answer everybody.
    #[error(
        "{table}.listen = {address}: not an address of loopback, so {table}.token_file (a file with a bearer token) is needed; make one with: (umask 077; openssl rand -hex 32 > FILE)"
    )]
    OpenToAll {
        /// Which table.
        table: &'static str,
        /// Where it would listen.
        address: SocketAddr,
    },
    /// A key has no effect without another.
    #[error("{key} has no effect without {without}: add that, or take it away")]
    Useless {
        /// Which.
        key: &'static str,
        /// Without which.
        without: &'static str,
    },
    /// A key is needed.
    #[error("{key} is missing: {why}")]
    Missing {
        /// Which.
        key: &'static str,
        /// Why, and what to do.
        why: &'static str,
    },
    /// A word is none of those that are known.
    #[error("{key} = {value:?}: must be one of {allowed}")]
    Word {
        /// Which key.
        key: &'static str,
        /// What it is.
        value: String,
        /// What it may be.
        allowed: &'static str,
    },
    /// A number is out of its range.
    #[error("{name} = {value}: must be {range}")]
    Range {
        /// Which.
        name: &'static str,
        /// What it is.
        value: u64,
        /// What it may be.
        range: &'static str,
    },
}

impl ConfigError {
    /// The key that it is about, with its tables as far as they are known.
    pub(super) fn key(&self) -> Option<String> {
        Some(match self {
            Self::Url { route, .. } => format!("routes.{route}.urls"),
            Self::Listener { name, .. } if name == DEFAULT_LISTENER => "listen".into(),
            Self::Listener { name, .. } => format!("listeners.{name}.listen"),
            Self::OpenToAll { table: "sidecar", .. } => "listen".into(),
            Self::OpenToAll { table, .. } => format!("{table}.listen"),
            Self::Useless { key, .. } | Self::Word { key, .. } => (*key).into(),
            Self::Range { name, .. } => name.trim_start_matches("characters of ").into(),
            _ => return None,
        })
    }
}

/// That a number is in its range.
pub(super) fn range(
    name: &'static str,
    value: u64,
    allowed: std::ops::RangeInclusive<u64>,
    range: &'static str,
) -> Result<(), ConfigError> {
    if allowed.contains(&value) {
        Ok(())
    } else {
        Err(ConfigError::Range { name, value, range })
    }
}
