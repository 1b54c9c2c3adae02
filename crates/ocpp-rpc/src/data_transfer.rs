//! DataTransfer, the message of OCPP for what OCPP itself does not do (1.6 sections 4.3, 5.6, 6.15 and 6.16; 2.x use cases
//! P01 and P02).
//!
//! `data` is a string in 1.6 and any JSON in 2.x; here every version takes both, as many stacks differ from the text.
//! Unknown members, `customData` among them, are not looked at.

use alloc::borrow::{Cow, ToOwned as _};
use alloc::boxed::Box;
use alloc::string::String;
use core::fmt;

use serde::Deserialize;
use serde::de::{Deserializer as _, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::{ErrorCode, Version, frame, json};

/// The name of the action in a CALL.
pub const ACTION: &str = "DataTransfer";
/// The longest `vendorId`, in characters.
pub const VENDOR_ID_MAX_CHARS: usize = 255;
/// The longest `messageId`, in characters.
pub const MESSAGE_ID_MAX_CHARS: usize = 50;

/// A DataTransfer request.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    /// `vendorId`: whose messages these are, at most 255 characters.
    pub vendor_id: Cow<'a, str>,
    /// `messageId`: which message of the vendor, at most 50 characters.
    pub message_id: Option<Cow<'a, str>>,
    /// `data`.
    pub data: Option<Data<'a>>,
}

/// A DataTransfer response.
#[derive(Clone, Debug)]
pub struct Response<'a> {
    /// `status`.
    pub status: Status,
    /// `data`.
    pub data: Option<Data<'a>>,
    /// `statusInfo` of 2.x.
    pub status_info: Option<StatusInfo<'a>>,
}

/// The member `data`.
#[derive(Clone, Debug)]
pub enum Data<'a> {
    /// A JSON string; this is its text without quotes and escapes.
    Text(Cow<'a, str>),
    /// Any other JSON but `null`, byte for byte.
    Json(&'a RawValue),
}

/// The member `status` of a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Status {
    /// The message was understood and processed.
    Accepted,
    /// The message was understood and refused.
    Rejected,
    /// The `messageId` is not known.
    UnknownMessageId,
    /// The `vendorId` is not known.
    UnknownVendorId,
}

/// The member `statusInfo` of a response of 2.x.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatusInfo<'a> {
    /// `reasonCode`, at most 20 characters.
    pub reason_code: Cow<'a, str>,
    /// `additionalInfo`, at most 512 characters (2.1: 1024).
    pub additional_info: Option<Cow<'a, str>>,
}

impl<'a> Request<'a> {
    /// Reads the payload of a CALL.
    ///
    /// # Errors
    /// [`Error::Structure`] or [`Error::TooLong`].
    pub fn parse(payload: &'a RawValue) -> Result<Self, Error> {
        let wire: RequestWire<'a> = object(payload)?;
        let vendor_id = text_within(wire.vendor_id, "vendorId", VENDOR_ID_MAX_CHARS)?;
        let message_id = wire
            .message_id
            .map(|raw| text_within(raw, "messageId", MESSAGE_ID_MAX_CHARS))
            .transpose()?;
        Ok(Self {
            vendor_id,
            message_id,
            data: Data::read(wire.data)?,
        })
    }

    /// The payload of a CALL, the same in all versions. Lengths are not checked.
    #[must_use]
    pub fn to_payload(&self) -> Box<RawValue> {
        let mut out = String::with_capacity(self.payload_len());
        let mut members = Members::begin(&mut out);
        members.text("vendorId", &self.vendor_id);
        if let Some(message_id) = &self.message_id {
            members.text("messageId", message_id);
        }
        members.data(self.data.as_ref());
        members.end();
        raw(out)
    }

    /// The length of [`Request::to_payload`] in bytes.
    #[must_use]
    pub fn payload_len(&self) -> usize {
        let data = self.data.as_ref().map(Data::json_len);
        request_len(&self.vendor_id, self.message_id.as_deref(), data)
    }

