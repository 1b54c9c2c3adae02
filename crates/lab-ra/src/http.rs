//! CMP over HTTP (RFC 9811): POST of `application/pkixcmp` to the paths of [`Endpoint`], and GET of CRLs from
//! `/crl/1.crl` and so on.
//!
//! Whatever is CMP is answered with status 200, errors included: widespread clients drop the body of a 4xx.

use axum::{
    Router,
    body::{Body, Bytes, HttpBody, to_bytes},
    extract::{Request, State},
    http::{Method, StatusCode, header},
    response::{IntoResponse, Response},
};
use cmp_http::{PKIXCMP, is_pkixcmp};
use http_body_util::LengthLimitError;
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use std::{
    error::Error,
    future::Future,
    io,
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    task::JoinSet,
    time::{sleep, timeout},
};

use crate::{Endpoint, Ra, RaService};

/// The largest request that is read, in bytes.
pub const MAX_REQUEST_BYTES: usize = 1024 * 1024;
/// Connections at the same time; more wait until one of them ends.
pub const MAX_CONNECTIONS: usize = 500;
/// The longest time that a request's header may take to arrive, and that a connection may be without a request.
const HEADER_TIMEOUT: Duration = Duration::from_secs(15);
/// The longest time that a request's body may take to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(15);
/// How long a connection takes requests. A client that does not read its answers holds it no longer either.
const CONNECTION_LIFETIME: Duration = Duration::from_secs(300);
/// The longest time that its last request may take.
const LAST_REQUEST_TIMEOUT: Duration = Duration::from_secs(60);
/// How long to wait where the system has no connection to give.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);
/// The longest time that open requests may take to end when the server ends.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(3);
const PKIX_CRL: &str = "application/pkix-crl";

/// Serves `ra` on `listener` until `stop` is ready and the open requests are answered.
///
/// # Errors
/// If the listener fails.
pub async fn serve<F>(listener: TcpListener, ra: Arc<Mutex<Ra>>, stop: F) -> io::Result<()>
where
    F: Future<Output = ()> + Send + 'static,
{
    serve_router(listener, router(ra), stop).await
}

/// Serves an RA that passes messages on, like [`serve`].
///
/// # Errors
/// If the listener fails.
pub async fn serve_forwarding<F>(listener: TcpListener, service: RaService, stop: F) -> io::Result<()>
where
    F: Future<Output = ()> + Send + 'static,
{
    let router = Router::new().fallback(forward).with_state(service.clone());
    tokio::select! {
        ended = serve_router(listener, router, stop) => ended,
        () = service.look_after() => Ok(()),
    }
}

async fn serve_router<F>(listener: TcpListener, router: Router, stop: F) -> io::Result<()>
where
    F: Future<Output = ()> + Send + 'static,
{
    let connections = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let (stopping, is_stopping) = watch::channel(());
    let mut tasks = JoinSet::new();
    let mut stop = pin!(stop);
    loop {
        let accepted = tokio::select! {
            accepted = accept(&listener, &connections) => accepted?,
            () = &mut stop => break,
        };
        let Some((stream, permit)) = accepted else {
            continue;
        };
        let (router, is_stopping) = (router.clone(), is_stopping.clone());
        tasks.spawn(async move {
            serve_connection(stream, router, is_stopping).await;
            drop(permit);
        });
        while tasks.try_join_next().is_some() {}
    }
    drop((listener, stopping));
    // What is left after that is dropped.
    let _ = timeout(DRAIN_TIMEOUT, async {
        while tasks.join_next().await.is_some() {}
    })
    .await;
    Ok(())
}

/// The next connection, as soon as there is room for it; `None` if there was none after all.
async fn accept(
    listener: &TcpListener,
    connections: &Arc<Semaphore>,
) -> io::Result<Option<(TcpStream, OwnedSemaphorePermit)>> {
    let permit = connections.clone().acquire_owned().await;
    let permit = permit.map_err(io::Error::other)?;
    match listener.accept().await {
        Ok((stream, _)) => {
            // It only takes longer without.
            let _ = stream.set_nodelay(true);
            Ok(Some((stream, permit)))
        }
        // The client is gone again, or there are no file descriptors for now.
        Err(error) => {
            tracing::debug!(%error, "no connection");
            sleep(ACCEPT_PAUSE).await;
            Ok(None)
        }
    }
}

/// Answers the requests of one connection, one after the other, for a while.
async fn serve_connection(stream: TcpStream, router: Router, mut is_stopping: watch::Receiver<()>) {
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        // A client may have said all and still listen.
        .half_close(true)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    let mut connection = pin!(connection);
    let last = tokio::select! {
        // Whatever ended it: there is nobody to tell.
        _ = &mut connection => return,
        // An error says that the sender is gone: that is the sign.
        _ = is_stopping.changed() => DRAIN_TIMEOUT,
        () = sleep(CONNECTION_LIFETIME) => LAST_REQUEST_TIMEOUT,
    };
    connection.as_mut().graceful_shutdown();
    let _ = timeout(last, connection).await;
}

