//! How much of a message fits into one OCPP-J frame. Measured, not guessed.

use crate::data::Form;
use crate::id::{Operation, VENDOR_ID};

/// Bytes of a whole OCPP-J frame around the value of `data`.
///
/// [`Envelope::measured`] counts the frames that a compact JSON encoder writes. A stack that writes more (white space,
/// `customData`, a longer vendorId) says so in these fields.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Envelope {
    /// Bytes of a CALL without the value of `data`.
    pub call_bytes: usize,
    /// Bytes of a CALLRESULT without the value of `data`.
    pub result_bytes: usize,
}

impl Envelope {
    /// Measures compact frames with this `vendorId`, the longest operation name and message ids of 36 characters.
    #[must_use]
    pub fn measured(vendor_id: &str) -> Self {
        const CALL: &str = r#"[2,"","DataTransfer",{"vendorId":"","messageId":"","data":}]"#;
        const RESULT: &str = r#"[3,"",{"status":"Accepted","data":}]"#;
        const MESSAGE_ID: usize = 36;
        Self {
            call_bytes: CALL.len() + MESSAGE_ID + escaped_len(vendor_id) + Operation::Deliver.as_str().len(),
            result_bytes: RESULT.len() + MESSAGE_ID,
        }
    }
}

impl Default for Envelope {
    fn default() -> Self {
        Self::measured(VENDOR_ID)
    }
}

/// Bytes that `json` takes as the value of `data`.
pub(crate) fn value_bytes(form: Form, json: &str) -> usize {
    match form {
        Form::Object => json.len(),
        Form::Text => 2 + escaped_len(json),
    }
}

/// How many bytes of a CMP message may go, as base64, into the empty `data` member of `skeleton`, so that the frame
/// stays within `unit`; 0 if none.
pub(crate) fn piece_bytes(unit: usize, envelope_bytes: usize, form: Form, skeleton: &str) -> usize {
    let room = unit
        .saturating_sub(envelope_bytes)
        .saturating_sub(value_bytes(form, skeleton));
    room / 4 * 3
}

/// Length of `text` inside a JSON string, quotes not counted, as serde_json escapes it.
fn escaped_len(text: &str) -> usize {
    text.bytes()
        .map(|byte| match byte {
            b'"' | b'\\' | b'\n' | b'\r' | b'\t' | 0x08 | 0x0c => 2,
            0..=0x1f => 6,
            _ => 1,
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use alloc::format;
    use alloc::string::String;

    use super::*;

    #[test]
    fn envelope_equals_the_length_of_frames_that_serde_json_writes() {
        let id = "6ba7b810-9dad-11d1-80b4-00c04fd430c8";
        let call = serde_json::to_string(&(
            2,
            id,
            "DataTransfer",
            serde_json::json!({"vendorId": VENDOR_ID, "messageId": "CmpDeliver", "data": ""}),
        ));
        let result = serde_json::to_string(&(3, id, serde_json::json!({"status": "Accepted", "data": ""})));
        assert_eq!(Envelope::default().call_bytes, call.unwrap().len() - 2);
        assert_eq!(Envelope::default().result_bytes, result.unwrap().len() - 2);
    }

    #[test]
    fn escaped_length_equals_what_serde_json_writes() {
        let every: String = (0..0x180).filter_map(char::from_u32).collect();
        assert_eq!(
            escaped_len(&every) + 2,
            serde_json::to_string(&every).unwrap().len()
        );
    }

    #[test]
    fn pieces_fill_the_frame_and_never_pass_it() {
        for unit in 512..700 {
            for form in [Form::Text, Form::Object] {
                let skeleton = r#"{"id":"AAAAAAAAAAAAAAAAAAAAAA","len":65536,"off":0,"data":""}"#;
                let bytes = piece_bytes(unit, 150, form, skeleton);
                let json = skeleton.replace(
                    r#""data":"""#,
                    &format!(r#""data":"{}""#, "A".repeat(bytes / 3 * 4)),
                );
                let frame = 150 + value_bytes(form, &json);
                assert!(frame <= unit && frame + 4 > unit, "{unit} {form:?} {frame}");
            }
        }
    }
}
