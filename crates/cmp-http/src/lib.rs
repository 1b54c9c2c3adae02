//! CMP over HTTP and HTTPS as a client (RFC 9811).
//!
//! A [`Client`] posts one DER message and gives back one DER message. It knows nothing of CMP but that: what is in a
//! message is for others to read. Redirects are not followed, and a message is written at most once, so that whoever
//! gets it is not asked twice; [`Error::was_sent`] says whether it may have been. Bytes and times are bounded by
//! [`Limits`].
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use cmp_http::{Client, Limits, Tls};
//!
//! let tls = Tls::with_anchors("anchors.pem".as_ref())?.with_client("cert.pem".as_ref(), "key.pem".as_ref())?;
//! let client = Client::new("https://ca.example/.well-known/cmp".parse()?, Some(tls), Limits::default())?;
//! let answer = client.post(b"0\0").await?;
//! # Ok(()) }
//! ```
#![forbid(unsafe_code)]

mod client;
mod connection;
mod error;
mod tls;
mod url;

pub use client::{Client, Connection, Limits, MediaType};
pub use error::{Error, TlsError};
pub use tls::Tls;
pub use url::{BadUrl, Url};

/// The media type of CMP messages.
pub const PKIXCMP: &str = "application/pkixcmp";

/// Whether this is the media type of CMP messages. It may have parameters, and is written in any case.
pub fn is_pkixcmp(content_type: &str) -> bool {
    let media_type = content_type.split(';').next().unwrap_or_default();
    media_type.trim().eq_ignore_ascii_case(PKIXCMP)
}