/// The routes alone, for those who have a server already.
pub fn router(ra: Arc<Mutex<Ra>>) -> Router {
    Router::new().fallback(answer).with_state(ra)
}

async fn answer(State(ra): State<Arc<Mutex<Ra>>>, request: Request) -> Response {
    let path = request.uri().path();
    if let Some(generation) = crl_of(path) {
        return match *request.method() {
            Method::GET | Method::HEAD => crl(ra, generation).await,
            _ => not_allowed("GET, HEAD"),
        };
    }
    let (endpoint, message) = match read(request).await {
        Ok(read) => read,
        Err(response) => return response,
    };
    // Password-based MACs take milliseconds and the store writes files: not on the threads that serve sockets.
    let answer = tokio::task::spawn_blocking(move || {
        let mut ra = lock(&ra);
        let is_known = endpoint.profile().is_none_or(|profile| ra.has_profile(profile));
        is_known.then(|| ra.handle_at(unix_now_s(), &endpoint, &message))
    });
    match answer.await {
        Ok(Some(answer)) => pkixcmp(answer),
        Ok(None) => no_profile(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

async fn forward(State(service): State<RaService>, request: Request) -> Response {
    match read(request).await {
        Ok((endpoint, message)) => {
            if let Some(profile) = endpoint.profile()
                && !service.has_profile(profile.to_owned()).await
            {
                return no_profile();
            }
            match service.handle(endpoint, message.into()).await {
                Some(answer) => pkixcmp(answer),
                None => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
            }
        }
        Err(response) => response,
    }
}

/// The message that was posted, and where to.
async fn read(request: Request) -> Result<(Endpoint, Bytes), Response> {
    let Some(endpoint) = Endpoint::parse(request.uri().path()) else {
        return Err((StatusCode::NOT_FOUND, "there is no CMP here\n").into_response());
    };
    if request.method() != Method::POST {
        return Err(not_allowed("POST"));
    }
    let (parts, body) = request.into_parts();
    let content_type = parts
        .headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    if !content_type.is_some_and(is_pkixcmp) {
        let text = "Content-Type must be application/pkixcmp\n";
        return Err((StatusCode::UNSUPPORTED_MEDIA_TYPE, text).into_response());
    }
    if HttpBody::size_hint(&body).lower() > MAX_REQUEST_BYTES as u64 {
        return Err(StatusCode::PAYLOAD_TOO_LARGE.into_response());
    }
    match timeout(BODY_TIMEOUT, to_bytes(body, MAX_REQUEST_BYTES)).await {
        Ok(Ok(body)) => Ok((endpoint, body)),
        Ok(Err(error)) if is_too_long(&error) => Err(StatusCode::PAYLOAD_TOO_LARGE.into_response()),
        Ok(Err(_)) => Err((StatusCode::BAD_REQUEST, "the body breaks off\n").into_response()),
        Err(_) => Err(StatusCode::REQUEST_TIMEOUT.into_response()),
    }
}

fn is_too_long(error: &axum::Error) -> bool {
    error
        .source()
        .is_some_and(|source| source.is::<LengthLimitError>())
}

fn pkixcmp(message: Vec<u8>) -> Response {
    ([(header::CONTENT_TYPE, PKIXCMP)], Body::from(message)).into_response()
}

fn no_profile() -> Response {
    (StatusCode::NOT_FOUND, "there is no such profile\n").into_response()
}

async fn crl(ra: Arc<Mutex<Ra>>, generation: u32) -> Response {
    let crl = tokio::task::spawn_blocking(move || lock(&ra).crl(generation, unix_now_s()));
    match crl.await {
        Ok(Ok(Some(crl))) => ([(header::CONTENT_TYPE, PKIX_CRL)], Body::from(crl)).into_response(),
        Ok(Ok(None)) => StatusCode::NOT_FOUND.into_response(),
        Ok(Err(error)) => {
            tracing::error!(%error, "cannot make a CRL");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

fn crl_of(path: &str) -> Option<u32> {
    path.strip_prefix("/crl/")?.strip_suffix(".crl")?.parse().ok()
}

fn not_allowed(allowed: &'static str) -> Response {
    (StatusCode::METHOD_NOT_ALLOWED, [(header::ALLOW, allowed)]).into_response()
}

fn lock(ra: &Mutex<Ra>) -> MutexGuard<'_, Ra> {
    ra.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The time of this machine in seconds since 1970.
pub fn unix_now_s() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}
