//! RAs behind URLs (RFC 9811): the first that can be reached is asked, one that does not answer is left alone for a while.

use std::{
    fmt,
    sync::{
        Mutex, MutexGuard, PoisonError, RwLock,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use cmp_binding::csms::RaError;
use cmp_http::{Client, Connection, Error};
use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::{Instant, timeout},
};
use tracing::{debug, info, warn};

use super::{
    breaker::{BreakerLimits, Pass},
    health::{Failure, Health, TargetView},
};

/// When a request may come again for which there was no room.
const NO_ROOM_RETRY: Duration = Duration::from_secs(5);

/// Limits of a route.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) concurrency: usize,
    pub(crate) queue: usize,
    /// How long a request waits for others to be done.
    pub(crate) queue_timeout: Duration,
    pub(crate) breaker: BreakerLimits,
}

/// An RA behind one or more URLs.
pub(crate) struct Http {
    endpoints: Vec<Endpoint>,
    limits: Limits,
    permits: Semaphore,
    queued: AtomicUsize,
}

struct Endpoint {
    url: String,
    /// Another one after a reload.
    client: RwLock<Client>,
    health: Mutex<Health>,
    /// When the clock of its health began.
    started: Instant,
}

/// A connection that a request may be written to.
pub(crate) struct Ready<'a> {
    connection: Connection,
    attempt: Attempt<'a>,
    _permit: SemaphorePermit<'a>,
}

/// Tells the endpoint's health what came of it, if only that nothing did.
struct Attempt<'a> {
    endpoint: &'a Endpoint,
    pass: Pass,
    is_over: bool,
}

/// Why there is no connection.
enum Refused {
    /// Nothing was tried.
    Resting(Duration),
    /// It was tried.
    Failed,
}

impl Http {
    pub(crate) fn new(clients: Vec<Client>, limits: Limits) -> Self {
        let endpoints = clients.into_iter().map(|client| Endpoint {
            url: client.url().to_string(),
            client: RwLock::new(client),
            health: Mutex::new(Health::new(limits.breaker)),
            started: Instant::now(),
        });
        Self {
            endpoints: endpoints.collect(),
            permits: Semaphore::new(limits.concurrency),
            queued: AtomicUsize::new(0),
            limits,
        }
    }

    /// Goes on with other clients for the same URLs; connections that are in use stay as they are.
    pub(crate) fn replace(&self, clients: Vec<Client>) {
        for (endpoint, client) in self.endpoints.iter().zip(clients) {
            *endpoint.client.write().unwrap_or_else(PoisonError::into_inner) = client;
        }
    }

    /// Whether there is more than one URL.
    pub(crate) fn has_choice(&self) -> bool {
        self.endpoints.len() > 1
    }

    /// Finds a connection: to the URL `pinned` if it is one of this route, else to the first that can be reached. Nothing is
    /// written yet.
    ///
    /// # Errors
    /// [`RaError::Unreachable`], or [`RaError::Busy`] where the route has no room or all of its URLs are left alone.
    pub(crate) async fn connect(&self, pinned: Option<&str>) -> Result<Ready<'_>, RaError> {
        let permit = self.room().await?;
        let pinned = self
            .endpoints
            .iter()
            .find(|endpoint| pinned == Some(&endpoint.url));
        let others = self.endpoints.iter().filter(|_| pinned.is_none());
        let mut rest = None;
        let mut was_tried = false;
        for endpoint in pinned.into_iter().chain(others) {
            match endpoint.connect().await {
                Ok((connection, attempt)) => {
                    return Ok(Ready {
                        connection,
                        attempt,
                        _permit: permit,
                    });
                }
                Err(Refused::Failed) => was_tried = true,
                Err(Refused::Resting(wait)) => {
                    rest = Some(rest.map_or(wait, |rest: Duration| rest.min(wait)));
                }
            }
        }
        match rest {
            Some(rest) if !was_tried => Err(RaError::Busy(rest)),
            _ => Err(RaError::Unreachable),
        }
    }

    async fn room(&self) -> Result<SemaphorePermit<'_>, RaError> {
        if let Ok(permit) = self.permits.try_acquire() {
            return Ok(permit);
        }
        let Some(_queued) = Queued::enter(&self.queued, self.limits.queue) else {
            return Err(RaError::Busy(NO_ROOM_RETRY));
        };
        match timeout(self.limits.queue_timeout, self.permits.acquire()).await {
            Ok(Ok(permit)) => Ok(permit),
            _ => Err(RaError::Busy(NO_ROOM_RETRY)),
        }
    }

    pub(crate) fn asking(&self) -> usize {
        self.limits
            .concurrency
            .saturating_sub(self.permits.available_permits())
    }

    pub(crate) fn queued(&self) -> usize {
        self.queued.load(Ordering::Relaxed)
    }

    pub(crate) fn targets(&self) -> Vec<TargetView> {
        let view = |endpoint: &Endpoint| endpoint.health().view(endpoint.now(), endpoint.url.clone());
        self.endpoints.iter().map(view).collect()
    }
}

