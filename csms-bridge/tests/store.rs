//! What is kept, and that both stores keep the same.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    unreachable_pub
)]

use std::{collections::BTreeMap, path::Path, time::Duration};

use cmp_binding::{
    ErrorCode, ExchangeId,
    csms::{Record, Stage, StationRecords, Write},
};
use csms_bridge::{
    AuditQuery, Batch, Boot, Facts, MemoryStore, OpenError, Outcome, Retention, SqliteStore, StationKey,
    Store, Stored,
};
use proptest::prelude::*;
use tempfile::TempDir;

const RETENTION: Retention = Retention {
    audit_d: 1_000_000,
    audit_entries: 1_000_000,
    stations_d: 1_000_000,
};

fn open(dir: &TempDir) -> SqliteStore {
    SqliteStore::open(&dir.path().join("store"), RETENTION).unwrap()
}

/// As [`open`], once the thread of the last one has let go of the file.
fn open_again(dir: &TempDir) -> SqliteStore {
    loop {
        match SqliteStore::open(&dir.path().join("store"), RETENTION) {
            Ok(store) => return store,
            Err(OpenError::InUse(_)) => std::thread::yield_now(),
            Err(error) => panic!("{error}"),
        }
    }
}

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap()
        .block_on(future)
}

fn station(identity: &str) -> StationKey {
    StationKey {
        listener: String::new(),
        prefix: "/ocpp".into(),
        identity: identity.into(),
    }
}

fn id(number: u8) -> ExchangeId {
    ExchangeId::from_random([number; 16])
}

fn at(s: u64) -> Duration {
    Duration::from_millis(s * 1_000 + 7)
}

fn accepted(number: u8, request: &[u8]) -> Write {
    Write::Accepted(Record {
        id: id(number),
        route: "default".parse().unwrap(),
        request: request.into(),
        stage: Stage::Held,
        at: at(1),
    })
}

fn stage(number: u8, stage: Stage) -> Write {
    Write::Stage {
        id: id(number),
        stage,
        at: at(2),
    }
}

fn batch(identity: &str, writes: Vec<Write>) -> Batch {
    Batch {
        station: station(identity),
        writes,
        target: None,
        facts: None,
    }
}

/// A captured request and its transactionID.
fn ir() -> Vec<u8> {
    let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures/openssl-3.0/");
    std::fs::read(format!("{dir}ir_sig.1.req.der")).unwrap()
}

#[test]
fn what_was_applied_is_there_after_the_process_and_unfinished_stations_are_found() {
    let dir = TempDir::new().unwrap();
    let facts = Facts {
        boot: Boot::Pending,
        seen_at_s: 5,
        ..Facts::default()
    };
    run(async {
        let store = open(&dir);
        let first = Batch {
            facts: Some(facts.clone()),
            ..batch("CS1", vec![accepted(1, b"\x30\x00")])
        };
        store.apply(first).await.unwrap();
        let answered = vec![
            accepted(2, b"\x30\x00"),
            stage(2, Stage::Answered(b"\x30\x00".into())),
        ];
        store.apply(batch("CS2", answered)).await.unwrap();
    });
    let store = open_again(&dir);
    run(async {
        assert_eq!(store.unfinished().await.unwrap(), [station("CS1")]);
        let stored = store.load(&station("CS1")).await.unwrap();
        assert_eq!(stored.facts, facts);
        assert_eq!(stored.records.exchanges[0].at, at(1));
        let other = store.load(&station("CS2")).await.unwrap();
        assert_eq!(
            other.records.exchanges[0].stage,
            Stage::Answered(b"\x30\x00".into())
        );
        assert_eq!(store.load(&station("CS3")).await.unwrap(), Stored::default());
        let all = store.stations().await.unwrap();
        assert_eq!(all.len(), 2);
    });
}

