//! `(station, DataTransfer) → DataTransfer response`, and the calls to stations: the one place that every way of
//! standing next to a CSMS ends in.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use cmp_binding::{
    Answer, Call, CallOutcome, CallToken, Data, ExchangeId, Route, SlotReport,
    csms::{Action, Budget, Csms, RaError, Reply, ReplyToken, Stage, Write},
};
use tokio::sync::{Notify, oneshot, watch};
use tracing::{Instrument, error, info, info_span, warn};

use crate::{Config, StationKey, Store, clock, ra};

/// How often what is due without a connection is looked after: retries of an RA, retention.
const SWEEP: Duration = Duration::from_secs(1);

/// Slots of a `CmpHello` that are logged at most, and characters of each of their texts: the log is not the station's.
const MAX_LOGGED_SLOTS: usize = 8;
const MAX_LOGGED_CHARS: usize = 64;

/// All stations, connected or not.
pub(crate) struct Relay {
    config: Arc<Config>,
    routes: HashMap<Route, ra::Route>,
    store: Arc<dyn Store>,
    budget: Budget,
    stations: Mutex<HashMap<StationKey, Arc<Entry>>>,
    /// Requests on their way to an RA.
    in_flight: watch::Sender<usize>,
}

/// One station.
struct Entry {
    key: StationKey,
    state: Mutex<State>,
    /// Number of its newest connection; the older ones close.
    newest: watch::Sender<u64>,
}

struct State {
    csms: Csms,
    waiting: HashMap<ReplyToken, oneshot::Sender<Answer>>,
    /// Exchanges that an RA has answered and the station has not acknowledged.
    answered: HashSet<ExchangeId>,
    /// Exchanges that an RA has answered and the station has acknowledged.
    finished: u64,
    /// The pull has come to an end with nothing open.
    idle: bool,
    /// The last boot, on any connection, was answered Pending.
    pending: bool,
    /// Number of the connection that counts, if there is one.
    connection: Option<u64>,
    /// Something may be to be sent to the station on that connection.
    wake: Arc<Notify>,
    /// The store failed: nothing is done any more until a restart.
    broken: bool,
}

/// One connection of a station.
#[derive(Clone)]
pub(crate) struct Session {
    relay: Arc<Relay>,
    entry: Arc<Entry>,
    number: u64,
    wake: Arc<Notify>,
}

impl Relay {
    pub(crate) fn new(config: Arc<Config>, store: Arc<dyn Store>) -> Arc<Self> {
        let routes = config
            .routes
            .iter()
            .map(|(name, route)| (name.clone(), route.to_ra()))
            .collect();
        let relay = Arc::new(Self {
            routes,
            store,
            budget: Budget::new(config.max_bytes),
            config,
            stations: Mutex::default(),
            in_flight: watch::Sender::new(0),
        });
        tokio::spawn(sweep(Arc::downgrade(&relay)));
        relay
    }

    /// A new connection of the station; an older one is told to close.
    pub(crate) fn connect(self: &Arc<Self>, key: StationKey) -> Option<Session> {
        let entry = self.entry(key)?;
        let wake = Arc::new(Notify::new());
        let number = self.with(&entry, |state, now| {
            // Under the lock, so that the number and the state are of the same connection.
            let mut number = 0;
            entry.newest.send_modify(|newest| {
                *newest += 1;
                number = *newest;
            });
            state.csms.handle_connected();
            state.waiting.clear();
            state.connection = Some(number);
            state.wake = Arc::clone(&wake);
            if state.pending && !state.idle {
                state.csms.start_pull(now);
            }
            number
        });
        Some(Session {
            relay: Arc::clone(self),
            entry,
            number,
            wake,
        })
    }

    /// Waits until no request is on its way to an RA.
    pub(crate) async fn drained(&self) {
        // The sender lives here.
        let _ = self
            .in_flight
            .subscribe()
            .wait_for(|requests| *requests == 0)
            .await;
    }

