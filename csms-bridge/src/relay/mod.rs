//! `(station, DataTransfer) → DataTransfer response`, and the calls to stations: the one place that every way of
//! standing next to a CSMS ends in.

mod deposit;
mod forward;
mod session;
mod state;
#[cfg(test)]
mod tests;

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use cmp_binding::{
    DoOperation, ErrorCode, Route,
    csms::{Action, Budget, Csms},
};
use futures_util::FutureExt as _;
use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard, oneshot, watch};
use tracing::{error, info, warn};

pub(crate) use session::{Ended, Session};
use state::State;

use crate::{
    Config, Facts, Hello, StationKey, Store, StoreError,
    access::Access,
    clock,
    config::{RouteConfig, RouteError},
    metrics::Metrics,
    ra,
    store::Stored,
};

/// How often what is due without a connection is looked after: retries of an RA, retention.
const SWEEP: Duration = Duration::from_secs(1);
/// How long a store that failed is not relied on.
const STORE_RECOVERY: Duration = Duration::from_secs(30);
/// The value of [`Entry::newest`] that no connection has.
const NO_CONNECTION: u64 = u64::MAX;

/// All stations, connected or not.
pub(crate) struct Relay {
    config: Arc<Config>,
    routes: HashMap<Route, ra::Route>,
    store: Arc<dyn Store>,
    access: Arc<Access>,
    budget: Budget,
    stations: Mutex<HashMap<StationKey, Arc<Entry>>>,
    /// Held while what is stored of a station is loaded, so that it is loaded once.
    loading: AsyncMutex<()>,
    /// Requests on their way to an RA.
    in_flight: watch::Sender<usize>,
    metrics: Metrics,
    /// When the store failed last, in seconds of [`clock::now`]; 0: never.
    store_failed_at_s: AtomicU64,
}

/// One station.
struct Entry {
    key: StationKey,
    /// Locked until what was changed is durable and what follows from it is done.
    state: Arc<AsyncMutex<State>>,
    /// Number of its newest connection; the older ones close.
    newest: watch::Sender<u64>,
}

/// A station as others see it.
#[derive(Clone, Debug)]
pub struct StationView {
    /// Which.
    pub key: StationKey,
    /// It is connected.
    pub is_connected: bool,
    /// What is known of it.
    pub facts: Facts,
    /// Exchanges that are not finished.
    pub open: usize,
}

/// Why a station did not take what it was asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NotifyError {
    /// It is not connected.
    #[error("the station is not connected")]
    NotConnected,
    /// It is being asked the same, or too much.
    #[error("the station is being asked that already, or too much waits")]
    Busy,
    /// It says no.
    #[error("the station refuses: {0}")]
    Refused(ErrorCode),
    /// The connection ended first.
    #[error("the connection ended before the station answered")]
    NoAnswer,
}

impl Relay {
    pub(crate) fn new(
        config: Arc<Config>,
        store: Arc<dyn Store>,
        access: Arc<Access>,
    ) -> Result<Arc<Self>, RouteError> {
        let max_bytes = config.max_message_bytes;
        let open = |(name, route): (&Route, &RouteConfig)| Ok((name.clone(), route.open(name, max_bytes)?));
        let routes = config.routes.iter().map(open).collect::<Result<_, _>>()?;
        let relay = Arc::new(Self {
            routes,
            store,
            access,
            budget: Budget::new(config.max_bytes),
            metrics: Metrics::new(),
            store_failed_at_s: AtomicU64::new(0),
            config,
            stations: Mutex::default(),
            loading: AsyncMutex::default(),
            in_flight: watch::Sender::new(0),
        });
        tokio::spawn(sweep(Arc::downgrade(&relay)));
        Ok(relay)
    }

    /// Reads again what belongs to the TLS of the routes. A route for which that fails goes on with what it has.
    pub(crate) fn reload(&self) {
        for (name, config) in &self.config.routes {
            let Some(ra::Route::Http(http)) = self.routes.get(name) else {
                continue;
            };
            match config.clients(name) {
                Ok(clients) => http.replace(clients),
                Err(error) => error!(%error, "the route goes on with what it has"),
            }
        }
    }

    /// The routes, by their names.
    pub(crate) fn routes(&self) -> Vec<ra::RouteView> {
        let names = self.config.routes.keys();
        let views = names.filter_map(|name| Some(self.routes.get(name)?.view(name.clone())));
        views.collect()
    }

    /// Goes on with what a former process was asked to do and had not done.
    pub(crate) async fn resume(self: &Arc<Self>) -> Result<(), StoreError> {
        let stations = self.store.unfinished().await?;
        if !stations.is_empty() {
            info!(
                stations = stations.len(),
                "going on with the requests of a former run"
            );
        }
        let mut all_known = true;
        for key in stations {
            match self.entry(&key).await {
                Some(entry) => self.with(&entry, |_, _| ()).await,
                None => all_known = false,
            }
        }
        self.look_for_responses(all_known).await;
        Ok(())
    }

