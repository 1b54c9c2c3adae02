//! The messages of OCPP-J (1.6-J section 4.2; 2.x Part 4 section 4.2).

use alloc::borrow::Cow;
use alloc::string::String;
use core::fmt;

use serde::de::{DeserializeSeed, Deserializer as _, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::{ErrorCode, Version, json};

/// The longest message id, in characters (1.6-J and 2.x Part 4, section 4.1.4).
pub const MESSAGE_ID_MAX_CHARS: usize = 36;

/// The message id of a CALLERROR for a message whose id could not be read (2.x Part 4 section 4.2.3; 1.6 names none).
pub const UNREADABLE_ID: &str = "-1";

/// The longest error description, in characters (2.x Part 4 section 4.2.3).
pub const DESCRIPTION_MAX_CHARS: usize = 255;

/// One message, borrowed from the text that it was read from.
///
/// Payloads and details are the bytes of the text without the white space around them.
#[derive(Clone, Debug)]
pub enum Frame<'a> {
    /// `[2, id, action, payload]`: a request.
    Call {
        /// Message id, at most 36 characters.
        id: Cow<'a, str>,
        /// Name of the action, such as `DataTransfer`.
        action: Cow<'a, str>,
        /// The request.
        payload: &'a RawValue,
    },
    /// `[3, id, payload]`: the response to the CALL of that id.
    CallResult {
        /// Message id of the CALL.
        id: Cow<'a, str>,
        /// The response.
        payload: &'a RawValue,
    },
    /// `[4, id, code, description, details]`: the CALL of that id failed.
    CallError(Failure<'a>),
    /// `[5, id, code, description, details]`: the CALLRESULT of that id was not understood (2.1).
    CallResultError(Failure<'a>),
    /// `[6, id, action, payload]`: a message that gets no response (2.1).
    Send {
        /// Message id, at most 36 characters.
        id: Cow<'a, str>,
        /// Name of the action.
        action: Cow<'a, str>,
        /// The message.
        payload: &'a RawValue,
    },
}

/// What CALLERROR and CALLRESULTERROR say.
#[derive(Clone, Debug)]
pub struct Failure<'a> {
    /// Message id of the CALL or CALLRESULT, or [`UNREADABLE_ID`].
    pub id: Cow<'a, str>,
    /// The code as it was sent; see [`ErrorCode::from_name`](crate::ErrorCode::from_name).
    pub code: Cow<'a, str>,
    /// Text for a person; empty where the peer left it out.
    pub description: Cow<'a, str>,
    /// Any JSON; `None` where the peer left it out.
    pub details: Option<&'a RawValue>,
}

impl<'a> Failure<'a> {
    /// One without details; `description` is cropped at 255 characters.
    pub(crate) fn new(id: &'a str, code: ErrorCode, description: &'a str, version: Version) -> Self {
        let end = description
            .char_indices()
            .nth(DESCRIPTION_MAX_CHARS)
            .map_or(description.len(), |(at, _)| at);
        Self {
            id: id.into(),
            code: code.name(version).into(),
            description: description.get(..end).unwrap_or_default().into(),
            details: None,
        }
    }
}

impl<'a> Frame<'a> {
    /// Reads one message. Missing descriptions and details of errors are tolerated, elements in excess are not.
    ///
    /// # Errors
    /// Says what is wrong, together with the type and the id of the message as far as they could be read.
    pub fn parse(text: &'a str) -> Result<Self, Unreadable<'a>> {
        let mut elements = Elements::default();
        let mut deserializer = serde_json::Deserializer::from_str(text);
        let complete = elements.fill(&mut deserializer);
        let message_type = elements.message_type();
        let id = elements
            .string(1)
            .filter(|id| id.chars().count() <= MESSAGE_ID_MAX_CHARS);
        let fault = match (complete, message_type, id.clone()) {
            (false, ..) | (_, None, _) => Fault::Syntax,
            (true, Some(message_type), _) if !(2..=6).contains(&message_type) => Fault::MessageType,
            (true, Some(_), None) => Fault::MessageId,
            (true, Some(message_type), Some(id)) => match elements.frame(message_type, id) {
                Some(frame) => return Ok(frame),
                None => Fault::Elements,
            },
        };
        Err(Unreadable {
            message_type,
            id,
            fault,
        })
    }

    /// The message id.
    #[must_use]
    pub fn id(&self) -> &str {
        match self {
            Self::Call { id, .. } | Self::CallResult { id, .. } | Self::Send { id, .. } => id,
            Self::CallError(failure) | Self::CallResultError(failure) => &failure.id,
        }
    }

    /// The message type number, 2 to 6.
    #[must_use]
    pub const fn message_type(&self) -> u8 {
        match self {
            Self::Call { .. } => 2,
            Self::CallResult { .. } => 3,
            Self::CallError(_) => 4,
            Self::CallResultError(_) => 5,
            Self::Send { .. } => 6,
        }
    }

    /// The text to send: no white space outside payload and details, which are copied byte for byte.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut out = String::with_capacity(self.text_len());
        out.push('[');
        out.push(char::from(b'0' + self.message_type()));
        out.push(',');
        json::push_str(&mut out, self.id());
        out.push(',');
        match self {
            Self::Call { action, payload, .. } | Self::Send { action, payload, .. } => {
                json::push_str(&mut out, action);
                out.push(',');
                out.push_str(payload.get());
            }
            Self::CallResult { payload, .. } => out.push_str(payload.get()),
            Self::CallError(failure) | Self::CallResultError(failure) => {
                json::push_str(&mut out, &failure.code);
                out.push(',');
                json::push_str(&mut out, &failure.description);
                out.push(',');
                out.push_str(failure.details.map_or("{}", RawValue::get));
            }
        }
        out.push(']');
        out
    }

    /// The length of [`Frame::to_text`] in bytes.
    #[must_use]
    pub fn text_len(&self) -> usize {
        match self {
            Self::Call { id, action, payload } | Self::Send { id, action, payload } => {
                call_len(id, action, payload.get().len())
            }
            Self::CallResult { id, payload } => call_result_len(id, payload.get().len()),
            Self::CallError(Failure {
                id,
                code,
                description,
                details,
            })
            | Self::CallResultError(Failure {
                id,
                code,
                description,
                details,
            }) => {
                let details = details.map_or(2, |details| details.get().len());
                "[4,,,,]".len()
                    + json::str_len(id)
                    + json::str_len(code)
                    + json::str_len(description)
                    + details
            }
        }
    }
}

/// The length in bytes of a CALL or SEND with a payload of `payload_len` bytes.
#[must_use]
pub fn call_len(id: &str, action: &str, payload_len: usize) -> usize {
    "[2,,,]".len() + json::str_len(id) + json::str_len(action) + payload_len
}

/// The length in bytes of a CALLRESULT with a payload of `payload_len` bytes.
#[must_use]
pub fn call_result_len(id: &str, payload_len: usize) -> usize {
    "[3,,]".len() + json::str_len(id) + payload_len
}

/// A text that is no message, and what could be read of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable<'a> {
    /// The message type number, if there was one.
    pub message_type: Option<u64>,
    /// The message id, if there was a valid one.
    pub id: Option<Cow<'a, str>>,
    /// What is wrong.
    pub fault: Fault,
}

