//! Any schedule of loss, duplication, reordering, reconnects and restarts of either side, in both modes and mixed.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs
)]

mod harness;

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use cmp_binding::csms::{self, Action, Budget, Csms, RaError, Reply, ReplyToken, StationRecords};
use cmp_binding::station::{self, Event, Failure, Mode, Snapshot, Station};
use cmp_binding::{Answer, CallOutcome, CallToken, Data, ErrorCode, ExchangeId, Route};
use harness::{message, outcome, s};
use proptest::prelude::*;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Op {
    Submit {
        len: u16,
    },
    StationCalls,
    CsmsCalls,
    /// Delivers the frame at this place of the queue: out of order unless 0.
    Up(u8),
    Down(u8),
    LoseUp(u8),
    LoseDown(u8),
    CopyUp(u8),
    CopyDown(u8),
    /// An old call of the station arrives once more; nobody waits for its answer.
    Late(u8),
    StationTimesOut,
    CsmsTimesOut,
    Reconnect,
    KillStation,
    /// The CSMS side dies in its next step, before or after that is durable, and before anything comes of it.
    KillCsms {
        durable: bool,
    },
    App,
    Abandon(u8),
    RaAsked(u8),
    RaAnswers(u8),
    RaFails {
        which: u8,
        error: RaError,
    },
    Expire,
    Pass {
        seconds: u16,
    },
    Switch {
        pull: bool,
    },
}

#[derive(Clone, Debug)]
enum Frame {
    Call {
        n: u64,
        message_id: &'static str,
        data: Data,
    },
    Result {
        n: u64,
        answer: Answer,
    },
}

/// Where kill, loss and the checks live: everything that the two cores do not own.
struct World {
    now: Duration,
    station: Station,
    station_config: station::Config,
    csms: Csms,
    csms_config: csms::Config,
    budget: Budget,
    mode: Mode,
    up: Vec<Frame>,
    down: Vec<Frame>,
    history: Vec<(&'static str, Data)>,
    station_call: Option<(u64, CallToken)>,
    csms_call: Option<(u64, CallToken)>,
    pending: Option<(u64, ReplyToken)>,
    n: u64,
    kill: Option<bool>,
    // Durable
    records: StationRecords,
    snapshots: BTreeMap<ExchangeId, Snapshot>,
    // The RA
    forwards: Vec<(ExchangeId, Vec<u8>)>,
    in_flight: Vec<ExchangeId>,
    asked: BTreeMap<ExchangeId, u32>,
    // Truth
    requests: BTreeMap<ExchangeId, Vec<u8>>,
    ended: BTreeMap<ExchangeId, Option<Failure>>,
    abandoned: BTreeSet<ExchangeId>,
}

const MOST_EXCHANGES: usize = 4;
const MAX: usize = 8_000;
const STATION_BYTES: usize = 50_000;

fn response(id: ExchangeId) -> Vec<u8> {
    let first = id.as_bytes()[0];
    message(300 + usize::from(first) * 170 % 5_000, first)
}

impl World {
    fn new(station_unit: usize, csms_unit: usize) -> Self {
        let station_config = station::Config {
            unit: station_unit,
            exchanges: MOST_EXCHANGES,
            max: MAX,
            ..station::Config::default()
        };
        let limits = csms::Limits {
            exchanges: MOST_EXCHANGES,
            bytes: STATION_BYTES,
            ..csms::Limits::default()
        };
        let limits = csms::Limits {
            calls_per_minute: 10_000,
            ..limits
        };
        let csms_config = csms::Config {
            unit: csms_unit,
            max: MAX,
            limits,
            ..csms::Config::default()
        };
        let budget = Budget::new(STATION_BYTES);
        let mut world = Self {
            now: s(10_000),
            station: Station::new(station_config.clone()),
            csms: Csms::new(csms_config.clone(), budget.clone()),
            station_config,
            csms_config,
            budget,
            mode: Mode::Push,
            up: vec![],
            down: vec![],
            history: vec![],
            station_call: None,
            csms_call: None,
            pending: None,
            n: 0,
            kill: None,
            records: StationRecords::default(),
            snapshots: BTreeMap::new(),
            forwards: vec![],
            in_flight: vec![],
            asked: BTreeMap::new(),
            requests: BTreeMap::new(),
            ended: BTreeMap::new(),
            abandoned: BTreeSet::new(),
        };
        world.reconnect();
        world
    }

