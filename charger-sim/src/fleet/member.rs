//! One station of a fleet: everything in memory, on the agent.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use charger_agent::{
    Action, Agent, JobResult,
    client::{CertificateRequest, Config, KeyId, NewKey, Operation, Outcome, Protection, Time},
};
use cmp_binding::{Answer, Call, CallOutcome, CallToken, Data, Route, station::Mode};
use cmp_message::{
    certificate::Certificate,
    crypto::{AwsLc, KeyAlgorithm, SigningKey as _, aws_lc::SoftKey},
};
use der::Decode as _;
use tokio::sync::{mpsc, watch};
use x509_cert::name::Name;

use super::summary::Note;
use crate::{
    link::{Carrier, Clock, Step},
    station::{binding, common_name},
};

/// What one station is to do.
pub(super) struct Plan {
    pub(super) identity: String,
    pub(super) route: Route,
    pub(super) unit: u32,
    /// What the first certificate is asked for with.
    pub(super) protection: Option<Protection>,
    /// The keys so far, by [`KeyId`].
    pub(super) keys: Vec<SoftKey>,
    pub(super) anchors: Vec<Certificate>,
    /// 0: none; 1: an enrolment; more: as many updates after it.
    pub(super) operations: u32,
    pub(super) start_at: Duration,
    pub(super) timeout: Duration,
}

pub(super) struct Member {
    plan: Plan,
    agent: Agent,
    clock: Clock,
    notes: mpsc::UnboundedSender<Note>,
    released: watch::Receiver<bool>,
    stage: Stage,
    certificate: Option<Certificate>,
    done: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Not let in so far.
    Connecting,
    /// An operation is under way since.
    Working(Duration),
    /// It only stays.
    Settled,
}

impl Member {
    pub(super) fn new(
        plan: Plan,
        clock: Clock,
        notes: mpsc::UnboundedSender<Note>,
        released: watch::Receiver<bool>,
    ) -> Self {
        Self {
            agent: Agent::new(binding(plan.unit), plan.route.clone()),
            plan,
            clock,
            notes,
            released,
            stage: Stage::Connecting,
            certificate: None,
            done: 0,
        }
    }

    /// It will do nothing more.
    pub(super) fn fail(&mut self, reason: &str) {
        if self.stage != Stage::Settled {
            self.stage = Stage::Settled;
            self.note(Note::Failed(reason.into()));
        }
    }

    fn note(&self, note: Note) {
        // Whoever took the notes may be gone.
        let _ = self.notes.send(note);
    }

    fn next(&mut self, now: Time) {
        if self.done == self.plan.operations {
            self.stage = Stage::Settled;
            return self.note(Note::Settled);
        }
        self.stage = Stage::Working(now.monotonic);
        if let Err(error) = self.begin(now) {
            self.fail(&format!("{error:#}"));
        }
    }

    fn begin(&mut self, now: Time) -> anyhow::Result<()> {
        let key = SoftKey::generate(KeyAlgorithm::P256)?;
        let new = NewKey::Own {
            key: KeyId(u32::try_from(self.plan.keys.len())?),
            public_key: key.public_key().to_vec(),
            algorithm: key.algorithm(),
        };
        let (operation, subject) = match &self.certificate {
            None => (Operation::Initialization, common_name(&self.plan.identity)?),
            Some(old) => (Operation::Update(old.clone()), Name::from_der(old.subject())?),
        };
        self.plan.keys.push(key);
        let protection = self
            .plan
            .protection
            .clone()
            .ok_or_else(|| anyhow::anyhow!("nothing to prove itself with"))?;
        let mut config = Config::new(&AwsLc, Name::default(), protection, self.plan.anchors.clone());
        config.max_total_wait = Some(self.plan.timeout);
        let mut seed = [0; 32];
        getrandom::fill(&mut seed)?;
        self.agent.start(
            now,
            config,
            CertificateRequest::new(operation, subject, new),
            seed,
        );
        Ok(())
    }

