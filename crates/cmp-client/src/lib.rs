//! The end entity's side of the Lightweight CMP Profile (RFC 9483 §4), as values without IO.
//!
//! A [`Transaction`] is one enrolment (`ir`) or one update (`kur`), from the request to the confirmation. Bytes, time and
//! randomness go in through `handle_*`, work comes out of [`Transaction::poll_action`]: a signature to make, a state to
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
mod outgoing;
mod record;
mod request;
mod seed;
mod transaction;

pub use action::{Action, Enrolled, JobId, JobResult, Report, TransferFailure};
pub use config::{Config, KeyId, Modifications, Protection, Time};
pub use failure::{Exchange, Failure, ResponseError, StateError};
pub use issued::Refusal;
pub use request::{Operation, Request};
pub use transaction::Transaction;
