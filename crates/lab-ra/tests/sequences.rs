//! Any sequence of messages, honest, repeated, reordered and damaged, at any time: one certificate a request at most.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    unreachable_pub,
    dead_code
)]

mod client;

use client::{Client, NOW_S, ask_implicit_confirm, cert_conf, key, poll_req, request};
use cmp_message::{
    CertOrEncCert, ErrorMsgContent, PkiBody, PkiFailure, PkiMessage, PkiStatusInfo,
    crypto::KeyAlgorithm,
    mac::{MacAlgorithm, Secret},
};
use lab_ra::{CertificateStatus, ImplicitConfirm, Pki, PollAfter, Ra, RaConfig, Store};
use proptest::prelude::*;
use std::{
    collections::HashMap,
    sync::{LazyLock, Mutex},
};
use tempfile::TempDir;

/// An RA on disk that may lose its process between any two messages.
struct Lab {
    folder: TempDir,
    config: RaConfig,
    ra: Option<Ra>,
    /// What became of each certificate so far.
    certificates: HashMap<Vec<u8>, CertificateStatus>,
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
        for record in ra.store().certificates().unwrap() {
            let before = self.certificates.insert(record.serial, record.status);
            let settled = before.filter(|before| *before != CertificateStatus::Issued);
            // A certificate that is over does not come back.
            assert!(settled.is_none_or(|before| before == record.status));
        }
        answer
    }
}

#[derive(Clone, Debug)]
enum Step {
    Request { client: usize, implicit: bool },
    Confirm { client: usize, right: bool },
    Poll { client: usize },
    GiveUp { client: usize },
    Replay { message: usize },
    Damage { message: usize, at: usize, bits: u8 },
    Wait { seconds: u64 },
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    let client = 0..3usize;
    prop_oneof![
        4 => (client.clone(), any::<bool>()).prop_map(|(client, implicit)| Step::Request { client, implicit }),
        4 => (client.clone(), prop::bool::weighted(0.8)).prop_map(|(client, right)| Step::Confirm { client, right }),
        4 => client.clone().prop_map(|client| Step::Poll { client }),
        1 => client.prop_map(|client| Step::GiveUp { client }),
        4 => any::<prop::sample::Index>().prop_map(|i| Step::Replay { message: i.index(1000) }),
        2 => (any::<prop::sample::Index>(), any::<prop::sample::Index>(), 1..=255u8)
            .prop_map(|(m, at, bits)| Step::Damage { message: m.index(1000), at: at.index(100_000), bits }),
        2 => prop_oneof![1..20u64, 200..400u64, 3_000..10_000u64].prop_map(|seconds| Step::Wait { seconds }),
        1 => Just(Step::Restart),
    ]
}

fn clients(ra: &Ra) -> [Client; 3] {
    [
        Client::with_idevid(ra, "CS-1"),
        Client::with_idevid(ra, "CS-2"),
        Client::with_secret(
            ra,
            "s3cret",
            MacAlgorithm::PasswordBasedMac {
                owf: cmp_message::crypto::HashAlgorithm::Sha256,
                mac: cmp_message::crypto::HashAlgorithm::Sha256,
                iterations: 100,
                salt: vec![7; 16],
            },
        ),
    ]
}

/// The certificate in an answer, if there is one.
fn certificate(answer: &PkiMessage) -> Option<Vec<u8>> {
    let (PkiBody::Ip(content) | PkiBody::Cp(content) | PkiBody::Kup(content)) = &*answer.body else {
        return None;
    };
    match &content
        .response
        .first()?
        .certified_key_pair
        .as_ref()?
        .cert_or_enc_cert
    {
        CertOrEncCert::Certificate(raw) => Some(raw.as_bytes().to_vec()),
        CertOrEncCert::EncryptedCert(_) => None,
    }
}