    fn entry(&self, key: StationKey) -> Option<Arc<Entry>> {
        let mut stations = lock(&self.stations);
        if let Some(entry) = stations.get(&key) {
            return Some(Arc::clone(entry));
        }
        if stations.len() >= self.config.max_stations {
            let idle = stations.iter().find(|(_, entry)| entry.may_be_forgotten());
            let Some(idle) = idle.map(|(key, _)| key.clone()) else {
                warn!(max = self.config.max_stations, "too many stations");
                return None;
            };
            stations.remove(&idle);
        }
        let records = match self.store.load(&key) {
            Ok(records) => records,
            Err(error) => {
                error!(station = %key, %error, "what is stored of the station cannot be read");
                return None;
            }
        };
        let is_answered = |stage: &Stage| matches!(stage, Stage::Answered(_));
        let answered = records
            .exchanges
            .iter()
            .filter(|record| is_answered(&record.stage));
        let answered = answered.map(|record| record.id).collect();
        let csms = Csms::restore(self.config.binding(), self.budget.clone(), clock::now(), records);
        let state = State {
            csms,
            waiting: HashMap::new(),
            answered,
            finished: 0,
            idle: false,
            pending: false,
            connection: None,
            wake: Arc::default(),
            broken: false,
        };
        let entry = Arc::new(Entry {
            key: key.clone(),
            state: Mutex::new(state),
            newest: watch::Sender::new(0),
        });
        stations.insert(key, Arc::clone(&entry));
        Some(entry)
    }

    /// Does something with a station's state, then what follows from it: stores, answers, asks the RA.
    fn with<T>(self: &Arc<Self>, entry: &Arc<Entry>, act: impl FnOnce(&mut State, Duration) -> T) -> T {
        let mut state = lock(&entry.state);
        let result = act(&mut state, clock::now());
        self.settle(entry, &mut state);
        state.wake.notify_one();
        result
    }

    fn settle(self: &Arc<Self>, entry: &Arc<Entry>, state: &mut State) {
        let writes = state.csms.take_writes();
        writes.iter().for_each(|write| state.note(write));
        if !writes.is_empty()
            && let Err(error) = self.store.apply(&entry.key, writes)
        {
            error!(station = %entry.key, %error, "nothing more is done for the station");
            state.broken = true;
        }
        while let Some(action) = state.csms.poll_action() {
            if state.broken {
                continue;
            }
            match action {
                Action::Forward { id, route, request } => {
                    let span =
                        info_span!("forward", station = %entry.key, exchange = %id, route = route.as_str());
                    let forward = Arc::clone(self).forward(Arc::clone(entry), id, route, request);
                    let relay = Arc::clone(self);
                    relay.in_flight.send_modify(|requests| *requests += 1);
                    let task = async move {
                        forward.await;
                        relay.in_flight.send_modify(|requests| *requests -= 1);
                    };
                    tokio::spawn(task.instrument(span));
                }
                Action::Reply { token, answer } => {
                    if let Some(waiting) = state.waiting.remove(&token) {
                        // A connection that is gone no longer waits.
                        drop(waiting.send(answer));
                    }
                }
                Action::Hello { unit, max, slots } => {
                    let told = slots.len();
                    let slots: Vec<_> = slots.iter().take(MAX_LOGGED_SLOTS).map(brief).collect();
                    info!(station = %entry.key, unit, max, told, ?slots, "hello");
                }
                Action::NoBinding => warn!(station = %entry.key, "the station does not carry CMP"),
                Action::Notified(outcome) => info!(station = %entry.key, ?outcome, "notified"),
                Action::PullEnded { idle } => state.idle = idle,
                _ => {}
            }
        }
    }

    /// Asks the RA: the state says so before the first byte is written.
    async fn forward(self: Arc<Self>, entry: Arc<Entry>, id: ExchangeId, route: Route, request: Vec<u8>) {
        let Some(ra) = self.routes.get(&route) else {
            return self.answered(&entry, id, Err(RaError::Forbidden));
        };
        let bytes = request.len();
        let result = match ra.connect(&entry.key, &request).await {
            Ok(ready) => {
                let may = self.with(&entry, |state, now| {
                    state.csms.handle_asked(now, id) && !state.broken
                });
                if !may || lock(&entry.state).broken {
                    return;
                }
                ready.ask(request).await
            }
            Err(error) => Err(error),
        };
        match &result {
            Ok(response) => info!(
                request_bytes = bytes,
                response_bytes = response.len(),
                "exchanged"
            ),
            Err(error) => warn!(request_bytes = bytes, %error, "no response"),
        }
        self.answered(&entry, id, result);
    }

