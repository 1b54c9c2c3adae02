//! OCPP-J, the JSON over WebSocket transport of OCPP 1.6, 2.0.1 and 2.1.
//!
//! - [`Frame`]: the messages CALL, CALLRESULT, CALLERROR, CALLRESULTERROR and SEND. Payloads stay the bytes that were
//!   received; they are never rebuilt.
//! - [`Endpoint`]: one side of a connection as a value. Frames and the time go in, frames and events come out; one CALL
//!   is outstanding per direction, everything queued is bounded.
//! - [`Splice`]: a station's connection and the one to its CSMS passed on to each other as they are, with calls of an
//!   own and DataTransfers of one vendor in between.
//! - [`data_transfer`]: DataTransfer of the three versions, and the exact size of its frames.
//! - [`Backoff`]: how long to wait before connecting again.
//! - `ws` (feature `ws`): WebSocket client and server on tokio.
//!
//! The crate is `no_std` and reads neither clock nor randomness, except in `ws`.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(feature = "std")]
extern crate std;

mod backoff;
pub mod data_transfer;
pub mod endpoint;
mod error_code;
pub mod frame;
mod json;
mod own_id;
pub mod splice;
mod version;
#[cfg(feature = "ws")]
pub mod ws;

pub use backoff::Backoff;
pub use endpoint::Endpoint;
pub use error_code::ErrorCode;
pub use frame::Frame;
pub use serde_json::value::RawValue;
pub use splice::Splice;
pub use version::Version;
