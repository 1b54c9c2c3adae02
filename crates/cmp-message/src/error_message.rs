//! Error messages (RFC 9810 §5.3.21).

use der::{Sequence, asn1::Int};

use crate::{PkiFreeText, PkiStatusInfo};

/// ```text
/// ErrorMsgContent ::= SEQUENCE {
///     pKIStatusInfo  PKIStatusInfo,
///     errorCode      INTEGER      OPTIONAL,
///     errorDetails   PKIFreeText  OPTIONAL }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Sequence)]
pub struct ErrorMsgContent {
    /// What failed; `waiting` where the response to any request is delayed (RFC 9483 §4.4).
    pub pki_status_info: PkiStatusInfo,
    /// The implementation's own number.
    pub error_code: Option<Int>,
    /// For a person.
    pub error_details: Option<PkiFreeText>,
}

impl From<PkiStatusInfo> for ErrorMsgContent {
    fn from(pki_status_info: PkiStatusInfo) -> Self {
        Self {
            pki_status_info,
            error_code: None,
            error_details: None,
        }
    }
}