    fn answered(self: &Arc<Self>, entry: &Arc<Entry>, id: ExchangeId, result: Result<Vec<u8>, RaError>) {
        self.with(entry, |state, now| state.csms.handle_ra_response(now, id, result));
    }

    fn sweep(self: &Arc<Self>) {
        let entries: Vec<_> = lock(&self.stations).values().cloned().collect();
        for entry in entries {
            let due = lock(&entry.state).csms.poll_timeout();
            if due.is_some_and(|due| due <= clock::now()) {
                self.with(&entry, |state, now| state.csms.handle_timeout(now));
            }
        }
        lock(&self.stations).retain(|_, entry| {
            let state = lock(&entry.state);
            // Somebody who holds the entry may be about to use it.
            state.connection.is_some()
                || state.pending
                || !state.csms.is_empty()
                || Arc::strong_count(entry) > 1
        });
    }
}

impl Entry {
    /// Nothing is under way; what the store has of it is enough.
    fn may_be_forgotten(self: &Arc<Self>) -> bool {
        let state = lock(&self.state);
        state.connection.is_none() && state.csms.open() == 0 && Arc::strong_count(self) == 1
    }
}

impl State {
    /// Counts the exchanges that are really finished: an acknowledgement of what no RA has answered is none.
    fn note(&mut self, write: &Write) {
        match write {
            Write::Stage {
                id,
                stage: Stage::Answered(_),
                ..
            } => drop(self.answered.insert(*id)),
            Write::Done { id, .. } => self.finished += u64::from(self.answered.remove(id)),
            _ => {}
        }
    }
}

fn brief(slot: &SlotReport) -> SlotReport {
    let crop = |text: &String| text.chars().take(MAX_LOGGED_CHARS).collect();
    SlotReport {
        slot: crop(&slot.slot),
        state: crop(&slot.state),
        not_after: slot.not_after.as_ref().map(crop),
        error: slot.error.as_ref().map(crop),
    }
}

async fn sweep(relay: Weak<Relay>) {
    let mut interval = tokio::time::interval(SWEEP);
    loop {
        interval.tick().await;
        let Some(relay) = relay.upgrade() else { return };
        relay.sweep();
    }
}

impl Session {
    /// Answers a DataTransfer of our vendorId, at the latest when the answer budget is over.
    pub(crate) async fn data_transfer(&self, message_id: String, data: Option<Data>) -> Option<Answer> {
        let (sender, mut receiver) = oneshot::channel();
        let reply = self.with(|state, now| {
            let reply = state.csms.handle_call(now, &message_id, data.as_ref());
            if let Reply::Pending(token) = reply {
                state.waiting.insert(token, sender);
            }
            reply
        })?;
        if lock(&self.entry.state).broken {
            return None;
        }
        let token = match reply {
            Reply::Now(answer) => return Some(answer),
            Reply::Pending(token) => token,
        };
        match tokio::time::timeout(self.relay.config.answer_budget(), &mut receiver).await {
            Ok(answer) => answer.ok(),
            Err(_) => {
                let late = self.with(|state, now| {
                    state.waiting.remove(&token);
                    state.csms.expire(now, token)
                });
                // The RA's answer may have come in this very moment.
                late.flatten().or_else(|| receiver.try_recv().ok())
            }
        }
    }

    /// The next DataTransfer to send to the station.
    pub(crate) fn poll_call(&self) -> Option<Call> {
        let mut state = lock(&self.entry.state);
        if state.connection != Some(self.number) || state.broken {
            return None;
        }
        let call = state.csms.poll_call(clock::now());
        self.relay.settle(&self.entry, &mut state);
        call
    }

    /// How a DataTransfer to the station ended.
    pub(crate) fn handle_result(&self, token: CallToken, outcome: &CallOutcome) {
        self.with(|state, now| state.csms.handle_result(now, token, outcome));
    }

    /// Begins to pull: the station may not call.
    pub(crate) fn start_pull(&self) {
        self.with(|state, now| {
            state.idle = false;
            state.csms.start_pull(now);
        });
    }

    /// Whether the last boot, on any connection of the station, was answered Pending.
    pub(crate) fn is_pending(&self) -> bool {
        lock(&self.entry.state).pending
    }

