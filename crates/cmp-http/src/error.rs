use std::{io, path::PathBuf};

/// Why there is no answer, by who is to blame.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No connection: nothing was written.
    #[error("no connection: {0}")]
    Connect(io::ErrorKind),
    /// No connection in time: nothing was written.
    #[error("no connection in time")]
    ConnectTimeout,
    /// The server has no certificate that the anchors vouch for, or wants TLS otherwise: nothing was written.
    #[error("no TLS: {0}")]
    Tls(rustls::Error),
    /// The answer did not come in time. Whether the server did what was asked for is not known.
    #[error("no answer in time")]
    Timeout,
    /// The connection broke before the answer was there. Whether the server did what was asked for is not known.
    #[error("the connection broke off before the answer was there")]
    BrokeOff,
    /// An HTTP status without a message, a redirect included.
    #[error("HTTP status {0} without a CMP message")]
    Status(u16),
    /// The answer's Content-Type is another than `application/pkixcmp`.
    #[error("the answer is not application/pkixcmp")]
    ContentType,
    /// The answer has no body.
    #[error("the answer is empty")]
    Empty,
    /// The answer's body is not exactly one DER SEQUENCE: half a message, two, or none.
    #[error("the answer is not one whole DER SEQUENCE")]
    NotOneMessage,
    /// The answer has more than [`Limits::max_response_bytes`](crate::Limits::max_response_bytes).
    #[error("the answer is too large")]
    TooLarge,
}

impl Error {
    /// Whether a byte of the message may have been written. If not, it may be sent again, or elsewhere.
    pub fn was_sent(&self) -> bool {
        !matches!(self, Self::Connect(_) | Self::ConnectTimeout | Self::Tls(_))
    }
}

/// Why a way to a server cannot be set up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A file cannot be read.
    #[error("cannot read {}: {error}", file.display())]
    Io {
        /// Which.
        file: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// A file is not PEM with a certificate.
    #[error("{} has no certificate in PEM, or a damaged one", .0.display())]
    Certificate(PathBuf),
    /// A file is not PEM with a private key.
    #[error("{} has no private key in PEM, or a damaged one", .0.display())]
    Key(PathBuf),
    /// Certificate and private key do not belong together, or are of a kind that TLS has no use for.
    #[error("the certificate and the private key are of no use for TLS: {0}")]
    Identity(rustls::Error),
    /// A server that is reached by HTTPS has to be known by somebody: no other anchors are believed.
    #[error("https needs trust anchors")]
    NoAnchors,
    /// Anchors would suggest a safety that a URL with http does not have.
    #[error("http has no trust anchors: the URL should be https")]
    NotHttps,
    /// The host of a URL is nothing that a certificate can be for.
    #[error("the host of the URL is neither a DNS name nor an IP address")]
    Host,
}
