//! Polling (RFC 9810 §5.3.22).

use alloc::vec::Vec;
use der::Sequence;

use crate::PkiFreeText;

/// `PollReqContent`: one entry in the profile.
pub type PollReqContent = Vec<PollReq>;
/// `PollRepContent`: one entry in the profile.
pub type PollRepContent = Vec<PollRep>;

/// Asks whether the response for a request is there.
#[derive(Clone, Debug, PartialEq, Eq, Sequence)]
pub struct PollReq {
    /// 0, or −1 for a p10cr and for bodies without certReqId.
    pub cert_req_id: i64,
}

/// Not yet.
#[derive(Clone, Debug, PartialEq, Eq, Sequence)]
pub struct PollRep {
    /// As in the pollReq.
    pub cert_req_id: i64,
    /// Ask again after this many seconds, not earlier. What the peer says: check it before use.
    pub check_after: i64,
    /// Why, for a person.
    pub reason: Option<PkiFreeText>,
}
