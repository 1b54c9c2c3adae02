//! A station and a CSMS that say anything in any order, and a splice between them that is held to its rules.
//!
//! Panics where a rule is broken. The property test and the fuzz target both run it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use ocpp_rpc::splice::{Boot, Config, Event, IncomingId, Kind, Splice};
use ocpp_rpc::{Frame, RawValue, Version};

pub const VENDOR: &str = "io.example.Vendor";
const SEED: u64 = 7;

/// Something that happens. Numbers choose among what is there.
#[derive(Clone, Copy, Debug)]
pub enum Op {
    CsmsCall {
        id: u8,
        huge: bool,
    },
    CsmsAnswer {
        to: u8,
        how: Answer,
    },
    CsmsOther(Other),
    StationCall {
        boot: bool,
    },
    StationAnswer {
        to: u8,
        how: Answer,
    },
    StationOther(Other),
    /// An own call.
    Own(Kind),
    /// The application answers a DataTransfer of the station, well or with an error.
    Respond {
        well: bool,
    },
    Wait {
        ms: u16,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    Result,
    Boot(Boot),
    Error,
    ResultError,
    /// CALLERROR with the id "-1".
    Nameless,
    /// A CALLRESULT that cannot be read, with an id that can.
    Broken,
    /// One without an id.
    BrokenNameless,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Other {
    /// A DataTransfer of the vendor.
    Vendor,
    /// The same as a SEND.
    VendorSend,
    Send,
    Garbage,
    /// A CALL that cannot be read, with an id that can.
    BrokenCall,
}

/// What the station got from the CSMS or from the splice and may answer at any time, even twice.
struct Got {
    id: String,
    own: bool,
    at: Duration,
    /// How many messages of the CSMS there were up to it.
    number: usize,
    answered: bool,
}

pub struct Model {
    splice: Splice,
    now: Duration,
    serial: u32,
    /// The ids that the splice would use.
    own_ids: Vec<String>,
    got: Vec<Got>,
    /// Messages of the CSMS that the station has got.
    delivered: usize,
    /// Who made the last CALL of an id: the splice?
    owner: BTreeMap<String, bool>,
    /// What the CSMS sent for the station and the station has not got yet.
    expected: VecDeque<String>,
    /// Texts to the station in this step that must be there at once.
    at_once: Vec<String>,
    /// The own call that has not ended: its kind, when it was asked for, when it went out.
    own: Option<(Kind, Duration, Option<Duration>)>,
    own_calls: usize,
    /// Ids of CALLs of the station that passed, for the CSMS to answer.
    station_calls: Vec<String>,
    booting: Option<(String, Duration)>,
    boot: Boot,
    /// DataTransfers of the station that were not answered yet; all that were, in their order.
    unanswered: BTreeSet<String>,
    answered_here: Vec<String>,
    incoming: VecDeque<IncomingId>,
    /// CALLs of the CSMS that were refused.
    refused: Vec<String>,
}

impl Model {
    pub fn new(version: Version) -> Self {
        let config = Config {
            max_held: 4,
            max_held_bytes: 2_000,
            ..Config::new(version, VENDOR.to_ascii_lowercase())
        };
        let mut dry = Splice::new(config.clone(), SEED, Boot::Accepted);
        let mut own_ids = Vec::new();
        for _ in 0..6 {
            dry.call(Duration::ZERO, Kind::Pull, raw("{}")).unwrap();
            let text = dry.poll_station().unwrap();
            let id = Frame::parse(&text).unwrap().id().to_owned();
            dry.handle_station(Duration::ZERO, format!(r#"[3,"{id}",{{}}]"#));
            own_ids.push(id);
        }
        Self {
            splice: Splice::new(config, SEED, Boot::Accepted),
            now: Duration::ZERO,
            serial: 0,
            own_ids,
            got: Vec::new(),
            delivered: 0,
            owner: BTreeMap::new(),
            expected: VecDeque::new(),
            at_once: Vec::new(),
            own: None,
            own_calls: 0,
            station_calls: Vec::new(),
            booting: None,
            boot: Boot::Accepted,
            unanswered: BTreeSet::new(),
            answered_here: Vec::new(),
            incoming: VecDeque::new(),
            refused: Vec::new(),
        }
    }

    /// Lets everything happen, then so much time pass that nothing has a reason to wait any more.
    pub fn run(mut self, ops: impl IntoIterator<Item = Op>) {
        for op in ops {
            self.step(op);
        }
        for _ in 0..4 {
            self.wait(Duration::from_secs(40));
        }
        assert!(self.expected.is_empty(), "never delivered: {:?}", self.expected);
        assert!(
            self.own
                .is_none_or(|(kind, ..)| kind == Kind::Pull && self.boot == Boot::Rejected),
            "an own call has not ended"
        );
    }

    fn step(&mut self, op: Op) {
        let csms = matches!(op, Op::CsmsCall { .. } | Op::CsmsAnswer { .. } | Op::CsmsOther(_));
        if csms && !self.splice.takes_csms() {
            assert!(
                self.expected.len() >= 4 || self.expected.iter().map(String::len).sum::<usize>() >= 2_000
            );
            return;
        }
        match op {
            Op::CsmsCall { id, huge } => self.csms_call(id, huge),
            Op::CsmsAnswer { to, how } => self.csms_answer(to, how),
            Op::CsmsOther(other) => self.csms_other(other),
            Op::StationCall { boot } => self.station_call(boot),
            Op::StationAnswer { to, how } => self.station_answer(to, how),
            Op::StationOther(other) => self.station_other(other),
            Op::Own(kind) => self.own_call(kind),
            Op::Respond { well } => {
                if let Some(call) = self.incoming.pop_front() {
                    match well {
                        true => self.splice.respond(call, &raw(r#"{"status":"Accepted"}"#)),
                        false => self
                            .splice
                            .respond_error(call, ocpp_rpc::ErrorCode::InternalError, ""),
                    }
                    self.settle();
                }
            }
            Op::Wait { ms } => self.wait(Duration::from_millis(ms.into())),
        }
    }

    fn next(&mut self) -> u32 {
        self.serial += 1;
        self.serial
    }

    fn csms_call(&mut self, id: u8, huge: bool) {
        let n = self.next();
        let id = match id % 8 {
            // Now and then it takes an id of ours.
            choice @ 0..3 => self.own_ids[usize::from(choice) + usize::from(id / 128)].clone(),
            choice => format!("c{choice}"),
        };
        let filler = if huge { "x".repeat(1_500) } else { String::new() };
        self.csms_says(format!(r#"[2, "{id}","Reset",{{"n":{n}, "x":"{filler}"}}]"#));
    }

    fn csms_says(&mut self, text: String) {
        self.expected.push_back(text.clone());
        self.splice.handle_csms(self.now, text);
        self.settle();
    }

    fn csms_answer(&mut self, to: u8, how: Answer) {
        let n = self.next();
        let ids = if how == Answer::ResultError {
            &self.refused
        } else {
            &self.station_calls
        };
        let id = pick(ids, to).cloned().unwrap_or_else(|| format!("?{n}"));
        let text = answer_text(&id, how, n);
        if let (true, Some((booting, _))) = (
            matches!(how, Answer::Result | Answer::Boot(_) | Answer::Error),
            &self.booting,
        ) && *booting == id
        {
            self.booting = None;
            if let Answer::Boot(boot) = how {
                self.boot = boot;
            }
        }
        let stays = how == Answer::ResultError && recent(&self.refused, &id);
        if !stays {
            self.at_once.push(text.clone());
        }
        self.splice.handle_csms(self.now, text);
        self.settle();
        assert!(
            self.at_once.is_empty(),
            "an answer of the CSMS did not pass at once"
        );
    }

    fn csms_other(&mut self, other: Other) {
        let n = self.next();
        let text = other_text(other, n);
        match other {
            Other::Vendor => {
                self.refused.push(format!("o{n}"));
                self.splice.handle_csms(self.now, text);
                let refusal = self.splice.poll_csms().expect("a refusal");
                assert!(
                    refusal.starts_with(&format!(r#"[3,"o{n}",{{"status":"Rejected""#)),
                    "{refusal}"
                );
                self.settle();
            }
            Other::VendorSend => {
                self.splice.handle_csms(self.now, text);
                self.settle();
            }
            _ => self.csms_says(text),
        }
    }

    fn station_call(&mut self, boot: bool) {
        let n = self.next();
        let action = if boot { "BootNotification" } else { "Heartbeat" };
        let text = format!(r#"[2,"s{n}","{action}",{{ "n" : {n}.0 }}]"#);
        self.station_calls.push(format!("s{n}"));
        if boot {
            self.booting = Some((format!("s{n}"), self.now + Duration::from_secs(30)));
        }
        self.station_says(text, Some(true));
    }

    /// `passes`: whether it must; `None` where both are right.
    fn station_says(&mut self, text: String, passes: Option<bool>) {
        self.splice.handle_station(self.now, text.clone());
        match self.splice.poll_csms() {
            Some(passed) => {
                assert_eq!(passed, text, "changed on its way");
                assert_ne!(passes, Some(false), "the CSMS got what is not for it: {text}");
            }
            None => assert_ne!(passes, Some(true), "the CSMS did not get {text}"),
        }
        self.settle();
    }

    fn station_answer(&mut self, to: u8, how: Answer) {
        let n = self.next();
        let own_out = self.own.and_then(|(_, _, out)| out).is_some();
        if matches!(how, Answer::Nameless | Answer::BrokenNameless) {
            let live = self.got.iter().any(|got| self.is_live(got));
            let passes = if own_out {
                Some(false)
            } else {
                live.then_some(true)
            };
            let now = self.now;
            let timeout = self.splice.config().call_timeout;
            if !own_out {
                self.mark_answered(|got| now < got.at + timeout);
            }
            return self.station_says(answer_text("", how, n), passes);
        }
        if how == Answer::ResultError {
            let id = pick(&self.answered_here, to)
                .cloned()
                .unwrap_or_else(|| format!("?{n}"));
            let passes = !recent(&self.answered_here, &id);
            return self.station_says(answer_text(&id, how, n), Some(passes));
        }
        // Mostly the newest ones.
        let at = self.got.len().saturating_sub(1 + usize::from(to % 16));
        let Some(got) = self.got.get_mut(at) else {
            return self.station_says(answer_text("?", how, n), Some(true));
        };
        let id = got.id.clone();
        self.mark_answered(|got| got.id == id);
        let own = self.owner[&id];
        let mut of_own = self.got.iter().rev().filter(|got| got.own).take(10);
        let is_recent = of_own.any(|got| got.id == id);
        // Of an id that both had, the newer one may be forgotten or through.
        let both = self.got.iter().any(|got| got.id == id && got.own != own);
        let passes = match own {
            true => (is_recent && !both).then_some(false),
            false => Some(true),
        };
        self.station_says(answer_text(&id, how, n), passes);
    }

    /// Notes an answer to the oldest CALL of the CSMS of which `is` says so.
    fn mark_answered(&mut self, is: impl Fn(&Got) -> bool) {
        let oldest = |known: bool| {
            let mut all = self.got.iter();
            all.position(|got| !got.own && !got.answered && is(got) && (!known || self.may_be_known(got)))
        };
        if let Some(at) = oldest(true).or_else(|| oldest(false)) {
            self.got[at].answered = true;
        }
    }

    /// Of very many without an answer the oldest are forgotten.
    fn may_be_known(&self, got: &Got) -> bool {
        self.delivered - got.number < 32
    }

    fn station_other(&mut self, other: Other) {
        let n = self.next();
        let text = other_text(other, n);
        match other {
            Other::Vendor => {
                self.unanswered.insert(format!("o{n}"));
                let refused =
                    self.boot != Boot::Accepted || self.booting(self.now) || self.incoming.len() >= 4;
                self.station_says(text, Some(false));
                assert_eq!(!self.unanswered.contains(&format!("o{n}")), refused, "o{n}");
            }
            Other::VendorSend => self.station_says(text, Some(false)),
            _ => self.station_says(text, Some(true)),
        }
    }

    fn own_call(&mut self, kind: Kind) {
        let taken = self.splice.call(
            self.now,
            kind,
            raw(&format!(r#"{{"vendorId":"{VENDOR}","own":1}}"#)),
        );
        assert_eq!(taken.is_ok(), self.own.is_none());
        if taken.is_ok() {
            self.own = Some((kind, self.now, None));
        }
        self.settle();
    }

    fn wait(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            let due = self.splice.poll_timeout().filter(|due| *due <= end);
            self.now = due.unwrap_or(end).max(self.now);
            self.splice.handle_timeout(self.now);
            self.settle();
            if due.is_none() {
                return;
            }
            assert_ne!(self.splice.poll_timeout(), due, "time stands still");
        }
    }

    fn is_live(&self, got: &Got) -> bool {
        !got.own && !got.answered && self.now < got.at + self.splice.config().call_timeout
    }

    fn booting(&self, now: Duration) -> bool {
        self.booting.as_ref().is_some_and(|(_, deadline)| now < *deadline)
    }

    /// Takes all that comes out, and looks at it.
    fn settle(&mut self) {
        while let Some(event) = self.splice.poll_event() {
            match event {
                Event::DataTransfer { call, payload } => {
                    assert!(payload.get().contains("VENDOR"));
                    self.incoming.push_back(call);
                    assert!(self.incoming.len() <= 4);
                }
                Event::Ended(_) => {
                    assert!(self.own.take().is_some(), "an own call ended twice");
                }
                Event::Booted(boot) => assert_eq!(boot, self.boot),
                Event::Kept(_) => {}
            }
        }
        while let Some(text) = self.splice.poll_station() {
            self.station_gets(text);
        }
        assert_eq!(
            self.splice.poll_csms(),
            None,
            "the CSMS got something out of nothing"
        );
        if self.own.is_none_or(|(_, _, out)| out.is_none()) {
            assert!(self.expected.is_empty(), "held for nothing: {:?}", self.expected);
        }
        if let Some((kind, asked, out)) = self.own {
            let timeout = self.splice.config().call_timeout;
            assert!(
                out.is_none_or(|out| self.now < out + timeout),
                "an own call that does not end"
            );
            let late = self.now >= asked + self.splice.config().notify_within;
            assert!(
                !(late && kind == Kind::Notify && out.is_none()),
                "a notify that waits too long"
            );
        }
    }

    fn station_gets(&mut self, text: String) {
        if let Some(at) = self.at_once.iter().position(|answer| *answer == text) {
            self.at_once.remove(at);
            return;
        }
        if self.expected.front() == Some(&text) {
            self.expected.pop_front();
            self.delivered += 1;
            let out = self.own.is_some_and(|(_, _, out)| out.is_some());
            assert!(!out, "a message of the CSMS beside an own call: {text}");
            if let Ok(Frame::Call { id, .. }) = Frame::parse(&text) {
                self.remember(id.into_owned(), false);
            }
            return;
        }
        match Frame::parse(&text).expect("what the splice writes can be read") {
            Frame::Call { id, action, payload } => {
                assert!(
                    action == "DataTransfer" && payload.get().contains("\"own\":1"),
                    "{text}"
                );
                let (kind, asked, out) = self.own.expect("a call that nobody asked for");
                assert_eq!(out, None, "sent twice");
                let live = self.got.iter().find(|got| self.is_live(got));
                assert!(
                    live.is_none(),
                    "two CALLs at a time: {:?}",
                    live.map(|got| &got.id)
                );
                assert!(!self.booting(self.now), "a call during the boot");
                assert_ne!(
                    self.boot,
                    Boot::Rejected,
                    "a call to a station that does not answer"
                );
                self.own = Some((kind, asked, Some(self.now)));
                self.own_calls += 1;
                let in_use = |got: &Got| got.id == *id && !got.answered && !got.own;
                let open = self
                    .got
                    .iter()
                    .find(|got| in_use(got) && self.delivered - got.number < 32);
                assert!(open.is_none(), "a message id that the CSMS has in use");
                self.remember(id.into_owned(), true);
            }
            Frame::CallResult { id, .. } => self.is_answered_here(&id),
            Frame::CallError(failure) => self.is_answered_here(&failure.id),
            _ => panic!("out of order, or out of nothing: {text}"),
        }
    }

    fn is_answered_here(&mut self, id: &str) {
        assert!(self.unanswered.remove(id), "an answer to nothing: {id}");
        self.answered_here.push(id.into());
    }

    fn remember(&mut self, id: String, own: bool) {
        self.owner.insert(id.clone(), own);
        self.got.push(Got {
            id,
            own,
            at: self.now,
            number: self.delivered,
            answered: false,
        });
    }
}

fn raw(text: &str) -> Box<RawValue> {
    RawValue::from_string(text.into()).unwrap()
}

fn pick(ids: &[String], to: u8) -> Option<&String> {
    ids.get(ids.len().checked_sub(1 + usize::from(to % 4))?)
}

fn recent(ids: &[String], id: &str) -> bool {
    ids.iter().rev().take(10).any(|recent| recent == id)
}

fn answer_text(id: &str, how: Answer, n: u32) -> String {
    match how {
        Answer::Result => format!(r#"[3,"{id}", {{"n":{n}}}]"#),
        Answer::Boot(boot) => format!(r#"[3,"{id}",{{"status":"{boot:?}","n":{n}}}]"#),
        Answer::Error => format!(r#"[4,"{id}","GenericError","{n}",{{}}]"#),
        Answer::ResultError => format!(r#"[5,"{id}","GenericError","{n}",{{}}]"#),
        Answer::Nameless => format!(r#"[4,"-1","RpcFrameworkError","{n}",{{}}]"#),
        Answer::Broken => format!(r#"[3,"{id}",{{"n":{n}}},"#),
        Answer::BrokenNameless => format!(r#"[3,{n},{{}}]"#),
    }
}

fn other_text(other: Other, n: u32) -> String {
    match other {
        Other::Vendor => format!(
            r#"[2,"o{n}","DataTransfer",{{"data":"VENDOR","vendorId":"{}"}}]"#,
            VENDOR.to_ascii_uppercase()
        ),
        Other::VendorSend => format!(r#"[6,"o{n}","DataTransfer",{{"vendorId":"{VENDOR}"}}]"#),
        Other::Send => format!(r#"[6,"x{n}","NotifyPeriodicEventStream",{{ }}]"#),
        Other::Garbage => format!("{{{n}"),
        Other::BrokenCall => format!(r#"[2,"x{n}","Heartbeat"]"#),
    }
}
