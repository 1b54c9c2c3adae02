//! What the OCPP frames of a connection carry: operations of the binding, exchanges, pieces, whole CMP messages.
//!
//! A [`Transcript`] reads frames as anyone on the wire could, apart from the code that sends and receives them: its
//! numbers are a second opinion.

mod traffic;

use std::collections::VecDeque;

use base64ct::{Base64, Encoding as _};
use cmp_binding::{ExchangeId, Operation, is_vendor_id};
use ocpp_rpc::Frame;
use ocpp_rpc::data_transfer::{ACTION, Request, Response};
use serde_json::{Map, Value};

pub use traffic::{Count, ExchangeTraffic, Traffic};

/// The largest CMP message, in bytes, that is put together from pieces.
pub const MAX_MESSAGE_BYTES: usize = 1 << 20;
const MAX_OPEN_CALLS: usize = 64;
const MAX_PARTIAL: usize = 16;
const MAX_COMPLETED: usize = 256;

/// Which way a frame went, seen from the station.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// Station to CSMS.
    Sent,
    /// CSMS to station.
    Received,
}

/// Which of the two CMP messages of an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Part {
    /// From the station to the RA.
    Request,
    /// From the RA to the station.
    Response,
}

/// What one frame has to do with the binding.
#[derive(Clone, Debug)]
pub struct Transfer {
    /// The operation; `None` for an answer whose call was not seen.
    pub operation: Option<Operation>,
    /// Whether the frame is an answer.
    pub is_answer: bool,
    /// The exchange that the frame, or the call that it answers, is about.
    pub exchange: Option<ExchangeId>,
    /// The piece of a CMP message that it carries.
    pub chunk: Option<Chunk>,
    /// The inner object, without the bytes of the piece.
    pub members: Map<String, Value>,
    /// The outer status of an answer.
    pub status: Option<&'static str>,
    /// The CMP message that this frame completes.
    pub message: Option<Message>,
}

/// A piece of a CMP message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// Size of the whole message in bytes.
    pub len: usize,
    /// Where the piece begins.
    pub off: usize,
    /// Its bytes.
    pub piece: Vec<u8>,
}

/// A CMP message, put together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The exchange; `None` where only the answer of one was seen.
    pub exchange: Option<ExchangeId>,
    /// Request or response; `None` where the call of an answer was not seen.
    pub part: Option<Part>,
    /// The message, byte for byte.
    pub bytes: Vec<u8>,
    /// In how many frames it came.
    pub frames: usize,
}

/// Reads the frames of one connection after another.
#[derive(Debug)]
pub struct Transcript {
    vendor_id: String,
    calls: VecDeque<OpenCall>,
    partial: VecDeque<Partial>,
    completed: VecDeque<(Option<ExchangeId>, Option<Part>)>,
}

#[derive(Debug)]
struct OpenCall {
    message_id: String,
    direction: Option<Direction>,
    operation: Operation,
    exchange: Option<ExchangeId>,
}

#[derive(Debug)]
struct Partial {
    exchange: Option<ExchangeId>,
    part: Option<Part>,
    len: usize,
    bytes: Vec<u8>,
    frames: usize,
}

impl Transcript {
    /// A transcript of a binding whose messages have this `vendorId`.
    #[must_use]
    pub fn new(vendor_id: impl Into<String>) -> Self {
        Self {
            vendor_id: vendor_id.into(),
            calls: VecDeque::new(),
            partial: VecDeque::new(),
            completed: VecDeque::new(),
        }
    }

