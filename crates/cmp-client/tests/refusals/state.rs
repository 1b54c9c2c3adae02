//! Bodies that have no place, and delays (RFC 9483 §3.5, §4.4).

use cmp_message::{
    BodyType, CertRepMessage, CertResponse, PkiBody, PkiFailure, PkiStatus, PkiStatusInfo, PollRep, Raw,
};
use core::time::Duration;

use super::{
    How::{CertConf, Ir, Operation},
    check, row,
};
use cmp_client::Failure;

fn poll_rep(cert_req_id: i64, check_after: i64) -> PollRep {
    PollRep {
        cert_req_id,
        check_after,
        reason: None,
    }
}

fn waiting() -> PkiBody {
    PkiBody::Error(PkiStatusInfo::from(PkiStatus::WAITING).into())
}

fn waiting_ip() -> PkiBody {
    PkiBody::Ip(CertRepMessage {
        ca_pubs: None,
        response: vec![CertResponse {
            cert_req_id: 0,
            status: PkiStatus::WAITING.into(),
            certified_key_pair: None,
            rsp_info: None,
        }],
    })
}

#[test]
fn a_body_that_is_not_expected_is_refused_by_its_name() {
    check(&[
        row(
            "pkiConf for an ir",
            Ir(|ra, _| ra.body = Some(|_| PkiBody::PkiConf(der::asn1::Null))),
            "UnexpectedBody(PkiConf)",
        ),
        row(
            "genp for an ir",
            Ir(|ra, _| ra.body = Some(|_| PkiBody::Genp(Vec::new()))),
            "UnexpectedBody(Genp)",
        ),
        row(
            "pollRep for an ir",
            Ir(|ra, _| ra.body = Some(|_| PkiBody::PollRep(vec![poll_rep(0, 5)]))),
            "UnexpectedBody(PollRep)",
        ),
        row(
            "certConf for an ir",
            Ir(|ra, _| ra.body = Some(|_| PkiBody::CertConf(Vec::new()))),
            "UnexpectedBody(CertConf)",
        ),
        row(
            "nested for an ir",
            Ir(|ra, _| ra.body = Some(|_| PkiBody::Nested(Raw::new([0x30, 0]).unwrap()))),
            "UnexpectedBody(Nested)",
        ),
        row(
            "kup for an ir",
            Ir(|ra, _| {
                ra.body = Some(|body| {
                    let PkiBody::Ip(content) = body else { panic!() };
                    PkiBody::Kup(content)
                })
            }),
            "UnexpectedBody(Kup)",
        ),
        row(
            "ip for a cr",
            Operation("cr", |ra, _| {
                ra.body = Some(|body| {
                    let PkiBody::Cp(content) = body else { panic!() };
                    PkiBody::Ip(content)
                })
            }),
            "UnexpectedBody(Ip)",
        ),
        row(
            "ip for a certConf",
            CertConf(|ra| ra.body = Some(|_| waiting_ip())),
            "UnexpectedBody(Ip)",
        ),
        row(
            "genp for a certConf",
            CertConf(|ra| ra.body = Some(|_| PkiBody::Genp(Vec::new()))),
            "UnexpectedBody(Genp)",
        ),
        row(
            "pkiConf for an rr",
            Operation("rr", |ra, _| {
                ra.body = Some(|_| PkiBody::PkiConf(der::asn1::Null))
            }),
            "UnexpectedBody(PkiConf)",
        ),
        row(
            "ip for a genm",
            Operation("genm caCerts", |ra, _| ra.body = Some(|_| waiting_ip())),
            "UnexpectedBody(Ip)",
        ),
    ]);
}

#[test]
fn a_refusal_of_the_ra_ends_the_transaction_and_is_told_as_it_was_said() {
    check(&[
        row(
            "transactionID in use, three times",
            Ir(|ra, _| ra.error = Some(PkiStatusInfo::rejection(PkiFailure::TransactionIdInUse, "again"))),
            "error: rejection (transactionIdInUse): again",
        ),
        row(
            "certConf of a transaction that the RA has dropped",
            CertConf(|ra| ra.error = Some(PkiStatusInfo::rejection(PkiFailure::BadCertId, "too late"))),
            "error: rejection (badCertId): too late",
        ),
        row(
            "rejected rr",
            Operation("rr", |ra, _| {
                ra.reject = Some(PkiStatusInfo::rejection(PkiFailure::BadCertId, "who?"))
            }),
            "rp: rejection (badCertId): who?",
        ),
        row(
            "certRevoked in answer to the first and only rr",
            Operation("rr", |ra, _| {
                ra.reject = Some(PkiStatusInfo::rejection(PkiFailure::CertRevoked, ""))
            }),
            "rp: rejection (certRevoked)",
        ),
        row(
            "rejected genm",
            Operation("genm caCerts", |ra, _| {
                ra.error = Some(PkiStatusInfo::rejection(PkiFailure::BadRequest, "no"))
            }),
            "error: rejection (badRequest): no",
        ),
        row(
            "rejected kur",
            Operation("kur", |ra, _| {
                ra.reject = Some(PkiStatusInfo::rejection(PkiFailure::BadCertId, "old"))
            }),
            "kup: rejection (badCertId): old",
        ),
    ]);
}

