//! Every operation of the end entity through any sequence of answers, mutated, misplaced or lost, of failures and restarts:
//! the station and the RA of `cmp-client`'s own tests, led by bytes.

#[path = "../../crates/cmp-client/tests/ra/mod.rs"]
mod ra;
#[path = "../../crates/cmp-client/tests/world/mod.rs"]
mod world;

use cmp_message::PkiStatus;
use world::{Body, Case, OPERATIONS, Op, holds};

/// Messages that something happens to at most; from then on the RA just answers.
const MAX_OPS: usize = 24;

/// Four bytes say which operation it is and what kind of RA, the others what happens to one message after the other.
pub fn client_sequence(input: &[u8]) {
    holds(&case(&mut Bytes(input)));
}

struct Bytes<'a>(&'a [u8]);

impl Bytes<'_> {
    /// The next byte, and zero where there are no more.
    fn byte(&mut self) -> u8 {
        match self.0.split_first() {
            Some((first, rest)) => {
                self.0 = rest;
                *first
            }
            None => 0,
        }
    }

    fn number(&mut self) -> usize {
        usize::from(u16::from_be_bytes([self.byte(), self.byte()]))
    }

    fn some(&mut self) -> Vec<u8> {
        let (some, rest) = self.0.split_at(usize::from(self.byte()).min(self.0.len()));
        self.0 = rest;
        some.to_vec()
    }
}

fn case(bytes: &mut Bytes<'_>) -> Case {
    let operation = usize::from(bytes.byte()) % OPERATIONS.len();
    let flags = bytes.byte();
    let flag = |n: u8| flags >> n & 1 == 1;
    let polls = (0..bytes.byte() % 4).map(|n| i64::from(n) * 50_000 + 1).collect();
    let jobs = bytes.byte();
    let number = |nibble: u8| (nibble < 8).then_some(usize::from(nibble));
    let mut ops = Vec::new();
    while !bytes.0.is_empty() && ops.len() < MAX_OPS {
        ops.push(op(bytes));
    }
    Case {
        ops,
        operation,
        ask_implicit: flag(0),
        grant_implicit: flag(1),
        believe_errors: flag(2),
        limited: flag(3),
        polls,
        delay_confirmation: flag(4),
        other_key: flag(5),
        other_subject: flag(6),
        failing_job: number(jobs >> 4),
        die_in_store: number(jobs & 15),
    }
}

fn op(bytes: &mut Bytes<'_>) -> Op {
    match bytes.byte() {
        1 => Op::Mutated(bytes.number(), bytes.byte() & 7),
        2 => Op::Cut(bytes.number()),
        3 => Op::Duplicate,
        4 => Op::Noise(bytes.some()),
        5 => Op::Authentic(body(bytes)),
        6 => Op::Unprotected(body(bytes)),
        7 => Op::Lost,
        8 => Op::NotSent,
        9 => Op::Refused,
        10 => Op::Restart { answered: false },
        11 => Op::Restart { answered: true },
        12 => Op::Extra(bytes.some()),
        _ => Op::Answer,
    }
}

fn body(bytes: &mut Bytes<'_>) -> Body {
    match bytes.byte() {
        0 => Body::PkiConf,
        1 => Body::PollRep(i64::from(bytes.byte() as i8), i64::from(bytes.byte() as i8)),
        2 => Body::PollRep(i64::from(bytes.byte() as i8), i64::MAX),
        3 => Body::Waiting,
        4 => Body::CertConfirmed,
        5 => Body::InUse,
        6 => Body::CertRevoked,
        7 => Body::Rp(PkiStatus(i64::from(bytes.byte() as i8))),
        8 => Body::Genp,
        _ => Body::Rejection,
    }
}
