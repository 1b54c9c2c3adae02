//! A connection to a server, plain or with TLS.

use http_body_util::Full;
use hyper::{
    body::Bytes,
    client::conn::http1::{self, SendRequest},
    rt::{Read, Write},
};
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, pki_types::ServerName};
use std::{io, sync::Arc};
use tokio::{net::TcpStream, task::JoinHandle};
use tokio_rustls::TlsConnector;

use crate::{Error, Url};

/// The largest head of an answer, in bytes.
const MAX_HEAD_BYTES: usize = 16 * 1024;

/// Requests go in here; what drives the connection ends with it.
pub(crate) struct Wire {
    pub(crate) sender: SendRequest<Full<Bytes>>,
    driver: JoinHandle<()>,
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// How TLS is done with a host.
pub(crate) struct Secure {
    pub(crate) config: Arc<ClientConfig>,
    pub(crate) name: ServerName<'static>,
}

impl Wire {
    pub(crate) async fn open(url: &Url, secure: Option<&Secure>) -> Result<Self, Error> {
        let stream = TcpStream::connect((url.host(), url.port())).await;
        let stream = stream.map_err(|error| Error::Connect(error.kind()))?;
        stream
            .set_nodelay(true)
            .map_err(|error| Error::Connect(error.kind()))?;
        match secure {
            None => Self::shake_hands(TokioIo::new(stream)).await,
            Some(secure) => {
                let connector = TlsConnector::from(secure.config.clone());
                let stream = connector.connect(secure.name.clone(), stream).await;
                Self::shake_hands(TokioIo::new(stream.map_err(tls_error)?)).await
            }
        }
    }

    async fn shake_hands<T>(stream: T) -> Result<Self, Error>
    where
        T: Read + Write + Send + Unpin + 'static,
    {
        let shaken = http1::Builder::new()
            .max_buf_size(MAX_HEAD_BYTES)
            .handshake(stream)
            .await;
        let (sender, connection) = shaken.map_err(|_| Error::Connect(io::ErrorKind::Other))?;
        let driver = tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection to a CMP server ended");
            }
        });
        let mut wire = Self { sender, driver };
        let ready = wire.sender.ready().await;
        ready.map_err(|_| Error::Connect(io::ErrorKind::ConnectionReset))?;
        Ok(wire)
    }
}

/// What TLS itself says is inside of what the stream says.
fn tls_error(error: io::Error) -> Error {
    let inside = error
        .get_ref()
        .and_then(|inside| inside.downcast_ref::<rustls::Error>());
    match inside {
        Some(inside) => Error::Tls(inside.clone()),
        None => Error::Connect(error.kind()),
    }
}
