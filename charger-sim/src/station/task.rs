//! One operation after the other, on the agent.

mod carrier;

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use charger_agent::{
    Action, Agent, JobResult,
    client::{Outcome, Time},
    shell::{SoftKeys, StateDir},
};
use cmp_message::{
    PkiMessage, certificate::Certificate, crypto::RustCrypto, path::MAX_UNTRUSTED_CERTIFICATES,
};
use serde_json::{Map, Value, json};

use super::{
    Args, Operation, Print, Seen, credentials,
    cure::cure,
    keep::{self, certificates, kept_before},
    notes,
    request::{self, Prepared},
    shown::Shown,
};
use crate::{link::Clock, report::Report, transcript::ExchangeTraffic};

pub(super) struct Task {
    args: Args,
    clock: Clock,
    agent: Agent,
    keys: SoftKeys,
    state: StateDir,
    /// The trust anchors that the arguments name.
    given: Vec<Certificate>,
    /// How many of the operations are done.
    done: usize,
    running: Option<Running>,
    report: Report,
    seen: Arc<Mutex<Seen>>,
    print: Print,
    trouble: Option<String>,
    over: bool,
}

struct Running {
    operation: Operation,
    since: Duration,
    before: ExchangeTraffic,
    /// What the RA has sent in extraCerts.
    received: Vec<Certificate>,
    shown: Shown,
    /// What may help where it failed.
    cure: Option<&'static str>,
}

impl Task {
    pub(super) fn new(
        args: &Args,
        seen: Arc<Mutex<Seen>>,
        print: Print,
        clock: Clock,
    ) -> anyhow::Result<Self> {
        let given = credentials::anchors(args)?;
        let state = StateDir::open(&args.state)?;
        let mut task = Self {
            agent: Agent::new(super::binding(args.unit), args.route.0.clone()),
            keys: SoftKeys::default(),
            args: args.clone(),
            clock,
            state,
            given,
            done: 0,
            running: None,
            report: Report::default(),
            seen,
            print,
            trouble: None,
            over: false,
        };
        let record = task.load_progress()?;
        // Before a connection is made: what the files lack is the caller's fault.
        task.begin_next(record)?;
        Ok(task)
    }

    /// The report; `gave_up` is why the link ended before its time.
    pub(super) fn into_report(mut self, gave_up: Option<anyhow::Error>) -> Report {
        if !self.over {
            let reason = gave_up.map_or_else(|| "stopped".to_owned(), |error| format!("{error:#}"));
            self.end(Err(reason));
        }
        self.report
    }

    /// Begins the next operation, or takes up the one whose record there is.
    fn begin_next(&mut self, record: Option<Vec<u8>>) -> anyhow::Result<()> {
        let Some(operation) = self.args.operations.0.get(self.done).cloned() else {
            self.over = true;
            return Ok(());
        };
        let now = self.now(self.clock.now());
        let mut running = Running {
            operation: operation.clone(),
            since: now.monotonic,
            before: self.seen().traffic,
            received: Vec::new(),
            shown: Shown::default(),
            cure: None,
        };
        if record.is_some()
            && let Some(shown) = kept_before(&operation, &self.state)?
        {
            (self.print)(&format!("{}: done before it was stopped", operation.name()));
            running.shown = shown;
            self.running = Some(running);
            self.end(Ok(()));
            return Ok(());
        }
        let prepared = request::prepare(&self.args, &operation, &self.state, &self.given, record.is_some())?;
        self.running = Some(running);
        self.start(now, &operation, prepared, record)
    }

    fn start(
        &mut self,
        now: Time,
        operation: &Operation,
        prepared: Prepared,
        record: Option<Vec<u8>>,
    ) -> anyhow::Result<()> {
        let Prepared {
            config,
            keys,
            request,
            what,
            note,
        } = prepared;
        self.keys = keys;
        let mut seed = [0; 32];
        getrandom::fill(&mut seed)?;
        let name = operation.name();
        if let Some(record) = record {
            (self.print)(&format!("{name}: going on where it was"));
            let resumed = self.agent.resume(now, config, &record, seed);
            return resumed
                .map_err(Into::into)
                .or_else(|error| self.begin_anew(&error));
        }
        self.state.store_work(&self.mark(), None)?;
        let colon = if what.is_empty() { "" } else { ": " };
        (self.print)(&format!("{name}{colon}{what}"));
        if let Some(note) = note {
            (self.print)(&format!("  note: {note}"));
        }
        self.agent.start(now, config, request, seed);
        Ok(())
    }