    /// Reads a frame; `None` if it is not of the binding. Without a `direction`, answers are matched by their id alone.
    pub fn observe(&mut self, direction: Option<Direction>, frame: &Frame<'_>) -> Option<Transfer> {
        match frame {
            Frame::Call { id, action, payload } if action == ACTION => {
                let request = Request::parse(payload).ok()?;
                let ours = is_vendor_id(&self.vendor_id, &request.vendor_id);
                let operation = Operation::parse(request.message_id.as_deref()?).filter(|_| ours)?;
                let members = inner_object(request.data?.content())?;
                let transfer = self.transfer(Some(operation), None, members, None);
                self.open_call(id, direction, operation, transfer.exchange);
                Some(transfer)
            }
            Frame::CallResult { id, payload } => {
                let call = self.close_call(id, direction);
                let response = Response::parse(payload).ok()?;
                let members = response.data.and_then(|data| inner_object(data.content()));
                let call_seen = call.is_some();
                if !call_seen
                    && members
                        .as_ref()
                        .is_none_or(|members| !members.contains_key("len"))
                {
                    return None;
                }
                let (operation, exchange) = call.map_or((None, None), |c| (Some(c.operation), c.exchange));
                let status = Some(response.status.name());
                Some(self.transfer(operation, exchange, members.unwrap_or_default(), status))
            }
            Frame::CallError(failure) => {
                let call = self.close_call(&failure.id, direction)?;
                Some(self.transfer(Some(call.operation), call.exchange, Map::new(), Some("CALLERROR")))
            }
            _ => None,
        }
    }

    fn transfer(
        &mut self,
        operation: Option<Operation>,
        of_call: Option<ExchangeId>,
        mut members: Map<String, Value>,
        status: Option<&'static str>,
    ) -> Transfer {
        let is_answer = status.is_some();
        let chunk = take_chunk(&mut members);
        let exchange = id_member(members.get("id"))
            .or_else(|| id_member(members.get("ready")))
            .or(of_call)
            .or_else(|| id_member(members.get("ack")?.as_array()?.first()));
        let part = operation.map(|operation| match (operation, is_answer) {
            (Operation::Send, false) | (Operation::Pull, true) => Part::Request,
            _ => Part::Response,
        });
        let message = chunk
            .as_ref()
            .and_then(|chunk| self.accept(exchange, part, chunk));
        Transfer {
            operation,
            is_answer,
            exchange,
            chunk,
            members,
            status,
            message,
        }
    }

    fn open_call(
        &mut self,
        id: &str,
        direction: Option<Direction>,
        operation: Operation,
        exchange: Option<ExchangeId>,
    ) {
        if self.calls.len() >= MAX_OPEN_CALLS {
            self.calls.pop_front();
        }
        let message_id = id.to_owned();
        self.calls.push_back(OpenCall {
            message_id,
            direction,
            operation,
            exchange,
        });
    }

    fn close_call(&mut self, id: &str, answer: Option<Direction>) -> Option<OpenCall> {
        let fits = |call: &OpenCall| call.message_id == id && (answer.is_none() || call.direction != answer);
        let at = self.calls.iter().rposition(fits)?;
        self.calls.remove(at)
    }

    /// Adds a piece; returns the message that it completes, the first time.
    fn accept(&mut self, exchange: Option<ExchangeId>, part: Option<Part>, chunk: &Chunk) -> Option<Message> {
        let fits = |partial: &Partial| {
            partial.exchange == exchange && partial.part == part && partial.len == chunk.len
        };
        let end = chunk.off.checked_add(chunk.piece.len())?;
        if chunk.len > MAX_MESSAGE_BYTES || end > chunk.len || self.is_completed(exchange, part) {
            return None;
        }
        let known = self.partial.iter().position(fits);
        let mut partial = known
            .and_then(|at| self.partial.remove(at))
            .unwrap_or_else(|| Partial {
                exchange,
                part,
                len: chunk.len,
                bytes: Vec::new(),
                frames: 0,
            });
        // A repeated piece may overlap; one beyond a gap cannot be used.
        if let Some(new) = partial
            .bytes
            .len()
            .checked_sub(chunk.off)
            .and_then(|held| chunk.piece.get(held..))
        {
            partial.bytes.extend_from_slice(new);
            partial.frames += 1;
        }
        if partial.bytes.len() < chunk.len {
            if self.partial.len() >= MAX_PARTIAL {
                self.partial.pop_front();
            }
            self.partial.push_back(partial);
            return None;
        }
        if self.completed.len() >= MAX_COMPLETED {
            self.completed.pop_front();
        }
        self.completed.push_back((exchange, part));
        Some(Message {
            exchange,
            part,
            bytes: partial.bytes,
            frames: partial.frames,
        })
    }

