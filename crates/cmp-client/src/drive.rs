//! A transaction from end to end where keys are in memory and answers come at once: tests, benchmarks, tools.

use alloc::vec::Vec;

use cmp_message::crypto::SigningKey;
#[cfg(feature = "envelope")]
use cmp_message::{envelope::RecipientKey, mac::Secret};

use crate::{Action, Failure, JobResult, KeyId, Outcome, Time, Transaction, TransferFailure};

/// Drives `transaction` to its end. `keys` finds a private key, `send` carries a message and gives the answer, or `None`
/// where there is none. Nothing is stored; time is moved on to whatever is waited for. No key decrypts:
/// [`drive_with`] takes some that do.
///
/// # Errors
/// The transaction's [`Failure`].
pub fn drive<'k>(
    transaction: &mut Transaction,
    now: Time,
    keys: impl Fn(KeyId) -> Option<&'k dyn SigningKey>,
    send: impl FnMut(Time, &[u8]) -> Option<Vec<u8>>,
) -> Result<Outcome, Failure> {
    run(transaction, now, keys, |_| None, send)
}

/// The same with keys that a delivered key can be encrypted for.
///
/// # Errors
/// The transaction's [`Failure`].
#[cfg(feature = "envelope")]
pub fn drive_with<'k>(
    transaction: &mut Transaction,
    now: Time,
    keys: impl Fn(KeyId) -> Option<&'k dyn SigningKey>,
    recipients: impl Fn(KeyId) -> Option<&'k dyn RecipientKey>,
    send: impl FnMut(Time, &[u8]) -> Option<Vec<u8>>,
) -> Result<Outcome, Failure> {
    let recover = |action: &Action| {
        let secret = match action {
            Action::Agree { key, public_key, .. } => recipients(*key)?.agree(public_key),
            Action::Decrypt {
                key,
                algorithm,
                encrypted_key,
                ..
            } => recipients(*key)?.decrypt(*algorithm, encrypted_key),
            _ => return None,
        };
        let secret = secret.ok()?;
        Some(JobResult::Recovered(Secret::new(secret.to_vec())))
    };
    run(transaction, now, keys, recover, send)
}

#[cfg_attr(
    not(feature = "envelope"),
    expect(unused_variables, reason = "nothing is recovered")
)]
fn run<'k>(
    transaction: &mut Transaction,
    mut now: Time,
    keys: impl Fn(KeyId) -> Option<&'k dyn SigningKey>,
    recover: impl Fn(&Action) -> Option<JobResult>,
    mut send: impl FnMut(Time, &[u8]) -> Option<Vec<u8>>,
) -> Result<Outcome, Failure> {
    loop {
        match transaction.poll_action() {
            #[cfg(feature = "envelope")]
            Some(action @ (Action::Agree { job, .. } | Action::Decrypt { job, .. })) => {
                let result = recover(&action).unwrap_or(JobResult::Failed);
                transaction.handle_done(now, job, result);
            }
            Some(Action::Sign { job, key, input, .. }) => {
                let signature = keys(key).and_then(|key| key.sign(&input).ok());
                let result = signature.map_or(JobResult::Failed, JobResult::Signed);
                transaction.handle_done(now, job, result);
            }
            Some(Action::Store { job, .. }) => transaction.handle_done(now, job, JobResult::Stored),
            Some(Action::Send { message, .. }) => match send(now, &message) {
                Some(answer) => transaction.handle_response(now, &answer),
                None => transaction.handle_transfer_failure(now, TransferFailure::OutcomeUnknown),
            },
            Some(Action::Report(_)) => {}
            Some(Action::Done(result)) => return result,
            None => {
                let Some(due) = transaction.poll_timeout() else {
                    return Err(Failure::GivenUp);
                };
                let passed = due.saturating_sub(now.monotonic);
                now.utc_s = now.utc_s.map(|s| s.saturating_add(passed.as_secs()));
                now.monotonic = now.monotonic.max(due);
                transaction.handle_timeout(now);
            }
        }
    }
}