/// A place among those who wait.
struct Queued<'a>(&'a AtomicUsize);

impl<'a> Queued<'a> {
    fn enter(queued: &'a AtomicUsize, limit: usize) -> Option<Self> {
        let more = |now: usize| (now < limit).then_some(now + 1);
        queued
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, more)
            .ok()?;
        Some(Self(queued))
    }
}

impl Drop for Queued<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Ready<'_> {
    /// Where the request will go.
    pub(crate) fn url(&self) -> &str {
        &self.attempt.endpoint.url
    }

    /// Writes the request and reads the answer.
    ///
    /// # Errors
    /// [`RaError::Unreachable`] only where not a byte was written.
    pub(crate) async fn ask(self, message: &[u8]) -> Result<Vec<u8>, RaError> {
        let started = Instant::now();
        match self.connection.post(message).await {
            Ok(answer) => {
                let took = started.elapsed();
                debug!(ra = %self.attempt.endpoint, bytes = answer.len(), ms = took.as_millis(), "RA answered");
                self.attempt.succeeded(took);
                Ok(answer)
            }
            Err(error) => {
                explain(self.attempt.endpoint, &error);
                let outcome = ra_error(&error);
                self.attempt.failed(failure(&error));
                Err(outcome)
            }
        }
    }
}

fn ra_error(error: &Error) -> RaError {
    match error {
        error if !error.was_sent() => RaError::Unreachable,
        Error::Timeout | Error::BrokeOff => RaError::Timeout,
        _ => RaError::BadResponse,
    }
}

fn failure(error: &Error) -> Failure {
    match error {
        Error::Connect(_) => Failure::Unreachable,
        Error::ConnectTimeout => Failure::ConnectTimeout,
        Error::Tls(_) => Failure::Tls,
        Error::Timeout => Failure::Timeout,
        Error::BrokeOff => Failure::BrokeOff,
        Error::Status(502..=504) => Failure::Unavailable,
        Error::TooLarge => Failure::TooLarge,
        _ => Failure::NotCmp,
    }
}

/// What an answer without a CMP message most likely means, for the operator.
fn explain(endpoint: &Endpoint, error: &Error) {
    let Error::Status(status) = error else { return };
    let cause = match status {
        404 => "RA knows no such path: check the route's URL",
        300..=399 => "RA redirects, which is not followed: put the final URL into the route",
        401 | 403 => "RA refuses the bridge: check its access rules",
        405 => "RA takes no POST at this path: check the route's URL",
        _ => return,
    };
    warn!(ra = %endpoint, status, "{cause}");
}

impl Endpoint {
    async fn connect(&self) -> Result<(Connection, Attempt<'_>), Refused> {
        let pass = self.health().admit(self.now()).map_err(Refused::Resting)?;
        let attempt = Attempt {
            endpoint: self,
            pass,
            is_over: false,
        };
        let client = self.client.read().unwrap_or_else(PoisonError::into_inner).clone();
        match client.connect().await {
            Ok(connection) => Ok((connection, attempt)),
            Err(error) => {
                attempt.failed(failure(&error));
                Err(Refused::Failed)
            }
        }
    }

    fn now(&self) -> Duration {
        self.started.elapsed()
    }

    fn health(&self) -> MutexGuard<'_, Health> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.url)
    }
}