    /// A new connection of the station; an older one is told to close.
    pub(crate) async fn connect(self: &Arc<Self>, key: StationKey) -> Option<Session> {
        loop {
            let entry = self.entry(&key).await?;
            let wake = Arc::default();
            let number = self
                .with(&entry, |state, now| {
                    // The store failed in this very moment: what is stored is loaded again.
                    if state.is_broken {
                        return None;
                    }
                    // Under the lock, so that the number and the state are of the same connection.
                    let mut number = 0;
                    entry.newest.send_modify(|newest| {
                        *newest += 1;
                        number = *newest;
                    });
                    state.connected(now, number, &wake, self.metrics.connected());
                    state.ask_pending(self.config.pending_do());
                    Some(number)
                })
                .await;
            if let Some(number) = number {
                return Some(Session::new(Arc::clone(self), entry, number, wake));
            }
        }
    }

    /// Asks a connected station to do something, and waits for its answer.
    ///
    /// # Errors
    /// [`NotifyError`]. How long to wait is the caller's business.
    pub(crate) async fn notify(
        self: &Arc<Self>,
        key: &StationKey,
        operation: DoOperation,
        slot: &str,
    ) -> Result<(), NotifyError> {
        let entry = lock(&self.stations).get(key).cloned();
        let entry = entry.ok_or(NotifyError::NotConnected)?;
        let (sender, answer) = oneshot::channel();
        self.with(&entry, |state, _| state.notify(operation, slot, sender))
            .await?;
        match answer.await {
            Ok(None) => Ok(()),
            Ok(Some(code)) => Err(NotifyError::Refused(code)),
            Err(_) => Err(NotifyError::NoAnswer),
        }
    }

    /// The stations that are connected or of which something is open.
    pub(crate) async fn stations(&self) -> Vec<StationView> {
        let entries: Vec<_> = lock(&self.stations).values().cloned().collect();
        let mut views = Vec::with_capacity(entries.len());
        for entry in entries {
            views.push(entry.view().await);
        }
        views
    }

    /// The stations of this identity of which something is in memory.
    pub(crate) fn keys_of(&self, identity: &str) -> Vec<StationKey> {
        let stations = lock(&self.stations);
        let keys = stations.keys().filter(|key| key.identity == identity);
        keys.cloned().collect()
    }

    /// Whether the store took what was last given to it, or has had time to recover.
    pub(crate) fn store_works(&self) -> bool {
        let failed_at_s = self.store_failed_at_s.load(Ordering::Relaxed);
        clock::now().as_secs().saturating_sub(failed_at_s) >= STORE_RECOVERY.as_secs()
    }

    /// A station, if something of it is in memory.
    pub(crate) async fn station(&self, key: &StationKey) -> Option<StationView> {
        let entry = lock(&self.stations).get(key).cloned()?;
        Some(entry.view().await)
    }

    /// What is counted.
    pub(crate) const fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// The store, for those who look into it.
    pub(crate) fn store(&self) -> &dyn Store {
        &*self.store
    }

