//! Replays `docs/vectors/*.json`; the format is explained in `docs/binding.md`.
//!
//! `BLESS=1 cargo test -p cmp-binding --test vectors` writes what this implementation answers into the files.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs
)]

mod harness;

use core::time::Duration;
use std::path::Path;

use base64ct::{Base64, Encoding};
use cmp_binding::csms::{self, Action, Budget, Csms, RaError, Reply, ReplyToken};
use cmp_binding::station::{self, Event, Failure, Mode, Station};
use cmp_binding::{CallOutcome, Data, Status};
use harness::{members, s};
use serde_json::{Map, Value, json};

fn data(value: &Value, form: &str) -> Data {
    let json = value.to_string();
    if form == "object" {
        Data::object(json)
    } else {
        Data::text(json)
    }
}

fn bytes(value: &Value) -> Vec<u8> {
    Base64::decode_vec(value.as_str().unwrap()).unwrap()
}

fn size(config: &Value, name: &str, default: usize) -> usize {
    config[name].as_u64().map_or(default, |value| value as usize)
}

fn call_outcome(answered: &Value, form: &str) -> CallOutcome {
    match answered.as_str() {
        Some("timeout") => CallOutcome::TimedOut,
        Some("disconnected") => CallOutcome::Disconnected,
        Some("UnknownVendorId") => CallOutcome::Response {
            status: Status::UnknownVendorId,
            data: None,
        },
        Some(code) => CallOutcome::CallError { code: code.into() },
        None => CallOutcome::Response {
            status: Status::Accepted,
            data: Some(data(answered, form)),
        },
    }
}

/// Compares what came out with the step, or writes it into the step.
fn expect(step: &mut Value, name: &str, actual: Value, title: &str) {
    if std::env::var_os("BLESS").is_some() {
        step[name] = actual;
    } else {
        assert_eq!(actual, step[name], "{name} of {step:#} in {title}");
    }
}

fn call_json(call: &cmp_binding::Call, form: &str) -> Value {
    let sent_as = if call.data.form == cmp_binding::Form::Object {
        "object"
    } else {
        "text"
    };
    assert_eq!(sent_as, form);
    json!({"messageId": call.message_id, "data": serde_json::from_str::<Value>(&call.data.json).unwrap()})
}

fn states(step: &Value, of: impl Fn(cmp_binding::ExchangeId) -> Value) -> Value {
    let named = step["state"].as_object().cloned().unwrap_or_default();
    named
        .keys()
        .map(|id| (id.clone(), of(id.parse().unwrap())))
        .collect::<Map<_, _>>()
        .into()
}

fn csms_state(progress: csms::Progress) -> Value {
    match progress {
        csms::Progress::Unknown => "unknown".into(),
        csms::Progress::Receiving { held } => json!({"receiving": held}),
        csms::Progress::Held => "held".into(),
        csms::Progress::Asked => "asked".into(),
        csms::Progress::Answered { len } => json!({"answered": len}),
        csms::Progress::Failed(code) => json!({"failed": code.as_str()}),
        csms::Progress::Done => "done".into(),
        other => panic!("{other:?}"),
    }
}

fn station_state(progress: Option<station::Progress>) -> Value {
    match progress {
        None => "unknown".into(),
        Some(station::Progress::Sending { next }) => json!({"sending": next}),
        Some(station::Progress::Waiting { held }) => json!({"waiting": held}),
        Some(station::Progress::Answered { len }) => json!({"answered": len}),
        other => panic!("{other:?}"),
    }
}

fn event_json(event: Option<Event>) -> Value {
    match event {
        Some(Event::Response { id, bytes }) => {
            json!({"response": Base64::encode_string(&bytes), "id": id.to_string()})
        }
        Some(Event::Failed {
            id,
            error: Failure::Transfer(error),
            ..
        }) => {
            json!({"failed": error.code.as_str(), "id": id.to_string()})
        }
        Some(Event::Failed {
            id,
            error: Failure::Finished,
            ..
        }) => {
            json!({"failed": "finished", "id": id.to_string()})
        }
        Some(Event::Failed {
            id,
            error: Failure::NoBinding,
            ..
        }) => {
            json!({"failed": "no binding", "id": id.to_string()})
        }
        Some(Event::NoBinding) => "no binding".into(),
        Some(Event::Do { operation, slot }) => json!({"do": operation.as_str(), "slot": slot}),
        Some(Event::Hello { unit, max, .. }) => json!({"hello": {"unit": unit, "max": max}}),
        other => panic!("{other:?}"),
    }
}

