//! TLS to a server that is known by pinned trust anchors, with a certificate of our own if it wants one.

use rustls::{
    ClientConfig, RootCertStore,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, pem, pem::PemObject},
};
use std::{fmt, path::Path, sync::Arc};

use crate::TlsError;

/// How servers are known, and what they know us by. TLS 1.2 and 1.3.
#[derive(Clone)]
pub struct Tls {
    anchors: Arc<RootCertStore>,
    client: Option<Arc<ClientIdentity>>,
}

struct ClientIdentity {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

impl Tls {
    /// Believes these certificates, a file in PEM, and no others; what the system believes does not count.
    ///
    /// # Errors
    /// [`TlsError::Io`] or [`TlsError::Certificate`].
    pub fn with_anchors(file: &Path) -> Result<Self, TlsError> {
        let mut anchors = RootCertStore::empty();
        for certificate in certificates(file)? {
            let added = anchors.add(certificate);
            added.map_err(|_| TlsError::Certificate(file.into()))?;
        }
        Ok(Self {
            anchors: Arc::new(anchors),
            client: None,
        })
    }

    /// Shows this certificate to servers that want one. `certificate` is a PEM file with what leads from it to a root, in
    /// that order; `key` one with its private key.
    ///
    /// # Errors
    /// [`TlsError::Io`], [`TlsError::Certificate`], [`TlsError::Key`] or [`TlsError::Identity`].
    pub fn with_client(mut self, certificate: &Path, key: &Path) -> Result<Self, TlsError> {
        let chain = certificates(certificate)?;
        let key = PrivateKeyDer::from_pem_file(key).map_err(|error| match error {
            pem::Error::Io(error) => io(key, error),
            _ => TlsError::Key(key.into()),
        })?;
        self.client = Some(Arc::new(ClientIdentity { chain, key }));
        self.client_config()?;
        Ok(self)
    }

    /// What TLS of a client is done with, for connections that carry something else than HTTP.
    ///
    /// # Errors
    /// [`TlsError::Identity`].
    pub fn client_config(&self) -> Result<Arc<ClientConfig>, TlsError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(TlsError::Identity)?
            .with_root_certificates(self.anchors.clone());
        let config = match &self.client {
            None => builder.with_no_client_auth(),
            Some(client) => builder
                .with_client_auth_cert(client.chain.clone(), client.key.clone_key())
                .map_err(TlsError::Identity)?,
        };
        Ok(Arc::new(config))
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls")
            .field("anchors", &self.anchors.len())
            .field("has_client", &self.client.is_some())
            .finish()
    }
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let damaged = |_| TlsError::Certificate(file.into());
    let found = CertificateDer::pem_file_iter(file).map_err(|error| match error {
        pem::Error::Io(error) => io(file, error),
        error => damaged(error),
    })?;
    let found = found.collect::<Result<Vec<_>, _>>().map_err(damaged)?;
    match found.is_empty() {
        true => Err(TlsError::Certificate(file.into())),
        false => Ok(found),
    }
}

fn io(file: &Path, error: std::io::Error) -> TlsError {
    TlsError::Io {
        file: file.into(),
        error,
    }
}
