//! A connection to a server, plain or with TLS.

use http_body_util::Full;
use hyper::{
    body::Bytes,
    client::conn::http1::{self, SendRequest},
    rt::{Read, ReadBufCursor, Write},
};
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, pki_types::ServerName};
use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
};
use tokio::{net::TcpStream, task::JoinHandle};
use tokio_rustls::TlsConnector;

use crate::{Error, Url};

/// The largest head of an answer, in bytes.
const MAX_HEAD_BYTES: usize = 16 * 1024;

/// Requests go in here; what drives the connection ends with it.
pub(crate) struct Wire {
    pub(crate) sender: SendRequest<Full<Bytes>>,
    driver: JoinHandle<()>,
    written_bytes: Arc<AtomicU64>,
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// How TLS is done with a host.
#[derive(Clone)]
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

    pub(crate) async fn shake_hands<T>(stream: T) -> Result<Self, Error>
    where
        T: Read + Write + Send + Unpin + 'static,
    {
        let written_bytes = Arc::default();
        let stream = Counted {
            stream,
            written_bytes: Arc::clone(&written_bytes),
        };
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
        let mut wire = Self {
            sender,
            driver,
            written_bytes,
        };
        let ready = wire.sender.ready().await;
        ready.map_err(|_| Error::Connect(io::ErrorKind::ConnectionReset))?;
        Ok(wire)
    }

    /// Bytes of HTTP that the system, or TLS, has taken so far.
    pub(crate) fn written_bytes(&self) -> u64 {
        self.written_bytes.load(Ordering::Acquire)
    }

    /// Ends the connection; how many bytes were written to it in all.
    pub(crate) async fn end(&mut self) -> u64 {
        self.driver.abort();
        // It writes nothing once it is gone, however it went.
        let _ = (&mut self.driver).await;
        self.written_bytes()
    }
}

/// A stream that counts what is written to it, so that it is known whether a message was begun.
struct Counted<T> {
    stream: T,
    written_bytes: Arc<AtomicU64>,
}

impl<T> Counted<T> {
    fn count(&self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(bytes)) = written {
            self.written_bytes.fetch_add(bytes as u64, Ordering::AcqRel);
        }
        written
    }
}

impl<T: Read + Unpin> Read for Counted<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<T: Write + Unpin> Write for Counted<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.count(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.count(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
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
