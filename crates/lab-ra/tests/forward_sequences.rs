//! Any sequence of messages through an RA that passes on, good and bad, repeated and damaged, with losses on both legs,
//! restarts of either side, decisions, revocations and jumps in time: nothing passes that must not, no request is asked for
//! twice, and whoever was told to wait gets an answer.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    unreachable_pub,
    dead_code
)]

mod chain;
mod client;

use chain::Chain;
use client::{Client, Credential, NOW_S, cert_conf, key, nested, poll_req, request, serial};
use cmp_http::Error;
use cmp_message::{
    BodyType, CertOrEncCert, ErrorMsgContent, PkiBody, PkiFailure, PkiMessage, PkiStatus, PkiStatusInfo, Raw,
    crl::Crl, crypto::aws_lc::SoftKey,
};
use lab_ra::{
    Approval, CertificateStatus, Endpoint, Forward, PollAfter, RevocationReason, Step as Taken, WithoutCrl,
};
use proptest::prelude::*;
use std::{
    collections::{HashMap, HashSet},
    sync::LazyLock,
};

static KEY: LazyLock<SoftKey> = LazyLock::new(key);
/// How long the RA keeps what waits.
const KEEP_S: u64 = 30 * 86_400;

/// Where a message is lost, or the RA with it.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Loss {
    None,
    /// The server behind cannot be reached.
    Unreachable,
    /// It has the message, and its answer is lost.
    AnswerBehind,
    /// The RA ends while it waits for the answer.
    Ra,
    /// The end entity does not get the answer.
    Answer,
}

#[derive(Clone, Copy, Debug)]
enum Ask {
    Good,
    /// Without a proof of possession.
    NoProof,
    /// Two requests in one.
    Two,
}

#[derive(Clone, Debug)]
enum Step {
    Ask {
        client: usize,
        what: Ask,
        in_front: bool,
        loss: Loss,
    },
    Poll {
        client: usize,
        loss: Loss,
    },
    Confirm {
        client: usize,
        loss: Loss,
    },
    GiveUp {
        client: usize,
    },
    Replay {
        message: usize,
    },
    Damage {
        message: usize,
        at: usize,
        bits: u8,
    },
    Carry {
        lose: bool,
    },
    ArriveAgain {
        answer: usize,
    },
    Decide {
        grant: bool,
    },
    Revoke {
        client: usize,
    },
    Wait {
        seconds: u64,
    },
    RestartRa,
    RestartCa,
}

fn step() -> impl Strategy<Value = Step> {
    let client = 0..CLIENTS;
    let loss = || {
        prop_oneof![
            4 => Just(Loss::None),
            1 => Just(Loss::Unreachable),
            2 => Just(Loss::AnswerBehind),
            1 => Just(Loss::Ra),
            1 => Just(Loss::Answer),
        ]
    };
    let ask = prop_oneof![5 => Just(Ask::Good), 1 => Just(Ask::NoProof), 1 => Just(Ask::Two)];
    prop_oneof![
        6 => (client.clone(), ask, prop::bool::weighted(0.2), loss())
            .prop_map(|(client, what, in_front, loss)| Step::Ask { client, what, in_front, loss }),
        6 => (client.clone(), loss()).prop_map(|(client, loss)| Step::Poll { client, loss }),
        4 => (client.clone(), loss()).prop_map(|(client, loss)| Step::Confirm { client, loss }),
        1 => client.clone().prop_map(|client| Step::GiveUp { client }),
        3 => (0..50usize).prop_map(|message| Step::Replay { message }),
        3 => (0..50usize, any::<usize>(), 1..=255u8)
            .prop_map(|(message, at, bits)| Step::Damage { message, at, bits }),
        4 => prop::bool::weighted(0.2).prop_map(|lose| Step::Carry { lose }),
        2 => (0..50usize).prop_map(|answer| Step::ArriveAgain { answer }),
        3 => prop::bool::weighted(0.8).prop_map(|grant| Step::Decide { grant }),
        1 => client.prop_map(|client| Step::Revoke { client }),
        2 => prop_oneof![4 => 1..3_000u64, 1 => Just(KEEP_S + 1)].prop_map(|seconds| Step::Wait { seconds }),
        1 => Just(Step::RestartRa),
        1 => Just(Step::RestartCa),
    ]
}

const CLIENTS: usize = 4;