    /// The length in bytes of the CALL that carries this request under the OCPP message id `id`.
    #[must_use]
    pub fn call_len(&self, id: &str) -> usize {
        frame::call_len(id, ACTION, self.payload_len())
    }
}

/// Whether a payload names `vendor_id`, in any case of ASCII letters. It need not be a request that [`Request::parse`]
/// takes, and a `vendorId` that occurs twice is looked at twice.
#[must_use]
pub fn is_of_vendor(payload: &RawValue, vendor_id: &str) -> bool {
    struct Names<'v>(&'v str);
    impl<'a> Visitor<'a> for Names<'_> {
        type Value = bool;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'a>>(self, mut members: A) -> Result<bool, A::Error> {
            let mut found = false;
            while let Some((name, value)) = members.next_entry::<Cow<'a, str>, &'a RawValue>()? {
                found |= name == "vendorId"
                    && frame::string(value).is_some_and(|text| text.eq_ignore_ascii_case(self.0));
            }
            Ok(found)
        }
    }
    let mut json = serde_json::Deserializer::from_str(payload.get());
    payload.get().starts_with('{') && json.deserialize_map(Names(vendor_id)).unwrap_or(false)
}

/// The length in bytes of a request payload whose `data`, as JSON with quotes and escapes, has `data_json_len` bytes.
#[must_use]
pub fn request_len(vendor_id: &str, message_id: Option<&str>, data_json_len: Option<usize>) -> usize {
    "{\"vendorId\":}".len()
        + json::str_len(vendor_id)
        + message_id.map_or(0, |id| ",\"messageId\":".len() + json::str_len(id))
        + data_json_len.map_or(0, |len| ",\"data\":".len() + len)
}

/// The length of `text` as a JSON string, quotes and escapes included, as all encoders here write it.
#[must_use]
pub fn json_string_len(text: &str) -> usize {
    json::str_len(text)
}

impl<'a> Response<'a> {
    /// A response without `statusInfo`.
    #[must_use]
    pub const fn new(status: Status, data: Option<Data<'a>>) -> Self {
        Self {
            status,
            data,
            status_info: None,
        }
    }

    /// Reads the payload of a CALLRESULT. A `statusInfo` that is not understood is left out.
    ///
    /// # Errors
    /// [`Error::Structure`] where it is no object with one of the four statuses.
    pub fn parse(payload: &'a RawValue) -> Result<Self, Error> {
        let wire: ResponseWire<'a> = object(payload)?;
        let status = frame::string(wire.status).and_then(|name| Status::from_name(&name));
        Ok(Self {
            status: status.ok_or(Error::Structure)?,
            data: Data::read(wire.data)?,
            status_info: wire.status_info.and_then(StatusInfo::read),
        })
    }

    /// The payload of a CALLRESULT; 1.6 has no `statusInfo`, it is left out there.
    #[must_use]
    pub fn to_payload(&self, version: Version) -> Box<RawValue> {
        let mut out = String::with_capacity(self.payload_len(version));
        let mut members = Members::begin(&mut out);
        members.text("status", self.status.name());
        members.data(self.data.as_ref());
        if let Some(info) = self.info(version) {
            members.name("statusInfo");
            let mut inner = Members::begin(members.out);
            inner.text("reasonCode", &info.reason_code);
            if let Some(additional) = &info.additional_info {
                inner.text("additionalInfo", additional);
            }
            inner.end();
        }
        members.end();
        raw(out)
    }

    /// The length of [`Response::to_payload`] in bytes.
    #[must_use]
    pub fn payload_len(&self, version: Version) -> usize {
        let info = self.info(version).map_or(0, |info| {
            let additional = info.additional_info.as_ref();
            ",\"statusInfo\":{\"reasonCode\":}".len()
                + json::str_len(&info.reason_code)
                + additional.map_or(0, |text| ",\"additionalInfo\":".len() + json::str_len(text))
        });
        response_len(self.status, self.data.as_ref().map(Data::json_len)) + info
    }

