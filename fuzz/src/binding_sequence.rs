//! Both sides of the binding through any sequence of loss, duplication, reconnects, restarts and answers of the RA.

use std::collections::BTreeMap;
use std::time::Duration;

use cmp_binding::csms::{self, Action, Budget, Csms, RaError, Reply, ReplyToken, StationRecords};
use cmp_binding::station::{self, Event, Mode, Snapshot, Station};
use cmp_binding::{Answer, Call, CallOutcome, ExchangeId, Route};

/// Each byte is one thing that happens. Every exchange reaches the RA at most once and byte for byte, its response is
/// the RA's, and once nothing is lost any more every exchange ends.
pub fn binding_sequence(input: &[u8]) {
    let mut world = World::new();
    for byte in input.iter().take(512) {
        world.happen(*byte);
        world.check();
    }
    world.come_to_rest();
}

struct World {
    now: Duration,
    station: Station,
    csms: Csms,
    records: StationRecords,
    stored: BTreeMap<ExchangeId, Snapshot>,
    submitted: BTreeMap<ExchangeId, Vec<u8>>,
    ended: BTreeMap<ExchangeId, u32>,
    asked: BTreeMap<ExchangeId, Vec<u8>>,
    forwards: Vec<ExchangeId>,
    waiting: Option<(Call, ReplyToken)>,
    next: u8,
    restored: bool,
}

fn message(len: usize, seed: u8) -> Vec<u8> {
    let content = len.max(4) - 4;
    let mut bytes = vec![0x30, 0x82, (content >> 8) as u8, content as u8];
    bytes.extend((0..content).map(|i| (i as u8).wrapping_mul(31).wrapping_add(seed)));
    bytes
}

fn response_to(request: &[u8]) -> Vec<u8> {
    let seed = request.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte));
    message(300 + request.len(), seed)
}

fn outcome(answer: Answer) -> CallOutcome {
    CallOutcome::Response {
        status: answer.status,
        data: answer.data,
    }
}

impl World {
    fn new() -> Self {
        let mut world = Self {
            now: Duration::from_secs(1_000),
            station: Station::new(station::Config::default()),
            csms: Csms::new(csms::Config::default(), Budget::default()),
            records: StationRecords::default(),
            stored: BTreeMap::new(),
            submitted: BTreeMap::new(),
            ended: BTreeMap::new(),
            asked: BTreeMap::new(),
            forwards: Vec::new(),
            waiting: None,
            next: 0,
            restored: false,
        };
        world.connect();
        world
    }

    fn connect(&mut self) {
        self.waiting = None;
        self.csms.handle_connected();
        self.station.handle_connected(self.now);
    }

    fn happen(&mut self, byte: u8) {
        let amount = usize::from(byte >> 4);
        match byte & 0x0f {
            0 | 1 => drop(self.step(Link::Good)),
            2 => drop(self.step(Link::LosesCall)),
            3 => drop(self.step(Link::LosesAnswer)),
            4 => drop(self.step(Link::Repeats)),
            5 => self.submit(6 + amount * 700),
            6 => self.ra(Ok(())),
            7 => self.ra(Err([
                RaError::Unreachable,
                RaError::Timeout,
                RaError::BadResponse,
            ][amount % 3])),
            8 => self.restart_station(),
            9 => self.restart_csms(),
            10 => self.connect(),
            11 => self.now += Duration::from_secs([1, 6, 31, 700, 4_000][amount % 5]),
            12 => self.expire(),
            13 => self.station.set_mode(if amount % 2 == 0 {
                Mode::PullOnly
            } else {
                Mode::Push
            }),
            14 => self.csms.start_pull(self.now),
            _ => self.give_up(amount),
        }
        self.drain();
    }

    fn submit(&mut self, len: usize) {
        self.next = self.next.wrapping_add(1);
        let request = message(len, self.next);
        let random = [self.next; 16];
        if let Ok(id) = self
            .station
            .submit(self.now, random, Route::default(), request.clone())
        {
            self.submitted.insert(id, request);
            self.stored
                .insert(id, self.station.snapshot(id).expect("an exchange just begun"));
        }
    }

    fn give_up(&mut self, amount: usize) {
        if let Some(id) = self.stored.keys().nth(amount).copied() {
            self.station.abandon(self.now, id);
            self.stored.remove(&id);
            *self.ended.entry(id).or_default() += 1;
        }
    }

    fn ra(&mut self, result: Result<(), RaError>) {
        let Some(id) = self.forwards.pop() else { return };
        if result == Err(RaError::Unreachable) {
            self.csms
                .handle_ra_response(self.now, id, Err(RaError::Unreachable));
        } else if self.csms.handle_asked(self.now, id) {
            self.store();
            let request = self.submitted.get(&id).expect("a request that was submitted");
            let before = self.asked.insert(id, request.clone());
            assert!(before.is_none(), "the RA was asked twice");
            self.csms
                .handle_ra_response(self.now, id, result.map(|()| response_to(request)));
        }
        self.drain();
    }

