//! A station that the CSMS says is connected, and the task that makes the bridge's calls to it.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use cmp_binding::{Call, CallOutcome};
use tokio::{sync::watch, time::Instant};
use tracing::{Instrument, info, info_span};

use super::Shared;
use crate::{StationKey, clock, relay::Session};

/// One connection of a station to the CSMS.
pub(super) struct Connection {
    pub(super) session: Session,
    /// What the CSMS calls the connection, if it does.
    pub(super) name: Option<String>,
    /// Until when it counts without another word of the CSMS.
    lease: watch::Sender<Instant>,
}

impl Connection {
    /// Begins to look after it; that ends with the lease, with the value, and with the session.
    pub(super) fn begin(
        shared: &Arc<Shared>,
        key: &StationKey,
        session: Session,
        name: Option<String>,
    ) -> Arc<Self> {
        let lease = watch::Sender::new(Instant::now() + shared.config.sidecar.lease());
        let connection = Arc::new(Self {
            session: session.clone(),
            name,
            lease,
        });
        let task = run(
            Arc::clone(shared),
            key.clone(),
            session,
            connection.lease.subscribe(),
            Arc::downgrade(&connection),
        );
        let span = info_span!("connection", station = %key);
        let mut tasks = shared.tasks();
        // Those that have ended make room.
        while tasks.try_join_next().is_some() {}
        tasks.spawn(task.instrument(span));
        connection
    }

    /// The CSMS said something of it.
    pub(super) fn renew(&self, lease: Duration) {
        self.lease.send_replace(Instant::now() + lease);
    }
}

async fn run(
    shared: Arc<Shared>,
    key: StationKey,
    session: Session,
    lease: watch::Receiver<Instant>,
    connection: Weak<Connection>,
) {
    let reason = tokio::select! {
        reason = end_of(lease) => reason,
        _ = session.ended() => "it is replaced, or cannot be kept",
        () = calls(&session, &key, &shared) => return,
    };
    info!(reason, "the station does not count as connected any more");
    shared
        .stations()
        .retain(|_, known| !std::ptr::eq(Arc::as_ptr(known), connection.as_ptr()));
    session.disconnect().await;
}

/// Returns when the lease is over, or when nobody can renew it any more.
async fn end_of(mut lease: watch::Receiver<Instant>) -> &'static str {
    loop {
        let until = *lease.borrow_and_update();
        tokio::select! {
            () = tokio::time::sleep_until(until) => return "the CSMS said nothing of it for too long",
            changed = lease.changed() => if changed.is_err() {
                return "the CSMS says so, or the bridge ends";
            },
        }
    }
}

/// Makes one call after the other.
async fn calls(session: &Session, key: &StationKey, shared: &Shared) {
    loop {
        let call = next(session).await;
        let outcome = match &shared.sidecar.webhook {
            Some(webhook) => {
                let outcome = webhook.deliver(key, &call).await;
                shared.relay.metrics().webhook(name_of(&outcome));
                outcome
            }
            // There is no way to the station but its own calls.
            None => CallOutcome::Disconnected,
        };
        session.handle_result(call.token, &outcome).await;
    }
}

const fn name_of(outcome: &CallOutcome) -> &'static str {
    match outcome {
        CallOutcome::Response { .. } => "answered",
        CallOutcome::CallError { .. } => "error",
        CallOutcome::TimedOut => "timed-out",
        CallOutcome::Disconnected => "gone",
    }
}

/// The next call to the station; what is due is done meanwhile.
async fn next(session: &Session) -> Call {
    loop {
        if let Some(call) = session.poll_call().await {
            return call;
        }
        let due = session.poll_timeout().await;
        let wait = due.map_or(Duration::from_secs(60), |due| due.saturating_sub(clock::now()));
        tokio::select! {
            () = session.woken() => {}
            // What is past and could not be done now is looked at again after a while, not at once.
            () = tokio::time::sleep(wait.max(Duration::from_millis(5))) => session.handle_timeout().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_lease_ends_when_nothing_renews_it_or_nobody_can() {
        let began = Instant::now();
        let second = Duration::from_secs(1);
        let lease = watch::Sender::new(began + second);
        let ended = tokio::spawn(end_of(lease.subscribe()));
        tokio::time::sleep(second / 2).await;
        lease.send_replace(Instant::now() + second);
        ended.await.unwrap();
        assert_eq!(began.elapsed(), second * 3 / 2);

        let ended = tokio::spawn(end_of(lease.subscribe()));
        lease.send_replace(Instant::now() + second);
        tokio::task::yield_now().await;
        drop(lease);
        ended.await.unwrap();
        assert!(began.elapsed() < second * 2);
    }
}