    /// The length in bytes of the CALLRESULT that carries this response under the OCPP message id `id`.
    #[must_use]
    pub fn call_result_len(&self, id: &str, version: Version) -> usize {
        frame::call_result_len(id, self.payload_len(version))
    }

    fn info(&self, version: Version) -> Option<&StatusInfo<'a>> {
        self.status_info.as_ref().filter(|_| version != Version::V1_6)
    }
}

/// The length in bytes of a response payload without `statusInfo` whose `data`, as JSON with quotes and escapes, has
/// `data_json_len` bytes.
#[must_use]
pub fn response_len(status: Status, data_json_len: Option<usize>) -> usize {
    "{\"status\":\"\"}".len() + status.name().len() + data_json_len.map_or(0, |len| ",\"data\":".len() + len)
}

impl<'a> Data<'a> {
    /// The length in bytes of the JSON.
    #[must_use]
    pub fn json_len(&self) -> usize {
        match self {
            Self::Text(text) => json::str_len(text),
            Self::Json(raw) => raw.get().len(),
        }
    }

    /// What a receiver reads as JSON: the text of a string, or the JSON itself.
    #[must_use]
    pub fn content(&self) -> &str {
        match self {
            Self::Text(text) => text,
            Self::Json(raw) => raw.get(),
        }
    }

    fn read(raw: Option<&'a RawValue>) -> Result<Option<Self>, Error> {
        Ok(match raw {
            Some(raw) if raw.get().starts_with('"') => {
                Some(Self::Text(frame::string(raw).ok_or(Error::Structure)?))
            }
            other => other.map(Self::Json),
        })
    }
}

impl Status {
    /// The status as OCPP writes it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Accepted => "Accepted",
            Self::Rejected => "Rejected",
            Self::UnknownMessageId => "UnknownMessageId",
            Self::UnknownVendorId => "UnknownVendorId",
        }
    }

    fn from_name(name: &str) -> Option<Self> {
        [
            Self::Accepted,
            Self::Rejected,
            Self::UnknownMessageId,
            Self::UnknownVendorId,
        ]
        .into_iter()
        .find(|status| status.name() == name)
    }
}

impl<'a> StatusInfo<'a> {
    fn read(raw: &'a RawValue) -> Option<Self> {
        let wire: StatusInfoWire<'a> = object(raw).ok()?;
        Some(Self {
            reason_code: frame::string(wire.reason_code)?,
            additional_info: wire.additional_info.and_then(frame::string),
        })
    }
}

/// Why a payload is no DataTransfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// No object with the required members in the right types.
    Structure,
    /// The member of that name is longer than OCPP allows.
    TooLong(&'static str),
}

impl Error {
    /// The code to answer with.
    #[must_use]
    pub const fn code(self) -> ErrorCode {
        match self {
            Self::Structure => ErrorCode::FormatViolation,
            Self::TooLong(_) => ErrorCode::PropertyConstraintViolation,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Structure => f.write_str("not the structure of a DataTransfer"),
            Self::TooLong(member) => write!(f, "{member} is too long"),
        }
    }
}

impl core::error::Error for Error {}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RequestWire<'a> {
    #[serde(borrow)]
    vendor_id: &'a RawValue,
    #[serde(borrow)]
    message_id: Option<&'a RawValue>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ResponseWire<'a> {
    #[serde(borrow)]
    status: &'a RawValue,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    #[serde(borrow)]
    status_info: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct StatusInfoWire<'a> {
    #[serde(borrow)]
    reason_code: &'a RawValue,
    #[serde(borrow)]
    additional_info: Option<&'a RawValue>,
}

