//! A route whose requests and responses are carried as files (RFC 9483 §6.4): each request is seen once, whenever the bridge
//! dies, and what nobody waits for hurts nobody.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    unreachable_pub
)]

mod harness;

use std::{
    fs,
    os::unix::fs::symlink,
    path::PathBuf,
    time::{Duration, SystemTime},
};

use csms_bridge::{Config, Failure, TargetState};
use harness::{Bridge, PROMPT, Station, exchange_id, program::Program, sequence, soon, whole};
use serde_json::json;
use tempfile::TempDir;

/// The folder of a route, beside the store of its bridge.
struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join("spool").join(name)
    }

    /// The route's settings, for a bridge of this process.
    fn settings(&self) -> String {
        format!("spool = {:?}\nscan_interval_ms = 5", self.path(""))
    }

    /// A process with this route, and a store beside it.
    fn program(&self) -> Program {
        let config = self.0.path().join("config.toml");
        fs::write(&config, "[routes.default]\nscan_interval_ms = 5").unwrap();
        let target = format!("spool:{}", self.path("").display());
        Program::start(&self.0, &target, &["--config", config.to_str().unwrap()])
    }

    /// What may be seen in a folder, in the order of the names.
    fn names(&self, name: &str) -> Vec<String> {
        let names = fs::read_dir(self.path(name)).unwrap();
        let mut names: Vec<_> = names
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| !name.starts_with('.'))
            .collect();
        names.sort_unstable();
        names
    }

    fn hidden(&self) -> Vec<PathBuf> {
        let all = fs::read_dir(self.path("outbox")).unwrap();
        let all = all.map(|entry| entry.unwrap().path());
        all.filter(|path| path.extension().is_some_and(|extension| extension == "part"))
            .collect()
    }

    async fn until(&self, what: impl Fn(&Self) -> bool) {
        let looking = async {
            while !what(self) {
                tokio::time::sleep(PROMPT).await;
            }
        };
        soon(looking).await;
    }

    /// The one request that is there, sooner or later: its name.
    async fn request(&self, content: &[u8]) -> String {
        self.until(|folder| folder.names("outbox").len() == 1).await;
        let name = self.names("outbox").remove(0);
        assert_eq!(fs::read(self.path("outbox").join(&name)).unwrap(), content);
        name
    }

    fn take(&self, name: &str) {
        fs::remove_file(self.path("outbox").join(name)).unwrap();
    }

    /// A response that arrives whole.
    fn answer(&self, name: &str, content: &[u8]) {
        let part = self.path("inbox").join("part");
        fs::write(&part, content).unwrap();
        fs::rename(part, self.path("inbox").join(name)).unwrap();
    }

    /// A file that nobody has touched for long.
    fn leave_old(&self, name: &str, content: &[u8]) {
        let path = self.path("inbox").join("old");
        fs::write(&path, content).unwrap();
        let file = fs::File::options().write(true).open(&path).unwrap();
        file.set_modified(SystemTime::now() - Duration::from_secs(60))
            .unwrap();
        fs::rename(path, self.path("inbox").join(name)).unwrap();
    }
}

async fn response(station: &mut Station, id: &str) -> serde_json::Value {
    let mut answer = json!({"wait": 2});
    while answer.get("wait").is_some() {
        tokio::time::sleep(PROMPT).await;
        answer = station.cmp("CmpFetch", json!({"id": id, "off": 0})).await;
    }
    answer
}

#[tokio::test]
async fn a_request_is_carried_away_and_its_response_back_while_the_station_waits() {
    let folder = Folder::new();
    // The station is not kept waiting for its answer, however long it might be.
    let bridge = Bridge::start(&[], "answer_budget_ms = 20000", &folder.settings()).await;
    let mut station = Station::connect(&bridge, "CS1").await;
    for number in 1..=3 {
        let (id, request) = (exchange_id(number), sequence(900, number));
        assert_eq!(station.submit(&id, &request).await, json!({"wait": 2}));
        let name = folder.request(&request).await;
        folder.until(|_| bridge.bridge.in_flight() == 0).await;
        let route = bridge.bridge.routes().remove(0);
        assert_eq!(route.deposited, 1);
        assert!(route.targets[0].target.starts_with("spool:/"), "{route:?}");
        folder.take(&name);
        folder.answer(&name, &sequence(700, number));
        let (call, operation, data) = station.called().await;
        assert_eq!((operation.as_str(), data), ("CmpNotify", json!({"ready": id})));
        station.respond(&call, json!({})).await;
        let fetched = station.cmp("CmpFetch", json!({"id": id, "off": 0})).await;
        assert_eq!(fetched, whole(None, &sequence(700, number)));
        folder.until(|folder| folder.names("inbox").is_empty()).await;
    }
    for name in ["bad", "unclaimed", "outbox"] {
        assert!(folder.names(name).is_empty(), "{name}");
    }
    folder
        .until(|_| bridge.bridge.routes()[0].targets[0].answered == 3)
        .await;
    let route = bridge.bridge.routes().remove(0);
    assert_eq!((route.deposited, route.targets[0].state), (0, TargetState::Up));
}

