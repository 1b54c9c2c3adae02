//! What is known of one station in memory.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use cmp_binding::{
    Answer, DoOperation, ErrorCode, ExchangeId,
    csms::{Csms, ReplyToken, Stage, StationRecords, Write},
};
use tokio::sync::{Notify, oneshot};

use super::NotifyError;
use crate::{Boot, Facts, StationKey, clock, metrics::Connected, store::Batch};

/// A station takes a `do` for a slot at most once in that time (docs/binding.md).
const ASK_AGAIN: Duration = Duration::from_secs(3_600);

pub(super) struct State {
    pub(super) csms: Csms,
    pub(super) facts: Facts,
    /// The facts that the store has.
    stored: Facts,
    pub(super) waiting: HashMap<ReplyToken, oneshot::Sender<Answer>>,
    /// Those who wait for the answer to a `do`, in the order in which it was asked for.
    notifying: VecDeque<oneshot::Sender<Option<ErrorCode>>>,
    /// Exchanges that an RA has answered and the station has not acknowledged.
    answered: HashSet<ExchangeId>,
    /// Exchanges that are over, for whoever still works at one.
    pub(super) ended: Vec<ExchangeId>,
    /// An exchange that an RA has answered was acknowledged.
    is_served: bool,
    /// The pull has come to an end with nothing open.
    pub(super) is_idle: bool,
    /// Where the request of an exchange is about to be written to.
    pub(super) target: Option<(ExchangeId, String)>,
    /// Number of the connection that counts, if there is one.
    pub(super) connection: Option<u64>,
    /// Counts that connection.
    counted: Option<Connected>,
    /// The station was asked, without anybody's order, to do something, and has not answered yet.
    is_asked: bool,
    /// Something may be to be sent to the station on that connection.
    pub(super) wake: Arc<Notify>,
    /// The store failed: nothing is done any more with what is here.
    pub(super) is_broken: bool,
}

/// The exchanges that an RA has answered.
pub(super) fn answered(records: &StationRecords) -> HashSet<ExchangeId> {
    let answered = records
        .exchanges
        .iter()
        .filter(|record| matches!(record.stage, Stage::Answered(_)));
    answered.map(|record| record.id).collect()
}

impl State {
    pub(super) fn new(csms: Csms, answered: HashSet<ExchangeId>, facts: Facts) -> Self {
        Self {
            csms,
            stored: facts.clone(),
            facts,
            waiting: HashMap::new(),
            notifying: VecDeque::new(),
            answered,
            ended: Vec::new(),
            is_served: false,
            is_idle: false,
            target: None,
            connection: None,
            counted: None,
            is_asked: false,
            wake: Arc::default(),
            is_broken: false,
        }
    }

    pub(super) fn connected(&mut self, now: Duration, number: u64, wake: &Arc<Notify>, counted: Connected) {
        self.disconnected();
        self.csms.handle_connected();
        self.connection = Some(number);
        self.counted = Some(counted);
        self.wake = Arc::clone(wake);
        if self.is_pending() && !self.is_idle {
            self.csms.start_pull(now);
        }
    }

    pub(super) fn disconnected(&mut self) {
        self.csms.handle_disconnected();
        self.waiting.clear();
        self.notifying.clear();
        self.connection = None;
        self.counted = None;
        if std::mem::take(&mut self.is_asked) {
            // It may never have heard of it.
            self.facts.asked_at_s = 0;
        }
        self.facts.seen_at_s = clock::utc().as_secs();
    }

    pub(super) fn is_pending(&self) -> bool {
        self.facts.boot == Boot::Pending
    }

    /// Whether the station has been served in pull mode: an exchange came to its end, and nothing is open.
    pub(super) const fn is_served(&self) -> bool {
        self.is_idle && self.is_served
    }

    pub(super) fn notify(
        &mut self,
        operation: DoOperation,
        slot: &str,
        answer: oneshot::Sender<Option<ErrorCode>>,
    ) -> Result<(), NotifyError> {
        if self.connection.is_none() {
            return Err(NotifyError::NotConnected);
        }
        if !self.csms.notify(operation, slot) {
            return Err(NotifyError::Busy);
        }
        self.notifying.push_back(answer);
        Ok(())
    }

    /// Asks a station that is held to do something, if that is what is wanted of such stations and it was not asked of late.
    pub(super) fn ask_pending(&mut self, wanted: Option<(DoOperation, &str)>) {
        let Some((operation, slot)) = wanted.filter(|_| self.is_pending() && !self.is_asked) else {
            return;
        };
        let now_s = clock::utc().as_secs();
        if now_s.saturating_sub(self.facts.asked_at_s) < ASK_AGAIN.as_secs() {
            return;
        }
        // Nobody waits for the answer but this state.
        let (sender, _) = oneshot::channel();
        if self.notify(operation, slot, sender).is_ok() {
            self.is_asked = true;
            self.facts.asked_at_s = now_s;
        }
    }

    /// The station has answered a `do`. What it does then while it is held has to be pulled.
    pub(super) fn notified(&mut self, now: Duration, outcome: Option<ErrorCode>) {
        self.is_asked = false;
        if let Some(answer) = self.notifying.pop_front() {
            // Who asked may have given up.
            let _ = answer.send(outcome);
        }
        if outcome.is_none() && self.is_pending() {
            self.is_idle = false;
            self.csms.start_pull(now);
        }
    }

    pub(super) fn reply(&mut self, token: ReplyToken, answer: Answer) {
        if let Some(waiting) = self.waiting.remove(&token) {
            // A connection that is gone no longer waits.
            let _ = waiting.send(answer);
        }
    }

    /// What is to be made durable, if anything is.
    pub(super) fn take_batch(&mut self, station: &StationKey) -> Option<Batch> {
        let writes = self.csms.take_writes();
        writes.iter().for_each(|write| self.note(write));
        let target = self.target.take();
        if self.is_broken || (writes.is_empty() && target.is_none() && self.facts == self.stored) {
            return None;
        }
        let facts = (self.facts != self.stored).then(|| self.facts.clone());
        self.stored.clone_from(&self.facts);
        Some(Batch {
            station: station.clone(),
            writes,
            target,
            facts,
        })
    }

    /// Counts the exchanges that are really finished: an acknowledgement of what no RA has answered is none.
    fn note(&mut self, write: &Write) {
        match write {
            Write::Stage {
                id,
                stage: Stage::Answered(_),
                ..
            } => drop(self.answered.insert(*id)),
            Write::Done { id, .. } => {
                self.is_served |= self.answered.remove(id);
                self.ended.push(*id);
            }
            _ => {}
        }
    }
}
