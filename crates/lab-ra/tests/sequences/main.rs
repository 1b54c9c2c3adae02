//! Any sequence of messages of every kind, honest, repeated, reordered, damaged, lost, and of somebody else, at any time, with
//! restarts, decisions and revocations in between: the server never fails, grants nothing that the transaction does not
//! allow, what is over does not come back, no request gets two certificates, and the CRL has what it should.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    unreachable_pub
)]

#[path = "../client/mod.rs"]
mod client;
mod model;

use client::*;
use cmp_message::{
    BodyType, CertOrEncCert, ErrorMsgContent, InfoTypeAndValue, PkiBody, PkiFailure, PkiMessage,
    PkiStatusInfo,
    certificate::Certificate,
    crl::Crl,
    crypto::{AwsLc, HashAlgorithm, KeyAlgorithm, aws_lc::SoftKey},
    general,
    mac::{MacAlgorithm, Secret},
};
use lab_ra::{
    Approval, CertificateStatus as Status, ImplicitConfirm, Pki, PollAfter, Ra, RaConfig, RevocationReason,
    Store,
};
use model::Model;
use proptest::prelude::*;
use std::{
    collections::{HashMap, HashSet},
    sync::{LazyLock, Mutex},
};
use tempfile::TempDir;

static KEY: LazyLock<SoftKey> = LazyLock::new(key);
const CHECK_AFTER_S: u32 = 5;

/// An RA on disk that may lose its process between any two messages.
struct Lab {
    folder: TempDir,
    config: RaConfig,
    ra: Option<Ra>,
    /// What became of each certificate so far, and whether that was a hold.
    certificates: HashMap<Vec<u8>, (Status, bool)>,
    /// What may be granted.
    model: Model,
}

impl Lab {
    fn new(config: RaConfig) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let pki = Pki::generate(KeyAlgorithm::P256, NOW_S).unwrap();
        pki.save(folder.path()).unwrap();
        let mut lab = Self {
            folder,
            config,
            ra: None,
            certificates: HashMap::new(),
            model: Model::default(),
        };
        lab.restart();
        lab
    }

    fn restart(&mut self) {
        let open = self.ra.take().map(|ra| ra.store().open_transaction_count());
        let pki = Pki::load(self.folder.path()).unwrap();
        let store = Store::open(&self.folder.path().join("state.sqlite")).unwrap();
        assert!(open.is_none_or(|open| open == store.open_transaction_count()));
        self.ra = Some(Ra::new(pki, self.config.clone(), store).unwrap());
    }

    fn ra(&self) -> &Ra {
        self.ra.as_ref().unwrap()
    }

    fn handle(&mut self, now_s: u64, message: &[u8]) -> PkiMessage {
        let ra = self.ra.as_mut().unwrap();
        let answer = PkiMessage::from_bytes(&ra.handle(now_s, message)).unwrap();
        assert!(answer.protection.is_some());
        if let PkiBody::Error(content) = &*answer.body {
            // A second certificate for one transaction is an error of the database.
            assert!(!content.pki_status_info.contains(PkiFailure::SystemFailure));
        }
        self.model.judge(now_s, message, &answer);
        self.check_certificates();
        answer
    }

    /// The CRL has what is refused, expired or revoked, and nothing else.
    fn check_crl(&mut self, now_s: u64) {
        let crl = self.ra.as_mut().unwrap().crl(1, now_s).unwrap().unwrap();
        let crl = Crl::from_der(crl).unwrap();
        let issuer = Certificate::from_der(self.ra().pki().ca.certificate()).unwrap();
        crl.verify(&AwsLc, &issuer, Some(now_s)).unwrap();
        let gone = [Status::Refused, Status::Expired, Status::Revoked];
        let all = self.ra().store().certificates().unwrap();
        let expected = all.iter().filter(|one| gone.contains(&one.status));
        let expected: HashSet<_> = expected.map(|one| one.serial.as_slice()).collect();
        assert_eq!(crl.serial_numbers().collect::<HashSet<_>>(), expected);
    }

    /// Each certificate was asked for, in a transaction of its own, and what was not confirmed in time is not waited for.
    fn check_requests(&self, now_s: u64) {
        let mut transactions = HashSet::new();
        for record in self.ra().store().certificates().unwrap() {
            let Some(id) = record.transaction_id else {
                continue;
            };
            assert!(
                self.model.requested.contains(&id),
                "nobody asked for a certificate"
            );
            assert!(transactions.insert(id), "two certificates in a transaction");
            let is_delayed = self.config.delayed.contains(&BodyType::CertConf);
            let is_in_time = record.changed_s + self.config.confirm_wait_s >= now_s;
            assert!(record.status != Status::Issued || is_delayed || is_in_time);
        }
    }

    fn check_certificates(&mut self) {
        for record in self.ra().store().certificates().unwrap() {
            let is_held = record.reason == Some(RevocationReason::CertificateHold);
            let now = (record.status, is_held);
            let Some(before) = self.certificates.insert(record.serial, now) else {
                continue;
            };
            let may_change = match before {
                // A hold ends in a confirmed certificate.
                (Status::Issued, _) => now != (Status::Revoked, true),
                // Only a hold ends; all else stays as it is once it is settled.
                (Status::Confirmed, _) => now.0 == Status::Revoked,
                (Status::Revoked, true) => now.0 == Status::Confirmed || now.0 == Status::Revoked,
                _ => false,
            };
            assert!(before == now || may_change, "{before:?} became {now:?}");
        }
    }
}

