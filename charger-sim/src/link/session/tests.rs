use cmp_binding::Route;
use cmp_binding::station::{self, Station};

use super::*;

const NOW: Duration = Duration::from_secs(100);

struct Pair {
    session: Session,
    station: Station,
    sent: Vec<String>,
}

impl Pair {
    fn new(version: Version) -> Self {
        let config = Config::new("ws://csms", "CP1");
        let mut station = Station::new(station::Config::default());
        station.set_mode(Mode::PullOnly);
        station.handle_connected(NOW);
        station
            .submit(NOW, [7; 16], Route::default(), vec![0x30, 0])
            .unwrap();
        let session = Session::new(&config, version, 1, NOW);
        let sent = Vec::new();
        Self {
            session,
            station,
            sent,
        }
    }

    /// What is sent now; each CALL by its action, each answer as it is behind its id.
    fn sent(&mut self, now: Duration) -> Vec<String> {
        self.sent.clear();
        while let Some(text) = self.session.poll_transmit(&mut self.station, now) {
            self.sent.push(text);
        }
        let name = |text: &String| match ocpp_rpc::Frame::parse(text).unwrap() {
            ocpp_rpc::Frame::Call { action, payload, .. } if action == ACTION => {
                Request::parse(payload).unwrap().message_id.unwrap().into_owned()
            }
            ocpp_rpc::Frame::Call { action, .. } => action.into_owned(),
            ocpp_rpc::Frame::CallResult { payload, .. } => payload.get().to_owned(),
            other => other.to_text(),
        };
        self.sent.iter().map(name).collect()
    }

    /// Answers the last CALL.
    fn reply(&mut self, payload: &str) -> Option<BootStatus> {
        let last = self.sent.last().unwrap().clone();
        let id = ocpp_rpc::Frame::parse(&last).unwrap().id().to_owned();
        let text = format!(r#"[3,"{id}",{payload}]"#);
        self.session.handle_text(&mut self.station, NOW, &text)
    }

    fn call(&mut self, action: &str, payload: &str) -> Vec<String> {
        let text = format!(r#"[2,"c1","{action}",{payload}]"#);
        self.session.handle_text(&mut self.station, NOW, &text);
        self.sent(NOW)
    }
}

const PULL: &str = r#"{"vendorId":"IO.github.ocpp-cmp","messageId":"CmpPull","data":"{\"v\":[1],\"unit\":3500,\"max\":65536,\"have\":[]}"}"#;

#[test]
fn nothing_but_boot_notification_is_called_until_the_station_is_accepted() {
    for version in Version::ALL {
        let mut pair = Pair::new(version);
        assert_eq!(pair.sent(NOW), ["BootNotification"], "{version}");
        let accepted = r#"{"status":"Accepted","currentTime":"2026-01-01T00:00:00Z","interval":60}"#;
        assert_eq!(pair.reply(accepted), Some(BootStatus::Accepted));
        assert_eq!(pair.sent(NOW), ["StatusNotification"]);
        pair.reply("{}");
        assert_eq!(pair.sent(NOW), ["CmpSend"]);
        pair.reply(r#"{"status":"Accepted","data":"{\"wait\":30}"}"#);
        assert_eq!(pair.sent(NOW), [""; 0]);
        assert_eq!(pair.sent(NOW + Duration::from_secs(30)), ["CmpFetch"]);
    }
}

#[test]
fn a_heartbeat_is_sent_at_each_interval() {
    let mut pair = Pair::new(Version::V1_6);
    pair.station = Station::new(station::Config::default());
    pair.sent(NOW);
    pair.reply(r#"{"status":"Accepted","interval":60}"#);
    pair.sent(NOW);
    pair.reply("{}");
    assert_eq!(
        pair.session.poll_timeout(&pair.station),
        Some(NOW + Duration::from_secs(60))
    );
    assert_eq!(pair.sent(NOW + Duration::from_secs(59)), [""; 0]);
    assert_eq!(pair.sent(NOW + Duration::from_secs(60)), ["Heartbeat"]);
}

#[test]
fn a_pending_station_answers_pulls_and_asks_again_at_the_interval() {
    let mut pair = Pair::new(Version::V2_0_1);
    pair.sent(NOW);
    assert_eq!(
        pair.reply(r#"{"status":"Pending","interval":5}"#),
        Some(BootStatus::Pending)
    );
    assert_eq!(pair.sent(NOW), [""; 0]);
    let answers = pair.call(ACTION, PULL);
    assert!(
        answers.len() == 1 && answers[0].contains(r#"\"len\":2"#),
        "{answers:?}"
    );
    assert_eq!(pair.sent(NOW + Duration::from_secs(5)), ["BootNotification"]);
}

#[test]
fn a_triggered_boot_notification_comes_at_once() {
    let mut pair = Pair::new(Version::V2_0_1);
    pair.sent(NOW);
    pair.reply(r#"{"status":"Pending","interval":500}"#);
    assert_eq!(
        pair.call("TriggerMessage", r#"{"requestedMessage":"BootNotification"}"#),
        [r#"{"status":"Accepted"}"#, "BootNotification"]
    );
}

#[test]
fn a_rejected_station_calls_nothing_and_answers_as_its_version_wants() {
    for version in Version::ALL {
        let mut pair = Pair::new(version);
        pair.sent(NOW);
        pair.reply(r#"{"status":"Rejected","interval":500}"#);
        assert_eq!(pair.sent(NOW), [""; 0]);
        let answers = pair.call(ACTION, PULL);
        if version == Version::V1_6 {
            assert_eq!(answers, [""; 0]);
            // Nor later.
            let later = NOW + Duration::from_secs(100);
            pair.session.handle_timeout(&mut pair.station, later);
            assert_eq!(pair.sent(later), [""; 0]);
        } else {
            assert!(
                answers.len() == 1 && answers[0].contains("SecurityError"),
                "{answers:?}"
            );
        }
    }
}

#[test]
fn unknown_actions_and_vendors_are_refused_in_their_own_words() {
    let mut pair = Pair::new(Version::V1_6);
    pair.sent(NOW);
    assert_eq!(pair.call("Reset", "{}"), [r#"[4,"c1","NotImplemented","",{}]"#]);
    assert_eq!(
        pair.call(ACTION, r#"{"vendorId":"other","messageId":"CmpPull"}"#),
        [r#"{"status":"UnknownVendorId"}"#]
    );
    assert_eq!(
        pair.call(
            ACTION,
            r#"{"vendorId":"io.github.ocpp-cmp","messageId":"CmpDance"}"#
        ),
        [r#"{"status":"UnknownMessageId"}"#]
    );
    assert_eq!(
        pair.call(ACTION, r#"{"messageId":"CmpPull"}"#),
        [r#"[4,"c1","FormationViolation","no DataTransfer",{}]"#]
    );
}

#[test]
fn data_that_came_as_an_object_is_answered_as_an_object() {
    let mut pair = Pair::new(Version::V2_1);
    pair.sent(NOW);
    let pull = r#"{"vendorId":"io.github.ocpp-cmp","messageId":"CmpPull","data":{"v":[1],"unit":3500,"max":65536,"have":[]}}"#;
    let answers = pair.call(ACTION, pull);
    assert!(answers[0].contains(r#""data":{"#), "{answers:?}");
}