    fn reconnect(&mut self) {
        self.up.clear();
        self.down.clear();
        self.station_call = None;
        self.csms_call = None;
        self.pending = None;
        self.csms.handle_connected();
        self.station.set_mode(self.mode);
        self.station.handle_connected(self.now);
        if self.mode == Mode::PullOnly {
            self.csms.start_pull(self.now);
        }
    }

    fn kill_station(&mut self) {
        self.station = Station::new(self.station_config.clone());
        for snapshot in self.snapshots.values() {
            self.station.restore(self.now, snapshot.clone()).unwrap();
        }
        self.reconnect();
    }

    /// What the CSMS side did becomes durable and takes effect, unless the process dies here.
    fn csms_stepped(&mut self) -> bool {
        let kill = self.kill.take();
        let writes = self.csms.take_writes();
        if kill != Some(false) {
            for write in writes {
                self.records.apply(write);
            }
        }
        if kill.is_some() {
            self.forwards.clear();
            self.in_flight.clear();
            let records = self.records.clone();
            self.csms = Csms::new(self.csms_config.clone(), Budget::default());
            self.csms = Csms::restore(self.csms_config.clone(), self.budget.clone(), self.now, records);
            self.reconnect();
            self.csms_stepped();
            return false;
        }
        assert!(self.csms.bytes() <= STATION_BYTES, "{} bytes", self.csms.bytes());
        assert!(self.csms.open() <= MOST_EXCHANGES);
        assert!(
            self.budget.used() <= STATION_BYTES,
            "{} reserved",
            self.budget.used()
        );
        while let Some(action) = self.csms.poll_action() {
            match action {
                Action::Forward { id, request, .. } => self.forwards.push((id, request)),
                Action::Reply { token, answer } => {
                    if let Some((n, _)) = self.pending.take_if(|(_, pending)| *pending == token) {
                        self.down.push(Frame::Result { n, answer });
                    }
                }
                _ => {}
            }
        }
        true
    }

    fn station_calls(&mut self) {
        if let Some(call) = self.station.poll_call(self.now) {
            self.n += 1;
            self.station_call = Some((self.n, call.token));
            self.history.push((call.message_id, call.data.clone()));
            self.up.push(Frame::Call {
                n: self.n,
                message_id: call.message_id,
                data: call.data,
            });
        }
    }

    fn csms_calls(&mut self) {
        self.csms.handle_timeout(self.now);
        let call = self.csms.poll_call(self.now);
        if let (true, Some(call)) = (self.csms_stepped(), call) {
            self.n += 1;
            self.csms_call = Some((self.n, call.token));
            self.down.push(Frame::Call {
                n: self.n,
                message_id: call.message_id,
                data: call.data,
            });
        }
    }

    fn up(&mut self, frame: Frame) {
        match frame {
            Frame::Call { n, message_id, data } => {
                let reply = self.csms.handle_call(self.now, message_id, Some(&data));
                if self.csms_stepped() {
                    match reply {
                        Reply::Now(answer) => self.down.push(Frame::Result { n, answer }),
                        Reply::Pending(token) => self.pending = Some((n, token)),
                    }
                }
            }
            Frame::Result { n, answer } => {
                if let Some((_, token)) = self.csms_call.take_if(|(call, _)| *call == n) {
                    self.csms.handle_result(self.now, token, &outcome(answer));
                    self.csms_stepped();
                }
            }
        }
    }

    fn down(&mut self, frame: Frame) {
        match frame {
            Frame::Call { n, message_id, data } => {
                let answer = self.station.handle_call(self.now, message_id, Some(&data));
                self.up.push(Frame::Result { n, answer });
            }
            Frame::Result { n, answer } => {
                if let Some((_, token)) = self.station_call.take_if(|(call, _)| *call == n) {
                    self.station.handle_result(self.now, token, &outcome(answer));
                }
            }
        }
    }

    /// The application looks at what happened and stores it.
    fn app(&mut self) {
        while let Some(event) = self.station.poll_event() {
            match event {
                Event::Response { id, bytes } => {
                    assert_eq!(bytes, response(id), "byte for byte");
                    assert_eq!(self.asked.get(&id), Some(&1));
                    assert_eq!(self.ended.insert(id, None), None, "ends once");
                    self.snapshots.remove(&id);
                    self.station.acknowledge(self.now, id);
                }
                Event::Failed { id, error, .. } => {
                    self.snapshots.remove(&id);
                    assert_eq!(self.ended.insert(id, Some(error)), None, "ends once");
                }
                _ => {}
            }
        }
    }