    /// Requests on their way to an RA.
    pub(crate) fn in_flight(&self) -> usize {
        *self.in_flight.borrow()
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

    async fn entry(self: &Arc<Self>, key: &StationKey) -> Option<Arc<Entry>> {
        let known = || lock(&self.stations).get(key).cloned();
        if let Some(entry) = known() {
            return Some(entry);
        }
        let _loading = self.loading.lock().await;
        if let Some(entry) = known() {
            return Some(entry);
        }
        if !self.make_room() {
            warn!(max = self.config.max_stations, "too many stations");
            return None;
        }
        match self.store.load(key).await {
            Ok(stored) => Some(self.insert(key, stored)),
            Err(error) => {
                error!(station = %key, %error, "what is stored of the station cannot be read");
                None
            }
        }
    }

    /// Forgets a station that is away, if there is no room for another.
    fn make_room(&self) -> bool {
        let mut stations = lock(&self.stations);
        if stations.len() < self.config.max_stations {
            return true;
        }
        let idle = stations.iter().find(|(_, entry)| entry.may_be_forgotten());
        let idle = idle.map(|(key, _)| key.clone());
        idle.is_some_and(|idle| stations.remove(&idle).is_some())
    }

    fn insert(&self, key: &StationKey, stored: Stored) -> Arc<Entry> {
        let Stored { records, facts } = stored;
        let answered = state::answered(&records);
        let csms = Csms::restore(self.config.binding(), self.budget.clone(), clock::now(), records);
        let entry = Arc::new(Entry {
            key: key.clone(),
            state: Arc::new(AsyncMutex::new(State::new(csms, answered, facts))),
            newest: watch::Sender::new(0),
        });
        lock(&self.stations).insert(key.clone(), Arc::clone(&entry));
        entry
    }

    /// Does something with a station's state, then what follows from it: stores, answers, asks the RA.
    async fn with<T>(self: &Arc<Self>, entry: &Arc<Entry>, act: impl FnOnce(&mut State, Duration) -> T) -> T {
        let mut state = Arc::clone(&entry.state).lock_owned().await;
        let result = act(&mut state, clock::now());
        state.wake.notify_one();
        self.settle(entry, state).await;
        result
    }

    /// Makes the changes durable, then acts on them.
    async fn settle(self: &Arc<Self>, entry: &Arc<Entry>, mut state: OwnedMutexGuard<State>) {
        let Some(batch) = state.take_batch(&entry.key) else {
            return self.act(entry, &mut state);
        };
        let mut applied = self.store.apply(batch);
        if let Some(result) = (&mut applied).now_or_never() {
            return self.applied(entry, &mut state, result);
        }
        // In a task of its own: a caller that is dropped meanwhile leaves no change half done.
        let (relay, entry) = (Arc::clone(self), Arc::clone(entry));
        let task = tokio::spawn(async move {
            let result = applied.await;
            relay.applied(&entry, &mut state, result);
        });
        // It does not panic, and is cancelled only with the runtime.
        let _ = task.await;
    }

    fn applied(self: &Arc<Self>, entry: &Arc<Entry>, state: &mut State, result: Result<(), StoreError>) {
        if let Err(error) = result {
            self.store_failed_at_s
                .store(clock::now().as_secs(), Ordering::Relaxed);
            error!(station = %entry.key, %error, "the station's connection is closed: nothing can be kept of it");
            self.give_up(entry, state);
        }
        self.act(entry, state);
    }

    /// What is in memory is ahead of what is stored: forgets it. The station begins with what is stored when it connects
    /// again.
    fn give_up(&self, entry: &Arc<Entry>, state: &mut State) {
        state.is_broken = true;
        state.disconnected();
        entry.newest.send_replace(NO_CONNECTION);
        let mut stations = lock(&self.stations);
        if stations
            .get(&entry.key)
            .is_some_and(|known| Arc::ptr_eq(known, entry))
        {
            stations.remove(&entry.key);
        }
    }

    fn spool(&self, route: &Route) -> Option<&Arc<ra::Spool>> {
        match self.routes.get(route)? {
            ra::Route::Spool(spool) => Some(spool),
            ra::Route::Http(_) => None,
        }
    }

    fn spools(&self) -> impl Iterator<Item = &Arc<ra::Spool>> {
        self.routes.keys().filter_map(|route| self.spool(route))
    }

    fn act(self: &Arc<Self>, entry: &Arc<Entry>, state: &mut State) {
        for id in std::mem::take(&mut state.ended) {
            if !state.is_broken {
                self.withdraw(entry, id);
            }
        }
        while let Some(action) = state.csms.poll_action() {
            if state.is_broken {
                continue;
            }
            match action {
                Action::Forward { id, route, request } => self.spawn_forward(entry, id, route, request),
                Action::Await { id, route, request } => self.await_response(entry, id, &route, &request),
                Action::Reply { token, answer } => state.reply(token, answer),
                Action::Hello { unit, max, slots } => {
                    let hello = Hello::new(unit, max, &slots, clock::utc().as_secs());
                    info!(station = %entry.key, unit, max, told = slots.len(), slots = ?hello.slots, "hello");
                    state.facts.hello = Some(hello);
                }
                Action::NoBinding => warn!(station = %entry.key, "the station does not carry CMP"),
                Action::Notified(outcome) => {
                    info!(station = %entry.key, ?outcome, "notified");
                    self.metrics.notified(outcome);
                    state.notified(clock::now(), outcome);
                }
                Action::PullEnded { idle } => state.is_idle = idle,
                _ => {}
            }
        }
    }

    async fn sweep(self: &Arc<Self>) {
        let entries: Vec<_> = lock(&self.stations).values().cloned().collect();
        for entry in entries {
            let due = match entry.state.try_lock() {
                Ok(state) => state.csms.poll_timeout(),
                // Whoever has it looks after it.
                Err(_) => None,
            };
            if due.is_some_and(|due| due <= clock::now()) {
                self.with(&entry, |state, now| state.csms.handle_timeout(now))
                    .await;
            }
        }
        lock(&self.stations).retain(|_, entry| !entry.is_over());
    }
}

impl Entry {
    async fn view(&self) -> StationView {
        let state = self.state.lock().await;
        StationView {
            key: self.key.clone(),
            is_connected: state.connection.is_some(),
            facts: state.facts.clone(),
            open: state.csms.open(),
        }
    }

    fn is_broken(&self) -> bool {
        *self.newest.borrow() == NO_CONNECTION
    }

    /// Nothing is under way; what the store has of it is enough.
    fn may_be_forgotten(self: &Arc<Self>) -> bool {
        // Somebody who holds the entry may be about to use it.
        Arc::strong_count(self) == 1
            && self
                .state
                .try_lock()
                .is_ok_and(|state| state.connection.is_none() && state.csms.open() == 0)
    }

    /// It is away, and nothing of it needs to be looked after.
    fn is_over(self: &Arc<Self>) -> bool {
        Arc::strong_count(self) == 1
            && self
                .state
                .try_lock()
                .is_ok_and(|state| state.connection.is_none() && state.csms.is_empty(clock::now()))
    }
}

async fn sweep(relay: Weak<Relay>) {
    let mut interval = tokio::time::interval(SWEEP);
    loop {
        interval.tick().await;
        let Some(relay) = relay.upgrade() else { return };
        relay.metrics.tidy();
        relay.sweep().await;
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
