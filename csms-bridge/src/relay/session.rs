//! One connection of a station, as the relay sees it.

use std::{sync::Arc, time::Duration};

use cmp_binding::{Answer, Call, CallOutcome, CallToken, Data, csms::Reply};
use tokio::sync::{Notify, oneshot};

use super::{Entry, NO_CONNECTION, Relay, state::State};
use crate::Boot;

/// One connection of a station.
#[derive(Clone)]
pub(crate) struct Session {
    relay: Arc<Relay>,
    entry: Arc<Entry>,
    number: u64,
    wake: Arc<Notify>,
}

/// Why a connection does not count any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// The station has a newer one.
    Replaced,
    /// The store failed.
    Broken,
}

impl Session {
    pub(super) const fn new(relay: Arc<Relay>, entry: Arc<Entry>, number: u64, wake: Arc<Notify>) -> Self {
        Self {
            relay,
            entry,
            number,
            wake,
        }
    }

    /// Answers a DataTransfer of our vendorId, at the latest when the answer budget is over. `None`: the connection counts
    /// no more.
    pub(crate) async fn data_transfer(&self, message_id: String, data: Option<Data>) -> Option<Answer> {
        // In a task of its own: a caller that looks at something else meanwhile must not keep the station's turn.
        let session = self.clone();
        let answer = tokio::spawn(async move { session.answer(message_id, data).await });
        let answer = answer.await.ok().flatten()?;
        if let Some(code) = answer.error_code() {
            self.relay.metrics.rejected(code);
        }
        Some(answer)
    }

    async fn answer(&self, message_id: String, data: Option<Data>) -> Option<Answer> {
        let (sender, mut receiver) = oneshot::channel();
        let reply = self
            .with(|state, now| {
                let reply = state.csms.handle_call(now, &message_id, data.as_ref());
                if let Reply::Pending(token) = reply {
                    state.waiting.insert(token, sender);
                }
                reply
            })
            .await?;
        let token = match reply {
            Reply::Now(answer) => return Some(answer),
            Reply::Pending(token) => token,
        };
        match tokio::time::timeout(self.relay.config.answer_budget(), &mut receiver).await {
            Ok(answer) => answer.ok(),
            Err(_) => {
                let late = self
                    .with(|state, now| {
                        state.waiting.remove(&token);
                        state.csms.expire(now, token)
                    })
                    .await;
                // The RA's answer may have come in this very moment.
                late.flatten().or_else(|| receiver.try_recv().ok())
            }
        }
    }

    /// The next DataTransfer to send to the station.
    pub(crate) async fn poll_call(&self) -> Option<Call> {
        let mut state = Arc::clone(&self.entry.state).lock_owned().await;
        if state.connection != Some(self.number) {
            return None;
        }
        let call = state.csms.poll_call(crate::clock::now());
        self.relay.settle(&self.entry, state).await;
        call
    }

    /// How a DataTransfer to the station ended.
    pub(crate) async fn handle_result(&self, token: CallToken, outcome: &CallOutcome) {
        self.with(|state, now| state.csms.handle_result(now, token, outcome))
            .await;
    }

    /// Frames on this connection have at most so many bytes, whatever the station takes.
    pub(crate) async fn limit_unit(&self, unit: usize) {
        self.with(|state, _| state.csms.limit_unit(unit)).await;
    }

    /// Begins to pull: the station may not call.
    pub(crate) async fn start_pull(&self) {
        self.with(|state, now| {
            state.is_idle = false;
            state.csms.start_pull(now);
        })
        .await;
    }

    /// Whether the last boot, on any connection of the station, was answered Pending.
    pub(crate) async fn is_pending(&self) -> bool {
        self.entry.state.lock().await.is_pending()
    }

    /// Says how the boot is answered.
    pub(crate) async fn set_boot(&self, boot: Boot) {
        self.with(|state, _| {
            state.facts.boot = boot;
            state.ask_pending(self.relay.config.pending_do());
        })
        .await;
    }

    /// Whether a station that is held may be let in: it was let in before, or has just been served.
    pub(crate) async fn may_be_let_in(&self) -> bool {
        let may = self.with(|state, _| {
            state.facts.is_let_in |= state.is_pending() && state.is_served();
            state.facts.is_let_in
        });
        may.await.unwrap_or_default()
    }

    /// Does what is due.
    pub(crate) async fn handle_timeout(&self) {
        self.with(|state, now| state.csms.handle_timeout(now)).await;
    }

    /// When [`Session::handle_timeout`] and [`Session::poll_call`] are to be called at the latest, on the clock of
    /// [`clock::now`](crate::clock::now).
    pub(crate) async fn poll_timeout(&self) -> Option<Duration> {
        let state = self.entry.state.lock().await;
        let counts = state.connection == Some(self.number);
        counts.then(|| state.csms.poll_timeout())?
    }

    /// Returns when [`Session::poll_call`] may have something.
    pub(crate) async fn woken(&self) {
        self.wake.notified().await;
    }

    /// Whether no newer connection has taken over, and what is known of the station could be kept.
    pub(crate) fn is_newest(&self) -> bool {
        *self.entry.newest.borrow() == self.number
    }

    /// Returns when the connection counts no more.
    pub(crate) async fn ended(&self) -> Ended {
        let mut newest = self.entry.newest.subscribe();
        // The sender lives in the entry, which lives here.
        let newest = newest.wait_for(|newest| *newest != self.number).await;
        match newest.map(|newest| *newest) {
            Ok(NO_CONNECTION) => Ended::Broken,
            _ => Ended::Replaced,
        }
    }

    /// The connection is gone.
    pub(crate) async fn disconnect(&self) {
        self.with(|state, _| state.disconnected()).await;
    }

    /// As [`Relay::with`], if this connection still counts.
    async fn with<T>(&self, act: impl FnOnce(&mut State, Duration) -> T) -> Option<T> {
        let result = self
            .relay
            .with(&self.entry, |state, now| {
                (state.connection == Some(self.number)).then(|| act(state, now))
            })
            .await;
        // What could not be stored is not said.
        result.filter(|_| !self.entry.is_broken())
    }
}