fn replay_csms(vector: &mut Value, title: &str) {
    let config = vector["config"].clone();
    let form = config["form"].as_str().unwrap_or("text").to_owned();
    let mut settings = csms::Config::default();
    settings.unit = size(&config, "unit", settings.unit);
    settings.max = size(&config, "max", settings.max);
    settings.limits.calls_per_minute = size(&config, "callsPerMinute", 240) as u32;
    let mut csms = Csms::new(settings, Budget::default());
    csms.handle_connected();
    let mut token: Option<ReplyToken> = None;
    for step in vector["steps"].as_array_mut().unwrap() {
        let now = s(step["at"].as_u64().unwrap());
        csms.handle_timeout(now);
        if let Some(call) = step.get("call").cloned() {
            let (message_id, data) = (call["messageId"].as_str().unwrap(), data(&call["data"], &form));
            let answer = match csms.handle_call(now, message_id, Some(&data)) {
                Reply::Now(answer) => members(&answer),
                Reply::Pending(pending) => {
                    token = Some(pending);
                    "pending".into()
                }
            };
            expect(step, "answer", answer, title);
        } else if step.get("expire").is_some() {
            let answer = csms.expire(now, token.take().unwrap()).unwrap();
            expect(step, "answer", members(&answer), title);
        } else if let Some(what) = step.get("ra").cloned() {
            step_ra(&mut csms, now, step, &what, title);
        } else if step.get("pull").is_some() {
            csms.start_pull(now);
        } else if step.get("reconnect").is_some() {
            csms.handle_connected();
        } else {
            let call = csms
                .poll_call(now)
                .unwrap_or_else(|| panic!("no call at {step:#} in {title}"));
            let answered = call_outcome(&step["answered"], &form);
            expect(step, "calls", call_json(&call, &form), title);
            csms.handle_result(now, call.token, &answered);
        }
        if step.get("state").is_some() {
            let state = states(step, |id| csms_state(csms.progress(id)));
            expect(step, "state", state, title);
        }
    }
}

fn step_ra(csms: &mut Csms, now: Duration, step: &mut Value, what: &Value, title: &str) {
    let id = step["id"].as_str().unwrap().parse().unwrap();
    if what == "is asked" {
        let mut actions = std::iter::from_fn(|| csms.poll_action());
        let request = actions.find_map(|action| match action {
            Action::Forward { request, .. } => Some(request),
            _ => None,
        });
        let request = request.unwrap_or_else(|| panic!("{title}: not forwarded"));
        assert!(csms.handle_asked(now, id));
        expect(step, "message", Base64::encode_string(&request).into(), title);
        return;
    }
    let result = match what.as_str().unwrap() {
        "answers" => Ok(bytes(&step["message"])),
        "is unreachable" => {
            let _ = csms.poll_action();
            Err(RaError::Unreachable)
        }
        "is silent" => Err(RaError::Timeout),
        other => panic!("{other}"),
    };
    csms.handle_ra_response(now, id, result);
    if let Some(Action::Reply { answer, .. }) = csms.poll_action() {
        expect(step, "answer", members(&answer), title);
    }
}

fn replay_station(vector: &mut Value, title: &str) {
    let config = vector["config"].clone();
    let form = config["form"].as_str().unwrap_or("text").to_owned();
    let mut settings = station::Config::default();
    settings.unit = size(&config, "unit", settings.unit);
    settings.max = size(&config, "max", settings.max);
    settings.slots = vec!["ChargingStationCertificate".into()];
    if form == "object" {
        settings.form = cmp_binding::Form::Object;
    }
    let mut station = Station::new(settings);
    if config["mode"] == "pull" {
        station.set_mode(Mode::PullOnly);
    }
    station.handle_connected(s(0));
    for step in vector["steps"].as_array_mut().unwrap() {
        let now = s(step["at"].as_u64().unwrap());
        if let Some(submit) = step.get("submit").cloned() {
            let id: cmp_binding::ExchangeId = submit["id"].as_str().unwrap().parse().unwrap();
            let route = submit["route"].as_str().unwrap_or("default").parse().unwrap();
            station
                .submit(now, *id.as_bytes(), route, bytes(&submit["message"]))
                .unwrap();
        } else if let Some(call) = step.get("call").cloned() {
            let (message_id, data) = (call["messageId"].as_str().unwrap(), data(&call["data"], &form));
            let answer = station.handle_call(now, message_id, Some(&data));
            expect(step, "answer", members(&answer), title);
        } else if let Some(id) = step.get("acknowledge") {
            station.acknowledge(now, id.as_str().unwrap().parse().unwrap());
        } else if step.get("reconnect").is_some() {
            station.handle_connected(now);
        } else if step.get("event").is_some() {
            let event = event_json(station.poll_event());
            expect(step, "event", event, title);
        } else {
            let call = station
                .poll_call(now)
                .unwrap_or_else(|| panic!("no call at {step:#} in {title}"));
            let answered = call_outcome(&step["answered"], &form);
            expect(step, "calls", call_json(&call, &form), title);
            station.handle_result(now, call.token, &answered);
        }
        if step.get("state").is_some() {
            let state = states(step, |id| station_state(station.progress(id)));
            expect(step, "state", state, title);
        }
    }
}

#[test]
fn every_vector_is_answered_as_it_says() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/vectors");
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    assert!(files.len() >= 10, "{files:?}");
    for file in files {
        let mut vector: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
        let title = format!("{}: {}", file.display(), vector["title"]);
        match vector["role"].as_str() {
            Some("csms") => replay_csms(&mut vector, &title),
            Some("station") => replay_station(&mut vector, &title),
            other => panic!("{title}: role {other:?}"),
        }
        if std::env::var_os("BLESS").is_some() {
            std::fs::write(&file, serde_json::to_string_pretty(&vector).unwrap() + "\n").unwrap();
        }
    }
}