#[tokio::test]
async fn requests_lie_in_the_order_in_which_they_came() {
    let folder = Folder::new();
    let bridge = Bridge::start(&[], "max_exchanges = 8", &folder.settings()).await;
    let mut station = Station::connect(&bridge, "CS1").await;
    for number in 1..=6 {
        station.submit(&exchange_id(number), &sequence(100, number)).await;
        folder
            .until(|folder| folder.names("outbox").len() == usize::from(number))
            .await;
    }
    let contents = folder.names("outbox");
    let contents = contents
        .iter()
        .map(|name| fs::read(folder.path("outbox").join(name)).unwrap());
    assert!(contents.eq((1..=6).map(|number| sequence(100, number))));
}

#[tokio::test]
async fn what_is_no_response_hurts_none_that_is() {
    let folder = Folder::new();
    let bridge = Bridge::start(&[], "", &folder.settings()).await;
    let mut station = Station::connect(&bridge, "CS1").await;
    let (id, request, answer) = (exchange_id(1), sequence(900, 1), sequence(700, 2));
    station.submit(&id, &request).await;
    let name = folder.request(&request).await;
    let again = name.replace(".pki", "-2.PKI");
    let unknown = format!("000000000000001-{}.pki", "0123456789abcdef".repeat(2));
    // Half of it, for long, and too much of it.
    folder.leave_old(&name, &answer[..300]);
    folder.leave_old(&again, &[answer.clone(), vec![0]].concat());
    folder.leave_old("huge.pki", &sequence(65_000, 1).repeat(2));
    folder.leave_old("empty.pki", b"");
    folder.answer(&unknown, &answer);
    folder.answer("nameless.pki", &answer);
    folder.answer("readme.txt", b"hello");
    folder.answer(".hidden.pki", &answer);
    symlink("/etc/hostname", folder.path("inbox").join("link.pki")).unwrap();
    folder
        .until(|folder| folder.names("bad").len() == 4 && folder.names("unclaimed").len() == 2)
        .await;
    assert_eq!(folder.names("inbox"), ["link.pki", "readme.txt"]);
    assert_eq!(folder.names("bad"), [&*again, &*name, "empty.pki", "huge.pki"]);
    assert_eq!(folder.names("unclaimed"), [&*unknown, "nameless.pki"]);
    let fetch = json!({"id": id, "off": 0});
    assert!(station.cmp("CmpFetch", fetch).await.get("wait").is_some());
    // It is being written in place: what is there of it is not read.
    let path = folder.path("inbox").join(&name);
    fs::write(&path, &answer[..300]).unwrap();
    folder.leave_old("another.pki", b"no DER");
    folder.until(|folder| folder.names("bad").len() == 5).await;
    assert!(path.exists());
    fs::write(&path, &answer).unwrap();
    assert_eq!(response(&mut station, &id).await, whole(None, &answer));
    // A second one comes for nobody.
    folder
        .until(|folder| !folder.path("inbox").join(&name).exists())
        .await;
    folder.answer(&name, &answer);
    folder
        .until(|folder| folder.names("unclaimed").contains(&name))
        .await;
}

#[tokio::test]
async fn a_request_that_is_given_up_is_withdrawn_and_its_response_is_for_nobody() {
    let folder = Folder::new();
    let bridge = Bridge::start(&[], "", &folder.settings()).await;
    let mut station = Station::connect(&bridge, "CS1").await;
    for (number, is_taken) in [(1, false), (2, true)] {
        let (id, request) = (exchange_id(number), sequence(900, number));
        station.submit(&id, &request).await;
        let name = folder.request(&request).await;
        if is_taken {
            folder.take(&name);
        }
        station.cmp("CmpFetch", json!({"ack": [id]})).await;
        folder.until(|folder| folder.names("outbox").is_empty()).await;
        folder.answer(&name, &sequence(700, 2));
        folder
            .until(|folder| folder.names("unclaimed").contains(&name))
            .await;
        assert_eq!(bridge.bridge.routes()[0].deposited, 0);
    }
}

