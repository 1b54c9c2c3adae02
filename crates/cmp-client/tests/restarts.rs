//! What a transaction keeps, and what a restart makes of it.
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
    Action, CertificateRequest, Config, Failure, GeneralRequest, JobResult, Outcome, ResponseError,
    RootUpdateError, StateError, Transaction,
};
use cmp_message::{BodyType, PkiMessage, crypto::SigningKey, general};
use ra::{
    Draft, NOW_S, Ra, config, finish, key, messages, now, operations, request, revocation, root, run,
    speak_otherwise, start, station_keys,
};

#[test]
fn which_message_was_delayed_survives_a_restart() {
    let mut ra = Ra::new();
    ra.polls = vec![7, 7];
    ra.delivery_names = Some(0);
    let state = stored_after(&mut ra, 2, &mut start(config(), request()));
    let mut resumed = Transaction::resume(config(), &state, [5; 32], now()).unwrap();
    finish(&mut ra, &mut resumed).unwrap();
}

#[test]
fn a_certificate_that_was_revoked_before_a_loss_of_power_is_revoked() {
    let (config, request) = revocation();
    let mut transaction = start(config.clone(), request);
    let state = stored(&mut transaction);
    let mut ra = Ra::new();
    for earlier in [false, true] {
        // The RA carries it out, and the first time the answer never comes.
        let mut resumed = Transaction::resume(config.clone(), &state, [5; 32], now()).unwrap();
        let Ok(Outcome::Revoked(revoked)) = finish(&mut ra, &mut resumed) else {
            panic!()
        };
        assert_eq!(revoked.earlier, earlier);
    }
}

#[test]
fn a_profile_survives_a_new_transaction_and_a_restart() {
    let request = CertificateRequest {
        cert_profile: Some("station".into()),
        ..request()
    };
    let mut ra = Ra::new();
    ra.lose = vec![0];
    run(&mut ra, config(), request.clone()).unwrap();
    let first_two = &messages(&ra)[..2];
    assert!(
        first_two
            .iter()
            .all(|m| m.header.info(general::CERT_PROFILE).is_some())
    );

    let state = stored(&mut start(config(), request));
    let mut resumed = Transaction::resume(config(), &state, [5; 32], now()).unwrap();
    let mut ra = Ra::new();
    ra.lose = vec![0];
    finish(&mut ra, &mut resumed).unwrap();
    assert_eq!(ra.seen[..2], [BodyType::Ir, BodyType::Ir]);
    assert!(messages(&ra)[1].header.info(general::CERT_PROFILE).is_some());
}

#[test]
fn what_the_answer_before_was_like_survives_a_restart() {
    type Change = fn(&mut Ra);
    let same_nonce = |ra: &mut Ra| {
        ra.header = Some(|header| header.sender_nonce = Some(der::asn1::OctetString::new([1; 16]).unwrap()));
    };
    let cases: [(Change, &str); 2] = [
        (speak_otherwise, "AlgorithmChanged"),
        (same_nonce, "RepeatedSenderNonce"),
    ];
    for (change, error) in cases {
        let mut ra = Ra::new();
        let state = stored_after(&mut ra, 1, &mut start(config(), request()));
        change(&mut ra);
        let mut resumed = Transaction::resume(config(), &state, [5; 32], now()).unwrap();
        let Err(Failure::Response { error: found, .. }) = finish(&mut ra, &mut resumed) else {
            panic!("{error}")
        };
        assert!(format!("{found:?}").starts_with(error), "{found}");
    }
}

