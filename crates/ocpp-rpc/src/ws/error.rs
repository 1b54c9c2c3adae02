//! What can go wrong on a WebSocket.

use std::{fmt, io};

use tokio_tungstenite::tungstenite;

/// Why a handshake or a connection failed.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The socket failed or ended without a close frame.
    Io(io::Error),
    /// The peer broke the rules of HTTP or WebSocket.
    Protocol(tungstenite::Error),
    /// The peer sent a message above the limit; the connection was closed with 1009.
    TooLarge,
    /// The peer sent a binary message; the connection was closed with 1003.
    Binary,
    /// The handshake, a write or the answer to a ping took too long.
    TimedOut(&'static str),
    /// The head of the HTTP request is above the limit; answered with 431.
    HeadTooLarge,
    /// Client and server have no subprotocol in common.
    NoCommonSubprotocol,
    /// The path names no station; answered with 404.
    Identity(super::InvalidStationPath),
    /// The server answered the handshake with this HTTP status.
    Refused(u16),
    /// The URL is not `ws://host[:port]/path`, or the identity or a header cannot be sent.
    Url,
    /// The message to send is above the limit of this side, or the connection is closed.
    NotSent,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(_) => f.write_str("socket failed"),
            Self::Protocol(_) => f.write_str("peer broke the WebSocket protocol"),
            Self::TooLarge => f.write_str("message above the limit"),
            Self::Binary => f.write_str("binary message"),
            Self::TimedOut(what) => write!(f, "{what} timed out"),
            Self::HeadTooLarge => f.write_str("HTTP head above the limit"),
            Self::NoCommonSubprotocol => f.write_str("no common subprotocol"),
            Self::Identity(_) => f.write_str("no valid station identity in the path"),
            Self::Refused(status) => write!(f, "server refused the handshake with HTTP status {status}"),
            Self::Url => f.write_str("not a usable WebSocket URL or header"),
            Self::NotSent => f.write_str("message above the limit or connection closed"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io(source) => Some(source),
            Self::Protocol(source) => Some(source),
            Self::Identity(source) => Some(source),
            _ => None,
        }
    }
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<tungstenite::Error> for Error {
    fn from(error: tungstenite::Error) -> Self {
        use tungstenite::Error as Ws;
        use tungstenite::error::{ProtocolError, SubProtocolError};
        match error {
            Ws::Io(error) => Self::Io(error),
            Ws::Capacity(_) => Self::TooLarge,
            Ws::Http(response) => Self::Refused(response.status().as_u16()),
            Ws::Url(_) | Ws::HttpFormat(_) => Self::Url,
            Ws::WriteBufferFull(_) | Ws::ConnectionClosed | Ws::AlreadyClosed => Self::NotSent,
            Ws::Protocol(ProtocolError::SendAfterClosing) => Self::NotSent,
            Ws::Protocol(ProtocolError::SecWebSocketSubProtocolError(SubProtocolError::NoSubProtocol)) => {
                Self::NoCommonSubprotocol
            }
            Ws::Protocol(ProtocolError::ResetWithoutClosingHandshake) => {
                Self::Io(io::ErrorKind::ConnectionReset.into())
            }
            other => Self::Protocol(other),
        }
    }
}
