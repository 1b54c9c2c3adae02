//! Enrolments and updates against captured answers, and against a small RA made of `cmp-message`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    unreachable_pub
)]

mod ra;

use cmp_client::{
    Action, Config, Failure, JobResult, KeyId, Refusal, Report, ResponseError, Time, Transaction,
    TransferFailure, drive::drive,
};
use cmp_message::{
    BodyType, PkiFailure, PkiStatus, PkiStatusInfo, crypto::SigningKey, validate::ValidationError,
};
use core::time::Duration;
use ra::{Ra, config, mac_config, now, request, station_keys, update_request};

fn run(ra: &mut Ra, config: Config) -> Result<cmp_client::Enrolled, Failure> {
    finish(ra, &mut begin(config))
}

fn begin(config: Config) -> Transaction {
    ra::start(config, request())
}

fn finish(ra: &mut Ra, transaction: &mut Transaction) -> Result<cmp_client::Enrolled, Failure> {
    Ok(ra::finish(ra, transaction)?.into_enrolled().unwrap())
}

#[test]
fn an_enrolment_is_confirmed_and_gives_the_certificate() {
    let mut ra = Ra::new();
    let enrolled = run(&mut ra, config()).unwrap();
    assert_eq!(enrolled.certificate.public_key(), station_keys()[1].public_key());
    assert!(!enrolled.implicit);
    assert_eq!(ra.seen, [BodyType::Ir, BodyType::CertConf]);
    assert_eq!(ra.confirmed, [true]);
}

#[test]
fn an_enrolment_by_either_mac_gives_the_certificate_and_the_new_anchors() {
    for pbmac1 in [false, true] {
        let mut ra = Ra::new();
        let enrolled = run(&mut ra, mac_config(pbmac1)).unwrap();
        assert_eq!(enrolled.new_anchors.len(), 1);
    }
}

#[test]
fn an_update_names_the_old_certificate_and_is_protected_with_it() {
    let mut ra = Ra::new();
    let old = run(&mut ra, config()).unwrap();
    let (config, request) = update_request(&old.certificate);
    let mut transaction = Transaction::new(config, request, [9; 32], now());
    let new = finish(&mut ra, &mut transaction).unwrap();
    assert_ne!(new.certificate.serial_number(), old.certificate.serial_number());
    assert_eq!(ra.seen[2..], [BodyType::Kur, BodyType::CertConf]);
    let old_id = ra.last_old_cert_id.clone().unwrap();
    assert_eq!(old_id.serial_number.as_bytes(), old.certificate.serial_number());
}

#[test]
fn implicit_confirmation_saves_the_cert_conf_only_if_it_was_asked_for_and_granted() {
    for (ask, grant, seen) in [(true, true, 1), (true, false, 2), (false, true, 2)] {
        let mut ra = Ra::new();
        ra.grant_implicit = grant;
        let enrolled = run(
            &mut ra,
            Config {
                implicit_confirm: ask,
                ..config()
            },
        )
        .unwrap();
        assert_eq!((enrolled.implicit, ra.seen.len()), (ask && grant, seen));
    }
}

#[test]
fn a_cert_conf_may_be_told_to_wait_too() {
    let mut ra = Ra::new();
    ra.delay_confirmation = true;
    run(&mut ra, config()).unwrap();
    assert_eq!(ra.seen, [BodyType::Ir, BodyType::CertConf, BodyType::PollReq]);
}

#[test]
fn a_check_after_that_is_no_time_is_an_error_and_more_than_a_day_is_reported_as_suspension() {
    for bad in [0, -1, i64::MIN] {
        let mut ra = Ra::new();
        ra.polls = vec![bad];
        let Err(Failure::Response { error, .. }) = run(&mut ra, config()) else {
            panic!()
        };
        assert_eq!(error, ResponseError::CheckAfter(bad));
    }
    for check_after_s in [86_401, i64::MAX as u64] {
        let mut ra = Ra::new();
        ra.polls = vec![check_after_s as i64];
        let mut transaction = begin(config());
        let mut reports = Vec::new();
        step(&mut ra, &mut transaction, |action| {
            if let Action::Report(report) = action {
                reports.push(report.clone());
            }
        });
        assert_eq!(reports, [Report::Suspended { check_after_s }]);
        assert_eq!(
            transaction.poll_timeout(),
            Some(Duration::from_secs(check_after_s))
        );
    }
}