#[test]
fn a_delay_that_is_none_ends_the_transaction() {
    check(&[
        row("checkAfter zero", Ir(|ra, _| ra.polls = vec![0]), "CheckAfter(0)"),
        row(
            "checkAfter negative",
            Operation("genm caCerts", |ra, _| ra.polls = vec![-1]),
            "CheckAfter(-1)",
        ),
        row(
            "pollRep for another certReqId",
            Ir(|ra, _| {
                ra.polls = vec![5];
                ra.body = Some(|body| match body {
                    PkiBody::PollRep(_) => PkiBody::PollRep(vec![poll_rep(-1, 5)]),
                    other => other,
                });
            }),
            "CertReqId(-1)",
        ),
        row(
            "two pollReps",
            Ir(|ra, _| {
                ra.polls = vec![5];
                ra.body = Some(|body| match body {
                    PkiBody::PollRep(rep) => PkiBody::PollRep([rep.clone(), rep].concat()),
                    other => other,
                });
            }),
            "ResponseCount(2)",
        ),
        row(
            "an ip that waits, in answer to a pollReq",
            Ir(|ra, _| {
                ra.polls = vec![5];
                ra.body = Some(|_| waiting_ip());
            }),
            "UnexpectedStatus",
        ),
        row(
            "an error that waits, in answer to a pollReq",
            Operation("rr", |ra, _| {
                ra.polls = vec![5];
                ra.body = Some(|_| waiting());
            }),
            "UnexpectedStatus",
        ),
        row(
            "delivery that names an older pollReq",
            Ir(|ra, _| (ra.polls, ra.delivery_names) = (vec![5, 5], Some(1))),
            "Validation(WrongRecipNonce)",
        ),
        row(
            "delivery of a certConf's answer that names the ir",
            Ir(|ra, _| (ra.delay_confirmation, ra.delivery_names) = (true, Some(0))),
            "Validation(WrongRecipNonce)",
        ),
        row(
            "pollRep that names the message that was delayed",
            Ir(|ra, _| {
                ra.polls = vec![5];
                ra.delivery_names = Some(0);
                ra.poll_reps_name_it_too = true;
            }),
            "Validation(WrongRecipNonce)",
        ),
        row(
            "a delay by signature where a MAC is wanted",
            Operation("ir by MAC", |ra, _| {
                (ra.signs_always, ra.error) = (true, Some(PkiStatus::WAITING.into()));
            }),
            "UnexpectedStatus",
        ),
        row(
            "a delay that nobody has signed, where unprotected errors are believed",
            Ir(|ra, config| {
                (ra.unprotected, ra.error) = (true, Some(PkiStatus::WAITING.into()));
                config.accept_unprotected_errors = true;
            }),
            "UnexpectedStatus",
        ),
        row(
            "total time exceeded",
            Ir(|ra, config| {
                ra.polls = vec![50; 10];
                config.max_total_wait = Some(Duration::from_secs(120));
            }),
            "TimedOut",
        ),
    ]);
}

#[test]
fn a_caller_that_gives_up_tells_the_ra_nothing() {
    let mut ra = crate::ra::Ra::new();
    ra.polls = vec![5];
    let mut transaction = crate::ra::start(crate::ra::config(), crate::ra::request());
    let keys = crate::ra::station_keys();
    loop {
        use cmp_client::{Action, JobResult};
        use cmp_message::crypto::SigningKey;
        let now = crate::ra::now();
        match transaction.poll_action() {
            Some(Action::Sign { job, key, input, .. }) => {
                let signature = keys[key.0 as usize].sign(&input).unwrap();
                transaction.handle_done(now, job, JobResult::Signed(signature));
            }
            Some(Action::Store { job, .. }) => transaction.handle_done(now, job, JobResult::Stored),
            Some(Action::Send { message, .. }) => {
                let answer = ra.answer(now, &message).unwrap();
                transaction.handle_response(now, &answer);
            }
            Some(Action::Done(result)) => {
                assert_eq!(result.unwrap_err(), Failure::GivenUp);
                break;
            }
            Some(_) => {}
            None => transaction.give_up(),
        }
    }
    assert_eq!(ra.seen, [BodyType::Ir, BodyType::PollReq]);
    assert!(transaction.poll_action().is_none());
}

#[test]
fn after_the_end_nothing_more_is_taken_or_done() {
    let mut ra = crate::ra::Ra::new();
    ra.error = Some(PkiStatusInfo::rejection(PkiFailure::BadRequest, "no"));
    let mut transaction = crate::ra::start(crate::ra::config(), crate::ra::request());
    let failure = super::drive(&mut ra, &mut transaction, |_| {}).unwrap_err();
    assert!(matches!(failure, Failure::Rejected { .. }), "{failure:?}");
    let answer = crate::ra::Ra::new()
        .answer(crate::ra::now(), &ra.messages[0])
        .unwrap();
    let now = crate::ra::now();
    transaction.handle_response(now, &answer);
    transaction.handle_transfer_failure(now, cmp_client::TransferFailure::OutcomeUnknown);
    transaction.handle_timeout(now);
    transaction.give_up();
    assert!(transaction.poll_action().is_none());
    assert_eq!(transaction.poll_timeout(), None);
}