impl Attempt<'_> {
    fn succeeded(mut self, took: Duration) {
        self.is_over = true;
        let mut health = self.endpoint.health();
        if health.rest(self.endpoint.now()).is_some() {
            info!(ra = %self.endpoint, "RA is back");
        }
        health.succeeded(Some(took));
    }

    fn failed(mut self, failure: Failure) {
        self.is_over = true;
        let now = self.endpoint.now();
        let mut health = self.endpoint.health();
        let was_asked = self.pass == Pass::Probe || health.rest(now).is_none();
        health.failed(now, self.pass, failure);
        if let Some(rest) = health.rest(now).filter(|_| was_asked) {
            let (failures, rest_s) = (health.failures(), rest.as_secs());
            warn!(ra = %self.endpoint, failures, rest_s, "RA is left alone for a while");
        }
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        if !self.is_over {
            self.endpoint.health().gave_up(self.endpoint.now(), self.pass);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use futures_util::FutureExt as _;

    use super::*;

    const LIMITS: Limits = Limits {
        concurrency: 2,
        queue: 1,
        queue_timeout: Duration::from_secs(5),
        breaker: BreakerLimits {
            failures: 3,
            first_rest: Duration::from_secs(5),
            max_rest: Duration::from_secs(60),
        },
    };

    /// A port that nobody listens on, and a listener at another.
    fn ports() -> (u16, TcpListener) {
        let bind = || TcpListener::bind("127.0.0.1:0").unwrap();
        let port = bind().local_addr().unwrap().port();
        (port, bind())
    }

    fn route(ports: &[u16]) -> Http {
        let client = |port: &u16| {
            let url = format!("http://127.0.0.1:{port}/").parse().unwrap();
            Client::new(url, None, cmp_http::Limits::default()).unwrap()
        };
        Http::new(ports.iter().map(client).collect(), LIMITS)
    }

    async fn refused(route: &Http, pinned: Option<&str>) -> RaError {
        route.connect(pinned).await.map(|_| ()).unwrap_err()
    }

    #[tokio::test(start_paused = true)]
    async fn an_ra_that_is_away_is_left_alone_for_longer_and_longer_and_tried_by_one_request_then() {
        let (port, _) = ports();
        let route = route(&[port]);
        for _ in 0..3 {
            assert_eq!(refused(&route, None).await, RaError::Unreachable);
        }
        for rest in [5, 10, 20, 40, 60, 60] {
            let rest = Duration::from_secs(rest);
            assert_eq!(refused(&route, None).await, RaError::Busy(rest));
            assert_eq!(route.targets()[0].state, crate::TargetState::Resting);
            tokio::time::advance(rest).await;
            assert_eq!(refused(&route, None).await, RaError::Unreachable);
        }
        let view = &route.targets()[0];
        assert_eq!((view.consecutive_failures, view.retry_in_s), (9, Some(60)));
        assert_eq!(
            view.failed[Failure::Unreachable as usize],
            9,
            "only these were tried"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn the_next_url_serves_meanwhile_but_not_what_has_begun_at_the_first() {
        let (away, here) = ports();
        let route = route(&[away, here.local_addr().unwrap().port()]);
        let first = format!("http://127.0.0.1:{away}/");
        for _ in 0..5 {
            let ready = route
                .connect(None)
                .await
                .unwrap_or_else(|_| panic!("no connection"));
            assert_ne!(ready.url(), first);
        }
        assert_eq!(
            refused(&route, Some(&first)).await,
            RaError::Busy(Duration::from_secs(5)),
            "it was tried thrice, then left alone"
        );
        tokio::time::advance(Duration::from_secs(5)).await;
        assert_eq!(refused(&route, Some(&first)).await, RaError::Unreachable);
        let views = route.targets();
        assert_eq!(
            (views[0].consecutive_failures, views[1].consecutive_failures),
            (4, 0)
        );
    }

    #[tokio::test(start_paused = true)]
    async fn one_request_probes_and_one_that_is_given_up_leaves_its_turn() {
        let (port, _) = ports();
        let route = route(&[port]);
        for _ in 0..3 {
            refused(&route, None).await;
        }
        tokio::time::advance(Duration::from_secs(5)).await;
        let _back = TcpListener::bind(("127.0.0.1", port)).unwrap();
        let probe = route.connect(None).await;
        assert!(probe.is_ok());
        assert_eq!(refused(&route, None).await, RaError::Busy(Duration::from_secs(1)));
        drop(probe);
        assert!(route.connect(None).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn so_many_ask_and_so_many_wait_and_the_rest_comes_back_at_once() {
        let (_, here) = ports();
        let route = route(&[here.local_addr().unwrap().port()]);
        let asking = (route.connect(None).await, route.connect(None).await);
        assert_eq!((route.asking(), route.queued()), (2, 0));
        let started = Instant::now();
        let waiting = route.connect(None);
        tokio::pin!(waiting);
        assert!((&mut waiting).now_or_never().is_none());
        assert_eq!(route.queued(), 1);
        assert_eq!(refused(&route, None).await, RaError::Busy(NO_ROOM_RETRY));
        assert_eq!(started.elapsed(), Duration::ZERO, "without waiting");
        drop(asking);
        assert!(waiting.await.is_ok());
        assert_eq!((route.asking(), route.queued()), (0, 0));
    }
}