impl fmt::Display for Unreadable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.fault.fmt(f)
    }
}

impl core::error::Error for Unreadable<'_> {}

/// What makes a text no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// Not a JSON array of at most five elements that begins with a number.
    Syntax,
    /// The message type number is none of 2 to 6.
    MessageType,
    /// The message id is missing, no string, or longer than 36 characters.
    MessageId,
    /// The elements are not those of the message type.
    Elements,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Syntax => "not a JSON array that begins with a message type number",
            Self::MessageType => "unknown message type number",
            Self::MessageId => "no message id of at most 36 characters",
            Self::Elements => "elements do not fit the message type",
        })
    }
}

/// The elements of the array as far as they were read.
#[derive(Default)]
struct Elements<'a> {
    items: [Option<&'a RawValue>; 5],
}

impl<'a> Elements<'a> {
    /// Reads the array; what was read before an error stays. Returns whether there was none.
    fn fill(&mut self, deserializer: &mut serde_json::Deserializer<serde_json::de::StrRead<'a>>) -> bool {
        (&mut *self).deserialize(&mut *deserializer).is_ok() && deserializer.end().is_ok()
    }

    fn item(&self, at: usize) -> Option<&'a RawValue> {
        self.items.get(at).copied().flatten()
    }

    fn string(&self, at: usize) -> Option<Cow<'a, str>> {
        string(self.item(at)?)
    }

    fn message_type(&self) -> Option<u64> {
        self.item(0)?.get().parse().ok()
    }

    fn frame(&self, message_type: u64, id: Cow<'a, str>) -> Option<Frame<'a>> {
        let count = self.items.iter().flatten().count();
        match (message_type, count) {
            (2, 4) => Some(Frame::Call {
                id,
                action: self.string(2)?,
                payload: self.item(3)?,
            }),
            (3, 3) => Some(Frame::CallResult {
                id,
                payload: self.item(2)?,
            }),
            (4, 3..=5) => Some(Frame::CallError(self.failure(id)?)),
            (5, 3..=5) => Some(Frame::CallResultError(self.failure(id)?)),
            (6, 4) => Some(Frame::Send {
                id,
                action: self.string(2)?,
                payload: self.item(3)?,
            }),
            _ => None,
        }
    }

    fn failure(&self, id: Cow<'a, str>) -> Option<Failure<'a>> {
        Some(Failure {
            id,
            code: self.string(2)?,
            description: self.string(3).unwrap_or_default(),
            details: self.item(4),
        })
    }
}

impl<'a> DeserializeSeed<'a> for &mut Elements<'a> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'a>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'a> Visitor<'a> for &mut Elements<'a> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of at most five elements")
    }

    // Elements in excess are left in place, which ends the array with an error.
    fn visit_seq<A: SeqAccess<'a>>(self, mut seq: A) -> Result<(), A::Error> {
        for slot in &mut self.items {
            match seq.next_element()? {
                Some(item) => *slot = Some(item),
                None => break,
            }
        }
        Ok(())
    }
}

