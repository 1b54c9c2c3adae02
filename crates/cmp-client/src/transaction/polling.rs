//! Delayed delivery (RFC 9483 §4.4).

use alloc::{string::String, vec::Vec};
use core::time::Duration;

use cmp_message::{BodyType, PkiStatusInfo, PollRep};

use super::{Phase, Then, Transaction};
use crate::{Failure, Report, ResponseError, Time};

/// checkAfter above this is reported as suspension, and honoured.
const SUSPENDED_S: u64 = 24 * 3600;

impl Transaction {
    /// The answer needs time. `poll_id` is the certReqId that said so, or −1 where an `error` did.
    ///
    /// # Errors
    /// In answer to a pollReq, where only a pollRep says that it still needs time: it would be asked for without end.
    pub(super) fn waiting(&mut self, now: Time, poll_id: i64, status: &PkiStatusInfo) -> Result<(), Failure> {
        if self.sent == BodyType::PollReq {
            return Err(self.response_error(ResponseError::UnexpectedStatus(status.clone())));
        }
        // The first pollReq goes out at once: how long to wait is said in its answer.
        self.poll_id = poll_id;
        self.phase = Phase::Poll(now.monotonic);
        self.handle_timeout(now);
        Ok(())
    }

    pub(super) fn poll_rep(&mut self, now: Time, content: &[PollRep]) -> Result<(), Failure> {
        let [rep] = content else {
            return Err(self.response_error(ResponseError::ResponseCount(content.len())));
        };
        if rep.cert_req_id != self.poll_id {
            return Err(self.response_error(ResponseError::CertReqId(rep.cert_req_id)));
        }
        let check_after_s = u64::try_from(rep.check_after)
            .ok()
            .filter(|s| *s > 0)
            .ok_or_else(|| self.response_error(ResponseError::CheckAfter(rep.check_after)))?;
        let reason: Vec<String> = rep.reason.clone().unwrap_or_default();
        self.report(if check_after_s > SUSPENDED_S {
            Report::Suspended { check_after_s }
        } else {
            Report::Waiting {
                check_after_s,
                reason,
            }
        });
        // The peer's nonce and the delay must outlive a restart: the next pollReq names the one after the other.
        self.store(now, Then::Poll(check_after_s))
    }

    pub(super) fn poll_after(&mut self, now: Time, check_after_s: u64) {
        self.phase = Phase::Poll(now.monotonic.saturating_add(Duration::from_secs(check_after_s)));
    }
}