/// Runs the steps; how many certificates were issued, and for how many requests that arrived whole.
fn run(steps: Vec<Step>, config: RaConfig) -> (usize, usize) {
    static KEY: LazyLock<cmp_message::crypto::aws_lc::SoftKey> = LazyLock::new(key);
    let mut lab = Lab::new(config);
    let mut clients = clients(lab.ra());
    let mut requests = 0;
    let mut certificates = [const { None::<Vec<u8>> }; 3];
    let mut sent: Vec<Vec<u8>> = Vec::new();
    let mut now_s = NOW_S;
    for step in steps {
        let (client, message) = match step {
            Step::Wait { seconds } => {
                now_s += seconds;
                continue;
            }
            Step::Restart => {
                lab.restart();
                continue;
            }
            Step::Replay { message } if !sent.is_empty() => (None, sent[message % sent.len()].clone()),
            Step::Damage { message, at, bits } if !sent.is_empty() => {
                let mut bytes = sent[message % sent.len()].clone();
                let at = at % bytes.len();
                bytes[at] ^= bits;
                (None, bytes)
            }
            Step::Replay { .. } | Step::Damage { .. } => continue,
            Step::Request { client, implicit } => {
                // A new transaction most of the time; the old one where the client knows a nonce of it.
                if implicit || clients[client].recip_nonce.is_none() {
                    clients[client].transaction_id = client::random();
                    clients[client].recip_nonce = None;
                    requests += 1;
                }
                let body = PkiBody::Ir(vec![request(&KEY, "CN=CS-1", |_| {})]);
                let message = clients[client].message(body, |header| {
                    if implicit {
                        ask_implicit_confirm(header);
                    }
                });
                (Some(client), message)
            }
            Step::Confirm { client, right } => {
                let right = certificates[client].clone().filter(|_| right).unwrap_or_default();
                (Some(client), clients[client].message(cert_conf(&right), |_| {}))
            }
            Step::Poll { client } => (Some(client), clients[client].message(poll_req(), |_| {})),
            Step::GiveUp { client } => {
                let error = PkiStatusInfo::rejection(PkiFailure::SystemFailure, "");
                let body = PkiBody::Error(ErrorMsgContent::from(error));
                (Some(client), clients[client].message(body, |_| {}))
            }
        };
        let answer = lab.handle(now_s, &message);
        if let Some(client) = client {
            sent.push(message);
            clients[client].recip_nonce = answer.header.sender_nonce.as_ref().map(|n| n.as_bytes().to_vec());
            if let Some(certificate) = certificate(&answer) {
                certificates[client] = Some(certificate);
            }
        }
    }
    (lab.certificates.len(), requests)
}

fn config(polls: Option<u32>, grant: bool, max_transactions: usize) -> RaConfig {
    let mut config = RaConfig::default();
    config.poll_after = polls.map(|polls| PollAfter {
        polls,
        check_after_s: 5,
    });
    config.implicit_confirm = if grant {
        ImplicitConfirm::Grant
    } else {
        ImplicitConfirm::Ignore
    };
    config.max_transactions = max_transactions;
    config
        .secrets
        .insert(b"r1".to_vec(), Secret::new(b"s3cret".to_vec()));
    config
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_sequence_of_messages_gets_two_certificates_for_one_request(
        steps in prop::collection::vec(step(), 1..60),
        polls in prop::option::of(0..3u32),
        grant: bool,
        max_transactions in 1..6usize,
    ) {
        let (issued, requests) = run(steps, config(polls, grant, max_transactions));
        prop_assert!(issued <= requests);
    }

    #[test]
    fn any_bytes_get_a_message_for_an_answer(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        static RA: LazyLock<Mutex<Ra>> = LazyLock::new(|| Mutex::new(client::ra(|_| {})));
        let answer = RA.lock().unwrap().handle(NOW_S, &bytes);
        prop_assert!(PkiMessage::from_bytes(&answer).is_ok());
    }
}

#[test]
fn the_steps_do_reach_issued_certificates() {
    let steps = [0, 1, 2].map(|client| Step::Request {
        client,
        implicit: false,
    });
    let replayed = [0, 1, 2].map(|message| Step::Replay { message });
    let steps = steps
        .into_iter()
        .chain([Step::Wait { seconds: 9_000 }, Step::Restart])
        .chain(replayed)
        .collect();
    assert_eq!(run(steps, config(None, false, 10)), (3, 3));
}
