//! An RA at work between end entities and the server behind.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{sync::oneshot, time};

use super::{CrlFiles, HttpUpstream, Spool, Tray};
use crate::{Asked, Batch, BatchInFront, Endpoint, Forwarder, Step, UpstreamError, http::unix_now_s};

/// How often a folder is looked into when nobody asks.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// How often it is looked what can be forgotten, in looks.
const LOOKS_PER_FORGET: u32 = 3_600;

/// The way to the server behind.
#[derive(Clone, Debug)]
pub enum Upstream {
    /// Each message is posted, and its answer waited for.
    Http(HttpUpstream),
    /// Messages are carried as files; the [`Forwarder`] has to delay its answers.
    Spool(Spool),
}

/// A [`Forwarder`] with its way to the server behind.
#[derive(Clone)]
pub struct RaService {
    shared: Arc<Shared>,
}

struct Shared {
    forwarder: Mutex<Forwarder>,
    upstream: Upstream,
    crls: Mutex<CrlFiles>,
    batch: Option<Batch>,
    gathering: Mutex<Gathering>,
}

/// Messages that wait for others to go with.
#[derive(Default)]
struct Gathering {
    waiting: Vec<Waiting>,
    /// Counts the batches.
    round: u64,
}

struct Waiting {
    asked: Asked,
    answer: oneshot::Sender<Vec<u8>>,
}

impl Gathering {
    fn close(&mut self) -> Vec<Waiting> {
        self.round = self.round.wrapping_add(1);
        std::mem::take(&mut self.waiting)
    }
}

impl RaService {
    /// A service that begins with the first message. The files with CRLs are read then, and again when they change.
    pub fn new(forwarder: Forwarder, upstream: Upstream, crls: CrlFiles) -> Self {
        Self {
            shared: Arc::new(Shared {
                batch: forwarder.forward_config().batch,
                forwarder: Mutex::new(forwarder),
                upstream,
                crls: Mutex::new(crls),
                gathering: Mutex::default(),
            }),
        }
    }

    /// Answers a message of an end entity; `None` if a task failed. What was begun goes on to its end though the caller
    /// goes away.
    pub async fn handle(&self, endpoint: Endpoint, message: Vec<u8>) -> Option<Vec<u8>> {
        let service = self.clone();
        tokio::spawn(async move { service.work(endpoint, message).await })
            .await
            .ok()?
    }

    /// Looks after a folder; does nothing where the server behind is asked over HTTP. Does not end.
    pub async fn look_after(&self) {
        let mut looks = time::interval(LOOK_INTERVAL);
        looks.set_missed_tick_behavior(time::MissedTickBehavior::Delay);
        let mut count = 0u32;
        loop {
            looks.tick().await;
            let may_forget = count.is_multiple_of(LOOKS_PER_FORGET);
            self.blocking(move |shared| shared.look(may_forget)).await;
            count = count.wrapping_add(1);
        }
    }

    async fn work(&self, endpoint: Endpoint, message: Vec<u8>) -> Option<Vec<u8>> {
        let taken = self
            .blocking(move |shared| shared.take(&endpoint, &message))
            .await?;
        match taken {
            Step::Batch(batch) => self.answer_batch(batch).await,
            step => self.go(step).await,
        }
    }

    /// The answer to one message.
    async fn go(&self, step: Step) -> Option<Vec<u8>> {
        match (step, self.shared.batch) {
            (Step::Answer(answer), _) => Some(answer),
            (Step::Forward(asked), None) => self.ask(asked).await,
            (Step::Forward(asked), Some(batch)) => self.ask_with_others(asked, batch).await,
            // There is none inside of another.
            (Step::Batch(_), _) => None,
        }
    }

    /// All messages of a batch go at the same time.
    async fn answer_batch(&self, mut batch: BatchInFront) -> Option<Vec<u8>> {
        let steps = std::mem::take(&mut batch.steps).into_iter().map(|step| {
            let service = self.clone();
            tokio::spawn(async move { service.go(step).await })
        });
        let mut answers = Vec::new();
        for step in steps.collect::<Vec<_>>() {
            answers.push(step.await.ok()??);
        }
        self.blocking(move |shared| {
            let answered = shared.forwarder();
            answered.answer_batch(unix_now_s(), &batch, &answers)
        })
        .await
    }

    async fn ask(
        &self,
        Asked {
            message,
            profile,
            ticket,
        }: Asked,
    ) -> Option<Vec<u8>> {
        let response = self.post(profile.as_deref(), &message).await;
        self.blocking(move |shared| shared.forwarder().give(unix_now_s(), &ticket, response))
            .await
    }

    async fn ask_with_others(&self, asked: Asked, batch: Batch) -> Option<Vec<u8>> {
        let (answer, answered) = oneshot::channel();
        {
            let mut gathering = self.shared.gathering();
            gathering.waiting.push(Waiting { asked, answer });
            let service = self.clone();
            if gathering.waiting.len() as u64 >= u64::from(batch.messages) {
                let group = gathering.close();
                tokio::spawn(async move { service.ask_group(group).await });
            } else if gathering.waiting.len() == 1 {
                let round = gathering.round;
                tokio::spawn(async move { service.ask_later(round, batch).await });
            }
        }
        answered.await.ok()
    }

