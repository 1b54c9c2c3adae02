//! The exchanges of a tunnel: one for each HTTP request.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use cmp_binding::station::{Config, Event, Failure, Mode, Station, SubmitError};
use cmp_binding::{Answer, Call, CallOutcome, CallToken, Data, ErrorCode, ExchangeId, Route};
use serde::Deserialize;
use tokio::sync::{Notify, mpsc, oneshot};
use tracing::{info, warn};

use crate::link::{Carrier, Step};

/// A `retry` of the CSMS side up to this is waited for here; above, the HTTP client is told to come again.
const SHORT_RETRY: Duration = Duration::from_secs(5);

/// A CMP client goes on soon after a response, with a certConf for instance: a CSMS that pulls is told to stay.
const FOLLOW_UP: Duration = Duration::from_secs(2);

/// Why an HTTP request has no CMP message for an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refused {
    /// The request is not one DER SEQUENCE.
    Malformed,
    /// The request is above the limit of this side or of the CSMS side.
    TooLarge,
    /// It did not reach the RA; to be made again after this.
    Later(Duration),
    /// The exchange failed.
    Failed {
        /// Why.
        failure: Failure,
        /// Whether the RA may have got the request.
        outcome_unknown: bool,
    },
}

/// An HTTP request, and where its answer goes.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) request: Vec<u8>,
    pub(super) reply: Reply,
}

pub(super) type Reply = oneshot::Sender<Result<Vec<u8>, Refused>>;

/// The station of a tunnel.
#[derive(Debug)]
pub(super) struct Tunnel {
    station: Station,
    route: Route,
    max_open: usize,
    jobs: mpsc::Receiver<Job>,
    /// Signalled when an HTTP request has gone, answered or not.
    gone: Arc<Notify>,
    inbox: VecDeque<Job>,
    open: BTreeMap<ExchangeId, Reply>,
    calling: Option<(CallToken, ExchangeId)>,
}

impl Tunnel {
    pub(super) fn new(config: Config, route: Route, jobs: mpsc::Receiver<Job>, gone: Arc<Notify>) -> Self {
        Self {
            max_open: config.exchanges,
            station: Station::new(config),
            route,
            jobs,
            gone,
            inbox: VecDeque::new(),
            open: BTreeMap::new(),
            calling: None,
        }
    }

    /// Gives up what nobody waits for any more.
    fn abandon_gone(&mut self, now: Duration) {
        self.inbox.retain(|job| !job.reply.is_closed());
        let gone = |reply: &Reply| reply.is_closed();
        let ids: Vec<_> = self
            .open
            .iter()
            .filter(|(_, reply)| gone(reply))
            .map(|(id, _)| *id)
            .collect();
        for id in ids {
            info!(exchange = %id, "the client is gone");
            self.open.remove(&id);
            self.station.abandon(now, id);
        }
    }

    fn submit_waiting(&mut self, now: Duration) {
        while self.open.len() < self.max_open {
            let Some(job) = self.inbox.pop_front() else { return };
            self.submit(now, job);
        }
    }

    fn submit(&mut self, now: Duration, Job { request, reply }: Job) {
        let mut random = [0; 16];
        let bytes = request.len();
        let refused = if let Err(error) = getrandom::fill(&mut random) {
            warn!(%error, "no random numbers");
            Refused::Later(SHORT_RETRY)
        } else {
            match self.station.submit(now, random, self.route.clone(), request) {
                Ok(id) => {
                    info!(exchange = %id, bytes, "request");
                    self.open.insert(id, reply);
                    return;
                }
                Err(SubmitError::TooLarge) => Refused::TooLarge,
                Err(SubmitError::NotOneSequence) => Refused::Malformed,
                Err(_) => Refused::Later(SHORT_RETRY),
            }
        };
        let _ = reply.send(Err(refused));
    }

