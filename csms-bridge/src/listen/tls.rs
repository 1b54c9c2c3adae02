//! TLS of a listener: its files, read at the start and again when asked, and the handshake.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use rustls::{
    RootCertStore, ServerConfig,
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{
        CertificateDer, CertificateRevocationListDer, PrivateKeyDer, UnixTime,
        pem::{self, PemObject},
    },
    server::{NoServerSessionStorage, WebPkiClientVerifier, danger::ClientCertVerifier},
};
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use super::client_certificate::{ClientCertificate, StationVerifier};
use crate::config::{ClientAuth, ExpiredCrls, TlsConfig};

/// TLS of one listener.
#[derive(Debug)]
pub(crate) struct Tls {
    files: TlsConfig,
    client_auth: ClientAuth,
    accepts_expired: bool,
    loaded: RwLock<Loaded>,
}

/// What a new connection gets. Those that stand keep what they had.
#[derive(Clone)]
struct Loaded {
    acceptor: TlsAcceptor,
    verifier: Option<Arc<StationVerifier>>,
}

impl std::fmt::Debug for Loaded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Loaded").finish_non_exhaustive()
    }
}

/// A file of TLS that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{}: {reason}", path.display())]
pub struct TlsError {
    /// Which file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub reason: TlsFileError,
}

/// What is wrong with a file of TLS.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsFileError {
    /// It cannot be read.
    #[error("{0}")]
    Read(#[source] io::Error),
    /// It is not PEM.
    #[error("not PEM: {0}")]
    Pem(#[source] pem::Error),
    /// There is no certificate in it.
    #[error("holds no certificate (PEM, -----BEGIN CERTIFICATE-----)")]
    NoCertificate,
    /// There is no private key in it.
    #[error("holds no private key (PEM, not encrypted: PKCS #8, PKCS #1 or SEC 1)")]
    NoKey,
    /// There is no CRL in it.
    #[error("holds no CRL (PEM, -----BEGIN X509 CRL-----, or DER)")]
    NoCrl,
    /// A CRL in it cannot be used.
    #[error("holds a CRL that cannot be used: {0}")]
    Crl(#[source] rustls::server::VerifierBuilderError),
    /// It cannot be used as what it is to be, or does not fit to its key.
    #[error("cannot be used: {0}")]
    Unusable(#[source] rustls::Error),
    /// A CA certificate in it cannot be used.
    #[error("holds no certificate of a CA that can be used: {0}")]
    Ca(#[source] rustls::server::VerifierBuilderError),
}

/// Why a handshake failed. What a peer can cause.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HandshakeError {
    #[error("TLS handshake failed: {0}")]
    Io(#[from] io::Error),
    #[error("TLS handshake took too long")]
    TimedOut,
    #[error("the certificate is not accepted any more: {0}")]
    Certificate(#[from] rustls::Error),
}

impl Tls {
    /// Reads the files.
    ///
    /// # Errors
    /// [`TlsError`]: which file, and why.
    pub(crate) fn load(
        files: &TlsConfig,
        client_auth: ClientAuth,
        accepts_expired: bool,
    ) -> Result<Self, TlsError> {
        Ok(Self {
            loaded: RwLock::new(load(files, client_auth, accepts_expired)?),
            files: files.clone(),
            client_auth,
            accepts_expired,
        })
    }

    /// Whether nobody connects without a certificate.
    pub(crate) fn requires_certificate(&self) -> bool {
        self.client_auth == ClientAuth::Required
    }

    /// Reads the files again. New connections get what is in them; if one cannot be used, nothing changes.
    ///
    /// # Errors
    /// As [`Tls::load`].
    pub(crate) fn reload(&self) -> Result<(), TlsError> {
        let loaded = load(&self.files, self.client_auth, self.accepts_expired)?;
        *self.loaded.write().unwrap_or_else(PoisonError::into_inner) = loaded;
        Ok(())
    }

    /// Does the handshake, within `limit`; also gives the certificate that the station showed.
    ///
    /// # Errors
    /// [`HandshakeError`].
    pub(crate) async fn accept(
        &self,
        stream: TcpStream,
        limit: Duration,
    ) -> Result<(TlsStream<TcpStream>, Option<ClientCertificate>), HandshakeError> {
        let Loaded { acceptor, verifier } =
            self.loaded.read().unwrap_or_else(PoisonError::into_inner).clone();
        let stream = timeout(limit, acceptor.accept(stream))
            .await
            .map_err(|_| HandshakeError::TimedOut)??;
        let shown = stream.get_ref().1.peer_certificates();
        let certificate = match (shown.and_then(|chain| chain.split_first()), verifier) {
            (Some((own, others)), Some(verifier)) => Some(verifier.check(own, others, UnixTime::now())?),
            _ => None,
        };
        Ok((stream, certificate))
    }
}

fn load(files: &TlsConfig, client_auth: ClientAuth, accepts_expired: bool) -> Result<Loaded, TlsError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier = match client_auth {
        ClientAuth::None => None,
        _ => Some(Arc::new(verifier(
            files,
            client_auth,
            accepts_expired,
            &provider,
        )?)),
    };
    let builder = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| unusable(&files.cert, error))?;
    let builder = match &verifier {
        Some(verifier) => {
            builder.with_client_cert_verifier(Arc::clone(verifier) as Arc<dyn ClientCertVerifier>)
        }
        None => builder.with_no_client_auth(),
    };
    let mut config = builder
        .with_single_cert(certificates(&files.cert)?, key(&files.key)?)
        .map_err(|error| unusable(&files.cert, error))?;
    // Nothing is resumed: each connection shows its certificate again, and nothing is kept for those that are gone.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(Loaded {
        acceptor: TlsAcceptor::from(Arc::new(config)),
        verifier,
    })
}

fn verifier(
    files: &TlsConfig,
    client_auth: ClientAuth,
    accepts_expired: bool,
    provider: &Arc<CryptoProvider>,
) -> Result<StationVerifier, TlsError> {
    let build = |cas: &[PathBuf], crl_optional: bool| -> Result<_, TlsError> {
        let Some(first) = cas.first() else {
            return Ok(None);
        };
        let roots = roots(cas)?;
        let mut crls = Vec::new();
        for path in &files.crls {
            let here = read_crls(path)?;
            // Alone first, so that it is known which one cannot be used.
            WebPkiClientVerifier::builder_with_provider(Arc::clone(&roots), Arc::clone(provider))
                .with_crls(here.iter().cloned())
                .build()
                .map_err(|error| wrong(path, TlsFileError::Crl(error)))?;
            crls.extend(here);
        }
        let mut builder =
            WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(provider)).with_crls(crls);
        if crl_optional {
            builder = builder.allow_unknown_revocation_status();
        }
        if files.expired_crls == ExpiredCrls::Refuse {
            builder = builder.enforce_revocation_expiration();
        }
        let built = builder.build();
        built
            .map(Some)
            .map_err(|error| wrong(first, TlsFileError::Ca(error)))
    };
    Ok(StationVerifier {
        operator: build(&files.client_cas, false)?,
        manufacturer: build(&files.manufacturer_cas, true)?,
        mandatory: client_auth == ClientAuth::Required,
        accepts_expired,
        algorithms: provider.signature_verification_algorithms,
    })
}

