//! CMP messages carried inside OCPP DataTransfer.
//!
//! The wire contract is `docs/binding.md`. This crate is both ends of it as values without IO: bytes and time go in,
//! calls, answers and events come out. [`station::Station`] is a charging station, [`csms::Csms`] is what the CSMS
//! side knows of one station. Nothing here reads a CMP message beyond the length of its outermost SEQUENCE.
//!
//! # Time
//! Every `now` is a [`core::time::Duration`] since a start of the caller's choice and never runs backwards. A station
//! takes its monotonic clock. The CSMS side takes a clock that goes on over a restart (time since 1970), because how
//! long a response is kept must survive one.
//!
//! # Who owns what
//! The caller owns the socket, the OCPP-J message ids, the call time-out and the storage. It gives every DataTransfer
//! whose vendorId is ours ([`is_vendor_id`]) to `handle_call`, sends what `poll_call` returns, and reports how each
//! call ended through `handle_result`.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod assembly;
mod config;
mod data;
mod error;
mod frame;
mod id;
mod wire;

pub mod csms;
pub mod station;

pub use assembly::is_one_sequence;
pub use config::{DEFAULT_MAX, DEFAULT_UNIT, MIN_UNIT, VERSION};
pub use data::{Answer, Call, CallOutcome, CallToken, Data, Form, Status};
pub use error::{ErrorCode, InvalidId, InvalidRoute, TransferError};
pub use frame::Envelope;
pub use id::{DoOperation, ExchangeId, Operation, Route, VENDOR_ID, is_vendor_id};
pub use wire::{MAX_ACKS, SlotReport};
