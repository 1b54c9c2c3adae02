//! What each fuzz target does with its input, as plain functions: the targets in `fuzz_targets/` and the tests over
//! the seeds in `tests/` call the same ones. A function returns for every input, or it has found a bug.

mod binding;
mod binding_sequence;
mod bridge_header;
mod client_sequence;
mod envelope;
mod keys;
mod message;
mod ocpp;
mod seeds;
mod splice;

pub use binding::{binding_csms, binding_station};
pub use binding_sequence::binding_sequence;
pub use bridge_header::bridge_header;
pub use client_sequence::client_sequence;
pub use envelope::enveloped_data;
pub use keys::{private_key, public_key};
pub use message::{certificate, crl, pki_body, pki_message, validation};
pub use ocpp::{data_transfer, ocpp_frame};
pub use seeds::{TARGETS, Target, seeds};
pub use splice::splice;
