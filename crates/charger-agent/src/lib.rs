//! The life of a charging station's certificates: CMP (RFC 9810, profiled by RFC 9483) inside OCPP DataTransfer.
//!
//! [`Agent`] is what firmware talks to. It does no IO: DataTransfers, time and completions go in, calls and actions
//! come out. With the feature `std` there are also keys in software and credentials in files.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(feature = "std")]
extern crate std;

mod agent;
mod record;
#[cfg(feature = "std")]
#[path = "std/mod.rs"]
pub mod shell;

pub use agent::{Action, Agent, JobId, JobResult, Report, ResumeError};
pub use cmp_binding as binding;
pub use cmp_client as client;