/// serde would take an array for a struct; OCPP has objects only.
fn object<'a, T: Deserialize<'a>>(payload: &'a RawValue) -> Result<T, Error> {
    let json = Some(payload.get()).filter(|json| json.starts_with('{'));
    json.and_then(|json| serde_json::from_str(json).ok())
        .ok_or(Error::Structure)
}

fn text_within<'a>(raw: &'a RawValue, member: &'static str, max_chars: usize) -> Result<Cow<'a, str>, Error> {
    let text = frame::string(raw).ok_or(Error::Structure)?;
    if text.chars().count() > max_chars {
        return Err(Error::TooLong(member));
    }
    Ok(text)
}

/// `text` was written by this module and is one JSON object.
fn raw(text: String) -> Box<RawValue> {
    RawValue::from_string(text).unwrap_or_else(|_| RawValue::NULL.to_owned())
}

/// Writes the members of one JSON object.
struct Members<'o> {
    out: &'o mut String,
    first: bool,
}

impl<'o> Members<'o> {
    fn begin(out: &'o mut String) -> Self {
        out.push('{');
        Self { out, first: true }
    }

    fn name(&mut self, name: &str) {
        if !core::mem::take(&mut self.first) {
            self.out.push(',');
        }
        json::push_str(self.out, name);
        self.out.push(':');
    }

    fn text(&mut self, name: &str, value: &str) {
        self.name(name);
        json::push_str(self.out, value);
    }

    fn data(&mut self, data: Option<&Data<'_>>) {
        match data {
            None => {}
            Some(Data::Text(text)) => self.text("data", text),
            Some(Data::Json(raw)) => {
                self.name("data");
                self.out.push_str(raw.get());
            }
        }
    }

