//! While the CSMS is away: who is served CMP alone, and when they are sent back to it.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::sync::watch;
use tracing::info;

use super::Upstream;
use crate::listen::stopped;

/// How often it is looked whether the CSMS is there again.
const LOOK: Duration = Duration::from_secs(1);

pub(super) struct Outage {
    upstream: Arc<Upstream>,
    /// Turns true when the CSMS is there again. A new one is made for the next outage.
    back: Mutex<watch::Receiver<bool>>,
    stop: watch::Receiver<bool>,
}

impl Outage {
    pub(super) fn new(upstream: Arc<Upstream>, stop: watch::Receiver<bool>) -> Self {
        Self {
            upstream,
            back: Mutex::new(watch::channel(true).1),
            stop,
        }
    }

    /// For one who has not reached the CSMS: turns true when it is there again, or when the bridge is to end.
    pub(super) fn enter(&self) -> watch::Receiver<bool> {
        let mut back = self.back.lock().unwrap_or_else(PoisonError::into_inner);
        if *back.borrow() {
            let (sender, receiver) = watch::channel(false);
            *back = receiver;
            let (upstream, mut stop) = (Arc::clone(&self.upstream), self.stop.clone());
            tokio::spawn(async move {
                tokio::select! {
                    () = is_back(&upstream) => info!("the CSMS can be reached again"),
                    () = stopped(&mut stop) => {}
                }
                sender.send_replace(true);
            });
        }
        back.clone()
    }
}

async fn is_back(upstream: &Upstream) {
    loop {
        tokio::time::sleep(LOOK).await;
        if upstream.open().await.is_ok() {
            return;
        }
    }
}