/// What a client asks for.
#[derive(Clone, Copy, Debug)]
enum Ask {
    Ir,
    Cr,
    P10cr,
    Kur,
    Rr(u8),
    Genm,
}

#[derive(Clone, Debug)]
enum Step {
    Ask {
        client: usize,
        what: Ask,
        implicit: bool,
    },
    /// An ir, and what an honest client does then; the answers of these bits do not arrive.
    Enroll {
        client: usize,
        lost: u8,
    },
    Confirm {
        client: usize,
        right: bool,
    },
    Poll {
        client: usize,
        all: bool,
    },
    GiveUp {
        client: usize,
    },
    Nest {
        client: usize,
    },
    /// A message of one client in the transaction of another.
    Meddle {
        client: usize,
        victim: usize,
        confirm: bool,
    },
    /// The client's next answer does not arrive; its certificate becomes known all the same.
    Lose {
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
    Wait {
        seconds: u64,
    },
    Decide {
        grant: bool,
    },
    /// Of the certificates the last, the one before, and so on.
    Revoke {
        certificate: usize,
        reason: RevocationReason,
    },
    Restart,
}

fn ask() -> impl Strategy<Value = Ask> {
    prop_oneof![
        4 => Just(Ask::Ir),
        1 => Just(Ask::Cr),
        2 => Just(Ask::P10cr),
        2 => Just(Ask::Kur),
        2 => prop::sample::select(vec![0, 1, 6, 8, 7]).prop_map(Ask::Rr),
        1 => Just(Ask::Genm),
    ]
}

fn revocation_reason() -> impl Strategy<Value = RevocationReason> {
    prop::sample::select(vec![
        RevocationReason::KeyCompromise,
        RevocationReason::CertificateHold,
        RevocationReason::RemoveFromCrl,
    ])
}

fn step() -> impl Strategy<Value = Step> {
    let client = 0..4usize;
    let index = any::<prop::sample::Index>().prop_map(|index| index.index(100_000));
    prop_oneof![
        6 => (client.clone(), ask(), any::<bool>())
            .prop_map(|(client, what, implicit)| Step::Ask { client, what, implicit }),
        3 => (client.clone(), any::<u8>()).prop_map(|(client, lost)| Step::Enroll { client, lost }),
        5 => (client.clone(), prop::bool::weighted(0.85))
            .prop_map(|(client, right)| Step::Confirm { client, right }),
        5 => (client.clone(), any::<bool>()).prop_map(|(client, all)| Step::Poll { client, all }),
        1 => client.clone().prop_map(|client| Step::GiveUp { client }),
        1 => client.clone().prop_map(|client| Step::Nest { client }),
        2 => (client.clone(), client, any::<bool>())
            .prop_map(|(client, victim, confirm)| Step::Meddle { client, victim, confirm }),
        4 => (0..4usize).prop_map(|client| Step::Lose { client }),
        4 => index.clone().prop_map(|message| Step::Replay { message }),
        2 => (index.clone(), index.clone(), 1..=255u8)
            .prop_map(|(message, at, bits)| Step::Damage { message, at, bits }),
        2 => prop_oneof![1..20u64, 200..400u64, 3_000..10_000u64].prop_map(|seconds| Step::Wait { seconds }),
        2 => prop::bool::weighted(0.8).prop_map(|grant| Step::Decide { grant }),
        3 => (0..3usize, revocation_reason())
            .prop_map(|(certificate, reason)| Step::Revoke { certificate, reason }),
        1 => Just(Step::Restart),
    ]
}

/// Two stations with manufacturer certificates, one with a secret, one with a certificate of the CA.
fn clients(ra: &Ra) -> [Client; 4] {
    [
        Client::with_idevid(ra, "CS-1"),
        Client::with_idevid(ra, "CS-2"),
        Client::with_secret(
            ra,
            "s3cret",
            MacAlgorithm::PasswordBasedMac {
                owf: HashAlgorithm::Sha256,
                mac: HashAlgorithm::Sha256,
                iterations: 100,
                salt: vec![7; 16],
            },
        ),
        Client::with_issued(ra, "CN=CS-1", false),
    ]
}

/// The certificate in an answer, if there is one.
fn certificate(answer: &PkiMessage) -> Option<Vec<u8>> {
    let (PkiBody::Ip(content) | PkiBody::Cp(content) | PkiBody::Kup(content)) = &*answer.body else {
        return None;
    };
    let pair = content.response.first()?.certified_key_pair.as_ref()?;
    match &pair.cert_or_enc_cert {
        CertOrEncCert::Certificate(raw) => Some(raw.as_bytes().to_vec()),
        CertOrEncCert::EncryptedCert(_) => None,
    }
}

/// What a client asks with; `own` is a certificate that it knows.
fn body(what: Ask, own: &[u8]) -> PkiBody {
    match what {
        Ask::Ir => PkiBody::Ir(vec![request(&KEY, "CN=CS-1", |_| {})]),
        Ask::Cr => PkiBody::Cr(vec![request(&KEY, "CN=CS-1", |_| {})]),
        Ask::P10cr => p10cr(&KEY, "CN=CS-1", |_| {}),
        Ask::Kur => {
            let old = Certificate::from_der(own).unwrap();
            PkiBody::Kur(vec![update(&KEY, "CN=CS-1", &old)])
        }
        Ask::Rr(reason) => rr(own, Some(reason)),
        Ask::Genm => genm(InfoTypeAndValue::absent(general::CA_CERTS)),
    }
}

/// A run, and what it has come to.
struct Run {
    lab: Lab,
    clients: [Client; 4],
    /// The last certificate of each client, and whether it was asked for with p10cr.
    certificates: [Option<Vec<u8>>; 4],
    is_p10cr: [bool; 4],
    own: Vec<u8>,
    outer: Client,
    sent: Vec<Vec<u8>>,
    now_s: u64,
    requests: usize,
    is_lost: [bool; 4],
    seen: HashMap<BodyType, usize>,
}

impl Run {
    fn new(config: RaConfig) -> Self {
        let lab = Lab::new(config);
        let clients = clients(lab.ra());
        let Credential::Signature { certificate, .. } = &clients[3].credential else {
            panic!("the last one has a certificate");
        };
        let own = certificate.clone();
        let outer = Client::with_issued(lab.ra(), "CN=RA", true);
        Self {
            lab,
            clients,
            certificates: [const { None }; 4],
            is_p10cr: [false; 4],
            own,
            outer,
            sent: Vec::new(),
            now_s: NOW_S,
            requests: 0,
            is_lost: [false; 4],
            seen: HashMap::new(),
        }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Wait { seconds } => self.now_s += seconds,
            Step::Restart => {
                self.lab.check_crl(self.now_s);
                self.lab.restart();
            }
            Step::Lose { client } => self.is_lost[client] = true,
            Step::Meddle {
                client,
                victim,
                confirm,
            } => {
                let body = match (confirm, self.certificates[victim].as_deref()) {
                    (true, Some(certificate)) => cert_conf(certificate),
                    _ => poll_req_all(),
                };
                let own = (
                    self.clients[client].transaction_id,
                    self.clients[client].recip_nonce.clone(),
                );
                self.clients[client].transaction_id = self.clients[victim].transaction_id;
                self.clients[client].recip_nonce = self.clients[victim].recip_nonce.clone();
                let message = self.clients[client].message(body, |_| {});
                (
                    self.clients[client].transaction_id,
                    self.clients[client].recip_nonce,
                ) = own;
                self.lab.model.made(&message);
                self.lab.handle(self.now_s, &message);
                self.sent.push(message);
            }
            Step::Decide { grant } => self.decide(grant),
            Step::Revoke { certificate, reason } => self.revoke(certificate, reason),
            Step::Replay { message } if !self.sent.is_empty() => {
                let message = self.sent[message % self.sent.len()].clone();
                self.lab.handle(self.now_s, &message);
            }
            Step::Damage { message, at, bits } if !self.sent.is_empty() => {
                let mut message = self.sent[message % self.sent.len()].clone();
                let at = at % message.len();
                message[at] ^= bits;
                self.lab.handle(self.now_s, &message);
            }
            Step::Replay { .. } | Step::Damage { .. } => {}
            Step::Nest { client } => {
                self.clients[client].begin();
                self.requests += 1;
                let inner = self.clients[client].message(body(Ask::Ir, &self.own), |_| {});
                let header = PkiMessage::peek_header(&inner).unwrap();
                let message = self.outer.message(nested(&[inner]), |outer| {
                    (outer.transaction_id, outer.sender_nonce) = (header.transaction_id, header.sender_nonce);
                });
                self.send(client, message);
                self.is_p10cr[client] = false;
            }
            Step::Ask {
                client,
                what,
                implicit,
            } => {
                // A new transaction most of the time; the old one where the client knows a nonce of it.
                if implicit || self.clients[client].recip_nonce.is_none() {
                    self.clients[client].begin();
                    self.requests += usize::from(!matches!(what, Ask::Rr(_) | Ask::Genm));
                    self.is_p10cr[client] = matches!(what, Ask::P10cr);
                }
                let is_request = !matches!(what, Ask::Rr(_) | Ask::Genm);
                let message = self.clients[client].message(body(what, &self.own), |header| {
                    if implicit && is_request {
                        ask_implicit_confirm(header);
                    }
                });
                self.send(client, message);
            }
            Step::Enroll { client, lost } => {
                self.clients[client].begin();
                self.certificates[client] = None;
                let (what, implicit) = (Ask::Ir, false);
                let mut next = Step::Ask {
                    client,
                    what,
                    implicit,
                };
                for turn in 0..5 {
                    self.is_lost[client] = lost >> turn & 1 == 1;
                    self.step(next);
                    next = match self.certificates[client] {
                        Some(_) => Step::Confirm { client, right: true },
                        None => Step::Poll { client, all: true },
                    };
                }
            }
            Step::Confirm { client, right } => {
                let right = self.certificates[client].clone().filter(|_| right);
                let right = right.unwrap_or_default();
                let body = match self.is_p10cr[client] {
                    true => cert_conf_of_p10cr(&right),
                    false => cert_conf(&right),
                };
                let message = self.clients[client].message(body, |_| {});
                self.send(client, message);
            }
            Step::Poll { client, all } => {
                let body = if all { poll_req_all() } else { poll_req() };
                let message = self.clients[client].message(body, |_| {});
                self.send(client, message);
            }
            Step::GiveUp { client } => {
                let error = PkiStatusInfo::rejection(PkiFailure::SystemFailure, "");
                let body = PkiBody::Error(ErrorMsgContent::from(error));
                let message = self.clients[client].message(body, |_| {});
                self.send(client, message);
            }
        }
        self.lab.check_certificates();
    }

