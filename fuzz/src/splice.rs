//! A station and a CSMS that say anything, with a splice between them.

use core::time::Duration;

use ocpp_rpc::splice::{Boot, Config, Event, Kind, Splice};
use ocpp_rpc::{ErrorCode, RawValue, Version};

use model::{Answer, Model, Op, Other};

#[path = "../../crates/ocpp-rpc/tests/splice/model.rs"]
mod model;

/// Lines of text after a `#`, otherwise two bytes for each thing that happens.
pub fn splice(input: &[u8]) {
    match input.strip_prefix(b"#") {
        Some(lines) => texts(core::str::from_utf8(lines).unwrap_or_default()),
        None => {
            let version = Version::ALL[input.len() % 3];
            let steps = input.as_chunks().0.iter().take(256);
            Model::new(version).run(steps.map(|&[what, with]| op(what, with)));
        }
    }
}

fn op(what: u8, with: u8) -> Op {
    let how = || match what >> 4 {
        0..6 => Answer::Result,
        6 => Answer::Boot(Boot::Accepted),
        7 => Answer::Boot(Boot::Pending),
        8 => Answer::Boot(Boot::Rejected),
        9 | 10 => Answer::Error,
        11 => Answer::ResultError,
        12 | 13 => Answer::Nameless,
        14 => Answer::Broken,
        _ => Answer::BrokenNameless,
    };
    let other = || match what >> 4 {
        0..8 => Other::Vendor,
        8 | 9 => Other::VendorSend,
        10 | 11 => Other::Send,
        12 | 13 => Other::Garbage,
        _ => Other::BrokenCall,
    };
    match what & 0x0f {
        0..3 => Op::CsmsCall {
            id: with,
            huge: what >> 4 == 15,
        },
        3 | 4 => Op::CsmsAnswer { to: with, how: how() },
        5 => Op::CsmsOther(other()),
        6 => Op::StationCall { boot: what >> 4 > 10 },
        7..10 => Op::StationAnswer { to: with, how: how() },
        10 => Op::StationOther(other()),
        11 => Op::Own(Kind::Pull),
        12 => Op::Own(Kind::Notify),
        13 => Op::Respond { well: with & 1 == 0 },
        _ => Op::Wait {
            ms: u16::from(with) * 160,
        },
    }
}

/// Each line is a letter for what happens, and the text that it happens with. What passes is what came.
fn texts(lines: &str) {
    let mut splice = Splice::new(
        Config::new(Version::V2_1, model::VENDOR.into()),
        1,
        Boot::Accepted,
    );
    let payload = RawValue::from_string(String::from("{}")).expect("JSON");
    let mut now = Duration::ZERO;
    for line in lines.lines().take(64).filter(|line| line.is_char_boundary(1)) {
        let (what, text) = line.split_at(line.len().min(1));
        let mut from_station = None;
        match what {
            "s" => {
                from_station = Some(text);
                splice.handle_station(now, text.into());
            }
            "c" => splice.handle_csms(now, text.into()),
            "n" => drop(splice.call(now, Kind::Notify, payload.clone())),
            "p" => drop(splice.call(now, Kind::Pull, payload.clone())),
            _ => {
                now += Duration::from_secs(7);
                splice.handle_timeout(now);
            }
        }
        while let Some(event) = splice.poll_event() {
            if let Event::DataTransfer { call, .. } = event {
                splice.respond_error(call, ErrorCode::InternalError, text);
            }
        }
        while let Some(passed) = splice.poll_csms() {
            let refusal = passed.starts_with("[3,") && passed.contains("\"Rejected\"");
            assert!(
                from_station == Some(&*passed) || refusal && from_station.is_none(),
                "{passed}"
            );
        }
        while splice.poll_station().is_some() {}
    }
}
