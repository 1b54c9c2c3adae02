//! Any sequence of answers, transfer failures, failing completions and restarts, for every operation.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    unreachable_pub
)]

mod ra;
mod world;

use cmp_client::Outcome;
use cmp_message::PkiStatus;
use proptest::prelude::*;
use world::{Body, Case, OPERATIONS, Op, World, holds};

fn body() -> impl Strategy<Value = Body> {
    prop_oneof![
        Just(Body::PkiConf),
        (
            -1i64..2,
            prop_oneof![Just(0), Just(-5), Just(i64::MAX), 1i64..100_000]
        )
            .prop_map(|(id, s)| Body::PollRep(id, s)),
        Just(Body::Waiting),
        Just(Body::CertConfirmed),
        Just(Body::InUse),
        Just(Body::Rejection),
        Just(Body::CertRevoked),
        prop_oneof![
            Just(PkiStatus::ACCEPTED),
            Just(PkiStatus::WAITING),
            Just(PkiStatus(9))
        ]
        .prop_map(Body::Rp),
        Just(Body::Genp),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    let noise = || proptest::collection::vec(any::<u8>(), 0..64);
    prop_oneof![
        10 => Just(Op::Answer),
        1 => (any::<usize>(), 0u8..8).prop_map(|(at, bit)| Op::Mutated(at, bit)),
        1 => any::<usize>().prop_map(Op::Cut),
        1 => Just(Op::Duplicate),
        1 => noise().prop_map(Op::Noise),
        3 => body().prop_map(Op::Authentic),
        1 => body().prop_map(Op::Unprotected),
        4 => Just(Op::Lost),
        2 => Just(Op::NotSent),
        1 => Just(Op::Refused),
        5 => any::<bool>().prop_map(|answered| Op::Restart { answered }),
        2 => noise().prop_map(Op::Extra),
    ]
}

fn case() -> impl Strategy<Value = Case> {
    (
        proptest::collection::vec(op(), 0..12),
        0..OPERATIONS.len(),
        any::<[bool; 4]>(),
        proptest::collection::vec(1i64..100_000, 0..3),
        (
            proptest::bool::weighted(0.2),
            proptest::bool::weighted(0.1),
            proptest::bool::weighted(0.1),
        ),
        proptest::option::weighted(0.1, 0usize..8),
        proptest::option::weighted(0.4, 0usize..8),
    )
        .prop_map(
            |(
                ops,
                operation,
                [ask_implicit, grant_implicit, believe_errors, limited],
                polls,
                wrong,
                failing_job,
                die,
            )| Case {
                ops,
                operation,
                ask_implicit,
                grant_implicit,
                believe_errors,
                limited,
                polls,
                delay_confirmation: wrong.0,
                other_key: wrong.1,
                other_subject: wrong.2,
                failing_job,
                die_in_store: die,
            },
        )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_sequence_ends_and_succeeds_only_with_what_the_ra_gave(case in case()) {
        holds(&case);
    }
}

fn calm() -> Case {
    Case {
        ops: Vec::new(),
        operation: 0,
        ask_implicit: false,
        grant_implicit: false,
        believe_errors: false,
        limited: false,
        polls: vec![10, 200_000, 20],
        delay_confirmation: false,
        other_key: false,
        other_subject: false,
        failing_job: None,
        die_in_store: None,
    }
}

#[test]
fn a_restart_in_every_place_of_a_delayed_operation_ends_with_its_result() {
    for operation in 0..OPERATIONS.len() {
        let case = Case { operation, ..calm() };
        for at in 0..4 {
            let mut ops = vec![Op::Answer; at];
            ops.push(Op::Restart { answered: false });
            let mut world = World::new(&case);
            let result = world.run(&Case { ops, ..case.clone() });
            assert_eq!(world.lives, 2, "{at}");
            assert!(result.is_ok(), "{operation}, {at}: {result:?}");
            if let Ok(Outcome::Enrolled(enrolled)) = result {
                assert!(world.ra.issued.contains(&enrolled.certificate));
                assert_eq!(world.ra.confirmed, [true]);
            }
        }
        for at in 2..7 {
            let case = Case {
                die_in_store: Some(at),
                ..case.clone()
            };
            let mut world = World::new(&case);
            let result = world.run(&case);
            assert_eq!(world.lives, 2, "{operation}, {at}");
            assert!(result.is_ok(), "{operation}, {at}: {result:?}");
        }
    }
}
