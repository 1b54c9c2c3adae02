//! A transaction from end to end where keys are in memory and answers come at once: tests, benchmarks, tools.

use alloc::vec::Vec;

use cmp_message::crypto::SigningKey;

use crate::{Action, Failure, JobResult, KeyId, Outcome, Time, Transaction, TransferFailure};

/// Drives `transaction` to its end. `keys` finds a private key, `send` carries a message and gives the answer, or `None`
/// where there is none. Nothing is stored; time is moved on to whatever is waited for.
///
/// # Errors
/// The transaction's [`Failure`].
pub fn drive<'k>(
    transaction: &mut Transaction,
    mut now: Time,
    keys: impl Fn(KeyId) -> Option<&'k dyn SigningKey>,
    mut send: impl FnMut(Time, &[u8]) -> Option<Vec<u8>>,
) -> Result<Outcome, Failure> {
    loop {
        match transaction.poll_action() {
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
