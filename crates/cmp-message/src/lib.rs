//! CMP messages as RFC 9810 and RFC 4211 define them: their ASN.1, their protection, and the generic checks of
//! RFC 9483 §3.
//!
//! A [`PkiMessage`] keeps the bytes of what it was parsed from, so that protection and proofs are checked over what
//! was received. Types that are only passed on stay [`Raw`].
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(feature = "std")]
extern crate std;

mod body;
mod cert_response;
pub mod certificate;
mod confirm;
pub mod crl;
mod crmf;
pub mod crypto;
#[cfg(feature = "envelope")]
pub mod envelope;
mod error_message;
mod exact;
pub mod general;
mod header;
pub mod mac;
mod message;
pub mod path;
mod poll;
mod revocation;
mod status;
pub mod validate;

pub use body::{BodyType, PkiBody};
pub use cert_response::{CertOrEncCert, CertRepMessage, CertResponse, CertifiedKeyPair};
pub use confirm::{CertConfirmContent, CertStatus, cert_conf_hash};
pub use crmf::{
    AttributeTypeAndValue, CertId, CertReqMessages, CertReqMsg, CertRequest, CertTemplate, OptionalValidity,
    PopoSigningKey, ProofOfPossession, REG_CTRL_OLD_CERT_ID,
};
pub use error_message::ErrorMsgContent;
pub use exact::{Exact, Raw};
pub use general::{GenMsgContent, InfoTypeAndValue};
pub use header::{CMP_2000, CMP_2021, PkiHeader};
pub use message::PkiMessage;
pub use poll::{PollRep, PollRepContent, PollReq, PollReqContent};
pub use revocation::{RevDetails, RevRepContent, RevReqContent};
pub use status::{PkiFailure, PkiFailureInfo, PkiFreeText, PkiStatus, PkiStatusInfo};
