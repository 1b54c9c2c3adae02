#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use std::pin::pin;

use cmp_binding::Data;

use super::*;
use crate::{AuditEntry, AuditQuery, Batch, Later, MemoryStore};

/// What the store is like.
#[derive(Clone, Copy, PartialEq)]
enum Mood {
    /// It takes in all, and keeps nothing.
    Fine,
    /// It takes its time.
    Slow,
    /// It takes in nothing.
    Broken,
}

/// A store of a mood that changes.
struct Moody(watch::Receiver<Mood>);

fn now<T: Send + 'static>(result: Result<T, StoreError>) -> Later<T> {
    Box::pin(std::future::ready(result))
}

impl Store for Moody {
    fn apply(&self, _: Batch) -> Later<()> {
        let mut mood = self.0.clone();
        Box::pin(async move {
            match *mood.wait_for(|mood| *mood != Mood::Slow).await.unwrap() {
                Mood::Broken => Err(StoreError("no space".into())),
                _ => Ok(()),
            }
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

fn relay(config: Config, store: Arc<dyn Store>) -> Arc<Relay> {
    let access = Arc::new(Access::load(&config.access).unwrap());
    Relay::new(Arc::new(config), store, access).unwrap()
}

fn key() -> StationKey {
    StationKey {
        identity: "CS1".into(),
        ..StationKey::default()
    }
}

async fn session(config: Config, store: Arc<dyn Store>) -> Session {
    relay(config, store).connect(key()).await.unwrap()
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
    let (_mood, store) = watch::channel(Mood::Broken);
    let session = session(config, Arc::new(Moody(store))).await;
    assert_eq!(send(&session, "MAIFAA==").await, None);
    assert_eq!(session.poll_timeout().await, None);
}

#[tokio::test]
async fn a_station_that_connects_again_goes_on_with_what_is_stored_when_the_store_works_again() {
    let config = Config {
        routes: [("default".parse().unwrap(), toml::from_str("urls = []").unwrap())].into(),
        ..Config::default()
    };
    let (mood, store) = watch::channel(Mood::Fine);
    let relay = relay(config, Arc::new(Moody(store)));
    let first = relay.connect(key()).await.unwrap();
    mood.send_replace(Mood::Broken);
    assert_eq!(send(&first, "MAIFAA==").await, None);
    assert_eq!(first.ended().await, Ended::Broken);
    mood.send_replace(Mood::Fine);
    let second = relay.connect(key()).await.unwrap();
    assert!(send(&second, "MAIFAA==").await.is_some());
    // What the first still says changes nothing.
    first.disconnect().await;
    assert!(send(&second, "MAIFAA==").await.is_some());
}

#[tokio::test]
async fn an_answer_that_nobody_waits_for_at_the_moment_holds_nobody_up() {
    let config = Config {
        routes: [("default".parse().unwrap(), toml::from_str("urls = []").unwrap())].into(),
        ..Config::default()
    };
    let (mood, store) = watch::channel(Mood::Fine);
    let session = session(config, Arc::new(Moody(store))).await;
    mood.send_replace(Mood::Slow);
    let (mut first, mut second) = (pin!(send(&session, "MAIFAA==")), pin!(send(&session, "MAIFAA==")));
    // The first is being stored, the second waits for its turn.
    assert!(first.as_mut().now_or_never().is_none() && second.as_mut().now_or_never().is_none());
    tokio::task::yield_now().await;
    mood.send_replace(Mood::Fine);
    let soon = Duration::from_secs(10);
    assert!(tokio::time::timeout(soon, session.poll_call()).await.is_ok());
    assert!(second.await.is_some());
}