    fn send(&mut self, client: usize, message: Vec<u8>) {
        self.lab.model.made(&message);
        let answer = self.lab.handle(self.now_s, &message);
        self.lab.check_requests(self.now_s);
        *self.seen.entry(answer.body.body_type()).or_default() += 1;
        self.sent.push(message);
        if !std::mem::take(&mut self.is_lost[client]) {
            let nonce = answer.header.sender_nonce.as_ref();
            self.clients[client].recip_nonce = nonce.map(|nonce| nonce.as_bytes().to_vec());
        }
        if let Some(certificate) = certificate(&answer) {
            self.certificates[client] = Some(certificate);
        }
    }

    fn decide(&self, grant: bool) {
        let store = self.lab.ra().store();
        if let Some(first) = store.pending_requests().unwrap().first() {
            let decided = match grant {
                true => store.approve(first.number),
                false => store.deny(first.number, "no"),
            };
            assert!(decided.unwrap());
        }
    }

    fn revoke(&self, certificate: usize, reason: RevocationReason) {
        let store = self.lab.ra().store();
        let all = store.certificates().unwrap();
        let serial = &all[all.len() - 1 - certificate % all.len()].serial;
        // Whether that may be is what the check after each step is about.
        let _ = store.revoke(serial, reason, self.now_s);
    }