#[tokio::test]
async fn a_folder_that_does_not_work_keeps_nothing_from_being_tried_again() {
    let folder = Folder::new();
    let bridge = Bridge::start(&[], "ra_retry_ms = 20", &folder.settings()).await;
    let mut station = Station::connect(&bridge, "CS1").await;
    fs::remove_dir(folder.path("outbox")).unwrap();
    let (id, request) = (exchange_id(1), sequence(900, 1));
    let answer = station.submit(&id, &request).await;
    assert_eq!(answer["error"]["code"], "ra-unreachable", "{answer}");
    let target = bridge.bridge.routes().remove(0).targets.remove(0);
    assert!(target.failed[Failure::File as usize] > 0);
    fs::create_dir(folder.path("outbox")).unwrap();
    folder.request(&request).await;
}

#[tokio::test]
async fn a_folder_is_of_one_bridge_and_one_route() {
    let folder = Folder::new();
    let _bridge = Bridge::start(&[], "", &folder.settings()).await;
    let text = format!("[routes.default]\n{}", folder.settings());
    let config: Config = toml::from_str(&text).unwrap();
    config.check().unwrap();
    let store = std::sync::Arc::new(csms_bridge::MemoryStore::new(10));
    let error = csms_bridge::Bridge::new(config, store).await.map(|_| ());
    let error = error.unwrap_err().to_string();
    assert!(error.contains("in use"), "{error}");
    let config: Config = toml::from_str(&format!("{text}\nurls = [\"http://x/\"]")).unwrap();
    let error = config.check().unwrap_err().to_string();
    assert!(error.contains("exclude each other"), "{error}");
}

/// A request that lies in the outbox when the bridge is killed.
async fn killed(folder: &Folder, id: &str, request: &[u8]) -> String {
    let mut bridge = folder.program();
    let mut station = bridge.station().await;
    assert!(station.submit(id, request).await.get("wait").is_some());
    let name = folder.request(request).await;
    bridge.kill();
    name
}

/// The bridge goes on: the request is there once, and its response reaches the station.
async fn goes_on(folder: &Folder, id: &str, request: &[u8]) {
    let bridge = folder.program();
    let name = folder.request(request).await;
    assert!(folder.hidden().is_empty(), "{:?}", folder.hidden());
    folder.take(&name);
    let mut station = bridge.station().await;
    let fetch = json!({"id": id, "off": 0});
    assert!(station.cmp("CmpFetch", fetch).await.get("wait").is_some());
    folder.answer(&name, &sequence(700, 2));
    assert_eq!(response(&mut station, id).await, whole(None, &sequence(700, 2)));
    assert!(folder.names("outbox").is_empty(), "it does not come again");
}

#[tokio::test]
async fn killed_while_a_request_lies_there_the_bridge_waits_for_its_response() {
    let (folder, id, request) = (Folder::new(), exchange_id(1), sequence(900, 1));
    killed(&folder, &id, &request).await;
    goes_on(&folder, &id, &request).await;
}

#[tokio::test]
async fn killed_before_a_request_that_is_given_away_could_be_seen_the_bridge_lets_it_be_seen() {
    let (folder, id, request) = (Folder::new(), exchange_id(1), sequence(900, 1));
    let name = killed(&folder, &id, &request).await;
    let tag = name.split(['-', '.']).nth(1).unwrap();
    let outbox = folder.path("outbox");
    fs::rename(outbox.join(&name), outbox.join(format!(".{tag}.part"))).unwrap();
    goes_on(&folder, &id, &request).await;
}

#[tokio::test]
async fn killed_before_a_request_was_given_away_the_bridge_begins_anew() {
    for left in [b"".to_vec(), sequence(900, 1)[..400].to_vec(), sequence(900, 1)] {
        let (folder, id, request) = (Folder::new(), exchange_id(1), sequence(900, 1));
        let name = killed(&folder, &id, &request).await;
        let tag = name.split(['-', '.']).nth(1).unwrap();
        folder.take(&name);
        fs::write(folder.path("outbox").join(format!(".{tag}.part")), &left).unwrap();
        // Another one that nothing is known of.
        let other = format!(".{}.part", "ab".repeat(16));
        fs::write(folder.path("outbox").join(other), "half").unwrap();
        let store = rusqlite::Connection::open(folder.0.path().join("store")).unwrap();
        let changed = store.execute(
            "UPDATE exchanges SET stage = 'held' WHERE stage = 'deposited'",
            [],
        );
        assert_eq!(changed.unwrap(), 1);
        drop(store);
        goes_on(&folder, &id, &request).await;
    }
}