    /// Says how the boot is answered.
    pub(crate) fn set_pending(&self, pending: bool) {
        self.with(|state, _| state.pending = pending);
    }

    /// Whether the station has been served in pull mode: an exchange came to its end, and nothing is open.
    pub(crate) fn is_served(&self) -> bool {
        let state = lock(&self.entry.state);
        state.idle && state.finished > 0
    }

    /// Does what is due.
    pub(crate) fn handle_timeout(&self) {
        self.with(|state, now| state.csms.handle_timeout(now));
    }

    /// When [`Session::handle_timeout`] and [`Session::poll_call`] are to be called at the latest, on the clock of
    /// [`clock::now`].
    pub(crate) fn poll_timeout(&self) -> Option<Duration> {
        let state = lock(&self.entry.state);
        let counts = state.connection == Some(self.number) && !state.broken;
        counts.then(|| state.csms.poll_timeout())?
    }

    /// Returns when [`Session::poll_call`] may have something.
    pub(crate) async fn woken(&self) {
        self.wake.notified().await;
    }

    /// Returns when a newer connection of the station has taken over.
    pub(crate) async fn replaced(&self) {
        let mut newest = self.entry.newest.subscribe();
        // The sender lives in the entry, which lives here.
        let _ = newest.wait_for(|newest| *newest != self.number).await;
    }

    /// The connection is gone.
    pub(crate) fn disconnect(&self) {
        self.with(|state, _| {
            state.csms.handle_disconnected();
            state.waiting.clear();
            state.connection = None;
        });
    }

    /// As [`Relay::with`], if this connection still counts.
    fn with<T>(&self, act: impl FnOnce(&mut State, Duration) -> T) -> Option<T> {
        self.relay.with(&self.entry, |state, now| {
            (state.connection == Some(self.number)).then(|| act(state, now))
        })
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use cmp_binding::csms::StationRecords;

    use super::*;
    use crate::{MemoryStore, StoreError};

    struct Broken;

    impl Store for Broken {
        fn apply(&self, _: &StationKey, _: Vec<Write>) -> Result<(), StoreError> {
            Err(StoreError("no space".into()))
        }

        fn load(&self, _: &StationKey) -> Result<StationRecords, StoreError> {
            Ok(StationRecords::default())
        }
    }

    fn session(config: Config, store: Arc<dyn Store>) -> Session {
        let key = StationKey {
            prefix: String::new(),
            identity: "CS1".into(),
        };
        Relay::new(Arc::new(config), store).connect(key).unwrap()
    }

    async fn send(session: &Session, data: &str) -> Option<String> {
        let data = format!(r#"{{"id":"AQEBAQEBAQEBAQEBAQEBAQ","len":4,"off":0,"data":"{data}"}}"#);
        let answer = session.data_transfer("CmpSend".into(), Some(Data::text(data)));
        answer.await?.data.map(|data| data.json)
    }

    #[tokio::test]
    async fn what_is_due_is_done_by_who_is_woken_for_it() {
        let config = Config {
            routes: [("default".parse().unwrap(), toml::from_str("urls = []").unwrap())].into(),
            retention_h: 0,
            ..Config::default()
        };
        let session = session(config, Arc::new(MemoryStore::new(1)));
        assert_eq!(send(&session, "MAI=").await.as_deref(), Some(r#"{"next":2}"#));
        assert!(session.poll_timeout().is_some_and(|due| due <= clock::now()));
        session.handle_timeout();
        assert_eq!(session.poll_timeout(), None);
    }

    #[tokio::test]
    async fn nothing_is_due_any_more_after_the_store_has_failed() {
        let config = Config {
            routes: [("default".parse().unwrap(), toml::from_str("urls = []").unwrap())].into(),
            ..Config::default()
        };
        let session = session(config, Arc::new(Broken));
        session.start_pull();
        assert!(session.poll_timeout().is_some());
        assert_eq!(send(&session, "MAIFAA==").await, None);
        assert_eq!(session.poll_timeout(), None);
    }

    #[test]
    fn a_hello_fills_no_log() {
        let long = || "\n".repeat(10_000);
        let slot = SlotReport {
            slot: long(),
            state: long(),
            not_after: Some(long()),
            error: Some(long()),
        };
        assert!(format!("{:?}", brief(&slot)).len() < 1_000);
    }
}
