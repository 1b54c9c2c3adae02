//! A CA behind carried files that ends at any moment: each message has one answer, and it gets there.
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

use client::{Client, NOW_S, cert_conf, issued, key, request};
use cmp_message::{BodyType, PkiBody, crypto::KeyAlgorithm};
use lab_ra::{Pki, Ra, RaConfig, Spool, Store, Tray, answer_spool};
use std::{fs, path::Path};

/// The steps of answering a file.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
enum Step {
    Answered,
    Written,
    Removed,
    Forgotten,
}

struct Lab {
    folder: tempfile::TempDir,
    spool: Spool,
}

impl Lab {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let pki = Pki::generate(KeyAlgorithm::P256, NOW_S).unwrap();
        pki.save(&folder.path().join("ca")).unwrap();
        let spool = Spool::open(&folder.path().join("spool")).unwrap();
        Self { folder, spool }
    }

    /// A process of its own.
    fn ra(&self) -> Ra {
        let state = self.folder.path().join("ca");
        let store = Store::open(&state.join("state.sqlite")).unwrap();
        Ra::new(Pki::load(&state).unwrap(), RaConfig::default(), store).unwrap()
    }

    /// Answers a file and ends after this step.
    fn answer_until(&self, name: &str, message: &[u8], last: Step) {
        let mut ra = self.ra();
        let answer = ra.answer_carried(NOW_S, message).unwrap();
        if last >= Step::Written {
            self.spool.put(Tray::Inbox, name, &answer).unwrap();
        }
        if last >= Step::Removed {
            self.spool.remove(Tray::Outbox, name).unwrap();
        }
        if last >= Step::Forgotten {
            ra.forget_carried(message).unwrap();
        }
    }

    fn names(&self, tray: &str) -> Vec<String> {
        let entries = fs::read_dir(self.folder.path().join("spool").join(tray)).unwrap();
        let mut names: Vec<_> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    /// What lies in the inbox, which is then empty.
    fn take(&self) -> Vec<u8> {
        let mut found = self.spool.find(Tray::Inbox).unwrap();
        assert_eq!(found.len(), 1);
        let found = found.remove(0);
        self.spool.remove(Tray::Inbox, &found.name).unwrap();
        found.message.unwrap()
    }
}

#[test]
fn whichever_step_was_the_last_the_next_run_gives_the_same_answer() {
    for last in [Step::Answered, Step::Written, Step::Removed, Step::Forgotten] {
        let lab = Lab::new();
        let mut client = Client::with_idevid(&lab.ra(), "CS-1");
        let mut certificate = Vec::new();
        for number in 1..=2 {
            let body = match number {
                1 => PkiBody::Ir(vec![request(&key(), "CN=CS-1", |_| {})]),
                _ => cert_conf(&certificate),
            };
            let message = client.message(body, |_| {});
            let name = format!("{number}.pki");
            lab.spool.put(Tray::Outbox, &name, &message).unwrap();
            lab.answer_until(&name, &message, last);
            for _ in 0..2 {
                answer_spool(&mut lab.ra(), &lab.spool, NOW_S).unwrap();
            }
            assert_eq!(lab.names("outbox"), [""; 0], "{last:?}");
            assert_eq!(lab.names("inbox"), [name], "{last:?}");
            assert_eq!(lab.names("rejected"), [""; 0]);
            let answer = client.take(NOW_S, &message, &lab.take());
            match number {
                1 => certificate = issued(&answer),
                _ => assert_eq!(answer.body.body_type(), BodyType::PkiConf, "{last:?}"),
            }
        }
        assert_eq!(lab.ra().store().certificates().unwrap().len(), 1, "{last:?}");
    }
}

#[test]
fn a_message_that_was_done_with_and_comes_again_is_a_repetition_as_everywhere() {
    let lab = Lab::new();
    let client = Client::with_idevid(&lab.ra(), "CS-1");
    let ir = client.message(PkiBody::Ir(vec![request(&key(), "CN=CS-1", |_| {})]), |_| {});
    for _ in 0..2 {
        lab.spool.put(Tray::Outbox, "1.pki", &ir).unwrap();
        assert_eq!(answer_spool(&mut lab.ra(), &lab.spool, NOW_S).unwrap(), 1);
    }
    assert_eq!(lab.names("inbox"), ["1-2.pki", "1.pki"]);
    assert_eq!(lab.ra().store().certificates().unwrap().len(), 1);
}

#[test]
fn where_an_answer_cannot_be_written_the_message_stays_and_is_answered_later() {
    let lab = Lab::new();
    let client = Client::with_idevid(&lab.ra(), "CS-1");
    let ir = client.message(PkiBody::Ir(vec![request(&key(), "CN=CS-1", |_| {})]), |_| {});
    lab.spool.put(Tray::Outbox, "1.pki", &ir).unwrap();
    let inbox = lab.folder.path().join("spool/inbox");
    fs::remove_dir(&inbox).unwrap();
    assert!(answer_spool(&mut lab.ra(), &lab.spool, NOW_S).is_err());
    assert_eq!(lab.names("outbox"), ["1.pki"]);
    make_folder(&inbox);
    assert_eq!(answer_spool(&mut lab.ra(), &lab.spool, NOW_S).unwrap(), 1);
    assert_eq!(lab.names("inbox"), ["1.pki"]);
    assert_eq!(lab.ra().store().certificates().unwrap().len(), 1);
}

fn make_folder(path: &Path) {
    fs::create_dir(path).unwrap();
}
