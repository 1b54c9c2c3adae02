#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use std::pin::pin;

use cmp_binding::Data;

use super::*;
use crate::{AuditEntry, AuditQuery, Batch, Later, MemoryStore};

/// Takes in nothing.
struct Broken;

fn now<T: Send + 'static>(result: Result<T, StoreError>) -> Later<T> {
    Box::pin(std::future::ready(result))
}

impl Store for Broken {
    fn apply(&self, _: Batch) -> Later<()> {
        now(Err(StoreError("no space".into())))
    }

    fn load(&self, _: &StationKey) -> Later<Stored> {
        now(Ok(Stored::default()))
    }

    fn unfinished(&self) -> Later<Vec<StationKey>> {
        now(Ok(Vec::new()))
    }

    fn target(&self, _: &StationKey, _: &[u8]) -> Later<Option<String>> {
        now(Ok(None))
    }

    fn stations(&self) -> Later<Vec<(StationKey, Facts)>> {
        now(Ok(Vec::new()))
    }

    fn audit(&self, _: AuditQuery) -> Later<Vec<AuditEntry>> {
        now(Ok(Vec::new()))
    }
}

/// Keeps nothing, and says so only while it is open.
struct Gate(watch::Receiver<bool>);

impl Store for Gate {
    fn apply(&self, _: Batch) -> Later<()> {
        let mut open = self.0.clone();
        Box::pin(async move {
            open.wait_for(|open| *open).await.unwrap();
            Ok(())
        })
    }

    fn load(&self, _: &StationKey) -> Later<Stored> {
        now(Ok(Stored::default()))
    }

    fn unfinished(&self) -> Later<Vec<StationKey>> {
        now(Ok(Vec::new()))
    }

    fn target(&self, _: &StationKey, _: &[u8]) -> Later<Option<String>> {
        now(Ok(None))
    }

    fn stations(&self) -> Later<Vec<(StationKey, Facts)>> {
        now(Ok(Vec::new()))
    }

    fn audit(&self, _: AuditQuery) -> Later<Vec<AuditEntry>> {
        now(Ok(Vec::new()))
    }
}

async fn session(config: Config, store: Arc<dyn Store>) -> Session {
    let key = StationKey {
        identity: "CS1".into(),
        ..StationKey::default()
    };
    let access = Arc::new(Access::load(&config.access).unwrap());
    let relay = Relay::new(Arc::new(config), store, access).unwrap();
    relay.connect(key).await.unwrap()
}

async fn send(session: &Session, data: &str) -> Option<String> {
    let data = format!(r#"{{"id":"AQEBAQEBAQEBAQEBAQEBAQ","len":4,"off":0,"data":"{data}"}}"#);
    let answer = session.data_transfer("CmpSend".into(), Some(Data::text(data)));
    answer.await?.data.map(|data| data.json)
}

#[tokio::test]
async fn what_is_due_is_done_by_who_is_woken_for_it() {
    let config = Config {
        routes: [("default".parse().unwrap(), toml::from_str("urls = []").unwrap())].into(),
        upload_retention_s: 0,
        ..Config::default()
    };
    let session = session(config, Arc::new(MemoryStore::new(1))).await;
    assert_eq!(send(&session, "MAI=").await.as_deref(), Some(r#"{"next":2}"#));
    assert!(
        session
            .poll_timeout()
            .await
            .is_some_and(|due| due <= clock::now())
    );
    session.handle_timeout().await;
    assert_eq!(session.poll_timeout().await, None);
}

#[tokio::test]
async fn nothing_is_due_any_more_after_the_store_has_failed() {
    let config = Config {
        routes: [("default".parse().unwrap(), toml::from_str("urls = []").unwrap())].into(),
        ..Config::default()
    };
    let session = session(config, Arc::new(Broken)).await;
    assert_eq!(send(&session, "MAIFAA==").await, None);
    assert_eq!(session.poll_timeout().await, None);
}

#[tokio::test]
async fn an_answer_that_nobody_waits_for_at_the_moment_holds_nobody_up() {
    let config = Config {
        routes: [("default".parse().unwrap(), toml::from_str("urls = []").unwrap())].into(),
        ..Config::default()
    };
    let (open, gate) = watch::channel(true);
    let session = session(config, Arc::new(Gate(gate))).await;
    open.send_replace(false);
    let (mut first, mut second) = (pin!(send(&session, "MAIFAA==")), pin!(send(&session, "MAIFAA==")));
    // The first is being stored, the second waits for its turn.
    assert!(first.as_mut().now_or_never().is_none() && second.as_mut().now_or_never().is_none());
    tokio::task::yield_now().await;
    open.send_replace(true);
    let soon = Duration::from_secs(10);
    assert!(tokio::time::timeout(soon, session.poll_call()).await.is_ok());
    assert!(second.await.is_some());
}