    /// What was under way belongs to another certificate or program than today's: nobody can go on with it.
    fn begin_anew(&mut self, error: &anyhow::Error) -> anyhow::Result<()> {
        (self.print)(&format!("  {error:#}: beginning anew"));
        self.state.clear()?;
        self.begin_next(None)
    }

    fn handle_action(&mut self, now: Time, action: Action) {
        match action {
            Action::Sign { job, key, input, .. } => {
                let signature = self.keys.sign(key, &input);
                self.agent
                    .handle_done(now, job, signature.map_or(JobResult::Failed, JobResult::Signed));
            }
            Action::Agree { job, key, public_key } => {
                let secret = self.keys.agree(key, &public_key);
                self.agent
                    .handle_done(now, job, secret.map_or(JobResult::Failed, JobResult::Recovered));
            }
            // The keys in files are none that decrypt.
            Action::Decrypt { job, .. } => self.agent.handle_done(now, job, JobResult::Failed),
            Action::Store { job, record } => {
                let result = self.state.store_work(&self.mark(), Some(&record));
                let result = self.outcome(result.map_err(Into::into));
                self.agent.handle_done(now, job, result);
            }
            Action::Install { job, outcome, signer } => {
                let result = self.install(now, outcome, signer.as_ref());
                let result = self.outcome(result);
                self.agent.handle_done(now, job, result);
            }
            Action::Report(charger_agent::Report::Received(_, message)) => self.receive(&message),
            Action::Report(note) => {
                if let charger_agent::Report::Transfer(error) = &note {
                    self.trouble = Some(error.to_string());
                }
                if let Some(line) = notes::line(&note) {
                    (self.print)(&line);
                }
            }
            Action::Done(Ok(())) => self.end(Ok(())),
            Action::Done(Err(failure)) => {
                if let Some(running) = &mut self.running {
                    running.cure = cure(&failure, self.args.secret.is_some());
                }
                let error = match self.trouble.take() {
                    Some(trouble) => format!("{failure}: {trouble}"),
                    None => failure.to_string(),
                };
                self.end(Err(error));
            }
            _ => {}
        }
    }

    fn install(&mut self, now: Time, outcome: Outcome, signer: Option<&Certificate>) -> anyhow::Result<()> {
        let Some(running) = &mut self.running else {
            return Ok(());
        };
        // Before a new root is kept: what brought it is no proof that it works.
        let proven = match signer {
            Some(signer) => self
                .state
                .prove_roots(signer, &running.received, &RustCrypto, now.utc_s)?,
            None => Vec::new(),
        };
        running.shown = keep::keep(&self.args, &running.operation, &self.state, outcome)?;
        for root in proven {
            let text =
                format!("{root}: the RA has signed under it, the root before it is not trusted any more");
            running.shown.line("proven", text);
            running
                .shown
                .member("root_proven", crate::decode::text::hex(root.serial_number()));
        }
        Ok(())
    }

    /// Remembers the certificates that came with an answer: they may prove a new root.
    fn receive(&mut self, message: &[u8]) {
        let (Some(running), Ok(message)) = (&mut self.running, PkiMessage::from_bytes(message)) else {
            return;
        };
        for certificate in certificates(message.extra_certs.as_deref().unwrap_or_default()) {
            let received = &mut running.received;
            if received.len() < MAX_UNTRUSTED_CERTIFICATES && !received.contains(&certificate) {
                received.push(certificate);
            }
        }
    }

    fn outcome(&mut self, result: anyhow::Result<()>) -> JobResult {
        match result {
            Ok(()) => JobResult::Stored,
            Err(error) => {
                self.trouble = Some(format!("{error:#}"));
                JobResult::Failed
            }
        }
    }