    fn submit(&mut self, len: usize) {
        let n = u8::try_from(self.requests.len()).unwrap();
        let request = message(len, n);
        if let Ok(id) = self
            .station
            .submit(self.now, [n; 16], Route::default(), request.clone())
        {
            self.snapshots.insert(id, self.station.snapshot(id).unwrap());
            self.requests.insert(id, request);
        }
    }

    fn ra_asked(&mut self, which: usize) {
        if self.forwards.is_empty() {
            return;
        }
        let (id, request) = self.forwards.remove(which % self.forwards.len());
        let may = self.csms.handle_asked(self.now, id);
        // A kill before this is durable is a kill before the byte is written.
        if self.csms_stepped() && may {
            assert_eq!(request, self.requests[&id], "byte for byte");
            *self.asked.entry(id).or_default() += 1;
            assert_eq!(self.asked[&id], 1, "the RA is asked at most once");
            self.in_flight.push(id);
        }
    }

    fn ra_answers(&mut self, which: usize, error: Option<RaError>) {
        // Both promise that nothing was written, so they are only told of what was not asked.
        let id = if matches!(error, Some(RaError::Unreachable | RaError::Busy(_))) {
            (!self.forwards.is_empty()).then(|| self.forwards.remove(which % self.forwards.len()).0)
        } else {
            (!self.in_flight.is_empty()).then(|| self.in_flight.remove(which % self.in_flight.len()))
        };
        if let Some(id) = id {
            self.csms
                .handle_ra_response(self.now, id, error.map_or_else(|| Ok(response(id)), Err));
            self.csms_stepped();
        }
    }

    fn expire(&mut self) {
        if let Some((n, token)) = self.pending.take() {
            let answer = self.csms.expire(self.now, token);
            if let (true, Some(answer)) = (self.csms_stepped(), answer) {
                self.down.push(Frame::Result { n, answer });
            }
        }
    }

    fn take(queue: &mut Vec<Frame>, at: u8) -> Option<Frame> {
        (!queue.is_empty()).then(|| queue.remove(usize::from(at) % queue.len()))
    }

    fn apply(&mut self, op: Op) {
        match op {
            Op::Submit { len } => self.submit(usize::from(len)),
            Op::StationCalls => self.station_calls(),
            Op::CsmsCalls => self.csms_calls(),
            Op::Up(at) => {
                if let Some(frame) = Self::take(&mut self.up, at) {
                    self.up(frame);
                }
            }
            Op::Down(at) => {
                if let Some(frame) = Self::take(&mut self.down, at) {
                    self.down(frame);
                }
            }
            Op::LoseUp(at) => drop(Self::take(&mut self.up, at)),
            Op::LoseDown(at) => drop(Self::take(&mut self.down, at)),
            Op::CopyUp(at) => {
                let copy = self.up.get(usize::from(at) % self.up.len().max(1)).cloned();
                self.up.extend(copy);
            }
            Op::CopyDown(at) => {
                let copy = self.down.get(usize::from(at) % self.down.len().max(1)).cloned();
                self.down.extend(copy);
            }
            Op::Late(at) => {
                if !self.history.is_empty() {
                    let (message_id, data) = self.history[usize::from(at) % self.history.len()].clone();
                    let reply = self.csms.handle_call(self.now, message_id, Some(&data));
                    drop(reply);
                    self.csms_stepped();
                }
            }
            Op::StationTimesOut => {
                if let Some((_, token)) = self.station_call.take() {
                    self.station
                        .handle_result(self.now, token, &CallOutcome::TimedOut);
                }
            }
            Op::CsmsTimesOut => {
                if let Some((_, token)) = self.csms_call.take() {
                    self.csms.handle_result(self.now, token, &CallOutcome::TimedOut);
                    self.csms_stepped();
                }
            }
            Op::Reconnect => self.reconnect(),
            Op::KillStation => self.kill_station(),
            Op::KillCsms { durable } => self.kill = Some(durable),
            Op::App => self.app(),
            Op::Abandon(at) => self.abandon(usize::from(at)),
            Op::RaAsked(which) => self.ra_asked(which.into()),
            Op::RaAnswers(which) => self.ra_answers(which.into(), None),
            Op::RaFails { which, error } => self.ra_answers(which.into(), Some(error)),
            Op::Expire => self.expire(),
            Op::Pass { seconds } => self.now += s(seconds.into()),
            Op::Switch { pull } => {
                self.mode = if pull { Mode::PullOnly } else { Mode::Push };
                self.station.set_mode(self.mode);
                if pull {
                    self.csms.start_pull(self.now);
                }
            }
        }
    }