    fn take_events(&mut self, now: Duration) {
        while let Some(event) = self.station.poll_event() {
            match event {
                Event::Response { id, bytes } => {
                    info!(exchange = %id, bytes = bytes.len(), "response");
                    if let Some(reply) = self.open.remove(&id) {
                        let _ = reply.send(Ok(bytes));
                    }
                    self.station.acknowledge(now, id);
                    self.station.set_busy(now, Some(FOLLOW_UP));
                }
                Event::Failed {
                    id,
                    error: failure,
                    outcome_unknown,
                } => {
                    warn!(exchange = %id, error = %failure, outcome_unknown, "failed");
                    if let Some(reply) = self.open.remove(&id) {
                        let _ = reply.send(Err(Refused::Failed {
                            failure,
                            outcome_unknown,
                        }));
                    }
                }
                Event::NoBinding => warn!("the CSMS does not carry CMP"),
                _ => {}
            }
        }
    }

    /// Passes a long `retry` of the CSMS side on to the HTTP client, and gives the exchange up.
    fn pass_on_retry(&mut self, now: Duration, id: ExchangeId, outcome: &CallOutcome) {
        let Some(retry) = long_retry(outcome) else { return };
        if let Some(reply) = self.open.remove(&id) {
            warn!(exchange = %id, retry_s = retry.as_secs(), "not now");
            let _ = reply.send(Err(Refused::Later(retry)));
            self.station.abandon(now, id);
        }
    }
}

impl Carrier for Tunnel {
    fn handle_connected(&mut self, now: Duration) {
        self.station.handle_connected(now);
    }

    fn handle_disconnected(&mut self, _: Duration) {
        self.calling = None;
        self.station.handle_disconnected();
    }

    fn set_mode(&mut self, mode: Mode) {
        self.station.set_mode(mode);
    }

    fn handle_call(&mut self, now: Duration, message_id: &str, data: Option<&Data>) -> Answer {
        self.station.handle_call(now, message_id, data)
    }

    fn poll_call(&mut self, now: Duration) -> Option<Call> {
        let call = self.station.poll_call(now)?;
        self.calling = exchange_of(&call.data).map(|id| (call.token, id));
        Some(call)
    }

    fn handle_result(&mut self, now: Duration, token: CallToken, outcome: &CallOutcome) {
        self.station.handle_result(now, token, outcome);
        if let Some((_, id)) = self.calling.take_if(|(calling, _)| *calling == token) {
            self.pass_on_retry(now, id, outcome);
        }
    }

    fn handle_timeout(&mut self, now: Duration) {
        self.station.handle_timeout(now);
    }

    fn poll_timeout(&self) -> Option<Duration> {
        self.station.poll_timeout()
    }

    fn flush(&mut self, now: Duration) -> bool {
        self.station.flush_acks(now)
    }

    fn work(&mut self, now: Duration) -> Step {
        while let Ok(job) = self.jobs.try_recv() {
            self.inbox.push_back(job);
        }
        self.abandon_gone(now);
        self.take_events(now);
        self.submit_waiting(now);
        Step::Continue
    }

    async fn woken(&mut self) {
        tokio::select! {
            job = self.jobs.recv() => match job {
                Some(job) => self.inbox.push_back(job),
                None => std::future::pending().await,
            },
            () = self.gone.notified() => {}
        }
    }
}

fn exchange_of(data: &Data) -> Option<ExchangeId> {
    #[derive(Deserialize)]
    struct Wire {
        id: ExchangeId,
    }
    serde_json::from_str::<Wire>(&data.json).ok().map(|wire| wire.id)
}

/// The `retry` of `busy` or `ra-unreachable`, if it is long.
fn long_retry(outcome: &CallOutcome) -> Option<Duration> {
    #[derive(Deserialize)]
    struct Wire {
        error: WireError,
    }
    #[derive(Deserialize)]
    struct WireError {
        code: ErrorCode,
        retry: u64,
    }
    let CallOutcome::Response { data: Some(data), .. } = outcome else {
        return None;
    };
    let Wire { error } = serde_json::from_str(&data.json).ok()?;
    let retry = Duration::from_secs(error.retry);
    let to_pass_on = matches!(error.code, ErrorCode::Busy | ErrorCode::RaUnreachable);
    (to_pass_on && retry > SHORT_RETRY).then_some(retry)
}