    fn end(self) {
        self.out.push('}');
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Frame;
    use alloc::format;
    use alloc::string::ToString as _;
    use proptest::prelude::*;

    fn json(text: &str) -> Box<RawValue> {
        RawValue::from_string(text.to_string()).unwrap()
    }

    #[test]
    fn data_is_a_string_or_any_json_kept_byte_for_byte() {
        let payload = json(
            r#"{"data":{ "z":1.0,"a":2 },"customData":{"vendorId":"x"},"vendorId":"V","messageId":"M"}"#,
        );
        let request = Request::parse(&payload).unwrap();
        assert!(matches!(&request.data, Some(Data::Json(raw)) if raw.get() == r#"{ "z":1.0,"a":2 }"#));
        assert_eq!(
            request.to_payload().get(),
            r#"{"vendorId":"V","messageId":"M","data":{ "z":1.0,"a":2 }}"#
        );
        let payload = json(r#"{"vendorId":"V","data":"{\"a\":\"\\u00e4\u00e4\"}"}"#);
        let request = Request::parse(&payload).unwrap();
        assert_eq!(request.data.as_ref().unwrap().content(), r#"{"a":"\u00e4ä"}"#);
        assert!(request.message_id.is_none());
    }

    #[test]
    fn the_vendor_is_known_even_where_the_request_is_broken() {
        for (text, is) in [
            (r#"{"vendorId":"V.x"}"#, true),
            (r#"{"vendorId":"v.X","messageId":7}"#, true),
            (r#"{"vendorId":"\u0056.x"}"#, true),
            (r#"{"vendor\u0049d":"V.x"}"#, true),
            (r#"{"vendorId":"a","vendorId":"V.x"}"#, true),
            (r#"{"vendorId":"V.x","vendorId":"a"}"#, true),
            (r#"{"vendorId":"V.xy"}"#, false),
            (r#"{"vendorId":["V.x"]}"#, false),
            (r#"{"VendorId":"V.x"}"#, false),
            (r#"{"data":{"vendorId":"V.x"}}"#, false),
            (r#"["V.x"]"#, false),
            (r#""vendorId""#, false),
        ] {
            assert_eq!(is_of_vendor(&json(text), "V.x"), is, "{text}");
        }
    }

    #[test]
    fn null_is_no_data_and_no_message_id() {
        let payload = json(r#"{"vendorId":"V","messageId":null,"data":null}"#);
        let request = Request::parse(&payload).unwrap();
        assert!(request.data.is_none() && request.message_id.is_none());
    }

    #[test]
    fn lengths_are_limited_in_characters() {
        let payload = |vendor: usize, message: usize| {
            json(&format!(
                r#"{{"vendorId":"{}","messageId":"{}"}}"#,
                "ä".repeat(vendor),
                "m".repeat(message)
            ))
        };
        assert!(Request::parse(&payload(255, 50)).is_ok());
        assert_eq!(
            Request::parse(&payload(256, 50)).unwrap_err(),
            Error::TooLong("vendorId")
        );
        assert_eq!(
            Request::parse(&payload(255, 51)).unwrap_err(),
            Error::TooLong("messageId")
        );
    }

    #[test]
    fn other_structures_are_refused() {
        for text in [
            "[]",
            r#"["V","M","d"]"#,
            "{}",
            r#"{"vendorId":1}"#,
            r#"{"vendorId":"V","messageId":{}}"#,
            "null",
        ] {
            assert_eq!(
                Request::parse(&json(text)).unwrap_err(),
                Error::Structure,
                "{text}"
            );
        }
        for text in [
            "[]",
            r#"["Accepted","d",{}]"#,
            "{}",
            r#"{"status":"accepted"}"#,
            r#"{"status":null}"#,
        ] {
            assert_eq!(
                Response::parse(&json(text)).unwrap_err(),
                Error::Structure,
                "{text}"
            );
        }
    }

    #[test]
    fn status_info_exists_in_2_x_only() {
        let response = Response {
            status: Status::Rejected,
            data: None,
            status_info: Some(StatusInfo {
                reason_code: "No\"pe".into(),
                additional_info: Some("x".into()),
            }),
        };
        assert_eq!(
            response.to_payload(Version::V1_6).get(),
            r#"{"status":"Rejected"}"#
        );
        let payload = response.to_payload(Version::V2_0_1);
        assert_eq!(
            payload.get(),
            r#"{"status":"Rejected","statusInfo":{"reasonCode":"No\"pe","additionalInfo":"x"}}"#
        );
        assert_eq!(payload.get().len(), response.payload_len(Version::V2_0_1));
        assert_eq!(
            Response::parse(&payload).unwrap().status_info,
            response.status_info
        );
    }

    proptest! {
        #[test]
        fn frame_lengths_are_known_without_building_the_frame(
            id in "[a-z\"]{1,36}", vendor in "[ -~ä\\n]{0,40}", operation in proptest::option::of("[a-z\\\\]{0,20}"),
            text in proptest::option::of("[\\x00-\\x7f\\u{20ac}]{0,60}"), v in 0..3usize,
        ) {
            let data = text.as_ref().map(|text| Data::Text(text.as_str().into()));
            let request = Request {
                vendor_id: vendor.as_str().into(),
                message_id: operation.as_deref().map(Into::into),
                data: data.clone(),
            };
            let payload = request.to_payload();
            let call = Frame::Call { id: id.as_str().into(), action: ACTION.into(), payload: &payload };
            prop_assert_eq!(call.to_text().len(), request.call_len(&id));
            let read = Request::parse(&payload).unwrap();
            prop_assert_eq!(&read.vendor_id, &request.vendor_id);
            prop_assert_eq!(read.data.as_ref().map(Data::content), text.as_deref());

            let response = Response::new(Status::Accepted, data);
            let version = Version::ALL[v];
            let payload = response.to_payload(version);
            let result = Frame::CallResult { id: id.as_str().into(), payload: &payload };
            prop_assert_eq!(result.to_text().len(), response.call_result_len(&id, version));
        }
    }
}