    fn abandon(&mut self, at: usize) {
        self.app();
        let Some(id) = self.station.open().nth(at % MOST_EXCHANGES) else {
            return;
        };
        self.station.abandon(self.now, id);
        self.snapshots.remove(&id);
        self.abandoned.insert(id);
    }

    /// From here on nothing goes wrong. Returns how many steps it took until every exchange had ended.
    fn run_benignly(&mut self) -> usize {
        self.kill = None;
        self.reconnect();
        let give_up = self.now + s(4 * 3_600);
        for step in 0..4_000 {
            self.app();
            if self.station.open().count() == 0 {
                return step;
            }
            let before = (
                self.n,
                self.up.len(),
                self.down.len(),
                self.forwards.len(),
                self.in_flight.len(),
            );
            for op in [
                Op::StationCalls,
                Op::CsmsCalls,
                Op::Up(0),
                Op::Down(0),
                Op::RaAsked(0),
                Op::RaAnswers(0),
            ] {
                self.apply(op);
            }
            if before
                == (
                    self.n,
                    self.up.len(),
                    self.down.len(),
                    self.forwards.len(),
                    self.in_flight.len(),
                )
            {
                self.expire();
                let due = [self.station.poll_timeout(), self.csms.poll_timeout()];
                let due = due
                    .into_iter()
                    .flatten()
                    .min()
                    .unwrap_or(self.now)
                    .max(self.now + s(1));
                assert!(due < give_up, "stands still: {:?}", self.station);
                self.now = due;
                if self.mode == Mode::PullOnly {
                    self.csms.start_pull(self.now);
                }
            }
        }
        panic!("livelock: {:#?}\n{:#?}", self.station, self.csms);
    }

