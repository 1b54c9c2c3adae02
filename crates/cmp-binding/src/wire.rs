//! The inner object: every member that the binding knows, read and written in one place.

use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use base64ct::{Base64, Encoding};
use serde::{Deserialize, Deserializer, Serialize};

use crate::config::{VERSION, seconds};
use crate::data::{Data, Form};
use crate::error::{ErrorCode, TransferError};
use crate::frame::{piece_bytes, value_bytes};
use crate::id::{ExchangeId, Route};

/// The most ids that one `ack` or `have` may list.
pub const MAX_ACKS: usize = 64;

/// The state of one slot, as a station reports it in `CmpHello`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SlotReport {
    /// Name of the slot.
    pub slot: String,
    /// What the slot is doing, in the station's words.
    pub state: String,
    /// When its certificate expires (RFC 3339), if it has one.
    #[serde(rename = "notAfter", default, skip_serializing_if = "Option::is_none")]
    pub not_after: Option<String>,
    /// The last error, for a person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// `v` is a list in a request and a number in a response; either is read anywhere.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum Versions {
    One(u64),
    List(Vec<u64>),
}

impl Versions {
    pub(crate) fn offer() -> Self {
        Self::List([u64::from(VERSION)].into())
    }

    fn has_ours(&self) -> bool {
        match self {
            Self::One(version) => *version == u64::from(VERSION),
            Self::List(versions) => versions.contains(&u64::from(VERSION)),
        }
    }
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct WireError {
    code: ErrorCode,
    #[serde(default, deserialize_with = "null_is_absent")]
    text: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    retry: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    next: Option<usize>,
}

impl From<&TransferError> for WireError {
    fn from(error: &TransferError) -> Self {
        let retry = error
            .retry
            .map(|retry| if retry.is_zero() { 0 } else { seconds(retry) });
        Self {
            code: error.code,
            text: error.text.chars().take(100).collect(),
            retry,
            next: error.next,
        }
    }
}

impl From<&WireError> for TransferError {
    fn from(error: &WireError) -> Self {
        Self::from_peer(error.code, &error.text, error.retry, error.next)
    }
}

fn null_is_absent<'de, T, D>(deserializer: D) -> Result<T, D::Error>
where
    T: Deserialize<'de> + Default,
    D: Deserializer<'de>,
{
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}

/// Every member of every object; which ones an operation needs is checked where it is handled.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Members {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) v: Option<Versions>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) id: Option<ExchangeId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) len: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) off: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) data: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) route: Option<Route>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) unit: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) max: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) next: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) wait: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) idle: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) done: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ready: Option<ExchangeId>,
    #[serde(rename = "do", skip_serializing_if = "Option::is_none")]
    pub(crate) operation: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) slot: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) slots: Option<Vec<SlotReport>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) routes: Option<Vec<Route>>,
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "null_is_absent")]
    pub(crate) ack: Vec<ExchangeId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) have: Option<Vec<ExchangeId>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<WireError>,
}

/// One decoded piece of a message: not empty, and inside of `len`.
pub(crate) struct Chunk {
    pub(crate) len: usize,
    pub(crate) off: usize,
    pub(crate) piece: Vec<u8>,
}

impl Members {
    pub(crate) fn parse(data: &Data) -> Result<Self, TransferError> {
        let malformed = TransferError::last(ErrorCode::Malformed);
        // serde would take an array for a struct; the binding has objects only.
        if !data.json.trim_start().starts_with('{') {
            return Err(malformed);
        }
        let members: Self = serde_json::from_str(&data.json).map_err(|_| malformed.clone())?;
        let too_many = |ids: &[ExchangeId]| ids.len() > MAX_ACKS;
        if too_many(&members.ack) || too_many(members.have.as_deref().unwrap_or_default()) {
            return Err(malformed);
        }
        Ok(members)
    }

    pub(crate) fn into_data(self, form: Form) -> Data {
        // Serializing strings, numbers and lists of them into memory has no way to fail.
        Data {
            form,
            json: serde_json::to_string(&self).unwrap_or_default(),
        }
    }

    pub(crate) fn next(next: usize) -> Self {
        Self {
            next: Some(next),
            ..Self::default()
        }
    }

    pub(crate) fn wait(wait: Duration) -> Self {
        Self {
            wait: Some(seconds(wait)),
            ..Self::default()
        }
    }

    pub(crate) fn done() -> Self {
        Self {
            done: Some(true),
            ..Self::default()
        }
    }

    pub(crate) fn error(error: &TransferError) -> Self {
        Self {
            error: Some(error.into()),
            ..Self::default()
        }
    }

    /// Whether the frame with this object is within the unit.
    pub(crate) fn fits(&self, fit: Fit) -> bool {
        let json = serde_json::to_string(self).unwrap_or_default();
        value_bytes(fit.form, &json).saturating_add(fit.envelope_bytes) <= fit.unit
    }

