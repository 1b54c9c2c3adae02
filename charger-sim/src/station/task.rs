//! One operation after the other, on the agent.

use std::{
    fs,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use charger_agent::{
    Action, Agent, JobResult, Report as Note,
    client::{self, Enrolled, Time},
    shell::{SoftKeys, StateDir, StateError, write_atomically},
};
use cmp_binding::{Answer, Call, CallOutcome, CallToken, Data, station::Mode};
use cmp_message::certificate::Certificate;
use serde_json::{Map, Value, json};

use super::{Args, Operation, Print, Seen, credentials};
use crate::{
    link::{Carrier, Clock, Step},
    report::Report,
    transcript::ExchangeTraffic,
};

pub(super) struct Task {
    args: Args,
    clock: Clock,
    agent: Agent,
    keys: SoftKeys,
    state: StateDir,
    anchors: Vec<Certificate>,
    /// How many of the operations are done.
    done: usize,
    running: Option<Running>,
    report: Report,
    seen: Arc<Mutex<Seen>>,
    print: Print,
    trouble: Option<String>,
    installed: Option<Map<String, Value>>,
    over: bool,
}

struct Running {
    operation: Operation,
    since: Duration,
    before: ExchangeTraffic,
}

impl Task {
    pub(super) fn new(
        args: &Args,
        seen: Arc<Mutex<Seen>>,
        print: Print,
        clock: Clock,
    ) -> anyhow::Result<Self> {
        let anchors = credentials::anchors(args)?;
        let state = StateDir::open(&args.state)?;
        let mut task = Self {
            agent: Agent::new(super::binding(args.unit), args.route.0.clone()),
            keys: SoftKeys::default(),
            args: args.clone(),
            clock,
            state,
            anchors,
            done: 0,
            running: None,
            report: Report::default(),
            seen,
            print,
            trouble: None,
            installed: None,
            over: false,
        };
        task.done = task.load_progress();
        // Before a connection is made: what the files lack is the caller's fault.
        task.begin_next()?;
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

    fn begin_next(&mut self) -> anyhow::Result<()> {
        let Some(operation) = self.args.operations.get(self.done).copied() else {
            self.over = true;
            return Ok(());
        };
        let record = self.state.record()?;
        let prepared = credentials::prepare(
            &self.args,
            operation,
            &self.state,
            &self.anchors,
            record.is_some(),
        )?;
        self.keys = prepared.keys;
        self.store_progress()?;
        let mut seed = [0; 32];
        getrandom::fill(&mut seed)?;
        let now = self.now(self.clock.now());
        let before = self.seen().traffic;
        self.running = Some(Running {
            operation,
            since: now.monotonic,
            before,
        });
        match record {
            Some(record) => {
                (self.print)(&format!("{}: going on where it was", operation.name()));
                self.agent.resume(now, prepared.config, &record, seed)?;
            }
            None => {
                (self.print)(&format!("{}: {}", operation.name(), prepared.request.subject));
                self.agent.start(now, prepared.config, prepared.request, seed);
            }
        }
        Ok(())
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
                let result = self.state.store_record(&record);
                let result = self.outcome(result);
                self.agent.handle_done(now, job, result);
            }
            Action::Install { job, outcome } => {
                let Some(enrolled) = outcome.into_enrolled() else {
                    return self.agent.handle_done(now, job, JobResult::Failed);
                };
                let result = self.install(&enrolled);
                self.installed = Some(self.describe(&enrolled));
                let result = self.outcome(result);
                self.agent.handle_done(now, job, result);
            }
            Action::Report(note) => self.note(&note),
            Action::Done(Ok(())) => self.end(Ok(())),
            Action::Done(Err(failure)) => {
                let error = match self.trouble.take() {
                    Some(trouble) => format!("{failure}: {trouble}"),
                    None => failure.to_string(),
                };
                self.end(Err(error));
            }
            _ => {}
        }
    }

    /// Puts the certificate to use, with the key that is kept for it or came with it.
    fn install(&self, enrolled: &Enrolled) -> Result<(), StateError> {
        if let Some(key) = &enrolled.private_key {
            self.state.store_pending_key(key.as_pkcs8())?;
        }
        let chain = credentials::chain_of(&enrolled.certificate, &enrolled.chain);
        self.state.install(enrolled.certificate.as_der(), &chain)
    }

    fn outcome<E: std::fmt::Display>(&mut self, result: Result<(), E>) -> JobResult {
        match result {
            Ok(()) => JobResult::Stored,
            Err(error) => {
                self.trouble = Some(error.to_string());
                JobResult::Failed
            }
        }
    }

    fn note(&mut self, note: &Note) {
        match note {
            Note::Transfer(error) => {
                self.trouble = Some(error.to_string());
                (self.print)(&format!("  no answer: {error}"));
            }
            Note::Transaction(client::Report::Waiting {
                check_after_s,
                reason,
            }) => {
                let reason = reason.join(", ");
                (self.print)(&format!(
                    "  the RA needs time: asking again in {check_after_s} s {reason}"
                ));
            }
            Note::Transaction(client::Report::Suspended { check_after_s }) => {
                (self.print)(&format!(
                    "  the RA needs more than a day: asking again in {check_after_s} s"
                ));
            }
            Note::Transaction(client::Report::IncompleteChain) => {
                (self.print)("  note: no chain from the certificate to a trust anchor came with it");
            }
            Note::Transaction(client::Report::Modified) => {
                (self.print)("  note: the RA granted another subject than was asked for");
            }
            Note::Transaction(client::Report::Refusing { status }) => {
                (self.print)(&format!("  refusing the certificate: {status}"));
            }
            Note::Transaction(client::Report::NewTransaction { attempt }) => {
                (self.print)(&format!("  asking again in a new transaction, attempt {attempt}"));
            }
            _ => {}
        }
    }

    fn describe(&self, enrolled: &Enrolled) -> Map<String, Value> {
        let certificate = &enrolled.certificate;
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let issuer =
            der::Decode::from_der(certificate.issuer()).map(|name: x509_cert::name::Name| name.to_string());
        let detail = json!({
            "certificate": self.state.certificate_path(),
            "subject": certificate.subject_string(),
            "issuer": issuer.unwrap_or_default(),
            "serial": hex(certificate.serial_number()),
            "not_before_s": certificate.not_before(),
            "not_after_s": certificate.not_after(),
            "transaction_id": hex(&enrolled.transaction_id),
            "implicit_confirm": enrolled.implicit,
        });
        match detail {
            Value::Object(detail) => detail,
            _ => Map::new(),
        }
    }

    fn end(&mut self, result: Result<(), String>) {
        let Some(running) = self.running.take() else {
            return;
        };
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
        let mut detail = self.installed.take().unwrap_or_default();
        detail.insert("messages".into(), messages.into());
        detail.insert("traffic".into(), traffic(&running.before, &after));
        match &result {
            Ok(()) => {
                let text = |key: &str| {
                    detail
                        .get(key)
                        .and_then(Value::as_str)
                        .unwrap_or_default()
                        .to_owned()
                };
                (self.print)(&format!(
                    "{name}: done in {} ms\n  subject {}\n  issuer  {}\n  serial  {}\n  file    {}",
                    took.as_millis(),
                    text("subject"),
                    text("issuer"),
                    text("serial"),
                    self.state.certificate_path().display()
                ));
            }
            Err(error) => {
                let error = match trouble {
                    Some(trouble) if error.contains("took too long") || error == "stopped" => {
                        format!("{error} (the CSMS: {trouble})")
                    }
                    _ => error.clone(),
                };
                (self.print)(&format!("{name}: failed: {error}"));
                detail.insert("error".into(), error.into());
            }
        }
        self.report.push(name, result.is_ok(), took, detail);
        let stopped = result.as_ref().is_err_and(|error| error == "stopped");
        let next = match result {
            Ok(()) => {
                self.done += 1;
                self.store_progress().and_then(|()| self.begin_next())
            }
            Err(_) if stopped => {
                self.over = true;
                Ok(())
            }
            Err(_) => {
                self.over = true;
                self.state.clear().map_err(Into::into)
            }
        };
        if let Err(error) = next {
            self.over = true;
            let mut detail = Map::new();
            detail.insert("error".into(), format!("{error:#}").into());
            (self.print)(&format!("failed: {error:#}"));
            let name = self
                .args
                .operations
                .get(self.done)
                .map_or("state", |operation| operation.name());
            self.report.push(name, false, Duration::ZERO, detail);
        }
    }

    /// Which of the operations are done, if an earlier run was cut off in the same list.
    fn load_progress(&self) -> usize {
        let text = fs::read_to_string(self.progress_path()).unwrap_or_default();
        match text.trim().split_once(' ') {
            Some((list, done)) if list == self.list() => done.parse().unwrap_or(0),
            Some(_) => {
                // Another list: what is under way belongs to none of these operations.
                if self.state.clear().is_err() {
                    (self.print)("what an earlier run left could not be removed");
                }
                0
            }
            None => 0,
        }
    }

    fn store_progress(&self) -> anyhow::Result<()> {
        let path = self.progress_path();
        if self.done < self.args.operations.len() {
            return Ok(write_atomically(
                &path,
                format!("{} {}", self.list(), self.done).as_bytes(),
            )?);
        }
        match fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
    }

    fn progress_path(&self) -> PathBuf {
        self.args.state.join("progress")
    }

    fn list(&self) -> String {
        let names: Vec<_> = self
            .args
            .operations
            .iter()
            .map(|operation| operation.name())
            .collect();
        names.join(",")
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

impl Carrier for Task {
    fn handle_connected(&mut self, now: Duration) {
        self.seen().trouble = None;
        let now = self.now(now);
        self.agent.handle_connected(now);
    }

    fn handle_disconnected(&mut self, _: Duration) {
        self.agent.handle_disconnected();
    }

    fn set_mode(&mut self, mode: Mode) {
        self.agent.set_mode(mode);
    }

    fn handle_call(&mut self, now: Duration, message_id: &str, data: Option<&Data>) -> Answer {
        let now = self.now(now);
        self.agent.handle_call(now, message_id, data)
    }

    fn poll_call(&mut self, now: Duration) -> Option<Call> {
        let now = self.now(now);
        self.agent.poll_call(now)
    }

    fn handle_result(&mut self, now: Duration, token: CallToken, outcome: &CallOutcome) {
        let now = self.now(now);
        self.agent.handle_result(now, token, outcome);
    }

    fn handle_timeout(&mut self, now: Duration) {
        let now = self.now(now);
        self.agent.handle_timeout(now);
    }

    fn poll_timeout(&self) -> Option<Duration> {
        self.agent.poll_timeout()
    }

    fn work(&mut self, now: Duration) -> Step {
        let now = self.now(now);
        while let Some(action) = self.agent.poll_action() {
            self.handle_action(now, action);
        }
        if self.over { Step::Stop } else { Step::Continue }
    }

    async fn woken(&mut self) {
        std::future::pending().await
    }
}
