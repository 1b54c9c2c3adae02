//! Leaves requests in folders whose files somebody carries, and takes the responses that come back.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use cmp_binding::{
    ExchangeId, Route,
    csms::{Progress, RaError},
};
use tracing::{error, info, warn};

use super::{Entry, Relay};
use crate::ra::{Arrived, Spool, Tag};

/// When a request may come again that is just being given away.
const AGAIN: Duration = Duration::from_secs(1);

impl Relay {
    /// Gives a request away. An error if it was not; then it is tried again.
    pub(super) async fn deposit(
        self: &Arc<Self>,
        entry: &Arc<Entry>,
        id: ExchangeId,
        spool: &Arc<Spool>,
        request: Vec<u8>,
    ) -> Result<(), RaError> {
        let (tag, bytes) = (Tag::of(&entry.key, id, &request), request.len());
        if !spool.begin(tag, &entry.key, id) {
            return Err(RaError::Busy(AGAIN));
        }
        let prepared = blocking(spool, move |spool| spool.prepare(tag, &request)).await;
        if !matches!(prepared, Some(Ok(()))) {
            blocking(spool, move |spool| spool.discard(tag)).await;
            return Err(RaError::Unreachable);
        }
        let may = self.with(entry, |state, now| {
            let may = state.csms.handle_deposited(now, id);
            state.target = may.then(|| (id, spool.target()));
            may
        });
        if !may.await || entry.is_broken() {
            blocking(spool, move |spool| spool.discard(tag)).await;
            return Ok(());
        }
        blocking(spool, move |spool| spool.publish(tag)).await;
        info!(request_bytes = bytes, %tag, "left to be carried to the RA");
        Ok(())
    }

    /// Goes on waiting for the answer to a request that a former run has given away.
    pub(super) fn await_response(
        self: &Arc<Self>,
        entry: &Arc<Entry>,
        id: ExchangeId,
        route: &Route,
        request: &[u8],
    ) {
        if let Some(spool) = self.spool(route) {
            return spool.resume(Tag::of(&entry.key, id, request), &entry.key, id);
        }
        warn!(station = %entry.key, exchange = %id, route = route.as_str(),
            "the request is in a folder that is of no route any more: its outcome will not be known");
        let (relay, entry) = (Arc::clone(self), Arc::clone(entry));
        tokio::spawn(async move {
            let lost = Err(RaError::Timeout);
            relay
                .with(&entry, |state, now| state.csms.handle_ra_response(now, id, lost))
                .await;
        });
    }

    /// The exchange is over: nobody is to answer it any more.
    pub(super) fn withdraw(&self, entry: &Entry, id: ExchangeId) {
        for spool in self.spools() {
            if let Some(path) = spool.withdraw(&entry.key, id) {
                let spool = Arc::clone(spool);
                tokio::task::spawn_blocking(move || spool.remove(&path));
            }
        }
    }

    /// Looks for responses from now on. `all_known`: what a former run has given away is waited for.
    pub(super) async fn look_for_responses(self: &Arc<Self>, all_known: bool) {
        for (name, config) in &self.config.routes {
            let Some(spool) = self.spool(name) else { continue };
            if all_known {
                blocking(spool, Spool::resumed).await;
            }
            let interval = config.scan_interval();
            tokio::spawn(look(Arc::downgrade(self), Arc::clone(spool), interval, all_known));
        }
    }

    async fn take_responses(self: &Arc<Self>, spool: &Arc<Spool>, all_known: bool) {
        let arrived = blocking(spool, move |spool| spool.look(all_known)).await;
        for response in arrived.unwrap_or_default() {
            self.take_response(spool, response).await;
        }
    }

    async fn take_response(self: &Arc<Self>, spool: &Arc<Spool>, response: Arrived) {
        let Some(entry) = self.entry(&response.station).await else {
            // Its file stays.
            return;
        };
        let (tag, name, id, message) = response.into_parts();
        let bytes = message.len();
        let was_taken = self
            .with(&entry, |state, now| {
                state.csms.handle_ra_response(now, id, Ok(message));
                matches!(state.csms.progress(id), Progress::Answered { .. })
            })
            .await;
        if entry.is_broken() {
            return;
        }
        if was_taken {
            info!(station = %entry.key, exchange = %id, response_bytes = bytes, %tag, "a response was carried here");
        }
        blocking(spool, move |spool| spool.done(tag, &name, was_taken)).await;
    }
}

/// Looks for responses until the relay is gone.
async fn look(relay: Weak<Relay>, spool: Arc<Spool>, interval: Duration, all_known: bool) {
    let mut looks = tokio::time::interval(interval);
    looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        looks.tick().await;
        let Some(relay) = relay.upgrade() else { return };
        relay.take_responses(&spool, all_known).await;
    }
}

/// Disks may be slow: not on the threads that serve sockets.
async fn blocking<T: Send + 'static>(
    spool: &Arc<Spool>,
    work: impl FnOnce(&Spool) -> T + Send + 'static,
) -> Option<T> {
    let spool = Arc::clone(spool);
    let done = tokio::task::spawn_blocking(move || work(&spool)).await;
    done.inspect_err(|error| error!(%error, "a task of a route failed"))
        .ok()
}