#[test]
fn a_batch_that_fails_leaves_nothing_and_takes_no_other_with_it() {
    let dir = TempDir::new().unwrap();
    let store = open(&dir);
    run(async {
        let good = store.apply(batch("CS1", vec![accepted(1, b"\x30\x00")]));
        // The same exchange twice cannot be.
        let bad = store.apply(batch("CS2", vec![accepted(2, b"1"), accepted(2, b"2")]));
        let other = store.apply(batch("CS3", vec![accepted(3, b"\x30\x00")]));
        good.await.unwrap();
        bad.await.unwrap_err();
        other.await.unwrap();
        assert_eq!(store.load(&station("CS2")).await.unwrap(), Stored::default());
        for identity in ["CS1", "CS3"] {
            let stored = store.load(&station(identity)).await.unwrap();
            assert_eq!(stored.records.exchanges.len(), 1);
        }
    });
}

async fn target_of(store: &dyn Store, identity: &str) -> Option<String> {
    let transaction_id = csms_bridge::header::transaction_id(&ir()).unwrap();
    store.target(&station(identity), &transaction_id).await.unwrap()
}

async fn a_transaction_goes_where_it_was_written_to(store: &dyn Store) {
    let written = |number: u8, url: &str| Batch {
        target: Some((id(number), url.into())),
        ..batch("CS1", vec![accepted(number, &ir()), stage(number, Stage::Asked)])
    };
    assert_eq!(target_of(store, "CS1").await, None);
    store.apply(written(1, "http://a/")).await.unwrap();
    assert_eq!(target_of(store, "CS1").await.as_deref(), Some("http://a/"));
    // Another station's transaction of the same id is another one.
    assert_eq!(target_of(store, "CS2").await, None);
    // Not a byte was written: no reason to stay.
    store
        .apply(batch("CS1", vec![stage(1, Stage::Held)]))
        .await
        .unwrap();
    assert_eq!(target_of(store, "CS1").await, None);
    store.apply(written(2, "http://b/")).await.unwrap();
    let done = Write::Done { id: id(2), at: at(3) };
    store.apply(batch("CS1", vec![done])).await.unwrap();
    assert_eq!(target_of(store, "CS1").await.as_deref(), Some("http://b/"));
}

#[test]
fn a_transaction_goes_where_it_was_written_to_in_both_stores() {
    let dir = TempDir::new().unwrap();
    run(a_transaction_goes_where_it_was_written_to(&open(&dir)));
    run(a_transaction_goes_where_it_was_written_to(&MemoryStore::new(9)));
}

#[test]
fn the_audit_trail_says_who_asked_what_when_and_what_came_of_it() {
    let dir = TempDir::new().unwrap();
    let stores: [Box<dyn Store>; 2] = [Box::new(open(&dir)), Box::new(MemoryStore::new(9))];
    for store in stores {
        run(async {
            let failed = vec![accepted(1, &ir()), stage(1, Stage::Failed(ErrorCode::RaTimeout))];
            store.apply(batch("CS1", failed)).await.unwrap();
            let answered = vec![
                accepted(2, b"\x30\x00"),
                stage(2, Stage::Answered(b"\x30\x01\x00".into())),
                Write::Done { id: id(2), at: at(9) },
            ];
            store.apply(batch("CS2", answered)).await.unwrap();
            let all = store.audit(AuditQuery::default()).await.unwrap();
            let [last, first] = &all[..] else {
                panic!("{all:?}")
            };
            assert_eq!(
                (first.operation, first.outcome),
                (Some("ir"), Outcome::Failed(ErrorCode::RaTimeout))
            );
            assert_eq!((first.request_bytes, first.accepted_at_s), (ir().len(), 1));
            assert_eq!(
                (last.operation, last.response_bytes, last.done_at_s),
                (None, Some(3), Some(9))
            );
            let json = serde_json::to_value(last).unwrap();
            // echo -ne '\x30\x00' | sha256sum
            assert_eq!(
                json["request_sha256"],
                "e4f60d0aa6d7f3d3b6a6494b1c861b99f649c6f9ec51abaf201b20f297327c95"
            );
            let query = AuditQuery {
                failed: true,
                ..AuditQuery::default()
            };
            assert_eq!(store.audit(query).await.unwrap(), std::slice::from_ref(first));
            let query = AuditQuery {
                identity: Some("CS2".into()),
                before: Some(last.number),
                ..AuditQuery::default()
            };
            assert!(store.audit(query).await.unwrap().is_empty());
        });
    }
}