#[tokio::test]
async fn killed_before_a_request_that_is_given_up_was_withdrawn_the_bridge_keeps_it_from_being_carried() {
    let (folder, id, request) = (Folder::new(), exchange_id(1), sequence(900, 1));
    let name = killed(&folder, &id, &request).await;
    let store = rusqlite::Connection::open(folder.0.path().join("store")).unwrap();
    assert_eq!(store.execute("DELETE FROM exchanges", []).unwrap(), 1);
    drop(store);
    let _bridge = folder.program();
    folder.until(|folder| folder.names("unclaimed") == [&*name]).await;
    assert!(folder.names("outbox").is_empty());
}

#[tokio::test]
async fn what_is_carried_while_the_bridge_is_down_is_there_when_it_is_up() {
    let (folder, id, request) = (Folder::new(), exchange_id(1), sequence(900, 1));
    let name = killed(&folder, &id, &request).await;
    folder.take(&name);
    folder.answer(&name, &sequence(700, 2));
    let mut bridge = folder.program();
    let answer = whole(None, &sequence(700, 2));
    assert_eq!(response(&mut bridge.station().await, &id).await, answer);
    folder.until(|folder| folder.names("inbox").is_empty()).await;
    bridge.kill();
    // As if the bridge had died before the file was removed.
    folder.answer(&name, &sequence(700, 2));
    let bridge = folder.program();
    assert_eq!(response(&mut bridge.station().await, &id).await, answer);
    folder.until(|folder| folder.names("unclaimed") == [&*name]).await;
    assert!(folder.names("outbox").is_empty());
}

#[tokio::test]
async fn wherever_the_bridge_is_killed_each_accepted_request_is_carried_once() {
    let folder = Folder::new();
    let mut carried = Vec::new();
    for number in 1..=12 {
        let mut bridge = folder.program();
        let mut station = bridge.station().await;
        let request = sequence(500, number);
        let data = harness::chunk(&exchange_id(number), &request, 0, 500);
        let call = station.begin_cmp("CmpSend", data).await;
        let is_accepted = number % 3 == 0;
        if is_accepted {
            station.cmp_answer(&call).await;
        } else {
            // Somewhere on its way.
            tokio::time::sleep(Duration::from_millis(u64::from(number) % 3 * 4)).await;
        }
        bridge.kill();
        // Whoever carries takes what is there, and answers: no exchange stays open for long.
        let _bridge = folder.program();
        let is_there = |folder: &Folder| {
            let mut names = folder.names("outbox").into_iter();
            names.any(|name| fs::read(folder.path("outbox").join(name)).unwrap() == request)
        };
        if is_accepted {
            folder.until(is_there).await;
        }
        for name in folder.names("outbox") {
            carried.push(fs::read(folder.path("outbox").join(&name)).unwrap());
            folder.take(&name);
            folder.answer(&name, &sequence(100, number));
        }
        folder.until(|folder| folder.names("inbox").is_empty()).await;
    }
    let all = carried.len();
    carried.sort_unstable();
    carried.dedup();
    assert_eq!(carried.len(), all, "none came twice");
    for number in (3..=12).step_by(3) {
        assert!(carried.contains(&sequence(500, number)), "{number} is lost");
    }
    assert!(folder.names("unclaimed").is_empty(), "all were waited for");
}

#[tokio::test]
async fn a_route_that_leads_elsewhere_now_says_that_the_outcome_is_unknown() {
    let (folder, id, request) = (Folder::new(), exchange_id(1), sequence(900, 1));
    killed(&folder, &id, &request).await;
    let bridge = Program::start(&folder.0, "http://127.0.0.1:9/", &[]);
    let mut station = bridge.station().await;
    let code = async {
        loop {
            let answer = station.cmp("CmpFetch", json!({"id": id, "off": 0})).await;
            match answer["error"]["code"].as_str() {
                Some(code) => return code.to_owned(),
                None => tokio::time::sleep(PROMPT).await,
            }
        }
    };
    assert_eq!(soon(code).await, "ra-timeout");
}