/// Runs until the transaction waits for time or is over.
fn step(ra: &mut Ra, transaction: &mut Transaction, mut see: impl FnMut(&Action)) -> Option<Vec<u8>> {
    let mut stored = None;
    while let Some(action) = transaction.poll_action() {
        see(&action);
        match action {
            Action::Sign { job, key, input, .. } => {
                let signature = station_keys()[key.0 as usize].sign(&input).unwrap();
                transaction.handle_done(now(), job, JobResult::Signed(signature));
            }
            Action::Store { job, state } => {
                stored = Some(state);
                transaction.handle_done(now(), job, JobResult::Stored);
            }
            Action::Send { message, .. } => match ra.answer(now(), &message) {
                Some(answer) => transaction.handle_response(now(), &answer),
                None => transaction.handle_transfer_failure(now(), TransferFailure::OutcomeUnknown),
            },
            _ => {}
        }
    }
    stored
}

#[test]
fn another_subject_is_taken_only_if_the_ra_says_so_and_that_is_wanted() {
    let case = |status, refuse| {
        let mut ra = Ra::new();
        ra.issue_other_subject = true;
        ra.status = status;
        let modifications = if refuse {
            cmp_client::Modifications::Refuse
        } else {
            cmp_client::Modifications::Accept
        };
        run(
            &mut ra,
            Config {
                modifications,
                ..config()
            },
        )
        .map(|_| ())
    };
    let refused = |result: Result<(), Failure>| match result {
        Err(Failure::CertificateRefused { refusal, .. }) => refusal,
        other => panic!("{other:?}"),
    };
    assert_eq!(refused(case(PkiStatus::ACCEPTED, false)), Refusal::OtherSubject);
    assert_eq!(
        refused(case(PkiStatus::GRANTED_WITH_MODS, true)),
        Refusal::Modified
    );
    assert!(case(PkiStatus::GRANTED_WITH_MODS, false).is_ok());
}

#[test]
fn a_refusal_says_what_the_ra_says() {
    let mut ra = Ra::new();
    ra.reject = Some(PkiStatusInfo::rejection(
        PkiFailure::BadCertTemplate,
        "not in the list",
    ));
    let failure = run(&mut ra, config()).unwrap_err();
    let text = failure.to_string();
    assert!(
        text.contains("ip: rejection (badCertTemplate): not in the list"),
        "{text}"
    );
    ra.error = Some(PkiStatusInfo::rejection(PkiFailure::NotAuthorized, "who are you"));
    let text = run(&mut ra, config()).unwrap_err().to_string();
    assert!(
        text.contains("error: rejection (notAuthorized): who are you"),
        "{text}"
    );
}

#[test]
fn a_status_nobody_knows_is_named() {
    let mut ra = Ra::new();
    ra.status = PkiStatus(9);
    let text = run(&mut ra, config()).unwrap_err().to_string();
    assert!(text.contains("unknown status 9"), "{text}");
}

#[test]
fn an_unprotected_error_is_not_believed_and_says_that_it_proves_nothing() {
    let mut ra = Ra::new();
    ra.error = Some(PkiStatusInfo::rejection(PkiFailure::SystemFailure, "down"));
    ra.unprotected = true;
    let failure = run(&mut ra, config()).unwrap_err();
    assert!(matches!(failure, Failure::UnprotectedError { .. }), "{failure}");
    assert!(failure.to_string().contains("proves nothing"));
}

#[test]
fn a_lost_answer_to_a_request_begins_a_new_transaction_and_one_to_a_cert_conf_repeats_it() {
    let mut ra = Ra::new();
    ra.lose = vec![0];
    run(&mut ra, config()).unwrap();
    assert_eq!(ra.seen, [BodyType::Ir, BodyType::Ir, BodyType::CertConf]);
    assert_ne!(ra.transactions[0], ra.transactions[1]);

    let mut ra = Ra::new();
    ra.lose = vec![1];
    run(&mut ra, config()).unwrap();
    assert_eq!(ra.seen, [BodyType::Ir, BodyType::CertConf, BodyType::CertConf]);
    assert_eq!(ra.messages[1], ra.messages[2], "the very same message");
    assert_eq!(ra.confirmed, [true], "the second is answered with certConfirmed");
}