#[derive(Clone, Copy, Debug)]
struct Choices {
    forward: Forward,
    by_files: bool,
    by_person: bool,
    ca_polls: bool,
}

fn choices() -> impl Strategy<Value = Choices> {
    let forward = prop::sample::select(Forward::ALL.to_vec());
    let (by_files, by_person) = (prop::bool::weighted(0.4), prop::bool::weighted(0.6));
    (forward, by_files, by_person, any::<bool>()).prop_map(|(forward, by_files, by_person, ca_polls)| {
        Choices {
            forward,
            by_files,
            by_person,
            ca_polls,
        }
    })
}

/// What an end entity knows of its transaction.
#[derive(Clone, Debug, PartialEq)]
enum Knows {
    Nothing,
    /// It was told to wait.
    Waits,
    Has(Vec<u8>),
    /// It is over, well or not.
    Over,
}

struct Run {
    /// Taken out only while it restarts.
    chain: Option<Chain>,
    choices: Choices,
    now_s: u64,
    clients: Vec<Client>,
    knows: Vec<Knows>,
    local_ra: Client,
    sent: Vec<Vec<u8>>,
    /// Answers that came as files.
    carried: Vec<Vec<u8>>,
    /// Transactions that must never pass, and those that a person has granted.
    forbidden: HashSet<Vec<u8>>,
    granted: HashSet<Vec<u8>>,
    /// Of pending requests by their number.
    asked_person: HashMap<u64, Vec<u8>>,
    revoked: HashSet<usize>,
    /// How often a request of a transaction has reached the server behind.
    passed: HashMap<Vec<u8>, usize>,
    /// Transactions in which something was lost that nobody can know about, or that took too long.
    excused: HashSet<Vec<u8>>,
    certificates: usize,
}

impl Run {
    fn new(choices: Choices) -> Self {
        let mut chain = Chain::with(
            choices.forward,
            |forward| {
                forward.delayed_check_after_s = choices.by_files.then_some(9);
                forward.without_crl = WithoutCrl::Accept;
                forward.keep_s = KEEP_S;
            },
            |ra| {
                if choices.by_person {
                    ra.approval = Approval::Person;
                }
            },
            |ca| {
                ca.confirm_wait_s = 10 * KEEP_S;
                ca.poll_grace_s = 10 * KEEP_S;
                ca.poll_after = choices.ca_polls.then_some(PollAfter {
                    polls: 1,
                    check_after_s: 5,
                });
            },
        );
        let clients = vec![
            chain.station("CS-1"),
            chain.newcomer(),
            Client::with_issued(&chain.ca, "CN=CS-3", false),
            Client::with_issued(&chain.ca, "CN=CS-4", false),
        ];
        let local_ra = Client::with_issued(&chain.ca, "CN=Local RA", true);
        let crl = chain.ca.crl(1, NOW_S).unwrap().unwrap();
        chain.ra.replace_crls(vec![Crl::from_der(crl).unwrap()]);
        Self {
            certificates: chain.ca.store().certificates().unwrap().len(),
            chain: Some(chain),
            choices,
            now_s: NOW_S,
            knows: vec![Knows::Nothing; clients.len()],
            clients,
            local_ra,
            sent: Vec::new(),
            carried: Vec::new(),
            forbidden: HashSet::new(),
            granted: HashSet::new(),
            asked_person: HashMap::new(),
            revoked: HashSet::new(),
            passed: HashMap::new(),
            excused: HashSet::new(),
        }
    }