    /// Fills in a piece of `message` from `off` on, as large as `unit` allows but at least 3 bytes (or the rest).
    #[must_use]
    pub(crate) fn with_piece(mut self, message: &[u8], off: usize, fit: Fit) -> Self {
        self.len = Some(message.len());
        self.off = Some(off);
        self.data = Some(String::new());
        let skeleton = serde_json::to_string(&self).unwrap_or_default();
        let room = piece_bytes(fit.unit, fit.envelope_bytes, fit.form, &skeleton).max(3);
        let rest = message.get(off..).unwrap_or_default();
        let piece = rest.get(..room).unwrap_or(rest);
        self.data = Some(Base64::encode_string(piece));
        self
    }

    /// The piece that the object carries.
    pub(crate) fn chunk(&self) -> Result<Chunk, TransferError> {
        let malformed = TransferError::last(ErrorCode::Malformed);
        let (Some(len), Some(off), Some(data)) = (self.len, self.off, self.data.as_ref()) else {
            return Err(malformed);
        };
        let piece = Base64::decode_vec(data).map_err(|_| malformed.clone())?;
        let is_inside = off.checked_add(piece.len()).is_some_and(|end| end <= len);
        if piece.is_empty() || !is_inside {
            return Err(malformed);
        }
        Ok(Chunk { len, off, piece })
    }

    pub(crate) const fn has_chunk(&self) -> bool {
        self.len.is_some() || self.data.is_some()
    }

    /// Refuses a peer that has no version in common; one that names none is taken to speak ours.
    pub(crate) fn check_version(&self) -> Result<(), TransferError> {
        match &self.v {
            Some(versions) if !versions.has_ours() => Err(TransferError::last(ErrorCode::Unsupported)),
            _ => Ok(()),
        }
    }

    pub(crate) fn transfer_error(&self) -> Option<TransferError> {
        self.error.as_ref().map(TransferError::from)
    }
}

/// What a frame that carries a piece has to fit into.
#[derive(Clone, Copy)]
pub(crate) struct Fit {
    pub(crate) unit: usize,
    pub(crate) envelope_bytes: usize,
    pub(crate) form: Form,
}

#[cfg(test)]
mod tests {
    use alloc::{format, vec};

    use super::*;

    #[test]
    fn unknown_members_are_ignored() {
        let members = Members::parse(&Data::text(r#"{"next":7,"later":{"deep":[1,2]}}"#)).unwrap();
        assert_eq!(members, Members::next(7));
    }

    #[test]
    fn a_member_that_is_null_is_absent() {
        let nothing = r#"{"id":null,"len":null,"ack":null,"have":null,"slots":null,"error":null}"#;
        assert_eq!(Members::parse(&Data::text(nothing)).unwrap(), Members::default());
        let error = r#"{"error":{"code":"busy","text":null,"retry":null,"next":null}}"#;
        let error = Members::parse(&Data::text(error)).unwrap().transfer_error();
        assert_eq!(error.unwrap().retry, None);
    }

    #[test]
    fn at_most_64_ids_are_listed() {
        let list = |name: &str, ids: usize| {
            let ids = vec![r#""AAAAAAAAAAAAAAAAAAAAAA""#; ids].join(",");
            Members::parse(&Data::text(format!(r#"{{"{name}":[{ids}]}}"#)))
        };
        for name in ["ack", "have"] {
            assert!(list(name, 64).is_ok());
            assert_eq!(list(name, 65).unwrap_err().code, ErrorCode::Malformed);
        }
    }

    #[test]
    fn what_is_not_the_object_expected_is_malformed() {
        for bad in [
            "",
            "[]",
            "7",
            "null",
            "{",
            r#"{"next":"7"}"#,
            r#"{"next":-1}"#,
            r#"{"id":"short"}"#,
            r#"{"next":7,"next":7}"#,
            r#"{"error":{"code":"busy","code":"gap"}}"#,
        ] {
            let error = Members::parse(&Data::text(bad)).unwrap_err();
            assert_eq!(error.code, ErrorCode::Malformed, "{bad}");
        }
    }

    #[test]
    fn base64_is_padded_and_canonical_and_pieces_are_not_empty() {
        for (piece, good) in [
            ("AQ==", true),
            ("AQ", false),
            ("AR==", false),
            ("A Q==", false),
            ("", false),
        ] {
            let members = Members {
                len: Some(9),
                off: Some(0),
                data: Some(piece.into()),
                ..Members::default()
            };
            assert_eq!(members.chunk().is_ok(), good, "{piece}");
        }
    }

    #[test]
    fn a_piece_outside_len_is_refused() {
        for (len, off, good) in [
            (0, 0, false),
            (1, 0, true),
            (6, 5, true),
            (6, 6, false),
            (6, usize::MAX, false),
        ] {
            let members = Members {
                len: Some(len),
                off: Some(off),
                data: Some("AQ==".into()),
                ..Members::default()
            };
            assert_eq!(members.chunk().is_ok(), good, "{len} {off}");
        }
    }

    #[test]
    fn an_unknown_error_code_is_still_an_error() {
        let members = Members::parse(&Data::text(r#"{"error":{"code":"new","text":"x"}}"#)).unwrap();
        assert_eq!(members.transfer_error().unwrap().code, ErrorCode::Other);
    }
}