    fn end(&mut self, result: Result<(), String>) {
        let Some(running) = self.running.take() else {
            return;
        };
        let stopped = result.as_ref().is_err_and(|error| error == "stopped");
        let succeeded = result.is_ok();
        self.tell(running, result);
        self.done += usize::from(succeeded);
        self.over = !succeeded || self.done == self.args.operations.0.len();
        let next = if !self.over {
            self.go_on()
        } else if stopped {
            Ok(())
        } else {
            self.state.clear().map_err(Into::into)
        };
        if let Err(error) = next {
            self.fail_to_begin(&error);
        }
    }

    fn go_on(&mut self) -> anyhow::Result<()> {
        // In one step: the operation is done, and nothing is under way.
        self.state.store_work(&self.mark(), None)?;
        self.state.remove_pending_key()?;
        self.begin_next(None)
    }

    /// Prints what came of an operation, and adds it to the report.
    fn tell(&mut self, running: Running, result: Result<(), String>) {
        let took = self.clock.now().saturating_sub(running.since);
        let name = running.operation.name();
        let (messages, after, trouble) = {
            let mut seen = self.seen();
            (
                core::mem::take(&mut seen.messages),
                seen.traffic,
                seen.trouble.take(),
            )
        };
        let Shown { lines, mut detail } = running.shown;
        detail.insert("messages".into(), messages.into());
        detail.insert("traffic".into(), traffic(&running.before, &after));
        let succeeded = result.is_ok();
        match result {
            Ok(()) => {
                (self.print)(&format!("{name}: done in {} ms", took.as_millis()));
                let width = lines.iter().map(|(name, _)| name.chars().count()).max();
                let width = width.unwrap_or_default();
                for (name, text) in lines {
                    (self.print)(&format!("  {name:width$} {text}"));
                }
            }
            Err(error) => {
                let error = match trouble {
                    Some(trouble) if error.contains("took too long") || error == "stopped" => {
                        format!("{error} (the CSMS: {trouble})")
                    }
                    _ => error,
                };
                (self.print)(&format!("{name}: failed: {error}"));
                detail.insert("error".into(), error.into());
                if let Some(cure) = running.cure {
                    (self.print)(&format!("  what may help: {cure}"));
                    detail.insert("cure".into(), cure.into());
                }
            }
        }
        self.report.push(name, succeeded, took, detail);
    }

    fn fail_to_begin(&mut self, error: &anyhow::Error) {
        self.over = true;
        self.running = None;
        let operation = self.args.operations.0.get(self.done);
        let name = operation.map_or("state", Operation::name);
        let mut detail = Map::new();
        detail.insert("error".into(), format!("{error:#}").into());
        (self.print)(&format!("{name}: failed: {error:#}"));
        self.report.push(name, false, Duration::ZERO, detail);
    }

    /// How many of the operations are done, if an earlier run was cut off in the same list; gives the record of the one that
    /// was under way. What is under way in another list belongs to none of these operations.
    fn load_progress(&mut self) -> anyhow::Result<Option<Vec<u8>>> {
        let Some(work) = self.state.work()? else {
            return Ok(None);
        };
        let (list, done) = work.mark.rsplit_once(' ').unwrap_or_default();
        match done.parse() {
            Ok(done) if list == self.args.operations.to_string() => {
                self.done = done;
                Ok(work.record)
            }
            _ => {
                self.state.clear()?;
                Ok(None)
            }
        }
    }

    /// Where in the list it is.
    fn mark(&self) -> String {
        format!("{} {}", self.args.operations, self.done)
    }

    fn now(&self, monotonic: Duration) -> Time {
        let utc = SystemTime::now().duration_since(UNIX_EPOCH);
        Time {
            monotonic,
            utc_s: utc.ok().map(|utc| utc.as_secs()),
        }
    }

    fn seen(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What went over the wire for one operation; `overhead` is all frame bytes against the DER bytes carried.
fn traffic(before: &ExchangeTraffic, after: &ExchangeTraffic) -> Value {
    let frames = after.sent.frames + after.received.frames - before.sent.frames - before.received.frames;
    let bytes = after.sent.bytes + after.received.bytes - before.sent.bytes - before.received.bytes;
    let der = after.request_bytes + after.response_bytes - before.request_bytes - before.response_bytes;
    let overhead = (der > 0).then(|| bytes as f64 / der as f64);
    json!({ "frames": frames, "frame_bytes": bytes, "der_bytes": der, "overhead": overhead })
}
