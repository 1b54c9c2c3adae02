//! What a transaction asks for, and what it is told.

use alloc::{string::String, vec::Vec};
use core::time::Duration;

use cmp_message::{BodyType, PkiStatusInfo, crypto::SignatureAlgorithm};
#[cfg(feature = "envelope")]
use cmp_message::{envelope::KeyTransport, mac::Secret};

use crate::{Failure, KeyId, Outcome};

/// Names an action, so that its completion can be told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct JobId(pub(crate) u32);

/// What is to be done.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Action {
    /// Sign, then call `handle_done`.
    Sign {
        /// To be named in `handle_done`.
        job: JobId,
        /// With which key.
        key: KeyId,
        /// How.
        algorithm: SignatureAlgorithm,
        /// What, not hashed yet.
        input: Vec<u8>,
    },
    /// ECDH with the key that protects our messages, then call `handle_done` (RFC 9483 §4.1.6.2).
    #[cfg(feature = "envelope")]
    Agree {
        /// To be named in `handle_done`.
        job: JobId,
        /// With which key.
        key: KeyId,
        /// The public key of the other side, DER of SubjectPublicKeyInfo, on the same curve.
        public_key: Vec<u8>,
    },
    /// RSA decryption with the key that protects our messages, then call `handle_done` (RFC 9483 §4.1.6.1).
    #[cfg(feature = "envelope")]
    Decrypt {
        /// To be named in `handle_done`.
        job: JobId,
        /// With which key.
        key: KeyId,
        /// How.
        algorithm: KeyTransport,
        /// What.
        encrypted_key: Vec<u8>,
    },
    /// Keep this in place of what was kept before, then call `handle_done`. Holds no secret. After [`Action::Done`] it may be
    /// thrown away.
    Store {
        /// To be named in `handle_done`.
        job: JobId,
        /// For [`Transaction::resume`](crate::Transaction::resume).
        state: Vec<u8>,
    },
    /// Send this message, then call `handle_response` or `handle_transfer_failure`.
    Send {
        /// Only for logs: a transaction has one message under way.
        job: JobId,
        /// DER of a PKIMessage.
        message: Vec<u8>,
        /// It begins a transaction at the RA; the others must reach the same RA.
        first: bool,
    },
    /// Nothing to do: something that people may want to know.
    Report(Report),
    /// It is over. The last action.
    Done(Result<Outcome, Failure>),
}

/// The completion of an action that names a job and is no [`Action::Send`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JobResult {
    /// The signature.
    Signed(Vec<u8>),
    /// What [`Action::Agree`] gave, the x-coordinate of the shared point, or [`Action::Decrypt`].
    #[cfg(feature = "envelope")]
    Recovered(Secret),
    /// The state is kept, and survives a loss of power.
    Stored,
    /// It could not be done.
    Failed,
}

/// Why there is no response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransferFailure {
    /// The message has certainly not reached the RA; the same is to be sent again.
    NotSent {
        /// After this time.
        retry_after: Duration,
    },
    /// Nobody knows whether the RA has seen the message.
    OutcomeUnknown,
    /// The way to the RA is closed for this message: sending it again has no sense.
    Refused,
}

/// Something to know that changes nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Report {
    /// The RA needs time.
    Waiting {
        /// It is asked again after this many seconds.
        check_after_s: u64,
        /// What it says to that.
        reason: Vec<String>,
    },
    /// The RA wants more than a day.
    Suspended {
        /// It is asked again after this many seconds.
        check_after_s: u64,
    },
    /// The certificate has another subject than was asked for, and the RA said so.
    Modified,
    /// From the issued certificate no chain leads to an anchor that is known here.
    IncompleteChain,
    /// caPubs came from somebody who may not hand out trust anchors, and were not looked at.
    CaPubsIgnored {
        /// How many.
        count: usize,
    },
    /// The request is sent again in a new transaction.
    NewTransaction {
        /// Which attempt this is, from 2.
        attempt: u8,
    },
    /// The same message is sent again.
    Repeating {
        /// What it is.
        message: BodyType,
    },
    /// The certificate is not taken, and the RA is being told.
    Refusing {
        /// As it is told.
        status: PkiStatusInfo,
    },
    /// A response that nobody had asked for was dropped.
    UnexpectedResponse,
}