    fn expire(&mut self) {
        let Some((call, token)) = self.waiting.take() else {
            return;
        };
        if let Some(answer) = self.csms.expire(self.now, token) {
            self.store();
            self.station.handle_result(self.now, call.token, &outcome(answer));
        }
    }

    fn restart_station(&mut self) {
        self.station = Station::new(station::Config::default());
        for snapshot in self.stored.values() {
            self.station
                .restore(self.now, snapshot.clone())
                .expect("what was stored is restored");
        }
        self.connect();
    }

    fn restart_csms(&mut self) {
        self.forwards.clear();
        self.restored = true;
        let records = self.records.clone();
        self.csms = Csms::restore(csms::Config::default(), Budget::default(), self.now, records);
        self.store();
        self.connect();
    }

    fn step(&mut self, link: Link) -> bool {
        if self.waiting.is_some() {
            return false;
        }
        if let Some(call) = self.station.poll_call(self.now) {
            self.station_calls(call, link);
        } else if let Some(call) = self.csms.poll_call(self.now) {
            self.store();
            self.csms_calls(&call, link);
        } else {
            return false;
        }
        self.drain();
        true
    }

    fn station_calls(&mut self, call: Call, link: Link) {
        if link == Link::LosesCall {
            return self
                .station
                .handle_result(self.now, call.token, &CallOutcome::TimedOut);
        }
        if link == Link::Repeats {
            let _ = self.csms.handle_call(self.now, call.message_id, Some(&call.data));
            self.store();
        }
        let reply = self.csms.handle_call(self.now, call.message_id, Some(&call.data));
        self.store();
        match reply {
            Reply::Now(_) if link == Link::LosesAnswer => {
                self.station
                    .handle_result(self.now, call.token, &CallOutcome::TimedOut);
            }
            Reply::Now(answer) => self.station.handle_result(self.now, call.token, &outcome(answer)),
            Reply::Pending(token) => self.waiting = Some((call, token)),
        }
    }

    fn csms_calls(&mut self, call: &Call, link: Link) {
        if link == Link::LosesCall {
            return self
                .csms
                .handle_result(self.now, call.token, &CallOutcome::TimedOut);
        }
        if link == Link::Repeats {
            let _ = self
                .station
                .handle_call(self.now, call.message_id, Some(&call.data));
        }
        let answer = self
            .station
            .handle_call(self.now, call.message_id, Some(&call.data));
        let result = if link == Link::LosesAnswer {
            CallOutcome::TimedOut
        } else {
            outcome(answer)
        };
        self.csms.handle_result(self.now, call.token, &result);
    }

    fn store(&mut self) {
        for write in self.csms.take_writes() {
            self.records.apply(write);
        }
    }

    fn drain(&mut self) {
        self.csms.handle_timeout(self.now);
        self.store();
        while let Some(action) = self.csms.poll_action() {
            match action {
                Action::Forward { id, request, .. } => {
                    assert_eq!(Some(&request), self.submitted.get(&id), "what reaches the RA");
                    self.forwards.push(id);
                }
                Action::Reply { token, answer } => {
                    if let Some((call, _)) = self.waiting.take_if(|(_, waiting)| *waiting == token) {
                        self.station.handle_result(self.now, call.token, &outcome(answer));
                    }
                }
                _ => {}
            }
        }
        while let Some(event) = self.station.poll_event() {
            let (id, response) = match event {
                Event::Response { id, bytes } => (id, Some(bytes)),
                Event::Failed { id, .. } => (id, None),
                _ => continue,
            };
            if let Some(response) = response {
                let request = self.asked.get(&id).expect("a response after the RA was asked");
                assert_eq!(response, response_to(request), "what reaches the station");
                self.station.acknowledge(self.now, id);
            }
            self.stored.remove(&id);
            *self.ended.entry(id).or_default() += 1;
        }
    }

    fn check(&self) {
        let limits = csms::Limits::default();
        assert!(
            self.restored || self.csms.bytes() <= limits.bytes,
            "memory of the CSMS side"
        );
        assert!(self.csms.open() <= limits.exchanges, "exchanges of the CSMS side");
        assert!(
            self.ended.values().all(|times| *times == 1),
            "an exchange ends once"
        );
    }

    /// From here on nothing is lost and the RA answers: every exchange ends.
    fn come_to_rest(&mut self) {
        self.station.set_mode(Mode::Push);
        self.connect();
        for _ in 0..20_000 {
            self.drain();
            if self.stored.is_empty() {
                return self.check();
            }
            if !self.forwards.is_empty() {
                self.ra(Ok(()));
            } else if self.waiting.is_some() {
                self.expire();
            } else if !self.step(Link::Good) {
                let due = [self.station.poll_timeout(), self.csms.poll_timeout()];
                let due = due
                    .into_iter()
                    .flatten()
                    .min()
                    .expect("something open has a time");
                self.now = self.now.max(due) + Duration::from_millis(1);
                self.station.handle_timeout(self.now);
            }
        }
        panic!("{} exchanges never end", self.stored.len());
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Link {
    Good,
    LosesCall,
    LosesAnswer,
    Repeats,
}