#[test]
fn a_file_is_for_one_bridge_and_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let dir = TempDir::new().unwrap();
    let store = open(&dir);
    run(store.apply(batch("CS1", vec![accepted(1, b"\x30\x00")]))).unwrap();
    let path = dir.path().join("store");
    match SqliteStore::open(&path, RETENTION) {
        Err(OpenError::InUse(used)) => assert_eq!(used, path),
        other => panic!("{other:?}"),
    }
    for file in std::fs::read_dir(dir.path()).unwrap() {
        let file = file.unwrap();
        let mode = file.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{:?}", file.path());
    }
}

#[test]
fn what_is_no_store_or_one_of_a_later_version_is_refused() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("text");
    std::fs::write(&path, "a".repeat(5_000)).unwrap();
    let error = SqliteStore::open(&path, RETENTION).unwrap_err();
    assert!(matches!(error, OpenError::Database(..)), "{error}");
    let path = dir.path().join("later");
    drop(SqliteStore::open(&path, RETENTION).unwrap());
    set_version(&path, 99);
    loop {
        match SqliteStore::open(&path, RETENTION).unwrap_err() {
            OpenError::InUse(_) => std::thread::yield_now(),
            OpenError::Newer { version, .. } => return assert_eq!(version, 99),
            other => panic!("{other}"),
        }
    }
}

fn set_version(path: &Path, version: i64) {
    let connection = rusqlite::Connection::open(path).unwrap();
    connection.pragma_update(None, "user_version", version).unwrap();
}

/// Steps of the binding over a few exchanges of two stations, and reopening.
#[derive(Clone, Debug)]
enum Step {
    Apply(u8, Vec<(u8, u8)>),
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0..2_u8, prop::collection::vec((0..5_u8, 0..5_u8), 1..4))
            .prop_map(|(station, writes)| Step::Apply(station, writes)),
        1 => Just(Step::Reopen),
    ]
}

/// The write that `kind` is for the exchange, if the model allows it.
fn write_of(model: &StationRecords, number: u8, kind: u8) -> Option<Write> {
    let open = model.exchanges.iter().any(|record| record.id == id(number));
    let done = model.done.iter().any(|(done, _)| *done == id(number));
    match kind {
        0 if !open && !done => Some(accepted(number, &[0x30, number])),
        1 if open => Some(stage(number, Stage::Asked)),
        2 if open => Some(stage(number, Stage::Answered(vec![0x30, 1, number]))),
        4 if open => Some(stage(number, Stage::Deposited)),
        2 if done => Some(Write::Forget { id: id(number) }),
        3 if !done => Some(Write::Done {
            id: id(number),
            at: at(4),
        }),
        _ => None,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn the_file_is_always_what_the_binding_means(steps in prop::collection::vec(step(), 1..24)) {
        let dir = TempDir::new().unwrap();
        let mut store = open(&dir);
        let memory = MemoryStore::new(9);
        let mut models: BTreeMap<u8, StationRecords> = BTreeMap::new();
        for step in steps {
            let Step::Apply(number, wanted) = step else {
                drop(store);
                store = open_again(&dir);
                continue;
            };
            let model = models.entry(number).or_default();
            let mut writes = Vec::new();
            for (exchange, kind) in wanted {
                if let Some(write) = write_of(model, exchange, kind) {
                    model.apply(write.clone());
                    writes.push(write);
                }
            }
            let identity = format!("CS{number}");
            run(store.apply(batch(&identity, writes.clone()))).unwrap();
            run(memory.apply(batch(&identity, writes))).unwrap();
            for (number, model) in &models {
                let key = station(&format!("CS{number}"));
                prop_assert_eq!(&run(store.load(&key)).unwrap().records, model);
                prop_assert_eq!(&run(memory.load(&key)).unwrap().records, model);
            }
            let mut stored = run(store.audit(AuditQuery::default())).unwrap();
            let mut kept = run(memory.audit(AuditQuery::default())).unwrap();
            stored.iter_mut().chain(&mut kept).for_each(|entry| entry.number = 0);
            prop_assert_eq!(stored, kept);
        }
    }
}
