//! An RA and CA for labs and tests: it speaks CMP (RFC 9810) as RFC 9483 profiles it, and really issues certificates.
//!
//! **For labs.** Keys lie in files, whoever holds a manufacturer certificate or a shared secret gets the name that it
//! asks for, and nothing is audited. It is a peer to test against, not a PKI to trust.
//!
//! - [`Pki`] is the hierarchy: root, issuing CA, RA, KGA, manufacturer root and CA. It lives in memory or in a folder.
//! - [`Ra`] is the protocol: a request's bytes and the time go in, the bytes of the answer come out. It does no IO
//!   beyond its [`Store`].
//! - [`http::serve`] carries it over HTTP (RFC 9811).
#![forbid(unsafe_code)]

mod atomic_file;
mod config;
mod config_file;
mod endpoint;
pub mod http;
mod order;
mod pkcs10;
mod pki;
mod profile;
mod protection;
mod ra;
mod revocation_reason;
mod store;
mod upstream;
mod x509;

pub use config::{Approval, HeaderRules, ImplicitConfirm, KeyGeneration, PollAfter, RaConfig};
pub use config_file::{ConfigError, ConfigFile, InitialCertificate, body_type, read_certificates};
pub use endpoint::Endpoint;
pub use pki::{Authority, Credential, Pki, PkiError, RaIdentity, RootUpdate};
pub use profile::{BadSubjectRule, Profile, SubjectAttribute};
pub use ra::{
    Asked, Batch, BatchInFront, Bundle, Forward, ForwardConfig, Forwarder, OutgoingFile, Ra, Step, Ticket,
    WithoutCrl,
};
pub use revocation_reason::{RevocationReason, UnknownReason};
pub use store::{CertificateRecord, CertificateStatus, PendingRequest, RevokeError, Store, StoreError};
pub use upstream::{
    AnswerError, CrlFiles, Found, HttpUpstream, MAX_RESPONSE_BYTES, RaService, Spool, SpoolError, Tray,
    Upstream, UpstreamError, answer_spool,
};
