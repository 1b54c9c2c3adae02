//! What an end entity must not take: one row for each check, with its error and what the RA hears of it.
//!
//! An end entity sends no `error` (RFC 9483 §3.6.1). It refuses a certificate in certConf, and leaves everything else without
//! another message. In every row the same request succeeds afterwards with an RA that behaves: nothing is lost.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    unreachable_pub
)]

#[path = "../ra/mod.rs"]
mod ra;

mod certificate;
mod general;
mod header;
mod protection;
mod requests;
mod state;

use cmp_client::{Action, Config, Failure, JobResult, Outcome, Request, Transaction, TransferFailure};
use cmp_message::{BodyType, PkiBody, PkiMessage, PkiStatus, crypto::SigningKey};
use ra::{Ra, config, mac_config, now, operations, request, start, station_keys};

/// One check.
struct Row {
    /// What is wrong, in the words of the list of what must fail.
    wrong: &'static str,
    /// Makes the RA, or the station's configuration, so.
    how: How,
    /// How the error begins.
    error: &'static str,
    /// What the RA hears of it.
    told: Told,
}

/// What a row starts from, and where it goes wrong.
#[derive(Clone, Copy)]
enum How {
    /// In the answer to an ir under signature.
    Ir(fn(&mut Ra, &mut Config)),
    /// In the answer to an ir under PasswordBasedMac.
    Mac(fn(&mut Ra, &mut Config)),
    /// In the answer to the certConf of an ir.
    CertConf(fn(&mut Ra)),
    /// In the answer to an operation of this name.
    Operation(&'static str, fn(&mut Ra, &mut Config)),
}

/// What the RA hears of an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    /// The messages that were sent anyway, and nothing else.
    Nothing,
    /// A certConf that refuses.
    CertConf,
}

/// An answer that is refused and that the RA is not told of.
fn row(wrong: &'static str, how: How, error: &'static str) -> Row {
    Row {
        wrong,
        how,
        error,
        told: Told::Nothing,
    }
}

/// A certificate that is refused in certConf.
fn refused(wrong: &'static str, how: How, error: &'static str) -> Row {
    Row {
        told: Told::CertConf,
        ..row(wrong, how, error)
    }
}

fn check(rows: &[Row]) {
    for row in rows {
        let wrong = row.wrong;
        let (config, request, at) = row.how.begin();
        let mut ra = Ra::new();
        let mut broken = config.clone();
        match row.how {
            How::Ir(how) | How::Mac(how) | How::Operation(_, how) => how(&mut ra, &mut broken),
            How::CertConf(_) => {}
        }
        let mut transaction = start(broken, request.clone());
        let failure = drive(&mut ra, &mut transaction, |ra| match row.how {
            How::CertConf(how) if ra.seen.len() == at => how(ra),
            _ => {}
        });
        let failure = failure.expect_err(wrong);
        let error = short(&failure);
        assert!(error.starts_with(row.error), "{wrong}: {error}");
        assert!(
            ra.seen.iter().all(|kind| *kind != BodyType::Error),
            "{wrong}: an end entity sends no error"
        );
        let refusals = ra.messages.iter().filter(|message| is_refusal(message)).count();
        assert_eq!(refusals, usize::from(row.told == Told::CertConf), "{wrong}");
        if row.told == Told::CertConf {
            assert!(is_refusal(ra.messages.last().unwrap()), "{wrong}");
        }
        assert_eq!(transaction.poll_timeout(), None, "{wrong}");
        assert!(failure.to_string().len() > 20, "{wrong}: {failure}");

        let again = drive(&mut Ra::new(), &mut start(config, request), |_| {});
        assert!(again.is_ok(), "{wrong}, and then: {again:?}");
    }
}

impl How {
    /// Configuration, request, and the number of the answer that is wrong.
    fn begin(self) -> (Config, Request, usize) {
        match self {
            Self::Ir(_) => (config(), request().into(), 0),
            Self::Mac(_) => (mac_config(false), request().into(), 0),
            Self::CertConf(_) => (config(), request().into(), 1),
            Self::Operation(name, _) => {
                let (_, config, request) = operations().into_iter().find(|(n, ..)| *n == name).unwrap();
                (config, request, 0)
            }
        }
    }
}

/// Runs to the end, with `before` called before each answer.
fn drive(
    ra: &mut Ra,
    transaction: &mut Transaction,
    mut before: impl FnMut(&mut Ra),
) -> Result<Outcome, Failure> {
    let keys = station_keys();
    let mut time = now();
    loop {
        match transaction.poll_action() {
            Some(Action::Sign { job, key, input, .. }) => {
                let signature = keys[key.0 as usize].sign(&input).unwrap();
                transaction.handle_done(time, job, JobResult::Signed(signature));
            }
            Some(Action::Store { job, .. }) => transaction.handle_done(time, job, JobResult::Stored),
            Some(Action::Send { message, .. }) => {
                before(ra);
                match ra.answer(time, &message) {
                    Some(answer) => transaction.handle_response(time, &answer),
                    None => transaction.handle_transfer_failure(time, TransferFailure::OutcomeUnknown),
                }
            }
            Some(Action::Done(result)) => {
                assert!(transaction.poll_action().is_none(), "something after the end");
                return result;
            }
            Some(_) => {}
            None => {
                time.monotonic = transaction.poll_timeout().expect("something to wait for");
                transaction.handle_timeout(time);
            }
        }
    }
}

/// The error alone.
fn short(failure: &Failure) -> String {
    match failure {
        Failure::Response { error, .. } => format!("{error:?}"),
        Failure::CertificateRefused { refusal, .. } => format!("refused {refusal:?}"),
        Failure::CertificateUnusable { refusal, .. } => format!("unusable {refusal:?}"),
        Failure::Rejected { answer, status, .. } => format!("{answer}: {status}"),
        other => format!("{other:?}"),
    }
}

fn is_refusal(message: &[u8]) -> bool {
    match PkiMessage::from_bytes(message).unwrap().body.into_value() {
        PkiBody::CertConf(content) => content[0]
            .status_info
            .as_ref()
            .is_some_and(|status| status.status == PkiStatus::REJECTION),
        _ => false,
    }
}