    /// How many certificates were asked for and issued; two more were there from the beginning.
    fn issued(&self) -> usize {
        self.lab.certificates.len() - 2
    }
}

fn run(steps: Vec<Step>, config: RaConfig) -> Run {
    let mut run = Run::new(config);
    for step in steps {
        run.step(step);
    }
    run.lab.check_crl(run.now_s);
    run
}

/// The choices of a configuration that change what comes when.
#[derive(Clone, Copy, Debug)]
struct Choices {
    polls: Option<u32>,
    all_delayed: bool,
    by_person: bool,
    grant: bool,
    max_transactions: usize,
}

fn choices() -> impl Strategy<Value = Choices> {
    let polls = prop::option::of(0..3u32);
    (polls, any::<bool>(), any::<bool>(), any::<bool>(), 1..6usize).prop_map(
        |(polls, all_delayed, by_person, grant, max_transactions)| Choices {
            polls,
            all_delayed,
            by_person,
            grant,
            max_transactions,
        },
    )
}

fn config(choices: Choices) -> RaConfig {
    let mut config = RaConfig::default();
    config.poll_after = choices.polls.map(|polls| PollAfter {
        polls,
        check_after_s: CHECK_AFTER_S,
    });
    config.approval_check_after_s = CHECK_AFTER_S;
    if choices.all_delayed {
        config
            .delayed
            .extend([BodyType::Rr, BodyType::Genm, BodyType::CertConf]);
    }
    if choices.by_person {
        config.approval = Approval::Person;
    }
    if !choices.grant {
        config.implicit_confirm = ImplicitConfirm::Ignore;
    }
    config.max_transactions = choices.max_transactions;
    let secret = Secret::new(b"s3cret".to_vec());
    config.secrets.insert(b"r1".to_vec(), secret);
    config
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_sequence_of_messages_gets_two_certificates_for_one_request_or_brings_one_back(
        steps in prop::collection::vec(step(), 1..60),
        choices in choices(),
    ) {
        let run = run(steps, config(choices));
        prop_assert!(run.issued() <= run.requests);
        let open = run.lab.ra().store().open_transaction_count();
        prop_assert!(open <= choices.max_transactions);
    }

    #[test]
    fn any_bytes_get_a_message_for_an_answer(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        static RA: LazyLock<Mutex<Ra>> = LazyLock::new(|| Mutex::new(ra(|_| {})));
        let answer = RA.lock().unwrap().handle(NOW_S, &bytes);
        prop_assert!(PkiMessage::from_bytes(&answer).is_ok());
    }
}

