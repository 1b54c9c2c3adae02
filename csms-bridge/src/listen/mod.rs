//! Where stations connect: TCP, TLS, the head of the HTTP request, and who is let in. What comes out is a station that
//! waits for its WebSocket.

mod client_certificate;
mod door;
mod room;
mod stream;
mod tls;

use std::{io, net::SocketAddr, sync::Arc};

use tokio::net::TcpListener;
use tracing::{error, info};

pub(crate) use client_certificate::{ClientCertificate, Issuer};
pub(crate) use door::{Arrival, serve, stopped};
pub(crate) use stream::Stream;
pub use tls::{TlsError, TlsFileError};

use crate::{
    Config,
    access::Access,
    config::{DEFAULT_LISTENER, ExpiredCertificates, ListenerConfig},
    relay::Relay,
};
use tls::Tls;

/// The listeners of a configuration, bound.
pub struct Listeners {
    each: Vec<Listener>,
}

/// One place where stations connect.
struct Listener {
    tcp: TcpListener,
    terms: Arc<Terms>,
}

/// On what terms stations connect somewhere. Connections hold it longer than there is a listener.
pub(crate) struct Terms {
    name: Arc<str>,
    pub(crate) tls: Option<Tls>,
    wants_password: bool,
}

impl Terms {
    /// Whether nobody connects without a certificate of the CAs that the listener names.
    pub(crate) fn requires_certificate(&self) -> bool {
        self.tls.as_ref().is_some_and(Tls::requires_certificate)
    }

    /// The listener as a part of its stations' keys: nothing for the one of `listen`.
    fn key(&self) -> &str {
        match &*self.name {
            DEFAULT_LISTENER => "",
            name => name,
        }
    }
}

/// Why there are no listeners.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ListenError {
    /// An address cannot be had.
    #[error("listening on {address}: {source}")]
    Bind {
        /// Which.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// A file of TLS cannot be used.
    #[error("listener {name}: {source}")]
    Tls {
        /// Of which listener.
        name: String,
        /// Which file, and why.
        source: TlsError,
    },
}

impl ListenError {
    /// Whether the configuration is to blame, and not what else runs on this machine.
    #[must_use]
    pub const fn is_config(&self) -> bool {
        !matches!(self, Self::Bind { .. })
    }
}

/// Reads the files that a listener names, for nothing but what is wrong with them.
///
/// # Errors
/// [`ListenError::Tls`].
pub(crate) fn check_files(name: &str, listener: &ListenerConfig) -> Result<(), ListenError> {
    let tls = listener.tls.as_ref();
    let loaded = tls
        .map(|files| Tls::load(files, listener.client_auth(), false))
        .transpose();
    loaded.map(drop).map_err(|source| ListenError::Tls {
        name: name.into(),
        source,
    })
}

impl Listeners {
    /// Each with its terms.
    pub(crate) fn into_each(self) -> impl Iterator<Item = (TcpListener, Arc<Terms>)> {
        self.each
            .into_iter()
            .map(|listener| (listener.tcp, listener.terms))
    }

    /// Reads the files that the listeners of a checked configuration name, then takes the addresses.
    ///
    /// # Errors
    /// [`ListenError`].
    pub async fn bind(config: &Config) -> Result<Self, ListenError> {
        let accepts_expired = config.access.expired_certificates == ExpiredCertificates::Pending;
        let mut loaded = Vec::new();
        for (name, listener) in config.each_listener() {
            let tls = listener.tls.as_ref();
            let tls = tls.map(|files| Tls::load(files, listener.client_auth(), accepts_expired));
            let tls = tls.transpose().map_err(|source| ListenError::Tls {
                name: name.clone(),
                source,
            })?;
            loaded.push((name, listener, tls));
        }
        let mut each = Vec::new();
        for (name, listener, tls) in loaded {
            let address = listener.listen;
            let tcp = TcpListener::bind(address).await;
            each.push(Listener {
                tcp: tcp.map_err(|source| ListenError::Bind { address, source })?,
                terms: Arc::new(Terms {
                    name: name.into(),
                    tls,
                    wants_password: listener.wants_password(),
                }),
            });
        }
        Ok(Self { each })
    }

    /// Name and address of each, the simple one first.
    ///
    /// # Errors
    /// Where the system does not say.
    pub fn addresses(&self) -> io::Result<Vec<(&str, SocketAddr)>> {
        let address = |listener: &Listener| listener.tcp.local_addr();
        self.each
            .iter()
            .map(|listener| Ok((&*listener.terms.name, address(listener)?)))
            .collect()
    }
}

/// Reads certificates, keys (those for RAs too), CRLs and the list of stations again, for connections to come.
#[derive(Clone)]
pub struct Reload {
    listeners: Vec<Arc<Terms>>,
    access: Arc<Access>,
    relay: Arc<Relay>,
}

impl Reload {
    pub(crate) fn new(listeners: &Listeners, access: Arc<Access>, relay: Arc<Relay>) -> Self {
        let terms = |listener: &Listener| Arc::clone(&listener.terms);
        Self {
            listeners: listeners.each.iter().map(terms).collect(),
            access,
            relay,
        }
    }

    /// Reads all; what cannot be used stays as it was, and the log says which file and why.
    pub fn run(&self) {
        for terms in &self.listeners {
            let listener = &*terms.name;
            match terms.tls.as_ref().map(Tls::reload) {
                None => {}
                Some(Ok(())) => info!(listener, "certificates read again"),
                Some(Err(error)) => error!(listener, %error, "certificates stay as they were"),
            }
        }
        if let Err(error) = self.access.reload() {
            error!(%error, "the list of stations stays as it was");
        }
        self.relay.reload();
    }
}
