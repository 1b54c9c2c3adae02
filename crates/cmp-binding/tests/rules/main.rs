//! One test for each rule of `docs/binding.md` that a single side decides.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs
)]

#[path = "../harness/mod.rs"]
mod harness;

mod csms_limits;
mod csms_pull;
mod csms_ra;
mod form;
mod station_acknowledges;
mod station_called;
mod station_exchange;