#[test]
fn a_signer_from_before_a_restart_is_believed_only_as_far_as_todays_anchors_and_clock_let_it() {
    let without_certificates: fn(PkiMessage) -> Vec<u8> = |message| {
        let bare = PkiMessage {
            extra_certs: None,
            ..message
        };
        bare.to_bytes().unwrap()
    };
    let much_later = cmp_client::Time {
        utc_s: Some(NOW_S + 1_000_000_000),
        ..now()
    };
    let other_anchor = Config {
        anchors: vec![ra::stranger()],
        ..config()
    };
    for (config_now, time, bare, error) in [
        (config(), now(), true, None),
        (other_anchor.clone(), now(), true, Some("MissingExtraCerts")),
        (other_anchor, now(), false, Some("SignerNotTrusted")),
        (config(), much_later, false, Some("SignerNotTrusted")),
    ] {
        let mut ra = Ra::new();
        let state = stored_after(&mut ra, 1, &mut start(config(), request()));
        ra.tamper = bare.then_some(without_certificates);
        let mut resumed = Transaction::resume(config_now, &state, [5; 32], time).unwrap();
        let Some(Action::Send { message, .. }) = resumed.poll_action() else {
            panic!("certConf is not sent")
        };
        let answer = ra.answer(time, &message).unwrap();
        resumed.handle_response(time, &answer);
        let Some(Action::Done(result)) = resumed.poll_action() else {
            panic!("not over")
        };
        match (result, error) {
            (Ok(_), None) => {}
            (Err(Failure::Response { error: found, .. }), Some(error)) => {
                assert!(format!("{found:?}").contains(error), "{found:?}");
            }
            (result, error) => panic!("{error:?}: {result:?}"),
        }
    }
}

/// The first state that is kept.
fn stored(transaction: &mut Transaction) -> Vec<u8> {
    stored_after(&mut Ra::new(), 0, transaction)
}

/// The first state that is kept after so many answers.
fn stored_after(ra: &mut Ra, answers: usize, transaction: &mut Transaction) -> Vec<u8> {
    let keys = station_keys();
    loop {
        match transaction.poll_action().unwrap() {
            Action::Sign { job, key, input, .. } => {
                let signature = keys[key.0 as usize].sign(&input).unwrap();
                transaction.handle_done(now(), job, JobResult::Signed(signature));
            }
            Action::Store { state, .. } if ra.seen.len() == answers => return state,
            Action::Store { job, .. } => transaction.handle_done(now(), job, JobResult::Stored),
            Action::Send { message, .. } => {
                let answer = ra.answer(now(), &message).unwrap();
                transaction.handle_response(now(), &answer);
            }
            Action::Report(_) => {}
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_state_of_another_version_is_named_and_a_torn_one_is_not_taken_up() {
    for (name, config, request) in operations() {
        let state = stored(&mut start(config.clone(), request));
        let config = std::sync::Arc::new(config);
        let resumed = |state: &[u8]| Transaction::resume(config.clone(), state, [5; 32], now()).map(|_| ());
        assert_eq!(resumed(&state), Ok(()), "{name}");
        // SEQUENCE, two bytes of length, INTEGER of one byte.
        let at = state.windows(3).position(|bytes| bytes == [2, 1, 4]).unwrap();
        for version in [0, 1, 2, 3, 100] {
            let mut other = state.clone();
            other[at + 2] = version;
            assert_eq!(resumed(&other), Err(StateError::Version(version)), "{name}");
        }
        for cut in (0..state.len()).step_by(7) {
            assert_eq!(resumed(&state[..cut]), Err(StateError::Malformed), "{name}");
        }
    }
}

#[test]
fn a_new_root_is_not_taken_where_the_old_one_is_no_anchor_any_more() {
    let genm = GeneralRequest::RootCaUpdate { root: root() };
    let state = stored(&mut start(config(), genm));
    // Another root vouches for the RA now.
    let ra_root = Draft::ca("CN=RA root", 40, 15).issue();
    let config = Config {
        anchors: vec![ra_root],
        ..config()
    };
    let mut ra = Ra::new();
    let certificate = Draft {
        issuer: "CN=RA root",
        issuer_key: 15,
        ..Draft::new("CN=RA", 2, 2)
    };
    ra.speak_as(certificate.issue(), key(2));
    let mut resumed = Transaction::resume(config, &state, [5; 32], now()).unwrap();
    let Err(Failure::Response { error, .. }) = finish(&mut ra, &mut resumed) else {
        panic!()
    };
    assert_eq!(error, ResponseError::RootUpdate(RootUpdateError::NotTrusted));
}