    fn handle_action(&mut self, now: Time, action: Action) {
        match action {
            Action::Sign { job, key, input, .. } => {
                let key = self.plan.keys.get(key.0 as usize);
                let signature = key.and_then(|key| key.sign(&input).ok());
                self.agent
                    .handle_done(now, job, signature.map_or(JobResult::Failed, JobResult::Signed));
            }
            Action::Store { job, .. } => self.agent.handle_done(now, job, JobResult::Stored),
            Action::Install { job, outcome, .. } => {
                self.install(outcome);
                self.agent.handle_done(now, job, JobResult::Stored);
            }
            Action::Done(Ok(())) => {
                let operation = if self.done == 0 { "enroll" } else { "renew" };
                if let Stage::Working(since) = self.stage {
                    self.note(Note::Done(operation, now.monotonic.saturating_sub(since)));
                }
                self.done += 1;
                self.next(now);
            }
            Action::Done(Err(failure)) => self.fail(&failure.to_string()),
            _ => {}
        }
    }

    /// What comes next is asked for with what has come.
    fn install(&mut self, outcome: Outcome) {
        let Some(enrolled) = outcome.into_enrolled() else {
            return;
        };
        let key = self.plan.keys.get(enrolled.key.0 as usize);
        if let Some(key) = key {
            self.plan.protection = Some(Protection::Signature {
                key: enrolled.key,
                algorithm: key.algorithm(),
                certificate: enrolled.certificate.clone(),
                chain: enrolled.chain,
            });
        }
        self.certificate = Some(enrolled.certificate);
    }

    fn time(&self, monotonic: Duration) -> Time {
        let utc = SystemTime::now().duration_since(UNIX_EPOCH);
        Time {
            monotonic,
            utc_s: utc.ok().map(|utc| utc.as_secs()),
        }
    }

    /// When it gives up.
    fn deadline(&self) -> Option<Duration> {
        let since = match self.stage {
            Stage::Connecting => self.plan.start_at,
            Stage::Working(since) => since,
            Stage::Settled => return None,
        };
        Some(since.saturating_add(self.plan.timeout))
    }
}

impl Carrier for Member {
    fn handle_connected(&mut self, now: Duration) {
        let now = self.time(now);
        self.agent.handle_connected(now);
    }

    fn handle_disconnected(&mut self, _: Duration) {
        self.agent.handle_disconnected();
    }

    fn set_mode(&mut self, mode: Mode) {
        self.agent.set_mode(mode);
        if mode == Mode::Push && self.stage == Stage::Connecting {
            let now = self.time(self.clock.now());
            self.note(Note::Booted(now.monotonic.saturating_sub(self.plan.start_at)));
            self.next(now);
        }
    }

    fn handle_call(&mut self, now: Duration, message_id: &str, data: Option<&Data>) -> Answer {
        let now = self.time(now);
        // One that is held does what it has to do while it is.
        if self.stage == Stage::Connecting && self.plan.operations > 0 {
            self.next(now);
        }
        self.agent.handle_call(now, message_id, data)
    }

    fn poll_call(&mut self, now: Duration) -> Option<Call> {
        let now = self.time(now);
        self.agent.poll_call(now)
    }

    fn handle_result(&mut self, now: Duration, token: CallToken, outcome: &CallOutcome) {
        let now = self.time(now);
        self.agent.handle_result(now, token, outcome);
    }

    fn handle_timeout(&mut self, now: Duration) {
        if self.deadline().is_some_and(|deadline| deadline <= now) {
            self.fail(match self.stage {
                Stage::Connecting => "not let in by the CSMS in time",
                _ => "not done in time",
            });
        }
        let now = self.time(now);
        self.agent.handle_timeout(now);
    }

    fn poll_timeout(&self) -> Option<Duration> {
        self.agent.poll_timeout().into_iter().chain(self.deadline()).min()
    }

    fn flush(&mut self, now: Duration) -> bool {
        let now = self.time(now);
        self.agent.flush_acks(now)
    }

    fn work(&mut self, now: Duration) -> Step {
        let now = self.time(now);
        while let Some(action) = self.agent.poll_action() {
            self.handle_action(now, action);
        }
        match *self.released.borrow() {
            true => Step::Stop,
            false => Step::Continue,
        }
    }

    async fn woken(&mut self) {
        if self.released.changed().await.is_err() {
            std::future::pending().await
        }
    }
}
