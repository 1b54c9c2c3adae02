//! What the bridge reads of a CMP message that it carries.

use cmp_message::PkiMessage;

// The file alone: the rest of the bridge would be instrumented for nothing.
#[path = "../../csms-bridge/src/header.rs"]
#[allow(dead_code)]
mod header;

/// Whatever it is given is read or not read; of what is a CMP message, it reads what the message's own decoder reads.
pub fn bridge_header(data: &[u8]) {
    let (id, kind) = (header::transaction_id(data), header::body_type(data));
    let serial = header::protection_serial(data);
    let Ok(message) = PkiMessage::from_bytes(data) else {
        return;
    };
    let own = message.header.transaction_id.as_ref().map(|id| id.as_bytes());
    assert_eq!(id.as_deref(), own.filter(|id| id.len() <= 64), "transactionID");
    let name = kind.map(header::BodyType::name);
    assert_eq!(name, Some(message.body.body_type().name()), "kind of body");
    let first = message.extra_certs.as_ref().and_then(|all| all.first());
    let certificate = first.and_then(|first| first.parse::<x509_cert::Certificate>().ok());
    if let (Some(serial), Some(certificate)) = (serial, certificate) {
        let own = certificate.tbs_certificate().serial_number().as_bytes();
        assert!(own.ends_with(&serial), "serial number");
        assert!(own[..own.len() - serial.len()].iter().all(|byte| *byte == 0));
    }
}