    fn check_all_ended(&self) {
        for id in self.requests.keys().filter(|id| !self.abandoned.contains(id)) {
            assert!(self.ended.contains_key(id), "{id} did not end");
        }
    }
}

fn benign_op() -> impl Strategy<Value = Op> {
    prop_oneof![
        3 => (20_u16..6_000).prop_map(|len| Op::Submit { len }),
        12 => Just(Op::StationCalls),
        12 => Just(Op::CsmsCalls),
        16 => Just(Op::Up(0)),
        16 => Just(Op::Down(0)),
        5 => Just(Op::App),
        5 => any::<u8>().prop_map(Op::RaAsked),
        5 => any::<u8>().prop_map(Op::RaAnswers),
        3 => Just(Op::Expire),
        3 => (0_u16..30).prop_map(|seconds| Op::Pass { seconds }),
    ]
}

fn lossy_op() -> impl Strategy<Value = Op> {
    prop_oneof![
        60 => benign_op(),
        1 => any::<u8>().prop_map(Op::LoseUp),
        1 => any::<u8>().prop_map(Op::LoseDown),
        1 => any::<u8>().prop_map(Op::CopyUp),
        1 => any::<u8>().prop_map(Op::CopyDown),
        2 => any::<u8>().prop_map(Op::Late),
        2 => Just(Op::StationTimesOut),
        2 => Just(Op::CsmsTimesOut),
        2 => Just(Op::Reconnect),
        2 => Just(Op::KillStation),
        1 => any::<bool>().prop_map(|pull| Op::Switch { pull }),
        1 => any::<u8>().prop_map(Op::Up),
        1 => any::<u8>().prop_map(Op::Down),
    ]
}

fn faulty_op() -> impl Strategy<Value = Op> {
    let error = prop_oneof![
        Just(RaError::Unreachable),
        Just(RaError::Timeout),
        Just(RaError::BadResponse),
        Just(RaError::Busy(s(3))),
    ];
    prop_oneof![
        40 => lossy_op(),
        1 => any::<u8>().prop_map(Op::Abandon),
        2 => any::<bool>().prop_map(|durable| Op::KillCsms { durable }),
        2 => (any::<u8>(), error).prop_map(|(which, error)| Op::RaFails { which, error }),
        1 => (0_u16..4_000).prop_map(|seconds| Op::Pass { seconds }),
    ]
}

fn units() -> impl Strategy<Value = (usize, usize)> {
    (
        prop_oneof![Just(600_usize), Just(3_500)],
        prop_oneof![Just(700_usize), Just(65_536)],
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn each_message_reaches_the_ra_at_most_once_or_ends_in_a_named_error(
        units in units(), pull: bool, ops in prop::collection::vec(faulty_op(), 0..250)
    ) {
        let mut world = World::new(units.0, units.1);
        world.apply(Op::Switch { pull });
        for op in ops {
            world.apply(op);
        }
        world.run_benignly();
        world.check_all_ended();
    }

    #[test]
    fn loss_duplication_and_restarts_of_the_station_cost_no_exchange(
        units in units(), pull: bool, ops in prop::collection::vec(lossy_op(), 0..250)
    ) {
        let mut world = World::new(units.0, units.1);
        world.apply(Op::Switch { pull });
        for op in ops {
            world.apply(op);
        }
        world.run_benignly();
        world.check_all_ended();
        for (id, failure) in &world.ended {
            prop_assert!(failure.is_none(), "{id}: {failure:?}");
            prop_assert_eq!(world.asked[id], 1);
        }
    }

    #[test]
    fn whatever_a_station_calls_the_limits_hold_and_nothing_panics(
        calls in prop::collection::vec(hostile_call(), 0..150),
        (bytes, all) in prop_oneof![Just((20_000, 100_000)), Just((9_000, 100_000)), Just((100_000, 9_000))],
    ) {
        let limits = csms::Limits { bytes, ..csms::Limits::default() };
        let budget = Budget::new(all);
        let config = csms::Config { max: 3_000, limits, ..csms::Config::default() };
        let mut csms = Csms::new(config, budget.clone());
        let mut now = s(1);
        for (message_id, json, pass) in calls {
            now += Duration::from_millis(pass.into());
            let _ = csms.handle_call(now, message_id, Some(&Data::text(json.clone())));
            let _ = csms.take_writes();
            while let Some(action) = csms.poll_action() {
                if let Action::Forward { id, .. } = action {
                    csms.handle_ra_response(now, id, Ok(message(2_900, 1)));
                }
            }
            prop_assert!(csms.bytes() <= bytes.min(all) && budget.used() <= bytes.min(all) && csms.open() <= 4);
            let mut station = Station::new(station::Config::default());
            let _ = station.handle_call(now, message_id, Some(&Data::object(json)));
        }
    }
}

fn hostile_call() -> impl Strategy<Value = (&'static str, String, u16)> {
    let message_id = prop_oneof![
        4 => Just("CmpSend"),
        1 => Just("CMPFETCH"),
        1 => Just("CmpHello"),
        1 => Just("CmpDeliver"),
        1 => Just("CmpPull"),
    ];
    let piece = prop_oneof![3 => Just("MAMBAgM="), 1 => Just("MAM="), 1 => Just("AQID"), 1 => Just("%%"), 1 => Just("")];
    let number = prop_oneof![0_u64..8, 2_990_u64..3_010, Just(u64::MAX)];
    let len = prop_oneof![2 => Just(5_u64), 1 => number.clone()];
    let off = prop_oneof![2 => Just(0_u64), 1 => number];
    let ack = prop::bool::weighted(0.1);
    (message_id, 0_u8..8, len, off, piece, ack, 0_u16..2_000).prop_map(
        |(message_id, id, len, off, data, ack, pass)| {
            let id = harness::id(id);
            let ack = if ack {
                format!(r#","ack":["{id}"]"#)
            } else {
                String::new()
            };
            let json = format!(r#"{{"id":"{id}","len":{len},"off":{off},"data":"{data}"{ack}}}"#);
            (message_id, json, pass)
        },
    )
}

#[test]
fn a_restart_right_after_the_first_byte_is_a_named_error_and_not_a_second_question() {
    let mut world = World::new(3_500, 65_536);
    for op in [
        Op::Submit { len: 500 },
        Op::StationCalls,
        Op::Up(0),
        Op::RaAsked(0),
        Op::KillCsms { durable: true },
    ] {
        world.apply(op);
    }
    world.csms_calls();
    world.run_benignly();
    let failures: Vec<_> = world.ended.values().cloned().collect();
    let [Some(Failure::Transfer(error))] = &failures[..] else {
        panic!("{failures:?}")
    };
    assert_eq!(error.code, ErrorCode::RaTimeout);
    assert_eq!(world.asked.values().sum::<u32>(), 1);
}
