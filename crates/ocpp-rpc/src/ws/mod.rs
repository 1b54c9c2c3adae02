//! OCPP-J's WebSocket on tokio: client, server and the connection that both end up with.
//!
//! No extension is offered and none accepted, so there is no compression (RFC 7692); OCPP 2.x asks for it of servers,
//! the WebSocket library underneath does not have it.

mod client;
mod connection;
mod error;
mod identity;
mod server;

pub use client::{ClientOptions, Header, connect, connect_over, connect_tcp, station_url};
pub use connection::{CloseCode, Connection, Progress};
pub use error::Error;
pub use identity::{
    BasicAuth, IDENTITY_MAX_CHARS, InvalidStationPath, StationPath, basic_auth_header, percent_encode,
};
pub use server::{Handshake, Refusal, ServerOptions};

use std::time::Duration;

use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;

/// Limits and times of a connection.
#[derive(Clone, Debug)]
pub struct Limits {
    /// The largest message in bytes; one that is larger is answered with close code 1009. Default 1 MiB.
    pub max_message_bytes: usize,
    /// The largest head of an HTTP request in bytes. Default 8 KiB.
    pub max_head_bytes: usize,
    /// How long a handshake may take. Default 10 s.
    pub handshake_timeout: Duration,
    /// A ping is sent after this long without a message from the peer; `None`: never. Default 60 s.
    pub ping_interval: Option<Duration>,
    /// How long the peer may stay silent after a ping. Default 20 s.
    pub pong_timeout: Duration,
    /// How long the peer may take to take what is sent to it. Default 20 s.
    pub write_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_message_bytes: 1 << 20,
            max_head_bytes: 8 << 10,
            handshake_timeout: Duration::from_secs(10),
            ping_interval: Some(Duration::from_secs(60)),
            pong_timeout: Duration::from_secs(20),
            write_timeout: Duration::from_secs(20),
        }
    }
}

impl Limits {
    fn websocket(&self) -> WebSocketConfig {
        // A connection of a fleet is idle nearly always: small buffers that grow with a message. Room for two
        // messages and some control frames is enough, as every send flushes.
        WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER_BYTES)
            .write_buffer_size(0)
            .max_write_buffer_size(
                self.max_message_bytes
                    .saturating_mul(2)
                    .saturating_add(READ_BUFFER_BYTES),
            )
            .max_message_size(Some(self.max_message_bytes))
            .max_frame_size(Some(self.max_message_bytes))
    }
}

const READ_BUFFER_BYTES: usize = 4 << 10;
