//! One side of the binding against arbitrary calls and answers of the other.

use core::time::Duration;

use cmp_binding::csms::{self, Action, Budget, Csms, RaError, Reply};
use cmp_binding::station::{self, Event, Mode, Station};
use cmp_binding::{CallOutcome, Data, ExchangeId, Form, Route, Status};

/// The exchange that both sides know from the start: seeds may name it.
pub const KNOWN_ID: [u8; 16] = [0x5a; 16];

/// Inputs are lines: a letter that says what happens, and the text that it happens with.
fn lines(data: &[u8]) -> impl Iterator<Item = (u8, &str)> {
    let text = core::str::from_utf8(data).unwrap_or_default();
    let line = |line: &'_ str| -> Option<(u8, usize)> { Some((*line.as_bytes().first()?, 1)) };
    text.lines().take(64).filter_map(move |text| {
        let (letter, skip) = line(text)?;
        letter
            .is_ascii()
            .then(|| (letter, text.get(skip..).unwrap_or_default()))
    })
}

fn message(len: usize) -> Vec<u8> {
    let content = len.saturating_sub(4).min(0xffff);
    let mut bytes = vec![0x30, 0x82, (content >> 8) as u8, content as u8];
    bytes.extend((0..content).map(|i| i as u8));
    bytes
}

fn data(letter: u8, json: &str) -> Data {
    Data {
        form: if letter.is_ascii_uppercase() {
            Form::Object
        } else {
            Form::Text
        },
        json: json.into(),
    }
}

/// `p`ull, `d`eliver and `n`otify as calls (capital: `data` as an object), `r` the result of the station's own call,
/// `x` no result, `e` a CALLERROR, `m` the other mode, `c` a new connection, `t` time.
pub fn binding_station(input: &[u8]) {
    let config = station::Config {
        slots: vec!["a".into()],
        ..station::Config::default()
    };
    let (max, most) = (config.max, config.exchanges);
    let mut now = Duration::from_secs(1);
    let mut station = Station::new(config);
    station
        .submit(now, KNOWN_ID, Route::default(), message(5_000))
        .expect("a first exchange");
    station.handle_connected(now);
    for (letter, text) in lines(input) {
        let call = match letter.to_ascii_lowercase() {
            b'p' => Some("CmpPull"),
            b'd' => Some("CmpDeliver"),
            b'n' => Some("CmpNotify"),
            _ => None,
        };
        if let Some(call) = call {
            let answer = station.handle_call(now, call, Some(&data(letter, text)));
            assert_eq!(answer.status, Status::Accepted);
            let object = answer.data.expect("an object");
            serde_json::from_str::<serde_json::Map<_, _>>(&object.json).expect("a JSON object");
        }
        let outcome = match letter.to_ascii_lowercase() {
            b'r' => Some(CallOutcome::Response {
                status: Status::Accepted,
                data: Some(data(letter, text)),
            }),
            b'x' => Some(CallOutcome::TimedOut),
            b'e' => Some(CallOutcome::CallError { code: text.into() }),
            _ => None,
        };
        if let Some(outcome) = outcome
            && let Some(call) = station.poll_call(now)
        {
            station.handle_result(now, call.token, &outcome);
        }
        match letter {
            b'm' => station.set_mode(Mode::PullOnly),
            b'M' => station.set_mode(Mode::Push),
            b'c' => station.handle_connected(now),
            b't' => now += Duration::from_secs(text.len() as u64 * 60),
            _ => {}
        }
        while let Some(event) = station.poll_event() {
            if let Event::Response { id, bytes } = event {
                assert!(bytes.len() <= max && cmp_binding::is_one_sequence(&bytes));
                station.acknowledge(now, id);
                let _ = station.submit(now, [letter; 16], Route::default(), message(text.len()));
            }
        }
        let _ = station.poll_timeout();
        let open = ids().filter(|id| station.snapshot(*id).is_some()).count();
        assert!(open <= most);
    }
}

fn ids() -> impl Iterator<Item = ExchangeId> {
    (0..=255).map(|n| ExchangeId::from_random([n; 16]))
}

/// `h`ello, `s`end and `f`etch as calls (capital: `data` as an object), `r` the result of the CSMS side's own call,
/// `x` no result, `a` the RA answers, `b` it does not, `w` the answer budget is over, `p` pull, `c` a new connection,
/// `t` time.
pub fn binding_csms(input: &[u8]) {
    let config = csms::Config::default();
    let limits = config.limits.clone();
    let mut now = Duration::from_secs(1_000);
    let mut csms = Csms::new(config, Budget::default());
    csms.handle_connected();
    let (mut pending, mut forwards) = (Vec::new(), Vec::new());
    for (letter, text) in lines(input) {
        let call = match letter.to_ascii_lowercase() {
            b'h' => Some("CmpHello"),
            b's' => Some("CmpSend"),
            b'f' => Some("CmpFetch"),
            _ => None,
        };
        if let Some(call) = call {
            match csms.handle_call(now, call, Some(&data(letter, text))) {
                Reply::Now(answer) => {
                    let object = answer.data.expect("an object");
                    serde_json::from_str::<serde_json::Map<_, _>>(&object.json).expect("a JSON object");
                }
                Reply::Pending(token) => pending.push(token),
            }
        }
        match letter {
            b'r' | b'R' => {
                if let Some(call) = csms.poll_call(now) {
                    let data = Some(data(letter, text));
                    csms.handle_result(
                        now,
                        call.token,
                        &CallOutcome::Response {
                            status: Status::Accepted,
                            data,
                        },
                    );
                }
            }
            b'x' => {
                if let Some(call) = csms.poll_call(now) {
                    csms.handle_result(now, call.token, &CallOutcome::TimedOut);
                }
            }
            b'a' | b'b' => {
                if let Some(id) = forwards.pop() {
                    let result = if letter == b'a' {
                        Ok(message(text.len() * 64))
                    } else {
                        Err(RaError::Unreachable)
                    };
                    if csms.handle_asked(now, id) || letter == b'b' {
                        csms.handle_ra_response(now, id, result);
                    }
                }
            }
            b'w' => {
                if let Some(token) = pending.pop() {
                    let _ = csms.expire(now, token);
                }
            }
            b'p' => csms.start_pull(now),
            b'c' => csms.handle_connected(),
            b't' => now += Duration::from_secs(text.len() as u64 * 60),
            _ => {}
        }
        csms.handle_timeout(now);
        while let Some(action) = csms.poll_action() {
            if let Action::Forward { id, .. } = action {
                forwards.push(id);
            }
        }
        let _ = (csms.take_writes(), csms.poll_timeout());
        assert!(csms.open() <= limits.exchanges && csms.bytes() <= limits.bytes);
    }
}