const USUAL: Choices = Choices {
    polls: None,
    all_delayed: false,
    by_person: false,
    grant: false,
    max_transactions: 10,
};

#[test]
fn the_steps_do_reach_certificates_and_replays_get_no_more() {
    let ask = |client, what| Step::Ask {
        client,
        what,
        implicit: false,
    };
    let confirm = |client| Step::Confirm { client, right: true };
    let mut steps = vec![
        ask(0, Ask::Ir),
        ask(1, Ask::P10cr),
        confirm(1),
        ask(2, Ask::Ir),
        ask(3, Ask::Kur),
        Step::Wait { seconds: 9_000 },
        Step::Restart,
    ];
    steps.extend((0..5).map(|message| Step::Replay { message }));
    let run = run(steps, config(USUAL));
    assert_eq!((run.issued(), run.requests), (4, 4));
    let count = |status| {
        run.lab
            .certificates
            .values()
            .filter(|one| one.0 == status)
            .count()
    };
    assert_eq!((count(Status::Confirmed), count(Status::Expired)), (3, 3));
}

#[test]
fn random_steps_do_reach_every_kind_of_answer() {
    use proptest::{strategy::ValueTree, test_runner::TestRunner};
    let mut runner = TestRunner::deterministic();
    let mut seen = HashMap::new();
    for _ in 0..30 {
        let steps = prop::collection::vec(step(), 50)
            .new_tree(&mut runner)
            .unwrap()
            .current();
        let choices = choices().new_tree(&mut runner).unwrap().current();
        for (body, count) in run(steps, config(choices)).seen {
            *seen.entry(body).or_insert(0) += count;
        }
    }
    for body in [
        BodyType::Ip,
        BodyType::Cp,
        BodyType::Kup,
        BodyType::Rp,
        BodyType::Genp,
        BodyType::PkiConf,
        BodyType::PollRep,
        BodyType::Error,
    ] {
        assert!(seen.contains_key(&body), "no {body} in {seen:?}");
    }
}
