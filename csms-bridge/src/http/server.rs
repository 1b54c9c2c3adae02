//! Serves a router: connections have their time and their number.

use std::{pin::pin, sync::Arc, time::Duration};

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Semaphore, watch},
    task::JoinSet,
    time::{sleep, timeout},
};
use tracing::{debug, warn};

use crate::listen::{Stream, Terms, stopped};

/// The longest time that TLS may take.
const TLS_TIMEOUT: Duration = Duration::from_secs(10);
/// The longest time that the head of a request may take, and that a connection may be without one.
const HEAD_TIMEOUT: Duration = Duration::from_secs(15);
/// Bytes of the head of a request that are taken at most.
const MAX_HEAD_BYTES: usize = 16 * 1024;
/// How long a connection takes requests. A client that does not read its answers holds it no longer either.
const CONNECTION_LIFETIME: Duration = Duration::from_secs(300);
/// The longest time that the last request of a connection may take.
const LAST_REQUEST_TIMEOUT: Duration = Duration::from_secs(90);
/// The longest time that open requests may take when the server ends.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(3);
/// How long to wait where the system has no connection to give.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves `router` on `listener` until `stop` turns true and open requests are answered. At most `max_connections` are open;
/// more wait for one of them to end. `terms` has its TLS.
pub(crate) async fn serve(
    listener: TcpListener,
    terms: Option<Arc<Terms>>,
    router: Router,
    max_connections: usize,
    mut stop: watch::Receiver<bool>,
) {
    let room = Arc::new(Semaphore::new(max_connections));
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = async {
                let permit = Arc::clone(&room).acquire_owned().await;
                (permit, listener.accept().await)
            } => accepted,
            () = stopped(&mut stop) => break,
        };
        match accepted {
            (Ok(permit), Ok((stream, _))) => {
                let (terms, router, stop) = (terms.clone(), router.clone(), stop.clone());
                connections.spawn(async move {
                    if let Some(stream) = secured(stream, terms.as_deref()).await {
                        connection(stream, router, stop).await;
                    }
                    drop(permit);
                });
            }
            (_, Err(error)) => {
                debug!(%error, "a connection could not be taken");
                sleep(ACCEPT_PAUSE).await;
            }
            // The semaphore is never closed.
            (Err(_), _) => break,
        }
        while connections.try_join_next().is_some() {}
    }
    drop(listener);
    // What is left after that is dropped.
    let _ = timeout(DRAIN_TIMEOUT, async {
        while connections.join_next().await.is_some() {}
    })
    .await;
}

/// Does TLS where the listener has it.
async fn secured(stream: TcpStream, terms: Option<&Terms>) -> Option<Stream> {
    // It only takes longer without.
    let _ = stream.set_nodelay(true);
    match terms.and_then(|terms| terms.tls.as_ref()) {
        None => Some(Stream::Plain(stream)),
        Some(tls) => match tls.accept(stream, TLS_TIMEOUT).await {
            Ok((stream, _)) => Some(Stream::Tls(Box::new(stream.into()))),
            Err(error) => {
                warn!(%error, "no TLS");
                None
            }
        },
    }
}

/// Answers the requests of one connection, one after the other, for a while.
async fn connection(stream: Stream, router: Router, mut stop: watch::Receiver<bool>) {
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(MAX_HEAD_BYTES)
        // A client may have said all and still listen.
        .half_close(true)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    let mut connection = pin!(connection);
    let last = tokio::select! {
        // Whatever ended it: there is nobody to tell.
        _ = &mut connection => return,
        () = stopped(&mut stop) => DRAIN_TIMEOUT,
        () = sleep(CONNECTION_LIFETIME) => LAST_REQUEST_TIMEOUT,
    };
    connection.as_mut().graceful_shutdown();
    let _ = timeout(last, connection).await;
}
