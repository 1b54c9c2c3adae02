//! The end entity's side of the Lightweight CMP Profile (RFC 9483 §4), as values without IO.
//!
//! A [`Transaction`] is one operation, from the request to its end: a certificate (`ir`, `cr`, `kur`, `p10cr`), a
//! revocation (`rr`), or something to know (`genm`). Bytes, time and randomness go in through `handle_*`, work comes out of [`Transaction::poll_action`]: a signature to make, a state to
//! keep, a message to send. Private keys are never here. A transaction that was kept by [`Action::Store`] is taken up
//! again by [`Transaction::resume`] wherever the process died.
//!
//! [`drive`] runs a transaction at once where keys are in memory and answers come immediately.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod action;
mod config;
pub mod drive;
mod failure;
mod issued;
mod outcome;
mod outgoing;
mod record;
mod request;
mod response_error;
mod root_update;
mod seed;
mod template;
mod transaction;

pub use action::{Action, JobId, JobResult, Report, TransferFailure};
pub use config::{Config, KeyId, Modifications, Protection, Time};
pub use failure::{Exchange, Failure, RequestError, StateError};
pub use issued::Refusal;
pub use outcome::{Enrolled, Outcome, Revoked};
pub use request::{
    CertificateRequest, CrlUpdate, GeneralRequest, NewKey, Operation, Pkcs10Request, Request,
    RevocationRequest,
};
pub use response_error::ResponseError;
pub use root_update::{RootCaKeyUpdate, RootCertificate, RootUpdateError};
pub use template::{CertReqTemplate, KeySpec, TemplateError};
pub use transaction::Transaction;
