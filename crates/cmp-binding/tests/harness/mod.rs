//! Two ends of the binding without a socket between them.
#![allow(dead_code, unreachable_pub)]

pub mod sides;

use core::time::Duration;

use cmp_binding::csms::{Action, Budget, Csms, RaError, Reply, ReplyToken, StationRecords};
use cmp_binding::station::{Event, Station};
use cmp_binding::{Answer, Call, CallOutcome, Data, Envelope, ExchangeId, Form, Route};

pub fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// One DER SEQUENCE of `len` bytes in all (at least 6), the content of which depends on `seed`.
pub fn message(len: usize, seed: u8) -> Vec<u8> {
    assert!(len >= 6);
    let content = |header: usize| {
        (0..len - header).map(|i| {
            (i as u8)
                .wrapping_mul(31)
                .wrapping_add(seed)
                .wrapping_add((i >> 8) as u8)
        })
    };
    let mut out = vec![0x30];
    if len - 2 < 0x80 {
        out.push((len - 2) as u8);
        out.extend(content(2));
    } else if len - 3 < 0x100 {
        out.extend([0x81, (len - 3) as u8]);
        out.extend(content(3));
    } else if len - 4 < 0x1_0000 {
        out.extend([0x82, ((len - 4) >> 8) as u8, (len - 4) as u8]);
        out.extend(content(4));
    } else {
        out.extend([
            0x83,
            ((len - 5) >> 16) as u8,
            ((len - 5) >> 8) as u8,
            (len - 5) as u8,
        ]);
        out.extend(content(5));
    }
    assert_eq!(out.len(), len);
    out
}

pub fn id(n: u8) -> ExchangeId {
    ExchangeId::from_random([n; 16])
}

pub fn frame_bytes(envelope: usize, data: &Data) -> usize {
    envelope
        + match data.form {
            Form::Object => data.json.len(),
            Form::Text => serde_json::to_string(&data.json).unwrap().len(),
        }
}

/// The members of an answer, which must be Accepted.
pub fn members(answer: &Answer) -> serde_json::Value {
    assert_eq!(answer.status.as_str(), "Accepted");
    serde_json::from_str(&answer.data.as_ref().unwrap().json).unwrap()
}

pub fn outcome(answer: Answer) -> CallOutcome {
    CallOutcome::Response {
        status: answer.status,
        data: answer.data,
    }
}

/// A station and its CSMS side on a connection that loses nothing, and what went over it.
pub struct Pair {
    pub now: Duration,
    pub station: Station,
    pub csms: Csms,
    pub records: StationRecords,
    pub asked: Vec<(ExchangeId, Route, Vec<u8>)>,
    pub frames: Vec<usize>,
    pub calls: Vec<String>,
    pub events: Vec<Event>,
    pub actions: Vec<Action>,
    pub waiting_reply: Option<(Call, ReplyToken)>,
    /// Forwarded exchanges that the RA has not answered.
    pub forwards: Vec<ExchangeId>,
}

impl Pair {
    pub fn new(station: Station, config: cmp_binding::csms::Config) -> Self {
        let mut pair = Self {
            now: s(1_000),
            station,
            csms: Csms::new(config, Budget::default()),
            records: StationRecords::default(),
            asked: vec![],
            frames: vec![],
            calls: vec![],
            events: vec![],
            actions: vec![],
            waiting_reply: None,
            forwards: vec![],
        };
        pair.connect();
        pair
    }

    pub fn connect(&mut self) {
        self.csms.handle_connected();
        self.station.handle_connected(self.now);
    }

    pub fn store(&mut self) {
        for write in self.csms.take_writes() {
            self.records.apply(write);
        }
    }

    fn count(&mut self, call: &Call) {
        self.calls.push(call.message_id.into());
        self.frames
            .push(frame_bytes(Envelope::default().call_bytes, &call.data));
    }

    fn count_answer(&mut self, answer: &Answer) {
        self.frames.push(frame_bytes(
            Envelope::default().result_bytes,
            answer.data.as_ref().unwrap(),
        ));
    }

    /// One step of whoever has something to do; `false` if nobody has.
    pub fn step(&mut self) -> bool {
        self.store();
        while let Some(event) = self.station.poll_event() {
            if let Event::Response { id, .. } = &event {
                self.station.acknowledge(self.now, *id);
            }
            self.events.push(event);
        }
        if let Some(action) = self.csms.poll_action() {
            self.act(action);
            return true;
        }
        if let Some(call) = self.station.poll_call(self.now) {
            self.count(&call);
            match self.csms.handle_call(self.now, call.message_id, Some(&call.data)) {
                Reply::Now(answer) => {
                    self.count_answer(&answer);
                    self.store();
                    self.station.handle_result(self.now, call.token, &outcome(answer));
                }
                Reply::Pending(token) => self.waiting_reply = Some((call, token)),
            }
            return true;
        }
        if let Some(call) = self.csms.poll_call(self.now) {
            self.count(&call);
            let answer = self
                .station
                .handle_call(self.now, call.message_id, Some(&call.data));
            self.count_answer(&answer);
            self.csms.handle_result(self.now, call.token, &outcome(answer));
            return true;
        }
        false
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Forward { id, route, request } => {
                self.asked.push((id, route, request));
                self.forwards.push(id);
            }
            Action::Reply { token, answer } => {
                let (call, pending) = self.waiting_reply.take().unwrap();
                assert_eq!(pending, token);
                self.count_answer(&answer);
                self.station.handle_result(self.now, call.token, &outcome(answer));
            }
            other => self.actions.push(other),
        }
    }

    /// Steps until nobody has anything to do at this time.
    pub fn settle(&mut self) {
        for _ in 0..10_000 {
            if !self.step() {
                return;
            }
        }
        panic!("does not come to rest: {:?}", self.calls.last());
    }

    /// The answer budget is over.
    pub fn expire(&mut self) {
        let (call, token) = self.waiting_reply.take().unwrap();
        let answer = self.csms.expire(self.now, token).unwrap();
        self.count_answer(&answer);
        self.station.handle_result(self.now, call.token, &outcome(answer));
    }

    pub fn ra_answers(&mut self, result: Result<Vec<u8>, RaError>) {
        let id = self.forwards.remove(0);
        assert!(self.csms.handle_asked(self.now, id));
        self.store();
        self.csms.handle_ra_response(self.now, id, result);
        self.settle();
    }

    pub fn pass(&mut self, time: Duration) {
        self.now += time;
        self.settle();
    }
}