/// The text of a JSON string, borrowed where it holds no escape; `None` for any other JSON.
pub(crate) fn string(raw: &RawValue) -> Option<Cow<'_, str>> {
    struct Text;
    impl<'a> Visitor<'a> for Text {
        type Value = Cow<'a, str>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a string")
        }

        fn visit_borrowed_str<E>(self, text: &'a str) -> Result<Self::Value, E> {
            Ok(Cow::Borrowed(text))
        }

        fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
            Ok(Cow::Owned(text.into()))
        }
    }
    serde_json::Deserializer::from_str(raw.get())
        .deserialize_str(Text)
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;

    #[test]
    fn payloads_keep_every_byte() {
        let payload = r#"{ "b" : 1.50, "a":[1e3 , "\u00e4"], "b2":12345678901234567890123 }"#;
        for text in [
            format!(r#"[2,"id-1","DataTransfer",{payload}]"#),
            format!(r#"[3,"id-1",{payload}]"#),
            format!(r#"[4,"id-1","GenericError","why",{payload}]"#),
            format!(r#"[5,"id-1","GenericError","why",{payload}]"#),
            format!(r#"[6,"id-1","NotifyPeriodicEventStream",{payload}]"#),
        ] {
            let frame = Frame::parse(&text).unwrap();
            assert_eq!(frame.id(), "id-1");
            assert_eq!(frame.to_text(), text);
            assert_eq!(frame.text_len(), text.len());
        }
    }

    #[test]
    fn white_space_and_short_errors_are_tolerated() {
        let Frame::CallError(failure) = Frame::parse(" [ 4 , \"a\" , \"GenericError\" ] \n").unwrap() else {
            panic!("no CALLERROR");
        };
        assert_eq!((&*failure.code, &*failure.description), ("GenericError", ""));
        assert_eq!(
            Frame::CallError(failure).to_text(),
            r#"[4,"a","GenericError","",{}]"#
        );
    }

    #[test]
    fn an_id_is_salvaged_from_a_broken_message() {
        for (text, id, fault) in [
            ("", None, Fault::Syntax),
            ("{}", None, Fault::Syntax),
            ("[]", None, Fault::Syntax),
            (r#"["2","a"]"#, Some("a"), Fault::Syntax),
            (r#"[2,"a","X",{"#, Some("a"), Fault::Syntax),
            (r#"[2,"a","X",{}] x"#, Some("a"), Fault::Syntax),
            (r#"[2,"a","X",{},1,2]"#, Some("a"), Fault::Syntax),
            (r#"[2,"a","X",{},1]"#, Some("a"), Fault::Elements),
            (r#"[2,"a","X"]"#, Some("a"), Fault::Elements),
            (r#"[2,"a",7,{}]"#, Some("a"), Fault::Elements),
            (r#"[9,"a","X",{}]"#, Some("a"), Fault::MessageType),
            (r#"[2,7,"X",{}]"#, None, Fault::MessageId),
            (r#"[2]"#, None, Fault::MessageId),
        ] {
            let unreadable = Frame::parse(text).unwrap_err();
            assert_eq!(unreadable.id.as_deref(), id, "{text}");
            assert_eq!(unreadable.fault, fault, "{text}");
        }
    }

    #[test]
    fn an_id_has_at_most_36_characters_however_many_bytes() {
        let id = "ä".repeat(36);
        assert!(Frame::parse(&format!(r#"[2,"{id}","X",{{}}]"#)).is_ok());
        let unreadable = format!(r#"[2,"{id}x","X",{{}}]"#);
        assert_eq!(Frame::parse(&unreadable).unwrap_err().fault, Fault::MessageId);
    }

    #[test]
    fn deep_nesting_does_not_exhaust_the_stack() {
        let deep = format!(r#"[2,"a","X",{}{}]"#, "[".repeat(200_000), "]".repeat(200_000));
        assert!(Frame::parse(&deep).is_ok());
    }
}