fn roots(paths: &[PathBuf]) -> Result<Arc<RootCertStore>, TlsError> {
    let mut roots = RootCertStore::empty();
    for path in paths {
        for certificate in certificates(path)? {
            roots.add(certificate).map_err(|error| unusable(path, error))?;
        }
    }
    Ok(Arc::new(roots))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let found = CertificateDer::pem_slice_iter(&read(path)?).collect::<Result<Vec<_>, _>>();
    match found {
        Ok(found) if found.is_empty() => Err(wrong(path, TlsFileError::NoCertificate)),
        Ok(found) => Ok(found),
        Err(error) => Err(wrong(path, TlsFileError::Pem(error))),
    }
}

fn key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    let text = zeroize::Zeroizing::new(read(path)?);
    PrivateKeyDer::from_pem_slice(&text).map_err(|error| {
        let reason = match error {
            pem::Error::NoItemsFound => TlsFileError::NoKey,
            error => TlsFileError::Pem(error),
        };
        wrong(path, reason)
    })
}

fn read_crls(path: &Path) -> Result<Vec<CertificateRevocationListDer<'static>>, TlsError> {
    let bytes = read(path)?;
    // DER begins with a SEQUENCE, a text does not ("0" would have to be its first letter).
    if bytes.first() == Some(&0x30) {
        return Ok(vec![bytes.into()]);
    }
    let found = CertificateRevocationListDer::pem_slice_iter(&bytes).collect::<Result<Vec<_>, _>>();
    match found {
        Ok(found) if found.is_empty() => Err(wrong(path, TlsFileError::NoCrl)),
        Ok(found) => Ok(found),
        Err(error) => Err(wrong(path, TlsFileError::Pem(error))),
    }
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    fs::read(path).map_err(|error| wrong(path, TlsFileError::Read(error)))
}

fn unusable(path: &Path, error: rustls::Error) -> TlsError {
    wrong(path, TlsFileError::Unusable(error))
}

fn wrong(path: &Path, reason: TlsFileError) -> TlsError {
    TlsError {
        path: path.into(),
        reason,
    }
}