    fn is_completed(&self, exchange: Option<ExchangeId>, part: Option<Part>) -> bool {
        exchange.is_some() && self.completed.contains(&(exchange, part))
    }
}

fn inner_object(json: &str) -> Option<Map<String, Value>> {
    serde_json::from_str(json).ok()
}

fn id_member(value: Option<&Value>) -> Option<ExchangeId> {
    value?.as_str()?.parse().ok()
}

fn take_chunk(members: &mut Map<String, Value>) -> Option<Chunk> {
    let size = |name| usize::try_from(members.get(name)?.as_u64()?).ok();
    let (len, off) = (size("len")?, size("off")?);
    let piece = Base64::decode_vec(members.get("data")?.as_str()?).ok()?;
    for name in ["len", "off", "data"] {
        members.remove(name);
    }
    Some(Chunk { len, off, piece })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "AAAAAAAAAAAAAAAAAAAAAA";

    fn call(id: &str, operation: &str, data: &str) -> String {
        let data = serde_json::to_string(data).unwrap();
        format!(
            r#"[2,"{id}","DataTransfer",{{"vendorId":"io.github.ocpp-cmp","messageId":"{operation}","data":{data}}}]"#
        )
    }

    fn result(id: &str, data: &str) -> String {
        let data = serde_json::to_string(data).unwrap();
        format!(r#"[3,"{id}",{{"status":"Accepted","data":{data}}}]"#)
    }

    fn observe(transcript: &mut Transcript, text: &str) -> Option<Transfer> {
        transcript.observe(None, &Frame::parse(text).unwrap())
    }

    #[test]
    fn pieces_of_calls_and_answers_become_the_request_and_the_response() {
        let mut transcript = Transcript::new(cmp_binding::VENDOR_ID);
        let first = call(
            "1",
            "CmpSend",
            &format!(r#"{{"id":"{ID}","len":4,"off":0,"data":"MAI="}}"#),
        );
        let second = call(
            "2",
            "CmpSend",
            &format!(r#"{{"id":"{ID}","len":4,"off":2,"data":"BQA="}}"#),
        );
        assert!(observe(&mut transcript, &first).unwrap().message.is_none());
        observe(&mut transcript, &result("1", r#"{"next":2}"#)).unwrap();
        let request = observe(&mut transcript, &second).unwrap().message.unwrap();
        assert_eq!((request.part, request.frames), (Some(Part::Request), 2));
        assert_eq!(request.bytes, [0x30, 2, 5, 0]);
        let answer = observe(
            &mut transcript,
            &result("2", r#"{"len":2,"off":0,"data":"MAA="}"#),
        )
        .unwrap();
        let response = answer.message.unwrap();
        assert_eq!(response.exchange, Some(ID.parse().unwrap()));
        assert_eq!(
            (response.part, response.bytes),
            (Some(Part::Response), vec![0x30, 0])
        );
        // Once more is not once more a message.
        assert!(observe(&mut transcript, &second).unwrap().message.is_none());
    }

    #[test]
    fn frames_of_others_are_not_of_the_binding() {
        let mut transcript = Transcript::new("somebody.else");
        assert!(observe(&mut transcript, &call("1", "CmpSend", "{}")).is_none());
        assert!(observe(&mut transcript, r#"[2,"2","Heartbeat",{}]"#).is_none());
        assert!(observe(&mut transcript, r#"[3,"2",{"currentTime":"x"}]"#).is_none());
    }

    #[test]
    fn absurd_sizes_and_gaps_give_no_message() {
        let mut transcript = Transcript::new(cmp_binding::VENDOR_ID);
        for data in [
            r#"{"len":18446744073709551615,"off":0,"data":"MAA="}"#,
            r#"{"len":2,"off":18446744073709551615,"data":"MAA="}"#,
            r#"{"len":1,"off":0,"data":"MAA="}"#,
            r#"{"len":4,"off":2,"data":"MAA="}"#,
        ] {
            let transfer = observe(&mut transcript, &call("1", "CmpDeliver", data)).unwrap();
            assert!(transfer.message.is_none(), "{data}");
        }
    }
}