    /// The first of a batch has waited long enough.
    async fn ask_later(&self, round: u64, batch: Batch) {
        time::sleep(Duration::from_secs(batch.wait_s.into())).await;
        let group = {
            let mut gathering = self.shared.gathering();
            match gathering.round == round {
                true => gathering.close(),
                false => return,
            }
        };
        self.ask_group(group).await;
    }

    async fn ask_group(&self, group: Vec<Waiting>) {
        let bundled = self.blocking(move |shared| {
            let bundle = shared.forwarder().bundle(unix_now_s(), &messages(&group));
            (bundle, group)
        });
        let Some((bundle, group)) = bundled.await else {
            return;
        };
        let bundle = match bundle {
            Ok(bundle) => bundle,
            Err(error) => {
                // Nobody is answered: the callers learn that it failed.
                tracing::error!(%error, "cannot bundle messages");
                return;
            }
        };
        let response = self.post(None, &bundle.message).await;
        self.blocking(move |shared| {
            let (now_s, mut forwarder) = (unix_now_s(), shared.forwarder());
            let responses = forwarder.unbundle(now_s, &bundle, &messages(&group), response);
            for (waiting, response) in group.into_iter().zip(responses) {
                let answer = forwarder.give(now_s, &waiting.asked.ticket, response);
                // Whoever asked may be gone.
                let _ = waiting.answer.send(answer);
            }
        })
        .await;
    }

    async fn post(&self, profile: Option<&str>, message: &[u8]) -> Result<Vec<u8>, UpstreamError> {
        match &self.shared.upstream {
            Upstream::Http(http) => http.ask(profile, message).await,
            // What goes into files is not asked for here.
            Upstream::Spool(_) => Err(UpstreamError::NotAwaited),
        }
    }

    /// Whether there are rules of this name.
    pub(crate) async fn has_profile(&self, name: String) -> bool {
        let known = self.blocking(move |shared| shared.forwarder().has_profile(&name));
        known.await.unwrap_or_default()
    }

    /// The store writes files and MACs take milliseconds: not on the threads that serve sockets.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Shared) -> T + Send + 'static,
    ) -> Option<T> {
        let shared = self.shared.clone();
        tokio::task::spawn_blocking(move || work(&shared)).await.ok()
    }
}

fn messages(group: &[Waiting]) -> Vec<&[u8]> {
    group
        .iter()
        .map(|waiting| waiting.asked.message.as_slice())
        .collect()
}

impl Shared {
    fn forwarder(&self) -> MutexGuard<'_, Forwarder> {
        self.forwarder.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn gathering(&self) -> MutexGuard<'_, Gathering> {
        self.gathering.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, endpoint: &Endpoint, message: &[u8]) -> Step {
        let mut forwarder = self.forwarder();
        let mut crls = self.crls.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(crls) = crls.read_if_changed() {
            forwarder.replace_crls(crls);
        }
        let Upstream::Spool(spool) = &self.upstream else {
            return forwarder.take(unix_now_s(), endpoint, message);
        };
        collect(&mut forwarder, spool);
        let step = forwarder.take(unix_now_s(), endpoint, message);
        send(&mut forwarder, spool);
        step
    }

    fn look(&self, may_forget: bool) {
        let Upstream::Spool(spool) = &self.upstream else {
            return;
        };
        let mut forwarder = self.forwarder();
        collect(&mut forwarder, spool);
        send(&mut forwarder, spool);
        if may_forget {
            let keep = Duration::from_secs(forwarder.forward_config().keep_s);
            if let Err(error) = spool.forget(keep) {
                tracing::error!(%error, "cannot forget what was rejected");
            }
        }
    }
}

/// Takes the answers that have come.
fn collect(forwarder: &mut Forwarder, spool: &Spool) {
    let found = match spool.find(Tray::Inbox) {
        Ok(found) => found,
        Err(error) => return tracing::error!(%error, "cannot look for answers"),
    };
    for found in found {
        let arrived = match found.message {
            Ok(message) => forwarder.arrive(unix_now_s(), &message),
            Err(reason) => Ok(Err(reason)),
        };
        let done = match arrived {
            Ok(Ok(())) => spool.remove(Tray::Inbox, &found.name),
            Ok(Err(reason)) => spool.reject(Tray::Inbox, &found.name, &reason),
            Err(error) => {
                tracing::error!(file = found.name, %error, "cannot take an answer: it stays");
                continue;
            }
        };
        if let Err(error) = done {
            tracing::error!(%error, "cannot put an answer away");
        }
    }
}

/// Writes the messages that are to go; what cannot be written goes later.
fn send(forwarder: &mut Forwarder, spool: &Spool) {
    loop {
        let outgoing = match forwarder.outgoing(unix_now_s()) {
            Ok(outgoing) if outgoing.is_empty() => return,
            Ok(outgoing) => outgoing,
            Err(error) => return tracing::error!(%error, "cannot make messages ready"),
        };
        for file in outgoing {
            if let Err(error) = spool.put(Tray::Outbox, &file.name, &file.message) {
                return tracing::error!(%error, "cannot write a message: it goes later");
            }
            if let Err(error) = forwarder.sent(&file) {
                return tracing::error!(%error, "cannot record that a message has gone");
            }
        }
    }
}