#[test]
fn an_ra_that_never_answers_ends_the_transaction_after_three_attempts() {
    let mut ra = Ra::new();
    ra.lose = (0..100).collect();
    assert!(matches!(run(&mut ra, config()), Err(Failure::Delivery(_))));
    assert_eq!(ra.seen.len(), 3);
}

#[test]
fn a_stored_state_sends_the_same_message_again_and_ends_where_it_should() {
    let mut whole = Ra::new();
    run(&mut whole, config()).unwrap();
    for cut in 0..2 {
        let mut ra = Ra::new();
        let mut transaction = begin(config());
        let mut states = Vec::new();
        let mut sends = 0;
        // Power goes when message `cut` is about to leave.
        let message = loop {
            match transaction.poll_action().unwrap() {
                Action::Sign { job, key, input, .. } => {
                    let signature = station_keys()[key.0 as usize].sign(&input).unwrap();
                    transaction.handle_done(now(), job, JobResult::Signed(signature));
                }
                Action::Store { job, state } => {
                    states.push(state);
                    transaction.handle_done(now(), job, JobResult::Stored);
                }
                Action::Send { message, .. } if sends == cut => break message,
                Action::Send { message, .. } => {
                    sends += 1;
                    let answer = ra.answer(now(), &message).unwrap();
                    transaction.handle_response(now(), &answer);
                }
                _ => {}
            }
        };
        let state = states.last().unwrap();
        let mut resumed = Transaction::resume(config(), state, [77; 32], now()).unwrap();
        let Some(Action::Send { message: again, .. }) = resumed.poll_action() else {
            panic!()
        };
        assert_eq!(again, message);
        let answer = ra.answer(now(), &again).unwrap();
        resumed.handle_response(now(), &answer);
        let enrolled = finish(&mut ra, &mut resumed).unwrap();
        assert_eq!(enrolled.certificate.public_key(), station_keys()[1].public_key());
        let config = std::sync::Arc::new(config());
        for cut in 0..state.len() {
            assert!(Transaction::resume(config.clone(), &state[..cut], [1; 32], now()).is_err());
        }
    }
}

#[test]
fn a_state_that_cannot_be_kept_keeps_the_message_back() {
    let mut transaction = begin(config());
    loop {
        match transaction.poll_action().unwrap() {
            Action::Sign { job, key, input, .. } => {
                let signature = station_keys()[key.0 as usize].sign(&input).unwrap();
                transaction.handle_done(now(), job, JobResult::Signed(signature));
            }
            Action::Store { job, .. } => transaction.handle_done(now(), job, JobResult::Failed),
            Action::Send { .. } => panic!("sent although it is not kept"),
            Action::Done(result) => break assert!(matches!(result, Err(Failure::Storage))),
            _ => {}
        }
    }
}

#[test]
fn a_message_certainly_not_sent_is_sent_again_after_the_time_given() {
    let mut transaction = begin(config());
    let message = loop {
        match transaction.poll_action().unwrap() {
            Action::Sign { job, key, input, .. } => {
                let signature = station_keys()[key.0 as usize].sign(&input).unwrap();
                transaction.handle_done(now(), job, JobResult::Signed(signature));
            }
            Action::Store { job, .. } => transaction.handle_done(now(), job, JobResult::Stored),
            Action::Send { message, .. } => break message,
            _ => {}
        }
    };
    let retry_after = Duration::from_secs(5);
    transaction.handle_transfer_failure(now(), TransferFailure::NotSent { retry_after });
    assert!(transaction.poll_action().is_none());
    assert_eq!(transaction.poll_timeout(), Some(retry_after));
    transaction.handle_timeout(Time {
        monotonic: retry_after,
        ..now()
    });
    let Some(Action::Send { message: again, .. }) = transaction.poll_action() else {
        panic!()
    };
    assert_eq!(message, again);
}

