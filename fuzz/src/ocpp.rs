//! OCPP-J frames and DataTransfer.

use ocpp_rpc::{
    Frame, Version,
    data_transfer::{Request, Response},
};
use serde_json::value::RawValue;

/// A frame: what is read is written to a frame that is read the same, of the length that was said before.
pub fn ocpp_frame(data: &[u8]) {
    let Ok(text) = core::str::from_utf8(data) else {
        return;
    };
    let frame = match Frame::parse(text) {
        Ok(frame) => frame,
        Err(unreadable) => {
            assert!(!unreadable.to_string().is_empty());
            return;
        }
    };
    let written = frame.to_text();
    assert_eq!(written.len(), frame.text_len(), "length before writing");
    let again = Frame::parse(&written).expect("what we write is read");
    assert_eq!(again.id(), frame.id());
    assert_eq!(again.message_type(), frame.message_type());
    assert_eq!(again.to_text(), written);
}

/// The payload of a DataTransfer, as request and as response.
pub fn data_transfer(data: &[u8]) {
    let Ok(text) = core::str::from_utf8(data) else {
        return;
    };
    let Ok(payload) = serde_json::from_str::<&RawValue>(text) else {
        return;
    };
    if let Ok(request) = Request::parse(payload) {
        let written = request.to_payload();
        assert_eq!(written.get().len(), request.payload_len());
        let again = Request::parse(&written).expect("what we write is read");
        assert_eq!(again.vendor_id, request.vendor_id);
        assert_eq!(again.message_id, request.message_id);
        assert_eq!(again.to_payload().get(), written.get());
    }
    if let Ok(response) = Response::parse(payload) {
        for version in [Version::V1_6, Version::V2_0_1, Version::V2_1] {
            let written = response.to_payload(version);
            assert_eq!(written.get().len(), response.payload_len(version));
            let again = Response::parse(&written).expect("what we write is read");
            assert_eq!(again.status, response.status);
            assert_eq!(again.to_payload(version).get(), written.get());
        }
    }
}
