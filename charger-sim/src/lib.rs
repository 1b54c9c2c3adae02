//! A charging station to try CMP over OCPP with.
//!
//! - [`link`]: a station's OCPP connection, which drives one [`link::Carrier`] of CMP.
//! - [`transcript`]: what the OCPP frames of a connection carry: exchanges, pieces, whole CMP messages, traffic.
//! - [`tunnel`]: CMP over HTTP in, OCPP out.
//! - [`decode`]: frames, CMP messages and certificates as text for a person.
#![forbid(unsafe_code)]

pub mod bench;
pub mod decode;
pub mod demo;
pub mod failure;
pub mod fleet;
mod latency;
pub mod link;
pub mod report;
pub mod signals;
pub mod station;
pub mod transcript;
pub mod tunnel;

pub use failure::Failure;