    fn chain(&mut self) -> &mut Chain {
        self.chain.as_mut().unwrap()
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Ask {
                client,
                what,
                in_front,
                loss,
            } => self.ask(client, what, in_front, loss),
            Step::Poll { client, loss } => self.send(client, poll_req(), loss),
            Step::Confirm { client, loss } => {
                if let Knows::Has(certificate) = self.knows[client].clone() {
                    self.send(client, cert_conf(&certificate), loss);
                }
            }
            Step::GiveUp { client } => {
                // Whatever it hears then.
                self.excuse(client);
                let error = PkiStatusInfo::rejection(PkiFailure::SystemFailure, "");
                let body = PkiBody::Error(ErrorMsgContent::from(error));
                self.send(client, body, Loss::None);
            }
            Step::Replay { message } => self.again(message, |_| {}),
            Step::Damage { message, at, bits } => self.again(message, |message| {
                let at = at % message.len();
                message[at] ^= bits;
            }),
            Step::Carry { lose } => self.carry(lose),
            Step::ArriveAgain { answer } => {
                if !self.carried.is_empty() {
                    let answer = self.carried[answer % self.carried.len()].clone();
                    let now_s = self.now_s;
                    let _ = self.chain().ra.arrive(now_s, &answer).unwrap();
                }
            }
            Step::Decide { grant } => self.decide(grant),
            Step::Revoke { client } => self.revoke(client),
            Step::Wait { seconds } => {
                self.now_s += seconds;
                if seconds > KEEP_S {
                    (0..CLIENTS).for_each(|client| self.excuse(client));
                }
            }
            Step::RestartRa => self.restart_ra(),
            Step::RestartCa => {
                let chain = self.chain.take().unwrap();
                self.chain = Some(chain.restart_ca());
            }
        }
        self.check();
    }

    fn excuse(&mut self, client: usize) {
        let id = self.clients[client].transaction_id.to_vec();
        self.excused.insert(id);
    }

    fn restart_ra(&mut self) {
        let mut chain = self.chain.take().unwrap().restart();
        let crl = chain.ca.crl(1, NOW_S).unwrap().unwrap();
        chain.ra.replace_crls(vec![Crl::from_der(crl).unwrap()]);
        self.chain = Some(chain);
    }

    fn ask(&mut self, client: usize, what: Ask, in_front: bool, loss: Loss) {
        self.clients[client].begin();
        self.knows[client] = Knows::Nothing;
        let subject = format!("CN=CS-{}", client + 1);
        let good = request(&KEY, &subject, |_| {});
        let body = match what {
            Ask::Good => vec![good],
            Ask::NoProof => vec![cmp_message::CertReqMsg { popo: None, ..good }],
            Ask::Two => vec![good.clone(), good],
        };
        let id = self.clients[client].transaction_id.to_vec();
        if !matches!(what, Ask::Good) || self.revoked.contains(&client) {
            self.forbidden.insert(id);
        }
        let message = self.clients[client].message(PkiBody::Ir(body), |_| {});
        let message = match in_front {
            false => message,
            true => {
                let inner = PkiMessage::peek_header(&message).unwrap();
                self.local_ra.message(nested(&[message]), |header| {
                    header.transaction_id = inner.transaction_id.clone();
                    header.sender_nonce = inner.sender_nonce.clone();
                })
            }
        };
        self.post(client, message, loss);
    }

    fn send(&mut self, client: usize, body: PkiBody, loss: Loss) {
        let message = self.clients[client].message(body, |_| {});
        self.post(client, message, loss);
    }

    fn post(&mut self, client: usize, message: Vec<u8>, loss: Loss) {
        self.sent.push(message.clone());
        let Some(answer) = self.pass(&message, loss) else {
            return;
        };
        if loss != Loss::Answer {
            self.hear(client, &answer);
        }
    }

    /// Through the RA, with a loss on the way. `None`: the RA has ended.
    fn pass(&mut self, message: &[u8], loss: Loss) -> Option<PkiMessage> {
        let now_s = self.now_s;
        let asked = match self.chain().ra.take(now_s, &Endpoint::default(), message) {
            Taken::Answer(answer) => return Some(PkiMessage::from_bytes(&answer).unwrap()),
            Taken::Forward(asked) => asked,
            Taken::Batch(batch) => panic!("{batch:?}"),
        };
        let id = id_of(&asked.message);
        let response = match loss {
            Loss::Unreachable => {
                if !is_poll_req(message) {
                    self.excused.insert(id);
                }
                Err(Error::ConnectTimeout.into())
            }
            Loss::Ra => {
                self.excused.insert(id);
                self.behind(&asked.message);
                self.restart_ra();
                return None;
            }
            Loss::AnswerBehind => {
                self.excused.insert(id);
                self.behind(&asked.message);
                Err(Error::BrokeOff.into())
            }
            Loss::None | Loss::Answer => Ok(self.behind(&asked.message)),
        };
        // What goes on with a transaction behind and does not get there ends it here, too.
        if matches!(loss, Loss::Unreachable) && !is_request(&asked.message) {
            self.excused.insert(id_of(&asked.message));
        }
        let answer = self.chain().ra.give(now_s, &asked.ticket, response);
        Some(PkiMessage::from_bytes(&answer).unwrap())
    }

    /// What the server behind says to a message, which had to be one that may pass.
    fn behind(&mut self, message: &[u8]) -> Vec<u8> {
        let (outer, inner) = open(message);
        let inner = inner.as_ref().unwrap_or(&outer);
        let id = inner.header.transaction_id.as_ref().unwrap().as_bytes().to_vec();
        if let PkiBody::Ir(content) = &*inner.body {
            assert_eq!(content.len(), 1);
            assert!(content[0].popo.is_some());
            assert!(!self.forbidden.contains(&id), "what is forbidden has passed");
            assert!(
                !self.choices.by_person || self.granted.contains(&id),
                "what nobody has granted has passed"
            );
            let count = self.passed.entry(id).or_default();
            *count += 1;
            assert_eq!(*count, 1, "a request was asked for twice");
        }
        let now_s = self.now_s;
        self.chain().ca.handle(now_s, message)
    }

    fn hear(&mut self, client: usize, answer: &PkiMessage) {
        assert!(answer.protection.is_some());
        let nonce = answer.header.sender_nonce.as_ref();
        self.clients[client].recip_nonce = nonce.map(|nonce| nonce.as_bytes().to_vec());
        let before = self.knows[client].clone();
        self.knows[client] = match &*answer.body {
            PkiBody::PollRep(_) => Knows::Waits,
            PkiBody::Ip(content) => match content.response[0].certified_key_pair.as_ref() {
                Some(pair) => {
                    let CertOrEncCert::Certificate(certificate) = &pair.cert_or_enc_cert else {
                        panic!("{pair:?}");
                    };
                    Knows::Has(certificate.as_bytes().to_vec())
                }
                None if content.response[0].status.status == PkiStatus::WAITING => Knows::Waits,
                None => Knows::Over,
            },
            PkiBody::Error(content) if content.pki_status_info.status == PkiStatus::WAITING => Knows::Waits,
            PkiBody::PkiConf(_) => Knows::Over,
            // A message that is not expected ends nothing here; what was lost does.
            PkiBody::Error(_) if before == Knows::Waits => {
                let id = self.clients[client].transaction_id.to_vec();
                assert!(
                    self.excused.contains(&id),
                    "whoever was told to wait was let down: {answer:?}"
                );
                Knows::Over
            }
            _ => {
                // Its next message would have the nonce of this error.
                self.excuse(client);
                before
            }
        };
    }

    fn again(&mut self, message: usize, change: impl FnOnce(&mut Vec<u8>)) {
        if self.sent.is_empty() {
            return;
        }
        let mut message = self.sent[message % self.sent.len()].clone();
        change(&mut message);
        self.pass(&message, Loss::None);
    }

    fn carry(&mut self, lose: bool) {
        let now_s = self.now_s;
        for file in self.chain().carry_out(now_s) {
            if lose {
                self.excused.insert(id_of(&file.message));
                continue;
            }
            let answer = self.behind(&file.message);
            self.carried.push(answer.clone());
            let _ = self.chain().ra.arrive(now_s, &answer).unwrap();
        }
    }

    fn decide(&mut self, grant: bool) {
        let pending = self.chain().ra.store().pending_requests().unwrap();
        let Some(first) = pending.first() else { return };
        let id = self.asked_person[&first.number].clone();
        let store = self.chain().ra.store();
        match grant {
            true => {
                assert!(store.approve(first.number).unwrap());
                self.granted.insert(id);
            }
            false => {
                assert!(store.deny(first.number, "no").unwrap());
                self.forbidden.insert(id);
            }
        }
    }

    /// From now on nothing of this client begins; what has passed goes on.
    fn revoke(&mut self, client: usize) {
        let Credential::Signature { certificate, .. } = &self.clients[client].credential else {
            return;
        };
        if client < 2 {
            return;
        }
        let number = serial(certificate);
        let now_s = self.now_s;
        let reason = RevocationReason::KeyCompromise;
        if self.chain().ca.store().revoke(&number, reason, now_s).is_ok() {
            self.revoked.insert(client);
            let id = self.clients[client].transaction_id.to_vec();
            if !self.passed.contains_key(&id) {
                // With carried files it may have left already.
                let is_free = !self.choices.by_person || self.granted.contains(&id);
                let has_left = self.choices.by_files && is_free;
                if !has_left && !self.excused.contains(&id) {
                    self.forbidden.insert(id.clone());
                }
            }
            self.excused.insert(id);
            let crl = self.chain().ca.crl(1, now_s).unwrap().unwrap();
            self.chain().ra.replace_crls(vec![Crl::from_der(crl).unwrap()]);
        }
    }

    fn check(&mut self) {
        let ids: Vec<_> = self
            .clients
            .iter()
            .map(|client| client.transaction_id.to_vec())
            .collect();
        for one in self.chain().ra.store().pending_requests().unwrap() {
            // Its transaction is that of the client that it names.
            let client = one.subject.trim_start_matches("CN=CS-").parse::<usize>().unwrap() - 1;
            self.asked_person
                .entry(one.number)
                .or_insert_with(|| ids[client].clone());
        }
        let issued = self.chain().ca.store().certificates().unwrap().len() - self.certificates;
        assert!(issued <= self.passed.len(), "{issued} certificates");
    }

    /// From here on nothing is lost: whoever waits gets an answer, whoever has a certificate can confirm it.
    fn settle(&mut self) {
        while !self.chain().ra.store().pending_requests().unwrap().is_empty() {
            self.decide(true);
        }
        for client in 0..CLIENTS {
            let id = self.clients[client].transaction_id.to_vec();
            for _ in 0..8 {
                if self.knows[client] != Knows::Waits {
                    break;
                }
                self.send(client, poll_req(), Loss::None);
                self.carry(false);
                self.check();
            }
            if self.excused.contains(&id) {
                continue;
            }
            assert_ne!(self.knows[client], Knows::Waits, "client {client} waits for ever");
            let Knows::Has(certificate) = self.knows[client].clone() else {
                continue;
            };
            self.send(client, cert_conf(&certificate), Loss::None);
            for _ in 0..8 {
                if self.knows[client] == Knows::Over {
                    break;
                }
                self.carry(false);
                self.send(client, poll_req(), Loss::None);
            }
            let status = self.chain().ca.store().status(&serial(&certificate)).unwrap();
            assert_eq!(status, Some(CertificateStatus::Confirmed));
        }
    }
}