#[test]
fn the_request_asks_for_what_was_given() {
    let mut transaction = begin(config());
    let Some(Action::Sign { input, .. }) = transaction.poll_action() else {
        panic!()
    };
    let cert_req = <cmp_message::CertRequest as der::Decode>::from_der(&input).unwrap();
    assert_eq!(cert_req.cert_template.subject, Some(request().subject));
}

#[test]
fn an_ra_that_does_not_know_the_secret_may_sign_its_refusal_and_nothing_else() {
    let mut ra = Ra::new();
    ra.signs_always = true;
    ra.error = Some(PkiStatusInfo::rejection(
        PkiFailure::BadMessageCheck,
        "unknown secret",
    ));
    let failure = run(&mut ra, mac_config(false)).unwrap_err();
    assert!(matches!(failure, Failure::Rejected { .. }), "{failure}");
    ra.error = None;
    let Err(Failure::Response { error, .. }) = run(&mut ra, mac_config(false)) else {
        panic!()
    };
    assert_eq!(
        error,
        ResponseError::Validation(ValidationError::WrongProtectionKind)
    );
}

#[test]
fn a_signed_error_under_a_mac_neither_confirms_nor_delays() {
    for status in [
        PkiStatusInfo::rejection(PkiFailure::CertConfirmed, ""),
        PkiStatus::WAITING.into(),
    ] {
        let mut ra = Ra::new();
        let mut transaction = begin(mac_config(false));
        let keys = station_keys();
        let find = |id: KeyId| keys.get(id.0 as usize).map(|key| key as &dyn SigningKey);
        let failure = drive(&mut transaction, now(), find, |now, message| {
            if ra.seen == [BodyType::Ir] {
                ra.error = Some(status.clone());
                ra.signs_always = true;
            }
            ra.answer(now, message)
        })
        .unwrap_err();
        let delays = status.status == PkiStatus::WAITING;
        let fits = match &failure {
            Failure::Rejected { .. } => !delays,
            Failure::Response { error, .. } => delays && matches!(error, ResponseError::UnexpectedStatus(_)),
            _ => false,
        };
        assert!(fits, "{failure}");
        assert_eq!(ra.seen, [BodyType::Ir, BodyType::CertConf]);
    }
}

#[test]
fn an_unprotected_error_ends_as_a_rejection_where_it_is_believed_and_still_confirms_and_delays_nothing() {
    for status in [
        PkiStatusInfo::rejection(PkiFailure::SystemFailure, "down"),
        PkiStatusInfo::rejection(PkiFailure::CertConfirmed, ""),
        PkiStatus::WAITING.into(),
    ] {
        let mut ra = Ra::new();
        let config = Config {
            accept_unprotected_errors: true,
            ..config()
        };
        let mut transaction = begin(config);
        let keys = station_keys();
        let find = |id: KeyId| keys.get(id.0 as usize).map(|key| key as &dyn SigningKey);
        let failure = drive(&mut transaction, now(), find, |now, message| {
            if ra.seen == [BodyType::Ir] {
                ra.error = Some(status.clone());
                ra.unprotected = true;
            }
            ra.answer(now, message)
        })
        .unwrap_err();
        let delays = status.status == PkiStatus::WAITING;
        let fits = match &failure {
            Failure::Rejected { .. } => !delays,
            Failure::Response { error, .. } => delays && matches!(error, ResponseError::UnexpectedStatus(_)),
            _ => false,
        };
        assert!(fits, "{failure}");
        assert_eq!(ra.seen, [BodyType::Ir, BodyType::CertConf]);
    }
}

#[test]
fn a_transaction_id_that_is_always_in_use_ends_with_what_the_ra_says_and_who_it_is() {
    let mut ra = Ra::new();
    ra.error = Some(PkiStatusInfo::rejection(PkiFailure::TransactionIdInUse, ""));
    let text = run(&mut ra, config()).unwrap_err().to_string();
    assert!(
        text.contains("transactionIdInUse") && text.contains("CN=RA"),
        "{text}"
    );
    assert_eq!(ra.seen.len(), 3);
}