fn open(message: &[u8]) -> (PkiMessage, Option<PkiMessage>) {
    let outer = PkiMessage::from_bytes(message).unwrap();
    let inner = match &*outer.body {
        PkiBody::Nested(content) => {
            let inner: Vec<Raw> = content.parse().unwrap();
            Some(PkiMessage::from_bytes(inner[0].as_bytes()).unwrap())
        }
        _ => None,
    };
    (outer, inner)
}

fn id_of(message: &[u8]) -> Vec<u8> {
    let header = PkiMessage::peek_header(message).unwrap();
    header.transaction_id.unwrap().as_bytes().to_vec()
}

fn is_poll_req(message: &[u8]) -> bool {
    PkiMessage::from_bytes(message).unwrap().body.body_type() == BodyType::PollReq
}

fn is_request(message: &[u8]) -> bool {
    let (outer, inner) = open(message);
    inner.as_ref().unwrap_or(&outer).body.body_type() == BodyType::Ir
}

fn run(steps: Vec<Step>, choices: Choices) -> Run {
    let mut run = Run::new(choices);
    for step in steps {
        run.step(step);
    }
    run.settle();
    run
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_sequence_passes_what_must_not_asks_twice_or_loses_what_was_accepted(
        steps in prop::collection::vec(step(), 1..60),
        choices in choices(),
    ) {
        run(steps, choices);
    }
}

#[test]
fn the_steps_do_reach_certificates_each_way() {
    for forward in Forward::ALL {
        for by_files in [false, true] {
            for by_person in [false, true] {
                let ask = |client, in_front| Step::Ask {
                    client,
                    what: Ask::Good,
                    in_front,
                    loss: Loss::None,
                };
                let steps = vec![
                    ask(0, false),
                    ask(1, false),
                    ask(2, true),
                    Step::RestartRa,
                    ask(3, true),
                ];
                let choices = Choices {
                    forward,
                    by_files,
                    by_person,
                    ca_polls: true,
                };
                let run = run(steps, choices);
                assert_eq!(run.passed.len(), 4, "{choices:?}");
            }
        }
    }
}
